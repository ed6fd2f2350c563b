// SPDX-License-Identifier: Apache-2.0

//! `rekindle/rekindle.h`: the device for an application in C.
//!
//! [`Application`] with a function pointer for each of its methods. What other threads ask
//! of the session waits in `modules/rekindle/src/application.c` and is taken up here, in the
//! device's own loop; so nothing in this crate is ever used by two threads.

pub mod report;

use core::ffi::c_void;

use fusain::{ApplianceState, DeviceAnnounce, Mode, SendTelemetry, Version};
use rekindle_session::appliance::{Event, Status};
use rekindle_session::port::Area;
use rekindle_session::receiver::Event as Update;

use crate::device::{Application, Device, Options, Outlet, StartError};
use crate::trial::{Check, Notice};
use crate::{Errno, ffi};

/// `struct rekindle_status`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CStatus {
    state: u32,
    error: u32,
    safe: bool,
}

/// `struct rekindle_version`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CVersion {
    major: u8,
    minor: u8,
    revision: u16,
    build: u32,
}

/// `struct rekindle_event`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CEvent {
    kind: u32,
    size: u32,
    offset: u32,
    attempt: u32,
    outcome: u32,
    stage: u32,
    code: i32,
    area: u32,
    version: CVersion,
}

/// Numbers of `enum rekindle_event_type`.
mod kind {
    pub(super) const STARTED: u32 = 0;
    pub(super) const RESUMED: u32 = 1;
    pub(super) const VERIFIED: u32 = 2;
    pub(super) const CLOSED: u32 = 3;
    pub(super) const UNDER_TEST: u32 = 4;
    pub(super) const SETTLED: u32 = 5;
    pub(super) const FAULT: u32 = 6;
    pub(super) const STAGE: u32 = 7;
    pub(super) const CONFIRMED: u32 = 8;
    pub(super) const FAILED: u32 = 9;
    pub(super) const FRAMING: u32 = 10;
}

/// `REKINDLE_TESTING`, a self-test's answer.
const TESTING: i32 = 1;

/// `REKINDLE_REQUEST_…`, bits of what other threads ask for.
const EMERGENCY: u32 = 1;
const RESET: u32 = 2;

/// `struct rekindle_callbacks`.
#[repr(C)]
#[derive(Debug)]
pub struct Callbacks {
    context: *mut c_void,
    motors: u8,
    thermometers: u8,
    pumps: u8,
    glows: u8,
    status: Option<unsafe extern "C" fn(*mut c_void, *mut CStatus)>,
    may_reset: Option<unsafe extern "C" fn(*mut c_void) -> bool>,
    self_test: Option<unsafe extern "C" fn(*mut c_void, *mut u32) -> i32>,
    progress: Option<unsafe extern "C" fn(*mut c_void, u32, u32)>,
    swap_pending: Option<unsafe extern "C" fn(*mut c_void, bool)>,
    command: Option<unsafe extern "C" fn(*mut c_void, u32, *const i32)>,
    communication_lost: Option<unsafe extern "C" fn(*mut c_void)>,
    event: Option<unsafe extern "C" fn(*mut c_void, *const CEvent)>,
    telemetry: Option<unsafe extern "C" fn(*mut c_void, u32, u32, *mut c_void)>,
}

/// The application behind the callbacks. Only [`rekindle_run`] makes one, of callbacks that
/// its caller vouches for.
struct CApplication {
    callbacks: &'static Callbacks,
    /// The stage that the self-test named last.
    stage: u32,
}

impl Application for CApplication {
    fn status(&mut self, _now_ms: u64) -> Status {
        // What holds if the application does not say: nothing is safe.
        let mut status = CStatus { state: 0, error: 0, safe: false };
        if let Some(ask) = self.callbacks.status {
            // SAFETY: the function is the application's, for its context (`rekindle_run`);
            // `status` is valid and exclusive for the call.
            unsafe { ask(self.callbacks.context, &raw mut status) };
        }
        let (state, safe) = match ApplianceState::try_from(status.state) {
            Ok(state) => (state, status.safe),
            // No state of the protocol: whatever it is, it is not known to be safe.
            Err(_) => (ApplianceState::Error, false),
        };
        Status { state, safe, error: status.error }
    }

    fn may_reset(&mut self, now_ms: u64) -> bool {
        match self.callbacks.may_reset {
            None => self.status(now_ms).safe,
            // SAFETY: as for `status`.
            Some(ask) => unsafe { ask(self.callbacks.context) },
        }
    }

    fn self_test(&mut self, _now_ms: u64) -> Check {
        let Some(test) = self.callbacks.self_test else { return Check::Passed };
        let mut stage = self.stage;
        // SAFETY: as for `status`; `stage` is valid and exclusive for the call.
        let answer = unsafe { test(self.callbacks.context, &raw mut stage) };
        self.stage = stage;
        match answer {
            0 => Check::Passed,
            TESTING => Check::At(stage),
            code => Check::Failed { stage, code },
        }
    }

