// SPDX-License-Identifier: Apache-2.0

//! The flash areas of an update: both slots and the journal.

use crate::{Errno, ffi};

/// A flash area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Area {
    /// The running image's slot; it can only be read.
    Primary = 0,
    /// The slot an update is staged in.
    Secondary = 1,
    /// The session's journal.
    Journal = 2,
}

/// Geometry of a flash area, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Size of the area.
    pub size: u32,
    /// Smallest unit that can be erased.
    pub sector_size: u32,
    /// Writes start and end on multiples of this.
    pub write_block: u32,
    /// Value of erased bytes.
    pub erased: u8,
}

/// Where an update lies in the secondary slot, as MCUboot's configured swap mode wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staging {
    /// Offset of an update's first byte in the slot.
    pub image_offset: u32,
    /// Largest update in bytes, header and TLVs included.
    pub image_max: u32,
    /// Bytes at the slot's end that belong to the trailer, in whole sectors.
    pub trailer_size: u32,
}

impl Area {
    /// Asks the flash map for the area's geometry.
    ///
    /// # Errors
    ///
    /// The area does not exist or its device is not ready.
    pub fn geometry(self) -> Result<Geometry, Errno> {
        let mut info = ffi::AreaInfo::default();
        // SAFETY: `info` is a valid, exclusive destination of the type the shim fills in.
        Errno::check(unsafe { ffi::rekindle_area_info(self as u8, &raw mut info) })?;
        Ok(Geometry {
            size: info.size,
            sector_size: info.sector_size,
            write_block: info.write_block,
            erased: info.erased,
        })
    }

    /// Reads `data.len()` bytes at `offset`.
    ///
    /// # Errors
    ///
    /// The range leaves the area, or the device fails.
    pub fn read(self, offset: u32, data: &mut [u8]) -> Result<(), Errno> {
        // SAFETY: `data` is valid for `data.len()` writes for the call, the shim keeps no
        // pointer, and the flash map checks the range against the area.
        Errno::check(unsafe { ffi::rekindle_area_read(self as u8, offset, data.as_mut_ptr(), data.len()) })
    }

    /// Writes whole write blocks at `offset`.
    ///
    /// # Errors
    ///
    /// The range leaves the area or is not aligned to the write block, the area is the
    /// primary slot, or the device fails.
    pub fn write(self, offset: u32, data: &[u8]) -> Result<(), Errno> {
        // SAFETY: `data` is valid for `data.len()` reads for the call, the shim keeps no
        // pointer, and the flash map checks the range against the area.
        Errno::check(unsafe { ffi::rekindle_area_write(self as u8, offset, data.as_ptr(), data.len()) })
    }

    /// Erases whole sectors at `offset`.
    ///
    /// # Errors
    ///
    /// The range leaves the area or is not aligned to sectors, the area is the primary
    /// slot, or the device fails.
    pub fn erase(self, offset: u32, len: u32) -> Result<(), Errno> {
        let len = usize::try_from(len).map_err(|_| Errno::INVALID)?;
        Errno::check(ffi::rekindle_area_erase(self as u8, offset, len))
    }
}

/// Asks where an update lies in the secondary slot.
///
/// # Errors
///
/// The slot has no room for an image, or its device is not ready.
pub fn staging() -> Result<Staging, Errno> {
    let mut info = ffi::SlotInfo::default();
    // SAFETY: `info` is a valid, exclusive destination of the type the shim fills in.
    Errno::check(unsafe { ffi::rekindle_slot_info(&raw mut info) })?;
    Ok(Staging {
        image_offset: info.image_offset,
        image_max: info.image_max,
        trailer_size: info.trailer_size,
    })
}
