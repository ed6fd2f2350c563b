// SPDX-License-Identifier: Apache-2.0
//! Where in a slot an image begins and how large it may be, by the way MCUboot swaps.

use crate::trailer::Trailer;

/// How MCUboot exchanges the images of the two slots (design.md, "Image swapping" and what follows it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapMode {
    /// Moves the primary slot's image up by a sector, then swaps (`MCUBOOT_SWAP_USING_MOVE`).
    Move,
    /// Keeps the secondary slot's image one sector up, and swaps (`MCUBOOT_SWAP_USING_OFFSET`).
    Offset,
    /// Swaps through a third area (`MCUBOOT_SWAP_USING_SCRATCH`).
    Scratch,
    /// Copies over the primary slot, without a way back (`MCUBOOT_OVERWRITE_ONLY`).
    Overwrite,
}

/// A pair of slots with sectors of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// How MCUboot swaps.
    pub mode: SwapMode,
    /// Bytes of the primary slot; a multiple of `sector_size`.
    pub primary_size: u32,
    /// Bytes of the secondary slot; a multiple of `sector_size`.
    pub secondary_size: u32,
    /// Bytes of a sector.
    pub sector_size: u32,
    /// Smallest write in bytes: a power of two up to 32.
    pub write_block: u32,
    /// `BOOT_MAX_IMG_SECTORS`: for how many sectors MCUboot keeps a swap status.
    pub max_sectors: u32,
    /// Whether MCUboot is built for encrypted images: two keys then lie in the trailer.
    pub encryption: bool,
}

impl Geometry {
    /// Bytes between the start of the secondary slot and the image in it.
    #[must_use]
    pub const fn image_offset(&self) -> u32 {
        match self.mode {
            SwapMode::Offset => self.sector_size,
            SwapMode::Move | SwapMode::Scratch | SwapMode::Overwrite => 0,
        }
    }

    /// Length of the longest image MCUboot takes, in bytes; `None` if these slots can hold none.
    ///
    /// As `bootutil_max_image_size`: swapping by move or by offset gives up whole sectors for the trailer and one
    /// more; by scratch, the trailer's bytes and what the copy in the scratch area needs; overwriting, only the
    /// flags at the end.
    #[must_use]
    pub fn image_max(&self) -> Option<u32> {
        let primary = Trailer::new(self.primary_size, self.write_block, self.mode)?;
        let secondary = Trailer::new(self.secondary_size, self.write_block, self.mode)?;
        // Through a scratch area MCUboot swaps slots of one size only.
        if self.sector_size == 0
            || (matches!(self.mode, SwapMode::Scratch) && self.primary_size != self.secondary_size)
            || !self.primary_size.is_multiple_of(self.sector_size)
            || !self.secondary_size.is_multiple_of(self.sector_size)
        {
            return None;
        }
        let trailer = primary.size(self.max_sectors, self.encryption)?;
        let trailer_sectors = trailer.checked_next_multiple_of(self.sector_size)?;
        let (primary_room, secondary_room) = match self.mode {
            SwapMode::Move => (trailer_sectors.checked_add(self.sector_size)?, trailer_sectors),
            SwapMode::Offset => (trailer_sectors, trailer_sectors.checked_add(self.sector_size)?),
            SwapMode::Scratch => {
                let room = self.scratch_room(
                    trailer,
                    primary.status_size(1)?,
                    primary.status_size(self.max_sectors)?,
                )?;
                (room, room)
            }
            SwapMode::Overwrite => (primary.flags_len(), secondary.flags_len()),
        };
        let primary_max = self.primary_size.checked_sub(primary_room)?;
        let secondary_max = self.secondary_size.checked_sub(secondary_room)?;
        Some(primary_max.min(secondary_max)).filter(|max| *max > 0)
    }

