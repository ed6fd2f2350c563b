// SPDX-License-Identifier: Apache-2.0
//! The journal against a power cut at every operation of a long history.

use super::record::Session;
use super::*;
use fusain::{Mode, Outcome};

extern crate std;
use std::vec;
use std::vec::Vec;

fn layout(sector: u32) -> Layout {
    Layout {
        primary_size: 0,
        slot_size: 0,
        sector_size: 4096,
        write_block: 32,
        image_offset: 0,
        image_max: 0,
        trailer_size: 0,
        journal_size: 2 * sector,
        journal_sector: sector,
    }
}

/// How an operation is torn: the bytes it leaves are a mix of before and after.
#[derive(Clone, Copy, Debug)]
enum Tear {
    Prefix,
    Suffix,
    EveryOther,
}

#[derive(Clone)]
struct Flash {
    bytes: Vec<u8>,
    /// Operations left before the cut, and how the one at the cut is torn.
    cut: Option<(u32, Tear)>,
}

struct Cut;

impl Flash {
    fn new(sector: u32) -> Self {
        Self { bytes: vec![0xFF; 2 * sector as usize], cut: None }
    }

    fn change(&mut self, at: usize, after: &[u8]) -> Result<(), Cut> {
        let place = &mut self.bytes[at..at + after.len()];
        match &mut self.cut {
            Some((0, tear)) => {
                let half = after.len() / 2;
                for (i, (old, new)) in place.iter_mut().zip(after).enumerate() {
                    let done = match tear {
                        Tear::Prefix => i < half,
                        Tear::Suffix => i >= half,
                        Tear::EveryOther => i % 2 == 0,
                    };
                    if done {
                        *old = *new;
                    }
                }
                return Err(Cut);
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        place.copy_from_slice(after);
        Ok(())
    }

    /// Runs the journal until it is idle.
    fn drive(&mut self, journal: &mut Journal) -> Result<(), Cut> {
        while let Some(op) = journal.poll() {
            let bytes = match op {
                FlashOp::Read { offset, len, .. } => {
                    assert!(len > 0 && len as usize <= READ_MAX);
                    self.bytes[offset as usize..(offset + len) as usize].to_vec()
                }
                FlashOp::Write { offset, data, .. } => {
                    let at = offset as usize;
                    assert!(self.bytes[at..at + data.len()].iter().all(|b| *b == 0xFF), "programmed twice");
                    let data = data.to_vec();
                    self.change(at, &data)?;
                    vec![]
                }
                FlashOp::Erase { offset, len, .. } => {
                    self.change(offset as usize, &vec![0xFF; len as usize])?;
                    vec![]
                }
            };
            assert!(journal.done(Ok(&bytes)).is_ok());
        }
        Ok(())
    }

    fn open(&mut self, sector: u32) -> Journal {
        let mut journal = Journal::new(&layout(sector));
        assert!(self.drive(&mut journal).is_ok());
        journal
    }
}

/// What must survive, without the places where it stands.
fn facts(ledger: &Ledger) -> impl PartialEq + core::fmt::Debug + use<> {
    let bytes = |kept: &Kept| kept.get().map(|record| record.get().to_vec());
    (
        (bytes(&ledger.session), ledger.verified, ledger.checkpoint != 0),
        (bytes(&ledger.attempt), ledger.requested, ledger.stage()),
        (bytes(&ledger.settled), ledger.last_attempt()),
    )
}

fn record(write: impl FnOnce(&mut Record)) -> Record {
    let mut record = Record::NONE;
    write(&mut record);
    record
}

fn append(journal: &mut Journal, what: &Record) {
    journal.append(|record, _| *record = what.clone());
}

/// Offsets of the live session's checkpoints, in order.
fn checkpoints(flash: &mut Flash, journal: &mut Journal) -> Vec<u32> {
    let mut offsets = vec![];
    if journal.ledger().session().is_none() {
        return offsets;
    }
    journal.next_record(journal.ledger().session_block());
    loop {
        assert!(flash.drive(journal).is_ok());
        let Some(record) = journal.found() else { break };
        if record.kind() == KIND_CHECKPOINT {
            offsets.push(record.to_checkpoint().0);
        }
        journal.next();
    }
    offsets
}

/// Three updates: one that is confirmed, one that is reverted, one that is only half received.
fn history() -> Vec<Record> {
    let mut records = vec![];
    for number in 1..=3_u32 {
        let seed = u8::try_from(number).unwrap();
        let session = Session { size: 40 * 4096, digest: [seed; 32], version: None };
        records.push(record(|r| r.session(&session)));
        for sector in 1..=(if number == 3 { 21 } else { 40 }) {
            records.push(record(|r| r.checkpoint(sector * 4096, sector * number)));
        }
        if number == 3 {
            break;
        }
        records.push(record(|r| r.open(KIND_VERIFIED)));
        let attempt = record(|r| r.attempt(number, Mode::Test, 0, &[seed + 100; 32], &[seed; 32]));
        records.push(attempt.clone());
        records.push(record(|r| r.open(KIND_REQUESTED)));
        let stages = [0, 1, 2].map(|stage| Stage { stage, code: 0 });
        records.extend(stages.map(|stage| record(|r| r.stage(stage))));
        let outcome = if number == 1 { Outcome::Confirmed } else { Outcome::Reverted };
        let [.., last] = stages;
        records.push(record(|r| r.settled(Attempt(&attempt), outcome, 4, Some(last))));
    }
    records
}

#[test]
fn a_cut_at_any_operation_loses_at_most_the_newest_record() {
    const SECTOR: u32 = JOURNAL_SECTOR_MIN;
    // The ledger, and the newest checkpoint.
    let everything = |flash: &mut Flash| {
        let mut journal = flash.open(SECTOR);
        let facts = facts(journal.ledger());
        (facts, checkpoints(flash, &mut journal).pop())
    };
    for tear in [Tear::Prefix, Tear::Suffix, Tear::EveryOther] {
        let mut flash = Flash::new(SECTOR);
        let mut cuts = 0;
        for record in history() {
            let before = everything(&mut flash);
            let mut whole = flash.clone();
            let mut journal = whole.open(SECTOR);
            append(&mut journal, &record);
            assert!(whole.drive(&mut journal).is_ok());
            let after = everything(&mut whole);
            assert_eq!(facts(journal.ledger()), after.0);
            for n in 0.. {
                let mut torn = flash.clone();
                let mut journal = torn.open(SECTOR);
                append(&mut journal, &record);
                torn.cut = Some((n, tear));
                let done = torn.drive(&mut journal).is_ok();
                torn.cut = None;
                if done {
                    break;
                }
                cuts += 1;
                let now = everything(&mut torn);
                let mut journal = torn.open(SECTOR);
                assert!(now == before || now == after, "{tear:?} at {n} of {record:?}: {now:?}");
                // What was cut can be written again, and is then there.
                append(&mut journal, &record);
                assert!(torn.drive(&mut journal).is_ok());
                let again = everything(&mut torn);
                assert!(again == after || now == after, "{tear:?} at {n} of {record:?}: {again:?}");
            }
            flash = whole;
        }
        assert!(cuts > 150, "only {cuts} cuts");
    }
}

#[test]
fn a_compaction_keeps_checkpoints_to_step_back_to() {
    const SECTOR: u32 = 2048;
    let mut flash = Flash::new(SECTOR);
    let mut journal = flash.open(SECTOR);
    let session = Session { size: 1_000_000, digest: [1; 32], version: None };
    journal.append(|record, _| record.session(&session));
    assert!(flash.drive(&mut journal).is_ok());
    for n in 1..=200 {
        journal.append(|record, _| record.checkpoint(n * 4096, n));
        assert!(flash.drive(&mut journal).is_ok());
    }
    let mut journal = flash.open(SECTOR);
    assert_eq!(journal.ledger().session().map(Record::to_session), Some(session));
    let offsets = checkpoints(&mut flash, &mut journal);
    assert_eq!(offsets.last(), Some(&(200 * 4096)));
    assert!(offsets.is_sorted() && offsets.len() > 8, "{offsets:?}");
    assert!(offsets.iter().any(|o| *o < 100 * 4096), "nothing old is left: {offsets:?}");
}

#[test]
fn noise_is_no_journal() {
    let mut noise = 1_u32;
    for _ in 0..50 {
        let mut flash = Flash::new(JOURNAL_SECTOR_MIN);
        for byte in &mut flash.bytes {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = noise.to_be_bytes()[0];
        }
        let mut journal = flash.open(JOURNAL_SECTOR_MIN);
        assert!(journal.ledger().session().is_none());
        journal.append_mark(KIND_VERIFIED);
        assert!(flash.drive(&mut journal).is_ok());
        assert!(flash.open(JOURNAL_SECTOR_MIN).ledger().verified);
    }
}
