// SPDX-License-Identifier: Apache-2.0
//! The envelope, and a walk over CBOR items that needs no allocation (PROTOCOL.md §3).
//!
//! minicbor decodes the values. What it cannot do without an allocator is skip an item that holds containers of
//! indefinite length inside definite ones, which a peer may well put under a key we do not know; so the walk is
//! done here, once per payload, and everything after it works on items known to be whole.

use crate::error::DecodeError;

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
/// (PROTOCOL.md §3.1).
pub fn message_code(payload: &[u8]) -> Result<u8, DecodeError> {
    match payload {
        [ENVELOPE, code @ 0..=0x17, ..] | [ENVELOPE, 0x18, code, ..] => Ok(*code),
        _ => Err(DecodeError::Envelope),
    }
}

/// The head of a CBOR item: major type, and its argument if it has one.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    pub(crate) major: u8,
    /// `None`: indefinite length.
    pub(crate) argument: Option<u64>,
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
        let major = first >> 5;
        let argument = match first & 0x1F {
            info @ 0..=0x17 => u64::from(info),
            info @ 0x18..=0x1B => {
                let mut value = 0;
                for _ in 0..(1_u8 << (info - 0x18)) {
                    value = (value << 8) | u64::from(self.byte()?);
                }
                value
            }
            0x1F if matches!(major, 2..=5) => return Some(Head { major, argument: None }),
            _ => return None,
        };
        Some(Head { major, argument: Some(argument) })
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
        let head = self.head()?;
        Some(match (head.major, head.argument) {
            (2 | 3, Some(length)) => {
                let end = self.position.checked_add(usize::try_from(length).ok()?)?;
                self.bytes.get(self.position..end)?;
                self.position = end;
                None
            }
            (2 | 3, None) => Some(Open::Chunks(head.major)),
            // A payload cannot hold as many items as would not fit the count.
            (4, Some(items)) => Some(Open::Items(u8::try_from(items).ok()?)),
            (5, Some(pairs)) => Some(Open::Items(u8::try_from(pairs.checked_mul(2)?).ok()?)),
            (4, None) => Some(Open::Array),
            (5, None) => Some(Open::Map { value_next: false }),
            (6, _) => Some(Open::Items(1)),
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
                (next.major == *major && next.argument.is_some()).then_some(())?;
            }
        }
        Some(false)
    }
}
