// SPDX-License-Identifier: Apache-2.0
//! Properties of the codec, over messages of every type and input of every kind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use fusain::relay::Relay;
use fusain::{Command, FRAME_MAX, Message, PAYLOAD_MAX, fuzz, message_name};
use minicbor::data::Token;
use proptest::prelude::*;

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

/// Checks that the CBOR is what PROTOCOL.md §3 says we send, with a decoder that is not ours.
fn is_canonical(payload: &[u8]) {
    let tokens: Vec<Token<'_>> = minicbor::decode::Tokenizer::new(payload).collect::<Result<_, _>>().unwrap();
    // Definite lengths, and every head the shortest: an encoder that knows no other form writes the same bytes.
    let mut again = Vec::new();
    let mut encoder = minicbor::Encoder::new(&mut again);
    for token in &tokens {
        assert!(!matches!(token, Token::BeginArray | Token::BeginMap | Token::BeginBytes | Token::Break));
        match token {
            // The tokenizer has a type for each width; the value decides how wide it is written.
            Token::U8(number) => encoder.u64(u64::from(*number)),
            Token::U16(number) => encoder.u64(u64::from(*number)),
            Token::U32(number) => encoder.u64(u64::from(*number)),
            Token::U64(number) => encoder.u64(*number),
            Token::I8(number) => encoder.i64(i64::from(*number)),
            Token::I16(number) => encoder.i64(i64::from(*number)),
            Token::I32(number) => encoder.i64(i64::from(*number)),
            Token::I64(number) => encoder.i64(*number),
            token => encoder.encode(token),
        }
        .unwrap();
    }
    assert_eq!(again, payload);
    // Keys ascend.
    let mut decoder = minicbor::Decoder::new(payload);
    assert_eq!(decoder.array().unwrap(), Some(2));
    decoder.u8().unwrap();
    if decoder.datatype().unwrap() != minicbor::data::Type::Null {
        let entries = decoder.map().unwrap().unwrap();
        let mut next = 0;
        for _ in 0..entries {
            let key = decoder.u8().unwrap();
            assert!(key >= next, "{payload:02x?}");
            next = key + 1;
            decoder.skip().unwrap();
        }
        assert_eq!(decoder.position(), payload.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_encoded_decodes_to_the_same(data in bytes(400)) {
        fuzz::messages(&data);
    }

    #[test]
    fn what_peers_write_decodes_to_the_same(data in bytes(800)) {
        fuzz::peers(&data);
    }

    #[test]
    fn what_peers_write_to_a_controller_decodes_to_the_same(data in bytes(800)) {
        fuzz::relays(&data);
    }

    #[test]
    fn any_payload_is_survived(data in bytes(160)) {
        fuzz::payload(&data);
    }

    /// Random bytes hardly ever begin like a message.
    #[test]
    fn any_payload_of_a_known_type_is_survived(data in bytes(112), index in 0..33_usize) {
        let codes: Vec<u8> = (0..=u8::MAX).filter(|code| message_name(*code).is_some()).collect();
        prop_assert_eq!(codes.len(), 33);
        fuzz::payload(&[&[0x82, 0x18, codes[index]][..], &data].concat());
    }

    #[test]
    fn any_link_is_survived(data in bytes(1_000)) {
        fuzz::frames(&data);
        fuzz::stream(&data);
    }

    #[test]
    fn what_is_sent_is_canonical(data in bytes(200)) {
        let mut input = Unstructured::new(&data);
        let Ok(message) = Message::arbitrary(&mut input) else { return Ok(()) };
        let Some(message) = fuzz::legal(message) else { return Ok(()) };
        let mut out = [0; PAYLOAD_MAX];
        let length = message.encode(&mut out).unwrap();
        is_canonical(&out[..length]);
    }

    #[test]
    fn what_is_sent_to_a_controller_is_canonical(data in bytes(120)) {
        let Ok(operation) = Relay::arbitrary(&mut Unstructured::new(&data)) else { return Ok(()) };
        let mut out = [0; PAYLOAD_MAX];
        let length = operation.encode(&mut out).unwrap();
        is_canonical(&out[..length]);
    }

    /// One bit of a good payload changed: an error or another message, never a panic.
    #[test]
    fn damage_behind_the_checksum_is_survived(data in bytes(200), at in 0..PAYLOAD_MAX, bit in 0..8) {
        let mut input = Unstructured::new(&data);
        let Ok(message) = Message::arbitrary(&mut input) else { return Ok(()) };
        let mut out = [0; PAYLOAD_MAX];
        if let Ok(length) = message.encode(&mut out) {
            out[at % length] ^= 1_u8 << bit;
            fuzz::payload(&out[..length]);
            fuzz::payload(&out[..at % length]);
        }
        let Ok(operation) = Relay::arbitrary(&mut Unstructured::new(&data)) else { return Ok(()) };
        let length = operation.encode(&mut out).unwrap();
        out[at % length] ^= 1_u8 << bit;
        fuzz::payload(&out[..length]);
        fuzz::payload(&out[..at % length]);
    }
}

/// The generator of the properties above reaches every type: otherwise they would prove less than they say.
#[test]
fn the_generator_makes_every_message() {
    let (mut codes, mut commands, mut operations) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut seed = 1_u64;
    for _ in 0..20_000 {
        let data: Vec<u8> = core::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed.to_be_bytes()[0]
        })
        .take(300)
        .collect();
        if let Ok(operation) = Relay::arbitrary(&mut Unstructured::new(&data)) {
            operations.insert(first_word(&operation));
        }
        let Ok(message) = Message::arbitrary(&mut Unstructured::new(&data)) else { continue };
        let Some(message) = fuzz::legal(message) else { continue };
        let mut out = [0; FRAME_MAX];
        let length = message.encode(&mut out).unwrap();
        codes.insert(message_name(message.code()));
        if let Ok(Some(command)) = Command::decode(&out[..length]) {
            commands.insert(first_word(&command));
        }
    }
    assert_eq!(codes.len(), 34, "33 names and the unknown: {codes:?}");
    assert_eq!(commands.len(), 7, "{commands:?}");
    assert_eq!(operations.len(), 7, "{operations:?}");
}

fn first_word(value: &impl core::fmt::Debug) -> String {
    format!("{value:?}").split(['(', ' ']).next().unwrap().to_owned()
}
