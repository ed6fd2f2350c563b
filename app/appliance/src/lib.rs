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
mod telemetry;

use fusain::{ApplianceState, DeviceAnnounce, SendTelemetry};
use rekindle_session::appliance::{Event, Status};
use rekindle_zephyr::device::{Application, Device, Options, Outlet};
use rekindle_zephyr::system;
use rekindle_zephyr::trial::{Check, Notice};
use zephyr::printkln;

use heater::Heater;
use self_test::SelfTest;

/// An appliance with one of each: a heater.
const ANNOUNCE: DeviceAnnounce = DeviceAnnounce { motors: 1, thermometers: 1, pumps: 1, glows: 1 };

/// What the shell leaves beside the numbers of states: a reset is wanted.
const RESET: u32 = 255;

struct App {
    heater: Heater,
    self_test: SelfTest,
}

impl Application for App {
    fn status(&mut self, now_ms: u64) -> Status {
        self.heater.status(now_ms)
    }

    fn may_reset(&mut self, now_ms: u64) -> bool {
        self.heater.may_reset(now_ms)
    }

    fn self_test(&mut self, now_ms: u64) -> Check {
        self.self_test.step(self.heater.ready(now_ms))
    }

    fn event(&mut self, now_ms: u64, event: &Event) {
        console::event(event);
        match event {
            Event::StateCommand(command) => self.heater.command(now_ms, command.mode),
            Event::CommunicationLost => self.heater.stop(now_ms),
            Event::Update(_) | Event::Framing(_) | Event::Telemetry(_) => {}
        }
    }

    fn trial(&mut self, notice: Notice) {
        console::trial(notice);
    }

    fn telemetry(&mut self, now_ms: u64, request: Option<SendTelemetry>, outlet: &mut Outlet<'_>) {
        telemetry::send(now_ms, request, &self.heater, outlet);
    }
}

impl App {
    /// What the shell, on its own thread, has left for this one: the number of a state, or [`RESET`].
    fn shell(&mut self, now_ms: u64, device: &mut Device) {
        let Some(word) = system::take_word() else { return };
        if word == RESET {
            printkln!("appliance: resets as soon as it may");
            device.request_reset();
        }
        let Ok(state) = ApplianceState::try_from(word) else { return };
        let harmless = matches!(
            state,
            ApplianceState::Idle
                | ApplianceState::Cooling
                | ApplianceState::Error
                | ApplianceState::EmergencyStop
        );
        if rekindle_zephyr::busy() && !harmless {
            printkln!("appliance: an update is on its way, so not {}", state.name());
        } else {
            printkln!("appliance: {} from the console", state.name());
            self.heater.force(now_ms, state);
            if state == ApplianceState::EmergencyStop {
                // That of a controller has done so by itself.
                device.emergency();
            }
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn rust_main() {
    self_test::before_everything();
    let options = Options { announce: ANNOUNCE };
    let mut device = match Device::start(&options) {
        Ok(device) => device,
        Err(error) => {
            printkln!("appliance: cannot start: {}", error);
            return;
        }
    };
    console::booted(&device);
    let mut app = App { heater: Heater::new(), self_test: SelfTest::new() };
    loop {
        app.shell(system::uptime_ms(), &mut device);
        device.turn(&mut app);
    }
}
