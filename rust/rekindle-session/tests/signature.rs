// SPDX-License-Identifier: Apache-2.0
//! VERIFY with trusted keys: which signature the driver is asked for, and what its answer decides.
#![allow(
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]
#![allow(clippy::cast_possible_truncation)]

mod common;

use common::{Device, Rig, digest, facts, image, image_with, layout};
use fusain::{
    Constraint, Extension, InfoFlags, InvalidCommand, Message, Mode, OtaActivate, OtaData, OtaStart,
    OtaState, OtaVerify,
};
use rekindle_session::receiver::{BootFacts, Config, DowngradePolicy, Reply};

const KEY_HASH: u16 = 0x01;
const RSA: u16 = 0x20;
const ECDSA: u16 = 0x22;
const ED25519: u16 = 0x24;

const TRUSTED: [u8; 32] = [0xA1; 32];
const SPARE: [u8; 32] = [0xA2; 32];
const STRANGER: [u8; 32] = [0xE5; 32];
const SIGNATURE: &[u8] = &[0x51; 71];
const OTHER: &[u8] = &[0x52; 64];

/// TLVs of an image's unprotected area: type and value.
type Tlvs<'a> = &'a [(u16, &'a [u8])];

fn signed(tlvs: Tlvs<'_>) -> Vec<u8> {
    image_with((2, 0, 0), 3000, 2, tlvs)
}

fn rig(keys: &'static [[u8; 32]]) -> Rig {
    let config = Config { keys, ..Config::new(layout()) };
    Rig::boot(Device::new(config.layout, &image((1, 0, 0), 5000, 1)), config, facts())
}

fn upload(rig: &mut Rig, image: &[u8]) {
    let start = OtaStart { size: image.len() as u64, digest: digest(image), version: None, slot: None };
    rig.send(&Message::OtaStart(start));
    for (n, chunk) in image.chunks(96).enumerate() {
        rig.send(&Message::OtaData(OtaData { offset: n as u64 * 96, data: chunk }));
    }
    assert_eq!(rig.receiver.state(), OtaState::Received);
}

fn verify(rig: &mut Rig) -> Vec<Reply> {
    rig.send(&Message::OtaVerify(OtaVerify { digest: None }))
}

fn refused(constraint: Constraint) -> Vec<Reply> {
    vec![Reply::Invalid(InvalidCommand { code: 1, field: None, constraint: Some(constraint.number()) })]
}

fn is_verified(replies: &[Reply]) -> bool {
    matches!(replies, [Reply::Status(status)] if status.state == OtaState::Verified)
}

#[test]
fn the_signature_of_a_trusted_key_is_asked_for_and_decides() {
    let image = signed(&[(KEY_HASH, &TRUSTED), (ECDSA, SIGNATURE)]);
    for right in [true, false] {
        let mut rig = rig(&[TRUSTED]);
        rig.signature_right = right;
        upload(&mut rig, &image);
        let answer = verify(&mut rig);
        assert_eq!(rig.signatures, [(0, SIGNATURE.to_vec())]);
        if right {
            assert!(is_verified(&answer), "{answer:?}");
        } else {
            // For good, and before anything is asked of the bootloader.
            assert_eq!(answer, refused(Constraint::SignatureInvalid));
            assert_eq!(rig.receiver.state(), OtaState::Idle);
            let activate = OtaActivate { mode: Mode::Test, reboot: true };
            assert!(matches!(rig.send(&Message::OtaActivate(activate))[..], [Reply::Reject(_)]));
            assert_eq!(rig.device.upgrade, None);
        }
    }
}

#[test]
fn what_no_trusted_key_has_signed_is_refused_unasked() {
    let long = [0x53; 256];
    let cases: [Tlvs<'_>; 5] = [
        &[],
        &[(KEY_HASH, &STRANGER), (ECDSA, SIGNATURE)],
        // A signature counts for the key that is named before it.
        &[(ECDSA, SIGNATURE), (KEY_HASH, &TRUSTED)],
        &[(KEY_HASH, &TRUSTED)],
        // Longer than any that can be checked.
        &[(KEY_HASH, &TRUSTED), (RSA, &long)],
    ];
    for tlvs in cases {
        let mut rig = rig(&[TRUSTED, SPARE]);
        upload(&mut rig, &signed(tlvs));
        assert_eq!(verify(&mut rig), refused(Constraint::SignatureInvalid), "{tlvs:x?}");
        assert!(rig.signatures.is_empty(), "{tlvs:x?}");
    }
}

#[test]
fn each_trusted_key_will_do_and_is_named_by_its_place() {
    let cases: [(Tlvs<'_>, usize, &[u8]); 3] = [
        (&[(KEY_HASH, &SPARE), (ED25519, OTHER)], 1, OTHER),
        (&[(KEY_HASH, &STRANGER), (ECDSA, SIGNATURE), (KEY_HASH, &SPARE), (ED25519, OTHER)], 1, OTHER),
        (&[(KEY_HASH, &SPARE), (ED25519, OTHER), (KEY_HASH, &TRUSTED), (ECDSA, SIGNATURE)], 0, SIGNATURE),
    ];
    for (tlvs, place, bytes) in cases {
        let mut rig = rig(&[TRUSTED, SPARE]);
        upload(&mut rig, &signed(tlvs));
        let answer = verify(&mut rig);
        assert_eq!(rig.signatures, [(place, bytes.to_vec())]);
        assert!(is_verified(&answer), "{answer:?}");
    }
}

#[test]
fn without_keys_nothing_is_asked() {
    for image in [signed(&[]), signed(&[(KEY_HASH, &STRANGER), (ECDSA, SIGNATURE)])] {
        let mut rig = rig(&[]);
        rig.signature_right = false;
        upload(&mut rig, &image);
        assert!(is_verified(&verify(&mut rig)));
        assert!(rig.signatures.is_empty());
    }
}

#[test]
fn the_sender_is_told_that_signatures_are_checked() {
    for (keys, checked) in [(&[][..], false), (&[TRUSTED][..], true)] {
        let mut rig = rig(keys);
        let answer = rig.send(&Message::Extension(Extension::InfoRequest));
        let [Reply::Info(info)] = &answer[..] else { panic!("{answer:?}") };
        assert_eq!(info.flags.contains(InfoFlags::SIGNATURE_CHECKED), checked);
    }
}

/// The image is read and checked again in each boot, so a signature that was right once proves nothing.
#[test]
fn after_a_reboot_activation_asks_again() {
    let image = signed(&[(KEY_HASH, &TRUSTED), (ECDSA, SIGNATURE)]);
    for right in [true, false] {
        let mut before = rig(&[TRUSTED]);
        upload(&mut before, &image);
        assert!(is_verified(&verify(&mut before)));
        let config = Config { keys: &[TRUSTED], ..Config::new(layout()) };
        let mut rig = Rig::boot(before.device, config, BootFacts { boot_number: 8, ..facts() });
        assert_eq!(rig.receiver.state(), OtaState::Verified);
        rig.signature_right = right;
        let answer = rig.send(&Message::OtaActivate(OtaActivate { mode: Mode::Test, reboot: true }));
        assert_eq!(rig.signatures.len(), 1);
        assert_eq!(rig.device.upgrade, right.then_some(Mode::Test));
        if !right {
            assert_eq!(answer, refused(Constraint::SignatureInvalid));
        }
    }
}

/// Whatever else is wrong is named first (PROTOCOL.md, OTA_VERIFY), and costs no arithmetic.
#[test]
fn other_faults_come_before_the_signature() {
    let mut torn = signed(&[(KEY_HASH, &TRUSTED), (ECDSA, SIGNATURE)]);
    torn[100] ^= 1;
    let mut unsigned = signed(&[]);
    unsigned[100] ^= 1;
    for image in [torn, unsigned] {
        let mut rig = rig(&[TRUSTED, SPARE]);
        upload(&mut rig, &image);
        assert_eq!(verify(&mut rig), refused(Constraint::HashMismatch));
        assert!(rig.signatures.is_empty());
    }
    let config = Config { keys: &[TRUSTED], downgrade: DowngradePolicy::Refuse, ..Config::new(layout()) };
    let mut rig = Rig::boot(Device::new(config.layout, &image((3, 0, 0), 5000, 1)), config, facts());
    upload(&mut rig, &signed(&[]));
    assert_eq!(verify(&mut rig), refused(Constraint::VersionDowngrade));
}
