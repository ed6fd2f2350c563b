// SPDX-License-Identifier: Apache-2.0
//! What a device uses: the codec of each message by itself, and texts for its log.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use fusain::*;

/// Sends a message as a frame, receives it, and decodes it with its own codec.
macro_rules! goes_round {
    ($($message:expr => $type:ident),* $(,)?) => { $({
        let message: $type = $message;
        let mut frame = [0; FRAME_MAX];
        let length = message.encode_frame(Address::new(7), &mut frame).unwrap();
        let mut decoder = Decoder::default();
        for &byte in &frame[..length - 1] {
            assert_eq!(decoder.push(byte), None);
        }
        let packet = decoder.push(frame[length - 1]).unwrap().unwrap();
        assert_eq!(packet.address, Address::new(7));
        assert_eq!(message_code(packet.payload), Ok($type::CODE));
        assert_eq!($type::decode(packet.payload), Ok(message));
        assert_eq!(message.encode_frame(Address::new(7), &mut [0; 16]), Err(EncodeError::BufferTooSmall));
        // Another type's codec does not take it.
        let other = if $type::CODE == OtaAbort::CODE { OtaQuery::decode(packet.payload).map(|_| ()) }
            else { OtaAbort::decode(packet.payload).map(|_| ()) };
        assert_eq!(other, Err(DecodeError::OtherCode { code: $type::CODE }));
    })* };
}

#[test]
fn every_message_of_a_device_has_a_codec_of_its_own() {
    goes_round! {
        DiscoveryRequest => DiscoveryRequest,
        PingRequest => PingRequest,
        PingResponse { uptime_ms: 123_456 } => PingResponse,
        DeviceAnnounce { motors: 1, thermometers: 2, pumps: 1, glows: 1 } => DeviceAnnounce,
        StateData { error: false, code: 0, state: 1, timestamp_ms: 1 } => StateData,
        StateCommand { mode: StateCommand::EMERGENCY, argument: Some(0) } => StateCommand,
        TelemetryConfig { enabled: true, interval_ms: 0 } => TelemetryConfig,
        TimeoutConfig { enabled: true, timeout_ms: 30_000 } => TimeoutConfig,
        SendTelemetry { kind: SendTelemetry::STATE, index: None } => SendTelemetry,
        InvalidCommand::parameter(Some(0), Constraint::ValueConflict) => InvalidCommand,
        StateReject::because(1, Reason::UpdateInProgress) => StateReject,
        OtaStatus { state: OtaState::Received, offset: Some(5), version: None } => OtaStatus,
        OtaQuery => OtaQuery,
        OtaAbort => OtaAbort,
    }
}

#[test]
fn the_answers_of_the_extension_go_round() {
    let info = Info {
        boot_number: 1,
        window: 4,
        version: Version::default(),
        image_hash: [7; 32],
        flags: InfoFlags::CONFIRMED.with(InfoFlags::SWAP_PENDING, true).with(InfoFlags::CONFIRMED, false),
        chunk_max: 96,
        durable: None,
        appliance_state: 1,
    };
    assert!(info.flags.contains(InfoFlags::SWAP_PENDING) && !info.flags.contains(InfoFlags::CONFIRMED));
    let report = OutcomeReport {
        boot_number: u32::MAX,
        outcome: Outcome::Unknown,
        attempt: u32::MAX,
        target: Some([0x7E; 32]),
        mode: Some(Mode::Permanent),
        stage: Some(u32::MAX),
        code: Some(i32::MIN),
        reset_cause: Some(u32::MAX),
        index: u32::MAX,
        total: u32::MAX,
    };
    let mut payload = [0; PAYLOAD_MAX];
    let length = info.encode(&mut payload).unwrap();
    assert_eq!(Extension::decode(&payload[..length]), Ok(Extension::Info(info)));
    // The longest report there can be fits a frame.
    let length = report.encode(&mut payload).unwrap();
    assert_eq!(Extension::decode(&payload[..length]), Ok(Extension::Outcome(report)));
    assert!(info.encode_frame(Address::new(1), &mut [0; FRAME_MAX]).is_ok());
    assert!(report.encode_frame(Address::new(1), &mut [0; FRAME_MAX]).is_ok());
}

#[test]
fn only_four_zeros_end_a_list() {
    let announce = |glows| DeviceAnnounce { motors: 0, thermometers: 0, pumps: 0, glows };
    assert!(announce(0).is_end());
    assert!(!announce(1).is_end());
}

#[test]
fn every_error_has_words() {
    let texts = [
        FrameError::Length { length: 115 }.to_string(),
        FrameError::Empty.to_string(),
        FrameError::UnexpectedEnd.to_string(),
        FrameError::MissingEnd.to_string(),
        FrameError::Restarted.to_string(),
        FrameError::Gap.to_string(),
        DecodeError::Envelope.to_string(),
        DecodeError::OtherCode { code: 0x40 }.to_string(),
        DecodeError::Payload { code: 0x40 }.to_string(),
        EncodeError::BufferTooSmall.to_string(),
        EncodeError::PayloadTooLong.to_string(),
        EncodeError::PayloadEmpty.to_string(),
        ParseAddressError.to_string(),
        ParseVersionError.to_string(),
        UnknownValue(9).to_string(),
    ];
    for (index, text) in texts.iter().enumerate() {
        assert!(text.len() > 8 && !texts[..index].contains(text), "{text:?}");
    }
    for names in [
        Constraint::ALL.iter().map(|value| (value.name(), value.to_string())).collect::<Vec<_>>(),
        Reason::ALL.iter().map(|value| (value.name(), value.to_string())).collect(),
        Outcome::ALL.iter().map(|value| (value.name(), value.to_string())).collect(),
        OtaState::ALL.iter().map(|value| (value.name(), value.to_string())).collect(),
        Mode::ALL.iter().map(|value| (value.name(), value.to_string())).collect(),
        ApplianceState::ALL.iter().map(|value| (value.name(), value.to_string())).collect(),
    ] {
        for (index, (name, words)) in names.iter().enumerate() {
            assert!(names[..index].iter().all(|(other, text)| other != name && text != words), "{name}");
        }
    }
}
