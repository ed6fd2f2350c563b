// SPDX-License-Identifier: Apache-2.0
//! A controller on a bench: its store in memory, its clients and links as queues, appliances that are real ones.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::collections::HashMap;

use fusain::relay::{Relay as Operation, RosterEntry};
use fusain::{Address, Decoder, FRAME_MAX, Message, PAYLOAD_MAX, encode_frame};
use mcuboot_image::ImageVersion;
use mcuboot_image::digest::Sha256;
use mcuboot_image::sign::{SignOptions, SigningKey, sign, unsigned};
use rekindle_relay::*;
use rekindle_session::sender::{self, Plan, Report, SendError, Sender, SenderOutput};
use rekindle_sim::flash::RamStore;
use rekindle_sim::virtual_appliance::{Settings, VirtualAppliance};

/// A store that keeps what was synced.
#[derive(Clone, Default)]
pub struct MemStore {
    pub files: HashMap<File, (Vec<u8>, usize)>,
    /// Operations carried out.
    pub done: u64,
    pub failing: Option<fn(&StoreOp<'_>) -> bool>,
    /// What is carried out and said to have failed, as when the sync behind it fails.
    pub failing_late: Option<fn(&StoreOp<'_>) -> bool>,
}

impl MemStore {
    pub fn perform(&mut self, op: &StoreOp<'_>) -> Result<Vec<u8>, StoreFault> {
        let bytes = self.carry_out(op)?;
        if self.failing_late.is_some_and(|failing| failing(op)) { Err(StoreFault) } else { Ok(bytes) }
    }

    fn carry_out(&mut self, op: &StoreOp<'_>) -> Result<Vec<u8>, StoreFault> {
        self.done += 1;
        if self.failing.is_some_and(|failing| failing(op)) {
            return Err(StoreFault);
        }
        match *op {
            StoreOp::Append { file, at, data } => {
                assert!(!data.is_empty() && data.len() <= STORE_MAX);
                let (bytes, synced) = self.files.entry(file).or_default();
                if bytes.len() < at as usize {
                    return Err(StoreFault);
                }
                bytes.truncate(at as usize);
                *synced = (*synced).min(at as usize);
                bytes.extend(data);
            }
            StoreOp::Sync { file } => {
                let (bytes, synced) = self.files.get_mut(&file).ok_or(StoreFault)?;
                *synced = bytes.len();
            }
            StoreOp::Read { file, offset, len } => {
                assert!(len > 0 && len as usize <= STORE_MAX);
                let bytes = self.files.get(&file).map(|(bytes, _)| bytes.as_slice()).unwrap_or_default();
                let from = bytes.len().min(offset as usize);
                return Ok(bytes[from..bytes.len().min(from + len as usize)].to_vec());
            }
            StoreOp::Commit { from, to } => {
                let file = self.files.remove(&from).ok_or(StoreFault)?;
                self.files.insert(to, file);
            }
            StoreOp::Remove { file } => {
                self.files.remove(&file);
            }
        }
        Ok(Vec::new())
    }

    /// What a power cut leaves: no more than what was synced.
    pub fn cut(&mut self) {
        for (bytes, synced) in self.files.values_mut() {
            bytes.truncate(*synced);
        }
    }

    pub fn has(&self, file: File) -> bool {
        self.files.contains_key(&file)
    }

    pub fn audit(&self) -> Vec<AuditRecord> {
        let bytes = self.files.get(&File::Audit).map(|(bytes, _)| bytes.clone()).unwrap_or_default();
        bytes.chunks(AuditRecord::LEN).filter_map(AuditRecord::decode).collect()
    }
}

pub type Controller = Relay<16, 2, 4>;

/// An appliance on one of the links.
pub struct Station {
    pub link: u8,
    pub address: Address,
    pub appliance: VirtualAppliance<RamStore>,
    /// Its plug is out.
    pub unplugged: bool,
    /// It speaks the base protocol alone: what the extension asks, it ignores.
    pub base: bool,
}

pub struct Bench {
    pub relay: Controller,
    pub store: MemStore,
    pub config: Config,
    pub keys: Keys,
    pub target: Target,
    pub now_ms: u64,
    /// What clients were sent and have not taken.
    pub up: Vec<(u8, Address, Vec<u8>)>,
    /// Everything that went onto a link.
    pub down: Vec<(u8, Address, Vec<u8>)>,
    pub to_receiver: Vec<Vec<u8>>,
    pub events: Vec<Event>,
    pub stations: Vec<Station>,
    /// Number of the store's operation before which power goes.
    pub cut_at: Option<u64>,
    /// The controller went away since this was last asked.
    pub lost: bool,
    /// One exchange at a moment, so that a transfer takes more than one.
    pub gently: bool,
}

/// Two links, and what the appliances of the first one take.
fn links(target: Target) -> [LinkConfig; 2] {
    let any = LinkConfig::new(sender::Link::serial(115_200), 16);
    [LinkConfig { target, ..any }, any]
}

impl Bench {
    pub fn new(config: Config, keys: &[TrustedKey]) -> Self {
        Self::for_product(config, keys, Target::default())
    }

    /// A bench whose first link has appliances that take no other images than these.
    pub fn for_product(config: Config, keys: &[TrustedKey], target: Target) -> Self {
        let keys = Keys::new(keys).unwrap();
        let mut bench = Self {
            relay: Relay::new(config, keys, links(target)).unwrap(),
            target,
            store: MemStore::default(),
            config,
            keys,
            now_ms: 1_000,
            up: Vec::new(),
            down: Vec::new(),
            to_receiver: Vec::new(),
            events: Vec::new(),
            stations: Vec::new(),
            cut_at: None,
            lost: false,
            gently: false,
        };
        bench.start();
        bench
    }

    fn start(&mut self) {
        self.run();
        for client in 0..4 {
            self.relay.client_opened(client);
        }
        for link in 0..2 {
            self.relay.link_up(self.now_ms, link);
        }
        self.run();
    }

    /// Power goes and comes back.
    pub fn restart(&mut self) {
        self.store.cut();
        self.relay = Relay::new(self.config, self.keys, links(self.target)).unwrap();
        self.up.clear();
        self.start();
    }

    /// Adds an appliance that runs `installed`.
    pub fn add(&mut self, link: u8, address: u64, installed: Vec<u8>) -> Address {
        let address = Address::new(address);
        let settings = Settings {
            install: Some(installed),
            address,
            point_to_point: false,
            seed: address.get(),
            ..Settings::default()
        };
        let appliance = VirtualAppliance::in_memory(settings).unwrap();
        self.stations.push(Station { link, address, appliance, unplugged: false, base: false });
        assert!(self.relay.configure(address, link, Target::default()));
        address
    }

    pub fn station(&mut self, address: Address) -> &mut Station {
        self.stations.iter_mut().find(|station| station.address == address).unwrap()
    }

    /// Does everything that is due now; gives the time at which more is.
    pub fn run(&mut self) -> Option<u64> {
        for _ in 0..100_000 {
            match self.relay.poll(self.now_ms) {
                Output::Store(_) if self.cut_at.take_if(|at| self.store.done + 1 >= *at).is_some() => {
                    self.restart();
                    self.lost = true;
                    return None;
                }
                Output::Store(op) => {
                    let result = self.store.perform(&op);
                    self.relay.store_done(result.as_deref().map_err(|fault| *fault));
                }
                Output::Send { port: Port::Client(client), address, payload } => {
                    self.up.push((client, address, payload.to_vec()));
                }
                Output::Send { port: Port::Link(link), address, payload } => {
                    self.down.push((link, address, payload.to_vec()));
                    let payload = payload.to_vec();
                    self.hear(link, address, &payload);
                }
                Output::ToReceiver { payload } => self.to_receiver.push(payload.to_vec()),
                Output::Event(event) => self.events.push(event),
                Output::Wait { until_ms } => return until_ms,
            }
        }
        panic!("the controller never comes to rest");
    }

    fn hear(&mut self, link: u8, address: Address, payload: &[u8]) {
        let mut frame = [0; FRAME_MAX];
        let len = encode_frame(address, payload, &mut frame).unwrap();
        let extension = payload.get(2) == Some(&0x46);
        let listens = |s: &&mut Station| s.link == link && !s.unplugged && !(s.base && extension);
        for station in self.stations.iter_mut().filter(listens) {
            station.appliance.push_bytes(self.now_ms, &frame[..len]);
        }
    }

    /// Lets appliances and controller do what is due, until nobody has anything to say.
    fn run_stations(&mut self) -> Option<u64> {
        loop {
            let said = self.down.len();
            let wake = self.run_stations_once();
            self.run();
            if self.down.len() == said || self.gently {
                return wake;
            }
        }
    }

    fn run_stations_once(&mut self) -> Option<u64> {
        let mut wake = None;
        for index in 0..self.stations.len() {
            let mut out = Vec::new();
            let station = &mut self.stations[index];
            let polled = station.appliance.poll(self.now_ms, &mut out);
            let (link, unplugged) = (station.link, station.unplugged);
            wake = [wake, polled.wake_ms].into_iter().flatten().min();
            if unplugged {
                continue;
            }
            let mut decoder = Decoder::new();
            for byte in out {
                if let Some(Ok(packet)) = decoder.push(byte) {
                    let (address, payload) = (packet.address, packet.payload.to_vec());
                    self.run();
                    self.relay.from_link(self.now_ms, link, address, &payload);
                }
            }
        }
        wake
    }

    /// One moment: everything that is due, then the time goes on to whatever is next, at most to `limit_ms`.
    pub fn step(&mut self, limit_ms: u64) {
        let first = self.run_stations();
        let second = self.run();
        let next = [first, second].into_iter().flatten().min().unwrap_or(limit_ms);
        self.now_ms = next.max(self.now_ms + 1).min(limit_ms.max(self.now_ms + 1));
    }

    /// Lets so much time go by.
    pub fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.step(until_ms);
        }
        self.run_stations();
        self.run();
    }

