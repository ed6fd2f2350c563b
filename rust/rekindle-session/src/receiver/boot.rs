// SPDX-License-Identifier: Apache-2.0
//! Recovery after a boot: what runs, how the last attempt ended, what of a session is still on flash.
//!
//! MCUboot leaves evidence, no verdict. The running image's hash decides; only where the old image runs, the
//! target's mark in the journal, the swap type in the primary trailer and the header in the secondary slot
//! tell "reverted" from "refused" from "never tried". Where they do not, the outcome is "unknown".

use super::job::{Job, JobOp};
use super::verify::wire_version;
use super::{Event, Receiver, Running, Transfer};
use crate::journal::record::{Attempt, Checksum, KIND_CHECKPOINT, KIND_CLOSED, Record, Stage};
use crate::port::{Area, READ_MAX_U32};
use fusain::{OtaState, Outcome};
use mcuboot_image::slot::SwapMode;
use mcuboot_image::trailer::{SwapType, Trailer};

/// What the recovery does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The journal is read first.
    Journal,
    /// Walk the running image.
    Running,
    /// Read which swap made the running image.
    SwapInfo,
    /// Look for the target's header where the image was received.
    Target,
    /// Look for it at the slot's start, where only a swap puts it.
    Moved,
    /// Everything about the last attempt is known.
    Judge,
    /// Nothing is known of the session's image but that it is gone: end the session.
    Forget,
    /// Look at what is left of a session.
    Session,
    /// Wait for the journal to find the next checkpoint.
    Seek,
    /// Read the slot up to the checkpoint that was found.
    Compare,
}

/// Where the target image lies after the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Where it was received.
    Received,
    /// At the slot's start.
    Moved,
    /// Nowhere: its header is gone.
    Gone,
}

/// The walk that compares the slot with the journal's checkpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reread {
    /// Image offset up to which `crc` covers the slot.
    offset: u32,
    crc: Checksum,
    /// The checkpoint that comes next: its offset, and the CRC-32 that it asks for.
    until: u32,
    expected: u32,
    /// The furthest checkpoint that matched.
    matched: u32,
    matched_crc: Checksum,
}

impl Receiver {
    pub(super) fn run_boot(&mut self, step: Step) {
        match step {
            // The journal is idle when this runs, so it has been read.
            Step::Journal => {
                let l = &self.config.layout;
                let limit = l.primary_size.saturating_sub(l.trailer_size);
                self.begin_scan(limit);
                self.job = Job::Boot(Step::Running);
            }
            Step::Running => self.walk_running(),
            Step::SwapInfo => self.read_swap_info(),
            Step::Target | Step::Moved => self.walk_target(step),
            Step::Judge => {
                self.job = Job::Boot(Step::Session);
                self.judge();
            }
            Step::Forget => {
                self.job = Job::Boot(Step::Session);
                if self.journal.ledger().session().is_some() {
                    self.journal.append_mark(KIND_CLOSED);
                }
            }
            Step::Session => self.recover_session(),
            Step::Seek => self.seek(),
            Step::Compare => self.compare_checkpoint(),
        }
    }

    pub(super) fn boot_read(&mut self, step: Step, bytes: &[u8]) {
        match step {
            // An error ends the scan; who walks sees that.
            Step::Running | Step::Target | Step::Moved => {
                let _ = self.scan.as_mut().map(|scan| scan.feed(bytes));
            }
            Step::SwapInfo => {
                self.swap_info = bytes.first().map_or(0, |b| b & 0x0F);
                self.after_swap_info();
            }
            Step::Compare => {
                let at = &mut self.reread;
                at.crc.update(bytes);
                at.offset = at.offset.wrapping_add(u32::try_from(bytes.len()).unwrap_or(0));
            }
            Step::Journal | Step::Judge | Step::Forget | Step::Session | Step::Seek => {}
        }
    }

    /// Something could not be read. What is known so far has to do.
    pub(super) fn boot_fault(&mut self, step: Step) {
        self.op = None;
        self.job = match step {
            Step::Journal => Job::Boot(Step::Journal),
            Step::Running => Job::Boot(Step::SwapInfo),
            Step::SwapInfo => return self.after_swap_info(),
            // Its header is gone, as far as one can tell.
            Step::Target | Step::Moved => Job::Boot(Step::Judge),
            Step::Judge | Step::Forget => Job::Boot(Step::Session),
            Step::Session => Job::None,
            Step::Seek | Step::Compare => return self.resumed(),
        };
    }

    fn walk_running(&mut self) {
        self.job = Job::Boot(Step::Running);
        if self.walk(Area::Primary, 0) {
            return;
        }
        if let Some(summary) = self.summary() {
            self.running =
                Running { version: wire_version(summary.header.version), hash: Some(summary.image_hash) };
        }
        self.job = Job::Boot(Step::SwapInfo);
    }

    fn read_swap_info(&mut self) {
        let l = &self.config.layout;
        // The swap info lies at the same place in every swap mode.
        match Trailer::new(l.primary_size, l.write_block, SwapMode::Offset) {
            Some(trailer) => {
                let offset = trailer.swap_info_offset();
                self.op = Some(JobOp::Read { area: Area::Primary, offset, len: 1 });
                self.job = Job::Boot(Step::SwapInfo);
            }
            None => self.after_swap_info(),
        }
    }

    fn after_swap_info(&mut self) {
        if self.journal.ledger().attempt().is_some() {
            self.look_for_target(Step::Target);
        } else {
            self.job = Job::Boot(Step::Session);
        }
    }

    fn look_for_target(&mut self, step: Step) {
        self.target = Presence::Gone;
        self.begin_scan(self.config.layout.image_max);
        self.job = Job::Boot(step);
    }

