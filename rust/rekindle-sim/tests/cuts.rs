// SPDX-License-Identifier: Apache-2.0
//! Power is cut at every flash operation of an update, clean and torn: of receiving, verifying and activating, of the
//! bootloader's swap and of its revert. Whatever was cut, every invariant holds and the update comes about.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an integration test"
)]

use fusain::Mode;
use rekindle_session::receiver::EraseMode;
use rekindle_sim::bootloader::SwapMode;
use rekindle_sim::device::MS;
use rekindle_sim::flash::{Geometry, Tear};
use rekindle_sim::world::{Mishap, Scenario, Update, Visit, When, World};

/// Replays one cut of one scenario, told step by step: `REKINDLE_CUT=<operation>:<tear>` with the name of a test.
fn replay(scenario: &Scenario) -> bool {
    let Ok(cut) = std::env::var("REKINDLE_CUT") else { return false };
    let (number, tear) = cut.split_once(':').unwrap();
    let tear = *Tear::ALL.iter().find(|t| format!("{t:?}") == tear).unwrap();
    let when = When::Operation { number: number.parse().unwrap() };
    let scenario = scenario.clone().with_mishap(when, Mishap::PowerCut { tear, off_ns: 200 * MS });
    let result = World::new(scenario).traced(|line| println!("{line}")).run();
    println!("{result:?}");
    true
}

/// Runs the scenario whole, then once more for each of its flash operations and each way to cut it.
fn cut_everywhere(name: &str, scenario: &Scenario, tears: &[Tear]) -> u64 {
    if replay(scenario) {
        return 0;
    }
    let whole = World::new(scenario.clone()).run().unwrap_or_else(|broken| panic!("{name}: {broken}"));
    let range = whole.first_operation..whole.first_operation + whole.operations;
    let mut failures = Vec::new();
    for number in range.clone() {
        for tear in tears {
            let cut = Mishap::PowerCut { tear: *tear, off_ns: 200 * MS };
            let world = World::new(scenario.clone().with_mishap(When::Operation { number }, cut));
            if let Err(broken) = world.run() {
                failures.push(format!("{name}, {tear:?} in operation {number}: {broken}"));
            }
        }
    }
    for failure in failures.iter().take(10) {
        println!("{failure}");
    }
    let points = (range.end - range.start) * tears.len() as u64;
    assert!(failures.is_empty(), "{name}: {} of {points} cuts", failures.len());
    points
}

/// The two swap modes in which an image is exchanged without a scratch area.
const MODES: [SwapMode; 2] = [SwapMode::Offset, SwapMode::Move];

fn scenario(mode: SwapMode, write_block: u32, seed: u64) -> Scenario {
    Scenario::new(seed, mode, Geometry::even(write_block, 8, 1024))
}

#[test]
fn a_test_upgrade_that_confirms_itself() {
    let mut points = 0;
    for mode in MODES {
        for write_block in [1, 4, 8, 16, 32] {
            for len in [75, 2048, 3001] {
                let update = Update::new(2, len, Mode::Test, None, 5);
                let name = format!("{mode:?}, write block {write_block}, {len} bytes");
                let scenario = scenario(mode, write_block, 5).with_update(update);
                points += cut_everywhere(&name, &scenario, &Tear::ALL);
            }
        }
    }
    println!("{points} cut points");
}

#[test]
fn a_test_upgrade_that_is_reverted() {
    let mut points = 0;
    for mode in MODES {
        for write_block in [1, 8, 32] {
            for text in ["fail:2:-5", "crash"] {
                let update = Update::new(2, 2777, Mode::Test, Some(text), 6);
                let name = format!("{mode:?}, write block {write_block}, {text}");
                let scenario = scenario(mode, write_block, 6).with_update(update);
                points += cut_everywhere(&name, &scenario, &Tear::ALL);
            }
        }
    }
    println!("{points} cut points");
}

#[test]
fn a_permanent_upgrade() {
    let mut points = 0;
    for mode in MODES {
        for write_block in [1, 4, 16] {
            let update = Update::new(2, 2500, Mode::Permanent, None, 7);
            let name = format!("{mode:?}, write block {write_block}");
            let scenario = scenario(mode, write_block, 7).with_update(update);
            points += cut_everywhere(&name, &scenario, &Tear::ALL);
        }
    }
    println!("{points} cut points");
}

#[test]
fn the_second_upgrade_after_a_revert_and_a_slot_erased_at_start() {
    let mut points = 0;
    for mode in MODES {
        let mut scenario = scenario(mode, 8, 8)
            .with_update(Update::new(2, 2100, Mode::Test, Some("fail:1:1"), 8))
            .with_update(Update::new(3, 3333, Mode::Test, None, 8));
        scenario.device.config.erase = EraseMode::AtStart;
        scenario.installed_confirmed = false;
        points += cut_everywhere(&format!("{mode:?}"), &scenario, &Tear::ALL);
    }
    println!("{points} cut points");
}

/// Another writer comes by while half an image lies in the slot and nobody sends. It may have the slot, and whatever
/// is cut, nothing of the session is resumed over its bytes.
#[test]
fn another_writer_in_the_middle_of_a_session() {
    let mut points = 0;
    for mode in MODES {
        for visit in [Visit::Erases, Visit::GivesUp, Visit::Installs] {
            let mut scenario = scenario(mode, 4, 10).with_update(Update::new(2, 3001, Mode::Test, None, 10));
            scenario.link = rekindle_sim::link::LinkConfig::serial(115_200, MS);
            scenario.device.config.takeover_ms = 1_000;
            let scenario = scenario
                .with_mishap(When::At { ns: 200 * MS }, Mishap::SenderRestart { after_ns: 3_000 * MS })
                .with_mishap(When::At { ns: 2_000 * MS }, Mishap::Visitor { visit });
            let whole = World::new(scenario.clone()).run().unwrap();
            assert_eq!(whole.visits, 1);
            // The second sender began anew: the first had come to the middle.
            assert!(whole.counters.data_bytes > 3001 && whole.transfer_from == 0, "{whole:?}");
            points += cut_everywhere(&format!("{mode:?}, {visit:?}"), &scenario, &Tear::ALL);
        }
    }
    println!("{points} cut points");
}

#[test]
#[ignore = "minutes; cargo test -p rekindle-sim --release --test cuts -- --ignored"]
fn every_size_around_a_sector_on_a_lossy_link() {
    let mut points = 0;
    for mode in MODES {
        for write_block in [1, 4, 8, 16, 32] {
            let max = scenario(mode, write_block, 9).device.config.layout.image_max as usize;
            for len in [110, 255, 256, 257, 1023, 1024, 1025, 2047, 2049, 3333, max - 1, max] {
                let name = format!("{mode:?}, write block {write_block}, {len} bytes");
                let fails = Update::new(2, len, Mode::Test, Some("fail:1:2"), 9);
                let passes = Update::new(3, len, Mode::Permanent, None, 9);
                let mut scenario = scenario(mode, write_block, 9).with_update(fails).with_update(passes);
                scenario.link.faults.loss = 20_000;
                points += cut_everywhere(&name, &scenario, &Tear::ALL);
            }
        }
    }
    println!("{points} cut points");
}
