// SPDX-License-Identifier: Apache-2.0
//! What the programs of this package share.
//!
//! They are linked for a bare machine, to see what the device side costs: its code in each program that is sized
//! (`device` and `endpoint`, and `driver` and `baseline` to compare them with), its stack and its instructions in those that run under QEMU (`update`, `signature`).
//! `scripts/cross` does all of that; docs/size.md has the result.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "run")]
pub mod bench;
pub mod driver;
pub mod facts;
#[cfg(feature = "run")]
pub mod scene;

#[cfg(target_arch = "arm")]
pub use cortex_m_rt::entry;
#[cfg(target_arch = "riscv32")]
pub use riscv_rt::entry;

/// Stops for good.
pub fn halt() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
