// SPDX-License-Identifier: Apache-2.0
//! What users of a sender rely on, case by case, against the reference device.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_core,
    reason = "tests"
)]

mod sender_model;

use fusain::{Constraint, InfoFlags, Mode, OtaState, Outcome};
use rekindle_session::sender::{
    CommandKind, Completion, Link, Patience, Plan, PlanError, SendError, SenderEvent, Task,
};
use sender_model::{Device, Fate, Faults, Resume, TARGET, World, image, push};

fn serial() -> Link {
    Link::serial(115_200)
}

const START: u8 = 0x40;
const DATA: u8 = 0x41;
const VERIFY: u8 = 0x42;
const ACTIVATE: u8 = 0x43;

#[test]
fn lock_step_with_a_base_peer() {
    let image = image(20_001);
    let mut world = World::new(push(&image), serial(), Device::base(), &image);
    let report = world.run().unwrap();
    assert_eq!(report.completion, Completion::Untold, "the base protocol cannot tell more");
    assert_eq!(world.device.running, TARGET);
    assert_eq!(report.info, None);
    assert_eq!(world.count(START), 1);
    assert_eq!(world.count(DATA), 20_001_usize.div_ceil(96));
    assert_eq!(world.count(VERIFY), 1);
    assert_eq!(world.count(ACTIVATE), 1);
    assert_eq!(report.counters.bytes_again, 0);
    assert_eq!(world.saw(|e| *e == SenderEvent::BasePeer), 2, "asked once for each boot");
    assert_eq!(world.saw(|e| matches!(e, SenderEvent::Started { window: 1, chunk: 96 })), 1);
    assert_eq!(world.saw(|e| *e == SenderEvent::Rebooted), 1);
}

#[test]
fn windowed_with_an_extension_peer_to_confirmed() {
    let image = image(20_001);
    let mut world = World::new(push(&image), serial(), Device::windowed(24), &image);
    let report = world.run().unwrap();
    assert_eq!(report.completion, Completion::Confirmed);
    assert_eq!(world.device.running, TARGET);
    assert_eq!(world.count(DATA), 20_001_usize.div_ceil(100));
    assert_eq!(report.counters.timeouts, 0);
    assert_eq!(world.saw(|e| matches!(e, SenderEvent::Started { window: 24, chunk: 100 })), 1);
    let order: Vec<_> = world
        .events
        .iter()
        .filter(|e| !matches!(e, SenderEvent::Acknowledged { .. } | SenderEvent::Peer(_)))
        .map(core::mem::discriminant)
        .collect();
    let expected = [
        SenderEvent::Started { window: 0, chunk: 0 },
        SenderEvent::Verifying,
        SenderEvent::Verified,
        SenderEvent::Activated,
        SenderEvent::Rebooted,
        SenderEvent::Outcome(report.outcome.unwrap()),
    ];
    let expected: Vec<_> = expected.iter().map(core::mem::discriminant).collect();
    assert_eq!(&order[..expected.len()], expected, "{:?}", world.events);
}

#[test]
fn the_smaller_window_and_chunk_win() {
    let image = image(5_000);
    for (plan_window, device_window, expected) in [(4, 24, 4), (200, 7, 7), (1, 24, 1)] {
        let device = Device { chunk_max: 64, ..Device::windowed(device_window) };
        let plan = Plan { window_max: plan_window, ..push(&image) };
        let mut world = World::new(plan, serial(), device, &image);
        world.run().unwrap();
        let started = SenderEvent::Started { window: expected, chunk: 64 };
        assert_eq!(world.saw(|e| *e == started), 1, "{:?}", world.events);
    }
}

