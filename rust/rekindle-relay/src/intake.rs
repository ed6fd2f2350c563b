// SPDX-License-Identifier: Apache-2.0
//! The image on its way in: what a client sends to an appliance's address ends here and is answered from there
//! (PROTOCOL.md §10, store and forward). The answers are those of a receiver (§5).

use fusain::relay::{Cause, RosterOutcome, Stage};
use fusain::{
    Address, Command, Constraint, InvalidCommand, OtaActivate, OtaData, OtaStart, OtaState, OtaStatus,
    OtaVerify, PAYLOAD_MAX, Reason, StateReject,
};
use mcuboot_image::HEADER_SIZE;

use crate::controller::{Event, Relay};
use crate::outbox::{To, mask};
use crate::policy::is_older;
use crate::port::{File, STORE_MAX, StoreFault, StoreOp};
use crate::roster::{Device, NOBODY};
use crate::session::Session;

/// Room for a page and the part of a chunk that goes beyond it.
const BUFFER_LEN: usize = STORE_MAX + 128;

/// Idle time after which the same image may come over another connection though the first is still open: a
/// connection that is dead is often not seen to be.
const REBIND_MS: u64 = 5_000;

/// What happens next to the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Commands are taken.
    Idle,
    /// Whatever is due: a page, a checkpoint, the answer.
    Store,
    /// Append so many bytes of the buffer.
    Append { len: usize },
    /// Make the image durable up to where it is.
    Sync,
    /// Wait until the state names what was synced.
    Checkpoint { version: u32 },
    /// Compare a repeated chunk, which waits in the buffer's spare end, with what is stored.
    Compare { offset: u32, len: usize },
    /// Wait until the state names the session, or the plan for an appliance; then answer with the update's state.
    Answer { version: u32 },
}

/// One command that waits.
#[derive(Clone, Copy, Debug)]
struct Held {
    client: u8,
    address: Address,
    len: usize,
    payload: [u8; PAYLOAD_MAX],
}

/// The intake; see the [module's documentation](self).
#[derive(Debug)]
pub(crate) struct Intake {
    step: Step,
    /// Who is answered when the step is done.
    current: (u8, Address),
    held: Option<Held>,
    /// The connection that brings the image.
    uploader: u8,
    /// When it last did.
    last_ms: u64,
    gap_answered: bool,
    /// Clients that know the window.
    windowed: u32,
    /// VERIFY that waits for the judgement.
    pub(crate) verify: Option<(u8, Address)>,
    buffer: [u8; BUFFER_LEN],
}

impl Intake {
    pub(crate) const fn new() -> Self {
        Self {
            step: Step::Idle,
            current: (NOBODY, Address::BROADCAST),
            held: None,
            uploader: NOBODY,
            last_ms: 0,
            gap_answered: false,
            windowed: 0,
            verify: None,
            buffer: [0; BUFFER_LEN],
        }
    }

    /// The client brings the image, or waits for an answer about it.
    pub(crate) fn serves(&self, client: u8) -> bool {
        self.uploader == client || (self.step != Step::Idle && self.current.0 == client)
    }

    /// A command of this client waits.
    pub(crate) fn holds(&self, client: u8) -> bool {
        self.held.as_ref().is_some_and(|held| held.client == client)
    }

