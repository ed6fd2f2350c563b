// SPDX-License-Identifier: Apache-2.0
//! Carries decisions out: enters steps, counts detours, finds the words for an end.

use fusain::{ApplianceState, Constraint, OtaState, Outcome, Reason};

use super::Sender;
use super::decide::{Class, Ending, Failure, Next, Pause, Running, Step, Verdict, Why};
use super::error::{CommandKind, Refusal, SendError};
use super::flow::Acks;
use super::plan::Task;
use super::report::{Completion, SenderEvent};
use super::transmit::{Exchange, POLL_MS};

/// Detours (a QUERY after trouble, a START or an INFO once more) that may follow one another without an
/// acknowledged byte or a new step between them.
const DETOURS_MAX: u8 = 16;

/// How often everything is sent again after a wrong digest.
const RESTARTS_MAX: u8 = 1;

/// How often ACTIVATE is sent again after a reboot that left its session waiting for it. One power cut in the
/// moment of activation is bad luck; a device that loses every activation has another trouble.
const AGAIN_MAX: u8 = 2;

/// How long a pause lasts before the sender asks again, in milliseconds.
const PAUSE_MS: u64 = 2_000;

/// Time from an unexpected state to the question whether the device has rebooted, in milliseconds: a device
/// that answers with nothing but such states is not asked without pause.
const WEIGH_MS: u64 = 100;

/// Least patience with an appliance that is initializing, in milliseconds.
const INITIALIZING_MS: u64 = 30_000;

/// Silence of a device that answers pings after which it is believed to ignore updates, in milliseconds.
const MUTE_MS: u64 = 20_000;

/// How much too early a boot may come out, besides 1/64 of the uptime for a device whose clock is fast: both
/// ends read clocks that tick, and ticks of 10 to 16 ms are in use.
const CLOCK_MS: u64 = 20;

/// An activation and the reboot that it leads to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activation {
    /// ACTIVATE was sent, and when: from then on the device may reboot at any moment.
    pub(super) sent_ms: Option<u64>,
    /// The device was ACTIVATED before it.
    pub(super) was_activated: bool,
    /// Boot number before it.
    boot: Option<u32>,
    /// Whether the device has rebooted since.
    pub(super) rebooted: Option<bool>,
    /// A state other than ACTIVATED that waits for a word on that.
    pub(super) seen: Option<OtaState>,
    /// ACTIVATE was sent more than once: a refusal may answer the second, after the first was taken.
    pub(super) repeated: bool,
    /// When the wait for the reboot began.
    pub(super) awaited_ms: Option<u64>,
    /// When the wait for the outcome began.
    pub(super) asked_ms: Option<u64>,
}

impl Activation {
    /// ACTIVATE is being sent.
    fn begin(now_ms: u64, boot: Option<u32>, was_activated: bool) -> Self {
        Self { sent_ms: Some(now_ms), boot, was_activated, ..Self::default() }
    }

    /// ACTIVATE was sent.
    pub(super) const fn sent(&self) -> bool {
        self.sent_ms.is_some()
    }

    /// Forgets what is not known for certain: a reboot since ACTIVATE is, and remains so.
    fn doubt(&mut self) {
        self.rebooted = self.rebooted.filter(|rebooted| *rebooted);
    }

    /// INFO told the boot number.
    pub(super) fn booted(&mut self, boot_number: u32) {
        if let (Some(_), Some(boot)) = (self.sent_ms, self.boot) {
            self.rebooted = Some(boot != boot_number);
        }
    }

    /// What was said during this boot was said before the reboot, and came late.
    pub(super) fn over(&self, boot_number: u32) -> bool {
        self.rebooted == Some(true) && self.boot == Some(boot_number)
    }

    /// A ping told whether the uptime went back, and so when the device booted. The boot number is the better
    /// witness where there is one.
    pub(super) fn uptime(&mut self, back: bool, now_ms: u64, uptime_ms: u32, extension: bool) {
        let better = extension && self.boot.is_some();
        if let Some(sent_ms) = self.sent_ms.filter(|_| !better && self.rebooted != Some(true)) {
            // Not the boot of before ACTIVATE, noticed late. The inaccuracy is the new boot's benefit: missing it
            // sends the whole image once more, while the old boot had a START or VERIFY to follow it, and a
            // reboot too many still has QUERY to contradict it.
            let uptime_ms = u64::from(uptime_ms);
            let slack_ms = CLOCK_MS.saturating_add(uptime_ms / 64);
            let booted_ms = now_ms.saturating_sub(uptime_ms);
            self.rebooted = Some(back && booted_ms.saturating_add(slack_ms) >= sent_ms);
        }
    }
}

