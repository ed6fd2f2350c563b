// SPDX-License-Identifier: Apache-2.0
//! START: a new session, the same one again, or one that goes on.

use super::job::{Job, JobOp};
use super::{EraseMode, Event, Receiver, Transfer};
use crate::elapsed_ms;
use crate::journal::record::{Checksum, KIND_CLOSED, Session};
use fusain::{Constraint, OtaStart, OtaState, Outcome, Reason};
use mcuboot_image::HEADER_SIZE;

/// What START does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Note the end of what was before, so that a cut during the erase leaves no session. Where the slot is lent
    /// to another writer, that is all.
    Forget,
    /// Erase the next sector from the receiver's `erase_at` on that START must erase.
    Erase,
    /// All that must be blank is blank: note the session.
    Note,
    /// The session is noted.
    Begin,
    /// A session that goes on after a boot: erase the slot's sectors from `erase_at` on, as START did then.
    Rest,
}

impl Receiver {
    pub(super) fn on_start(&mut self, now_ms: u64, start: &OtaStart) {
        self.gap_answered = false;
        if let Some(slot) = start.slot
            && slot != 1
        {
            let constraint = if slot == 0 { Constraint::ValueInvalid } else { Constraint::ValueTooHigh };
            return self.refuse(Some(3), constraint);
        }
        let smallest = u32::try_from(HEADER_SIZE).unwrap_or(32);
        let size = match u32::try_from(start.size) {
            Ok(size) if size < smallest => return self.refuse(Some(0), Constraint::ValueTooLow),
            Ok(size) if size <= self.config.layout.image_max => size,
            _ => return self.refuse(Some(0), Constraint::ImageTooLarge),
        };
        if let Some(transfer) = &self.transfer {
            let same = transfer.digest == start.digest && transfer.size == size;
            if self.state == OtaState::Activated {
                return self.reject(Reason::InvalidInState);
            }
            if same {
                return self.restart();
            }
            let used_ms = self.last_command_ms.or(self.began_ms).unwrap_or(now_ms);
            if elapsed_ms(now_ms, used_ms) < self.config.takeover_ms {
                return self.reject(Reason::UpdateInProgress);
            }
        }
        if self.lent {
            return self.reject(Reason::UpdateInProgress);
        }
        // The secondary slot may hold the image to revert to, or one that the bootloader was asked to install.
        if !self.boot.confirmed || self.swap_pending() {
            return self.reject(Reason::InvalidInState);
        }
        if self.refused_unsafe() {
            return;
        }
        self.coming = Session { size, digest: start.digest, version: start.version };
        self.end_transfer();
        self.job = Job::Start(Step::Forget);
    }

    /// The same image again: its state is the answer. A device that erases at START erases what a cut left.
    fn restart(&mut self) {
        let Some(&Transfer { erased_to, size, .. }) = self.transfer.as_ref() else { return };
        let bulk = self.config.erase == EraseMode::AtStart && erased_to < size;
        if !bulk {
            return self.answer_status();
        }
        if self.refused_unsafe() {
            return;
        }
        self.erase_at = self.config.layout.image_offset.wrapping_add(erased_to);
        self.job = Job::Start(Step::Rest);
    }

    pub(super) fn run_start(&mut self, step: Step) {
        let next = match step {
            Step::Forget => {
                let ledger = self.journal.ledger();
                if ledger.attempt().is_some() {
                    // A request that failed is taken away by the erase below. Any other attempt was over when
                    // this boot began, but the journal could not take that down then.
                    let failed = core::mem::take(&mut self.request_failed);
                    self.settle(if failed { Outcome::NotAttempted } else { Outcome::Unknown });
                    step
                } else if ledger.session().is_some() {
                    self.journal.append_mark(KIND_CLOSED);
                    step
                } else if self.lent {
                    return self.event(Event::Closed);
                } else {
                    self.erase_at = 0;
                    Step::Erase
                }
            }
            Step::Erase if self.erase_next(true) => step,
            Step::Erase => Step::Note,
            Step::Note => {
                let coming = &self.coming;
                self.journal.append(|record, _| record.session(coming));
                Step::Begin
            }
            Step::Rest if self.erase_next(true) => step,
            Step::Rest => {
                if let Some(transfer) = &mut self.transfer {
                    transfer.erased_to = u32::MAX;
                }
                return self.answer_status();
            }
            Step::Begin => {
                let all = self.config.erase == EraseMode::AtStart;
                let erased_to = if all { u32::MAX } else { self.config.layout.sector_size };
                self.transfer = Some(Transfer::new(&self.coming, erased_to));
                self.state = OtaState::Receiving;
                self.event(Event::Started { size: self.coming.size });
                return self.acknowledge();
            }
        };
        self.job = Job::Start(next);
    }

    /// Opens the erase of the next sector of the slot, from `erase_at` on; `false` when there is none to erase. Those
    /// with the trailer are erased, and at START the first one of the slot too (a completed swap using offset leaves
    /// the old image's header there, and the bootloader would take it for the update's), and the one with the header;
    /// or all of them.
    #[inline(never)]
    pub(super) fn erase_next(&mut self, starting: bool) -> bool {
        let l = &self.config.layout;
        let all = self.config.erase == EraseMode::AtStart;
        let trailer = l.slot_size.saturating_sub(l.trailer_size);
        loop {
            let offset = self.erase_at;
            let Some(end) = offset.checked_add(l.sector_size).filter(|end| *end <= l.slot_size) else {
                return false;
            };
            if end > trailer || (starting && (all || offset == 0 || offset == l.image_offset)) {
                self.op = Some(JobOp::Erase { offset });
                return true;
            }
            self.erase_at = end;
        }
    }
}

impl Transfer {
    /// A transfer that has received nothing.
    pub(super) fn new(session: &Session, erased_to: u32) -> Self {
        Self {
            size: session.size,
            digest: session.digest,
            version: session.version,
            durable: 0,
            flushed: 0,
            erased_to,
            crc: Checksum::new(),
            fill: 0,
        }
    }
}
