// SPDX-License-Identifier: Apache-2.0
//! The journal: what must outlive a power cut, in two flash sectors of its own.
//!
//! A sector starts with a header block (magic, generation, CRC-32) and goes on with records, appended one
//! after the other; each append is one write operation. When a record no longer fits, what still matters is
//! copied into the other sector and that sector's header is written *last*: until then the old sector counts,
//! afterwards the new one does. So a cut at any operation leaves one whole journal, with or without its newest
//! record.
//!
//! A torn record fails its CRC and is stepped over. Blocks behind the last record that are not blank (a torn
//! write whose first block stayed blank) make the sector count as full: nothing is ever programmed twice.

pub(crate) mod record;
#[cfg(test)]
mod tests;

use crate::port::{Area, FlashFault, FlashOp, Layout, READ_MAX};
use record::{Attempt, BLOCK, CRC32, RECORD_MAX, Record, Session, Settled, Stage};

/// Smallest journal sector in bytes: what a compaction keeps must always fit with room to append.
pub const JOURNAL_SECTOR_MIN: u32 = 1024;

/// Number of settled outcomes that are kept.
pub const HISTORY_MAX: u32 = 4;

const MAGIC: [u8; 4] = *b"RKJ1";
const BLOCK_U32: u32 = 32;
const _: () = assert!(BLOCK == 32, "block size in both widths");
/// A compaction keeps one checkpoint of this many, and the newest.
const CHECKPOINT_KEEP_EVERY: u32 = 4;

/// What the records read so far add up to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ledger {
    /// The live session and the block at which its record stands.
    pub(crate) session: Option<(Session, u32)>,
    /// Offset of the newest checkpoint of the live session.
    pub(crate) durable: u32,
    /// The live session was once verified.
    pub(crate) verified: bool,
    /// The newest attempt, while its outcome is not settled, and its block.
    pub(crate) attempt: Option<(Attempt, u32)>,
    /// The newest self-test mark since that attempt, and its block.
    pub(crate) stage: Option<(Stage, u32)>,
    /// The newest settled outcome.
    pub(crate) settled: Option<Settled>,
    /// Number of settled outcomes in the journal.
    pub(crate) settled_count: u32,
    /// Number of the newest attempt, 0 when there was none.
    pub(crate) last_attempt: u32,
    /// Block of the newest checkpoint.
    last_checkpoint: u32,
}

impl Ledger {
    fn apply(&mut self, record: &Record, block: u32) {
        match record {
            Record::Session(session) => {
                self.end_session();
                self.session = Some((*session, block));
            }
            Record::Checkpoint { offset, .. } => {
                if self.session.is_some() {
                    self.durable = *offset;
                    self.last_checkpoint = block;
                }
            }
            Record::Verified => self.verified = true,
            Record::Closed => self.end_session(),
            Record::Attempt(attempt) => {
                self.attempt = Some((*attempt, block));
                self.stage = None;
                self.last_attempt = attempt.number;
            }
            Record::Stage(stage) => self.stage = Some((*stage, block)),
            Record::Settled(settled) => {
                self.attempt = None;
                self.stage = None;
                self.last_attempt = settled.number;
                self.settled = Some(*settled);
                self.settled_count = self.settled_count.saturating_add(1);
                // An upgrade that was never tried leaves the received image where it is, still worth its bytes.
                if settled.outcome != fusain::Outcome::NotAttempted {
                    self.end_session();
                }
            }
            Record::Unknown => {}
        }
    }

    fn end_session(&mut self) {
        self.session = None;
        self.durable = 0;
        self.verified = false;
        self.last_checkpoint = 0;
    }
}

/// The position of a walk over the records of the current sector.
#[derive(Clone, Copy, Debug)]
struct Walk {
    block: u32,
}

#[derive(Clone, Copy, Debug)]
enum Task {
    Idle,
    /// Reading the header of sector 0, then of sector 1.
    Headers {
        sector: u32,
        found: Option<(u32, u32)>,
    },
    /// Reading records to build the ledger.
    Scan(Walk),
    /// Checking that everything from this block on is blank.
    Tail {
        block: u32,
    },
    /// Reading on from a block to the next record, for [`Journal::next_record`].
    Next(Walk),
    /// Erasing the other sector before a compaction.
    CompactErase,
    /// Reading the record at `from` of the old sector, to copy it to `to` of the new one.
    CompactRead {
        from: u32,
        to: u32,
        settled_seen: u32,
        checkpoint_seen: u32,
    },
    /// Writing the record in the buffer.
    CompactWrite {
        from: u32,
        to: u32,
        settled_seen: u32,
        checkpoint_seen: u32,
    },
    /// Writing the new sector's header: from here on it is the journal.
    CompactHeader {
        end: u32,
    },
    /// Reading the new sector back, so that the ledger's block numbers are its own.
    CompactScan(Walk),
    /// Writing the pending record.
    Append,
}

