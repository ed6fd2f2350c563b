// SPDX-License-Identifier: Apache-2.0
//! What a sender sees of the receiver, message by message.
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
    Constraint, Extension, InvalidCommand, Message, Mode, OtaActivate, OtaData, OtaStart, OtaState,
    OtaStatus, OtaVerify, Outcome, Reason, StateReject,
};
use mcuboot_image::trailer::SwapType;
use rekindle_session::receiver::{BootFacts, Config, DowngradePolicy, EraseMode, Event, Reply};

fn start(bytes: &[u8]) -> Message<'static> {
    Message::OtaStart(OtaStart { size: bytes.len() as u64, digest: digest(bytes), version: None, slot: None })
}

fn status(state: OtaState, offset: Option<u32>) -> Vec<Reply> {
    vec![Reply::Status(OtaStatus { state, offset, version: None })]
}

fn states(replies: &[Reply]) -> Vec<(OtaState, Option<u32>)> {
    replies
        .iter()
        .map(|r| match r {
            Reply::Status(s) => (s.state, s.offset),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn invalid(field: Option<i32>, constraint: Constraint) -> Vec<Reply> {
    vec![Reply::Invalid(InvalidCommand { code: 1, field, constraint: Some(constraint.number()) })]
}

fn reject(code: i32, reason: Reason) -> Vec<Reply> {
    vec![Reply::Reject(StateReject { code, reason: Some(reason.number()) })]
}

fn data(bytes: &[u8], from: usize, len: usize) -> Message<'_> {
    Message::OtaData(OtaData { offset: from as u64, data: &bytes[from..(from + len).min(bytes.len())] })
}

/// Sends everything from `from` on in chunks of `chunk`; returns the last answer.
fn upload(rig: &mut Rig, bytes: &[u8], from: usize, chunk: usize) -> Vec<Reply> {
    let mut last = vec![];
    for at in (from..bytes.len()).step_by(chunk) {
        last = rig.send(&data(bytes, at, chunk));
        let next = (at + chunk).min(bytes.len()) as u32;
        let state = if next == bytes.len() as u32 { OtaState::Received } else { OtaState::Receiving };
        assert_eq!(last, status(state, Some(next)));
        let durable = rig.receiver.durable().unwrap();
        assert!(next - durable <= SECTOR, "acknowledged {next}, durable {durable}");
    }
    last
}

fn old() -> Vec<u8> {
    image((1, 0, 0), 5000, 1)
}

fn fresh(config: Config) -> Rig {
    Rig::boot(Device::new(config.layout, &old()), config, facts())
}

fn verify() -> Message<'static> {
    Message::OtaVerify(OtaVerify { digest: None })
}

fn activate(mode: Mode) -> Message<'static> {
    Message::OtaActivate(OtaActivate { mode, reboot: true })
}

const QUERY: Message<'static> = Message::OtaQuery;
const ABORT: Message<'static> = Message::OtaAbort;

#[test]
fn an_image_is_received_verified_and_activated() {
    for erase in [EraseMode::Ahead, EraseMode::AtStart] {
        for body in [1, 224, 4096 - 72, 4096 - 71, 20_000, 14 * 4096 - 72] {
            let mut rig = fresh(Config { erase, ..Config::new(layout()) });
            let new = image((2, 0, 0), body, 2);
            assert_eq!(rig.send(&start(&new)), status(OtaState::Receiving, Some(0)));
            upload(&mut rig, &new, 0, 96);
            assert_eq!(rig.device.secondary[SECTOR as usize..][..new.len()], new[..]);
            let verified = rig.send(&verify());
            assert_eq!(states(&verified), [(OtaState::Verified, Some(new.len() as u32))]);
            let activated = rig.send(&activate(Mode::Test));
            assert_eq!(states(&activated), [(OtaState::Activated, Some(new.len() as u32))]);
            assert_eq!(rig.device.upgrade, Some(Mode::Test));
            assert!(rig.rebooted, "body {body}");
        }
    }
}

