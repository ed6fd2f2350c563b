// SPDX-License-Identifier: Apache-2.0
//! A test per routing rule (PROTOCOL.md §10), with several clients.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod common;

use common::*;
use fusain::{
    Address, Constraint, DataSubscription, DataUnsubscribe, DeviceAnnounce, Extension, Info, InfoFlags,
    InvalidCommand, Message, MotorData, OtaData, OtaStart, OtaState, OtaStatus, PAYLOAD_MAX, PingResponse,
    StateCommand, StateData, StateReject, TelemetryConfig, Version,
};
use rekindle_relay::*;

const HELIOS: Address = Address::new(0xA1);
const OTHER: Address = Address::new(0xB2);

fn announce(motors: u8) -> Message<'static> {
    Message::DeviceAnnounce(DeviceAnnounce { motors, thermometers: 1, pumps: 1, glows: 1 })
}

/// Two appliances, on a link each, that have been heard.
fn bench(routing: Routing) -> Bench {
    let mut bench = Bench::new(Config { routing, ..Config::new(100_000) }, &[]);
    bench.link(0, HELIOS, &announce(1));
    bench.link(1, OTHER, &announce(2));
    bench.link(0, HELIOS, &Message::PingResponse(PingResponse { uptime_ms: 50_000 }));
    bench.pass(200);
    bench.down.clear();
    bench.up.clear();
    bench
}

fn subscribe(bench: &mut Bench, client: u8, appliance: Address) {
    bench.client(client, Address::STATELESS, &Message::DataSubscription(DataSubscription { appliance }));
}

fn state(timestamp_ms: u32) -> Message<'static> {
    Message::StateData(StateData { error: false, code: 0, state: 1, timestamp_ms })
}

/// Which clients heard something, and from whom.
fn heard(bench: &mut Bench) -> Vec<(u8, Address, u8)> {
    core::mem::take(&mut bench.up).into_iter().map(|(c, a, bytes)| (c, a, bytes[2])).collect()
}

