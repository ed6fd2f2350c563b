// SPDX-License-Identifier: Apache-2.0
//! Maps with integer keys: how every message reads and writes its fields (PROTOCOL.md §3).
//!
//! Reading goes in two steps. [`Fields::open`] walks the payload once and notes where the value of each known
//! key begins; after that the CBOR is known to be whole, and each field is decoded from its place. So the order
//! of keys, unknown keys, doubled keys and trailing bytes are dealt with in one function for all messages.

use minicbor::Decoder;
use minicbor::data::Type;

use crate::cbor::{ItemEncoder, Writer, decoder_at, message_code, skip, take_break};
use crate::error::{Constraint, DecodeError};

/// Keys 0 to 12 are all that any message uses.
const KEYS: usize = 13;

/// A payload whose structure has been checked.
pub(crate) struct Fields<'a> {
    payload: &'a [u8],
    code: u8,
    /// Where the value of each key begins; 0, which is inside the envelope, if there is none.
    places: [u8; KEYS],
}

impl<'a> Fields<'a> {
    /// Walks a payload of message type `code`.
    pub(crate) fn open(payload: &'a [u8], code: u8) -> Result<Self, DecodeError> {
        match message_code(payload)? {
            found if found == code => Self::open_any(payload),
            code => Err(DecodeError::OtherCode { code }),
        }
    }

    /// Walks a payload of any type.
    pub(crate) fn open_any(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let code = message_code(payload)?;
        let mut fields = Self { payload, code, places: [0; KEYS] };
        let doubled = fields.walk().ok_or(DecodeError::Payload { code })?;
        match doubled {
            Some(key) => Err(fields.error(key, Constraint::ValueInvalid)),
            None => Ok(fields),
        }
    }

    /// Fills in the places. Returns a key that was there twice; `None` if the CBOR is not one whole map.
    fn walk(&mut self) -> Option<Option<u8>> {
        // The head of the code is one byte or two; see `message_code`.
        let head = if self.payload.get(1) == Some(&0x18) { 3 } else { 2 };
        let mut decoder = decoder_at(self.payload, head);
        let mut doubled = None;
        if matches!(decoder.datatype().ok()?, Type::Null | Type::Undefined) {
            skip(&mut decoder)?;
        } else {
            let mut left = decoder.map().ok()?;
            while !Self::ends(&mut left, &mut decoder) {
                let known = Self::key(&mut decoder)?;
                let place = u8::try_from(decoder.position()).ok()?;
                skip(&mut decoder)?;
                let Some(slot) = known.and_then(|key| self.places.get_mut(usize::from(key))) else {
                    continue;
                };
                if *slot != 0 {
                    doubled = known;
                }
                *slot = place;
            }
        }
        (decoder.position() == self.payload.len()).then_some(doubled)
    }

    /// Reads a key: `None` inside if it is beyond ours, as negative ones are.
    fn key(decoder: &mut Decoder<'_>) -> Option<Option<u8>> {
        use Type::{I8, I16, I32, I64, Int, U8, U16, U32, U64};
        match decoder.datatype().ok()? {
            U8 | U16 | U32 | U64 => decoder.u64().ok().map(|key| u8::try_from(key).ok()),
            I8 | I16 | I32 | I64 | Int => skip(decoder).map(|()| None),
            _ => None,
        }
    }

    /// Says whether the map ends here, and otherwise counts the entry that comes next.
    fn ends(left: &mut Option<u64>, decoder: &mut Decoder<'_>) -> bool {
        match left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => take_break(decoder),
        }
    }

    /// Reads the value of `key`, if there is one.
    pub(crate) fn optional<T: Value<'a>>(&self, key: u8) -> Result<Option<T>, DecodeError> {
        let place = self.places.get(usize::from(key)).copied().unwrap_or(0);
        if place == 0 {
            return Ok(None);
        }
        let mut decoder = decoder_at(self.payload, usize::from(place));
        T::read(&mut decoder).map(Some).map_err(|constraint| self.error(key, constraint))
    }

    /// Reads the value of `key`.
    pub(crate) fn required<T: Value<'a>>(&self, key: u8) -> Result<T, DecodeError> {
        self.optional(key)?.ok_or_else(|| self.error(key, Constraint::FieldRequired))
    }

    /// Makes the error that refuses `key`.
    pub(crate) fn error(&self, key: u8, constraint: Constraint) -> DecodeError {
        DecodeError::Field { code: self.code, field: i32::from(key), constraint }
    }
}

