// SPDX-License-Identifier: Apache-2.0
//! Makes images on a host, byte for byte as imgtool does.
//!
//! The same body, options and key give the same bytes as imgtool 2.5.0, except that imgtool draws a random number for
//! each ECDSA signature and this crate derives it (RFC 6979), so that a release can be made again.

mod key;
mod uuid;

pub use key::{KeyFileError, SigningKey};
pub use uuid::{UuidError, class_uuid, vendor_uuid};

use crate::digest::Sha256;
use crate::slot::SwapMode;
use crate::trailer::Trailer;
use crate::{Dependency, HEADER_SIZE, Header, Image, ImageError, ImageVersion, VerifyError, flags, tlv};
use std::vec;
use std::vec::Vec;

/// Custom TLVs must have types in this range (`TLV_VENDOR_RES_MIN`, `TLV_VENDOR_RES_MAX`).
pub const CUSTOM_TLV: core::ops::RangeInclusive<u16> = 0x00a0..=0xfffe;

/// What imgtool's `sign` takes as options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignOptions {
    /// Version of the image (`--version`).
    pub version: ImageVersion,
    /// Bytes before the body, at least 32 (`--header-size`); `CONFIG_ROM_START_OFFSET` in Zephyr.
    pub header_size: u16,
    /// Puts `header_size` bytes before the body (`--pad-header`). Else the body must begin with as many zeros.
    pub pad_header: bool,
    /// Write block of the flash in bytes: a power of two up to 32 (`--align`).
    pub align: u8,
    /// Largest write block of both slots, if above `align` (`--max-align`): 8, 16 or 32.
    pub max_align: Option<u8>,
    /// Bytes of the slot (`--slot-size`): an image that does not fit, trailer included, is refused.
    pub slot_size: Option<u32>,
    /// Sectors MCUboot keeps a swap status for (`--max-sectors`).
    pub max_sectors: u32,
    /// MCUboot overwrites instead of swapping (`--overwrite-only`): a smaller trailer.
    pub overwrite_only: bool,
    /// Fills the slot and writes the magic that asks for a swap (`--pad`); for a programmer, never for an update.
    pub pad: bool,
    /// As `pad`, and marks the image as confirmed (`--confirm`).
    pub confirm: bool,
    /// What erased flash reads as (`--erased-val`).
    pub erased_value: u8,
    /// RAM address to run at, unless 0 (`--load-addr`).
    pub load_addr: u32,
    /// Flash address the image is built for, unless 0 (`--rom-fixed`); excludes `load_addr`.
    pub rom_fixed: u32,
    /// Marks the image as not startable by itself (`--non-bootable`).
    pub non_bootable: bool,
    /// Security counter (`--security-counter`); for `auto` see [`ImageVersion::security_counter`].
    pub security_counter: Option<u32>,
    /// Other images this one needs (`--dependencies`).
    pub dependencies: Vec<Dependency>,
    /// UUID of the vendor (`--vid`); see [`vendor_uuid`].
    pub vendor: Option<[u8; 16]>,
    /// UUID of the device class (`--cid`); see [`class_uuid`].
    pub class: Option<[u8; 16]>,
    /// Further protected TLVs, types within [`CUSTOM_TLV`] (`--custom-tlv`).
    pub custom: Vec<(u16, Vec<u8>)>,
    /// Pads ECDSA signatures to 72 bytes, for MCUboot before 1.5 (`--pad-sig`).
    pub pad_signature: bool,
}

impl SignOptions {
    /// imgtool's defaults.
    #[must_use]
    pub const fn new(version: ImageVersion, header_size: u16) -> Self {
        Self {
            version,
            header_size,
            pad_header: false,
            align: 1,
            max_align: None,
            slot_size: None,
            max_sectors: 128,
            overwrite_only: false,
            pad: false,
            confirm: false,
            erased_value: 0xff,
            load_addr: 0,
            rom_fixed: 0,
            non_bootable: false,
            security_counter: None,
            dependencies: Vec::new(),
            vendor: None,
            class: None,
            custom: Vec::new(),
            pad_signature: false,
        }
    }
}

