// SPDX-License-Identifier: Apache-2.0
//! What the fuzz targets and the property tests check. Nothing of it is for use outside this repository.
//!
//! Each function takes raw bytes and panics where a promise of this crate is broken. Most read the bytes as a
//! plan for building input: frames whose checksum is right, maps whose CBOR is whole. Random bytes alone would
//! hardly ever get past either.

use core::mem::discriminant;
use std::vec::Vec;

use arbitrary::{Arbitrary, Result, Unstructured};
use minicbor::data::Int;

use crate::cbor::{Items, major};
use crate::relay::Relay;
use crate::{
    Address, Command, DecodeError, Decoder, EXTENSION_MAGIC, EXTENSION_VERSION, Extension, ExtensionRequest,
    FRAME_MAX, FrameError, GAP_MS, Message, OtaData, PAYLOAD_MAX, SerialDecoder, encode_frame, message_code,
    message_name,
};

/// Deepest nesting of the values that [`item`] builds: one less than what has to be accepted.
const DEPTH_MAX: usize = 31;

/// Something that happens on a link.
#[derive(Arbitrary, Debug)]
enum Event {
    Noise(Vec<u8>),
    Frame { address: u64, payload: Payload },
    Cut { payload: Payload, at: u8 },
    Flipped { payload: Payload, at: u8, bit: u8 },
    Extra { payload: Payload, byte: u8 },
    Length { length: u8, rest: Vec<u8> },
    Silence { ms: u16 },
}

#[derive(Debug)]
struct Payload(Vec<u8>);

impl<'a> Arbitrary<'a> for Payload {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut bytes = if u.ratio(1, 4)? { Vec::arbitrary(u)? } else { peer_payload(u)? };
        bytes.truncate(PAYLOAD_MAX);
        Ok(Self(bytes))
    }
}

/// Frames between every kind of damage: each frame that arrives whole is delivered as it was sent.
pub fn frames(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut link = Link::default();
    while let (false, Ok(event)) = (u.is_empty(), Event::arbitrary(&mut u)) {
        match event {
            Event::Noise(bytes) => link.send(&bytes),
            Event::Frame { address, payload } => link.deliver(Address::new(address), &payload.0),
            Event::Cut { payload, at } => {
                let mut frame = frame(Address::BROADCAST, &payload.0);
                frame.truncate(usize::from(at));
                link.send(&frame);
            }
            Event::Flipped { payload, at, bit } => {
                let mut frame = frame(Address::STATELESS, &payload.0);
                if let Some(byte) = frame.get_mut(usize::from(at)) {
                    *byte ^= 1 << (bit & 7);
                }
                link.send(&frame);
            }
            Event::Extra { payload, byte } => {
                let mut frame = frame(Address::new(1), &payload.0);
                if let Some(end) = frame.pop() {
                    frame.extend([byte, end]);
                }
                link.send(&frame);
            }
            Event::Length { length, rest } => {
                link.send(&[0x7E, length]);
                link.send(&rest);
            }
            Event::Silence { ms } => link.silence(u64::from(ms)),
        }
    }
}

/// The same bytes as a link delivers them: no structure, but every payload that is delivered is decoded.
pub fn stream(data: &[u8]) {
    Link::default().send(data);
}

fn frame(address: Address, payload: &[u8]) -> Vec<u8> {
    let mut out = [0; FRAME_MAX];
    let length = encode_frame(address, payload, &mut out).unwrap_or(0);
    out.get(..length).unwrap_or_default().to_vec()
}

#[derive(Default)]
struct Link {
    serial: SerialDecoder,
    plain: Decoder,
    now_ms: u64,
}

