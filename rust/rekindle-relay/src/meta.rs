// SPDX-License-Identifier: Apache-2.0
//! Keeps the state file and the audit file: what to write next, and what counts as written.

use crate::port::{File, StoreFault, StoreOp};
use crate::record::{AUDIT_LEN, AuditRecord, Checksum, ENTRY_LEN};

/// Records in the audit file before it becomes the old one.
pub const AUDIT_MAX: u32 = 256;

pub(crate) const AUDIT_LEN_U32: u32 = 64;
const _: () = assert!(AUDIT_LEN == 64, "length of a record in both widths");

/// Tries of writing the state before that counts as failed.
const TRIES: u8 = 3;

/// Pause before writing a failed state is tried again, in milliseconds.
const PAUSE_MS: u64 = 5_000;

/// Times that newcomers may have a state that is being written begun anew.
const YIELDS_MAX: u8 = 8;

/// What is done next with the state file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    /// Append the piece in the buffer.
    Piece,
    Sync,
    Commit,
}

/// The state file: written anew as a whole whenever what it holds has changed.
///
/// Each change makes a new version. Whoever must not act before a change is durable keeps its version and waits
/// for [`durable`](Self::durable).
#[derive(Debug)]
pub(crate) struct Meta {
    version: u32,
    saved: u32,
    writing: u32,
    step: Step,
    pub(crate) piece: usize,
    at: u32,
    pub(crate) crc: Checksum,
    buffer: [u8; ENTRY_LEN],
    len: usize,
    failures: u8,
    /// Times that it was begun anew for newcomers.
    yields: u8,
    retry_ms: u64,
}

impl Meta {
    pub(crate) const fn new() -> Self {
        Self {
            version: 0,
            saved: 0,
            writing: 0,
            step: Step::Idle,
            piece: 0,
            at: 0,
            crc: Checksum::new(),
            buffer: [0; ENTRY_LEN],
            len: 0,
            failures: 0,
            yields: 0,
            retry_ms: 0,
        }
    }

    /// Something that must last has changed; gives the version to wait for.
    pub(crate) const fn touch(&mut self) -> u32 {
        self.version = self.version.wrapping_add(1);
        self.version
    }

    /// The change with this version is durable.
    pub(crate) const fn durable(&self, version: u32) -> bool {
        // Versions wrap; what is at most half of them behind is older.
        self.saved.wrapping_sub(version) < u32::MAX / 2
    }

    /// Everything is durable.
    pub(crate) const fn is_clean(&self) -> bool {
        self.saved == self.version
    }

    /// The store refuses the state: nothing that waits for it will happen soon.
    pub(crate) const fn failed(&self) -> bool {
        self.failures >= TRIES
    }

    /// Whatever is being written is begun anew.
    pub(crate) const fn restart(&mut self) {
        self.step = Step::Idle;
    }

    /// The same for somebody who has no right to it; `false` if that has been too often.
    pub(crate) const fn give_way(&mut self) -> bool {
        if !matches!(self.step, Step::Idle) {
            if self.yields >= YIELDS_MAX {
                return false;
            }
            self.yields = self.yields.saturating_add(1);
            self.restart();
        }
        true
    }

    /// Whether the next piece is to be put into the buffer: the first one of a new version, or the one behind
    /// the last.
    pub(crate) fn begin(&mut self, now_ms: u64) -> bool {
        let due = self.step == Step::Idle && !self.is_clean() && now_ms >= self.retry_ms;
        // What was begun and has changed meanwhile would be of two times.
        let stale = self.step != Step::Idle && self.writing != self.version;
        if due || stale {
            self.writing = self.version;
            (self.piece, self.at, self.len) = (0, 0, 0);
            self.crc = Checksum::new();
            self.step = Step::Piece;
        }
        self.step == Step::Piece && self.len == 0
    }

    /// Takes the next piece; none is left when it is empty.
    pub(crate) fn fill(&mut self, piece: &[u8]) {
        if piece.is_empty() {
            self.step = Step::Sync;
        } else if let Some(place) = self.buffer.get_mut(..piece.len()) {
            place.copy_from_slice(piece);
            self.crc.update(piece);
            self.len = piece.len();
        }
    }

