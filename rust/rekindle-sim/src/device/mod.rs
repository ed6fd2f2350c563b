// SPDX-License-Identifier: Apache-2.0
//! A whole device: flash, bootloader, the appliance endpoint that also runs on Zephyr, and an application.
//!
//! It knows no clock: whoever drives it says what time it is, hands it the bytes that arrive and takes the frames
//! it sends. One call of [`Device::step`] does at most one thing, so that power can be cut between any two.

mod application;
mod options;
mod port;

pub use application::{MARKER, SelfTest};
pub use options::{MS, Options, Timing};
pub use port::{Honest, Port, perform};

use crate::bootloader::{Booted, RequestError, SwapType};
use crate::flash::{FlashError, NorFlash, RamStore, Store};
use crate::image;
use crate::rng::Rng;
use alloc::collections::VecDeque;
use fusain::{ApplianceState, DeviceAnnounce, Mode, StateCommand};
use rekindle_session::appliance::{Appliance, Event, Identity, Output, Status};
use rekindle_session::port::{Area, FlashFault, FlashOp};
use rekindle_session::receiver::{BootFacts, Lend};

/// Reset causes, as the bits of Zephyr's `hwinfo_get_reset_cause`.
pub mod reset_cause {
    /// The application asked for it.
    pub const SOFTWARE: u32 = 1 << 1;
    /// Power came back.
    pub const POWER_ON: u32 = 1 << 3;
    /// The watchdog.
    pub const WATCHDOG: u32 = 1 << 4;
}

/// What came of a call of [`Device::step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was done; call again.
    Progress,
    /// Nothing to do before this time, in nanoseconds, or before bytes arrive.
    Wait {
        /// When to call again.
        until_ns: Option<u64>,
    },
    /// Power is off.
    Off,
    /// The bootloader found nothing to start: the device is lost.
    Dead,
}

/// Something that happened, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The device was reset, for this cause, and the bootloader did this.
    Booted {
        /// Bits of [`reset_cause`].
        cause: u32,
        /// What the bootloader did.
        booted: Booted,
    },
    /// The endpoint told the application something.
    Event(Event),
    /// The endpoint asked the bootloader for an upgrade.
    RequestUpgrade {
        /// MCUboot's hash of the image, as the endpoint read it from flash.
        image_hash: [u8; 32],
        /// Test or permanent.
        mode: Mode,
    },
    /// The running image was confirmed.
    Confirmed,
    /// The bootloader library refused a request.
    RequestFailed(RequestError),
    /// A self-test ended.
    SelfTest(SelfTest),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Off,
    Reset { at_ns: u64, cause: u32 },
    Running,
    Dead,
}

/// The result of a flash operation or boot request that is still under way.
#[derive(Debug)]
enum Answer {
    Flash(Result<Vec<u8>, FlashFault>),
    Boot(Result<(), FlashFault>),
    Signature(bool),
}

/// What the endpoint asked for, taken out of its borrow.
enum Wanted {
    Flash(Result<Vec<u8>, FlashError>, u64),
    Upgrade([u8; 32], Mode),
    Signature(bool),
    Confirm,
    Send(Vec<u8>),
    Event(Event),
    Reboot,
    Wait(Option<u64>),
}

/// The device; see the [module's documentation](self).
#[derive(Debug)]
pub struct Device<S = RamStore> {
    options: Options,
    flash: NorFlash<S>,
    port: Box<dyn Port<S>>,
    phase: Phase,
    endpoint: Option<Box<Appliance>>,
    boot_numbers: Rng,
    /// Time of the last reset's end: the endpoint counts from here.
    up_since_ns: u64,
    under_test: bool,
    self_test: SelfTest,
    self_test_at_ns: Option<u64>,
    watchdog_at_ns: Option<u64>,
    state: ApplianceState,
    rx: VecDeque<u8>,
    rx_lost: u64,
    stalled: usize,
    frames: VecDeque<Vec<u8>>,
    busy_from_ns: u64,
    busy_until_ns: u64,
    answer: Option<Answer>,
    notes: VecDeque<Note>,
}

