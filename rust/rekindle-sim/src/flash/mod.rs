// SPDX-License-Identifier: Apache-2.0
//! NOR flash that keeps its rules: erase before write, whole write blocks, sectors that wear, operations that
//! tear when power is lost.
//!
//! Every erase and every write counts as one operation over all areas, so that an operation's number names a
//! point at which power can be cut, whoever asked for it: the update session or the bootloader. A broken rule
//! is answered with [`FlashError::Rule`] and kept in [`NorFlash::violations`], which a test holds to be empty:
//! on a chip it would have been silent corruption.

mod geometry;
mod store;
mod tear;

pub use geometry::{AREAS, Geometry, Region, index};
pub use store::{FileStore, RamStore, Store};
pub use tear::Tear;

use crate::rng::Rng;
use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use rekindle_session::port::Area;

/// Bytes beside the chip that survive a power cut; the bootloader model keeps its progress there.
pub const NOTES_LEN: usize = 64;

/// Whether an operation programs or erases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// Bits are cleared.
    Program,
    /// A sector is set to 0xFF.
    Erase,
}

/// One operation that changes flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its number over all areas, from 0.
    pub number: u64,
    /// Program or erase.
    pub kind: OpKind,
    /// The area.
    pub area: Area,
    /// First byte in the area.
    pub offset: u32,
    /// Number of bytes.
    pub len: u32,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, kind, area, offset, len } = self;
        write!(f, "operation {number}: {kind:?} {area:?} {offset:#x}+{len:#x}")
    }
}

/// A rule of the chip that somebody broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Offset or length is no multiple of the write block (program) or of the sector (erase), or is nothing.
    Unaligned,
    /// Beyond the end of the area.
    OutOfRange,
    /// A write block was programmed twice without an erase between.
    NotErased,
    /// The update session may not change this area, or asked for more than the port allows.
    NotAllowed,
}

/// A broken rule and the operation that broke it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The operation.
    pub op: Op,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}", self.rule, self.op)
    }
}

/// Why an operation was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashError {
    /// Power is gone: nothing runs on until [`NorFlash::power_on`].
    Power,
    /// A planned failure; power is still there.
    Fault,
    /// The operation breaks a rule of the chip and did nothing.
    Rule(Violation),
    /// The file under the chip could not be read or written.
    Storage(std::io::ErrorKind),
}

impl fmt::Display for FlashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Power => write!(f, "power was cut"),
            Self::Fault => write!(f, "a planned failure of the flash"),
            Self::Rule(violation) => write!(f, "rule of the flash broken: {violation}"),
            Self::Storage(kind) => write!(f, "the file under the flash: {kind}"),
        }
    }
}

impl core::error::Error for FlashError {}

/// A chip. Cloning one over [`RamStore`] is cheap and gives an independent chip with the same content.
#[derive(Clone, Debug)]
pub struct NorFlash<S = RamStore> {
    store: S,
    geometry: Geometry,
    /// One bit for each write block of the chip: programmed since its last erase.
    programmed: Vec<u64>,
    wear: [Vec<u32>; 3],
    operations: u64,
    reads: u64,
    cut: Option<(u64, Tear)>,
    failures: BTreeMap<u64, Tear>,
    read_failures: BTreeSet<u64>,
    tears: Rng,
    powered: bool,
    violations: Vec<Violation>,
}

impl NorFlash<RamStore> {
    /// An erased chip. `seed` decides what torn operations leave behind.
    #[must_use]
    pub fn new(geometry: Geometry, seed: u64) -> Self {
        let blocks = geometry.size() / u64::from(geometry.write_block);
        Self::assemble(RamStore::new(geometry.size() + NOTES_LEN as u64), geometry, blocks, seed)
    }
}

impl<S: Store> NorFlash<S> {
    /// A chip whose content is in `store`, which holds [`Geometry::size`] and then [`NOTES_LEN`] bytes. A write
    /// block that reads as erased counts as erased: whether it was programmed with 0xFF is not in the store.
    ///
    /// # Errors
    /// What the store reports.
    pub fn over(store: S, geometry: Geometry, seed: u64) -> Result<Self, FlashError> {
        let blocks = geometry.size() / u64::from(geometry.write_block);
        let mut flash = Self::assemble(store, geometry, blocks, seed);
        for area in AREAS {
            let region = geometry.region(area);
            for sector in 0..region.sectors {
                flash.mark_by_content(area, sector * region.sector_size, region.sector_size)?;
            }
        }
        Ok(flash)
    }

    /// The chip's geometry.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Number of erases and writes so far: the number of the next one.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Number of reads so far.
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// Cuts power at an operation, which is left as `tear` says.
    pub fn plan_cut(&mut self, operation: u64, tear: Tear) {
        self.cut = Some((operation, tear));
    }