impl Sender {
    /// Carries a decision out.
    pub(super) fn apply(&mut self, now_ms: u64, next: Next) {
        match next {
            Next::Ignore => {}
            Next::Go(step) => self.go(now_ms, step),
            Next::Reopen => {
                self.activation = Activation::default();
                let asks = self.peer.extension == Some(true);
                self.go(now_ms, if asks { Step::Info } else { Step::Start });
            }
            Next::Scratch => self.scratch(now_ms),
            Next::Wait(pause) => self.wait(now_ms, pause),
            Next::Persist => self.persist(now_ms),
            Next::Again => self.exchange = Exchange::due(now_ms.saturating_add(POLL_MS)),
            Next::Older => self.older(now_ms),
            Next::Weigh(state) => {
                self.activation.seen = Some(state);
                self.activation.doubt();
                let soon_ms = now_ms.saturating_add(WEIGH_MS);
                self.line.ping_soon(soon_ms);
                self.exchange.ask_about_boot(soon_ms);
            }
            // The verdict may be newer than what INFO said of the running image.
            Next::Finish(ending @ Ending::Rebooted(_))
                if matches!(self.step, Step::Outcome | Step::Query(Why::Taken)) =>
            {
                self.go(now_ms, Step::Last(ending));
            }
            Next::Finish(ending) => self.end = Some(Ok(ending)),
            Next::Fail(failure) => self.fail(now_ms, failure),
        }
    }

    /// Enters a step, unless that is one detour too many.
    fn go(&mut self, now_ms: u64, step: Step) {
        if self.is_detour(step) {
            self.detours = self.detours.saturating_add(1);
            if self.detours > DETOURS_MAX {
                let (at, offset) = (self.command(), self.flow.acked());
                self.end = Some(Err(SendError::NoProgress { at, offset, refusal: self.refusal }));
                return;
            }
        }
        let before = core::mem::replace(&mut self.step, step);
        self.since_ms = now_ms;
        self.until_ms = None;
        self.exchange = Exchange::due(now_ms);
        self.line.drop_data();
        match step {
            Step::Info => {
                self.peer.forget();
                self.line.ping_soon(now_ms);
            }
            Step::Data => self.enter_data(now_ms, before),
            Step::Verify => {
                self.reached(1);
                self.outbox.push(SenderEvent::Verifying);
            }
            Step::Activate => {
                self.reached(2);
                let boot = self.peer.info.filter(|_| self.peer.extension == Some(true));
                let activated = self.status.is_some_and(|status| status.state == OtaState::Activated);
                self.again = self.again.saturating_add(u8::from(self.activation.rebooted == Some(true)));
                self.activation = Activation::begin(now_ms, boot.map(|info| info.boot_number), activated);
                self.outcome = None;
            }
            Step::Reboot => {
                self.activation.seen = None;
                self.activation.doubt();
                self.activation.awaited_ms.get_or_insert(now_ms);
            }
            Step::Outcome => {
                self.activation.asked_ms.get_or_insert(now_ms);
            }
            Step::Start | Step::Pause(Pause::Activate) => self.activation = Activation::default(),
            Step::Offline => self.until_ms = Some(now_ms.saturating_add(self.away_ms())),
            Step::Before | Step::Query(_) | Step::Pause(_) | Step::Abort | Step::Last(_) => {}
        }
    }

    /// Steps that an undisturbed plan enters at most once. The waits for reboot and outcome have limits of
    /// their own.
    fn is_detour(&self, step: Step) -> bool {
        match step {
            Step::Start | Step::Verify | Step::Before | Step::Activate | Step::Abort => true,
            Step::Query(why) => why != Why::Entry && why != Why::Rebooted,
            Step::Info => !self.activation.sent(),
            Step::Data | Step::Reboot | Step::Outcome | Step::Pause(_) | Step::Offline | Step::Last(_) => {
                false
            }
        }
    }