#[test]
fn discovery_lists_the_appliances_and_ends_with_the_marker() {
    for address in [Address::BROADCAST, Address::STATELESS, HELIOS] {
        let mut bench = bench(Routing::StoreAndForward);
        bench.client(1, address, &Message::DiscoveryRequest);
        assert_eq!(heard(&mut bench), [], "the appliances are asked first");
        let asked: Vec<_> =
            bench.down.iter().filter(|(_, to, b)| *to == Address::BROADCAST && b[2] == 0x1F).collect();
        assert_eq!(asked.len(), 2, "on each link");
        // One more answers.
        bench.link(1, Address::new(0xC3), &announce(3));
        bench.pass(200);
        let list: Vec<_> = bench
            .take(1)
            .into_iter()
            .map(|(from, bytes)| match Message::decode(&bytes) {
                Ok(Message::DeviceAnnounce(announce)) => (from, announce.motors, announce.is_end()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            list,
            [
                (HELIOS, 1, false),
                (OTHER, 2, false),
                (Address::new(0xC3), 3, false),
                (Address::STATELESS, 0, true)
            ]
        );
        assert_eq!(heard(&mut bench), [], "nobody else heard of it");
    }
}

#[test]
fn announcements_and_pongs_never_go_up_by_themselves() {
    let mut bench = bench(Routing::StoreAndForward);
    subscribe(&mut bench, 0, HELIOS);
    bench.link(0, HELIOS, &announce(1));
    bench.link(0, HELIOS, &Message::PingResponse(PingResponse { uptime_ms: 1 }));
    assert_eq!(heard(&mut bench), []);
}

#[test]
fn telemetry_goes_to_subscribers_of_that_appliance_alone() {
    let mut bench = bench(Routing::StoreAndForward);
    bench.link(0, HELIOS, &state(1));
    assert_eq!(heard(&mut bench), [], "nobody has subscribed");
    subscribe(&mut bench, 0, HELIOS);
    subscribe(&mut bench, 2, HELIOS);
    subscribe(&mut bench, 1, OTHER);
    bench.link(0, HELIOS, &state(2));
    assert_eq!(heard(&mut bench), [(0, HELIOS, 0x30), (2, HELIOS, 0x30)]);
    bench.client(0, Address::STATELESS, &Message::DataUnsubscribe(DataUnsubscribe { appliance: HELIOS }));
    bench.link(0, HELIOS, &state(3));
    bench.link(1, OTHER, &state(3));
    assert_eq!(heard(&mut bench), [(2, HELIOS, 0x30), (1, OTHER, 0x30)]);
    bench.relay.client_closed(2);
    bench.relay.client_opened(2);
    bench.link(0, HELIOS, &state(4));
    assert_eq!(heard(&mut bench), [], "a subscription ends with its connection");
}

#[test]
fn a_subscription_lasts_60_seconds_after_the_last_ping() {
    let mut bench = bench(Routing::StoreAndForward);
    subscribe(&mut bench, 0, HELIOS);
    subscribe(&mut bench, 0, OTHER);
    subscribe(&mut bench, 1, HELIOS);
    bench.pass(50_000);
    // To the router: all of this connection's. To an appliance: that one.
    bench.client(0, Address::STATELESS, &Message::PingRequest);
    bench.client(1, OTHER, &Message::PingRequest);
    bench.pass(9_900);
    bench.up.clear();
    bench.link(0, HELIOS, &state(1));
    assert_eq!(heard(&mut bench), [(0, HELIOS, 0x30), (1, HELIOS, 0x30)]);
    bench.pass(200);
    bench.link(0, HELIOS, &state(2));
    bench.link(1, OTHER, &state(2));
    assert_eq!(heard(&mut bench), [(0, HELIOS, 0x30), (0, OTHER, 0x30)], "the other was not refreshed");
    bench.pass(49_000);
    subscribe(&mut bench, 0, HELIOS);
    bench.pass(2_000);
    bench.link(0, HELIOS, &state(3));
    bench.link(1, OTHER, &state(3));
    assert_eq!(heard(&mut bench), [(0, HELIOS, 0x30)], "subscribing again refreshes that one");
}

#[test]
fn each_client_gets_telemetry_as_often_as_it_wants() {
    let mut bench = bench(Routing::StoreAndForward);
    for client in 0..3 {
        subscribe(&mut bench, client, HELIOS);
    }
    let wants = |enabled, interval_ms| Message::TelemetryConfig(TelemetryConfig { enabled, interval_ms });
    bench.client(1, Address::STATELESS, &wants(true, 500));
    bench.client(2, Address::STATELESS, &wants(false, 0));
    assert!(bench.down.is_empty(), "that was for the router");
    let motor = |motor| {
        Message::MotorData(MotorData {
            motor,
            timestamp_ms: 0,
            rpm: 0,
            target_rpm: 0,
            max_rpm: None,
            min_rpm: None,
            pwm: None,
            pwm_max: None,
        })
    };
    let mut counts = [0; 3];
    for _ in 0..10 {
        // Two motors: what belongs together comes together.
        bench.link(0, HELIOS, &motor(0));
        bench.link(0, HELIOS, &motor(1));
        for (client, _, _) in heard(&mut bench) {
            counts[usize::from(client)] += 1;
        }
        bench.pass(100);
        bench.up.clear();
    }
    assert_eq!(counts, [20, 4, 0]);
}

/// Subscribes to addresses of a client's own making until the controller refuses; gives how many there were.
fn subscribe_to_all<const N: usize, const L: usize, const C: usize>(
    relay: &mut Relay<N, L, C>,
    client: u8,
) -> usize {
    let mut store = MemStore::default();
    for nth in 0..1_000 {
        let appliance = Address::new(0x1_0000 + nth);
        let subscription = Message::DataSubscription(DataSubscription { appliance });
        let mut payload = [0; PAYLOAD_MAX];
        let len = subscription.encode(&mut payload).unwrap();
        relay.from_client(1_000, client, Address::STATELESS, &payload[..len]);
        loop {
            match relay.poll(1_000) {
                Output::Store(op) => {
                    let result = store.perform(&op);
                    relay.store_done(result.as_deref().map_err(|fault| *fault));
                }
                Output::Send { payload, .. } => {
                    let blocked = InvalidCommand::parameter(Some(0), Constraint::OperationBlocked);
                    assert_eq!(Message::decode(payload), Ok(Message::InvalidCommand(blocked)));
                    return nth.try_into().unwrap();
                }
                Output::Wait { .. } => break,
                _ => {}
            }
        }
    }
    panic!("no end of subscriptions");
}

#[test]
fn whatever_one_client_subscribes_to_every_other_has_its_share() {
    let mut small = bench(Routing::StoreAndForward).relay;
    assert_eq!([0, 1, 2, 3].map(|client| subscribe_to_all(&mut small, client)), [20, 4, 4, 4]);
    small.client_closed(0);
    assert_eq!(subscribe_to_all(&mut small, 3), 20, "and what nobody uses");

    let links = [LinkConfig::new(rekindle_session::sender::Link::ip(), 16); 8];
    let mut host: Box<Relay<64, 8, 32>> =
        Box::new(Relay::new(Config::new(100_000), Keys::default(), links).unwrap());
    (0..32).for_each(|client| host.client_opened(client));
    assert!(matches!(host.poll(1_000), Output::Store(_)));
    host.store_done(Ok(&[]));
    assert!(subscribe_to_all(&mut host, 0) >= 64, "an appliance each");
    for client in 1..32 {
        assert_eq!(subscribe_to_all(&mut host, client), 4);
    }
}

#[test]
fn errors_go_up_at_once_to_subscribers() {
    let mut bench = bench(Routing::StoreAndForward);
    subscribe(&mut bench, 0, HELIOS);
    bench.client(
        0,
        Address::STATELESS,
        &Message::TelemetryConfig(TelemetryConfig { enabled: false, interval_ms: 0 }),
    );
    let reject = Message::StateReject(StateReject { code: 5, reason: None });
    let invalid = Message::InvalidCommand(InvalidCommand { code: 1, field: None, constraint: None });
    for error in [reject, invalid] {
        bench.link(0, HELIOS, &error);
        assert_eq!(heard(&mut bench), [(0, HELIOS, error.code())]);
    }
}

#[test]
fn an_error_goes_to_whoever_sent_the_command_and_once() {
    let mut bench = bench(Routing::StoreAndForward);
    let motor = [0x82, 0x18, 0x21, 0xA2, 0x00, 0x00, 0x01, 0x01];
    bench.client_bytes(2, HELIOS, &motor);
    let invalid = Message::InvalidCommand(InvalidCommand { code: 1, field: Some(1), constraint: Some(1) });
    bench.link(0, HELIOS, &invalid);
    assert_eq!(heard(&mut bench), [(2, HELIOS, invalid.code())]);
    bench.link(0, HELIOS, &invalid);
    assert_eq!(heard(&mut bench), [], "that was no answer to a command of this client");
    bench.client_bytes(2, HELIOS, &motor);
    bench.relay.client_closed(2);
    bench.relay.client_opened(2);
    bench.link(0, HELIOS, &invalid);
    assert_eq!(heard(&mut bench), [], "it is another client");
}

#[test]
fn pings_end_at_each_hop() {
    let mut bench = bench(Routing::StoreAndForward);
    for address in [Address::BROADCAST, Address::STATELESS] {
        bench.client(1, address, &Message::PingRequest);
        assert_eq!(heard(&mut bench), [(1, Address::STATELESS, 0x3F)]);
    }
    let now = bench.now_ms;
    bench.client(1, HELIOS, &Message::PingRequest);
    let (from, bytes) = bench.answer(1);
    let Ok(Message::PingResponse(pong)) = Message::decode(&bytes) else { panic!("{bytes:02x?}") };
    assert_eq!(from, HELIOS);
    // Heard 200 ms ago: told as of now, so that an old answer does not look like a reboot.
    assert_eq!(u64::from(pong.uptime_ms), 50_000 + (now - 1_000).min(200));
    assert!(bench.down.is_empty(), "no client's ping goes down");
    // The router pings by itself, each appliance.
    bench.pass(25_000);
    let pings = |of| bench.down.iter().filter(|(_, to, bytes)| *to == of && bytes[2] == 0x2F).count();
    assert!((2..=3).contains(&pings(HELIOS)) && (2..=3).contains(&pings(OTHER)));
    bench.pass(10_000);
    bench.client(1, HELIOS, &Message::PingRequest);
    assert_eq!(heard(&mut bench), [], "it has not answered for 30 s: nor does the router for it");
}

#[test]
fn commands_go_down_unchanged_to_the_link_of_their_appliance() {
    let mut bench = bench(Routing::StoreAndForward);
    // As the C library writes it: a map of indefinite length.
    let heat = [0x82, 0x18, 0x20, 0xBF, 0x00, 0x02, 0x01, 0x18, 0x64, 0xFF];
    bench.client_bytes(0, OTHER, &heat);
    assert_eq!(core::mem::take(&mut bench.down), [(1, OTHER, heat.to_vec())]);
    bench.client_bytes(0, Address::BROADCAST, &heat);
    assert_eq!(
        core::mem::take(&mut bench.down),
        [(0, Address::BROADCAST, heat.to_vec()), (1, Address::BROADCAST, heat.to_vec())]
    );
    bench.client_bytes(0, Address::new(0x99), &heat);
    assert_eq!(bench.down, [], "an unknown destination");
    // To an appliance, this is its own telemetry.
    let config = Message::TelemetryConfig(TelemetryConfig { enabled: true, interval_ms: 100 });
    bench.client(0, HELIOS, &config);
    assert_eq!(bench.down.len(), 1);
    assert_eq!(heard(&mut bench), [], "none of it is acknowledged");
}

#[test]
fn what_clients_must_not_say_goes_nowhere() {
    let mut bench = bench(Routing::Transparent);
    for code in (0x18..=0x1E)
        .chain(0x26..=0x2E)
        .chain(0x30..=0x3F)
        .chain([0x45])
        .chain(0x47..=0x4E)
        .chain(0xE0..=0xEF)
    {
        for address in [HELIOS, Address::BROADCAST, Address::STATELESS] {
            bench.client_bytes(0, address, &[0x82, 0x18, code, 0xF6]);
        }
    }
    assert_eq!(bench.down, []);
    assert_eq!(heard(&mut bench), []);
}

#[test]
fn what_appliances_must_not_say_goes_nowhere() {
    let mut bench = bench(Routing::Transparent);
    subscribe(&mut bench, 0, HELIOS);
    for code in (0x10..=0x2F).chain(0x36..=0x3E).chain(0x40..=0x44).chain(0x47..=0x4F).chain(0xE2..=0xEF) {
        bench.relay.from_link(bench.now_ms, 0, HELIOS, &[0x82, 0x18, code, 0xF6]);
    }
    bench.relay.from_link(bench.now_ms, 0, Address::BROADCAST, &[0x82, 0x18, 0x30, 0xF6]);
    bench.relay.from_link(bench.now_ms, 0, Address::STATELESS, &[0x82, 0x18, 0x45, 0xF6]);
    bench.run();
    assert_eq!(heard(&mut bench), []);
    assert_eq!(bench.relay.roster().count(), 2);
}

#[test]
fn a_broadcast_update_is_dropped_in_both_modes() {
    for routing in [Routing::StoreAndForward, Routing::Transparent] {
        let mut bench = bench(routing);
        for code in [0x40, 0x41, 0x42, 0x43, 0x44, 0x46, 0x4F] {
            bench.client_bytes(0, Address::BROADCAST, &[0x82, 0x18, code, 0xF6]);
        }
        assert_eq!((bench.down.len(), heard(&mut bench).len()), (0, 0));
    }
}

fn start() -> Message<'static> {
    Message::OtaStart(OtaStart { size: 9_000, digest: [7; 32], version: None, slot: None })
}

fn told(state: OtaState, offset: u32) -> Message<'static> {
    Message::OtaStatus(OtaStatus { state, offset: Some(offset), version: None })
}