/// The journal as a state machine: [`poll`](Self::poll) names the next flash operation, [`done`](Self::done)
/// takes its result; idle when `poll` gives `None`.
#[derive(Debug)]
pub(crate) struct Journal {
    sector_size: u32,
    blocks: u32,
    sector: u32,
    generation: u32,
    /// A journal exists on flash.
    formatted: bool,
    /// First block that may be written.
    end: u32,
    task: Task,
    ledger: Ledger,
    pending: Option<Record>,
    /// What [`Self::next_record`] found.
    found: Option<(Record, u32)>,
    buffer: [u8; RECORD_MAX],
    len: usize,
}

impl Journal {
    /// A journal over the first two sectors of its area; reading it begins with the first [`poll`](Self::poll).
    pub(crate) fn new(layout: &Layout) -> Self {
        let blocks = layout.journal_sector.checked_div(BLOCK_U32).unwrap_or(0);
        Self {
            sector_size: layout.journal_sector,
            blocks,
            sector: 0,
            generation: 0,
            formatted: false,
            end: blocks,
            task: Task::Headers { sector: 0, found: None },
            ledger: Ledger::default(),
            pending: None,
            found: None,
            buffer: [0xFF; RECORD_MAX],
            len: 0,
        }
    }

    /// What the journal says; complete once the first read-through has gone idle.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Begins to append `record`. The caller drives the journal to idle before it asks for anything else.
    pub(crate) fn append(&mut self, record: Record) {
        self.pending = Some(record);
        self.begin_append();
    }

    /// Begins to look for the first record at or behind `block`; the answer is in
    /// [`take_found`](Self::take_found) when the journal goes idle.
    pub(crate) fn next_record(&mut self, block: u32) {
        self.found = None;
        let block = block.max(1);
        if self.formatted && block < self.end {
            self.task = Task::Next(Walk { block });
        }
    }

    /// The record that [`next_record`](Self::next_record) found, and the block behind it.
    pub(crate) fn take_found(&mut self) -> Option<(Record, u32)> {
        self.found.take()
    }

    fn begin_append(&mut self) {
        let Some(record) = self.pending else {
            self.task = Task::Idle;
            return;
        };
        self.len = record.emit(&mut self.buffer);
        let needed = u32::try_from(self.len / BLOCK).unwrap_or(u32::MAX);
        let fits = self.formatted && self.end.saturating_add(needed) <= self.blocks;
        self.task = if fits { Task::Append } else { Task::CompactErase };
    }

    fn at(&self, sector: u32, block: u32) -> u32 {
        sector.saturating_mul(self.sector_size).saturating_add(block.saturating_mul(BLOCK_U32))
    }

    /// Bytes from `block` to the sector's end, at most `most`.
    fn span(&self, block: u32, most: usize) -> u32 {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        self.blocks.saturating_sub(block).saturating_mul(BLOCK_U32).min(most)
    }

