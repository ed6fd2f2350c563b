// SPDX-License-Identifier: Apache-2.0
//! Images and keys for worlds with a controller, and how many of them are run. Shared by the tests with a store in
//! memory and by those with littlefs.

use mcuboot_image::ImageVersion;
use mcuboot_image::sign::{SignOptions, SigningKey, sign, unsigned};
use rekindle_relay::{Keys, TrustedKey};
use rekindle_sim::relay_world::{Broken, Fate, Invariant, Kit, Made, Summary};
use std::sync::LazyLock;

/// Worlds of the test command.
pub(crate) const WORLDS: u64 = 300;
/// Worlds of the long run.
pub(crate) const WORLDS_LONG: u64 = 10_000;
/// Seed of the first one of these.
pub(crate) const FIRST_LONG: u64 = 1_000_000;

/// A trusted key and a rogue one. They are always the same, for with other images a seed is another world.
const KEYS: [&str; 2] = [
    include_str!("../../../mcuboot-image/tests/keys/ed25519.pem"),
    include_str!("../../../mcuboot-image/tests/keys/ed25519-other.pem"),
];

/// What every world has.
pub(crate) static KIT: LazyLock<Kit> = LazyLock::new(kit);

fn body(major: u8, len: usize, text: &str) -> Vec<u8> {
    let mut body: Vec<u8> =
        (0..len).map(|n| (n * 7 + n / 251 + usize::from(major)).to_le_bytes()[0]).collect();
    body[16..16 + text.len()].copy_from_slice(text.as_bytes());
    body
}

fn kit() -> Kit {
    let [key, rogue] = KEYS.map(|pem| SigningKey::from_pem(pem).unwrap());
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

/// Runs a world for each seed and holds that none breaks an invariant.
#[track_caller]
pub(crate) fn run(seeds: impl Iterator<Item = u64>, world: impl Fn(u64) -> Result<Summary, Broken>) {
    let mut failures = Vec::new();
    let (mut worlds, mut controller, mut appliances, mut settled, mut unknown) = (0, 0, 0, 0, 0);
    let (mut untold, mut outages, mut pushes) = (0, 0, 0);
    let (mut operations, mut again, mut again_max) = (0, 0, 0);
    for seed in seeds {
        match world(seed) {
            Ok(summary) => {
                worlds += 1;
                controller += summary.controller_cuts;
                appliances += summary.appliance_cuts;
                settled += summary.settled;
                unknown += summary.unknown;
                untold += summary.untold;
                outages += summary.outages;
                pushes += summary.pushes;
                operations += summary.store_operations;
                again += summary.again;
                again_max = again_max.max(summary.again_max);
            }
            Err(broken) => failures.push(broken),
        }
    }
    println!(
        "{worlds} worlds, {controller} cuts of the controller, {appliances} of appliances, {settled} updates settled, \
         {unknown} of them unknown and {untold} of appliances that cannot tell; {outages} outages of links, {pushes} plain \
         pushes; {operations} operations of stores, {again} acknowledged bytes sent again, \
         {again_max} at most after one cut"
    );
    for broken in failures.iter().take(20) {
        println!("REKINDLE_SEED={} {broken}", broken.seed);
    }
    assert!(failures.is_empty(), "{} of the worlds failed", failures.len());
    // What was meant to happen did.
    assert!(worlds < 100 || (controller > worlds / 4 && appliances > worlds / 5 && unknown * 10 < settled));
}

/// What a planted mistake breaks, in the first of 200 worlds that finds it out.
#[track_caller]
pub(crate) fn found_out(by: &[Invariant], world: impl Fn(u64) -> Result<Summary, Broken>) {
    let broken = (0..200).find_map(|seed| world(seed).err()).unwrap();
    println!("{broken}");
    assert!(by.contains(&broken.invariant), "{broken}");
}
