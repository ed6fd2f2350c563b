// SPDX-License-Identifier: Apache-2.0

//! A controller: takes an image once, judges it, keeps it, and brings it to each appliance on
//! its bus; it updates itself the same way.
//!
//! Everything about that is in the core and its ports; what is here is the console: what the
//! controller tells there, and what it can be told by somebody who stands before it.

#![no_std]

mod console;

use rekindle_relay::Event;
use rekindle_session::appliance;
use rekindle_zephyr::relay::{Controller, Keeper};
use rekindle_zephyr::system;
use rekindle_zephyr::trial::Notice;
use zephyr::printkln;

struct Console;

impl Keeper for Console {
    fn event(&mut self, event: &Event) {
        console::event(event);
    }

    fn own_event(&mut self, event: &appliance::Event) {
        console::own_event(event);
    }

    fn trial(&mut self, notice: Notice) {
        console::trial(notice);
    }
}

#[unsafe(no_mangle)]
extern "C" fn rust_main() {
    let mut controller = match Controller::start() {
        Ok(controller) => controller,
        Err(error) => {
            // The watchdog resets a controller that does nothing, and MCUboot goes back from
            // an image that was on trial.
            printkln!("controller: cannot start: {}", error);
            return;
        }
    };
    console::booted(&mut controller);
    let mut console = Console;
    let mut telling = None;
    loop {
        if let Some(word) = system::take_word() {
            console::command(&mut controller, &mut telling, word);
        }
        console::tell_records(&mut controller, &mut telling);
        controller.turn(&mut console);
    }
}
