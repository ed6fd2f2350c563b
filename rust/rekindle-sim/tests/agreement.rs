// SPDX-License-Identifier: Apache-2.0
//! What the contract model says of the scenarios in `tests/pytest/data/scenarios.txt`. Its verdicts are recorded
//! beside them, and `tests/pytest/test_agreement.py` holds devices with real MCUboot to the record;
//! `REKINDLE_RECORD=1` writes it anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "an integration test")]

use core::fmt::Write as _;
use fusain::{
    Decoder, Extension, FRAME_MAX, Info, InfoFlags, Message, Mode, OtaActivate, OtaData, OtaStart, OtaState,
    OtaVerify, Outcome, OutcomeReport,
};
use mcuboot_image::ImageVersion;
use mcuboot_image::sign::{SignOptions, SigningKey, sign};
use mcuboot_image::trailer::{Flag, Magic, State, Trailer};
use rekindle_session::port::Area;
use rekindle_sim::bootloader::{Bootloader, Judge, SwapMode};
use rekindle_sim::device::{Device, MARKER, MS, Options, Step};
use rekindle_sim::flash::{Geometry, NorFlash};
use rekindle_sim::image::digest;

/// Slots and sectors of the board that real MCUboot runs on (boards/arm/mps2_mcuboot).
const SLOT_SECTORS: u32 = 128;
const SECTOR: u32 = 4096;
const WRITE_BLOCKS: [u32; 3] = [1, 4, 32];
/// Length of an image's body. The new image is longer than the installed one, so that a swap of either length is
/// exercised in both directions.
const BODY: (usize, usize) = (20_000, 30_001);
/// A byte in the middle of the image that waits.
const DAMAGED: u32 = SECTOR + 15_000;
/// Long enough for a reboot, a self-test and what follows it.
const REST_MS: u64 = 5_000;

/// A device with the bootloader model under it.
struct Desk {
    device: Device,
    ours: SigningKey,
    theirs: SigningKey,
    now_ms: u64,
    sent: Vec<u8>,
}

impl Desk {
    fn new(write_block: u32) -> Self {
        let ours = SigningKey::generate_p256().unwrap();
        let theirs = SigningKey::generate_p256().unwrap();
        let geometry = Geometry::even(write_block, SLOT_SECTORS, SECTOR);
        let signature = Some(Judge::key(ours.public_key()));
        let bootloader = Bootloader { signature, ..Bootloader::new(SwapMode::Offset) };
        let mut flash = NorFlash::new(geometry, 1);
        // A programmer writes the image and no trailer.
        bootloader.install(&mut flash, &image("0.1.0", "pass", &ours, BODY.0), false).unwrap();
        let mut device = Device::new(flash, Options::new(bootloader, &geometry));
        device.power_on(0);
        let mut desk = Self { device, ours, theirs, now_ms: 0, sent: Vec::new() };
        desk.rest();
        desk
    }

    fn step(&mut self, step: &str) {
        let words: Vec<&str> = step.split(' ').collect();
        match words.as_slice() {
            ["push", version, mode, self_test, options @ ..] => {
                let key = if options.contains(&"stranger") { &self.theirs } else { &self.ours };
                let image = image(version, self_test, key, BODY.1);
                let mode = if *mode == "permanent" { Mode::Permanent } else { Mode::Test };
                self.push(&image, mode, !options.contains(&"stay"));
            }
            ["cycle"] => self.cycle(|_| {}),
            ["damage"] => self.cycle(|flash| {
                let mut byte = [0];
                flash.peek(Area::Secondary, DAMAGED, &mut byte).unwrap();
                flash.install(Area::Secondary, DAMAGED, &byte.map(|byte| byte ^ 0x10)).unwrap();
            }),
            _ => panic!("no step: {step}"),
        }
        self.rest();
    }

