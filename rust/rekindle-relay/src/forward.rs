// SPDX-License-Identifier: Apache-2.0
//! The image on its way out: one transfer at a time on each link, by the sender that a direct push uses.
//!
//! An appliance is first asked how it is (a probe), then gets the image, then is activated and watched until it has
//! come back; a controller that was restarted in between begins with the probe again, which tells what had happened.
//! [`Transfer::push`] and [`Transfer::activate`] take a [`Release`]: what policy refuses cannot get here.

use fusain::relay::{Cause, RosterOutcome, Stage};
use fusain::{Address, Constraint, InvalidCommand, Message, Mode, OtaData, Reason, StateReject};
use rekindle_session::sender::{
    Completion, Link, Patience, Plan, Refusal, Report, SendError, Sender, SenderEvent, SenderOutput,
};

use crate::config::LinkConfig;
use crate::controller::{Event, Relay, cause_of};
use crate::outbox::To;
use crate::policy::Release;
use crate::port::StoreFault;
use crate::probe::{Found, Next, decide};
use crate::record::AuditKind;
use crate::roster::Device;

/// How long an appliance may be silent before another one gets its turn, in milliseconds.
const AWAY_MS: u64 = 20_000;

/// Time between two looks at an appliance whose new image is under test, in milliseconds.
const FOLLOW_MS: u64 = 5_000;

/// Looks at it before "under test" is its outcome.
const FOLLOW_MAX: u8 = 24;

/// Time between two looks at an appliance that was activated without a reboot, in milliseconds.
const NO_REBOOT_MS: u64 = 30_000;

/// What a transfer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Asks how the appliance is.
    Probe,
    /// Brings the image and lets the appliance verify it.
    Push,
    /// Activates it and waits for the verdict.
    Activate,
    /// Makes the appliance give up what it received.
    Abort,
}

/// A sender at work for one appliance.
#[derive(Debug)]
pub(crate) struct Transfer {
    slot: usize,
    address: Address,
    kind: Kind,
    sender: Sender,
}

impl Transfer {
    fn new(slot: usize, address: Address, kind: Kind, plan: Plan, link: &LinkState, now_ms: u64) -> Self {
        let patience = Patience { away_ms: AWAY_MS, ..Patience::default() };
        let plan = Plan { patience, window_max: link.config.window_max.max(1), outcomes: 1, ..plan };
        let mut sender = Sender::new(plan, link.config.line, now_ms);
        if !link.up {
            sender.link_lost(now_ms);
        }
        Self { slot, address, kind, sender }
    }

    fn probe(slot: usize, address: Address, link: &LinkState, now_ms: u64) -> Self {
        Self::new(slot, address, Kind::Probe, Plan::status_only(), link, now_ms)
    }

    fn abort(slot: usize, address: Address, link: &LinkState, now_ms: u64) -> Self {
        Self::new(slot, address, Kind::Abort, Plan::abort_only(), link, now_ms)
    }

    /// Brings the released image, and no other.
    fn push(slot: usize, address: Address, release: &Release, link: &LinkState, now_ms: u64) -> Self {
        let plan = Plan::push(release.size(), *release.digest(), Some(*release.image_hash()));
        let plan = Plan { activate: false, ..plan };
        Self::new(slot, address, Kind::Push, plan, link, now_ms)
    }

    /// Activates the released image.
    fn activate(
        (slot, address): (usize, Address),
        release: &Release,
        (mode, reboot): (Mode, bool),
        link: &LinkState,
        now_ms: u64,
    ) -> Self {
        let (size, image_hash) = (release.size(), Some(*release.image_hash()));
        let plan = Plan { size, image_hash, reboot, follow: reboot, ..Plan::activate_only(mode) };
        Self::new(slot, address, Kind::Activate, plan, link, now_ms)
    }
}

/// One southbound link.
#[derive(Debug)]
pub(crate) struct LinkState {
    pub(crate) config: LinkConfig,
    pub(crate) up: bool,
    /// The driver can take more frames for it.
    pub(crate) room: bool,
    transfer: Option<Transfer>,
    /// Bytes of the image that are to be read and sent.
    pub(crate) data: Option<(u32, u8)>,
    pub(crate) wake_ms: Option<u64>,
    /// The appliance that had its turn last.
    turn: usize,
    /// In transparent routing: the client whose update is on the link, the appliance, and when it was last heard.
    pub(crate) bound: Option<(u8, Address, u64)>,
    /// When to look for appliances again.
    pub(crate) discover_ms: u64,
}

