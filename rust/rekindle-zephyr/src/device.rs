// SPDX-License-Identifier: Apache-2.0

//! A whole device: the appliance endpoint with its flash, its bootloader and its link.
//!
//! The endpoint says what is to be done, this carries it out one to one: the flash
//! operations in which a power cut was simulated are the ones that reach the flash map.
//! Around it are the trial of a new image, the watchdog, and what other threads may know.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use fusain::{
    Address, ApplianceState, DeviceAnnounce, EncodeError, FRAME_MAX, Mode, PAYLOAD_MAX, SendTelemetry,
};
use rekindle_session::appliance::{Appliance, Event, Identity, Output, Status};
use rekindle_session::port::{FlashFault, FlashOp, READ_MAX};
use rekindle_session::receiver::{self, BootFacts, ConfigError};

use crate::state;
use crate::trial::{Check, Notice, Step, Trial};
use crate::{Errno, boot, ffi, flash, link::Link, policy, system};

/// Longest wait for room in the transmitter. A link that takes nothing for this long is
/// down, and the frame is lost like any other on a broken link.
const SEND_TIMEOUT_MS: u32 = 1_000;
/// Silence on the link before a reset: the last answer may still be on its way, and what is on its
/// way to the device still counts.
const RESET_QUIET_MS: u64 = 250;
/// A link that is never silent puts a reset off for this long.
const RESET_LATEST_MS: u64 = 1_000;
/// Longest sleep, so that the application is asked now and then.
const SLEEP_MAX_MS: u64 = 100;

/// What holds before the application was first asked.
const UNKNOWN: Status = Status { state: ApplianceState::Initializing, safe: false, error: 0 };

/// What a device's application brings along. Every call comes from [`Device::turn`], on the
/// thread that calls that, and must return within a fraction of the watchdog's timeout.
pub trait Application {
    /// State and safety at this moment. It is asked before every command of an update, so that
    /// none is taken while the application does something that a stalled CPU would harm.
    fn status(&mut self, now_ms: u64) -> Status;

    /// Whether the device may be reset now. Asked again right before each reset, after the
    /// last answer has left: the session's own needs safety as well, the one that ends a
    /// failed trial needs nothing else.
    fn may_reset(&mut self, now_ms: u64) -> bool {
        self.status(now_ms).safe
    }

    /// The self-test of an image under test; called again and again until it has passed or
    /// failed. One that needs nothing checked passes at once.
    fn self_test(&mut self, now_ms: u64) -> Check {
        let _ = now_ms;
        Check::Passed
    }

    /// Something happened that it may want to know or must act on: the progress of an update,
    /// a swap that any reset would now carry out, a command, a silent controller.
    fn event(&mut self, now_ms: u64, event: &Event) {
        let _ = (now_ms, event);
    }

    /// How the trial of the running image goes.
    fn trial(&mut self, notice: Notice) {
        let _ = notice;
    }

    /// Reports are due: those that were asked for, or all of them. The state is reported
    /// without the application.
    fn telemetry(&mut self, now_ms: u64, request: Option<SendTelemetry>, outlet: &mut Outlet<'_>) {
        let _ = (now_ms, request, outlet);
    }
}

/// Where the application's reports go.
#[derive(Debug)]
pub struct Outlet<'a> {
    address: Address,
    link: &'a mut Link,
}

impl Outlet<'_> {
    /// Sends one report; `encode` is that of a message, such as `|out| data.encode(out)`. What
    /// cannot be encoded or finds no room on the link in time is lost.
    pub fn send(&mut self, encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>) {
        let mut payload = [0; PAYLOAD_MAX];
        if let Ok(len) = encode(&mut payload) {
            self.send_payload(payload.get(..len).unwrap_or_default());
        }
    }

    /// Once for all kinds of reports.
    #[inline(never)]
    fn send_payload(&mut self, payload: &[u8]) {
        let mut frame = [0; FRAME_MAX];
        let Ok(len) = fusain::encode_frame(self.address, payload, &mut frame) else { return };
        let _ = self.link.write(frame.get(..len).unwrap_or_default(), Some(SEND_TIMEOUT_MS));
    }
}

