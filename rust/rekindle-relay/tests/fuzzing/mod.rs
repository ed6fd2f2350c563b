// SPDX-License-Identifier: Apache-2.0
//! What must hold whatever clients, appliances and the store do. The fuzz target, the replay of its corpus and the
//! tests with random scripts all call [`check_script`], so that a finding of one is a test of the others.
//!
//! The bytes are a script: what happens next, and to whom. Most of it is what peers really send, with a twist now and
//! then, so that a script gets far; some of it is noise.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a broken property panics; each user calls a part of it"
)]

use fusain::relay::Relay as Operation;
use fusain::*;
use mcuboot_image::digest::Sha256;
use mcuboot_image::sign::{SignOptions, SigningKey, sign, unsigned};
use mcuboot_image::{Image, ImageVersion};
use rekindle_relay::{AUDIT_MAX, AuditRecord, STORE_MAX, TrustedKey};
use rekindle_relay::{
    Config, Event, File, Keys, LinkConfig, Output, Port, Relay, Routing, StoreFault, StoreOp,
};
use rekindle_session::sender::Link;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::LazyLock;

type Controller = Relay<4, 2, 3>;

const CLIENTS: u8 = 3;
const IMAGE_MAX: u32 = 4096;
/// Outputs that one input may lead to before the controller has to wait for something.
const OUTPUTS_MAX: usize = 2_000;
/// Steps of a script.
const STEPS_MAX: usize = 600;

/// The trusted key: always the same, so that a script always plays the same.
const KEY: &str = include_str!("../../../mcuboot-image/tests/keys/ed25519.pem");

/// A signed image, an unsigned one and one that is damaged.
static IMAGES: LazyLock<(Keys, [Vec<u8>; 3])> = LazyLock::new(|| {
    let key = SigningKey::from_pem(KEY).unwrap();
    let options =
        |major| SignOptions { pad_header: true, ..SignOptions::new(ImageVersion::new(major, 0, 0, 0), 32) };
    let body = |len| (0..len).map(|n: usize| (n * 7 + n / 251).to_le_bytes()[0]).collect::<Vec<u8>>();
    let signed = sign(&body(700), &options(2), &key).unwrap();
    let mut damaged = signed.clone();
    damaged[300] ^= 1;
    let keys = Keys::new(&[TrustedKey { key: key.public_key(), revoked: false }]).unwrap();
    (keys, [signed, unsigned(&body(500), &options(3)).unwrap(), damaged])
});

/// The bytes of a script; after its end, nothing but zeroes.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    fn address(&mut self) -> Address {
        match self.below(12) {
            0 => Address::BROADCAST,
            1 => Address::STATELESS,
            2 => Address::new(0xC0),
            3 => Address::new(u64::from(self.byte()) << 8),
            nth => Address::new(0xA0 + u64::from(nth % 4)),
        }
    }
}

#[derive(Default)]
struct Store {
    files: HashMap<File, (Vec<u8>, usize)>,
    failing: u8,
}