    /// START or QUERY was answered RECEIVING: the device's offset holds, even if it is lower than before.
    fn enter_data(&mut self, now_ms: u64, before: Step) {
        let told = self.status.and_then(|status| status.offset);
        // START's answer need not name an offset if there is nothing yet.
        let offset = match before {
            Step::Start => told.unwrap_or(0),
            _ => told.unwrap_or_else(|| self.flow.acked()),
        };
        self.flow.resume(offset);
        if !self.opened || before == Step::Start {
            let (window, chunk) = self.flow.shape_told();
            let event = match offset {
                0 => SenderEvent::Started { window, chunk },
                offset => SenderEvent::Resumed { offset, window, chunk },
            };
            self.outbox.push(event);
        }
        if !core::mem::replace(&mut self.opened, true) {
            self.counters.resumed_at = offset;
        }
        self.progressed();
        if self.flow.complete() {
            // Some base devices stay RECEIVING until they are asked to verify.
            self.go(now_ms, Step::Verify);
        }
    }

    /// A later step than ever before is progress; the same one again is not.
    fn reached(&mut self, rank: u8) {
        if rank > self.best.1 {
            self.best.1 = rank;
            self.detours = 0;
        }
    }

    /// Notes acknowledged bytes that are more than ever before as progress.
    pub(super) fn progressed(&mut self) {
        if self.flow.acked() > self.best.0 {
            self.best.0 = self.flow.acked();
            self.detours = 0;
            self.paused_ms = None;
        }
    }

    /// Gives the data its shape for the device: lock-step unless it announced a window.
    pub(super) fn shape_flow(&mut self) {
        let Some(info) = self.peer.info.filter(|_| self.peer.extension == Some(true)) else {
            self.flow.shape(self.plan.chunk, 1, Acks::Each);
            return;
        };
        let chunk = self.plan.chunk_max.min(info.chunk_max);
        let coalesced = info.flags.contains(fusain::InfoFlags::ACKS_COALESCED);
        // On a shared line, answers to each frame would run into the frames that follow.
        let collides = self.line.link.half_duplex && !coalesced;
        let window = if collides { 1 } else { self.plan.window_max.min(info.window) };
        self.flow.shape(chunk, window, if coalesced { Acks::Burst } else { Acks::Each });
    }

    /// The device says the digest is wrong: once more from the start, but not forever.
    fn scratch(&mut self, now_ms: u64) {
        let bytes_since = self.counters.data_bytes.saturating_sub(self.bytes_before);
        // Unless everything was sent since the last restart, that is still to be done: the refusal is the same one,
        // late or twice, or ABORT was overtaken. The detours bound it.
        if self.counters.restarts == 0 || bytes_since >= u64::from(self.plan.size) {
            if self.counters.restarts >= RESTARTS_MAX {
                self.end = Some(Err(SendError::HashMismatch { restarts: self.counters.restarts }));
                return;
            }
            self.counters.restarts = self.counters.restarts.saturating_add(1);
            self.bytes_before = self.counters.data_bytes;
            self.best = (0, 0);
            self.outbox.push(SenderEvent::FromScratch);
        }
        let idle = self.status.is_some_and(|status| status.state == OtaState::Idle);
        // A device that keeps the wrong bytes would resume with them.
        self.apply(now_ms, if idle { Next::Reopen } else { Next::Go(Step::Abort) });
    }

    /// Waits for a better moment, within the patience for it.
    fn wait(&mut self, now_ms: u64, pause: Pause) {
        let since_ms = *self.paused_ms.get_or_insert(now_ms);
        let waited_ms = now_ms.saturating_sub(since_ms);
        let patience_ms = match pause {
            // A device that has just booted is not unsafe, it is not ready yet.
            Pause::Unsafe | Pause::Activate if self.initializing() => {
                self.plan.patience.unsafe_ms.max(INITIALIZING_MS)
            }
            Pause::Unsafe | Pause::Activate => self.plan.patience.unsafe_ms,
            Pause::Busy => self.plan.patience.busy_ms,
        };
        let left_ms = patience_ms.saturating_sub(waited_ms);
        if left_ms == 0 {
            self.fail(now_ms, Failure::Refusal);
            return;
        }
        if waited_ms == 0 {
            self.outbox.push(SenderEvent::Paused);
        }
        self.detours = 0;
        self.go(now_ms, Step::Pause(pause));
        let pause_ms = if self.initializing() { PAUSE_MS / 4 } else { PAUSE_MS };
        self.until_ms = Some(now_ms.saturating_add(left_ms.min(pause_ms)));
    }

    /// The last refusal names the appliance's state as INITIALIZING: of all refusals, UNSAFE_STATE's key 0 is the
    /// appliance's state (PROTOCOL.md §6.3).
    fn initializing(&self) -> bool {
        match self.refusal {
            Some(refusal @ Refusal::Reject(reject)) => {
                refusal.reason() == Some(Reason::UnsafeState)
                    && u32::try_from(reject.code) == Ok(ApplianceState::Initializing.number())
            }
            _ => false,
        }
    }

