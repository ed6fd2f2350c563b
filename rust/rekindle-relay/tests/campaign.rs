// SPDX-License-Identifier: Apache-2.0
//! One image for several appliances: order, failures that hold nobody up, restarts at any moment.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod common;

use common::*;
use fusain::relay::{Campaign, Cause, Relay as Operation, RosterOutcome, Stage, Stored};
use fusain::{
    Address, Constraint, Extension, Message, Mode, OtaActivate, OtaData, OtaStart, OtaState, OtaStatus,
    Reason, StateCommand, StateReject,
};
use mcuboot_image::sign::SigningKey;
use rekindle_relay::*;
use rekindle_session::sender::{Completion, Plan, SendError};

fn add(bench: &mut Bench, image: &[u8], address: Address) -> Operation {
    let (size, digest) = (image.len().try_into().unwrap(), digest(image));
    bench.operation(3, &Operation::CampaignAdd { address, size, digest, mode: Mode::Test })
}

fn campaign(bench: &mut Bench) -> Campaign {
    match bench.operation(3, &Operation::CampaignRequest) {
        Operation::Campaign(campaign) => campaign,
        other => panic!("{other:?}"),
    }
}

/// Brings the image as a client of a campaign does.
fn upload(bench: &mut Bench, image: &[u8], address: Address) {
    let brought = Plan { activate: false, follow: false, ..plan(image) };
    assert_eq!(bench.push(0, address, brought, image).unwrap().completion, Completion::Verified);
}

/// A campaign for one appliance whose image was brought a moment ago, and that goes on one exchange at a time.
fn under_way() -> (Bench, Address) {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let image = signed(2, &key);
    let appliance = bench.add(0, 0xA1, signed(1, &key));
    bench.pass(2_000);
    add(&mut bench, &image, appliance);
    bench.gently = true;
    upload(&mut bench, &image, appliance);
    (bench, appliance)
}

/// A campaign for two, one of them on a link that went down before the image was brought.
fn one_cut_off() -> (Bench, Address, Address) {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let image = signed(2, &key);
    let here = bench.add(0, 0xA1, signed(1, &key));
    let cut_off = bench.add(1, 0xB1, signed(1, &key));
    bench.pass(2_000);
    bench.relay.link_down(bench.now_ms, 1);
    add(&mut bench, &image, here);
    add(&mut bench, &image, cut_off);
    upload(&mut bench, &image, here);
    (bench, here, cut_off)
}

fn settle(bench: &mut Bench) {
    for _ in 0..1_000 {
        if campaign(bench).open == 0 {
            return;
        }
        bench.pass(2_000);
    }
    let roster: Vec<_> = bench.relay.roster().collect();
    panic!("never settled: {roster:?}");
}

/// Cables were swapped, or the links stand in another order in the configuration, while a campaign was under way.
#[test]
fn appliances_that_answer_on_another_link_are_served_there() {
    let key = SigningKey::generate_ed25519().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let image = signed(2, &key);
    let appliances: Vec<Address> =
        (0..4).map(|n| bench.add(u8::from(n >= 2), 0xA0 + n, signed(1, &key))).collect();
    bench.pass(2_000);
    bench.stations.iter_mut().for_each(|station| station.unplugged = true);
    for address in &appliances {
        add(&mut bench, &image, *address);
    }
    upload(&mut bench, &image, appliances[0]);
    bench.pass(10_000);
    bench.restart();
    for station in &mut bench.stations {
        (station.link, station.unplugged) = (1 - station.link, false);
    }
    settle(&mut bench);
    for (nth, address) in appliances.iter().enumerate() {
        let entry = bench.entry(*address);
        assert_eq!((entry.outcome, entry.link), (RosterOutcome::Confirmed, u8::from(nth < 2)), "{entry:?}");
    }
}

