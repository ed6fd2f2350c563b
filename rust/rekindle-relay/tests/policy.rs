// SPDX-License-Identifier: Apache-2.0
//! What policy refuses is refused with its name, and nothing of it reaches a bus.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::*;
use fusain::relay::{Cause, RosterOutcome};
use fusain::{Address, Constraint, Message, OtaStart, Version};
use mcuboot_image::sign::SigningKey;
use rekindle_relay::*;
use rekindle_session::sender::{CommandKind, Completion, Plan, SendError};

fn keys() -> (SigningKey, SigningKey) {
    (SigningKey::generate_p256().unwrap(), SigningKey::generate_ed25519().unwrap())
}

/// A bench with one appliance that runs version 5.
fn bench(keys: &[TrustedKey], installed: Vec<u8>) -> (Bench, Address) {
    let mut bench = Bench::new(Config::new(100_000), keys);
    let appliance = bench.add(0, 0xA1, installed);
    bench.pass(2_000);
    bench.down.clear();
    (bench, appliance)
}

/// Commands that only an update sends.
fn updates(bench: &Bench, appliance: Address) -> usize {
    bench.sent_to(appliance).iter().filter(|code| matches!(code, 0x40..=0x43)).count()
}

#[track_caller]
fn refused(bench: &mut Bench, appliance: Address, image: &[u8], outcome: Cause) -> SendError {
    let error = bench.push(0, appliance, plan(image), image).unwrap_err();
    bench.pass(30_000);
    assert_eq!(updates(bench, appliance), 0, "nothing of it reaches the bus");
    let entry = bench.entry(appliance);
    assert_eq!((entry.outcome, entry.cause), (RosterOutcome::Forbidden, outcome));
    assert!(!bench.store.has(File::Image));
    error
}

#[test]
fn signatures_by_any_trusted_key_pass() {
    let (first, second) = keys();
    for key in [&first, &second] {
        let (mut bench, appliance) = bench(&[trust(&first), trust(&second)], signed(5, &first));
        let image = signed(6, key);
        let report = bench.push(0, appliance, plan(&image), &image).unwrap();
        assert_eq!(report.completion, Completion::Confirmed);
        assert!(bench.store.audit().is_empty(), "nothing out of the ordinary");
    }
}

#[test]
fn unsigned_wrongly_signed_and_revoked_are_refused() {
    let (first, second) = keys();
    let revoked = TrustedKey { revoked: true, ..trust(&second) };
    let stranger = SigningKey::generate_p256().unwrap();
    for image in [not_signed(6), signed(6, &stranger), signed(6, &second)] {
        let (mut bench, appliance) = bench(&[trust(&first), revoked], signed(5, &first));
        let error = refused(&mut bench, appliance, &image, Cause::SignatureInvalid);
        assert_eq!(error, SendError::SignatureInvalid { at: CommandKind::Verify });
    }
    // The same key twice, in either order: revoked is what counts.
    for keys in [[revoked, trust(&second)], [trust(&second), revoked]] {
        let (mut bench, appliance) = bench(&keys, signed(5, &first));
        let error = refused(&mut bench, appliance, &signed(6, &second), Cause::SignatureInvalid);
        assert_eq!(error, SendError::SignatureInvalid { at: CommandKind::Verify });
    }
    // A signature of a trusted key, over another image: its 64 bytes are the last.
    let (mut bench, appliance) = bench(&[trust(&second)], signed(5, &second));
    let (mut image, other) = (signed(6, &second), signed(7, &second));
    let tail = image.len() - 64;
    image[tail..].copy_from_slice(&other[tail..]);
    let error = bench.push(0, appliance, plan(&image), &image).unwrap_err();
    assert_eq!(error, SendError::SignatureInvalid { at: CommandKind::Verify });
    assert_eq!(updates(&bench, appliance), 0);
}

