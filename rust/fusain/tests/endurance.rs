// SPDX-License-Identifier: Apache-2.0
//! A long run of generated links through every parser: `FUSAIN_BYTES=1e8 cargo test --release -p fusain --test
//! endurance -- --ignored --nocapture`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test: every cast and index is of a number bounded in the same line"
)]

use std::time::Instant;

use fusain::relay::Relay;
use fusain::{
    Address, Command, Decoder, Extension, FRAME_MAX, FrameError, Message, PAYLOAD_MAX, encode_frame,
    message_name,
};

/// A small generator of its own, so that a run is told by its seed alone (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

/// Bytes that CBOR of this protocol is made of, so that maps come out whole now and then.
const LIKELY: [u8; 32] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x0A, 0x18, 0x19, 0x1A, 0x1B, 0x20, 0x38, 0x40, 0x41, 0x44, 0x58,
    0x5F, 0x61, 0x80, 0x84, 0x9F, 0xA0, 0xA1, 0xA2, 0xA4, 0xBF, 0xF4, 0xF5, 0xF6, 0xFB, 0xFF,
];

#[derive(Debug, Default)]
struct Tally {
    bytes: u64,
    frames: u64,
    frame_errors: u64,
    messages: u64,
    commands: u64,
    operations: u64,
    refused: u64,
}

impl Tally {
    fn take(&mut self, result: Result<fusain::Packet<'_>, FrameError>) {
        let Ok(packet) = result else {
            self.frame_errors += 1;
            return;
        };
        self.frames += 1;
        match Message::decode(packet.payload) {
            Ok(message) => {
                self.messages += 1;
                let mut out = [0; PAYLOAD_MAX];
                assert!(message.encode(&mut out).is_ok());
            }
            Err(_) => self.refused += 1,
        }
        self.commands += u64::from(matches!(Command::decode(packet.payload), Ok(Some(_))));
        if let Ok(operation) = Relay::decode(packet.payload) {
            let mut out = [0; PAYLOAD_MAX];
            assert!(operation.encode(&mut out).is_ok());
            self.operations += u64::from(operation != Relay::Other);
        }
    }
}

fn payload(random: &mut Random, codes: &[u8], payload: &mut [u8; PAYLOAD_MAX]) -> usize {
    let length = 4 + random.below(111) as usize;
    for byte in payload.iter_mut() {
        let likely = random.below(4) > 0;
        *byte = if likely { LIKELY[random.below(32) as usize] } else { random.byte() };
    }
    let code = codes[random.below(codes.len() as u64) as usize];
    payload[..3].copy_from_slice(&[0x82, 0x18, code]);
    match random.below(8) {
        0 => payload[0] = random.byte(),
        1 => payload[3] = 0xA0 | random.below(4) as u8,
        // Keys in order, each with a value that some field may have: a good part of these are messages.
        _ => {
            let entries = random.below(13) as u8;
            payload[3] = 0xA0 | entries;
            let mut at = 4;
            // Half of the extension messages are operations that somebody has.
            let ours = code == Extension::CODE && random.below(2) == 0;
            let operation = random.below(24) as u8;
            for key in 0..entries {
                let value: &[u8] = match random.below(10) {
                    _ if ours && key == 0 => &[0x1A, 0x52, 0x4B, 0x4E, 0x44],
                    _ if ours && key == 1 => &[0x01],
                    _ if ours && key == 2 => &[operation],
                    0..=4 => &[0x01],
                    5 => &[0xF5],
                    6 => &[0x19, 0x7D, 0x7E],
                    7 => &[0x84, 0x01, 0x02, 0x03, 0x04],
                    8 => &[0xFA, 0x40, 0x80, 0x00, 0x00],
                    _ => &[0x58, 0x20],
                };
                payload[at] = key;
                payload[at + 1..at + 1 + value.len()].copy_from_slice(value);
                // A digest is the two bytes of its head and whatever is there.
                at += 1 + if value == [0x58, 0x20] { 34 } else { value.len() };
                if at + 36 > PAYLOAD_MAX {
                    payload[3] = 0xA0 | (key + 1);
                    break;
                }
            }
            return at;
        }
    }
    length
}

#[test]
#[ignore = "minutes long; FUSAIN_BYTES says how long"]
fn a_long_run_of_every_parser() {
    let target: f64 = std::env::var("FUSAIN_BYTES").map_or(1e7, |text| text.parse().expect("a number"));
    let codes: Vec<u8> = (0..=u8::MAX).filter(|&code| message_name(code).is_some()).collect();
    let mut random = Random(0x5EED_0FF0_5A1A_1D00);
    let mut decoder = Decoder::new();
    let mut tally = Tally::default();
    let (mut content, mut frame) = ([0; PAYLOAD_MAX], [0; FRAME_MAX]);
    let start = Instant::now();
    while (tally.bytes as f64) < target {
        let length = payload(&mut random, &codes, &mut content);
        let end = encode_frame(Address::new(random.next()), &content[..length], &mut frame).expect("room");
        match random.below(8) {
            0 => frame[random.below(end as u64) as usize] ^= 1 << random.below(8),
            1 => frame[..end].iter_mut().for_each(|byte| *byte = random.byte()),
            _ => {}
        }
        for &byte in &frame[..end] {
            tally.bytes += 1;
            if let Some(result) = decoder.push(byte) {
                tally.take(result);
            }
        }
    }
    eprintln!("{tally:?} in {:.1} s", start.elapsed().as_secs_f64());
    assert!(
        tally.frames > 0
            && tally.messages > 0
            && tally.commands > 0
            && tally.operations > 0
            && tally.refused > 0
    );
}
