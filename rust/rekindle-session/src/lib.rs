// SPDX-License-Identifier: Apache-2.0
//! The update session of Rekindle: one image on its way to one device.
//!
//! Receiver and sender are state machines without I/O: they know no driver, no clock, no thread and no
//! allocator. A driver gives them messages, finished flash operations and the time; they answer with messages
//! to send, flash operations to carry out and the time at which they want to be asked again. The same code
//! runs on a device, on a host and in the simulator, and a power cut is simply dropping it between two steps.
//!
//! What a device spends on it is measured (docs/size.md) and shaped a little: what a job works on lies in the
//! receiver and is not moved about, functions called from many places or that would swell their caller's stack
//! are `#[inline(never)]`, and the receiver is laid out by hand so that short load instructions reach the fields
//! in use all the time.
#![no_std]

pub mod appliance;
mod journal;
pub mod port;
pub mod receiver;
pub mod sender;

pub use journal::{HISTORY_MAX, JOURNAL_SECTOR_MIN};

/// Time that has passed since an earlier one, at most 49 days; both in milliseconds of the same clock.
#[inline(never)]
pub(crate) fn elapsed_ms(now_ms: u64, since_ms: u64) -> u32 {
    u32::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(u32::MAX)
}

/// Copies as many bytes as both have. Where they are of one length, which is what is meant, `copy_from_slice` would
/// do the same, and bring a panic along that never comes.
#[inline(never)]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}