    /// The present command is not answered: goes on asking as long as the plan's patience for it lasts.
    pub(super) fn persist(&mut self, now_ms: u64) {
        // An answer to the command would have ended the step: whatever else came since is none.
        let silent_ms = now_ms.saturating_sub(self.peer.answered_ms.min(self.since_ms));
        let patience_ms = self.away_ms();
        let alive = self.peer.alive_ms.is_some_and(|alive_ms| alive_ms >= self.since_ms);
        if silent_ms < if alive { patience_ms.min(MUTE_MS) } else { patience_ms } {
            self.exchange = Exchange::due(now_ms);
            return;
        }
        // What the device said before it fell silent says more than its silence.
        let refused = matches!(self.step, Step::Query(Why::Refused(_, Class::Fatal)));
        self.fail(now_ms, if refused { Failure::Refusal } else { Failure::Silent });
    }

    /// Patience with a device that is away: a reboot with a swap takes longer than anything else.
    pub(super) fn away_ms(&self) -> u64 {
        let patience = &self.plan.patience;
        if self.activation.sent() { patience.reboot_ms } else { patience.away_ms }
    }

    /// Asks for the next older outcome, as far as the plan wants them.
    fn older(&mut self, now_ms: u64) {
        let total = self.outcome.map_or(0, |report| report.total).min(u32::from(self.plan.outcomes));
        let index = self.outcome_index.saturating_add(1);
        if index < total {
            self.outcome_index = index;
            self.exchange = Exchange::due(now_ms);
        } else {
            self.end = Some(Ok(Ending::Status));
        }
    }

    pub(super) fn completion(&self, ending: Ending) -> Completion {
        match ending {
            Ending::AlreadyRunning => Completion::AlreadyRunning { confirmed: self.facts().confirmed },
            Ending::Verified => Completion::Verified,
            Ending::Activated => Completion::Activated,
            Ending::Status => Completion::Status,
            Ending::Aborted => Completion::Aborted,
            Ending::Rebooted(Verdict::Confirmed) => Completion::Confirmed,
            Ending::Rebooted(Verdict::UnderTest) => Completion::UnderTest,
            Ending::Rebooted(Verdict::Unknown) => Completion::Unknown,
            Ending::Rebooted(Verdict::Untold) => Completion::Untold,
            Ending::Rebooted(Verdict::Reported) => match self.outcome.map(|report| report.outcome) {
                // What was confirmed and does not run any more, another writer has replaced since.
                Some(Outcome::Confirmed) if self.facts().running == Running::Other => Completion::Unknown,
                Some(Outcome::Confirmed) => Completion::Confirmed,
                Some(Outcome::UnderTest) => Completion::UnderTest,
                Some(Outcome::Reverted) => Completion::Reverted,
                Some(Outcome::Refused) => Completion::RefusedByBootloader,
                Some(Outcome::NotAttempted) => Completion::NotAttempted,
                Some(Outcome::None | Outcome::Pending | Outcome::Unknown) | None => Completion::Unknown,
            },
        }
    }

    fn fail(&mut self, now_ms: u64, failure: Failure) {
        let offset = self.flow.acked();
        let waited = |since: Option<u64>| now_ms.saturating_sub(since.unwrap_or(now_ms));
        let error = match failure {
            Failure::Refusal => self.refused(waited(self.paused_ms)),
            Failure::Silent if self.activation.sent() => SendError::NotReturned {
                waited_ms: waited(self.activation.awaited_ms.or(Some(self.since_ms))),
            },
            Failure::Silent => SendError::Silent {
                at: if matches!(self.step, Step::Query(_)) { self.unanswered } else { self.command() },
                offset,
                silent_ms: now_ms.saturating_sub(self.peer.answered_ms),
                alive: self.peer.alive_ms.is_some_and(|alive_ms| alive_ms >= self.since_ms),
            },
            Failure::LinkLost if self.activation.sent() => SendError::NotReturned {
                waited_ms: waited(self.activation.awaited_ms.or(Some(self.since_ms))),
            },
            Failure::LinkLost => SendError::LinkLost { offset, away_ms: waited(Some(self.since_ms)) },
            Failure::Unconfirmed => SendError::Unconfirmed {
                running: self.peer.info.map(|info| info.version).unwrap_or_default(),
            },
            Failure::SwapPending => SendError::SwapPending,
            Failure::NothingToActivate(state) => {
                SendError::NothingToActivate { state, offset: self.status.and_then(|status| status.offset) }
            }
            Failure::NotReturned => SendError::NotReturned { waited_ms: waited(self.activation.awaited_ms) },
            Failure::NotTaken(state) => SendError::NotTaken { state },
        };
        self.end = Some(Err(error));
    }

