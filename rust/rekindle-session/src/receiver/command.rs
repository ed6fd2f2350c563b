// SPDX-License-Identifier: Apache-2.0
//! The one function that decides what a command does in which state.

use super::job::Job;
use super::{EraseMode, Receiver, Reply, Safety, activate};
use crate::journal::record::{Settled, Stage};
use fusain::{
    Command, Constraint, ExtensionRequest, Info, InfoFlags, InvalidCommand, OtaActivate, OtaState, OtaStatus,
    OtaVerify, Outcome, OutcomeReport, Reason, StateReject,
};
use mcuboot_image::trailer::SwapType;

impl Receiver {
    /// Takes the payload of a frame that is addressed to this device alone. What is no command of an update is
    /// ignored. To be called only while [`ready`](Self::ready); a command that comes earlier is dropped, as if the
    /// link had lost it.
    #[inline(never)]
    pub fn receive(&mut self, now_ms: u64, safety: Safety, payload: &[u8]) {
        if !self.ready() {
            return;
        }
        self.safety = safety;
        match &Command::decode(payload) {
            Ok(Some(command)) => self.command(now_ms, command),
            Ok(None) => {}
            Err(error) => self.reply = error.invalid_command().map(Reply::Invalid),
        }
    }

    /// Takes one command while [`ready`](Self::ready).
    #[inline(never)]
    pub(crate) fn command(&mut self, now_ms: u64, command: &Command<'_>) {
        match command {
            Command::Start(start) => {
                self.on_start(now_ms, start);
                // Asking in vain for a session of one's own is not using the one there is.
                if self.transfer.as_ref().is_some_and(|t| t.digest != start.digest) {
                    return;
                }
            }
            Command::Data(data) => self.on_data(now_ms, data),
            Command::Verify(verify) => self.on_verify(verify),
            Command::Activate(activate) => self.on_activate(*activate),
            Command::Abort => self.on_abort(),
            // Nor is any other asking: it must not hold off a takeover, nor keep the application waiting.
            Command::Query => {
                self.gap_answered = false;
                return self.answer_status();
            }
            Command::Extension(request) => return self.on_extension(request),
        }
        self.last_command_ms = Some(now_ms);
    }

    /// Answers with ERROR_INVALID_CMD, for a field or for what was received as a whole.
    #[inline(never)]
    pub(super) fn refuse(&mut self, field: Option<u8>, constraint: Constraint) {
        self.reply = Some(Reply::Invalid(InvalidCommand::parameter(field.map(i32::from), constraint)));
    }

    /// Refusal that names the OTA state.
    pub(super) fn reject(&mut self, reason: Reason) {
        self.reject_in(self.state.number(), reason);
    }

    #[inline(never)]
    fn reject_in(&mut self, state: u8, reason: Reason) {
        let code = i32::from(state);
        self.reply = Some(Reply::Reject(StateReject { code, reason: Some(reason.number()) }));
    }

    /// Refuses when the appliance is not safe; such a refusal names the appliance's state.
    pub(super) fn refused_unsafe(&mut self) -> bool {
        if self.safety.safe {
            return false;
        }
        self.reject_in(self.safety.state, Reason::UnsafeState);
        true
    }

    fn on_verify(&mut self, command: &OtaVerify) {
        let Some(transfer) = &self.transfer else {
            return self.reject(Reason::InvalidInState);
        };
        match self.state {
            OtaState::Idle | OtaState::Activated => return self.reject(Reason::InvalidInState),
            OtaState::Receiving => return self.refuse(None, Constraint::ValueTooLow),
            OtaState::Received | OtaState::Verified => {}
        }
        if command.digest.as_ref().is_some_and(|digest| *digest != transfer.digest) {
            return self.refuse(Some(0), Constraint::HashMismatch);
        }
        if self.refused_unsafe() {
            return;
        }
        if self.proof.is_some() {
            return self.answer_status();
        }
        self.begin_verify(false);
    }

    fn on_activate(&mut self, command: OtaActivate) {
        let OtaActivate { mode, reboot } = command;
        match self.state {
            OtaState::Idle | OtaState::Receiving | OtaState::Received => {
                return self.reject(Reason::InvalidInState);
            }
            OtaState::Activated => {
                let attempt = self.journal.ledger().attempt();
                if attempt.is_some_and(|pending| pending.mode() != mode) {
                    return self.reject(Reason::InvalidInState);
                }
                if self.refused_unsafe() {
                    return;
                }
                self.reboot = reboot;
                return self.answer_status();
            }
            OtaState::Verified => {}
        }
        if self.refused_unsafe() {
            return;
        }
        // Without a proof of this boot the image is verified again first.
        self.asked = command;
        self.erase_at = 0;
        self.job = Job::Activate(activate::Step::Trailer);
    }

