// SPDX-License-Identifier: Apache-2.0
//! Runs one random world and tells what happens in it: `cargo run -p rekindle-sim --example world -- SEED`,
//! with `visitors` behind it the one with another writer beside the session.
#![allow(clippy::print_stdout, reason = "an example")]

use rekindle_sim::world::{Scenario, World};

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let seed = std::env::args().nth(1).ok_or("usage: world SEED")?.parse()?;
    let mut scenario = Scenario::random(seed);
    if std::env::args().nth(2).is_some_and(|with| with == "visitors") {
        scenario = scenario.with_visitors();
    }
    println!("{:?} {:?}", scenario.geometry, scenario.device.bootloader.mode);
    println!("{:?}", scenario.link);
    println!("connection {}, {:?}", scenario.connection, scenario.sender_link);
    println!("{:?} {:?}", scenario.device.config, scenario.device.timing);
    println!("window {} chunk {}", scenario.window_max, scenario.chunk_max);
    for update in &scenario.updates {
        println!("{} bytes, {:?}, {:?}", update.image.len(), update.mode, update.fate);
    }
    for mishap in &scenario.mishaps {
        println!("{mishap:?}");
    }
    let summary = World::new(scenario).traced(|line| println!("{line}")).run()?;
    println!("{summary:?}");
    Ok(())
}
