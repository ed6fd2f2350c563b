// SPDX-License-Identifier: Apache-2.0
//! Worlds with a controller, at random. A failing one prints its seed; `REKINDLE_SEED=<seed>` runs that one alone,
//! and tells what happens in it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "an integration test"
)]

use mcuboot_image::ImageVersion;
use mcuboot_image::sign::{SignOptions, SigningKey, sign, unsigned};
use rekindle_relay::{Keys, TrustedKey};
use rekindle_sim::relay_world::{Fate, Invariant, Kit, Made, Plant, Scenario, World};
use std::sync::LazyLock;

/// Worlds of the test command.
const WORLDS: u64 = 300;
/// Worlds of the long run.
const WORLDS_LONG: u64 = 10_000;

/// Seeds of worlds that once broke an invariant: they are run again, always.
const REGRESSIONS: [u64; 5] = [1_003_132, 1_005_864, 1_007_031, 1_009_711, 1_009_822];

static KIT: LazyLock<Kit> = LazyLock::new(kit);

fn body(major: u8, len: usize, text: &str) -> Vec<u8> {
    let mut body: Vec<u8> =
        (0..len).map(|n| (n * 7 + n / 251 + usize::from(major)).to_le_bytes()[0]).collect();
    body[16..16 + text.len()].copy_from_slice(text.as_bytes());
    body
}

fn kit() -> Kit {
    let key = SigningKey::generate_ed25519().unwrap();
    let rogue = SigningKey::generate_ed25519().unwrap();
    let options =
        |major| SignOptions { pad_header: true, ..SignOptions::new(ImageVersion::new(major, 0, 0, 0), 32) };
    let signed = |major, len, text: &str| sign(&body(major, len, text), &options(major), &key).unwrap();
    let fails = "rekindle-self-test=fail:3:-7\n";
    let made = |fate, version, bytes| Made { fate, version, bytes };
    let images = vec![
        made(Fate::Older, 1, signed(1, 2_900, "")),
        made(Fate::Confirms, 11, signed(11, 3_100, "")),
        made(Fate::Unsigned, 12, unsigned(&body(12, 2_000, ""), &options(12)).unwrap()),
        made(Fate::Fails, 13, signed(13, 5_000, fails)),
        made(Fate::Rogue, 14, sign(&body(14, 2_500, ""), &options(14), &rogue).unwrap()),
        made(Fate::Confirms, 15, signed(15, 6_000, "")),
    ];
    let trusted = TrustedKey { key: key.public_key(), revoked: false };
    let theirs = TrustedKey { key: rogue.public_key(), revoked: false };
    Kit {
        installed: signed(10, 2_000, ""),
        images,
        last: made(Fate::Confirms, 99, signed(99, 4_000, "")),
        keys: Keys::new(&[trusted]).unwrap(),
        all_keys: Keys::new(&[trusted, theirs]).unwrap(),
    }
}

fn scenario(seed: u64) -> Scenario {
    Scenario::random(seed, KIT.images.len())
}

fn run(seeds: impl Iterator<Item = u64>) {
    let mut failures = Vec::new();
    let (mut worlds, mut controller, mut appliances, mut settled, mut unknown) = (0, 0, 0, 0, 0);
    for seed in seeds {
        match World::new(scenario(seed), &KIT).run() {
            Ok(summary) => {
                worlds += 1;
                controller += summary.controller_cuts;
                appliances += summary.appliance_cuts;
                settled += summary.settled;
                unknown += summary.unknown;
            }
            Err(broken) => failures.push(broken),
        }
    }
    println!(
        "{worlds} worlds, {controller} cuts of the controller, {appliances} of appliances, {settled} updates settled, \
         {unknown} of them unknown"
    );
    for broken in failures.iter().take(20) {
        println!("REKINDLE_SEED={} {broken}", broken.seed);
    }
    assert!(failures.is_empty(), "{} of the worlds failed", failures.len());
    // What was meant to happen did.
    assert!(worlds < 100 || (controller > worlds / 4 && appliances > worlds / 4 && unknown * 10 < settled));
}

#[test]
fn invariants_hold_in_random_worlds_with_a_controller() {
    match std::env::var("REKINDLE_SEED") {
        Ok(seed) => match World::new(scenario(seed.parse().unwrap()), &KIT).traced().run() {
            Ok(summary) => println!("{summary:?}"),
            Err(broken) => panic!("{broken}"),
        },
        Err(_) => run(REGRESSIONS.into_iter().chain(0..WORLDS)),
    }
}

#[test]
#[ignore = "minutes; cargo test -p rekindle-sim --release --test relay_worlds -- --ignored"]
fn invariants_hold_in_many_random_worlds_with_a_controller() {
    run(1_000_000..1_000_000 + WORLDS_LONG);
}

/// What the planted one breaks, in the first world that finds it out.
#[track_caller]
fn found_out(plant: Plant, by: &[Invariant]) {
    let broken = (0..200).find_map(|seed| World::new(scenario(seed).with_plant(plant), &KIT).run().err());
    let broken = broken.unwrap();
    println!("{broken}");
    assert!(by.contains(&broken.invariant), "{broken}");
}

#[test]
fn policy_asked_too_late_is_found_out() {
    found_out(Plant::PolicyLate, &[Invariant::NothingForbiddenIsForwarded]);
}

#[test]
fn a_commit_before_the_sync_is_found_out() {
    found_out(
        Plant::CommitBeforeSync,
        &[Invariant::DurableSurvives, Invariant::PlansAreKept, Invariant::ImageKeptWhileNeeded],
    );
}

#[test]
fn a_roster_lost_at_a_reboot_is_found_out() {
    found_out(Plant::RosterLost, &[Invariant::PlansAreKept, Invariant::DurableSurvives]);
}
