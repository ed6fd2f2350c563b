// SPDX-License-Identifier: Apache-2.0

//! Clock, reset, identity and randomness.

use fusain::Address;

use crate::ffi;

/// Milliseconds since boot.
#[must_use]
pub fn uptime_ms() -> u64 {
    ffi::rekindle_uptime_ms()
}

/// Suspends the calling thread.
pub fn sleep_ms(ms: u32) {
    ffi::rekindle_sleep_ms(ms);
}

/// Causes of the last reset, as bits of Zephyr's hwinfo; 0 where the SoC does not say.
#[must_use]
pub fn reset_cause() -> u32 {
    ffi::rekindle_reset_cause()
}

/// Resets the whole system and does not return.
pub fn reboot() -> ! {
    ffi::rekindle_reboot();
    loop {
        ffi::rekindle_sleep_ms(u32::MAX);
    }
}

/// The device's address on the bus: the SoC's unique id, else one drawn once and kept.
#[must_use]
pub fn device_address() -> Address {
    Address::new(ffi::rekindle_device_address())
}

/// A number that differs from that of the boot before. To be asked once per boot.
#[must_use]
pub fn boot_number() -> u32 {
    ffi::rekindle_boot_number()
}

/// Fills `data` with random bytes, as good as the board's source is.
pub fn random(data: &mut [u8]) {
    // SAFETY: `data` is valid for `data.len()` writes for the call and the shim keeps no
    // pointer.
    unsafe { ffi::rekindle_random(data.as_mut_ptr(), data.len()) }
}

/// Bytes of the calling thread's stack that were never used; 0 where Zephyr does not keep
/// count (`CONFIG_INIT_STACKS`).
#[must_use]
pub fn stack_unused() -> usize {
    ffi::rekindle_stack_unused()
}

/// Puts the watchdog's reset off by another timeout; [`Device::turn`](crate::device::Device::turn)
/// does so by itself.
pub fn feed_watchdog() {
    ffi::rekindle_watchdog_feed();
}

/// Takes the oldest word that another thread left for the application (`rekindle_post`).
#[must_use]
pub fn take_word() -> Option<u32> {
    let mut word = 0;
    // SAFETY: `word` is a valid, exclusive destination for the call.
    unsafe { ffi::rekindle_take(&raw mut word) }.then_some(word)
}

/// Stops the device where the session's code has panicked: what a panic handler does.
pub fn panic(file: &str, line: u32) -> ! {
    // SAFETY: `file` is valid for `file.len()` reads for the call, which keeps no pointer.
    unsafe { ffi::rekindle_panic(file.as_ptr(), file.len(), line) };
    reboot()
}