/// Why a device cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Flash or link failed.
    Device(Errno),
    /// The flash layout cannot work.
    Config(ConfigError),
}

impl core::fmt::Display for StartError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Device(errno) => write!(f, "flash or link: {errno}"),
            Self::Config(error) => write!(f, "flash layout: {error}"),
        }
    }
}

impl From<Errno> for StartError {
    fn from(errno: Errno) -> Self {
        Self::Device(errno)
    }
}

/// How a device takes part; the rest is Kconfig's or asked from Zephyr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The answer to a discovery.
    pub announce: DeviceAnnounce,
}

/// Where the endpoint lies: it is larger than all the stack that it ever uses.
struct Place(UnsafeCell<MaybeUninit<Option<Appliance>>>);

// SAFETY: whoever claims the device gets the only reference to the place (`place`).
unsafe impl Sync for Place {}

static PLACE: Place = Place(UnsafeCell::new(MaybeUninit::uninit()));

/// The place, for the first who asks in this boot.
fn place() -> Option<&'static mut Option<Appliance>> {
    if !ffi::rekindle_claim_device() {
        return None;
    }
    let place: *mut MaybeUninit<Option<Appliance>> = PLACE.0.get();
    // SAFETY: the claim succeeds once per boot, so this is the only reference that is ever
    // made to the place, and nothing else accesses it.
    Some(unsafe { &mut *place }.write(None))
}

/// Which reset the device waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restart {
    No,
    /// Into the update.
    Update,
    /// Back to the old image.
    Revert,
}

/// One device during one boot.
// What every turn touches comes first, where Thumb's short loads reach it.
#[derive(Debug)]
#[repr(C)]
pub struct Device {
    appliance: &'static mut Appliance,
    next: usize,
    end: usize,
    /// Nothing is left to do, so everything noted is on flash.
    quiet: bool,
    restart: Restart,
    link: Link,
    trial: Trial,
    /// Time at which the link was last looked at.
    looked_ms: u64,
    /// Time at which something was there.
    heard_ms: u64,
    /// Since when nothing but silence is missing for the reset.
    agreed_ms: Option<u64>,
    /// What other threads may know.
    known: ffi::State,
    received: [u8; 64],
}

impl Device {
    /// Opens flash and link and learns what this boot is. There is one device per boot.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what the device lacks, or that it was started before.
    #[inline(never)]
    pub fn start(options: &Options) -> Result<Self, StartError> {
        let place = place().ok_or(StartError::Device(Errno::BUSY))?;
        let link = Link::open()?;
        let identity = Identity {
            address: system::device_address(),
            announce: options.announce,
            point_to_point: policy::point_to_point(),
            serial: policy::serial(),
        };
        let boot = BootFacts {
            confirmed: boot::is_confirmed(),
            swap_type: boot::swap_type(),
            reset_cause: system::reset_cause(),
            boot_number: system::boot_number(),
        };
        let config = policy::session(flash::layout()?, link.capacity());
        let appliance = Appliance::begin(place, identity, config, boot).map_err(StartError::Config)?;
        appliance.recall(0);
        let mut device = Self {
            appliance,
            link,
            trial: Trial::new(boot.confirmed),
            known: ffi::State::NONE,
            received: [0; 64],
            next: 0,
            end: 0,
            looked_ms: system::uptime_ms(),
            heard_ms: 0,
            restart: Restart::No,
            agreed_ms: None,
            quiet: false,
        };
        device.known.address = identity.address.get();
        device.known.boot_number = boot.boot_number;
        device.known.reset_cause = boot.reset_cause;
        device.publish(device.looked_ms, UNKNOWN);
        Ok(device)
    }