impl LinkState {
    pub(crate) const fn new(config: LinkConfig) -> Self {
        Self {
            config,
            up: false,
            room: true,
            transfer: None,
            data: None,
            wake_ms: None,
            turn: 0,
            bound: None,
            discover_ms: 0,
        }
    }

    pub(crate) const fn line(&self) -> &Link {
        &self.config.line
    }

    /// A transfer is on the link.
    pub(crate) const fn is_working(&self) -> bool {
        self.transfer.is_some()
    }

    /// A transfer is under way for this appliance.
    pub(crate) fn works_for(&self, address: Address) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| transfer.address == address)
    }

    /// Hands a message to the transfer that it is for.
    pub(crate) fn heard(&mut self, now_ms: u64, address: Address, message: &Message<'_>) {
        if let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.address == address) {
            transfer.sender.message(now_ms, message);
        }
    }

    pub(crate) fn set_up(&mut self, now_ms: u64, up: bool) {
        if core::mem::replace(&mut self.up, up) == up {
            return;
        }
        self.discover_ms = now_ms;
        self.data = None;
        if let Some(transfer) = &mut self.transfer {
            if up { transfer.sender.link_up(now_ms) } else { transfer.sender.link_lost(now_ms) }
        }
    }

    pub(crate) fn forget_client(&mut self, client: u8) {
        self.bound = self.bound.filter(|(bound, _, _)| *bound != client);
    }

    fn stop(&mut self) {
        self.transfer = None;
        self.data = None;
        self.wake_ms = None;
    }
}

impl<const N: usize, const L: usize, const C: usize> Relay<N, L, C> {
    /// The driver can, or cannot, take more frames for a link. Data for it stays in the store meanwhile.
    pub fn link_room(&mut self, link: u8, room: bool) {
        if let Some(link) = self.links.get_mut(usize::from(link)) {
            link.room = room;
        }
    }

    /// The approved image may go to this appliance when its turn comes, if policy allows it.
    pub(crate) fn queue(&mut self, slot: usize) -> Result<(), Constraint> {
        let (Some(approved), Some(device)) = (&self.approved, self.roster.get_mut(slot)) else {
            return Ok(());
        };
        match approved.release(&device.receiving(&self.links), &self.root) {
            Ok(_) => {
                device.retry_ms = 0;
                self.stage(slot, Stage::Queued);
                Ok(())
            }
            Err(constraint) => {
                self.forbid(slot, constraint);
                Err(constraint)
            }
        }
    }

    /// Policy refuses the image for this appliance.
    fn forbid(&mut self, slot: usize, constraint: Constraint) {
        if let Some(device) = self.roster.get(slot) {
            self.outbox.event(Event::RefusedFor(device.address, constraint));
        }
        self.settle(slot, RosterOutcome::Forbidden, cause_of(constraint));
    }

    /// The appliance is to be activated as soon as that is on record.
    pub(crate) fn activate(&mut self, slot: usize) {
        self.stage(slot, Stage::Activating);
        let gate = self.meta.touch();
        if let Some(device) = self.roster.get_mut(slot) {
            (device.activate, device.go, device.rebooted) = (true, true, false);
            (device.gate, device.retry_ms) = (gate, 0);
        }
    }

    /// Takes the work for an appliance off its link.
    pub(crate) fn stop_transfer(&mut self, slot: usize) {
        for link in &mut self.links {
            if link.transfer.as_ref().is_some_and(|transfer| transfer.slot == slot) {
                link.stop();
            }
        }
    }

    /// Nothing is released any more: what is on its way stops where it is.
    pub(crate) fn stop_transfers(&mut self) {
        for link in &mut self.links {
            if link.transfer.as_ref().is_some_and(|t| matches!(t.kind, Kind::Push | Kind::Activate)) {
                link.stop();
            }
        }
        for (_, device) in self.roster.iter_mut() {
            device.go = false;
            device.audited = false;
            if device.stage == Stage::Transferring {
                device.stage = Stage::Queued;
            }
        }
    }