/// Why no image was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// A header does not fit into `header_size`.
    #[error(
        "header size {0} is below 32: give the one the application was linked with (CONFIG_ROM_START_OFFSET)"
    )]
    HeaderSize(u16),
    /// Nothing follows the space for the header.
    #[error(
        "the binary has {len} bytes, which leaves none after the {header_size} of the header; is it the right file?"
    )]
    BodyTooShort {
        /// Bytes of the binary.
        len: usize,
        /// Bytes the header takes.
        header_size: u16,
    },
    /// The binary does not begin with room for the header.
    #[error(
        "byte 0x{value:02x} at offset {offset}, where the header must go: link the application with room for it \
         (CONFIG_ROM_START_OFFSET), or ask to pad the header; an image that is signed already cannot be signed again"
    )]
    HeaderNotEmpty {
        /// Where the first such byte is.
        offset: usize,
        /// The byte.
        value: u8,
    },
    /// `align` or `max_align` is none that MCUboot knows.
    #[error("alignment {0}: must be 1, 2, 4, 8, 16 or 32 (max-align: 8, 16 or 32, and no less than align)")]
    Alignment(u8),
    /// Both `load_addr` and `rom_fixed`.
    #[error("an image either runs from RAM (load address) or is fixed in flash (rom-fixed): give one")]
    LoadAndRomFixed,
    /// A custom TLV has a type that is not free.
    #[error("custom TLV 0x{0:04x}: types must be within 0x00a0..=0xfffe and differ from one another")]
    CustomTlv(u16),
    /// The protected TLVs are longer than their area can be.
    #[error("{0} bytes of protected TLVs: at most 65535, custom TLVs must be shorter")]
    TlvsTooLong(usize),
    /// Image and trailer do not fit into the slot.
    #[error(
        "the image ({image} bytes) and MCUboot's trailer ({trailer}) exceed the slot ({slot} bytes) by {}: shrink the \
         application, or give the right slot size",
        image.saturating_add(*trailer).saturating_sub(u64::from(*slot))
    )]
    SlotOverflow {
        /// Bytes of the image with its TLVs.
        image: u64,
        /// Bytes of the trailer.
        trailer: u64,
        /// Bytes of the slot.
        slot: u32,
    },
    /// Padding without a slot size, or to one that no slot has.
    #[error("padding needs the size of the slot, a multiple of the write block and of 8 bytes")]
    SlotSize,
    /// The image is beyond 4 GiB.
    #[error("the image is beyond 4 GiB")]
    TooLarge,
    /// The image that was made is not one; a fault in this program.
    #[error("the image made is not valid ({0}); this is a fault in the program, report it")]
    Structure(#[from] ImageError),
    /// The signature that was made is not valid; a fault in this program or in the machine.
    #[error(
        "the signature made does not check ({0}); this is a fault in the program or the machine, report it"
    )]
    Check(#[from] VerifyError),
}

impl ImageVersion {
    /// The security counter that imgtool derives from a version (`--security-counter auto`).
    #[must_use]
    pub const fn security_counter(&self) -> u32 {
        // Major and minor fit; a revision above 65535 does not exist. imgtool adds, and so may carry into none.
        ((self.major as u32) << 24) | ((self.minor as u32) << 16) | self.revision as u32
    }
}

/// Makes a signed image of `body`.
///
/// # Errors
/// Options that contradict each other or the body, and what does not fit into the slot.
pub fn sign(body: &[u8], options: &SignOptions, key: &SigningKey) -> Result<Vec<u8>, SignError> {
    make(body, options, Some(key))
}

/// Makes an image of `body` with a hash but without a signature, for bootloaders that check none.
///
/// # Errors
/// As [`sign`].
pub fn unsigned(body: &[u8], options: &SignOptions) -> Result<Vec<u8>, SignError> {
    make(body, options, None)
}

fn make(body: &[u8], options: &SignOptions, key: Option<&SigningKey>) -> Result<Vec<u8>, SignError> {
    let mut image = payload(body, options)?;
    let protected = protected_tlvs(options)?;
    put_header(&mut image, options, protected.len())?;
    image.extend_from_slice(&protected);

    let hash = Sha256::digest(&image);
    let mut area = Area::new(tlv::AREA_MAGIC);
    area.add(tlv::SHA256, &hash)?;
    if let Some(key) = key {
        let mut signature = key.sign_hash(&hash);
        if options.pad_signature && key.signature_tlv() == tlv::ECDSA {
            signature.resize(crate::SIGNATURE_MAX, 0);
        }
        area.add(tlv::KEY_HASH, &key.public_key().key_hash())?;
        area.add(key.signature_tlv(), &signature)?;
    }
    image.extend_from_slice(&area.finish()?);

    // An image that a device refuses is found out here and not in the field.
    let made = Image::parse_exact(&image)?;
    match key {
        Some(key) => made.verify(&key.public_key())?,
        None => made.verify_hash()?,
    }
    fit(&mut image, options)?;
    Ok(image)
}

/// The body behind room for the header.
fn payload(body: &[u8], options: &SignOptions) -> Result<Vec<u8>, SignError> {
    let header_size = usize::from(options.header_size);
    if header_size < HEADER_SIZE {
        return Err(SignError::HeaderSize(options.header_size));
    }
    let mut payload = vec![options.erased_value; if options.pad_header { header_size } else { 0 }];
    payload.extend_from_slice(body);
    if payload.len() <= header_size {
        return Err(SignError::BodyTooShort { len: body.len(), header_size: options.header_size });
    }
    if !options.pad_header {
        let room = payload.iter().take(header_size).copied().enumerate();
        if let Some((offset, value)) = room.into_iter().find(|(_, value)| *value != 0) {
            return Err(SignError::HeaderNotEmpty { offset, value });
        }
    }
    Ok(payload)
}