#[test]
fn nothing_is_sent_when_the_image_already_runs() {
    let image = image(5_000);
    let device = Device { running: TARGET, ..Device::windowed(8) };
    let mut world = World::new(push(&image), serial(), device.clone(), &image);
    assert_eq!(world.run().unwrap().completion, Completion::AlreadyRunning { confirmed: true });
    assert!(world.sent.iter().all(|(_, code)| matches!(code, 0x2F | 0x46)), "{:?}", world.sent);

    let mut forced = World::new(Plan { force: true, ..push(&image) }, serial(), device, &image);
    assert_eq!(forced.run().unwrap().completion, Completion::Confirmed);
    assert_eq!(forced.count(START), 1);
}

#[test]
fn an_image_found_under_test_is_followed_not_sent() {
    let image = image(5_000);
    let outcome = Some((Outcome::UnderTest, Some(TARGET)));
    let device = Device { running: TARGET, confirmed: false, outcome, ..Device::windowed(8) };
    let mut world = World::new(push(&image), serial(), device.clone(), &image);
    assert_eq!(world.run().unwrap().completion, Completion::UnderTest);
    assert_eq!(world.count(START), 0);

    let mut unfollowed = World::new(Plan { follow: false, ..push(&image) }, serial(), device, &image);
    assert_eq!(unfollowed.run().unwrap().completion, Completion::AlreadyRunning { confirmed: false });
}

#[test]
fn every_fate_is_reported_as_it_was() {
    let image = image(3_000);
    for (fate, expected) in [
        (Fate::Confirm(5_000), Completion::Confirmed),
        (Fate::Linger, Completion::UnderTest),
        (Fate::Revert(10_000), Completion::Reverted),
        (Fate::Refuse, Completion::RefusedByBootloader),
        (Fate::NotAttempted, Completion::NotAttempted),
        (Fate::Forget, Completion::UnderTest),
    ] {
        let mut world = World::new(push(&image), serial(), Device { fate, ..Device::windowed(8) }, &image);
        let report = world.run().unwrap();
        assert_eq!(report.completion, expected, "{fate:?}");
        let reboots = if expected == Completion::Reverted { 2 } else { 1 };
        assert_eq!(report.counters.reboots, reboots, "{fate:?}: {:?}", world.events);
        let flags = report.info.unwrap().flags;
        assert_eq!(flags.contains(InfoFlags::CONFIRMED), expected != Completion::UnderTest, "{fate:?}");
        if fate == Fate::Revert(10_000) {
            let outcome = report.outcome.unwrap();
            assert_eq!((outcome.stage, outcome.code, outcome.reset_cause), (Some(7), Some(-5), Some(16)));
            assert!(report.completion.is_rejection());
        }
    }
}

#[test]
fn a_permanent_image_without_a_record_counts_as_confirmed_because_it_runs() {
    let image = image(3_000);
    let plan = Plan { mode: Mode::Permanent, ..push(&image) };
    let mut world = World::new(plan, serial(), Device { fate: Fate::Forget, ..Device::windowed(8) }, &image);
    assert_eq!(world.run().unwrap().completion, Completion::Confirmed);
}

#[test]
fn a_device_that_never_returns_is_reported_so() {
    let image = image(3_000);
    for device in [Device::base(), Device::windowed(8)] {
        let mut world = World::new(push(&image), serial(), Device { fate: Fate::Die, ..device }, &image);
        let error = world.run().unwrap_err();
        assert!(matches!(error, SendError::NotReturned { waited_ms: 120_000.. }), "{error:?}");
        assert!(world.now_us < 200_000_000);
    }
}

#[test]
fn a_base_device_may_come_back_speaking_the_extension() {
    let image = image(3_000);
    let device = Device { upgrades_protocol: true, ..Device::base() };
    let mut world = World::new(push(&image), serial(), device, &image);
    assert_eq!(world.run().unwrap().completion, Completion::Confirmed);
}

