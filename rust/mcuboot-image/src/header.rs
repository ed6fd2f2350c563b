// SPDX-License-Identifier: Apache-2.0
//! The 32 bytes at the start of every image.

use crate::{ImageError, ImageVersion};

/// First word of an image (`IMAGE_MAGIC`).
pub const HEADER_MAGIC: u32 = 0x96f3_b83d;
/// Length of the header in bytes; `header_size` may be larger, the rest is padding before the vector table.
pub const HEADER_SIZE: usize = 32;

/// Bits of [`Header::flags`] (MCUboot design.md, "Image format").
pub mod flags {
    /// The body is encrypted with AES-128.
    pub const ENCRYPTED_AES128: u32 = 0x0000_0004;
    /// The body is encrypted with AES-256.
    pub const ENCRYPTED_AES256: u32 = 0x0000_0008;
    /// Not an application that can be started by itself.
    pub const NON_BOOTABLE: u32 = 0x0000_0010;
    /// To be copied to `load_addr` before it runs.
    pub const RAM_LOAD: u32 = 0x0000_0020;
    /// Built for the flash address in `load_addr`.
    pub const ROM_FIXED: u32 = 0x0000_0100;
    /// The body is compressed with LZMA1.
    pub const COMPRESSED_LZMA1: u32 = 0x0000_0200;
    /// The body is compressed with LZMA2.
    pub const COMPRESSED_LZMA2: u32 = 0x0000_0400;
    /// The compressed body went through the ARM Thumb filter.
    pub const COMPRESSED_ARM_THUMB: u32 = 0x0000_0800;
}

/// What is wrong with a header by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flaw {
    Magic,
    HeaderSize,
    Empty,
}

impl Flaw {
    pub(crate) const fn error(self, found: u32, header: &Header) -> ImageError {
        match self {
            Self::Magic => ImageError::Magic { found },
            Self::HeaderSize => ImageError::HeaderSize { size: header.header_size },
            Self::Empty => ImageError::Empty,
        }
    }
}

/// Header of an image (`struct image_header`; MCUboot design.md, "Image format").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// RAM or flash address the image is meant for; 0 unless a flag gives it a meaning.
    pub load_addr: u32,
    /// Bytes before the body, header included; at least [`HEADER_SIZE`].
    pub header_size: u16,
    /// Bytes of the protected TLV area, its own head included; 0: there is none.
    pub protected_size: u16,
    /// Bytes of the body.
    pub image_size: u32,
    /// See [`flags`].
    pub flags: u32,
    /// Version of the image.
    pub version: ImageVersion,
}

