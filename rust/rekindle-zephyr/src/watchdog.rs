// SPDX-License-Identifier: Apache-2.0

//! The watchdog that resets a device whose main loop hangs.

use crate::{Errno, ffi};

/// A running watchdog.
#[derive(Debug)]
pub struct Watchdog(());

impl Watchdog {
    /// Starts the watchdog; it cannot be stopped and must be fed within `timeout_ms`.
    ///
    /// # Errors
    ///
    /// The device is not ready, or cannot wait that long.
    pub fn start(timeout_ms: u32) -> Result<Self, Errno> {
        Errno::check(ffi::rekindle_watchdog_start(timeout_ms))?;
        Ok(Self(()))
    }

    /// Puts the reset off by another timeout.
    pub fn feed(&mut self) {
        ffi::rekindle_watchdog_feed();
    }
}
