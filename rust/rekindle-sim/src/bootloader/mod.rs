// SPDX-License-Identifier: Apache-2.0
//! MCUboot as the contract it keeps with an application: what it decides from the trailers, what it refuses and
//! how it leaves the secondary slot then, and what both slots and trailers hold after a swap, whenever power was
//! cut in between.
//!
//! It follows MCUboot's documentation (design.md: "Image trailer", "Swap status", "Reset recovery") and, for what a
//! refusal and a finished swap leave behind, its sources `loader.c`, `swap_offset.c`, `swap_move.c`,
//! `swap_misc.c` and `bootutil_public.c`. It is a model of their effects, not of their code. What MCUboot calls a
//! revert copies the secondary image back only after validating it like any upgrade: a damaged one is erased, and
//! the unconfirmed image stays.

mod requests;
mod swap;
#[cfg(test)]
mod tests;

pub use mcuboot_image::key::PublicKey;
pub use mcuboot_image::slot::SwapMode;
pub use mcuboot_image::trailer::{Flag, Magic, State, SwapType};
pub use requests::RequestError;

use alloc::sync::Arc;
use core::fmt;

use crate::flash::{FlashError, Geometry, NOTES_LEN, NorFlash, Store};
use crate::image::{self, Header, Whole};
use mcuboot_image::SignatureKind;
use mcuboot_image::slot;
use mcuboot_image::trailer::{Trailer, TrailerWrite, swap_type};
use rekindle_session::port::{Area, Layout};
use swap::{Fields, Step, Swap};

/// Bytes that MCUboot copies at a time (`BUF_SZ` in loader.c).
const COPY_CHUNK: usize = 1024;
const ERASED: u8 = 0xFF;
/// `IMAGE_TLV_KEYHASH`.
const TLV_KEY_HASH: u16 = 0x01;
/// `IMAGE_TLV_ECDSA_SIG`.
const TLV_ECDSA: u16 = 0x22;
/// `IMAGE_TLV_ED25519`.
const TLV_ED25519: u16 = 0x24;

/// The TLVs of an image's unprotected area, in order: type and value.
pub type Tlvs<'a> = [(u16, &'a [u8])];

/// A signature check: judges an image's hash by the TLVs that come with it.
#[derive(Clone)]
pub struct Judge(Arc<Verdict>);

