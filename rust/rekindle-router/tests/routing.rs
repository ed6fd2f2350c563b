// SPDX-License-Identifier: Apache-2.0
//! The routing rules through the daemon's sockets, with several clients; the rules themselves are the core's.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod common;

use core::time::Duration;
use std::time::Instant;

use common::*;
use fusain::{Address, FRAME_MAX, Message, OtaData, OtaStart, OtaState, encode_frame};
use mcuboot_image::digest::Sha256;
use rekindle_client::link::Link;

/// Everything that comes within a time, as it comes.
fn listen(link: &mut Link, time: Duration) -> Vec<(Address, Vec<u8>)> {
    let mut heard = Vec::new();
    let until = Instant::now() + time;
    while Instant::now() < until {
        link.receive_payloads(Duration::from_millis(20), |from, payload| {
            heard.push((from, payload.to_vec()))
        })
        .unwrap();
    }
    heard
}

/// STATE_DATA as the C library writes it by default: an indefinite map.
const STATE_OF_C: [u8; 15] =
    [0x82, 0x18, 0x30, 0xBF, 0x00, 0xF4, 0x01, 0x00, 0x02, 0x01, 0x03, 0x19, 0x12, 0x34, 0xFF];
/// MOTOR_COMMAND as Go writes it: keys in any order, type in two bytes.
const MOTOR_OF_GO: [u8; 10] = [0x82, 0x18, 0x21, 0xA2, 0x01, 0x19, 0x0B, 0xB8, 0x00, 0x00];

#[test]
fn frames_of_existing_peers_pass_unchanged_to_those_whom_they_concern() {
    let desk = Desk::new();
    let installed = signed(1, 9_000, &desk.key);
    let (north, south) = (Bus::new(&[0xA1], &installed), Bus::new(&[0xA2], &installed));
    let settings = desk.settings("", &["url = \"tcp://127.0.0.1:0\""], &[&north, &south], "");
    let running = Running::start(settings);
    running.await_appliances(2);
    let (mut first, mut second) = (running.link(), running.link());
    first.subscribe(Address::new(0xA1)).unwrap();
    second.subscribe(Address::new(0xA2)).unwrap();
    // An answer says that the subscriptions were taken.
    for link in [&mut first, &mut second] {
        link.send(Address::STATELESS, &Message::PingRequest).unwrap();
        let heard = listen(link, Duration::from_millis(300));
        assert!(
            heard.iter().any(|(from, payload)| *from == Address::STATELESS && payload[2] == 0x3F),
            "{heard:02x?}"
        );
    }

    let mut frame = [0; FRAME_MAX];
    let len = encode_frame(Address::new(0xA1), &STATE_OF_C, &mut frame).unwrap();
    north.say(&frame[..len]);
    let telemetry = |heard: &[(Address, Vec<u8>)]| {
        heard.iter().filter(|(_, payload)| payload[2] == 0x30).cloned().collect::<Vec<_>>()
    };
    let heard = telemetry(&listen(&mut first, Duration::from_millis(500)));
    assert_eq!(heard, [(Address::new(0xA1), STATE_OF_C.to_vec())]);
    assert!(telemetry(&listen(&mut second, Duration::from_millis(200))).is_empty(), "it has not subscribed");

    second.send_payload(Address::new(0xA1), &MOTOR_OF_GO).unwrap();
    let down = |bus: &Bus| {
        let heard = bus.heard.lock().unwrap();
        heard.iter().any(|(to, payload)| *to == Address::new(0xA1) && *payload == MOTOR_OF_GO)
    };
    eventually("the command goes down", || down(&north));
    assert!(!down(&south), "to the link of its appliance, and no other");
}

#[test]
fn every_client_gets_its_own_discovery_with_the_end_marker() {
    let desk = Desk::new();
    let bus = Bus::new(&[0xA1, 0xA2, 0xA3], &signed(1, 9_000, &desk.key));
    let running = Running::start(desk.settings("", &["url = \"tcp://127.0.0.1:0\""], &[&bus], ""));
    running.await_appliances(3);
    let mut clients: Vec<Link> = (0..3).map(|_| running.link()).collect();
    for client in &mut clients[..2] {
        client.send(Address::BROADCAST, &Message::DiscoveryRequest).unwrap();
    }
    for client in &mut clients[..2] {
        let heard = listen(client, Duration::from_millis(600));
        let mut from: Vec<Address> =
            heard.iter().filter(|(_, p)| p[2] == 0x35).map(|(from, _)| *from).collect();
        assert_eq!(from.last(), Some(&Address::STATELESS), "the end marker comes last");
        from.sort();
        let all = [0xA1, 0xA2, 0xA3].map(Address::new);
        assert_eq!(from, [&all[..], &[Address::STATELESS]].concat());
    }
    assert!(listen(&mut clients[2], Duration::from_millis(100)).is_empty(), "it has not asked");
}

#[test]
fn a_link_that_comes_later_and_breaks_is_made_anew() {
    let desk = Desk::new();
    let installed = signed(1, 9_000, &desk.key);
    let mut bus = Bus::new(&[0xA1], &installed);
    let settings = desk.settings("", &["url = \"tcp://127.0.0.1:0\""], &[&bus], "");
    let port = bus.port;
    drop(bus);
    let running = Running::start(settings);
    let known = rekindle_client::controller::roster(&mut running.link()).unwrap();
    assert!(known.is_empty());
    for _ in 0..2 {
        bus = Bus::at(port, &[0xA1], &installed);
        let heard = || bus.heard.lock().unwrap().iter().any(|(to, _)| *to == Address::new(0xA1));
        eventually("the appliance is asked", heard);
        running.await_appliances(1);
        drop(bus);
    }
}

#[test]
fn a_client_that_goes_away_leaves_its_update_to_the_next_one_at_once() {
    let desk = Desk::new();
    let bus = Bus::new(&[0xA1], &signed(1, 9_000, &desk.key));
    let running = Running::start(desk.settings("", &["url = \"tcp://127.0.0.1:0\""], &[&bus], ""));
    running.await_appliances(1);
    let appliance = Address::new(0xA1);
    let image = signed(2, 9_000, &desk.key);
    let start =
        OtaStart { size: image.len() as u64, digest: Sha256::digest(&image), version: None, slot: None };
    let ask = |link: &mut Link, message: &Message<'_>| {
        link.send(appliance, message).unwrap();
        let heard = listen(link, Duration::from_millis(200));
        heard.iter().rfind(|(from, _)| *from == appliance).map(|(_, payload)| payload.clone())
    };
    let receiving = |answer: Option<Vec<u8>>| {
        matches!(Message::decode(&answer.unwrap_or_default()), Ok(Message::OtaStatus(status))
            if status.state == OtaState::Receiving)
    };
    let mut first = running.link();
    let mut second = running.link();
    assert!(receiving(ask(&mut first, &Message::OtaStart(start))));
    let chunk = OtaData { offset: 0, data: &image[..96] };
    assert!(receiving(ask(&mut first, &Message::OtaData(chunk))));
    let busy = ask(&mut second, &Message::OtaStart(start)).unwrap();
    assert!(matches!(Message::decode(&busy), Ok(Message::StateReject(_))), "{busy:02x?}");
    // One that only fell silent would keep it for five seconds.
    drop(first);
    let gone = Instant::now();
    while !receiving(ask(&mut second, &Message::OtaStart(start))) {
        assert!(gone.elapsed() < Duration::from_secs(3), "it is kept for somebody who is gone");
    }
}
