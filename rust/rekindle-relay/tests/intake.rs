// SPDX-License-Identifier: Apache-2.0
//! The image on its way in: the answers are those of a receiver (PROTOCOL.md §5), from the appliance's address.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod common;

use common::*;
use fusain::{
    Address, Constraint, Extension, InvalidCommand, Message, Mode, OtaActivate, OtaData, OtaStart, OtaState,
    OtaStatus, OtaVerify, Reason, StateReject,
};
use mcuboot_image::sign::SigningKey;
use rekindle_relay::*;

struct Desk {
    bench: Bench,
    appliance: Address,
    image: Vec<u8>,
}

impl Desk {
    fn new(checkpoint: u32) -> Self {
        let key = SigningKey::generate_ed25519().unwrap();
        let mut bench = Bench::new(Config { checkpoint, ..Config::new(20_000) }, &[trust(&key)]);
        let appliance = bench.add(0, 0xA1, signed(1, &key));
        bench.pass(2_000);
        bench.stations[0].unplugged = true;
        Self { bench, appliance, image: signed(2, &key) }
    }

    fn ask(&mut self, client: u8, message: &Message<'_>) -> Option<Message<'static>> {
        self.bench.take(client);
        self.bench.client(client, self.appliance, message);
        let mut answers = self.bench.take(client);
        assert!(answers.len() <= 1);
        let (from, bytes) = answers.pop()?;
        assert_eq!(from, self.appliance, "answered from the address that was asked");
        Some(match Message::decode(&bytes).unwrap() {
            Message::OtaStatus(status) => Message::OtaStatus(status),
            Message::InvalidCommand(invalid) => Message::InvalidCommand(invalid),
            Message::StateReject(reject) => Message::StateReject(reject),
            Message::Extension(extension) => Message::Extension(extension),
            other => Message::Unknown { code: other.code() },
        })
    }

    fn start(&mut self, client: u8) -> Option<Message<'static>> {
        let start = OtaStart {
            size: self.image.len() as u64,
            digest: digest(&self.image),
            version: None,
            slot: None,
        };
        self.ask(client, &Message::OtaStart(start))
    }

    fn data(&mut self, client: u8, offset: usize, len: usize) -> Option<Message<'static>> {
        let data = self.image[offset..(offset + len).min(self.image.len())].to_vec();
        self.ask(client, &Message::OtaData(OtaData { offset: offset as u64, data: &data }))
    }

    fn send(&mut self, from: usize, to: usize) {
        for offset in (from..to).step_by(96) {
            assert!(matches!(self.data(0, offset, (to - offset).min(96)), Some(Message::OtaStatus(_))));
        }
    }
}

fn status(state: OtaState, offset: Option<u32>) -> Option<Message<'static>> {
    Some(Message::OtaStatus(OtaStatus { state, offset, version: None }))
}

fn invalid(field: Option<i32>, constraint: Constraint) -> Option<Message<'static>> {
    Some(Message::InvalidCommand(InvalidCommand::parameter(field, constraint)))
}

fn reject(state: i32, reason: Reason) -> Option<Message<'static>> {
    Some(Message::StateReject(StateReject::because(state, reason)))
}

#[test]
fn start_is_answered_like_a_receivers() {
    let mut desk = Desk::new(4_096);
    let digest = digest(&desk.image);
    let start = |size, slot| Message::OtaStart(OtaStart { size, digest, version: None, slot });
    assert_eq!(desk.ask(0, &start(31, None)), invalid(Some(0), Constraint::ValueTooLow));
    assert_eq!(desk.ask(0, &start(20_001, None)), invalid(Some(0), Constraint::ImageTooLarge));
    assert_eq!(desk.ask(0, &start(u64::MAX, None)), invalid(Some(0), Constraint::ImageTooLarge));
    assert_eq!(desk.ask(0, &start(9_000, Some(0))), invalid(Some(3), Constraint::ValueInvalid));
    assert_eq!(desk.ask(0, &start(9_000, Some(2))), invalid(Some(3), Constraint::ValueTooHigh));
    assert_eq!(desk.ask(0, &Message::OtaQuery), status(OtaState::Idle, None));
    assert_eq!(desk.start(0), status(OtaState::Receiving, Some(0)));
    assert_eq!(desk.start(0), status(OtaState::Receiving, Some(0)), "once more is the same");
    // Malformed: no digest.
    desk.bench.client_bytes(0, desk.appliance, &[0x82, 0x18, 0x40, 0xA1, 0x00, 0x18, 0x64]);
    let (_, answer) = desk.bench.answer(0);
    assert_eq!(Some(Message::decode(&answer).unwrap()), invalid(Some(1), Constraint::FieldRequired));
}

