// SPDX-License-Identifier: Apache-2.0
//! Maps with integer keys: how every message reads and writes its fields (PROTOCOL.md §3).
//!
//! Reading goes in two steps. [`Fields::open`] walks the payload once and notes where the value of each known
//! key begins; after that the CBOR is known to be whole, and each field is decoded from its place. So the order
//! of keys, unknown keys, doubled keys and trailing bytes are dealt with in one function for all messages.

use minicbor::decode::Decoder;
use minicbor::encode::Encoder;
use minicbor::encode::write::Cursor;

use crate::PAYLOAD_MAX;
use crate::address::Address;
use crate::cbor::{ENVELOPE, Walk, message_code};
use crate::error::{Constraint, DecodeError, EncodeError};

/// Keys 0 to 12 are all that any message uses.
const KEYS: usize = 13;

const NULL: u8 = 0xF6;
const UNDEFINED: u8 = 0xF7;
const MAP: u8 = 0xA0;

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
        let found = message_code(payload)?;
        if payload.len() > PAYLOAD_MAX {
            return Err(DecodeError::Envelope);
        }
        if found != code {
            return Err(DecodeError::OtherCode { code: found });
        }
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
        let mut walk = Walk::new(self.payload, head);
        let mut doubled = None;
        if !matches!(self.payload.get(head), Some(&(NULL | UNDEFINED))) {
            let map = walk.head().filter(|map| map.major == 5)?;
            let mut left = map.argument;
            while !Self::ends(&mut left, &mut walk) {
                let key = walk.head().filter(|key| key.major <= 1)?;
                let place = u8::try_from(walk.position()).ok()?;
                walk.skip()?;
                // Keys beyond ours, negative ones among them, are skipped.
                let known = key.argument.filter(|_| key.major == 0).and_then(|key| usize::try_from(key).ok());
                let Some(slot) = known.and_then(|key| self.places.get_mut(key)) else { continue };
                if *slot != 0 {
                    doubled = known.and_then(|key| u8::try_from(key).ok());
                }
                *slot = place;
            }
        } else {
            walk.byte()?;
        }
        walk.at_end().then_some(doubled)
    }

    /// Says whether the map ends here, and otherwise counts the entry that comes next.
    fn ends(left: &mut Option<u64>, walk: &mut Walk<'_>) -> bool {
        match left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => walk.take_break(),
        }
    }

    /// Reads the value of `key`, if there is one.
    pub(crate) fn optional<T: Value<'a>>(&self, key: u8) -> Result<Option<T>, DecodeError> {
        let place = self.places.get(usize::from(key)).copied().unwrap_or(0);
        if place == 0 {
            return Ok(None);
        }
        let mut decoder = Decoder::new(self.payload);
        decoder.set_position(usize::from(place));
        T::read(&mut decoder).map(Some).map_err(|constraint| self.error(key, constraint))
    }

    /// Reads the value of `key`.
    pub(crate) fn required<T: Value<'a>>(&self, key: u8) -> Result<T, DecodeError> {
        self.optional(key)?.ok_or_else(|| self.error(key, Constraint::FieldRequired))
    }

    /// Says whether `key` is there.
    pub(crate) fn has(&self, key: u8) -> bool {
        self.places.get(usize::from(key)).is_some_and(|&place| place != 0)
    }

    /// Makes the error that refuses `key`.
    pub(crate) fn error(&self, key: u8, constraint: Constraint) -> DecodeError {
        DecodeError::Field { code: self.code, field: i32::from(key), constraint }
    }
}

/// Writes one message: definite, ascending as the caller goes, shortest.
pub(crate) struct Writer<'o> {
    encoder: Encoder<Cursor<&'o mut [u8]>>,
    map_at: usize,
    entries: u8,
    full: EncodeError,
    failed: bool,
}

impl<'o> Writer<'o> {
    /// Begins a message of type `code` in `out`.
    pub(crate) fn open(out: &'o mut [u8], code: u8) -> Self {
        let full =
            if out.len() < PAYLOAD_MAX { EncodeError::BufferTooSmall } else { EncodeError::PayloadTooLong };
        let room = out.len().min(PAYLOAD_MAX);
        let out = out.get_mut(..room).unwrap_or_default();
        let mut encoder = Encoder::new(Cursor::new(out));
        let failed = encoder.array(2).and_then(|encoder| encoder.u8(code)).is_err();
        let map_at = encoder.writer().position();
        let mut writer = Self { encoder, map_at, entries: 0, full, failed };
        // An empty payload is null. The first entry makes it a map.
        writer.write(|encoder| encoder.null().is_ok());
        writer
    }