impl<S: Store> Device<S> {
    /// A device without power.
    #[must_use]
    pub fn new(flash: NorFlash<S>, options: Options) -> Self {
        Self::with_port(flash, options, Box::new(Honest))
    }

    /// A device without power whose endpoint reaches its flash through `port`.
    #[must_use]
    pub fn with_port(flash: NorFlash<S>, options: Options, port: Box<dyn Port<S>>) -> Self {
        let boot_numbers = Rng::new(options.seed).fork(0xB007);
        Self {
            options,
            flash,
            port,
            phase: Phase::Off,
            endpoint: None,
            boot_numbers,
            up_since_ns: 0,
            under_test: false,
            self_test: SelfTest::Pass,
            self_test_at_ns: None,
            watchdog_at_ns: None,
            state: ApplianceState::Initializing,
            rx: VecDeque::new(),
            rx_lost: 0,
            stalled: 0,
            frames: VecDeque::new(),
            busy_from_ns: 0,
            busy_until_ns: 0,
            answer: None,
            notes: VecDeque::new(),
        }
    }

    /// Gives power: the bootloader runs at the next step.
    pub fn power_on(&mut self, now_ns: u64) {
        self.flash.power_on();
        self.phase = Phase::Reset { at_ns: now_ns, cause: reset_cause::POWER_ON };
    }

    /// Takes power away. Everything that is not in flash is gone.
    pub fn power_off(&mut self) {
        self.flash.cut_power();
        self.forget();
        self.phase = Phase::Off;
    }

    /// Resets the device at once, as a pin or a watchdog does.
    pub fn reset(&mut self, now_ns: u64, cause: u32) {
        self.forget();
        self.phase = Phase::Reset { at_ns: now_ns, cause };
    }

    /// The flash.
    pub fn flash(&self) -> &NorFlash<S> {
        &self.flash
    }

    /// The flash, to plan cuts and failures or to look at it.
    pub fn flash_mut(&mut self) -> &mut NorFlash<S> {
        &mut self.flash
    }

    /// Takes the flash out.
    pub fn into_flash(self) -> NorFlash<S> {
        self.flash
    }

    /// What the device is like.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The endpoint, while the device runs.
    pub fn endpoint(&self) -> Option<&Appliance> {
        self.endpoint.as_deref()
    }

    /// The endpoint, for what an application asks of it.
    pub fn endpoint_mut(&mut self) -> Option<&mut Appliance> {
        self.endpoint.as_deref_mut()
    }

    /// Another writer on the device asks for the secondary slot; [`Lend::Refused`] while nothing runs.
    pub fn lend(&mut self, now_ns: u64) -> Lend {
        let now_ms = now_ns.saturating_sub(self.up_since_ns) / MS;
        self.endpoint.as_mut().map_or(Lend::Refused, |endpoint| endpoint.lend(now_ms))
    }

