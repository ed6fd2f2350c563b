// SPDX-License-Identifier: Apache-2.0
//! What the links are promised to carry. Virtual time: the figures are the same on every machine.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an integration test")]

use rekindle_sim::rates::{LINK_CUT, POWER_CUT, Setup, after_cut, through_controller};

#[test]
fn lossless_links_come_within_three_percent_of_their_bounds() {
    let setups = [
        Setup::full_duplex(),
        Setup::lock_step(),
        Setup::lock_step_near(),
        Setup::rs485(),
        Setup::erasing(),
        Setup::stalling(),
        Setup::fast(),
    ];
    for setup in setups {
        let name = setup.name;
        let rate = setup.run().unwrap();
        let share = rate.of_bound();
        assert!((0.97..1.005).contains(&share), "{name}: {share}");
        assert_eq!(rate.summary.counters.bytes_again, 0, "{name}");
    }
}

/// An image for which the journal, too, erases in the middle of the transfer.
const LONG: usize = 600_000;

#[test]
fn with_a_window_of_1_a_device_that_is_deaf_while_it_erases_loses_nothing() {
    let rate = Setup::deaf_lock_step().run().unwrap();
    assert_eq!(rate.summary.counters.bytes_again, 0);
    // With a larger window it does.
    let deaf = Setup::deaf().run().unwrap();
    assert!(deaf.summary.counters.bytes_again > 0, "{:?}", deaf.summary.counters);
    // One answer waits for the journal's erase as well, and the sender may ask once more.
    let long = Setup::deaf_lock_step().sized(LONG).run().unwrap();
    assert!(long.summary.counters.bytes_again <= 100, "{:?}", long.summary.counters);
}

#[test]
fn erased_at_start_a_deaf_device_costs_a_window_when_its_journal_is_full() {
    let summary = Setup::stalling().sized(LONG).run().unwrap().summary;
    assert!((1..=24 * 100).contains(&summary.counters.bytes_again), "{:?}", summary.counters);
}

#[test]
fn the_bounds_are_those_of_the_protocol() {
    // 100 bytes in a frame of 121 bytes, and 3 of 256 bytes are stuffed.
    let share = |setup: Setup| setup.bound() / 11_520.0;
    assert!((0.785..0.800).contains(&share(Setup::full_duplex())));
    assert!((0.745..0.760).contains(&share(Setup::rs485())));
}

#[test]
fn one_lost_frame_of_a_hundred_costs_less_than_fifteen_percent() {
    let lossless = Setup::full_duplex().run().unwrap().bytes_per_second;
    let rates: Vec<f64> =
        (1..=10).map(|seed| Setup::lossy().seeded(seed).run().unwrap().bytes_per_second / lossless).collect();
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    println!("{rates:?}: {mean}");
    assert!(mean >= 0.85, "{mean}: {rates:?}");
}

#[test]
fn a_cut_costs_no_more_than_a_sector_and_what_was_on_its_way() {
    for mishap in [POWER_CUT, LINK_CUT] {
        let summary = after_cut(mishap).unwrap();
        assert!(summary.transfer_from > 0, "{mishap:?}: it began again from scratch");
        assert!(summary.counters.bytes_again <= 4096 + 24 * 100, "{mishap:?}: {:?}", summary.counters);
    }
}

#[test]
fn behind_a_controller_a_link_is_at_least_97_percent_as_busy_as_in_a_direct_push() {
    let direct = Setup::full_duplex().run().unwrap().bytes_per_second;
    for (links, read_ms) in [(1, 0), (1, 2), (2, 0), (2, 2)] {
        let rate = through_controller(links, read_ms).unwrap();
        assert_eq!(rate.bytes_per_second.len(), links);
        for one in rate.bytes_per_second {
            let share = one / direct;
            assert!((0.97..1.02).contains(&share), "{links} links, reads of {read_ms} ms: {share}");
        }
        assert!(links == 1 || rate.parallel > 0.95, "one after the other: {}", rate.parallel);
    }
}