    pub(crate) fn op(&self, session: Option<&Session>) -> Option<StoreOp<'_>> {
        let session = session?;
        match self.step {
            Step::Append { len } => {
                let data = self.buffer.get(..len).unwrap_or_default();
                Some(StoreOp::Append { file: File::Image, at: session.flushed, data })
            }
            Step::Sync => Some(StoreOp::Sync { file: File::Image }),
            Step::Compare { offset, len } => {
                let len = u32::try_from(len).unwrap_or(0);
                Some(StoreOp::Read { file: File::Image, offset, len })
            }
            Step::Idle | Step::Store | Step::Checkpoint { .. } | Step::Answer { .. } => None,
        }
    }

    pub(crate) fn forget_session(&mut self) {
        self.step = Step::Idle;
        self.uploader = NOBODY;
        self.verify = None;
        self.gap_answered = false;
    }

    pub(crate) fn forget_client(&mut self, client: u8) {
        self.windowed &= !mask(client);
        if self.holds(client) {
            self.held = None;
        }
        for place in [&mut self.uploader, &mut self.current.0] {
            if *place == client {
                *place = NOBODY;
            }
        }
        self.verify = self.verify.filter(|(asker, _)| *asker != client);
    }

    /// Nobody is there who would send VERIFY.
    pub(crate) const fn is_alone(&self, now_ms: u64) -> bool {
        self.uploader == NOBODY || now_ms.saturating_sub(self.last_ms) >= REBIND_MS
    }

    /// The client has asked for the window, so it knows that a gap is answered once.
    pub(crate) fn knows_window(&mut self, client: u8) {
        self.windowed |= mask(client);
    }
}

impl<const N: usize, const L: usize, const C: usize> Relay<N, L, C> {
    /// Takes an update command for an appliance. What cannot be done at once waits.
    pub(crate) fn take_command(&mut self, client: u8, address: Address, payload: &[u8]) {
        if self.intake.held.is_some() {
            // Somebody else's is being worked on. This one counts as lost: a sender asks again, and would take a
            // refusal for one of its update.
            return;
        }
        let mut held = Held { client, address, len: payload.len(), payload: [0; PAYLOAD_MAX] };
        if let Some(place) = held.payload.get_mut(..payload.len()) {
            place.copy_from_slice(payload);
            self.intake.held = Some(held);
        }
    }

    /// Moves the image on until an operation is open, a wait has begun, or no command is left.
    pub(crate) fn pump_intake(&mut self) {
        loop {
            match self.intake.step {
                Step::Idle => {
                    // An answer needs room, and a command may lead to one.
                    let waiting = self.intake.verify.is_some();
                    if waiting || self.outbox.room() < 2 {
                        return;
                    }
                    let Some(held) = self.intake.held.take() else { return };
                    let payload = held.payload.get(..held.len).unwrap_or_default();
                    self.command(held.client, held.address, payload);
                }
                Step::Store => self.store_next(),
                Step::Append { .. } | Step::Sync | Step::Compare { .. } => return,
                Step::Checkpoint { version } => {
                    if self.meta.durable(version) {
                        self.intake.step = Step::Store;
                        self.checkpointed();
                    } else if self.meta.failed() {
                        self.intake_failed();
                    } else {
                        return;
                    }
                }
                Step::Answer { version } => {
                    let (client, address) = self.intake.current;
                    if self.meta.durable(version) {
                        self.intake.step = Step::Idle;
                        self.answer_status(client, address);
                    } else if self.meta.failed() {
                        self.intake.step = Step::Idle;
                        self.refuse(client, address, None, Constraint::FlashWriteFailed);
                    } else {
                        return;
                    }
                }
            }
        }
    }

    pub(crate) fn intake_done(&mut self, result: Result<&[u8], StoreFault>) {
        let bytes = match (result, self.intake.step) {
            (Ok(bytes), _) => bytes,
            // What cannot be compared is a frame that was lost: nothing of the image is.
            (Err(_), Step::Compare { .. }) => {
                self.intake.step = Step::Idle;
                return;
            }
            (Err(_), _) => return self.intake_failed(),
        };
        match self.intake.step {
            Step::Append { len } => self.appended(len),
            Step::Sync => {
                if let Some(session) = &mut self.session {
                    session.durable = session.flushed;
                    session.durable_crc = session.crc.value();
                }
                self.intake.step = Step::Checkpoint { version: self.meta.touch() };
            }
            Step::Compare { len, .. } => {
                self.intake.step = Step::Idle;
                let expected = self.intake.buffer.get(STORE_MAX..STORE_MAX.saturating_add(len));
                let (client, address) = self.intake.current;
                if expected == Some(bytes) {
                    self.answer_status(client, address);
                } else {
                    self.refuse(client, address, Some(0), Constraint::ValueConflict);
                }
            }
            Step::Idle | Step::Store | Step::Checkpoint { .. } | Step::Answer { .. } => {}
        }
    }

