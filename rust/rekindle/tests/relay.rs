// SPDX-License-Identifier: Apache-2.0
//! The command line with a controller: campaigns over several devices, and what the controller says of them.
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

#[path = "common/relay.rs"]
mod bench;
mod common;

use core::time::Duration;
use std::time::Instant;

use bench::{Process, ask, await_devices, bus, relay};
use common::{Desk, Ran, program, run};
use serde_json::Value;

/// What the summary says of a device.
fn said<'a>(summary: &'a Value, address: &str) -> &'a Value {
    let devices = summary["devices"].as_array().unwrap();
    devices.iter().find(|device| device["address"].as_str().unwrap().ends_with(address)).unwrap()
}

fn summary(ran: &Ran) -> Value {
    let lines = ran.json();
    lines.into_iter().find(|line| line["event"] == "summary").unwrap_or_else(|| panic!("no summary: {ran:?}"))
}

/// A device that does not answer is given up after some minutes. The long run waits for that, the ordinary one takes its
/// update back.
fn waits_for_the_silent() -> bool {
    std::env::var_os("REKINDLE_KILLS").is_some()
}

/// The store holds no image.
fn is_empty(desk: &Desk) -> bool {
    !std::path::Path::new(&desk.path("store/image")).exists()
}

#[test]
fn one_command_updates_two_buses_and_tells_the_truth_about_each_device() {
    let waits = waits_for_the_silent();
    let desk = Desk::new();
    let old = desk.image("1.0.0", 20_000, "");
    let five = ["a1", "a2", "a3", "a4", "a5"];
    // The fifth place of the first bus is unplugged, and the self-test of the fourth fails.
    let north = bus(&desk, "north", &five[..4], &old, &["--broken", "a4"]);
    let south = bus(&desk, "south", &["b1", "b2"], &old, &[]);
    let relay = relay(&desk, &[&north, &south], "[[appliance]]\naddress = \"a5\"\nlink = \"bus0\"\n");
    await_devices(&relay, 6);
    let image = desk.image("2.0.0", 60_000, "");
    let campaign = std::thread::scope(|scope| {
        let push = scope.spawn(|| ask(&relay, &["push", &image, "--all", "--patience", "30"]));
        // The one that is away keeps the image there, and nobody from being done.
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let shown = ask(&relay, &["campaign", "show"]).last();
            if shown["open"] == 1 && shown["stored"] == "APPROVED" {
                break;
            }
            assert!(Instant::now() < deadline && !push.is_finished(), "{shown}");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(!is_empty(&desk), "the one that is away still needs it");
        if !waits {
            ask(&relay, &["campaign", "cancel", "--address", "a5"]).says(0, "\"open\":0");
        }
        push.join().unwrap()
    });
    campaign.says(10, "5 of 7 devices run the image");
    let summary = summary(&campaign);
    assert_eq!((&summary["ok"], &summary["failed"]), (&5.into(), &2.into()));
    for address in ["a1", "a2", "a3", "b1", "b2"] {
        let said = said(&summary, address);
        assert_eq!((&said["outcome"], &said["version"]), (&"CONFIRMED".into(), &"2.0.0".into()), "{said}");
    }
    let broken = said(&summary, "a4");
    assert_eq!((&broken["outcome"], &broken["version"]), (&"REVERTED".into(), &"1.0.0".into()), "{broken}");
    let away = said(&summary, "a5");
    let wanted = if waits { ("FAILED", "SILENT") } else { ("CANCELLED", "NONE") };
    assert_eq!((&away["outcome"], &away["cause"]), (&wanted.0.into(), &wanted.1.into()), "{away}");
    common::eventually("the image is removed when nobody needs it", || is_empty(&desk));

    let devices = ask(&relay, &["devices"]).says(0, "").json();
    assert_eq!(devices.len(), 7);
    let away: Vec<&str> =
        devices.iter().filter(|d| d["here"] == false).map(|d| d["address"].as_str().unwrap()).collect();
    assert_eq!(away, ["00000000000000a5"]);
    assert!(devices.iter().any(|d| d["outcome"] == "REVERTED" && d["version"] == "1.0.0"));
    // Once more: nothing is sent to those that run it, and the broken one is tried again by those who ask for it.
    let again = ask(&relay, &["push", &image, "--address", "a1", "--address", "b1"]);
    again.says(0, "\"ok\":2,\"failed\":0");
    assert_eq!(said(&self::summary(&again), "a1")["outcome"], "ALREADY_RUNNING");
    common::eventually("and it is removed again", || is_empty(&desk));
}