impl Store {
    fn perform(&mut self, op: &StoreOp<'_>) -> Result<Vec<u8>, StoreFault> {
        if self.failing > 0 {
            self.failing -= 1;
            return Err(StoreFault);
        }
        match *op {
            StoreOp::Append { file, at, data } => {
                assert!((1..=STORE_MAX).contains(&data.len()), "{op:?}");
                let (bytes, synced) = self.files.entry(file).or_default();
                assert!(at as usize <= bytes.len() || file != File::Image, "a gap in the image: {op:?}");
                if at as usize > bytes.len() {
                    return Err(StoreFault);
                }
                bytes.truncate(at as usize);
                *synced = (*synced).min(bytes.len());
                bytes.extend(data);
                let most = match file {
                    File::Image => IMAGE_MAX as usize,
                    File::State | File::StateNew => 4096,
                    File::Audit | File::AuditOld => AUDIT_MAX as usize * AuditRecord::LEN,
                };
                assert!(bytes.len() <= most, "{file:?} grows to {}", bytes.len());
            }
            StoreOp::Sync { file } => {
                let (bytes, synced) = self.files.get_mut(&file).ok_or(StoreFault)?;
                *synced = bytes.len();
            }
            StoreOp::Read { file, offset, len } => {
                assert!((1..=STORE_MAX).contains(&(len as usize)), "{op:?}");
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
}

/// As much of an appliance as a controller sees.
#[derive(Clone, Copy, Debug)]
struct Appliance {
    state: OtaState,
    offset: u32,
    boot_number: u32,
    runs: [u8; 32],
    attempt: u32,
    target: Option<[u8; 32]>,
}

impl Appliance {
    const NEW: Self =
        Self { state: OtaState::Idle, offset: 0, boot_number: 1, runs: [9; 32], attempt: 0, target: None };

    fn status(&self) -> Message<'static> {
        let offset = (self.state == OtaState::Receiving).then_some(self.offset);
        Message::OtaStatus(OtaStatus { state: self.state, offset, version: None })
    }

    fn info(&self) -> Message<'static> {
        Message::Extension(Extension::Info(Info {
            boot_number: self.boot_number,
            window: 4,
            version: Version { major: 1, minor: 0, revision: 0, build: 0 },
            image_hash: self.runs,
            flags: InfoFlags::CONFIRMED,
            chunk_max: 100,
            durable: Some(self.offset),
            appliance_state: 1,
        }))
    }

    /// Its last attempt, which always succeeds.
    fn outcome(&self, index: u32) -> Message<'static> {
        let told = self.attempt > 0 && index == 0;
        Message::Extension(Extension::Outcome(OutcomeReport {
            boot_number: self.boot_number,
            outcome: if told { Outcome::Confirmed } else { Outcome::None },
            attempt: self.attempt,
            target: self.target.filter(|_| told),
            mode: None,
            stage: None,
            code: None,
            reset_cause: None,
            index,
            total: u32::from(self.attempt > 0),
        }))
    }

    /// What a good appliance answers.
    fn hear(&mut self, payload: &[u8]) -> Option<Message<'static>> {
        match Message::decode(payload).ok()? {
            Message::OtaStart(start) => {
                let image = IMAGES.1.iter().find(|image| Sha256::digest(image) == start.digest)?;
                let hash = Image::parse_exact(image).ok().map(|image| image.summary().image_hash);
                (self.state, self.offset, self.target) = (OtaState::Receiving, 0, hash);
            }
            Message::OtaData(data) if data.offset == u64::from(self.offset) => {
                self.offset += data.data.len() as u32;
            }
            Message::OtaVerify(_) => self.state = OtaState::Verified,
            Message::OtaAbort => self.state = OtaState::Idle,
            Message::OtaActivate(_) if self.state == OtaState::Verified => {
                // It says so, and has rebooted by the next question.
                self.state = OtaState::Activated;
                let status = self.status();
                (self.state, self.runs) = (OtaState::Idle, self.target.unwrap_or([0; 32]));
                (self.attempt, self.boot_number) = (self.attempt + 1, self.boot_number + 1);
                return Some(status);
            }
            Message::OtaQuery | Message::OtaData(_) | Message::OtaActivate(_) => {}
            Message::PingRequest => return Some(Message::PingResponse(PingResponse { uptime_ms: 5_000 })),
            Message::Extension(Extension::InfoRequest) => return Some(self.info()),
            Message::Extension(Extension::OutcomeRequest { index }) => return Some(self.outcome(index)),
            _ => return None,
        }
        Some(self.status())
    }
}

struct Bench {
    routing: Routing,
    relay: Controller,
    store: Store,
    now_ms: u64,
    open: [bool; CLIENTS as usize],
    /// Somebody at the controller has switched root mode on.
    root_allowed: bool,
    /// It was on at some time.
    root_seen: bool,
    /// The image whose START an appliance was last sent.
    started: BTreeMap<u64, usize>,
    /// Commands that went down and are not answered.
    asked: VecDeque<(u8, Address, Vec<u8>)>,
    appliances: BTreeMap<u64, Appliance>,
    /// Codes of what clients were sent.
    told: Vec<(u8, u8)>,
    reached: Reached,
}

