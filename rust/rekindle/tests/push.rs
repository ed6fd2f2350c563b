// SPDX-License-Identifier: Apache-2.0
//! Updates of a virtual device by the command line, over every transport, to every end.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "tests stop at the first surprise"
)]

mod common;

use core::time::Duration;
use std::io::{BufRead as _, BufReader};
use std::process::Child;

use common::{ADDRESS, Desk, Device, program, run, signal};
use serde_json::Value;

/// A device that runs 1.0.0 and trusts the desk's key.
fn device(desk: &Desk, listen: &str, more: &[&str]) -> Device {
    let old = desk.image("1.0.0", 20_000, "");
    let key = desk.path("key.pub.pem");
    Device::start(listen, &desk.path("flash"), &old, &[&["--key", &key][..], more].concat())
}

fn push(device: &Device, image: &str, more: &[&str]) -> common::Ran {
    device.ask(&[&["push", image][..], more].concat())
}

#[test]
fn an_update_goes_over_every_transport_and_is_confirmed() {
    let desk = Desk::new();
    let image = desk.image("2.0.0", 50_000, "");
    let unix = format!("unix://{}", desk.path("uart"));
    let tty = format!("pty:{}", desk.path("tty"));
    for listen in ["tcp://127.0.0.1:0", "ws://127.0.0.1:0", &unix, &tty] {
        let _ = std::fs::remove_file(desk.path("flash"));
        let device = device(&desk, listen, &[]);
        let found = run(&["--json", "discover", "--to", &device.target]).last();
        assert_eq!(found["address"], "00000000feed0001", "{listen}");
        assert_eq!(found["info"]["version"], "1.0.0", "{listen}");

        let done = push(&device, &image, &[]).says(0, "").last();
        assert_eq!(done["completion"], "confirmed", "{listen}");
        assert_eq!(done["info"]["version"], "2.0.0", "{listen}");
        assert_eq!(done["bytes_again"], 0, "{listen}: a clean link needs nothing twice");

        let again = push(&device, &image, &[]).says(0, "").last();
        assert_eq!(again["completion"], "already_running", "{listen}");
        assert_eq!(again["bytes_sent"], 0, "{listen}");
        let status = device.ask(&["status"]).says(0, "").last();
        assert_eq!(status["info"]["version"], "2.0.0", "{listen}");
        assert_eq!(status["outcome"]["outcome"], "CONFIRMED", "{listen}");
    }
}

#[test]
fn an_image_that_fails_its_self_test_is_reported_as_reverted() {
    let desk = Desk::new();
    let device = device(&desk, "tcp://127.0.0.1:0", &[]);
    let bad = desk.image("2.0.0", 30_000, "rekindle-self-test=fail:4:-12\0");
    let ran = push(&device, &bad, &[]);
    ran.says(7, "stage 4 with code -12");
    let lines = ran.json();
    let done = lines.iter().find(|line| line["event"] == "done").unwrap();
    assert_eq!(done["completion"], "reverted");
    assert_eq!(done["info"]["version"], "1.0.0");
    device.ask(&["status"]).says(0, "REVERTED");
    // A good one goes straight after.
    let good = desk.image("3.0.0", 30_000, "");
    assert_eq!(push(&device, &good, &[]).says(0, "").last()["completion"], "confirmed");
    // Both are still on record, the newest first.
    let status = device.ask(&["status"]).says(0, "").last();
    let told: Vec<_> = status["outcomes"].as_array().unwrap().iter().collect();
    assert_eq!(told.iter().map(|one| &one["outcome"]).collect::<Vec<_>>(), ["CONFIRMED", "REVERTED"]);
    assert_eq!((&told[1]["stage"], &told[1]["code"]), (&4.into(), &(-12).into()));
}

#[test]
fn an_image_that_crashes_is_reported_as_reverted() {
    let desk = Desk::new();
    let device = device(&desk, "tcp://127.0.0.1:0", &[]);
    let bad = desk.image("2.0.0", 30_000, "rekindle-self-test=crash\0");
    push(&device, &bad, &[]).says(7, "went back to 1.0.0");
}

#[test]
fn a_wrong_key_is_refused_by_the_bootloader_or_before_anything_is_sent() {
    let (desk, other) = (Desk::new(), Desk::new());
    let device = device(&desk, "tcp://127.0.0.1:0", &[]);
    let foreign = other.image("2.0.0", 30_000, "");
    push(&device, &foreign, &["--key", &desk.path("key.pub.pem")]).says(3, "not signed with this key");
    assert_eq!(device.ask(&["status"]).last()["status"]["state"], "IDLE");
    push(&device, &foreign, &[]).says(7, "refused the new image");
    assert_eq!(device.ask(&["status"]).last()["info"]["version"], "1.0.0");
}

#[test]
fn a_device_that_checks_signatures_refuses_a_wrong_key_itself() {
    let (desk, other) = (Desk::new(), Desk::new());
    let device = device(&desk, "tcp://127.0.0.1:0", &["--check-signature"]);
    push(&device, &other.image("2.0.0", 30_000, ""), &[]).says(5, "signature");
    assert_eq!(device.ask(&["status"]).last()["status"]["state"], "IDLE");
    push(&device, &desk.image("2.0.0", 30_000, ""), &[]).says(0, "");
    assert_eq!(device.ask(&["status"]).last()["info"]["version"], "2.0.0");
}

