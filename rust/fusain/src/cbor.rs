// SPDX-License-Identifier: Apache-2.0
//! What the protocol needs of CBOR beyond minicbor: the envelope, a bounded skip, a writer (PROTOCOL.md §3).
//!
//! minicbor reads and writes every item. It cannot skip one that holds containers of indefinite length inside
//! definite ones without an allocator, which a peer may well put under a key we do not know; so the walk over
//! such items is done here, once per payload, and everything after it works on items known to be whole.

use core::convert::Infallible;

use minicbor::data::Type;
use minicbor::encode::Write;
use minicbor::{Decoder, Encoder};

use crate::PAYLOAD_MAX;
use crate::error::{DecodeError, EncodeError};

/// Depth of nesting of a skipped value beyond which a payload is refused (PROTOCOL.md §3.3).
pub(crate) const NESTING_MAX: usize = 32;

/// The only head of the outer array that is accepted: two items, definite length.
pub(crate) const ENVELOPE: u8 = 0x82;

/// Reads the message code out of a payload, and looks at nothing behind it.
///
/// # Errors
///
/// [`DecodeError::Envelope`] if the payload does not begin with an array of two whose first item is a code
/// (PROTOCOL.md §3.1), or is longer than a frame can carry.
pub fn message_code(payload: &[u8]) -> Result<u8, DecodeError> {
    // By its bytes, since a decoder would accept wider heads as well.
    match payload {
        _ if payload.len() > PAYLOAD_MAX => Err(DecodeError::Envelope),
        [ENVELOPE, code @ 0..=0x17, ..] | [ENVELOPE, 0x18, code, ..] => Ok(*code),
        _ => Err(DecodeError::Envelope),
    }
}

/// Makes a decoder that begins at `position`.
pub(crate) fn decoder_at(payload: &[u8], position: usize) -> Decoder<'_> {
    let mut decoder = Decoder::new(payload);
    decoder.set_position(position);
    decoder
}

/// Consumes `length` bytes, if there are so many.
fn advance(decoder: &mut Decoder<'_>, length: usize) -> Option<()> {
    let end = decoder.position().checked_add(length)?;
    (end <= decoder.input().len()).then(|| decoder.set_position(end))
}

/// Consumes a break, if one is next.
pub(crate) fn take_break(decoder: &mut Decoder<'_>) -> bool {
    decoder.datatype().is_ok_and(|next| next == Type::Break) && advance(decoder, 1).is_some()
}

/// Consumes one item, however it is nested, down to [`NESTING_MAX`]. Returns `None` where the CBOR is cut short
/// or not well-formed.
pub(crate) fn skip(decoder: &mut Decoder<'_>) -> Option<()> {
    let mut stack = [Open::Items(0); NESTING_MAX];
    let mut depth = 0;
    loop {
        if let Some(open) = enter(decoder)? {
            *stack.get_mut(depth)? = open;
            depth += 1;
        }
        // The item just read may have been the last of its container, and that one the last of its own.
        loop {
            let Some(open) = depth.checked_sub(1).and_then(|top| stack.get_mut(top)) else {
                return Some(());
            };
            if !open.close(decoder)? {
                break;
            }
            depth -= 1;
        }
    }
}

/// Consumes a simple item wholly, or the head of one that has items inside.
fn enter(decoder: &mut Decoder<'_>) -> Option<Option<Open>> {
    // A payload cannot hold as many items as would not fit the count.
    let items = |items: u64| u8::try_from(items).ok().map(Open::Items);
    let open = match decoder.datatype().ok()? {
        Type::Array | Type::ArrayIndef => match decoder.array().ok()? {
            Some(count) => items(count)?,
            None => Open::Array,
        },
        Type::Map | Type::MapIndef => match decoder.map().ok()? {
            Some(pairs) => items(pairs.checked_mul(2)?)?,
            None => Open::Map { value_next: false },
        },
        Type::Tag => {
            argument(decoder)?;
            Open::Items(1)
        }
        chunks @ (Type::BytesIndef | Type::StringIndef) => {
            advance(decoder, 1)?;
            Open::Chunks { text: chunks == Type::StringIndef }
        }
        Type::Bytes | Type::String => {
            let length = argument(decoder)?;
            return advance(decoder, usize::try_from(length).ok()?).map(|()| None);
        }
        Type::Break | Type::Unknown(_) => return None,
        // Integers, floats and simple values are all head.
        _ => return argument(decoder).map(|_| None),
    };
    Some(Some(open))
}

