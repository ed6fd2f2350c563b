// SPDX-License-Identifier: Apache-2.0
//! CBOR (RFC 8949) as far as the protocol uses it: the envelope, and items of a payload (PROTOCOL.md §3).
//!
//! A general decoder costs a device more than the rest of this crate, and cannot skip an item that holds
//! containers of indefinite length inside definite ones without an allocator, which a peer may well put under a
//! key we do not know. The tests compare what is here with such a decoder.

use crate::PAYLOAD_MAX;
use crate::error::{DecodeError, EncodeError};

/// Depth of nesting of a skipped value beyond which a payload is refused (PROTOCOL.md §3.3).
pub(crate) const NESTING_MAX: usize = 32;

/// The only head of the outer array that is accepted: two items, definite length.
pub(crate) const ENVELOPE: u8 = 0x82;

/// Head byte that ends a container of indefinite length.
const BREAK: u8 = 0xFF;

/// Reads the message code out of a payload, and looks at nothing behind it.
///
/// # Errors
///
/// [`DecodeError::Envelope`] if the payload does not begin with an array of two whose first item is a code
/// (PROTOCOL.md §3.1), or is longer than a frame can carry.
pub fn message_code(payload: &[u8]) -> Result<u8, DecodeError> {
    match payload {
        _ if payload.len() > PAYLOAD_MAX => Err(DecodeError::Envelope),
        [ENVELOPE, code @ 0..=0x17, ..] | [ENVELOPE, 0x18, code, ..] => Ok(*code),
        _ => Err(DecodeError::Envelope),
    }
}

/// Major types of items.
pub(crate) mod major {
    pub(crate) const UNSIGNED: u8 = 0;
    pub(crate) const NEGATIVE: u8 = 1;
    pub(crate) const BYTES: u8 = 2;
    pub(crate) const TEXT: u8 = 3;
    pub(crate) const ARRAY: u8 = 4;
    pub(crate) const MAP: u8 = 5;
    pub(crate) const TAG: u8 = 6;
    pub(crate) const SIMPLE: u8 = 7;
}

/// The head of an item.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    pub(crate) major: u8,
    /// The low five bits of the first byte: the argument itself, or how wide it is.
    pub(crate) info: u8,
    /// A value, a length or a count; 0 with an indefinite length.
    pub(crate) argument: u64,
}

impl Head {
    const INDEFINITE: u8 = 0x1F;

    pub(crate) fn indefinite(self) -> bool {
        self.info == Self::INDEFINITE
    }
}

/// A position in a payload. Every method returns `None` where the CBOR is cut short or not well-formed.
#[derive(Clone)]
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn at_end(&self) -> bool {
        self.position >= self.bytes.len()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.position).copied()?;
        self.position += 1;
        Some(byte)
    }

    /// Consumes a break, if one is next.
    pub(crate) fn take_break(&mut self) -> bool {
        let found = self.bytes.get(self.position) == Some(&BREAK);
        self.position += usize::from(found);
        found
    }

    /// Consumes the head of the next item, which must not be a break.
    pub(crate) fn head(&mut self) -> Option<Head> {
        let first = self.byte()?;
        let (major, info) = (first >> 5, first & 0x1F);
        let mut argument = 0;
        match info {
            0..=0x17 => argument = u64::from(info),
            0x18..=0x1B => {
                for _ in 0..(1_u8 << (info - 0x18)) {
                    argument = (argument << 8) | u64::from(self.byte()?);
                }
            }
            Head::INDEFINITE if matches!(major, major::BYTES..=major::MAP) => {}
            _ => return None,
        }
        Some(Head { major, info, argument })
    }

    /// Consumes `length` bytes.
    pub(crate) fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let end = self.position.checked_add(usize::try_from(length).ok()?)?;
        let bytes = self.bytes.get(self.position..end)?;
        self.position = end;
        Some(bytes)
    }

    /// Consumes one item, however it is nested, down to [`NESTING_MAX`].
    pub(crate) fn skip(&mut self) -> Option<()> {
        let mut stack = [Open::Items(0); NESTING_MAX];
        let mut depth = 0;
        loop {
            if let Some(open) = self.enter()? {
                *stack.get_mut(depth)? = open;
                depth += 1;
            }
            // The item just read may have been the last of its container, and that one the last of its own.
            loop {
                let Some(open) = depth.checked_sub(1).and_then(|top| stack.get_mut(top)) else {
                    return Some(());
                };
                if !open.close(self)? {
                    break;
                }
                depth -= 1;
            }
        }
    }

    /// Consumes a simple item wholly, or the head of one that has items inside.
    fn enter(&mut self) -> Option<Option<Open>> {
        use major::{ARRAY, BYTES, MAP, TAG, TEXT};
        let head = self.head()?;
        // A payload cannot hold as many items as would not fit the count.
        let items = |items: u64| u8::try_from(items).ok().map(Open::Items);
        Some(match (head.major, head.indefinite()) {
            (BYTES | TEXT, false) => self.bytes(head.argument).map(|_| None)?,
            (BYTES | TEXT, true) => Some(Open::Chunks(head.major)),
            (ARRAY, false) => Some(items(head.argument)?),
            (ARRAY, true) => Some(Open::Array),
            (MAP, false) => Some(items(head.argument.checked_mul(2)?)?),
            (MAP, true) => Some(Open::Map { value_next: false }),
            (TAG, _) => Some(Open::Items(1)),
            _ => None,
        })
    }
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
    /// A string of indefinite length: definite strings of this major type.
    Chunks(u8),
}

