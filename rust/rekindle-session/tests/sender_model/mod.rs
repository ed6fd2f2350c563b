// SPDX-License-Identifier: Apache-2.0
//! A device written down from the protocol, independently of the receiver in this crate, a link that loses,
//! repeats and reorders, and virtual time. Whatever a sender does here it does to a stranger.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of the model")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_core,
    clippy::alloc_instead_of_core,
    reason = "a model in tests: a panic is a failed test"
)]

pub(crate) mod device;

use std::collections::BTreeMap;

use fusain::{Address, Extension, FRAME_MAX, Message, OtaData, OtaState};
use rekindle_session::sender::{Link, Plan, Report, SendError, Sender, SenderEvent, SenderOutput};

pub(crate) use device::{Device, Fate, Resume, digest};

/// Small, seeded, good enough to toss coins.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides.max(1)
    }

    /// Happens `per_mille` times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.roll(1_000) < per_mille
    }
}

/// What a link does to frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    /// Up to this many microseconds of extra delay for each frame: what overtakes what is a matter of luck.
    pub(crate) jitter_us: u64,
}

/// One direction of the link.
#[derive(Clone, Debug, Default)]
struct Lane {
    free_us: u64,
    frames: BTreeMap<(u64, u64), Vec<u8>>,
}

/// Sender, link, device.
pub(crate) struct World {
    pub(crate) now_us: u64,
    pub(crate) sender: Sender,
    pub(crate) device: Device,
    pub(crate) image: Vec<u8>,
    pub(crate) faults: Faults,
    pub(crate) latency_us: u64,
    /// 0 is endless.
    pub(crate) bytes_per_second: u64,
    pub(crate) half_duplex: bool,
    pub(crate) link_is_up: bool,
    pub(crate) dice: Dice,
    down: Lane,
    up: Lane,
    serial: u64,
    /// Everything the sender sent: time and message code.
    pub(crate) sent: Vec<(u64, u8)>,
    pub(crate) events: Vec<SenderEvent>,
    pub(crate) wire_bytes: u64,
    pub(crate) data_wire_bytes: u64,
    pub(crate) data_from_us: Option<u64>,
    pub(crate) data_to_us: u64,
    pub(crate) collisions: u32,
    watch: Watch,
}

/// Rules that hold for every sender, checked at every frame.
#[derive(Debug, Default)]
struct Watch {
    /// The last command without an answer yet.
    open: Option<(u64, u8)>,
    acked: u32,
    last_ping_us: u64,
    /// What the device last announced; 0 if nothing.
    window: u8,
}

impl World {
    pub(crate) fn new(plan: Plan, link: Link, device: Device, image: &[u8]) -> Self {
        Self {
            now_us: 5_000_000,
            sender: Sender::new(plan, link, 5_000),
            device,
            image: image.to_vec(),
            faults: Faults::default(),
            latency_us: 2_000,
            bytes_per_second: u64::from(link.bytes_per_second),
            half_duplex: link.half_duplex,
            link_is_up: true,
            dice: Dice::new(1),
            down: Lane::default(),
            up: Lane::default(),
            serial: 0,
            sent: Vec::new(),
            events: Vec::new(),
            wire_bytes: 0,
            data_wire_bytes: 0,
            data_from_us: None,
            data_to_us: 0,
            collisions: 0,
            watch: Watch { last_ping_us: 5_000_000, ..Watch::default() },
        }
    }

    /// The sender is gone and another one with the same plan takes its place.
    pub(crate) fn restart_sender(&mut self, plan: Plan, link: Link) {
        self.sender = Sender::new(plan, link, self.now_us / 1_000);
        self.watch = Watch { last_ping_us: self.now_us, ..Watch::default() };
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) -> Result<Report, SendError> {
        self.run_while(|_| true).expect("an end")
    }

