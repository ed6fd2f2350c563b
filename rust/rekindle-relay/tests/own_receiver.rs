// SPDX-License-Identifier: Apache-2.0
//! The controller's own receiver: whoever asked it is answered, one client after another, and nobody else waits.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::*;
use fusain::{Address, Extension, Message, OtaState, OtaStatus, StateCommand};
use mcuboot_image::sign::SigningKey;

fn status(state: OtaState) -> Vec<u8> {
    let mut payload = [0; fusain::PAYLOAD_MAX];
    let len = OtaStatus { state, offset: None, version: None }.encode(&mut payload).unwrap();
    payload[..len].to_vec()
}

#[test]
fn the_receivers_answers_go_to_whoever_asked() {
    let mut bench = updating_itself(&SigningKey::generate_p256().unwrap());
    bench.pass(2_000);
    bench.up.clear();
    // Two commands of one client are on their way to the receiver when another one asks, and the first once more.
    bench.client(1, OWN, &Message::OtaQuery);
    bench.client(1, OWN, &Message::OtaQuery);
    bench.client(2, Address::STATELESS, &Message::Extension(Extension::InfoRequest));
    assert_eq!(bench.to_receiver.len(), 2);
    assert!(bench.relay.awaits_receiver());
    assert!(bench.relay.wants(1) && !bench.relay.wants(2), "who came later waits");
    for state in [OtaState::Receiving, OtaState::Received] {
        bench.relay.answer(&status(state));
        bench.run();
        assert_eq!(bench.answer(1), (OWN, status(state)));
    }
    assert_eq!(bench.to_receiver.len(), 2, "there may be more to say");
    bench.relay.receiver_rests();
    bench.run();
    assert_eq!(bench.to_receiver.len(), 3);
    assert!(bench.relay.wants(1) && !bench.relay.awaits_receiver());
    bench.client(1, OWN, &Message::OtaQuery);
    bench.relay.answer(&status(OtaState::Idle));
    bench.run();
    assert_eq!(bench.answer(2), (Address::STATELESS, status(OtaState::Idle)));
    bench.relay.receiver_rests();
    bench.run();
    // The client whose turn it is goes, and another one comes in its place: what was for the one is not for the other.
    bench.relay.client_closed(1);
    bench.relay.client_opened(1);
    bench.client(1, OWN, &Message::OtaQuery);
    assert_eq!(bench.to_receiver.len(), 4);
    bench.relay.answer(&status(OtaState::Activated));
    bench.run();
    assert_eq!(bench.up, []);
    bench.relay.receiver_rests();
    bench.run();
    bench.relay.answer(&status(OtaState::Verified));
    bench.run();
    assert_eq!(bench.answer(1), (OWN, status(OtaState::Verified)));
    // One that goes before its turn has come is not served, and keeps nobody.
    bench.client(3, OWN, &Message::OtaQuery);
    bench.relay.client_closed(3);
    assert!(bench.relay.wants(1));
    bench.relay.receiver_rests();
    bench.run();
    assert_eq!(bench.to_receiver.len(), 5);
}

#[test]
fn who_does_not_speak_with_the_receiver_does_not_wait_for_it() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = updating_itself(&key);
    let appliance = bench.add(0, 0xA1, signed(1, &key));
    bench.pass(2_000);
    // The receiver works for the first; the second waits for its turn.
    bench.client(0, OWN, &Message::OtaQuery);
    bench.client(1, OWN, &Message::OtaQuery);
    assert!(bench.relay.wants(0) && !bench.relay.wants(1) && bench.relay.wants(2));
    bench.down.clear();
    let stop = Message::StateCommand(StateCommand { mode: StateCommand::EMERGENCY, argument: None });
    for client in [0, 2] {
        bench.client(client, appliance, &stop);
        assert_eq!(bench.sent_to(appliance), [0x20]);
        bench.down.clear();
    }
}

#[test]
fn the_receiver_serves_everybody_in_turn() {
    let mut bench = updating_itself(&SigningKey::generate_p256().unwrap());
    bench.client(0, OWN, &Message::OtaQuery);
    // Three have something to say, the first among them: it is no longer passed on as soon as others wait.
    bench.client(2, OWN, &Message::Extension(Extension::InfoRequest));
    bench.client(0, OWN, &Message::OtaQuery);
    bench.client(1, OWN, &Message::OtaAbort);
    assert_eq!(bench.to_receiver.len(), 1);
    for (turn, expected) in
        [(2, Message::OtaAbort), (3, Message::Extension(Extension::InfoRequest)), (4, Message::OtaQuery)]
    {
        assert!(bench.relay.awaits_receiver());
        bench.relay.receiver_rests();
        bench.run();
        assert_eq!(
            (bench.to_receiver.len(), Message::decode(bench.to_receiver.last().unwrap())),
            (turn, Ok(expected))
        );
    }
    assert!(!bench.relay.awaits_receiver());
    // Who goes takes along what waited.
    bench.client(1, OWN, &Message::OtaAbort);
    bench.relay.client_closed(1);
    bench.relay.receiver_rests();
    bench.run();
    assert_eq!(bench.to_receiver.len(), 4);
}