#[test]
fn damaged_images_are_refused_with_their_names() {
    let (key, _) = keys();
    let (mut bench, appliance) = bench(&[trust(&key)], signed(5, &key));
    let image = signed(6, &key);
    // The bytes are not those of the digest announced.
    let wrong = Plan { digest: [9; 32], ..plan(&image) };
    let error = bench.push(0, appliance, wrong, &image).unwrap_err();
    assert!(matches!(error, SendError::HashMismatch { .. }), "{error:?}");
    // MCUboot's own hash is wrong.
    let mut body = image.clone();
    body[1_000] ^= 1;
    let flipped = Plan::push(body.len().try_into().unwrap(), digest(&body), None);
    let error = bench.push(0, appliance, flipped, &body).unwrap_err();
    assert!(matches!(error, SendError::HashMismatch { .. }), "{error:?}");
    // Not an image.
    let noise = vec![0x55; 5_000];
    let nothing = Plan::push(5_000, digest(&noise), None);
    let error = bench.push(0, appliance, nothing, &noise).unwrap_err();
    assert_eq!(error, SendError::WrongImage { at: CommandKind::Verify });
    // Bytes behind its end.
    let mut padded = image.clone();
    padded.extend([0xFF; 100]);
    let long = Plan::push(padded.len().try_into().unwrap(), digest(&padded), None);
    let error = bench.push(0, appliance, long, &padded).unwrap_err();
    assert_eq!(error, SendError::WrongImage { at: CommandKind::Verify });
    // Another version than announced.
    let version = Some(Version { major: 7, minor: 0, revision: 0, build: 0 });
    let error = bench.push(0, appliance, Plan { version, ..plan(&image) }, &image).unwrap_err();
    assert_eq!(error, SendError::WrongImage { at: CommandKind::Verify });
    assert_eq!(updates(&bench, appliance), 0);
}

#[test]
fn downgrades_are_refused_by_version() {
    let (key, _) = keys();
    let (mut bench, appliance) = bench(&[trust(&key)], signed(5, &key));
    let image = signed(4, &key);
    let error = refused(&mut bench, appliance, &image, Cause::Downgrade);
    assert!(matches!(error, SendError::Downgrade { at: CommandKind::Verify, .. }), "{error:?}");
    // Announced, it is refused before a byte of it is sent.
    let version = Some(Version { major: 4, minor: 0, revision: 0, build: 0 });
    let start = OtaStart { size: image.len() as u64, digest: digest(&image), version, slot: None };
    bench.take(0);
    bench.client(0, appliance, &Message::OtaStart(start));
    let (from, answer) = bench.answer(0);
    let refusal = fusain::InvalidCommand::parameter(Some(2), Constraint::VersionDowngrade);
    assert_eq!((from, Message::decode(&answer)), (appliance, Ok(Message::InvalidCommand(refusal))));
}

#[test]
fn downgrades_are_refused_by_security_counter() {
    let (key, _) = keys();
    let counter = |n| move |o: &mut mcuboot_image::sign::SignOptions| o.security_counter = n;
    let (mut bench, appliance) = bench(&[trust(&key)], signed(1, &key));
    let first = signed_with(&key, 2, counter(Some(7)));
    assert_eq!(bench.push(0, appliance, plan(&first), &first).unwrap().completion, Completion::Confirmed);
    bench.pass(1_000);
    bench.restart();
    bench.pass(3_000);
    bench.down.clear();
    for image in [signed_with(&key, 3, counter(Some(6))), signed_with(&key, 3, counter(None))] {
        let error = refused(&mut bench, appliance, &image, Cause::Downgrade);
        assert!(matches!(error, SendError::Downgrade { .. }), "{error:?}");
    }
    let next = signed_with(&key, 3, counter(Some(7)));
    assert_eq!(bench.push(0, appliance, plan(&next), &next).unwrap().completion, Completion::Confirmed);
}

#[test]
fn images_for_another_product_are_refused() {
    let (key, _) = keys();
    let (vendor, class) = ([1; 16], [2; 16]);
    let target = Target { vendor: Some(vendor), class: Some(class) };
    let wrong_class = signed_with(&key, 6, |o| (o.vendor, o.class) = (Some(vendor), Some([3; 16])));
    let wrong_vendor = signed_with(&key, 6, |o| (o.vendor, o.class) = (Some([3; 16]), Some(class)));
    for image in [signed(6, &key), wrong_class, wrong_vendor] {
        let (mut bench, appliance) = bench(&[trust(&key)], signed(5, &key));
        bench.relay.configure(appliance, 0, target);
        let error = refused(&mut bench, appliance, &image, Cause::WrongImage);
        assert_eq!(error, SendError::WrongImage { at: CommandKind::Verify });
    }
    let (mut bench, appliance) = bench(&[trust(&key)], signed(5, &key));
    bench.relay.configure(appliance, 0, target);
    let right = signed_with(&key, 6, |o| (o.vendor, o.class) = (Some(vendor), Some(class)));
    assert_eq!(bench.push(0, appliance, plan(&right), &right).unwrap().completion, Completion::Confirmed);
}

