// SPDX-License-Identifier: Apache-2.0

//! What the update session expects of every flash under it.
//!
//! One list for all: `rust/rekindle-sim/tests/flash_expectations.rs` holds the simulator's
//! chip to it, `tests/port` the port on Zephyr, on a device. Both include this file, so
//! that what was proven in simulation rests on the same rules as the device.

/// A refused operation; why it was refused differs from flash to flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// One area of a flash, as the session uses it.
pub(crate) trait Flash {
    /// Reads from any offset.
    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Refused>;
    /// Writes whole blocks.
    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), Refused>;
    /// Erases whole sectors.
    fn erase(&mut self, offset: u32, len: u32) -> Result<(), Refused>;
}

/// An area's shape: two sectors or more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Bytes in all.
    pub(crate) size: u32,
    /// Bytes of a sector.
    pub(crate) sector: u32,
    /// Bytes of a write block, 32 at most.
    pub(crate) block: u32,
}

/// A name and a check, which erases the area's first two sectors as it likes.
pub(crate) type Expectation = (&'static str, fn(&mut dyn Flash, Shape) -> bool);

/// Every expectation.
pub(crate) const EXPECTATIONS: &[Expectation] = &[
    ("erased_bytes_read_as_ff", erased_bytes_read_as_ff),
    ("what_is_written_is_read_back", what_is_written_is_read_back),
    ("a_block_is_written_once_between_erases", a_block_is_written_once_between_erases),
    ("an_erase_clears_its_sectors_only", an_erase_clears_its_sectors_only),
    ("writes_are_whole_blocks", writes_are_whole_blocks),
    ("erases_are_whole_sectors", erases_are_whole_sectors),
    ("reads_need_no_alignment", reads_need_no_alignment),
    ("nothing_reaches_beyond_the_end", nothing_reaches_beyond_the_end),
    ("nothing_comes_round_at_the_end_of_the_numbers", nothing_comes_round),
];

/// The unit the session writes in: a page of common chips, a multiple of every block.
const PAGE: u32 = 256;
const ERASED: u8 = 0xFF;

/// Bytes that differ from each other and from erased ones.
fn page() -> [u8; PAGE as usize] {
    let mut page = [0; PAGE as usize];
    for (byte, value) in page.iter_mut().zip((0..=0xFEu8).cycle()) {
        *byte = value ^ 0x5A;
        if *byte == ERASED {
            *byte = 0;
        }
    }
    page
}

/// The first `len` bytes of a page.
fn part(page: &[u8], len: u32) -> &[u8] {
    usize::try_from(len).ok().and_then(|len| page.get(..len)).unwrap_or_default()
}

fn reads_as(flash: &mut dyn Flash, offset: u32, expected: &[u8]) -> bool {
    let mut back = page();
    let Some(back) = back.get_mut(..expected.len()) else { return false };
    // What is not read must not look right by accident.
    back.fill(0xA5);
    flash.read(offset, back) == Ok(()) && back == expected
}

fn is_erased(flash: &mut dyn Flash, from: u32, to: u32) -> bool {
    (from..to).step_by(PAGE as usize).all(|at| reads_as(flash, at, &[ERASED; PAGE as usize]))
}

fn erased_bytes_read_as_ff(flash: &mut dyn Flash, shape: Shape) -> bool {
    flash.erase(0, 2 * shape.sector) == Ok(()) && is_erased(flash, 0, 2 * shape.sector)
}

fn what_is_written_is_read_back(flash: &mut dyn Flash, shape: Shape) -> bool {
    let page = page();
    // At the start, across two sectors, and a single block.
    let across = shape.sector - PAGE / 2;
    let single = shape.sector + PAGE;
    flash.erase(0, 2 * shape.sector) == Ok(())
        && flash.write(0, &page) == Ok(())
        && flash.write(across, &page) == Ok(())
        && flash.write(single, part(&page, shape.block)) == Ok(())
        && reads_as(flash, 0, &page)
        && reads_as(flash, across, &page)
        && reads_as(flash, single, part(&page, shape.block))
        && is_erased(flash, PAGE, across - PAGE / 2)
        && reads_as(flash, single + shape.block, &[ERASED])
}

fn a_block_is_written_once_between_erases(flash: &mut dyn Flash, shape: Shape) -> bool {
    let page = page();
    let zeros = [0; PAGE as usize];
    flash.erase(0, shape.sector) == Ok(())
        && flash.write(0, &page) == Ok(())
        // Neither the whole nor its last block, and the refusal changes nothing.
        && flash.write(0, &zeros) == Err(Refused)
        && flash.write(PAGE - shape.block, part(&zeros, shape.block)) == Err(Refused)
        && reads_as(flash, 0, &page)
        && flash.erase(0, shape.sector) == Ok(())
        && flash.write(0, &zeros) == Ok(())
        && reads_as(flash, 0, &zeros)
}

fn an_erase_clears_its_sectors_only(flash: &mut dyn Flash, shape: Shape) -> bool {
    let page = page();
    let last = shape.sector - PAGE;
    flash.erase(0, 2 * shape.sector) == Ok(())
        && flash.write(last, &page) == Ok(())
        && flash.write(shape.sector, &page) == Ok(())
        && flash.erase(shape.sector, shape.sector) == Ok(())
        && reads_as(flash, last, &page)
        && is_erased(flash, shape.sector, 2 * shape.sector)
        && flash.write(shape.sector, &page) == Ok(())
        && flash.erase(0, shape.sector) == Ok(())
        && is_erased(flash, 0, shape.sector)
        && reads_as(flash, shape.sector, &page)
}

fn writes_are_whole_blocks(flash: &mut dyn Flash, shape: Shape) -> bool {
    let page = page();
    if flash.erase(0, shape.sector) != Ok(()) {
        return false;
    }
    let half = shape.block / 2;
    // A block of one byte cannot be missed.
    let refused = half == 0
        || flash.write(half, part(&page, shape.block)) == Err(Refused)
            && flash.write(0, part(&page, shape.block - 1)) == Err(Refused)
            && flash.write(0, part(&page, shape.block + half)) == Err(Refused);
    refused && is_erased(flash, 0, PAGE)
}

fn erases_are_whole_sectors(flash: &mut dyn Flash, shape: Shape) -> bool {
    let page = page();
    flash.erase(0, 2 * shape.sector) == Ok(())
        && flash.write(0, &page) == Ok(())
        && flash.erase(0, shape.sector / 2) == Err(Refused)
        && flash.erase(0, shape.sector + shape.block) == Err(Refused)
        && flash.erase(shape.block, shape.sector) == Err(Refused)
        && reads_as(flash, 0, &page)
}

fn reads_need_no_alignment(flash: &mut dyn Flash, shape: Shape) -> bool {
    let page = page();
    flash.erase(0, shape.sector) == Ok(())
        && flash.write(0, &page) == Ok(())
        && (0..=2 * shape.block).all(|at| {
            let skip = usize::try_from(at).unwrap_or_default();
            let Some(rest) = page.get(skip..) else { return false };
            reads_as(flash, at, part(rest, 7)) && reads_as(flash, at, part(rest, 1))
        })
}

fn nothing_reaches_beyond_the_end(flash: &mut dyn Flash, shape: Shape) -> bool {
    let page = page();
    let mut out = [0; 8];
    flash.read(shape.size - 8, &mut out) == Ok(())
        && flash.read(shape.size - 7, &mut out) == Err(Refused)
        && flash.read(shape.size, &mut out) == Err(Refused)
        && flash.write(shape.size, part(&page, shape.block)) == Err(Refused)
        && flash.write(shape.size - shape.block, part(&page, 2 * shape.block)) == Err(Refused)
        && flash.erase(shape.size, shape.sector) == Err(Refused)
        && flash.erase(shape.size - shape.sector, 2 * shape.sector) == Err(Refused)
}

fn nothing_comes_round(flash: &mut dyn Flash, shape: Shape) -> bool {
    let mut out = [0; 8];
    let page = page();
    let last_block = u32::MAX - (shape.block - 1);
    let last_sector = u32::MAX - (shape.sector - 1);
    flash.read(u32::MAX - 3, &mut out) == Err(Refused)
        && flash.write(last_block, part(&page, 2 * shape.block)) == Err(Refused)
        && flash.erase(last_sector, 2 * shape.sector) == Err(Refused)
}
