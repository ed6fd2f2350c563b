// SPDX-License-Identifier: Apache-2.0
//! The extension message, 0x46: what the base protocol cannot say (PROTOCOL.md §7).

use crate::cbor::Writer;
use crate::error::{Constraint, DecodeError, EncodeError, wire_enum};
use crate::fields::{Fields, Load, Slot, framed};
use crate::ota::{Mode, Version, enum_value};

/// Key 0 of our extension messages, "RKND": the range belongs to the protocol's owners, so it keeps ours apart
/// from a later meaning of the code.
pub const EXTENSION_MAGIC: u32 = 0x524B_4E44;

/// Key 1 of our extension messages.
pub const EXTENSION_VERSION: u32 = 1;

const INFO_REQUEST: u32 = 0;
const INFO: u32 = 1;
const OUTCOME_REQUEST: u32 = 2;
const OUTCOME: u32 = 3;

/// An extension message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
pub enum Extension {
    /// Asks for [`Info`].
    InfoRequest,
    /// What the device is and can do.
    Info(Info),
    /// Asks for an [`OutcomeReport`].
    OutcomeRequest {
        /// Which attempt; 0 is the newest.
        index: u32,
    },
    /// What became of an update.
    Outcome(OutcomeReport),
    /// Something else under the same code: another magic, version or operation. To be ignored.
    Other {
        /// Key 0, or 0 if it is not a number of 32 bits.
        magic: u32,
        /// Key 1, in the same way.
        version: u32,
        /// Key 2, in the same way.
        operation: u32,
    },
}

framed!(Extension = 0x46);

/// The number under `key`, 0 where there is none.
fn number(fields: &mut Fields<'_>, key: u8) -> u32 {
    fields.optional(key).unwrap_or(0)
}

/// Says whether the message is ours. What is not ours is no error, whatever its shape: its owner may define
/// anything.
fn is_ours(fields: &mut Fields<'_>) -> bool {
    number(fields, 0) == EXTENSION_MAGIC && number(fields, 1) == EXTENSION_VERSION
}

impl Extension {
    /// Decodes a payload of this type.
    ///
    /// # Errors
    ///
    /// A payload of another type, or one of our operations with fields that are not those of the operation.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::open(payload, Self::CODE)?;
        if !is_ours(&mut fields) {
            let [magic, version, operation] = [0, 1, 2].map(|key| number(&mut fields, key));
            return Ok(Self::Other { magic, version, operation });
        }
        let message = match fields.required(2) {
            INFO_REQUEST => Self::InfoRequest,
            INFO => Self::Info(Info::load(&mut fields)),
            OUTCOME_REQUEST => Self::OutcomeRequest { index: number(&mut fields, 3) },
            OUTCOME => Self::Outcome(OutcomeReport::load(&mut fields)),
            operation => Self::Other { magic: EXTENSION_MAGIC, version: EXTENSION_VERSION, operation },
        };
        fields.finish(message)
    }

    /// Encodes the payload into `out` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let writer = match self {
            Self::Other { magic, version, operation } => open(out, *magic, *version, *operation),
            Self::InfoRequest => open(out, EXTENSION_MAGIC, EXTENSION_VERSION, INFO_REQUEST),
            Self::OutcomeRequest { index } => {
                let mut writer = open(out, EXTENSION_MAGIC, EXTENSION_VERSION, OUTCOME_REQUEST);
                (*index != 0).then_some(*index).store(&mut writer, 3);
                writer
            }
            Self::Info(info) => return info.encode(out),
            Self::Outcome(report) => return report.encode(out),
        };
        writer.finish()
    }
}

/// Begins an extension message.
fn open(out: &mut [u8], magic: u32, version: u32, operation: u32) -> Writer<'_> {
    let mut writer = Writer::open(out, Extension::CODE);
    magic.store(&mut writer, 0);
    version.store(&mut writer, 1);
    operation.store(&mut writer, 2);
    writer
}

/// What a device understands of the extension message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionRequest {
    /// Answer with [`Info`].
    Info,
    /// Answer with an [`OutcomeReport`].
    Outcome {
        /// Which attempt; 0 is the newest.
        index: u32,
    },
    /// Not a request to a device, or not ours: no answer.
    Other,
}

impl ExtensionRequest {
    /// The message's code on the wire.
    pub const CODE: u8 = Extension::CODE;

    /// Decodes a payload of this type.
    ///
    /// # Errors
    ///
    /// A payload of another type, or a request of ours whose field is wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::open(payload, Self::CODE)?;
        let request = Self::load(&mut fields);
        fields.finish(request)
    }
}

impl Load<'_> for ExtensionRequest {
    fn load(fields: &mut Fields<'_>) -> Self {
        if !is_ours(fields) {
            fields.forgive();
            return Self::Other;
        }
        match fields.required(2) {
            INFO_REQUEST => Self::Info,
            OUTCOME_REQUEST => Self::Outcome { index: number(fields, 3) },
            _ => Self::Other,
        }
    }
}

/// What a device is and can do (PROTOCOL.md §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
pub struct Info {
    /// Key 3: a number drawn at random at each boot.
    pub boot_number: u32,
    /// Key 4: frames of data that may be on the way unacknowledged, 1 to 255.
    pub window: u8,
    /// Key 5: version of the running image.
    pub version: Version,
    /// Key 6: MCUboot's SHA-256 of the running image.
    pub image_hash: [u8; 32],
    /// Key 7: see [`InfoFlags`].
    pub flags: InfoFlags,
    /// Key 8: largest chunk the device takes, in bytes, at least 1.
    pub chunk_max: u8,
    /// Key 9: how far the image is in flash for good, in bytes; only while there is an update.
    pub durable: Option<u32>,
    /// Key 10: the appliance's state ([`ApplianceState`](crate::ApplianceState)).
    pub appliance_state: u8,
}