    /// Lets an operation fail with [`FlashError::Fault`], left as `tear` says; power stays.
    pub fn plan_failure(&mut self, operation: u64, tear: Tear) {
        self.failures.insert(operation, tear);
    }

    /// Lets the read with this number fail.
    pub fn plan_read_failure(&mut self, read: u64) {
        self.read_failures.insert(read);
    }

    /// Forgets planned cuts and failures.
    pub fn clear_plans(&mut self) {
        self.cut = None;
        self.failures.clear();
        self.read_failures.clear();
    }

    /// Takes power away between two operations.
    pub fn cut_power(&mut self) {
        self.powered = false;
    }

    /// Brings power back.
    pub fn power_on(&mut self) {
        self.powered = true;
    }

    /// Whether power is there.
    pub fn is_powered(&self) -> bool {
        self.powered
    }

    /// Every rule broken so far. Empty, or whoever drives the chip is wrong.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Erases of each sector of an area.
    pub fn wear(&self, area: Area) -> &[u32] {
        &self.wear[index(area)]
    }

    /// Reads `out.len()` bytes.
    ///
    /// # Errors
    /// [`FlashError::Power`], [`FlashError::Fault`] when planned, [`FlashError::Rule`] beyond the area's end.
    pub fn read(&mut self, area: Area, offset: u32, out: &mut [u8]) -> Result<(), FlashError> {
        if !self.powered {
            return Err(FlashError::Power);
        }
        let number = self.reads;
        self.reads += 1;
        if self.read_failures.contains(&number) {
            return Err(FlashError::Fault);
        }
        self.peek(area, offset, out)
    }

    /// Reads without power and without counting: what a programmer clipped to the chip would see.
    ///
    /// # Errors
    /// [`FlashError::Rule`] beyond the area's end.
    pub fn peek(&mut self, area: Area, offset: u32, out: &mut [u8]) -> Result<(), FlashError> {
        let len = out.len() as u32;
        if !self.in_range(area, offset, len) {
            return Err(self.violation(Rule::OutOfRange, OpKind::Program, area, offset, len));
        }
        self.load(area, offset, out)
    }

    /// Programs `data`.
    ///
    /// # Errors
    /// [`FlashError::Power`] when it is or goes away, [`FlashError::Fault`] when planned, [`FlashError::Rule`]
    /// when offset or length is not in whole write blocks, or a block was programmed since its last erase.
    pub fn program(&mut self, area: Area, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        if !self.powered {
            return Err(FlashError::Power);
        }
        let len = data.len() as u32;
        let block = self.geometry.write_block;
        let rule = if !self.in_range(area, offset, len) {
            Some(Rule::OutOfRange)
        } else if len == 0 || !offset.is_multiple_of(block) || !len.is_multiple_of(block) {
            Some(Rule::Unaligned)
        } else if self.blocks(area, offset, len).any(|block| self.is_programmed(block)) {
            Some(Rule::NotErased)
        } else {
            None
        };
        if let Some(rule) = rule {
            return Err(self.violation(rule, OpKind::Program, area, offset, len));
        }
        self.change(OpKind::Program, area, offset, data)
    }

    /// Erases `len` bytes, whole sectors, as one operation.
    ///
    /// # Errors
    /// As [`program`](Self::program); [`FlashError::Rule`] unless it is in whole sectors.
    pub fn erase(&mut self, area: Area, offset: u32, len: u32) -> Result<(), FlashError> {
        if !self.powered {
            return Err(FlashError::Power);
        }
        let sector = self.geometry.region(area).sector_size;
        let rule = if !self.in_range(area, offset, len) {
            Some(Rule::OutOfRange)
        } else if len == 0 || !offset.is_multiple_of(sector) || !len.is_multiple_of(sector) {
            Some(Rule::Unaligned)
        } else {
            None
        };
        if let Some(rule) = rule {
            return Err(self.violation(rule, OpKind::Erase, area, offset, len));
        }
        for worn in offset / sector..(offset + len) / sector {
            self.wear[index(area)][worn as usize] += 1;
        }
        self.change(OpKind::Erase, area, offset, &vec![0xFF; len as usize])
    }

    /// Puts content into an area as a factory's programmer does: no rules, no wear, no operation.
    ///
    /// # Errors
    /// [`FlashError::Rule`] beyond the area's end, or what the store reports.
    pub fn install(&mut self, area: Area, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        let len = data.len() as u32;
        if !self.in_range(area, offset, len) {
            return Err(self.violation(Rule::OutOfRange, OpKind::Program, area, offset, len));
        }
        self.keep(area, offset, data)?;
        let block = self.geometry.write_block;
        let start = offset - offset % block;
        let end = (offset + len).next_multiple_of(block).min(self.geometry.region(area).size());
        self.mark_by_content(area, start, end - start)
    }

