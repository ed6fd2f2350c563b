// SPDX-License-Identifier: Apache-2.0

//! The flash areas of an update: both slots and the journal.

use rekindle_session::port::{Area, Layout};

use crate::{Errno, ffi};

/// The shims' number of an area.
const fn id(area: Area) -> u8 {
    match area {
        Area::Primary => 0,
        Area::Secondary => 1,
        Area::Journal => 2,
    }
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

/// Asks the flash map for an area's geometry.
///
/// # Errors
///
/// The area does not exist or its device is not ready.
pub fn geometry(area: Area) -> Result<Geometry, Errno> {
    let mut info = ffi::AreaInfo::default();
    // SAFETY: `info` is a valid, exclusive destination of the type the shim fills in.
    Errno::check(unsafe { ffi::rekindle_area_info(id(area), &raw mut info) })?;
    Ok(Geometry {
        size: info.size,
        sector_size: info.sector_size,
        write_block: info.write_block,
        erased: info.erased,
    })
}

/// The layout of this device's slots and journal, as its devicetree and the configured
/// swap mode have it.
///
/// # Errors
///
/// An area does not exist, has no room, or its device is not ready.
pub fn layout() -> Result<Layout, Errno> {
    let mut layout = Layout::default();
    // SAFETY: `layout` is a valid, exclusive destination of the type the shim fills in.
    Errno::check(unsafe { ffi::rekindle_layout(&raw mut layout) })?;
    Ok(layout)
}

/// Reads `data.len()` bytes at `offset`.
///
/// # Errors
///
/// The range leaves the area, or the device fails.
pub fn read(area: Area, offset: u32, data: &mut [u8]) -> Result<(), Errno> {
    // SAFETY: `data` is valid for `data.len()` writes for the call, the shim keeps no
    // pointer, and the flash map checks the range against the area.
    Errno::check(unsafe { ffi::rekindle_area_read(id(area), offset, data.as_mut_ptr(), data.len()) })
}

/// Writes whole write blocks at `offset`.
///
/// # Errors
///
/// The range leaves the area or is not aligned to the write block, the area is the primary
/// slot, or the device fails.
pub fn write(area: Area, offset: u32, data: &[u8]) -> Result<(), Errno> {
    // SAFETY: `data` is valid for `data.len()` reads for the call, the shim keeps no
    // pointer, and the flash map checks the range against the area.
    Errno::check(unsafe { ffi::rekindle_area_write(id(area), offset, data.as_ptr(), data.len()) })
}

/// Erases whole sectors at `offset`.
///
/// # Errors
///
/// The range leaves the area or is not aligned to sectors, the area is the primary slot, or
/// the device fails.
pub fn erase(area: Area, offset: u32, len: u32) -> Result<(), Errno> {
    let len = usize::try_from(len).map_err(|_| Errno::INVALID)?;
    Errno::check(ffi::rekindle_area_erase(id(area), offset, len))
}