/// How far a script got.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    /// Images that policy approved.
    pub approved: u32,
    /// Commands of updates that went to an appliance of the store's, by kind: START, DATA, VERIFY, ACTIVATE.
    pub forwarded: [u32; 4],
    /// Updates that were settled.
    pub settled: u32,
}

impl Bench {
    fn controller(routing: Routing) -> Controller {
        let config = Config {
            routing,
            checkpoint: 512,
            window: 4,
            own: Some(Address::new(0xC0)),
            updates_itself: true,
            ..Config::new(IMAGE_MAX)
        };
        Relay::new(config, IMAGES.0, [LinkConfig::new(Link::serial(115_200), 4); 2]).unwrap()
    }

    fn new(routing: Routing) -> Self {
        Self {
            routing,
            relay: Self::controller(routing),
            store: Store::default(),
            now_ms: 1,
            open: [false; CLIENTS as usize],
            root_allowed: false,
            root_seen: false,
            started: BTreeMap::new(),
            asked: VecDeque::new(),
            appliances: BTreeMap::new(),
            told: Vec::new(),
            reached: Reached::default(),
        }
    }

    /// Power goes and comes back.
    fn restart(&mut self) {
        for (bytes, synced) in self.store.files.values_mut() {
            bytes.truncate(*synced);
        }
        self.relay = Self::controller(self.routing);
        self.open = [false; CLIENTS as usize];
        self.asked.clear();
    }

