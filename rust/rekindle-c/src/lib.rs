// SPDX-License-Identifier: Apache-2.0

//! The update session as a static library for Zephyr applications in C.
//!
//! The functions are those of `rekindle/rekindle.h`; they live in
//! [`rekindle_zephyr::c_api`]. A Rust application uses that crate itself and must not link
//! this library: both would then be in its image, each with a device of its own.

#![no_std]

pub use rekindle_zephyr::c_api;

/// Nothing of the session panics. Should it, the device stops as Zephyr's fatal error
/// handler has it, and MCUboot reverts an image that is under test.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("", 0), |at| (at.file(), at.line()));
    rekindle_zephyr::system::panic(file, line)
}
