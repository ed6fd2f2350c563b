// SPDX-License-Identifier: Apache-2.0
//! Whoever can send frames with addresses of his own making, on a bus or over the network, takes nothing from anybody.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod common;

use common::*;
use fusain::relay::{Relay as Operation, Stage};
use fusain::{Address, Message, PAYLOAD_MAX, PingResponse};
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
