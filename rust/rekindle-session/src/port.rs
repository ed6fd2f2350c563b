// SPDX-License-Identifier: Apache-2.0
//! What the cores ask of a device's flash, as data.
//!
//! The core decides the order of erases, writes and reads; a port carries each one out as it stands, one to
//! one, and answers it before it asks for the next. So the points at which power can be cut are the same in a
//! simulation and on a device (ARCHITECTURE.md, decision 4).

/// Largest number of bytes of one [`FlashOp::Read`].
pub const READ_MAX: usize = 256;
/// [`READ_MAX`], as offsets are counted.
pub(crate) const READ_MAX_U32: u32 = 256;

/// Largest number of bytes of one [`FlashOp::Write`], and the size of the receiver's write buffer.
pub const WRITE_MAX: usize = 256;

/// Largest write block the cores support, in bytes (MCUboot's largest `BOOT_MAX_ALIGN`).
pub const WRITE_BLOCK_MAX: u32 = 32;

/// A part of the flash that a session touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Area {
    /// The primary slot, which holds the running image. It is only ever read.
    Primary,
    /// The secondary slot, into which an image is received.
    Secondary,
    /// The journal's partition.
    Journal,
}

/// One flash operation. Offsets count from the start of the area, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashOp<'a> {
    /// Read `len` bytes, at most [`READ_MAX`].
    Read {
        /// Area to read.
        area: Area,
        /// First byte.
        offset: u32,
        /// Number of bytes, 1..=[`READ_MAX`].
        len: u32,
    },
    /// Program `data`; offset and length are multiples of the write block.
    Write {
        /// Area to program; never [`Area::Primary`].
        area: Area,
        /// First byte.
        offset: u32,
        /// Bytes to program, at most [`WRITE_MAX`].
        data: &'a [u8],
    },
    /// Erase `len` bytes; offset and length are multiples of the area's sector.
    Erase {
        /// Area to erase; never [`Area::Primary`].
        area: Area,
        /// First byte.
        offset: u32,
        /// Number of bytes: one sector.
        len: u32,
    },
}

/// A flash operation or a boot request that the device could not carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashFault;

/// Sizes of a device's slots and journal, in bytes, as its operating system reports them; as C lays them out, for
/// ports that are written in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Layout {
    /// Size of the primary slot.
    pub primary_size: u32,
    /// Size of the secondary slot.
    pub slot_size: u32,
    /// Erase unit of the slots.
    pub sector_size: u32,
    /// Write block of the flash: a power of two, 1..=[`WRITE_BLOCK_MAX`].
    pub write_block: u32,
    /// Where an update starts in the secondary slot: one sector under swap using offset, else 0.
    pub image_offset: u32,
    /// Largest image that the bootloader can install from the secondary slot.
    pub image_max: u32,
    /// Bytes at the end of a slot that MCUboot's trailer uses.
    pub trailer_size: u32,
    /// Size of the journal's partition; its first two sectors are used.
    pub journal_size: u32,
    /// Erase unit of the journal's partition.
    pub journal_sector: u32,
}
