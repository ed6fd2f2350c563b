// SPDX-License-Identifier: Apache-2.0
//! SIGKILL on the controller and on its buses, at random moments of a campaign: it ends as if nothing had happened.
//!
//! An ordinary run kills 6 times; REKINDLE_KILLS=50 is the long run. REKINDLE_SEED replays one (the moments are then
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
use std::process::Stdio;

use bench::{ask, await_devices, bus, relay};
use common::{Desk, program};
use rekindle_sim::rng::Rng;
use serde_json::Value;

/// Kills in one campaign.
const KILLS_EACH: u64 = 3;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

#[test]
fn a_campaign_survives_kill_on_either_side() {
    let (kills, seed) = (number("REKINDLE_KILLS", 6), number("REKINDLE_SEED", 1));
    eprintln!("seed {seed}, {kills} kills");
    let mut rng = Rng::new(seed).fork(0x2E1A);
    let desk = Desk::new();
    let old = desk.image("1.0.0", 20_000, "");
    // Slow enough that a kill hits every part of a campaign.
    let slow = ["--link-rate", "60000"];
    let mut buses = [
        bus(&desk, "north", &["a1", "a2", "a3"], &old, &[&slow[..], &["--broken", "a2"]].concat()),
        bus(&desk, "south", &["b1", "b2"], &old, &slow),
    ];
    let mut relay = relay(&desk, &[&buses[0], &buses[1]], "");
    await_devices(&relay, 5);
    let mut left = kills;
    let mut round = 2;
    while left > 0 {
        let version = format!("{round}.0.0");
        let image = desk.image(&version, 48 * 1024 + 13, "");
        let push = program()
            .args(["--json", "push", &image, "--to", &relay.target, "--all", "--patience", "240"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let here = left.min(KILLS_EACH);
        left -= here;
        for _ in 0..here {
            std::thread::sleep(Duration::from_millis(rng.below(4_000)));
            let victim = match rng.below(4) {
                0 => &mut buses[0],
                1 => &mut buses[1],
                _ => &mut relay,
            };
            victim.power_off();
            std::thread::sleep(Duration::from_millis(rng.below(300)));
            victim.power_on();
        }
        let output = push.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let told = || format!("seed {seed}, round {round}:\n{stdout}\n{stderr}");
        assert_eq!(output.status.code(), Some(10), "{}", told());
        let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let summary =
            lines.iter().find(|line| line["event"] == "summary").unwrap_or_else(|| panic!("{}", told()));
        for device in summary["devices"].as_array().unwrap() {
            let broken = device["address"] == "00000000000000a2";
            let outcome = device["outcome"].as_str().unwrap();
            if broken {
                // Its power may go between the old image's start and its word on what happened, but not for good.
                assert_eq!((outcome, device["version"].as_str()), ("REVERTED", Some("1.0.0")), "{}", told());
            } else {
                assert!(matches!(outcome, "CONFIRMED" | "ALREADY_RUNNING"), "{device}: {}", told());
                assert_eq!(device["version"], version.as_str(), "{}", told());
            }
        }
        let empty = || !Path::new(&desk.path("store/image")).exists();
        common::eventually("the image is removed", empty);
        assert_eq!(ask(&relay, &["campaign", "show"]).last()["stored"], "NONE");
        round += 1;
    }
}
