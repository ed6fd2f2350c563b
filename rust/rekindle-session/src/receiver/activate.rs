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
    /// Note the attempt: after the boot it tells what was tried.
    Note { mode: Mode, reboot: bool },
    /// Ask the bootloader.
    Request { mode: Mode, reboot: bool },
    /// The request stands.
    Done { mode: Mode, reboot: bool },
}

impl Receiver {
    pub(super) fn run_activate(&mut self, step: Step) {
        match step {
            Step::Note { mode, reboot } => {
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
            Step::Request { mode, reboot } => {
                self.job = Job::Activate(Step::Done { mode, reboot });
                self.op = Some(JobOp::RequestUpgrade(mode));
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

    pub(super) fn upgrade_requested(&mut self, mode: Mode, result: Result<(), FlashFault>) {
        if result.is_ok() {
            return; // `Step::Done` stands already.
        }
        // The request may have been written in part, so the slot is good for nothing until the next START
        // erases it. What the bootloader makes of it is found out after the next boot: the attempt stays open.
        let _ = mode;
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