    /// The store failed: the image is given up.
    fn intake_failed(&mut self) {
        let (client, address) = self.intake.current;
        self.intake.step = Step::Idle;
        self.refuse(client, address, Some(1), Constraint::FlashWriteFailed);
        self.drop_session(RosterOutcome::Failed, Cause::StoreFailed);
    }

    /// When a campaign whose image is complete goes on without VERIFY.
    pub(crate) fn alone_wake_ms(&self) -> Option<u64> {
        let waits = self.session.as_ref().is_some_and(Session::complete) && self.approved.is_none();
        waits.then(|| self.intake.last_ms.saturating_add(REBIND_MS)).filter(|wake_ms| *wake_ms > self.now_ms)
    }

    fn command(&mut self, client: u8, address: Address, payload: &[u8]) {
        let Some(slot) = self.slot_of(address) else { return };
        match Command::decode(payload) {
            Err(error) => {
                if let Some(invalid) = error.invalid_command() {
                    self.outbox.push(To::client(client), address, |out| invalid.encode(out));
                }
            }
            Ok(Some(Command::Start(start))) => self.on_start(slot, client, &start),
            Ok(Some(Command::Data(data))) => self.on_data(slot, client, &data),
            Ok(Some(Command::Verify(verify))) => self.on_verify(slot, client, &verify),
            Ok(Some(Command::Activate(activate))) => self.on_activate(slot, client, activate),
            Ok(Some(Command::Abort)) => self.on_abort(slot, client),
            Ok(Some(Command::Query)) => {
                self.intake.gap_answered = false;
                self.answer_status(client, address);
            }
            Ok(Some(Command::Extension(_)) | None) => {}
        }
    }

    fn on_start(&mut self, slot: usize, client: u8, start: &OtaStart) {
        let Some(device) = self.roster.get(slot) else { return };
        let address = device.address;
        self.intake.gap_answered = false;
        if let Some(slot) = start.slot.filter(|slot| *slot != 1) {
            let constraint = if slot == 0 { Constraint::ValueInvalid } else { Constraint::ValueTooHigh };
            return self.refuse(client, address, Some(3), constraint);
        }
        let smallest = u32::try_from(HEADER_SIZE).unwrap_or(32);
        let size = match u32::try_from(start.size) {
            Ok(size) if size < smallest => {
                return self.refuse(client, address, Some(0), Constraint::ValueTooLow);
            }
            Ok(size) if size <= self.config.image_max => size,
            _ => return self.refuse(client, address, Some(0), Constraint::ImageTooLarge),
        };
        if let (Some(version), Some(running)) = (start.version, device.running)
            && is_older(version, running)
            && !self.root.allows_downgrade()
        {
            return self.refuse(client, address, Some(2), Constraint::VersionDowngrade);
        }
        if device.stage == Stage::Activating {
            return self.reject(client, address, Reason::InvalidInState);
        }
        if let Some(session) = &self.session {
            if session.is(size, &start.digest) {
                return self.on_same_start(slot, client, session.complete());
            }
            if !self.may_take_over() {
                return self.busy(client, address);
            }
            self.give_up_others();
        }
        self.open_session(Session::new(size, start.digest, start.version));
        self.bind(slot, client, false);
        self.intake.uploader = client;
        self.intake.last_ms = self.now_ms;
        self.outbox.event(Event::Receiving { size });
    }

    /// The image that is here, or on its way here.
    fn on_same_start(&mut self, slot: usize, client: u8, complete: bool) {
        let Some(device) = self.roster.get(slot) else { return };
        let address = device.address;
        let idle_ms = self.now_ms.saturating_sub(self.intake.last_ms);
        let uploader = self.intake.uploader;
        if !complete && uploader != NOBODY && uploader != client && idle_ms < REBIND_MS {
            return self.busy(client, address);
        }
        self.intake.uploader = client;
        self.intake.last_ms = self.now_ms;
        if device.needs_image() {
            if let Some(device) = self.roster.get_mut(slot) {
                device.requester = client;
            }
            return self.answer_status(client, address);
        }
        self.bind(slot, client, false);
    }

