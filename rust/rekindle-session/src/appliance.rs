// SPDX-License-Identifier: Apache-2.0
//! An appliance's end of a Fusain link: bytes in, frames and flash operations out.
//!
//! It wraps the [`Receiver`] with what a good citizen of the bus owes its controller: discovery, ping, state
//! telemetry, the communication timeout, and the rule that EMERGENCY always wins. The virtual appliance and
//! the Zephyr application run this same code.
//!
//! One OTA command is held while the receiver is busy; from then on [`wants_bytes`](Appliance::wants_bytes)
//! is false and bytes stay in the driver's queue, which must hold the announced window.

use crate::port::{FlashFault, FlashOp};
use crate::receiver::{self, BootFacts, Config, ConfigError, Lend, Receiver, Reply, Safety, Verified};
use crate::{copy, elapsed_ms};
use fusain::{
    Address, ApplianceState, Command, DeviceAnnounce, DiscoveryRequest, Extension, ExtensionRequest,
    FRAME_MAX, FrameError, Mode, OtaState, OutcomeReport, PAYLOAD_MAX, PingRequest, PingResponse, Reason,
    SendTelemetry, SerialDecoder, StateCommand, StateData, StateReject, TelemetryConfig, TimeoutConfig,
    encode_frame, message_code,
};
use mcuboot_image::trailer::SwapType;

/// Longest random wait before an answer to a broadcast discovery, in milliseconds (PROTOCOL.md, discovery).
const DISCOVERY_SPREAD_MS: u64 = 50;
/// Silence after which the appliance stops reporting and asks the application to become idle.
const TIMEOUT_DEFAULT_MS: u32 = 30_000;
const TIMEOUT_RANGE_MS: (u32, u32) = (5_000, 60_000);
const INTERVAL_RANGE_MS: (u32, u32) = (100, 5_000);
/// In emergency stop an appliance reports its state this often, asked or not (PROTOCOL.md §4.4).
const EMERGENCY_INTERVAL_MS: u32 = 250;

/// Who the appliance is, and what its link is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its own address.
    pub address: Address,
    /// What it has: the answer to a discovery.
    pub announce: DeviceAnnounce,
    /// It is alone with its controller on the link, so it may answer commands sent to the broadcast address,
    /// as controllers without discovery need it. On a bus with several appliances this must be false.
    pub point_to_point: bool,
    /// Bytes come with the timing of a serial line: a silence of 100 ms inside a frame drops the frame.
    pub serial: bool,
}

/// What the application says about itself; it gives a new one with [`Appliance::set_status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// State as STATE_DATA reports it.
    pub state: ApplianceState,
    /// Flash may be written and the device rebooted now.
    pub safe: bool,
    /// Error as STATE_DATA reports it, 0 for none.
    pub error: u32,
}

/// What the driver must do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// Carry out this flash operation and answer with [`Appliance::flash_done`].
    Flash(FlashOp<'a>),
    /// Check a signature, then answer with [`Appliance::signature_done`].
    #[cfg(feature = "signature")]
    CheckSignature(receiver::Signed<'a>),
    /// Ask the bootloader to install the image, then answer with [`Appliance::boot_done`].
    RequestUpgrade {
        /// Proof that the image was read back and found right.
        image: &'a Verified,
        /// Test or permanent.
        mode: Mode,
    },
    /// Mark the running image as good, then answer with [`Appliance::boot_done`].
    Confirm,
    /// Send these bytes: one whole frame.
    Send(&'a [u8]),
    /// Tell the application.
    Event(Event),
    /// The answer to [`Appliance::recall`].
    Outcome(OutcomeReport),
    /// Reboot once everything sent has left the device. Emitted only while the application says it is safe.
    Reboot,
    /// Nothing to do until bytes come or this time has passed.
    Wait {
        /// Time at which to poll again, on the clock of `now_ms`.
        until_ms: Option<u64>,
    },
}

/// What the application may want to know or must act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// About the update.
    Update(receiver::Event),
    /// A controller wants another state. EMERGENCY has already ended an open session.
    StateCommand(StateCommand),
    /// No ping came in time: become idle.
    CommunicationLost,
    /// Reports are wanted: those that a controller asked for, or all of them when their time has come. The
    /// state is reported by the endpoint itself.
    Telemetry(Option<SendTelemetry>),
    /// Bytes on the link were no frame.
    Framing(FrameError),
}

/// One frame waiting to be sent.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Announce { due_ms: u64 },
    Ping,
    State,
    Busy,
}

