// SPDX-License-Identifier: Apache-2.0
//! Both ways against imgtool itself, with options and keys that no golden image has. Where imgtool is not installed
//! these tests say so and leave it to the golden images; with `REKINDLE_REQUIRE_IMGTOOL=1` they fail instead.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{assert_same_but_signature, body_for, options_from};
use mcuboot_image::Image;
use mcuboot_image::key::PublicKey;
use mcuboot_image::sign::{SigningKey, sign};
use std::path::Path;
use std::process::{Command, Output};

/// Runs imgtool; `None` if it is not installed.
fn imgtool(args: &[&str]) -> Option<Output> {
    match Command::new("imgtool").args(args).output() {
        Ok(output) => Some(output),
        Err(_) if std::env::var_os("REKINDLE_REQUIRE_IMGTOOL").is_none() => {
            eprintln!("imgtool is not installed: only the golden images were compared");
            None
        }
        Err(error) => panic!("imgtool is required and cannot be run: {error}"),
    }
}

fn succeeded(output: &Output) -> bool {
    if !output.status.success() {
        eprintln!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

/// A small generator, so that each run draws the same options.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn options(&mut self) -> Vec<String> {
        let mut args = vec![
            format!(
                "-v {}.{}.{}+{}",
                self.below(256),
                self.below(256),
                self.below(65536),
                self.below(1 << 32)
            ),
            format!("-H {} --pad-header", 32 + self.below(300)),
            format!("-M {}", self.below(40)),
            format!("--align {}", 1 << self.below(6)),
            format!("-S {:#x}", 0x3000),
        ];
        if self.one_in(2) {
            args.push(["--pad", "--confirm"][usize::try_from(self.below(2)).unwrap()].to_owned());
        }
        if self.one_in(2) {
            args.push(format!("-s {}", self.below(1 << 32)));
        }
        if self.one_in(2) {
            args.push(format!(
                "-d ({},{}.{}.{})",
                self.below(256),
                self.below(256),
                self.below(256),
                self.below(9)
            ));
        }
        if self.one_in(2) {
            args.push(format!("--vid vendor{}.example --cid class-{}", self.below(99), self.below(99)));
        }
        if self.one_in(3) {
            args.push(format!("--custom-tlv {:#x} 0x{:08x}", 0xa0 + self.below(0xff00), self.below(1 << 32)));
        }
        if self.one_in(4) {
            args.push("-R 0".to_owned());
        }
        if self.one_in(4) {
            args.push(format!(
                "{} {:#x}",
                ["-L", "-F"][usize::try_from(self.below(2)).unwrap()],
                1 + self.below(1 << 31)
            ));
        }
        if self.one_in(5) {
            args.push("--overwrite-only".to_owned());
        }
        args.iter().flat_map(|arg| arg.split(' ')).map(str::to_owned).collect()
    }
}

#[test]
fn same_bytes_for_drawn_options() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut draw = Draw(0x5eed_0f5e_ed0f_5eed);
    for round in 0..10 {
        let (name, key) = match round % 2 {
            0 => ("ed25519", SigningKey::generate_ed25519().unwrap()),
            _ => ("p256", SigningKey::generate_p256().unwrap()),
        };
        let args = draw.options();
        let body = body_for(&args);
        let ours = sign(&body, &options_from(&args), &key).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        std::fs::write(dir.join("key.pem"), &**key.to_pem().unwrap()).unwrap();
        std::fs::write(dir.join("body.bin"), &body).unwrap();
        std::fs::write(dir.join("ours.bin"), &ours).unwrap();
        let (key_path, body_path) = (path(dir, "key.pem"), path(dir, "body.bin"));
        let (ours_path, theirs_path) = (path(dir, "ours.bin"), path(dir, "theirs.bin"));
        let mut command = vec!["sign", "-k", &key_path];
        command.extend(args.iter().map(String::as_str));
        command.extend([body_path.as_str(), &theirs_path]);
        let Some(signed) = imgtool(&command) else { return };
        assert!(succeeded(&signed), "imgtool refused {args:?}, which we take");
        let theirs = std::fs::read(&theirs_path).unwrap();
        if name == "ed25519" {
            assert!(ours == theirs, "{args:?}");
        } else {
            assert_same_but_signature(&format!("{args:?}"), &ours, &theirs);
        }
        assert_eq!(Image::parse(&theirs).unwrap().verify(&key.public_key()), Ok(()), "{args:?}");
        let verified = imgtool(&["verify", "-k", &key_path, &ours_path]).unwrap();
        assert!(succeeded(&verified), "imgtool does not verify ours: {args:?}");
    }
}