impl Link {
    fn push(&mut self, byte: u8) -> Option<core::result::Result<(Address, Vec<u8>), FrameError>> {
        let owned = |result: core::result::Result<crate::Packet<'_>, FrameError>| {
            result.map(|packet| (packet.address, packet.payload.to_vec()))
        };
        let serial = self.serial.push_at(self.now_ms, byte).map(owned);
        let plain = self.plain.push(byte).map(owned);
        // Silence is all that tells the two apart.
        assert!(serial == plain || serial == Some(Err(FrameError::Gap)));
        assert_eq!(self.serial.in_frame(), self.plain.in_frame());
        if let Some(Ok((address, bytes))) = &serial {
            assert!((1..=PAYLOAD_MAX).contains(&bytes.len()));
            let again = frame(*address, bytes);
            assert!((14..FRAME_MAX).contains(&again.len()));
            payload(bytes);
        }
        serial
    }

    fn send(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.push(byte);
        }
    }

    fn deliver(&mut self, address: Address, payload: &[u8]) {
        let frame = frame(address, payload);
        let Some((&end, body)) = frame.split_last() else {
            assert!(payload.is_empty());
            return;
        };
        for (index, &byte) in body.iter().enumerate() {
            let result = self.push(byte);
            let restarted = matches!(result, Some(Err(FrameError::Restarted | FrameError::Gap)));
            assert!(result.is_none() || index == 0 && restarted, "{result:?} at {index}");
        }
        assert_eq!(self.push(end), Some(Ok((address, payload.to_vec()))));
    }

    fn silence(&mut self, ms: u64) {
        self.now_ms += ms;
        // A serial link drops what it has; the plain decoder is told to, so that both agree again.
        if ms > GAP_MS {
            let dropped = self.plain.reset();
            assert_eq!(self.serial.poll_gap(self.now_ms).is_some(), dropped);
        } else {
            assert_eq!(self.serial.poll_gap(self.now_ms.saturating_sub(ms)), None);
            self.now_ms -= ms;
        }
    }
}

/// Any bytes as a payload: no panic, the two decoders agree, and what was decoded survives another round.
pub fn payload(bytes: &[u8]) {
    let message = Message::decode(bytes);
    let command = Command::decode(bytes);
    agree(&message, &command);
    relay(&message, bytes);
    match message {
        Ok(message) => {
            assert_eq!(message_code(bytes), Ok(message.code()));
            let known = !matches!(message, Message::Unknown { .. });
            assert_eq!(message_name(message.code()).is_some(), known);
            round_trip(&message);
        }
        Err(DecodeError::Envelope) => assert!(message_code(bytes).is_err()),
        Err(DecodeError::OtherCode { .. }) => unreachable!("each code has its own decoder"),
        Err(DecodeError::Payload { code } | DecodeError::Field { code, .. }) => {
            assert_eq!(message_code(bytes), Ok(code));
        }
    }
}

/// [`Command`] and [`Message`] read the same commands from the same bytes.
fn agree(
    message: &core::result::Result<Message<'_>, DecodeError>,
    command: &core::result::Result<Option<Command<'_>>, DecodeError>,
) {
    match (*command, *message) {
        (Ok(Some(Command::Start(a))), Ok(Message::OtaStart(b))) => assert_eq!(a, b),
        (Ok(Some(Command::Data(a))), Ok(Message::OtaData(b))) => assert_eq!(a, b),
        (Ok(Some(Command::Verify(a))), Ok(Message::OtaVerify(b))) => assert_eq!(a, b),
        (Ok(Some(Command::Activate(a))), Ok(Message::OtaActivate(b))) => assert_eq!(a, b),
        (Ok(Some(Command::Query)), Ok(Message::OtaQuery)) => {}
        (Ok(Some(Command::Abort)), Ok(Message::OtaAbort)) => {}
        (Ok(Some(Command::Extension(request))), Ok(Message::Extension(extension))) => match extension {
            Extension::InfoRequest => assert_eq!(request, ExtensionRequest::Info),
            Extension::OutcomeRequest { index } => assert_eq!(request, ExtensionRequest::Outcome { index }),
            _ => assert_eq!(request, ExtensionRequest::Other),
        },
        // A device does not look into the answers of other devices.
        (Ok(Some(Command::Extension(request))), Err(_)) => assert_eq!(request, ExtensionRequest::Other),
        (Ok(None), Ok(message)) => assert!(!matches!(message.code(), 0x40..=0x44 | 0x46 | 0x4F)),
        (Ok(None), Err(DecodeError::Payload { code } | DecodeError::Field { code, .. })) => {
            assert!(!matches!(code, 0x40..=0x44 | 0x46 | 0x4F));
        }
        (Err(a), Err(b)) => assert_eq!(a, b),
        (command, message) => unreachable!("{command:?} against {message:?}"),
    }
}

