// SPDX-License-Identifier: Apache-2.0
//! This crate's sender against this crate's receiver, in memory: every message through its wire form, a link
//! with latency and loss, power cuts of the device, and a bootloader that does what it promises.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_core,
    reason = "tests"
)]

mod common;

use std::collections::VecDeque;

use common::{Device, Rig, digest, facts, image, layout};
use fusain::{Extension, Message, OtaData, PingResponse};
use mcuboot_image::trailer::SwapType;
use rekindle_session::receiver::{BootFacts, Config, Reply};
use rekindle_session::sender::{Completion, Link, Plan, Report, SendError, Sender, SenderOutput};

const LATENCY_MS: u64 = 10;
/// A device hears nothing for so long when it boots.
const BOOT_MS: u64 = 800;

struct Pair {
    now_ms: u64,
    sender: Sender,
    rig: Rig,
    config: Config,
    image: Vec<u8>,
    boots: u32,
    booted_ms: u64,
    deaf_until_ms: u64,
    confirms: bool,
    down: VecDeque<(u64, Vec<u8>)>,
    up: VecDeque<(u64, Vec<u8>)>,
    /// One frame in so many is lost; 0 for none.
    loss: u64,
    dice: u64,
    data_frames: u32,
}

impl Pair {
    fn new(plan: Plan, config: Config, image: &[u8]) -> Self {
        let old = common::image((1, 0, 0), 5_000, 3);
        Self {
            now_ms: 1_000,
            sender: Sender::new(plan, Link::ip(), 1_000),
            rig: Rig::boot(Device::new(config.layout, &old), config, facts()),
            config,
            image: image.to_vec(),
            boots: 0,
            booted_ms: 0,
            deaf_until_ms: 0,
            confirms: true,
            down: VecDeque::new(),
            up: VecDeque::new(),
            loss: 0,
            dice: 0x1234_5678_9ABC_DEF1,
            data_frames: 0,
        }
    }

    fn lost(&mut self) -> bool {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.loss > 0 && (self.dice >> 33).is_multiple_of(self.loss)
    }

    fn carry(&mut self, down: bool, message: &Message<'_>) {
        if self.lost() {
            return;
        }
        let mut payload = vec![0; 114];
        let len = message.encode(&mut payload).unwrap();
        payload.truncate(len);
        let lane = if down { &mut self.down } else { &mut self.up };
        lane.push_back((self.now_ms + LATENCY_MS, payload));
    }

    /// Power is cut and comes back; the flash is what it is.
    fn power_cut(&mut self) {
        self.boot(BootFacts { reset_cause: 2, ..facts() });
    }

    fn boot(&mut self, facts: BootFacts) {
        self.boots += 1;
        self.booted_ms = self.now_ms;
        self.down.clear();
        self.up.clear();
        self.deaf_until_ms = self.now_ms + BOOT_MS;
        let facts = BootFacts { boot_number: 100 + self.boots, ..facts };
        self.rig = Rig::boot(self.rig.device.clone(), self.config, facts);
    }

    /// What MCUboot does with a request: the slots change places.
    fn swap(&mut self) {
        let device = &mut self.rig.device;
        let offset = self.config.layout.image_offset as usize;
        let new = device.secondary[offset..][..self.image.len()].to_vec();
        let old = device.primary.clone();
        device.primary.fill(0xFF);
        device.primary[..new.len()].copy_from_slice(&new);
        device.secondary[..old.len()].copy_from_slice(&old);
        device.upgrade = None;
        self.boot(BootFacts { confirmed: false, swap_type: SwapType::Revert, ..facts() });
        if self.confirms {
            self.rig.receiver.confirm();
            self.rig.drain();
        }
    }

    fn step(&mut self) -> Option<Result<Report, SendError>> {
        let until_ms = match self.sender.poll(self.now_ms) {
            SenderOutput::Send(message) => {
                self.carry(true, &message);
                return None;
            }
            SenderOutput::SendData { offset, len } => {
                self.data_frames += 1;
                let data = self.image[offset as usize..][..usize::from(len)].to_vec();
                self.carry(true, &Message::OtaData(OtaData { offset: offset.into(), data: &data }));
                return None;
            }
            SenderOutput::Event(_) => return None,
            SenderOutput::Done(result) => return Some(result),
            SenderOutput::Wait { until_ms } => until_ms,
        };
        let first = |lane: &VecDeque<(u64, Vec<u8>)>| lane.front().map(|(at, _)| *at);
        let next = [Some(until_ms), first(&self.down), first(&self.up)];
        self.now_ms = next.into_iter().flatten().min().unwrap().max(self.now_ms);
        self.rig.now_ms = self.now_ms;
        while self.down.front().is_some_and(|(at, _)| *at <= self.now_ms) {
            let (_, payload) = self.down.pop_front().unwrap();
            self.deliver(&payload);
        }
        while self.up.front().is_some_and(|(at, _)| *at <= self.now_ms) {
            let (_, payload) = self.up.pop_front().unwrap();
            self.sender.message(self.now_ms, &Message::decode(&payload).unwrap());
        }
        None
    }