#[test]
fn transparent_updates_are_bound_to_the_connection_that_began_them() {
    let mut bench = bench(Routing::Transparent);
    subscribe(&mut bench, 3, HELIOS);
    bench.client(0, HELIOS, &start());
    assert_eq!(bench.sent_to(HELIOS), [0x40]);
    bench.link(0, HELIOS, &told(OtaState::Receiving, 0));
    assert_eq!(heard(&mut bench), [(0, HELIOS, 0x45), (3, HELIOS, 0x45)], "to who asked, and to subscribers");
    let chunk = Message::OtaData(OtaData { offset: 0, data: &[1; 96] });
    bench.client(0, HELIOS, &chunk);
    assert_eq!(bench.sent_to(HELIOS), [0x40, 0x41]);
    // Others are told so, on this link; asking is free, and so is the other link.
    bench.client(1, HELIOS, &start());
    let (from, bytes) = bench.answer(1);
    assert_eq!(from, HELIOS);
    assert!(matches!(Message::decode(&bytes), Ok(Message::StateReject(r)) if r.reason == Some(4)));
    bench.client(1, HELIOS, &chunk);
    assert_eq!(heard(&mut bench), [(1, HELIOS, 0xE1)]);
    assert_eq!(bench.sent_to(HELIOS), [0x40, 0x41]);
    bench.client(1, HELIOS, &Message::OtaQuery);
    bench.link(0, HELIOS, &told(OtaState::Receiving, 96));
    assert_eq!(heard(&mut bench), [(0, HELIOS, 0x45), (1, HELIOS, 0x45), (3, HELIOS, 0x45)]);
    bench.client(1, OTHER, &start());
    assert_eq!(bench.sent_to(OTHER), [0x40]);
    // It is over when the appliance says so, or when the connection is gone, or silent for a minute.
    bench.client(0, HELIOS, &Message::OtaAbort);
    bench.link(
        0,
        HELIOS,
        &Message::OtaStatus(OtaStatus { state: OtaState::Idle, offset: None, version: None }),
    );
    heard(&mut bench);
    bench.client(1, HELIOS, &start());
    assert_eq!(heard(&mut bench), []);
    bench.relay.client_closed(1);
    bench.client(2, HELIOS, &start());
    assert_eq!(heard(&mut bench), []);
    bench.pass(61_000);
    bench.up.clear();
    bench.client(0, HELIOS, &start());
    assert_eq!(heard(&mut bench), []);
}

