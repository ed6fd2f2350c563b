// SPDX-License-Identifier: Apache-2.0
//! The link benchmark, as a table: `cargo run -p rekindle-sim --release --example link-bench`.
//!
//! All of it is virtual time: the figures are the same on every machine.
#![allow(clippy::print_stdout, reason = "an example")]

use rekindle_sim::rates::{IMAGE_LEN, LINK_CUT, POWER_CUT, Setup, after_cut, through_controller};

fn main() -> Result<(), Box<dyn core::error::Error>> {
    println!("Image of {IMAGE_LEN} bytes, from the first DATA to the last acknowledgement.\n");
    println!("| link | bytes/s | of line | own bound | of bound | sent again |");
    println!("|---|---|---|---|---|---|");
    let setups = [
        Setup::full_duplex(),
        Setup::lock_step(),
        Setup::lock_step_near(),
        Setup::rs485(),
        Setup::erasing(),
        Setup::stalling(),
        Setup::deaf(),
        Setup::lossy(),
        Setup::fast(),
    ];
    for setup in setups {
        let name = setup.name;
        let rate = setup.run()?;
        println!(
            "| {name} | {:.0} | {:.1} % | {:.1} % of line | {:.1} % | {} |",
            rate.bytes_per_second,
            rate.of_line() * 100.0,
            rate.bound / rate.line * 100.0,
            rate.of_bound() * 100.0,
            rate.summary.counters.bytes_again,
        );
    }
    controller()?;
    println!("\n| cut at 8 s of the transfer, for 2 s | resumed at | bytes sent again |");
    println!("|---|---|---|");
    for (name, mishap) in [("power", POWER_CUT), ("link", LINK_CUT)] {
        let summary = after_cut(mishap)?;
        println!("| {name} | {} | {} |", summary.transfer_from, summary.counters.bytes_again);
    }
    println!(
        "\nFor comparison, SMP (mcumgr) over the same line, shaped to 115200 8N1, against MCUboot and Zephyr"
    );
    println!(
        "in QEMU: 28.8 to 57.4 % of line with buffers of 384 to 2048 bytes; its encoding alone allows 72 %."
    );
    Ok(())
}

/// The same image on the same link, sent directly and by a controller.
fn controller() -> Result<(), Box<dyn core::error::Error>> {
    let direct = Setup::full_duplex().run()?.bytes_per_second;
    println!("\n| full duplex, 50 ms one way, window 24 | bytes/s | of a direct push | both buses at once |");
    println!("|---|---|---|---|");
    println!("| direct | {direct:.0} | | |");
    for (name, links, read_ms) in [
        ("through a controller", 1, 0),
        ("the same, each read of its store takes 2 ms", 1, 2),
        ("two buses in parallel", 2, 0),
        ("the same, each read of its store takes 2 ms", 2, 2),
    ] {
        let rate = through_controller(links, read_ms)?;
        let each: Vec<String> = rate.bytes_per_second.iter().map(|rate| format!("{rate:.0}")).collect();
        let least = rate.bytes_per_second.iter().copied().fold(f64::INFINITY, f64::min);
        let parallel = if links > 1 { format!("{:.1} %", rate.parallel * 100.0) } else { String::new() };
        println!("| {name} | {} | {:.1} % | {parallel} |", each.join(" and "), least / direct * 100.0);
    }
    Ok(())
}