#[test]
fn a_cut_costs_at_most_a_sector() {
    let config = Config::new(layout());
    let new = image((2, 0, 0), 30_000, 2);
    let mut rig = fresh(config);
    rig.send(&start(&new));
    let mut at = 0;
    for cut in [100_usize, 4095, 4096, 9000, 20_000, 29_000] {
        let mut sent = at;
        while sent < cut {
            rig.send(&data(&new, sent, 100));
            sent = (sent + 100).min(new.len());
        }
        let mut again = Rig::boot(rig.device, config, facts());
        let replies = again.send(&QUERY);
        let [Reply::Status(OtaStatus { state: OtaState::Receiving, offset: Some(offset), .. })] = replies[..]
        else {
            panic!("{replies:?}")
        };
        assert!(sent as u32 - offset <= SECTOR, "sent {sent}, resumed at {offset}");
        assert_eq!(again.send(&start(&new)), status(OtaState::Receiving, Some(offset)));
        at = offset as usize;
        rig = again;
    }
    upload(&mut rig, &new, at, 100);
    let mut rig = Rig::boot(rig.device, config, facts());
    assert_eq!(rig.send(&QUERY), status(OtaState::Received, Some(new.len() as u32)));
    assert_eq!(states(&rig.send(&verify())), [(OtaState::Verified, Some(new.len() as u32))]);
    // After a reboot ACTIVATE verifies again by itself.
    let mut rig = Rig::boot(rig.device, config, facts());
    assert_eq!(states(&rig.send(&QUERY)), [(OtaState::Verified, Some(new.len() as u32))]);
    assert_eq!(
        states(&rig.send(&activate(Mode::Permanent))),
        [(OtaState::Activated, Some(new.len() as u32))]
    );
}

#[test]
fn a_foreign_write_is_noticed_at_resume() {
    let config = Config::new(layout());
    let new = image((2, 0, 0), 30_000, 2);
    let mut rig = fresh(config);
    rig.send(&start(&new));
    upload(&mut rig, &new[..], 0, 100);
    rig.device.secondary[(SECTOR + 2 * SECTOR + 17) as usize] ^= 1;
    let mut rig = Rig::boot(rig.device, config, facts());
    assert_eq!(rig.send(&QUERY), status(OtaState::Receiving, Some(2 * SECTOR)));
    upload(&mut rig, &new, 2 * SECTOR as usize, 100);
    assert_eq!(states(&rig.send(&verify())), [(OtaState::Verified, Some(new.len() as u32))]);
}

#[test]
fn wrong_offsets_and_repeats_are_answered_and_change_nothing() {
    let new = image((2, 0, 0), 9000, 2);
    let mut rig = fresh(Config::new(layout()));
    assert_eq!(rig.send(&data(&new, 0, 96)), reject(0, Reason::InvalidInState));
    rig.send(&start(&new));
    for at in (0..4800).step_by(96) {
        rig.send(&data(&new, at, 96));
    }
    let before = rig.device.clone();
    // A repeat with the same bytes is acknowledged, wherever they lie; one with others is refused.
    for at in [0, 96, 4032, 4704, 4640] {
        assert_eq!(rig.send(&data(&new, at, 96)), status(OtaState::Receiving, Some(4800)), "{at}");
    }
    let other = image((3, 0, 0), 9000, 9);
    for at in [96, 4704] {
        assert_eq!(rig.send(&data(&other, at, 96)), invalid(Some(0), Constraint::ValueConflict));
    }
    assert_eq!(rig.send(&data(&new, 4752, 96)), invalid(Some(0), Constraint::ValueConflict));
    // A sender without a window is told about a gap each time.
    for _ in 0..2 {
        assert_eq!(rig.send(&data(&new, 4896, 96)), invalid(Some(0), Constraint::ValueConflict));
    }
    let empty = Message::OtaData(OtaData { offset: 4800, data: &[] });
    assert_eq!(rig.send(&empty), invalid(Some(1), Constraint::ValueTooLow));
    let beyond = Message::OtaData(OtaData { offset: new.len() as u64 - 10, data: &[0; 96] });
    assert_eq!(rig.send(&beyond), invalid(Some(1), Constraint::ValueTooHigh));
    let far = Message::OtaData(OtaData { offset: u64::MAX, data: &[0; 96] });
    assert_eq!(rig.send(&far), invalid(Some(1), Constraint::ValueTooHigh));
    assert_eq!(rig.send(&verify()), invalid(None, Constraint::ValueTooLow));
    assert!(rig.device.secondary == before.secondary && rig.device.journal == before.journal);
    upload(&mut rig, &new, 4800, 96);
}

