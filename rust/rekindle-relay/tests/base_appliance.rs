// SPDX-License-Identifier: Apache-2.0
//! Appliances that speak the base protocol alone: they cannot say what they run, nor what became of an update.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::*;
use fusain::Address;
use fusain::relay::{Cause, RosterOutcome, Stage};
use mcuboot_image::sign::SigningKey;
use rekindle_relay::*;
use rekindle_session::sender::{CommandKind, Completion, SendError};

fn bench(key: &SigningKey) -> (Bench, Address) {
    let mut bench = Bench::new(Config::new(100_000), &[trust(key)]);
    let appliance = bench.add(0, 0xA1, signed(1, key));
    bench.station(appliance).base = true;
    bench.pass(20_000);
    (bench, appliance)
}

/// ACTIVATE commands that went to it.
fn activations(bench: &Bench, appliance: Address) -> usize {
    bench.sent_to(appliance).iter().filter(|code| **code == 0x43).count()
}

#[test]
fn a_push_installs_once_and_says_that_nobody_can_tell() {
    let key = SigningKey::generate_ed25519().unwrap();
    let (mut bench, appliance) = bench(&key);
    let image = signed(2, &key);
    let report = bench.push(0, appliance, plan(&image), &image).unwrap();
    assert_eq!(report.completion, Completion::Unknown);
    assert_eq!(activations(&bench, appliance), 1);
    bench.pass(30_000);
    let entry = bench.entry(appliance);
    assert_eq!(
        (entry.stage, entry.outcome, entry.cause),
        (Stage::Settled, RosterOutcome::Untold, Cause::None)
    );
    assert_eq!((entry.version, entry.image_hash), (None, None), "it has not told");
    assert!(!bench.store.has(File::Image));
}

#[test]
fn what_was_activated_there_counts_when_an_older_image_comes() {
    let key = SigningKey::generate_ed25519().unwrap();
    let counted = |major, counter| signed_with(&key, major, |o| o.security_counter = Some(counter));
    let (mut bench, appliance) = bench(&key);
    let image = counted(6, 9);
    bench.push(0, appliance, plan(&image), &image).unwrap();
    bench.pass(30_000);
    // It is known after a restart as well.
    bench.restart();
    bench.pass(20_000);
    for (major, counter) in [(5, 9), (7, 8)] {
        let older = counted(major, counter);
        let error = bench.push(0, appliance, plan(&older), &older).unwrap_err();
        assert!(matches!(error, SendError::Downgrade { at: CommandKind::Verify, .. }), "{error:?}");
        assert_eq!(bench.entry(appliance).cause, Cause::Downgrade);
    }
    let newer = counted(7, 9);
    assert_eq!(bench.push(0, appliance, plan(&newer), &newer).unwrap().completion, Completion::Unknown);
}
