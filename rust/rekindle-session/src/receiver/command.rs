// SPDX-License-Identifier: Apache-2.0
//! The one function that decides what a command does in which state.

use super::job::Job;
use super::{EraseMode, Receiver, Reply, Safety, activate, verify};
use fusain::{
    Command, Constraint, DecodeError, ExtensionRequest, Info, InfoFlags, InvalidCommand, Mode, OtaActivate,
    OtaState, OtaStatus, OtaVerify, Outcome, OutcomeReport, Reason, StateReject,
};
use mcuboot_image::trailer::SwapType;

/// Offset mismatch (PROTOCOL.md, OTA_DATA).
pub(super) const OFFSET_CONFLICT: InvalidCommand =
    InvalidCommand { code: 1, field: Some(0), constraint: Some(Constraint::ValueConflict.number()) };

/// What follows a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continuation {
    /// OTA_STATUS, state VERIFIED.
    Report,
    /// The activation that found no proof of this boot.
    Activate { mode: Mode, reboot: bool },
}

/// An ERROR_INVALID_CMD for a field.
pub(super) fn invalid(field: i32, constraint: Constraint) -> Reply {
    Reply::Invalid(InvalidCommand { code: 1, field: Some(field), constraint: Some(constraint.number()) })
}

/// An ERROR_INVALID_CMD without a field.
pub(super) fn invalid_image(constraint: Constraint) -> Reply {
    Reply::Invalid(InvalidCommand { code: 1, field: None, constraint: Some(constraint.number()) })
}

impl Receiver {
    /// Takes one command (or why it could not be decoded), addressed to this device alone. To be called only
    /// while [`ready`](Self::ready); a command that comes earlier is dropped, as if the link had lost it.
    pub fn command(&mut self, now_ms: u64, safety: Safety, command: &Result<Command<'_>, DecodeError>) {
        if !self.ready() {
            return;
        }
        self.safety = safety;
        let command = match command {
            Ok(command) => command,
            Err(error) => {
                self.reply = error.invalid_command().map(Reply::Invalid);
                return;
            }
        };
        let before_ms = self.last_command_ms.replace(now_ms);
        let idle_ms = now_ms.saturating_sub(before_ms.or(self.began_ms).unwrap_or(now_ms));
        match command {
            Command::Start(start) => self.on_start(start, idle_ms),
            Command::Data(data) => self.on_data(now_ms, data),
            Command::Verify(verify) => self.on_verify(verify),
            Command::Activate(activate) => self.on_activate(*activate),
            Command::Query => {
                self.gap_answered = false;
                self.reply = Some(self.status());
            }
            Command::Abort => self.on_abort(),
            Command::Extension(request) => {
                // Asking is not using the session: it must not hold off a takeover.
                self.last_command_ms = before_ms;
                self.on_extension(request);
            }
        }
    }

    /// Refusal that names the OTA state.
    pub(super) fn reject(&mut self, reason: Reason) {
        let code = i32::from(self.state().number());
        self.reply = Some(Reply::Reject(StateReject { code, reason: Some(reason.number()) }));
    }

    /// Refuses when the appliance is not safe; such a refusal names the appliance's state.
    pub(super) fn refused_unsafe(&mut self) -> bool {
        if self.safety.safe {
            return false;
        }
        let code = i32::from(self.safety.state);
        self.reply = Some(Reply::Reject(StateReject { code, reason: Some(Reason::UnsafeState.number()) }));
        true
    }

    fn on_verify(&mut self, command: &OtaVerify) {
        let Some(transfer) = &self.transfer else {
            return self.reject(Reason::InvalidInState);
        };
        match transfer.state {
            OtaState::Idle | OtaState::Activated => return self.reject(Reason::InvalidInState),
            OtaState::Receiving => {
                self.reply = Some(invalid_image(Constraint::ValueTooLow));
                return;
            }
            OtaState::Received | OtaState::Verified => {}
        }
        if command.digest.is_some_and(|digest| digest != transfer.digest) {
            self.reply = Some(invalid(0, Constraint::HashMismatch));
            return;
        }
        let size = transfer.size;
        if self.refused_unsafe() {
            return;
        }
        if self.proof.is_some() {
            self.reply = Some(self.status());
            return;
        }
        let step = verify::Step::begin(size);
        self.job = Job::Verify { step, then: Continuation::Report };
    }

    fn on_activate(&mut self, command: OtaActivate) {
        let OtaActivate { mode, reboot } = command;
        match self.state() {
            OtaState::Idle | OtaState::Receiving | OtaState::Received => {
                return self.reject(Reason::InvalidInState);
            }
            OtaState::Activated => {
                let attempt = self.journal.ledger().attempt.map(|(a, _)| a.mode);
                if attempt.is_some_and(|pending| pending != mode) {
                    return self.reject(Reason::InvalidInState);
                }
                if self.refused_unsafe() {
                    return;
                }
                self.reboot = reboot;
                self.reply = Some(self.status());
                return;
            }
            OtaState::Verified => {}
        }
        if self.refused_unsafe() {
            return;
        }
        // Without a proof of this boot the image is verified again first.
        self.job = Job::Activate(activate::Step::Note { mode, reboot });
    }

    fn on_abort(&mut self) {
        match self.state() {
            OtaState::Activated => self.reject(Reason::InvalidInState),
            OtaState::Idle | OtaState::Receiving | OtaState::Received | OtaState::Verified => {
                self.close(Some(Reply::Status(OtaStatus {
                    state: OtaState::Idle,
                    offset: None,
                    version: None,
                })));
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
            .with(InfoFlags::SWAP_PENDING, self.swap_pending())
            .with(InfoFlags::ACKS_COALESCED, self.config.half_duplex)
            .with(InfoFlags::ERASE_AT_START, self.config.erase == EraseMode::AtStart);
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

    /// An upgrade or a revert happens at the next boot.
    pub(super) fn swap_pending(&self) -> bool {
        self.state() == OtaState::Activated
            || matches!(self.boot.swap_type, SwapType::Test | SwapType::Perm | SwapType::Revert)
    }

    /// The newest outcome (index 0) comes from memory, an older one from the journal.
    fn on_outcome(&mut self, index: u32) {
        let ledger = self.journal.ledger();
        let open = u32::from(ledger.attempt.is_some());
        let total = ledger.settled_count.saturating_add(open);
        if let (Some((attempt, _)), 0) = (ledger.attempt, index) {
            let testing = Some(attempt.target) == self.running.hash && self.state() != OtaState::Activated;
            self.reply = Some(Reply::Outcome(OutcomeReport {
                boot_number: self.boot.boot_number,
                outcome: if testing { Outcome::UnderTest } else { Outcome::Pending },
                attempt: attempt.number,
                target: Some(attempt.target),
                mode: Some(attempt.mode),
                stage: ledger.stage.map(|(s, _)| s.stage),
                code: ledger.stage.map(|(s, _)| s.code),
                reset_cause: Some(self.boot.reset_cause),
                index,
                total,
            }));
            return;
        }
        match ledger.settled {
            Some(settled) if index == open => {
                self.reply = Some(Reply::Outcome(self.outcome_report(&settled, index, total)));
            }
            _ if index < total => self.find_outcome(index, total),
            _ => {
                self.reply = Some(Reply::Outcome(OutcomeReport {
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
                }));
            }
        }
    }
}