#[test]
fn data_is_answered_like_a_receivers() {
    let mut desk = Desk::new(2_048);
    assert_eq!(desk.data(0, 0, 96), reject(0, Reason::InvalidInState));
    desk.start(0);
    assert_eq!(desk.data(0, 0, 96), status(OtaState::Receiving, Some(96)));
    assert_eq!(desk.data(0, 0, 96), status(OtaState::Receiving, Some(96)), "a repeat in the buffer");
    // To a base-protocol sender a gap is told each time.
    assert_eq!(desk.data(0, 200, 96), invalid(Some(0), Constraint::ValueConflict));
    assert_eq!(desk.data(0, 200, 96), invalid(Some(0), Constraint::ValueConflict));
    assert_eq!(desk.data(0, 50, 96), invalid(Some(0), Constraint::ValueConflict), "across the next offset");
    let none = Message::OtaData(OtaData { offset: 96, data: &[] });
    assert_eq!(desk.ask(0, &none), invalid(Some(1), Constraint::ValueTooLow));
    let beyond = Message::OtaData(OtaData { offset: desk.image.len() as u64 - 10, data: &[0; 96] });
    assert_eq!(desk.ask(0, &beyond), invalid(Some(1), Constraint::ValueTooHigh));
    desk.send(96, 600);
    // Repeats: on the store, half on it, and with other bytes.
    assert_eq!(desk.data(0, 96, 96), status(OtaState::Receiving, Some(600)));
    assert_eq!(desk.data(0, 480, 96), status(OtaState::Receiving, Some(600)));
    for offset in [96, 480, 540] {
        let other = Message::OtaData(OtaData { offset, data: &[0xEE; 50] });
        assert_eq!(desk.ask(0, &other), invalid(Some(0), Constraint::ValueConflict), "{offset}");
    }
    assert_eq!(
        desk.ask(0, &Message::OtaVerify(OtaVerify { digest: None })),
        invalid(None, Constraint::ValueTooLow)
    );
    let size = desk.image.len();
    desk.send(600, size);
    let whole = u32::try_from(size).unwrap();
    assert_eq!(desk.ask(0, &Message::OtaQuery), status(OtaState::Received, Some(whole)));
    assert_eq!(desk.data(0, size - 40, 40), status(OtaState::Received, Some(whole)), "the last once more");
    let other = OtaVerify { digest: Some([1; 32]) };
    assert_eq!(desk.ask(0, &Message::OtaVerify(other)), invalid(Some(0), Constraint::HashMismatch));
    let early = OtaActivate { mode: Mode::Test, reboot: true };
    assert_eq!(desk.ask(0, &Message::OtaActivate(early)), reject(2, Reason::InvalidInState));
    // VERIFY starts the transfer; until it is done, QUERY tells how far it is.
    assert_eq!(
        desk.ask(0, &Message::OtaVerify(OtaVerify { digest: None })),
        status(OtaState::Received, Some(0))
    );
    assert_eq!(desk.ask(0, &Message::OtaQuery), status(OtaState::Received, Some(0)));
    assert_eq!(desk.ask(0, &Message::OtaAbort), status(OtaState::Idle, None));
    desk.bench.pass(10);
    assert!(!desk.bench.store.has(File::Image));
}

#[test]
fn one_that_knows_the_window_hears_of_a_gap_once() {
    let mut desk = Desk::new(4_096);
    let Some(Message::Extension(Extension::Info(info))) =
        desk.ask(0, &Message::Extension(Extension::InfoRequest))
    else {
        panic!("no INFO")
    };
    assert_eq!((info.window, info.chunk_max, info.version.major), (24, 100, 1));
    desk.start(0);
    assert_eq!(desk.data(0, 96, 96), invalid(Some(0), Constraint::ValueConflict));
    assert_eq!(desk.data(0, 192, 96), None);
    assert_eq!(desk.data(0, 0, 96), status(OtaState::Receiving, Some(96)));
    assert_eq!(desk.data(0, 192, 96), invalid(Some(0), Constraint::ValueConflict), "a gap of its own");
}

