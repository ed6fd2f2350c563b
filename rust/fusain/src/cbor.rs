// SPDX-License-Identifier: Apache-2.0
//! CBOR by its heads: the envelope, a bounded walk over any item, a writer (PROTOCOL.md §3).
//!
//! Every item begins with a head: a major type in three bits, and an argument of up to eight bytes. All of the
//! protocol's CBOR is told from heads, so one function that reads them and one that writes them serve all items. A
//! library's methods for each type, which bring their diagnostics along, would be 2.7 KB of a device's code, and
//! could not skip, without an allocator, containers of indefinite length inside definite ones, which a peer may well
//! put under a key that we do not know (ARCHITECTURE.md, decision 20). minicbor checks both in the tests.

use crate::PAYLOAD_MAX;
use crate::error::{DecodeError, EncodeError};

/// Depth of nesting of a skipped value beyond which a payload is refused (PROTOCOL.md §3.3).
pub(crate) const NESTING_MAX: usize = 32;

/// The only head of the outer array that is accepted: two items, definite length.
pub(crate) const ENVELOPE: u8 = 0x82;

/// Major types.
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

pub(crate) const FALSE: u8 = 0xF4;
pub(crate) const TRUE: u8 = 0xF5;
pub(crate) const NULL: u8 = 0xF6;
pub(crate) const UNDEFINED: u8 = 0xF7;

const BYTES_INDEFINITE: u8 = 0x5F;
const TEXT_INDEFINITE: u8 = 0x7F;
const ARRAY_INDEFINITE: u8 = 0x9F;
const MAP_INDEFINITE: u8 = 0xBF;
const BREAK: u8 = 0xFF;

/// The bits of a head's first byte that are not its major type.
const INFO: u8 = 0x1F;

/// Reads the message code out of a payload, and looks at nothing behind it.
///
/// # Errors
///
/// [`DecodeError::Envelope`] if the payload does not begin with an array of two whose first item is a code
/// (PROTOCOL.md §3.1), or is longer than a frame can carry.
#[inline]
pub fn message_code(payload: &[u8]) -> Result<u8, DecodeError> {
    enveloped(payload).ok_or(DecodeError::Envelope)
}

/// The code, which fits a register as the error does not.
#[inline(never)]
fn enveloped(payload: &[u8]) -> Option<u8> {
    // By its bytes, since a decoder would accept wider heads as well.
    match payload {
        _ if payload.len() > PAYLOAD_MAX => None,
        [ENVELOPE, code @ 0..=0x17, ..] | [ENVELOPE, 0x18, code, ..] => Some(*code),
        _ => None,
    }
}

/// The first byte of an item's head.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct First(pub(crate) u8);

impl First {
    pub(crate) const fn major(self) -> u8 {
        self.0 >> 5
    }

    pub(crate) const fn is_indefinite(self) -> bool {
        self.0 & INFO == INFO
    }
}

/// Items, one behind the other.
#[derive(Clone, Copy)]
pub(crate) struct Items<'a> {
    /// What has not been read yet.
    pub(crate) rest: &'a [u8],
    /// Argument of the head read last; 0 where its item is of indefinite length.
    pub(crate) argument: u64,
}

impl<'a> Items<'a> {
    pub(crate) const fn new(rest: &'a [u8]) -> Self {
        Self { rest, argument: 0 }
    }

    /// Consumes so many bytes, if there are so many.
    pub(crate) fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    /// Consumes the head of the next item, whatever it is; `None` where it is cut short or not well-formed.
    #[inline(never)]
    pub(crate) fn head(&mut self) -> Option<First> {
        let (&first, rest) = self.rest.split_first()?;
        let info = first & INFO;
        // The bytes behind the first one that are the argument, where it is not in that one itself.
        let width = match info {
            0..=23 => 0,
            24..=27 => 1 << (info - 24),
            _ if matches!(
                first,
                BYTES_INDEFINITE | TEXT_INDEFINITE | ARRAY_INDEFINITE | MAP_INDEFINITE | BREAK
            ) =>
            {
                0
            }
            _ => return None,
        };
        let (bytes, rest) = rest.split_at_checked(width)?;
        let small = if info < 24 { u64::from(info) } else { 0 };
        self.argument = bytes.iter().fold(small, |argument, &byte| argument << 8 | u64::from(byte));
        self.rest = rest;
        Some(First(first))
    }

