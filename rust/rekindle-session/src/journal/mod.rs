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
use fusain::Outcome;
use record::{
    Attempt, BLOCK, KIND_ATTEMPT, KIND_CHECKPOINT, KIND_CLOSED, KIND_FOREIGN, KIND_REQUESTED, KIND_SESSION,
    KIND_SETTLED, KIND_STAGE, KIND_VERIFIED, RECORD_MAX, Record, Settled, Stage, blocks, checked, intact,
    kind,
};

/// Smallest journal sector in bytes: what a compaction keeps must always fit with room to append.
pub const JOURNAL_SECTOR_MIN: u32 = 1024;

/// Number of settled outcomes that are kept.
pub const HISTORY_MAX: u32 = 4;

const MAGIC: [u8; 4] = *b"RKJ1";
const BLOCK_U32: u32 = 32;
const _: () = assert!(BLOCK == 32, "block size in both widths");
/// A compaction keeps one checkpoint of this many, and the newest.
const CHECKPOINT_KEEP_EVERY: u32 = 4;

/// A record that the ledger keeps, and where it stands.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Kept {
    /// Its block; 0, which is the header's, if there is none.
    block: u32,
    record: Record,
}

impl Kept {
    const NONE: Self = Self { record: Record::NONE, block: 0 };

    fn get(&self) -> Option<&Record> {
        (self.block != 0).then_some(&self.record)
    }
}

/// What the records read so far add up to.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Ledger {
    /// The live session was once verified.
    pub(crate) verified: bool,
    /// The bootloader took the request of the newest attempt.
    pub(crate) requested: bool,
    /// Somebody else could write to the slots since that attempt.
    pub(crate) foreign: bool,
    /// Number of settled outcomes in the journal.
    pub(crate) settled_count: u32,
    /// Block of the newest checkpoint of the live session.
    checkpoint: u32,
    session: Kept,
    attempt: Kept,
    stage: Kept,
    settled: Kept,
}

impl Ledger {
    const EMPTY: Self = Self {
        session: Kept::NONE,
        attempt: Kept::NONE,
        stage: Kept::NONE,
        settled: Kept::NONE,
        verified: false,
        requested: false,
        foreign: false,
        settled_count: 0,
        checkpoint: 0,
    };

    /// The live session's record, to be read with [`Record::to_session`].
    pub(crate) fn session(&self) -> Option<&Record> {
        self.session.get()
    }

    /// Block of the live session's record.
    pub(crate) fn session_block(&self) -> u32 {
        self.session.block
    }

    /// The newest attempt, while its outcome is not settled.
    pub(crate) fn attempt(&self) -> Option<Attempt<'_>> {
        self.attempt.get().map(Attempt)
    }

    /// The newest self-test mark since that attempt.
    pub(crate) fn stage(&self) -> Option<Stage> {
        self.stage.get().map(Record::to_stage)
    }

    /// The newest settled outcome.
    pub(crate) fn settled(&self) -> Option<Settled<'_>> {
        self.settled.get().map(Settled)
    }

    /// Number of the newest attempt, 0 when there was none.
    pub(crate) fn last_attempt(&self) -> u32 {
        match (self.attempt(), self.settled()) {
            (Some(attempt), _) => attempt.number(),
            (None, settled) => settled.map_or(0, Settled::number),
        }
    }

    fn apply(&mut self, record: &[u8], block: u32) {
        let kept = match kind(record) {
            KIND_SESSION => {
                self.end_session();
                &mut self.session
            }
            KIND_CHECKPOINT => {
                self.checkpoint = block;
                return;
            }
            KIND_VERIFIED => {
                self.verified = true;
                return;
            }
            KIND_CLOSED => return self.end_session(),
            KIND_REQUESTED => {
                self.requested = true;
                return;
            }
            KIND_FOREIGN => {
                self.end_session();
                self.foreign = true;
                return;
            }
            KIND_ATTEMPT => {
                self.end_attempt();
                self.foreign = false;
                &mut self.attempt
            }
            KIND_STAGE => {
                // The target has run since, whoever was there before.
                self.foreign = false;
                &mut self.stage
            }
            KIND_SETTLED => {
                self.end_attempt();
                self.settled_count = self.settled_count.wrapping_add(1);
                &mut self.settled
            }
            _ => return,
        };
        kept.record.copy(record);
        kept.block = block;
        // An upgrade that was never tried leaves the received image where it is, still worth its bytes; so may one
        // of which nothing is known.
        if kind(record) == KIND_SETTLED
            && !matches!(Settled(&kept.record).outcome(), Outcome::NotAttempted | Outcome::Unknown)
        {
            self.end_session();
        }
    }

    fn end_attempt(&mut self) {
        self.attempt.block = 0;
        self.stage.block = 0;
        self.requested = false;
    }

    fn end_session(&mut self) {
        self.session.block = 0;
        self.checkpoint = 0;
        self.verified = false;
    }
}

