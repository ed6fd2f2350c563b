// SPDX-License-Identifier: Apache-2.0
//! The update session of Rekindle: one image on its way to one device.
//!
//! Receiver and sender are state machines without I/O: they know no driver, no clock, no thread and no
//! allocator. A driver gives them messages, finished flash operations and the time; they answer with messages
//! to send, flash operations to carry out and the time at which they want to be asked again. The same code
//! runs on a device, on a host and in the simulator, and a power cut is simply dropping it between two steps.
#![no_std]

pub mod appliance;
mod journal;
pub mod port;
pub mod receiver;
pub mod sender;

pub use journal::{HISTORY_MAX, JOURNAL_SECTOR_MIN};