/// Where an appliance is heard while it needs the image, nobody takes it away from.
#[test]
fn an_appliance_that_is_served_is_not_drawn_to_another_link() {
    let key = SigningKey::generate_ed25519().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let image = signed(2, &key);
    let appliance = bench.add(0, 0xA1, signed(1, &key));
    bench.pass(2_000);
    add(&mut bench, &image, appliance);
    upload(&mut bench, &image, appliance);
    for _ in 0..1_000 {
        if bench.entry(appliance).stage == Stage::Settled {
            break;
        }
        let pong = fusain::PingResponse { uptime_ms: 1 };
        bench.link(1, appliance, &Message::PingResponse(pong));
        let status = OtaStatus { state: OtaState::Idle, offset: None, version: None };
        bench.link(1, appliance, &Message::OtaStatus(status));
        assert_eq!(bench.entry(appliance).link, 0);
        let limit_ms = bench.now_ms + 100;
        bench.step(limit_ms);
    }
    assert_eq!(bench.entry(appliance).outcome, RosterOutcome::Confirmed);
}

#[test]
fn five_on_one_bus_and_two_on_another_with_one_that_fails_and_one_that_is_away() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let image = signed(2, &key);
    let appliances: Vec<Address> =
        (0..7).map(|n| bench.add(u8::from(n >= 5), 0xA0 + n, signed(1, &key))).collect();
    bench.pass(2_000);
    // The second one's flash already has it; the third is away.
    bench.station(appliances[2]).unplugged = true;
    for address in &appliances {
        let Operation::Roster { entry: Some(entry), total: 7, .. } = add(&mut bench, &image, *address) else {
            panic!("no entry");
        };
        assert_eq!((entry.address, entry.stage), (*address, Stage::Waiting));
    }
    assert_eq!(campaign(&mut bench).stored, Stored::Receiving);
    upload(&mut bench, &image, appliances[0]);
    let now = campaign(&mut bench);
    assert_eq!((now.stored, now.open, now.appliances), (Stored::Approved, 7, 7));
    assert_eq!(now.version.unwrap().major, 2);
    bench.take(0);
    bench.down.clear();
    // One transfer on each bus, both at once.
    bench.pass(1_500);
    let moving: Vec<u8> = bench
        .relay
        .roster()
        .filter(|e| e.stage == Stage::Transferring || e.stage == Stage::Activating)
        .map(|e| e.link)
        .collect();
    assert!(moving.len() <= 2, "{moving:?}");
    settle(&mut bench);
    for (number, address) in appliances.iter().enumerate() {
        let entry = bench.entry(*address);
        let expected = match number {
            2 => (RosterOutcome::Failed, Cause::Silent),
            _ => (RosterOutcome::Confirmed, Cause::None),
        };
        assert_eq!((entry.outcome, entry.cause), expected, "{address}");
        if number != 2 {
            assert_eq!(entry.version.unwrap().major, 2);
        }
    }
    bench.run();
    assert!(!bench.store.has(File::Image));
}

#[test]
fn a_failed_self_test_is_reported_and_does_not_hold_up_the_next() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let image = signed_marked(2, &key, "rekindle-self-test=fail:3:-7");
    let first = bench.add(0, 0xA1, signed(1, &key));
    let second = bench.add(0, 0xA2, signed(1, &key));
    bench.pass(2_000);
    add(&mut bench, &image, first);
    add(&mut bench, &image, second);
    upload(&mut bench, &image, first);
    settle(&mut bench);
    for address in [first, second] {
        let entry = bench.entry(address);
        assert_eq!((entry.outcome, entry.cause), (RosterOutcome::Reverted, Cause::None));
        assert_eq!(entry.version.unwrap().major, 1, "it runs the old image again");
    }
    // The same image once more: the old verdict is not taken for the new one, which is the same by itself.
    let sent = bench.down.len();
    add(&mut bench, &image, first);
    upload(&mut bench, &image, first);
    settle(&mut bench);
    assert_eq!(bench.entry(first).outcome, RosterOutcome::Reverted);
    assert!(bench.down[sent..].iter().any(|(_, _, bytes)| bytes[2] == 0x43), "it was activated again");
}