#[test]
fn transparent_routing_passes_the_extension_both_ways() {
    let mut bench = bench(Routing::Transparent);
    bench.client(2, HELIOS, &Message::Extension(Extension::InfoRequest));
    assert_eq!(bench.sent_to(HELIOS), [0x46]);
    let info = Info {
        boot_number: 1,
        window: 8,
        version: Version { major: 1, minor: 0, revision: 0, build: 0 },
        image_hash: [1; 32],
        flags: InfoFlags::CONFIRMED,
        chunk_max: 100,
        durable: None,
        appliance_state: 1,
    };
    bench.link(0, HELIOS, &Message::Extension(Extension::Info(info)));
    let (from, bytes) = bench.answer(2);
    assert_eq!((from, Message::decode(&bytes)), (HELIOS, Ok(Message::Extension(Extension::Info(info)))));
}

#[test]
fn emergency_passes_while_the_store_is_busy_with_somebody_elses_image() {
    let mut bench = bench(Routing::StoreAndForward);
    bench.client(0, HELIOS, &start());
    // Held, since nobody has polled: the store has not answered yet.
    let mut payload = [0; 114];
    let len = Message::OtaData(OtaData { offset: 0, data: &[0; 96] }).encode(&mut payload).unwrap();
    bench.relay.from_client(bench.now_ms, 0, HELIOS, &payload[..len]);
    assert!(!bench.relay.wants(0) && bench.relay.wants(1));
    bench.down.clear();
    let stop = Message::StateCommand(StateCommand { mode: StateCommand::EMERGENCY, argument: None });
    bench.client(1, HELIOS, &stop);
    assert_eq!(bench.sent_to(HELIOS), [0x20]);
}