    /// Bytes an image must leave when the sector in which the trailer begins goes through the scratch area, whose
    /// own trailer (one status entry instead of `max_sectors`) must find room behind the image's part of it.
    fn scratch_room(&self, trailer: u32, one_entry: u32, all_entries: u32) -> Option<u32> {
        let scratch_trailer = trailer.checked_sub(all_entries)?.checked_add(one_entry)?;
        let whole_sectors =
            trailer.checked_sub(1)?.checked_div(self.sector_size)?.checked_mul(self.sector_size)?;
        let in_first_sector = trailer.checked_sub(whole_sectors)?;
        trailer.checked_add(scratch_trailer.saturating_sub(in_first_sector))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RP2350 with 4 MB: two slots of 832 KiB.
    const PICO: Geometry = Geometry {
        mode: SwapMode::Offset,
        primary_size: 0xd_0000,
        secondary_size: 0xd_0000,
        sector_size: 0x1000,
        write_block: 1,
        max_sectors: 208,
        encryption: false,
    };

    #[test]
    fn a_sector_for_the_trailer_and_one_to_move() {
        for mode in [SwapMode::Offset, SwapMode::Move] {
            assert_eq!(Geometry { mode, ..PICO }.image_max(), Some(0xc_e000));
        }
        assert_eq!(PICO.image_offset(), 0x1000);
        assert_eq!(Geometry { mode: SwapMode::Move, ..PICO }.image_offset(), 0);
    }

    #[test]
    fn unequal_slots_by_the_smaller_after_its_own_loss() {
        // Swapping by offset wants its spare sector in the secondary slot, by move in the primary.
        let larger = Geometry { secondary_size: 0xd_1000, ..PICO };
        assert_eq!(larger.image_max(), Some(0xc_f000));
        assert_eq!(Geometry { mode: SwapMode::Move, ..larger }.image_max(), Some(0xc_e000));
    }

    #[test]
    fn overwriting_loses_only_the_flags() {
        let overwrite = Geometry { mode: SwapMode::Overwrite, ..PICO };
        assert_eq!(overwrite.image_max(), Some(0xd_0000 - 40));
        assert_eq!(Geometry { write_block: 32, ..overwrite }.image_max(), Some(0xd_0000 - 128));
    }

    #[test]
    fn scratch_pads_so_that_its_own_trailer_fits() {
        // Trailer 128 * 3 * 1 + 4 * 8 + 16 = 432, all in one sector: no padding.
        let scratch = Geometry { mode: SwapMode::Scratch, max_sectors: 128, ..PICO };
        assert_eq!(scratch.image_max(), Some(0xd_0000 - 432));
        // Write block 32: 128 * 3 * 32 + 4 * 32 + 32 = 12448 = 3 * 4096 + 160, of which 160 in its first sector;
        // the scratch area's trailer needs 3 * 32 + 160 = 256.
        assert_eq!(Geometry { write_block: 32, ..scratch }.image_max(), Some(0xd_0000 - 12448 - 96));
    }

    #[test]
    fn keys_of_encrypted_images_count() {
        let scratch = Geometry { mode: SwapMode::Scratch, encryption: true, max_sectors: 128, ..PICO };
        assert_eq!(scratch.image_max(), Some(0xd_0000 - 432 - 32));
    }

    #[test]
    fn nonsense_is_none() {
        assert_eq!(Geometry { write_block: 3, ..PICO }.image_max(), None);
        assert_eq!(Geometry { sector_size: 0, ..PICO }.image_max(), None);
        assert_eq!(Geometry { primary_size: 0x1800, ..PICO }.image_max(), None);
        assert_eq!(Geometry { secondary_size: 0x2000, ..PICO }.image_max(), None);
        assert_eq!(Geometry { max_sectors: u32::MAX, ..PICO }.image_max(), None);
        let unequal = Geometry { mode: SwapMode::Scratch, secondary_size: 0xe_0000, ..PICO };
        assert_eq!(unequal.image_max(), None);
    }
}