#[test]
fn one_that_runs_the_image_already_is_left_alone() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let image = signed(2, &key);
    let appliance = bench.add(0, 0xA1, image.clone());
    bench.pass(2_000);
    bench.down.clear();
    add(&mut bench, &image, appliance);
    upload(&mut bench, &image, appliance);
    settle(&mut bench);
    assert_eq!(bench.entry(appliance).outcome, RosterOutcome::AlreadyRunning);
    assert!(bench.sent_to(appliance).iter().all(|code| !matches!(code, 0x40..=0x43)));
}

#[test]
fn the_controller_goes_on_after_a_cut_at_any_operation_of_its_store() {
    let key = SigningKey::generate_ed25519().unwrap();
    let image = signed(2, &key);
    let mut total = None;
    let mut cut_at = 1;
    while total.is_none_or(|total| cut_at < total) {
        let mut bench = Bench::new(Config { checkpoint: 2_048, ..Config::new(100_000) }, &[trust(&key)]);
        let first = bench.add(0, 0xA1, signed(1, &key));
        let second = bench.add(0, 0xA2, signed(1, &key));
        bench.pass(2_000);
        let before = bench.store.done;
        if total.is_some() {
            bench.cut_at = Some(before + cut_at);
        }
        // Whoever pushes tries again when the controller is gone.
        for _ in 0..4 {
            let planned = |answer| matches!(answer, Operation::Roster { entry: Some(_), .. });
            if !planned(add(&mut bench, &image, second)) || !planned(add(&mut bench, &image, first)) {
                continue;
            }
            if bench.try_push(0, first, Plan { activate: false, follow: false, ..plan(&image) }, &image) {
                break;
            }
        }
        settle(&mut bench);
        for address in [first, second] {
            let entry = bench.entry(address);
            let good = matches!(entry.outcome, RosterOutcome::Confirmed | RosterOutcome::AlreadyRunning);
            assert!(good, "cut at {cut_at}: {entry:?}");
            assert_eq!(entry.version.unwrap().major, 2, "cut at {cut_at}");
        }
        assert!(!bench.store.has(File::Image), "cut at {cut_at}");
        total = total.or(Some(bench.store.done - before));
        cut_at += 1;
    }
    assert!(cut_at > 100, "{cut_at}");
}

#[test]
fn an_appliance_takes_the_image_up_again_where_it_was_when_the_controller_comes_back() {
    let (mut bench, appliance) = under_way();
    while bench.entry(appliance).offset < 5_000 {
        bench.step(u64::MAX);
    }
    assert_eq!(bench.entry(appliance).stage, Stage::Transferring);
    bench.restart();
    bench.down.clear();
    settle(&mut bench);
    assert_eq!(bench.entry(appliance).outcome, RosterOutcome::Confirmed);
    let data = bench.sent_to(appliance).iter().filter(|code| **code == 0x41).count();
    assert!(data > 0 && data < 60, "{data} frames: it went on, and did not begin anew");
}

#[test]
fn what_was_activated_before_the_controller_went_is_confirmed_when_it_comes_back() {
    let (mut bench, appliance) = under_way();
    while !bench.sent_to(appliance).contains(&0x43) {
        bench.step(u64::MAX);
    }
    bench.restart();
    bench.down.clear();
    settle(&mut bench);
    // Not as one that ran the image already.
    assert_eq!(bench.entry(appliance).outcome, RosterOutcome::Confirmed);
    assert!(!bench.sent_to(appliance).contains(&0x43));
}