#[test]
fn a_new_sender_resumes_where_the_old_one_was() {
    let image = image(40_000);
    for device in [Device::base(), Device::windowed(24)] {
        let mut world = World::new(push(&image), serial(), device, &image);
        world.run_while(|world| world.device.bytes().len() < 20_000);
        let had = u32::try_from(world.device.bytes().len()).unwrap();
        world.restart_sender(push(&image), serial());
        world.events.clear();
        let report = world.run().unwrap();
        assert_eq!(world.device.running, TARGET);
        assert!(report.counters.resumed_at >= had, "{} < {had}", report.counters.resumed_at);
        assert!(report.counters.data_bytes <= u64::from(40_000 - had), "{:?}", report.counters);
    }
}

#[test]
fn a_reboot_of_the_device_costs_at_most_a_sector_and_what_was_in_flight() {
    let image = image(60_000);
    for (window, resume) in
        [(0, Resume::AtStart), (0, Resume::Alone), (24, Resume::AtStart), (24, Resume::Alone)]
    {
        let device = Device { window, resume, ..Device::windowed(window) };
        let mut world = World::new(push(&image), serial(), device, &image);
        world.run_while(|world| world.device.bytes().len() < 30_000);
        let now_us = world.now_us;
        world.device.reboot(now_us);
        let report = world.run().unwrap();
        assert_eq!(world.device.running, TARGET);
        let bound = 4_096 + 2 * u64::from(window.max(1)) * 100;
        assert!(report.counters.bytes_again <= bound, "{window} {resume:?}: {:?}", report.counters);
    }
}

#[test]
fn a_device_that_initializes_after_a_reboot_is_waited_for() {
    let image = image(20_000);
    for device in [Device { resume: Resume::AtStart, ..Device::base() }, Device::windowed(24)] {
        let device = Device { initializes_us: 700_000, ..device };
        let mut world = World::new(push(&image), serial(), device, &image);
        world.run_while(|world| world.device.bytes().len() < 9_000);
        let now_us = world.now_us;
        world.device.reboot(now_us);
        world.run().unwrap();
        assert_eq!(world.device.running, TARGET);
    }
}

/// After its reboot the device answers every frame at once: nobody has told it of a window. Those answers run
/// into the burst, so the sender must notice soon.
#[test]
fn a_reboot_on_a_shared_line_is_noticed() {
    let image = image(40_000);
    for (boot_ms, at) in [(3_000, 20_480), (1, 20_480), (50, 20_500), (300, 21_000), (1, 22_222)] {
        let device = Device { coalesced: true, boot_ms, ..Device::windowed(16) };
        let plan = Plan { activate: false, ..push(&image) };
        let mut world = World::new(plan, Link::serial_half_duplex(115_200), device, &image);
        world.run_while(|world| world.device.bytes().len() < at);
        let (now_us, collisions) = (world.now_us, world.collisions);
        world.device.reboot(now_us);
        world.run().unwrap();
        assert_eq!((world.device.bytes(), collisions), (&image[..], 0));
        assert!(world.now_us - now_us < 20_000_000, "{boot_ms} {at}: {} us", world.now_us - now_us);
    }
}

#[test]
fn a_base_device_that_forgets_starts_over() {
    let image = image(30_000);
    let mut world = World::new(push(&image), serial(), Device::base(), &image);
    world.run_while(|world| world.device.bytes().len() < 15_000);
    let now_us = world.now_us;
    world.device.reboot(now_us);
    let report = world.run().unwrap();
    assert_eq!((world.device.running, report.completion), (TARGET, Completion::Untold));
}

#[test]
fn a_cut_link_resumes() {
    let image = image(60_000);
    for device in [Device::base(), Device::windowed(24)] {
        let mut world = World::new(push(&image), Link::ip(), device, &image);
        for at in [10_000, 30_000, 50_000] {
            world.run_while(|world| world.device.bytes().len() < at);
            world.cut();
            world.sleep(5_000);
            world.mend();
        }
        let report = world.run().unwrap();
        assert_eq!(world.device.running, TARGET);
        assert_eq!(report.counters.links_lost, 3);
        // No reboot: only what was in flight is sent again.
        assert!(report.counters.bytes_again <= 3 * 2_400, "{:?}", report.counters);
    }
}

