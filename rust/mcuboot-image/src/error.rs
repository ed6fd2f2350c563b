// SPDX-License-Identifier: Apache-2.0
//! Why bytes are not an image.

use crate::tlv;
use core::fmt;

/// Why bytes are not an image that MCUboot would take; says where, in bytes from the image's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageError {
    /// Fewer bytes than a header has.
    TooShort,
    /// Does not begin with [`HEADER_MAGIC`](crate::HEADER_MAGIC).
    Magic {
        /// The word that stands there.
        found: u32,
    },
    /// `header_size` is below 32.
    HeaderSize {
        /// The value in the header.
        size: u16,
    },
    /// The body has no bytes.
    Empty,
    /// A part reaches beyond the bytes there are (or beyond 4 GiB).
    PastEnd {
        /// Where the part begins.
        offset: u32,
        /// The bytes there are.
        limit: u32,
    },
    /// No TLV area where one must begin.
    AreaMagic {
        /// Where it must begin.
        offset: u32,
        /// What stands there.
        found: u16,
    },
    /// A TLV area is shorter than its own head.
    AreaSize {
        /// Where the area begins.
        offset: u32,
        /// Its total length as it says.
        size: u16,
    },
    /// Header and protected TLV area differ on its length (0: no such area).
    ProtectedSize {
        /// Where the area begins or should.
        offset: u32,
        /// Length in the header.
        header: u16,
        /// Length in the area.
        area: u16,
    },
    /// A TLV reaches beyond its area.
    TlvOverrun {
        /// Where the TLV begins.
        offset: u32,
        /// End of the area.
        end: u32,
    },
    /// A TLV's length is not what its type demands.
    TlvLength {
        /// Where the TLV begins.
        offset: u32,
        /// Its type.
        kind: u16,
        /// Its length.
        len: u16,
    },
    /// A TLV that must be single is there twice.
    Duplicate {
        /// Where the second begins.
        offset: u32,
        /// Its type.
        kind: u16,
    },
    /// A TLV that decides something stands where the signature does not cover it, or a hash or signature stands
    /// where it would have to cover itself.
    Misplaced {
        /// Where the TLV begins.
        offset: u32,
        /// Its type.
        kind: u16,
    },
    /// Hashed with SHA-384 or SHA-512.
    HashUnsupported {
        /// Where the TLV begins.
        offset: u32,
        /// Its type.
        kind: u16,
    },
    /// No SHA-256 TLV.
    HashMissing {
        /// Where the TLVs begin.
        offset: u32,
    },
    /// More bytes than the image has, for example an image padded to its slot.
    Trailing {
        /// Length of the image.
        total_len: u32,
        /// The bytes there are.
        limit: u32,
    },
    /// The scan got other bytes than it asked for; a mistake of the caller, not of the image.
    Misfed,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooShort => {
                f.write_str("shorter than an image header (32 bytes): not a signed image, or cut off")
            }
            Self::Magic { found: u32::MAX } => f.write_str(
                "no image: erased flash at offset 0; is the image offset of this swap mode right?",
            ),
            Self::Magic { found } => write!(
                f,
                "no image: 0x{found:08x} at offset 0, not 0x{:08x}; give the signed image, not the plain binary",
                crate::HEADER_MAGIC
            ),
            Self::HeaderSize { size } => write!(f, "header_size {size} at offset 8 is below 32; {DAMAGED}"),
            Self::Empty => {
                f.write_str("image_size at offset 12 is 0: the image has no body; sign the right file")
            }
            Self::PastEnd { offset, limit } => write!(
                f,
                "the part at offset {offset} reaches beyond the {limit} bytes there are: the image is cut off, \
                 damaged, or too large for the slot; get it again, or shrink it"
            ),
            Self::Trailing { total_len, limit } => write!(
                f,
                "{} bytes follow the image, which ends at offset {total_len}: send it as signed, not padded to the \
                 slot (no --pad, --confirm)",
                limit.saturating_sub(total_len)
            ),
            Self::Misfed => {
                f.write_str("the scan was given other bytes than it asked for; a fault in the caller")
            }
            _ => self.fmt_tlv(f),
        }
    }
}

impl ImageError {
    /// The errors within the TLV areas.
    fn fmt_tlv(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::AreaMagic { offset, found } => write!(
                f,
                "0x{found:04x} at offset {offset}, where the TLVs must begin (0x6907, or 0x6908 if protected): \
                 unsigned or damaged; sign the image"
            ),
            Self::AreaSize { offset, size } => {
                write!(f, "TLV area at offset {offset} claims {size} bytes, less than its head; {DAMAGED}")
            }
            Self::ProtectedSize { offset, header, area } => write!(
                f,
                "protected TLVs at offset {offset}: {header} bytes by the header, {area} by the area; {DAMAGED}"
            ),
            Self::TlvOverrun { offset, end } => {
                write!(f, "TLV at offset {offset} reaches beyond its area, which ends at {end}; {DAMAGED}")
            }
            Self::TlvLength { offset, kind, len } => {
                write!(f, "TLV 0x{kind:02x} at offset {offset} has {len} bytes, ")?;
                match tlv::fixed_len(kind) {
                    Some(must) => write!(f, "must have {must}; {DAMAGED}"),
                    None => write!(f, "more or fewer than its type can have; {DAMAGED}"),
                }
            }
            Self::Duplicate { offset, kind } => {
                write!(f, "second TLV 0x{kind:02x} at offset {offset}; one is allowed, sign the image anew")
            }
            Self::Misplaced { offset, kind } => write!(
                f,
                "TLV 0x{kind:02x} at offset {offset} belongs {} the protected area; do not trust this image",
                if tlv::unprotected_only(kind) { "outside of" } else { "into" }
            ),
            Self::HashUnsupported { offset, kind } => write!(
                f,
                "hash TLV 0x{kind:02x} at offset {offset} (SHA-384 or SHA-512) is not supported; sign with SHA-256"
            ),
            Self::HashMissing { offset } => {
                write!(f, "no SHA-256 TLV (0x10) in the TLVs at offset {offset}; sign the image")
            }
            _ => f.write_str("damaged image"),
        }
    }
}

/// What to do about bytes that no tool would have written.
const DAMAGED: &str = "the image is damaged, get it again";

impl core::error::Error for ImageError {}
