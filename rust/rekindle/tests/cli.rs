// SPDX-License-Identifier: Apache-2.0
//! The command line as its users meet it: files, keys, bad input of every kind, exit codes, JSON.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "tests stop at the first surprise"
)]

mod common;

use std::fs;

use common::{Desk, read, run, run_with_input};

#[test]
fn help_shows_every_command_and_the_exit_codes() {
    let help = run(&["--help"]);
    for word in [
        "discover",
        "generate-keypair",
        "sign",
        "verify",
        "inspect",
        "push",
        "activate",
        "status",
        "abort",
        "decode",
        "simulate",
        "demo",
        "Exit codes",
        "130",
    ] {
        help.says(0, word);
    }
}

#[test]
fn keys_are_made_private_and_never_overwritten() {
    let desk = Desk::new();
    let key = desk.path("key.pem");
    let before = read(&key);
    run(&["generate-keypair", "--type", "ed25519", "--output", &key]).says(3, "never overwritten");
    assert_eq!(read(&key), before);
    // Neither is a public key, and then no private one is left behind either.
    let other = desk.path("other.pem");
    desk.write("other.pub.pem", b"precious");
    run(&["generate-keypair", "--type", "ed25519", "--output", &other]).says(3, "other.pub.pem");
    assert!(fs::metadata(&other).is_err());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let nowhere = desk.path("no/such/folder/key.pem");
    run(&["generate-keypair", "--type", "ed25519", "--output", &nowhere]).says(3, "does the folder exist?");
    run(&["generate-keypair", "--type", "rsa", "--output", &other]).says(2, "ecdsa-p256");
}

#[test]
fn an_image_is_signed_inspected_and_verified_with_either_algorithm() {
    let desk = Desk::new();
    let ed = desk.path("ed.pem");
    run(&["generate-keypair", "--type", "ed25519", "--output", &ed]).says(0, "ed.pub.pem");
    let body = desk.write("body.bin", &[0x5A; 4000]);
    for (key, public, kind) in
        [("key.pem", "key.pub.pem", "ECDSA P-256"), ("ed.pem", "ed.pub.pem", "Ed25519")]
    {
        let (key, public, image) = (desk.path(key), desk.path(public), desk.path("out.img"));
        let common = ["--key", &key, "--output", &image, "--pad-header", "--version", "1.2.3+4"];
        let more = ["--security-counter", "auto", "--vendor", "example.com", "--class", "heater"];
        run(&[&["--json", "sign", &body][..], &common, &more].concat()).says(0, r#""version":"1.2.3+4""#);
        let seen = run(&["--json", "inspect", &image]).last();
        assert_eq!(seen["version"], "1.2.3+4");
        assert_eq!(seen["signature"], kind);
        assert_eq!(seen["body_size"], 4000);
        assert_eq!(seen["security_counter"], 0x0102_0003);
        assert_eq!(seen["vendor"], "cfbff0d193755685968c48ce8b15ae17");
        run(&["verify", &image, "--key", &public]).says(0, "signed by");
        run(&["verify", &image, "--key", &key]).says(0, "signed by");
        run(&["inspect", &image]).says(0, kind);

        let more = ["--dependency", "1=2.0.3", "--custom-tlv", "0x00a0=c0ffee", "--slot-size", "6000"];
        run(&[&["sign", &body][..], &common, &more, &["--max-sectors", "8"]].concat()).says(0, "1.2.3+4");
        let seen = run(&["--json", "inspect", &image]).last();
        assert_eq!(seen["dependencies"][0], "image 1 at 2.0.3 or later");
        assert_eq!(seen["tlvs"][1]["type"], 0xa0);
        assert_eq!(seen["tlvs"][1]["size"], 3);
        // With a status for 128 sectors of 4 bytes, the same image does not fit.
        run(&[&["sign", &body][..], &common, &more].concat()).says(3, "exceed the slot");
        // A bootloader that overwrites keeps no status.
        run(&[&["sign", &body][..], &common, &more, &["--overwrite-only"]].concat()).says(0, "1.2.3+4");
        run(&[&["sign", &body][..], &common, &["--custom-tlv", "0x10=00"]].concat()).says(2, "0x00a0");
    }
    let other = desk.path("key.pub.pem");
    run(&["verify", &desk.path("out.img"), "--key", &other]).says(3, "not signed with this key");
}

#[test]
fn a_damaged_image_is_refused_wherever_it_is_damaged() {
    let desk = Desk::new();
    let image = desk.image("1.0.0", 3000, "");
    let good = read(&image);
    let key = desk.path("key.pub.pem");
    let check = |name: &str, bytes: &[u8], text: &str| {
        let path = desk.write(name, bytes);
        for command in [&["inspect", &path][..], &["verify", &path, "--key", &key]] {
            run(command).says(3, text);
        }
        let push = ["push", &path, "--to", "tcp://127.0.0.1:1", "--address", "1"];
        run(&push).says(3, text);
    };
    check("empty", b"", "not an image");
    check("magic", &[b"\x7fELF", &good[4..]].concat(), "not an image");
    check("cut", &good[..good.len() / 2], "cut off");
    check("one short", &good[..good.len() - 1], "cut off");
    check("padded", &[&good[..], &[0xFF; 512]].concat(), "follow");
    let mut flipped = good.clone();
    flipped[2000] ^= 1;
    check("flipped", &flipped, "does not match its hash");
    let mut signature = good.clone();
    let last = signature.len() - 1;
    signature[last] ^= 1;
    let path = desk.write("signature", &signature);
    run(&["verify", &path, "--key", &key]).says(3, "signature");
}

#[test]
fn wrong_files_and_keys_are_named() {
    let desk = Desk::new();
    let (key, public) = (desk.path("key.pem"), desk.path("key.pub.pem"));
    let image = desk.image("1.0.0", 3000, "");
    let out = desk.path("out.img");
    let sign = |input: &str, key: &str| {
        run(&["sign", input, "--key", key, "--output", &out, "--version", "1.0.0", "--pad-header"])
    };
    sign("/no/such/file", &key).says(3, "/no/such/file");
    sign(&image, "/no/such/key").says(3, "/no/such/key");
    sign(&image, &public).says(3, "PUBLIC KEY");
    sign(&image, &image).says(3, "not a PEM file");
    sign(&desk.path(""), &key).says(3, "is a folder");
    sign(&desk.write("empty.bin", b""), &key).says(3, "leaves none");
    run(&["verify", &image, "--key", &image]).says(3, "not a PEM file");
    run(&["verify", &image, "--key", "/no/such/key"]).says(3, "/no/such/key");
    run(&["inspect", "/no/such/file"]).says(3, "/no/such/file");
    assert!(fs::metadata(&out).is_err(), "nothing was written");
}

#[test]
fn a_failed_signature_leaves_the_old_image_alone() {
    let desk = Desk::new();
    let (image, key) = (desk.image("1.0.0", 3000, ""), desk.path("key.pem"));
    let before = read(&image);
    let large = desk.write("large.bin", &vec![1; 100_000]);
    let too_large = ["--slot-size", "0x10000", "--pad-header", "--version", "1.0.0"];
    run(&[&["sign", &large, "--key", &key, "--output", &image][..], &too_large].concat())
        .says(3, "exceed the slot");
    assert_eq!(read(&image), before);
    let left: Vec<_> = fs::read_dir(desk.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().starts_with(".rekindle")), "{left:?}");
}

