// SPDX-License-Identifier: Apache-2.0
//! The controller of Rekindle: takes an image once, judges it, keeps it, and brings it to each appliance in turn,
//! through cuts and reboots, while it routes everything else.
//!
//! [`Relay`] is a state machine without I/O, as the update session is: it knows no driver, no clock, no thread and
//! no allocator. A driver gives it frames ([`Relay::from_client`], [`Relay::from_link`]), finished operations of its
//! store ([`Relay::store_done`]) and the time, then drains [`Relay::poll`] until it says [`Output::Wait`]. The same
//! code runs on a host, on Zephyr and in the simulator; a power cut is dropping it between two calls, and a new one
//! over the same store goes on.
//!
//! ```
//! use rekindle_relay::{Config, Keys, LinkConfig, Output, Relay};
//! use rekindle_session::sender::Link;
//!
//! let links = [LinkConfig::new(Link::serial(115_200), 16)];
//! let mut relay: Relay<16, 1, 4> = Relay::new(Config::new(512 * 1024), Keys::default(), links)?;
//! let mut now_ms = 0;
//! # let mut turns = 0;
//! loop {
//!     match relay.poll(now_ms) {
//!         // An empty store: every read finds nothing.
//!         Output::Store(_) => relay.store_done(Ok(&[])),
//!         Output::Send { port, address, payload } => { /* encode_frame, write */ }
//!         Output::ToReceiver { .. } | Output::Event(_) => {}
//!         Output::Wait { until_ms } => break,
//!     }
//! #   turns += 1;
//! #   assert!(turns < 100);
//! }
//! # Ok::<(), rekindle_relay::ConfigError>(())
//! ```
#![no_std]

mod boot;
mod campaign;
mod config;
mod controller;
mod forward;
mod intake;
mod judge;
mod meta;
mod outbox;
mod own;
mod policy;
mod port;
mod probe;
mod record;
mod root;
mod roster;
mod route;
mod session;
#[cfg(feature = "websocket")]
pub mod websocket;

pub use config::{CLIENTS_MAX, Config, ConfigError, LinkConfig, Routing};
pub use controller::{Event, Output, Relay};
pub use meta::AUDIT_MAX;
pub use policy::{Approved, KEYS_MAX, Keys, Release, Target, TrustedKey};
pub use port::{File, Port, STORE_MAX, StoreFault, StoreOp};
pub use record::{AuditKind, AuditReader, AuditRecord, When};
pub use root::{CONFIRM_MS, RootError, RootMode};
pub use route::is_command;