#[test]
fn a_link_that_stays_down_ends_resumably() {
    let image = image(60_000);
    let mut world = World::new(push(&image), Link::ip(), Device::windowed(24), &image);
    world.run_while(|world| world.device.bytes().len() < 10_000);
    world.cut();
    let error = world.run().unwrap_err();
    assert!(matches!(error, SendError::LinkLost { offset: 7_000..=10_100, away_ms: 60_000.. }), "{error:?}");
    assert!(error.resumable());
}

#[test]
fn the_reboot_after_activation_may_take_the_link_with_it() {
    let image = image(3_000);
    for (device, expected) in
        [(Device::base(), Completion::Untold), (Device::windowed(8), Completion::Confirmed)]
    {
        let mut world = World::new(push(&image), Link::ip(), device, &image);
        world.run_while(|world| world.device.reboots == 0);
        world.cut();
        world.sleep(20_000);
        world.mend();
        assert_eq!(world.run().unwrap().completion, expected);
    }
}

#[test]
fn a_reboot_in_no_time_is_a_reboot() {
    let image = image(3_000);
    for (linger_ms, boot_ms) in [(0, 0), (0, 1), (1, 0), (0, 15)] {
        let device = Device { linger_ms, boot_ms, ..Device::base() };
        let mut world = World::new(push(&image), Link::ip(), device, &image);
        world.latency_us = 0;
        assert_eq!(world.run().unwrap().completion, Completion::Untold);
        assert_eq!((world.count(START), world.device.reboots), (1, 1), "{linger_ms} + {boot_ms} ms");
    }
}

#[test]
fn a_lost_answer_to_activate_is_not_taken_for_a_failure() {
    let image = image(3_000);
    for (device, expected) in
        [(Device::base(), Completion::Untold), (Device::windowed(8), Completion::Confirmed)]
    {
        // STATUS after: START, data, VERIFY; then the one of ACTIVATE is lost with the reboot.
        let mut world = World::new(push(&image), serial(), device, &image);
        world.run_while(|world| world.count(ACTIVATE) == 0);
        world.device.swallow = (0x45, 1);
        let report = world.run().unwrap();
        let tail: Vec<_> = world.sent.iter().filter(|(_, c)| *c != DATA).collect();
        assert_eq!(report.completion, expected);
        assert_eq!((world.device.running, world.device.reboots), (TARGET, 1), "{tail:x?} {:?}", world.events);
    }
}

#[test]
fn lost_answers_of_every_other_command_are_made_up_for() {
    let image = image(3_000);
    for device in [Device::base(), Device::windowed(8)] {
        for command in [START, VERIFY] {
            let mut world = World::new(push(&image), serial(), device.clone(), &image);
            world.run_while(|world| world.count(command) == 0);
            world.device.swallow = (0x45, 1);
            world.run().unwrap();
            assert_eq!(world.device.running, TARGET);
            assert!(world.count(command) <= 2);
        }
    }
}

#[test]
fn unsafe_is_reported_or_waited_for() {
    let image = image(3_000);
    for device in [Device::base(), Device::windowed(8)] {
        let device = Device { safe_from_us: 30_000_000, ..device };
        let mut world = World::new(push(&image), serial(), device.clone(), &image);
        let error = world.run().unwrap_err();
        assert!(
            matches!(error, SendError::Unsafe { at: CommandKind::Start, appliance_state: 5, .. }),
            "{error:?}"
        );
        assert!(error.resumable());

        let patience = Patience { unsafe_ms: 60_000, ..Patience::default() };
        let mut patient = World::new(Plan { patience, ..push(&image) }, serial(), device, &image);
        patient.run().unwrap();
        assert_eq!(patient.device.running, TARGET);
        assert_eq!(patient.saw(|e| *e == SenderEvent::Paused), 1);
    }
}