#[test]
fn verify_now_activate_later() {
    let desk = Desk::new();
    let device = device(&desk, "tcp://127.0.0.1:0", &[]);
    device.ask(&["activate"]).says(5, "push the image first");
    let image = desk.image("2.0.0", 30_000, "");
    assert_eq!(push(&device, &image, &["--no-activate"]).says(0, "").last()["completion"], "verified");
    assert_eq!(device.ask(&["status"]).last()["status"]["state"], "VERIFIED");
    assert_eq!(device.ask(&["activate"]).says(0, "").last()["completion"], "confirmed");
    assert_eq!(device.ask(&["status"]).last()["info"]["version"], "2.0.0");
}

#[test]
fn an_image_that_does_not_fit_and_a_device_that_is_not_there() {
    let desk = Desk::new();
    let device = device(&desk, "tcp://127.0.0.1:0", &[]);
    let large = desk.image("2.0.0", 900_000, "");
    push(&device, &large, &[]).says(5, "does not fit");
    let to = ["--to", &device.target, "--address", "77"];
    run(&[&["status"][..], &to].concat()).says(4, "does not answer");
}

#[test]
fn two_devices_never_share_a_flash() {
    let desk = Desk::new();
    let first = device(&desk, "tcp://127.0.0.1:0", &[]);
    let flash = first.flash.to_str().unwrap();
    run(&["simulate", "appliance", "--listen", "tcp://127.0.0.1:0", "--flash", flash]).says(3, "in use");
}

/// A push under way, up to the event asked for.
fn push_until(device: &Device, image: &str, event: &str) -> Child {
    let mut child = program()
        .args(["--json", "push", image, "--to", &device.target, "--address", ADDRESS])
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    loop {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the push ended before `{event}`");
        let json: Value = serde_json::from_str(&line).unwrap();
        if json["event"] == event {
            break;
        }
    }
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    child
}

#[test]
fn control_c_leaves_a_session_that_goes_on_and_says_how() {
    let desk = Desk::new();
    let device = device(&desk, "tcp://127.0.0.1:0", &["--link-rate", "50000"]);
    let image = desk.image("2.0.0", 60_000, "");
    let child = push_until(&device, &image, "progress");
    std::thread::sleep(Duration::from_millis(400));
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("run the same command again") && said.contains("rekindle abort --to"), "{said}");

    let status = device.ask(&["status"]).last();
    assert_eq!(status["status"]["state"], "RECEIVING");
    let kept = status["status"]["offset"].as_u64().unwrap();
    assert!(kept > 5_000 && kept < 60_000, "{kept}");

    // Another image has to wait for the first, until somebody aborts it.
    let other = desk.image("3.0.0", 40_000, "");
    push(&device, &other, &[]).says(5, "another update");
    let done = push(&device, &image, &[]).says(0, "").last();
    assert_eq!(done["completion"], "confirmed");
    let resumed = done["resumed_at"].as_u64().unwrap();
    assert!(resumed >= kept, "resumed at {resumed}, the device kept {kept}");
}

#[test]
fn control_c_after_activation_does_not_offer_to_resume_or_give_up() {
    let desk = Desk::new();
    // A swap that takes a while: the power goes before it is over.
    let mut device = device(&desk, "tcp://127.0.0.1:0", &["--erase-ms", "50"]);
    let image = desk.image("2.0.0", 30_000, "");
    let child = push_until(&device, &image, "activated");
    device.power_off();
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("activated") && said.contains("rekindle status --to"), "{said}");
    assert!(!said.contains("rekindle abort") && !said.contains("same command"), "{said}");
    device.power_on();
    assert_eq!(push(&device, &image, &[]).says(0, "").last()["completion"], "confirmed");
}

#[test]
fn abort_makes_room_for_another_image() {
    let desk = Desk::new();
    let device = device(&desk, "tcp://127.0.0.1:0", &["--link-rate", "50000"]);
    let image = desk.image("2.0.0", 60_000, "");
    let mut child = push_until(&device, &image, "progress");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(device.ask(&["abort"]).says(0, "").last()["completion"], "aborted");
    assert_eq!(device.ask(&["status"]).last()["status"]["state"], "IDLE");
    let other = desk.image("3.0.0", 20_000, "");
    assert_eq!(push(&device, &other, &[]).says(0, "").last()["completion"], "confirmed");
}

#[test]
fn a_device_that_stays_away_leaves_a_resumable_transfer() {
    let desk = Desk::new();
    let mut device = device(&desk, "tcp://127.0.0.1:0", &["--link-rate", "50000"]);
    let image = desk.image("2.0.0", 60_000, "");
    let patience = ["push", &image, "--patience", "2"];
    let args = [&["--json"][..], &patience, &["--to", &device.target, "--address", ADDRESS]].concat();
    let child = program().args(args).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    device.power_off();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("the device keeps") && said.contains("it resumes"), "{said}");
    device.power_on();
    let done = push(&device, &image, &[]).says(0, "").last();
    assert!(done["resumed_at"].as_u64().unwrap() > 0);
}

#[test]
fn the_demonstration_ends_well() {
    let ran = run(&["--json", "demo"]);
    ran.says(0, "demo_done");
    let seconds = ran.last()["seconds"].as_f64().unwrap();
    assert!(seconds < 60.0, "{seconds} s");
    let ends: Vec<_> =
        ran.json().iter().filter(|l| l["event"] == "demo_step").count().to_string().into_bytes();
    assert_eq!(ends, b"5");
}