    /// It is done with it.
    ///
    /// # Errors
    /// What the flash reports.
    pub fn take_back(&mut self) -> Result<(), FlashError> {
        let swap_type = self.options.bootloader.swap_type(&mut self.flash)?;
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.take_back(swap_type != SwapType::Revert, swap_type);
        }
        Ok(())
    }

    /// Whether the running image is under test.
    pub fn under_test(&self) -> bool {
        self.under_test
    }

    /// Bytes that were lost because nothing was left to keep them in.
    pub fn rx_lost(&self) -> u64 {
        self.rx_lost
    }

    /// Bytes that can arrive now without any being lost.
    pub fn rx_room(&self) -> usize {
        self.options.rx_capacity.saturating_sub(self.rx.len())
    }

    /// State of the application.
    pub fn state(&self) -> ApplianceState {
        self.state
    }

    /// Puts the application into another state, as its sensors or its user would.
    pub fn set_state(&mut self, state: ApplianceState) {
        self.state = state;
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.set_status(Status { state, safe: state == ApplianceState::Idle, error: 0 });
        }
    }

    /// The next thing that happened.
    pub fn take_note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    /// The next frame that the device sends.
    pub fn take_frame(&mut self) -> Option<Vec<u8>> {
        self.frames.pop_front()
    }

    /// Hands over bytes that arrived at one moment.
    pub fn receive(&mut self, at_ns: u64, bytes: &[u8]) {
        for byte in bytes {
            self.receive_byte(at_ns, *byte);
        }
    }

    /// Hands over a byte that arrived, not necessarily just now.
    pub fn receive_byte(&mut self, at_ns: u64, byte: u8) {
        if self.phase != Phase::Running {
            return;
        }
        let stalled = (self.busy_from_ns..self.busy_until_ns).contains(&at_ns);
        let fifo_full = self.options.rx_while_stalled.is_some_and(|depth| self.stalled >= depth);
        if self.rx.len() >= self.options.rx_capacity || (stalled && fifo_full) {
            self.rx_lost += 1;
        } else {
            self.stalled += usize::from(stalled);
            self.rx.push_back(byte);
        }
    }

    /// The link was opened anew: what had arrived on the old one is gone.
    pub fn link_reset(&mut self) {
        self.rx.clear();
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.link_reset();
        }
    }

    /// Does the next thing.
    pub fn step(&mut self, now_ns: u64) -> Step {
        match self.phase {
            Phase::Off => Step::Off,
            Phase::Dead => Step::Dead,
            Phase::Reset { at_ns, .. } if now_ns < at_ns => Step::Wait { until_ns: Some(at_ns) },
            Phase::Reset { cause, .. } => self.boot(now_ns, cause),
            Phase::Running => self.run(now_ns),
        }
    }

    fn forget(&mut self) {
        self.endpoint = None;
        self.port.forget();
        self.rx.clear();
        self.frames.clear();
        self.answer = None;
        self.self_test_at_ns = None;
        self.watchdog_at_ns = None;
        (self.busy_from_ns, self.busy_until_ns) = (0, 0);
    }

    /// Power went away inside an operation.
    fn lost_power(&mut self) -> Step {
        self.power_off();
        Step::Off
    }

    fn boot_failed(&mut self, now_ns: u64, error: FlashError) -> Step {
        match error {
            FlashError::Power => self.lost_power(),
            FlashError::Fault => {
                // MCUboot asserts, and the watchdog starts it again.
                self.reset(now_ns + self.options.timing.boot_ns, reset_cause::WATCHDOG);
                Step::Progress
            }
            other => panic!("the bootloader model: {other}"),
        }
    }

    /// What the operating system reads before it starts the endpoint: the next boot's swap type, and its own image.
    fn look_around(&mut self, booted: &Booted) -> Result<(SwapType, SelfTest), FlashError> {
        let swap_type = self.options.bootloader.swap_type(&mut self.flash)?;
        let len = booted.running.map_or(0, |running| running.extent.hashed);
        let image = image::load(&mut self.flash, Area::Primary, 0, len)?;
        Ok((swap_type, self.options.self_test.unwrap_or_else(|| SelfTest::of(&image))))
    }

    fn boot(&mut self, now_ns: u64, cause: u32) -> Step {
        let booted = match self.options.bootloader.boot(&mut self.flash) {
            Ok(booted) => booted,
            Err(error) => return self.boot_failed(now_ns, error),
        };
        self.notes.push_back(Note::Booted { cause, booted });
        if booted.running.is_none() {
            self.phase = Phase::Dead;
            return Step::Dead;
        }
        let (swap_type, self_test) = match self.look_around(&booted) {
            Ok(seen) => seen,
            Err(error) => return self.boot_failed(now_ns, error),
        };
        self.under_test = swap_type == SwapType::Revert;
        self.self_test = self_test;
        self.up_since_ns = now_ns + self.options.timing.boot_ns;
        if self.self_test == SelfTest::Crash {
            let at_ns = self.up_since_ns;
            self.phase = Phase::Reset { at_ns, cause: reset_cause::WATCHDOG };
            return Step::Progress;
        }
        let facts = (self.options.facts)(BootFacts {
            confirmed: !self.under_test,
            swap_type,
            reset_cause: cause,
            boot_number: self.boot_numbers.next_u64() as u32,
        });
        let identity = Identity {
            address: self.options.address,
            announce: DeviceAnnounce { motors: 1, thermometers: 1, pumps: 1, glows: 1 },
            point_to_point: self.options.point_to_point,
            serial: self.options.serial,
        };
        let endpoint = Appliance::new(identity, self.options.config, facts).expect("a layout that works");
        self.endpoint = Some(Box::new(endpoint));
        self.phase = Phase::Running;
        self.set_state(ApplianceState::Idle);
        (self.busy_from_ns, self.busy_until_ns) = (now_ns, self.up_since_ns);
        self.self_test_at_ns = Some(self.up_since_ns + self.options.timing.self_test_ns);
        Step::Progress
    }

    fn run(&mut self, now_ns: u64) -> Step {
        if now_ns < self.busy_until_ns {
            return Step::Wait { until_ns: Some(self.busy_until_ns) };
        }
        self.stalled = 0;
        if self.watchdog_at_ns.is_some_and(|at| now_ns >= at) {
            self.reset(now_ns, reset_cause::WATCHDOG);
            return Step::Progress;
        }
        if self.self_test_at_ns.is_some_and(|at| now_ns >= at) {
            self.self_test_at_ns = None;
            if self.under_test {
                return self.finish_self_test(now_ns);
            }
        }
        let now_ms = now_ns.saturating_sub(self.up_since_ns) / MS;
        let Some(endpoint) = &mut self.endpoint else { return Step::Off };
        match self.answer.take() {
            Some(Answer::Flash(result)) => {
                endpoint.flash_done(result.as_deref().map_err(|fault| *fault));
            }
            Some(Answer::Boot(result)) => endpoint.boot_done(result),
            Some(Answer::Signature(right)) => endpoint.signature_done(right),
            None => {}
        }
        while endpoint.wants_bytes() {
            let Some(byte) = self.rx.pop_front() else { break };
            endpoint.push(now_ms, byte);
        }
        let wanted = wanted(endpoint, &mut *self.port, &mut self.flash, &self.options, now_ms);
        self.carry_out(now_ns, wanted)
    }

    fn carry_out(&mut self, now_ns: u64, wanted: Wanted) -> Step {
        match wanted {
            Wanted::Flash(Err(FlashError::Power), _) => return self.lost_power(),
            Wanted::Flash(result, cost_ns) => {
                self.answer = Some(Answer::Flash(result.map_err(|_| FlashFault)));
                (self.busy_from_ns, self.busy_until_ns) = (now_ns, now_ns + cost_ns);
            }
            Wanted::Signature(right) => self.answer = Some(Answer::Signature(right)),
            Wanted::Upgrade(image_hash, mode) => {
                self.notes.push_back(Note::RequestUpgrade { image_hash, mode });
                let permanent = mode == Mode::Permanent;
                let result = self.options.bootloader.request_upgrade(&mut self.flash, permanent);
                return self.requested(result);
            }
            Wanted::Confirm => {
                let result = self.options.bootloader.confirm(&mut self.flash);
                if result.is_err() {
                    // The application tries again.
                    self.self_test_at_ns = Some(now_ns + self.options.timing.self_test_ns);
                } else {
                    self.under_test = false;
                    self.notes.push_back(Note::Confirmed);
                }
                return self.requested(result);
            }
            Wanted::Send(frame) => self.frames.push_back(frame),
            Wanted::Event(event) => {
                self.notes.push_back(Note::Event(event));
                self.heed(&event);
            }
            Wanted::Reboot => {
                // What was sent goes out; nothing else happens until the reset.
                let frames = core::mem::take(&mut self.frames);
                self.reset(now_ns + self.options.timing.reboot_ns, reset_cause::SOFTWARE);
                self.frames = frames;
            }
            Wanted::Wait(until_ms) => {
                let endpoint_ns = until_ms.map(|ms| self.up_since_ns + ms * MS);
                let until_ns =
                    [endpoint_ns, self.self_test_at_ns, self.watchdog_at_ns].into_iter().flatten().min();
                return Step::Wait { until_ns };
            }
        }
        Step::Progress
    }

    fn requested(&mut self, result: Result<(), RequestError>) -> Step {
        if result == Err(RequestError::Flash(FlashError::Power)) {
            return self.lost_power();
        }
        if let Err(error) = result {
            self.notes.push_back(Note::RequestFailed(error));
        }
        self.answer = Some(Answer::Boot(result.map_err(|_| FlashFault)));
        Step::Progress
    }

    /// The application's part of an event.
    fn heed(&mut self, event: &Event) {
        match event {
            Event::StateCommand(command) => self.set_state(match command.mode {
                StateCommand::IDLE => ApplianceState::Idle,
                StateCommand::FAN => ApplianceState::Blowing,
                StateCommand::EMERGENCY => ApplianceState::EmergencyStop,
                _ => ApplianceState::Heating,
            }),
            Event::CommunicationLost => self.set_state(ApplianceState::Idle),
            Event::Update(_) | Event::Framing(_) | Event::Telemetry(_) => {}
        }
    }

    fn finish_self_test(&mut self, now_ns: u64) -> Step {
        self.notes.push_back(Note::SelfTest(self.self_test));
        let Some(endpoint) = &mut self.endpoint else { return Step::Off };
        match self.self_test {
            SelfTest::Pass => endpoint.confirm(),
            SelfTest::Fail { stage, code } => {
                endpoint.report_stage(stage, code);
                // Until the watchdog bites, the endpoint can note the stage.
                self.watchdog_at_ns = Some(now_ns + self.options.timing.reboot_ns);
            }
            SelfTest::Hang | SelfTest::Crash => {}
        }
        Step::Progress
    }
}