    pub(crate) fn pump_links(&mut self) {
        for link in 0..L {
            // Each turn sends something, ends a transfer or begins one; the outbox bounds them.
            while self.pump_link(link) {}
        }
    }

    /// Does one thing for a link; `false` when there is nothing to do.
    fn pump_link(&mut self, index: usize) -> bool {
        let room = self.outbox.room() >= 2;
        let Some(link) = self.links.get_mut(index) else { return false };
        link.wake_ms = None;
        if link.data.is_some() || !room || (link.up && !link.room) {
            return false;
        }
        if link.transfer.is_none() {
            return if link.up { self.next_work(index) } else { self.miss_link(index) };
        }
        let Some(transfer) = &mut link.transfer else { return false };
        let (slot, address, to) =
            (transfer.slot, transfer.address, To::Link(u8::try_from(index).unwrap_or(0)));
        match transfer.sender.poll(self.now_ms) {
            SenderOutput::Send(message) => self.outbox.push(to, address, |out| message.encode(out)),
            SenderOutput::SendData { offset, len } => link.data = Some((offset, len)),
            SenderOutput::Event(event) => self.sender_event(slot, &event),
            SenderOutput::Wait { until_ms } => {
                link.wake_ms = Some(until_ms);
                return false;
            }
            SenderOutput::Done(result) => {
                let kind = transfer.kind;
                link.stop();
                self.done(index, slot, kind, result);
            }
        }
        true
    }

    /// The bytes that a sender wants to send.
    pub(crate) fn data_read(&mut self, index: usize, result: Result<&[u8], StoreFault>) {
        let Some(link) = self.links.get_mut(index) else { return };
        let (Some((offset, len)), Some(transfer)) = (link.data.take(), &link.transfer) else { return };
        // A page that could not be read is a frame that was lost: the sender asks again.
        let Ok(data) = result else { return };
        if data.len() == usize::from(len) {
            let data = OtaData { offset: u64::from(offset), data };
            let to = To::Link(u8::try_from(index).unwrap_or(0));
            self.outbox.push(to, transfer.address, |out| data.encode(out));
        } else {
            // The file is shorter than it was when it was judged.
            self.approved = None;
            self.stop_transfers();
        }
    }

    /// Begins the next work on a link; `false` when there is none.
    fn next_work(&mut self, index: usize) -> bool {
        let Some(turn) = self.links.get(index).map(|link| link.turn) else { return false };
        for step in 1..=N {
            let slot = turn.saturating_add(step).checked_rem(N).unwrap_or(0);
            let Some(transfer) = self.work_for(index, slot) else { continue };
            if let Some(link) = self.links.get_mut(index) {
                link.turn = slot;
                link.transfer = Some(transfer);
            }
            return true;
        }
        false
    }

    /// On a link that is down, whoever has work to be done there waits in vain; `false` when nobody has.
    fn miss_link(&mut self, index: usize) -> bool {
        let now_ms = self.now_ms;
        let due = self.roster.iter().find(|(_, device)| {
            let waits = matches!(device.stage, Stage::Queued | Stage::Activating)
                || (device.stage == Stage::Ready && device.auto);
            waits && usize::from(device.link) == index && now_ms >= device.retry_ms
        });
        let Some((slot, _)) = due else { return false };
        // Not a try of its own, for nothing was tried: those are for what the appliance says.
        let missed = self.roster.get_mut(slot).map_or(0, |device| {
            device.missed = device.missed.saturating_add(1);
            device.missed
        });
        self.later(slot, Cause::LinkLost, missed);
        self.drop_unneeded();
        true
    }

