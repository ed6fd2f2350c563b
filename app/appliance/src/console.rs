// SPDX-License-Identifier: Apache-2.0

//! What the appliance tells on its console: one line per thing that happened.

use rekindle_session::appliance::Event;
use rekindle_session::receiver::Event as Update;
use rekindle_zephyr::device::Device;
use rekindle_zephyr::system;
use rekindle_zephyr::trial::Notice;
use zephyr::printkln;

pub(crate) fn booted(device: &Device) {
    let boot = device.boot();
    let confirmed = if boot.confirmed { "confirmed" } else { "under test" };
    printkln!(
        "appliance: address {}, boot {:08x}, {}, reset cause {:#x}",
        device.identity().address,
        boot.boot_number,
        confirmed,
        boot.reset_cause
    );
    stack();
}

/// How much of the stack nothing has touched yet.
fn stack() {
    printkln!("appliance: {} bytes of stack to spare", system::stack_unused());
}

pub(crate) fn event(event: &Event) {
    match event {
        Event::Update(update) => self::update(update),
        Event::StateCommand(command) => printkln!("appliance: command, mode {}", command.mode),
        Event::CommunicationLost => printkln!("appliance: communication lost"),
        Event::Telemetry(_) => {}
        Event::Framing(_) => printkln!("appliance: no frame"),
    }
}

fn update(event: &Update) {
    match *event {
        Update::Started { size } => printkln!("update: started, {} bytes", size),
        Update::Resumed { offset, size } => printkln!("update: resumed at {} of {}", offset, size),
        Update::Progress { durable, size } => printkln!("update: {} of {}", durable, size),
        Update::Verified { version } => {
            printkln!("update: verified, version {}", version);
            stack();
        }
        Update::SwapPending { mode } => printkln!("update: pending, {}", mode.name()),
        Update::Closed => printkln!("update: closed"),
        Update::UnderTest { attempt } => printkln!("update: attempt {} is under test", attempt),
        Update::Settled { attempt, outcome } => {
            printkln!("update: attempt {}: {}", attempt, outcome.name());
            stack();
        }
        Update::Fault { area } => printkln!("update: flash fault in area {}", area as u8),
    }
}

pub(crate) fn trial(notice: Notice) {
    match notice {
        Notice::Stage { stage, code } => printkln!("self-test: stage {}, code {}", stage, code),
        Notice::Confirmed => printkln!("self-test: passed, confirmed"),
        Notice::Failed => printkln!("self-test: failed, going back"),
    }
}
