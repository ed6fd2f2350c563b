// SPDX-License-Identifier: Apache-2.0
//! Vectors from other implementations (`data/vectors.json`; its `meta` names libraries and commits), in both
//! directions, and what their decoders said of broken input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;

use fusain::{Address, DecodeError, Decoder, FRAME_MAX, FrameError, Message, encode_frame, message_code};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
    broken: Vec<Broken>,
    go_native_encodings: BTreeMap<String, Native>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    address: String,
    #[serde(rename = "type")]
    code: u8,
    payload_cbor_hex: String,
    frame_hex: String,
}

#[derive(Deserialize)]
struct Broken {
    name: String,
    frame_hex: String,
    c_lib: Vec<Verdict>,
    go: Vec<Verdict>,
}

/// What a decoder reported, and behind which byte of the input.
#[derive(Deserialize)]
struct Verdict {
    result: String,
    at: usize,
    payload_cbor_hex: Option<String>,
    cbor_error: Option<String>,
}

#[derive(Deserialize)]
struct Native {
    samples: Vec<String>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("data/vectors.json")).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

type Event = Result<(Address, Vec<u8>), FrameError>;

/// What our decoder reports, and behind which byte.
fn run(bytes: &[u8]) -> Vec<(usize, Event)> {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for (at, &byte) in bytes.iter().enumerate() {
        if let Some(result) = decoder.push(byte) {
            events.push((at, result.map(|packet| (packet.address, packet.payload.to_vec()))));
        }
    }
    events
}

/// What re-encoding changes on purpose: the other implementations wrote these in a longer form, which we accept
/// and do not send.
fn sent_shorter(name: &str) -> bool {
    name.ends_with("_indef")
        || matches!(
            name,
            // The peer's own order of keys, and its two-byte form of a short code.
            "ota_status_unordered" | "type_prefix_go_style_16"
            // An empty map where we send null.
            | "ota_query_emptymap" | "ota_abort_emptymap"
            // The default of a field, written out.
            | "ota_activate_test_reboot" | "ota_activate_permanent"
        )
}

#[test]
fn frames_decode_and_encode_to_the_same_bytes() {
    let mut frames = 0;
    for vector in vectors().vectors {
        let (bytes, payload) = (unhex(&vector.frame_hex), unhex(&vector.payload_cbor_hex));
        let address: Address = vector.address.parse().unwrap();
        let mut out = [0; FRAME_MAX];
        if vector.name == "zero_length_payload" {
            // The one that the C decoder refuses as well.
            assert_eq!(run(&bytes), [(bytes.len() - 1, Err(FrameError::Empty))]);
            continue;
        }
        assert_eq!(run(&bytes), [(bytes.len() - 1, Ok((address, payload.clone())))], "{}", vector.name);
        let length = encode_frame(address, &payload, &mut out).unwrap();
        assert_eq!(out[..length], bytes, "{}", vector.name);
        frames += 1;
    }
    assert_eq!(frames, 91);
}

#[test]
fn messages_decode_and_encode_to_the_same_bytes() {
    let (mut same, mut shorter) = (0, 0);
    for vector in vectors().vectors {
        let payload = unhex(&vector.payload_cbor_hex);
        match vector.name.as_str() {
            "zero_length_payload" => continue,
            // A frame filled to the brim with what is no CBOR.
            "max_payload_114_opaque" => {
                assert_eq!(Message::decode(&payload), Err(DecodeError::Payload { code: 0x41 }));
                continue;
            }
            _ => {}
        }
        let message = Message::decode(&payload).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(message.code(), vector.code, "{}", vector.name);
        let mut out = [0; FRAME_MAX];
        let length = message.encode(&mut out).unwrap();
        if sent_shorter(&vector.name) {
            assert!(length <= payload.len() && out[..length] != payload, "{}", vector.name);
            assert_eq!(Message::decode(&out[..length]), Ok(message), "{}", vector.name);
            shorter += 1;
        } else {
            assert_eq!(out[..length], payload, "{}", vector.name);
            same += 1;
        }
    }
    assert_eq!((same, shorter), (55, 35));
}