#[test]
fn a_link_says_what_its_appliances_take_unless_one_is_configured_otherwise() {
    let (key, _) = keys();
    let made_for = |n| {
        signed_with(&key, 6, move |o: &mut mcuboot_image::sign::SignOptions| {
            (o.vendor, o.class) = (Some([n; 16]), None);
        })
    };
    let product = |n| Target { vendor: Some([n; 16]), class: None };
    let new = || {
        let mut bench = Bench::for_product(Config::new(100_000), &[trust(&key)], product(1));
        let appliances =
            [(0, 0xA1), (0, 0xA2), (1, 0xB1)].map(|(link, n)| bench.add(link, n, signed(5, &key)));
        bench.relay.configure(appliances[0], 0, Target::default());
        bench.relay.configure(appliances[1], 0, product(2));
        bench.pass(2_000);
        bench.down.clear();
        (bench, appliances)
    };
    // For the first of its link's product, for the second of its own; nobody has said what the third takes.
    for (nth, other) in [(0, Some(2)), (1, Some(1)), (2, None)] {
        if let Some(other) = other {
            let (mut bench, appliances) = new();
            refused(&mut bench, appliances[nth], &made_for(other), Cause::WrongImage);
        }
        let (mut bench, appliances) = new();
        let image = made_for(if nth == 1 { 2 } else { 1 });
        let report = bench.push(0, appliances[nth], plan(&image), &image).unwrap();
        assert_eq!(report.completion, Completion::Confirmed, "{nth}");
    }
}

#[test]
fn root_mode_lets_the_unsigned_pass_and_puts_it_on_record() {
    let (key, _) = keys();
    let (mut bench, appliance) = bench(&[trust(&key)], signed(5, &key));
    bench.relay.set_time(bench.now_ms, 1_800_000_000);
    bench.relay.root_arm(bench.now_ms);
    bench.relay.root_confirm(bench.now_ms).unwrap();
    bench.run();
    assert!(bench.relay.root().is_on());
    // It outlives the power.
    bench.restart();
    assert!(bench.relay.root().is_on());
    bench.relay.set_time(bench.now_ms, 1_800_000_100);
    let image = not_signed(6);
    assert_eq!(bench.push(0, appliance, plan(&image), &image).unwrap().completion, Completion::Confirmed);
    let records = bench.store.audit();
    assert_eq!(
        records.iter().map(|r| r.kind).collect::<Vec<_>>(),
        [AuditKind::RootEnabled, AuditKind::UnsignedReleased]
    );
    assert_eq!(records[0].unix_s, Some(1_800_000_000));
    assert_eq!((records[1].digest, records[1].address), (digest(&image), appliance));
    assert!(records[1].unix_s.unwrap() >= 1_800_000_100);
    // The hash still counts, and so does the version.
    bench.down.clear();
    let mut damaged = not_signed(7);
    damaged[1_000] ^= 1;
    let flipped = Plan::push(damaged.len().try_into().unwrap(), digest(&damaged), None);
    let error = bench.push(0, appliance, flipped, &damaged).unwrap_err();
    assert!(matches!(error, SendError::HashMismatch { .. }), "{error:?}");
    refused(&mut bench, appliance, &not_signed(4), Cause::Downgrade);
    // The second switch.
    bench.relay.root_downgrade(true).unwrap();
    bench.run();
    let older = not_signed(4);
    assert_eq!(bench.push(0, appliance, plan(&older), &older).unwrap().completion, Completion::Confirmed);
    // Off again, with a confirmation; both switches are.
    bench.relay.root_ask_off(bench.now_ms).unwrap();
    assert!(bench.relay.root().is_on());
    bench.relay.root_confirm(bench.now_ms).unwrap();
    bench.run();
    assert!(!bench.relay.root().is_on() && !bench.relay.root().allows_downgrade());
    bench.down.clear();
    refused(&mut bench, appliance, &not_signed(8), Cause::SignatureInvalid);
    let last = bench.store.audit().last().unwrap().kind;
    assert_eq!(last, AuditKind::RootDisabled);
}

