// SPDX-License-Identifier: Apache-2.0
//! A controller for 16 appliances, two links and four clients: store, policy, forwarding, routing, frames. To be sized.
//!
//! As in `device`, nothing can be folded in or dropped; the driver uses all that a controller's driver can use.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;
use fusain::{Address, Decoder, FRAME_MAX, encode_frame};
use rekindle_relay::{Config, Keys, LinkConfig, Output, Port, Relay, StoreFault, Target};
use rekindle_session::sender::Link;
use rekindle_size::{entry, facts, halt};
use static_cell::StaticCell;

type Controller = Relay<16, 2, 4>;

static RELAY: StaticCell<Controller> = StaticCell::new();

#[entry]
fn main() -> ! {
    let link = LinkConfig::new(Link::serial(black_box(115_200)), black_box(16));
    let config = black_box(Config::new(black_box(512 * 1024)));
    if let Ok(relay) = Relay::new(config, black_box(Keys::default()), [link; 2]) {
        let relay = RELAY.init(relay);
        let mut decoder = Decoder::new();
        loop {
            if let Some(Ok(packet)) = decoder.push(black_box(0)) {
                hear(relay, packet.address, packet.payload);
            }
            ask(relay);
            turn(relay);
        }
    }
    halt()
}

fn hear(relay: &mut Controller, address: Address, payload: &[u8]) {
    let port = black_box(0);
    if relay.wants(port) {
        relay.from_client(black_box(0), port, address, payload);
    }
    if relay.wants_link() {
        relay.from_link(black_box(0), port, address, payload);
    }
}

/// What a driver and an application may want.
fn ask(relay: &mut Controller) {
    let now_ms = black_box(0);
    match black_box(0) {
        0 => relay.client_opened(black_box(0)),
        1 => relay.client_closed(black_box(0)),
        2 => relay.link_up(now_ms, black_box(0)),
        3 => relay.link_down(now_ms, black_box(0)),
        4 => relay.link_room(black_box(0), black_box(false)),
        5 => relay.set_time(now_ms, black_box(0)),
        6 => relay.set_keys(black_box(Keys::default())),
        7 => {
            black_box(relay.configure(black_box(facts::IDENTITY.address), 0, black_box(Target::default())));
        }
        9 => relay.root_arm(now_ms),
        10 => {
            black_box(relay.root_ask_off(now_ms).is_ok());
        }
        11 => {
            black_box(relay.root_confirm(now_ms).is_ok());
        }
        12 => {
            black_box(relay.root_downgrade(black_box(true)).is_ok());
        }
        13 => {
            relay.answer(black_box(&[0; 4]));
            if relay.awaits_receiver() {
                relay.receiver_rests();
            }
        }
        _ => {
            black_box((relay.stored(), relay.audit_records(), relay.root().is_on()));
            relay.roster().for_each(|entry| {
                black_box(entry);
            });
        }
    }
}

fn turn(relay: &mut Controller) {
    match relay.poll(black_box(0)) {
        Output::Store(op) => {
            black_box(&op);
            relay.store_done(black_box(Ok::<&[u8], StoreFault>(&[])));
        }
        Output::Send { port: Port::Client(_) | Port::Link(_), address, payload } => {
            let mut frame = [0; FRAME_MAX];
            let len = encode_frame(address, payload, &mut frame).unwrap_or(0);
            black_box(frame.get(..len));
        }
        Output::ToReceiver { payload } => {
            black_box(payload);
        }
        Output::Event(event) => {
            black_box(&event);
        }
        Output::Wait { until_ms } => {
            black_box(until_ms);
        }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    halt()
}