    /// Runs until the plan ends or the condition does.
    pub(crate) fn run_while(&mut self, go: impl Fn(&Self) -> bool) -> Option<Result<Report, SendError>> {
        let limit_us = self.now_us + 4 * 3_600_000_000;
        while go(self) {
            assert!(self.now_us < limit_us, "still busy after four hours: {:?}", self.sender.progress());
            let wake_us = match self.sender.poll(self.now_us / 1_000) {
                SenderOutput::Send(message) => {
                    self.send(&message);
                    continue;
                }
                SenderOutput::SendData { offset, len } => {
                    let bytes = self.image[offset as usize..][..usize::from(len)].to_vec();
                    self.send(&Message::OtaData(OtaData { offset: offset.into(), data: &bytes }));
                    continue;
                }
                SenderOutput::Event(event) => {
                    self.events.push(event);
                    continue;
                }
                SenderOutput::Done(result) => return Some(result),
                SenderOutput::Wait { until_ms } => until_ms.saturating_mul(1_000),
            };
            assert!(wake_us > self.now_us, "the sender does not wait");
            self.advance(wake_us);
        }
        None
    }

    /// Goes on to the next thing that happens, at `wake_us` at the latest.
    fn advance(&mut self, wake_us: u64) {
        let first = |lane: &Lane| lane.frames.keys().next().map(|(at, _)| *at);
        let device_us = self.device.wake_us();
        let next = [Some(wake_us), first(&self.down), first(&self.up), device_us];
        self.now_us = next.into_iter().flatten().min().unwrap().max(self.now_us);
        while let Some(entry) = self.down.frames.first_entry().filter(|e| e.key().0 <= self.now_us) {
            let payload = entry.remove();
            if payload.is_empty() {
                self.device.noise(self.now_us);
                continue;
            }
            let message = Message::decode(&payload).expect("our own message");
            self.device.receive(self.now_us, &message);
        }
        for (at_us, answer) in self.device.poll(self.now_us) {
            self.carry(false, at_us, &answer);
        }
        while let Some(entry) = self.up.frames.first_entry().filter(|e| e.key().0 <= self.now_us) {
            let payload = entry.remove();
            let message = Message::decode(&payload).expect("the device's message");
            self.hear(&message);
            self.sender.message(self.now_us / 1_000, &message);
        }
    }

    fn send(&mut self, message: &Message<'_>) {
        self.check(message);
        self.sent.push((self.now_us, message.code()));
        if let Message::OtaData(_) = message {
            self.data_from_us.get_or_insert(self.now_us);
        }
        self.carry(true, self.now_us, message);
    }

    fn carry(&mut self, down: bool, at_us: u64, message: &Message<'_>) {
        let mut frame = [0; FRAME_MAX];
        let wire = message.encode_frame(Address::new(0x1122_3344_5566_7788), &mut frame).unwrap() as u64;
        let mut payload = vec![0; 114];
        let len = message.encode(&mut payload).unwrap();
        payload.truncate(len);
        if down {
            self.wire_bytes += wire;
            if let Message::OtaData(_) = message {
                self.data_wire_bytes += wire;
            }
        }
        let frame_us = (wire * 1_000_000).checked_div(self.bytes_per_second).unwrap_or(0);
        let other_us = if down { self.up.free_us } else { self.down.free_us };
        let lane = if down { &mut self.down } else { &mut self.up };
        let start_us = lane.free_us.max(at_us);
        lane.free_us = start_us + frame_us;
        if self.half_duplex && start_us < other_us {
            self.collisions += 1;
            return;
        }
        if !self.link_is_up || self.dice.chance(self.faults.loss) {
            // What is damaged on a line is not silence: whoever waits for silence goes on waiting.
            if self.half_duplex && down {
                self.serial += 1;
                lane.frames.insert((lane.free_us + self.latency_us, self.serial), Vec::new());
            }
            return;
        }
        let copies = if self.dice.chance(self.faults.duplication) { 2 } else { 1 };
        for _ in 0..copies {
            self.serial += 1;
            let delay_us = self.latency_us + self.dice.roll(self.faults.jitter_us + 1);
            lane.frames.insert((lane.free_us + delay_us, self.serial), payload.clone());
        }
    }