impl Header {
    /// Reads a header from the first [`HEADER_SIZE`] of `bytes`.
    ///
    /// # Errors
    /// [`ImageError::TooShort`], [`ImageError::Magic`], [`ImageError::HeaderSize`] (below 32),
    /// [`ImageError::Empty`] (no body). Lengths against the room there is are [`Scan`](crate::Scan)'s to check.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let (magic, header) = Self::read(bytes).ok_or(ImageError::TooShort)?;
        header.check(magic).map_err(|flaw| flaw.error(magic, &header))?;
        Ok(header)
    }

    /// Takes magic and header apart, whatever they are; `None` for too few bytes.
    pub(crate) fn read(bytes: &[u8]) -> Option<(u32, Self)> {
        let (words, _) = bytes.as_chunks::<4>();
        let [magic, load_addr, sizes, image_size, flags, release, build, _reserved, ..] = *words else {
            return None;
        };
        let [header0, header1, protected0, protected1] = sizes;
        let [major, minor, revision0, revision1] = release;
        let header = Self {
            load_addr: u32::from_le_bytes(load_addr),
            header_size: u16::from_le_bytes([header0, header1]),
            protected_size: u16::from_le_bytes([protected0, protected1]),
            image_size: u32::from_le_bytes(image_size),
            flags: u32::from_le_bytes(flags),
            version: ImageVersion {
                major,
                minor,
                revision: u16::from_le_bytes([revision0, revision1]),
                build: u32::from_le_bytes(build),
            },
        };
        Some((u32::from_le_bytes(magic), header))
    }

    /// Checks what can be checked without knowing how many bytes there are.
    pub(crate) fn check(&self, magic: u32) -> Result<(), Flaw> {
        if magic != HEADER_MAGIC {
            Err(Flaw::Magic)
        } else if usize::from(self.header_size) < HEADER_SIZE {
            Err(Flaw::HeaderSize)
        } else if self.image_size == 0 {
            Err(Flaw::Empty)
        } else {
            Ok(())
        }
    }

    /// The bytes [`parse`](Self::parse) reads; the last word is zero, as MCUboot leaves it.
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER_SIZE] {
        let mut out = [0; HEADER_SIZE];
        let fields = HEADER_MAGIC
            .to_le_bytes()
            .into_iter()
            .chain(self.load_addr.to_le_bytes())
            .chain(self.header_size.to_le_bytes())
            .chain(self.protected_size.to_le_bytes())
            .chain(self.image_size.to_le_bytes())
            .chain(self.flags.to_le_bytes())
            .chain(self.version.to_bytes());
        for (to, from) in out.iter_mut().zip(fields) {
            *to = from;
        }
        out
    }

    /// Offset of the TLVs: header and body; `None` if that is beyond 4 GiB.
    #[must_use]
    pub fn tlv_offset(&self) -> Option<u32> {
        self.image_size.checked_add(u32::from(self.header_size))
    }

    /// Bytes the hash and the signature cover: header, body and protected TLVs; `None` if beyond 4 GiB.
    #[must_use]
    pub fn hashed_len(&self) -> Option<u32> {
        self.tlv_offset()?.checked_add(u32::from(self.protected_size))
    }

    /// Tells whether the body is encrypted. The hash TLV then covers the plain body, so the stored bytes cannot
    /// be checked against it without the key.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.flags & (flags::ENCRYPTED_AES128 | flags::ENCRYPTED_AES256) != 0
    }

    /// Tells whether the body is compressed (the hash covers the compressed bytes).
    #[must_use]
    pub const fn is_compressed(&self) -> bool {
        self.flags & (flags::COMPRESSED_LZMA1 | flags::COMPRESSED_LZMA2 | flags::COMPRESSED_ARM_THUMB) != 0
    }

    /// Tells whether MCUboot may start the image.
    #[must_use]
    pub const fn is_bootable(&self) -> bool {
        self.flags & flags::NON_BOOTABLE == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        load_addr: 0x2000_0000,
        header_size: 0x200,
        protected_size: 12,
        image_size: 0x1234_5678,
        flags: flags::RAM_LOAD,
        version: ImageVersion::new(1, 2, 0x0304, 0x0506_0708),
    };

    #[test]
    fn layout_is_mcuboots() {
        let bytes = HEADER.emit();
        assert_eq!(bytes[..8], [0x3d, 0xb8, 0xf3, 0x96, 0, 0, 0, 0x20]);
        assert_eq!(bytes[8..20], [0, 2, 12, 0, 0x78, 0x56, 0x34, 0x12, 0x20, 0, 0, 0]);
        assert_eq!(bytes[20..], [1, 2, 4, 3, 8, 7, 6, 5, 0, 0, 0, 0]);
        assert_eq!(Header::parse(&bytes), Ok(HEADER));
        assert_eq!(Header::parse(&bytes[..31]), Err(ImageError::TooShort));
    }

    #[test]
    fn refuses_what_cannot_be_an_image() {
        let mut bytes = HEADER.emit();
        bytes[0] ^= 1;
        assert_eq!(Header::parse(&bytes), Err(ImageError::Magic { found: 0x96f3_b83c }));
        let bytes = Header { header_size: 31, ..HEADER }.emit();
        assert_eq!(Header::parse(&bytes), Err(ImageError::HeaderSize { size: 31 }));
        let bytes = Header { image_size: 0, ..HEADER }.emit();
        assert_eq!(Header::parse(&bytes), Err(ImageError::Empty));
    }

    #[test]
    fn lengths_do_not_wrap() {
        let huge = Header { image_size: u32::MAX - 0x200, ..HEADER };
        assert_eq!(huge.tlv_offset(), Some(u32::MAX));
        assert_eq!(huge.hashed_len(), None);
        assert_eq!(Header { image_size: u32::MAX, ..HEADER }.tlv_offset(), None);
    }
}
