// SPDX-License-Identifier: Apache-2.0
//! What must never pass: cut, changed and forged images.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{public_key, read};
use mcuboot_image::key::PublicKey;
use mcuboot_image::{Header, Image, ImageError, Scan, Step, VerifyError, tlv};

const SIGNED: [(&str, &str); 6] = [
    ("ed25519-min", "ed25519"),
    ("p256-min", "p256"),
    ("ed25519-full", "ed25519"),
    ("p256-full", "p256"),
    ("p256-padsig", "p256"),
    ("ed25519-record", "ed25519"),
];

/// What a sender does before it sends.
fn accepts(bytes: &[u8], key: &PublicKey) -> bool {
    Image::parse_exact(bytes).is_ok_and(|image| image.verify(key).is_ok())
}

/// What a device without a key does.
fn intact(bytes: &[u8]) -> bool {
    Image::parse_exact(bytes).is_ok_and(|image| image.verify_hash().is_ok())
}

#[test]
fn cut_off_at_every_length() {
    for (name, key) in SIGNED {
        let (bytes, key) = (read(&format!("{name}.bin")), public_key(key));
        assert!(accepts(&bytes, &key));
        for len in 0..bytes.len() {
            assert!(Image::parse(&bytes[..len]).is_err(), "{name} cut to {len}");
        }
        let longer = [&bytes[..], &[0xff]].concat();
        assert!(!accepts(&longer, &key), "{name} and a byte");
    }
}

/// Nothing in a signed image can be changed: body and protected TLVs are hashed, the hash is signed, and what is left
/// (area heads, types and lengths, key hash, signature) leads to another key, no signature or no structure at all.
#[test]
fn every_flipped_bit_is_noticed_with_the_key() {
    for (name, key) in SIGNED {
        let (mut bytes, key) = (read(&format!("{name}.bin")), public_key(key));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!accepts(&bytes, &key), "{name}: bit {bit} at offset {}", bit / 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(accepts(&bytes, &key));
    }
}

/// Without the key, the values of key hash and signature are not covered, nor such of their type bits that make another
/// type of them which may stand there. Everything else is, lengths included.
#[test]
fn without_the_key_only_key_hash_and_signature_are_open() {
    for (name, _) in SIGNED {
        let mut bytes = read(&format!("{name}.bin"));
        let image = Image::parse(&bytes).unwrap();
        let mut value = vec![false; bytes.len()];
        let mut kind = vec![false; bytes.len()];
        for t in image.tlvs().filter(|t| !t.protected && t.kind != tlv::SHA256) {
            let at = usize::try_from(t.offset).unwrap();
            kind[at..at + 2].fill(true);
            value[at + 4..at + 4 + t.value.len()].fill(true);
        }
        let mut open_kinds = 0;
        for bit in 0..bytes.len() * 8 {
            let at = bit / 8;
            bytes[at] ^= 1 << (bit % 8);
            let open = intact(&bytes);
            bytes[at] ^= 1 << (bit % 8);
            assert!(!open || value[at] || kind[at], "{name}: bit {bit} at offset {at} is not covered");
            assert!(open || !value[at], "{name}: bit {bit} at offset {at} is covered, and should not be");
            open_kinds += u32::from(open && kind[at]);
        }
        assert!(open_kinds < 32, "{name}: {open_kinds} bits of two types");
    }
}

#[test]
fn in_a_slot_what_follows_the_image_is_not_part_of_it() {
    let mut bytes = read("ed25519-confirm-8.bin");
    let total = usize::try_from(Image::parse(&bytes).unwrap().summary().total_len).unwrap();
    let key = public_key("ed25519");
    for at in 0..bytes.len() {
        bytes[at] ^= 0x10;
        let accepted = Image::parse(&bytes).is_ok_and(|image| image.verify(&key).is_ok());
        assert_eq!(accepted, at >= total, "offset {at}");
        bytes[at] ^= 0x10;
    }
}

/// The bytes of a small image without a signature, with the TLV areas given.
fn forge(protected_size: u16, areas: &[u8]) -> Vec<u8> {
    let header = Header {
        load_addr: 0,
        header_size: 32,
        protected_size,
        image_size: 4,
        flags: 0,
        version: Default::default(),
    };
    [&header.emit()[..], b"body", areas].concat()
}