    /// Plans the stored image for an appliance on behalf of a client, and answers when that is durable.
    fn bind(&mut self, slot: usize, client: u8, auto: bool) {
        let Some(device) = self.roster.get_mut(slot) else { return };
        device.plan(auto, fusain::Mode::Test);
        device.requester = client;
        self.intake.current = (client, device.address);
        self.intake.step = Step::Answer { version: self.meta.touch() };
    }

    /// A new image takes the place of the one before.
    pub(crate) fn open_session(&mut self, session: Session) {
        self.approved = None;
        self.judge = None;
        self.cleanup = false;
        self.intake.forget_session();
        self.session = Some(session);
        self.meta.touch();
    }

    /// The stored image may be given up for another one: nobody is being served, and nobody has asked for long.
    pub(crate) fn may_take_over(&self) -> bool {
        let idle_ms = self.now_ms.saturating_sub(self.intake.last_ms);
        let served = self.roster.iter().any(|(_, device)| {
            let moving = matches!(device.stage, Stage::Queued | Stage::Transferring | Stage::Activating);
            (moving && !device.waits_for_reset()) || (device.auto && device.needs_image())
        });
        !served && idle_ms >= u64::from(self.config.takeover_ms)
    }

    pub(crate) fn give_up_others(&mut self) {
        for slot in 0..N {
            if self.roster.get(slot).is_some_and(Device::needs_image) {
                self.cancel(slot);
            }
        }
        self.session = None;
    }

    fn on_data(&mut self, slot: usize, client: u8, data: &OtaData<'_>) {
        let Some(device) = self.roster.get(slot) else { return };
        let address = device.address;
        self.intake.current = (client, address);
        let Some(session) = self.session.as_ref().filter(|_| device.stage == Stage::Waiting) else {
            return self.reject(client, address, Reason::InvalidInState);
        };
        let (next, size) = (session.next(), session.size);
        if self.intake.uploader != client {
            return self.busy(client, address);
        }
        self.intake.last_ms = self.now_ms;
        let len = u64::try_from(data.data.len()).unwrap_or(u64::MAX);
        if len == 0 {
            return self.refuse(client, address, Some(1), Constraint::ValueTooLow);
        }
        let end = data.offset.saturating_add(len);
        if end > u64::from(size) {
            return self.refuse(client, address, Some(1), Constraint::ValueTooHigh);
        }
        let Ok(offset) = u32::try_from(data.offset) else { return };
        if offset > next {
            let windowed = self.intake.windowed & mask(client) != 0;
            let silent = windowed && core::mem::replace(&mut self.intake.gap_answered, true);
            if !silent {
                self.refuse(client, address, Some(0), Constraint::ValueConflict);
            }
        } else if offset == next {
            self.intake.gap_answered = false;
            self.store(data.data);
        } else if end <= u64::from(next) {
            self.compare(offset, data.data);
        } else {
            self.refuse(client, address, Some(0), Constraint::ValueConflict);
        }
    }

    fn store(&mut self, data: &[u8]) {
        let (client, address) = self.intake.current;
        let Some(session) = &mut self.session else { return };
        let end = session.fill.saturating_add(data.len());
        let Some(place) = self.intake.buffer.get_mut(session.fill..end) else {
            // Longer than any payload can carry.
            return self.refuse(client, address, Some(1), Constraint::ValueTooHigh);
        };
        place.copy_from_slice(data);
        session.fill = end;
        self.intake.step = Step::Store;
    }

