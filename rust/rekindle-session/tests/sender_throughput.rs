// SPDX-License-Identifier: Apache-2.0
//! How much of a line a sender uses, in virtual time, against the reference device.
//!
//! The bound is what framing leaves: the image's bytes over the bytes of its frames as they are on the wire.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_core,
    clippy::cast_precision_loss,
    reason = "tests"
)]

mod sender_model;

use rekindle_session::sender::{Link, Plan, Report};
use sender_model::{Device, Dice, Faults, World, image, push};

const SIZE: usize = 127_456;

struct Run {
    /// Bytes per second from the first frame of data to the last acknowledgement.
    rate: f64,
    /// What framing leaves of the line, in bytes per second, by this run's own frames.
    bound: f64,
    report: Report,
}

fn run(device: Device, link: Link, latency_ms: u64, faults: Faults, seed: u64) -> Run {
    let image = image(SIZE);
    let mut world = World::new(Plan { activate: false, ..push(&image) }, link, device, &image);
    world.latency_us = latency_ms * 1_000;
    world.faults = faults;
    world.dice = Dice::new(seed);
    let report = world.run().unwrap();
    assert_eq!(world.device.bytes(), &image[..]);
    let seconds = (world.data_to_us - world.data_from_us.unwrap()) as f64 / 1e6;
    let per_byte = world.data_wire_bytes as f64 / report.counters.data_bytes as f64;
    let bound = f64::from(link.bytes_per_second) / per_byte;
    Run { rate: SIZE as f64 / seconds, bound, report }
}

#[test]
fn a_window_fills_a_slow_line_in_spite_of_its_latency() {
    let run = run(Device::windowed(24), Link::serial(115_200), 50, Faults::default(), 1);
    let share = run.rate / run.bound;
    println!("lossless: {:.0} B/s of {:.0}, {:.1} %", run.rate, run.bound, share * 100.0);
    assert!(run.bound / 11_520.0 > 0.78, "{}", run.bound);
    assert!(share >= 0.97, "{share}");
    assert_eq!((run.report.counters.bytes_again, run.report.counters.timeouts), (0, 0));
}

#[test]
fn lock_step_runs_at_its_own_bound() {
    let run = run(Device::base(), Link::serial(115_200), 50, Faults::default(), 1);
    // A chunk, there and back: the frame, twice the latency, and STATUS of 25 bytes.
    let bound = 96.0 / (96.0 / run.bound + 0.1 + 26.0 / 11_520.0);
    println!("lock-step: {:.0} B/s of {bound:.0}", run.rate);
    assert!(run.rate >= 0.97 * bound, "{} of {bound}", run.rate);
}

#[test]
fn one_frame_lost_in_a_hundred_costs_less_than_a_sixth() {
    let lossless = run(Device::windowed(24), Link::serial(115_200), 50, Faults::default(), 1).rate;
    let mut rates = Vec::new();
    for seed in 1..=20 {
        let faults = Faults { loss: 10, ..Faults::default() };
        let run = run(Device::windowed(24), Link::serial(115_200), 50, faults, seed);
        rates.push(run.rate / lossless);
    }
    rates.sort_by(f64::total_cmp);
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    println!("1 % loss: mean {:.1} %, least {:.1} %", mean * 100.0, rates[0] * 100.0);
    assert!(mean >= 0.85, "{mean}");
    assert!(rates[0] >= 0.80, "{}", rates[0]);
}

#[test]
fn a_device_that_stalls_for_its_erases_is_hardly_felt() {
    let device = Device { stall_us: 45_000, ..Device::windowed(24) };
    let run = run(device, Link::serial(115_200), 50, Faults::default(), 1);
    let share = run.rate / run.bound;
    println!("45 ms stalls: {:.1} %", share * 100.0);
    assert!(share >= 0.97, "{share}");
    assert_eq!(run.report.counters.timeouts, 0);
}

#[test]
fn half_duplex_bursts_cost_their_turnaround_and_no_more() {
    let device = Device { coalesced: true, ..Device::windowed(24) };
    let run = run(device, Link::serial_half_duplex(115_200), 0, Faults::default(), 1);
    // A burst of 24 frames, STATUS of 25 bytes; the device answers a full window at once.
    let bound = 2_400.0 / (2_400.0 / run.bound + 26.0 / 11_520.0);
    println!("half duplex: {:.0} B/s of {bound:.0}", run.rate);
    assert!(run.rate >= 0.97 * bound, "{} of {bound}", run.rate);
}

#[test]
fn the_frames_beyond_a_gap_are_few() {
    let faults = Faults { loss: 10, ..Faults::default() };
    let run = run(Device::windowed(200), Link::serial(115_200), 50, faults, 7);
    let gaps = u64::from(run.report.counters.gaps + run.report.counters.timeouts);
    let frames = run.report.counters.bytes_again / 100;
    println!("window 200: {gaps} gaps, {frames} frames sent again");
    // The round trip holds ten frames. Until the queue was measured, which takes as long as the queue is, a gap
    // costs a window; each later one what the round trip holds and a little.
    assert!(gaps > 5 && frames <= 2 * 200 + 14 * (gaps - 2), "{frames} frames for {gaps} gaps");
}