    /// Drains the controller, and holds what must hold of everything it wants.
    fn run(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            let now_ms = self.now_ms;
            match self.relay.poll(now_ms) {
                Output::Store(op) => {
                    let result = self.store.perform(&op);
                    self.relay.store_done(result.as_deref().map_err(|fault| *fault));
                }
                Output::Send { port, address, payload } => {
                    let payload = payload.to_vec();
                    self.sent(port, address, &payload);
                }
                Output::ToReceiver { payload } => {
                    assert!(!payload.is_empty() && payload.len() <= PAYLOAD_MAX);
                    let state = OtaStatus { state: OtaState::Idle, offset: None, version: None };
                    let mut out = [0; PAYLOAD_MAX];
                    let len = state.encode(&mut out).unwrap();
                    self.relay.answer(&out[..len]);
                    self.relay.receiver_rests();
                }
                Output::Event(Event::Approved { .. }) => self.reached.approved += 1,
                Output::Event(Event::Settled(..)) => self.reached.settled += 1,
                Output::Event(_) => {}
                Output::Wait { until_ms } => {
                    assert!(until_ms.is_none_or(|until_ms| until_ms > now_ms), "it waits for what has come");
                    let on = self.relay.root().is_on();
                    assert!(!on || self.root_allowed, "root mode without anybody at the controller");
                    self.root_seen |= on;
                    return;
                }
            }
        }
        panic!("the controller never comes to rest");
    }

    fn sent(&mut self, port: Port, address: Address, payload: &[u8]) {
        let code = message_code(payload).expect("a message");
        match port {
            Port::Client(client) => {
                assert!(
                    self.open[usize::from(client)],
                    "a frame for client {client}, which is gone: {address} {payload:02x?}"
                );
                self.told.push((client, code));
            }
            Port::Link(link) => {
                assert!(link < 2);
                if self.routing == Routing::StoreAndForward {
                    self.check_forwarded(address, payload);
                }
                self.asked.push_back((link, address, payload.to_vec()));
                if self.asked.len() > 16 {
                    self.asked.pop_front();
                }
            }
        }
    }

    /// Only what policy lets pass is on a bus, byte for byte.
    fn check_forwarded(&mut self, address: Address, payload: &[u8]) {
        let code = message_code(payload).unwrap();
        if let Some(kind) = code.checked_sub(OtaStart::CODE).filter(|kind| *kind < 4) {
            self.reached.forwarded[usize::from(kind)] += 1;
        }
        match Command::decode(payload) {
            Ok(Some(Command::Start(start))) => {
                let image = IMAGES.1.iter().position(|image| Sha256::digest(image) == start.digest);
                let image = image.expect("an image that a client has brought");
                assert!(image == 0 || (image == 1 && self.root_seen), "image {image} for {address}");
                self.started.insert(address.get(), image);
            }
            Ok(Some(Command::Data(data))) => {
                let image = &IMAGES.1[self.started[&address.get()]];
                let from = data.offset as usize;
                assert_eq!(image.get(from..from + data.data.len()), Some(data.data), "DATA for {address}");
            }
            Ok(Some(Command::Verify(_) | Command::Activate(_))) => {
                assert!(address.is_device(), "{address}");
            }
            _ => {}
        }
    }

    fn client(&mut self, client: u8, address: Address, message: &Message<'_>) {
        let mut payload = [0; PAYLOAD_MAX];
        if let Ok(len) = message.encode(&mut payload) {
            self.relay.from_client(self.now_ms, client, address, &payload[..len]);
        }
    }

    /// What a client brings: an image, in the right order or not.
    fn update(&mut self, script: &mut Script<'_>) {
        let (client, address) = (script.below(CLIENTS), script.address());
        let image: &'static [u8] = &IMAGES.1[usize::from(script.below(3))];
        let digest = Sha256::digest(image);
        let size = image.len() as u32;
        let message = match script.below(12) {
            0 | 1 => Message::OtaStart(OtaStart { size: size.into(), digest, version: None, slot: None }),
            2 => Message::OtaVerify(OtaVerify { digest: None }),
            3 => {
                let mode = if script.byte() & 1 == 0 { Mode::Test } else { Mode::Permanent };
                Message::OtaActivate(OtaActivate { mode, reboot: script.byte() & 1 == 0 })
            }
            4 => Message::OtaAbort,
            5 => Message::OtaQuery,
            6 => Message::Extension(Extension::InfoRequest),
            7 => Message::Extension(Extension::OutcomeRequest { index: script.byte().into() }),
            8 => {
                let offset = u64::from(script.byte()) * 16;
                Message::OtaData(OtaData { offset, data: &image[..usize::from(script.below(101))] })
            }
            _ => return self.whole(script.byte(), client, address, image),
        };
        self.client(client, address, &message);
    }

    /// The whole image in one go, as far as the controller takes it.
    fn whole(&mut self, cut: u8, client: u8, address: Address, image: &'static [u8]) {
        let digest = Sha256::digest(image);
        let start = OtaStart { size: image.len() as u64, digest, version: None, slot: None };
        self.client(client, address, &Message::OtaStart(start));
        self.run();
        for (nth, data) in image.chunks(100).enumerate() {
            // A chunk may be left out, or be another one than it should.
            if usize::from(cut) == nth {
                continue;
            }
            let offset = (nth * 100) as u64 ^ u64::from(usize::from(cut) == nth + 100);
            self.client(client, address, &Message::OtaData(OtaData { offset, data }));
            self.run();
        }
        self.client(client, address, &Message::OtaVerify(OtaVerify { digest: Some(digest) }));
    }

    fn operation(&mut self, script: &mut Script<'_>) {
        let (client, address) = (script.below(CLIENTS), script.address());
        let image = &IMAGES.1[usize::from(script.below(3))];
        let operation = match script.below(5) {
            0 => Operation::RosterRequest { index: script.byte() },
            1 => Operation::CampaignRequest,
            2 => Operation::CampaignCancel { address: (script.byte() & 1 == 0).then_some(address) },
            _ => {
                let (size, digest) = (image.len() as u32, Sha256::digest(image));
                Operation::CampaignAdd { address, size, digest, mode: Mode::Test }
            }
        };
        let mut payload = [0; PAYLOAD_MAX];
        let len = operation.encode(&mut payload).unwrap();
        let to = if script.byte() & 15 == 0 { address } else { Address::STATELESS };
        self.relay.from_client(self.now_ms, client, to, &payload[..len]);
    }

    /// An appliance answers the oldest command, and not truly.
    fn twist(&mut self, script: &mut Script<'_>) {
        let Some((link, address, _)) = self.asked.pop_front() else { return };
        let number = script.byte();
        let all = [
            OtaState::Idle,
            OtaState::Receiving,
            OtaState::Received,
            OtaState::Verified,
            OtaState::Activated,
        ];
        let (state, offset) = (all[usize::from(number % 5)], u32::from(script.byte()) * 64);
        let message = match script.below(6) {
            0 => Message::StateReject(StateReject { code: 1, reason: Some(i32::from(number & 7)) }),
            1 => Message::InvalidCommand(InvalidCommand {
                code: 1,
                field: None,
                constraint: Some(i32::from(number % 18)),
            }),
            2 => Message::OtaStatus(OtaStatus { state, offset: Some(offset), version: None }),
            3 => Message::PingResponse(PingResponse { uptime_ms: offset }),
            4 => Message::DeviceAnnounce(DeviceAnnounce {
                motors: number & 3,
                thermometers: 0,
                pumps: 0,
                glows: 0,
            }),
            _ => Appliance { boot_number: number.into(), runs: [number & 1; 32], offset, ..Appliance::NEW }
                .info(),
        };
        let from = if address.is_device() { address } else { script.address() };
        self.link(link, from, &message);
    }

    /// Appliances answer whatever they are asked, for some rounds.
    fn oblige(&mut self, rounds: u8) {
        for _ in 0..rounds {
            while let Some((link, address, payload)) = self.asked.pop_front() {
                if !address.is_device() {
                    continue;
                }
                let appliance = self.appliances.entry(address.get()).or_insert(Appliance::NEW);
                if let Some(message) = appliance.hear(&payload) {
                    self.link(link, address, &message);
                    self.run();
                }
            }
            self.now_ms += 20;
            self.run();
        }
    }

    fn link(&mut self, link: u8, from: Address, message: &Message<'_>) {
        let mut out = [0; PAYLOAD_MAX];
        if let Ok(len) = message.encode(&mut out) {
            self.relay.from_link(self.now_ms, link, from, &out[..len]);
        }
    }

    /// Bytes that nobody in his right mind sends: an envelope, and then anything.
    fn noise(&mut self, script: &mut Script<'_>) {
        let (down, port, address) = (script.byte() & 1 == 0, script.below(4), script.address());
        let (code, len) = (script.byte(), usize::from(script.below(40)));
        let mut payload = if code < 0x18 { vec![0x82, code] } else { vec![0x82, 0x18, code] };
        payload.extend((0..len).map(|_| script.byte()));
        if script.byte() & 31 == 0 {
            payload.resize(PAYLOAD_MAX, 0xFF);
        }
        if down {
            self.relay.from_client(self.now_ms, port, address, &payload);
        } else {
            self.relay.from_link(self.now_ms, port, address, &payload);
        }
    }

    fn telemetry(&mut self, script: &mut Script<'_>) {
        let (client, address) = (script.below(CLIENTS), script.address());
        let message = match script.below(6) {
            0 => Message::DataSubscription(DataSubscription { appliance: address }),
            1 => Message::DataUnsubscribe(DataUnsubscribe { appliance: address }),
            2 => Message::PingRequest,
            3 => Message::DiscoveryRequest,
            4 => Message::TelemetryConfig(TelemetryConfig {
                enabled: true,
                interval_ms: u32::from(script.byte()) * 100,
            }),
            _ => {
                let state = StateData { error: false, code: 0, state: 1, timestamp_ms: 0 };
                let mut payload = [0; PAYLOAD_MAX];
                let len = state.encode(&mut payload).unwrap();
                return self.relay.from_link(self.now_ms, script.below(2), address, &payload[..len]);
            }
        };
        let to = if script.byte() & 7 == 0 { address } else { Address::STATELESS };
        self.client(client, to, &message);
    }

    fn local(&mut self, script: &mut Script<'_>) {
        let (now_ms, nth) = (self.now_ms, script.byte());
        match script.below(16) {
            0 if self.open[usize::from(nth % CLIENTS)] => {
                self.open[usize::from(nth % CLIENTS)] = false;
                self.relay.client_closed(nth % CLIENTS);
            }
            0 | 1 => {
                self.open[usize::from(nth % CLIENTS)] = true;
                self.relay.client_opened(nth % CLIENTS);
            }
            2 => self.relay.link_down(now_ms, nth % 3),
            3 => self.relay.link_up(now_ms, nth % 3),
            4 => self.relay.link_room(nth % 3, nth & 4 == 0),
            5 => self.relay.root_arm(now_ms),
            6 => {
                self.root_allowed |= self.relay.root_confirm(now_ms).is_ok();
            }
            7 => {
                let _ = self.relay.root_ask_off(now_ms);
            }
            8 => {
                let _ = self.relay.root_downgrade(nth & 1 == 0);
            }
            9 => self.relay.set_keys(if nth & 3 == 0 { Keys::default() } else { IMAGES.0 }),
            10 => self.store.failing = nth & 7,
            11 => self.restart(),
            12 => {
                // Everybody counts as away, and makes room.
                let _ = script.address();
                self.now_ms += 40_000;
            }
            13 => {
                self.relay.configure(script.address(), nth % 3, rekindle_relay::Target::default());
            }
            _ => self.now_ms += u64::from(nth) * u64::from(nth) * 4,
        }
    }
}

