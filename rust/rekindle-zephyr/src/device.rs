// SPDX-License-Identifier: Apache-2.0

//! A whole device: the appliance endpoint with its flash, its bootloader and its link.
//!
//! The endpoint says what is to be done, this carries it out one to one: the flash
//! operations in which a power cut was simulated are the ones that reach the flash map.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use fusain::{DeviceAnnounce, FRAME_MAX, Mode};
use rekindle_session::appliance::{Appliance, Event, Identity, Output, Status};
use rekindle_session::port::{FlashFault, FlashOp, READ_MAX};
use rekindle_session::receiver::{BootFacts, Config, ConfigError, EraseMode};

use crate::{Errno, boot, ffi, flash, link::Link, smp, system};

/// Longest wait for room in the transmitter. A link that takes nothing for this long is
/// down, and the frame is lost like any other on a broken link.
const SEND_TIMEOUT_MS: u32 = 1_000;
/// Bytes that a frame with data takes at most: a payload of 113 bytes, address, length and
/// CRC, each byte stuffed, and both delimiters.
const DATA_FRAME_MAX: u32 = 250;
/// Largest window worth announcing: 24 frames are 2.4 KB on their way, a quarter of a second
/// at 115200 Bd.
const WINDOW_MAX: u32 = 24;
/// How long the last answer may still take on the way before the device is gone.
const REBOOT_PAUSE_MS: u32 = 250;
/// Longest sleep, so that the application is asked now and then.
const SLEEP_MAX_MS: u64 = 100;

/// What a device's application brings along.
pub trait Application {
    /// State and safety at this moment.
    fn status(&mut self, now_ms: u64) -> Status;
    /// Something happened that it may want to know or must act on.
    fn event(&mut self, now_ms: u64, event: &Event);
    /// A controller was answered: somebody is there.
    fn answered(&mut self, now_ms: u64);
    /// What it asks for; called again and again.
    fn request(&mut self, now_ms: u64) -> Option<Request>;
}

/// What an application can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Note in the journal how far the self-test came.
    Stage {
        /// The application's number; 0 is "booted".
        stage: u32,
        /// 0 while all is well.
        code: i32,
    },
    /// The self-test has passed: keep the running image.
    Confirm,
    /// Reset, once everything noted before is on flash.
    Reboot,
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

/// How a device takes part; the rest is asked from Zephyr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The answer to a discovery.
    pub announce: DeviceAnnounce,
    /// It is alone with its controller on the link.
    pub point_to_point: bool,
    /// When the slot is erased.
    pub erase: EraseMode,
}

/// Where the device lies.
struct Place(UnsafeCell<MaybeUninit<Device>>);

// SAFETY: whoever claims the device gets the only reference to the place (`Device::start`).
unsafe impl Sync for Place {}

static PLACE: Place = Place(UnsafeCell::new(MaybeUninit::uninit()));

/// One device during one boot.
#[derive(Debug)]
pub struct Device {
    identity: Identity,
    boot: BootFacts,
    appliance: Appliance,
    link: Link,
    received: [u8; 64],
    next: usize,
    end: usize,
    /// Time at which the link was last looked at.
    looked_ms: u64,
    restart: bool,
}

