// SPDX-License-Identifier: Apache-2.0

//! What Kconfig says about updates.

use rekindle_session::port::Layout;
use rekindle_session::receiver::{Config, DowngradePolicy, EraseMode};

use crate::{ffi, trial};

/// Bytes that a frame with data takes at most: a payload of 113 bytes, address, length and
/// CRC, each byte stuffed, and both delimiters.
const DATA_FRAME_MAX: u32 = 250;
/// Largest window worth announcing: 24 frames are 2.4 KB on their way, a quarter of a second
/// at 115200 Bd.
const WINDOW_MAX: u32 = 24;

/// The session's configuration on a link that holds `capacity` bytes.
pub(crate) fn session(layout: Layout, capacity: u32) -> Config {
    let policy = &ffi::rekindle_policy;
    let window = capacity.checked_div(DATA_FRAME_MAX).unwrap_or(1).clamp(1, WINDOW_MAX);
    Config {
        window: u8::try_from(window).unwrap_or(1),
        erase: if policy.erase_at_start { EraseMode::AtStart } else { EraseMode::Ahead },
        vendor: policy.has_vendor.then_some(policy.vendor_id),
        class: policy.has_class.then_some(policy.class_id),
        downgrade: if policy.refuse_downgrade { DowngradePolicy::Refuse } else { DowngradePolicy::Allow },
        ..Config::new(layout)
    }
}

/// What a trial must meet.
pub(crate) fn trial() -> trial::Terms {
    trial::Terms {
        deadline_ms: u64::from(ffi::rekindle_policy.confirm_deadline_ms),
        needs_controller: ffi::rekindle_policy.confirm_answered,
    }
}