#[test]
fn a_malformed_subscription_is_answered_by_the_router() {
    let mut bench = bench(Routing::StoreAndForward);
    bench.client_bytes(0, Address::STATELESS, &[0x82, 0x14, 0xF6]);
    assert_eq!(heard(&mut bench), [(0, Address::STATELESS, 0xE0)]);
    // As existing clients write it, with the code always behind 0x18.
    bench.client_bytes(0, Address::STATELESS, &[0x82, 0x18, 0x14, 0xA1, 0x00, 0x18, 0xA1]);
    bench.link(0, HELIOS, &state(1));
    assert_eq!(heard(&mut bench), [(0, HELIOS, 0x30)]);
}

#[test]
fn subscribing_at_an_appliances_address_is_no_message_for_anybody() {
    let mut bench = bench(Routing::StoreAndForward);
    for message in [
        Message::DataSubscription(DataSubscription { appliance: HELIOS }),
        Message::DataUnsubscribe(DataUnsubscribe { appliance: HELIOS }),
    ] {
        bench.client(0, HELIOS, &message);
        assert_eq!((bench.down.len(), heard(&mut bench).len()), (0, 0));
    }
    bench.link(0, HELIOS, &state(1));
    assert_eq!(heard(&mut bench), [], "nothing was subscribed");
}

