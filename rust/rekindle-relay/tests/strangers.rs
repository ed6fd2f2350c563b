// SPDX-License-Identifier: Apache-2.0
//! Whoever can send frames with addresses of his own making, on a bus or over the network, takes nothing from anybody.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod common;

use common::*;
use fusain::relay::{Relay as Operation, RosterOutcome, Stage};
use fusain::{Address, Message, OtaStart, PAYLOAD_MAX, PingResponse};
use mcuboot_image::sign::SigningKey;
use rekindle_relay::*;

fn stranger(nth: u64) -> Address {
    Address::new(0x1_0000 + nth)
}

/// Drains the controller up to one operation of its store, as a driver does between two frames at the worst.
fn poll_once(bench: &mut Bench) {
    loop {
        match bench.relay.poll(bench.now_ms) {
            Output::Store(op) => {
                let result = bench.store.perform(&op);
                return bench.relay.store_done(result.as_deref().map_err(|fault| *fault));
            }
            Output::Send { port: Port::Client(client), address, payload } => {
                bench.up.push((client, address, payload.to_vec()));
            }
            Output::Send { .. } | Output::ToReceiver { .. } | Output::Event(_) => {}
            Output::Wait { .. } => return,
        }
    }
}

/// A new address after each operation of the store: a plan is answered all the same.
#[test]
fn a_flood_of_strangers_does_not_hold_up_a_plan() {
    let key = SigningKey::generate_ed25519().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let image = signed(2, &key);
    let appliance = bench.add(0, 0xA1, signed(1, &key));
    bench.run();
    let add = Operation::CampaignAdd {
        address: appliance,
        size: image.len().try_into().unwrap(),
        digest: digest(&image),
        mode: fusain::Mode::Test,
    };
    let (mut payload, mut pong) = ([0; PAYLOAD_MAX], [0; PAYLOAD_MAX]);
    let len = add.encode(&mut payload).unwrap();
    let pong_len = Message::PingResponse(PingResponse { uptime_ms: 1 }).encode(&mut pong).unwrap();
    bench.relay.from_client(bench.now_ms, 0, Address::STATELESS, &payload[..len]);
    for nth in 0..2_000 {
        bench.relay.from_link(bench.now_ms, 1, stranger(nth), &pong[..pong_len]);
        poll_once(&mut bench);
        // Strangers that are not heard again make room for others.
        bench.now_ms += 40_000;
        if bench.up.iter().any(|(client, _, bytes)| {
            *client == 0 && matches!(Operation::decode(bytes), Ok(Operation::Roster { .. }))
        }) {
            assert_eq!(bench.entry(appliance).stage, Stage::Waiting);
            return;
        }
    }
    panic!("the plan was never answered");
}

#[test]
fn who_is_there_is_no_reason_to_write() {
    let mut bench = Bench::new(Config::new(100_000), &[]);
    bench.run();
    let done = bench.store.done;
    for nth in 0..200 {
        bench.link(1, stranger(nth), &Message::PingResponse(PingResponse { uptime_ms: 1 }));
        bench.link(0, stranger(nth), &Message::PingResponse(PingResponse { uptime_ms: 1 }));
        bench.now_ms += 40_000;
        bench.run();
    }
    assert_eq!(bench.store.done, done);
    assert!(bench.relay.roster().count() > 0);
}

/// A device that was configured keeps its product, and so what policy refuses for it, while it is away.
#[test]
fn strangers_do_not_push_a_configured_appliance_off_the_roster() {
    let mut bench = Bench::new(Config::new(100_000), &[]);
    let appliance = Address::new(0xA1);
    let target = Target { vendor: Some([1; 16]), class: Some([2; 16]) };
    assert!(bench.relay.configure(appliance, 0, target));
    for nth in 0..40 {
        bench.link(0, stranger(nth), &Message::PingResponse(PingResponse { uptime_ms: 1 }));
        bench.now_ms += 40_000;
        bench.run();
    }
    assert!(bench.relay.roster().any(|entry| entry.address == appliance));
    assert_eq!(bench.relay.roster().count(), 16, "strangers have the rest");
}

/// A controller with one link, as on a microcontroller: a client may ask for an appliance that nobody has announced.
type Single = Relay<16, 1, 4>;

