// SPDX-License-Identifier: Apache-2.0
//! Hostile clients, appliances and stores: the fuzzer's corpus, and scripts at random.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod fuzzing;

use rekindle_sim::rng::Rng;
use std::path::Path;

/// Every script that the fuzzer found worth keeping.
#[test]
fn corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/relay_script");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        fuzzing::check_script(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 20, "{count} files in {}", folder.display());
}

#[test]
fn random_scripts_break_nothing() {
    let (mut approved, mut forwarded, mut settled) = (0, [0; 4], 0);
    for seed in 0..2_000 {
        let mut rng = Rng::new(seed).fork(0x5C21);
        let mut script = vec![0; 40 + rng.below(1_000) as usize];
        rng.fill(&mut script);
        let played = std::panic::catch_unwind(|| fuzzing::check_script(&script));
        let Ok(reached) = played else { panic!("script of seed {seed}") };
        approved += reached.approved;
        settled += reached.settled;
        for (sum, one) in forwarded.iter_mut().zip(reached.forwarded) {
            *sum += one;
        }
    }
    // They get as far as they are meant to.
    println!("{approved} approved, {forwarded:?} forwarded, {settled} settled");
    assert!(approved > 100 && forwarded.iter().all(|kind| *kind > 20) && settled > 100);
}