/// Consumes the head of any item that is not of indefinite length, and returns its argument.
///
/// minicbor has no such method, and those it has for each type do more than a skip may ask for: text, for one,
/// is well-formed without being UTF-8 (RFC 8949, §5.3.1).
fn argument(decoder: &mut Decoder<'_>) -> Option<u64> {
    // The longest head. Without its major type it is that of an unsigned integer.
    let mut bytes = [0; 9];
    let rest = decoder.input().get(decoder.position()..)?;
    bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let [first, ..] = &mut bytes;
    *first &= 0x1F;
    let mut head = Decoder::new(&bytes);
    let argument = head.u64().ok()?;
    advance(decoder, head.position())?;
    Some(argument)
}

/// A container that has been entered, and what is still to come of it.
#[derive(Clone, Copy)]
enum Open {
    /// So many items: an array, a map or a tag of definite length.
    Items(u8),
    /// An array of indefinite length.
    Array,
    /// A map of indefinite length, which may not end between a key and its value.
    Map { value_next: bool },
    /// A string of indefinite length: definite strings, either all of text or all of bytes.
    Chunks { text: bool },
}

impl Open {
    /// Says whether the container ends here, and otherwise counts the item that comes next.
    fn close(&mut self, decoder: &mut Decoder<'_>) -> Option<bool> {
        if let Self::Items(left) = self {
            let next = left.checked_sub(1);
            *left = next.unwrap_or(0);
            return Some(next.is_none());
        }
        let ends = take_break(decoder);
        match self {
            Self::Map { value_next } if ends => (!*value_next).then_some(true),
            Self::Map { value_next } => {
                *value_next = !*value_next;
                Some(false)
            }
            Self::Chunks { text } if !ends => {
                let chunk = if *text { Type::String } else { Type::Bytes };
                (decoder.datatype().ok()? == chunk).then_some(false)
            }
            _ => Some(ends),
        }
    }
}

/// What messages are written with. It cannot fail: see [`Payload`].
pub(crate) type ItemEncoder<'o> = Encoder<Payload<'o>>;

/// A payload that is being written. It takes all there is to write and counts on when it is full, so that in
/// the end it can be told which of its two bounds was met.
pub(crate) struct Payload<'o> {
    out: &'o mut [u8],
    length: usize,
}

impl Write for Payload<'_> {
    type Error = Infallible;

    // One copy for all the widths that the encoder writes.
    #[inline(never)]
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        let place = self.out.get_mut(self.length..).unwrap_or_default();
        place.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.length = self.length.saturating_add(bytes.len());
        Ok(())
    }
}

/// Writes one message: definite lengths, shortest heads, keys in the order in which the caller puts them.
pub(crate) struct Writer<'o> {
    encoder: ItemEncoder<'o>,
    map_at: usize,
    entries: u8,
}

impl<'o> Writer<'o> {
    const MAP: u8 = 0xA0;

    /// Begins a message of type `code` in `out`.
    pub(crate) fn open(out: &'o mut [u8], code: u8) -> Self {
        let mut encoder = Encoder::new(Payload { out, length: 0 });
        encoder.array(2).ok();
        encoder.u64(u64::from(code)).ok();
        let map_at = encoder.writer().length;
        // An empty payload is null; the first entry makes a map of it.
        encoder.null().ok();
        Self { encoder, map_at, entries: 0 }
    }

    /// Begins an entry: the value is written next, to what is returned.
    pub(crate) fn key(&mut self, key: u8) -> &mut ItemEncoder<'o> {
        self.entries += 1;
        self.encoder.u64(u64::from(key)).ok();
        &mut self.encoder
    }

    /// Ends the message and returns its length in bytes.
    pub(crate) fn finish(self) -> Result<usize, EncodeError> {
        let Payload { out, length } = self.encoder.into_writer();
        if length > PAYLOAD_MAX {
            return Err(EncodeError::PayloadTooLong);
        }
        if length > out.len() {
            return Err(EncodeError::BufferTooSmall);
        }
        // No message has so many keys that the head of its map would need a second byte.
        if let Some(head) = out.get_mut(self.map_at).filter(|_| self.entries > 0) {
            *head = Self::MAP | self.entries;
        }
        Ok(length)
    }
}