    /// The error that the last refusal amounts to.
    fn refused(&self, waited_ms: u64) -> SendError {
        let offset = self.flow.acked();
        let state = self.status.map_or(OtaState::Idle, |status| status.state);
        let (Step::Query(Why::Refused(at, class)), Some(refusal)) = (self.step, self.refusal) else {
            return SendError::NoProgress { at: self.command(), offset, refusal: self.refusal };
        };
        match (class, refusal) {
            (Class::Unsafe, Refusal::Reject(reject)) => {
                SendError::Unsafe { at, appliance_state: reject.code, waited_ms, offset }
            }
            (Class::Busy, _) if at != CommandKind::Abort => SendError::Busy { state, waited_ms },
            (Class::Hash, _) => SendError::HashMismatch { restarts: self.counters.restarts },
            _ => match refusal.constraint() {
                Some(Constraint::ImageTooLarge) => SendError::TooLarge { size: self.plan.size },
                Some(Constraint::SignatureInvalid) => SendError::SignatureInvalid { at },
                Some(Constraint::HeaderInvalid) => SendError::WrongImage { at },
                Some(Constraint::FlashWriteFailed) => SendError::FlashFailed { offset },
                Some(Constraint::VersionDowngrade) => {
                    SendError::Downgrade { at, running: self.peer.info.map(|info| info.version) }
                }
                _ => SendError::Refused { at, refusal, offset },
            },
        }
    }

    /// ACTIVATE may be sent again after a reboot.
    pub(super) fn once_more(&self) -> bool {
        self.again < AGAIN_MAX
    }

    /// The command that the present step is about.
    pub(super) fn command(&self) -> CommandKind {
        match self.step {
            Step::Info | Step::Last(_) => CommandKind::Info,
            Step::Start => CommandKind::Start,
            Step::Data => CommandKind::Data,
            Step::Verify => CommandKind::Verify,
            Step::Activate => CommandKind::Activate,
            Step::Abort => CommandKind::Abort,
            Step::Before | Step::Outcome => CommandKind::Outcome,
            Step::Query(_) | Step::Reboot => CommandKind::Query,
            Step::Pause(_) | Step::Offline => match self.plan.task {
                Task::Push => CommandKind::Start,
                Task::Activate => CommandKind::Activate,
                Task::Status => CommandKind::Query,
                Task::Abort => CommandKind::Abort,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an uptime after ACTIVATE at 60 s says of a device with the base protocol.
    fn rebooted(back: bool, now_ms: u64, uptime_ms: u32) -> Option<bool> {
        let mut activation = Activation::begin(60_000, None, false);
        activation.uptime(back, now_ms, uptime_ms, false);
        activation.rebooted
    }

    #[test]
    fn a_boot_counts_from_the_millisecond_of_activate_on() {
        assert_eq!(rebooted(true, 64_000, 1_000), Some(true), "3 s after it");
        assert_eq!(rebooted(true, 61_000, 1_000), Some(true), "at the same millisecond");
        assert_eq!(rebooted(true, 60_992, 1_000), Some(true), "a tick of 16 ms before, as it seems");
        assert_eq!(rebooted(true, 160_000, 101_000), Some(true), "a clock that is 1 % fast, 100 s later");
        assert_eq!(rebooted(true, 61_000, 1_100), Some(false), "before it, noticed late");
        assert_eq!(rebooted(true, 64_000, 10_000), Some(false), "long before it");
        assert_eq!(rebooted(false, 64_000, 1_000), Some(false), "its uptime did not go back");
    }

    #[test]
    fn a_reboot_once_seen_stays_and_a_boot_number_knows_better() {
        let mut activation = Activation::begin(60_000, None, false);
        activation.uptime(true, 61_000, 500, false);
        activation.uptime(false, 62_000, 1_500, false);
        assert_eq!(activation.rebooted, Some(true));

        let mut activation = Activation::begin(60_000, Some(7), false);
        activation.uptime(true, 61_000, 500, true);
        assert_eq!(activation.rebooted, None);
        activation.booted(8);
        assert_eq!(activation.rebooted, Some(true));
    }
}