#[test]
fn unsafe_in_mid_transfer_and_at_activation_is_waited_for() {
    let image = image(9_000);
    for device in [Device::base(), Device::windowed(8)] {
        for code in [DATA, VERIFY, ACTIVATE] {
            let patience = Patience { unsafe_ms: 60_000, ..Patience::default() };
            let plan = Plan { patience, ..push(&image) };
            let mut world = World::new(plan, serial(), device.clone(), &image);
            world.run_while(|world| world.count(code) == 0);
            world.device.safe_from_us = world.now_us + 15_000_000;
            let report = world.run().unwrap();
            assert_eq!((world.device.running, world.device.reboots), (TARGET, 1), "{code:#x} {report:?}");
        }
    }
}

#[test]
fn a_foreign_session_is_left_alone() {
    let image = image(9_000);
    for mut device in [Device::base(), Device::windowed(8)] {
        device.occupy(&[0xAA; 500]);
        let mut world = World::new(push(&image), serial(), device.clone(), &image);
        let error = world.run().unwrap_err();
        assert!(matches!(error, SendError::Busy { state: OtaState::Receiving, .. }), "{error:?}");
        assert_eq!(world.device.bytes(), &[0xAA; 500], "not one byte of ours");
        assert_eq!(world.count(DATA), 0);

        let patience = Patience { busy_ms: 30_000, ..Patience::default() };
        let mut patient = World::new(Plan { patience, ..push(&image) }, serial(), device, &image);
        patient.run_while(|world| world.now_us < 20_000_000);
        patient.device.receive(patient.now_us, &fusain::Message::OtaAbort);
        patient.run().unwrap();
        assert_eq!(patient.device.running, TARGET);
    }
}

#[test]
fn fatal_refusals_say_what_is_wrong() {
    use fusain::Constraint::{FlashWriteFailed, HeaderInvalid, SignatureInvalid, VersionDowngrade};
    let image = image(3_000);
    let run = |device| World::new(push(&image), serial(), device, &image).run().unwrap_err();
    for device in [Device::base(), Device::windowed(8)] {
        let small = Device { slot: 2_999, ..device.clone() };
        assert_eq!(run(small), SendError::TooLarge { size: 3_000 });
        let at = CommandKind::Verify;
        let verdict = |constraint| run(Device { verdict: Some(constraint), ..device.clone() });
        assert_eq!(verdict(HeaderInvalid), SendError::WrongImage { at });
        assert_eq!(verdict(SignatureInvalid), SendError::SignatureInvalid { at });
        assert!(matches!(verdict(VersionDowngrade), SendError::Downgrade { at: CommandKind::Verify, .. }));
        assert_eq!(verdict(FlashWriteFailed), SendError::FlashFailed { offset: 3_000 });
    }
}

#[test]
fn a_wrong_digest_is_tried_once_more_and_no_more() {
    let image = image(3_000);
    for device in [Device::base(), Device::windowed(8)] {
        let mut once = World::new(push(&image), serial(), Device { damages: 1, ..device.clone() }, &image);
        let report = once.run().unwrap();
        assert_eq!((once.device.running, report.counters.restarts), (TARGET, 1));
        assert_eq!(report.counters.bytes_again, 3_000);
        assert_eq!(once.saw(|e| *e == SenderEvent::FromScratch), 1);

        let mut always = World::new(push(&image), serial(), Device { damages: 99, ..device }, &image);
        assert_eq!(always.run().unwrap_err(), SendError::HashMismatch { restarts: 1 });
        assert_eq!(always.device.damages, 97, "sent twice");
    }
}