    /// The work that is due for an appliance.
    fn work_for(&mut self, index: usize, slot: usize) -> Option<Transfer> {
        let device = self.roster.get(slot).filter(|device| usize::from(device.link) == index)?;
        if device.stage == Stage::Ready && device.auto && self.now_ms >= device.retry_ms {
            self.activate(slot);
        }
        let device = self.roster.get(slot)?;
        let (link, now_ms, address) = (self.links.get(index)?, self.now_ms, device.address);
        if device.abort {
            return Some(Transfer::abort(slot, address, link, now_ms));
        }
        let approved = self.approved.as_ref()?;
        if now_ms < device.retry_ms {
            return None;
        }
        match device.stage {
            Stage::Queued if approved.is_unsigned() && !device.audited => {
                if self.audit.is_idle() {
                    let digest = self.session.map(|session| session.digest).unwrap_or_default();
                    self.record(AuditKind::UnsignedReleased, digest, address);
                }
                None
            }
            Stage::Queued => Some(Transfer::probe(slot, address, link, now_ms)),
            Stage::Activating if !self.meta.durable(device.gate) => None,
            Stage::Activating if !device.go => Some(Transfer::probe(slot, address, link, now_ms)),
            Stage::Activating => match approved.release(&device.receiving(&self.links), &self.root) {
                Ok(release) => {
                    let how = (device.mode, device.reboot);
                    Some(Transfer::activate((slot, address), &release, how, link, now_ms))
                }
                Err(constraint) => {
                    self.forbid(slot, constraint);
                    self.drop_unneeded();
                    None
                }
            },
            Stage::None | Stage::Waiting | Stage::Transferring | Stage::Ready | Stage::Settled => None,
        }
    }

    fn sender_event(&mut self, slot: usize, event: &SenderEvent) {
        let Some(device) = self.roster.get_mut(slot) else { return };
        match event {
            SenderEvent::Acknowledged { offset } | SenderEvent::Resumed { offset, .. } => {
                device.offset = *offset;
            }
            SenderEvent::Rebooted => device.has_rebooted(),
            SenderEvent::Activated => {
                let (client, address, auto) = (device.requester, device.address, device.auto);
                if !auto {
                    self.answer_status(client, address);
                }
            }
            _ => {}
        }
    }

    fn done(&mut self, link: usize, slot: usize, kind: Kind, result: Result<Report, SendError>) {
        match (kind, result) {
            (Kind::Abort, _) => {
                if let Some(device) = self.roster.get_mut(slot) {
                    device.abort = false;
                }
            }
            (Kind::Probe, Ok(report)) => self.probed(link, slot, &report),
            (Kind::Push, Ok(report)) => self.pushed(slot, &report),
            (Kind::Activate, Ok(report)) => self.activated(slot, &report),
            (_, Err(error)) => self.failed(slot, kind, &error),
        }
        self.drop_unneeded();
    }

    /// The appliance has told how it is.
    fn probed(&mut self, link: usize, slot: usize, report: &Report) {
        let (Some(device), Some(approved)) = (self.roster.get_mut(slot), &self.approved) else { return };
        let waits = device.stage == Stage::Activating;
        let found = Found::new(report, approved.image_hash(), waits.then_some(device.attempt));
        if !waits {
            device.attempt = report.outcome.map_or(0, |outcome| outcome.attempt);
        }
        match decide(waits, device.reboot, &found) {
            Next::Send => self.begin_push(link, slot),
            Next::Activate => {
                self.retry(slot, Cause::NotTaken);
                if self.roster.get(slot).is_some_and(Device::needs_image) {
                    self.activate(slot);
                }
            }
            Next::Again => {
                self.retry(slot, Cause::NothingToActivate);
                if self.roster.get(slot).is_some_and(Device::needs_image) {
                    self.stage(slot, Stage::Queued);
                }
            }
            Next::Settle(outcome) => {
                device.has_installed(outcome, approved);
                self.settle(slot, outcome, Cause::None);
            }
            Next::Follow => self.follow(slot, FOLLOW_MS, true),
            Next::Wait => self.follow(slot, NO_REBOOT_MS, false),
            Next::Retry(cause) => self.retry(slot, cause),
        }
    }

    /// Policy is asked once more, now that the running version is known: then the image goes out.
    fn begin_push(&mut self, index: usize, slot: usize) {
        let (Some(approved), Some(device)) = (&self.approved, self.roster.get_mut(slot)) else { return };
        match approved.release(&device.receiving(&self.links), &self.root) {
            Ok(release) => {
                if let Some(link) = self.links.get_mut(index) {
                    let transfer = Transfer::push(slot, device.address, &release, link, self.now_ms);
                    link.transfer = Some(transfer);
                }
                self.stage(slot, Stage::Transferring);
            }
            Err(constraint) => {
                let (client, address, auto) = (device.requester, device.address, device.auto);
                self.forbid(slot, constraint);
                if !auto {
                    self.refuse(client, address, None, constraint);
                }
            }
        }
    }