#[test]
fn wrong_options_are_usage_errors() {
    let desk = Desk::new();
    let (image, key) = (desk.image("1.0.0", 3000, ""), desk.path("key.pem"));
    let sign = |more: &[&str]| {
        run(&[&["sign", &image, "--key", &key, "--output", "/dev/null", "--pad-header"][..], more].concat())
    };
    sign(&[]).says(2, "--version");
    sign(&["--version", "1.256.0"]).says(2, "not an image version");
    sign(&["--version", "1.0.0", "--align", "3"]).says(2, "alignment");
    sign(&["--version", "1.0.0", "--header-size", "16"]).says(2, "header size");
    sign(&["--version", "1.0.0", "--header-size", "0x10000"]).says(2, "65535");
    sign(&["--version", "1.0.0", "--security-counter", "many"]).says(2, "a number, or `auto`");
    sign(&["--version", "1.0.0", "--class", "heater"]).says(2, "needs the vendor");
    let push = |more: &[&str]| run(&[&["push", &image][..], more].concat());
    push(&[]).says(2, "--to");
    push(&["--to", "tcp://h"]).says(2, "--address");
    push(&["--to", "tcp://h", "--address", "0"]).says(2, "one device");
    push(&["--to", "tcp://h", "--address", "xyz"]).says(2, "--address");
    push(&["--to", "tcp://h", "--address", "1", "--window", "0"]).says(2, "--window");
    push(&["--to", "tcp://h", "--address", "1", "--chunk", "101"]).says(2, "--chunk");
    push(&["--to", "tcp://h", "--address", "1", "--mode", "forever"]).says(2, "permanent");
    run(&["explode"]).says(2, "explode");
}