/// What is under way; [`Journal::at`] says where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Idle,
    /// Reading the header of the sector `at`: 0, then 1.
    Headers,
    /// Reading the record at `at` to build the ledger.
    Scan,
    /// Checking that everything from `at` on is blank.
    Tail,
    /// Reading on from `at` to the next record, for [`Journal::next_record`].
    Next,
    /// Erasing the other sector before a compaction.
    CompactErase,
    /// Reading the record at `at` of the old sector.
    CompactRead,
    /// Writing it to the new one.
    CompactWrite,
    /// Writing the new sector's header: from here on it is the journal.
    CompactHeader,
    /// Reading the new sector back, so that the ledger's block numbers are its own.
    CompactScan,
    /// Writing the pending record.
    Append,
}

/// A compaction as far as it has come.
#[derive(Clone, Copy, Debug, Default)]
struct Compaction {
    /// Next free block of the new sector.
    to: u32,
    settled_seen: u32,
    checkpoint_seen: u32,
}

/// The journal as a state machine: [`poll`](Self::poll) names the next flash operation, [`done`](Self::done)
/// takes its result; idle when `poll` gives `None`.
// Small fields first, where Thumb's short loads reach them.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Journal {
    task: Task,
    /// A journal exists on flash.
    formatted: bool,
    /// The pending record is being written for the second time.
    retried: bool,
    /// The block that the task is at.
    at: u32,
    sector_size: u32,
    blocks: u32,
    sector: u32,
    generation: u32,
    /// First block that may be written.
    end: u32,
    compaction: Compaction,
    ledger: Ledger,
    /// The record to append, if any.
    pending: Record,
    /// What [`Self::next_record`] found, or a compaction writes next.
    copy: Record,
}

impl Journal {
    /// A journal over the first two sectors of its area; reading it begins with the first [`poll`](Self::poll).
    pub(crate) fn new(layout: &Layout) -> Self {
        let blocks = layout.journal_sector.checked_div(BLOCK_U32).unwrap_or(0);
        Self {
            task: Task::Headers,
            at: 0,
            sector_size: layout.journal_sector,
            blocks,
            sector: 0,
            generation: 0,
            formatted: false,
            end: blocks,
            compaction: Compaction::default(),
            ledger: Ledger::EMPTY,
            pending: Record::NONE,
            retried: false,
            copy: Record::NONE,
        }
    }

    /// What the journal says; complete once the first read-through has gone idle.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Nothing is under way.
    pub(crate) fn idle(&self) -> bool {
        self.task == Task::Idle
    }

