// SPDX-License-Identifier: Apache-2.0
//! Areas, sectors and write blocks of a chip.

use rekindle_session::port::Area;

/// One partition: a run of sectors of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Number of sectors.
    pub sectors: u32,
    /// Size of a sector in bytes.
    pub sector_size: u32,
}

impl Region {
    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.sectors * self.sector_size
    }
}

/// A chip with MCUboot's two slots and the journal's partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Write block in bytes, a power of two.
    pub write_block: u32,
    /// The primary slot.
    pub primary: Region,
    /// The secondary slot.
    pub secondary: Region,
    /// The journal's partition.
    pub journal: Region,
}

/// Every area of a chip.
pub const AREAS: [Area; 3] = [Area::Primary, Area::Secondary, Area::Journal];

/// Index of an area in [`AREAS`].
#[must_use]
pub fn index(area: Area) -> usize {
    match area {
        Area::Primary => 0,
        Area::Secondary => 1,
        Area::Journal => 2,
    }
}

impl Geometry {
    /// Two slots of `slot_sectors` sectors and a journal of two sectors, all sectors of one size.
    #[must_use]
    pub fn even(write_block: u32, slot_sectors: u32, sector_size: u32) -> Self {
        let slot = Region { sectors: slot_sectors, sector_size };
        Self { write_block, primary: slot, secondary: slot, journal: Region { sectors: 2, sector_size } }
    }

    /// The Raspberry Pi Pico 2 as Zephyr partitions it for MCUboot: 4 KiB sectors, write block 1, two slots of
    /// 832 KiB; the journal takes two sectors of the storage partition.
    #[must_use]
    pub fn rp2350() -> Self {
        Self::even(1, 208, 4096)
    }

    /// The region of an area.
    #[must_use]
    pub fn region(&self, area: Area) -> Region {
        match area {
            Area::Primary => self.primary,
            Area::Secondary => self.secondary,
            Area::Journal => self.journal,
        }
    }

    /// First byte of an area, counted from the start of the chip.
    #[must_use]
    pub fn base(&self, area: Area) -> u64 {
        AREAS.iter().take(index(area)).map(|before| u64::from(self.region(*before).size())).sum()
    }

    /// Size of the chip in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        AREAS.iter().map(|area| u64::from(self.region(*area).size())).sum()
    }
}
