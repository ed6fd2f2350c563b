// SPDX-License-Identifier: Apache-2.0
//! Another writer in the secondary slot: lent to it between sessions, or written behind the session's back.
#![allow(
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]
#![allow(clippy::cast_possible_truncation)]

mod common;

use common::{Device, Rig, SECTOR, digest, facts, image, layout};
use fusain::{
    Extension, InfoFlags, Message, Mode, OtaActivate, OtaData, OtaStart, OtaState, OtaVerify, Outcome, Reason,
};
use mcuboot_image::trailer::SwapType;
use rekindle_session::port::FlashFault;
use rekindle_session::receiver::{BootFacts, Config, Event, Lend, Output, Reply};

const QUERY: Message<'static> = Message::OtaQuery;
const VERIFY: Message<'static> = Message::OtaVerify(OtaVerify { digest: None });
const ACTIVATE: Message<'static> = Message::OtaActivate(OtaActivate { mode: Mode::Test, reboot: true });
/// Longer than a session may lie idle.
const IDLE_MS: u64 = 61_000;

fn old() -> Vec<u8> {
    image((1, 0, 0), 5000, 1)
}

fn new() -> Vec<u8> {
    image((2, 0, 0), 20_000, 2)
}

fn config() -> Config {
    Config::new(layout())
}

fn fresh() -> Rig {
    Rig::boot(Device::new(layout(), &old()), config(), facts())
}

fn start(bytes: &[u8]) -> Message<'static> {
    Message::OtaStart(OtaStart { size: bytes.len() as u64, digest: digest(bytes), version: None, slot: None })
}

/// A session with everything received up to `len`.
fn received(bytes: &[u8], len: usize) -> Rig {
    let mut rig = fresh();
    rig.send(&start(bytes));
    for at in (0..len).step_by(96) {
        rig.send(&Message::OtaData(OtaData { offset: at as u64, data: &bytes[at..(at + 96).min(len)] }));
    }
    rig
}

/// Asks for the slot as a device does: once a turn.
fn lend(rig: &mut Rig) -> Lend {
    for _ in 0..3 {
        match rig.receiver.lend(rig.now_ms) {
            Lend::Soon => rig.drain(),
            answer => return answer,
        }
    }
    panic!("neither lent nor refused");
}

/// What the other writer leaves: an image of its own where an update belongs.
fn overwrite(device: &mut Device, bytes: &[u8]) {
    device.secondary.fill(0xFF);
    device.secondary[SECTOR as usize..][..bytes.len()].copy_from_slice(bytes);
}

fn state(rig: &mut Rig) -> (OtaState, Option<u32>) {
    match rig.send(&QUERY)[..] {
        [Reply::Status(status)] => (status.state, status.offset),
        ref other => panic!("{other:?}"),
    }
}

fn rejected(rig: &mut Rig, message: &Message<'_>) -> Option<Reason> {
    match rig.send(message)[..] {
        [Reply::Reject(reject)] => reject.reason.and_then(|n| Reason::try_from(n).ok()),
        _ => None,
    }
}

fn outcome(rig: &mut Rig) -> (Outcome, u32) {
    match rig.send(&Message::Extension(Extension::OutcomeRequest { index: 0 }))[..] {
        [Reply::Outcome(report)] => (report.outcome, report.attempt),
        ref other => panic!("{other:?}"),
    }
}

