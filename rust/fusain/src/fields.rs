// SPDX-License-Identifier: Apache-2.0
//! Maps with integer keys: how every message reads and writes its fields (PROTOCOL.md §3).
//!
//! Reading goes in two steps. [`Fields::open`] walks the payload once and notes where the value of each known
//! key begins; after that the CBOR is known to be whole, and each field is decoded from its place. So the order
//! of keys, unknown keys, doubled keys and trailing bytes are dealt with in one function for all messages.
//!
//! What is wrong is noted, and the first such note counts in the end: [`Fields::finish`] gives a message only if
//! there is none. A field that is wrong or missing meanwhile reads as zero. Thus a message is read by a plain list
//! of calls, and no error has to be carried from each of them.

use crate::cbor::{First, Items, NULL, UNDEFINED, Writer, major, message_code};
use crate::error::{Constraint, DecodeError};

/// Keys 0 to 12 are all that any message uses.
const KEYS: usize = 13;

/// A payload whose structure has been checked, and what is wrong with it.
pub(crate) struct Fields<'a> {
    payload: &'a [u8],
    code: u8,
    /// Where the value of each key begins; 0, which is inside the envelope, if there is none.
    places: [u8; KEYS],
    error: Option<DecodeError>,
}

impl<'a> Fields<'a> {
    /// Walks a payload, which must be of message type `code`.
    pub(crate) fn open(payload: &'a [u8], code: u8) -> Result<Self, DecodeError> {
        match message_code(payload)? {
            found if found == code => Ok(Self::walked(payload, code)),
            code => Err(DecodeError::OtherCode { code }),
        }
    }

    /// As [`open`](Self::open), with what is wrong noted like any other error.
    // In its place: to hand on a result, all of it would be copied.
    #[inline(never)]
    pub(crate) fn opened(payload: &'a [u8], code: u8) -> Self {
        Self::open(payload, code).unwrap_or_else(|error| Self {
            payload,
            code,
            places: [0; KEYS],
            error: Some(error),
        })
    }

    /// Walks a payload that is enveloped with message type `code`.
    #[inline]
    pub(crate) fn walked(payload: &'a [u8], code: u8) -> Self {
        let mut fields = Self { payload, code, places: [0; KEYS], error: None };
        match fields.walk() {
            Some(None) => return fields,
            Some(Some(doubled)) => fields.refuse(doubled, Constraint::ValueInvalid),
            None => fields.error = Some(DecodeError::Payload { code }),
        }
        // Nothing is read of it.
        fields.places = [0; KEYS];
        fields
    }

    /// Fills in the places. Returns a key that was there twice; `None` if the CBOR is not one whole map.
    fn walk(&mut self) -> Option<Option<u8>> {
        // The head of the code is one byte or two; see `message_code`.
        let head = if self.code > 0x17 || self.payload.get(1) == Some(&0x18) { 3 } else { 2 };
        let mut items = Items::new(self.payload.get(head..)?);
        let mut doubled = None;
        if matches!(items.rest, [NULL | UNDEFINED, ..]) {
            items.take(1)?;
        } else {
            let mut map = items.enter(major::MAP)?;
            while !map.ends(&mut items)? {
                let key = items.head()?;
                let known = match key.major() {
                    major::UNSIGNED => usize::try_from(items.argument).ok(),
                    major::NEGATIVE => None,
                    _ => return None,
                };
                map.ends(&mut items)?;
                let place = u8::try_from(self.payload.len() - items.rest.len()).ok()?;
                items.skip()?;
                let Some((known, slot)) = known.and_then(|key| Some((key, self.places.get_mut(key)?))) else {
                    continue;
                };
                if *slot != 0 {
                    doubled = u8::try_from(known).ok();
                }
                *slot = place;
            }
        }
        items.rest.is_empty().then_some(doubled)
    }

    /// Notes what is wrong with the field under `key`.
    #[inline(never)]
    pub(crate) fn refuse(&mut self, key: u8, constraint: Constraint) {
        let error = DecodeError::Field { code: self.code, field: i32::from(key), constraint };
        self.error.get_or_insert(error);
    }

    /// Forgets what is wrong.
    pub(crate) const fn forgive(&mut self) {
        self.error = None;
    }