    /// A full page goes out, a checkpoint is made where one is due, and only then is the chunk acknowledged.
    fn store_next(&mut self) {
        let Some(session) = &self.session else {
            self.intake.step = Step::Idle;
            return;
        };
        let last = session.next() == session.size;
        let since = session.flushed.saturating_sub(session.durable);
        let (client, address) = self.intake.current;
        self.intake.step = if session.fill >= STORE_MAX || (last && session.fill > 0) {
            Step::Append { len: session.fill.min(STORE_MAX) }
        } else if since >= self.config.checkpoint || (last && since > 0) {
            Step::Sync
        } else {
            Step::Idle
        };
        if self.intake.step == Step::Idle {
            self.answer_status(client, address);
        }
    }

    fn appended(&mut self, len: usize) {
        let Some(session) = &mut self.session else { return };
        session.crc.update(self.intake.buffer.get(..len).unwrap_or_default());
        let (page, rest) = self.intake.buffer.split_at_mut(STORE_MAX);
        if let Some(start) = page.get_mut(..rest.len())
            && len == STORE_MAX
        {
            start.copy_from_slice(rest);
        }
        session.fill = session.fill.saturating_sub(len);
        session.flushed = session.flushed.saturating_add(u32::try_from(len).unwrap_or(0));
        self.intake.step = Step::Store;
    }

    fn checkpointed(&mut self) {
        if self.session.as_ref().is_some_and(Session::complete) {
            self.outbox.event(Event::Received);
        }
    }

    /// A chunk that was already taken: acknowledged again when it says the same, refused when it does not.
    fn compare(&mut self, offset: u32, data: &[u8]) {
        let (client, address) = self.intake.current;
        let Some(session) = &self.session else { return };
        let len = u32::try_from(data.len()).unwrap_or(0);
        let stored = session.flushed.saturating_sub(offset).min(len);
        let split = usize::try_from(stored).unwrap_or(0).min(data.len());
        let (stored, buffered) = data.split_at(split);
        let from = offset.saturating_add(len).saturating_sub(session.flushed);
        let from = usize::try_from(from).unwrap_or(0).saturating_sub(buffered.len());
        let held = self.intake.buffer.get(from..from.saturating_add(buffered.len()));
        if !buffered.is_empty() && held != Some(buffered) {
            return self.refuse(client, address, Some(0), Constraint::ValueConflict);
        }
        // The stored part waits behind the page, which is never full between commands.
        let spare = self.intake.buffer.get_mut(STORE_MAX..STORE_MAX.saturating_add(stored.len()));
        match spare {
            Some(spare) if !stored.is_empty() => {
                spare.copy_from_slice(stored);
                self.intake.step = Step::Compare { offset, len: stored.len() };
            }
            _ => self.answer_status(client, address),
        }
    }

    fn on_verify(&mut self, slot: usize, client: u8, verify: &OtaVerify) {
        let Some(device) = self.roster.get_mut(slot) else { return };
        let address = device.address;
        let session = self.session.as_ref().filter(|_| device.needs_image());
        let Some(session) = session.filter(|_| device.stage != Stage::Activating) else {
            return self.reject(client, address, Reason::InvalidInState);
        };
        if !session.complete() {
            return self.refuse(client, address, None, Constraint::ValueTooLow);
        }
        if verify.digest.is_some_and(|digest| digest != session.digest) {
            return self.refuse(client, address, Some(0), Constraint::HashMismatch);
        }
        device.requester = client;
        self.intake.last_ms = self.now_ms;
        if device.stage != Stage::Waiting {
            return self.answer_status(client, address);
        }
        if self.approved.is_some() {
            return self.verify_approved(client, address);
        }
        self.intake.verify = Some((client, address));
    }

    /// The image is approved: may it go to the appliance whose client asked?
    pub(crate) fn verify_approved(&mut self, client: u8, address: Address) {
        let Some(slot) = self.roster.find(address) else { return };
        if self.roster.get(slot).is_some_and(|device| device.stage == Stage::Waiting)
            && let Err(constraint) = self.queue(slot)
        {
            self.refuse(client, address, None, constraint);
            return self.drop_unneeded();
        }
        if let Some(device) = self.roster.get(slot).filter(|device| device.stage == Stage::Settled) {
            // Refused for this appliance a moment ago, as part of a campaign.
            let older = device.cause == Cause::Downgrade;
            let constraint = if older { Constraint::VersionDowngrade } else { Constraint::HeaderInvalid };
            return self.refuse(client, address, None, constraint);
        }
        self.intake.current = (client, address);
        self.intake.step = Step::Answer { version: self.meta.touch() };
    }

