// SPDX-License-Identifier: Apache-2.0
//! Messages as JSON, with the field names of PROTOCOL.md.

use fusain::{Constraint, Extension, Info, Message, OutcomeReport, Reason, Version, message_name};
use serde_json::{Map, Value, json};

use crate::output::hex;

/// An object of the named fields of a message; absent ones are left out.
macro_rules! fields {
    ($message:expr => $($field:ident),+) => {
        object([ $( (stringify!($field), json!($message.$field)) ),+ ])
    };
}

/// The whole message: type, code and fields.
pub(crate) fn message(message: &Message<'_>) -> Map<String, Value> {
    let code = message.code();
    let mut map = Map::new();
    map.insert("type".to_owned(), json!(message_name(code)));
    map.insert("code".to_owned(), json!(code));
    let fields = fields_of(message);
    if !fields.as_object().is_some_and(Map::is_empty) {
        map.insert("fields".to_owned(), fields);
    }
    map
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    fields
        .into_iter()
        .filter(|(_, v)| !v.is_null())
        .map(|(k, v)| (k.to_owned(), v))
        .collect::<Map<_, _>>()
        .into()
}

fn fields_of(message: &Message<'_>) -> Value {
    match message {
        Message::MotorConfig(m) => {
            fields!(m => motor, pwm_period, kp, ki, kd, max_rpm, min_rpm, min_pwm_duty)
        }
        Message::PumpConfig(m) => fields!(m => pump, pulse_ms, recovery_ms),
        Message::TempConfig(m) => fields!(m => thermometer, kp, ki, kd),
        Message::GlowConfig(m) => fields!(m => glow, max_duration),
        Message::DataSubscription(m) => object([("appliance", json!(m.appliance.to_string()))]),
        Message::DataUnsubscribe(m) => object([("appliance", json!(m.appliance.to_string()))]),
        Message::TelemetryConfig(m) => fields!(m => enabled, interval_ms),
        Message::TimeoutConfig(m) => fields!(m => enabled, timeout_ms),
        Message::StateCommand(m) => fields!(m => mode, argument),
        Message::MotorCommand(m) => fields!(m => motor, rpm),
        Message::PumpCommand(m) => fields!(m => pump, rate_ms),
        Message::GlowCommand(m) => fields!(m => glow, duration_ms),
        Message::TempCommand(m) => fields!(m => thermometer, kind, motor, target),
        Message::SendTelemetry(m) => fields!(m => kind, index),
        Message::StateData(m) => fields!(m => error, code, state, timestamp_ms),
        Message::MotorData(m) => {
            fields!(m => motor, timestamp_ms, rpm, target_rpm, max_rpm, min_rpm, pwm, pwm_max)
        }
        Message::PumpData(m) => fields!(m => pump, timestamp_ms, event, rate_ms),
        Message::GlowData(m) => fields!(m => glow, timestamp_ms, lit),
        Message::TempData(m) => {
            fields!(m => thermometer, timestamp_ms, reading, rpm_control, watched_motor, target)
        }
        Message::DeviceAnnounce(m) => fields!(m => motors, thermometers, pumps, glows),
        Message::PingResponse(m) => fields!(m => uptime_ms),
        Message::InvalidCommand(m) => object([
            ("code", json!(m.code)),
            ("field", json!(m.field)),
            ("constraint", json!(m.constraint)),
            (
                "constraint_name",
                json!(m.constraint.and_then(|n| Constraint::try_from(n).ok()).map(Constraint::name)),
            ),
        ]),
        Message::StateReject(m) => object([
            ("code", json!(m.code)),
            ("reason", json!(m.reason)),
            ("reason_name", json!(m.reason.and_then(|n| Reason::try_from(n).ok()).map(Reason::name))),
        ]),
        Message::Extension(extension) => extension_fields(extension),
        update => update_fields(update),
    }
}

fn update_fields(message: &Message<'_>) -> Value {
    match message {
        Message::OtaStart(m) => object([
            ("size", json!(m.size)),
            ("digest", json!(hex(&m.digest))),
            ("version", json!(m.version.map(version))),
            ("slot", json!(m.slot)),
        ]),
        Message::OtaData(m) => object([("offset", json!(m.offset)), ("data", json!(hex(m.data)))]),
        Message::OtaVerify(m) => object([("digest", json!(m.digest.as_ref().map(|d| hex(d))))]),
        Message::OtaActivate(m) => object([
            ("mode", json!(m.mode.number())),
            ("mode_name", json!(m.mode.name())),
            ("reboot", json!(m.reboot)),
        ]),
        Message::OtaStatus(m) => object([
            ("state", json!(m.state.number())),
            ("state_name", json!(m.state.name())),
            ("offset", json!(m.offset)),
            ("version", json!(m.version.map(version))),
        ]),
        // Messages without content, and types that are not known.
        _ => object([]),
    }
}

fn extension_fields(extension: &Extension) -> Value {
    match extension {
        Extension::InfoRequest => object([("operation", json!("INFO_REQUEST"))]),
        Extension::OutcomeRequest { index } => {
            object([("operation", json!("OUTCOME_REQUEST")), ("index", json!(index))])
        }
        Extension::Info(m) => with_operation("INFO", info(m)),
        Extension::Outcome(m) => with_operation("OUTCOME", outcome(m)),
        Extension::Other { magic, version, operation } => {
            object([("magic", json!(magic)), ("version", json!(version)), ("operation", json!(operation))])
        }
    }
}

fn with_operation(operation: &str, mut fields: Value) -> Value {
    if let Some(map) = fields.as_object_mut() {
        map.insert("operation".to_owned(), json!(operation));
    }
    fields
}

/// What a device runs and can do.
pub(crate) fn info(m: &Info) -> Value {
    object([
        ("boot_number", json!(m.boot_number)),
        ("window", json!(m.window)),
        ("version", json!(version(m.version))),
        ("image_hash", json!(hex(&m.image_hash))),
        ("confirmed", json!(m.flags.contains(fusain::InfoFlags::CONFIRMED))),
        ("swap_pending", json!(m.flags.contains(fusain::InfoFlags::SWAP_PENDING))),
        ("flags", json!(m.flags.0)),
        ("chunk_max", json!(m.chunk_max)),
        ("durable", json!(m.durable)),
        ("appliance_state", json!(m.appliance_state)),
    ])
}

/// What became of an update.
pub(crate) fn outcome(m: &OutcomeReport) -> Value {
    object([
        ("boot_number", json!(m.boot_number)),
        ("outcome", json!(m.outcome.name())),
        ("attempt", json!(m.attempt)),
        ("target", json!(m.target.as_ref().map(|hash| hex(hash)))),
        ("mode", json!(m.mode.map(fusain::Mode::name))),
        ("stage", json!(m.stage)),
        ("code", json!(m.code)),
        ("reset_cause", json!(m.reset_cause)),
        ("index", json!(m.index)),
        ("total", json!(m.total)),
    ])
}

fn version(version: Version) -> String {
    version.to_string()
}