    /// Gives what has been read, unless something was wrong with it.
    pub(crate) fn finish<T>(self, message: T) -> Result<T, DecodeError> {
        self.error.map_or(Ok(message), Err)
    }

    fn place(&self, key: u8) -> usize {
        self.places.get(usize::from(key)).copied().map_or(0, usize::from)
    }

    /// The value of `key`, and all that follows it. If it is not there, the envelope, which is no value.
    pub(crate) fn value(&self, key: u8) -> Items<'a> {
        Items::new(self.payload.get(self.place(key)..).unwrap_or_default())
    }

    /// Begins to read the value of `key`: its head, and what follows that.
    #[inline(never)]
    pub(crate) fn item(&self, key: u8) -> (First, Items<'a>) {
        let mut items = self.value(key);
        // It was whole in the walk.
        let first = items.head().unwrap_or(First(NULL));
        (first, items)
    }

    /// Reads an unsigned integer of any width.
    #[inline(never)]
    pub(crate) fn number(&mut self, key: u8) -> u64 {
        let (first, items) = self.item(key);
        if first.major() != major::UNSIGNED {
            self.refuse(key, Constraint::TypeMismatch);
            return 0;
        }
        items.argument
    }

    /// Reads a byte string.
    #[inline(never)]
    pub(crate) fn bytes(&mut self, key: u8) -> &'a [u8] {
        let (first, mut items) = self.item(key);
        if first.major() == major::BYTES
            && !first.is_indefinite()
            && let Some(bytes) = items.take(items.argument)
        {
            return bytes;
        }
        self.refuse(key, Constraint::TypeMismatch);
        &[]
    }

    /// Reads the value of `key`, if there is one.
    pub(crate) fn optional<T: Value<'a>>(&mut self, key: u8) -> Option<T> {
        (self.place(key) != 0).then(|| T::read(self, key))
    }

    /// Reads the value of `key`.
    pub(crate) fn required<T: Value<'a>>(&mut self, key: u8) -> T {
        if self.place(key) == 0 {
            self.refuse(key, Constraint::FieldRequired);
        }
        T::read(self, key)
    }
}

/// A value of one field.
pub(crate) trait Value<'a>: Sized {
    /// Reads it; what is wrong with it is noted there.
    fn read(fields: &mut Fields<'a>, key: u8) -> Self;

    /// Writes it in its shortest form.
    fn write(&self, writer: &mut Writer<'_>);
}

/// A field of a message: one that must be there, or an `Option`.
pub(crate) trait Slot<'a>: Sized {
    /// Reads the field under `key`.
    fn load(fields: &mut Fields<'a>, key: u8) -> Self;

    /// Writes the field under `key`. Keys go in ascending order.
    fn store(&self, writer: &mut Writer<'_>, key: u8);
}

impl<'a, T: Value<'a>> Slot<'a> for T {
    fn load(fields: &mut Fields<'a>, key: u8) -> Self {
        fields.required(key)
    }

    fn store(&self, writer: &mut Writer<'_>, key: u8) {
        writer.key(key);
        self.write(writer);
    }
}

impl<'a, T: Value<'a>> Slot<'a> for Option<T> {
    fn load(fields: &mut Fields<'a>, key: u8) -> Self {
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
    /// Reads the fields. The message is good for nothing before [`Fields::finish`].
    fn load(fields: &mut Fields<'a>) -> Self;
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
                let mut fields = $crate::fields::Fields::opened(payload, Self::CODE);
                let message = $crate::fields::Load::load(&mut fields);
                fields.finish(message)
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
            fn load(fields: &mut $crate::fields::Fields<'_>) -> Self {
                Self { $( $field: $crate::fields::Slot::load(fields, $key), )* }
            }
        }
    };
    (@load $name:ident $life:lifetime { $( $key:literal => $field:ident, )* }) => {
        impl<$life> $crate::fields::Load<$life> for $name<$life> {
            fn load(fields: &mut $crate::fields::Fields<$life>) -> Self {
                Self { $( $field: $crate::fields::Slot::load(fields, $key), )* }
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
                $crate::fields::Fields::open(payload, Self::CODE)?.finish(Self)
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