impl Device {
    /// Opens flash and link and learns what this boot is. There is one device per boot; it
    /// lies in static memory, so that the caller's stack need not hold its buffers.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what the device lacks, or that it was started before.
    pub fn start(options: &Options) -> Result<&'static mut Self, StartError> {
        if !ffi::rekindle_claim_device() {
            return Err(StartError::Device(Errno::BUSY));
        }
        let place: *mut MaybeUninit<Self> = PLACE.0.get();
        // SAFETY: the claim succeeds once per boot, so this is the only reference that is
        // ever made to the place, and nothing else accesses it.
        let place = unsafe { &mut *place };
        Self::new(options).map(|device| place.write(device))
    }

    /// Kept apart, so that what it needs of the stack is free again when the device runs.
    #[inline(never)]
    fn new(options: &Options) -> Result<Self, StartError> {
        let link = Link::open()?;
        let identity = Identity {
            address: system::device_address(),
            announce: options.announce,
            point_to_point: options.point_to_point,
            serial: true,
        };
        let boot = BootFacts {
            confirmed: boot::is_confirmed(),
            swap_type: boot::swap_type(),
            reset_cause: system::reset_cause(),
            boot_number: system::boot_number(),
        };
        let window = link.capacity().checked_div(DATA_FRAME_MAX).unwrap_or(1).clamp(1, WINDOW_MAX);
        let config = Config {
            window: u8::try_from(window).unwrap_or(1),
            erase: options.erase,
            ..Config::new(flash::layout()?)
        };
        let appliance = Appliance::new(identity, config, boot).map_err(StartError::Config)?;
        let looked_ms = system::uptime_ms();
        let received = [0; 64];
        Ok(Self { identity, boot, appliance, link, received, next: 0, end: 0, looked_ms, restart: false })
    }

    /// Who this device is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What this boot is.
    #[must_use]
    pub fn boot(&self) -> &BootFacts {
        &self.boot
    }

    /// The endpoint, to ask for its state.
    #[must_use]
    pub fn appliance(&self) -> &Appliance {
        &self.appliance
    }

    /// Received bytes lost since boot.
    #[must_use]
    pub fn overruns(&self) -> u32 {
        self.link.overruns()
    }

    /// One turn of the device's loop: at most one flash operation or one frame, or a short
    /// sleep.
    pub fn turn(&mut self, application: &mut impl Application) {
        let now_ms = system::uptime_ms();
        self.receive(now_ms);
        self.appliance.set_status(application.status(now_ms));
        self.requests(application, now_ms);
        smp::turn(&mut self.appliance, now_ms);
        match self.appliance.poll(now_ms) {
            Output::Flash(op) => {
                let mut buffer = [0; READ_MAX];
                let result = carry_out(&op, &mut buffer);
                self.appliance.flash_done(result);
            }
            Output::RequestUpgrade { image: _, mode } => {
                let result = boot::request_upgrade(mode == Mode::Permanent);
                self.appliance.boot_done(result.map_err(|_| FlashFault));
            }
            Output::Confirm => self.appliance.boot_done(boot::confirm().map_err(|_| FlashFault)),
            Output::Send(frame) => {
                // A link that takes nothing loses the frame; the controller asks again.
                let _ = self.link.write(frame, Some(SEND_TIMEOUT_MS));
                application.answered(now_ms);
            }
            Output::Event(event) => application.event(now_ms, &event),
            Output::Reboot => self.reboot(),
            Output::Wait { until_ms } => {
                if self.restart {
                    self.reboot();
                }
                self.sleep(now_ms, until_ms);
            }
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
                self.looked_ms = now_ms;
                self.next = 0;
                self.end = self.link.read(&mut self.received, Some(0)).len();
            }
            let Some(byte) = self.received.get(self.next..self.end).and_then(<[u8]>::first) else {
                return;
            };
            self.next = self.next.saturating_add(1);
            self.appliance.push(at_ms, *byte);
            at_ms = now_ms;
        }
    }

    fn requests(&mut self, application: &mut impl Application, now_ms: u64) {
        match application.request(now_ms) {
            None => {}
            Some(Request::Stage { stage, code }) => self.appliance.report_stage(stage, code),
            Some(Request::Confirm) => self.appliance.confirm(),
            Some(Request::Reboot) => self.restart = true,
        }
    }

    fn sleep(&mut self, now_ms: u64, until_ms: Option<u64>) {
        let wait_ms = until_ms.map_or(SLEEP_MAX_MS, |at| at.saturating_sub(now_ms).min(SLEEP_MAX_MS));
        let wait_ms = u32::try_from(wait_ms).unwrap_or(0);
        if !self.appliance.wants_bytes() || self.next < self.end {
            system::sleep_ms(wait_ms.clamp(1, 10));
            return;
        }
        self.next = 0;
        self.end = self.link.read(&mut self.received, Some(wait_ms)).len();
        self.looked_ms = system::uptime_ms();
    }

    /// The answer to ACTIVATE must leave the device before it does.
    fn reboot(&mut self) -> ! {
        let _ = self.link.drain(Some(SEND_TIMEOUT_MS));
        system::sleep_ms(REBOOT_PAUSE_MS);
        system::reboot()
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
