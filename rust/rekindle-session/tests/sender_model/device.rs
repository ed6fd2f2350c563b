// SPDX-License-Identifier: Apache-2.0
//! The reference device: what the protocol asks of a receiver, in as few lines as it takes.

use std::collections::VecDeque;

use fusain::{
    Constraint, Extension, Info, InfoFlags, InvalidCommand, Message, Mode, OtaState, OtaStatus, Outcome,
    OutcomeReport, PingResponse, Reason, StateReject, Version,
};

/// What the bootloader and the new image will make of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Confirmed this long after boot, in milliseconds.
    Confirm(u64),
    /// Never confirmed, never reverted while anybody looks.
    Linger,
    /// Reverted by a second reboot after this long, in milliseconds.
    Revert(u64),
    Refuse,
    NotAttempted,
    /// Rebooted; nothing is on record.
    Forget,
    /// Never comes back.
    Die,
}

/// What a reboot leaves of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    Nothing,
    /// IDLE, but the same START goes on where the durable part ends.
    AtStart,
    /// The session is open again by itself, at the durable offset.
    Alone,
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    digest: [u8; 32],
    size: u32,
    bytes: Vec<u8>,
}

/// A device.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// 0: no extension.
    pub(crate) window: u8,
    pub(crate) chunk_max: u8,
    pub(crate) coalesced: bool,
    /// The extension appears only with the new firmware.
    pub(crate) upgrades_protocol: bool,
    pub(crate) resume: Resume,
    /// Old data, but for the last chunk, is answered with a conflict (rather than with STATUS).
    pub(crate) strict: bool,
    /// RECEIVING at START says no offset.
    pub(crate) terse: bool,
    pub(crate) fate: Fate,
    /// So many times, power fails before ACTIVATE takes effect.
    pub(crate) cuts_at_activate: u32,
    /// From ACTIVATE to the reboot, in milliseconds.
    pub(crate) linger_ms: u64,
    pub(crate) boot_ms: u64,
    pub(crate) safe_from_us: u64,
    /// The appliance's state while it is not safe.
    pub(crate) unsafe_state: i32,
    /// After a boot it initializes for so long.
    pub(crate) initializes_us: u64,
    pub(crate) slot: u32,
    /// So many transfers arrive damaged.
    pub(crate) damages: u32,
    /// VERIFY finds this wrong with the image.
    pub(crate) verdict: Option<Constraint>,
    /// After this many bytes the device falls silent for good.
    pub(crate) mute: bool,
    /// Each sector costs this much before its first byte is answered.
    pub(crate) stall_us: u64,
    /// Answers to be lost, by message code: (code, how often).
    pub(crate) swallow: (u8, u32),
    pub(crate) state: OtaState,
    pub(crate) session: Option<Session>,
    pub(crate) kept: Option<Session>,
    pub(crate) gap_answered: bool,
    pub(crate) asked_info: bool,
    pub(crate) boot: u32,
    pub(crate) running: [u8; 32],
    pub(crate) confirmed: bool,
    pub(crate) outcome: Option<(Outcome, Option<[u8; 32]>)>,
    pub(crate) mode: Mode,
    pub(crate) booted_us: u64,
    pub(crate) down_until_us: Option<u64>,
    pub(crate) plans: VecDeque<(u64, Planned)>,
    pub(crate) queue: VecDeque<(u64, Message<'static>)>,
    pub(crate) busy_us: u64,
    pub(crate) unacknowledged: u32,
    pub(crate) quiet_us: Option<u64>,
    pub(crate) reboots: u32,
    /// Attempts ever made; the newest may still be open.
    pub(crate) attempts: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Planned {
    Reboot,
    Confirm,
}

/// Stands for SHA-256: a digest is a digest.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
    }
    core::array::from_fn(|i| (hash.rotate_left(i as u32 * 7) >> 8) as u8)
}

impl Device {
    /// A device that speaks the base protocol and knows nothing of resuming.
    pub(crate) fn base() -> Self {
        Self {
            window: 0,
            chunk_max: 100,
            coalesced: false,
            upgrades_protocol: false,
            resume: Resume::Nothing,
            strict: true,
            terse: false,
            fate: Fate::Confirm(500),
            cuts_at_activate: 0,
            linger_ms: 250,
            boot_ms: 3_000,
            safe_from_us: 0,
            unsafe_state: 5,
            initializes_us: 0,
            slot: 843_776,
            damages: 0,
            verdict: None,
            mute: false,
            stall_us: 0,
            swallow: (0, 0),
            state: OtaState::Idle,
            session: None,
            kept: None,
            gap_answered: false,
            asked_info: false,
            boot: 41,
            running: [1; 32],
            confirmed: true,
            outcome: None,
            mode: Mode::Test,
            booted_us: 0,
            down_until_us: None,
            plans: VecDeque::new(),
            queue: VecDeque::new(),
            busy_us: 0,
            unacknowledged: 0,
            quiet_us: None,
            reboots: 0,
            attempts: 0,
        }
    }