framed!(Info = 0x46);

impl Info {
    fn load(fields: &mut Fields<'_>) -> Self {
        Self {
            boot_number: fields.required(3),
            window: at_least_one(fields, 4),
            version: fields.required(5),
            image_hash: fields.required(6),
            flags: InfoFlags(fields.required(7)),
            chunk_max: at_least_one(fields, 8),
            durable: fields.optional(9),
            appliance_state: fields.required(10),
        }
    }

    /// Encodes the extension message that carries this into `out` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = open(out, EXTENSION_MAGIC, EXTENSION_VERSION, INFO);
        self.boot_number.store(&mut writer, 3);
        self.window.store(&mut writer, 4);
        self.version.store(&mut writer, 5);
        self.image_hash.store(&mut writer, 6);
        self.flags.0.store(&mut writer, 7);
        self.chunk_max.store(&mut writer, 8);
        self.durable.store(&mut writer, 9);
        self.appliance_state.store(&mut writer, 10);
        writer.finish()
    }
}

/// Reads a count that cannot be 0.
fn at_least_one(fields: &mut Fields<'_>, key: u8) -> u8 {
    let count = fields.required(key);
    if count == 0 {
        fields.refuse(key, Constraint::ValueTooLow);
    }
    count
}

/// Flags of [`Info`]; unknown bits are kept and mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
pub struct InfoFlags(
    /// The bits.
    pub u32,
);

impl InfoFlags {
    /// The running image is confirmed.
    pub const CONFIRMED: Self = Self(1);
    /// The bootloader will swap images at the next boot.
    pub const SWAP_PENDING: Self = Self(1 << 1);
    /// The link is half duplex: data is acknowledged once per window.
    pub const ACKS_COALESCED: Self = Self(1 << 2);
    /// The whole slot is erased at START, which so takes long.
    pub const ERASE_AT_START: Self = Self(1 << 3);
    /// The device itself checks the image's signature at VERIFY.
    pub const SIGNATURE_CHECKED: Self = Self(1 << 4);

    /// Returns whether every bit of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns these flags with those of `other` set if `on`.
    #[must_use]
    pub const fn with(self, other: Self, on: bool) -> Self {
        if on { Self(self.0 | other.0) } else { Self(self.0 & !other.0) }
    }
}

wire_enum! {
    /// What became of an update after its reboot: key 4 of [`OutcomeReport`] (PROTOCOL.md §7.4). Numbers are
    /// append-only.
    pub enum Outcome(u8) {
        /// No update is on record.
        0 => None, "NONE", "no update on record";
        /// Activated; the reboot has not happened yet.
        1 => Pending, "PENDING", "activated, not rebooted yet";
        /// The new image runs and is not confirmed yet.
        2 => UnderTest, "UNDER_TEST", "the new image is under test";
        /// The new image runs and is confirmed.
        3 => Confirmed, "CONFIRMED", "the new image is confirmed";
        /// The new image ran and the bootloader went back to the old one.
        4 => Reverted, "REVERTED", "the bootloader went back to the old image";
        /// The bootloader would not boot the new image.
        5 => Refused, "REFUSED", "the bootloader refused the new image";
        /// The bootloader did not try the new image.
        6 => NotAttempted, "NOT_ATTEMPTED", "the bootloader did not try the new image";
        /// The evidence does not say.
        7 => Unknown, "UNKNOWN", "outcome unknown";
    }
}
enum_value!(Outcome, None);

/// What became of one update (PROTOCOL.md §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
pub struct OutcomeReport {
    /// Key 3: the number drawn at random at this boot.
    pub boot_number: u32,
    /// Key 4: the verdict.
    pub outcome: Outcome,
    /// Key 5: counts the device's activations.
    pub attempt: u32,
    /// Key 6: MCUboot's SHA-256 of the image that was activated.
    pub target: Option<[u8; 32]>,
    /// Key 7: how it was activated.
    pub mode: Option<Mode>,
    /// Key 8: the self-test's last stage, in the application's own count.
    pub stage: Option<u32>,
    /// Key 9: the self-test's code, in the application's own numbers.
    pub code: Option<i32>,
    /// Key 10: cause of the reset that ended the attempt, as Zephyr's hwinfo reports it.
    pub reset_cause: Option<u32>,
    /// Key 11: which attempt this is; 0 is the newest.
    pub index: u32,
    /// Key 12: how many attempts are on record.
    pub total: u32,
}

framed!(OutcomeReport = 0x46);

impl OutcomeReport {
    fn load(fields: &mut Fields<'_>) -> Self {
        Self {
            boot_number: fields.required(3),
            outcome: fields.required(4),
            attempt: fields.required(5),
            target: fields.optional(6),
            mode: fields.optional(7),
            stage: fields.optional(8),
            code: fields.optional(9),
            reset_cause: fields.optional(10),
            index: fields.required(11),
            total: fields.required(12),
        }
    }

    /// Encodes the extension message that carries this into `out` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = open(out, EXTENSION_MAGIC, EXTENSION_VERSION, OUTCOME);
        self.boot_number.store(&mut writer, 3);
        self.outcome.store(&mut writer, 4);
        self.attempt.store(&mut writer, 5);
        self.target.store(&mut writer, 6);
        self.mode.store(&mut writer, 7);
        self.stage.store(&mut writer, 8);
        self.code.store(&mut writer, 9);
        self.reset_cause.store(&mut writer, 10);
        self.index.store(&mut writer, 11);
        self.total.store(&mut writer, 12);
        writer.finish()
    }
}
