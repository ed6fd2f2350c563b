// SPDX-License-Identifier: Apache-2.0
//! The whole way: a client that knows nothing of controllers pushes, real appliances receive.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod common;

use common::*;
use fusain::relay::{Cause, RosterOutcome, Stage};
use fusain::{
    Address, ApplianceState, Message, Mode, OtaActivate, OtaData, OtaStart, OtaState, OtaStatus, OtaVerify,
};
use mcuboot_image::sign::SigningKey;
use rekindle_relay::*;
use rekindle_session::sender::{Completion, SendError};

#[test]
fn a_push_through_the_store_is_a_push() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let appliance = bench.add(0, 0xA1, signed(1, &key));
    bench.pass(2_000);
    let image = signed(2, &key);
    let report = bench.push(0, appliance, plan(&image), &image).unwrap();
    assert_eq!(report.completion, Completion::Confirmed);
    let report_version = report.info.unwrap().version;
    assert_eq!(report_version.major, 2);
    bench.pass(5_000);
    let entry = bench.entry(appliance);
    assert_eq!(
        (entry.stage, entry.outcome, entry.cause),
        (Stage::Settled, RosterOutcome::Confirmed, Cause::None)
    );
    assert_eq!(entry.version.unwrap().major, 2);
    assert!(!bench.store.has(File::Image), "nobody needs it any more");
}

/// A client of the base protocol, independent of the sender: one command, one answer.
fn base_update(bench: &mut Bench, appliance: Address, image: &[u8]) -> Vec<OtaState> {
    let mut states = Vec::new();
    let size = u64::try_from(image.len()).unwrap();
    let start = OtaStart { size, digest: digest(image), version: None, slot: None };
    let mut next = command(bench, appliance, &Message::OtaStart(start)).offset.unwrap_or(0);
    while u64::from(next) < size {
        let at = usize::try_from(next).unwrap();
        let data = &image[at..image.len().min(at + 96)];
        let data = Message::OtaData(OtaData { offset: next.into(), data });
        let status = command(bench, appliance, &data);
        if status.state == OtaState::Received {
            break;
        }
        next = status.offset.unwrap();
    }
    let mut status = command(bench, appliance, &Message::OtaVerify(OtaVerify { digest: None }));
    states.push(status.state);
    for _ in 0..1_000 {
        if status.state == OtaState::Verified {
            break;
        }
        bench.pass(100);
        bench.take(0);
        status = command(bench, appliance, &Message::OtaQuery);
    }
    states.push(status.state);
    let activate = OtaActivate { mode: Mode::Test, reboot: true };
    states.push(command(bench, appliance, &Message::OtaActivate(activate)).state);
    for _ in 0..1_000 {
        bench.pass(100);
        bench.take(0);
        // While it reboots, it says nothing.
        bench.client(0, appliance, &Message::OtaQuery);
        bench.pass(10);
        if let Some(OtaStatus { state: OtaState::Idle, .. }) = first_status(bench, appliance) {
            states.push(OtaState::Idle);
            break;
        }
    }
    states
}

fn first_status(bench: &mut Bench, appliance: Address) -> Option<OtaStatus> {
    let answers = bench.take(0);
    answers.iter().find_map(|(from, bytes)| match Message::decode(bytes) {
        Ok(Message::OtaStatus(status)) if *from == appliance => Some(status),
        _ => None,
    })
}

fn command(bench: &mut Bench, appliance: Address, message: &Message<'_>) -> OtaStatus {
    bench.take(0);
    for _ in 0..5 {
        bench.client(0, appliance, message);
        for _ in 0..100 {
            bench.pass(10);
            if let Some(status) = first_status(bench, appliance) {
                return status;
            }
        }
    }
    panic!("no answer to {message:?}");
}

#[test]
fn a_client_of_the_base_protocol_updates_in_both_modes() {
    let key = SigningKey::generate_p256().unwrap();
    for routing in [Routing::StoreAndForward, Routing::Transparent] {
        let mut bench = Bench::new(Config { routing, ..Config::new(100_000) }, &[trust(&key)]);
        let appliance = bench.add(0, 0xA1, signed(1, &key));
        bench.pass(2_000);
        let image = signed(2, &key);
        let states = base_update(&mut bench, appliance, &image);
        let verify = if routing == Routing::Transparent { OtaState::Verified } else { OtaState::Received };
        assert_eq!(states, [verify, OtaState::Verified, OtaState::Activated, OtaState::Idle], "{routing:?}");
        bench.pass(10_000);
        let endpoint = bench.station(appliance).appliance.endpoint().unwrap();
        assert_eq!((endpoint.receiver().running_version().major, endpoint.receiver().confirmed()), (2, true));
        assert!(!bench.store.has(File::Image));
    }
}

#[test]
fn a_push_through_a_transparent_router_is_a_push() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config { routing: Routing::Transparent, ..Config::new(100_000) }, &[]);
    let appliance = bench.add(0, 0xA1, signed(1, &key));
    bench.pass(2_000);
    let image = signed(2, &key);
    assert_eq!(bench.push(0, appliance, plan(&image), &image).unwrap().completion, Completion::Confirmed);
    assert!(bench.store.files.keys().all(|file| *file == File::State), "nothing of it is kept");
}

#[test]
fn a_revert_is_told_through_the_controller() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let appliance = bench.add(0, 0xA1, signed(1, &key));
    bench.pass(2_000);
    let image = signed_marked(2, &key, "rekindle-self-test=fail:4:-9");
    let report = bench.push(0, appliance, plan(&image), &image).unwrap();
    assert_eq!(report.completion, Completion::Reverted);
    let outcome = report.outcome.unwrap();
    assert_eq!((outcome.stage, outcome.code), (Some(4), Some(-9)));
    bench.pass(5_000);
    assert_eq!(bench.entry(appliance).outcome, RosterOutcome::Reverted);
}

#[test]
fn an_appliance_that_is_not_safe_is_told_at_once_and_served_later() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let appliance = bench.add(0, 0xA1, signed(1, &key));
    bench.pass(2_000);
    bench.station(appliance).appliance.device_mut().set_state(ApplianceState::Heating);
    let image = signed(2, &key);
    let error = bench.push(0, appliance, plan(&image), &image).unwrap_err();
    assert!(matches!(error, SendError::Unsafe { appliance_state: 5, .. }), "{error:?}");
    assert!(bench.store.has(File::Image), "it waits for a better moment");
    bench.pass(90_000);
    assert_eq!((bench.entry(appliance).stage, bench.entry(appliance).cause), (Stage::Queued, Cause::Unsafe));
    bench.station(appliance).appliance.device_mut().set_state(ApplianceState::Idle);
    bench.pass(90_000);
    assert_eq!(bench.entry(appliance).stage, Stage::Ready, "nobody has asked to activate it");
    // The same push again takes it up there.
    let report = bench.push(0, appliance, plan(&image), &image).unwrap();
    assert_eq!(report.completion, Completion::Confirmed);
}