    /// Looks at an activated appliance again later.
    fn follow(&mut self, slot: usize, pause_ms: u64, bounded: bool) {
        let Some(device) = self.roster.get_mut(slot) else { return };
        device.go = false;
        device.retry_ms = self.now_ms.saturating_add(pause_ms);
        device.tries = device.tries.saturating_add(u8::from(bounded));
        if device.tries > FOLLOW_MAX {
            self.settle(slot, RosterOutcome::UnderTest, Cause::None);
        } else if device.stage != Stage::Activating {
            self.stage(slot, Stage::Activating);
        }
    }

    /// The appliance has verified the image.
    fn pushed(&mut self, slot: usize, report: &Report) {
        let size = self.session.map_or(0, |session| session.size);
        match report.completion {
            Completion::AlreadyRunning { confirmed: true } => {
                self.settle(slot, RosterOutcome::AlreadyRunning, Cause::None);
            }
            Completion::AlreadyRunning { confirmed: false } => self.follow(slot, FOLLOW_MS, true),
            _ => {
                let Some(device) = self.roster.get_mut(slot) else { return };
                (device.offset, device.tries, device.retry_ms) = (size, 0, 0);
                let (client, address, auto) = (device.requester, device.address, device.auto);
                self.stage(slot, Stage::Ready);
                if !auto {
                    // At once, to whoever waits for it.
                    self.answer_status(client, address);
                }
            }
        }
    }

    /// The activated appliance has come to a verdict.
    fn activated(&mut self, slot: usize, report: &Report) {
        let outcome = match report.completion {
            Completion::Confirmed | Completion::AlreadyRunning { confirmed: true } => {
                RosterOutcome::Confirmed
            }
            Completion::UnderTest | Completion::AlreadyRunning { confirmed: false } => {
                return self.follow(slot, FOLLOW_MS, true);
            }
            Completion::Activated => return self.follow(slot, NO_REBOOT_MS, false),
            Completion::Reverted => RosterOutcome::Reverted,
            Completion::RefusedByBootloader => RosterOutcome::Refused,
            Completion::NotAttempted => RosterOutcome::NotAttempted,
            Completion::Untold => RosterOutcome::Untold,
            Completion::Unknown | Completion::Verified | Completion::Status | Completion::Aborted => {
                RosterOutcome::Unknown
            }
        };
        if let (Some(device), Some(approved)) = (self.roster.get_mut(slot), &self.approved) {
            device.has_installed(outcome, approved);
        }
        self.settle(slot, outcome, Cause::None);
    }

    /// A sender gave up.
    fn failed(&mut self, slot: usize, kind: Kind, error: &SendError) {
        let Some(device) = self.roster.get_mut(slot) else { return };
        let (client, address, auto) = (device.requester, device.address, device.auto);
        if kind == Kind::Activate {
            device.go = false;
            if let SendError::Unsafe { .. } = error {
                // It is still verified: ACTIVATE can be sent again when it is safe.
                device.stage = Stage::Ready;
                device.activate = auto;
                self.meta.touch();
            }
        }
        if !auto {
            self.tell(client, address, error);
        }
        self.retry(slot, cause_of_error(error));
    }

    /// Tries again later, or settles: how often and when depends on what went wrong.
    fn retry(&mut self, slot: usize, cause: Cause) {
        let Some(device) = self.roster.get_mut(slot) else { return };
        device.tries = device.tries.saturating_add(1);
        let tries = device.tries;
        self.later(slot, cause, tries);
    }

    /// Puts off what failed so many times, or settles it.
    fn later(&mut self, slot: usize, cause: Cause, failed: u8) {
        let Some(device) = self.roster.get_mut(slot) else { return };
        let (tries, pause_ms) = patience(cause);
        device.cause = cause;
        if failed > tries {
            let outcome = device.unless_activated(RosterOutcome::Failed);
            let held = matches!(device.stage, Stage::Transferring | Stage::Ready);
            device.abort = held && cause != Cause::Silent;
            self.settle(slot, outcome, cause);
            return;
        }
        device.retry_ms = self.now_ms.saturating_add(pause_ms);
        if device.stage == Stage::Transferring {
            device.stage = Stage::Queued;
        }
        self.outbox.event(Event::Retry(device.address, cause, pause_ms));
        self.meta.touch();
    }

