// SPDX-License-Identifier: Apache-2.0
//! Driven by hand-made commands, without a sender: what a controller of the base protocol would send.

use super::*;
use crate::bootloader::SwapType;
use crate::image::{Recipe, digest};
use core::sync::atomic::{AtomicU32, Ordering};
use fusain::{Decoder, Message, Mode, OtaActivate, OtaData, OtaStart, OtaState, OtaStatus, OtaVerify};

struct Desk {
    path: std::path::PathBuf,
    settings: Settings,
    appliance: VirtualAppliance,
    now_ms: u64,
    notes: Vec<Note>,
}

impl Desk {
    fn new(settings: Settings) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let nth = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rekindle-va-{}-{nth}", std::process::id()));
        drop(std::fs::remove_file(&path));
        let appliance = VirtualAppliance::open(&path, settings.clone()).unwrap();
        Self { path, settings, appliance, now_ms: 0, notes: Vec::new() }
    }

    /// Drops everything that is not in the file, as `kill -9` does.
    fn kill(&mut self) {
        self.appliance = VirtualAppliance::open(&self.path, self.settings.clone()).unwrap();
        self.now_ms = 0;
        self.run(1000);
    }

    fn run(&mut self, for_ms: u64) -> Vec<u8> {
        let end = self.now_ms + for_ms;
        let mut out = Vec::new();
        loop {
            let polled = self.appliance.poll(self.now_ms, &mut out);
            self.notes.extend(polled.notes);
            match polled.wake_ms {
                Some(wake) if wake < end => self.now_ms = wake.max(self.now_ms + 1),
                _ => break,
            }
        }
        self.now_ms = end;
        out
    }

    /// Sends a payload and gives the payload of the answer.
    fn ask(&mut self, message: &Message<'_>) -> Vec<u8> {
        let mut frame = [0; fusain::FRAME_MAX];
        let len = message.encode_frame(self.settings.address, &mut frame).unwrap();
        self.appliance.push_bytes(self.now_ms, &frame[..len]);
        let out = self.run(50);
        let mut decoder = Decoder::new();
        for byte in out {
            if let Some(Ok(packet)) = decoder.push(byte) {
                return packet.payload.to_vec();
            }
        }
        Vec::new()
    }

    fn status(&mut self, message: &Message<'_>) -> OtaStatus {
        let payload = self.ask(message);
        match Message::decode(&payload).unwrap() {
            Message::OtaStatus(status) => status,
            other => panic!("no status: {other:?}"),
        }
    }

    fn transfer(&mut self, image: &[u8], until: usize) {
        let start = OtaStart { size: image.len() as u64, digest: digest(image), version: None, slot: None };
        let status = self.status(&Message::OtaStart(start));
        let mut at = status.offset.unwrap_or(0) as usize;
        while at < until {
            let end = (at + 96).min(until);
            let data = OtaData { offset: at as u64, data: &image[at..end] };
            at = self.status(&Message::OtaData(data)).offset.unwrap() as usize;
        }
    }

    fn install(&mut self, image: &[u8], mode: Mode) {
        self.transfer(image, image.len());
        assert_eq!(self.status(&Message::OtaVerify(OtaVerify { digest: None })).state, OtaState::Verified);
        let activate = Message::OtaActivate(OtaActivate { mode, reboot: true });
        assert_eq!(self.status(&activate).state, OtaState::Activated);
        self.run(3000);
    }

    fn version(&self) -> u8 {
        self.appliance.endpoint().unwrap().receiver().running_version().major
    }

    fn confirmed(&self) -> bool {
        self.appliance.endpoint().unwrap().receiver().confirmed()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

fn settings() -> Settings {
    let install = Recipe::sized((1, 0, 0, 0), 3000, 1).build();
    Settings { geometry: Geometry::even(1, 8, 1024), install: Some(install), ..Settings::default() }
}

#[test]
fn an_update_runs_confirms_itself_and_survives_the_process() {
    let mut desk = Desk::new(settings());
    desk.run(1000);
    assert_eq!(desk.version(), 1);
    desk.install(&Recipe::sized((2, 0, 0, 0), 4001, 2).build(), Mode::Test);
    assert_eq!((desk.version(), desk.confirmed()), (2, true));
    desk.kill();
    assert_eq!((desk.version(), desk.confirmed()), (2, true));
    assert!(desk.appliance.device().flash().violations().is_empty());
}

#[test]
fn ten_updates_in_a_row() {
    let mut desk = Desk::new(settings());
    desk.run(1000);
    for n in 2..12 {
        let mode = if n % 3 == 0 { Mode::Permanent } else { Mode::Test };
        desk.install(&Recipe::sized((n, 0, 0, 0), 2000 + usize::from(n) * 97, u64::from(n)).build(), mode);
        assert_eq!((desk.version(), desk.confirmed()), (n, true));
    }
    assert!(desk.appliance.device().flash().violations().is_empty());
}

#[test]
fn a_failing_image_is_reverted_by_its_marker() {
    for marker in ["rekindle-self-test=fail:4:-12", "rekindle-self-test=crash"] {
        let mut desk = Desk::new(settings());
        desk.run(1000);
        desk.install(&Recipe::sized((2, 0, 0, 0), 4001, 2).with_text(marker).build(), Mode::Test);
        let swaps: Vec<_> = desk
            .notes
            .iter()
            .filter_map(|note| match note {
                Note::Booted { booted, .. } => booted.swapped,
                _ => None,
            })
            .collect();
        assert_eq!(swaps, [SwapType::Test, SwapType::Revert], "{marker}");
        assert_eq!((desk.version(), desk.confirmed()), (1, true), "{marker}");
    }
}

#[test]
fn an_image_that_hangs_runs_unconfirmed_until_the_next_reset() {
    let mut desk = Desk::new(settings());
    desk.run(1000);
    desk.install(
        &Recipe::sized((2, 0, 0, 0), 4001, 2).with_text("rekindle-self-test=hang").build(),
        Mode::Test,
    );
    assert_eq!((desk.version(), desk.confirmed()), (2, false));
    desk.kill();
    assert_eq!((desk.version(), desk.confirmed()), (1, true));
}

#[test]
fn a_killed_transfer_goes_on_where_it_was_durable() {
    let mut desk = Desk::new(settings());
    desk.run(1000);
    let image = Recipe::sized((2, 0, 0, 0), 4001, 2).build();
    desk.transfer(&image, 3500);
    desk.kill();
    let start = OtaStart { size: 4001, digest: digest(&image), version: None, slot: None };
    let status = desk.status(&Message::OtaStart(start));
    assert_eq!((status.state, status.offset), (OtaState::Receiving, Some(3072)));
    desk.install(&image, Mode::Test);
    assert_eq!(desk.version(), 2);
}

#[test]
fn erasing_takes_its_time() {
    let mut desk = Desk::new(Settings { erase_ms: 45, ..settings() });
    desk.run(1000);
    let image = Recipe::sized((2, 0, 0, 0), 4001, 2).build();
    let start = OtaStart { size: 4001, digest: digest(&image), version: None, slot: None };
    assert!(desk.ask(&Message::OtaStart(start)).is_empty(), "three sectors take longer than 50 ms");
    assert!(!desk.run(200).is_empty());
}

#[test]
fn an_image_too_long_for_the_slot_is_refused_and_an_empty_device_is_stopped() {
    let install = Some(vec![0; 8000]);
    let path = std::env::temp_dir().join(format!("rekindle-va-large-{}", std::process::id()));
    drop(std::fs::remove_file(&path));
    let error = VirtualAppliance::open(&path, Settings { install, ..settings() }).unwrap_err();
    assert!(matches!(error, OpenError::ImageTooLarge { len: 8000, .. }), "{error}");
    drop(std::fs::remove_file(&path));
    let mut empty = VirtualAppliance::in_memory(Settings { install: None, ..settings() }).unwrap();
    assert!(empty.poll(0, &mut Vec::new()).stopped);
}

#[test]
fn a_device_that_checks_signatures_refuses_at_verify_what_its_bootloader_would() {
    use fusain::{Constraint, InvalidCommand};
    use mcuboot_image::ImageVersion;
    use mcuboot_image::sign::{SignOptions, SigningKey, sign};

    let mut options = SignOptions::new(ImageVersion { major: 2, minor: 0, revision: 0, build: 0 }, 32);
    options.pad_header = true;
    let p256 = || SigningKey::generate_p256().unwrap();
    let ed25519 = || SigningKey::generate_ed25519().unwrap();
    let (first, second) = (p256(), ed25519());
    let constraint = Some(Constraint::SignatureInvalid.number());
    let refused = Message::InvalidCommand(InvalidCommand { code: 1, field: None, constraint });
    for (key, trusted) in [(&first, true), (&second, true), (&p256(), false), (&ed25519(), false)] {
        let keys = vec![first.public_key(), second.public_key()];
        let mut desk = Desk::new(Settings { keys, ..settings() });
        desk.run(1000);
        let image = sign(&[0x5A; 2345], &options, key).unwrap();
        if trusted {
            desk.install(&image, Mode::Test);
            assert_eq!(desk.version(), 2);
            continue;
        }
        desk.transfer(&image, image.len());
        let answer = desk.ask(&Message::OtaVerify(OtaVerify { digest: None }));
        assert_eq!(Message::decode(&answer).unwrap(), refused);
        assert_eq!(desk.version(), 1);
    }
    // Signed, named by its key, and yet not by that key.
    let mut forged = sign(&[0x5A; 2345], &options, &first).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    let mut desk = Desk::new(Settings { keys: vec![first.public_key()], ..settings() });
    desk.run(1000);
    desk.transfer(&forged, forged.len());
    let answer = desk.ask(&Message::OtaVerify(OtaVerify { digest: None }));
    assert_eq!(Message::decode(&answer).unwrap(), refused);
    assert_eq!(desk.version(), 1);
}