fn single(store: &mut MemStore) -> Single {
    let line = rekindle_session::sender::Link::serial(115_200);
    let mut relay = Relay::new(Config::new(100_000), Keys::default(), [LinkConfig::new(line, 16)]).unwrap();
    drain(&mut relay, store, 1_000);
    relay.client_opened(0);
    relay.link_up(1_000, 0);
    relay
}

fn drain(relay: &mut Single, store: &mut MemStore, now_ms: u64) {
    loop {
        match relay.poll(now_ms) {
            Output::Store(op) => {
                let result = store.perform(&op);
                relay.store_done(result.as_deref().map_err(|fault| *fault));
            }
            Output::Wait { .. } => return,
            _ => {}
        }
    }
}

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut payload = [0; PAYLOAD_MAX];
    let len = message.encode(&mut payload).unwrap();
    payload[..len].to_vec()
}

const PONG: Message<'static> = Message::PingResponse(PingResponse { uptime_ms: 1 });

fn start(size: u64) -> Message<'static> {
    Message::OtaStart(OtaStart { size, digest: [7; 32], version: None, slot: None })
}

/// Whether it was ended again or not, an update for an address that nobody has heard of takes no place for good.
#[test]
fn addresses_that_a_client_invents_leave_room_for_appliances() {
    for ended in [true, false] {
        let mut store = MemStore::default();
        let mut relay = single(&mut store);
        let ask = |relay: &mut Single, store: &mut MemStore| {
            for nth in 0..16 {
                relay.from_client(1_000, 0, stranger(nth), &encoded(&start(50_000)));
                drain(relay, store, 1_000);
                if ended {
                    relay.from_client(1_000, 0, stranger(nth), &encoded(&Message::OtaAbort));
                    drain(relay, store, 1_000);
                }
            }
        };
        let hears = |relay: &mut Single, store: &mut MemStore, address| {
            relay.from_link(1_000, 0, address, &encoded(&PONG));
            drain(relay, store, 1_000);
            assert!(relay.roster().any(|entry| entry.address == address), "{address}, ended: {ended}");
        };
        ask(&mut relay, &mut store);
        assert_eq!(relay.roster().count(), 16);
        for nth in 0..8 {
            hears(&mut relay, &mut store, Address::new(0xA1 + nth));
        }
        // What the state file has of them stands in nobody's way either.
        store.cut();
        let mut relay = single(&mut store);
        for nth in 0..16 {
            hears(&mut relay, &mut store, Address::new(0xA1 + nth));
        }
        // Appliances that were heard do not give way to a name, even when they are away.
        relay.from_client(99_000, 0, stranger(99), &encoded(&start(50_000)));
        drain(&mut relay, &mut store, 99_000);
        assert!(relay.roster().all(|entry| entry.address.get() < 0x1_0000));
    }
}

/// Sixteen boards on a test stand, each updated and taken away again, and then another one.
#[test]
fn an_appliance_that_is_gone_makes_room_and_the_one_longest_away_first() {
    let mut bench = Bench::new(Config::new(100_000), &[]);
    for nth in 0..16 {
        bench.link(0, stranger(nth), &PONG);
        bench.client(0, stranger(nth), &start(50_000));
        bench.client(0, stranger(nth), &Message::OtaAbort);
        assert_eq!(bench.entry(stranger(nth)).outcome, RosterOutcome::Cancelled);
        bench.now_ms += 1_000;
    }
    bench.link(0, stranger(16), &PONG);
    assert!(bench.relay.roster().all(|entry| entry.address != stranger(16)), "everybody is here");
    bench.now_ms += 15_000;
    bench.link(0, stranger(0), &PONG);
    bench.now_ms += 20_000;
    bench.link(0, stranger(16), &PONG);
    let there: Vec<u64> = bench.relay.roster().map(|entry| entry.address.get() - 0x1_0000).collect();
    assert_eq!(there, [0, 16, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    // After a restart nobody has been heard, and a board that needs its image keeps its place.
    bench.client(0, stranger(9), &start(50_000));
    bench.restart();
    for nth in 100..115 {
        bench.link(0, stranger(nth), &PONG);
        bench.now_ms += 1_000;
    }
    let there: Vec<u64> = bench.relay.roster().map(|entry| entry.address.get() - 0x1_0000).collect();
    assert_eq!(there.iter().filter(|address| **address < 100).copied().collect::<Vec<_>>(), [9]);
    assert_eq!(there.len(), 16);
}
