// SPDX-License-Identifier: Apache-2.0
//! ACTIVATE and confirm: the two things that are asked of the bootloader.

use super::command::Continuation;
use super::job::{Job, JobOp};
use super::{Event, Receiver};
use crate::journal::record::{Attempt, Record, Settled};
use crate::port::FlashFault;
use fusain::{Constraint, Mode, OtaState, Outcome};

/// What the activation does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Erase the trailer's sectors from this one on, if the session is of an earlier boot.
    Trailer { sector: u32, mode: Mode, reboot: bool },
    /// Note the attempt: after the boot it tells what was tried.
    Note { mode: Mode, reboot: bool },
    /// Ask the bootloader.
    Request { mode: Mode, reboot: bool },
    /// The request stands: note that.
    Requested { mode: Mode, reboot: bool },
    /// All is done.
    Done { mode: Mode, reboot: bool },
}

impl Receiver {
    pub(super) fn run_activate(&mut self, step: Step) {
        match step {
            Step::Trailer { sector, mode, reboot } => self.clear_trailer(sector, mode, reboot),
            Step::Note { mode, reboot } => self.note_attempt(mode, reboot),
            Step::Request { mode, reboot } => {
                self.job = Job::Activate(Step::Requested { mode, reboot });
                self.op = Some(JobOp::RequestUpgrade(mode));
            }
            Step::Requested { mode, reboot } => {
                self.job = Job::Activate(Step::Done { mode, reboot });
                self.journal.append(Record::Requested);
            }
            Step::Done { mode, reboot } => {
                if let Some(transfer) = &mut self.transfer {
                    transfer.state = OtaState::Activated;
                }
                self.event(Event::SwapPending { mode });
                self.reboot = reboot;
                self.answer_status();
            }
        }
    }

    /// A cut in the middle of an earlier request may have left half a trailer, which the bootloader neither
    /// follows nor lets anybody complete. The trailer's sectors never hold bytes of the image.
    fn clear_trailer(&mut self, sector: u32, mode: Mode, reboot: bool) {
        let l = &self.config.layout;
        let first = l.slot_size.saturating_sub(l.trailer_size).checked_div(l.sector_size).unwrap_or(0);
        let sector = sector.max(first);
        let offset = sector.saturating_mul(l.sector_size);
        if self.recovered && offset < l.slot_size {
            self.op = Some(JobOp::Erase { offset });
            self.job = Job::Activate(Step::Trailer { sector, mode, reboot });
        } else {
            self.job = Job::Activate(Step::Note { mode, reboot });
        }
    }

    pub(super) fn trailer_erased(&mut self, step: Step) {
        self.job = Job::Activate(match step {
            Step::Trailer { sector, mode, reboot } => {
                Step::Trailer { sector: sector.saturating_add(1), mode, reboot }
            }
            other => other,
        });
    }

    fn note_attempt(&mut self, mode: Mode, reboot: bool) {
        let Some(proof) = &self.proof else {
            // Never activate without a proof of this boot.
            return self.begin_verify(Continuation::Activate { mode, reboot });
        };
        let attempt = Attempt {
            number: self.journal.ledger().last_attempt.wrapping_add(1),
            mode,
            swap_before: self.swap_info,
            target: *proof.image_hash(),
            running: self.running.hash.unwrap_or_default(),
        };
        self.job = Job::Activate(Step::Request { mode, reboot });
        self.journal.append(Record::Attempt(attempt));
    }

    pub(super) fn upgrade_requested(&mut self, result: Result<(), FlashFault>) {
        if result.is_ok() {
            return; // `Step::Requested` stands already.
        }
        // The request may have been written in part, so the slot is good for nothing until the next START
        // erases it. What the bootloader makes of it is found out after the next boot: the attempt stays open.
        self.request_failed = true;
        self.event(Event::Fault { area: crate::port::Area::Secondary });
        self.refuse(None, Constraint::FlashWriteFailed);
        self.close();
    }

    pub(super) fn confirm_done(&mut self, result: Result<(), FlashFault>) {
        if result.is_err() {
            self.event(Event::Fault { area: crate::port::Area::Primary });
            return;
        }
        self.boot.confirmed = true;
        self.boot.swap_type = mcuboot_image::trailer::SwapType::None;
        let attempt = self.journal.ledger().attempt.as_ref();
        if attempt.is_some_and(|(a, _)| self.runs(&a.target)) {
            self.settle(Outcome::Confirmed);
            self.job = Job::Record;
        }
    }

    /// Notes how the open attempt ended.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        let ledger = self.journal.ledger();
        let Some((attempt, _)) = &ledger.attempt else { return };
        let settled = Settled {
            number: attempt.number,
            mode: attempt.mode,
            outcome,
            target: attempt.target,
            stage: ledger.stage.map(|(stage, _)| stage),
            reset_cause: self.boot.reset_cause,
        };
        self.event(Event::Settled { attempt: settled.number, outcome });
        self.journal.append(Record::Settled(settled));
    }
}
