// SPDX-License-Identifier: Apache-2.0

//! What the controller tells on its console, and what the shell, on its own thread, has left
//! for it (`shell.c`).

use fusain::Address;
use fusain::relay::RosterEntry;
use rekindle_relay::{AuditReader, Event, RootError};
use rekindle_session::appliance;
use rekindle_session::receiver::Event as Update;
use rekindle_zephyr::relay::Controller;
use rekindle_zephyr::system;
use rekindle_zephyr::trial::Notice;
use zephyr::printkln;

/// Words of `shell.c`.
mod word {
    pub(super) const STATUS: u32 = 0;
    pub(super) const DEVICES: u32 = 1;
    pub(super) const ROOT_CONFIRM: u32 = 2;
    pub(super) const ROOT_OFF: u32 = 3;
    pub(super) const DOWNGRADE_ON: u32 = 4;
    pub(super) const DOWNGRADE_OFF: u32 = 5;
    pub(super) const RECORDS: u32 = 6;
}

pub(crate) fn booted(controller: &mut Controller) {
    let boot = controller.device().boot();
    let confirmed = if boot.confirmed { "confirmed" } else { "under test" };
    printkln!(
        "controller: address {}, boot {:08x}, {}, reset cause {:#x}",
        controller.device().identity().address,
        boot.boot_number,
        confirmed,
        boot.reset_cause
    );
    printkln!("controller: room for an image of {} bytes", controller.room());
    stack();
}

/// How much of the stack nothing has touched yet.
fn stack() {
    printkln!("controller: {} bytes of stack to spare", system::stack_unused());
}

/// The record of root mode that is being told, a few entries in each turn of the loop.
#[derive(Default)]
pub(crate) struct Telling {
    reader: AuditReader,
    told: u32,
}

/// Does what somebody at the console wants.
pub(crate) fn command(controller: &mut Controller, telling: &mut Option<Telling>, word: u32) {
    let now_ms = system::uptime_ms();
    match word {
        word::STATUS => status(controller),
        word::DEVICES => devices(controller),
        word::ROOT_CONFIRM => switched("confirmed", controller.core().root_confirm(now_ms)),
        word::ROOT_OFF => {
            switched("off: waits for 'controller root confirm'", controller.core().root_ask_off(now_ms));
        }
        word::DOWNGRADE_ON => switched("downgrades allowed", controller.core().root_downgrade(true)),
        word::DOWNGRADE_OFF => switched("downgrades refused", controller.core().root_downgrade(false)),
        // Asked for again while it is being told, it is not begun anew.
        word::RECORDS => {
            telling.get_or_insert_default();
        }
        _ => {}
    }
}

fn switched(what: &str, result: Result<(), RootError>) {
    match result {
        Ok(()) => printkln!("root mode: {}", what),
        Err(error) => printkln!("root mode: {}", error),
    }
}

fn status(controller: &mut Controller) {
    let (room, overruns) = (controller.room(), controller.overruns());
    let core = controller.core();
    let (stored, there, size) = core.stored();
    printkln!("store: {}, {} of {} bytes, room for {}", stored.name(), there, size, room);
    if let Some(approved) = core.approved() {
        let unsigned = if approved.is_unsigned() { ", UNSIGNED" } else { "" };
        printkln!("image: version {}{}", approved.version(), unsigned);
    }
    let root = core.root();
    let on = |switch: bool| if switch { "ON" } else { "off" };
    printkln!("root mode: {}, downgrades {}", on(root.is_on()), on(root.allows_downgrade()));
    printkln!("record of root mode: {} entries", core.audit_records());
    printkln!("bus: {} bytes lost", overruns);
    stack();
    printkln!("clients: {} bytes of stack to spare", controller.clients_stack_unused());
}

fn devices(controller: &mut Controller) {
    let mut count = 0_u32;
    for RosterEntry { address, stage, outcome, cause, offset, version, .. } in controller.core().roster() {
        count = count.saturating_add(1);
        match version {
            Some(version) => printkln!(
                "device {}: version {}, {} at {}, {}, {}",
                address,
                version,
                stage.name(),
                offset,
                outcome.name(),
                cause.name()
            ),
            None => printkln!(
                "device {}: {} at {}, {}, {}",
                address,
                stage.name(),
                offset,
                outcome.name(),
                cause.name()
            ),
        }
    }
    printkln!("devices: {}", count);
}

/// Goes on telling what is on record about root mode, if somebody wants that.
pub(crate) fn tell_records(controller: &mut Controller, telling: &mut Option<Telling>) {
    let Some(Telling { reader, told }) = telling else { return };
    let more = controller.records(reader, |record| {
        *told = told.saturating_add(1);
        let (what, when) = (record.kind.words(), record.when());
        if record.address == Address::BROADCAST {
            printkln!("record {}: {}: {}", told, when, what);
            return;
        }
        let digest = record.digest.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first));
        printkln!("record {}: {}: {} to {}, SHA-256 {:016x}...", told, when, what, record.address, digest);
    });
    if !more {
        printkln!("records: {}", told);
        *telling = None;
    }
}

pub(crate) fn event(event: &Event) {
    match *event {
        Event::Started { resumed } => printkln!("store: read, {} bytes of an image", resumed),
        Event::Receiving { size } => printkln!("store: receiving {} bytes", size),
        Event::Received => printkln!("store: received"),
        Event::Approved { unsigned: false } => printkln!("store: approved"),
        Event::Approved { unsigned: true } => printkln!("store: approved, UNSIGNED"),
        Event::Refused(why) => printkln!("store: refused, {}", why.name()),
        Event::RefusedFor(address, why) => printkln!("{}: refused, {}", address, why.name()),
        Event::Stage(address, stage) => printkln!("{}: {}", address, stage.name()),
        Event::Retry(address, cause, ms) => {
            printkln!("{}: {}, again in {} ms", address, cause.name(), ms);
        }
        Event::Settled(address, outcome, cause) => {
            printkln!("{}: {}, {}", address, outcome.name(), cause.name());
        }
        Event::Removed => printkln!("store: nobody needs the image"),
        Event::Recorded(kind) => printkln!("root mode: on record: {:?}", kind),
        Event::StoreFailed(file) => printkln!("store: failed, {:?}", file),
    }
}

pub(crate) fn own_event(event: &appliance::Event) {
    let appliance::Event::Update(update) = event else { return };
    match *update {
        Update::Started { size } => printkln!("own update: started, {} bytes", size),
        Update::Resumed { offset, size } => printkln!("own update: resumed at {} of {}", offset, size),
        Update::Progress { .. } => {}
        Update::Verified { version } => printkln!("own update: verified, version {}", version),
        Update::SwapPending { mode } => printkln!("own update: pending, {}", mode.name()),
        Update::Closed => printkln!("own update: closed"),
        Update::UnderTest { attempt } => printkln!("own update: attempt {} is under test", attempt),
        Update::Settled { attempt, outcome } => {
            printkln!("own update: attempt {}: {}", attempt, outcome.name());
            stack();
        }
        Update::Fault { area } => printkln!("own update: flash fault in area {}", area as u8),
    }
}

pub(crate) fn trial(notice: Notice) {
    match notice {
        Notice::Stage { stage, code } => printkln!("self-test: stage {}, code {}", stage, code),
        Notice::Confirmed => printkln!("self-test: passed, confirmed"),
        Notice::Failed => printkln!("self-test: failed, going back"),
    }
}
