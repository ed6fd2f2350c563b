// SPDX-License-Identifier: Apache-2.0

//! The appliance's reports: one fan, one thermometer, one pump, one glow plug. Its state is
//! reported by the endpoint.

use fusain::{GlowData, MotorData, PumpData, SendTelemetry, TempData};
use rekindle_zephyr::device::Outlet;

use crate::heater::Heater;

const MAX_RPM: i32 = 6_000;
const MIN_RPM: i32 = 800;
/// The pump's cycle while it burns, in milliseconds.
const PUMP_RATE_MS: i32 = 500;
/// What a pump reports: it is ready, or a cycle has begun.
const PUMP_READY: u32 = 1;
const PUMP_CYCLE: u32 = 3;

/// Sends what was asked for, or everything.
pub(crate) fn send(now_ms: u64, request: Option<SendTelemetry>, heater: &Heater, outlet: &mut Outlet<'_>) {
    // There is one of each, so only index 0 and "all" exist.
    let here = request.is_none_or(|r| matches!(r.index, None | Some(0 | SendTelemetry::ALL)));
    if !here {
        return;
    }
    let wanted = |kind| request.is_none_or(|r| r.kind == kind);
    let timestamp_ms = u32::try_from(now_ms & u64::from(u32::MAX)).unwrap_or(0);
    if wanted(SendTelemetry::MOTOR) {
        let rpm = heater.fan_rpm();
        let data = MotorData {
            motor: 0,
            timestamp_ms,
            rpm,
            target_rpm: rpm,
            max_rpm: Some(MAX_RPM),
            min_rpm: Some(MIN_RPM),
            pwm: None,
            pwm_max: None,
        };
        outlet.send(|out| data.encode(out));
    }
    if wanted(SendTelemetry::TEMP) {
        let data = TempData {
            thermometer: 0,
            timestamp_ms,
            reading: f64::from(heater.temperature()),
            rpm_control: None,
            watched_motor: None,
            target: heater.target().map(f64::from),
        };
        outlet.send(|out| data.encode(out));
    }
    if wanted(SendTelemetry::PUMP) {
        let runs = heater.pumping();
        let event = if runs { PUMP_CYCLE } else { PUMP_READY };
        let data = PumpData { pump: 0, timestamp_ms, event, rate_ms: runs.then_some(PUMP_RATE_MS) };
        outlet.send(|out| data.encode(out));
    }
    if wanted(SendTelemetry::GLOW) {
        let data = GlowData { glow: 0, timestamp_ms, lit: heater.glows() };
        outlet.send(|out| data.encode(out));
    }
}