    pub fn client(&mut self, client: u8, address: Address, message: &Message<'_>) {
        let mut payload = [0; PAYLOAD_MAX];
        let len = message.encode(&mut payload).unwrap();
        self.client_bytes(client, address, &payload[..len]);
    }

    pub fn client_bytes(&mut self, client: u8, address: Address, payload: &[u8]) {
        assert!(self.relay.wants(client));
        self.relay.from_client(self.now_ms, client, address, payload);
        self.run();
    }

    pub fn link(&mut self, link: u8, address: Address, message: &Message<'_>) {
        let mut payload = [0; PAYLOAD_MAX];
        let len = message.encode(&mut payload).unwrap();
        self.relay.from_link(self.now_ms, link, address, &payload[..len]);
        self.run();
    }

    pub fn operation(&mut self, client: u8, operation: &Operation) -> Operation {
        let mut payload = [0; PAYLOAD_MAX];
        let len = operation.encode(&mut payload).unwrap();
        self.client_bytes(client, Address::STATELESS, &payload[..len]);
        let answers = self.take(client);
        let answer = answers.iter().find(|(address, bytes)| {
            *address == Address::STATELESS
                && matches!(Operation::decode(bytes), Ok(o) if o != Operation::Other)
        });
        answer.map_or(Operation::Other, |(_, bytes)| Operation::decode(bytes).unwrap())
    }