    /// Errors of the appliance go up at once to the client whose update it is.
    fn tell(&mut self, client: u8, address: Address, error: &SendError) {
        let to = To::client(client);
        let mut invalid = |field, constraint| {
            let refusal = InvalidCommand::parameter(field, constraint);
            self.outbox.push(to, address, |out| refusal.encode(out));
        };
        match error {
            SendError::TooLarge { .. } => invalid(Some(0), Constraint::ImageTooLarge),
            SendError::HashMismatch { .. } => invalid(None, Constraint::HashMismatch),
            SendError::WrongImage { .. } => invalid(None, Constraint::HeaderInvalid),
            SendError::SignatureInvalid { .. } => invalid(None, Constraint::SignatureInvalid),
            SendError::Downgrade { .. } => invalid(None, Constraint::VersionDowngrade),
            SendError::FlashFailed { .. } => invalid(Some(1), Constraint::FlashWriteFailed),
            SendError::Unsafe { appliance_state, .. } => {
                let reject = StateReject::because(*appliance_state, Reason::UnsafeState);
                self.outbox.push(to, address, |out| reject.encode(out));
            }
            SendError::Refused { refusal: Refusal::Invalid(refusal), .. } => {
                self.outbox.push(to, address, |out| refusal.encode(out));
            }
            SendError::Refused { refusal: Refusal::Reject(refusal), .. } => {
                self.outbox.push(to, address, |out| refusal.encode(out));
            }
            _ => {}
        }
    }

    /// When the next try is due.
    pub(crate) fn retry_wake_ms(&self) -> Option<u64> {
        let due = |stage| matches!(stage, Stage::Queued | Stage::Activating | Stage::Ready);
        let later = self.roster.iter().filter(|(_, d)| due(d.stage) && d.retry_ms > self.now_ms);
        later.map(|(_, device)| device.retry_ms).min()
    }
}

/// What the roster says of a sender's failure.
const fn cause_of_error(error: &SendError) -> Cause {
    match error {
        SendError::Plan(_) | SendError::Refused { .. } => Cause::Refused,
        SendError::TooLarge { .. } => Cause::TooLarge,
        SendError::HashMismatch { .. } => Cause::HashMismatch,
        SendError::WrongImage { .. } => Cause::WrongImage,
        SendError::SignatureInvalid { .. } => Cause::SignatureInvalid,
        SendError::Downgrade { .. } => Cause::Downgrade,
        SendError::FlashFailed { .. } => Cause::FlashFailed,
        SendError::Unsafe { .. } => Cause::Unsafe,
        SendError::Busy { .. } => Cause::Busy,
        SendError::Unconfirmed { .. } => Cause::Unconfirmed,
        SendError::SwapPending => Cause::SwapPending,
        SendError::NothingToActivate { .. } => Cause::NothingToActivate,
        SendError::Silent { .. } => Cause::Silent,
        SendError::LinkLost { .. } => Cause::LinkLost,
        SendError::NoProgress { .. } => Cause::NoProgress,
        SendError::NotReturned { .. } => Cause::NotReturned,
        SendError::NotTaken { .. } => Cause::NotTaken,
    }
}

/// How often a failure is tried again, and after how many milliseconds. What repeating cannot change is not
/// repeated.
const fn patience(cause: Cause) -> (u8, u64) {
    match cause {
        // An appliance that heats or blows does so for hours; asking costs it nothing.
        Cause::Unsafe => (240, 60_000),
        Cause::Silent | Cause::NotReturned => (5, 30_000),
        Cause::LinkLost => (30, 10_000),
        Cause::Busy | Cause::Unconfirmed => (20, 30_000),
        Cause::SwapPending => (3, 60_000),
        Cause::NoProgress => (3, 10_000),
        Cause::NotTaken | Cause::NothingToActivate => (3, 2_000),
        // The flash may have had one bad moment, and memory a flipped bit.
        Cause::FlashFailed | Cause::HashMismatch => (1, 5_000),
        Cause::None
        | Cause::TooLarge
        | Cause::WrongImage
        | Cause::SignatureInvalid
        | Cause::Downgrade
        | Cause::Refused
        | Cause::StoreFailed => (0, 0),
    }
}
