// SPDX-License-Identifier: Apache-2.0
//! The messages of an update, 0x40 to 0x45 and 0x4F (PROTOCOL.md §5).

use core::fmt;
use core::str::FromStr;

use crate::cbor::{Writer, major};
use crate::error::{Constraint, DecodeError, EncodeError, wire_enum};
use crate::fields::{Fields, Load, Slot, Value, framed, message};

message! {
    /// OTA_START: announces an image (PROTOCOL.md §5.2).
    #[derive(Eq, Hash)]
    pub struct OtaStart = 0x40 {
        /// Size of the whole file, in bytes. Decoded as sent: the receiver says what is too large.
        0 => size: u64,
        /// SHA-256 of the whole file as sent.
        1 => digest: [u8; 32],
        /// Version in the image's header.
        2 => version: Option<Version>,
        /// Slot to receive into; 1 if absent.
        3 => slot: Option<u64>,
    }
}

message! {
    /// OTA_DATA: one chunk of the image (PROTOCOL.md §5.3).
    #[derive(Eq, Hash)]
    pub struct OtaData<'a> = 0x41 {
        /// Offset of the chunk in the file, in bytes.
        0 => offset: u64,
        /// The chunk.
        1 => data: &'a [u8],
    }
}

impl OtaData<'_> {
    /// Largest chunk, a multiple of 4, that fits a frame at every offset of a 32-bit size.
    pub const CHUNK_MAX: u8 = 100;
}

message! {
    /// OTA_VERIFY: asks to check what has been received (PROTOCOL.md §5.4).
    #[derive(Eq, Hash)]
    pub struct OtaVerify = 0x42 {
        /// The digest of START once more, for confirmation.
        0 => digest: Option<[u8; 32]>,
    }
}

/// OTA_ACTIVATE: asks to boot what has been verified (PROTOCOL.md §5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
pub struct OtaActivate {
    /// Key 0: what happens if the new image does not confirm itself.
    pub mode: Mode,
    /// Key 1: reboot at once; true if absent, and then not sent.
    pub reboot: bool,
}

framed!(OtaActivate = 0x43);

impl OtaActivate {
    /// Decodes a payload of this type.
    ///
    /// # Errors
    ///
    /// A payload of another type, or one whose fields are not those of this type.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::open(payload, Self::CODE)?;
        let message = Self::load(&mut fields);
        fields.finish(message)
    }

    /// Encodes the payload into `out` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::open(out, Self::CODE);
        self.mode.store(&mut writer, 0);
        (!self.reboot).then_some(false).store(&mut writer, 1);
        writer.finish()
    }
}

impl Load<'_> for OtaActivate {
    fn load(fields: &mut Fields<'_>) -> Self {
        Self { mode: fields.required(0), reboot: fields.optional(1).unwrap_or(true) }
    }
}

message! {
    /// OTA_QUERY: asks for OTA_STATUS (PROTOCOL.md §5.6).
    pub struct OtaQuery = 0x44;
}

message! {
    /// OTA_STATUS: how far an update is (PROTOCOL.md §5.7).
    #[derive(Eq, Hash)]
    pub struct OtaStatus = 0x45 {
        /// State of the update.
        0 => state: OtaState,
        /// Next byte expected: everything before it is acknowledged.
        1 => offset: Option<u32>,
        /// Version of the image being received.
        2 => version: Option<Version>,
    }
}

message! {
    /// OTA_ABORT: gives the update up (PROTOCOL.md §5.8).
    pub struct OtaAbort = 0x4F;
}

wire_enum! {
    /// State of an update: key 0 of [`OtaStatus`] (PROTOCOL.md §5.1).
    pub enum OtaState(u8) {
        /// No update in progress.
        0 => Idle, "IDLE", "no update in progress";
        /// Upload in progress.
        1 => Receiving, "RECEIVING", "upload in progress";
        /// Upload complete, not verified.
        2 => Received, "RECEIVED", "upload complete, not verified";
        /// Verified, not activated.
        3 => Verified, "VERIFIED", "image verified, not activated";
        /// Marked for boot; waiting for a reboot.
        4 => Activated, "ACTIVATED", "image activated, waiting for a reboot";
    }
}