    /// What the sender hears; what it may then count on.
    fn hear(&mut self, message: &Message<'_>) {
        match message {
            Message::OtaStatus(status) => {
                self.watch.open = None;
                if status.state == OtaState::Receiving {
                    let offset = status.offset.unwrap_or(0);
                    // A step back is only ever less than what the window allows.
                    self.watch.acked = self.watch.acked.max(offset);
                    self.data_to_us = self.now_us;
                } else {
                    self.watch.acked = u32::MAX;
                }
            }
            Message::Extension(extension) => {
                self.watch.open = None;
                if let Extension::Info(info) = extension {
                    self.watch.window = info.window;
                }
            }
            Message::InvalidCommand(_) | Message::StateReject(_) => self.watch.open = None,
            _ => {}
        }
    }

    /// One command at a time; the window; pings.
    fn check(&mut self, message: &Message<'_>) {
        let silent_us = self.now_us - self.watch.last_ping_us;
        assert!(silent_us <= 12_000_000, "no ping for {} ms", silent_us / 1_000);
        match message {
            Message::PingRequest => self.watch.last_ping_us = self.now_us,
            Message::OtaData(data) => {
                assert!((1..=100).contains(&data.data.len()));
                let window = self.watch.window;
                if window <= 1 {
                    self.one_at_a_time(message.code());
                } else {
                    let ahead = data.offset + data.data.len() as u64;
                    let room = u64::from(self.watch.acked) + u64::from(window) * 100;
                    assert!(ahead <= room, "beyond the window: {ahead} > {room}");
                }
            }
            _ if self.watch.window <= 1 => self.one_at_a_time(message.code()),
            _ => {}
        }
    }

    /// In lock-step, a second command follows only an answer, or the time in which one could have come.
    fn one_at_a_time(&mut self, code: u8) {
        if let Some((at_us, before)) = self.watch.open.replace((self.now_us, code)) {
            let after_us = self.now_us - at_us;
            assert!(after_us >= 199_000, "{code:#x} sent {after_us} us after {before:#x}, unanswered");
        }
    }

    /// The link goes; what is on its way is lost.
    pub(crate) fn cut(&mut self) {
        self.link_is_up = false;
        self.down.frames.clear();
        self.up.frames.clear();
        self.sender.link_lost(self.now_us / 1_000);
    }

    pub(crate) fn mend(&mut self) {
        self.link_is_up = true;
        self.watch.last_ping_us = self.now_us;
        self.watch.open = None;
        self.sender.link_up(self.now_us / 1_000);
    }

    /// Lets time pass.
    pub(crate) fn sleep(&mut self, ms: u64) {
        let until_us = self.now_us + ms * 1_000;
        while self.now_us < until_us {
            self.advance(until_us);
        }
    }

    pub(crate) fn count(&self, code: u8) -> usize {
        self.sent.iter().filter(|(_, sent)| *sent == code).count()
    }

    pub(crate) fn saw(&self, wanted: impl Fn(&SenderEvent) -> bool) -> usize {
        self.events.iter().filter(|event| wanted(event)).count()
    }
}

/// An image of `size` bytes without a period that chunks or sectors could hide.
pub(crate) fn image(size: usize) -> Vec<u8> {
    let mut dice = Dice::new(size as u64);
    (0..size).map(|_| dice.roll(256) as u8).collect()
}

/// MCUboot's hash of the image in these tests: anything but the digest.
pub(crate) const TARGET: [u8; 32] = [0x77; 32];

/// A plan to push `image`.
pub(crate) fn push(image: &[u8]) -> Plan {
    Plan::push(image.len() as u32, digest(image), Some(TARGET))
}