#[test]
fn people_get_a_line_for_each_device() {
    let desk = Desk::new();
    let old = desk.image("1.0.0", 20_000, "");
    let north = bus(&desk, "north", &["a1", "a2"], &old, &[]);
    let relay = relay(&desk, &[&north], "");
    await_devices(&relay, 2);
    let image = desk.image("2.0.0", 20_000, "");
    let to = relay.target.as_str();
    let ran = run(&["push", &image, "--to", to, "--address", "a1", "--address", "a2"]);
    ran.says(0, "2 of 2 devices run the image");
    assert!(ran.stdout.contains("00000000000000a1  confirmed, runs 2.0.0"), "{ran:?}");
    assert!(ran.stderr.contains("00000000000000a2  "), "{ran:?}");
    let listed = run(&["devices", "--to", to]);
    listed.says(0, "00000000000000a1  link 0, runs 2.0.0, last update confirmed");
    run(&["campaign", "show", "--to", to]).says(0, "no image on the controller");
    // What asks for a controller and meets none.
    run(&["devices", "--to", &north.target]).says(4, "no controller answers");
    run(&["push", &image, "--to", to, "--all", "--no-activate"]).says(2, "single device");
    run(&["push", &image, "--to", to]).says(2, "--address");
}

#[test]
fn a_bus_on_a_serial_line_with_one_pair_of_wires() {
    let desk = Desk::new();
    let old = desk.image("1.0.0", 20_000, "");
    let (flash, tty) = (desk.path("flash"), format!("pty:{}", desk.path("tty")));
    let line = ["simulate", "bus", "--listen", "LISTEN", "--flash", &flash, "--install", &old];
    let line = Process::start(&[&line[..], &["--address", "a1", "--address", "a2"]].concat(), &tty);
    let serial = format!("serial://{}?half-duplex=yes", desk.path("tty"));
    let config = format!(
        "store = \"store\"\n[[key]]\nfile = \"key.pub.pem\"\n[[listen]]\nurl = \"tcp://127.0.0.1:0\"\n\
         [[link]]\nname = \"field\"\nurl = \"{serial}\"\n"
    );
    let config = desk.write("serial.toml", config.as_bytes());
    let relay = Process::start(&["relay", "--config", &config], "");
    await_devices(&relay, 2);
    let image = desk.image("2.0.0", 20_000, "");
    ask(&relay, &["push", &image, "--all"]).says(0, "\"ok\":2,\"failed\":0");
    drop(line);
}

#[test]
fn one_image_that_policy_refuses_is_refused_for_everybody() {
    let (desk, other) = (Desk::new(), Desk::new());
    let old = desk.image("1.0.0", 20_000, "");
    let north = bus(&desk, "north", &["a1", "a2"], &old, &[]);
    let relay = relay(&desk, &[&north], "");
    await_devices(&relay, 2);
    let foreign = other.image("2.0.0", 20_000, "");
    let ran = ask(&relay, &["push", &foreign, "--all"]);
    ran.says(10, "0 of 2 devices");
    let summary = summary(&ran);
    for address in ["a1", "a2"] {
        let said = said(&summary, address);
        assert_eq!(
            (&said["outcome"], &said["cause"]),
            (&"FORBIDDEN".into(), &"SIGNATURE_INVALID".into()),
            "{said}"
        );
    }
    assert!(is_empty(&desk));
    // One by one, too, with the sender that direct pushes use.
    ask(&relay, &["push", &foreign, "--address", "a1"]).says(5, "signature");
}