/// [`Relay`] reads only what is an extension message to [`Message`], and what it reads survives another round.
fn relay(message: &core::result::Result<Message<'_>, DecodeError>, bytes: &[u8]) {
    match Relay::decode(bytes) {
        Ok(Relay::Other) => {}
        Ok(operation) => {
            let ours = matches!(message, Ok(Message::Extension(Extension::Other { magic, version, .. }))
                if *magic == EXTENSION_MAGIC && *version == EXTENSION_VERSION);
            assert!(ours, "{operation:?} is {message:?}");
            relay_round_trip(&operation);
        }
        Err(DecodeError::Envelope) => assert!(message_code(bytes).is_err()),
        Err(DecodeError::OtherCode { code }) => {
            assert!(code != Extension::CODE && message_code(bytes) == Ok(code));
        }
        Err(DecodeError::Payload { code } | DecodeError::Field { code, .. }) => {
            assert!(code == Extension::CODE && message_code(bytes) == Ok(code));
        }
    }
}

/// Any operation of a controller: what was encoded decodes to the same, also as another implementation writes it.
pub fn relays(data: &[u8]) {
    let mut u = Unstructured::new(data);
    while let (false, Ok(operation)) = (u.is_empty(), Relay::arbitrary(&mut u)) {
        let bytes = relay_round_trip(&operation);
        payload(&bytes);
        spoilt(&operation, &bytes);
        let Ok(Some(rewritten)) = rewrite(&bytes, &mut u) else { continue };
        if rewritten.len() <= PAYLOAD_MAX {
            let decoded = Relay::decode(&rewritten);
            assert_eq!(decoded, Ok(operation), "as {rewritten:02x?}");
            payload(&rewritten);
        }
    }
}

/// Encodes an operation, decodes it, and returns its bytes.
fn relay_round_trip(operation: &Relay) -> Vec<u8> {
    let mut out = [0; PAYLOAD_MAX];
    let length = match operation.encode(&mut out) {
        Ok(length) => length,
        Err(error) => unreachable!("{operation:?}: {error}"),
    };
    let bytes = out.get(..length).unwrap_or_default();
    assert_eq!(Relay::decode(bytes), Ok(*operation));
    bytes.to_vec()
}

/// Whatever is missing in an operation or has another value: what is read is what the bytes say, or they are refused.
fn spoilt(operation: &Relay, bytes: &[u8]) {
    /// Values as we write them, none of which fits every field.
    const OTHERS: &[&[u8]] = &[
        &[0x00],
        &[0x18, 0xFF],
        &[0x19, 0x01, 0x00],
        &[0x1B, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00],
        &[0x20],
        &[0x40],
        &[
            0x58, 0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0,
        ],
        &[0x60],
        &[0x83, 0, 0, 0],
        &[0x84, 0, 0, 0, 0],
        &[0x84, 0, 0x19, 0x01, 0x00, 0, 0],
        &[0x85, 0, 0, 0, 0, 0],
        &[0xF4],
        &[0xF6],
    ];
    let mut items = Items::new(bytes.get(4..).unwrap_or_default());
    let mut entries = Vec::new();
    // Keys are a byte each.
    while let [key, rest @ ..] = items.rest {
        items.rest = rest;
        items.skip();
        let value = rest.get(..rest.len() - items.rest.len()).unwrap_or_default();
        entries.push([&[*key], value].concat());
    }
    assert_eq!(map(&entries), bytes);
    let longer = Relay::decode(&[bytes, &[0]].concat());
    assert!(matches!(longer, Ok(Relay::Other) | Err(_)), "{longer:?} from {bytes:02x?} and a byte more");
    // Without these three it is another operation, or somebody else's.
    for place in 3..entries.len() {
        let mut fields = entries.clone();
        let key = fields.remove(place).first().copied().unwrap_or_default();
        match operation {
            // An entry is there with its address, and with nothing else.
            Relay::Roster { index, total, entry: Some(_) } if key == 5 => {
                let none = Relay::Roster { index: *index, total: *total, entry: None };
                assert_eq!(Relay::decode(&map(&fields)), Ok(none));
            }
            _ => as_it_says(&map(&fields)),
        }
        for other in OTHERS {
            fields.insert(place, [&[key], *other].concat());
            as_it_says(&map(&fields));
            fields.remove(place);
        }
    }
}

