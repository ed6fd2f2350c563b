// SPDX-License-Identifier: Apache-2.0
//! The partition under littlefs: the simulated NOR flash, set up as Zephyr sets littlefs up.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use littlefs2::consts::{U8, U256};
use littlefs2::driver::Storage;
use littlefs2::io::{Error, Result};
use rekindle_relay::File;
use rekindle_session::port::Area;
use rekindle_sim::flash::{FlashError, Geometry, NorFlash, Region, Rule, Tear};
use rekindle_sim::relay_world::StoreTear;
use rekindle_sim::rng::Rng;

/// Read and write size that Zephyr's Kconfig gives littlefs, in bytes (`FS_LITTLEFS_PROG_SIZE`). What else is set below is
/// as in `app/controller`.
const BLOCK: usize = 16;

/// A chip of `COUNT` sectors of `SECTOR` bytes. The flash is shared with whoever plans its cuts.
#[derive(Clone, Debug)]
pub(crate) struct Chip<const SECTOR: usize, const COUNT: usize> {
    flash: Rc<RefCell<NorFlash>>,
    tears: Rc<RefCell<Rng>>,
    /// Power was cut once.
    cut: Rc<Cell<bool>>,
}

/// The simulated flash has three areas; the partition is the first, and of the others the least there can be.
fn geometry(sector: u32, count: u32) -> Geometry {
    let least = Region { sectors: 1, sector_size: sector };
    Geometry {
        write_block: BLOCK as u32,
        primary: Region { sectors: count, sector_size: sector },
        secondary: least,
        journal: least,
    }
}

impl<const SECTOR: usize, const COUNT: usize> Chip<SECTOR, COUNT> {
    /// An erased chip.
    pub(crate) fn new(seed: u64) -> Self {
        let flash = NorFlash::new(geometry(SECTOR as u32, COUNT as u32), seed);
        let tears = Rng::new(seed).fork(0x11FF5);
        let (flash, tears) = (Rc::new(RefCell::new(flash)), Rc::new(RefCell::new(tears)));
        Self { flash, tears, cut: Rc::new(Cell::new(false)) }
    }

    pub(crate) fn operations(&self) -> u64 {
        self.flash.borrow().operations()
    }

    pub(crate) fn plan_cut(&self, operation: u64, tear: StoreTear) {
        let tear = match tear {
            StoreTear::Before => Tear::Before,
            StoreTear::After => Tear::After,
            StoreTear::Half => *self.tears.borrow_mut().pick(&[Tear::Prefix, Tear::Subset, Tear::Bits]),
        };
        self.flash.borrow_mut().plan_cut(operation, tear);
    }

    pub(crate) fn clear_plans(&self) {
        self.flash.borrow_mut().clear_plans();
    }

    pub(crate) fn is_powered(&self) -> bool {
        self.flash.borrow().is_powered()
    }

    pub(crate) fn cut_power(&self) {
        self.flash.borrow_mut().cut_power();
    }

    /// Power comes back.
    ///
    /// # Panics
    /// When a rule of the flash was broken until now.
    pub(crate) fn power_on(&self) {
        let mut flash = self.flash.borrow_mut();
        let torn = |rule| rule == Rule::NotErased && self.cut.get();
        let broken = flash.violations().iter().find(|violation| !torn(violation.rule));
        assert!(broken.is_none(), "{broken:?}");
        flash.power_on();
        self.cut.set(true);
    }
}

fn outcome(len: usize, result: core::result::Result<(), FlashError>) -> Result<usize> {
    result.map(|()| len).map_err(|_| Error::IO)
}

impl<const SECTOR: usize, const COUNT: usize> Storage for Chip<SECTOR, COUNT> {
    const READ_SIZE: usize = BLOCK;
    const WRITE_SIZE: usize = BLOCK;
    const BLOCK_SIZE: usize = SECTOR;
    const BLOCK_COUNT: usize = COUNT;
    const BLOCK_CYCLES: isize = 512;
    type CACHE_SIZE = U256;
    /// 64 bytes: it counts in eights.
    type LOOKAHEAD_SIZE = U8;

    fn read(&mut self, off: usize, buf: &mut [u8]) -> Result<usize> {
        outcome(buf.len(), self.flash.borrow_mut().read(Area::Primary, off as u32, buf))
    }

    fn write(&mut self, off: usize, data: &[u8]) -> Result<usize> {
        let result = self.flash.borrow_mut().program(Area::Primary, off as u32, data);
        match result {
            // The crate keeps to littlefs' format 2.0, which cannot tell erased bytes behind a commit from torn ones;
            // the 2.1 of Zephyr looks first. Told that the block is no good, littlefs does what 2.1 does: it
            // compacts. On a chip that takes a second write it would find out by reading back.
            Err(FlashError::Rule(violation)) if violation.rule == Rule::NotErased => Err(Error::CORRUPTION),
            result => outcome(data.len(), result),
        }
    }

    fn erase(&mut self, off: usize, len: usize) -> Result<usize> {
        outcome(len, self.flash.borrow_mut().erase(Area::Primary, off as u32, len as u32))
    }
}

/// Name of a file, with the NUL that littlefs wants.
pub(crate) const fn name(file: File) -> &'static [u8] {
    match file {
        File::Image => b"image\0",
        File::State => b"state\0",
        File::StateNew => b"state.new\0",
        File::Audit => b"audit\0",
        File::AuditOld => b"audit.old\0",
    }
}