#[test]
fn what_was_acknowledged_and_is_lost_is_never_more_than_a_checkpoint() {
    let mut desk = Desk::new(1_024);
    desk.start(0);
    desk.send(0, 4_992);
    desk.bench.restart();
    let Some(Message::OtaStatus(status)) = desk.start(0) else { panic!("no status") };
    let offset = status.offset.unwrap();
    assert!(offset <= 4_992 && 4_992 - offset <= 1_024 + 256, "{offset}");
    assert!(offset > 0);
    desk.send(offset as usize, desk.image.len());
    let verify = Message::OtaVerify(OtaVerify { digest: None });
    assert!(matches!(desk.ask(0, &verify), Some(Message::OtaStatus(s)) if s.state == OtaState::Received));
}

#[test]
fn bytes_that_changed_in_the_store_begin_anew() {
    let mut desk = Desk::new(1_024);
    desk.start(0);
    desk.send(0, 4_992);
    desk.bench.store.files.get_mut(&File::Image).unwrap().0[700] ^= 1;
    desk.bench.restart();
    assert_eq!(desk.start(0), status(OtaState::Receiving, Some(0)));
}

#[test]
fn another_connection_waits_and_another_image_takes_over_in_time() {
    let mut desk = Desk::new(4_096);
    desk.start(0);
    desk.send(0, 960);
    assert_eq!(desk.start(1), reject(1, Reason::UpdateInProgress), "somebody is bringing it");
    assert_eq!(desk.data(1, 960, 96), reject(1, Reason::UpdateInProgress));
    // The connection is dead, though nobody has noticed: the same image goes on over another one.
    desk.bench.pass(6_000);
    assert_eq!(desk.start(1), status(OtaState::Receiving, Some(960)));
    assert_eq!(desk.data(0, 960, 96), reject(1, Reason::UpdateInProgress), "the first has lost it");
    assert_eq!(desk.data(1, 960, 96), status(OtaState::Receiving, Some(1_056)));
    let other = Message::OtaStart(OtaStart { size: 5_000, digest: [3; 32], version: None, slot: None });
    desk.bench.pass(59_000);
    assert_eq!(desk.ask(2, &other), reject(1, Reason::UpdateInProgress));
    desk.bench.pass(2_000);
    assert_eq!(desk.ask(2, &other), status(OtaState::Receiving, Some(0)));
}

#[test]
fn somebody_who_asks_does_not_come_between_an_image_and_whoever_brings_it() {
    let mut desk = Desk::new(4_096);
    desk.start(0);
    desk.send(0, 960);
    let Desk { mut bench, appliance, image } = desk;
    let other = bench.add(0, 0xA2, image.clone());
    let said = |bench: &mut Bench, client, address, message: Message<'_>| {
        let mut payload = [0; fusain::PAYLOAD_MAX];
        let len = message.encode(&mut payload).unwrap();
        bench.relay.from_client(bench.now_ms, client, address, &payload[..len]);
    };
    // All in one turn of the driver, in either order.
    for (at, first) in [(960, true), (1_056, false)] {
        if first {
            said(&mut bench, 1, other, Message::OtaQuery);
        }
        let data = &image[at..at + 96];
        said(&mut bench, 0, appliance, Message::OtaData(OtaData { offset: at as u64, data }));
        if !first {
            said(&mut bench, 1, other, Message::OtaQuery);
        }
        bench.run();
        let idle = Message::OtaStatus(OtaStatus { state: OtaState::Idle, offset: None, version: None });
        assert_eq!(Message::decode(&bench.answer(1).1).ok(), Some(idle));
        let next = u32::try_from(at + 96).unwrap();
        assert_eq!(Message::decode(&bench.answer(0).1).ok(), status(OtaState::Receiving, Some(next)));
    }
}

#[test]
fn a_store_that_fails_is_told_and_the_next_image_can_come() {
    let mut desk = Desk::new(1_024);
    desk.start(0);
    desk.send(0, 480);
    desk.bench.store.failing = Some(|op| matches!(op, StoreOp::Append { file: File::Image, .. }));
    let mut answer = desk.data(0, 480, 96);
    assert_eq!(answer, invalid(Some(1), Constraint::FlashWriteFailed));
    desk.bench.store.failing = None;
    answer = desk.start(0);
    assert_eq!(answer, status(OtaState::Receiving, Some(0)));
    // The state cannot be written: nothing is promised.
    desk.bench.store.failing = Some(|op| matches!(op, StoreOp::Commit { .. }));
    desk.ask(0, &Message::OtaAbort);
    desk.bench.pass(100);
    assert_eq!(desk.start(0), invalid(None, Constraint::FlashWriteFailed));
}
