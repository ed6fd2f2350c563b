// SPDX-License-Identifier: Apache-2.0
//! Bytes of every message on the wire, as of version 1 of the extension and the base protocol of 2026.
//!
//! APPEND ONLY. Devices in the field speak these bytes: a line that no longer passes is a device that can no
//! longer be updated. Never change or remove a line; add lines, or a file for the next version.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use fusain::*;

const DIGEST: [u8; 32] = [0x5A; 32];
const DIGEST_HEX: &str = "58205a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
const VERSION: Version = Version { major: 1, minor: 2, revision: 300, build: 70_000 };
const VERSION_HEX: &str = "84 01 02 19012c 1a00011170";

#[track_caller]
fn golden(message: Message<'_>, hex: &str) {
    let hex: String =
        hex.replace("{D}", DIGEST_HEX).replace("{V}", VERSION_HEX).chars().filter(|c| *c != ' ').collect();
    let mut out = [0; PAYLOAD_MAX];
    let length = message.encode(&mut out).unwrap();
    let written: String = out[..length].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(written, hex);
    assert_eq!(Message::decode(&out[..length]), Ok(message));
}

#[test]
fn configuration() {
    golden(
        Message::MotorConfig(MotorConfig {
            motor: 1,
            pwm_period: Some(50_000),
            kp: Some(4.0),
            ki: Some(0.1),
            kd: Some(-2.5),
            max_rpm: Some(3400),
            min_rpm: Some(-1),
            min_pwm_duty: Some(10_000),
        }),
        "8210a8 0001 0119c350 02fb4010000000000000 03fb3fb999999999999a 04fbc004000000000000 05190d48 0620 07192710",
    );
    golden(
        Message::PumpConfig(PumpConfig { pump: 0, pulse_ms: Some(50), recovery_ms: None }),
        "8211a2 0000 011832",
    );
    golden(
        Message::TempConfig(TempConfig { thermometer: 2, kp: None, ki: None, kd: Some(5.0) }),
        "8212a2 0002 03fb4014000000000000",
    );
    golden(
        Message::GlowConfig(GlowConfig { glow: 0, max_duration: Some(300_000) }),
        "8213a2 0000 011a000493e0",
    );
    let appliance = Address::new(0xAABB_CCDD_EEFF_0011);
    golden(Message::DataSubscription(DataSubscription { appliance }), "8214a1 001baabbccddeeff0011");
    golden(Message::DataUnsubscribe(DataUnsubscribe { appliance }), "8215a1 001baabbccddeeff0011");
    golden(
        Message::TelemetryConfig(TelemetryConfig { enabled: true, interval_ms: 500 }),
        "8216a2 00f5 011901f4",
    );
    golden(
        Message::TimeoutConfig(TimeoutConfig { enabled: false, timeout_ms: 30_000 }),
        "8217a2 00f4 01197530",
    );
    golden(Message::DiscoveryRequest, "82181ff6");
}

#[test]
fn control() {
    golden(
        Message::StateCommand(StateCommand { mode: StateCommand::FAN, argument: Some(2500) }),
        "821820a2 0001 011909c4",
    );
    golden(
        Message::StateCommand(StateCommand { mode: StateCommand::EMERGENCY, argument: None }),
        "821820a1 0018ff",
    );
    golden(Message::MotorCommand(MotorCommand { motor: 0, rpm: -300 }), "821821a2 0000 0139012b");
    golden(Message::PumpCommand(PumpCommand { pump: 0, rate_ms: 250 }), "821822a2 0000 0118fa");
    golden(Message::GlowCommand(GlowCommand { glow: 0, duration_ms: 300_000 }), "821823a2 0000 011a000493e0");
    golden(
        Message::TempCommand(TempCommand { thermometer: 0, kind: 4, motor: Some(1), target: Some(230.0) }),
        "821824a4 0000 0104 0201 03fb406cc00000000000",
    );
    golden(
        Message::SendTelemetry(SendTelemetry { kind: SendTelemetry::STATE, index: Some(SendTelemetry::ALL) }),
        "821825a2 0000 011affffffff",
    );
    golden(Message::PingRequest, "82182ff6");
}

#[test]
fn telemetry() {
    golden(
        Message::StateData(StateData {
            error: false,
            code: 0,
            state: ApplianceState::Idle.number(),
            timestamp_ms: 12_345,
        }),
        "821830a4 00f4 0100 0201 03193039",
    );
    golden(
        Message::MotorData(MotorData {
            motor: 0,
            timestamp_ms: 1000,
            rpm: 2500,
            target_rpm: -1,
            max_rpm: Some(1),
            min_rpm: Some(2),
            pwm: Some(3),
            pwm_max: Some(u32::MAX),
        }),
        "821831a8 0000 011903e8 021909c4 0320 0401 0502 0603 071affffffff",
    );
    golden(
        Message::PumpData(PumpData { pump: 0, timestamp_ms: 1000, event: 3, rate_ms: Some(250) }),
        "821832a4 0000 011903e8 0203 0318fa",
    );
    golden(
        Message::GlowData(GlowData { glow: 0, timestamp_ms: 1000, lit: true }),
        "821833a3 0000 011903e8 02f5",
    );
    golden(
        Message::TempData(TempData {
            thermometer: 0,
            timestamp_ms: 1000,
            reading: 225.5,
            rpm_control: Some(false),
            watched_motor: Some(-1),
            target: Some(0.0),
        }),
        "821834a6 0000 011903e8 02fb406c300000000000 03f4 0420 05fb0000000000000000",
    );
    golden(
        Message::DeviceAnnounce(DeviceAnnounce { motors: 1, thermometers: 2, pumps: 3, glows: 255 }),
        "821835a4 0001 0102 0203 0318ff",
    );
    golden(Message::PingResponse(PingResponse { uptime_ms: 123_456 }), "82183fa1 001a0001e240");
}