#[test]
fn an_unconfirmed_device_is_not_asked() {
    let image = image(3_000);
    let device = Device { confirmed: false, ..Device::windowed(8) };
    let mut world = World::new(push(&image), serial(), device, &image);
    assert!(matches!(world.run().unwrap_err(), SendError::Unconfirmed { .. }));
    assert_eq!(world.count(START), 0);

    // A base device refuses START; whatever the reason, that is what is reported, after a second try.
    let mut base = World::new(push(&image), serial(), Device { confirmed: false, ..Device::base() }, &image);
    let error = base.run().unwrap_err();
    assert!(matches!(error, SendError::NoProgress { refusal: Some(_), .. }), "{error:?}");
}

#[test]
fn a_pending_image_is_ours_to_boot_or_somebody_elses() {
    let image = image(3_000);
    let mut device = Device::windowed(8);
    device.activated(TARGET);
    let mut ours = World::new(push(&image), serial(), device.clone(), &image);
    assert_eq!(ours.run().unwrap().completion, Completion::Confirmed);
    assert_eq!((ours.count(START), ours.count(ACTIVATE)), (0, 1));

    device.activated([5; 32]);
    let mut foreign = World::new(push(&image), serial(), device, &image);
    assert_eq!(foreign.run().unwrap_err(), SendError::SwapPending);
    assert_eq!(foreign.device.reboots, 0);

    let mut base = Device::base();
    base.activated([5; 32]);
    assert_eq!(World::new(push(&image), serial(), base, &image).run().unwrap_err(), SendError::SwapPending);
}

#[test]
fn plans_stop_where_they_say() {
    let image = image(3_000);
    for device in [Device::base(), Device::windowed(8)] {
        let run = |plan| {
            let mut world = World::new(plan, serial(), device.clone(), &image);
            let report = world.run().unwrap();
            (report.completion, world.device.state, world.device.reboots)
        };
        let verified = run(Plan { activate: false, ..push(&image) });
        assert_eq!(verified, (Completion::Verified, OtaState::Verified, 0));
        let activated = run(Plan { reboot: false, ..push(&image) });
        assert_eq!(activated, (Completion::Activated, OtaState::Activated, 0));
        let unfollowed = run(Plan { follow: false, ..push(&image) });
        assert_eq!(unfollowed.0, Completion::Activated);
    }
}

#[test]
fn power_lost_before_activate_took_effect_costs_one_more_activate() {
    let image = image(30_000);
    let older = [None, Some((Outcome::Confirmed, Some([3; 32]))), Some((Outcome::Unknown, Some([3; 32])))];
    for (outcome, follow) in older.into_iter().flat_map(|outcome| [(outcome, true), (outcome, false)]) {
        let device = |cuts_at_activate| Device { cuts_at_activate, outcome, ..Device::windowed(8) };
        let plan = Plan { follow, ..push(&image) };

        let mut once = World::new(plan, serial(), device(1), &image);
        let report = once.run().unwrap();
        let expected = if follow { Completion::Confirmed } else { Completion::Activated };
        assert_eq!((report.completion, once.count(VERIFY)), (expected, 2));
        assert_eq!(once.device.cuts_at_activate, 0);
        assert_eq!(report.counters.bytes_again, 0, "the device has the image");

        let mut always = World::new(plan, serial(), device(99), &image);
        match always.run() {
            Ok(report) => assert_eq!((report.completion, follow), (Completion::Unknown, true)),
            Err(error) => {
                assert_eq!((error, follow), (SendError::NotTaken { state: OtaState::Received }, false));
            }
        }
        assert_eq!(always.device.cuts_at_activate, 96, "three, and then it is somebody's to look at");
    }
}

