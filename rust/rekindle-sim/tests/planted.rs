// SPDX-License-Identifier: Apache-2.0
//! Planted bugs: a liar between the session and its flash makes the device behave as if the session had the bug, and a
//! named invariant finds it out. The same world with an honest driver holds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "an integration test"
)]

use fusain::Mode;
use rekindle_session::port::{Area, FlashOp};
use rekindle_session::receiver::BootFacts;
use rekindle_sim::bootloader::{SwapMode, SwapType};
use rekindle_sim::device::{Honest, MS, Port, perform};
use rekindle_sim::flash::{FlashError, Geometry, NorFlash, RamStore, Tear};
use rekindle_sim::world::{Broken, Invariant, Mishap, Scenario, Update, When, World};
use std::collections::VecDeque;

type Flash = NorFlash<RamStore>;

/// What an area would hold if everything had been carried out.
#[derive(Debug, Default)]
struct Shadow {
    bytes: Option<Vec<u8>>,
}

impl Shadow {
    fn bytes(&mut self, flash: &mut Flash, area: Area) -> &mut Vec<u8> {
        self.bytes.get_or_insert_with(|| {
            let mut bytes = vec![0; flash.geometry().region(area).size() as usize];
            flash.peek(area, 0, &mut bytes).unwrap();
            bytes
        })
    }

    /// Carries out `op` on the shadow alone.
    fn perform(&mut self, flash: &mut Flash, op: &FlashOp<'_>) -> Vec<u8> {
        match *op {
            FlashOp::Read { area, offset, len } => {
                self.bytes(flash, area)[offset as usize..(offset + len) as usize].to_vec()
            }
            FlashOp::Write { area, offset, data } => {
                self.bytes(flash, area)[offset as usize..offset as usize + data.len()].copy_from_slice(data);
                Vec::new()
            }
            FlashOp::Erase { area, offset, len } => {
                self.bytes(flash, area)[offset as usize..(offset + len) as usize].fill(0xFF);
                Vec::new()
            }
        }
    }
}

fn area(op: &FlashOp<'_>) -> Area {
    match *op {
        FlashOp::Read { area, .. } | FlashOp::Write { area, .. } | FlashOp::Erase { area, .. } => area,
    }
}

/// The journal is never synced: it is written to memory.
#[derive(Debug, Default)]
struct JournalInMemory(Shadow);

impl Port<RamStore> for JournalInMemory {
    fn perform(&mut self, flash: &mut Flash, op: &FlashOp<'_>) -> Result<Vec<u8>, FlashError> {
        if area(op) == Area::Journal { Ok(self.0.perform(flash, op)) } else { perform(flash, op) }
    }

    fn forget(&mut self) {
        self.0 = Shadow::default();
    }
}

/// Early acknowledgement: a write is answered when it is in memory, and reaches flash this many writes later.
#[derive(Debug, Default)]
struct WritesBehind {
    shadow: Shadow,
    waiting: VecDeque<(u32, Vec<u8>)>,
}

const BEHIND: usize = 9;

impl Port<RamStore> for WritesBehind {
    fn perform(&mut self, flash: &mut Flash, op: &FlashOp<'_>) -> Result<Vec<u8>, FlashError> {
        if area(op) != Area::Secondary {
            return perform(flash, op);
        }
        match *op {
            FlashOp::Write { offset, data, .. } => {
                self.shadow.perform(flash, op);
                self.waiting.push_back((offset, data.to_vec()));
                if self.waiting.len() > BEHIND {
                    let (offset, data) = self.waiting.pop_front().unwrap();
                    perform(flash, &FlashOp::Write { area: Area::Secondary, offset, data: &data })?;
                }
                Ok(Vec::new())
            }
            FlashOp::Erase { .. } => {
                self.shadow.perform(flash, op);
                perform(flash, op)
            }
            FlashOp::Read { .. } => Ok(self.shadow.perform(flash, op)),
        }
    }

    fn forget(&mut self) {
        *self = Self::default();
    }
}

/// The slot's first sector is not erased at START.
#[derive(Debug)]
struct KeepsTheFirstSector;

impl Port<RamStore> for KeepsTheFirstSector {
    fn perform(&mut self, flash: &mut Flash, op: &FlashOp<'_>) -> Result<Vec<u8>, FlashError> {
        match *op {
            FlashOp::Erase { area: Area::Secondary, offset: 0, .. } => Ok(Vec::new()),
            _ => perform(flash, op),
        }
    }
}

/// One sector is not erased before it is written.
#[derive(Debug)]
struct ForgetsToErase;

impl Port<RamStore> for ForgetsToErase {
    fn perform(&mut self, flash: &mut Flash, op: &FlashOp<'_>) -> Result<Vec<u8>, FlashError> {
        match *op {
            FlashOp::Erase { area: Area::Secondary, offset: 3072, .. } => Ok(Vec::new()),
            _ => perform(flash, op),
        }
    }
}

/// A flash that damages one bit of one write and says nothing; with `from_memory`, the image is verified by what was
/// written instead of what is there.
#[derive(Debug)]
struct Damages {
    from_memory: bool,
    shadow: Shadow,
    writes: u32,
}

impl Damages {
    fn new(from_memory: bool) -> Self {
        Self { from_memory, shadow: Shadow::default(), writes: 0 }
    }
}

impl Port<RamStore> for Damages {
    fn perform(&mut self, flash: &mut Flash, op: &FlashOp<'_>) -> Result<Vec<u8>, FlashError> {
        if area(op) != Area::Secondary {
            return perform(flash, op);
        }
        let expected = self.shadow.perform(flash, op);
        match *op {
            FlashOp::Write { offset, data, .. } => {
                self.writes += 1;
                let mut data = data.to_vec();
                if self.writes == 5 {
                    data[17] &= !(1 << data[17].trailing_ones());
                    data[17] ^= 0x40;
                }
                perform(flash, &FlashOp::Write { area: Area::Secondary, offset, data: &data })
            }
            FlashOp::Erase { .. } => perform(flash, op),
            FlashOp::Read { .. } if self.from_memory => Ok(expected),
            FlashOp::Read { .. } => perform(flash, op),
        }
    }
}