    pub(crate) fn op(&self) -> Option<StoreOp<'_>> {
        match self.step {
            Step::Piece if self.len > 0 => {
                let data = self.buffer.get(..self.len).unwrap_or_default();
                Some(StoreOp::Append { file: File::StateNew, at: self.at, data })
            }
            Step::Sync => Some(StoreOp::Sync { file: File::StateNew }),
            Step::Commit => Some(StoreOp::Commit { from: File::StateNew, to: File::State }),
            Step::Idle | Step::Piece => None,
        }
    }

    pub(crate) fn done(&mut self, ok: bool, now_ms: u64) {
        if !ok {
            self.step = Step::Idle;
            self.failures = self.failures.saturating_add(1);
            let pause = if self.failed() { PAUSE_MS } else { 0 };
            self.retry_ms = now_ms.saturating_add(pause);
            return;
        }
        match self.step {
            Step::Piece => {
                self.at = self.at.saturating_add(u32::try_from(self.len).unwrap_or(0));
                self.len = 0;
                self.piece = self.piece.saturating_add(1);
            }
            Step::Sync => self.step = Step::Commit,
            Step::Commit => {
                self.saved = self.writing;
                (self.failures, self.yields) = (0, 0);
                self.step = Step::Idle;
            }
            Step::Idle => {}
        }
    }

    /// When to try again, while the store refuses.
    pub(crate) fn wake_ms(&self) -> Option<u64> {
        (self.step == Step::Idle && !self.is_clean()).then_some(self.retry_ms)
    }
}

/// What is done next with the audit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AuditStep {
    Idle,
    /// The file was full: it is looked at, for it may have become the old one in a step that failed behind that.
    Look,
    /// It becomes the old one.
    Rotate,
    Append,
    Sync,
    /// The record stands.
    Recorded,
    Failed,
}

/// The audit file: one record at a time.
#[derive(Debug)]
pub(crate) struct Audit {
    /// Length of the part that holds whole records.
    len: u32,
    step: AuditStep,
    record: Option<AuditRecord>,
    bytes: [u8; AUDIT_LEN],
}

impl Audit {
    pub(crate) const fn new() -> Self {
        Self { len: 0, step: AuditStep::Idle, record: None, bytes: [0; AUDIT_LEN] }
    }

    /// Records there are in the file.
    pub(crate) const fn records(&self) -> u32 {
        self.len / AUDIT_LEN_U32
    }

    /// At boot: where the next record would stand.
    pub(crate) const fn end(&self) -> u32 {
        self.len
    }

    /// At boot: takes the bytes at [`end`](Self::end); returns whether they are a record, so that more may follow.
    pub(crate) fn found(&mut self, bytes: &[u8]) -> bool {
        let whole = AuditRecord::decode(bytes).is_some();
        if whole {
            self.len = self.len.saturating_add(AUDIT_LEN_U32);
        }
        whole && self.records() < AUDIT_MAX
    }

    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.step, AuditStep::Idle)
    }

    /// Begins to record; only while idle.
    pub(crate) fn begin(&mut self, record: AuditRecord) {
        self.bytes = record.encode();
        self.record = Some(record);
        self.step = if self.records() >= AUDIT_MAX { AuditStep::Look } else { AuditStep::Append };
    }

    /// The record that came to its end since it was asked for last, and whether it stands.
    pub(crate) const fn take(&mut self) -> Option<(AuditRecord, bool)> {
        let stands = match self.step {
            AuditStep::Recorded => true,
            AuditStep::Failed => false,
            _ => return None,
        };
        self.step = AuditStep::Idle;
        match self.record.take() {
            Some(record) => Some((record, stands)),
            None => None,
        }
    }

    pub(crate) const fn op(&self) -> Option<StoreOp<'_>> {
        match self.step {
            AuditStep::Look => Some(StoreOp::Read { file: File::Audit, offset: 0, len: AUDIT_LEN_U32 }),
            AuditStep::Rotate => Some(StoreOp::Commit { from: File::Audit, to: File::AuditOld }),
            AuditStep::Append => Some(StoreOp::Append { file: File::Audit, at: self.len, data: &self.bytes }),
            AuditStep::Sync => Some(StoreOp::Sync { file: File::Audit }),
            AuditStep::Idle | AuditStep::Recorded | AuditStep::Failed => None,
        }
    }

    pub(crate) const fn done(&mut self, result: Result<&[u8], StoreFault>) {
        self.step = match (self.step, result) {
            (AuditStep::Idle | AuditStep::Recorded | AuditStep::Failed, _) => return,
            (_, Err(StoreFault)) => AuditStep::Failed,
            (AuditStep::Look, Ok(record)) if !record.is_empty() => AuditStep::Rotate,
            (AuditStep::Look | AuditStep::Rotate, Ok(_)) => {
                self.len = 0;
                AuditStep::Append
            }
            (AuditStep::Append, Ok(_)) => AuditStep::Sync,
            (AuditStep::Sync, Ok(_)) => {
                self.len = self.len.saturating_add(AUDIT_LEN_U32);
                AuditStep::Recorded
            }
        };
    }
}