wire_enum! {
    /// How an image is activated: key 0 of [`OtaActivate`].
    pub enum Mode(u8) {
        /// Test: the bootloader goes back to the old image unless the new one confirms itself.
        0 => Test, "TEST", "test: reverts unless confirmed";
        /// Permanent: there is no way back.
        1 => Permanent, "PERMANENT", "permanent: no way back";
    }
}

/// Carries an enumeration of `u8` numbers in a field; a wrong one reads as `$first`.
macro_rules! enum_value {
    ($name:ident, $first:ident) => {
        impl crate::fields::Value<'_> for $name {
            fn read(fields: &mut crate::fields::Fields<'_>, key: u8) -> Self {
                // An unknown number is a value not allowed, even one too wide for the enumeration's number.
                let number = u8::try_from(fields.number(key)).ok();
                number.and_then(|number| Self::try_from(number).ok()).unwrap_or_else(|| {
                    fields.refuse(key, crate::error::Constraint::ValueInvalid);
                    Self::$first
                })
            }

            fn write(&self, writer: &mut crate::cbor::Writer<'_>) {
                self.number().write(writer);
            }
        }
    };
}
pub(crate) use enum_value;

enum_value!(OtaState, Idle);
enum_value!(Mode, Test);

/// An image's version, as MCUboot's image header has it: an array of four numbers on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
pub struct Version {
    /// Major number.
    pub major: u8,
    /// Minor number.
    pub minor: u8,
    /// Revision.
    pub revision: u16,
    /// Build number.
    pub build: u32,
}

impl Value<'_> for Version {
    fn read(fields: &mut Fields<'_>, key: u8) -> Self {
        Self::read_items(fields, key).unwrap_or_else(|constraint| {
            fields.refuse(key, constraint);
            Self::default()
        })
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.head(major::ARRAY, 4);
        self.major.write(writer);
        self.minor.write(writer);
        self.revision.write(writer);
        self.build.write(writer);
    }
}

impl Version {
    fn read_items(fields: &Fields<'_>, key: u8) -> Result<Self, Constraint> {
        let mut items = fields.value(key);
        let mut array = items.enter(major::ARRAY).ok_or(Constraint::TypeMismatch)?;
        if !array.may_hold(4) {
            return Err(Constraint::ValueInvalid);
        }
        let mut numbers = [0; 4];
        for number in &mut numbers {
            // An array of indefinite length may be too short.
            if array.ends(&mut items) != Some(false) {
                return Err(Constraint::ValueInvalid);
            }
            let first = items.head();
            if first.is_none_or(|first| first.major() != major::UNSIGNED) {
                return Err(Constraint::TypeMismatch);
            }
            *number = items.argument;
        }
        if array.ends(&mut items) != Some(true) {
            return Err(Constraint::ValueInvalid);
        }
        let [major, minor, revision, build] = numbers;
        match (major.try_into(), minor.try_into(), revision.try_into(), build.try_into()) {
            (Ok(major), Ok(minor), Ok(revision), Ok(build)) => Ok(Self { major, minor, revision, build }),
            _ => Err(Constraint::ValueTooHigh),
        }
    }
}

/// `1.2.3+4`, or `1.2.3` if the build number is 0.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.revision)?;
        if self.build == 0 { Ok(()) } else { write!(f, "+{}", self.build) }
    }
}

/// Text that is not a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseVersionError;

impl fmt::Display for ParseVersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version is major.minor.revision+build, the last two optional")
    }
}

impl core::error::Error for ParseVersionError {}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn number<T: FromStr>(text: &str) -> Result<T, ParseVersionError> {
            // The standard parser would take a plus sign.
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten().ok_or(ParseVersionError)
        }
        let (dotted, build) = text.split_once('+').map_or((text, None), |(head, build)| (head, Some(build)));
        let mut parts = dotted.split('.');
        let version = Self {
            major: number(parts.next().unwrap_or_default())?,
            minor: number(parts.next().unwrap_or_default())?,
            revision: parts.next().map_or(Ok(0), number)?,
            build: build.map_or(Ok(0), number)?,
        };
        if parts.next().is_some() { Err(ParseVersionError) } else { Ok(version) }
    }
}