#[test]
fn a_ping_to_an_appliance_refreshes_that_subscription_of_that_client() {
    let mut bench = bench(Routing::StoreAndForward);
    for client in [0, 1] {
        subscribe(&mut bench, client, HELIOS);
    }
    subscribe(&mut bench, 0, OTHER);
    bench.pass(50_000);
    bench.link(0, HELIOS, &Message::PingResponse(PingResponse { uptime_ms: 100_000 }));
    bench.client(0, HELIOS, &Message::PingRequest);
    assert_eq!(bench.answer(0).0, HELIOS, "from what the router has heard");
    bench.pass(11_000);
    bench.up.clear();
    bench.link(0, HELIOS, &state(1));
    bench.link(1, OTHER, &state(1));
    assert_eq!(heard(&mut bench), [(0, HELIOS, 0x30)]);
}

#[test]
fn an_update_does_not_count_as_a_ping() {
    let mut bench = bench(Routing::Transparent);
    subscribe(&mut bench, 0, HELIOS);
    for _ in 0..7 {
        bench.client(0, HELIOS, &Message::OtaQuery);
        bench.pass(10_000);
    }
    bench.up.clear();
    bench.link(0, HELIOS, &state(1));
    assert_eq!(heard(&mut bench), []);
}

#[test]
fn subscriptions_are_bounded_and_one_too_many_is_refused() {
    let mut bench = bench(Routing::StoreAndForward);
    for number in 0..32 {
        subscribe(&mut bench, number / 8, Address::new(0x100 + u64::from(number)));
        assert_eq!(heard(&mut bench), []);
    }
    subscribe(&mut bench, 3, HELIOS);
    let (from, bytes) = bench.answer(3);
    let refusal = InvalidCommand::parameter(Some(0), Constraint::OperationBlocked);
    assert_eq!((from, Message::decode(&bytes)), (Address::STATELESS, Ok(Message::InvalidCommand(refusal))));
    // The same again is no new one, and one that goes makes room.
    subscribe(&mut bench, 0, Address::new(0x100));
    bench.relay.client_closed(1);
    subscribe(&mut bench, 3, HELIOS);
    assert_eq!(heard(&mut bench), []);
    bench.link(0, HELIOS, &state(1));
    assert_eq!(heard(&mut bench), [(3, HELIOS, 0x30)]);
}