    fn write(&mut self, write: impl FnOnce(&mut ItemEncoder<'o>) -> bool) {
        self.failed = self.failed || !write(&mut self.encoder);
    }

    /// Writes one entry. Keys go in ascending order.
    pub(crate) fn put<'v>(&mut self, key: u8, value: &impl Value<'v>) {
        self.entries += 1;
        self.write(|encoder| encoder.u8(key).is_ok() && value.write(encoder));
    }

    /// Ends the message and returns its length in bytes.
    pub(crate) fn finish(mut self) -> Result<usize, EncodeError> {
        if self.failed {
            return Err(self.full);
        }
        let end = self.encoder.writer().position();
        // No message has so many keys that the head of its map would need a second byte.
        if self.entries > 0 {
            let head = self.encoder.writer_mut().get_mut().get_mut(self.map_at);
            *head.ok_or(self.full)? = MAP | self.entries;
        }
        debug_assert!(self.entries <= 0x17 && ENVELOPE == 0x82);
        Ok(end)
    }
}

/// The encoder that values are written to.
pub(crate) type ItemEncoder<'o> = Encoder<Cursor<&'o mut [u8]>>;

/// A value of one field.
pub(crate) trait Value<'a>: Sized {
    /// Reads it. The item is known to be whole and well-formed.
    fn read(decoder: &mut Decoder<'a>) -> Result<Self, Constraint>;

    /// Writes it in its shortest form, and returns whether there was room.
    fn write(&self, encoder: &mut ItemEncoder<'_>) -> bool;
}

/// A field of a message: one that must be there, or an `Option`.
pub(crate) trait Slot<'a>: Sized {
    fn load(fields: &Fields<'a>, key: u8) -> Result<Self, DecodeError>;
    fn store(&self, writer: &mut Writer<'_>, key: u8);
}

impl<'a, T: Value<'a>> Slot<'a> for T {
    fn load(fields: &Fields<'a>, key: u8) -> Result<Self, DecodeError> {
        fields.required(key)
    }

    fn store(&self, writer: &mut Writer<'_>, key: u8) {
        writer.put(key, self);
    }
}

impl<'a, T: Value<'a>> Slot<'a> for Option<T> {
    fn load(fields: &Fields<'a>, key: u8) -> Result<Self, DecodeError> {
        fields.optional(key)
    }

    fn store(&self, writer: &mut Writer<'_>, key: u8) {
        if let Some(value) = self {
            writer.put(key, value);
        }
    }
}

impl Value<'_> for u64 {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
        decoder.u64().map_err(|_| Constraint::TypeMismatch)
    }

    fn write(&self, encoder: &mut ItemEncoder<'_>) -> bool {
        encoder.u64(*self).is_ok()
    }
}

/// Narrower unsigned integers; what does not fit is too high, not of another type.
macro_rules! narrow {
    ($($number:ty),*) => { $(
        impl Value<'_> for $number {
            fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
                Self::try_from(u64::read(decoder)?).map_err(|_| Constraint::ValueTooHigh)
            }

            fn write(&self, encoder: &mut ItemEncoder<'_>) -> bool {
                u64::from(*self).write(encoder)
            }
        }
    )* };
}
narrow!(u8, u16, u32);

impl Value<'_> for i32 {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
        let start = Walk::new(decoder.input(), decoder.position()).head();
        match start.map(|head| (head.major, head.argument)) {
            Some((0, Some(value))) => Self::try_from(value).map_err(|_| Constraint::ValueTooHigh),
            Some((1, Some(value))) => {
                Self::try_from(value).map(|value| -1 - value).map_err(|_| Constraint::ValueTooLow)
            }
            _ => Err(Constraint::TypeMismatch),
        }
    }

    fn write(&self, encoder: &mut ItemEncoder<'_>) -> bool {
        encoder.i32(*self).is_ok()
    }
}