type Verdict = dyn Fn(&[u8; 32], &Tlvs<'_>) -> bool + Send + Sync;

impl Judge {
    /// MCUboot's check for one trusted key: a signature counts when the key hash TLV before it names the key.
    #[must_use]
    pub fn key(key: PublicKey) -> Self {
        let name = key.key_hash();
        let signature = match key.signature_kind() {
            SignatureKind::EcdsaP256 => TLV_ECDSA,
            SignatureKind::Ed25519 => TLV_ED25519,
            SignatureKind::Other(kind) => kind,
        };
        Self::new(move |hash, tlvs| {
            let pairs = tlvs.iter().zip(tlvs.iter().skip(1));
            let mut signed = pairs.filter(|(a, b)| (a.0, a.1) == (TLV_KEY_HASH, &name) && b.0 == signature);
            // The last one decides, as in `bootutil_img_validate`.
            signed.next_back().is_some_and(|(_, (_, value))| key.verify(hash, value).is_ok())
        })
    }

    /// A check of one's own.
    pub fn new(judge: impl Fn(&[u8; 32], &Tlvs<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(judge))
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

/// How the bootloader was built.
#[derive(Clone, Debug)]
pub struct Bootloader {
    /// How it swaps: [`SwapMode::Offset`] or [`SwapMode::Move`].
    pub mode: SwapMode,
    /// The signature check; `None` for a bootloader without signatures (`BOOT_SIGNATURE_TYPE_NONE`), which still
    /// checks the hash.
    pub signature: Option<Judge>,
    /// `MCUBOOT_VALIDATE_PRIMARY_SLOT`: the image in the primary slot is checked at every boot.
    pub validate_primary: bool,
    /// `MCUBOOT_MINIMAL_SCRAMBLE`: a refused image loses its header and trailer only, not the whole slot.
    pub minimal_scramble: bool,
}

/// What a boot did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booted {
    /// The image that runs; `None` when the device does not start any more.
    pub running: Option<Whole>,
    /// The swap that was carried out, or finished after a reset in the middle of it.
    pub swapped: Option<SwapType>,
    /// The swap was asked for, but the image to swap in was refused.
    pub refused: Option<Refusal>,
}

/// Why an image was not swapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No header where the image should start; the trailer was erased.
    NoImage,
    /// Under swap using offset, a header in the secondary slot's first sector; the slot was erased.
    WrongSector,
    /// Hash, structure, size or signature is wrong; the slot was erased.
    Invalid,
    /// The images are too long to be exchanged; nothing was touched.
    NoRoom,
}

impl Bootloader {
    /// A bootloader as Zephyr builds it by default, but without signatures.
    #[must_use]
    pub fn new(mode: SwapMode) -> Self {
        Self { mode, signature: None, validate_primary: true, minimal_scramble: false }
    }

    /// What an operating system reports to the update session.
    ///
    /// # Panics
    /// When the geometry holds no image at all.
    #[must_use]
    pub fn layout(&self, geometry: &Geometry) -> Layout {
        let slots = self.slots(geometry);
        Layout {
            primary_size: geometry.primary.size(),
            slot_size: geometry.secondary.size(),
            sector_size: geometry.secondary.sector_size,
            write_block: geometry.write_block,
            image_offset: slots.image_offset(),
            image_max: slots.image_max().expect("a slot that holds an image"),
            trailer_size: self.trailer_size(geometry),
            journal_size: geometry.journal.size(),
            journal_sector: geometry.journal.sector_size,
        }
    }

    /// Boots: finishes a swap that was cut, or does what the trailers ask for, then looks at the primary slot.
    ///
    /// # Errors
    /// [`FlashError::Power`] when power was cut: boot again, and it goes on where it was.
    pub fn boot<S: Store>(&self, flash: &mut NorFlash<S>) -> Result<Booted, FlashError> {
        let mut booted = Booted { running: None, swapped: None, refused: None };
        if let Some(swap) = Swap::from_notes(&flash.notes()?) {
            self.run(flash, swap)?;
            booted.swapped = Some(swap.kind);
        } else if image::header(flash, Area::Primary, 0)? == Header::Present {
            let kind = self.swap_type(flash)?;
            if matches!(kind, SwapType::Test | SwapType::Perm | SwapType::Revert) {
                match self.judge(flash, kind)? {
                    Ok(swap) => {
                        self.run(flash, swap)?;
                        booted.swapped = Some(kind);
                    }
                    Err(refusal) => booted.refused = Some(refusal),
                }
            }
        }
        booted.running = self.primary(flash)?;
        Ok(booted)
    }

    /// Puts an image into the primary slot as a programmer does; with `confirmed`, with the trailer of
    /// `imgtool sign --pad --confirm`, else without any.
    ///
    /// # Errors
    /// What the flash reports.
    pub fn install<S: Store>(
        &self,
        flash: &mut NorFlash<S>,
        image: &[u8],
        confirmed: bool,
    ) -> Result<(), FlashError> {
        flash.install(Area::Primary, 0, image)?;
        if confirmed {
            let trailer = self.trailer(flash.geometry(), Area::Primary);
            for write in [trailer.write_image_ok(ERASED), trailer.write_magic(ERASED)] {
                flash.install(Area::Primary, write.offset(), write.bytes())?;
            }
        }
        Ok(())
    }

    /// The image in the primary slot, if it is one that this bootloader starts.
    ///
    /// # Errors
    /// What the flash reports.
    pub fn primary<S: Store>(&self, flash: &mut NorFlash<S>) -> Result<Option<Whole>, FlashError> {
        let limit = flash.geometry().primary.size();
        if self.validate_primary {
            return self.check(flash, Area::Primary, 0, limit);
        }
        // Without validation MCUboot looks at the magic only; what runs is whatever is there.
        image::check(flash, Area::Primary, 0, limit, |_, _| true)
    }

    /// The image that an upgrade would swap in, if the bootloader takes it.
    ///
    /// # Errors
    /// What the flash reports.
    pub fn staged<S: Store>(&self, flash: &mut NorFlash<S>) -> Result<Option<Whole>, FlashError> {
        let slots = self.slots(flash.geometry());
        self.check(flash, Area::Secondary, slots.image_offset(), slots.image_max().unwrap_or(0))
    }

    /// The image that a revert would swap back, if the bootloader takes it.
    ///
    /// # Errors
    /// What the flash reports.
    pub fn backup<S: Store>(&self, flash: &mut NorFlash<S>) -> Result<Option<Whole>, FlashError> {
        let slots = self.slots(flash.geometry());
        self.check(flash, Area::Secondary, 0, slots.image_max().unwrap_or(0))
    }

    fn check<S: Store>(
        &self,
        flash: &mut NorFlash<S>,
        area: Area,
        at: u32,
        limit: u32,
    ) -> Result<Option<Whole>, FlashError> {
        let limit = limit.min(flash.geometry().region(area).size().saturating_sub(at));
        let signature = self.signature.as_ref();
        image::check(flash, area, at, limit, |hash, tlvs| signature.is_none_or(|judge| judge.0(hash, tlvs)))
    }

    fn slots(&self, geometry: &Geometry) -> slot::Geometry {
        slot::Geometry {
            mode: self.mode,
            primary_size: geometry.primary.size(),
            secondary_size: geometry.secondary.size(),
            sector_size: geometry.primary.sector_size,
            write_block: geometry.write_block,
            max_sectors: geometry.primary.sectors.max(geometry.secondary.sectors),
            encryption: false,
        }
    }

    fn trailer(&self, geometry: &Geometry, area: Area) -> Trailer {
        Trailer::new(geometry.region(area).size(), geometry.write_block, self.mode)
            .expect("a slot with room for a trailer")
    }

    fn trailer_size(&self, geometry: &Geometry) -> u32 {
        let sectors = self.slots(geometry).max_sectors;
        self.trailer(geometry, Area::Primary).size(sectors, false).expect("a trailer below 4 GiB")
    }

    fn state<S: Store>(&self, flash: &mut NorFlash<S>, area: Area) -> Result<State, FlashError> {
        let trailer = self.trailer(flash.geometry(), area);
        let at = trailer.swap_info_offset();
        let tail = image::load(flash, area, at, trailer.flags_len())?;
        Ok(State::parse(&trailer, &tail, ERASED).expect("the length it asked for"))
    }

    /// Decides whether the image of a wanted swap is taken; a refused one is made unusable, as MCUboot does it
    /// (`boot_validate_slot` in loader.c).
    fn judge<S: Store>(
        &self,
        flash: &mut NorFlash<S>,
        kind: SwapType,
    ) -> Result<Result<Swap, Refusal>, FlashError> {
        let slots = self.slots(flash.geometry());
        let upgrade = kind != SwapType::Revert;
        let places = match (self.mode, upgrade) {
            (SwapMode::Offset, true) => [slots.sector_size, 0],
            (SwapMode::Offset, false) => [0, slots.sector_size],
            _ => [0, 0],
        };
        let mut at = places[0];
        if image::header(flash, Area::Secondary, at)? != Header::Present {
            at = places[1];
        }
        if image::header(flash, Area::Secondary, at)? == Header::Erased {
            self.erase_trailer(flash, Area::Secondary)?;
            if self.mode == SwapMode::Move && !upgrade {
                // A revert with nothing to go back to would be tried for ever.
                self.erase_trailer(flash, Area::Primary)?;
            }
            return Ok(Err(Refusal::NoImage));
        }
        if self.mode == SwapMode::Offset
            && upgrade
            && image::header(flash, Area::Secondary, 0)? == Header::Present
        {
            self.scramble(flash)?;
            return Ok(Err(Refusal::WrongSector));
        }
        let taken = self.check(flash, Area::Secondary, at, slots.image_max().unwrap_or(0))?;
        // A revert that finds its header one sector up goes on, and copies the wrong sectors: MCUboot does not ask
        // again where the image began. Whoever writes the secondary slot before a confirmation bricks the device.
        let Some(whole) = taken else {
            self.scramble(flash)?;
            return Ok(Err(Refusal::Invalid));
        };
        self.plan(flash, kind, &whole)
    }

    fn plan<S: Store>(
        &self,
        flash: &mut NorFlash<S>,
        kind: SwapType,
        secondary: &Whole,
    ) -> Result<Result<Swap, Refusal>, FlashError> {
        let geometry = *flash.geometry();
        let sector = geometry.primary.sector_size;
        let Some(primary) = image::extent(flash, Area::Primary, 0, geometry.primary.size())? else {
            return Ok(Err(Refusal::NoRoom));
        };
        let swap_size = primary.total().max(secondary.extent.total());
        let sectors = swap_size.div_ceil(sector);
        let spare = u32::from(self.mode == SwapMode::Move);
        let trailer_sectors = self.trailer_size(&geometry).div_ceil(sector);
        if sectors + spare > geometry.primary.sectors - trailer_sectors {
            return Ok(Err(Refusal::NoRoom));
        }
        let staged = self.state(flash, Area::Secondary)?;
        let fixup = kind == SwapType::Revert && staged.magic == Magic::Unset;
        let marked = fixup && self.mode == SwapMode::Move;
        Ok(Ok(Swap {
            mode: self.mode,
            kind,
            sectors,
            used: (primary.total().div_ceil(sector), secondary.extent.total().div_ceil(sector)),
            swap_size,
            tlv_sizes: (primary.unprotected, secondary.extent.unprotected),
            image_ok: marked || staged.image_ok == Flag::Set,
            fixup,
            step: 0,
        }))
    }

    /// Carries out a swap from its next step on.
    fn run<S: Store>(&self, flash: &mut NorFlash<S>, mut swap: Swap) -> Result<(), FlashError> {
        let steps = swap.steps(self.slots(flash.geometry()).max_sectors);
        while let Some(step) = steps.get(swap.step as usize) {
            flash.set_notes(&swap.to_notes())?;
            self.step(flash, &swap, *step)?;
            swap.step += 1;
        }
        flash.set_notes(&[ERASED; NOTES_LEN])
    }

    fn step<S: Store>(&self, flash: &mut NorFlash<S>, swap: &Swap, step: Step) -> Result<(), FlashError> {
        match step {
            Step::Trailer { area, fields } => self.write_trailer(flash, swap, area, fields),
            Step::EraseTrailer(area) => self.erase_trailer(flash, area),
            Step::Erase { area, sector } => {
                let size = flash.geometry().region(area).sector_size;
                flash.erase(area, sector * size, size)
            }
            Step::Copy { from, to } => copy_sector(flash, from, to),
            Step::Status { entry, state } => {
                let geometry = *flash.geometry();
                let start = geometry.primary.size() - self.trailer_size(&geometry);
                let mut status = vec![ERASED; geometry.write_block as usize];
                status[0] = state;
                write_if_blank(flash, start + entry * geometry.write_block, &status)
            }
            Step::ImageOk => {
                let write = self.trailer(flash.geometry(), Area::Primary).write_image_ok(ERASED);
                write_if_blank(flash, write.offset(), write.bytes())
            }
            Step::CopyDone => {
                let write = self.trailer(flash.geometry(), Area::Primary).write_copy_done(ERASED);
                write_if_blank(flash, write.offset(), write.bytes())
            }
        }
    }

    fn write_trailer<S: Store>(
        &self,
        flash: &mut NorFlash<S>,
        swap: &Swap,
        area: Area,
        fields: Fields,
    ) -> Result<(), FlashError> {
        self.erase_trailer(flash, area)?;
        let trailer = self.trailer(flash.geometry(), area);
        let writes: [Option<TrailerWrite>; 6] = [
            fields.copy_done.then(|| trailer.write_copy_done(ERASED)),
            fields.swap_info.then(|| trailer.write_swap_info(swap.kind, 0, ERASED)),
            fields.image_ok.then(|| trailer.write_image_ok(ERASED)),
            Some(trailer.write_swap_size(swap.swap_size, ERASED)),
            trailer.write_tlv_sizes(swap.tlv_sizes.0, swap.tlv_sizes.1, ERASED),
            Some(trailer.write_magic(ERASED)),
        ];
        for write in writes.iter().flatten() {
            flash.program(area, write.offset(), write.bytes())?;
        }
        Ok(())
    }

    /// Erases the sectors of a trailer, the last one first.
    fn erase_trailer<S: Store>(&self, flash: &mut NorFlash<S>, area: Area) -> Result<(), FlashError> {
        let region = flash.geometry().region(area);
        let sectors = self.trailer_size(flash.geometry()).div_ceil(region.sector_size);
        for sector in (region.sectors - sectors..region.sectors).rev() {
            flash.erase(area, sector * region.sector_size, region.sector_size)?;
        }
        Ok(())
    }

    /// Makes the secondary slot unusable (`boot_scramble_slot`).
    fn scramble<S: Store>(&self, flash: &mut NorFlash<S>) -> Result<(), FlashError> {
        let region = flash.geometry().secondary;
        if self.minimal_scramble {
            let header = self.slots(flash.geometry()).image_offset();
            flash.erase(Area::Secondary, header, region.sector_size)?;
            return self.erase_trailer(flash, Area::Secondary);
        }
        for sector in 0..region.sectors {
            flash.erase(Area::Secondary, sector * region.sector_size, region.sector_size)?;
        }
        Ok(())
    }
}

fn copy_sector<S: Store>(
    flash: &mut NorFlash<S>,
    from: (Area, u32),
    to: (Area, u32),
) -> Result<(), FlashError> {
    let size = flash.geometry().region(from.0).sector_size;
    let data = image::load(flash, from.0, from.1 * size, size)?;
    flash.erase(to.0, to.1 * size, size)?;
    let mut at = to.1 * size;
    for chunk in data.chunks(COPY_CHUNK) {
        flash.program(to.0, at, chunk)?;
        at += chunk.len() as u32;
    }
    Ok(())
}

/// Writes into the primary slot's trailer, unless something stands there: MCUboot takes a flag or status byte that
/// is not erased as it finds it.
fn write_if_blank<S: Store>(flash: &mut NorFlash<S>, at: u32, data: &[u8]) -> Result<(), FlashError> {
    let found = image::load(flash, Area::Primary, at, data.len() as u32)?;
    if found.iter().all(|byte| *byte == ERASED) { flash.program(Area::Primary, at, data) } else { Ok(()) }
}