#[test]
fn the_daemon_stops_in_good_order_and_keeps_its_store_to_itself() {
    let desk = Desk::new();
    let old = desk.image("1.0.0", 20_000, "");
    let north = bus(&desk, "north", &["a1"], &old, &[]);
    let mut relay = relay(&desk, &[&north], "");
    await_devices(&relay, 1);
    let config = desk.path("relay.toml");
    run(&["relay", "--config", &config]).says(3, "in use by another daemon");
    run(&["relay", "check", "--config", &config]).says(0, "is right");
    run(&["relay", "audit", "--config", &config]).says(0, "nothing is on record");
    run(&["relay", "root-mode", "show", "--config", &config]).says(0, "root mode is off");
    assert_eq!(relay.terminate(), Some(0));
    relay.power_on();
    await_devices(&relay, 1);

    let wrong = desk.write(
        "wrong.toml",
        b"store = \"s\"\n[[listen]]\nurl = \"tcp://0.0.0.0\"\n[[link]]\nname = \"x\"\nurl = \"tcp://h\"\n",
    );
    let ran = run(&["relay", "check", "--config", &wrong]);
    ran.says(3, "wrong.toml:3: listen.url: ");
    run(&["relay", "--config", &desk.path("nowhere.toml")]).says(3, "docs/relay.toml");
}

/// The administrator of this machine is user 0; another user's file must not count.
#[test]
fn root_mode_is_for_the_administrator() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let desk = Desk::new();
    let folder = desk.path("");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let old = desk.image("1.0.0", 20_000, "");
    let north = bus(&desk, "north", &["a1"], &old, &[]);
    let relay = relay(&desk, &[&north], "");
    await_devices(&relay, 1);
    let config = desk.path("relay.toml");
    let root_mode = |wish: &str| run(&["relay", "root-mode", wish, "--yes", "--config", &config]);
    if std::fs::metadata(&folder).unwrap().uid() != 0 {
        root_mode("enable").says(5, "does not take up");
        return;
    }
    run(&["relay", "root-mode", "enable", "--config", &config]).says(9, "add --yes");
    run(&["relay", "root-mode", "show", "--config", &config]).says(0, "root mode is off");
    root_mode("enable").says(0, "root mode is on");
    let warned = run(&["devices", "--to", &relay.target]);
    warned.says(0, "warning: root mode is on");
    assert_eq!(ask(&relay, &["campaign", "show"]).last()["root_mode"], true);
    let status = run(&["status", "--to", &relay.target, "--address", "a1"]);
    status.says(0, "warning: root mode is on").says(0, "runs         1.0.0");
    root_mode("allow-downgrade").says(0, "root mode is on, downgrades allowed");
    root_mode("enable").says(0, "root mode is on, downgrades allowed already");
    root_mode("disable").says(0, "root mode is off");
    root_mode("disable").says(0, "root mode is off already");
    root_mode("allow-downgrade").says(5, "does not take up");
    let audit = run(&["relay", "audit", "--config", &config]);
    audit.says(0, "Z  root mode enabled").says(0, "downgrades allowed").says(0, "root mode disabled");
}

/// Certificates are a matter of files, credentials of the environment.
#[test]
fn a_controller_behind_tls_and_a_token_is_reached() {
    use rcgen::{CertificateParams, KeyPair};
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new();
    let old = desk.image("1.0.0", 20_000, "");
    let north = bus(&desk, "north", &["a1"], &old, &[]);
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let ca = desk.write("server.pem", certificate.pem().as_bytes());
    desk.write("server.key", key.serialize_pem().as_bytes());
    let secrets = desk.write("secrets.toml", b"[tokens]\nci = \"0123456789abcdef\"\n");
    std::fs::set_permissions(secrets, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = desk.write(
        "tls.toml",
        format!(
            "store = \"store\"\n[[listen]]\nurl = \"wss://127.0.0.1:0\"\ncertificate = \"server.pem\"\n\
             private-key = \"server.key\"\nsecrets = \"secrets.toml\"\n[[link]]\nname = \"n\"\nurl = \"{}\"\n",
            north.target
        )
        .as_bytes(),
    );
    let relay = Process::start(&["relay", "--config", &config], "");
    run(&["devices", "--to", &relay.target]).says(4, "not connected over TLS");
    run(&["devices", "--to", &relay.target, "--ca", &ca]).says(4, "none are given");
    run(&["devices", "--to", &relay.target, "--ca", &desk.path("nowhere.pem")]).says(3, "nowhere.pem");
    let ask = |token: &str| {
        let output = program()
            .args(["devices", "--to", &relay.target, "--ca", &ca])
            .env("REKINDLE_TOKEN", token)
            .output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(ask("guess").0, Some(4));
    common::eventually("the device is there", || ask("0123456789abcdef").1.contains("runs 1.0.0"));
}