fn swap_pending(rig: &mut Rig) -> bool {
    match rig.send(&Message::Extension(Extension::InfoRequest))[..] {
        [Reply::Info(info)] => info.flags.contains(InfoFlags::SWAP_PENDING),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_slot_that_is_lent_takes_no_session_until_it_is_back() {
    let mut rig = fresh();
    assert_eq!(lend(&mut rig), Lend::Lent);
    assert!(rig.receiver.busy(rig.now_ms), "the application must not start anything");
    let before = rig.device.secondary.clone();
    assert_eq!(rejected(&mut rig, &start(&new())), Some(Reason::UpdateInProgress));
    assert!(rig.device.secondary == before);
    rig.receiver.take_back(true, SwapType::None);
    assert!(!rig.receiver.busy(rig.now_ms));
    rig.send(&start(&new()));
    assert_eq!(state(&mut rig), (OtaState::Receiving, Some(0)));
}

#[test]
fn a_session_in_use_keeps_its_slot_and_an_idle_one_gives_way_for_good() {
    let image = new();
    for len in [0, 96, 9000, image.len()] {
        let mut rig = received(&image, len);
        assert_eq!(lend(&mut rig), Lend::Refused, "{len}");
        assert_eq!(rig.receiver.progress(), Some((len as u32, image.len() as u32)));
        rig.now_ms += IDLE_MS;
        rig.events.clear();
        assert_eq!(lend(&mut rig), Lend::Lent, "{len}");
        assert_eq!(rig.events, [Event::Closed]);
        assert_eq!(state(&mut rig), (OtaState::Idle, None));
        // Whatever becomes of the other writer, the session does not come back.
        overwrite(&mut rig.device, &image);
        let mut rig = Rig::boot(rig.device, config(), facts());
        assert_eq!(state(&mut rig), (OtaState::Idle, None));
    }
}

/// The other writer writes only when it has been told that the slot is its own; so a cut at any operation before
/// leaves a session that may be resumed, and one after it leaves none.
#[test]
fn nothing_is_resumed_over_foreign_bytes_wherever_the_power_goes() {
    let image = new();
    for cut in 0.. {
        let mut rig = received(&image, 9000);
        rig.now_ms += IDLE_MS;
        let mut left = cut;
        let lent = loop {
            match rig.receiver.lend(rig.now_ms) {
                Lend::Lent => break true,
                Lend::Soon => {}
                Lend::Refused => panic!("idle"),
            }
            if !drain_some(&mut rig, &mut left) {
                break false;
            }
        };
        if lent {
            // Its bytes differ from the session's in the last received sector alone.
            rig.device.secondary[SECTOR as usize + 8500] = 0;
        }
        let mut rig = Rig::boot(rig.device, config(), facts());
        let expected = if lent { (OtaState::Idle, None) } else { (OtaState::Receiving, Some(2 * SECTOR)) };
        let closed = (OtaState::Idle, None);
        let after = state(&mut rig);
        assert!(after == expected || (!lent && after == closed), "cut {cut}: {after:?}");
        if lent {
            assert!(cut > 0, "the journal must be told first");
            return;
        }
    }
}

/// Drains with at most `left` writes and erases; false when the power went before the next one.
fn drain_some(rig: &mut Rig, left: &mut u32) -> bool {
    loop {
        match rig.receiver.poll(rig.now_ms) {
            Output::Flash(op) => {
                use rekindle_session::port::FlashOp;
                if !matches!(op, FlashOp::Read { .. }) {
                    if *left == 0 {
                        return false;
                    }
                    *left -= 1;
                }
                let result = rig.device.apply(&op);
                rig.receiver.flash_done(result.as_deref().map_err(|fault| *fault));
            }
            Output::Event(event) => rig.events.push(event),
            Output::Wait { .. } => return true,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_was_verified_before_is_not_activated_afterwards() {
    let image = new();
    let mut rig = received(&image, image.len());
    rig.send(&VERIFY);
    assert_eq!(state(&mut rig).0, OtaState::Verified);
    assert_eq!(lend(&mut rig), Lend::Refused);
    rig.now_ms += IDLE_MS;
    assert_eq!(lend(&mut rig), Lend::Lent);
    // The very same bytes, but a byte.
    rig.device.secondary[SECTOR as usize + 700] ^= 1;
    assert_eq!(rejected(&mut rig, &ACTIVATE), Some(Reason::InvalidInState));
    rig.receiver.take_back(true, SwapType::None);
    assert_eq!(rejected(&mut rig, &ACTIVATE), Some(Reason::InvalidInState));
    let mut rig = Rig::boot(rig.device, config(), facts());
    assert_eq!(rejected(&mut rig, &ACTIVATE), Some(Reason::InvalidInState));
    assert_eq!(rig.device.upgrade, None);
}

#[test]
fn a_pending_upgrade_and_an_image_under_test_keep_the_slot() {
    let image = new();
    let mut rig = received(&image, image.len());
    rig.send(&VERIFY);
    rig.send(&ACTIVATE);
    rig.now_ms += 10 * IDLE_MS;
    assert_eq!(lend(&mut rig), Lend::Refused);

    // Nor is it lent while a boot has not yet found out what is pending.
    let pending = BootFacts { swap_type: SwapType::Test, ..facts() };
    let mut booting = rekindle_session::receiver::Receiver::new(config(), pending).unwrap();
    assert_eq!(booting.lend(0), Lend::Soon);
    let mut rig = Rig::boot(rig.device, config(), pending);
    assert_eq!(lend(&mut rig), Lend::Refused);
    assert_eq!(outcome(&mut rig), (Outcome::Pending, 1));

    // Swapped: the target runs, the slot holds the image to revert to.
    let mut device = rig.device;
    device.primary[..image.len()].copy_from_slice(&image);
    let testing = BootFacts { confirmed: false, swap_type: SwapType::Revert, ..facts() };
    let mut rig = Rig::boot(device, config(), testing);
    assert_eq!(lend(&mut rig), Lend::Refused);
    assert_eq!(outcome(&mut rig), (Outcome::UnderTest, 1));
}

#[test]
fn an_upgrade_that_the_other_writer_asked_for_is_pending() {
    let mut rig = fresh();
    assert_eq!(lend(&mut rig), Lend::Lent);
    overwrite(&mut rig.device, &new());
    rig.receiver.take_back(true, SwapType::Test);
    assert!(swap_pending(&mut rig));
    let before = rig.device.secondary.clone();
    assert_eq!(rejected(&mut rig, &start(&new())), Some(Reason::InvalidInState));
    assert!(rig.device.secondary == before);
    // Its own it may still change.
    assert_eq!(lend(&mut rig), Lend::Lent);
}

#[test]
fn an_attempt_that_failed_is_settled_before_the_slot_is_lent() {
    let image = new();
    let mut rig = received(&image, image.len());
    rig.send(&VERIFY);
    fail_activation(&mut rig);
    rig.now_ms += IDLE_MS;
    assert_eq!(lend(&mut rig), Lend::Lent);
    assert_eq!(outcome(&mut rig), (Outcome::NotAttempted, 1));
    // The other writer installs the very image that the attempt was about: that is not the attempt's doing.
    let mut device = rig.device;
    device.primary[..image.len()].copy_from_slice(&image);
    let mut rig = Rig::boot(device, config(), facts());
    assert_eq!(outcome(&mut rig), (Outcome::NotAttempted, 1));
}

/// ACTIVATE, and the bootloader takes no request.
fn fail_activation(rig: &mut Rig) {
    let mut payload = [0; 114];
    let len = ACTIVATE.encode(&mut payload).unwrap();
    rig.receiver.receive(rig.now_ms, rig.safety, &payload[..len]);
    for _ in 0..1000 {
        match rig.receiver.poll(rig.now_ms) {
            Output::Flash(op) => {
                let result = rig.device.apply(&op);
                rig.receiver.flash_done(result.as_deref().map_err(|fault| *fault));
            }
            Output::RequestUpgrade { .. } => rig.receiver.boot_done(Err(FlashFault)),
            Output::Wait { .. } => return,
            _ => {}
        }
    }
    panic!("the receiver never comes to rest");
}

/// The record by which MCUboot says that serial recovery was entered, appended as it does that
/// (`modules/rekindle/src/recovery.c`).
fn enter_recovery(device: &mut Device) {
    const RECORD: [u8; 32] = {
        let mut bytes = [0xFF; 32];
        bytes[0] = 9;
        bytes[1] = 1;
        let crc = 0xBFED_1B2F_u32.to_le_bytes();
        let mut i = 0;
        while i < 4 {
            bytes[28 + i] = crc[i];
            i += 1;
        }
        bytes
    };
    let blank = |at: &usize| device.journal[*at..*at + 32].iter().all(|byte| *byte == 0xFF);
    let end = (0..SECTOR as usize).step_by(32).find(blank).unwrap();
    device.journal[end..end + 32].copy_from_slice(&RECORD);
}

#[test]
fn no_session_outlives_serial_recovery() {
    let image = new();
    for len in [9000, image.len()] {
        let mut rig = received(&image, len);
        if len == image.len() {
            rig.send(&VERIFY);
        }
        enter_recovery(&mut rig.device);
        let mut rig = Rig::boot(rig.device, config(), facts());
        assert_eq!(state(&mut rig), (OtaState::Idle, None));
        rig.send(&start(&image));
        assert_eq!(state(&mut rig), (OtaState::Receiving, Some(0)));
    }
}

#[test]
fn after_serial_recovery_only_the_running_image_is_evidence() {
    let image = new();
    let mut rig = received(&image, image.len());
    rig.send(&VERIFY);
    rig.send(&ACTIVATE);
    let mut device = rig.device;
    enter_recovery(&mut device);
    let with = |secondary: &[u8], primary: &[u8], facts| {
        let mut device = device.clone();
        overwrite(&mut device, secondary);
        device.primary[..primary.len()].copy_from_slice(primary);
        Rig::boot(device, config(), facts)
    };
    // Erased in recovery: without the record this would be "refused by the bootloader".
    assert_eq!(outcome(&mut with(&[], &old(), facts())), (Outcome::Unknown, 1));
    // Something else is pending now.
    let pending = BootFacts { swap_type: SwapType::Test, ..facts() };
    let mut rig = with(&common::image((7, 0, 0), 9000, 7), &old(), pending);
    assert_eq!(outcome(&mut rig), (Outcome::Unknown, 1));
    assert_eq!(rejected(&mut rig, &start(&image)), Some(Reason::InvalidInState));
    // A third image runs.
    let third = common::image((7, 0, 0), 5000, 7);
    assert_eq!(outcome(&mut with(&[], &third, facts())), (Outcome::Unknown, 1));
    // The target itself runs: confirmed, or under test and then reverted with its stage on record.
    assert_eq!(outcome(&mut with(&[], &image, facts())), (Outcome::Confirmed, 1));
    let testing = BootFacts { confirmed: false, swap_type: SwapType::Revert, ..facts() };
    let mut rig = with(&old(), &image, testing);
    assert_eq!(outcome(&mut rig), (Outcome::UnderTest, 1));
    let mut device = rig.device;
    device.primary[..old().len()].copy_from_slice(&old());
    let mut rig = Rig::boot(device, config(), facts());
    assert_eq!(outcome(&mut rig), (Outcome::Reverted, 1));
}