fn tlv_bytes(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &u16::try_from(value.len()).unwrap().to_le_bytes(), value].concat()
}

fn area(magic: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let records = records.concat();
    let len = u16::try_from(records.len() + 4).unwrap();
    [&magic.to_le_bytes()[..], &len.to_le_bytes(), &records].concat()
}

fn hash() -> Vec<u8> {
    tlv_bytes(tlv::SHA256, &[7; 32])
}

fn plain(records: &[Vec<u8>]) -> Result<(), ImageError> {
    Image::parse(&forge(0, &area(tlv::AREA_MAGIC, records))).map(|_| ())
}

fn protected(records: &[Vec<u8>]) -> Result<(), ImageError> {
    let inner = area(tlv::PROTECTED_MAGIC, records);
    let len = u16::try_from(inner.len()).unwrap();
    Image::parse(&forge(len, &[inner, area(tlv::AREA_MAGIC, &[hash()])].concat())).map(|_| ())
}

#[test]
fn lengths_that_lie() {
    let good = forge(0, &area(tlv::AREA_MAGIC, &[hash()]));
    assert!(Image::parse(&good).is_ok());
    let patched = |offset: usize, bytes: &[u8]| {
        let mut image = good.clone();
        image[offset..offset + bytes.len()].copy_from_slice(bytes);
        Image::parse(&image).unwrap_err()
    };
    let limit = u32::try_from(good.len()).unwrap();
    // header_size, image_size: too large, and such that their sum wraps.
    assert_eq!(patched(8, &[0xff, 0xff]), ImageError::PastEnd { offset: 0x1_0003, limit });
    assert_eq!(patched(8, &[31, 0]), ImageError::HeaderSize { size: 31 });
    for size in [u32::MAX, u32::MAX - 31, u32::MAX - 32, 0x8000_0000, limit] {
        assert!(matches!(patched(12, &size.to_le_bytes()), ImageError::PastEnd { .. }), "{size}");
    }
    // One byte more or less than the body: no area where one must be.
    assert!(matches!(patched(12, &[5, 0, 0, 0]), ImageError::AreaMagic { offset: 37, .. }));
    assert!(matches!(patched(12, &[3, 0, 0, 0]), ImageError::AreaMagic { offset: 35, .. }));
    // The area's length: into nothing, shorter than its head, into the middle of the record.
    assert_eq!(patched(38, &[41, 0]), ImageError::PastEnd { offset: 36, limit });
    assert_eq!(patched(38, &[3, 0]), ImageError::AreaSize { offset: 36, size: 3 });
    assert_eq!(patched(38, &[4, 0]), ImageError::HashMissing { offset: 36 });
    assert_eq!(patched(38, &[7, 0]), ImageError::TlvOverrun { offset: 40, end: 43 });
    assert_eq!(patched(38, &[39, 0]), ImageError::TlvOverrun { offset: 40, end: 75 });
    // The record's length.
    assert_eq!(patched(42, &[33, 0]), ImageError::TlvOverrun { offset: 40, end: 76 });
    assert_eq!(patched(42, &[0xff, 0xff]), ImageError::TlvOverrun { offset: 40, end: 76 });
    assert_eq!(patched(42, &[31, 0]), ImageError::TlvLength { offset: 40, kind: 0x10, len: 31 });
}

/// One to three bytes behind the last record are too few for another: to read it would be to read beyond the area.
#[test]
fn areas_that_end_within_a_head() {
    for rest in 1..4 {
        let areas = area(tlv::AREA_MAGIC, &[hash(), vec![0; rest]]);
        let end = 76 + u32::try_from(rest).unwrap();
        assert_eq!(Image::parse(&forge(0, &areas)).unwrap_err(), ImageError::TlvOverrun { offset: 76, end });
    }
}