impl Open {
    /// Says whether the container ends here, and otherwise counts the item that comes next.
    fn close(&mut self, walk: &mut Walk<'_>) -> Option<bool> {
        match self {
            Self::Items(0) => return Some(true),
            Self::Items(left) => *left -= 1,
            Self::Array => return Some(walk.take_break()),
            Self::Map { value_next } => {
                if walk.take_break() {
                    return (!*value_next).then_some(true);
                }
                *value_next = !*value_next;
            }
            Self::Chunks(major) => {
                if walk.take_break() {
                    return Some(true);
                }
                let next = walk.clone().head()?;
                (next.major == *major && !next.indefinite()).then_some(())?;
            }
        }
        Some(false)
    }
}

/// Writes one message: definite lengths, shortest heads, keys in the order in which the caller puts them.
pub(crate) struct Writer<'o> {
    out: &'o mut [u8],
    length: usize,
    map_at: usize,
    entries: u8,
    full: bool,
}

impl<'o> Writer<'o> {
    const NULL: u8 = 0xF6;
    const MAP: u8 = 0xA0;

    /// Begins a message of type `code` in `out`.
    pub(crate) fn open(out: &'o mut [u8], code: u8) -> Self {
        let mut writer = Self { out, length: 0, map_at: 0, entries: 0, full: false };
        writer.byte(ENVELOPE);
        writer.item(major::UNSIGNED, u64::from(code));
        writer.map_at = writer.length;
        // An empty payload is null; the first entry makes a map of it.
        writer.byte(Self::NULL);
        writer
    }

    fn byte(&mut self, byte: u8) {
        match self.out.get_mut(self.length) {
            Some(place) if self.length < PAYLOAD_MAX => *place = byte,
            _ => self.full = true,
        }
        // Counts on, so that `finish` can tell which of the two bounds was met.
        self.length += 1;
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.byte(byte));
    }

    /// Writes the head of an item in its shortest form.
    pub(crate) fn item(&mut self, major: u8, argument: u64) {
        let bytes = argument.to_be_bytes();
        let (info, width) = match argument {
            0..=0x17 => {
                let [.., last] = bytes;
                (last, 0)
            }
            0x18..=0xFF => (0x18, 1),
            0x100..=0xFFFF => (0x19, 2),
            0x1_0000..=0xFFFF_FFFF => (0x1A, 4),
            _ => (0x1B, 8),
        };
        self.byte((major << 5) | info);
        self.raw(bytes.get(8 - width..).unwrap_or_default());
    }

    /// Begins an entry: the value is written next.
    pub(crate) fn key(&mut self, key: u8) {
        self.entries += 1;
        self.item(major::UNSIGNED, u64::from(key));
    }

    /// Ends the message and returns its length in bytes.
    pub(crate) fn finish(self) -> Result<usize, EncodeError> {
        if self.full {
            let too_long = self.length > PAYLOAD_MAX;
            return Err(if too_long { EncodeError::PayloadTooLong } else { EncodeError::BufferTooSmall });
        }
        // No message has so many keys that the head of its map would need a second byte.
        if let Some(head) = self.out.get_mut(self.map_at).filter(|_| self.entries > 0) {
            *head = Self::MAP | self.entries;
        }
        Ok(self.length)
    }
}