#[test]
fn what_is_cancelled_is_given_up_on_the_appliance_too() {
    let (mut bench, appliance) = under_way();
    while bench.entry(appliance).offset < 1_000 {
        bench.step(u64::MAX);
    }
    assert_eq!(bench.entry(appliance).stage, Stage::Transferring);
    bench.operation(3, &Operation::CampaignCancel { address: None });
    bench.pass(3_000);
    assert_eq!(bench.entry(appliance).outcome, RosterOutcome::Cancelled);
    assert_eq!(*bench.sent_to(appliance).iter().rfind(|code| **code != 0x46).unwrap(), 0x4F);
    let station = bench.station(appliance);
    assert_eq!(station.appliance.endpoint().unwrap().ota_state(), OtaState::Idle);
    assert!(!bench.store.has(File::Image));
}

#[test]
fn one_appliance_is_cancelled_and_nobody_else() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let image = signed(2, &key);
    let appliances = [0xA1, 0xA2, 0xA3].map(|number| bench.add(0, number, signed(1, &key)));
    bench.pass(2_000);
    for address in &appliances {
        add(&mut bench, &image, *address);
    }
    let answer = bench.operation(3, &Operation::CampaignCancel { address: Some(appliances[1]) });
    assert!(matches!(answer, Operation::Campaign(Campaign { open: 2, .. })), "{answer:?}");
    upload(&mut bench, &image, appliances[0]);
    settle(&mut bench);
    let outcomes = appliances.map(|address| bench.entry(address).outcome);
    assert_eq!(outcomes, [RosterOutcome::Confirmed, RosterOutcome::Cancelled, RosterOutcome::Confirmed]);
    assert!(!bench.sent_to(appliances[1]).contains(&0x40));
}

#[test]
fn another_image_waits_until_nobody_needs_the_first() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let (image, other) = (signed(2, &key), signed(3, &key));
    let appliance = bench.add(0, 0xA1, signed(1, &key));
    bench.pass(2_000);
    add(&mut bench, &image, appliance);
    let size = other.len().try_into().unwrap();
    let wants = Operation::CampaignAdd { address: appliance, size, digest: digest(&other), mode: Mode::Test };
    bench.take(3);
    let mut payload = [0; fusain::PAYLOAD_MAX];
    let len = wants.encode(&mut payload).unwrap();
    bench.client_bytes(3, Address::STATELESS, &payload[..len]);
    let (_, answer) = bench.answer(3);
    let busy = StateReject::because(1, Reason::UpdateInProgress);
    assert_eq!(Message::decode(&answer), Ok(Message::StateReject(busy)));
    // A push of it is told the same.
    let start = OtaStart { size: size.into(), digest: digest(&other), version: None, slot: None };
    bench.client(1, appliance, &Message::OtaStart(start));
    let (_, answer) = bench.answer(1);
    assert!(matches!(Message::decode(&answer), Ok(Message::StateReject(r)) if r.reason == Some(4)));
    upload(&mut bench, &image, appliance);
    settle(&mut bench);
    assert_eq!(bench.push(1, appliance, plan(&other), &other).unwrap().completion, Completion::Confirmed);
}

#[test]
fn what_cannot_be_planned_is_refused_by_name() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(10_000), &[trust(&key)]);
    let appliance = bench.add(0, 0xA1, signed(1, &key));
    bench.take(3);
    for (address, size, field, constraint) in [
        (Address::new(0xBB), 5_000, 3, Constraint::IndexNotFound),
        (appliance, 10_001, 4, Constraint::ImageTooLarge),
        (appliance, 31, 4, Constraint::ValueTooLow),
    ] {
        let wants = Operation::CampaignAdd { address, size, digest: [1; 32], mode: Mode::Test };
        let mut payload = [0; fusain::PAYLOAD_MAX];
        let len = wants.encode(&mut payload).unwrap();
        bench.client_bytes(3, Address::STATELESS, &payload[..len]);
        let (from, answer) = bench.answer(3);
        let refusal = fusain::InvalidCommand::parameter(Some(field), constraint);
        assert_eq!(
            (from, Message::decode(&answer)),
            (Address::STATELESS, Ok(Message::InvalidCommand(refusal)))
        );
    }
}

