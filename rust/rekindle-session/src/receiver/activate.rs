// SPDX-License-Identifier: Apache-2.0
//! ACTIVATE and confirm: the two things that are asked of the bootloader.

use super::job::{Job, JobOp};
use super::{Event, Receiver};
use crate::journal::record::KIND_REQUESTED;
use crate::port::{Area, FlashFault};
use fusain::{Constraint, OtaState, Outcome};

/// What the activation does next. How the image is to be activated says the receiver's `asked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// If the session is of an earlier boot, erase the trailer's sectors: a cut in the middle of an earlier request
    /// may have left half a trailer, which the bootloader neither follows nor lets anybody complete. They never hold
    /// bytes of the image.
    Trailer,
    /// Note the attempt: after the boot it tells what was tried.
    Note,
    /// Ask the bootloader.
    Request,
    /// The request stands: note that.
    Requested,
    /// All is done.
    Done,
}

impl Receiver {
    pub(super) fn run_activate(&mut self, step: Step) {
        let next = match step {
            Step::Trailer if self.recovered && self.erase_next(false) => step,
            Step::Trailer => Step::Note,
            Step::Note if self.proof.is_none() => {
                // Never activate without a proof of this boot.
                return self.begin_verify(true);
            }
            Step::Note => {
                self.note_attempt();
                Step::Request
            }
            Step::Request => {
                self.op = Some(JobOp::RequestUpgrade);
                Step::Requested
            }
            Step::Requested => {
                self.journal.append_mark(KIND_REQUESTED);
                Step::Done
            }
            Step::Done => {
                if self.transfer.is_some() {
                    self.state = OtaState::Activated;
                }
                self.event(Event::SwapPending { mode: self.asked.mode });
                self.reboot = self.asked.reboot;
                return self.answer_status();
            }
        };
        self.job = Job::Activate(next);
    }

    fn note_attempt(&mut self) {
        let Some(proof) = &self.proof else { return };
        let (mode, before, running) = (self.asked.mode, self.swap_info, &self.running.hash);
        self.journal.append(|record, ledger| {
            let number = ledger.last_attempt().wrapping_add(1);
            record.attempt(number, mode, before, proof.image_hash(), &running.unwrap_or_default());
        });
    }

    pub(super) fn upgrade_requested(&mut self, result: Result<(), FlashFault>) {
        if result.is_ok() {
            return; // `Step::Requested` stands already.
        }
        // The request may have been written in part, so the slot is good for nothing until the next START
        // erases it. What the bootloader makes of it is found out after the next boot: the attempt stays open.
        self.request_failed = true;
        self.event(Event::Fault { area: Area::Secondary });
        self.refuse(None, Constraint::FlashWriteFailed);
        self.close();
    }

    pub(super) fn confirm_done(&mut self, result: Result<(), FlashFault>) {
        if result.is_err() {
            self.event(Event::Fault { area: Area::Primary });
            return;
        }
        self.boot.confirmed = true;
        self.boot.swap_type = mcuboot_image::trailer::SwapType::None;
        let attempt = self.journal.ledger().attempt();
        if attempt.is_some_and(|attempt| self.runs(attempt.target())) {
            self.settle(Outcome::Confirmed);
            self.job = Job::Record;
        }
    }

    /// Notes how the open attempt ended.
    #[inline(never)]
    pub(super) fn settle(&mut self, outcome: Outcome) {
        let Some(attempt) = self.journal.ledger().attempt() else { return };
        self.event(Event::Settled { attempt: attempt.number(), outcome });
        let reset_cause = self.boot.reset_cause;
        self.journal.append(|record, ledger| {
            if let Some(attempt) = ledger.attempt() {
                record.settled(attempt, outcome, reset_cause, ledger.stage());
            }
        });
    }
}