#[test]
fn a_window_is_told_once_about_a_gap() {
    let new = image((2, 0, 0), 9000, 2);
    let mut rig = fresh(Config::new(layout()));
    let info = rig.send(&Message::Extension(Extension::InfoRequest));
    let [Reply::Info(info)] = info[..] else { panic!("{info:?}") };
    assert_eq!((info.window, info.chunk_max, info.boot_number), (24, 100, 7));
    rig.send(&start(&new));
    rig.send(&data(&new, 0, 100));
    assert_eq!(rig.send(&data(&new, 200, 100)), invalid(Some(0), Constraint::ValueConflict));
    assert_eq!(rig.send(&data(&new, 300, 100)), []);
    assert_eq!(rig.send(&data(&new, 100, 100)), status(OtaState::Receiving, Some(200)));
    assert_eq!(rig.send(&data(&new, 400, 100)), invalid(Some(0), Constraint::ValueConflict));
}

#[test]
fn half_duplex_answers_wait_for_a_quiet_line() {
    let new = image((2, 0, 0), 9000, 2);
    let mut rig = fresh(Config { half_duplex: true, window: 4, ..Config::new(layout()) });
    rig.send(&Message::Extension(Extension::InfoRequest));
    rig.send(&start(&new));
    assert_eq!(rig.send(&data(&new, 0, 100)), []);
    assert_eq!(rig.send(&data(&new, 200, 100)), []);
    rig.now_ms += 20;
    rig.drain();
    let mut expected = status(OtaState::Receiving, Some(100));
    expected.extend(invalid(Some(0), Constraint::ValueConflict));
    assert_eq!(std::mem::take(&mut rig.replies), expected);
    for at in [100, 200, 300] {
        assert_eq!(rig.send(&data(&new, at, 100)), []);
    }
    assert_eq!(rig.send(&data(&new, 400, 100)), status(OtaState::Receiving, Some(500)));
}

#[test]
fn start_is_judged_before_anything_is_erased() {
    let mut rig = fresh(Config::new(layout()));
    let before = rig.device.secondary.clone();
    let start = |size: u64, slot| Message::OtaStart(OtaStart { size, digest: [1; 32], version: None, slot });
    assert_eq!(rig.send(&start(0, None)), invalid(Some(0), Constraint::ValueTooLow));
    assert_eq!(rig.send(&start(31, None)), invalid(Some(0), Constraint::ValueTooLow));
    assert_eq!(rig.send(&start(14 * 4096 + 1, None)), invalid(Some(0), Constraint::ImageTooLarge));
    assert_eq!(rig.send(&start(u64::MAX, None)), invalid(Some(0), Constraint::ImageTooLarge));
    assert_eq!(rig.send(&start(100, Some(0))), invalid(Some(3), Constraint::ValueInvalid));
    assert_eq!(rig.send(&start(100, Some(2))), invalid(Some(3), Constraint::ValueTooHigh));
    rig.safety.safe = false;
    rig.safety.state = 5;
    assert_eq!(rig.send(&start(100, Some(1))), reject(5, Reason::UnsafeState));
    rig.safety = common::SAFE;
    assert!(rig.device.secondary == before);
    let unconfirmed = BootFacts { confirmed: false, swap_type: SwapType::Revert, ..facts() };
    let mut rig = Rig::boot(rig.device, Config::new(layout()), unconfirmed);
    assert_eq!(rig.send(&start(100, None)), reject(0, Reason::InvalidInState));
    rig.receiver.confirm();
    rig.drain();
    assert_eq!(rig.device.confirms, 1);
    assert_eq!(rig.send(&start(100, None)), status(OtaState::Receiving, Some(0)));
}

#[test]
fn another_image_must_wait_for_abort_or_a_minute() {
    let (one, two) = (image((2, 0, 0), 9000, 2), image((3, 0, 0), 9000, 3));
    let mut rig = fresh(Config::new(layout()));
    rig.send(&start(&one));
    rig.send(&data(&one, 0, 96));
    assert_eq!(rig.send(&start(&two)), reject(1, Reason::UpdateInProgress));
    rig.now_ms += 59_999;
    assert_eq!(rig.send(&start(&two)), reject(1, Reason::UpdateInProgress));
    // Asking, in vain or for the state, does not use the session.
    rig.send(&QUERY);
    rig.now_ms += 1;
    assert!(!rig.receiver.busy(rig.now_ms));
    assert_eq!(rig.send(&start(&two)), status(OtaState::Receiving, Some(0)));
    assert_eq!(rig.send(&ABORT), status(OtaState::Idle, None));
    assert_eq!(rig.send(&ABORT), status(OtaState::Idle, None));
    assert_eq!(rig.send(&start(&one)), status(OtaState::Receiving, Some(0)));
    let mut rig = Rig::boot(rig.device, Config::new(layout()), facts());
    assert_eq!(rig.send(&QUERY), status(OtaState::Receiving, Some(0)));
    rig.send(&ABORT);
    let mut rig = Rig::boot(rig.device, Config::new(layout()), facts());
    assert_eq!(rig.send(&QUERY), status(OtaState::Idle, None));
}

