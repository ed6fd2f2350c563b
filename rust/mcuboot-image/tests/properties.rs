// SPDX-License-Identifier: Apache-2.0
//! The properties of `fuzzing`, for drawn bytes and for the fuzzers' corpus.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;
mod fuzzing;

use mcuboot_image::{Header, ImageVersion};
use proptest::prelude::*;
use std::path::Path;

/// Every input a fuzzer found worth keeping, and the images of `data` as they are.
#[test]
fn corpus() {
    type Check = fn(&[u8]);
    let checks: [(&str, Check); 4] = [
        ("image_scan", fuzzing::check_scan),
        ("image_mutate", fuzzing::check_mutated),
        ("image_trailer", fuzzing::check_trailer),
        ("image_key", fuzzing::check_key),
    ];
    for (target, check) in checks {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let mut seen = 0;
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            check(&std::fs::read(entry.unwrap().path()).unwrap());
            seen += 1;
        }
        assert!(seen >= 5, "{target}: a corpus of {seen} inputs");
    }
    for case in common::cases("cases.txt").iter().chain(&common::cases("foreign.txt")) {
        fuzzing::check_scan(&case.image());
    }
}

/// A header whose lengths are likely to fit what follows, and records that are likely to be records.
fn likely_image() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        Just(0x10u16),
        Just(0x01),
        Just(0x24),
        Just(0x22),
        Just(0x40),
        Just(0x50),
        Just(0x74),
        Just(0x75),
        any::<u16>()
    ];
    let len = prop_oneof![Just(32usize), Just(64), Just(4), Just(16), Just(12), 0..80usize];
    let record = (kind, len, -1i32..2).prop_map(|(kind, len, lie)| {
        let told =
            u16::try_from(i32::try_from(len).unwrap() + if lie == 0 { 0 } else { lie / 2 }).unwrap_or(0);
        [&kind.to_le_bytes()[..], &told.to_le_bytes(), &vec![0x5a; len]].concat()
    });
    let records = || proptest::collection::vec(record.clone(), 0..5).prop_map(|records| records.concat());
    (records(), records(), 32u16..50, 1u32..40, -2i32..3).prop_map(
        |(inner, outer, header_size, image_size, lie)| {
            let area = |magic: u16, records: &[u8]| {
                let len = u16::try_from(records.len() + 4).unwrap();
                [&magic.to_le_bytes()[..], &len.to_le_bytes(), records].concat()
            };
            let inner = if inner.is_empty() { inner } else { area(0x6908, &inner) };
            let protected = i32::try_from(inner.len()).unwrap() + if lie.abs() == 2 { lie } else { 0 };
            let header = Header {
                load_addr: 0,
                header_size,
                protected_size: u16::try_from(protected).unwrap_or(0),
                image_size,
                flags: 0,
                version: ImageVersion::default(),
            };
            let body = vec![0; usize::from(header_size) - 32 + usize::try_from(image_size).unwrap()];
            [&header.emit()[..], &body, &inner, &area(0x6907, &outer)].concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzzing::check_scan(&bytes);
        fuzzing::check_trailer(&bytes);
        fuzzing::check_key(&bytes);
    }

    #[test]
    fn any_records(image in likely_image()) {
        fuzzing::check_scan(&image);
    }

    #[test]
    fn any_change(bytes in proptest::collection::vec(any::<u8>(), 20..60)) {
        fuzzing::check_mutated(&bytes);
    }

    #[test]
    fn headers_survive_their_bytes(
        load_addr: u32, header_size in 32u16.., protected_size: u16, image_size in 1u32.., flags: u32, version: [u8; 8]
    ) {
        let version = ImageVersion::from_bytes(version);
        let header = Header { load_addr, header_size, protected_size, image_size, flags, version };
        prop_assert_eq!(Header::parse(&header.emit()), Ok(header));
        prop_assert_eq!(version.to_string().parse(), Ok(version));
    }
}

/// A long run, for when the parser changes (seconds when optimised): `cargo test --release -p mcuboot-image --test properties -- --ignored
/// --nocapture`. It counts the bytes that the scan was fed, not those it skipped.
#[test]
#[ignore = "long without optimisation"]
fn a_hundred_million_bytes() {
    let seeds: Vec<Vec<u8>> = common::cases("cases.txt").iter().map(|case| case.image()).collect();
    let (mut fed, mut images, mut whole, mut accepted) = (0u64, 0u64, 0u64, 0u64);
    let mut state = 0x0123_4567_89ab_cdefu64;
    let mut draw = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(n).unwrap()).unwrap()
    };
    while fed < 100_000_000 {
        let mut image = seeds[draw(seeds.len())].clone();
        let end = mcuboot_image::Image::parse(&image).unwrap().summary().total_len;
        let end = usize::try_from(end).unwrap();
        for _ in 0..draw(4) {
            // The structure is at both ends: half of the changes go there.
            let at = match draw(4) {
                0 => draw(32),
                1 => end - 1 - draw(140),
                _ => draw(image.len()),
            };
            image[at] = [image[at] ^ 1 << draw(8), u8::try_from(draw(256)).unwrap(), 0, 0xff][draw(4)];
        }
        if draw(8) == 0 {
            image.truncate(draw(image.len() + 1));
        }
        let (result, bytes) = fuzzing::scan(&image);
        fed += bytes;
        images += 1;
        whole += u64::try_from(image.len()).unwrap();
        accepted += u64::from(result.is_ok());
        if images.is_multiple_of(16) {
            fuzzing::check_scan(&image);
        }
    }
    println!("{fed} bytes fed, of {images} images with {whole} bytes; structure accepted: {accepted}");
    assert!(accepted > images / 10 && accepted < images);
}