    fn walk_target(&mut self, step: Step) {
        let received_at = self.config.layout.image_offset;
        self.job = Job::Boot(step);
        if self.walk(Area::Secondary, if step == Step::Moved { 0 } else { received_at }) {
            return;
        }
        let here = match (self.summary(), self.journal.ledger().attempt()) {
            (Some(summary), Some(attempt)) => summary.image_hash == *attempt.target(),
            _ => false,
        };
        if here {
            self.target = if step == Step::Moved { Presence::Moved } else { Presence::Received };
        } else if step == Step::Target && received_at != 0 {
            return self.look_for_target(Step::Moved);
        }
        self.job = Job::Boot(Step::Judge);
    }

    /// Settles the last attempt, as far as it is over.
    fn judge(&mut self) {
        let Some(attempt) = self.journal.ledger().attempt() else { return };
        let foreign = self.journal.ledger().foreign;
        if matches!(self.boot.swap_type, SwapType::Test | SwapType::Perm) && !foreign {
            return; // Not yet: the upgrade is still pending.
        }
        if !self.runs(attempt.target()) {
            let outcome = self.judge_from_old(attempt);
            if outcome == Outcome::Unknown && self.target != Presence::Received {
                self.job = Job::Boot(Step::Forget);
            }
            return self.settle(outcome);
        }
        if self.boot.confirmed {
            return self.settle(Outcome::Confirmed);
        }
        self.event(Event::UnderTest { attempt: attempt.number() });
        if self.journal.ledger().stage().is_none() {
            // The mark by which the old image will know that this one ran.
            self.journal.append(|record, _| record.stage(Stage { stage: 0, code: 0 }));
        }
    }

    fn judge_from_old(&self, attempt: Attempt<'_>) -> Outcome {
        const REVERT: u8 = SwapType::Revert as u8;
        let ledger = self.journal.ledger();
        let requested = ledger.requested;
        if !self.runs(attempt.running()) || ledger.foreign {
            return Outcome::Unknown;
        }
        if self.journal.ledger().stage().is_some() {
            return Outcome::Reverted;
        }
        let (before, after) = (attempt.swap_before(), self.swap_info);
        match self.target {
            _ if after == REVERT && before != REVERT => Outcome::Reverted,
            Presence::Moved if after == REVERT => Outcome::Reverted,
            // The trailer says "revert" as it did before. A request that stood is only taken away by a swap, so
            // it was written anew; without one nothing tells.
            Presence::Received if after == REVERT && requested => Outcome::Reverted,
            Presence::Received if after == REVERT => Outcome::Unknown,
            Presence::Received | Presence::Moved => Outcome::NotAttempted,
            Presence::Gone => Outcome::Refused,
        }
    }

    fn recover_session(&mut self) {
        let ledger = self.journal.ledger();
        let pending = matches!(self.boot.swap_type, SwapType::Test | SwapType::Perm);
        let Some(session) = ledger.session().map(Record::to_session) else { return };
        let (open, block) = (ledger.attempt().is_some(), ledger.session_block());
        if open && !pending {
            // The target itself runs, under test: the slot holds the image to revert to.
            return;
        }
        let mut transfer = Transfer::new(&session, 0);
        if open {
            transfer.durable = session.size;
            transfer.flushed = session.size;
            self.state = OtaState::Activated;
        } else {
            self.state = OtaState::Receiving;
            self.recovered = true;
            self.reread = Reread::new();
            self.job = Job::Boot(Step::Seek);
            self.journal.next_record(block);
        }
        self.transfer = Some(transfer);
    }

    /// The journal has looked for the next record.
    fn seek(&mut self) {
        let Some(record) = self.journal.found() else { return self.resumed() };
        let at = &mut self.reread;
        (at.until, at.expected) = record.to_checkpoint();
        if record.kind() == KIND_CHECKPOINT && at.until > at.offset {
            self.job = Job::Boot(Step::Compare);
        } else {
            self.seek_on();
        }
    }

    fn seek_on(&mut self) {
        self.job = Job::Boot(Step::Seek);
        self.journal.next();
    }

    fn compare_checkpoint(&mut self) {
        let size = self.transfer.as_ref().map_or(0, |t| t.size);
        let at = &mut self.reread;
        if at.offset < at.until && at.until <= size {
            let (offset, len) = (at.offset, at.until.saturating_sub(at.offset).min(READ_MAX_U32));
            self.job = Job::Boot(Step::Compare);
            return self.read_slot(offset, len);
        }
        if at.offset == at.until && at.crc.value() == at.expected {
            at.matched = at.offset;
            at.matched_crc = at.crc;
        }
        self.seek_on();
    }

    /// What matched is still there; everything behind it is received again, onto erased flash.
    fn resumed(&mut self) {
        let verified = self.journal.ledger().verified;
        let at = self.reread;
        self.job = Job::None;
        let Some(transfer) = &mut self.transfer else { return };
        transfer.durable = at.matched;
        transfer.flushed = at.matched;
        // Behind the last match there may be half-written sectors, whichever way the slot is erased.
        transfer.erased_to = at.matched;
        transfer.crc = at.matched_crc;
        if at.matched == transfer.size {
            self.state = if verified { OtaState::Verified } else { OtaState::Received };
        }
        let (offset, size) = (at.matched, transfer.size);
        self.event(Event::Resumed { offset, size });
    }
}

impl Reread {
    /// Nothing has been read yet.
    pub(super) const fn new() -> Self {
        Self {
            offset: 0,
            crc: Checksum::new(),
            until: 0,
            expected: 0,
            matched: 0,
            matched_crc: Checksum::new(),
        }
    }
}