#[test]
fn a_bad_image_is_refused_and_the_next_one_taken() {
    let good = image((2, 0, 0), 9000, 2);
    let mut flipped = good.clone();
    flipped[5000] ^= 1;
    let mut no_magic = good.clone();
    no_magic[0] ^= 1;
    let mut padded = good.clone();
    padded.resize(good.len() + 300, 0xFF);
    let cases = [
        (flipped, Constraint::HashMismatch),
        (no_magic, Constraint::HeaderInvalid),
        (padded, Constraint::HeaderInvalid),
        (good[..8000].to_vec(), Constraint::HeaderInvalid),
    ];
    let mut rig = fresh(Config::new(layout()));
    for (bytes, constraint) in cases {
        rig.send(&start(&bytes));
        upload(&mut rig, &bytes, 0, 96);
        assert_eq!(rig.send(&verify()), invalid(None, constraint));
        assert_eq!(rig.send(&QUERY), status(OtaState::Idle, None));
        assert_eq!(rig.send(&activate(Mode::Test)), reject(0, Reason::InvalidInState));
    }
    // Bytes that differ from the digest in START.
    let Message::OtaStart(begin) = start(&good) else { unreachable!() };
    let lie = OtaStart { digest: [9; 32], ..begin };
    rig.send(&Message::OtaStart(lie));
    upload(&mut rig, &good, 0, 96);
    let other = Message::OtaVerify(OtaVerify { digest: Some([8; 32]) });
    assert_eq!(rig.send(&other), invalid(Some(0), Constraint::HashMismatch));
    assert_eq!(rig.send(&verify()), invalid(None, Constraint::HashMismatch));
    rig.send(&start(&good));
    upload(&mut rig, &good, 0, 96);
    assert_eq!(states(&rig.send(&verify())), [(OtaState::Verified, Some(good.len() as u32))]);
    assert_eq!(rig.device.upgrade, None);
}

#[test]
fn targets_versions_and_downgrades_are_judged_at_verify() {
    let new = image((0, 9, 0), 3000, 2);
    let older = Config { downgrade: DowngradePolicy::Refuse, ..Config::new(layout()) };
    let vendor = Config { vendor: Some([1; 16]), ..Config::new(layout()) };
    for (config, constraint) in [(older, Constraint::VersionDowngrade), (vendor, Constraint::HeaderInvalid)] {
        let mut rig = fresh(config);
        rig.send(&start(&new));
        upload(&mut rig, &new, 0, 96);
        assert_eq!(rig.send(&verify()), invalid(None, constraint));
    }
    let mut rig = fresh(Config::new(layout()));
    let Message::OtaStart(begin) = start(&new) else { unreachable!() };
    rig.send(&Message::OtaStart(OtaStart { version: Some("1.0.0".parse().unwrap()), ..begin }));
    upload(&mut rig, &new, 0, 96);
    assert_eq!(rig.send(&verify()), invalid(None, Constraint::HeaderInvalid));
}

#[test]
fn a_flash_failure_ends_the_session_and_says_so() {
    let new = image((2, 0, 0), 9000, 2);
    for fail in 0..40 {
        let mut rig = fresh(Config::new(layout()));
        rig.device.fail_after = Some(fail);
        let mut replies = rig.send(&start(&new));
        for at in (0..new.len()).step_by(96) {
            if !matches!(replies[..], [Reply::Status(_)]) {
                break;
            }
            replies = rig.send(&data(&new, at, 96));
        }
        let [Reply::Invalid(InvalidCommand { constraint: Some(10), .. })] = replies[..] else {
            panic!("failure {fail}: {replies:?}");
        };
        assert_eq!(rig.send(&QUERY), status(OtaState::Idle, None));
        rig.device.fail_after = None;
        assert_eq!(rig.send(&start(&new)), status(OtaState::Receiving, Some(0)));
        upload(&mut rig, &new, 0, 96);
        assert_eq!(states(&rig.send(&verify())), [(OtaState::Verified, Some(new.len() as u32))]);
    }
}

