// SPDX-License-Identifier: Apache-2.0
//! What can be wrong with a payload, and the protocol's two error messages (PROTOCOL.md §6).

use core::fmt;

use crate::fields::message;

/// A number that the protocol gives no meaning to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownValue(
    /// The number.
    pub i64,
);

impl fmt::Display for UnknownValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no meaning is defined for the number {}", self.0)
    }
}

impl core::error::Error for UnknownValue {}

/// Defines an enumeration of the wire: numbers, names and plain words in one table.
macro_rules! wire_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident($wire:ty) {
            $( $(#[$vmeta:meta])* $number:literal => $variant:ident, $text:literal, $words:literal; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
        pub enum $name { $( $(#[$vmeta])* $variant = $number, )* }

        impl $name {
            /// Every value, in ascending order of its number.
            pub const ALL: &'static [Self] = &[$( Self::$variant, )*];

            /// Returns the number the value has on the wire.
            #[must_use]
            pub const fn number(self) -> $wire {
                match self { $( Self::$variant => $number, )* }
            }

            /// Returns the protocol's name of the value.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }
        }

        impl TryFrom<$wire> for $name {
            type Error = $crate::error::UnknownValue;

            fn try_from(number: $wire) -> Result<Self, $crate::error::UnknownValue> {
                match number {
                    $( $number => Ok(Self::$variant), )*
                    _ => Err($crate::error::UnknownValue(i64::from(number))),
                }
            }
        }

        /// The value in plain words.
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self { $( Self::$variant => $words, )* })
            }
        }
    };
}
pub(crate) use wire_enum;

wire_enum! {
    /// Why a field of a command was refused: key 2 of [`InvalidCommand`] (PROTOCOL.md §6.2). Numbers are
    /// append-only.
    pub enum Constraint(i32) {
        /// No particular reason.
        0 => Unspecified, "UNSPECIFIED", "refused without a particular reason";
        /// Below the least value allowed; at VERIFY, the upload is incomplete.
        1 => ValueTooLow, "VALUE_TOO_LOW", "value too low";
        /// Above the largest value allowed.
        2 => ValueTooHigh, "VALUE_TOO_HIGH", "value too high";
        /// Not one of the values allowed.
        3 => ValueInvalid, "VALUE_INVALID", "value not allowed";
        /// In conflict with another value or with what is known; at DATA, an unexpected offset.
        4 => ValueConflict, "VALUE_CONFLICT", "value in conflict with what is expected";
        /// No such motor, pump, thermometer, …
        5 => IndexNotFound, "INDEX_NOT_FOUND", "no such index";
        /// A field without which the command means nothing is not there.
        6 => FieldRequired, "FIELD_REQUIRED", "required field missing";
        /// Another type than the field's.
        7 => TypeMismatch, "TYPE_MISMATCH", "wrong type";
        /// The operation is blocked.
        8 => OperationBlocked, "OPERATION_BLOCKED", "operation blocked";
        /// Between two allowed ranges.
        9 => ValueInGap, "VALUE_IN_GAP", "value between the allowed ranges";
        /// Erasing or programming the flash failed.
        10 => FlashWriteFailed, "FLASH_WRITE_FAILED", "flash write failed";
        /// The image does not fit the slot.
        11 => ImageTooLarge, "IMAGE_TOO_LARGE", "image too large for the slot";
        /// The signature is not from a trusted key.
        12 => SignatureInvalid, "SIGNATURE_INVALID", "signature invalid";
        /// The version is lower than the running one, and policy forbids that.
        13 => VersionDowngrade, "VERSION_DOWNGRADE", "version is a downgrade";
        /// The bytes received do not have the digest announced.
        14 => HashMismatch, "HASH_MISMATCH", "digest does not match the image";
        /// Not an image, or not one for this device.
        15 => HeaderInvalid, "HEADER_INVALID", "image header or trailer invalid, or for another product";
    }
}

wire_enum! {
    /// Why a command was refused as a whole: key 1 of [`StateReject`] (PROTOCOL.md §6.3). Numbers are
    /// append-only.
    pub enum Reason(i32) {
        /// No particular reason.
        0 => Unspecified, "UNSPECIFIED", "refused without a particular reason";
        /// Something else controls the resource.
        1 => ResourceControlled, "RESOURCE_CONTROLLED", "resource is controlled by something else";
        /// Not possible in the present state.
        2 => InvalidInState, "INVALID_IN_STATE", "not possible in the present state";
        /// The change of state is blocked (reserved).
        3 => TransitionBlocked, "TRANSITION_BLOCKED", "change of state is blocked";
        /// Another update is in progress.
        4 => UpdateInProgress, "UPDATE_IN_PROGRESS", "another update is in progress";
        /// An update is not safe in the appliance's state.
        5 => UnsafeState, "UNSAFE_STATE", "an update is not safe in the appliance's present state";
    }
}

message! {
    /// ERROR_INVALID_CMD: a command's content was refused (PROTOCOL.md §6.2).
    #[derive(Eq, Hash)]
    pub struct InvalidCommand = 0xE0 {
        /// 1: bad parameter, 2: bad index.
        0 => code: i32,
        /// Key of the field refused, if it is one field.
        1 => field: Option<i32>,
        /// A [`Constraint`]'s number.
        2 => constraint: Option<i32>,
    }
}

impl InvalidCommand {
    /// A parameter is wrong: `code` for everything an update can refuse.
    pub const BAD_PARAMETER: i32 = 1;
    /// An index does not exist.
    pub const BAD_INDEX: i32 = 2;

    /// Refuses one field, or with `None` the command's content as a whole.
    #[must_use]
    pub const fn parameter(field: Option<i32>, constraint: Constraint) -> Self {
        Self { code: Self::BAD_PARAMETER, field, constraint: Some(constraint.number()) }
    }
}

message! {
    /// ERROR_STATE_REJECT: a command was refused in the present state (PROTOCOL.md §6.3).
    #[derive(Eq, Hash)]
    pub struct StateReject = 0xE1 {
        /// The appliance's state with [`Reason::UnsafeState`], the update's with an update's other reasons.
        0 => code: i32,
        /// A [`Reason`]'s number.
        1 => reason: Option<i32>,
    }
}

impl StateReject {
    /// Refuses a command in `state`.
    #[must_use]
    pub const fn because(state: i32, reason: Reason) -> Self {
        Self { code: state, reason: Some(reason.number()) }
    }
}

/// A payload that could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Not a message at all: no array of two with a code (PROTOCOL.md §3.1), or longer than a frame can carry.
    Envelope,
    /// A message of another type was expected.
    OtherCode {
        /// The type found.
        code: u8,
    },
    /// What follows the code is cut short, is not well-formed, is no map, has a key that is no integer, is
    /// nested too deep, or has bytes behind it.
    Payload {
        /// The message's type.
        code: u8,
    },
    /// A field is missing, doubled, of the wrong type or outside its range.
    Field {
        /// The message's type.
        code: u8,
        /// The field's key.
        field: i32,
        /// What is wrong with it.
        constraint: Constraint,
    },
}

