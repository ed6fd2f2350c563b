// SPDX-License-Identifier: Apache-2.0
//! The whole way: a client that knows nothing of controllers pushes, real appliances receive.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use fusain::relay::{Cause, RosterOutcome, Stage};
use mcuboot_image::sign::SigningKey;
use rekindle_relay::*;
use rekindle_session::sender::Completion;

#[test]
fn a_push_through_the_store_is_a_push() {
    let key = SigningKey::generate_p256().unwrap();
    let mut bench = Bench::new(Config::new(100_000), &[trust(&key)]);
    let appliance = bench.add(0, 0xA1, signed(1, &key));
    bench.pass(2_000);
    let image = signed(2, &key);
    let report = bench.push(0, appliance, plan(&image), &image).unwrap();
    assert_eq!(report.completion, Completion::Confirmed);
    let report_version = report.info.unwrap().version;
    assert_eq!(report_version.major, 2);
    bench.pass(5_000);
    let entry = bench.entry(appliance);
    assert_eq!(
        (entry.stage, entry.outcome, entry.cause),
        (Stage::Settled, RosterOutcome::Confirmed, Cause::None)
    );
    assert_eq!(entry.version.unwrap().major, 2);
    assert!(!bench.store.has(File::Image), "nobody needs it any more");
}