    /// What a client was sent, in order.
    pub fn take(&mut self, client: u8) -> Vec<(Address, Vec<u8>)> {
        let (mine, others) = core::mem::take(&mut self.up).into_iter().partition(|(to, ..)| *to == client);
        self.up = others;
        let mine: Vec<(u8, Address, Vec<u8>)> = mine;
        mine.into_iter().map(|(_, address, bytes)| (address, bytes)).collect()
    }

    /// The one message that a client was sent.
    #[track_caller]
    pub fn answer(&mut self, client: u8) -> (Address, Vec<u8>) {
        let mut all = self.take(client);
        assert_eq!(all.len(), 1, "{all:02x?}");
        all.remove(0)
    }

    /// What went onto a link to an address, but for the controller's own pings and searches.
    pub fn sent_to(&self, address: Address) -> Vec<u8> {
        let codes = self.down.iter().filter(|(_, to, _)| *to == address).map(|(_, _, bytes)| bytes[2]);
        codes.filter(|code| !matches!(code, 0x1F | 0x2F)).collect()
    }

    pub fn entry(&self, address: Address) -> RosterEntry {
        self.relay.roster().find(|entry| entry.address == address).unwrap()
    }

    /// Pushes; `false` if the controller went away meanwhile, or the push failed.
    pub fn try_push(&mut self, client: u8, address: Address, plan: Plan, image: &[u8]) -> bool {
        self.lost = false;
        self.push(client, address, plan, image).is_ok() && !self.lost
    }