    fn event(&mut self, _now_ms: u64, event: &Event) {
        let context = self.callbacks.context;
        match *event {
            Event::Update(Update::Progress { durable, size }) => {
                if let Some(tell) = self.callbacks.progress {
                    // SAFETY: as for `status`.
                    unsafe { tell(context, durable, size) };
                }
            }
            Event::Update(Update::SwapPending { mode }) => {
                if let Some(tell) = self.callbacks.swap_pending {
                    // SAFETY: as for `status`.
                    unsafe { tell(context, mode == Mode::Permanent) };
                }
            }
            Event::Update(ref update) => self.tell(&describe(update)),
            Event::StateCommand(command) => {
                if let Some(tell) = self.callbacks.command {
                    let argument: *const i32 = command.argument.as_ref().map_or(core::ptr::null(), |a| a);
                    // SAFETY: as for `status`; `argument` is null or valid for the call.
                    unsafe { tell(context, command.mode, argument) };
                }
            }
            Event::CommunicationLost => {
                if let Some(tell) = self.callbacks.communication_lost {
                    // SAFETY: as for `status`.
                    unsafe { tell(context) };
                }
            }
            Event::Framing(_) => self.tell(&CEvent { kind: kind::FRAMING, ..CEvent::default() }),
            Event::Telemetry(_) => {}
        }
    }

    fn trial(&mut self, notice: Notice) {
        self.tell(&match notice {
            Notice::Stage { stage, code } => CEvent { kind: kind::STAGE, stage, code, ..CEvent::default() },
            Notice::Confirmed => CEvent { kind: kind::CONFIRMED, ..CEvent::default() },
            Notice::Failed => CEvent { kind: kind::FAILED, ..CEvent::default() },
        });
    }

    fn telemetry(&mut self, _now_ms: u64, request: Option<SendTelemetry>, outlet: &mut Outlet<'_>) {
        self.report(request, outlet);
    }
}

impl CApplication {
    fn tell(&self, event: &CEvent) {
        if let Some(tell) = self.callbacks.event {
            // SAFETY: as for `status`; `event` is valid for the call.
            unsafe { tell(self.callbacks.context, event) };
        }
    }
}

fn describe(update: &Update) -> CEvent {
    let mut event = CEvent::default();
    event.kind = match *update {
        Update::Started { size } => {
            event.size = size;
            kind::STARTED
        }
        Update::Resumed { offset, size } => {
            (event.offset, event.size) = (offset, size);
            kind::RESUMED
        }
        Update::Verified { version } => {
            event.version = version.into();
            kind::VERIFIED
        }
        Update::Closed => kind::CLOSED,
        Update::UnderTest { attempt } => {
            event.attempt = attempt;
            kind::UNDER_TEST
        }
        Update::Settled { attempt, outcome } => {
            (event.attempt, event.outcome) = (attempt, u32::from(outcome.number()));
            kind::SETTLED
        }
        Update::Fault { area } => {
            event.area = number(area);
            kind::FAULT
        }
        // They have callbacks of their own.
        Update::Progress { .. } | Update::SwapPending { .. } => event.kind,
    };
    event
}

fn number(area: Area) -> u32 {
    match area {
        Area::Primary => 0,
        Area::Secondary => 1,
        Area::Journal => 2,
    }
}

impl From<Version> for CVersion {
    fn from(version: Version) -> Self {
        Self { major: version.major, minor: version.minor, revision: version.revision, build: version.build }
    }
}

/// Runs the device on the calling thread: `rekindle_run()` of the header.
///
/// # Safety
///
/// `callbacks` is null, or points to callbacks that are valid and unchanged for as long as
/// this runs, and whose functions may be called with their context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_run(callbacks: *const Callbacks) -> i32 {
    // SAFETY: null or valid for as long as this runs, which is for good.
    let callbacks: Option<&'static Callbacks> = unsafe { callbacks.as_ref() };
    let Some(callbacks) = callbacks.filter(|c| c.status.is_some()) else {
        return failed(Errno::INVALID);
    };
    let mut application = CApplication { callbacks, stage: 0 };
    let announce = DeviceAnnounce {
        motors: callbacks.motors,
        thermometers: callbacks.thermometers,
        pumps: callbacks.pumps,
        glows: callbacks.glows,
    };
    // By reference: moved, the device would be on the stack twice.
    match &mut Device::start(&Options { announce }) {
        Err(StartError::Device(errno)) => failed(*errno),
        Err(StartError::Config(_)) => failed(Errno::INVALID),
        Ok(device) => {
            ffi::rekindle_started(0);
            loop {
                requests(device);
                device.turn(&mut application);
            }
        }
    }
}

/// Tells whoever waits for the start why there is none.
fn failed(error: Errno) -> i32 {
    ffi::rekindle_started(error.code);
    error.code
}

/// Takes up what other threads have asked for.
fn requests(device: &mut Device) {
    let wanted = ffi::rekindle_take_requests();
    if wanted & EMERGENCY != 0 {
        device.emergency();
    }
    if wanted & RESET != 0 {
        device.request_reset();
    }
}