    /// A device with the extension, a window and a journal.
    pub(crate) fn windowed(window: u8) -> Self {
        Self { window, resume: Resume::Alone, strict: false, ..Self::base() }
    }

    /// The bytes received so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.session.as_ref().map_or(&[], |session| &session.bytes)
    }

    pub(crate) fn window_in_use(&self) -> u8 {
        if self.asked_info { self.window } else { 1 }
    }

    /// Opens a session of somebody else.
    pub(crate) fn occupy(&mut self, bytes: &[u8]) {
        self.session = Some(Session { digest: [9; 32], size: 10_000, bytes: bytes.to_vec() });
        self.state = OtaState::Receiving;
    }

    /// Has an activated image from before.
    pub(crate) fn activated(&mut self, target: [u8; 32]) {
        self.state = OtaState::Activated;
        self.attempts += 1;
        self.outcome = Some((Outcome::Pending, Some(target)));
    }

    pub(crate) fn verified(&mut self) {
        self.session = Some(Session { digest: [9; 32], size: 4, bytes: vec![0; 4] });
        self.state = OtaState::Verified;
    }

    pub(crate) fn reboot(&mut self, now_us: u64) {
        self.reboots += 1;
        self.down_until_us = Some(now_us + self.boot_ms * 1_000);
        self.queue.clear();
        self.plans.clear();
        self.quiet_us = None;
    }

    pub(crate) fn wake_us(&self) -> Option<u64> {
        let queued = self.queue.front().map(|(at, _)| *at);
        let planned = self.plans.front().map(|(at, _)| *at);
        [queued, planned, self.quiet_us, self.down_until_us].into_iter().flatten().min()
    }

    /// What happens by itself; the answers that are due.
    pub(crate) fn poll(&mut self, now_us: u64) -> Vec<(u64, Message<'static>)> {
        if self.down_until_us.is_some_and(|until| now_us >= until) {
            self.boot(now_us);
        }
        while self.plans.front().is_some_and(|(at, _)| now_us >= *at) {
            match self.plans.pop_front().unwrap().1 {
                Planned::Reboot => self.reboot(now_us),
                Planned::Confirm => {
                    self.confirmed = true;
                    self.outcome = Some((Outcome::Confirmed, Some(self.running)));
                }
            }
        }
        if self.quiet_us.is_some_and(|at| now_us >= at) {
            self.acknowledge_all(now_us);
        }
        let due = self.queue.iter().take_while(|(at, _)| now_us >= *at).count();
        let answers: Vec<_> = self.queue.drain(..due).collect();
        answers.into_iter().filter(|(_, message)| !self.swallows(message.code())).collect()
    }

    fn swallows(&mut self, code: u8) -> bool {
        let hit = self.swallow.0 == code && self.swallow.1 > 0;
        self.swallow.1 -= u32::from(hit);
        hit
    }

    /// The bootloader and what comes after it.
    fn boot(&mut self, now_us: u64) {
        self.down_until_us = None;
        self.booted_us = now_us;
        self.busy_us = now_us;
        if self.initializes_us > 0 {
            self.safe_from_us = now_us + self.initializes_us;
            self.unsafe_state = 0;
        }
        self.boot = self.boot.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        self.asked_info = false;
        self.gap_answered = false;
        let target = Some([0x77; 32]);
        let under_test = !self.confirmed;
        match (self.state, self.fate) {
            (OtaState::Activated, fate) => {
                self.session = None;
                self.kept = None;
                self.state = OtaState::Idle;
                let swapped =
                    matches!(fate, Fate::Confirm(_) | Fate::Linger | Fate::Revert(_) | Fate::Forget);
                if swapped {
                    self.running = [0x77; 32];
                    self.confirmed = self.mode == Mode::Permanent;
                    self.window = if self.upgrades_protocol { 8 } else { self.window };
                }
                match fate {
                    Fate::Confirm(ms) => self.plans.push_back((now_us + ms * 1_000, Planned::Confirm)),
                    Fate::Revert(ms) => self.plans.push_back((now_us + ms * 1_000, Planned::Reboot)),
                    Fate::Die => self.down_until_us = Some(u64::MAX),
                    Fate::Linger | Fate::Refuse | Fate::NotAttempted | Fate::Forget => {}
                }
                self.outcome = match fate {
                    Fate::Refuse => Some((Outcome::Refused, target)),
                    Fate::NotAttempted => Some((Outcome::NotAttempted, target)),
                    Fate::Forget => Some((Outcome::Unknown, None)),
                    _ => Some((Outcome::UnderTest, target)),
                };
            }
            _ if under_test => {
                self.running = [1; 32];
                self.confirmed = true;
                self.outcome = Some((Outcome::Reverted, target));
            }
            _ => self.recover(),
        }
    }

    /// Durable is what fills whole sectors.
    fn recover(&mut self) {
        let durable = |mut session: Session| {
            let whole = session.bytes.len() == session.size as usize;
            let len = if whole { session.bytes.len() } else { session.bytes.len() / 4096 * 4096 };
            session.bytes.truncate(len);
            session
        };
        self.kept = self.session.take().or_else(|| self.kept.take()).map(durable);
        self.state = OtaState::Idle;
        match self.resume {
            Resume::Nothing => self.kept = None,
            Resume::AtStart => {}
            Resume::Alone => self.reopen(),
        }
    }

    fn reopen(&mut self) {
        self.session = self.kept.take();
        if let Some(session) = &self.session {
            let whole = session.bytes.len() == session.size as usize;
            self.state = if whole { OtaState::Received } else { OtaState::Receiving };
        }
    }

    fn answer(&mut self, now_us: u64, message: Message<'static>) {
        self.busy_us = self.busy_us.max(now_us);
        self.queue.push_back((self.busy_us, message));
    }

    fn invalid(&mut self, now_us: u64, field: Option<i32>, constraint: Constraint) {
        self.answer(now_us, Message::InvalidCommand(InvalidCommand::parameter(field, constraint)));
    }

    fn reject(&mut self, now_us: u64, reason: Reason) {
        // Key 0 of an unsafe refusal is the appliance's state; of all others the OTA state.
        let code =
            if reason == Reason::UnsafeState { self.unsafe_state } else { i32::from(self.state.number()) };
        self.answer(now_us, Message::StateReject(StateReject { code, reason: Some(reason.number()) }));
    }

    fn status(&mut self, now_us: u64) {
        let offset = self.session.as_ref().map(|session| session.bytes.len() as u32);
        let offset = offset.filter(|_| self.state != OtaState::Idle && self.state != OtaState::Activated);
        let offset = offset.filter(|offset| !(self.terse && *offset == 0));
        self.answer(now_us, Message::OtaStatus(OtaStatus { state: self.state, offset, version: None }));
    }

    /// Takes one message.
    pub(crate) fn receive(&mut self, now_us: u64, message: &Message<'_>) {
        if self.down_until_us.is_some() {
            return;
        }
        let unsafe_now = now_us < self.safe_from_us;
        match message {
            Message::PingRequest => {
                let uptime_ms = ((now_us - self.booted_us) / 1_000) as u32;
                self.answer(now_us, Message::PingResponse(PingResponse { uptime_ms }));
            }
            _ if self.mute => {}
            Message::OtaStart(_) | Message::OtaVerify(_) | Message::OtaActivate(_) if unsafe_now => {
                self.reject(now_us, Reason::UnsafeState);
            }
            Message::OtaStart(start) => self.start(now_us, start.size as u32, start.digest),
            Message::OtaData(_) if unsafe_now => self.reject(now_us, Reason::UnsafeState),
            Message::OtaData(data) => self.data(now_us, data.offset as usize, data.data),
            Message::OtaVerify(_) => self.verify(now_us),
            Message::OtaActivate(activate) => self.activate(now_us, activate.mode, activate.reboot),
            Message::OtaQuery => {
                self.gap_answered = false;
                self.status(now_us);
            }
            Message::OtaAbort if self.state == OtaState::Activated => {
                self.reject(now_us, Reason::InvalidInState);
            }
            Message::OtaAbort => {
                self.session = None;
                self.kept = None;
                self.state = OtaState::Idle;
                self.status(now_us);
            }
            Message::Extension(extension) if self.window > 0 => self.extension(now_us, extension),
            _ => {}
        }
    }

    fn start(&mut self, now_us: u64, size: u32, digest: [u8; 32]) {
        let ours = |session: &Session| session.digest == digest && session.size == size;
        if size > self.slot {
            return self.invalid(now_us, Some(0), Constraint::ImageTooLarge);
        }
        if self.state == OtaState::Activated || !self.confirmed {
            return self.reject(now_us, Reason::InvalidInState);
        }
        if self.kept.as_ref().is_some_and(ours) {
            self.reopen();
        }
        match &self.session {
            Some(session) if ours(session) => {}
            Some(_) => return self.reject(now_us, Reason::UpdateInProgress),
            None => {
                self.session = Some(Session { digest, size, bytes: Vec::new() });
                self.state = OtaState::Receiving;
            }
        }
        self.gap_answered = false;
        self.status(now_us);
    }

    fn data(&mut self, now_us: u64, offset: usize, data: &[u8]) {
        let window = self.window_in_use();
        let Some(session) = self.session.as_mut().filter(|_| self.state != OtaState::Activated) else {
            return self.reject(now_us, Reason::InvalidInState);
        };
        let next = session.bytes.len();
        if offset == next && next + data.len() <= session.size as usize {
            session.bytes.extend_from_slice(data);
            if next / 4096 != (next + data.len()) / 4096 {
                self.busy_us = self.busy_us.max(now_us) + self.stall_us;
            }
            if session.bytes.len() == session.size as usize {
                self.state = OtaState::Received;
                if self.damages > 0 {
                    self.damages -= 1;
                    session.bytes[0] ^= 1;
                }
            }
            self.gap_answered = false;
            self.acknowledge(now_us, window);
        } else if offset + data.len() == next || (offset < next && !self.strict) {
            self.acknowledge(now_us, window);
        } else if !core::mem::replace(&mut self.gap_answered, window > 1 && offset > next) {
            if self.coalesced {
                self.quiet_us = Some(now_us + 20_000);
                return;
            }
            self.invalid(now_us, Some(0), Constraint::ValueConflict);
        } else if self.coalesced {
            self.quiet_us = Some(now_us + 20_000);
        }
    }

    /// STATUS for each frame; on a shared line after a window, or when the line has been quiet for 20 ms.
    fn acknowledge(&mut self, now_us: u64, window: u8) {
        if !self.coalesced || window <= 1 {
            return self.status(now_us);
        }
        self.unacknowledged += 1;
        self.quiet_us = Some(now_us + 20_000);
        if self.unacknowledged >= u32::from(window) {
            self.acknowledge_all(now_us);
        }
    }

    /// Something was on the line, if only a damaged frame.
    pub(crate) fn noise(&mut self, now_us: u64) {
        self.quiet_us = self.quiet_us.map(|_| now_us + 20_000);
    }

    fn acknowledge_all(&mut self, now_us: u64) {
        self.quiet_us = None;
        self.unacknowledged = 0;
        self.status(now_us);
        if self.gap_answered {
            self.invalid(now_us, Some(0), Constraint::ValueConflict);
        }
    }

    fn verify(&mut self, now_us: u64) {
        let Some(session) = &self.session else { return self.reject(now_us, Reason::InvalidInState) };
        if self.state == OtaState::Receiving {
            return self.invalid(now_us, None, Constraint::ValueTooLow);
        }
        let wrong = (digest(&session.bytes) != session.digest).then_some(Constraint::HashMismatch);
        if let Some(constraint) = wrong.filter(|_| session.digest != [9; 32]).or(self.verdict) {
            self.session = None;
            self.state = OtaState::Idle;
            return self.invalid(now_us, None, constraint);
        }
        self.state = OtaState::Verified;
        self.status(now_us);
    }

    fn activate(&mut self, now_us: u64, mode: Mode, reboot: bool) {
        let again = self.state == OtaState::Activated && (self.mode == mode || self.plans.is_empty());
        if self.state != OtaState::Verified && !again {
            return self.reject(now_us, Reason::InvalidInState);
        }
        if self.cuts_at_activate > 0 {
            self.cuts_at_activate -= 1;
            return self.reboot(now_us);
        }
        self.state = OtaState::Activated;
        self.mode = mode;
        if !again {
            self.attempts += 1;
            self.outcome = Some((Outcome::Pending, Some([0x77; 32])));
        }
        self.status(now_us);
        if reboot && self.plans.is_empty() {
            self.plans.push_back((now_us + self.linger_ms * 1_000, Planned::Reboot));
        }
    }

    fn extension(&mut self, now_us: u64, request: &Extension) {
        let answer = match request {
            Extension::InfoRequest => {
                self.asked_info = true;
                let flags = InfoFlags::default()
                    .with(InfoFlags::CONFIRMED, self.confirmed)
                    .with(InfoFlags::SWAP_PENDING, self.state == OtaState::Activated)
                    .with(InfoFlags::ACKS_COALESCED, self.coalesced);
                Extension::Info(Info {
                    boot_number: self.boot,
                    window: self.window,
                    version: Version { major: 1, ..Version::default() },
                    image_hash: self.running,
                    flags,
                    chunk_max: self.chunk_max,
                    durable: None,
                    appliance_state: 1,
                })
            }
            Extension::OutcomeRequest { index } => {
                let (outcome, target) = self.outcome.unwrap_or((Outcome::None, None));
                Extension::Outcome(OutcomeReport {
                    boot_number: self.boot,
                    outcome: if *index == 0 { outcome } else { Outcome::Confirmed },
                    attempt: self.attempts.saturating_sub(*index),
                    target,
                    mode: Some(self.mode),
                    stage: (outcome == Outcome::Reverted).then_some(7),
                    code: (outcome == Outcome::Reverted).then_some(-5),
                    reset_cause: Some(16),
                    index: *index,
                    total: 3,
                })
            }
            _ => return,
        };
        self.answer(now_us, Message::Extension(answer));
    }
}