    fn push(&mut self, image: &[u8], mode: Mode, reboot: bool) {
        let start = OtaStart { size: image.len() as u64, digest: digest(image), version: None, slot: None };
        self.status(&Message::OtaStart(start), OtaState::Receiving);
        let mut offset = 0;
        for data in image.chunks(OtaData::CHUNK_MAX.into()) {
            let message = Message::OtaData(OtaData { offset, data });
            offset += data.len() as u64;
            let last = offset == image.len() as u64;
            self.status(&message, if last { OtaState::Received } else { OtaState::Receiving });
        }
        self.status(&Message::OtaVerify(OtaVerify { digest: None }), OtaState::Verified);
        self.status(&Message::OtaActivate(OtaActivate { mode, reboot }), OtaState::Activated);
    }

    fn cycle(&mut self, meanwhile: impl FnOnce(&mut NorFlash)) {
        self.device.power_off();
        meanwhile(self.device.flash_mut());
        self.device.power_on(self.now_ms * MS);
    }

    /// Lets the device alone for a while.
    fn rest(&mut self) {
        self.run_until(self.now_ms + REST_MS, |_| false);
    }

    fn run_until(&mut self, end_ms: u64, done: impl Fn(&Self) -> bool) {
        loop {
            let step = self.device.step(self.now_ms * MS);
            while let Some(frame) = self.device.take_frame() {
                self.sent.extend(frame);
            }
            if done(self) {
                return;
            }
            match step {
                Step::Progress => {}
                Step::Wait { until_ns } => {
                    let next = until_ns.map_or(end_ms, |ns| ns.div_ceil(MS)).max(self.now_ms + 1);
                    if next > end_ms {
                        self.now_ms = end_ms;
                        return;
                    }
                    self.now_ms = next;
                }
                Step::Off | Step::Dead => panic!("the device is {step:?}"),
            }
        }
    }

    /// Sends a message and gives the payload of the answer.
    fn ask(&mut self, message: &Message<'_>) -> Vec<u8> {
        let address = self.device.options().address;
        let mut frame = [0; FRAME_MAX];
        let len = message.encode_frame(address, &mut frame).unwrap();
        self.sent.clear();
        self.device.receive(self.now_ms * MS, frame.get(..len).unwrap());
        self.run_until(self.now_ms + REST_MS, |desk| !desk.sent.is_empty());
        let mut decoder = Decoder::new();
        self.sent
            .iter()
            .find_map(|byte| match decoder.push(*byte) {
                Some(Ok(packet)) => Some(packet.payload.to_vec()),
                _ => None,
            })
            .unwrap_or_else(|| panic!("no answer to {message:?}"))
    }

    fn status(&mut self, message: &Message<'_>, expected: OtaState) {
        let payload = self.ask(message);
        match Message::decode(&payload).unwrap() {
            Message::OtaStatus(status) => assert_eq!(status.state, expected, "{message:?}"),
            other => panic!("{message:?}: {other:?}"),
        }
    }

    fn info(&mut self) -> (Info, OutcomeReport) {
        let info = self.ask(&Message::Extension(Extension::InfoRequest));
        let outcome = self.ask(&Message::Extension(Extension::OutcomeRequest { index: 0 }));
        match (Message::decode(&info), Message::decode(&outcome)) {
            (
                Ok(Message::Extension(Extension::Info(info))),
                Ok(Message::Extension(Extension::Outcome(outcome))),
            ) => (info, outcome),
            other => panic!("{other:?}"),
        }
    }