/// Plays a script, then holds that the controller still lives: it answers a ping, and takes commands.
pub fn check_script(bytes: &[u8]) -> Reached {
    let mut script = Script(bytes);
    let routing = if script.byte() & 7 == 0 { Routing::Transparent } else { Routing::StoreAndForward };
    let mut bench = Bench::new(routing);
    let settled = script.byte() & 3 != 0;
    if settled {
        // Most scripts begin where a controller has been for a while.
        bench.run();
        for client in 0..CLIENTS {
            bench.relay.client_opened(client);
            bench.open[usize::from(client)] = true;
        }
        for link in 0..2 {
            bench.relay.link_up(bench.now_ms, link);
            for nth in 0..2 {
                let address = Address::new(0xA0 + u64::from(link * 2 + nth));
                bench.relay.configure(address, link, rekindle_relay::Target::default());
            }
        }
        bench.run();
    }
    for _ in 0..STEPS_MAX {
        if script.0.is_empty() {
            break;
        }
        match script.below(16) {
            0..=3 => bench.update(&mut script),
            4 | 5 => bench.operation(&mut script),
            6 | 7 => bench.twist(&mut script),
            8..=10 => bench.oblige(script.below(40)),
            11 => bench.noise(&mut script),
            12 | 13 => bench.telemetry(&mut script),
            _ => bench.local(&mut script),
        }
        // Inputs may come several at a time.
        if script.byte() & 7 != 0 {
            bench.run();
            bench.now_ms += 1;
        }
    }
    bench.store.failing = 0;
    bench.run();
    for _ in 0..40 {
        bench.now_ms += 5_000;
        bench.run();
    }
    if !bench.open[0] {
        bench.relay.client_opened(0);
        bench.open[0] = true;
    }
    assert!(bench.relay.wants(0) && bench.relay.wants_link(), "it takes nothing any more");
    bench.told.clear();
    bench.client(0, Address::STATELESS, &Message::PingRequest);
    bench.run();
    assert!(bench.told.contains(&(0, PingResponse::CODE)), "no answer to a ping: {:?}", bench.told);
    bench.reached
}