/// A value of one field.
pub(crate) trait Value<'a>: Sized {
    /// Reads it. The item is known to be whole and well-formed.
    fn read(decoder: &mut Decoder<'a>) -> Result<Self, Constraint>;

    /// Writes it in its shortest form.
    fn write(&self, encoder: &mut ItemEncoder<'_>);
}

/// A field of a message: one that must be there, or an `Option`.
pub(crate) trait Slot<'a>: Sized {
    /// Reads the field under `key`.
    fn load(fields: &Fields<'a>, key: u8) -> Result<Self, DecodeError>;

    /// Writes the field under `key`. Keys go in ascending order.
    fn store(&self, writer: &mut Writer<'_>, key: u8);
}

impl<'a, T: Value<'a>> Slot<'a> for T {
    fn load(fields: &Fields<'a>, key: u8) -> Result<Self, DecodeError> {
        fields.required(key)
    }

    fn store(&self, writer: &mut Writer<'_>, key: u8) {
        self.write(writer.key(key));
    }
}

impl<'a, T: Value<'a>> Slot<'a> for Option<T> {
    fn load(fields: &Fields<'a>, key: u8) -> Result<Self, DecodeError> {
        fields.optional(key)
    }

    fn store(&self, writer: &mut Writer<'_>, key: u8) {
        if let Some(value) = self {
            value.store(writer, key);
        }
    }
}

/// A message that is read from a payload whose structure has been checked.
pub(crate) trait Load<'a>: Sized {
    /// Reads the fields.
    fn load(fields: &Fields<'a>) -> Result<Self, DecodeError>;
}

/// Defines a message: its type, and what it needs to go to and from a payload.
macro_rules! message {
    (
        $(#[$meta:meta])*
        pub struct $name:ident $(<$life:lifetime>)? = $code:literal {
            $( $(#[$fmeta:meta])* $key:literal => $field:ident: $type:ty, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
        pub struct $name $(<$life>)? { $( $(#[$fmeta])* pub $field: $type, )* }

        impl $(<$life>)? $name $(<$life>)? {
            /// Decodes a payload of this type.
            ///
            /// # Errors
            ///
            /// A payload of another type, or one whose fields are not those of this type.
            pub fn decode(payload: & $($life)? [u8]) -> Result<Self, $crate::error::DecodeError> {
                $crate::fields::Load::load(&$crate::fields::Fields::open(payload, Self::CODE)?)
            }

            /// Encodes the payload into `out` and returns its length in bytes.
            ///
            /// # Errors
            ///
            /// `out` is too short, or the payload would be longer than a frame can carry.
            pub fn encode(&self, out: &mut [u8]) -> Result<usize, $crate::error::EncodeError> {
                let mut writer = $crate::cbor::Writer::open(out, Self::CODE);
                $( $crate::fields::Slot::store(&self.$field, &mut writer, $key); )*
                writer.finish()
            }
        }
        $crate::fields::message!(@load $name $($life)? { $( $key => $field, )* });
        $crate::fields::framed!($name $(<$life>)? = $code);
    };
    (@load $name:ident { $( $key:literal => $field:ident, )* }) => {
        impl $crate::fields::Load<'_> for $name {
            fn load(fields: &$crate::fields::Fields<'_>) -> Result<Self, $crate::error::DecodeError> {
                Ok(Self { $( $field: $crate::fields::Slot::load(fields, $key)?, )* })
            }
        }
    };
    (@load $name:ident $life:lifetime { $( $key:literal => $field:ident, )* }) => {
        impl<$life> $crate::fields::Load<$life> for $name<$life> {
            fn load(fields: &$crate::fields::Fields<$life>) -> Result<Self, $crate::error::DecodeError> {
                Ok(Self { $( $field: $crate::fields::Slot::load(fields, $key)?, )* })
            }
        }
    };
    (
        $(#[$meta:meta])*
        pub struct $name:ident = $code:literal;
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
        pub struct $name;

        impl $name {
            /// Decodes a payload of this type.
            ///
            /// # Errors
            ///
            /// A payload of another type, or one that is neither empty nor a map.
            pub fn decode(payload: &[u8]) -> Result<Self, $crate::error::DecodeError> {
                $crate::fields::Fields::open(payload, Self::CODE).map(|_| Self)
            }

            /// Encodes the payload into `out` and returns its length in bytes.
            ///
            /// # Errors
            ///
            /// `out` is too short.
            pub fn encode(&self, out: &mut [u8]) -> Result<usize, $crate::error::EncodeError> {
                $crate::cbor::Writer::open(out, Self::CODE).finish()
            }
        }
        $crate::fields::framed!($name = $code);
    };
}
pub(crate) use message;

/// What every message type has, whether its fields are written by [`message!`] or by hand.
macro_rules! framed {
    ($name:ident $(<$life:lifetime>)? = $code:literal) => {
        impl $(<$life>)? $name $(<$life>)? {
            /// The message's code on the wire.
            pub const CODE: u8 = $code;

            /// Encodes the message into `out` as a whole frame and returns the frame's length in bytes.
            ///
            /// # Errors
            ///
            /// `out` is shorter than the frame ([`FRAME_MAX`](crate::FRAME_MAX) always suffices), or the
            /// payload would be longer than a frame can carry.
            pub fn encode_frame(
                &self,
                address: $crate::Address,
                out: &mut [u8],
            ) -> Result<usize, $crate::error::EncodeError> {
                let mut payload = [0; $crate::PAYLOAD_MAX];
                let length = self.encode(&mut payload)?;
                $crate::encode_frame(address, payload.get(..length).unwrap_or_default(), out)
            }
        }
    };
}
pub(crate) use framed;