/// A resume believes its journal: the slot is not read again, what was written to it is taken for granted.
#[derive(Debug, Default)]
struct ResumesBlindly(Shadow);

impl Port<RamStore> for ResumesBlindly {
    fn perform(&mut self, flash: &mut Flash, op: &FlashOp<'_>) -> Result<Vec<u8>, FlashError> {
        if area(op) != Area::Secondary {
            return perform(flash, op);
        }
        let expected = self.0.perform(flash, op);
        perform(flash, op).map(|_| expected)
    }
}

fn scenario(mode: SwapMode) -> Scenario {
    Scenario::new(3, mode, Geometry::even(4, 12, 1024)).with_update(Update::new(2, 7777, Mode::Test, None, 3))
}

fn cut_at(number: u64) -> (When, Mishap) {
    (When::Operation { number }, Mishap::PowerCut { tear: Tear::Before, off_ns: 500 * MS })
}

fn holds(scenario: &Scenario) {
    if let Err(broken) = World::new(scenario.clone()).run() {
        panic!("an honest driver: {broken}");
    }
}

fn found_out(scenario: &Scenario, port: Box<dyn Port<RamStore>>) -> Broken {
    match World::with_port(scenario.clone(), port).run() {
        Err(broken) => broken,
        Ok(summary) => panic!("nobody noticed: {summary:?}"),
    }
}

#[test]
fn a_journal_that_is_never_synced() {
    let (when, cut) = cut_at(28);
    let scenario = scenario(SwapMode::Offset).with_mishap(when, cut);
    holds(&scenario);
    let broken = found_out(&scenario, Box::new(JournalInMemory::default()));
    assert_eq!(broken.invariant, Invariant::AcknowledgedWithinASector, "{broken}");
    // A cut right behind the first sector, in lock-step, loses no more than one and still breaks a promise.
    let (when, cut) = cut_at(7);
    let scenario = Scenario { mishaps: vec![(when, cut)], window_max: 1, ..scenario };
    holds(&scenario);
    let broken = found_out(&scenario, Box::new(JournalInMemory::default()));
    assert_eq!(broken.invariant, Invariant::DurableSurvives, "{broken}");
}

#[test]
fn an_early_acknowledgement() {
    let (when, cut) = cut_at(30);
    let scenario = scenario(SwapMode::Move).with_mishap(when, cut);
    holds(&scenario);
    let broken = found_out(&scenario, Box::new(WritesBehind::default()));
    assert_eq!(broken.invariant, Invariant::AcknowledgedWithinASector, "{broken}");
}

#[test]
fn a_first_sector_that_is_not_erased() {
    let scenario = scenario(SwapMode::Offset).with_update(Update::new(3, 6000, Mode::Test, None, 3));
    holds(&scenario);
    let broken = found_out(&scenario, Box::new(KeepsTheFirstSector));
    assert_eq!(broken.invariant, Invariant::VerifiedImageIsTaken, "{broken}");
}

#[test]
fn a_verification_of_what_is_in_memory() {
    let scenario = scenario(SwapMode::Offset);
    let honest = World::with_port(scenario.clone(), Box::new(Damages::new(false))).run();
    assert!(honest.is_ok(), "reading flash finds the damage, and the image is sent again: {honest:?}");
    let broken = found_out(&scenario, Box::new(Damages::new(true)));
    assert_eq!(broken.invariant, Invariant::NothingUnverifiedIsActivated, "{broken}");
}

#[test]
fn a_resume_that_does_not_read_again() {
    let (when, cut) = cut_at(30);
    let probe = World::new(scenario(SwapMode::Offset).with_mishap(when, cut)).run().unwrap();
    assert_eq!(probe.power_cuts, 1);
    // While power is off, somebody writes into the third sector of the image.
    let foreign = Mishap::ForeignWrite { offset: 3 * 1024 + 100, len: 64 };
    let scenario =
        scenario(SwapMode::Offset).with_mishap(when, cut).with_mishap(When::At { ns: 300 * MS }, foreign);
    holds(&scenario);
    let broken = found_out(&scenario, Box::new(ResumesBlindly::default()));
    assert_eq!(broken.invariant, Invariant::ResumedBytesAreRight, "{broken}");
}

#[test]
fn a_sector_that_is_not_erased() {
    let scenario = scenario(SwapMode::Offset).with_update(Update::new(3, 6000, Mode::Test, None, 3));
    holds(&scenario);
    let broken = found_out(&scenario, Box::new(ForgetsToErase));
    assert_eq!(broken.invariant, Invariant::FlashRulesAreKept, "{broken}");
}

#[test]
fn a_session_that_begins_while_an_image_is_under_test() {
    for mode in [SwapMode::Offset, SwapMode::Move] {
        let mut scenario = scenario(mode).with_update(Update::new(3, 6000, Mode::Test, None, 3));
        // The operator goes on at once; the self-test takes longer.
        scenario.updates[0].follow = false;
        scenario.device.timing.self_test_ns = 15_000 * MS;
        holds(&scenario);
        // A platform that takes an image under test for a confirmed one.
        scenario.device.facts = |facts| BootFacts { confirmed: true, swap_type: SwapType::None, ..facts };
        let broken = found_out(&scenario, Box::new(Honest));
        assert_eq!(broken.invariant, Invariant::RevertImageStaysIntact, "{broken}");
    }
}