#[test]
fn the_controller_itself_comes_last() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = updating_itself(&key);
    let image = signed(2, &key);
    let appliance = bench.add(0, 0xA1, signed(1, &key));
    bench.pass(2_000);
    bench.up.clear();
    add(&mut bench, &image, appliance);
    // Its own image may come, but it is not activated.
    bench.client(2, OWN, &Message::OtaQuery);
    assert_eq!(Message::decode(bench.to_receiver.last().unwrap()), Ok(Message::OtaQuery));
    bench.relay.receiver_rests();
    let activate = Message::OtaActivate(OtaActivate { mode: Mode::Test, reboot: true });
    let handed = bench.to_receiver.len();
    bench.client(2, Address::STATELESS, &activate);
    let (from, answer) = bench.answer(2);
    let busy = StateReject::because(3, Reason::UpdateInProgress);
    assert_eq!((from, Message::decode(&answer)), (Address::STATELESS, Ok(Message::StateReject(busy))));
    assert_eq!(bench.to_receiver.len(), handed);
    upload(&mut bench, &image, appliance);
    settle(&mut bench);
    bench.client(2, Address::STATELESS, &activate);
    assert_eq!(bench.to_receiver.len(), handed + 1);
    // What the receiver says goes back to who asked.
    let status = OtaStatus { state: OtaState::Activated, offset: None, version: None };
    let mut payload = [0; 114];
    let len = status.encode(&mut payload).unwrap();
    bench.take(2);
    bench.relay.answer(&payload[..len]);
    bench.run();
    assert_eq!(bench.answer(2), (Address::STATELESS, payload[..len].to_vec()));
}

#[test]
fn a_chunk_that_cannot_be_compared_costs_nobody_the_image() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let image = signed(2, &key);
    let [served, next] = [0xA0, 0xA1].map(|address| bench.add(0, address, signed(1, &key)));
    bench.pass(2_000);
    add(&mut bench, &image, served);
    bench.gently = true;
    upload(&mut bench, &image, served);
    while bench.entry(served).offset < 1_000 {
        bench.step(u64::MAX);
    }
    assert_eq!(bench.entry(served).stage, Stage::Transferring);
    // Another client brings what is here already, and the store cannot be read where it would be compared.
    let size = image.len().try_into().unwrap();
    let start = OtaStart { size, digest: digest(&image), version: None, slot: None };
    bench.client(1, next, &Message::OtaStart(start));
    bench.pass(10);
    bench.take(1);
    bench.store.failing = Some(|op| matches!(op, StoreOp::Read { file: File::Image, offset: 0, .. }));
    let chunk = Message::OtaData(OtaData { offset: 0, data: &image[..96] });
    bench.client(1, next, &chunk);
    assert_eq!(bench.take(1), [], "as if the frame had been lost");
    bench.store.failing = None;
    bench.client(1, next, &chunk);
    let (_, answer) = bench.answer(1);
    let status =
        OtaStatus { state: OtaState::Received, offset: Some(image.len().try_into().unwrap()), version: None };
    assert_eq!(Message::decode(&answer), Ok(Message::OtaStatus(status)));
    add(&mut bench, &image, next);
    bench.gently = false;
    settle(&mut bench);
    for address in [served, next] {
        assert_eq!(bench.entry(address).outcome, RosterOutcome::Confirmed);
    }
}