    fn read(&self, sector: u32, block: u32, most: usize) -> FlashOp<'_> {
        FlashOp::Read { area: Area::Journal, offset: self.at(sector, block), len: self.span(block, most) }
    }

    fn write(&self, sector: u32, block: u32) -> FlashOp<'_> {
        let data = self.buffer.get(..self.len).unwrap_or_default();
        FlashOp::Write { area: Area::Journal, offset: self.at(sector, block), data }
    }

    fn other(&self) -> u32 {
        // A journal that does not exist yet is made in sector 0.
        if self.formatted { 1 ^ self.sector } else { 0 }
    }

    /// The next flash operation, or `None` when idle. The same operation is named until it is answered.
    pub(crate) fn poll(&self) -> Option<FlashOp<'_>> {
        Some(match self.task {
            Task::Idle => return None,
            Task::Headers { sector, .. } => self.read(sector, 0, BLOCK),
            Task::Scan(w) | Task::Next(w) | Task::CompactScan(w) => {
                self.read(self.sector, w.block, RECORD_MAX)
            }
            Task::Tail { block } => self.read(self.sector, block, READ_MAX),
            Task::CompactErase => FlashOp::Erase {
                area: Area::Journal,
                offset: self.at(self.other(), 0),
                len: self.sector_size,
            },
            Task::CompactRead { from, .. } => self.read(self.sector, from, RECORD_MAX),
            Task::CompactWrite { to, .. } => self.write(self.other(), to),
            Task::CompactHeader { .. } => self.write(self.other(), 0),
            Task::Append => self.write(self.sector, self.end),
        })
    }

    /// Takes the result of the operation that [`poll`](Self::poll) named.
    ///
    /// # Errors
    /// [`FlashFault`] when the operation failed and the record could not be kept; the journal is idle again.
    pub(crate) fn done(&mut self, result: Result<&[u8], FlashFault>) -> Result<(), FlashFault> {
        match result {
            Ok(bytes) => {
                self.advance(bytes);
                Ok(())
            }
            Err(fault) => self.failed(fault),
        }
    }

    fn failed(&mut self, fault: FlashFault) -> Result<(), FlashFault> {
        match self.task {
            // A header that cannot be read is no header; the other sector may still have one.
            Task::Headers { .. } => {
                self.advance(&[]);
                Ok(())
            }
            // Whatever was read so far counts; a new record goes into the other sector.
            Task::Scan(_) | Task::Tail { .. } | Task::CompactScan(_) => {
                self.end = self.blocks;
                self.task = Task::Idle;
                Ok(())
            }
            Task::Next(_) => {
                self.task = Task::Idle;
                Ok(())
            }
            _ => {
                // A write that failed may have programmed some of its bytes.
                self.end = self.blocks;
                self.pending = None;
                self.task = Task::Idle;
                Err(fault)
            }
        }
    }

    fn advance(&mut self, bytes: &[u8]) {
        match self.task {
            Task::Idle => {}
            Task::Headers { sector, found } => self.header_read(sector, found, bytes),
            Task::Scan(walk) => self.scan_read(walk, bytes, false),
            Task::CompactScan(walk) => self.scan_read(walk, bytes, true),
            Task::Tail { block } => self.tail_read(block, bytes),
            Task::Next(walk) => self.next_read(walk, bytes),
            Task::CompactErase => {
                if self.formatted {
                    self.continue_compaction(1, 1, 0, 0);
                } else {
                    self.begin_header(1);
                }
            }
            Task::CompactRead { from, to, settled_seen, checkpoint_seen } => {
                self.compact_read(from, to, settled_seen, checkpoint_seen, bytes);
            }
            Task::CompactWrite { from, to, settled_seen, checkpoint_seen } => {
                let blocks = u32::try_from(self.len / BLOCK).unwrap_or(1);
                let to = to.saturating_add(blocks);
                self.continue_compaction(from.saturating_add(blocks), to, settled_seen, checkpoint_seen);
            }
            Task::CompactHeader { end } => {
                self.sector = self.other();
                self.generation = self.generation.wrapping_add(1);
                self.formatted = true;
                self.end = end;
                self.ledger = Ledger::default();
                self.task = Task::CompactScan(Walk { block: 1 });
            }
            Task::Append => self.appended(),
        }
    }

    fn header_read(&mut self, sector: u32, found: Option<(u32, u32)>, bytes: &[u8]) {
        let here = parse_header(bytes).map(|generation| (generation, sector));
        let newest = match (found, here) {
            (Some(a), Some(b)) => Some(if b.0 > a.0 { b } else { a }),
            (a, b) => a.or(b),
        };
        if sector == 0 {
            self.task = Task::Headers { sector: 1, found: newest };
        } else if let Some((generation, sector)) = newest {
            self.formatted = true;
            self.generation = generation;
            self.sector = sector;
            self.task = Task::Scan(Walk { block: 1 });
        } else {
            self.task = Task::Idle;
        }
    }

    /// One step over the records: to the next one, or to the end.
    fn scan_read(&mut self, walk: Walk, bytes: &[u8], compacted: bool) {
        let block = walk.block;
        let next = match Record::parse(bytes) {
            Some((record, blocks)) => {
                self.ledger.apply(&record, block);
                block.saturating_add(u32::from(blocks))
            }
            None if is_blank(bytes.get(..BLOCK).unwrap_or(bytes)) => {
                self.end = block;
                self.task = Task::Tail { block };
                if compacted {
                    self.begin_append_compacted();
                }
                return;
            }
            None => block.saturating_add(1),
        };
        if next >= self.blocks {
            self.end = self.blocks;
            self.task = Task::Idle;
            if compacted {
                self.begin_append_compacted();
            }
        } else {
            self.task = if compacted {
                Task::CompactScan(Walk { block: next })
            } else {
                Task::Scan(Walk { block: next })
            };
        }
    }

    /// Goes on with the record that a compaction made room for. Should even that not be enough, the record is
    /// given up: [`JOURNAL_SECTOR_MIN`] makes that impossible.
    fn begin_append_compacted(&mut self) {
        self.begin_append();
        if matches!(self.task, Task::CompactErase) {
            self.pending = None;
            self.task = Task::Idle;
        }
    }

    fn tail_read(&mut self, block: u32, bytes: &[u8]) {
        if !is_blank(bytes) {
            self.end = self.blocks;
            self.task = Task::Idle;
            return;
        }
        let next = block.saturating_add(u32::try_from(READ_MAX / BLOCK).unwrap_or(1));
        self.task = if next >= self.blocks { Task::Idle } else { Task::Tail { block: next } };
    }

    fn next_read(&mut self, walk: Walk, bytes: &[u8]) {
        let block = walk.block;
        if let Some((record, blocks)) = Record::parse(bytes) {
            self.found = Some((record, block.saturating_add(u32::from(blocks))));
            self.task = Task::Idle;
            return;
        }
        let next = block.saturating_add(1);
        let over = next >= self.end || is_blank(bytes.get(..BLOCK).unwrap_or(bytes));
        self.task = if over { Task::Idle } else { Task::Next(Walk { block: next }) };
    }

    fn compact_read(&mut self, from: u32, to: u32, settled_seen: u32, checkpoint_seen: u32, bytes: &[u8]) {
        let Some((record, blocks)) = Record::parse(bytes) else {
            self.continue_compaction(from.saturating_add(1), to, settled_seen, checkpoint_seen);
            return;
        };
        let keep = self.keeps(&record, from, settled_seen, checkpoint_seen);
        let settled_seen = settled_seen.saturating_add(u32::from(matches!(record, Record::Settled(_))));
        let checkpoint_seen =
            checkpoint_seen.saturating_add(u32::from(matches!(record, Record::Checkpoint { .. })));
        if keep {
            self.len = record.emit(&mut self.buffer);
            self.task = Task::CompactWrite { from, to, settled_seen, checkpoint_seen };
        } else {
            let next = from.saturating_add(u32::from(blocks));
            self.continue_compaction(next, to, settled_seen, checkpoint_seen);
        }
    }

    fn continue_compaction(&mut self, from: u32, to: u32, settled_seen: u32, checkpoint_seen: u32) {
        if from >= self.end.min(self.blocks) {
            self.begin_header(to);
        } else {
            self.task = Task::CompactRead { from, to, settled_seen, checkpoint_seen };
        }
    }

    /// Whether a compaction keeps the record at `block` of the old sector.
    fn keeps(&self, record: &Record, block: u32, settled_seen: u32, checkpoint_seen: u32) -> bool {
        let ledger = &self.ledger;
        // The pending record may end the session or the attempt: then their records need no copy.
        let session_ends = matches!(self.pending, Some(Record::Session(_) | Record::Closed));
        let live = !session_ends && ledger.session.is_some_and(|(_, at)| block >= at);
        match record {
            Record::Session(_) => !session_ends && ledger.session.is_some_and(|(_, at)| at == block),
            Record::Checkpoint { .. } => {
                live && (block == ledger.last_checkpoint
                    || checkpoint_seen.checked_rem(CHECKPOINT_KEEP_EVERY) == Some(0))
            }
            Record::Verified => live,
            Record::Attempt(_) => ledger.attempt.is_some_and(|(_, at)| at == block),
            Record::Stage(_) => ledger.attempt.is_some() && ledger.stage.is_some_and(|(_, at)| at == block),
            Record::Settled(_) => {
                let coming = u32::from(matches!(self.pending, Some(Record::Settled(_))));
                settled_seen.saturating_add(HISTORY_MAX) >= ledger.settled_count.saturating_add(coming)
            }
            Record::Closed | Record::Unknown => false,
        }
    }

    fn begin_header(&mut self, end: u32) {
        emit_header(&mut self.buffer, self.generation.wrapping_add(1));
        self.len = BLOCK;
        self.task = Task::CompactHeader { end };
    }

    fn appended(&mut self) {
        let block = self.end;
        self.end = block.saturating_add(u32::try_from(self.len / BLOCK).unwrap_or(1));
        if let Some(record) = self.pending.take() {
            self.ledger.apply(&record, block);
        }
        self.task = Task::Idle;
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0xFF)
}

fn emit_header(out: &mut [u8; RECORD_MAX], generation: u32) {
    let (header, _) = out.split_at_mut(BLOCK);
    header.fill(0xFF);
    let (content, tail) = header.split_at_mut(BLOCK.saturating_sub(4));
    for (to, from) in content.iter_mut().zip(MAGIC.iter().chain(generation.to_le_bytes().iter())) {
        *to = *from;
    }
    tail.copy_from_slice(&CRC32.checksum(content).to_le_bytes());
}

/// The generation that a sector's header names; `None` when the header is not whole.
fn parse_header(bytes: &[u8]) -> Option<u32> {
    let (content, crc) = bytes.get(..BLOCK)?.split_last_chunk::<4>()?;
    let (magic, rest) = content.split_first_chunk::<4>()?;
    let (generation, _) = rest.split_first_chunk::<4>()?;
    (*magic == MAGIC && CRC32.checksum(content) == u32::from_le_bytes(*crc))
        .then(|| u32::from_le_bytes(*generation))
}