/// Writes the header over the first bytes of the payload.
fn put_header(payload: &mut [u8], options: &SignOptions, protected: usize) -> Result<(), SignError> {
    if options.load_addr != 0 && options.rom_fixed != 0 {
        return Err(SignError::LoadAndRomFixed);
    }
    let mut flags = 0;
    for (on, flag) in [
        (options.load_addr != 0, flags::RAM_LOAD),
        (options.rom_fixed != 0, flags::ROM_FIXED),
        (options.non_bootable, flags::NON_BOOTABLE),
    ] {
        flags |= if on { flag } else { 0 };
    }
    let image_size = payload.len().saturating_sub(usize::from(options.header_size));
    let header = Header {
        load_addr: options.load_addr | options.rom_fixed,
        header_size: options.header_size,
        protected_size: u16::try_from(protected).map_err(|_| SignError::TlvsTooLong(protected))?,
        image_size: u32::try_from(image_size).map_err(|_| SignError::TooLarge)?,
        flags,
        version: options.version,
    };
    for (to, from) in payload.iter_mut().zip(header.emit()) {
        *to = from;
    }
    Ok(())
}

/// The protected area in imgtool's order; no bytes if it would hold nothing.
fn protected_tlvs(options: &SignOptions) -> Result<Vec<u8>, SignError> {
    let mut area = Area::new(tlv::PROTECTED_MAGIC);
    if let Some(counter) = options.security_counter {
        area.add(tlv::SECURITY_COUNTER, &counter.to_le_bytes())?;
    }
    for dependency in &options.dependencies {
        area.add(tlv::DEPENDENCY, &dependency.to_bytes())?;
    }
    if let Some(vendor) = options.vendor {
        area.add(tlv::VENDOR, &vendor)?;
    }
    if let Some(class) = options.class {
        area.add(tlv::CLASS, &class)?;
    }
    for (at, (kind, value)) in options.custom.iter().enumerate() {
        let again = options.custom.iter().take(at).any(|(other, _)| other == kind);
        if again || !CUSTOM_TLV.contains(kind) {
            return Err(SignError::CustomTlv(*kind));
        }
        area.add(*kind, value)?;
    }
    area.finish()
}

/// Checks that image and trailer fit into the slot, and pads to it if asked to.
///
/// The trailer is imgtool's: the one of swapping by move or scratch, in bytes. MCUboot may ask for more
/// ([`Geometry::image_max`](crate::slot::Geometry::image_max)).
fn fit(image: &mut Vec<u8>, options: &SignOptions) -> Result<(), SignError> {
    let unit = options.max_align.unwrap_or_else(|| options.align.max(8));
    for align in [options.align, unit] {
        if !align.is_power_of_two() || align > 32 {
            return Err(SignError::Alignment(align));
        }
    }
    if unit < 8 || unit < options.align {
        return Err(SignError::Alignment(unit));
    }
    let pad = options.pad || options.confirm;
    let Some(slot) = options.slot_size.filter(|size| *size != 0) else {
        return if pad { Err(SignError::SlotSize) } else { Ok(()) };
    };
    let flags = u64::from(unit).saturating_mul(if options.overwrite_only { 2 } else { 4 });
    let status = u64::from(options.max_sectors) * 3 * u64::from(options.align);
    let magic = u64::from(unit.max(16));
    let trailer = flags.saturating_add(magic).saturating_add(if options.overwrite_only { 0 } else { status });
    let len = u64::try_from(image.len()).map_err(|_| SignError::TooLarge)?;
    if len.saturating_add(trailer) > u64::from(slot) {
        return Err(SignError::SlotOverflow { image: len, trailer, slot });
    }
    if pad {
        let layout = Trailer::new(slot, u32::from(unit), SwapMode::Move).ok_or(SignError::SlotSize)?;
        image.resize(usize::try_from(slot).map_err(|_| SignError::TooLarge)?, options.erased_value);
        // Both magic and flag are written as a device writes them, erased bytes around them.
        let confirm = options.confirm && !options.overwrite_only;
        let ok = confirm.then(|| layout.write_image_ok(options.erased_value));
        for write in ok.iter().chain([&layout.write_magic(options.erased_value)]) {
            let offset = usize::try_from(write.offset()).map_err(|_| SignError::TooLarge)?;
            for (to, from) in image.iter_mut().skip(offset).zip(write.bytes()) {
                *to = *from;
            }
        }
    }
    Ok(())
}

/// A TLV area being written.
struct Area {
    magic: u16,
    records: Vec<u8>,
}

impl Area {
    const fn new(magic: u16) -> Self {
        Self { magic, records: Vec::new() }
    }

    fn add(&mut self, kind: u16, value: &[u8]) -> Result<(), SignError> {
        let len = u16::try_from(value.len()).map_err(|_| SignError::TlvsTooLong(value.len()))?;
        self.records.extend_from_slice(&kind.to_le_bytes());
        self.records.extend_from_slice(&len.to_le_bytes());
        self.records.extend_from_slice(value);
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>, SignError> {
        if self.records.is_empty() {
            return Ok(self.records);
        }
        let total = self.records.len().saturating_add(4);
        let len = u16::try_from(total).map_err(|_| SignError::TlvsTooLong(total))?;
        Ok([&self.magic.to_le_bytes(), &len.to_le_bytes(), &*self.records].concat())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