#[test]
fn emergency_ends_the_session() {
    let new = image((2, 0, 0), 9000, 2);
    let mut rig = fresh(Config::new(layout()));
    rig.send(&start(&new));
    rig.send(&data(&new, 0, 96));
    assert!(rig.receiver.busy(rig.now_ms) && !rig.receiver.busy(rig.now_ms + 60_000));
    rig.receiver.emergency();
    rig.drain();
    assert!(rig.events.contains(&Event::Closed) && !rig.receiver.busy(rig.now_ms));
    assert_eq!(rig.send(&data(&new, 96, 96)), reject(0, Reason::InvalidInState));
}

/// Lets an emergency come behind each flash operation in turn that a command causes; how many there are. Whatever the
/// command wanted, nothing of it touches the slot any more or is asked of the bootloader, and the session is over.
fn emergency_at_every_operation(device: &Device, config: Config, command: &Message<'_>) -> u32 {
    for nth in 1..10_000 {
        let mut rig = Rig::boot(device.clone(), config, facts());
        rig.emergency_in = Some(nth);
        let replies = rig.send(command);
        if rig.emergency_in != Some(0) {
            return nth - 1; // There are no more.
        }
        assert_eq!(rig.since_emergency, 0, "operation {nth}");
        if rig.device.upgrade.is_some() {
            return nth - 1; // It was asked before.
        }
        // There is no answer, unless nothing was left to do but to give it.
        assert!(matches!(replies[..], [] | [Reply::Status(_)]), "operation {nth}: {replies:?}");
        assert_eq!(rig.send(&QUERY), status(OtaState::Idle, None), "operation {nth}");
        assert!(!rig.rebooted && !rig.receiver.busy(rig.now_ms), "operation {nth}");
        // When it is over, the update can come again; an attempt that came to nothing is told as such.
        let new = image((2, 0, 0), 9000, 2);
        assert_eq!(rig.send(&start(&new)), status(OtaState::Receiving, Some(0)));
        let told = outcome(&mut rig, 0).outcome;
        assert!(matches!(told, Outcome::None | Outcome::NotAttempted), "operation {nth}: {told:?}");
        upload(&mut rig, &new, 0, 96);
        assert_eq!(states(&rig.send(&verify())), [(OtaState::Verified, Some(new.len() as u32))]);
    }
    panic!("no end");
}

#[test]
fn emergency_does_not_wait_for_what_is_under_way() {
    let new = image((2, 0, 0), 9000, 2);
    for erase in [EraseMode::Ahead, EraseMode::AtStart] {
        let config = Config { erase, ..Config::new(layout()) };
        let mut rig = fresh(config);
        let erased = emergency_at_every_operation(&rig.device, config, &start(&new));
        assert!(erased >= if erase == EraseMode::AtStart { 16 } else { 3 }, "{erased}");
        rig.send(&start(&new));
        emergency_at_every_operation(&rig.device, config, &data(&new, 0, 101));
        upload(&mut rig, &new, 0, 96);
        assert!(emergency_at_every_operation(&rig.device, config, &verify()) > 36);
        rig.send(&verify());
        // After a boot the image is verified once more, then noted as an attempt; behind that only the request is left.
        assert!(emergency_at_every_operation(&rig.device, config, &activate(Mode::Test)) > 40);
    }
}

#[test]
fn what_was_asked_of_the_bootloader_stays_asked() {
    let new = image((2, 0, 0), 9000, 2);
    let mut rig = fresh(Config::new(layout()));
    rig.send(&start(&new));
    upload(&mut rig, &new, 0, 96);
    rig.send(&verify());
    rig.send(&activate(Mode::Test));
    rig.receiver.emergency();
    rig.drain();
    assert_eq!(rig.device.upgrade, Some(Mode::Test));
    assert_eq!(states(&rig.send(&QUERY))[0].0, OtaState::Activated);
}

fn outcome(rig: &mut Rig, index: u32) -> fusain::OutcomeReport {
    let replies = rig.send(&Message::Extension(Extension::OutcomeRequest { index }));
    let [Reply::Outcome(report)] = replies[..] else { panic!("{replies:?}") };
    report
}

