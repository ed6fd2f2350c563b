// SPDX-License-Identifier: Apache-2.0
//! Images and keys that imgtool made, against what this crate makes and reads. Needs no imgtool: `data/make.sh` and
//! `keys/make.sh` say how they were made.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Case, cases, options_from, public_key, read, read_key, signing_key};
use mcuboot_image::key::{KeyError, PublicKey};
use mcuboot_image::sign::{KeyFileError, SigningKey, sign, unsigned};
use mcuboot_image::trailer::{Flag, Magic, State, Trailer};
use mcuboot_image::{Image, ImageError, SignatureKind, VerifyError, slot::SwapMode, tlv};

fn make(case: &Case) -> Vec<u8> {
    let (body, options) = (common::body_for(&case.args), options_from(&case.args));
    match &case.key {
        Some(key) => sign(&body, &options, &signing_key(key)),
        None => unsigned(&body, &options),
    }
    .unwrap_or_else(|e| panic!("{}: {e}", case.name))
}

#[test]
fn makes_what_imgtool_makes() {
    for case in cases("cases.txt") {
        let (ours, theirs) = (make(&case), case.image());
        if case.key.as_deref() == Some("p256") {
            common::assert_same_but_signature(&case.name, &ours, &theirs);
        } else {
            assert!(
                ours == theirs,
                "{} differs from imgtool's at byte {:?}",
                case.name,
                first_difference(&ours, &theirs)
            );
        }
    }
}

fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b).or_else(|| (a.len() != b.len()).then_some(a.len().min(b.len())))
}

#[test]
fn reads_and_verifies_what_imgtool_makes() {
    for case in cases("cases.txt") {
        let bytes = case.image();
        let options = options_from(&case.args);
        let image = Image::parse(&bytes).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let summary = image.summary();
        assert_eq!(summary.header.version, options.version);
        assert_eq!(summary.header.header_size, options.header_size);
        assert_eq!(image.body(), read("body.bin"), "{}", case.name);
        assert_eq!(summary.security_counter, options.security_counter);
        assert_eq!((summary.vendor, summary.class), (options.vendor, options.class));
        assert_eq!(usize::from(summary.dependencies), options.dependencies.len());
        assert_eq!(image.dependencies().collect::<Vec<_>>(), options.dependencies);
        assert_eq!(summary.unlisted, None);
        for (kind, value) in &options.custom {
            assert!(image.tlvs().any(|t| t.kind == *kind && t.protected && t.value == value));
        }
        assert_eq!(image.verify_hash(), Ok(()), "{}", case.name);
        match &case.key {
            Some(key) => {
                assert_eq!(image.verify(&public_key(key)), Ok(()), "{}", case.name);
                assert_eq!(summary.key_hash, Some(public_key(key).key_hash()));
                for other in ["p256-other", "ed25519-other"] {
                    assert_eq!(image.verify(&public_key(other)), Err(VerifyError::OtherKey));
                }
            }
            None => {
                assert_eq!(summary.signature, None);
                assert_eq!(image.verify(&public_key("p256")), Err(VerifyError::Unsigned));
            }
        }
        let padded = options.pad || options.confirm;
        assert_eq!(Image::parse_exact(&bytes).is_ok(), !padded, "{}", case.name);
    }
}

#[test]
fn padded_images_are_refused_where_an_update_is_wanted() {
    let bytes = read("ed25519-confirm-8.bin");
    let error = Image::parse_exact(&bytes).unwrap_err();
    assert_eq!(error, ImageError::Trailing { total_len: 477, limit: 2048 });
    assert!(error.to_string().contains("1571 bytes follow"), "{error}");
}

#[test]
fn reads_the_trailers_imgtool_writes() {
    let mut seen = 0;
    for case in cases("cases.txt").iter().chain(&cases("foreign.txt")) {
        let test = case.args.iter().any(|arg| arg == "--test");
        let args: Vec<String> = case.args.iter().filter(|arg| *arg != "--test").cloned().collect();
        if !test && !args.iter().any(|arg| arg == "--pad" || arg == "--confirm") {
            continue;
        }
        let options = options_from(&args);
        let slot = case.image();
        let unit = options.max_align.unwrap_or_else(|| options.align.max(8));
        let trailer = Trailer::new(u32::try_from(slot.len()).unwrap(), unit.into(), SwapMode::Move).unwrap();
        let tail = &slot[usize::try_from(trailer.swap_info_offset()).unwrap()..];
        let state = State::parse(&trailer, tail, options.erased_value).unwrap();
        let confirmed = options.confirm && !options.overwrite_only;
        let expected = State {
            magic: Magic::Good,
            image_ok: if confirmed { Flag::Set } else { Flag::Unset },
            ..State::UNSET
        };
        assert_eq!(state, expected, "{}", case.name);
        seen += 1;
    }
    assert_eq!(seen, 15, "padded images in cases.txt and foreign.txt");
}