#[test]
fn overflow_is_refused_at_the_same_byte() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("body.bin"), [1; 1000]).unwrap();
    let (body, out) = (path(dir, "body.bin"), path(dir, "out.bin"));
    let key = common::tests_dir().join("keys/ed25519.pem");
    let key = key.to_str().unwrap();
    for (align, max_sectors) in [("1", "128"), ("32", "5")] {
        let refused = |slot: usize| -> Option<(bool, bool)> {
            let args: Vec<String> =
                format!("-v 1.0.0 -H 32 --pad-header --align {align} -M {max_sectors} -S {slot}")
                    .split(' ')
                    .map(str::to_owned)
                    .collect();
            let ours = sign(&[1; 1000], &options_from(&args), &common::signing_key("ed25519")).is_err();
            let mut command = vec!["sign", "-k", key];
            command.extend(args.iter().map(String::as_str));
            command.extend([body.as_str(), &out]);
            Some((ours, !imgtool(&command)?.status.success()))
        };
        let image = 32 + 1000 + 4 + 36 + 36 + 68;
        let trailer = if align == "1" { 128 * 3 + 4 * 8 + 16 } else { 5 * 3 * 32 + 4 * 32 + 32 };
        let Some(fits) = refused(image + trailer) else { return };
        assert_eq!(fits, (false, false), "align {align}");
        assert_eq!(refused(image + trailer - 1).unwrap(), (true, true), "align {align}");
    }
}

#[test]
fn keys_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for kind in ["ecdsa-p256", "ed25519"] {
        // Theirs, read by us.
        let (key_path, public_path) = (path(dir, "theirs.pem"), path(dir, "theirs-pub.pem"));
        let Some(made) = imgtool(&["keygen", "-t", kind, "-k", &key_path]) else { return };
        assert!(succeeded(&made));
        assert!(succeeded(&imgtool(&["getpub", "-k", &key_path, "-e", "pem", "-o", &public_path]).unwrap()));
        let theirs = SigningKey::from_pem(&std::fs::read_to_string(&key_path).unwrap()).unwrap();
        let public = PublicKey::from_pem(&std::fs::read_to_string(&public_path).unwrap()).unwrap();
        assert_eq!(theirs.public_key(), public);

        // Ours, read by them.
        let ours =
            if kind == "ed25519" { SigningKey::generate_ed25519() } else { SigningKey::generate_p256() }
                .unwrap();
        let (key_path, public_path) = (path(dir, "ours.pem"), path(dir, "ours-pub.pem"));
        std::fs::write(&key_path, &**ours.to_pem().unwrap()).unwrap();
        assert!(succeeded(&imgtool(&["getpub", "-k", &key_path, "-e", "pem", "-o", &public_path]).unwrap()));
        assert_eq!(std::fs::read_to_string(&public_path).unwrap(), ours.public_key().to_pem());

        // Ours, encrypted: imgtool asks on the terminal, so its library is called.
        let encrypted = path(dir, "encrypted.pem");
        std::fs::write(&encrypted, &**ours.to_encrypted_pem(b"pass word").unwrap()).unwrap();
        let script = "import sys; from imgtool import keys; k = keys.load(sys.argv[1], b'pass word'); \
                      assert keys.load(sys.argv[1]) is None; sys.stdout.write(k.get_public_pem().decode())";
        let loaded = Command::new("python3").args(["-c", script, &encrypted]).output().unwrap();
        assert!(succeeded(&loaded), "imgtool does not read our encrypted key");
        assert_eq!(String::from_utf8(loaded.stdout).unwrap(), ours.public_key().to_pem());
    }
}
