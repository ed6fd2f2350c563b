// SPDX-License-Identifier: Apache-2.0
//! The frame decoder, row by row of PROTOCOL.md §2.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use fusain::{
    Address, Decoder, EncodeError, FRAME_MAX, FrameError, Message, PAYLOAD_MAX, SerialDecoder, encode_frame,
};
use proptest::prelude::*;

const GOOD: [u8; 17] =
    [0x7E, 4, 0x11, 0, 0xFF, 0xEE, 0xDD, 0xCC, 0xBB, 0xAA, 0x82, 0x18, 0x44, 0xF6, 0xC4, 0x18, 0x7F];

type Event = Result<Vec<u8>, FrameError>;

fn run(bytes: impl IntoIterator<Item = u8>) -> Vec<Event> {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for byte in bytes {
        events.extend(decoder.push(byte).map(|result| result.map(|packet| packet.payload.to_vec())));
    }
    events
}

fn good() -> Event {
    Ok(vec![0x82, 0x18, 0x44, 0xF6])
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut out = [0; FRAME_MAX];
    let length = encode_frame(Address::new(0x7D7E_7F00_0000_0001), payload, &mut out).unwrap();
    out[..length].to_vec()
}

#[test]
fn noise_between_frames_is_ignored() {
    let noise = [0x00, 0x7F, 0x7D, 0xFF, 0x7F, 0x7F, 0x7D];
    assert_eq!(run(noise), []);
    let stream = [&noise[..], &GOOD, &noise, &GOOD, &[0x7F]].concat();
    assert_eq!(run(stream), [good(), good()]);
}

#[test]
fn start_begins_a_frame_wherever_it_comes() {
    for cut in 1..GOOD.len() {
        for escape in [&[][..], &[0x7D]] {
            let stream = [&GOOD[..cut], escape, &GOOD].concat();
            // Where END has to be, ESC ends the first frame already.
            let first = if cut == GOOD.len() - 1 && !escape.is_empty() {
                FrameError::MissingEnd
            } else {
                FrameError::Restarted
            };
            assert_eq!(run(stream), [Err(first), good()], "cut at {cut}");
        }
    }
}

#[test]
fn end_before_the_end_is_an_error_at_once() {
    for cut in 1..GOOD.len() - 1 {
        let mut decoder = Decoder::new();
        for &byte in &GOOD[..cut] {
            assert_eq!(decoder.push(byte), None);
        }
        assert_eq!(decoder.push(0x7F), Some(Err(FrameError::UnexpectedEnd)), "cut at {cut}");
        assert!(!decoder.in_frame());
    }
    // Behind ESC too: raw START and END are never data.
    assert_eq!(run([0x7E, 4, 0x7D, 0x7F]), [Err(FrameError::UnexpectedEnd)]);
}

#[test]
fn a_byte_where_end_has_to_be_is_an_error_at_once() {
    for byte in (0..=u8::MAX).filter(|byte| !matches!(byte, 0x7E | 0x7F)) {
        let stream = [&GOOD[..16], &[byte, 0x7F], &GOOD].concat();
        assert_eq!(run(stream), [Err(FrameError::MissingEnd), good()], "{byte:#x}");
    }
}

#[test]
fn length_is_judged_at_once() {
    for length in 115..=u8::MAX {
        let raw = if matches!(length, 0x7D..=0x7F) { vec![0x7D, length ^ 0x20] } else { vec![length] };
        let stream = [&[0x7E][..], &raw].concat();
        assert_eq!(run(stream), [Err(FrameError::Length { length })]);
    }
    // An escape that nobody needs is undone all the same.
    let mut stream = GOOD.to_vec();
    stream.splice(1..2, [0x7D, 4 ^ 0x20]);
    assert_eq!(run(stream), [good()]);
}

#[test]
fn every_flipped_bit_of_the_body_is_found() {
    for at in 2..GOOD.len() - 1 {
        for bit in 0..8 {
            let mut frame = GOOD;
            frame[at] ^= 1 << bit;
            let events = run(frame);
            assert!(events.iter().all(Result::is_err), "byte {at}, bit {bit}: {events:?}");
        }
    }
    let mut frame = GOOD;
    frame[14] = 0;
    assert_eq!(run(frame), [Err(FrameError::Crc { computed: 0xC418, received: 0x0018 })]);
}

#[test]
fn a_frame_of_no_payload_is_no_message() {
    let empty = [0x7E, 0, 0x11, 0, 0xFF, 0xEE, 0xDD, 0xCC, 0xBB, 0xAA, 0xD6, 0x4A, 0x7F];
    assert_eq!(run(empty), [Err(FrameError::Empty)]);
    let mut out = [0; FRAME_MAX];
    assert_eq!(encode_frame(Address::new(1), &[], &mut out), Err(EncodeError::PayloadEmpty));
}

#[test]
fn the_checksum_is_the_named_one() {
    // CRC-16/IBM-3740 of "123456789" is 0x29B1. As a frame: LENGTH and ADDRESS are its first nine bytes.
    let body = *b"123456789";
    let length = body[0];
    assert_eq!(length, 0x31);
    let payload = [0; 0x31];
    let address = Address::new(u64::from_le_bytes(body[1..].try_into().unwrap()));
    let mut out = [0; FRAME_MAX];
    let end = encode_frame(address, &payload, &mut out).unwrap();
    let mut crc = 0x29B1_u16;
    for _ in 0..payload.len() * 8 {
        crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
    }
    assert_eq!(out[end - 3..end - 1], crc.to_be_bytes());
}