    /// Consumes the head of an array or a map, whose items come next.
    pub(crate) fn enter(&mut self, wanted: u8) -> Option<Open> {
        let first = self.head()?;
        if first.major() == wanted { Open::new(first, self.argument) } else { None }
    }

    /// Consumes one item, however it is nested, down to [`NESTING_MAX`]. Returns `None` where the CBOR is cut
    /// short or not well-formed.
    #[inline(never)]
    pub(crate) fn skip(&mut self) -> Option<()> {
        let mut stack = [Open::NOTHING; NESTING_MAX];
        let mut depth = 0;
        loop {
            let first = self.head()?;
            match first.major() {
                major::UNSIGNED | major::NEGATIVE => {}
                // Floats and simple values are all head; a break has nothing to end here.
                major::SIMPLE if first.0 != BREAK => {}
                major::BYTES | major::TEXT if !first.is_indefinite() => {
                    self.take(self.argument)?;
                }
                _ => {
                    *stack.get_mut(depth)? = Open::new(first, self.argument)?;
                    depth += 1;
                }
            }
            // The item just read may have been the last of its container, and that one the last of its own.
            while let Some(open) = depth.checked_sub(1).and_then(|top| stack.get_mut(top)) {
                if !open.ends(self)? {
                    break;
                }
                depth -= 1;
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

/// A container that has been entered, and what is still to come of it.
#[derive(Clone, Copy)]
pub(crate) struct Open {
    first: First,
    /// Items to come. Where nothing tells their number: 1 before the value of a map's entry, else 0.
    left: u8,
}

impl Open {
    const NOTHING: Self = Self { first: First(NULL), left: 0 };

    fn new(first: First, argument: u64) -> Option<Self> {
        let left = match first.major() {
            major::SIMPLE => return None,
            _ if first.is_indefinite() => 0,
            major::TAG => 1,
            // A payload cannot hold as many items as would not fit the count.
            major::MAP => u8::try_from(argument).ok()?.checked_mul(2)?,
            _ => u8::try_from(argument).ok()?,
        };
        Some(Self { first, left })
    }

    /// Says whether the container ends here, and otherwise counts the item that comes next.
    #[inline(never)]
    pub(crate) fn ends(&mut self, items: &mut Items<'_>) -> Option<bool> {
        if !self.first.is_indefinite() {
            let ends = self.left == 0;
            self.left = self.left.saturating_sub(1);
            return Some(ends);
        }
        let next = *items.rest.first()?;
        if next == BREAK {
            items.take(1)?;
            return (self.left == 0).then_some(true);
        }
        match self.first.0 {
            MAP_INDEFINITE => self.left ^= 1,
            ARRAY_INDEFINITE => {}
            // A string in parts: strings of its own type that are not in parts themselves.
            first if next == first || next >> 5 != first >> 5 => return None,
            _ => {}
        }
        Some(false)
    }

    /// Says whether exactly `count` items come, as far as the container tells beforehand.
    pub(crate) const fn may_hold(&self, count: u8) -> bool {
        self.first.is_indefinite() || self.left == count
    }
}

/// Writes one message: definite lengths, shortest heads, keys in the order in which the caller puts them.
///
/// It takes all there is to write and counts on when `out` is full, so that in the end it can be told which of its
/// two bounds was met.
pub(crate) struct Writer<'o> {
    out: &'o mut [u8],
    length: usize,
    map_at: usize,
    entries: u8,
}

impl<'o> Writer<'o> {
    const MAP: u8 = 0xA0;

    /// Begins a message of type `code` in `out`.
    pub(crate) fn open(out: &'o mut [u8], code: u8) -> Self {
        let mut writer = Self { out, length: 0, map_at: 0, entries: 0 };
        writer.bytes(&[ENVELOPE]);
        writer.head(major::UNSIGNED, u64::from(code));
        writer.map_at = writer.length;
        // An empty payload is null; the first entry makes a map of it.
        writer.bytes(&[NULL]);
        writer
    }

    /// Writes bytes as they are.
    // One copy for all the widths there are.
    #[inline(never)]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let place = self.out.get_mut(self.length..).unwrap_or_default();
        place.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.length = self.length.saturating_add(bytes.len());
    }

    /// Writes a head, with its argument in as few bytes as it takes.
    #[inline(never)]
    pub(crate) fn head(&mut self, major: u8, argument: u64) {
        let bytes = argument.to_be_bytes();
        let [.., last] = bytes;
        let (info, behind) = match argument {
            0..=0x17 => (last, 8),
            0x18..=0xFF => (24, 7),
            0x100..=0xFFFF => (25, 6),
            0x1_0000..=0xFFFF_FFFF => (26, 4),
            _ => (27, 0),
        };
        self.bytes(&[major << 5 | info]);
        self.bytes(bytes.get(behind..).unwrap_or_default());
    }

    /// Begins an entry: its value is written next.
    pub(crate) fn key(&mut self, key: u8) {
        self.entries += 1;
        self.head(major::UNSIGNED, u64::from(key));
    }

    /// Ends the message and returns its length in bytes.
    pub(crate) fn finish(self) -> Result<usize, EncodeError> {
        let Self { out, length, map_at, entries } = self;
        if length > PAYLOAD_MAX {
            return Err(EncodeError::PayloadTooLong);
        }
        if length > out.len() {
            return Err(EncodeError::BufferTooSmall);
        }
        // No message has so many keys that the head of its map would need a second byte.
        if let Some(head) = out.get_mut(map_at).filter(|_| entries > 0) {
            *head = Self::MAP | entries;
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const ARGUMENTS: [u64; 11] =
        [0, 1, 0x17, 0x18, 0xFF, 0x100, 0xFFFF, 0x1_0000, 0xFFFF_FFFF, 0x1_0000_0000, u64::MAX];

    #[test]
    fn heads_are_those_of_minicbor() {
        for argument in ARGUMENTS {
            let mut expected = Vec::new();
            minicbor::Encoder::new(&mut expected).u64(argument).unwrap();
            let mut out = [0; 9];
            let mut writer = Writer { out: &mut out, length: 0, map_at: 0, entries: 0 };
            writer.head(major::UNSIGNED, argument);
            let length = writer.length;
            assert_eq!(&out[..length], expected, "{argument:#x}");

            let mut items = Items::new(&expected);
            assert!(items.head() == Some(First(expected[0])), "{argument:#x}");
            assert_eq!((items.argument, items.rest), (argument, &[][..]));
            for cut in 0..expected.len() {
                assert!(Items::new(&expected[..cut]).head().is_none(), "{argument:#x} cut after {cut}");
            }
        }
    }

    #[test]
    fn every_first_byte_is_read_or_refused() {
        const BEHIND: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
        for first in 0..=u8::MAX {
            let bytes: Vec<u8> = [first].into_iter().chain(BEHIND).collect();
            let mut items = Items::new(&bytes);
            let read = items.head().map(|_| (items.argument, bytes.len() - items.rest.len()));
            let expected = match (first >> 5, first & INFO) {
                (_, info @ 0..=23) => Some((u64::from(info), 1)),
                (_, 24) => Some((0x01, 2)),
                (_, 25) => Some((0x0102, 3)),
                (_, 26) => Some((0x0102_0304, 5)),
                (_, 27) => Some((0x0102_0304_0506_0708, 9)),
                // Strings, arrays and maps of indefinite length, and the break that ends them.
                (2..=5 | 7, 31) => Some((0, 1)),
                _ => None,
            };
            assert_eq!(read, expected, "{first:#04x}");
        }
    }
}
