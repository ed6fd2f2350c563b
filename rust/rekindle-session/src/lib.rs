// SPDX-License-Identifier: Apache-2.0
//! The update session: receiver and sender, sans-IO.
#![no_std]

pub mod port;