#[test]
fn wrong_targets_are_explained_and_never_repeat_a_password() {
    for (url, text) in [
        ("/dev/ttyACM0", "not a target URL"),
        ("tcp://", "names no host"),
        ("tcp://host:0", "not a port"),
        ("serial:///dev/ttyS0?baud=fast", "not a baud rate"),
        ("https://host/fusain", "not a target URL"),
        ("ws://user:secret@host/fusain", "REKINDLE_PASSWORD"),
    ] {
        for command in ["status", "abort", "activate"] {
            let ran = run(&[command, "--to", url, "--address", "1"]);
            ran.says(2, text);
            assert!(!format!("{ran:?}").contains("secret"));
        }
        run(&["discover", "--to", url]).says(2, text);
    }
}

#[test]
fn no_connection_says_what_to_look_at() {
    run(&["status", "--to", "tcp://127.0.0.1:1", "--address", "1"]).says(4, "nothing listens there");
    run(&["status", "--to", "ws://127.0.0.1:1", "--address", "1"]).says(4, "nothing listens there");
    run(&["status", "--to", "serial:///dev/no-such-tty", "--address", "1"]).says(4, "plugged in");
    let json = run(&["--json", "status", "--to", "tcp://127.0.0.1:1", "--address", "1"]).last();
    assert_eq!(json["event"], "error");
    assert_eq!(json["exit_code"], 4);
    assert!(json["next"].as_str().unwrap().contains("is the device up"));
}

#[test]
fn a_permanent_image_needs_a_second_consent() {
    let desk = Desk::new();
    let image = desk.image("1.0.0", 3000, "");
    let permanent = ["--to", "tcp://127.0.0.1:1", "--address", "1", "--mode", "permanent"];
    run(&[&["push", &image][..], &permanent].concat()).says(9, "--mode test");
    run(&[&["activate"][..], &permanent].concat()).says(9, "--yes");
    // With consent it goes on to what is wrong next.
    run(&[&["push", &image, "--yes"][..], &permanent].concat()).says(4, "connect");
}

#[test]
fn captured_bytes_are_decoded_line_by_line() {
    let text = "7E 04 11 00 FF EE DD CC BB AA 82 18 44 F6 C4 18 7F\n\
                00 01 7e 06 11 00 ff ee dd cc bb aa 82 18 45 a1 00 00 a9 9a 7f\n\
                7E0A1100FFEEDDCCBBAA8218E0A3000101 00 02 0B DB 81 7F 7E 0A";
    let lines = run_with_input(&["decode", "--hex"], text.as_bytes()).says(0, "").json();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["type"], "OTA_QUERY");
    assert_eq!(lines[0]["address"], "aabbccddeeff0011");
    assert_eq!(lines[1]["fields"]["state_name"], "IDLE");
    assert!(lines[2]["framing_error"].as_str().unwrap().contains("checksum"));
    assert!(lines[3]["framing_error"].as_str().unwrap().contains("ends inside a frame"));

    let binary: Vec<u8> = [&[0x7E, 4, 0x11, 0, 0xFF, 0xEE, 0xDD, 0xCC, 0xBB, 0xAA][..]]
        .concat()
        .into_iter()
        .chain([0x82, 0x18, 0x44, 0xF6, 0xC4, 0x18, 0x7F])
        .collect();
    run_with_input(&["decode"], &binary).says(0, "OTA_QUERY");
    run_with_input(&["decode"], b"").says(0, "");
    run_with_input(&["decode", "--hex"], b"7E 0").says(3, "middle of a byte");
    run_with_input(&["decode", "--hex"], b"7E\n7 E").says(3, "line 2");
    run_with_input(&["decode", "--hex"], b"7E xy").says(3, "'x'");
}

#[test]
fn a_virtual_device_wants_a_flash_it_can_start_from() {
    let desk = Desk::new();
    let flash = desk.path("new.flash");
    let simulate = |more: &[&str]| {
        run(&[&["simulate", "appliance", "--listen", "tcp://127.0.0.1:0", "--flash", &flash][..], more]
            .concat())
    };
    simulate(&[]).says(3, "--install");
    let broken = desk.write("broken.img", b"no image");
    simulate(&["--install", &broken]).says(3, "not an image");
    let large = desk.image("9.0.0", 900_000, "");
    simulate(&["--install", &large]).says(3, "the slot takes");
    assert!(fs::metadata(&flash).is_err(), "no half-made flash is left");
    desk.write("new.flash", b"something else");
    let image = desk.image("1.0.0", 3000, "");
    simulate(&["--install", &image]).says(3, "14 bytes");
    assert_eq!(read(&flash), b"something else");
    run(&["simulate", "appliance", "--listen", "udp://x", "--flash", &flash]).says(2, "listen");
    // An address of no interface of this machine (RFC 5737).
    let nowhere = desk.path("nowhere.flash");
    let listen = ["--listen", "tcp://192.0.2.1:1", "--flash", &nowhere, "--install", &image];
    run(&[&["simulate", "appliance"][..], &listen].concat()).says(2, "cannot listen");
}