/// An operation in our own form, from its fields.
fn map(fields: &[Vec<u8>]) -> Vec<u8> {
    let head = 0xA0 | u8::try_from(fields.len()).unwrap_or(0);
    [&[0x82, 0x18, Extension::CODE, head], fields.concat().as_slice()].concat()
}

/// What is read from a payload in our own form is written as it was.
fn as_it_says(bytes: &[u8]) {
    let mut out = [0; PAYLOAD_MAX];
    // The first entry can be asked for in two ways.
    if let Ok(operation) = Relay::decode(bytes)
        && operation != (Relay::RosterRequest { index: 0 })
    {
        let length = operation.encode(&mut out).unwrap_or(0);
        assert_eq!(out.get(..length), Some(bytes), "{operation:?} from {bytes:02x?}");
    }
}

/// Any message: what was encoded decodes to the same message.
pub fn messages(data: &[u8]) {
    let mut u = Unstructured::new(data);
    while let (false, Ok(message)) = (u.is_empty(), Message::arbitrary(&mut u)) {
        if let Some(message) = legal(message) {
            round_trip(&message);
        }
    }
}

/// Bends a message to one that can be received, if there is one like it.
#[must_use]
pub fn legal(mut message: Message<'_>) -> Option<Message<'_>> {
    match &mut message {
        Message::OtaData(chunk) => {
            chunk.offset &= u64::from(u32::MAX);
            chunk.data = chunk.data.get(..usize::from(OtaData::CHUNK_MAX)).unwrap_or(chunk.data);
        }
        Message::Unknown { code } if message_name(*code).is_some() => return None,
        Message::Extension(Extension::Info(info)) => {
            info.window = info.window.max(1);
            info.chunk_max = info.chunk_max.max(1);
        }
        Message::Extension(Extension::Other { magic, version, operation: 0..=3 })
            if *magic == EXTENSION_MAGIC && *version == EXTENSION_VERSION =>
        {
            return None;
        }
        _ => {}
    }
    Some(message)
}

/// Encodes a message, decodes it, and returns its bytes.
fn round_trip(message: &Message<'_>) -> Vec<u8> {
    let (mut first, mut second) = ([0; PAYLOAD_MAX], [0; PAYLOAD_MAX]);
    // What came in fits a frame, and no form of it is shorter than ours, save that of floats.
    let length = match message.encode(&mut first) {
        Ok(length) => length,
        Err(error) => unreachable!("{message:?}: {error}"),
    };
    let bytes = first.get(..length).unwrap_or_default();
    let again = Message::decode(bytes);
    let again = match again {
        Ok(again) => again,
        Err(error) => unreachable!("{message:?} decodes to {error}"),
    };
    assert_eq!(discriminant(message), discriminant(&again));
    // A float that is no number equals nothing, not even itself: bytes tell.
    assert_eq!(again.encode(&mut second), Ok(length));
    assert_eq!(first, second);
    assert!(*message == again || std::format!("{message:?}").contains("NaN"), "{message:?} {again:?}");
    bytes.to_vec()
}

/// A message as another implementation may write it: keys in any order, integers of any width, lengths definite
/// or not, unknown keys in between. It decodes to the same message.
pub fn peers(data: &[u8]) {
    let mut u = Unstructured::new(data);
    while let (false, Ok(message)) = (u.is_empty(), Message::arbitrary(&mut u)) {
        let Some(message) = legal(message) else { continue };
        let bytes = round_trip(&message);
        let Ok(Some(rewritten)) = rewrite(&bytes, &mut u) else { continue };
        if rewritten.len() <= PAYLOAD_MAX {
            let decoded = Message::decode(&rewritten);
            let same = decoded == Ok(message) || std::format!("{message:?}").contains("NaN");
            assert!(same, "{message:?} as {rewritten:02x?} decodes to {decoded:?}");
        }
    }
}

/// Rewrites a payload of ours in another way that means the same.
fn rewrite(bytes: &[u8], u: &mut Unstructured<'_>) -> Result<Option<Vec<u8>>> {
    let mut decoder = minicbor::Decoder::new(bytes);
    decoder.set_position(1);
    let Ok(code) = decoder.u8() else { return Ok(None) };
    let mut out = std::vec![0x82];
    // Only two forms of the code are accepted.
    if code > 0x17 || u.arbitrary()? {
        out.extend([0x18, code])
    } else {
        out.push(code)
    }
    let mut entries = Vec::new();
    if let Ok(Some(count)) = decoder.map() {
        for _ in 0..count {
            let (Ok(key), value) = (decoder.int(), decoder.position()) else { return Ok(None) };
            let mut entry = Vec::new();
            integer(key, u, &mut entry)?;
            let number = decoder.clone().int();
            let mut items = Items::new(bytes.get(value..).unwrap_or_default());
            items.skip();
            decoder.set_position(bytes.len() - items.rest.len());
            match number {
                Ok(number) => integer(number, u, &mut entry)?,
                Err(_) => entry.extend(bytes.get(value..decoder.position()).unwrap_or_default()),
            }
            entries.push(entry);
        }
    } else if u.arbitrary()? {
        out.push(if u.arbitrary()? { 0xF6 } else { 0xF7 });
        return Ok(Some(out));
    }
    // What is under an unknown magic is read no further than its first three keys, unknown ones included.
    for _ in 0..u.int_in_range(0..=2)? {
        let mut entry = Vec::new();
        let negative = u.arbitrary()?;
        let key = if negative { u.arbitrary()? } else { u.int_in_range(13..=u64::MAX)? };
        head(u8::from(negative), key, u, &mut entry)?;
        item(u, &mut entry, DEPTH_MAX)?;
        let place = u.int_in_range(0..=entries.len())?;
        entries.insert(place, entry);
    }
    if entries.len() > 1 {
        let turns = u.int_in_range(0..=entries.len() - 1)?;
        entries.rotate_left(turns);
    }
    container(major::MAP, &entries, u, &mut out)?;
    Ok(Some(out))
}

/// A payload as it may come from anywhere: a code, mostly a known one, and any item, mostly a map.
fn peer_payload(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let code = if u.ratio(7, 8)? {
        let known: Vec<u8> = (0..=u8::MAX).filter(|&code| message_name(code).is_some()).collect();
        *u.choose(&known)?
    } else {
        u.arbitrary()?
    };
    let mut out = std::vec![0x82, 0x18, code];
    if u.ratio(1, 8)? {
        item(u, &mut out, DEPTH_MAX)?;
        return Ok(out);
    }
    let mut entries = Vec::new();
    for key in 0..u.int_in_range(0..=13)? {
        let key = if u.ratio(1, 8)? { u.int_in_range(0..=14)? } else { key };
        let mut entry = Vec::new();
        head(major::UNSIGNED, key, u, &mut entry)?;
        likely(u, code, key, &mut entry)?;
        entries.push(entry);
    }
    container(major::MAP, &entries, u, &mut out)?;
    Ok(out)
}

/// A value that some field may have.
fn likely(u: &mut Unstructured<'_>, code: u8, key: u64, out: &mut Vec<u8>) -> Result<()> {
    match (u.int_in_range(0..=9)?, code, key) {
        (0..=6, Extension::CODE, 0) => head(major::UNSIGNED, u64::from(EXTENSION_MAGIC), u, out),
        (0..=6, Extension::CODE, 1) => head(major::UNSIGNED, u64::from(EXTENSION_VERSION), u, out),
        // The operations of a device, and those of a controller.
        (0..=6, Extension::CODE, 2) => {
            let operation = *u.choose(&[0, 1, 2, 3, 16, 17, 18, 19, 20, 21])?;
            head(major::UNSIGNED, operation, u, out)
        }
        (0..=3, ..) => {
            let number = u.int_in_range(0..=8)?;
            head(major::UNSIGNED, number, u, out)
        }
        (4, ..) => {
            let digest: [u8; 32] = u.arbitrary()?;
            head(major::BYTES, 32, u, out)?;
            out.extend(digest);
            Ok(())
        }
        (5, ..) => {
            let version: [u8; 4] = u.arbitrary()?;
            let numbers: Vec<Vec<u8>> = version.iter().map(|&number| std::vec![0x18, number]).collect();
            container(major::ARRAY, &numbers, u, out)
        }
        (6, ..) => {
            out.push(0xF4 + u8::from(u.arbitrary::<bool>()?));
            Ok(())
        }
        _ => item(u, out, DEPTH_MAX),
    }
}

/// Any whole, well-formed item.
fn item(u: &mut Unstructured<'_>, out: &mut Vec<u8>, depth: usize) -> Result<()> {
    let major = if depth == 0 { *u.choose(&[0, 1, 7])? } else { u.int_in_range(0..=7)? };
    match major {
        major::BYTES | major::TEXT => {
            let text: [u8; 3] = u.arbitrary()?;
            let text = text.get(..u.int_in_range(0..=3)?).unwrap_or_default();
            let mut chunk = Vec::new();
            head(major, u64::try_from(text.len()).unwrap_or(0), u, &mut chunk)?;
            chunk.extend(text);
            if u.ratio(1, 4)? {
                out.push((major << 5) | 0x1F);
                (0..u.int_in_range(0..=2)?).for_each(|_| out.extend(&chunk));
                out.push(0xFF);
            } else {
                out.extend(chunk);
            }
        }
        major::ARRAY | major::MAP => {
            let mut entries = Vec::new();
            for _ in 0..u.int_in_range(0..=3)? {
                let mut entry = Vec::new();
                (0..=u8::from(major == major::MAP)).try_for_each(|_| item(u, &mut entry, depth - 1))?;
                entries.push(entry);
            }
            container(major, &entries, u, out)?;
        }
        major::TAG => {
            let tag = u.arbitrary()?;
            head(major, tag, u, out)?;
            item(u, out, depth - 1)?;
        }
        major::SIMPLE => {
            let (first, width) =
                *u.choose(&[(0xF4, 0), (0xF6, 0), (0xF7, 0), (0xF9, 2), (0xFA, 4), (0xFB, 8)])?;
            out.push(first);
            out.extend(u.bytes(width)?);
        }
        _ => {
            let number = u.arbitrary()?;
            head(major, number, u, out)?;
        }
    }
    Ok(())
}

/// A container around whole entries, of definite length or not.
fn container(major: u8, entries: &[Vec<u8>], u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    let indefinite = u.arbitrary()?;
    if indefinite {
        out.push((major << 5) | 0x1F);
    } else {
        head(major, u64::try_from(entries.len()).unwrap_or(0), u, out)?;
    }
    entries.iter().for_each(|entry| out.extend(entry));
    if indefinite {
        out.push(0xFF);
    }
    Ok(())
}

/// An integer in any width that holds it.
fn integer(number: Int, u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    let number = i128::from(number);
    let major = if number < 0 { major::NEGATIVE } else { major::UNSIGNED };
    // The argument of a negative number n is -1 - n, which is what inverting its bits gives.
    let argument = if number < 0 { !number } else { number };
    head(major, u64::try_from(argument).unwrap_or(0), u, out)
}

/// A head in any width that holds the argument.
fn head(major: u8, argument: u64, u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    // Largest argument, bits that say how wide it is, and how many bytes follow.
    const WIDTHS: [(u64, u8, usize); 5] =
        [(0x17, 0, 0), (0xFF, 0x18, 1), (0xFFFF, 0x19, 2), (0xFFFF_FFFF, 0x1A, 4), (u64::MAX, 0x1B, 8)];
    let shortest = WIDTHS.iter().position(|&(most, ..)| argument <= most).unwrap_or(4);
    // Mostly the shortest, so that messages fit a frame.
    let fitting = WIDTHS.get(shortest..).unwrap_or_default();
    let (_, info, width) = if u.ratio(3, 4)? { fitting.first() } else { u.choose(fitting).ok() }
        .copied()
        .unwrap_or((0, 0x1B, 8));
    let bytes = argument.to_be_bytes();
    let [.., last] = bytes;
    out.push((major << 5) | if width == 0 { last } else { info });
    out.extend(bytes.get(8 - width..).unwrap_or_default());
    Ok(())
}
