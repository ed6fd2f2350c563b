// SPDX-License-Identifier: Apache-2.0
//! What the controller refuses never reaches a bus; and root mode, which is switched on its own machine only.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod common;

use common::*;
use fusain::relay::{CampaignFlags, Cause, RosterOutcome, Stored};
use fusain::{Address, Extension, Mode, PAYLOAD_MAX};
use mcuboot_image::digest::Sha256;
use mcuboot_image::sign::{SigningKey, sign, vendor_uuid};
use rekindle_client::controller;
use rekindle_client::drive::DriveError;
use rekindle_relay::AuditKind;
use rekindle_session::sender::{CommandKind, Completion, SendError};

const LISTEN: &str = "url = \"tcp://127.0.0.1:0\"";

#[track_caller]
fn refused(running: &Running, bus: &Bus, image: &[u8], cause: Cause) -> SendError {
    let error = match *running.push(0xA1, image).unwrap_err() {
        DriveError::Gave { error, .. } => error,
        other => panic!("{other:?}"),
    };
    let entry = running.entry(0xA1);
    assert_eq!((entry.outcome, entry.cause), (RosterOutcome::Forbidden, cause));
    assert_eq!(bus.updates(0xA1), 0, "nothing of it reaches the bus");
    assert_eq!(running.campaign().stored, Stored::None, "it is not kept");
    error
}

#[test]
fn each_image_that_policy_forbids_is_refused_with_its_name() {
    let desk = Desk::new();
    let (stranger, revoked) = (SigningKey::generate_p256().unwrap(), SigningKey::generate_ed25519().unwrap());
    desk.write("revoked.pub.pem", revoked.public_key().to_pem().as_bytes(), 0o644);
    let bus = Bus::new(&[0xA1], &signed(5, 9_000, &desk.key));
    let tail = "[[key]]\nfile = \"revoked.pub.pem\"\nrevoked = true\n\
                [[appliance]]\naddress = \"a1\"\nlink = \"bus0\"\nvendor = \"example.com\"\n";
    let running = Running::start(desk.settings("", &[LISTEN], &[&bus], tail));
    running.await_appliances(1);
    let of_vendor = |version: u8, vendor: &str, key: &SigningKey| {
        let mut options = options(version);
        options.vendor = Some(vendor_uuid(vendor).unwrap());
        sign(&body(version, 9_000), &options, key).unwrap()
    };
    for image in [not_signed(6, 9_000), signed(6, 9_000, &stranger), signed(6, 9_000, &revoked)] {
        let error = refused(&running, &bus, &image, Cause::SignatureInvalid);
        assert_eq!(error, SendError::SignatureInvalid { at: CommandKind::Verify });
    }
    let older = of_vendor(4, "example.com", &desk.key);
    let error = refused(&running, &bus, &older, Cause::Downgrade);
    assert!(matches!(error, SendError::Downgrade { .. }), "{error:?}");
    let foreign = of_vendor(6, "example.org", &desk.key);
    let error = refused(&running, &bus, &foreign, Cause::WrongImage);
    assert!(matches!(error, SendError::WrongImage { .. }), "{error:?}");
    // The right one goes straight after.
    let right = of_vendor(6, "example.com", &desk.key);
    assert_eq!(running.push(0xA1, &right).unwrap().completion, Completion::Confirmed);
    assert!(bus.updates(0xA1) > 90);
    assert!(rekindle_router::audit(&desk.path("store")).unwrap().is_empty());
}

fn status(desk: &Desk) -> String {
    std::fs::read_to_string(desk.path("store/root-mode")).unwrap_or_default()
}

/// Writes into the administrator's file, and confirms with the code that the daemon gives.
fn confirmed(desk: &Desk, wish: &str, then: &str) {
    desk.write("root-mode", wish.as_bytes(), 0o644);
    let asked = format!("asked: {wish} ");
    eventually("a code", || status(desk).contains(&asked));
    let text = status(desk);
    let code = text.lines().find_map(|line| line.strip_prefix(&asked)).unwrap().to_owned();
    desk.write("root-mode", format!("confirm {code}").as_bytes(), 0o644);
    eventually(wish, || status(desk) == format!("{then}\n"));
}