#[test]
fn update() {
    golden(
        Message::OtaStart(OtaStart { size: 127_456, digest: DIGEST, version: None, slot: None }),
        "821840a2 001a0001f1e0 01{D}",
    );
    golden(
        Message::OtaStart(OtaStart { size: u64::MAX, digest: DIGEST, version: Some(VERSION), slot: Some(1) }),
        "821840a4 001bffffffffffffffff 01{D} 02{V} 0301",
    );
    golden(Message::OtaData(OtaData { offset: 0, data: &[] }), "821841a2 0000 0140");
    golden(
        Message::OtaData(OtaData { offset: 65_536, data: &[1, 2, 3] }),
        "821841a2 001a00010000 0143010203",
    );
    golden(Message::OtaVerify(OtaVerify { digest: None }), "821842f6");
    golden(Message::OtaVerify(OtaVerify { digest: Some(DIGEST) }), "821842a1 00{D}");
    golden(Message::OtaActivate(OtaActivate { mode: Mode::Test, reboot: true }), "821843a1 0000");
    golden(Message::OtaActivate(OtaActivate { mode: Mode::Permanent, reboot: false }), "821843a2 0001 01f4");
    golden(Message::OtaQuery, "821844f6");
    let status = |state, offset, version| Message::OtaStatus(OtaStatus { state, offset, version });
    golden(status(OtaState::Idle, None, None), "821845a1 0000");
    golden(status(OtaState::Receiving, Some(63_728), None), "821845a2 0001 0119f8f0");
    golden(status(OtaState::Received, Some(127_456), None), "821845a2 0002 011a0001f1e0");
    golden(status(OtaState::Verified, None, Some(VERSION)), "821845a2 0003 02{V}");
    golden(status(OtaState::Activated, None, None), "821845a1 0004");
    golden(Message::OtaAbort, "82184ff6");
}

#[test]
fn errors() {
    golden(
        Message::InvalidCommand(InvalidCommand::parameter(None, Constraint::ValueTooLow)),
        "8218e0a2 0001 0201",
    );
    for (number, &constraint) in (0..).zip(Constraint::ALL) {
        golden(
            Message::InvalidCommand(InvalidCommand::parameter(Some(1), constraint)),
            &format!("8218e0a3 0001 0101 02{number:02x}"),
        );
    }
    assert_eq!(Constraint::ALL.len(), 16);
    golden(
        Message::InvalidCommand(InvalidCommand {
            code: InvalidCommand::BAD_INDEX,
            field: None,
            constraint: None,
        }),
        "8218e0a1 0002",
    );
    for (number, &reason) in (0..).zip(Reason::ALL) {
        golden(
            Message::StateReject(StateReject::because(5, reason)),
            &format!("8218e1a2 0005 01{number:02x}"),
        );
    }
    assert_eq!(Reason::ALL.len(), 6);
    golden(Message::StateReject(StateReject { code: 7, reason: None }), "8218e1a1 0007");
}

#[test]
fn extension() {
    golden(Message::Extension(Extension::InfoRequest), "821846a3 001a524b4e44 0101 0200");
    golden(
        Message::Extension(Extension::Info(Info {
            boot_number: 0xDEAD_BEEF,
            window: 8,
            version: VERSION,
            image_hash: DIGEST,
            flags: InfoFlags::CONFIRMED.with(InfoFlags::SIGNATURE_CHECKED, true),
            chunk_max: 100,
            durable: Some(4096),
            appliance_state: 1,
        })),
        "821846ab 001a524b4e44 0101 0201 031adeadbeef 0408 05{V} 06{D} 0711 081864 09191000 0a01",
    );
    golden(Message::Extension(Extension::OutcomeRequest { index: 0 }), "821846a3 001a524b4e44 0101 0202");
    golden(
        Message::Extension(Extension::OutcomeRequest { index: 3 }),
        "821846a4 001a524b4e44 0101 0202 0303",
    );
    let mut report = OutcomeReport {
        boot_number: 7,
        outcome: Outcome::Reverted,
        attempt: 9,
        target: Some(DIGEST),
        mode: Some(Mode::Test),
        stage: Some(3),
        code: Some(-5),
        reset_cause: Some(0x10),
        index: 0,
        total: 4,
    };
    golden(
        Message::Extension(Extension::Outcome(report)),
        "821846ad 001a524b4e44 0101 0203 0307 0404 0509 06{D} 0700 0803 0924 0a10 0b00 0c04",
    );
    for (number, &outcome) in (0..).zip(Outcome::ALL) {
        report = OutcomeReport {
            outcome,
            target: None,
            mode: None,
            stage: None,
            code: None,
            reset_cause: None,
            ..report
        };
        golden(
            Message::Extension(Extension::Outcome(report)),
            &format!("821846a8 001a524b4e44 0101 0203 0307 04{number:02x} 0509 0b00 0c04"),
        );
    }
    assert_eq!(Outcome::ALL.len(), 8);
}