/// The endpoint; see the [module's documentation](self).
// What is looked at in every turn comes first: Thumb's short loads reach 124 bytes.
#[derive(Debug)]
#[repr(C)]
pub struct Appliance {
    status: Status,
    held_len: usize,
    event: Option<Event>,
    telemetry: Option<u32>,
    timeout_ms: Option<u32>,
    reboot: bool,
    /// The past outcome that the application asks for, and that its answer is under way.
    recalling: bool,
    recall: Option<u32>,
    random: u32,
    next_report_ms: u64,
    last_ping_ms: u64,
    #[cfg(feature = "smp")]
    reserved_ms: u64,
    identity: Identity,
    pending: [Option<Pending>; 4],
    decoder: SerialDecoder,
    receiver: Receiver,
    /// An OTA command that waits for the receiver.
    held: [u8; PAYLOAD_MAX],
    tx: [u8; FRAME_MAX],
}

impl Appliance {
    /// An endpoint for one boot of the device.
    ///
    /// # Errors
    /// [`ConfigError`] when the flash layout cannot work.
    pub fn new(identity: Identity, config: Config, boot: BootFacts) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self::unchecked(identity, config, boot))
    }

    /// As [`new`](Self::new), but made in `place`: what a device with a small stack wants, for an endpoint is
    /// larger than all the stack that it ever uses.
    ///
    /// # Errors
    /// As [`new`](Self::new); `place` is as before then.
    #[inline(never)]
    pub fn begin(
        place: &mut Option<Self>,
        identity: Identity,
        config: Config,
        boot: BootFacts,
    ) -> Result<&mut Self, ConfigError> {
        config.check()?;
        *place = None;
        Ok(place.get_or_insert(Self::unchecked(identity, config, boot)))
    }

    /// With a configuration that has been checked. Inlined, so that there is no copy on the way to its place.
    #[inline(always)]
    fn unchecked(identity: Identity, config: Config, boot: BootFacts) -> Self {
        Self {
            identity,
            receiver: Receiver::unchecked(config, boot),
            decoder: SerialDecoder::new(),
            status: Status { state: ApplianceState::Initializing, safe: false, error: 0 },
            held: [0; PAYLOAD_MAX],
            held_len: 0,
            tx: [0; FRAME_MAX],
            // Written out, it is made in its place.
            pending: [None, None, None, None],
            event: None,
            telemetry: None,
            next_report_ms: 0,
            timeout_ms: Some(TIMEOUT_DEFAULT_MS),
            last_ping_ms: 0,
            #[cfg(feature = "smp")]
            reserved_ms: 0,
            reboot: false,
            recall: None,
            recalling: false,
            random: boot.boot_number | 1,
        }
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The receiver, to ask for its state.
    #[must_use]
    pub fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// An update is under way or pending: start nothing that a reboot or a stalled CPU would harm.
    /// See [`Receiver::busy`].
    #[must_use]
    pub fn busy(&self, now_ms: u64) -> bool {
        #[cfg(feature = "smp")]
        if self.reserved(now_ms) {
            return true;
        }
        self.receiver.busy(now_ms)
    }

    /// Keeps the device [`busy`](Self::busy) until then, for a reset that somebody else carries out; a time that
    /// has passed frees it.
    #[cfg(feature = "smp")]
    pub fn reserve(&mut self, until_ms: u64) {
        self.reserved_ms = until_ms;
    }

    /// Whether it is kept so now.
    #[cfg(feature = "smp")]
    #[must_use]
    pub fn reserved(&self, now_ms: u64) -> bool {
        now_ms < self.reserved_ms
    }

    /// Takes the application's state; to be called whenever it changes.
    pub fn set_status(&mut self, status: Status) {
        self.status = status;
    }

    /// See [`Receiver::report_stage`].
    pub fn report_stage(&mut self, stage: u32, code: i32) {
        self.receiver.report_stage(stage, code);
    }

    /// See [`Receiver::confirm`].
    pub fn confirm(&mut self) {
        self.receiver.confirm();
    }

    /// Asks for the outcome of a past attempt, 0 being the newest, as a controller does over the link;
    /// [`Output::Outcome`] answers, unless the journal cannot be read.
    pub fn recall(&mut self, index: u32) {
        self.recall = Some(index);
    }

    /// See [`Receiver::emergency`].
    pub fn emergency(&mut self) {
        self.receiver.emergency();
    }

    /// See [`Receiver::lend`]; refused while the application says that it is not safe.
    pub fn lend(&mut self, now_ms: u64) -> Lend {
        if self.status.safe { self.receiver.lend(now_ms) } else { Lend::Refused }
    }

    /// See [`Receiver::take_back`].
    pub fn take_back(&mut self, confirmed: bool, swap_type: SwapType) {
        self.receiver.take_back(confirmed, swap_type);
    }

    /// What the application said last about itself.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// See [`Receiver::flash_done`].
    #[inline(never)]
    pub fn flash_done(&mut self, result: Result<&[u8], FlashFault>) {
        self.receiver.flash_done(result);
    }

    /// See [`Receiver::boot_done`].
    #[inline(never)]
    pub fn boot_done(&mut self, result: Result<(), FlashFault>) {
        self.receiver.boot_done(result);
    }

    /// See [`Receiver::signature_done`].
    #[cfg(feature = "signature")]
    pub fn signature_done(&mut self, right: bool) {
        self.receiver.signature_done(right);
    }

    /// Whether [`push`](Self::push) may be called now. When false, poll until it is true again.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        self.held_len == 0 && self.event.is_none() && self.pending.iter().any(Option::is_none)
    }

    /// Everything that came as a whole frame is answered, as far as it is answered at all.
    #[must_use]
    pub fn owes_nothing(&self) -> bool {
        self.held_len == 0 && self.pending.iter().all(Option::is_none) && self.receiver.owes_nothing()
    }

    /// The link was opened anew: whatever was begun on the old one is dropped.
    pub fn link_reset(&mut self) {
        let _ = self.decoder.reset();
    }

    /// Takes one byte from the link.
    #[inline(never)]
    pub fn push(&mut self, now_ms: u64, byte: u8) {
        let clock_ms = self.link_clock_ms(now_ms);
        match self.decoder.push_at(clock_ms, byte) {
            None => {}
            Some(Err(error)) => self.event = Some(Event::Framing(error)),
            Some(Ok(packet)) => {
                let address = packet.address;
                let mut payload = [0; PAYLOAD_MAX];
                let Some(place) = payload.get_mut(..packet.payload.len()) else { return };
                copy(place, packet.payload);
                self.packet(now_ms, address, place);
            }
        }
    }

    /// The time as the decoder may see it: on a link without timing it stands still, and no gap is ever found.
    fn link_clock_ms(&self, now_ms: u64) -> u64 {
        if self.identity.serial { now_ms } else { 0 }
    }

    fn packet(&mut self, now_ms: u64, address: Address, payload: &[u8]) {
        let broadcast = address == Address::BROADCAST;
        if address != self.identity.address && !broadcast {
            return;
        }
        // In emergency stop an appliance hears nothing more.
        if self.status.state == ApplianceState::EmergencyStop {
            return;
        }
        let Ok(code) = message_code(payload) else { return };
        let answers = !broadcast || self.identity.point_to_point;
        match code {
            DiscoveryRequest::CODE => self.discovery(now_ms, broadcast),
            PingRequest::CODE => {
                self.last_ping_ms = now_ms;
                if answers {
                    self.enqueue(Pending::Ping);
                }
            }
            TelemetryConfig::CODE => self.telemetry_config(now_ms, payload),
            TimeoutConfig::CODE => self.timeout_config(payload),
            SendTelemetry::CODE => self.send_telemetry(payload, answers),
            StateCommand::CODE => self.state_command(now_ms, payload, answers),
            // An update is for one device: sent to all, it is dropped (PROTOCOL.md, addressing).
            0x40..=0x44 | Extension::CODE | 0x4F if !broadcast => {
                if let Some(place) = self.held.get_mut(..payload.len()) {
                    copy(place, payload);
                    self.held_len = payload.len();
                }
            }
            _ => {}
        }
    }

    fn discovery(&mut self, now_ms: u64, broadcast: bool) {
        // Marsaglia's xorshift: spread, not secrecy.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let spread = u64::from(self.random).checked_rem(DISCOVERY_SPREAD_MS.saturating_add(1)).unwrap_or(0);
        let wait_ms = if broadcast { spread } else { 0 };
        self.enqueue(Pending::Announce { due_ms: now_ms.saturating_add(wait_ms) });
    }

    fn telemetry_config(&mut self, now_ms: u64, payload: &[u8]) {
        let Ok(config) = TelemetryConfig::decode(payload) else { return };
        let (low, high) = INTERVAL_RANGE_MS;
        let interval = if config.interval_ms == 0 { 0 } else { config.interval_ms.clamp(low, high) };
        self.telemetry = config.enabled.then_some(interval);
        self.next_report_ms = now_ms.saturating_add(u64::from(interval));
    }

    fn timeout_config(&mut self, payload: &[u8]) {
        let Ok(config) = TimeoutConfig::decode(payload) else { return };
        let (low, high) = TIMEOUT_RANGE_MS;
        self.timeout_ms = config.enabled.then_some(config.timeout_ms.clamp(low, high));
    }

    fn send_telemetry(&mut self, payload: &[u8], answers: bool) {
        let Ok(request) = SendTelemetry::decode(payload) else { return };
        if !answers || self.telemetry.is_none() {
            return;
        }
        if request.kind == SendTelemetry::STATE {
            self.enqueue(Pending::State);
        } else {
            self.event = Some(Event::Telemetry(Some(request)));
        }
    }

    /// While an update is open, nothing may start that it would harm; EMERGENCY and "idle" always pass.
    fn state_command(&mut self, now_ms: u64, payload: &[u8], answers: bool) {
        let Ok(command) = StateCommand::decode(payload) else { return };
        if command.mode == StateCommand::EMERGENCY {
            self.receiver.emergency();
        } else if command.mode != StateCommand::IDLE && self.busy(now_ms) {
            if answers {
                self.enqueue(Pending::Busy);
            }
            return;
        }
        self.event = Some(Event::StateCommand(command));
    }

    fn enqueue(&mut self, frame: Pending) {
        if let Some(free) = self.pending.iter_mut().find(|p| p.is_none()) {
            *free = Some(frame);
        }
    }

    /// What to do next. Call again after each output but [`Output::Wait`]; a flash operation or boot request
    /// is named again until it is answered.
    #[inline(never)]
    pub fn poll(&mut self, now_ms: u64) -> Output<'_> {
        if let Some(event) = self.event.take() {
            return Output::Event(event);
        }
        let clock_ms = self.link_clock_ms(now_ms);
        if let Some(error) = self.decoder.poll_gap(clock_ms) {
            return Output::Event(Event::Framing(error));
        }
        if let Some(event) = self.run_timers(now_ms) {
            return Output::Event(event);
        }
        {
            // Gone before the receiver is polled, which needs the stack.
            let mut payload = [0; PAYLOAD_MAX];
            if let Some(len) = self.next_payload(now_ms, &mut payload) {
                return Self::send(
                    self.identity.address,
                    payload.get(..len).unwrap_or_default(),
                    &mut self.tx,
                );
            }
        }
        self.give_held(now_ms);
        if self.reboot && self.status.safe {
            self.reboot = false;
            return Output::Reboot;
        }
        self.poll_receiver(now_ms)
    }

    fn give_held(&mut self, now_ms: u64) {
        if !self.receiver.ready() {
            return;
        }
        let state = u8::try_from(self.status.state.number()).unwrap_or(u8::MAX);
        let safety = Safety { state, safe: self.status.safe };
        if let Some(index) = self.recall.take() {
            let request = Command::Extension(ExtensionRequest::Outcome { index });
            self.recalling = true;
            return self.receiver.command(now_ms, &request);
        }
        // A question without an answer: the journal cannot be read.
        self.recalling = false;
        if self.held_len == 0 {
            return;
        }
        let len = core::mem::take(&mut self.held_len);
        let payload = self.held.get(..len).unwrap_or_default();
        self.receiver.receive(now_ms, safety, payload);
    }

    fn poll_receiver(&mut self, now_ms: u64) -> Output<'_> {
        let timers = self.next_timer_ms();
        match self.receiver.poll(now_ms) {
            receiver::Output::Flash(op) => Output::Flash(op),
            #[cfg(feature = "signature")]
            receiver::Output::CheckSignature(signed) => Output::CheckSignature(signed),
            receiver::Output::RequestUpgrade { image, mode } => Output::RequestUpgrade { image, mode },
            receiver::Output::Confirm => Output::Confirm,
            receiver::Output::Event(event) => Output::Event(Event::Update(event)),
            receiver::Output::Reboot => {
                if self.status.safe {
                    return Output::Reboot;
                }
                self.reboot = true;
                wait(timers)
            }
            receiver::Output::Wait { until_ms } => wait(timers.min(until_ms.unwrap_or(u64::MAX))),
            receiver::Output::Reply(Reply::Outcome(report)) if core::mem::take(&mut self.recalling) => {
                Output::Outcome(report)
            }
            receiver::Output::Reply(reply) => {
                let mut payload = [0; PAYLOAD_MAX];
                let len = reply.encode(&mut payload).unwrap_or(0);
                Self::send(self.identity.address, payload.get(..len).unwrap_or_default(), &mut self.tx)
            }
        }
    }

    /// When something is due; `u64::MAX` if nothing is.
    fn next_timer_ms(&self) -> u64 {
        let mut next_ms = u64::MAX;
        for frame in self.pending.iter().flatten() {
            if let Pending::Announce { due_ms } = frame {
                next_ms = next_ms.min(*due_ms);
            }
        }
        if self.interval().is_some() {
            next_ms = next_ms.min(self.next_report_ms);
        }
        if let Some(ms) = self.timeout_ms {
            next_ms = next_ms.min(self.last_ping_ms.saturating_add(u64::from(ms)));
        }
        next_ms
    }

    /// Time between two reports, if there is to be more than one.
    fn interval(&self) -> Option<u32> {
        match self.status.state {
            ApplianceState::EmergencyStop => Some(EMERGENCY_INTERVAL_MS),
            _ => self.telemetry.filter(|interval| *interval > 0),
        }
    }

    fn run_timers(&mut self, now_ms: u64) -> Option<Event> {
        if let Some(interval) = self.interval()
            && now_ms >= self.next_report_ms
        {
            self.next_report_ms = now_ms.saturating_add(u64::from(interval));
            self.enqueue(Pending::State);
            return Some(Event::Telemetry(None));
        }
        if elapsed_ms(now_ms, self.last_ping_ms) < self.timeout_ms? {
            return None;
        }
        // Once per silence: the next one is counted from here.
        self.last_ping_ms = now_ms;
        let reported = self.telemetry.take().is_some();
        let active = !matches!(self.status.state, ApplianceState::Idle | ApplianceState::Initializing);
        (reported || active).then_some(Event::CommunicationLost)
    }

    /// The payload of the next frame that is due, in `out`; its length.
    fn next_payload(&mut self, now_ms: u64, out: &mut [u8]) -> Option<usize> {
        let due = |p: &&mut Option<Pending>| match p {
            None => false,
            Some(Pending::Announce { due_ms }) => now_ms >= *due_ms,
            Some(Pending::Ping | Pending::State | Pending::Busy) => true,
        };
        let frame = self.pending.iter_mut().find(due)?.take()?;
        let uptime_ms = u32::try_from(now_ms & u64::from(u32::MAX)).unwrap_or(0);
        let state = self.status.state.number();
        let error = self.status.error;
        let announce = self.identity.announce;
        let encoded = match frame {
            Pending::Announce { .. } => announce.encode(out),
            Pending::Ping => PingResponse { uptime_ms }.encode(out),
            Pending::State => {
                StateData { error: error != 0, code: error, state, timestamp_ms: uptime_ms }.encode(out)
            }
            Pending::Busy => StateReject {
                code: i32::try_from(state).unwrap_or(i32::MAX),
                reason: Some(Reason::UpdateInProgress.number()),
            }
            .encode(out),
        };
        Some(encoded.unwrap_or(0))
    }

    /// Makes a frame of a payload; an empty one when that cannot be done, which no message of ours meets.
    #[inline(never)]
    fn send<'t>(address: Address, payload: &[u8], tx: &'t mut [u8; FRAME_MAX]) -> Output<'t> {
        let len = encode_frame(address, payload, tx).unwrap_or(0);
        Output::Send(tx.get(..len).unwrap_or_default())
    }

    /// The state that OTA_STATUS reports.
    #[must_use]
    pub fn ota_state(&self) -> OtaState {
        self.receiver.state()
    }
}

/// Waits for a time; `u64::MAX`: for a command alone.
fn wait(until_ms: u64) -> Output<'static> {
    Output::Wait { until_ms: (until_ms != u64::MAX).then_some(until_ms) }
}
