// SPDX-License-Identifier: Apache-2.0
//! What the receiver is busy with, and the one place that moves it on.
//!
//! At most one job runs, and it has at most one operation open. A job's step names what happens *next*; the
//! step is advanced before the operation that leads to it is issued or when that operation is answered.

use super::{Event, Receiver, activate, boot, data, start, verify};
use crate::journal::record::{KIND_CLOSED, Stage};
use crate::port::{Area, FlashFault};
use fusain::{Constraint, OtaState};

/// The running job, and its step. What a step works on lies in the receiver: so a job fits a register.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    None,
    /// Recovery after a boot.
    Boot(boot::Step),
    /// A new session: erase, then note it in the journal.
    Start(start::Step),
    /// Getting full pages of the buffer onto flash, then acknowledging.
    Store(data::Step),
    /// Comparing a repeated chunk with what is on flash; the chunk waits in the buffer's spare end.
    Compare,
    /// Reading the image back.
    Verify(verify::Step),
    /// Looking for an older outcome.
    History,
    /// Asking the bootloader.
    Activate(activate::Step),
    /// A record is being appended; an answer that waits goes out when it stands.
    Record,
}

/// The open operation of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobOp {
    Read {
        area: Area,
        offset: u32,
        len: u32,
    },
    /// The first `len` bytes of the buffer, to the secondary slot.
    Write {
        offset: u32,
        len: usize,
    },
    /// One sector of the secondary slot.
    Erase {
        offset: u32,
    },
    /// The first `len` bytes of the buffer are a signature.
    #[cfg(feature = "signature")]
    CheckSignature {
        len: usize,
    },
    RequestUpgrade,
    Confirm,
}

impl Receiver {
    /// Moves the job on until an operation is open, an answer is ready, or nothing is left to do.
    /// Each turn either opens an operation, ends the job or advances its step, so the loop ends.
    pub(super) fn pump(&mut self, now_ms: u64) {
        let _ = self.began_ms.get_or_insert(now_ms);
        if matches!(self.job, Job::Record) && self.journal.idle() {
            self.job = Job::None;
        }
        while self.op.is_none() && self.journal.idle() && self.reply.is_none() && self.turn(now_ms) {}
    }

    /// Runs the job's next step, or takes up a request of the application; `false` when there is neither.
    // By itself: in the loop, the addresses of all that its arms touch would be worked out beforehand.
    #[inline(never)]
    fn turn(&mut self, now_ms: u64) -> bool {
        // A step moves out of the job and the function that runs it puts the next one in.
        match core::mem::replace(&mut self.job, Job::None) {
            Job::None => return self.take_wanted(),
            Job::Boot(step) => self.run_boot(step),
            Job::Start(step) => self.run_start(step),
            Job::Store(step) => self.run_store(step, now_ms),
            // Its read is open from the start; without one there is nothing to compare with.
            Job::Compare => {}
            Job::Verify(step) => self.run_verify(step),
            Job::History => self.run_history(),
            Job::Activate(step) => self.run_activate(step),
            Job::Record => {}
        }
        // An emergency does not wait for what a job still has to do: its next operation is not begun. What was asked of
        // the bootloader is noted to the end.
        if self.wanted.close && self.op.is_some() && !matches!(self.job, Job::Boot(_)) {
            // The attempt is on record, and comes to nothing.
            self.request_failed |= self.op == Some(JobOp::RequestUpgrade);
            self.op = None;
            self.job = Job::None;
        }
        true
    }

    /// The answer to the open operation.
    pub(super) fn op_done(&mut self, op: JobOp, result: Result<&[u8], FlashFault>) {
        let Ok(bytes) = result else {
            let area = if let JobOp::Read { area, .. } = op { area } else { Area::Secondary };
            self.fault(area);
            return;
        };
        match (self.job, op) {
            (Job::Boot(step), _) => self.boot_read(step, bytes),
            // They erase one sector after the other.
            (Job::Start(_) | Job::Activate(_), _) => {
                self.erase_at = self.erase_at.wrapping_add(self.config.layout.sector_size);
            }
            (Job::Store(_), JobOp::Erase { .. }) => self.store_erased(),
            (Job::Store(_), JobOp::Write { len, .. }) => self.store_written(len),
            (Job::Compare, JobOp::Read { len, .. }) => {
                self.job = Job::None;
                self.compared(len, bytes);
            }
            (Job::Verify(step), _) => self.verify_read(step, bytes),
            // No other pair is ever issued.
            _ => {}
        }
    }

    /// A flash operation failed: the job ends, and so does the session (PROTOCOL.md, flash failure). At boot
    /// the rest of the recovery goes on without what could not be read.
    pub(super) fn fault(&mut self, area: Area) {
        self.event(Event::Fault { area });
        let job = core::mem::replace(&mut self.job, Job::None);
        if let Job::Boot(step) = job {
            self.boot_fault(step);
            return;
        }
        let field = matches!(job, Job::Store(_) | Job::Compare).then_some(1);
        let closing = matches!(job, Job::Record);
        self.refuse(field, Constraint::FlashWriteFailed);
        self.op = None;
        if area == Area::Journal || closing {
            // The journal itself fails: without it nothing can be promised, so the session ends in RAM only,
            // and a resume after the next boot finds no more than what was durable.
            self.end_transfer();
        } else {
            self.close();
        }
    }

    /// Ends the session and notes that in the journal. An answer that is set already is sent when that is done.
    pub(super) fn close(&mut self) {
        let live = self.journal.ledger().session().is_some();
        if self.transfer.is_some() || live {
            self.event(Event::Closed);
        }
        self.end_transfer();
        if live {
            self.journal.append_mark(KIND_CLOSED);
        }
        self.job = Job::Record;
    }

    pub(super) fn end_transfer(&mut self) {
        self.transfer = None;
        self.state = OtaState::Idle;
        self.proof = None;
        self.recovered = false;
        self.deferred = None;
        self.gap_answered = false;
    }

    /// Takes up a request of the application; `false` when there is none.
    fn take_wanted(&mut self) -> bool {
        if core::mem::take(&mut self.wanted.close) {
            if self.lent {
                self.end_transfer();
                self.job = Job::Start(start::Step::Forget);
            } else if self.state != OtaState::Activated && self.transfer.is_some() {
                self.close();
            }
            return true;
        }
        if let Some(stage) = self.wanted.stage.take() {
            self.note_stage(stage);
            return true;
        }
        if core::mem::take(&mut self.wanted.confirm) {
            if !self.boot.confirmed {
                self.op = Some(JobOp::Confirm);
            }
            return true;
        }
        false
    }

    /// A mark is kept only while the running image is under test: at any other time nobody would read it.
    fn note_stage(&mut self, stage: Stage) {
        let ledger = self.journal.ledger();
        let testing = ledger.attempt().is_some_and(|attempt| self.runs(attempt.target()));
        if testing && !self.boot.confirmed && ledger.stage() != Some(stage) {
            self.journal.append(|record, _| record.stage(stage));
        }
    }
}
