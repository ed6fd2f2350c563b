// SPDX-License-Identifier: Apache-2.0
//! What is accepted as a payload and how the rest is refused: PROTOCOL.md §3, §5 and §7.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use fusain::*;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| *c != ' ').collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
}

fn field(code: u8, field: i32, constraint: Constraint) -> DecodeError {
    DecodeError::Field { code, field, constraint }
}

/// Both decoders refuse a command in the same way.
#[track_caller]
fn refused(payload: &str, expected: DecodeError) {
    let payload = unhex(payload);
    assert_eq!(Message::decode(&payload), Err(expected));
    assert_eq!(Command::decode(&payload), Err(expected));
}

#[track_caller]
fn status(payload: &str) -> OtaStatus {
    match Message::decode(&unhex(payload)) {
        Ok(Message::OtaStatus(status)) => status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_envelope_has_two_forms_and_no_more() {
    for good in ["8214a10000", "821814a10000", "82182ff6"] {
        assert!(Message::decode(&unhex(good)).is_ok(), "{good}");
    }
    for bad in [
        "",
        "82",
        "8218",
        "9f182ff6ff",
        "9800f6",
        "980218 2ff6",
        "8319 002f f6",
        "8219002ff6",
        "821a0000002ff6",
        "8138 2ff6",
        "8238 10f6",
        "82f5f6",
        "a1182ff6",
        "c0821844f6",
        "82612ff6",
    ] {
        assert_eq!(message_code(&unhex(bad)), Err(DecodeError::Envelope), "{bad}");
        assert_eq!(Message::decode(&unhex(bad)), Err(DecodeError::Envelope), "{bad}");
        assert_eq!(Command::decode(&unhex(bad)), Err(DecodeError::Envelope), "{bad}");
        assert_eq!(DecodeError::Envelope.invalid_command(), None);
    }
    // Longer than any frame can carry.
    let long = [&unhex("821845a2 0000 0d5901")[..], &[0; 0x10A]].concat();
    assert_eq!(Message::decode(&long), Err(DecodeError::Envelope));
}

#[test]
fn nothing_is_said_in_four_ways() {
    for empty in ["f6", "f7", "a0", "bfff", "a1 20f6", "bf 18ff 00 ff"] {
        for (code, command) in [
            ("44", Command::Query),
            ("4f", Command::Abort),
            ("42", Command::Verify(OtaVerify { digest: None })),
        ] {
            assert_eq!(Command::decode(&unhex(&format!("8218{code}{empty}"))), Ok(Some(command)), "{empty}");
        }
        assert_eq!(PingRequest::decode(&unhex(&format!("82182f{empty}"))), Ok(PingRequest));
        // Where a field is required, it is missing.
        refused(&format!("821840{empty}"), field(0x40, 0, Constraint::FieldRequired));
    }
    for other in ["", "80", "00", "60", "40", "f4", "f5", "ff", "c0f6", "bf", "a1", "a100", "bf00", "bf00ff"]
    {
        refused(&format!("821844{other}"), DecodeError::Payload { code: 0x44 });
    }
}

#[test]
fn maps_come_in_any_order_and_width() {
    let expected = OtaStatus { state: OtaState::Receiving, offset: Some(63_728), version: None };
    for payload in [
        "821845 a2 0001 0119f8f0",
        "821845 a2 0119f8f0 0001",
        "821845 bf 0001 0119f8f0 ff",
        "821845 b802 0001 0119f8f0",
        "821845 ba00000002 0001 0119f8f0",
        "821845 bb0000000000000002 0001 0119f8f0",
        "821845 a2 1800 1801 190001 1a0000f8f0",
        "821845 a2 1a00000001 1b000000000000f8f0 1b0000000000000000 1b0000000000000001",
    ] {
        assert_eq!(status(payload), expected, "{payload}");
    }
}

#[test]
fn unknown_keys_are_skipped_whatever_is_in_them() {
    let expected = OtaStatus { state: OtaState::Idle, offset: Some(5), version: None };
    for value in [
        "00",
        "3bffffffffffffffff",
        "f6",
        "f97e00",
        "fb4010000000000000",
        "f8ff",
        "40",
        "4401020304",
        "6161",
        "5f41014102ff",
        "7f6161ff",
        "7fff",
        "80",
        "9fff",
        "a0",
        "bfff",
        "83010203",
        "9f0102ff",
        "a10102",
        "bf0102ff",
        "82 bf0080ff 9fff",
        "a1 9fff bf00c000ff",
        "c11a00000000",
        "d9d9f7a0",
    ] {
        for key in ["0d", "17", "1818", "1bffffffffffffffff", "20", "3863", "3bffffffffffffffff"] {
            assert_eq!(status(&format!("821845 a3 0000 {key} {value} 0105")), expected, "{key} {value}");
            assert_eq!(status(&format!("821845 bf {key} {value} 0000 0105 ff")), expected, "{key} {value}");
        }
    }
}

#[test]
fn nesting_is_bounded() {
    for open in ["81", "9f", "a100", "bf00", "c1"] {
        let nested = |depth: usize| {
            let close = if open == "9f" || open == "bf00" { "ff" } else { "" };
            let value = format!("{}00{}", open.repeat(depth), close.repeat(depth));
            Message::decode(&unhex(&format!("821844 a1 20 {value}"))).map(|_| ())
        };
        assert_eq!(nested(32), Ok(()), "{open}");
        assert_eq!(nested(33), Err(DecodeError::Payload { code: 0x44 }), "{open}");
    }
}

#[test]
fn what_is_no_map_of_integer_keys_is_refused() {
    for payload in [
        // A text key, a byte string key, a float key.
        "a1 6130 00",
        "a1 40 00",
        "a1 f90000 00",
        // Cut short: a head, a string, a value, a break.
        "a1 00 1a0000",
        "a1 00 4201",
        "a1 00",
        "bf 00 00",
        "a1 0d 8200",
        "a1 0d 9f00",
        // Bytes behind the map, behind nothing.
        "a1 00 00 00",
        "f600",
        "bfff00",
        // Not well-formed: reserved heads, a break out of place, odd maps, chunks of another type.
        "a1 0d 1c",
        "a1 0d fc",
        "a1 0d ff",
        "a1 0d 1f",
        "a1 0d df",
        "a1 0d 81ff",
        "a1 0d bf00ff",
        "a1 0d 5f6161ff",
        "a1 0d 7f5f4101ffff",
        "a1 0d 5f00ff",
        // Counts and lengths that no payload can hold.
        "bbffffffffffffffff 0000",
        "a1 0d 9bffffffffffffffff",
        "a1 0d bb8000000000000001",
        "a1 0d 5bffffffffffffffff",
        "a1 0d 990100",
    ] {
        refused(&format!("821842 {payload}"), DecodeError::Payload { code: 0x42 });
    }
    let answer = DecodeError::Payload { code: 0x42 }.invalid_command();
    assert_eq!(answer, Some(InvalidCommand { code: 1, field: None, constraint: Some(7) }));
}

#[test]
fn a_doubled_key_is_refused() {
    refused("821843 a2 0000 0001", field(0x43, 0, Constraint::ValueInvalid));
    refused("821843 a3 0000 01f5 01f5", field(0x43, 1, Constraint::ValueInvalid));
    refused("821843 bf 0000 1800 00 ff", field(0x43, 0, Constraint::ValueInvalid));
    // Also a key that the type does not use, since another type does.
    refused("821844 a2 0500 0500", field(0x44, 5, Constraint::ValueInvalid));
}

#[test]
fn fields_are_refused_with_the_constraint_of_the_table() {
    use Constraint::{FieldRequired, TypeMismatch, ValueInvalid, ValueTooHigh, ValueTooLow};
    let digest = format!("5820{}", "00".repeat(32));
    let short = format!("581f{}", "00".repeat(31));
    // OTA_START
    refused(&format!("821840 a1 01{digest}"), field(0x40, 0, FieldRequired));
    refused("821840 a1 0000", field(0x40, 1, FieldRequired));
    refused(&format!("821840 a2 0020 01{digest}"), field(0x40, 0, TypeMismatch));
    refused(&format!("821840 a2 00fb0000000000000000 01{digest}"), field(0x40, 0, TypeMismatch));
    refused(&format!("821840 a2 0000 01{short}"), field(0x40, 1, ValueInvalid));
    refused("821840 a2 0000 0100", field(0x40, 1, TypeMismatch));
    refused("821840 a2 0000 015f4100ff", field(0x40, 1, TypeMismatch));
    refused(&format!("821840 a3 0000 01{digest} 0200"), field(0x40, 2, TypeMismatch));
    refused(&format!("821840 a3 0000 01{digest} 02f6"), field(0x40, 2, TypeMismatch));
    refused(&format!("821840 a3 0000 01{digest} 0283010203"), field(0x40, 2, ValueInvalid));
    refused(&format!("821840 a3 0000 01{digest} 028501020304 05"), field(0x40, 2, ValueInvalid));
    refused(&format!("821840 a3 0000 01{digest} 029f010203ff"), field(0x40, 2, ValueInvalid));
    refused(&format!("821840 a3 0000 01{digest} 029f0102030405ff"), field(0x40, 2, ValueInvalid));
    refused(&format!("821840 a3 0000 01{digest} 028401022004"), field(0x40, 2, TypeMismatch));
    refused(&format!("821840 a3 0000 01{digest} 0284190100020304"), field(0x40, 2, ValueTooHigh));
    refused(&format!("821840 a3 0000 01{digest} 028401021a0001000004"), field(0x40, 2, ValueTooHigh));
    // OTA_DATA
    refused("821841 a1 0100", field(0x41, 0, FieldRequired));
    refused("821841 a2 0000 016100", field(0x41, 1, TypeMismatch));
    // OTA_VERIFY, OTA_ACTIVATE
    refused("821842 a1 0040", field(0x42, 0, ValueInvalid));
    refused("821843 a1 0002", field(0x43, 0, ValueInvalid));
    refused("821843 a1 00190100", field(0x43, 0, ValueInvalid));
    refused("821843 a1 0020", field(0x43, 0, TypeMismatch));
    refused("821843 a2 0000 0101", field(0x43, 1, TypeMismatch));
    // And two that only a controller receives.
    let decode = |payload: &str| Message::decode(&unhex(payload)).map(|_| ());
    assert_eq!(decode("821845 a1 0005"), Err(field(0x45, 0, ValueInvalid)));
    assert_eq!(decode("821845 a2 0001 011b0000000100000000"), Err(field(0x45, 1, ValueTooHigh)));
    assert_eq!(decode("8218e0 a1 001a80000000"), Err(field(0xE0, 0, ValueTooHigh)));
    assert_eq!(decode("8218e0 a1 003a80000000"), Err(field(0xE0, 0, ValueTooLow)));
    assert_eq!(decode("8218e0 a1 003a7fffffff"), Ok(()));

    let answer = field(0x43, 0, ValueInvalid).invalid_command();
    assert_eq!(answer, Some(InvalidCommand { code: 1, field: Some(0), constraint: Some(3) }));
}

#[test]
fn a_version_may_come_in_an_array_of_indefinite_length() {
    let payload = "821845 a2 0003 02 9f 18ff 18ff 19ffff 1affffffff ff";
    let version = Version { major: 255, minor: 255, revision: 65_535, build: u32::MAX };
    assert_eq!(status(payload).version, Some(version));
}

#[test]
fn a_reboot_is_the_default_of_activation() {
    for (payload, reboot) in [("a1 0000", true), ("a2 0000 01f5", true), ("a2 0000 01f4", false)] {
        let activate = OtaActivate { mode: Mode::Test, reboot };
        assert_eq!(
            Command::decode(&unhex(&format!("821843{payload}"))),
            Ok(Some(Command::Activate(activate)))
        );
    }
}

#[test]
fn floats_come_in_every_width_and_as_integers() {
    for (value, expected) in [
        ("fb4010000000000000", 4.0),
        ("fa40800000", 4.0),
        ("f94400", 4.0),
        ("04", 4.0),
        ("1b0000000000000004", 4.0),
        ("23", -4.0),
        ("f93800", 0.5),
        ("f9b800", -0.5),
        ("f90001", 5.960_464_477_539_063e-8),
        ("f903ff", 6.097_555_160_522_461e-5),
        ("f90400", 6.103_515_625e-5),
        ("f97bff", 65_504.0),
        ("f9fc00", f64::NEG_INFINITY),
        ("f97c00", f64::INFINITY),
        ("f98000", -0.0),
        ("1bffffffffffffffff", 18_446_744_073_709_551_615.0),
        ("3bffffffffffffffff", -18_446_744_073_709_551_616.0),
    ] {
        let config = TempConfig::decode(&unhex(&format!("8212a2 0000 01{value}"))).unwrap();
        assert_eq!(config.kp, Some(expected), "{value}");
        assert_eq!(config.kp.unwrap().is_sign_negative(), expected.is_sign_negative(), "{value}");
    }
    let config = TempConfig::decode(&unhex("8212a2 0000 01f97e00")).unwrap();
    assert!(config.kp.unwrap().is_nan());
    for other in ["f4", "f6", "f820", "40", "a0"] {
        let error = TempConfig::decode(&unhex(&format!("8212a2 0000 01{other}")));
        assert_eq!(error, Err(field(0x12, 1, Constraint::TypeMismatch)), "{other}");
    }
}

#[test]
fn other_types_are_no_commands() {
    for code in (0..=u8::MAX).filter(|code| !matches!(code, 0x40..=0x44 | 0x46 | 0x4F)) {
        assert_eq!(Command::decode(&[0x82, 0x18, code, 0xF6]), Ok(None));
        let named = message_name(code).is_some();
        let unknown = Message::decode(&[0x82, 0x18, code, 0xF6]) == Ok(Message::Unknown { code });
        assert_eq!(named, !unknown, "{code:#x}");
    }
    assert_eq!(OtaQuery::decode(&unhex("82182ff6")), Err(DecodeError::OtherCode { code: 0x2F }));
    assert_eq!(message_name(0x45), Some("OTA_STATUS"));
    assert_eq!(message_name(0x47), None);
}

#[test]
fn an_extension_that_is_not_ours_is_ignored() {
    let other =
        |magic, version, operation| Ok(Message::Extension(Extension::Other { magic, version, operation }));
    let ours = EXTENSION_MAGIC;
    for (payload, expected) in [
        ("f6", other(0, 0, 0)),
        ("80", other(0, 0, 0)),
        ("a1 6161 00", other(0, 0, 0)),
        ("a2 00 01 00 01", other(0, 0, 0)),
        ("a3 001a524b4e45 0101 0200", other(ours + 1, 1, 0)),
        ("a3 001a524b4e44 0102 0200", other(ours, 2, 0)),
        ("a3 001a524b4e44 0101 0204", other(ours, 1, 4)),
        ("a3 001b00000001524b4e44 0101 0200", other(0, 1, 0)),
    ] {
        let payload = unhex(&format!("821846{payload}"));
        assert_eq!(Message::decode(&payload), expected);
        assert_eq!(Command::decode(&payload), Ok(Some(Command::Extension(ExtensionRequest::Other))));
    }
    // Answers are no requests, and a device need not even read them.
    for operation in ["01", "03"] {
        let payload = unhex(&format!("821846 a3 001a524b4e44 0101 02{operation}"));
        assert_eq!(Command::decode(&payload), Ok(Some(Command::Extension(ExtensionRequest::Other))));
        assert_eq!(Message::decode(&payload), Err(field(0x46, 3, Constraint::FieldRequired)));
    }
    // Ours, but broken.
    refused("821846 a2 001a524b4e44 0101", field(0x46, 2, Constraint::FieldRequired));
    refused("821846 a4 001a524b4e44 0101 0202 0320", field(0x46, 3, Constraint::TypeMismatch));
}

#[test]
fn a_window_or_chunk_of_nothing_is_refused() {
    let info = |window: &str, chunk: &str| {
        let digest = format!("5820{}", "00".repeat(32));
        let payload = unhex(&format!(
            "821846 aa 001a524b4e44 0101 0201 0300 04{window} 058400000000 06{digest} 0700 08{chunk} 0a00"
        ));
        Message::decode(&payload).map(|_| ())
    };
    assert_eq!(info("01", "01"), Ok(()));
    assert_eq!(info("00", "01"), Err(field(0x46, 4, Constraint::ValueTooLow)));
    assert_eq!(info("190100", "01"), Err(field(0x46, 4, Constraint::ValueTooHigh)));
    assert_eq!(info("01", "00"), Err(field(0x46, 8, Constraint::ValueTooLow)));
}

#[test]
fn too_little_room_is_an_error_and_so_is_too_much_to_say() {
    let data = [0; 200];
    let status = OtaStatus { state: OtaState::Idle, offset: Some(u32::MAX), version: None };
    let full = status.encode(&mut data.clone()).unwrap();
    for room in 0..full {
        assert_eq!(status.encode(&mut [0; 200][..room]), Err(EncodeError::BufferTooSmall), "{room}");
    }
    assert_eq!(status.encode(&mut [0; 200][..full]), Ok(full));
    // The largest chunks of PROTOCOL.md §5.3.
    for (offset, most) in [(0, 105), (24, 104), (256, 103), (65_536, 101), (u64::from(u32::MAX), 101)] {
        let chunk = |length| OtaData { offset, data: &data[..length] };
        assert_eq!(chunk(most).encode(&mut [0; 200]), Ok(PAYLOAD_MAX));
        assert_eq!(chunk(most + 1).encode(&mut [0; 200]), Err(EncodeError::PayloadTooLong));
        assert_eq!(chunk(most).encode(&mut [0; PAYLOAD_MAX - 1]), Err(EncodeError::BufferTooSmall));
        assert!(usize::from(OtaData::CHUNK_MAX) <= most);
    }
}

#[test]
fn versions_are_text_and_ordered() {
    let version = |text: &str| text.parse::<Version>();
    assert_eq!(version("1.2.3+4"), Ok(Version { major: 1, minor: 2, revision: 3, build: 4 }));
    assert_eq!(version("1.2"), Ok(Version { major: 1, minor: 2, revision: 0, build: 0 }));
    for text in ["1.2.3+4", "0.0.0", "255.255.65535+4294967295", "1.0.7"] {
        assert_eq!(version(text).unwrap().to_string(), text);
    }
    for text in [
        "",
        "1",
        "1.",
        ".1",
        "1.2.3.4",
        "1.2.3+",
        "1.2.3+4+5",
        "256.0.0",
        "1.2.65536",
        "+1.2",
        "1.-2",
        "1.2 ",
    ] {
        assert_eq!(version(text), Err(ParseVersionError), "{text:?}");
    }
    assert!(version("1.2.3+9").unwrap() < version("1.2.4").unwrap());
    assert!(version("1.255.0").unwrap() < version("2.0.0").unwrap());
    assert!(version("1.2.3+4").unwrap() < version("1.2.3+5").unwrap());
}

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(
        field(0x40, 1, Constraint::FieldRequired).to_string(),
        "message type 0x40, key 1: required field missing"
    );
    assert_eq!(
        FrameError::Crc { computed: 1, received: 2 }.to_string(),
        "checksum 0x0002 where 0x0001 is right"
    );
    assert_eq!(Constraint::try_from(14), Ok(Constraint::HashMismatch));
    assert_eq!(Constraint::try_from(16), Err(UnknownValue(16)));
    assert_eq!(Constraint::HashMismatch.name(), "HASH_MISMATCH");
    assert_eq!(Reason::try_from(5), Ok(Reason::UnsafeState));
    assert_eq!(ApplianceState::try_from(8).map(ApplianceState::name), Ok("E_STOP"));
}