    /// The bytes beside the chip.
    ///
    /// # Errors
    /// What the store reports.
    pub fn notes(&mut self) -> Result<[u8; NOTES_LEN], FlashError> {
        let mut notes = [0; NOTES_LEN];
        let at = self.geometry.size();
        self.store.read(at, &mut notes).map_err(|error| FlashError::Storage(error.kind()))?;
        Ok(notes)
    }

    /// Replaces the bytes beside the chip; not an operation of the chip.
    ///
    /// # Errors
    /// What the store reports.
    pub fn set_notes(&mut self, notes: &[u8; NOTES_LEN]) -> Result<(), FlashError> {
        let at = self.geometry.size();
        self.store.write(at, notes).map_err(|error| FlashError::Storage(error.kind()))
    }

    /// Records a broken rule; for the layers above that have rules of their own.
    pub(crate) fn violation(
        &mut self,
        rule: Rule,
        kind: OpKind,
        area: Area,
        offset: u32,
        len: u32,
    ) -> FlashError {
        let op = Op { number: self.operations, kind, area, offset, len };
        let violation = Violation { rule, op };
        self.violations.push(violation);
        FlashError::Rule(violation)
    }

    fn assemble(store: S, geometry: Geometry, blocks: u64, seed: u64) -> Self {
        let words = blocks.div_ceil(64) as usize;
        let wear = AREAS.map(|area| vec![0; geometry.region(area).sectors as usize]);
        Self {
            store,
            geometry,
            programmed: vec![0; words],
            wear,
            operations: 0,
            reads: 0,
            cut: None,
            failures: BTreeMap::new(),
            read_failures: BTreeSet::new(),
            tears: Rng::new(seed).fork(0x7EA2),
            powered: true,
            violations: Vec::new(),
        }
    }

    /// Carries out an operation whose rules are checked, as far as the plans let it come.
    fn change(&mut self, kind: OpKind, area: Area, offset: u32, after: &[u8]) -> Result<(), FlashError> {
        let number = self.operations;
        self.operations += 1;
        let cut = self.cut.and_then(|(at, tear)| (at == number).then_some(tear));
        let failure = self.failures.get(&number).copied();
        let len = after.len() as u32;
        let Some(tear) = cut.or(failure) else {
            self.keep(area, offset, after)?;
            let programmed = kind == OpKind::Program;
            self.mark(area, offset, len, |_| programmed);
            return Ok(());
        };
        let mut before = vec![0; after.len()];
        self.load(area, offset, &mut before)?;
        let mut rng = self.tears.fork(number);
        let left = tear.apply(&before, after, &mut rng);
        self.keep(area, offset, &left)?;
        // What is left decides whether a block counts as programmed: nobody can know more than that after a cut.
        self.mark_by_content(area, offset, len)?;
        if cut.is_some() {
            self.powered = false;
            return Err(FlashError::Power);
        }
        Err(FlashError::Fault)
    }

    fn load(&mut self, area: Area, offset: u32, out: &mut [u8]) -> Result<(), FlashError> {
        let at = self.geometry.base(area) + u64::from(offset);
        self.store.read(at, out).map_err(|error| FlashError::Storage(error.kind()))
    }

    fn keep(&mut self, area: Area, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        let at = self.geometry.base(area) + u64::from(offset);
        self.store.write(at, data).map_err(|error| FlashError::Storage(error.kind()))
    }

    fn in_range(&self, area: Area, offset: u32, len: u32) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.geometry.region(area).size())
    }

    fn blocks(&self, area: Area, offset: u32, len: u32) -> core::ops::Range<u64> {
        let block = u64::from(self.geometry.write_block);
        let start = self.geometry.base(area) + u64::from(offset);
        start / block..(start + u64::from(len)) / block
    }

    fn is_programmed(&self, block: u64) -> bool {
        let (word, bit) = ((block / 64) as usize, block % 64);
        self.programmed[word] >> bit & 1 == 1
    }

    fn mark(&mut self, area: Area, offset: u32, len: u32, programmed: impl Fn(usize) -> bool) {
        for (nth, block) in self.blocks(area, offset, len).enumerate() {
            let (word, bit) = ((block / 64) as usize, block % 64);
            let mask = 1 << bit;
            if programmed(nth) {
                self.programmed[word] |= mask;
            } else {
                self.programmed[word] &= !mask;
            }
        }
    }

    fn mark_by_content(&mut self, area: Area, offset: u32, len: u32) -> Result<(), FlashError> {
        let mut content = vec![0; len as usize];
        self.load(area, offset, &mut content)?;
        let block = self.geometry.write_block as usize;
        let used = |nth: usize| content[nth * block..(nth + 1) * block].iter().any(|byte| *byte != 0xFF);
        self.mark(area, offset, len, used);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