/// The newest outcome on record is about the very image that is pushed now: an earlier try of it.
#[test]
fn an_earlier_verdict_about_the_same_image_is_not_this_ones() {
    let image = image(30_000);
    let verdicts = [Outcome::Reverted, Outcome::Refused, Outcome::NotAttempted, Outcome::Confirmed];
    for (verdict, runs) in verdicts.into_iter().flat_map(|verdict| [(verdict, false), (verdict, true)]) {
        let running = if runs { TARGET } else { [1; 32] };
        let outcome = Some((verdict, Some(TARGET)));
        let device = |cuts_at_activate| Device {
            cuts_at_activate,
            outcome,
            running,
            attempts: 5,
            fate: Fate::Revert(5_000),
            ..Device::windowed(8)
        };
        let plan = Plan { force: true, ..push(&image) };

        let mut once = World::new(plan, serial(), device(1), &image);
        let report = once.run().unwrap();
        assert_eq!(report.completion, Completion::Reverted, "{verdict:?}, {runs}: the second ACTIVATE's own");
        assert_eq!(report.outcome.unwrap().attempt, 6);
        assert_eq!(once.device.cuts_at_activate, 0);

        let mut always = World::new(plan, serial(), device(99), &image);
        let report = always.run().unwrap();
        assert_eq!(report.completion, Completion::Unknown, "{verdict:?}, {runs}: no attempt was ever made");
    }
}

#[test]
fn a_reboot_while_activate_waits_for_safety_activates_nothing() {
    let image = image(30_000);
    for device in [Device::base(), Device::windowed(8)] {
        let patience = Patience { unsafe_ms: 60_000, ..Patience::default() };
        let plan = Plan { follow: false, patience, ..push(&image) };
        let mut world = World::new(plan, serial(), device, &image);
        world.run_while(|world| world.device.state != OtaState::Verified);
        world.device.safe_from_us = world.now_us + 20_000_000;
        world.run_while(|world| world.saw(|e| *e == SenderEvent::Paused) == 0);
        let now_us = world.now_us;
        world.device.reboot(now_us);
        assert_eq!(world.run().unwrap().completion, Completion::Activated);
        assert_eq!(world.device.state, OtaState::Activated, "at the moment it is said");
    }
}

#[test]
fn status_abort_and_activate() {
    for mut device in [Device::base(), Device::windowed(8)] {
        device.occupy(&[0xAA; 500]);
        let mut world = World::new(Plan::status_only(), serial(), device.clone(), &[]);
        let report = world.run().unwrap();
        assert_eq!(report.completion, Completion::Status);
        assert_eq!(report.status.unwrap().offset, Some(500));
        assert_eq!(report.info.is_some(), device.window > 0);
        let outcomes = world.saw(|e| matches!(e, SenderEvent::Outcome(_)));
        assert_eq!(outcomes, if device.window > 0 { 3 } else { 0 });

        let mut activate = World::new(Plan::activate_only(Mode::Test), serial(), device.clone(), &[]);
        let nothing = SendError::NothingToActivate { state: OtaState::Receiving, offset: Some(500) };
        assert_eq!(activate.run().unwrap_err(), nothing);
        assert_eq!(activate.count(ACTIVATE), 0);

        let mut abort = World::new(Plan::abort_only(), serial(), device.clone(), &[]);
        assert_eq!(abort.run().unwrap().completion, Completion::Aborted);
        assert_eq!(abort.device.state, OtaState::Idle);

        device.activated(TARGET);
        let error = World::new(Plan::abort_only(), serial(), device.clone(), &[]).run().unwrap_err();
        assert!(matches!(error, SendError::Refused { at: CommandKind::Abort, .. }), "{error:?}");

        device.verified();
        let mut activate = World::new(Plan::activate_only(Mode::Test), serial(), device.clone(), &[]);
        let expected = if device.window > 0 { Completion::Confirmed } else { Completion::Untold };
        assert_eq!(activate.run().unwrap().completion, expected);

        // Received, not verified, and damaged: there is nothing here to send it again from.
        device.state = OtaState::Received;
        device.verdict = Some(Constraint::HashMismatch);
        let mut activate = World::new(Plan::activate_only(Mode::Test), serial(), device.clone(), &[]);
        assert_eq!(activate.run().unwrap_err(), SendError::HashMismatch { restarts: 0 });
        assert_eq!((activate.count(START), activate.count(ACTIVATE)), (0, 0));
    }
}