impl DecodeError {
    /// Returns how an appliance answers a command that is wrong in this way, or `None` if it must keep silent
    /// (PROTOCOL.md §6.1).
    #[must_use]
    pub const fn invalid_command(self) -> Option<InvalidCommand> {
        match self {
            Self::Envelope | Self::OtherCode { .. } => None,
            Self::Payload { .. } => Some(InvalidCommand::parameter(None, Constraint::TypeMismatch)),
            Self::Field { field, constraint, .. } => Some(InvalidCommand::parameter(Some(field), constraint)),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope => f.write_str("not an array of a message code and a payload"),
            Self::OtherCode { code } => write!(f, "unexpected message type {code:#04x}"),
            Self::Payload { code } => write!(f, "message type {code:#04x}: payload is not a well-formed map"),
            Self::Field { code, field, constraint } => {
                write!(f, "message type {code:#04x}, key {field}: {constraint}")
            }
        }
    }
}

impl core::error::Error for DecodeError {}

/// A message or frame that could not be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The output buffer is too short.
    BufferTooSmall,
    /// The payload would be longer than [`crate::PAYLOAD_MAX`].
    PayloadTooLong,
    /// The payload is empty, which no receiver accepts.
    PayloadEmpty,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BufferTooSmall => "output buffer too small",
            Self::PayloadTooLong => "payload longer than a frame can carry",
            Self::PayloadEmpty => "payload empty",
        })
    }
}

impl core::error::Error for EncodeError {}