#[test]
fn what_was_under_way_for_a_refused_image_does_not_go_on_with_the_next_one() {
    let [old_key, new_key] = core::array::from_fn(|_| SigningKey::generate_p256().unwrap());
    let mut bench = Bench::new(Config::new(100_000), &[trust(&old_key), trust(&new_key)]);
    let [away, half, other] = [(0, 0xA0), (1, 0xB0), (1, 0xB1)]
        .map(|(link, address)| bench.add(link, address, signed(1, &old_key)));
    bench.pass(2_000);
    let first = signed(2, &old_key);
    for address in [away, half] {
        add(&mut bench, &first, address);
    }
    bench.station(away).unplugged = true;
    bench.gently = true;
    upload(&mut bench, &first, half);
    while bench.entry(half).offset < 1_000 {
        bench.step(u64::MAX);
    }
    assert_eq!(bench.entry(half).stage, Stage::Transferring);
    // One is being asked how it is, one has a part of the image: its key is revoked.
    bench.relay.set_keys(Keys::new(&[trust(&new_key)]).unwrap());
    bench.pass(1_000);
    for address in [away, half] {
        assert_eq!(bench.entry(address).cause, Cause::SignatureInvalid);
    }
    assert!(bench.sent_to(half).contains(&0x4F), "it is told to give that part up");
    bench.gently = false;
    bench.station(away).unplugged = false;
    bench.down.clear();
    let second = signed(3, &new_key);
    add(&mut bench, &second, other);
    upload(&mut bench, &second, other);
    settle(&mut bench);
    assert_eq!(bench.entry(other).outcome, RosterOutcome::Confirmed);
    for address in [away, half] {
        let commands: Vec<u8> =
            bench.sent_to(address).into_iter().filter(|code| (0x40..0x44).contains(code)).collect();
        assert_eq!(commands, [], "{address} was not to get it");
        let endpoint = bench.station(address).appliance.endpoint().unwrap();
        assert_eq!(endpoint.ota_state(), OtaState::Idle, "{address} holds nothing of the first");
    }
}

#[test]
fn a_link_that_stays_down_ends_the_wait_and_one_that_comes_back_goes_on_at_once() {
    for back in [true, false] {
        let (mut bench, here, cut_off) = one_cut_off();
        bench.pass(60_000);
        let entry = bench.entry(cut_off);
        assert_eq!((entry.stage, entry.cause), (Stage::Queued, Cause::LinkLost));
        assert_eq!(bench.entry(here).outcome, RosterOutcome::Confirmed);
        if back {
            bench.relay.link_up(bench.now_ms, 1);
            bench.pass(500);
            assert_ne!(bench.entry(cut_off).stage, Stage::Queued);
        }
        bench.pass(600_000);
        let entry = bench.entry(cut_off);
        let expected = match back {
            true => (RosterOutcome::Confirmed, Cause::None),
            false => (RosterOutcome::Failed, Cause::LinkLost),
        };
        assert_eq!((entry.outcome, entry.cause), expected);
        assert!(!bench.store.has(File::Image), "nobody needs it any more");
    }
}

#[test]
fn one_that_waits_for_its_reset_does_not_keep_others_from_their_images() {
    let key = SigningKey::generate_p256().unwrap();
    let image = signed(2, &key);
    let parked = || {
        let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
        let appliances = [0xA1, 0xA2].map(|n| bench.add(0, n, signed(1, &key)));
        bench.pass(2_000);
        let no_reboot = Plan { reboot: false, follow: false, ..plan(&image) };
        let report = bench.push(0, appliances[0], no_reboot, &image).unwrap();
        assert_eq!(report.completion, Completion::Activated);
        bench.pass(5_000);
        assert_eq!(bench.entry(appliances[0]).stage, Stage::Activating);
        (bench, appliances)
    };
    // Another image takes the store over when nobody has asked for long.
    let (mut bench, [first, second]) = parked();
    let other = signed(3, &key);
    assert_eq!(add(&mut bench, &other, second), Operation::Other, "not at once");
    bench.pass(70_000);
    add(&mut bench, &other, second);
    upload(&mut bench, &other, second);
    settle(&mut bench);
    assert_eq!(bench.entry(second).outcome, RosterOutcome::Confirmed);
    assert_eq!(bench.entry(first).outcome, RosterOutcome::Unknown, "it may yet come up with it");
    // Or somebody ends the wait.
    let (mut bench, [first, _]) = parked();
    bench.operation(3, &Operation::CampaignCancel { address: None });
    bench.run();
    assert_eq!(bench.entry(first).outcome, RosterOutcome::Unknown);
    assert!(!bench.store.has(File::Image));
    // Nobody does: the reset comes, and the verdict.
    let (mut bench, [first, _]) = parked();
    bench.pass(600_000);
    assert_eq!(bench.entry(first).stage, Stage::Activating);
    let now_ns = bench.now_ms * 1_000_000;
    bench.station(first).appliance.device_mut().reset(now_ns, 0);
    bench.pass(120_000);
    assert_eq!(bench.entry(first).outcome, RosterOutcome::Confirmed);
}

