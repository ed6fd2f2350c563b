// SPDX-License-Identifier: Apache-2.0
//! Reaches devices over serial ports, TCP and WebSocket, and drives sender sessions on them.
//!
//! Blocking, without an async runtime: one device is one conversation.
#![cfg_attr(test, allow(clippy::indexing_slicing, reason = "tests may panic"))]

pub mod ask;
pub mod controller;
pub mod credentials;
pub mod drive;
pub mod link;
pub mod listen;
pub mod target;
pub mod transport;
