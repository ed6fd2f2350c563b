// SPDX-License-Identifier: Apache-2.0
//! Worlds with a controller whose store is littlefs: the same ones as over the store in memory, with power cuts in
//! littlefs' own flash operations. `REKINDLE_SEED=<seed>` runs one alone, and tells what happens in it.
#![allow(missing_docs, clippy::print_stdout, reason = "an integration test")]

#[path = "../../rekindle-sim/tests/relay_kit/mod.rs"]
mod relay_kit;

use littlefs_worlds::LittlefsStore;
use rekindle_sim::relay_world::{Broken, Cut, Invariant, Medium, Plant, Scenario, StoreTear, Summary, World};
use rekindle_sim::rng::Rng;
use relay_kit::{FIRST_LONG, KIT, WORLDS, WORLDS_LONG, found_out, run};

/// Seeds of worlds that once broke an invariant: they are run again, always.
const REGRESSIONS: [u64; 2] = [1_006_856, 1_009_448];

const TEARS: [StoreTear; 3] = [StoreTear::Before, StoreTear::Half, StoreTear::After];

/// The world of a seed: cuts are further apart, for an operation of the store is several of the flash.
fn scenario(seed: u64) -> Scenario {
    let mut scenario = Scenario::random(seed, KIT.images.len()).with_more();
    let mut rng = Rng::new(seed).fork(0xF1A5);
    for cut in &mut scenario.cuts {
        if let Cut::Store(after, _) = cut {
            *after = *after * (1 + rng.below(3)) + rng.below(8);
        }
    }
    scenario
}

/// Every other world has the sectors of a real chip; the rest have small ones, so that littlefs collects its garbage
/// and moves its metadata more often.
fn store(seed: u64, plant: Option<Plant>) -> Box<dyn Medium> {
    if seed.is_multiple_of(2) {
        Box::new(LittlefsStore::<4096, 16>::new(seed, plant))
    } else {
        Box::new(LittlefsStore::<512, 64>::new(seed, plant))
    }
}

fn world(seed: u64) -> Result<Summary, Broken> {
    World::over(store(seed, None), scenario(seed), &KIT).run()
}

fn planted(plant: Plant) -> impl Fn(u64) -> Result<Summary, Broken> {
    move |seed| World::over(store(seed, Some(plant)), scenario(seed).with_plant(plant), &KIT).run()
}

#[test]
fn invariants_hold_in_random_worlds_over_littlefs() {
    match std::env::var("REKINDLE_SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            match World::over(store(seed, None), scenario(seed), &KIT).traced().run() {
                Ok(summary) => println!("{summary:?}"),
                Err(broken) => panic!("{broken}"),
            }
        }
        Err(_) => run(REGRESSIONS.into_iter().chain(0..WORLDS), world),
    }
}

#[test]
#[ignore = "minutes; cargo test --release --test worlds -- --ignored"]
fn invariants_hold_in_many_random_worlds_over_littlefs() {
    run(FIRST_LONG..FIRST_LONG + WORLDS_LONG, world);
}

/// Cuts one world with large sectors and one with small ones at every `step`th operation of the flash, up to the end
/// of its second campaign. With every operation goes every tear, with a sample one each.
fn every_cut(step: u64) {
    let (mut cuts, mut again, mut again_max) = (0, 0, 0);
    for seed in [8, 11] {
        'next: for operation in (1..).step_by(step as usize) {
            let nth = (operation / step) as usize;
            let tears = if step == 1 { &TEARS[..] } else { &TEARS[nth % TEARS.len()..][..1] };
            for tear in tears {
                let mut cut = scenario(seed);
                (cut.campaigns, cut.cuts) = (vec![1, 5], vec![Cut::Store(operation, *tear)]);
                let summary = World::over(store(seed, None), cut, &KIT).run();
                let summary =
                    summary.unwrap_or_else(|broken| panic!("operation {operation}, {tear:?}: {broken}"));
                if summary.controller_cuts == 0 {
                    break 'next;
                }
                cuts += summary.controller_cuts;
                again += summary.again;
                again_max = again_max.max(summary.again_max);
            }
        }
    }
    println!("{cuts} cuts, {again} acknowledged bytes sent again, {again_max} at most after one cut");
    assert!(u64::from(cuts) > 240 / step, "{cuts}");
}

#[test]
fn invariants_hold_after_a_cut_at_any_flash_operation_of_littlefs() {
    every_cut(3);
}

#[test]
#[ignore = "minutes; cargo test --release --test worlds -- --ignored"]
fn invariants_hold_after_a_cut_at_every_flash_operation_of_littlefs() {
    every_cut(1);
}

#[test]
fn policy_asked_too_late_is_found_out() {
    found_out(&[Invariant::NothingForbiddenIsForwarded], planted(Plant::PolicyLate));
}

#[test]
fn a_name_given_before_the_bytes_are_there_is_found_out() {
    found_out(
        &[Invariant::DurableSurvives, Invariant::PlansAreKept, Invariant::ImageKeptWhileNeeded],
        planted(Plant::CommitBeforeSync),
    );
}

#[test]
fn a_roster_lost_at_a_reboot_is_found_out() {
    found_out(&[Invariant::PlansAreKept, Invariant::DurableSurvives], planted(Plant::RosterLost));
}