    /// A push as a client does it, by the sender that knows nothing of controllers.
    pub fn push(
        &mut self,
        client: u8,
        address: Address,
        plan: Plan,
        image: &[u8],
    ) -> Result<Report, SendError> {
        let mut sender = Sender::new(plan, sender::Link::ip(), self.now_ms);
        let limit_ms = self.now_ms + 3_600_000;
        while self.now_ms < limit_ms {
            let next = self.run_stations();
            let second = self.run();
            for (from, bytes) in self.take(client) {
                if let (true, Ok(message)) = (from == address, Message::decode(&bytes)) {
                    if std::env::var_os("TRACE").is_some() {
                        println!("{:8} < {message:?}", self.now_ms);
                    }
                    sender.message(self.now_ms, &message);
                }
            }
            if !self.relay.wants(client) {
                continue;
            }
            match sender.poll(self.now_ms) {
                SenderOutput::Send(message) => {
                    if std::env::var_os("TRACE").is_some() {
                        println!("{:8} > {message:?}", self.now_ms);
                    }
                    self.client(client, address, &message);
                }
                SenderOutput::SendData { offset, len } => {
                    let at = offset as usize;
                    let data = &image[at..at + usize::from(len)];
                    let data = fusain::OtaData { offset: offset.into(), data };
                    self.client(client, address, &Message::OtaData(data));
                }
                SenderOutput::Event(_) => {}
                SenderOutput::Done(result) => return result,
                SenderOutput::Wait { until_ms } => {
                    let wakes = [Some(until_ms), next, second];
                    let wake_ms = wakes.into_iter().flatten().min().unwrap_or(limit_ms);
                    self.now_ms = wake_ms.max(self.now_ms + 1);
                }
            }
        }
        panic!("the push never ends");
    }
}

pub fn version(major: u8) -> ImageVersion {
    ImageVersion::new(major, 0, 0, 0)
}

/// A body with the marker that tells a virtual appliance what its self-test does.
fn body(major: u8, len: usize, marker: &str) -> Vec<u8> {
    let mut body: Vec<u8> =
        (0..len).map(|n| (n as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    body[0] = major;
    let text = format!("{marker}\n");
    body[16..16 + text.len()].copy_from_slice(text.as_bytes());
    body
}

fn options(major: u8) -> SignOptions {
    SignOptions { pad_header: true, ..SignOptions::new(version(major), 32) }
}

pub fn signed(major: u8, key: &SigningKey) -> Vec<u8> {
    sign(&body(major, 9_000, ""), &options(major), key).unwrap()
}

pub fn signed_with(key: &SigningKey, major: u8, change: impl FnOnce(&mut SignOptions)) -> Vec<u8> {
    let mut options = options(major);
    change(&mut options);
    sign(&body(major, 9_000, ""), &options, key).unwrap()
}

/// An image that does something else than pass its self-test.
pub fn signed_marked(major: u8, key: &SigningKey, marker: &str) -> Vec<u8> {
    sign(&body(major, 9_000, marker), &options(major), key).unwrap()
}

pub fn not_signed(major: u8) -> Vec<u8> {
    unsigned(&body(major, 9_000, ""), &options(major)).unwrap()
}

pub fn trust(key: &SigningKey) -> TrustedKey {
    TrustedKey { key: key.public_key(), revoked: false }
}

pub fn digest(image: &[u8]) -> [u8; 32] {
    Sha256::digest(image)
}

pub fn image_hash(image: &[u8]) -> [u8; 32] {
    mcuboot_image::Image::parse_exact(image).unwrap().summary().image_hash
}

/// What a controller that takes its own image too is called.
pub const OWN: Address = Address::new(0xC0);

/// A controller that takes its own image too, at [`OWN`].
pub fn updating_itself(key: &SigningKey) -> Bench {
    let config = Config { updates_itself: true, own: Some(OWN), ..Config::new(100_000) };
    Bench::new(config, &[trust(key)])
}

pub fn plan(image: &[u8]) -> Plan {
    Plan::push(image.len() as u32, digest(image), Some(image_hash(image)))
}