    /// What the device says, and what the trailers of both slots hold.
    fn verdict(&mut self) -> String {
        let (info, outcome) = self.info();
        let version = info.version;
        let mut line = format!(
            "running={}.{}.{} confirmed={} pending={} outcome={} attempt={}",
            version.major,
            version.minor,
            version.revision,
            info.flags.contains(InfoFlags::CONFIRMED),
            info.flags.contains(InfoFlags::SWAP_PENDING),
            outcome.outcome.name(),
            outcome.attempt,
        );
        if outcome.outcome == Outcome::Reverted {
            // How far an image came that stays is the application's affair.
            let (stage, code) = (outcome.stage.unwrap_or(0), outcome.code.unwrap_or(0));
            write!(line, " stage={stage} code={code}").unwrap();
        }
        for (name, area) in [("primary", Area::Primary), ("secondary", Area::Secondary)] {
            write!(line, " {name}={}", self.trailer(area)).unwrap();
        }
        line
    }

    fn trailer(&mut self, area: Area) -> String {
        let size = SLOT_SECTORS * SECTOR;
        let write_block = self.device.flash().geometry().write_block;
        let trailer = Trailer::new(size, write_block, SwapMode::Offset).unwrap();
        let mut tail = vec![0; trailer.flags_len() as usize];
        self.device.flash_mut().peek(area, trailer.swap_info_offset(), &mut tail).unwrap();
        let state = State::parse(&trailer, &tail, 0xFF).unwrap();
        let magic = match state.magic {
            Magic::Good => "good",
            Magic::Bad => "bad",
            Magic::Unset => "unset",
        };
        let flag = |flag: Flag| match flag {
            Flag::Set => "set",
            Flag::Bad => "bad",
            Flag::Unset => "unset",
        };
        let swap_type = state.swap_type as u8;
        format!("{magic}/{swap_type}/{}/{}", flag(state.copy_done), flag(state.image_ok))
    }
}

fn image(version: &str, self_test: &str, key: &SigningKey, len: usize) -> Vec<u8> {
    let mut numbers = version.split('.').map(|number| number.parse::<u8>().unwrap());
    let mut next = || numbers.next().unwrap();
    let (major, minor, revision) = (next(), next(), next());
    let version = ImageVersion { major, minor, revision: revision.into(), build: 0 };
    let mut options = SignOptions::new(version, 32);
    options.pad_header = true;
    let mut body = match self_test {
        "pass" => String::new(),
        other => format!("{MARKER}{other}\n"),
    }
    .into_bytes();
    body.resize(len, 0x5A);
    sign(&body, &options, key).unwrap()
}

/// Names and steps of the scenarios in a file.
fn scenarios(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("scenario ") {
            Some(name) => found.push((name, Vec::new())),
            None => found.last_mut().unwrap().1.push(line),
        }
    }
    found
}

#[test]
fn the_models_verdicts_are_those_on_record() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/pytest/data");
    let text = std::fs::read_to_string(data.join("scenarios.txt")).unwrap();
    let scenarios = scenarios(&text);
    assert!(scenarios.len() > 10);
    let mut verdicts = String::from(
        "# SPDX-License-Identifier: Apache-2.0\n# Written by the contract model, see scenarios.txt: \
         REKINDLE_RECORD=1 cargo test -p rekindle-sim --test agreement\n",
    );
    for write_block in WRITE_BLOCKS {
        for (name, steps) in &scenarios {
            writeln!(verdicts, "\nscenario {name}, write block {write_block}").unwrap();
            let mut desk = Desk::new(write_block);
            for step in steps {
                desk.step(step);
                writeln!(verdicts, "{step}: {}", desk.verdict()).unwrap();
            }
            let broken = desk.device.flash().violations();
            assert!(broken.is_empty(), "{name}: {broken:?}");
        }
    }
    let record = data.join("verdicts.txt");
    if std::env::var_os("REKINDLE_RECORD").is_some() {
        std::fs::write(&record, &verdicts).unwrap();
    }
    let recorded = std::fs::read_to_string(&record).unwrap();
    for (ours, on_record) in verdicts.lines().zip(recorded.lines()) {
        assert_eq!(
            ours, on_record,
            "the model has changed its mind; devices must agree with the new verdict"
        );
    }
    assert_eq!(verdicts.lines().count(), recorded.lines().count());
}