impl Value<'_> for bool {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
        decoder.bool().map_err(|_| Constraint::TypeMismatch)
    }

    fn write(&self, encoder: &mut ItemEncoder<'_>) -> bool {
        encoder.bool(*self).is_ok()
    }
}

impl<'a> Value<'a> for &'a [u8] {
    fn read(decoder: &mut Decoder<'a>) -> Result<Self, Constraint> {
        decoder.bytes().map_err(|_| Constraint::TypeMismatch)
    }

    fn write(&self, encoder: &mut ItemEncoder<'_>) -> bool {
        encoder.bytes(self).is_ok()
    }
}

/// A SHA-256 digest.
impl Value<'_> for [u8; 32] {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
        <&[u8]>::read(decoder)?.try_into().map_err(|_| Constraint::ValueInvalid)
    }

    fn write(&self, encoder: &mut ItemEncoder<'_>) -> bool {
        encoder.bytes(self).is_ok()
    }
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
        pub struct $name $(<$life>)? { $( $(#[$fmeta])* pub $field: $type, )* }

        impl $(<$life>)? $name $(<$life>)? {
            /// Decodes a payload of this type.
            ///
            /// # Errors
            ///
            /// A payload of another type, or one whose fields are not those of this type.
            pub fn decode(payload: & $($life)? [u8]) -> Result<Self, $crate::error::DecodeError> {
                let fields = $crate::fields::Fields::open(payload, Self::CODE)?;
                Ok(Self { $( $field: $crate::fields::Slot::load(&fields, $key)?, )* })
            }

            /// Encodes the payload into `out` and returns its length in bytes.
            ///
            /// # Errors
            ///
            /// `out` is too short, or the payload would be longer than a frame can carry.
            pub fn encode(&self, out: &mut [u8]) -> Result<usize, $crate::error::EncodeError> {
                let mut writer = $crate::fields::Writer::open(out, Self::CODE);
                $( $crate::fields::Slot::store(&self.$field, &mut writer, $key); )*
                writer.finish()
            }
        }
        $crate::fields::framed!($name $(<$life>)? = $code);
    };
    (
        $(#[$meta:meta])*
        pub struct $name:ident = $code:literal;
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
                $crate::fields::Writer::open(out, Self::CODE).finish()
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

impl Value<'_> for Address {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
        u64::read(decoder).map(Self::new)
    }

    fn write(&self, encoder: &mut ItemEncoder<'_>) -> bool {
        self.get().write(encoder)
    }
}

/// Any width of float, and integers too: JavaScript peers send a whole number as an integer.
impl Value<'_> for f64 {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Constraint> {
        let mut walk = Walk::new(decoder.input(), decoder.position());
        let first = walk.clone().byte();
        let head = walk.head().and_then(|head| Some((head.major, head.argument?)));
        let (major, argument) = head.ok_or(Constraint::TypeMismatch)?;
        let narrow = u32::try_from(argument).unwrap_or(0);
        match (major, first) {
            // An integer beyond 53 bits loses its last digits, as it would in the peer's own arithmetic.
            (0, _) => Ok(argument as Self),
            (1, _) => Ok(-1.0 - argument as Self),
            (7, Some(0xF9)) => Ok(f64_from_half(narrow)),
            (7, Some(0xFA)) => Ok(Self::from(f32::from_bits(narrow))),
            (7, Some(0xFB)) => Ok(Self::from_bits(argument)),
            _ => Err(Constraint::TypeMismatch),
        }
    }

    /// Always 64 bits wide: what the protocol's C and Go peers send and expect.
    fn write(&self, encoder: &mut ItemEncoder<'_>) -> bool {
        encoder.f64(*self).is_ok()
    }
}

/// Widens a half-precision float by its bits (RFC 8949, appendix D).
fn f64_from_half(half: u32) -> f64 {
    let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
    let mantissa = half & 0x03FF;
    match (half >> 10) & 0x1F {
        // 2^-24, the step of the subnormal numbers.
        0 => sign * f64::from(mantissa) / 16_777_216.0,
        0x1F if mantissa == 0 => sign * f64::INFINITY,
        0x1F => f64::NAN,
        exponent => sign * f64::from(f32::from_bits(((exponent + 112) << 23) | (mantissa << 13))),
    }
}