    fn deliver(&mut self, payload: &[u8]) {
        if self.now_ms < self.deaf_until_ms {
            return;
        }
        let message = Message::decode(payload).unwrap();
        if message == Message::PingRequest {
            let uptime_ms = (self.now_ms - self.booted_ms) as u32;
            self.carry(false, &Message::PingResponse(PingResponse { uptime_ms }));
            return;
        }
        for reply in self.rig.send(&message) {
            let answer = match reply {
                Reply::Status(status) => Message::OtaStatus(status),
                Reply::Invalid(invalid) => Message::InvalidCommand(invalid),
                Reply::Reject(reject) => Message::StateReject(reject),
                Reply::Info(info) => Message::Extension(Extension::Info(info)),
                Reply::Outcome(report) => Message::Extension(Extension::Outcome(report)),
            };
            self.carry(false, &answer);
        }
        if self.rig.rebooted {
            self.rig.rebooted = false;
            if self.rig.device.upgrade.is_some() { self.swap() } else { self.power_cut() }
        }
    }

    fn run(&mut self) -> Result<Report, SendError> {
        for _ in 0..3_000_000 {
            if let Some(end) = self.step() {
                return end;
            }
        }
        panic!("no end: {:?}", self.sender.progress());
    }

    fn run_to(&mut self, frames: u32) {
        while self.data_frames < frames && self.step().is_none() {}
    }
}

fn plan(image: &[u8]) -> Plan {
    // The image's own hash: its SHA-256 TLV, the last 32 bytes.
    let hash = image[image.len() - 32..].try_into().unwrap();
    Plan::push(image.len() as u32, digest(image), Some(hash))
}

#[test]
fn an_image_arrives_is_activated_and_confirmed() {
    let new = image((2, 0, 0), 40_003, 9);
    let mut pair = Pair::new(plan(&new), Config::new(layout()), &new);
    let report = pair.run().unwrap();
    assert_eq!(report.completion, Completion::Confirmed);
    assert_eq!(pair.rig.device.primary[..new.len()], new[..]);
    assert_eq!((report.counters.bytes_again, report.counters.gaps, report.counters.reboots), (0, 0, 1));

    // And once more: it runs already, and nothing is sent.
    pair.sender = Sender::new(plan(&new), Link::ip(), pair.now_ms);
    let report = pair.run().unwrap();
    assert_eq!(report.counters.data_frames, 0);
    assert!(matches!(report.completion, Completion::AlreadyRunning { .. }));
}

#[test]
fn power_cuts_cost_at_most_a_sector_and_what_was_on_the_way() {
    let new = image((2, 0, 0), 40_003, 9);
    let config = Config::new(layout());
    let mut pair = Pair::new(Plan { activate: false, ..plan(&new) }, config, &new);
    for frames in [30, 111, 222, 333] {
        pair.run_to(frames);
        pair.power_cut();
    }
    let report = pair.run().unwrap();
    assert_eq!(report.completion, Completion::Verified);
    let offset = config.layout.image_offset as usize;
    assert_eq!(pair.rig.device.secondary[offset..][..new.len()], new[..]);
    let bound = 4 * (4_096 + u64::from(config.window) * 100);
    println!("4 power cuts: {} bytes sent again, bound {bound}", report.counters.bytes_again);
    assert!(report.counters.bytes_again <= bound, "{:?}", report.counters);
    assert_eq!(report.counters.reboots, 4);
}

#[test]
fn loss_and_cuts_together() {
    let new = image((2, 0, 0), 20_001, 9);
    for loss in [50, 20, 10] {
        for seed in 1..=10 {
            let mut pair = Pair::new(plan(&new), Config::new(layout()), &new);
            pair.loss = loss;
            pair.dice = seed;
            pair.run_to(80 + seed as u32 * 11);
            pair.power_cut();
            let report = pair.run().unwrap();
            assert_eq!(report.completion, Completion::Confirmed, "1 in {loss}, seed {seed}");
            assert_eq!(pair.rig.device.primary[..new.len()], new[..]);
        }
    }
}

#[test]
fn half_duplex_answers_come_in_bursts() {
    let new = image((2, 0, 0), 20_001, 9);
    let config = Config { half_duplex: true, ..Config::new(layout()) };
    let mut pair = Pair::new(Plan { activate: false, ..plan(&new) }, config, &new);
    let report = pair.run().unwrap();
    assert_eq!(report.completion, Completion::Verified);
    assert_eq!(report.counters.bytes_again, 0);
}

#[test]
fn an_image_under_test_is_reported_so_and_blocks_the_next() {
    let new = image((2, 0, 0), 9_000, 9);
    let mut pair = Pair::new(plan(&new), Config::new(layout()), &new);
    pair.confirms = false;
    assert_eq!(pair.run().unwrap().completion, Completion::UnderTest);

    let third = image((3, 0, 0), 9_000, 17);
    pair.image = third.clone();
    pair.sender = Sender::new(plan(&third), Link::ip(), pair.now_ms);
    assert!(matches!(pair.run().unwrap_err(), SendError::Unconfirmed { .. }));
}

#[test]
fn what_is_too_large_or_not_an_image_is_named() {
    let large = image((2, 0, 0), 15 * 4_096, 9);
    let mut pair = Pair::new(plan(&large), Config::new(layout()), &large);
    assert_eq!(pair.run().unwrap_err(), SendError::TooLarge { size: large.len() as u32 });

    let mut noise = image((2, 0, 0), 5_000, 9);
    noise[0] ^= 1;
    let mut pair = Pair::new(plan(&noise), Config::new(layout()), &noise);
    assert!(matches!(pair.run().unwrap_err(), SendError::WrongImage { .. }));
}
