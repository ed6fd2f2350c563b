// SPDX-License-Identifier: Apache-2.0
//! Replays what the fuzzer has found worth keeping (`../fuzz/corpus`) through the same checks.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use fusain::fuzz;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        check(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    // An empty folder would pass without a check.
    assert!(count >= 20, "{count} files in {}", folder.display());
}

#[test]
fn frames() {
    replay("fusain_frames", fuzz::frames);
}

#[test]
fn stream() {
    replay("fusain_stream", fuzz::stream);
}

#[test]
fn payload() {
    replay("fusain_payload", fuzz::payload);
}

#[test]
fn peers() {
    replay("fusain_peers", fuzz::peers);
}

#[test]
fn relays() {
    replay("fusain_relays", fuzz::relays);
}
