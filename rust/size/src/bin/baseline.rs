// SPDX-License-Identifier: Apache-2.0
//! The least program: what the others have on top of it is what they cost.
#![no_std]
#![no_main]

use core::panic::PanicInfo;
use rekindle_size::{entry, halt};

#[entry]
fn main() -> ! {
    halt()
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    halt()
}
