// SPDX-License-Identifier: Apache-2.0
//! SIGKILL on the controller and on its buses, at random moments of a campaign: it ends as if nothing had happened. Only a
//! device whose power goes while its new image is under test goes back to the old one, is reported so, and takes the image
//! with the next push.
//!
//! One of the buses has a single device, so that its power goes alone.
//!
//! An ordinary run kills 3 times on either side; REKINDLE_KILLS=50 is the long run. REKINDLE_SEED replays one (the moments are then
//! the same, the scheduler's mood is not).
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
use std::env;
use std::path::Path;
use std::process::{Child, Stdio};

use bench::{Process, ask, await_devices, bus, relay};
use common::{Desk, program};
use rekindle_sim::rng::Rng;
use serde_json::Value;

/// Kills in one campaign.
const KILLS_EACH: u64 = 3;
const BUSES: usize = 3;
/// The push has found the controller by then.
const CONNECTED: Duration = Duration::from_millis(500);

/// The bus that a device is on, by the letter in its address.
fn bus_of(address: &str) -> usize {
    "abc".find(address.trim_start_matches('0').chars().next().unwrap()).unwrap()
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

#[test]
fn a_campaign_survives_kill_on_either_side() {
    let (kills, seed) = (number("REKINDLE_KILLS", 3), number("REKINDLE_SEED", 1));
    eprintln!("seed {seed}, {kills} kills of the controller and {kills} of buses");
    let mut rng = Rng::new(seed).fork(0x2E1A);
    let desk = Desk::new();
    let old = desk.image("1.0.0", 20_000, "");
    // Slow enough that a kill hits every part of a campaign.
    let slow = ["--link-rate", "60000"];
    let mut buses = [
        bus(&desk, "north", &["a1", "a2", "a3"], &old, &[&slow[..], &["--broken", "a2"]].concat()),
        bus(&desk, "south", &["b1", "b2"], &old, &slow),
        bus(&desk, "east", &["c1"], &old, &slow),
    ];
    let mut relay = relay(&desk, &[&buses[0], &buses[1], &buses[2]], "");
    await_devices(&relay, 6);
    let (mut of_relay, mut of_buses) = (kills, kills);
    let mut round = 2;
    while of_relay + of_buses > 0 {
        let image = desk.image(&format!("{round}.0.0"), 48 * 1024 + 13, "");
        let push = push(&relay, &image);
        let mut cut = [false; BUSES];
        // Who does not find the controller at all is told so at once.
        std::thread::sleep(CONNECTED);
        for _ in 0..KILLS_EACH.min(of_relay + of_buses) {
            std::thread::sleep(Duration::from_millis(rng.below(4_000)));
            let victim = if rng.below(of_relay + of_buses) < of_relay {
                of_relay -= 1;
                &mut relay
            } else {
                of_buses -= 1;
                let bus = usize::try_from(rng.below(BUSES as u64)).unwrap();
                cut[bus] = true;
                &mut buses[bus]
            };
            victim.power_off();
            std::thread::sleep(Duration::from_millis(rng.below(300)));
            victim.power_on();
        }
        let told = Told::of(push, format!("seed {seed}, round {round}, buses cut: {cut:?}"));
        let reverted = told.check(round, cut);
        // One that lost its power with the new image under test has gone back, as it must; it takes it in peace.
        if reverted {
            eprintln!("round {round}: a cut during a self-test");
            let told = Told::of(self::push(&relay, &image), format!("seed {seed}, round {round} again"));
            assert!(!told.check(round, [false; BUSES]), "{}", told.text);
        }
        let empty = || !Path::new(&desk.path("store/image")).exists();
        common::eventually("the image is removed", empty);
        assert_eq!(ask(&relay, &["campaign", "show"]).last()["stored"], "NONE");
        round += 1;
    }
}

fn push(relay: &Process, image: &str) -> Child {
    program()
        .args(["--json", "push", image, "--to", &relay.target, "--all", "--patience", "240"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a push said.
struct Told {
    summary: Value,
    text: String,
}

impl Told {
    #[track_caller]
    fn of(push: Child, what: String) -> Self {
        let output = push.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let text = format!("{what}:\n{stdout}\n{stderr}");
        assert_eq!(output.status.code(), Some(10), "{text}");
        let mut lines = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let summary = lines.find(|line| line["event"] == "summary").unwrap_or_else(|| panic!("{text}"));
        Self { summary, text }
    }

    /// Every device runs the image, but for the broken one, and for those whose bus was cut and that went back to the
    /// image of the round before; returns whether there are any.
    #[track_caller]
    fn check(&self, round: u64, cut: [bool; BUSES]) -> bool {
        let (new, old) = (format!("{round}.0.0"), format!("{}.0.0", round - 1));
        let mut reverted = false;
        for device in self.summary["devices"].as_array().unwrap() {
            let address = device["address"].as_str().unwrap();
            let said = (device["outcome"].as_str().unwrap(), device["version"].as_str().unwrap());
            if address.ends_with("a2") {
                assert_eq!(said, ("REVERTED", "1.0.0"), "{device}: {}", self.text);
            } else if said == ("REVERTED", &old) && cut[bus_of(address)] {
                reverted = true;
            } else {
                assert!(matches!(said.0, "CONFIRMED" | "ALREADY_RUNNING"), "{device}: {}", self.text);
                assert_eq!(said.1, new, "{}", self.text);
            }
        }
        reverted
    }
}