#[test]
fn silence_ends_with_what_was_reached() {
    let image = image(30_000);
    for device in [Device::base(), Device::windowed(24)] {
        // Gone: no pings either.
        let mut gone = World::new(push(&image), serial(), device.clone(), &image);
        gone.run_while(|world| world.device.bytes().len() < 9_000);
        gone.faults = Faults { loss: 1_000, ..Faults::default() };
        let before_us = gone.now_us;
        let error = gone.run().unwrap_err();
        assert!(matches!(error, SendError::Silent { alive: false, silent_ms: 60_000.., .. }), "{error:?}");
        assert!(error.resumable() && gone.now_us - before_us < 90_000_000);

        // Alive, but deaf to updates: known sooner, and said so.
        let mut deaf = World::new(push(&image), serial(), device.clone(), &image);
        deaf.run_while(|world| world.device.bytes().len() < 9_000);
        deaf.device.mute = true;
        let error = deaf.run().unwrap_err();
        assert!(matches!(error, SendError::Silent { alive: true, .. }), "{error:?}");

        // Never there.
        let mut absent = World::new(Plan::status_only(), serial(), device, &[]);
        absent.faults = Faults { loss: 1_000, ..Faults::default() };
        assert!(matches!(absent.run().unwrap_err(), SendError::Silent { alive: false, .. }));
        assert!(absent.now_us < 15_000_000);
    }
}

#[test]
fn pings_keep_the_appliance_awake_through_a_slow_transfer() {
    let image = image(40_000);
    let mut world = World::new(push(&image), Link::serial(19_200), Device::base(), &image);
    world.run().unwrap();
    let pings: Vec<u64> = world.sent.iter().filter(|(_, code)| *code == 0x2F).map(|(at, _)| *at).collect();
    assert!(pings.len() >= 4);
    assert!(pings.windows(2).all(|pair| pair[1] - pair[0] <= 10_000_000), "{pings:?}");
}

#[test]
fn a_terse_base_device_is_understood() {
    let image = image(3_000);
    let device = Device { terse: true, ..Device::base() };
    let mut world = World::new(push(&image), serial(), device, &image);
    world.run().unwrap();
    assert_eq!(world.device.running, TARGET);
}

#[test]
fn half_duplex_bursts_never_collide() {
    let image = image(40_000);
    for (device, baud) in [(Device::windowed(16), 115_200), (Device::base(), 19_200)] {
        let device = Device { coalesced: device.window > 0, ..device };
        let link = Link::serial_half_duplex(baud);
        let mut world = World::new(push(&image), link, device, &image);
        let report = world.run().unwrap();
        assert_eq!((world.device.running, world.collisions), (TARGET, 0));
        assert_eq!(report.counters.bytes_again, 0);
    }
    // And with loss: still no collision, and every loss costs at most the rest of its burst.
    let device = Device { coalesced: true, ..Device::windowed(16) };
    let mut world = World::new(push(&image), Link::serial_half_duplex(115_200), device, &image);
    world.faults.loss = 20;
    let report = world.run().unwrap();
    assert_eq!((world.device.running, world.collisions), (TARGET, 0));
    assert!(report.counters.bytes_again > 0);
}

#[test]
fn a_wrong_plan_sends_nothing() {
    let image = image(100);
    for (plan, error) in [
        (Plan { size: 0, ..push(&image) }, PlanError::EmptyImage),
        (Plan { chunk: 101, ..push(&image) }, PlanError::Chunk),
        (Plan { chunk_max: 0, ..push(&image) }, PlanError::Chunk),
        (Plan { window_max: 0, ..push(&image) }, PlanError::Window),
    ] {
        let mut world = World::new(plan, serial(), Device::base(), &image);
        assert_eq!(world.run().unwrap_err(), SendError::Plan(error));
        assert!(world.sent.is_empty());
    }
    assert_eq!(Plan::status_only().task, Task::Status);
}
