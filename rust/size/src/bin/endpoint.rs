// SPDX-License-Identifier: Apache-2.0
//! The whole endpoint, with discovery, ping, telemetry and timeouts, and a driver for it. To be sized.
//!
//! As in `device`, nothing can be folded in or dropped; the driver uses all that an application can use.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;
use rekindle_session::appliance::{Appliance, Output};
use rekindle_session::port::FlashFault;
use rekindle_session::receiver::Config;
use rekindle_size::{entry, facts, halt};

#[entry]
fn main() -> ! {
    let config = black_box(Config::new(facts::LAYOUT));
    let mut place = None;
    if let Ok(appliance) =
        Appliance::begin(&mut place, black_box(facts::IDENTITY), config, black_box(facts::BOOT))
    {
        loop {
            if appliance.wants_bytes() {
                appliance.push(black_box(0), black_box(0));
            }
            ask(appliance);
            turn(appliance);
        }
    }
    halt()
}

/// What an application may want.
fn ask(appliance: &mut Appliance) {
    match black_box(0) {
        0 => appliance.set_status(black_box(facts::IDLE)),
        1 => appliance.report_stage(black_box(0), black_box(0)),
        2 => appliance.confirm(),
        3 => appliance.emergency(),
        4 => appliance.link_reset(),
        _ => {
            black_box(appliance.busy(black_box(0)));
        }
    }
}

fn turn(appliance: &mut Appliance) {
    match appliance.poll(black_box(0)) {
        Output::Flash(op) => {
            black_box(&op);
            appliance.flash_done(black_box(Ok::<&[u8], FlashFault>(&[])));
        }
        Output::RequestUpgrade { image, mode } => {
            black_box((image, mode));
            appliance.boot_done(black_box(Ok(())));
        }
        Output::Confirm => appliance.boot_done(black_box(Ok(()))),
        Output::Send(frame) => {
            black_box(frame);
        }
        Output::Event(event) => {
            black_box(&event);
        }
        Output::Outcome(report) => {
            black_box(&report);
        }
        Output::Reboot => {}
        Output::Wait { until_ms } => {
            black_box(until_ms);
        }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    halt()
}
