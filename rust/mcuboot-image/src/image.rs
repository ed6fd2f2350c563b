// SPDX-License-Identifier: Apache-2.0
//! An image that is in memory as a whole.

use crate::digest::Sha256;
use crate::{ImageError, ImageVersion, Scan, Step, Summary, tlv};
use core::fmt;

/// An image in memory whose structure was checked by a [`Scan`].
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    trailing: &'a [u8],
    summary: Summary,
}

/// One type-length-value record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Its type; see [`tlv`](crate::tlv).
    pub kind: u16,
    /// Where the record begins, in bytes from the image's first.
    pub offset: u32,
    /// Whether hash and signature cover it.
    pub protected: bool,
    /// Its value.
    pub value: &'a [u8],
}

/// Another image that must be there, at a version or later (TLV 0x40).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Number of the image pair.
    pub image: u8,
    /// Earliest version that will do.
    pub min_version: ImageVersion,
}

impl Dependency {
    /// The twelve bytes of the TLV.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 12] {
        let [a, b, c, d, e, f, g, h] = self.min_version.to_bytes();
        [self.image, 0, 0, 0, a, b, c, d, e, f, g, h]
    }

    /// Reads the twelve bytes of the TLV; `None` for another number of them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[image, _, _, _], version) = bytes.split_first_chunk::<4>()?;
        Some(Self { image, min_version: ImageVersion::from_bytes(version.try_into().ok()?) })
    }
}

impl<'a> Image<'a> {
    /// Checks the structure of the image that `bytes` begin with; more bytes may follow it.
    ///
    /// # Errors
    /// What the [`Scan`] finds wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let mut scan = Scan::new(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        while let Step::Read { offset, len } = scan.step() {
            scan.feed(part(bytes, offset, len).ok_or(ImageError::Misfed)?)?;
        }
        let summary = scan.finish()?;
        let total = usize::try_from(summary.total_len).map_err(|_| ImageError::Misfed)?;
        let (bytes, trailing) = bytes.split_at_checked(total).ok_or(ImageError::Misfed)?;
        Ok(Self { bytes, trailing, summary })
    }

    /// As [`parse`](Self::parse), but nothing may follow the image: the form in which it is sent to a device.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and [`ImageError::Trailing`].
    pub fn parse_exact(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let image = Self::parse(bytes)?;
        if image.trailing.is_empty() {
            return Ok(image);
        }
        let limit = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Err(ImageError::Trailing { total_len: image.summary.total_len, limit })
    }

    /// What the scan found.
    #[must_use]
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The bytes of the image.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes that follow it, for example the padding and the trailer of a slot.
    #[must_use]
    pub const fn trailing(&self) -> &'a [u8] {
        self.trailing
    }

    /// The body: what the compiler made.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        let header = self.summary.header;
        part(self.bytes, u32::from(header.header_size), header.image_size).unwrap_or_default()
    }

    /// The type-length-value records of both areas, in order.
    #[must_use]
    pub fn tlvs(&self) -> Tlvs<'a> {
        let hashed_len = self.summary.hashed_len;
        let start = hashed_len.saturating_sub(u32::from(self.summary.header.protected_size));
        Tlvs { bytes: self.bytes, hashed_len, cursor: start.saturating_add(tlv::HEAD_SIZE) }
    }

    /// The other images this one needs.
    pub fn dependencies(&self) -> impl Iterator<Item = Dependency> + use<'a> {
        self.tlvs().filter(|t| t.kind == tlv::DEPENDENCY).filter_map(|t| Dependency::from_bytes(t.value))
    }

    /// The SHA-256 of header, body and protected TLVs as they are.
    #[must_use]
    pub fn computed_hash(&self) -> [u8; 32] {
        Sha256::digest(part(self.bytes, 0, self.summary.hashed_len).unwrap_or_default())
    }

    /// Checks that the image is what its hash TLV says; who made it, the hash does not tell.
    ///
    /// # Errors
    /// [`VerifyError::Hash`]; [`VerifyError::Encrypted`] for an image whose hash covers bytes we cannot see.
    pub fn verify_hash(&self) -> Result<(), VerifyError> {
        if self.computed_hash() == self.summary.image_hash {
            Ok(())
        } else if self.summary.header.is_encrypted() {
            Err(VerifyError::Encrypted)
        } else {
            Err(VerifyError::Hash)
        }
    }

    /// Checks that the image is whole and that the owner of `key` signed it, as MCUboot does: of several signatures
    /// the one counts that follows the hash of this key.
    ///
    /// # Errors
    /// As [`verify_hash`](Self::verify_hash); [`VerifyError::Unsigned`], [`VerifyError::OtherKey`],
    /// [`VerifyError::Encoding`], [`VerifyError::Signature`].
    #[cfg(any(feature = "p256", feature = "ed25519"))]
    pub fn verify(&self, key: &crate::key::PublicKey) -> Result<(), VerifyError> {
        use crate::SignatureKind;
        self.verify_hash()?;
        let key_hash = key.key_hash();
        let kind = match key.signature_kind() {
            SignatureKind::EcdsaP256 => tlv::ECDSA,
            SignatureKind::Ed25519 => tlv::ED25519,
            SignatureKind::Other(kind) => kind,
        };
        let mut named = false;
        for record in self.tlvs().filter(|t| !t.protected) {
            if record.kind == tlv::KEY_HASH {
                named = record.value == key_hash;
            } else if record.kind == kind && named {
                return key.verify(&self.summary.image_hash, record.value);
            }
        }
        Err(if self.summary.signatures == 0 { VerifyError::Unsigned } else { VerifyError::OtherKey })
    }
}