/// The same message from a build that writes definite and one that writes indefinite lengths.
#[test]
fn both_builds_of_the_c_library_mean_the_same() {
    let all: BTreeMap<_, _> =
        vectors().vectors.into_iter().map(|vector| (vector.name, unhex(&vector.payload_cbor_hex))).collect();
    let mut pairs = 0;
    for (name, payload) in &all {
        if let Some(indefinite) = all.get(&format!("{name}__indef")) {
            assert_eq!(Message::decode(payload), Message::decode(indefinite), "{name}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, 16);
}

/// Go writes the keys of a map in random order: every order means the same.
#[test]
fn what_go_encodes_decodes() {
    let natives = vectors().go_native_encodings;
    assert_eq!(natives.len(), 17);
    for (name, native) in natives {
        let payloads: Vec<_> = native
            .samples
            .iter()
            .map(|sample| {
                let mut events = run(&unhex(sample));
                assert_eq!(events.len(), 1, "{name}");
                events.remove(0).1.unwrap().1
            })
            .collect();
        let first = Message::decode(&payloads[0]).unwrap_or_else(|error| panic!("{name}: {error}"));
        for payload in &payloads {
            assert_eq!(Message::decode(payload), Ok(first), "{name}");
        }
    }
}

/// Which of the recorded decoders ours agrees with, and where it agrees with neither, why (PROTOCOL.md §2).
#[derive(Clone, Copy, PartialEq)]
enum Follows {
    /// Same packets, same place of each error.
    Both,
    C,
    Go,
    /// As Go up to its first error or packet; Go goes on to report END between frames, which we ignore.
    GoFirst,
    /// The packets of both, and an error for the frame that was cut, which neither counts.
    BothAndRestarted,
    /// The packet of Go, and an error for the frame that was cut.
    GoAndRestarted,
}

const FOLLOWS: [(&str, Follows); 15] = [
    ("good_reference", Follows::Both),
    // LENGTH is judged at once. C ignores the rest, Go reports the END.
    ("length_115", Follows::C),
    ("length_255", Follows::C),
    ("length_escaped_7e", Follows::C),
    ("truncated_then_good", Follows::BothAndRestarted),
    // Go merges the byte too many into the checksum and passes the frame.
    ("extra_byte_before_end", Follows::C),
    ("extra_byte_before_end_then_good", Follows::C),
    // C takes the END for data and says nothing.
    ("early_end", Follows::Go),
    ("unescaped_end_in_payload", Follows::GoFirst),
    // C takes START for an escaped byte and loses the frame.
    ("garbage_esc_then_good", Follows::Go),
    ("escape_then_start", Follows::GoAndRestarted),
    ("double_start", Follows::BothAndRestarted),
    // C reads END as a LENGTH; either way it is an error here.
    ("lone_start_end", Follows::Both),
    // A frame of no payload is no message.
    ("empty_payload", Follows::C),
    ("tagged", Follows::Both),
];

/// What follows is about the payload, which C looks at no further than the code, and Go parses as a whole.
const PAYLOADS: [(&str, Result<(), DecodeError>); 9] = [
    ("array3", Err(DecodeError::Envelope)),
    // As C; Go takes any array.
    ("array_indef", Err(DecodeError::Envelope)),
    ("array1", Err(DecodeError::Envelope)),
    ("not_array", Err(DecodeError::Envelope)),
    // As Go.
    ("trailing_bytes", Err(DecodeError::Payload { code: 0x44 })),
    ("map_missing", Err(DecodeError::Payload { code: 0x44 })),
    ("payload_is_array", Err(DecodeError::Payload { code: 0x44 })),
    ("tagged", Err(DecodeError::Payload { code: 0x44 })),
    // As neither recorded verdict: C refuses it only later, field by field; in Go the last one wins.
    (
        "dup_key",
        Err(DecodeError::Field { code: 0x45, field: 0, constraint: fusain::Constraint::ValueInvalid }),
    ),
];

fn is_packet(verdict: &Verdict) -> bool {
    matches!(verdict.result.as_str(), "OK" | "packet")
}

fn seen(verdicts: &[Verdict]) -> Vec<(usize, Option<Vec<u8>>)> {
    let payload = |verdict: &Verdict| unhex(verdict.payload_cbor_hex.as_deref().unwrap_or_default());
    verdicts.iter().map(|verdict| (verdict.at, is_packet(verdict).then(|| payload(verdict)))).collect()
}

#[test]
fn broken_frames_are_judged_as_recorded_or_better() {
    let broken = vectors().broken;
    for case in &broken {
        let Some((_, follows)) = FOLLOWS.iter().find(|(name, _)| *name == case.name) else {
            assert!(PAYLOADS.iter().any(|(name, _)| *name == case.name), "{} is in no table", case.name);
            continue;
        };
        let events = run(&unhex(&case.frame_hex));
        let restarts = events.iter().filter(|(_, result)| *result == Err(FrameError::Restarted)).count();
        let with = |restarted: bool| {
            events
                .iter()
                .filter(|(_, result)| restarted || *result != Err(FrameError::Restarted))
                .map(|(at, result)| (*at, result.clone().ok().map(|(_, payload)| payload)))
                .collect::<Vec<_>>()
        };
        let (c, go) = (seen(&case.c_lib), seen(&case.go));
        let good = match follows {
            Follows::Both => with(true) == c && with(true) == go,
            Follows::C => with(true) == c && c != go,
            Follows::Go => with(true) == go && c != go,
            Follows::GoFirst => with(true) == go[..1] && go.len() == 2,
            Follows::BothAndRestarted => restarts == 1 && with(false) == c && c == go,
            Follows::GoAndRestarted => restarts == 1 && with(false) == go && c != go,
        };
        assert!(good, "{}: {events:?}, C {c:?}, Go {go:?}", case.name);
    }
    assert_eq!(broken.len(), 23);
}

#[test]
fn broken_payloads_are_judged_as_recorded_or_stricter() {
    let broken = vectors().broken;
    for (name, expected) in PAYLOADS {
        let case = broken.iter().find(|case| case.name == name).unwrap();
        let events = run(&unhex(&case.frame_hex));
        assert_eq!(events.len(), 1, "{name}");
        let payload = events[0].1.clone().expect("the frame itself is whole").1;
        assert_eq!(Message::decode(&payload).map(|_| ()), expected, "{name}");
        // C refuses a frame whose envelope it does not understand; the frame is at fault for it, for us the payload.
        let c_refuses = !is_packet(&case.c_lib[0]);
        assert_eq!(message_code(&payload).is_err(), c_refuses, "{name}");
        // Whatever Go calls broken CBOR is an error.
        assert!(case.go[0].cbor_error.is_none() || expected.is_err(), "{name}");
    }
}