    /// Who this device is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.appliance.identity()
    }

    /// What this boot is: confirmed as soon as it is.
    #[must_use]
    pub fn boot(&self) -> &BootFacts {
        self.appliance.receiver().boot()
    }

    /// The endpoint, to ask for its state.
    #[must_use]
    pub fn appliance(&self) -> &Appliance {
        self.appliance
    }

    /// The application needs the device now: an update on its way ends.
    pub fn emergency(&mut self) {
        self.appliance.emergency();
    }

    /// Resets the device once everything is on flash and the application agrees.
    pub fn request_reset(&mut self) {
        if self.restart == Restart::No {
            self.restart = Restart::Update;
        }
    }

    /// Received bytes lost since boot.
    #[must_use]
    pub fn overruns(&self) -> u32 {
        self.link.overruns()
    }

    /// Every whole frame that the link has brought is answered, as far as it is answered at all. Only of use right behind
    /// [`turn`](Self::turn), to whoever is the link's other end.
    #[cfg(feature = "relay")]
    pub(crate) fn owes_nothing(&self) -> bool {
        // Quiet, the turn has looked at the link last, and found nothing.
        self.quiet && self.next == self.end && self.appliance.owes_nothing()
    }

    /// One turn of the device's loop: at most one flash operation or one frame, or a short
    /// sleep. Feeds the watchdog.
    // By itself, so that its buffers take no stack while the device starts, which needs the most.
    #[inline(never)]
    pub fn turn(&mut self, application: &mut impl Application) {
        system::feed_watchdog();
        let now_ms = system::uptime_ms();
        self.receive(now_ms);
        // A command may be about to be taken. That is made known before the application is
        // asked, so that one which changes its state first and asks afterwards cannot miss it.
        state::publish_busy(self.appliance.busy(now_ms) || !self.appliance.wants_bytes());
        let status = application.status(now_ms);
        self.appliance.set_status(status);
        self.try_image(now_ms, application);
        #[cfg(feature = "smp")]
        crate::smp::turn(self.appliance, now_ms);
        match self.appliance.poll(now_ms) {
            Output::Flash(op) => {
                let mut buffer = [0; READ_MAX];
                let result = carry_out(&op, &mut buffer);
                self.appliance.flash_done(result);
            }
            #[cfg(feature = "signature")]
            Output::CheckSignature(signed) => {
                let right = crate::signature::check(&signed);
                self.appliance.signature_done(right);
            }
            Output::RequestUpgrade { image: _, mode } => {
                let result = boot::request_upgrade(mode == Mode::Permanent);
                self.appliance.boot_done(result.map_err(|_| FlashFault));
            }
            Output::Confirm => {
                let result = boot::confirm();
                self.appliance.boot_done(result.map_err(|_| FlashFault));
                self.trial.confirmed(application, result.is_ok());
            }
            Output::Send(frame) => {
                // A link that takes nothing loses the frame; the controller asks again.
                let sent = self.link.write(frame, Some(SEND_TIMEOUT_MS));
                // In emergency stop it reports without being asked.
                if sent.is_ok() && status.state != ApplianceState::EmergencyStop {
                    self.trial.answered();
                }
            }
            Output::Event(Event::Telemetry(request)) => {
                let mut outlet = Outlet { address: self.identity().address, link: &mut self.link };
                application.telemetry(now_ms, request, &mut outlet);
            }
            Output::Event(event) => self.event(now_ms, &event, application),
            Output::Outcome(report) => {
                if let Some(index) = state::learn(&mut self.known, &report) {
                    self.appliance.recall(index);
                }
            }
            Output::Reboot => self.restart = Restart::Update,
            Output::Wait { until_ms } => {
                self.quiet = true;
                self.publish(now_ms, status);
                self.reset(now_ms, application);
                self.sleep(now_ms, until_ms);
            }
        }
    }

    fn event(&mut self, now_ms: u64, event: &Event, application: &mut impl Application) {
        if let Event::Update(receiver::Event::SwapPending { .. } | receiver::Event::Settled { .. }) = event {
            self.appliance.recall(0);
        }
        application.event(now_ms, event);
    }

    /// The trial goes on when everything noted for it is on flash.
    fn try_image(&mut self, now_ms: u64, application: &mut impl Application) {
        if !core::mem::take(&mut self.quiet) {
            return;
        }
        match self.trial.step(now_ms, application) {
            None => {}
            Some(Step::Note { stage, code }) => self.appliance.report_stage(stage, code),
            Some(Step::Confirm) => self.appliance.confirm(),
            Some(Step::Reset) => self.restart = Restart::Revert,
        }
    }

    /// Gives the endpoint what has arrived, as far as it takes it.
    fn receive(&mut self, now_ms: u64) {
        // Bytes that were there already came at some time since the last look. The first
        // is dated back to it, so that a long flash operation in between does not look like
        // a silence inside a frame.
        let mut at_ms = self.looked_ms;
        while self.appliance.wants_bytes() {
            if self.next == self.end {
                self.look(0);
            }
            let Some(byte) = self.received.get(self.next..self.end).and_then(<[u8]>::first) else {
                return;
            };
            self.next = self.next.saturating_add(1);
            self.appliance.push(at_ms, *byte);
            at_ms = now_ms;
        }
    }

    fn sleep(&mut self, now_ms: u64, until_ms: Option<u64>) {
        let wait_ms = until_ms.map_or(SLEEP_MAX_MS, |at| at.saturating_sub(now_ms).min(SLEEP_MAX_MS));
        let wait_ms = u32::try_from(wait_ms).unwrap_or(0);
        if !self.appliance.wants_bytes() || self.next < self.end {
            system::sleep_ms(wait_ms.clamp(1, 10));
            return;
        }
        self.look(wait_ms);
    }

    /// Takes what the link holds, or waits for that.
    fn look(&mut self, wait_ms: u32) {
        self.next = 0;
        self.end = self.link.read(&mut self.received, Some(wait_ms)).len();
        self.looked_ms = system::uptime_ms();
        if self.end > 0 {
            self.heard_ms = self.looked_ms;
        }
    }

    /// Resets the device if it waits for that and the application agrees. The answer to
    /// ACTIVATE must leave the device before it does, and what was safe before that need not
    /// be so any more: an EMERGENCY right behind it is heard, and the application is asked last.
    fn reset(&mut self, now_ms: u64, application: &mut impl Application) {
        if self.restart == Restart::No || !self.agrees(application) {
            self.agreed_ms = None;
            return;
        }
        let Some(agreed_ms) = self.agreed_ms else {
            let _ = self.link.drain(Some(SEND_TIMEOUT_MS));
            self.agreed_ms = Some(system::uptime_ms());
            return;
        };
        let silence_ms = now_ms.saturating_sub(agreed_ms.max(self.heard_ms));
        if silence_ms >= RESET_QUIET_MS || now_ms.saturating_sub(agreed_ms) >= RESET_LATEST_MS {
            system::reboot();
        }
    }

    fn agrees(&self, application: &mut impl Application) -> bool {
        let now_ms = system::uptime_ms();
        let safe = self.restart == Restart::Revert || application.status(now_ms).safe;
        safe && application.may_reset(now_ms)
    }

    /// Lets other threads know how things are.
    fn publish(&mut self, now_ms: u64, status: Status) {
        let session = self.appliance.receiver();
        let version = session.running_version();
        let update = self.appliance.ota_state();
        let known = &mut self.known;
        (known.received, known.size) = session.progress().unwrap_or_default();
        known.version_build = version.build;
        known.version_revision = version.revision;
        known.version_major = version.major;
        known.version_minor = version.minor;
        known.update = update.number();
        known.appliance = u8::try_from(status.state.number()).unwrap_or(u8::MAX);
        known.confirmed = session.confirmed();
        known.busy = self.appliance.busy(now_ms);
        known.swap_pending = update == fusain::OtaState::Activated;
        state::publish(known);
    }
}

/// Carries out one flash operation, one to one.
fn carry_out<'a>(op: &FlashOp<'_>, buffer: &'a mut [u8; READ_MAX]) -> Result<&'a [u8], FlashFault> {
    let result = match *op {
        FlashOp::Read { area, offset, len } => {
            let len = usize::try_from(len).map_err(|_| FlashFault)?;
            let place = buffer.get_mut(..len).ok_or(FlashFault)?;
            return match flash::read(area, offset, place) {
                Ok(()) => Ok(place),
                Err(_) => Err(FlashFault),
            };
        }
        FlashOp::Write { area, offset, data } => flash::write(area, offset, data),
        FlashOp::Erase { area, offset, len } => flash::erase(area, offset, len),
    };
    result.map(|()| &[][..]).map_err(|_| FlashFault)
}

// A frame must fit the smallest transmit buffer that Kconfig allows.
const _: () = assert!(FRAME_MAX <= 256);
