// SPDX-License-Identifier: Apache-2.0
//! Reports, 0x30 to 0x3F: what an appliance sends (PROTOCOL.md §4.3).

use crate::error::wire_enum;
use crate::fields::message;

message! {
    /// STATE_DATA: the appliance's state.
    #[derive(Eq, Hash)]
    pub struct StateData = 0x30 {
        /// Whether there is an error.
        0 => error: bool,
        /// Which error: 0 none, 1 overheat, 2 sensor, 3 ignition, 4 flame-out, 5 motor stall, 6 pump, 7 stopped
        /// by command.
        1 => code: u32,
        /// An [`ApplianceState`]'s number.
        2 => state: u32,
        /// Time since boot, in milliseconds.
        3 => timestamp_ms: u32,
    }
}

wire_enum! {
    /// State of an appliance (PROTOCOL.md §4.4).
    pub enum ApplianceState(u32) {
        /// Waits for its sensors.
        0 => Initializing, "INITIALIZING", "initialising";
        /// Nothing runs. The only state in which an update is safe.
        1 => Idle, "IDLE", "idle";
        /// The fan runs by command.
        2 => Blowing, "BLOWING", "blowing";
        /// Ignition, first stage.
        3 => Preheat, "PREHEAT", "preheating";
        /// Ignition, second stage.
        4 => PreheatStage2, "PREHEAT_STAGE_2", "preheating, second stage";
        /// Burning.
        5 => Heating, "HEATING", "heating";
        /// The fan cools the chamber down.
        6 => Cooling, "COOLING", "cooling";
        /// Stopped by an error; may still be hot.
        7 => Error, "ERROR", "error";
        /// Emergency stop: ignores every command until power is cut.
        8 => EmergencyStop, "E_STOP", "emergency stop";
    }
}

message! {
    /// MOTOR_DATA: a motor's speed.
    #[derive(Eq, Hash)]
    pub struct MotorData = 0x31 {
        /// Which motor.
        0 => motor: u32,
        /// Time since boot, in milliseconds.
        1 => timestamp_ms: u32,
        /// Speed, in revolutions per minute.
        2 => rpm: i32,
        /// Speed wanted, in revolutions per minute.
        3 => target_rpm: i32,
        /// Highest speed, in revolutions per minute.
        4 => max_rpm: Option<i32>,
        /// Lowest speed, in revolutions per minute.
        5 => min_rpm: Option<i32>,
        /// Pulse, in nanoseconds.
        6 => pwm: Option<u32>,
        /// Longest pulse, in nanoseconds.
        7 => pwm_max: Option<u32>,
    }
}

message! {
    /// PUMP_DATA: something a pump did.
    #[derive(Eq, Hash)]
    pub struct PumpData = 0x32 {
        /// Which pump.
        0 => pump: u32,
        /// Time since boot, in milliseconds.
        1 => timestamp_ms: u32,
        /// What happened, 0 to 5.
        2 => event: u32,
        /// Time from pulse to pulse, in milliseconds.
        3 => rate_ms: Option<i32>,
    }
}

message! {
    /// GLOW_DATA: whether a glow plug is lit.
    #[derive(Eq, Hash)]
    pub struct GlowData = 0x33 {
        /// Which glow plug.
        0 => glow: u32,
        /// Time since boot, in milliseconds.
        1 => timestamp_ms: u32,
        /// Whether it is lit.
        2 => lit: bool,
    }
}

message! {
    /// TEMP_DATA: a temperature.
    pub struct TempData = 0x34 {
        /// Which thermometer.
        0 => thermometer: u32,
        /// Time since boot, in milliseconds.
        1 => timestamp_ms: u32,
        /// Reading, in degrees Celsius.
        2 => reading: f64,
        /// Whether the temperature steers a motor's speed.
        3 => rpm_control: Option<bool>,
        /// The motor it steers.
        4 => watched_motor: Option<i32>,
        /// Temperature wanted, in degrees Celsius.
        5 => target: Option<f64>,
    }
}

message! {
    /// DEVICE_ANNOUNCE: what an appliance has; from the stateless address and with four zeros, the end of a
    /// router's list.
    #[derive(Eq, Hash)]
    pub struct DeviceAnnounce = 0x35 {
        /// Number of motors.
        0 => motors: u8,
        /// Number of thermometers.
        1 => thermometers: u8,
        /// Number of pumps.
        2 => pumps: u8,
        /// Number of glow plugs.
        3 => glows: u8,
    }
}

impl DeviceAnnounce {
    /// Returns whether all four numbers are 0: the end of a router's list.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(self, Self { motors: 0, thermometers: 0, pumps: 0, glows: 0 })
    }
}

message! {
    /// PING_RESPONSE: a sign of life.
    #[derive(Eq, Hash)]
    pub struct PingResponse = 0x3F {
        /// Time since boot, in milliseconds.
        0 => uptime_ms: u32,
    }
}
