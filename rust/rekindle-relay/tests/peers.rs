// SPDX-License-Identifier: Apache-2.0
//! Frames of existing peers pass through unchanged (PROTOCOL.md §10): everything that the C and the Go library are
//! recorded to send, byte for byte, whatever way they write their CBOR. And what a router passes at all, by code.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod common;

use common::*;
use fusain::{Address, DataSubscription, Decoder, DeviceAnnounce, Message};
use rekindle_relay::*;
use serde::Deserialize;
use std::collections::BTreeMap;

const HELIOS: Address = Address::new(0xA1);
const OTHER: Address = Address::new(0xB2);

#[derive(Deserialize)]
struct Vector {
    name: String,
    frame_hex: String,
}

#[derive(Deserialize)]
struct Samples {
    samples: Vec<String>,
}

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
    go_native_encodings: BTreeMap<String, Samples>,
}

/// Payloads of the recorded frames that fit into one, by name.
fn recorded() -> Vec<(String, Vec<u8>)> {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../fusain/tests/data/vectors.json")).unwrap();
    let go = vectors.go_native_encodings.into_iter();
    let go = go.flat_map(|(name, one)| one.samples.into_iter().map(move |hex| (name.clone(), hex)));
    let frames = vectors.vectors.into_iter().map(|vector| (vector.name, vector.frame_hex)).chain(go);
    let payload = |(name, hex): (String, String)| {
        let mut decoder = Decoder::new();
        let bytes = (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[n * 2..n * 2 + 2], 16).unwrap());
        let payloads: Vec<Vec<u8>> =
            bytes.filter_map(|byte| decoder.push(byte)?.ok().map(|packet| packet.payload.to_vec())).collect();
        payloads.into_iter().next().map(|payload| (name, payload))
    };
    frames.filter_map(payload).collect()
}

fn code(payload: &[u8]) -> u8 {
    if payload[1] == 0x18 { payload[2] } else { payload[1] }
}

/// Two appliances on a link each; clients 1 and 2 hear the first, client 3 the second.
fn bench(routing: Routing) -> Bench {
    let mut bench = Bench::new(Config { routing, ..Config::new(100_000) }, &[]);
    let announce = DeviceAnnounce { motors: 1, thermometers: 1, pumps: 1, glows: 1 };
    bench.link(0, HELIOS, &Message::DeviceAnnounce(announce));
    bench.link(1, OTHER, &Message::DeviceAnnounce(announce));
    for (client, appliance) in [(1, HELIOS), (2, HELIOS), (3, OTHER)] {
        let subscription = Message::DataSubscription(DataSubscription { appliance });
        bench.client(client, Address::STATELESS, &subscription);
    }
    bench.pass(200);
    bench.up.clear();
    bench.down.clear();
    bench
}

/// Commands for an appliance that every router passes.
fn is_command(code: u8) -> bool {
    matches!(code, 0x10..=0x13 | 0x16 | 0x17 | 0x20..=0x25)
}

#[test]
fn commands_of_peers_go_down_as_they_came() {
    let mut seen = BTreeMap::new();
    for routing in [Routing::StoreAndForward, Routing::Transparent] {
        for (name, payload) in recorded() {
            let code = code(&payload);
            let update = matches!(code, 0x40..=0x44 | 0x4F);
            let passes = is_command(code) || (update && routing == Routing::Transparent);
            if !passes {
                continue;
            }
            let mut bench = bench(routing);
            bench.client_bytes(0, HELIOS, &payload);
            assert_eq!(bench.down, [(0, HELIOS, payload)], "{name}");
            assert_eq!(bench.up, [], "{name}: nothing of it is acknowledged by the router");
            *seen.entry(code).or_insert(0) += 1;
        }
    }
    let codes: Vec<u8> = seen.into_keys().collect();
    // All that is on record; the test below has the rest.
    let expected =
        [0x10, 0x11, 0x12, 0x13, 0x16, 0x20, 0x21, 0x23, 0x24, 0x25, 0x40, 0x41, 0x42, 0x43, 0x44, 0x4F];
    assert_eq!(codes, expected, "{codes:02x?}");
}

#[test]
fn what_appliances_of_peers_say_goes_up_as_it_came_to_subscribers_alone() {
    let mut seen = BTreeMap::new();
    for routing in [Routing::StoreAndForward, Routing::Transparent] {
        for (name, payload) in recorded() {
            let code = code(&payload);
            if !matches!(code, 0x30..=0x34 | 0x45 | 0xE0 | 0xE1) {
                continue;
            }
            let mut bench = bench(routing);
            bench.relay.from_link(bench.now_ms, 0, HELIOS, &payload);
            bench.run();
            let heard: Vec<_> =
                bench.up.iter().map(|(client, from, bytes)| (*client, *from, bytes)).collect();
            assert_eq!(heard, [(1, HELIOS, &payload), (2, HELIOS, &payload)], "{name}");
            *seen.entry(code).or_insert(0) += 1;
        }
    }
    let codes: Vec<u8> = seen.into_keys().collect();
    assert_eq!(codes, [0x30, 0x31, 0x32, 0x33, 0x34, 0x45, 0xE0, 0xE1], "every kind was there");
}

#[test]
fn of_all_codes_exactly_the_commands_go_down() {
    for routing in [Routing::StoreAndForward, Routing::Transparent] {
        let mut down = Vec::new();
        for code in 0x00..=0xFF {
            let mut bench = bench(routing);
            let payload: &[u8] = if code < 0x18 { &[0x82, code, 0xF6] } else { &[0x82, 0x18, code, 0xF6] };
            bench.client_bytes(0, OTHER, payload);
            // A search of our own is not the client's.
            if bench.down.iter().any(|(link, to, bytes)| (*link, *to, &bytes[..]) == (1, OTHER, payload)) {
                down.push(code);
            }
            assert!(bench.down.iter().all(|(_, _, bytes)| bytes == payload || code == 0x1F || code == 0x46));
        }
        let mut expected: Vec<u8> = (0..=0xFF).filter(|code| is_command(*code)).collect();
        if routing == Routing::Transparent {
            expected.extend([0x40, 0x41, 0x42, 0x43, 0x44, 0x46, 0x4F]);
        }
        assert_eq!(down, expected, "{routing:?}");
    }
}