#[test]
fn root_mode_takes_the_administrators_file_and_a_confirmation_and_is_on_record() {
    let desk = Desk::new();
    let bus = Bus::new(&[0xA1], &signed(5, 9_000, &desk.key));
    let settings = || {
        let settings = desk.settings("root-mode-file = \"root-mode\"", &[LISTEN], &[&bus], "");
        settings.with_administrator(me(desk.folder.path()))
    };
    let running = Running::start(settings());
    running.await_appliances(1);
    let image = not_signed(6, 9_000);
    refused(&running, &bus, &image, Cause::SignatureInvalid);

    // The wish alone changes nothing, and neither does a wrong code or a file that others can write.
    desk.write("root-mode", b"enable", 0o644);
    eventually("a code", || status(&desk).contains("asked: enable "));
    assert!(!running.campaign().flags.contains(CampaignFlags::ROOT_MODE));
    desk.write("root-mode", b"confirm 0", 0o644);
    eventually("the wrong code is noticed", || status(&desk) == "off\n");
    desk.write("root-mode", b"enable", 0o666);
    std::thread::sleep(core::time::Duration::from_millis(1_500));
    assert_eq!(status(&desk), "off\n", "a file that others can write does not count");
    refused(&running, &bus, &image, Cause::SignatureInvalid);

    confirmed(&desk, "enable", "on");
    let flags = running.campaign().flags;
    assert!(flags.contains(CampaignFlags::ROOT_MODE) && !flags.contains(CampaignFlags::DOWNGRADE_ALLOWED));
    assert_eq!(running.push(0xA1, &image).unwrap().completion, Completion::Confirmed);
    // A hash that is wrong stays wrong, and an older one needs the second switch.
    let older = not_signed(3, 9_000);
    let error = running.push(0xA1, &older).unwrap_err();
    assert!(matches!(*error, DriveError::Gave { error: SendError::Downgrade { .. }, .. }), "{error:?}");
    confirmed(&desk, "allow-downgrade", "on, downgrades allowed");
    assert_eq!(running.push(0xA1, &older).unwrap().completion, Completion::Confirmed);
    confirmed(&desk, "disable", "off");
    drop(running);

    let records = rekindle_router::audit(&desk.path("store")).unwrap();
    let kinds: Vec<AuditKind> = records.iter().map(|record| record.kind).collect();
    assert_eq!(
        kinds,
        [
            AuditKind::RootEnabled,
            AuditKind::UnsignedReleased,
            AuditKind::DowngradeAllowed,
            AuditKind::UnsignedReleased,
            AuditKind::RootDisabled
        ]
    );
    assert_eq!((records[1].digest, records[1].address), (Sha256::digest(&image), Address::new(0xA1)));
    assert!(records.iter().all(|record| record.unix_s.is_some_and(|seconds| seconds > 1_700_000_000)));
    // It was off when the daemon stopped, and is after a restart: the file that still lies there is not enough.
    let running = Running::start(settings());
    running.await_appliances(1);
    assert!(!running.campaign().flags.contains(CampaignFlags::ROOT_MODE));
}

#[test]
fn no_message_sets_root_mode() {
    let desk = Desk::new();
    let bus = Bus::new(&[0xA1], &signed(5, 9_000, &desk.key));
    let head = "root-mode-file = \"root-mode\"";
    let settings = desk.settings(head, &[LISTEN], &[&bus], "").with_administrator(me(desk.folder.path()));
    let running = Running::start(settings);
    running.await_appliances(1);
    let mut link = running.link();
    // Every operation that is not defined, with the fields that a switch might have, in every shape of flags.
    for operation in (0..=255_u8).filter(|operation| !(16..=21).contains(operation)) {
        for value in [0xF5, 0x01, 0x03] {
            let payload = [
                0x82, 0x18, 0x46, 0xA5, 0x00, 0x1A, 0x52, 0x4B, 0x4E, 0x44, 0x01, 0x01, 0x02, 0x18,
                operation, 0x03, value, 0x07, value,
            ];
            link.send_payload(Address::STATELESS, &payload).unwrap();
        }
    }
    // What the controller itself says, said to it, with root mode in its flags.
    let mut said = controller::campaign(&mut link).unwrap();
    said.flags = said.flags.with(CampaignFlags::ROOT_MODE, true).with(CampaignFlags::DOWNGRADE_ALLOWED, true);
    let mut payload = [0; PAYLOAD_MAX];
    let len = fusain::relay::Relay::Campaign(said).encode(&mut payload).unwrap();
    link.send_payload(Address::STATELESS, &payload[..len]).unwrap();
    let len = Extension::InfoRequest.encode(&mut payload).unwrap();
    link.send_payload(Address::STATELESS, &payload[..len]).unwrap();
    let campaign = controller::campaign(&mut link).unwrap();
    assert!(!campaign.flags.contains(CampaignFlags::ROOT_MODE), "{campaign:?}");
    assert_eq!(status(&desk), "off\n");
    refused(&running, &bus, &not_signed(6, 9_000), Cause::SignatureInvalid);
    assert!(rekindle_router::audit(&desk.path("store")).unwrap().is_empty());
}

#[test]
fn a_plan_that_the_controller_cannot_keep_is_refused() {
    let desk = Desk::new();
    let (north, south) =
        (Bus::new(&[0xA1], &signed(5, 9_000, &desk.key)), Bus::new(&[0xA2], &signed(5, 9_000, &desk.key)));
    let running = Running::start(desk.settings("image-max = 20000", &[LISTEN], &[&north, &south], ""));
    running.await_appliances(2);
    let mut link = running.link();
    let mut plan = |address: u64, size: u32| {
        let said = controller::plan(&mut link, Address::new(address), (size, [7; 32]), Mode::Test);
        said.map(|entry| entry.address).map_err(|error| error.to_string())
    };
    let unknown = fusain::Constraint::IndexNotFound.to_string();
    let large = fusain::Constraint::ImageTooLarge.to_string();
    assert!(plan(0xA9, 9_000).is_err_and(|said| said.contains(&unknown)));
    assert!(plan(0xA1, 20_001).is_err_and(|said| said.contains(&large)));
    assert_eq!(plan(0xA1, 20_000), Ok(Address::new(0xA1)));
    let cancelled = controller::cancel(&mut link, None).unwrap();
    assert_eq!((cancelled.open, cancelled.stored), (0, Stored::None));
}
