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

mod relay_kit;

use rekindle_sim::relay_world::{Broken, Invariant, Plant, Scenario, Summary, World};
use relay_kit::{FIRST_LONG, KIT, WORLDS, WORLDS_LONG, found_out, run};

/// Seeds of worlds that once broke an invariant: they are run again, always.
const REGRESSIONS: [u64; 5] = [1_003_132, 1_005_864, 1_007_031, 1_009_711, 1_009_822];

fn scenario(seed: u64) -> Scenario {
    let scenario = Scenario::random(seed, KIT.images.len());
    // As they were found.
    if REGRESSIONS.contains(&seed) { scenario } else { scenario.with_more() }
}

fn world(seed: u64) -> Result<Summary, Broken> {
    World::new(scenario(seed), &KIT).run()
}

fn planted(plant: Plant) -> impl Fn(u64) -> Result<Summary, Broken> {
    move |seed| World::new(scenario(seed).with_plant(plant), &KIT).run()
}

#[test]
fn invariants_hold_in_random_worlds_with_a_controller() {
    match std::env::var("REKINDLE_SEED") {
        Ok(seed) => match World::new(scenario(seed.parse().unwrap()), &KIT).traced().run() {
            Ok(summary) => println!("{summary:?}"),
            Err(broken) => panic!("{broken}"),
        },
        Err(_) => run(REGRESSIONS.into_iter().chain(0..WORLDS), world),
    }
}

#[test]
#[ignore = "minutes; cargo test -p rekindle-sim --release --test relay_worlds -- --ignored"]
fn invariants_hold_in_many_random_worlds_with_a_controller() {
    run(FIRST_LONG..FIRST_LONG + WORLDS_LONG, world);
}

#[test]
fn policy_asked_too_late_is_found_out() {
    found_out(&[Invariant::NothingForbiddenIsForwarded], planted(Plant::PolicyLate));
}

#[test]
fn a_commit_before_the_sync_is_found_out() {
    found_out(
        &[Invariant::DurableSurvives, Invariant::PlansAreKept, Invariant::ImageKeptWhileNeeded],
        planted(Plant::CommitBeforeSync),
    );
}

#[test]
fn a_roster_lost_at_a_reboot_is_found_out() {
    found_out(&[Invariant::PlansAreKept, Invariant::DurableSurvives], planted(Plant::RosterLost));
}
