// SPDX-License-Identifier: Apache-2.0
//! The Fusain protocol: frames, messages and error codes, without allocation.
//!
//! `PROTOCOL.md` beside this crate is the wire reference; comments cite its sections.
//!
//! - [`Decoder`] turns bytes of a link into [`Packet`]s and finds its way back after any damage;
//!   [`SerialDecoder`] adds the inter-byte gap of serial links. [`encode_frame`] is the way out.
//! - [`Message`] is every message of the protocol: what a controller, a monitor or a tool works with.
//! - [`Command`] is what a device that receives an update understands. It links neither floats nor telemetry;
//!   the few other messages of a device ([`PingRequest`], [`StateData`], …) each have a codec of their own.
//!
//! Nothing here panics, whatever the input.
//!
//! ```
//! use fusain::{Address, Decoder, FRAME_MAX, Message, OtaState, OtaStatus};
//!
//! let status = OtaStatus { state: OtaState::Receiving, offset: Some(63_728), version: None };
//! let mut frame = [0; FRAME_MAX];
//! let len = Message::OtaStatus(status).encode_frame(Address::new(0xAABB_CCDD_EEFF_0011), &mut frame)?;
//!
//! let mut decoder = Decoder::new();
//! for &byte in &frame[..len] {
//!     if let Some(packet) = decoder.push(byte) {
//!         let packet = packet.expect("an undamaged frame");
//!         assert_eq!(Message::decode(packet.payload), Ok(Message::OtaStatus(status)));
//!     }
//! }
//! # Ok::<(), fusain::EncodeError>(())
//! ```
#![no_std]

#[cfg(any(test, feature = "_fuzz"))]
extern crate std;

mod address;
mod cbor;
mod command;
mod control;
mod error;
mod extension;
mod fields;
mod frame;
#[cfg(feature = "_fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod message;
mod ota;
pub mod relay;
mod telemetry;
mod value;

pub use address::{Address, ParseAddressError};
pub use command::Command;
pub use control::{
    DataSubscription, DataUnsubscribe, DiscoveryRequest, GlowCommand, GlowConfig, MotorCommand, MotorConfig,
    PingRequest, PumpCommand, PumpConfig, SendTelemetry, StateCommand, TelemetryConfig, TempCommand,
    TempConfig, TimeoutConfig,
};
pub use error::{Constraint, DecodeError, EncodeError, InvalidCommand, Reason, StateReject, UnknownValue};
pub use extension::{
    EXTENSION_MAGIC, EXTENSION_VERSION, Extension, ExtensionRequest, Info, InfoFlags, Outcome, OutcomeReport,
};
pub use frame::{Decoder, FrameError, Packet, SerialDecoder, encode_frame};
pub use message::{Message, message_name};
pub use ota::{
    Mode, OtaAbort, OtaActivate, OtaData, OtaQuery, OtaStart, OtaState, OtaStatus, OtaVerify,
    ParseVersionError, Version,
};
pub use telemetry::{
    ApplianceState, DeviceAnnounce, GlowData, MotorData, PingResponse, PumpData, StateData, TempData,
};

pub use cbor::message_code;

/// Largest payload of a frame, in bytes (PROTOCOL.md §1.1).
pub const PAYLOAD_MAX: usize = 114;

/// Bytes that hold every frame as it is on the wire, stuffing included (PROTOCOL.md §1.1).
///
/// The true maximum is 251, since LENGTH never needs stuffing; 252 is the figure the protocol's documents use.
pub const FRAME_MAX: usize = 252;

/// Silence inside a frame after which a serial receiver drops what it has, in milliseconds (PROTOCOL.md §2.3).
pub const GAP_MS: u64 = 100;