#[test]
fn areas_that_contradict_the_header() {
    let inner = area(tlv::PROTECTED_MAGIC, &[tlv_bytes(tlv::SECURITY_COUNTER, &[1, 0, 0, 0])]);
    let outer = area(tlv::AREA_MAGIC, &[hash()]);
    let both = [&inner[..], &outer].concat();
    assert!(Image::parse(&forge(12, &both)).is_ok());
    let parse = |protected_size, areas: &[u8]| Image::parse(&forge(protected_size, areas)).unwrap_err();
    let differ = |header, area| ImageError::ProtectedSize { offset: 36, header, area };
    assert_eq!(parse(0, &both), differ(0, 12));
    assert_eq!(parse(11, &both), differ(11, 12));
    assert_eq!(parse(12, &outer), differ(12, 0));
    assert_eq!(
        parse(12, &[&inner[..], &inner, &outer].concat()),
        ImageError::AreaMagic { offset: 48, found: 0x6908 }
    );
    assert_eq!(parse(0, &[0xff; 40]), ImageError::AreaMagic { offset: 36, found: 0xffff });
    assert!(matches!(parse(12, &inner), ImageError::PastEnd { offset: 48, .. }));
    // An area that says it is shorter than its head.
    assert_eq!(parse(3, &[0x08, 0x69, 3, 0, 0, 0, 0, 0]), ImageError::AreaSize { offset: 36, size: 3 });
}

#[test]
fn records_in_the_wrong_place_or_twice() {
    let counter = || tlv_bytes(tlv::SECURITY_COUNTER, &[1, 0, 0, 0]);
    let vendor = || tlv_bytes(tlv::VENDOR, &[1; 16]);
    let class = || tlv_bytes(tlv::CLASS, &[1; 16]);
    let dependency = || tlv_bytes(tlv::DEPENDENCY, &[0; 12]);
    assert_eq!(plain(&[hash()]), Ok(()));
    assert_eq!(protected(&[counter(), vendor(), class(), dependency(), dependency()]), Ok(()));
    assert_eq!(plain(&[]), Err(ImageError::HashMissing { offset: 36 }));
    assert_eq!(plain(&[hash(), hash()]), Err(ImageError::Duplicate { offset: 76, kind: 0x10 }));
    for (record, kind) in [(counter(), 0x50), (vendor(), 0x74), (class(), 0x75)] {
        let second = 40 + u32::try_from(record.len()).unwrap();
        let twice = protected(&[record.clone(), record.clone()]);
        assert_eq!(twice, Err(ImageError::Duplicate { offset: second, kind }));
        // Outside of what is hashed anybody could add them.
        assert_eq!(plain(&[hash(), record]), Err(ImageError::Misplaced { offset: 76, kind }));
    }
    assert_eq!(plain(&[hash(), dependency()]), Err(ImageError::Misplaced { offset: 76, kind: 0x40 }));
    assert_eq!(protected(&[hash()]), Err(ImageError::Misplaced { offset: 40, kind: 0x10 }));
    for (kind, len) in [(0x50, 5), (0x74, 15), (0x75, 17), (0x40, 8)] {
        let record = tlv_bytes(kind, &vec![0; usize::from(len)]);
        assert_eq!(protected(&[record]), Err(ImageError::TlvLength { offset: 40, kind, len }));
    }
    for (kind, len) in [(0x24, 63), (0x01, 20), (0x22, 7), (0x22, 73)] {
        let record = tlv_bytes(kind, &vec![0; usize::from(len)]);
        assert_eq!(plain(&[record, hash()]), Err(ImageError::TlvLength { offset: 40, kind, len }));
    }
}

#[test]
fn unknown_records_are_skipped_and_told_of() {
    let bytes =
        forge(0, &area(tlv::AREA_MAGIC, &[tlv_bytes(0x33a0, &[1, 2, 3]), hash(), tlv_bytes(0x7f, &[])]));
    let summary = *Image::parse(&bytes).unwrap().summary();
    assert_eq!(summary.unlisted, Some(0x33a0));
    assert_eq!(summary.image_hash, [7; 32]);
    assert_eq!(protected(&[tlv_bytes(0x33a0, &[1, 2, 3])]), Ok(()));
}