    fn on_activate(&mut self, slot: usize, client: u8, command: OtaActivate) {
        let Some(device) = self.roster.get_mut(slot) else { return };
        let address = device.address;
        if device.auto {
            return self.busy(client, address);
        }
        match device.stage {
            Stage::Ready => {
                (device.mode, device.reboot) = (command.mode, command.reboot);
                device.requester = client;
                self.activate(slot);
            }
            Stage::Activating if device.mode == command.mode && !device.rebooted => {
                if command.reboot && !device.reboot {
                    device.reboot = true;
                    device.go = true;
                    device.gate = self.meta.touch();
                } else {
                    self.answer_status(client, address);
                }
            }
            _ => self.reject(client, address, Reason::InvalidInState),
        }
    }

    fn on_abort(&mut self, slot: usize, client: u8) {
        let Some(device) = self.roster.get(slot) else { return };
        let address = device.address;
        if device.stage == Stage::Activating {
            return self.reject(client, address, Reason::InvalidInState);
        }
        if device.needs_image() {
            self.cancel(slot);
            self.drop_unneeded();
        }
        self.answer_status(client, address);
    }

    /// Takes an appliance's plan back, and makes it give up what it has received.
    pub(crate) fn cancel(&mut self, slot: usize) {
        self.give_up(slot, RosterOutcome::Cancelled, Cause::None);
    }

    /// Ends an appliance's plan where it is; what the appliance has received of the image it is to give up. What was
    /// activated cannot be taken back: then nobody knows what will come of it.
    pub(crate) fn give_up(&mut self, slot: usize, outcome: RosterOutcome, cause: Cause) {
        let Some(device) = self.roster.get_mut(slot) else { return };
        device.abort = device.holds_image();
        let outcome = device.unless_activated(outcome);
        self.settle(slot, outcome, cause);
    }

    /// The update's state as the client of this appliance sees it.
    pub(crate) fn status_of(&self, address: Address) -> OtaStatus {
        let complete = self.session.as_ref().is_some_and(Session::complete);
        let device = self.roster.find(address).and_then(|slot| self.roster.get(slot));
        let state = device.map_or(OtaState::Idle, |device| device.ota_state(complete));
        let size = self.session.as_ref().map(|session| session.size);
        let offset = match (state, device) {
            (OtaState::Receiving, _) => self.session.as_ref().map(Session::next),
            (OtaState::Received, Some(device)) if device.stage != Stage::Waiting => Some(device.offset),
            (OtaState::Received | OtaState::Verified, _) => size,
            (OtaState::Idle | OtaState::Activated, _) => None,
        };
        let version = self.approved.as_ref().filter(|_| state == OtaState::Verified).map(|a| a.version());
        OtaStatus { state, offset, version }
    }

    pub(crate) fn answer_status(&mut self, client: u8, address: Address) {
        let status = self.status_of(address);
        self.outbox.push(To::client(client), address, |out| status.encode(out));
    }

    pub(crate) fn refuse(
        &mut self,
        client: u8,
        address: Address,
        field: Option<i32>,
        constraint: Constraint,
    ) {
        let invalid = InvalidCommand::parameter(field, constraint);
        self.outbox.push(To::client(client), address, |out| invalid.encode(out));
    }

    /// Refuses in the update's present state.
    pub(crate) fn reject(&mut self, client: u8, address: Address, reason: Reason) {
        let state = i32::from(self.status_of(address).state.number());
        let reject = StateReject::because(state, reason);
        self.outbox.push(To::client(client), address, |out| reject.encode(out));
    }

    pub(crate) fn busy(&mut self, client: u8, address: Address) {
        self.reject(client, address, Reason::UpdateInProgress);
    }
}