#[test]
fn an_announcement_of_nothing_is_not_listed() {
    let mut bench = bench(Routing::StoreAndForward);
    let nothing = Message::DeviceAnnounce(DeviceAnnounce { motors: 0, thermometers: 0, pumps: 0, glows: 0 });
    bench.link(0, Address::new(0xD4), &nothing);
    bench.client(1, Address::STATELESS, &Message::DiscoveryRequest);
    bench.pass(90);
    assert_eq!(heard(&mut bench), [], "appliances have 50 ms to answer, and the way takes time");
    bench.pass(200);
    let from: Vec<_> = heard(&mut bench).into_iter().map(|(_, from, _)| from).collect();
    assert_eq!(from, [HELIOS, OTHER, Address::STATELESS]);
}

#[test]
fn an_appliance_that_is_gone_is_not_listed() {
    let mut bench = bench(Routing::StoreAndForward);
    for _ in 0..5 {
        bench.pass(10_000);
        bench.link(1, OTHER, &state(1));
    }
    bench.client(1, Address::BROADCAST, &Message::DiscoveryRequest);
    bench.pass(200);
    let from: Vec<_> = heard(&mut bench).into_iter().map(|(_, from, _)| from).collect();
    assert_eq!(from, [OTHER, Address::STATELESS]);
}

#[test]
fn updates_for_unknown_appliances_lead_nowhere_in_both_modes() {
    for routing in [Routing::StoreAndForward, Routing::Transparent] {
        let mut bench = bench(routing);
        let unknown = Address::new(0x99);
        for message in
            [start(), Message::OtaQuery, Message::OtaAbort, Message::Extension(Extension::InfoRequest)]
        {
            bench.client(0, unknown, &message);
        }
        assert_eq!((bench.down.len(), heard(&mut bench).len()), (0, 0));
        assert_eq!(bench.relay.roster().count(), 2);
    }
}

#[test]
fn without_a_receiver_of_its_own_the_router_answers_no_update_for_itself() {
    let config = Config { own: Some(Address::new(0xC0)), ..Config::new(100_000) };
    let mut bench = Bench::new(config, &[]);
    for address in [Address::STATELESS, Address::new(0xC0)] {
        bench.client(0, address, &start());
        bench.client(0, address, &Message::OtaQuery);
    }
    assert_eq!((bench.to_receiver.len(), heard(&mut bench).len()), (0, 0));
    assert_eq!(bench.sent_to(Address::new(0xC0)), []);
}

#[test]
fn an_error_about_a_transparent_update_goes_to_whoever_brings_it() {
    let mut bench = bench(Routing::Transparent);
    subscribe(&mut bench, 3, HELIOS);
    bench.client(0, HELIOS, &start());
    bench.up.clear();
    let refusal = Message::InvalidCommand(InvalidCommand::parameter(Some(0), Constraint::ImageTooLarge));
    bench.link(0, HELIOS, &refusal);
    assert_eq!(heard(&mut bench), [(0, HELIOS, 0xE0), (3, HELIOS, 0xE0)]);
    bench.link(1, OTHER, &refusal);
    assert_eq!(heard(&mut bench), [], "of another appliance");
}

#[test]
fn errors_that_answer_the_controller_do_not_reach_its_client_as_its_own() {
    let mut bench = bench(Routing::StoreAndForward);
    let reject = Message::StateReject(StateReject { code: 1, reason: None });
    bench.client(0, HELIOS, &start());
    bench.up.clear();
    // Nobody has subscribed: it is no business of any client.
    bench.link(0, HELIOS, &reject);
    bench.link(0, HELIOS, &told(OtaState::Receiving, 0));
    assert_eq!(heard(&mut bench), []);
}