/// `len` bytes at `offset`.
fn part(bytes: &[u8], offset: u32, len: u32) -> Option<&[u8]> {
    let offset = usize::try_from(offset).ok()?;
    bytes.get(offset..)?.get(..usize::try_from(len).ok()?)
}

/// Iterator of [`Image::tlvs`].
#[derive(Clone, Debug)]
pub struct Tlvs<'a> {
    bytes: &'a [u8],
    /// End of the protected area, where the other begins.
    hashed_len: u32,
    cursor: u32,
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        if self.cursor == self.hashed_len {
            self.cursor = self.cursor.checked_add(tlv::HEAD_SIZE)?;
        }
        let offset = self.cursor;
        let &[k0, k1, l0, l1] = part(self.bytes, offset, tlv::HEAD_SIZE)? else { return None };
        let len = u32::from(u16::from_le_bytes([l0, l1]));
        let start = offset.checked_add(tlv::HEAD_SIZE)?;
        let value = part(self.bytes, start, len)?;
        self.cursor = start.checked_add(len)?;
        let kind = u16::from_le_bytes([k0, k1]);
        Some(Tlv { kind, offset, protected: offset < self.hashed_len, value })
    }
}

/// Why an image is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// Its bytes are not those its hash TLV was made of.
    Hash,
    /// It is encrypted, so that its hash cannot be checked without the key.
    Encrypted,
    /// It has no signature.
    Unsigned,
    /// It is signed, but not with this key.
    OtherKey,
    /// The signature is not encoded as it must be.
    Encoding,
    /// The signature is wrong.
    Signature,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hash => {
                "the image does not match its hash (TLV 0x10): it is damaged or changed, get it again"
            }
            Self::Encrypted => {
                "the image is encrypted: its hash and signature can only be checked with the key"
            }
            Self::Unsigned => "the image has no signature; sign it",
            Self::OtherKey => "the image is not signed with this key; give the right key, or sign it anew",
            Self::Encoding => "the signature is not encoded as MCUboot wants it; do not trust this image",
            Self::Signature => {
                "the signature is wrong: changed, or not made with this key; do not trust this image"
            }
        })
    }
}

impl core::error::Error for VerifyError {}