    fn on_abort(&mut self) {
        match self.state {
            OtaState::Activated => self.reject(Reason::InvalidInState),
            OtaState::Idle | OtaState::Receiving | OtaState::Received | OtaState::Verified => {
                self.close();
                self.reply =
                    Some(Reply::Status(OtaStatus { state: OtaState::Idle, offset: None, version: None }));
            }
        }
    }

    fn on_extension(&mut self, request: &ExtensionRequest) {
        match request {
            ExtensionRequest::Info => {
                self.windowed = true;
                self.reply = Some(Reply::Info(self.info()));
            }
            ExtensionRequest::Outcome { index } => self.on_outcome(*index),
            ExtensionRequest::Other => {}
        }
    }

    fn info(&self) -> Info {
        let flags = InfoFlags::default()
            .with(InfoFlags::CONFIRMED, self.boot.confirmed)
            .with(InfoFlags::SWAP_PENDING, self.upgrade_pending())
            .with(InfoFlags::ACKS_COALESCED, self.config.defers())
            .with(InfoFlags::ERASE_AT_START, self.config.erase == EraseMode::AtStart);
        #[cfg(feature = "signature")]
        let flags = flags.with(InfoFlags::SIGNATURE_CHECKED, !self.config.keys.is_empty());
        Info {
            boot_number: self.boot.boot_number,
            window: self.config.window,
            version: self.running.version,
            image_hash: self.running.hash.unwrap_or_default(),
            flags,
            chunk_max: self.config.chunk_max,
            durable: self.durable(),
            appliance_state: self.safety.state,
        }
    }

    /// An upgrade happens at the next boot.
    fn upgrade_pending(&self) -> bool {
        self.state == OtaState::Activated || matches!(self.boot.swap_type, SwapType::Test | SwapType::Perm)
    }

    /// An upgrade or a revert happens at the next boot.
    pub(super) fn swap_pending(&self) -> bool {
        self.upgrade_pending() || self.boot.swap_type == SwapType::Revert
    }

    /// The running image is the one with this hash.
    pub(super) fn runs(&self, hash: &[u8; 32]) -> bool {
        self.running.hash.as_ref() == Some(hash)
    }

    /// The newest outcome (index 0) comes from memory, an older one from the journal.
    fn on_outcome(&mut self, index: u32) {
        let ledger = self.journal.ledger();
        let open = u32::from(ledger.attempt().is_some());
        let total = ledger.settled_count.wrapping_add(open);
        if open < index && index < total {
            return self.find_outcome(index, total);
        }
        let mut report = self.empty_report(index, total);
        if let Some(settled) = ledger.settled()
            && index == open
        {
            report_settled(&mut report, settled);
        }
        if let (Some(attempt), 0) = (ledger.attempt(), index) {
            report.outcome = if self.upgrade_pending() {
                Outcome::Pending
            } else if self.runs(attempt.target()) {
                Outcome::UnderTest
            } else {
                // It is over, but the journal could not take that down.
                Outcome::Unknown
            };
            report.attempt = attempt.number();
            report.target = Some(*attempt.target());
            report.mode = Some(attempt.mode());
            report_stage(&mut report, ledger.stage());
        }
        self.reply = Some(Reply::Outcome(report));
    }

    /// A report that says that nothing is on record.
    pub(super) fn empty_report(&self, index: u32, total: u32) -> OutcomeReport {
        OutcomeReport {
            boot_number: self.boot.boot_number,
            outcome: Outcome::None,
            attempt: 0,
            target: None,
            mode: None,
            stage: None,
            code: None,
            reset_cause: Some(self.boot.reset_cause),
            index,
            total,
        }
    }
}

/// Puts a settled outcome into a report.
#[inline(never)]
pub(super) fn report_settled(report: &mut OutcomeReport, settled: Settled<'_>) {
    report.outcome = settled.outcome();
    report.attempt = settled.number();
    report.target = Some(*settled.target());
    report.mode = Some(settled.mode());
    report.reset_cause = Some(settled.reset_cause());
    report_stage(report, settled.stage());
}

fn report_stage(report: &mut OutcomeReport, stage: Option<Stage>) {
    report.stage = stage.map(|s| s.stage);
    report.code = stage.map(|s| s.code);
}
