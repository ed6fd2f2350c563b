// SPDX-License-Identifier: Apache-2.0
//! The link benchmark, as a table: `cargo run -p rekindle-sim --release --example link-bench`.
//!
//! All of it is virtual time: the figures are the same on every machine.
#![allow(clippy::print_stdout, reason = "an example")]

use rekindle_sim::rates::{IMAGE_LEN, LINK_CUT, POWER_CUT, Setup, after_cut};

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
