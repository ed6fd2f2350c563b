// SPDX-License-Identifier: Apache-2.0

//! What Kconfig says about updates.

use rekindle_session::port::Layout;
use rekindle_session::receiver::{Config, DowngradePolicy, EraseMode};

use crate::ffi;

/// Bytes that a frame with data takes at most: a payload of 113 bytes, address, length and
/// CRC, each byte stuffed, and both delimiters.
const DATA_FRAME_MAX: u32 = 250;

/// The session's configuration on a link that holds `capacity` bytes.
pub(crate) fn session(layout: Layout, capacity: u32) -> Config {
    let policy = &ffi::rekindle_policy;
    let traffic = &ffi::rekindle_traffic;
    let window = (capacity / DATA_FRAME_MAX).min(u32::from(traffic.window)).max(1);
    Config {
        window: u8::try_from(window).unwrap_or(1),
        half_duplex: traffic.half_duplex,
        quiet_ms: traffic.quiet_ms,
        takeover_ms: traffic.takeover_ms,
        erase: if policy.erase_at_start { EraseMode::AtStart } else { EraseMode::Ahead },
        vendor: policy.has_vendor.then_some(policy.vendor_id),
        class: policy.has_class.then_some(policy.class_id),
        downgrade: if policy.refuse_downgrade { DowngradePolicy::Refuse } else { DowngradePolicy::Allow },
        #[cfg(feature = "signature")]
        keys: crate::signature::names(),
        ..Config::new(layout)
    }
}

/// Whether the device is alone with its controller on the link.
pub(crate) fn point_to_point() -> bool {
    ffi::rekindle_traffic.point_to_point
}

/// Whether bytes come with the timing of a serial line.
pub(crate) fn serial() -> bool {
    ffi::rekindle_traffic.serial
}

/// Time in which an image under test must confirm itself, in milliseconds of the device's clock.
pub(crate) fn deadline_ms() -> u64 {
    u64::from(ffi::rekindle_policy.confirm_deadline_ms)
}

/// Whether an image is kept only if a controller was answered.
pub(crate) fn needs_controller() -> bool {
    ffi::rekindle_policy.confirm_answered
}
