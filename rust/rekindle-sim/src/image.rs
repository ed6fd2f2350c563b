// SPDX-License-Identifier: Apache-2.0
//! Small images for simulations, in MCUboot's format, made and checked without the code under test.
//!
//! The layout is that of design.md, "Image format": header, body, and an unprotected TLV area with the SHA-256 of
//! header and body. [`check`] is the bootloader model's judge; it shares no line with what the update session
//! verifies by, so that a mistake there is not repeated here.

use crate::flash::{FlashError, NorFlash, Store};
use crate::rng::Rng;
use mcuboot_image::digest::Sha256;
use rekindle_session::port::Area;

const HEADER_MAGIC: u32 = 0x96f3_b83d;
const TLV_INFO_MAGIC: u16 = 0x6907;
const TLV_PROTECTED_MAGIC: u16 = 0x6908;
const TLV_SHA256: u16 = 0x10;
const HEADER_SIZE: usize = 32;
/// `IMAGE_F_NON_BOOTABLE`.
const FLAG_NON_BOOTABLE: u32 = 0x10;
/// `IMAGE_F_ENCRYPTED_*` and `IMAGE_F_COMPRESSED_*`: a plain bootloader takes none of them.
const FLAGS_UNSUPPORTED: u32 = 0x04 | 0x08 | 0x200 | 0x400;

/// What an image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Major, minor, revision, build.
    pub version: (u8, u8, u16, u32),
    /// Bytes behind the header.
    pub body: Vec<u8>,
}

impl Recipe {
    /// A body of `len` seeded bytes.
    #[must_use]
    pub fn random(version: (u8, u8, u16, u32), len: usize, seed: u64) -> Self {
        let mut body = vec![0; len];
        Rng::new(seed).fork(0x1A6E).fill(&mut body);
        Self { version, body }
    }

    /// The recipe whose image is `total` bytes long in all.
    ///
    /// # Panics
    /// When `total` leaves no room for header and TLVs.
    #[must_use]
    pub fn sized(version: (u8, u8, u16, u32), total: usize, seed: u64) -> Self {
        let fixed = HEADER_SIZE + 4 + 4 + 32;
        Self::random(version, total.checked_sub(fixed).expect("an image has a header and TLVs"), seed)
    }

    /// The same image with `text` and a line end at the start of its body, for what a device reads there.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        let line = text.bytes().chain([b'\n']);
        self.body.iter_mut().zip(line).for_each(|(to, from)| *to = from);
        self
    }

    /// The image's bytes: without a signature, as for a bootloader of signature type "none".
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut image = Vec::with_capacity(self.body.len() + 72);
        image.extend(HEADER_MAGIC.to_le_bytes());
        image.extend(0_u32.to_le_bytes());
        image.extend((HEADER_SIZE as u16).to_le_bytes());
        image.extend(0_u16.to_le_bytes());
        image.extend((self.body.len() as u32).to_le_bytes());
        image.extend(0_u32.to_le_bytes());
        let (major, minor, revision, build) = self.version;
        image.extend([major, minor]);
        image.extend(revision.to_le_bytes());
        image.extend(build.to_le_bytes());
        image.extend(0_u32.to_le_bytes());
        image.extend(&self.body);
        let hash = digest(&image);
        image.extend(TLV_INFO_MAGIC.to_le_bytes());
        image.extend(40_u16.to_le_bytes());
        image.extend(TLV_SHA256.to_le_bytes());
        image.extend(32_u16.to_le_bytes());
        image.extend(hash);
        image
    }
}

/// SHA-256 of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(bytes);
    hash.finalize()
}

/// Where the parts of an image lie, by its header and TLV headers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Length of what the hash covers: header, body, protected TLVs.
    pub hashed: u32,
    /// Length of the unprotected TLV area.
    pub unprotected: u16,
    /// Whether header flags allow booting it.
    pub bootable: bool,
}

impl Extent {
    /// Length of the whole image.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.hashed + u32::from(self.unprotected)
    }
}

/// What stands where a header is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The magic.
    Present,
    /// Nothing: erased.
    Erased,
    /// Something else.
    Other,
}

/// Looks for a header's magic.
///
/// # Errors
/// What the flash reports.
pub fn header<S: Store>(flash: &mut NorFlash<S>, area: Area, at: u32) -> Result<Header, FlashError> {
    let mut magic = [0; 4];
    flash.read(area, at, &mut magic)?;
    Ok(match u32::from_le_bytes(magic) {
        HEADER_MAGIC => Header::Present,
        u32::MAX => Header::Erased,
        _ => Header::Other,
    })
}

