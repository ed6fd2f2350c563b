// SPDX-License-Identifier: Apache-2.0
//! Configuration and control, 0x10 to 0x2F: what a controller sends (PROTOCOL.md §4.1 and §4.2).

use crate::address::Address;
use crate::fields::message;

message! {
    /// MOTOR_CONFIG: how a motor is driven.
    pub struct MotorConfig = 0x10 {
        /// Which motor.
        0 => motor: u32,
        /// Period of the pulse width modulation, in nanoseconds.
        1 => pwm_period: Option<u32>,
        /// Proportional gain.
        2 => kp: Option<f64>,
        /// Integral gain.
        3 => ki: Option<f64>,
        /// Derivative gain.
        4 => kd: Option<f64>,
        /// Highest speed, in revolutions per minute.
        5 => max_rpm: Option<i32>,
        /// Lowest speed, in revolutions per minute.
        6 => min_rpm: Option<i32>,
        /// Shortest pulse, in nanoseconds.
        7 => min_pwm_duty: Option<u32>,
    }
}

message! {
    /// PUMP_CONFIG: timing of a pump.
    #[derive(Eq, Hash)]
    pub struct PumpConfig = 0x11 {
        /// Which pump.
        0 => pump: u32,
        /// Length of a pulse, in milliseconds.
        1 => pulse_ms: Option<u32>,
        /// Pause after a pulse, in milliseconds.
        2 => recovery_ms: Option<u32>,
    }
}

message! {
    /// TEMP_CONFIG: control loop of a thermometer.
    pub struct TempConfig = 0x12 {
        /// Which thermometer.
        0 => thermometer: u32,
        /// Proportional gain.
        1 => kp: Option<f64>,
        /// Integral gain.
        2 => ki: Option<f64>,
        /// Derivative gain.
        3 => kd: Option<f64>,
    }
}

message! {
    /// GLOW_CONFIG: limit of a glow plug.
    #[derive(Eq, Hash)]
    pub struct GlowConfig = 0x13 {
        /// Which glow plug.
        0 => glow: u32,
        /// Longest time lit, in milliseconds.
        1 => max_duration: Option<u32>,
    }
}

message! {
    /// DATA_SUBSCRIPTION: asks a router for an appliance's telemetry.
    #[derive(Eq, Hash)]
    pub struct DataSubscription = 0x14 {
        /// The appliance.
        0 => appliance: Address,
    }
}

message! {
    /// DATA_UNSUBSCRIBE: ends a subscription.
    #[derive(Eq, Hash)]
    pub struct DataUnsubscribe = 0x15 {
        /// The appliance.
        0 => appliance: Address,
    }
}

message! {
    /// TELEMETRY_CONFIG: whether and how often an appliance reports.
    #[derive(Eq, Hash)]
    pub struct TelemetryConfig = 0x16 {
        /// Whether it reports at all, even when asked.
        0 => enabled: bool,
        /// Interval in milliseconds: 0 reports only when asked, other values are held within 100 to 5000.
        1 => interval_ms: u32,
    }
}

message! {
    /// TIMEOUT_CONFIG: after which silence of its controller an appliance becomes idle.
    #[derive(Eq, Hash)]
    pub struct TimeoutConfig = 0x17 {
        /// Whether silence matters.
        0 => enabled: bool,
        /// The silence, in milliseconds, held within 5000 to 60000.
        1 => timeout_ms: u32,
    }
}

message! {
    /// DISCOVERY_REQUEST: asks who is there.
    pub struct DiscoveryRequest = 0x1F;
}

message! {
    /// STATE_COMMAND: asks for a change of state.
    #[derive(Eq, Hash)]
    pub struct StateCommand = 0x20 {
        /// One of the constants of this type.
        0 => mode: u32,
        /// What the mode needs: a speed, a rate.
        1 => argument: Option<i32>,
    }
}

impl StateCommand {
    /// Mode: stop, with a cool-down if hot.
    pub const IDLE: u32 = 0;
    /// Mode: run the fan at the speed in the argument.
    pub const FAN: u32 = 1;
    /// Mode: heat.
    pub const HEAT: u32 = 2;
    /// Mode: stop everything, until power is cut.
    pub const EMERGENCY: u32 = 255;
}

message! {
    /// MOTOR_COMMAND: sets a motor's speed.
    #[derive(Eq, Hash)]
    pub struct MotorCommand = 0x21 {
        /// Which motor.
        0 => motor: u32,
        /// Speed, in revolutions per minute.
        1 => rpm: i32,
    }
}

message! {
    /// PUMP_COMMAND: sets a pump's rate.
    #[derive(Eq, Hash)]
    pub struct PumpCommand = 0x22 {
        /// Which pump.
        0 => pump: u32,
        /// Time from pulse to pulse, in milliseconds.
        1 => rate_ms: i32,
    }
}

message! {
    /// GLOW_COMMAND: lights a glow plug.
    #[derive(Eq, Hash)]
    pub struct GlowCommand = 0x23 {
        /// Which glow plug.
        0 => glow: u32,
        /// How long, in milliseconds; 0 puts it out.
        1 => duration_ms: i32,
    }
}

message! {
    /// TEMP_COMMAND: steers a thermometer's control loop.
    pub struct TempCommand = 0x24 {
        /// Which thermometer.
        0 => thermometer: u32,
        /// What to do, 0 to 4: 0 watches a motor, 4 sets the target.
        1 => kind: u32,
        /// Which motor, where the kind needs one.
        2 => motor: Option<u32>,
        /// Target temperature, in degrees Celsius.
        3 => target: Option<f64>,
    }
}

message! {
    /// SEND_TELEMETRY: asks for one report.
    #[derive(Eq, Hash)]
    pub struct SendTelemetry = 0x25 {
        /// One of the constants of this type.
        0 => kind: u32,
        /// Which motor, thermometer, …; [`SendTelemetry::ALL`] for each of them.
        1 => index: Option<u32>,
    }
}

impl SendTelemetry {
    /// Kind: STATE_DATA.
    pub const STATE: u32 = 0;
    /// Kind: MOTOR_DATA.
    pub const MOTOR: u32 = 1;
    /// Kind: TEMP_DATA.
    pub const TEMP: u32 = 2;
    /// Kind: PUMP_DATA.
    pub const PUMP: u32 = 3;
    /// Kind: GLOW_DATA.
    pub const GLOW: u32 = 4;
    /// Index: each of them.
    pub const ALL: u32 = u32::MAX;
}

message! {
    /// PING_REQUEST: asks for a sign of life; the only message that keeps an appliance's timeout from running out.
    pub struct PingRequest = 0x2F;
}
