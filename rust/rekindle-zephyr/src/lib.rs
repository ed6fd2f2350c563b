// SPDX-License-Identifier: Apache-2.0

//! The update session's ports on Zephyr.
//!
//! Safe functions over the C shims of `modules/rekindle`. This is the only crate of the
//! project with `unsafe` in it; what it promises rests on the contract in
//! `rekindle/port.h`.

#![no_std]

pub mod boot;
#[cfg(feature = "c-api")]
pub mod c_api;
pub mod device;
mod ffi;
pub mod flash;
pub mod link;
mod policy;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "signature")]
mod signature;
#[cfg(feature = "smp")]
mod smp;
mod state;
pub mod system;
pub mod trial;

pub use state::busy;

/// A failure as Zephyr numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno {
    /// A negative `errno` value, as Zephyr's functions return it.
    code: i32,
}

impl Errno {
    /// `EIO`: the device did something else than it was asked for.
    pub const IO: Self = Self { code: -5 };
    /// `ENOSPC`: what is there has no room.
    pub const NO_SPACE: Self = Self { code: -28 };
    /// `EBUSY`: what is there once only is in use.
    pub const BUSY: Self = Self { code: -16 };
    /// `EINVAL`: an argument that the call cannot take.
    pub const INVALID: Self = Self { code: -22 };

    /// The number, as in `errno.h`.
    #[must_use]
    pub fn get(self) -> i32 {
        self.code.saturating_neg()
    }

    fn check(code: i32) -> Result<(), Self> {
        if code == 0 { Ok(()) } else { Err(Self { code }) }
    }
}

impl core::fmt::Display for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "errno {}", self.get())
    }
}