#[test]
fn other_commands_do_not_come_between_an_appliance_and_its_update() {
    let (mut bench, appliance) = under_way();
    while bench.entry(appliance).stage != Stage::Transferring {
        bench.pass(10);
    }
    bench.take(2);
    bench.down.clear();
    // A motor that does not exist: the appliance would refuse it with words that a sender takes for DATA's.
    let motor = [0x82, 0x18, 0x21, 0xA2, 0x00, 0x00, 0x01, 0x01];
    bench.client_bytes(2, appliance, &motor);
    let busy = StateReject::because(3, Reason::UpdateInProgress);
    let (from, answer) = bench.answer(2);
    assert_eq!((from, Message::decode(&answer)), (appliance, Ok(Message::StateReject(busy))));
    let stop = Message::StateCommand(StateCommand { mode: StateCommand::EMERGENCY, argument: None });
    bench.client(2, appliance, &stop);
    let commands: Vec<u8> = bench.sent_to(appliance).into_iter().filter(|code| *code < 0x40).collect();
    assert_eq!(commands, [0x20], "what stops it passes");
}

#[test]
fn the_image_can_be_brought_by_way_of_one_that_cannot_take_it_yet() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let image = signed(2, &key);
    let testing = bench.add(0, 0xA1, signed(1, &key));
    let other = bench.add(0, 0xA2, signed(1, &key));
    bench.pass(2_000);
    let info = fusain::Info {
        boot_number: 1,
        window: 4,
        version: fusain::Version::default(),
        image_hash: [7; 32],
        flags: fusain::InfoFlags::default().with(fusain::InfoFlags::SWAP_PENDING, true),
        chunk_max: 96,
        durable: None,
        appliance_state: 1,
    };
    bench.station(testing).unplugged = true;
    bench.link(0, testing, &Message::Extension(Extension::Info(info)));
    bench.take(0);
    // By itself it would be refused at once.
    let error = bench.push(0, testing, plan(&image), &image).unwrap_err();
    assert!(matches!(error, SendError::Unconfirmed { .. }), "{error:?}");
    add(&mut bench, &image, testing);
    add(&mut bench, &image, other);
    upload(&mut bench, &image, testing);
    bench.pass(120_000);
    assert_eq!(bench.entry(other).outcome, RosterOutcome::Confirmed);
}

#[test]
fn a_link_that_was_down_uses_up_no_tries() {
    let (mut bench, _, cut_off) = one_cut_off();
    bench.pass(120_000);
    assert_eq!(bench.entry(cut_off).cause, Cause::LinkLost);
    // Then it is silent once: that alone ends nothing.
    bench.station(cut_off).unplugged = true;
    bench.relay.link_up(bench.now_ms, 1);
    bench.pass(30_000);
    let entry = bench.entry(cut_off);
    assert_eq!((entry.stage, entry.cause), (Stage::Queued, Cause::Silent));
    bench.station(cut_off).unplugged = false;
    settle(&mut bench);
    assert_eq!(bench.entry(cut_off).outcome, RosterOutcome::Confirmed);
}