/// The endpoint's next output, with its flash operation carried out: the operation borrows the endpoint.
fn wanted<S: Store>(
    endpoint: &mut Appliance,
    port: &mut dyn Port<S>,
    flash: &mut NorFlash<S>,
    options: &Options,
    now_ms: u64,
) -> Wanted {
    let timing = &options.timing;
    match endpoint.poll(now_ms) {
        Output::Flash(op) => {
            let cost_ns = match op {
                FlashOp::Read { .. } => timing.read_ns,
                FlashOp::Write { .. } => timing.program_ns,
                FlashOp::Erase { .. } => timing.erase_ns,
            };
            Wanted::Flash(port.perform(flash, &op), cost_ns)
        }
        Output::CheckSignature(signed) => {
            Wanted::Signature(options.keys.get(signed.key).is_some_and(|key| {
                key.signature_kind() == signed.kind && key.verify(signed.image_hash, signed.signature).is_ok()
            }))
        }
        Output::RequestUpgrade { image, mode } => Wanted::Upgrade(*image.image_hash(), mode),
        Output::Confirm => Wanted::Confirm,
        Output::Send(frame) => Wanted::Send(frame.to_vec()),
        Output::Event(event) => Wanted::Event(event),
        Output::Reboot => Wanted::Reboot,
        // Nothing here asks for one.
        Output::Outcome(_) => Wanted::Wait(None),
        Output::Wait { until_ms } => Wanted::Wait(until_ms),
    }
}