#[test]
fn of_several_signatures_the_one_by_the_key_counts() {
    let (ours, other) = (read("ed25519-min.bin"), public_key("ed25519-other"));
    let image = Image::parse(&ours).unwrap();
    let key = public_key("ed25519");
    let signature = image.tlvs().find(|t| t.kind == tlv::ED25519).unwrap().value;
    let records = [
        tlv_bytes(tlv::SHA256, &image.summary().image_hash),
        tlv_bytes(tlv::KEY_HASH, &other.key_hash()),
        tlv_bytes(tlv::ED25519, &[9; 64]),
        tlv_bytes(tlv::KEY_HASH, &key.key_hash()),
        tlv_bytes(tlv::ED25519, signature),
    ];
    let hashed = usize::try_from(image.summary().hashed_len).unwrap();
    let bytes = [&ours[..hashed], &area(tlv::AREA_MAGIC, &records)].concat();
    let image = Image::parse_exact(&bytes).unwrap();
    assert_eq!(image.verify(&key), Ok(()));
    assert_eq!(image.verify(&other), Err(VerifyError::Signature));
    assert_eq!(image.verify(&public_key("p256")), Err(VerifyError::OtherKey));
    assert_eq!(image.summary().signatures, 2);

    // The device's way to the same: the scan points at the signature to read.
    let scan = |mut scan: Scan| {
        while let Step::Read { offset, len } = scan.step() {
            let at = usize::try_from(offset).unwrap();
            scan.feed(&bytes[at..at + usize::try_from(len).unwrap()]).unwrap();
        }
        scan.finish().unwrap()
    };
    let limit = u32::try_from(bytes.len()).unwrap();
    let found = scan(Scan::for_key(limit, key.key_hash()));
    let at = usize::try_from(found.signature.unwrap().offset).unwrap();
    assert_eq!(&bytes[at..at + 64], signature);
    assert_eq!(found.key_hash, Some(key.key_hash()));
    // The first of them for the other key, and for whoever asks for none.
    let first = u32::try_from(hashed + 4 + 36 + 36 + 4).unwrap();
    for found in [scan(Scan::for_key(limit, other.key_hash())), scan(Scan::new(limit))] {
        assert_eq!((found.signature.map(|s| s.offset), found.signatures), (Some(first), 2));
    }
    assert_eq!(scan(Scan::for_key(limit, [0; 32])).signature, None);
    assert_eq!(scan(Scan::new(limit)).key_hash, Some(other.key_hash()));
}

#[test]
fn a_scan_that_is_fed_wrongly_stops() {
    let bytes = read("ed25519-min.bin");
    let mut scan = Scan::new(u32::try_from(bytes.len()).unwrap());
    assert_eq!(scan.finish(), Err(ImageError::Misfed));
    assert_eq!(scan.feed(&bytes[..31]), Err(ImageError::Misfed));
    assert_eq!(scan.step(), Step::Done);
    assert_eq!(scan.feed(&bytes[..32]), Err(ImageError::Misfed));
    assert_eq!((scan.summary(), scan.finish()), (None, Err(ImageError::Misfed)));
    assert_eq!(Scan::new(31).step(), Step::Done);
    assert_eq!(Scan::new(31).finish(), Err(ImageError::TooShort));
}

#[test]
fn messages_say_what_where_and_what_to_do() {
    for (error, parts) in [
        (ImageError::Magic { found: 0x1234 }, ["0x00001234 at offset 0", "give the signed image"]),
        (ImageError::PastEnd { offset: 77, limit: 99 }, ["offset 77 reaches beyond the 99", "get it again"]),
        (
            ImageError::HashMissing { offset: 5 },
            ["SHA-256 TLV (0x10) in the TLVs at offset 5", "sign the image"],
        ),
        (ImageError::Misplaced { offset: 5, kind: 0x50 }, ["0x50 at offset 5 belongs into", "do not trust"]),
        (
            ImageError::Misplaced { offset: 5, kind: 0x10 },
            ["0x10 at offset 5 belongs outside of", "do not trust"],
        ),
        (
            ImageError::TlvLength { offset: 5, kind: 0x24, len: 3 },
            ["0x24 at offset 5 has 3 bytes, must have 64", "again"],
        ),
    ] {
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn messages_of_verification_say_what_to_do() {
    for (error, part) in [
        (VerifyError::Hash, "get it again"),
        (VerifyError::Encrypted, "with the key"),
        (VerifyError::Unsigned, "sign it"),
        (VerifyError::OtherKey, "give the right key"),
        (VerifyError::Encoding, "do not trust"),
        (VerifyError::Signature, "do not trust"),
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// What a device keeps while it scans; pointers are none in it, so this is its size there too.
#[test]
fn a_scan_is_small() {
    assert!(size_of::<Scan>() <= 256, "{} bytes", size_of::<Scan>());
}