#[test]
fn root_mode_counts_only_when_it_is_on_record() {
    let (key, _) = keys();
    let (mut bench, _) = bench(&[trust(&key)], signed(5, &key));
    bench.store.failing = Some(|op| matches!(op, StoreOp::Sync { file: File::Audit }));
    bench.relay.root_arm(bench.now_ms);
    bench.relay.root_confirm(bench.now_ms).unwrap();
    bench.run();
    assert!(!bench.relay.root().is_on());
    assert!(bench.events.contains(&Event::StoreFailed(File::Audit)));
}

/// The audit file becomes the old one, and the store says that it failed all the same.
#[test]
fn a_rotation_that_failed_late_does_not_stand_in_the_way_of_later_records() {
    let (key, _) = keys();
    let (mut bench, _) = bench(&[trust(&key)], signed(5, &key));
    bench.relay.root_arm(bench.now_ms);
    bench.relay.root_confirm(bench.now_ms).unwrap();
    bench.run();
    let (record, synced) = &bench.store.files[&File::Audit];
    let full = (record.repeat(AUDIT_MAX as usize), synced * AUDIT_MAX as usize);
    bench.store.files.insert(File::Audit, full);
    bench.restart();
    assert_eq!(bench.relay.audit_records(), AUDIT_MAX);
    let off = |bench: &mut Bench| {
        bench.relay.root_ask_off(bench.now_ms).unwrap();
        bench.relay.root_confirm(bench.now_ms).unwrap();
        bench.run();
    };
    bench.store.failing_late = Some(|op| matches!(op, StoreOp::Commit { from: File::Audit, .. }));
    off(&mut bench);
    assert!(bench.relay.root().is_on() && !bench.store.has(File::Audit));
    bench.store.failing_late = None;
    off(&mut bench);
    assert!(!bench.relay.root().is_on());
    let kinds: Vec<_> = bench.store.audit().iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [AuditKind::RootDisabled]);
    assert_eq!(bench.store.files[&File::AuditOld].0.len(), AUDIT_MAX as usize * AuditRecord::LEN);
    // As does one that failed before anything was done.
    let full = bench.store.files[&File::AuditOld].clone();
    bench.store.files.insert(File::Audit, full);
    bench.restart();
    bench.store.failing = Some(|op| matches!(op, StoreOp::Commit { from: File::Audit, .. }));
    for on in [false, true] {
        bench.relay.root_arm(bench.now_ms);
        bench.relay.root_confirm(bench.now_ms).unwrap();
        bench.run();
        assert_eq!(bench.relay.root().is_on(), on);
        bench.store.failing = None;
    }
    assert_eq!(bench.store.audit().len(), 1);
}

#[test]
fn nothing_that_a_client_can_send_changes_root_mode() {
    let (key, _) = keys();
    let (mut bench, appliance) = bench(&[trust(&key)], signed(5, &key));
    // Armed: the worst moment.
    bench.relay.root_arm(bench.now_ms);
    let mut seed = 0x1234_5678_u32;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        seed
    };
    for code in 0..=255_u8 {
        for operation in 0..32_u8 {
            let mut payload = vec![0x82, 0x18, code, 0xA5, 0, 0x1A, 0x52, 0x4B, 0x4E, 0x44, 1, 1, 2, 0x18];
            payload.extend([operation, 3, (random() & 0x17) as u8, 4, (random() & 0x17) as u8]);
            for address in [Address::STATELESS, Address::BROADCAST, appliance] {
                while !bench.relay.wants(0) {
                    bench.run();
                }
                bench.client_bytes(0, address, &payload);
            }
        }
    }
    bench.up.clear();
    assert!(!bench.relay.root().is_on());
    assert!(bench.store.audit().is_empty());
}

#[test]
fn a_key_revoked_on_the_way_stops_the_transfer() {
    let (key, _) = keys();
    let (mut bench, appliance) = bench(&[trust(&key)], signed(5, &key));
    let image = signed(6, &key);
    let stop = Plan { activate: false, ..plan(&image) };
    bench.push(0, appliance, stop, &image).unwrap();
    let revoked = TrustedKey { revoked: true, ..trust(&key) };
    bench.relay.set_keys(Keys::new(&[revoked]).unwrap());
    bench.down.clear();
    bench.pass(60_000);
    let entry = bench.entry(appliance);
    assert_eq!((entry.outcome, entry.cause), (RosterOutcome::Forbidden, Cause::SignatureInvalid));
    assert_eq!(updates(&bench, appliance), 0, "and what it has verified is not activated");
}