    /// Begins to append the record that `write` writes. The caller drives the journal to idle before it asks for
    /// anything else.
    #[inline]
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Record, &Ledger)) {
        write(&mut self.pending, &self.ledger);
        self.append_written();
    }

    /// Begins to append a record without a body.
    #[inline(never)]
    pub(crate) fn append_mark(&mut self, kind: u8) {
        self.append(|record, _| record.open(kind));
    }

    #[inline(never)]
    fn append_written(&mut self) {
        self.pending.seal();
        self.retried = false;
        self.begin_append();
    }

    /// Begins to look for the first record at or behind `block`; the answer is in [`found`](Self::found) when the
    /// journal goes idle.
    #[inline(never)]
    pub(crate) fn next_record(&mut self, block: u32) {
        self.copy.clear();
        self.at = block.max(1);
        if self.formatted && self.at < self.end {
            self.task = Task::Next;
        }
    }

    /// The record that [`next_record`](Self::next_record) found, if any.
    pub(crate) fn found(&self) -> Option<&Record> {
        (self.copy.blocks() != 0).then_some(&self.copy)
    }

    /// Goes on behind the record that was found.
    pub(crate) fn next(&mut self) {
        self.next_record(self.at);
    }

    fn begin_append(&mut self) {
        let needed = self.pending.blocks();
        let fits = self.formatted && self.end.wrapping_add(needed) <= self.blocks;
        self.task = if needed == 0 {
            Task::Idle
        } else if fits {
            Task::Append
        } else {
            Task::CompactErase
        };
    }

    #[inline(never)]
    fn address(&self, sector: u32, block: u32) -> u32 {
        sector.wrapping_mul(self.sector_size).wrapping_add(block.wrapping_mul(BLOCK_U32))
    }

    /// A read at `at`: at most `most` bytes, not beyond the sector's end.
    fn read(&self, most: usize) -> FlashOp<'_> {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let len = self.blocks.saturating_sub(self.at).wrapping_mul(BLOCK_U32).min(most);
        FlashOp::Read { area: Area::Journal, offset: self.address(self.sector, self.at), len }
    }

    fn other(&self) -> u32 {
        // A journal that does not exist yet is in sector 0, and made there.
        u32::from(self.formatted) ^ self.sector
    }

    /// The next flash operation, or `None` when idle. The same operation is named until it is answered.
    pub(crate) fn poll(&self) -> Option<FlashOp<'_>> {
        let (sector, block, data) = match self.task {
            Task::Idle => return None,
            Task::Headers => {
                let offset = self.address(self.at, 0);
                return Some(FlashOp::Read { area: Area::Journal, offset, len: BLOCK_U32 });
            }
            Task::Scan | Task::Next | Task::CompactScan | Task::CompactRead => {
                return Some(self.read(RECORD_MAX));
            }
            Task::Tail => return Some(self.read(READ_MAX)),
            Task::CompactErase => {
                let offset = self.address(self.other(), 0);
                return Some(FlashOp::Erase { area: Area::Journal, offset, len: self.sector_size });
            }
            Task::CompactWrite => (self.other(), self.compaction.to, &self.copy),
            Task::CompactHeader => (self.other(), 0, &self.copy),
            Task::Append => (self.sector, self.end, &self.pending),
        };
        let offset = self.address(sector, block);
        Some(FlashOp::Write { area: Area::Journal, offset, data: data.get() })
    }

    /// Takes the result of the operation that [`poll`](Self::poll) named.
    ///
    /// # Errors
    /// [`FlashFault`] when the operation failed and the record could not be kept; the journal is idle again.
    #[inline(never)]
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
        let task = core::mem::replace(&mut self.task, Task::Idle);
        match task {
            // A header that cannot be read is no header; the other sector may still have one.
            Task::Headers => {
                self.header_read(&[]);
                Ok(())
            }
            // Whatever was read so far counts; a new record goes into the other sector.
            Task::Scan | Task::Tail | Task::CompactScan => {
                self.end = self.blocks;
                Ok(())
            }
            Task::Next => Ok(()),
            Task::Append if !self.retried => {
                // The write may have programmed some of its bytes; the other sector may be in better health.
                self.retried = true;
                self.end = self.blocks;
                self.task = Task::CompactErase;
                Ok(())
            }
            _ => {
                // A write that failed may have programmed some of its bytes.
                self.end = self.blocks;
                self.pending.clear();
                Err(fault)
            }
        }
    }

    fn advance(&mut self, bytes: &[u8]) {
        match self.task {
            Task::Idle => {}
            Task::Headers => self.header_read(bytes),
            Task::Scan | Task::CompactScan => self.scan_read(bytes),
            Task::Tail => self.tail_read(bytes),
            Task::Next => self.next_read(bytes),
            Task::CompactErase => {
                self.compaction = Compaction { to: 1, ..Compaction::default() };
                self.at = if self.formatted { 1 } else { self.blocks };
                self.continue_compaction();
            }
            Task::CompactRead => self.compact_read(bytes),
            Task::CompactWrite => {
                let blocks = self.copy.blocks();
                self.compaction.to = self.compaction.to.wrapping_add(blocks);
                self.at = self.at.wrapping_add(blocks);
                self.continue_compaction();
            }
            Task::CompactHeader => {
                self.sector = self.other();
                self.generation = self.generation.wrapping_add(1);
                self.formatted = true;
                self.ledger = Ledger::EMPTY;
                self.at = 1;
                self.task = Task::CompactScan;
            }
            Task::Append => self.appended(),
        }
    }

    fn header_read(&mut self, bytes: &[u8]) {
        if let Some(generation) = parse_header(bytes)
            && (!self.formatted || generation > self.generation)
        {
            self.formatted = true;
            self.generation = generation;
            self.sector = self.at;
        }
        self.task = match (self.at, self.formatted) {
            (0, _) => Task::Headers,
            (_, true) => Task::Scan,
            (_, false) => Task::Idle,
        };
        self.at = 1;
    }

    /// One step over the records: to the next one, or to the end.
    fn scan_read(&mut self, bytes: &[u8]) {
        let block = self.at;
        let found = intact(bytes);
        if let Some(record) = found {
            self.ledger.apply(record, block);
        }
        // A record that is not whole is stepped over.
        self.at = block.wrapping_add(found.map_or(1, |record| blocks(record.len())));
        let blank = found.is_none() && is_blank(bytes.get(..BLOCK).unwrap_or(bytes));
        if !blank && self.at < self.blocks {
            return;
        }
        self.end = if blank { block } else { self.blocks };
        if self.task == Task::CompactScan {
            self.begin_append_compacted();
        } else if blank {
            self.at = block;
            self.task = Task::Tail;
        } else {
            self.task = Task::Idle;
        }
    }

    /// Goes on with the record that a compaction made room for. Should even that not be enough, the record is
    /// given up: [`JOURNAL_SECTOR_MIN`] makes that impossible.
    fn begin_append_compacted(&mut self) {
        self.begin_append();
        if self.task == Task::CompactErase {
            self.pending.clear();
            self.task = Task::Idle;
        }
    }

    fn tail_read(&mut self, bytes: &[u8]) {
        self.at = self.at.wrapping_add(blocks(READ_MAX));
        if !is_blank(bytes) {
            self.end = self.blocks;
            self.task = Task::Idle;
        } else if self.at >= self.blocks {
            self.task = Task::Idle;
        }
    }

    fn next_read(&mut self, bytes: &[u8]) {
        if let Some(record) = intact(bytes) {
            self.copy.copy(record);
            self.at = self.at.wrapping_add(blocks(record.len()));
            self.task = Task::Idle;
            return;
        }
        self.at = self.at.wrapping_add(1);
        if self.at >= self.end || is_blank(bytes.get(..BLOCK).unwrap_or(bytes)) {
            self.task = Task::Idle;
        }
    }

    fn compact_read(&mut self, bytes: &[u8]) {
        let Some(record) = intact(bytes) else {
            self.at = self.at.wrapping_add(1);
            return self.continue_compaction();
        };
        let keep = self.keeps(kind(record));
        let seen = &mut self.compaction;
        match kind(record) {
            KIND_SETTLED => seen.settled_seen = seen.settled_seen.wrapping_add(1),
            KIND_CHECKPOINT => seen.checkpoint_seen = seen.checkpoint_seen.wrapping_add(1),
            _ => {}
        }
        if keep {
            self.copy.copy(record);
            self.task = Task::CompactWrite;
        } else {
            self.at = self.at.wrapping_add(blocks(record.len()));
            self.continue_compaction();
        }
    }

    fn continue_compaction(&mut self) {
        if self.at >= self.end.min(self.blocks) {
            self.copy.header(MAGIC, self.generation.wrapping_add(1));
            self.copy.seal();
            self.task = Task::CompactHeader;
        } else {
            self.task = Task::CompactRead;
        }
    }

    /// Whether a compaction keeps the record at `at` of the old sector.
    fn keeps(&self, record: u8) -> bool {
        let (ledger, block) = (&self.ledger, self.at);
        let coming = self.pending.kind();
        // The pending record may end the session: then its records need no copy.
        let live = ledger.session.block != 0
            && block >= ledger.session.block
            && !matches!(coming, KIND_SESSION | KIND_CLOSED);
        let attempt = ledger.attempt.block;
        match record {
            KIND_SESSION => live && block == ledger.session.block,
            KIND_CHECKPOINT => {
                let kept = self.compaction.checkpoint_seen.checked_rem(CHECKPOINT_KEEP_EVERY) == Some(0);
                live && (block == ledger.checkpoint || kept)
            }
            KIND_VERIFIED => live,
            KIND_ATTEMPT => block == attempt,
            KIND_REQUESTED | KIND_FOREIGN => attempt != 0 && block > attempt,
            KIND_STAGE => attempt != 0 && block == ledger.stage.block,
            KIND_SETTLED => {
                let total = ledger.settled_count.wrapping_add(u32::from(coming == KIND_SETTLED));
                self.compaction.settled_seen.saturating_add(HISTORY_MAX) >= total
            }
            _ => false,
        }
    }

    fn appended(&mut self) {
        let block = self.end;
        self.end = block.wrapping_add(self.pending.blocks());
        self.ledger.apply(self.pending.get(), block);
        self.pending.clear();
        self.task = Task::Idle;
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0xFF)
}

/// The generation that a sector's header names; `None` when the header is not whole.
fn parse_header(bytes: &[u8]) -> Option<u32> {
    let (magic, rest) = checked(bytes.get(..BLOCK)?)?.split_first_chunk()?;
    let (generation, _) = rest.split_first_chunk()?;
    (*magic == MAGIC).then(|| u32::from_le_bytes(*generation))
}