/// Reads the extent of the image at `at`; `None` when its structure is not an image's, or it does not fit
/// `limit` bytes.
///
/// # Errors
/// What the flash reports.
pub fn extent<S: Store>(
    flash: &mut NorFlash<S>,
    area: Area,
    at: u32,
    limit: u32,
) -> Result<Option<Extent>, FlashError> {
    let mut head = [0; HEADER_SIZE];
    flash.read(area, at, &mut head)?;
    let word = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
    let half = |i: usize| u16::from_le_bytes([head[i], head[i + 1]]);
    if word(0) != HEADER_MAGIC {
        return Ok(None);
    }
    let protected = half(10);
    let flags = word(16);
    let body_end = u32::from(half(8)).checked_add(word(12));
    let Some(hashed) = body_end.and_then(|end| end.checked_add(u32::from(protected))) else {
        return Ok(None);
    };
    if hashed >= limit || limit - hashed < 4 {
        return Ok(None);
    }
    if protected != 0 {
        let mut info = [0; 4];
        flash.read(area, at + hashed - u32::from(protected), &mut info)?;
        let magic = u16::from_le_bytes([info[0], info[1]]);
        let len = u16::from_le_bytes([info[2], info[3]]);
        if magic != TLV_PROTECTED_MAGIC || len != protected {
            return Ok(None);
        }
    }
    let mut info = [0; 4];
    flash.read(area, at + hashed, &mut info)?;
    let unprotected = u16::from_le_bytes([info[2], info[3]]);
    if u16::from_le_bytes([info[0], info[1]]) != TLV_INFO_MAGIC
        || unprotected < 4
        || hashed + u32::from(unprotected) > limit
    {
        return Ok(None);
    }
    let bootable = flags & (FLAG_NON_BOOTABLE | FLAGS_UNSUPPORTED) == 0;
    Ok(Some(Extent { hashed, unprotected, bootable }))
}

/// Reads `len` bytes of an area.
///
/// # Errors
/// What the flash reports.
pub fn load<S: Store>(flash: &mut NorFlash<S>, area: Area, at: u32, len: u32) -> Result<Vec<u8>, FlashError> {
    let mut out = vec![0; len as usize];
    flash.read(area, at, &mut out)?;
    Ok(out)
}

/// Reads `len` bytes of an area as a programmer clipped to the chip would: power or not, and without counting.
///
/// # Errors
/// What the flash reports.
pub fn inspect<S: Store>(
    flash: &mut NorFlash<S>,
    area: Area,
    at: u32,
    len: u32,
) -> Result<Vec<u8>, FlashError> {
    let mut out = vec![0; len as usize];
    flash.peek(area, at, &mut out)?;
    Ok(out)
}

/// TLVs of the unprotected area: type and value.
fn tlvs(area: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut found = Vec::new();
    let mut rest = area.get(4..)?;
    while !rest.is_empty() {
        let kind = u16::from_le_bytes([*rest.first()?, *rest.get(1)?]);
        let len = usize::from(u16::from_le_bytes([*rest.get(2)?, *rest.get(3)?]));
        found.push((kind, rest.get(4..4 + len)?));
        rest = rest.get(4 + len..)?;
    }
    Some(found)
}

/// An image that is whole: its hash is right and, where a signature is asked for, that too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Where its parts lie.
    pub extent: Extent,
    /// MCUboot's name for the image: the SHA-256 of what the hash covers.
    pub hash: [u8; 32],
}

/// Decides whether the image at `at` is whole, as `bootutil_img_validate` does; `signed` judges the hash and the
/// TLVs (type and value, in order) that follow it.
///
/// # Errors
/// What the flash reports.
pub fn check<S: Store>(
    flash: &mut NorFlash<S>,
    area: Area,
    at: u32,
    limit: u32,
    signed: impl Fn(&[u8; 32], &[(u16, &[u8])]) -> bool,
) -> Result<Option<Whole>, FlashError> {
    let Some(extent) = extent(flash, area, at, limit)? else {
        return Ok(None);
    };
    let hash = digest(&load(flash, area, at, extent.hashed)?);
    let unprotected = load(flash, area, at + extent.hashed, u32::from(extent.unprotected))?;
    let Some(tlvs) = tlvs(&unprotected) else {
        return Ok(None);
    };
    let named = tlvs.iter().any(|(kind, value)| *kind == TLV_SHA256 && *value == hash);
    let whole = extent.bootable && named && signed(&hash, &tlvs);
    Ok(whole.then_some(Whole { extent, hash }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::Geometry;

    fn placed(image: &[u8]) -> NorFlash {
        let mut flash = NorFlash::new(Geometry::even(4, 8, 1024), 1);
        flash.install(Area::Secondary, 1024, image).unwrap();
        flash
    }

    fn judged(image: &[u8]) -> Option<Whole> {
        check(&mut placed(image), Area::Secondary, 1024, 6 * 1024, |_, _| true).unwrap()
    }

    #[test]
    fn a_built_image_is_whole_and_one_flipped_bit_is_not() {
        let image = Recipe::sized((1, 2, 3, 4), 3001, 9).build();
        assert_eq!(image.len(), 3001);
        let whole = judged(&image).unwrap();
        assert_eq!(whole.extent.total(), 3001);
        assert_eq!(whole.hash, digest(&image[..3001 - 40]));
        for at in [0, 9, 12, 16, 40, 2000, 2961, 2970, 3000] {
            let mut bad = image.clone();
            bad[at] ^= 1;
            assert_eq!(judged(&bad), None, "byte {at}");
        }
    }

    #[test]
    fn too_long_for_the_slot_is_not_whole() {
        let image = Recipe::sized((1, 0, 0, 0), 3000, 9).build();
        let mut flash = placed(&image);
        let fits = |flash: &mut NorFlash, limit| {
            check(flash, Area::Secondary, 1024, limit, |_, _| true).unwrap().is_some()
        };
        assert!(fits(&mut flash, 3000));
        assert!(!fits(&mut flash, 2999));
    }
}