#[test]
fn the_longest_frame_fits_and_nothing_longer_is_sent() {
    let frame = frame(&[0x7E; PAYLOAD_MAX]);
    assert!((240..FRAME_MAX).contains(&frame.len()));
    assert_eq!(run(frame.clone()), [Ok(vec![0x7E; PAYLOAD_MAX])]);
    let mut out = [0; FRAME_MAX];
    let address = Address::new(0x7D7E_7F00_0000_0001);
    assert_eq!(encode_frame(address, &[0; PAYLOAD_MAX + 1], &mut out), Err(EncodeError::PayloadTooLong));
    assert_eq!(encode_frame(address, &[0; 300], &mut out), Err(EncodeError::PayloadTooLong));
    for room in 0..frame.len() {
        let out = &mut out[..room];
        assert_eq!(encode_frame(address, &[0x7E; PAYLOAD_MAX], out), Err(EncodeError::BufferTooSmall));
    }
}

#[test]
fn silence_ends_a_frame_on_a_serial_link() {
    let mut decoder = SerialDecoder::new();
    // 100 ms is still within the frame.
    for (index, &byte) in (0..).zip(&GOOD[..16]) {
        assert_eq!(decoder.push_at(1_000 + 100 * index, byte), None);
    }
    assert_eq!(decoder.poll_gap(2_600), None);
    assert!(decoder.push_at(2_600, 0x7F).unwrap().is_ok());

    // The byte that shows the gap begins the next frame.
    assert_eq!(decoder.push_at(3_000, 0x7E), None);
    assert_eq!(decoder.push_at(3_101, 0x7E), Some(Err(FrameError::Gap)));
    let rest: Vec<_> = GOOD[1..]
        .iter()
        .filter_map(|&byte| decoder.push_at(3_101, byte).map(|result| result.is_ok()))
        .collect();
    assert_eq!(rest, [true]);

    // The same without a byte, once.
    assert_eq!(decoder.push_at(4_000, 0x7E), None);
    assert_eq!(decoder.poll_gap(4_100), None);
    assert_eq!(decoder.poll_gap(4_101), Some(FrameError::Gap));
    assert_eq!(decoder.poll_gap(9_999), None);
    assert!(!decoder.in_frame());

    // Silence between frames is no error, and neither is a clock that steps back.
    assert_eq!(decoder.push_at(20_000, 0x7E), None);
    assert_eq!(decoder.push_at(10, 4), None);
    assert!(decoder.reset());
    assert!(!decoder.reset());
}

proptest! {
    #[test]
    fn a_good_frame_is_delivered_whatever_came_before(
        garbage in prop::collection::vec(prop_oneof![any::<u8>(), 0x7D_u8..=0x7F], 0..300),
        payload in prop::collection::vec(any::<u8>(), 1..=PAYLOAD_MAX),
    ) {
        let events = run(garbage.into_iter().chain(frame(&payload)));
        prop_assert_eq!(events.last(), Some(&Ok(payload)));
    }

    #[test]
    fn any_frame_is_delivered_as_it_was_sent(
        address in any::<u64>(),
        payload in prop::collection::vec(prop_oneof![any::<u8>(), 0x7D_u8..=0x7F], 1..=PAYLOAD_MAX),
    ) {
        let mut out = [0; FRAME_MAX];
        let length = encode_frame(Address::new(address), &payload, &mut out).unwrap();
        let frame = &out[..length];
        prop_assert!(frame[1..length - 1].iter().all(|byte| !matches!(byte, 0x7E | 0x7F)));
        let mut decoder = Decoder::new();
        for &byte in &frame[..length - 1] {
            prop_assert_eq!(decoder.push(byte), None);
        }
        let packet = decoder.push(frame[length - 1]).unwrap().unwrap();
        prop_assert_eq!((packet.address.get(), packet.payload), (address, &payload[..]));
    }

    /// Links deliver a stream in pieces, and may look at the clock between them.
    #[test]
    fn how_a_stream_is_cut_into_pieces_does_not_matter(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=40), 1..6),
        noise in prop::collection::vec(any::<u8>(), 0..40),
        cuts in prop::collection::vec(1_usize..20, 1..20),
    ) {
        let stream: Vec<u8> = frames.iter().flat_map(|payload| [frame(payload), noise.clone()].concat()).collect();
        let whole = run(stream.iter().copied());
        let mut decoder = SerialDecoder::new();
        let (mut pieces, mut rest, mut now) = (Vec::new(), &stream[..], 0);
        for cut in cuts.iter().cycle() {
            let (piece, more) = rest.split_at((*cut).min(rest.len()));
            for &byte in piece {
                let result = decoder.push_at(now, byte);
                pieces.extend(result.map(|result| result.map(|packet| packet.payload.to_vec())));
            }
            now += 100;
            prop_assert_eq!(decoder.poll_gap(now), None);
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn any_stream_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for payload in run(bytes).into_iter().flatten() {
            let _ = Message::decode(&payload);
        }
    }
}
