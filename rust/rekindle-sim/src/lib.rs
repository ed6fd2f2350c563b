// SPDX-License-Identifier: Apache-2.0
//! Everything around an update session, simulated: flash that tears, a bootloader that keeps its promises, links
//! that lose and corrupt, time, and whole worlds from one seed.
//!
//! Nothing here reads a clock or a random device: a seed and a list of cuts replay a run exactly.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a simulator stops loudly at its own mistakes, and its chips and times are small; it runs on a desk"
)]

extern crate alloc;

pub mod bootloader;
pub mod device;
pub mod flash;
pub mod image;
pub mod link;
pub mod rates;
pub mod relay_world;
pub mod rng;
pub mod virtual_appliance;
pub mod world;
