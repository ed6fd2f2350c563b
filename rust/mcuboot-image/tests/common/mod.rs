// SPDX-License-Identifier: Apache-2.0
//! What the tests share: the golden images, and imgtool's options as this crate's.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test uses a part of this; a failure in it is a failure of the test"
)]

use mcuboot_image::key::PublicKey;
use mcuboot_image::sign::{SignOptions, SigningKey, class_uuid, vendor_uuid};
use mcuboot_image::{Dependency, ImageVersion};
use std::path::{Path, PathBuf};

pub fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

pub fn read(name: &str) -> Vec<u8> {
    let path = tests_dir().join("data").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn read_key(name: &str) -> String {
    std::fs::read_to_string(tests_dir().join("keys").join(name)).unwrap()
}

pub fn signing_key(name: &str) -> SigningKey {
    SigningKey::from_pem(&read_key(&format!("{name}.pem"))).unwrap()
}

pub fn public_key(name: &str) -> PublicKey {
    signing_key(name).public_key()
}

/// An image in `tests/data`, and how imgtool made it.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub key: Option<String>,
    pub args: Vec<String>,
}

impl Case {
    pub fn image(&self) -> Vec<u8> {
        read(&format!("{}.bin", self.name))
    }
}

/// The cases of `cases.txt` or `foreign.txt`.
pub fn cases(file: &str) -> Vec<Case> {
    let cases: Vec<Case> = String::from_utf8(read(file))
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let name = words.next().unwrap();
            let key = words.next().filter(|key| key != "-");
            Case { name, key, args: words.collect() }
        })
        .collect();
    assert!(!cases.is_empty(), "{file} lists no image");
    cases
}

/// The binary that imgtool is given with these options.
pub fn body_for(args: &[String]) -> Vec<u8> {
    let body = read("body.bin");
    if args.iter().any(|arg| arg == "--pad-header") { body } else { [vec![0; 512], body].concat() }
}

/// imgtool's options as this crate's.
pub fn options_from(args: &[String]) -> SignOptions {
    let mut options = SignOptions::new(ImageVersion::default(), 0);
    let mut class = None;
    let mut security_auto = false;
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg {
            "-v" => options.version = value().parse().unwrap(),
            "-H" => options.header_size = int(value()),
            "-S" => options.slot_size = Some(int(value())),
            "-M" => options.max_sectors = int(value()),
            "-R" => options.erased_value = int(value()),
            "-L" => options.load_addr = int(value()),
            "-F" => options.rom_fixed = int(value()),
            "-s" => match value() {
                "auto" => security_auto = true,
                number => options.security_counter = Some(int(number)),
            },
            "-d" => options.dependencies = dependencies(value()),
            "--vid" => options.vendor = Some(vendor_uuid(value()).unwrap()),
            "--cid" => class = Some(value().to_owned()),
            "--custom-tlv" => {
                let kind = int(value());
                options.custom.push((kind, custom(value())));
            }
            "--align" => options.align = int(value()),
            "--max-align" => options.max_align = Some(int(value())),
            "--pad-header" => options.pad_header = true,
            "--pad" => options.pad = true,
            "--confirm" => options.confirm = true,
            "--overwrite-only" => options.overwrite_only = true,
            "--non-bootable" => options.non_bootable = true,
            "--pad-sig" => options.pad_signature = true,
            other => panic!("unknown option {other}"),
        }
    }
    if security_auto {
        options.security_counter = Some(options.version.security_counter());
    }
    options.class = class.map(|text| class_uuid(options.vendor, &text).unwrap());
    options
}

fn int<T: TryFrom<u64, Error: core::fmt::Debug>>(text: &str) -> T {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap(),
    };
    T::try_from(number).unwrap()
}

fn dependencies(text: &str) -> Vec<Dependency> {
    text.trim_matches(['(', ')'])
        .split(")(")
        .map(|one| {
            let (image, version) = one.split_once(',').unwrap();
            Dependency { image: int(image), min_version: version.parse().unwrap() }
        })
        .collect()
}

fn custom(text: &str) -> Vec<u8> {
    match text.strip_prefix("0x") {
        Some(hex) => hex
            .as_bytes()
            .chunks(2)
            .map(|d| u8::from_str_radix(core::str::from_utf8(d).unwrap(), 16).unwrap())
            .collect(),
        None => text.as_bytes().to_vec(),
    }
}

/// Asserts that two images are the same but for the bytes of an ECDSA signature, whose length may differ.
pub fn assert_same_but_signature(name: &str, ours: &[u8], theirs: &[u8]) {
    use mcuboot_image::{Image, tlv};
    let (a, b) = (Image::parse(ours).unwrap(), Image::parse(theirs).unwrap());
    let hashed = usize::try_from(a.summary().hashed_len).unwrap();
    assert_eq!(ours[..hashed], theirs[..hashed], "{name}: header, body or protected TLVs");
    let records = |image: &Image<'_>| -> Vec<(u16, bool, Vec<u8>)> {
        let value =
            |t: &mcuboot_image::Tlv<'_>| if t.kind == tlv::ECDSA { Vec::new() } else { t.value.to_vec() };
        image.tlvs().map(|t| (t.kind, t.protected, value(&t))).collect()
    };
    assert_eq!(records(&a), records(&b), "{name}: TLVs");
    // Whatever follows begins where the image ends, and is filled up to the same slot.
    let shorter = a.trailing().len().min(b.trailing().len());
    assert_eq!(ours[ours.len() - shorter..], theirs[theirs.len() - shorter..], "{name}: trailer");
    if shorter > 0 {
        assert_eq!(ours.len(), theirs.len(), "{name}: slot");
    }
}