/// Brings `new` to the point where the bootloader is asked, and gives the device.
fn activated(device: Device, new: &[u8]) -> Device {
    let mut rig = Rig::boot(device, Config::new(layout()), facts());
    rig.send(&start(new));
    upload(&mut rig, new, 0, 96);
    rig.send(&verify());
    rig.send(&activate(Mode::Test));
    assert_eq!(outcome(&mut rig, 0).outcome, Outcome::Pending);
    rig.device
}

/// What a swap leaves: the new image runs, the old one lies at the secondary slot's start.
fn swapped(device: &Device, new: &[u8], old: &[u8]) -> Device {
    let mut after = device.clone();
    after.primary.fill(0xFF);
    after.primary[..new.len()].copy_from_slice(new);
    after.secondary.fill(0xFF);
    after.secondary[..old.len()].copy_from_slice(old);
    let info = after.primary.len() - 16 - 24;
    after.primary[info] = 2;
    after
}

#[test]
fn the_outcome_is_told_from_the_evidence() {
    let (old, new) = (old(), image((2, 0, 0), 9000, 2));
    let config = Config::new(layout());
    let asked = activated(Device::new(layout(), &old), &new);

    // Under test, then confirmed.
    let testing = BootFacts { confirmed: false, swap_type: SwapType::Revert, ..facts() };
    let mut rig = Rig::boot(swapped(&asked, &new, &old), config, testing);
    assert!(rig.events.contains(&Event::UnderTest { attempt: 1 }));
    let report = outcome(&mut rig, 0);
    assert_eq!((report.outcome, report.stage, report.attempt), (Outcome::UnderTest, Some(0), 1));
    rig.receiver.report_stage(3, -5);
    rig.drain();
    let failed = rig.device.clone();
    rig.receiver.confirm();
    rig.drain();
    assert_eq!(outcome(&mut rig, 0).outcome, Outcome::Confirmed);
    let mut rig = Rig::boot(rig.device, config, facts());
    assert_eq!(outcome(&mut rig, 0).outcome, Outcome::Confirmed);

    // Reverted: the mark of the target names the stage.
    let mut back = swapped(&asked, &old, &new);
    back.journal = failed.journal;
    let mut rig = Rig::boot(back, config, BootFacts { reset_cause: 16, ..facts() });
    let report = outcome(&mut rig, 0);
    assert_eq!((report.outcome, report.stage, report.code), (Outcome::Reverted, Some(3), Some(-5)));
    assert_eq!((report.reset_cause, report.mode), (Some(16), Some(Mode::Test)));

    // Reverted without a mark, refused, not attempted, and something else altogether.
    let mut silent = swapped(&asked, &old, &new);
    let info = silent.primary.len() - 16 - 24;
    silent.primary[info] = 4;
    let mut refused = asked.clone();
    refused.secondary[SECTOR as usize..][..32].fill(0);
    let third = image((9, 0, 0), 100, 9);
    let cases = [
        (silent, Outcome::Reverted),
        (refused, Outcome::Refused),
        (asked.clone(), Outcome::NotAttempted),
        (swapped(&asked, &third, &old), Outcome::Unknown),
    ];
    for (device, expected) in cases {
        let mut rig = Rig::boot(device, config, facts());
        assert_eq!(outcome(&mut rig, 0).outcome, expected);
        assert_eq!(outcome(&mut rig, 1).outcome, Outcome::None);
    }

    // Still pending: nothing is settled, and the session is shown as activated.
    let pending = BootFacts { swap_type: SwapType::Test, ..facts() };
    let mut rig = Rig::boot(asked, config, pending);
    assert_eq!(outcome(&mut rig, 0).outcome, Outcome::Pending);
    assert_eq!(rig.receiver.state(), OtaState::Activated);
    assert_eq!(rig.send(&start(&new)), reject(4, Reason::InvalidInState));
    assert_eq!(rig.send(&ABORT), reject(4, Reason::InvalidInState));
}

#[test]
fn the_last_outcomes_are_kept() {
    let (old, new) = (old(), image((2, 0, 0), 9000, 2));
    let mut device = Device::new(layout(), &old);
    for round in 1..=9 {
        let asked = activated(device, &new);
        let mut refused = asked;
        refused.secondary[SECTOR as usize..][..32].fill(0);
        let mut rig = Rig::boot(refused, Config::new(layout()), facts());
        let kept = outcome(&mut rig, 0).total;
        assert!(kept >= u32::min(round, 4), "{kept} kept after {round}");
        for index in 0..kept {
            assert_eq!(outcome(&mut rig, index).attempt, round - index);
        }
        device = rig.device;
    }
}

