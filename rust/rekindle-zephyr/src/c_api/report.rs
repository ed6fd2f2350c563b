// SPDX-License-Identifier: Apache-2.0

//! Reports of an application in C: `rekindle_report_…()` of `rekindle/rekindle.h`.
//!
//! Nothing here is linked into an application that sends none.

use core::ffi::c_void;

use fusain::{EncodeError, GlowData, MotorData, PumpData, SendTelemetry, TempData};

use super::CApplication;
use crate::device::Outlet;
use crate::system;

/// `REKINDLE_ALL`: every kind, or every device of a kind.
const ALL: u32 = SendTelemetry::ALL;

/// `struct rekindle_motor`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CMotor {
    motor: u32,
    rpm: i32,
    target_rpm: i32,
    min_rpm: i32,
    max_rpm: i32,
    pulse_ns: u32,
    pulse_max_ns: u32,
    has_limits: bool,
    has_pulse: bool,
}

/// `struct rekindle_temperature`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CTemperature {
    reading: f64,
    target: f64,
    thermometer: u32,
    motor: i32,
    has_target: bool,
    has_motor: bool,
    steers: bool,
}

/// `struct rekindle_pump`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CPump {
    pump: u32,
    event: u32,
    rate_ms: i32,
    has_rate: bool,
}

impl CApplication {
    /// Asks the application for its reports.
    pub(super) fn report(&self, request: Option<SendTelemetry>, outlet: &mut Outlet<'_>) {
        let Some(report) = self.callbacks.telemetry else { return };
        let (kind, index) = request.map_or((ALL, ALL), |r| (r.kind, r.index.unwrap_or(ALL)));
        let outlet: *mut Outlet<'_> = outlet;
        // SAFETY: the function is the application's, for its context (`rekindle_run`); the
        // outlet is valid and exclusive for the call.
        unsafe { report(self.callbacks.context, kind, index, outlet.cast()) };
    }
}

/// Sends a motor's report: `rekindle_report_motor()` of the header.
///
/// # Safety
///
/// `outlet` is the one that a telemetry callback was given, and that callback has not
/// returned yet; `report` is null or valid for the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_report_motor(outlet: *mut c_void, report: *const CMotor) {
    // SAFETY: null or valid for the call.
    let Some(report) = (unsafe { report.as_ref() }) else { return };
    let data = MotorData {
        motor: report.motor,
        timestamp_ms: timestamp_ms(),
        rpm: report.rpm,
        target_rpm: report.target_rpm,
        max_rpm: report.has_limits.then_some(report.max_rpm),
        min_rpm: report.has_limits.then_some(report.min_rpm),
        pwm: report.has_pulse.then_some(report.pulse_ns),
        pwm_max: report.has_pulse.then_some(report.pulse_max_ns),
    };
    // SAFETY: the caller's promise is the same.
    unsafe { send(outlet, |out| data.encode(out)) };
}

/// Sends a thermometer's report: `rekindle_report_temperature()` of the header.
///
/// # Safety
///
/// As for [`rekindle_report_motor`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_report_temperature(outlet: *mut c_void, report: *const CTemperature) {
    // SAFETY: null or valid for the call.
    let Some(report) = (unsafe { report.as_ref() }) else { return };
    let data = TempData {
        thermometer: report.thermometer,
        timestamp_ms: timestamp_ms(),
        reading: report.reading,
        rpm_control: report.has_motor.then_some(report.steers),
        watched_motor: report.has_motor.then_some(report.motor),
        target: report.has_target.then_some(report.target),
    };
    // SAFETY: the caller's promise is the same.
    unsafe { send(outlet, |out| data.encode(out)) };
}

/// Sends a pump's report: `rekindle_report_pump()` of the header.
///
/// # Safety
///
/// As for [`rekindle_report_motor`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_report_pump(outlet: *mut c_void, report: *const CPump) {
    // SAFETY: null or valid for the call.
    let Some(report) = (unsafe { report.as_ref() }) else { return };
    let data = PumpData {
        pump: report.pump,
        timestamp_ms: timestamp_ms(),
        event: report.event,
        rate_ms: report.has_rate.then_some(report.rate_ms),
    };
    // SAFETY: the caller's promise is the same.
    unsafe { send(outlet, |out| data.encode(out)) };
}

/// Sends a glow plug's report: `rekindle_report_glow()` of the header.
///
/// # Safety
///
/// `outlet` as for [`rekindle_report_motor`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_report_glow(outlet: *mut c_void, glow: u32, lit: bool) {
    let data = GlowData { glow, timestamp_ms: timestamp_ms(), lit };
    // SAFETY: the caller's promise is the same.
    unsafe { send(outlet, |out| data.encode(out)) };
}

/// # Safety
///
/// `outlet` is null, or an outlet that is valid and used by nobody else during the call.
unsafe fn send(outlet: *mut c_void, encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>) {
    let outlet: *mut Outlet<'_> = outlet.cast();
    // SAFETY: the caller's promise is the same.
    if let Some(outlet) = unsafe { outlet.as_mut() } {
        outlet.send(encode);
    }
}

/// Time since boot, as reports have it: it starts anew every 49 days.
fn timestamp_ms() -> u32 {
    u32::try_from(system::uptime_ms() & u64::from(u32::MAX)).unwrap_or(0)
}
