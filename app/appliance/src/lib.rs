// SPDX-License-Identifier: Apache-2.0

//! An appliance that can be updated over its link.
//!
//! Everything about the update is in the session and its ports; what is here is what an
//! appliance of one's own would bring along: its state, its self-test, what it tells on
//! the console.

#![no_std]
// Zephyr's options, which only its build knows.
#![allow(unexpected_cfgs)]

mod console;
mod heater;
mod self_test;

use fusain::DeviceAnnounce;
use rekindle_session::appliance::{Event, Status};
use rekindle_session::receiver::EraseMode;
use rekindle_zephyr::device::{Application, Device, Options, Request};
use zephyr::printkln;

use heater::Heater;
use self_test::SelfTest;

/// An appliance with one of each: a heater.
const ANNOUNCE: DeviceAnnounce = DeviceAnnounce { motors: 1, thermometers: 1, pumps: 1, glows: 1 };

struct App {
    heater: Heater,
    self_test: SelfTest,
}

impl Application for App {
    fn status(&mut self, now_ms: u64) -> Status {
        self.heater.status(now_ms)
    }

    fn event(&mut self, _now_ms: u64, event: &Event) {
        console::event(event);
        self.heater.event(event);
        self.self_test.event(event);
    }

    fn answered(&mut self, _now_ms: u64) {
        self.self_test.answered();
    }

    fn request(&mut self, now_ms: u64) -> Option<Request> {
        let request = self.self_test.next(now_ms, self.heater.ready(now_ms));
        if let Some(request) = request {
            console::request(request);
        }
        request
    }
}

#[unsafe(no_mangle)]
extern "C" fn rust_main() {
    let erase = if cfg!(CONFIG_REKINDLE_ERASE_AT_START) { EraseMode::AtStart } else { EraseMode::Ahead };
    let options = Options { announce: ANNOUNCE, point_to_point: true, erase };
    let device = match Device::start(&options) {
        Ok(device) => device,
        Err(error) => {
            printkln!("appliance: cannot start: {}", error);
            return;
        }
    };
    console::booted(device);
    let mut app = App { heater: Heater::new(), self_test: SelfTest::new() };
    let mut watchdog = start_watchdog();
    loop {
        device.turn(&mut app);
        if let Some(watchdog) = &mut watchdog {
            watchdog.feed();
        }
    }
}

#[cfg(CONFIG_REKINDLE_WATCHDOG)]
fn start_watchdog() -> Option<rekindle_zephyr::watchdog::Watchdog> {
    let timeout_ms = u32::try_from(zephyr::kconfig::CONFIG_APPLIANCE_WATCHDOG_MS).unwrap_or(u32::MAX);
    let watchdog = rekindle_zephyr::watchdog::Watchdog::start(timeout_ms);
    if let Err(error) = watchdog {
        printkln!("appliance: no watchdog: {}", error);
    }
    watchdog.ok()
}

#[cfg(not(CONFIG_REKINDLE_WATCHDOG))]
fn start_watchdog() -> Option<rekindle_zephyr::watchdog::Watchdog> {
    None
}