#[test]
fn activation_can_wait_for_its_reboot() {
    let new = image((2, 0, 0), 3000, 2);
    let mut rig = fresh(Config::new(layout()));
    rig.send(&start(&new));
    upload(&mut rig, &new, 0, 96);
    rig.send(&verify());
    let later = Message::OtaActivate(OtaActivate { mode: Mode::Test, reboot: false });
    assert_eq!(states(&rig.send(&later))[0].0, OtaState::Activated);
    assert!(!rig.rebooted && rig.events.contains(&Event::SwapPending { mode: Mode::Test }));
    assert_eq!(rig.send(&activate(Mode::Permanent)), reject(4, Reason::InvalidInState));
    assert_eq!(states(&rig.send(&activate(Mode::Test)))[0].0, OtaState::Activated);
    assert!(rig.rebooted);
}

/// A cut inside the bootloader's request leaves half a trailer, which nobody can complete: it is erased before
/// the next request.
#[test]
fn a_session_that_outlived_a_boot_asks_on_a_blank_trailer() {
    let new = image((2, 0, 0), 9000, 2);
    let asked = activated(Device::new(layout(), &old()), &new);
    let mut torn = asked;
    let end = torn.secondary.len();
    torn.secondary[end - 16..end - 8].fill(0x77);
    torn.upgrade = None;
    let mut rig = Rig::boot(torn, Config::new(layout()), facts());
    assert_eq!(outcome(&mut rig, 0).outcome, Outcome::NotAttempted);
    assert_eq!(states(&rig.send(&QUERY)), [(OtaState::Verified, Some(new.len() as u32))]);
    assert_eq!(states(&rig.send(&activate(Mode::Test))), [(OtaState::Activated, Some(new.len() as u32))]);
    assert!(rig.device.secondary[end - 16..].iter().all(|b| *b == 0xFF));
    assert_eq!(rig.device.upgrade, Some(Mode::Test));
}

/// Evidence of an earlier revert is not taken for a new one, and the request on record tells the two apart.
#[test]
fn a_second_revert_without_a_mark_is_told_by_its_request() {
    let (old, new) = (old(), image((2, 0, 0), 9000, 2));
    let config = Config::new(layout());
    let mut before = Device::new(layout(), &old);
    let info = before.primary.len() - 16 - 24;
    before.primary[info] = 4;
    let asked = activated(before, &new);
    let mut rig = Rig::boot(asked.clone(), config, facts());
    assert_eq!(outcome(&mut rig, 0).outcome, Outcome::Reverted);
    // The same, cut before the request: nothing tells, and the image is still worth its bytes.
    let mut cut = asked;
    let requested = cut.journal.chunks(32).position(|b| b[0] == 8).unwrap();
    cut.journal[requested * 32..][..32].fill(0xFF);
    let mut rig = Rig::boot(cut, config, facts());
    assert_eq!(outcome(&mut rig, 0).outcome, Outcome::Unknown);
    assert_eq!(states(&rig.send(&QUERY)), [(OtaState::Verified, Some(new.len() as u32))]);
}

/// A read that fails in passing is asked for again; one that goes on failing counts.
#[test]
fn a_passing_read_fault_changes_nothing() {
    use rekindle_session::port::{FlashFault, FlashOp};
    use rekindle_session::receiver::{Output, READ_TRIES, Receiver};
    for (faults, heard) in [(READ_TRIES - 1, false), (READ_TRIES, true)] {
        let mut receiver = Receiver::new(Config::new(layout()), facts()).unwrap();
        let device = Device::new(layout(), &old());
        let (mut left, mut faulted) = (faults, false);
        loop {
            match receiver.poll(0) {
                Output::Flash(FlashOp::Read { area, offset, len }) => {
                    let primary = area == rekindle_session::port::Area::Primary;
                    let from = if primary { &device.primary } else { &device.journal };
                    let bytes = from[offset as usize..(offset + len) as usize].to_vec();
                    let fails = primary && left > 0;
                    left -= u8::from(fails);
                    receiver.flash_done(if fails { Err(FlashFault) } else { Ok(&bytes) });
                }
                Output::Event(Event::Fault { .. }) => faulted = true,
                Output::Wait { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(faulted, heard);
        assert_eq!(receiver.running_version().major, u8::from(!heard));
    }
}