#[test]
fn images_we_do_not_make() {
    let parse = |name: &str| {
        let bytes = read(&format!("{name}.bin"));
        Image::parse_exact(&bytes).map(|image| {
            (
                image.summary().signature.map(|s| s.kind),
                image.verify_hash(),
                image.verify(&public_key("ed25519")),
            )
        })
    };
    use SignatureKind::{EcdsaP256, Ed25519, Other};
    assert_eq!(parse("rsa-min"), Ok((Some(Other(tlv::RSA2048)), Ok(()), Err(VerifyError::OtherKey))));
    assert_eq!(parse("ed25519-record"), Ok((Some(Ed25519), Ok(()), Ok(()))));
    // A key that is told in full is not one we compare with; the hash still holds.
    assert_eq!(parse("ed25519-fullkey"), Ok((Some(Ed25519), Ok(()), Err(VerifyError::OtherKey))));
    let encrypted = Err(VerifyError::Encrypted);
    assert_eq!(parse("p256-encrypted"), Ok((Some(EcdsaP256), encrypted, encrypted)));
    assert!(Image::parse(&read("p256-encrypted.bin")).unwrap().summary().header.is_encrypted());
    for (name, kind) in
        [("p384-min", tlv::SHA384), ("ed25519-sha512", tlv::SHA512), ("ed25519-pure", tlv::SHA512)]
    {
        assert!(
            matches!(parse(name), Err(ImageError::HashUnsupported { offset: 337, kind: k }) if k == kind),
            "{name}"
        );
    }
}

#[test]
fn signatures_by_their_algorithm() {
    use mcuboot_image::key::{verify_ed25519, verify_p256};
    let signature = |bytes: &[u8], kind| {
        Image::parse(bytes).unwrap().tlvs().find(|t| t.kind == kind).unwrap().value.to_vec()
    };
    let (p256, ed25519) = (public_key("p256"), public_key("ed25519"));
    let bytes = read("p256-min.bin");
    let (hash, der) = (Image::parse(&bytes).unwrap().summary().image_hash, signature(&bytes, tlv::ECDSA));
    assert_eq!(verify_p256(&p256, &hash, &der), Ok(()));
    assert_eq!(verify_p256(&public_key("p256-other"), &hash, &der), Err(VerifyError::Signature));
    assert_eq!(verify_p256(&p256, &hash, &der[1..]), Err(VerifyError::Encoding));
    assert_eq!(verify_p256(&ed25519, &hash, &der), Err(VerifyError::OtherKey));
    let bytes = read("ed25519-min.bin");
    let (hash, raw) = (Image::parse(&bytes).unwrap().summary().image_hash, signature(&bytes, tlv::ED25519));
    let raw: [u8; 64] = raw.try_into().unwrap();
    assert_eq!(verify_ed25519(&ed25519, &hash, &raw), Ok(()));
    assert_eq!(verify_ed25519(&public_key("ed25519-other"), &hash, &raw), Err(VerifyError::Signature));
    assert_eq!(verify_ed25519(&p256, &hash, &raw), Err(VerifyError::OtherKey));
    // s + l is another form of the same signature, which lax verifiers take.
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let (mut malleable, mut carry) = (raw, 0);
    for (byte, l) in malleable[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(l) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert!(verify_ed25519(&ed25519, &hash, &malleable).is_err());
}

#[test]
fn reads_every_form_of_key_imgtool_writes() {
    for name in ["p256", "ed25519"] {
        let key = signing_key(name);
        let pem = read_key(&format!("{name}.pem"));
        assert_eq!(*key.to_pem().unwrap(), pem, "{name}: our file is imgtool's");
        assert_eq!(key.public_key().to_pem(), read_key(&format!("{name}-pub.pem")));
        assert_eq!(PublicKey::from_pem(&read_key(&format!("{name}-pub.pem"))), Ok(key.public_key()));
        let spki = std::fs::read(common::tests_dir().join(format!("keys/{name}-spki.bin"))).unwrap();
        assert_eq!(PublicKey::from_spki_der(&spki), Ok(key.public_key()));
        assert_eq!(key.public_key().to_spki_der(), spki);
        let hash = std::fs::read(common::tests_dir().join(format!("keys/{name}-hash.bin"))).unwrap();
        assert_eq!(key.public_key().key_hash(), hash[..]);
        let encrypted = read_key(&format!("{name}-encrypted.pem"));
        assert_eq!(SigningKey::from_pem(&encrypted).unwrap_err(), KeyFileError::PasswordNeeded);
        assert_eq!(
            SigningKey::from_pem_with_password(&encrypted, b"wrong").unwrap_err(),
            KeyFileError::Password
        );
        let opened = SigningKey::from_pem_with_password(&encrypted, b"golden").unwrap();
        assert_eq!(opened.public_key(), key.public_key());
    }
    for other in ["p256-sec1.pem", "p256-bare.pem"] {
        assert_eq!(
            SigningKey::from_pem(&read_key(other)).unwrap().public_key(),
            public_key("p256"),
            "{other}"
        );
    }
}

#[test]
fn keys_that_cannot_sign_are_refused_by_name() {
    let message = |name: &str| SigningKey::from_pem(&read_key(name)).unwrap_err().to_string();
    assert!(message("p256-pub.pem").contains("holds a PUBLIC KEY"));
    assert!(message("rsa.pem").contains("1.2.840.113549.1.1.1"), "{}", message("rsa.pem"));
    assert!(message("p384.pem").contains("1.3.132.0.34"), "{}", message("p384.pem"));
    let spki = PublicKey::from_pem(&read_key("p256-pub.pem")).unwrap().to_spki_der();
    assert_eq!(PublicKey::from_spki_der(&spki[..90]), Err(KeyError::Invalid));
    assert_eq!(PublicKey::from_spki_der(&spki[1..]), Err(KeyError::Algorithm));
    let mut off_curve = spki;
    off_curve[90] ^= 1;
    assert_eq!(PublicKey::from_spki_der(&off_curve), Err(KeyError::Invalid));
    assert_eq!(PublicKey::from_pem(&read_key("p256.pem")), Err(KeyError::Pem));
    // The neutral element: everybody can sign for it.
    let mut weak = [0; 32];
    weak[0] = 1;
    assert_eq!(PublicKey::ed25519(&weak), Err(KeyError::Invalid));
}
