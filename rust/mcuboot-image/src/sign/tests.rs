// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::key::PublicKey;
use std::string::ToString as _;

fn options() -> SignOptions {
    SignOptions { pad_header: true, ..SignOptions::new(ImageVersion::new(1, 2, 3, 4), 32) }
}

#[test]
fn refuses_what_makes_no_image() {
    let key = SigningKey::generate_ed25519().unwrap();
    let sign = |body: &[u8], options| sign(body, &options, &key).map(|image| image.len());
    assert_eq!(sign(b"body", SignOptions { header_size: 31, ..options() }), Err(SignError::HeaderSize(31)));
    assert_eq!(sign(b"", options()), Err(SignError::BodyTooShort { len: 0, header_size: 32 }));
    let plain = SignOptions { pad_header: false, ..options() };
    assert_eq!(sign(&[0; 32], plain.clone()), Err(SignError::BodyTooShort { len: 32, header_size: 32 }));
    let mut body = [0; 40];
    body[31] = 7;
    assert_eq!(sign(&body, plain.clone()), Err(SignError::HeaderNotEmpty { offset: 31, value: 7 }));
    body[31] = 0;
    assert!(sign(&body, plain).is_ok());
    for align in [0, 3, 64] {
        assert_eq!(sign(b"body", SignOptions { align, ..options() }), Err(SignError::Alignment(align)));
    }
    for max_align in [4, 24, 64] {
        let options = SignOptions { max_align: Some(max_align), ..options() };
        assert_eq!(sign(b"body", options), Err(SignError::Alignment(max_align)));
    }
    let both = SignOptions { load_addr: 1, rom_fixed: 1, ..options() };
    assert_eq!(sign(b"body", both), Err(SignError::LoadAndRomFixed));
    for custom in [vec![(0x9f, vec![])], vec![(0xffff, vec![])], vec![(0xa0, vec![1]), (0xa0, vec![2])]] {
        let kind = custom[0].0;
        assert_eq!(sign(b"body", SignOptions { custom, ..options() }), Err(SignError::CustomTlv(kind)));
    }
    let long = SignOptions { custom: vec![(0xa0, vec![0; 65_528])], ..options() };
    assert_eq!(sign(b"body", long), Err(SignError::TlvsTooLong(65_536)));
    assert_eq!(sign(b"body", SignOptions { pad: true, ..options() }), Err(SignError::SlotSize));
}

#[test]
fn slot_overflow_is_refused_to_the_byte() {
    let key = SigningKey::generate_ed25519().unwrap();
    let image = sign(&[1; 1000], &options(), &key).unwrap();
    let trailer = 128 * 3 + 4 * 8 + 16;
    let slot = u32::try_from(image.len()).unwrap() + trailer;
    let exact = SignOptions { slot_size: Some(slot), ..options() };
    assert_eq!(sign(&[1; 1000], &exact, &key).unwrap(), image);
    let error = sign(&[1; 1000], &SignOptions { slot_size: Some(slot - 1), ..options() }, &key).unwrap_err();
    assert_eq!(
        error,
        SignError::SlotOverflow { image: image.len() as u64, trailer: trailer.into(), slot: slot - 1 }
    );
    assert!(error.to_string().contains("by 1:"), "{error}");
    // Where MCUboot overwrites, there is no status of a swap.
    let slot = u32::try_from(image.len()).unwrap() + 2 * 8 + 16;
    let exact = SignOptions { slot_size: Some(slot), overwrite_only: true, ..options() };
    assert_eq!(sign(&[1; 1000], &exact, &key).unwrap(), image);
    let short = SignOptions { slot_size: Some(slot - 1), ..exact };
    assert!(matches!(sign(&[1; 1000], &short, &key), Err(SignError::SlotOverflow { trailer: 32, .. })));
}

#[test]
fn ecdsa_signatures_can_be_made_again() {
    let key = SigningKey::generate_p256().unwrap();
    assert_eq!(sign(b"body", &options(), &key), sign(b"body", &options(), &key));
}

#[test]
fn keys_survive_their_files() {
    for key in [SigningKey::generate_p256().unwrap(), SigningKey::generate_ed25519().unwrap()] {
        let hash = [0x5a; 32];
        let pem = key.to_pem().unwrap();
        let again = SigningKey::from_pem(&pem).unwrap();
        assert_eq!(again.sign_hash(&hash), key.sign_hash(&hash));
        assert_eq!(PublicKey::from_pem(&key.public_key().to_pem()), Ok(key.public_key()));
        assert!(matches!(SigningKey::from_pem(&key.public_key().to_pem()), Err(KeyFileError::Label(_))));
        let encrypted = key.to_encrypted_pem(b"secret").unwrap();
        assert_eq!(SigningKey::from_pem(&encrypted).unwrap_err(), KeyFileError::PasswordNeeded);
        assert_eq!(
            SigningKey::from_pem_with_password(&encrypted, b"other").unwrap_err(),
            KeyFileError::Password
        );
        let again = SigningKey::from_pem_with_password(&encrypted, b"secret").unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert!(!std::format!("{key:?}").contains(&*pem));
    }
    assert_eq!(SigningKey::from_pem("no key").unwrap_err(), KeyFileError::Pem);
}
