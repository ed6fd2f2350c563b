// SPDX-License-Identifier: Apache-2.0
//! The journal against a power cut at every operation of a long history.

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
    (
        (ledger.session.map(|(s, _)| s), ledger.durable, ledger.verified),
        (ledger.attempt.map(|(a, _)| a), ledger.requested, ledger.stage.map(|(s, _)| s)),
        (ledger.settled, ledger.last_attempt),
    )
}

/// Three updates: one that is confirmed, one that is reverted, one that is only half received.
fn history() -> Vec<Record> {
    let mut records = vec![];
    for number in 1..=3_u32 {
        let size = 40 * 4096;
        let seed = u8::try_from(number).unwrap();
        records.push(Record::Session(Session { size, digest: [seed; 32], version: None }));
        for sector in 1..=(if number == 3 { 21 } else { 40 }) {
            records.push(Record::Checkpoint { offset: sector * 4096, crc: sector * number });
        }
        if number == 3 {
            break;
        }
        records.push(Record::Verified);
        let (target, running) = ([seed + 100; 32], [seed; 32]);
        let mode = Mode::Test;
        records.push(Record::Attempt(Attempt { number, mode, swap_before: 0, target, running }));
        records.push(Record::Requested);
        let stages = [0, 1, 2].map(|stage| Record::Stage(Stage { stage, code: 0 }));
        records.extend(stages);
        let outcome = if number == 1 { Outcome::Confirmed } else { Outcome::Reverted };
        let stage = Some(Stage { stage: 2, code: 0 });
        records.push(Record::Settled(Settled { number, mode, outcome, target, stage, reset_cause: 4 }));
    }
    records
}

#[test]
fn a_cut_at_any_operation_loses_at_most_the_newest_record() {
    const SECTOR: u32 = JOURNAL_SECTOR_MIN;
    for tear in [Tear::Prefix, Tear::Suffix, Tear::EveryOther] {
        let mut flash = Flash::new(SECTOR);
        let mut cuts = 0;
        for record in history() {
            let before = facts(flash.open(SECTOR).ledger());
            let mut whole = flash.clone();
            let mut journal = whole.open(SECTOR);
            journal.append(record);
            assert!(whole.drive(&mut journal).is_ok());
            let after = facts(journal.ledger());
            assert_eq!(facts(whole.open(SECTOR).ledger()), after);
            for n in 0.. {
                let mut torn = flash.clone();
                let mut journal = torn.open(SECTOR);
                journal.append(record);
                torn.cut = Some((n, tear));
                let done = torn.drive(&mut journal).is_ok();
                torn.cut = None;
                if done {
                    break;
                }
                cuts += 1;
                let mut journal = torn.open(SECTOR);
                let now = facts(journal.ledger());
                assert!(now == before || now == after, "{tear:?} at {n} of {record:?}: {now:?}");
                // What was cut can be written again, and is then there.
                journal.append(record);
                assert!(torn.drive(&mut journal).is_ok());
                let again = facts(torn.open(SECTOR).ledger());
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
    journal.append(Record::Session(session));
    assert!(flash.drive(&mut journal).is_ok());
    for n in 1..=200 {
        journal.append(Record::Checkpoint { offset: n * 4096, crc: n });
        assert!(flash.drive(&mut journal).is_ok());
    }
    let mut journal = flash.open(SECTOR);
    assert_eq!(journal.ledger().durable, 200 * 4096);
    let (_, mut block) = journal.ledger().session.expect("the session");
    let mut offsets = vec![];
    loop {
        journal.next_record(block);
        assert!(flash.drive(&mut journal).is_ok());
        let Some((record, next)) = journal.take_found() else { break };
        if let Record::Checkpoint { offset, crc } = record {
            assert_eq!(offset, crc * 4096);
            offsets.push(offset);
        }
        block = next;
    }
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
        assert!(journal.ledger().session.is_none());
        journal.append(Record::Verified);
        assert!(flash.drive(&mut journal).is_ok());
        assert!(flash.open(JOURNAL_SECTOR_MIN).ledger().verified);
    }
}
