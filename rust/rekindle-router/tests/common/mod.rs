// SPDX-License-Identifier: Apache-2.0
//! A daemon in this process, with virtual appliances on real sockets as its buses.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use fusain::relay::{Campaign, RosterEntry};
use fusain::{Address, Decoder};
use mcuboot_image::ImageVersion;
use mcuboot_image::digest::Sha256;
use mcuboot_image::sign::{SignOptions, SigningKey, sign, unsigned};
use rekindle_client::controller;
use rekindle_client::credentials::Access;
use rekindle_client::drive::{DriveError, Job, drive};
use rekindle_client::link::Link;
use rekindle_client::target::Target;
use rekindle_router::Daemon;
use rekindle_router::config::Settings;
use rekindle_session::sender::{Plan, Report};
use rekindle_sim::virtual_appliance::{self, VirtualAppliance};

/// How long something may take that takes a moment.
pub const SOON: Duration = Duration::from_secs(30);

pub fn options(version: u8) -> SignOptions {
    let version = ImageVersion { major: version, minor: 0, revision: 0, build: 0 };
    SignOptions { pad_header: true, ..SignOptions::new(version, 0x200) }
}

/// A body that no two versions share.
pub fn body(version: u8, size: usize) -> Vec<u8> {
    (0..size).map(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ version).collect()
}

pub fn signed(version: u8, size: usize, key: &SigningKey) -> Vec<u8> {
    sign(&body(version, size), &options(version), key).unwrap()
}

pub fn not_signed(version: u8, size: usize) -> Vec<u8> {
    unsigned(&body(version, size), &options(version)).unwrap()
}

/// Frames with the addresses they were for.
pub type Frames = Mutex<Vec<(Address, Vec<u8>)>>;

/// A bus with appliances, behind a TCP port.
pub struct Bus {
    pub port: u16,
    /// Every frame that came down, as it came.
    pub heard: Arc<Frames>,
    /// Bytes that it takes in a millisecond, as a line does; 0 is no limit.
    pub pace: Arc<AtomicUsize>,
    /// Bytes that the bus says by itself.
    say: Arc<Mutex<Vec<u8>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bus {
    /// Appliances with these addresses that run `installed`.
    pub fn new(addresses: &[u64], installed: &[u8]) -> Self {
        Self::at(0, addresses, installed)
    }

    /// The same at a given port.
    pub fn at(port: u16, addresses: &[u64], installed: &[u8]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (heard, say): (Arc<Frames>, Arc<Mutex<Vec<u8>>>) = Default::default();
        let pace = Arc::new(AtomicUsize::new(0));
        let line = Arc::clone(&pace);
        let (ended, all, own) = (Arc::clone(&stop), Arc::clone(&heard), Arc::clone(&say));
        let (addresses, installed) = (addresses.to_vec(), installed.to_vec());
        let thread = thread::spawn(move || {
            let appliances = addresses.iter().map(|&address| {
                let settings = virtual_appliance::Settings {
                    install: Some(installed.to_vec()),
                    address: Address::new(address),
                    point_to_point: false,
                    boot_ms: 50,
                    self_test_ms: 100,
                    seed: address,
                    ..virtual_appliance::Settings::default()
                };
                VirtualAppliance::in_memory(settings).unwrap()
            });
            let mut appliances: Vec<_> = appliances.collect();
            let clock = Instant::now();
            let mut socket: Option<TcpStream> = None;
            let mut decoder = Decoder::new();
            while !ended.load(Ordering::Relaxed) {
                if let Ok((next, _)) = listener.accept() {
                    next.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
                    next.set_nodelay(true).unwrap();
                    (socket, decoder) = (Some(next), Decoder::new());
                }
                let now_ms = clock.elapsed().as_millis() as u64;
                let mut out = core::mem::take(&mut *own.lock().unwrap());
                appliances.iter_mut().for_each(|appliance| drop(appliance.poll(now_ms, &mut out)));
                let Some(open) = &mut socket else {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                };
                let mut bytes = [0; 4096];
                let at_once = match line.load(Ordering::Relaxed) {
                    0 => bytes.len(),
                    pace => {
                        let before = Instant::now();
                        thread::sleep(Duration::from_millis(2));
                        (before.elapsed().as_millis() as usize * pace).min(bytes.len())
                    }
                };
                let got = open.write_all(&out).and_then(|()| open.read(&mut bytes[..at_once]));
                match got {
                    Ok(0) => socket = None,
                    Ok(count) => {
                        for &byte in &bytes[..count] {
                            if let Some(Ok(packet)) = decoder.push(byte) {
                                all.lock().unwrap().push((packet.address, packet.payload.to_vec()));
                            }
                        }
                        appliances.iter_mut().for_each(|a| a.push_bytes(now_ms, &bytes[..count]));
                    }
                    Err(error)
                        if matches!(
                            error.kind(),
                            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                        ) => {}
                    Err(_) => socket = None,
                }
            }
        });
        Self { port, heard, pace, say, stop, thread: Some(thread) }
    }

    /// Says something on the bus, byte for byte.
    pub fn say(&self, bytes: &[u8]) {
        self.say.lock().unwrap().extend(bytes);
    }

    /// Frames with this code that came down for an appliance.
    pub fn heard_of(&self, address: u64, code: u8) -> usize {
        let heard = self.heard.lock().unwrap();
        let concerned = |(to, payload): &&(Address, Vec<u8>)| {
            *to == Address::new(address) && payload.get(2) == Some(&code)
        };
        heard.iter().filter(concerned).count()
    }

    /// Update commands that came down for an appliance.
    pub fn updates(&self, address: u64) -> usize {
        let heard = self.heard.lock().unwrap();
        let concerned = |(to, payload): &&(Address, Vec<u8>)| {
            *to == Address::new(address) && matches!(payload.get(2), Some(0x40..=0x43))
        };
        heard.iter().filter(concerned).count()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// A folder with keys, and what is made of them.
pub struct Desk {
    pub folder: tempfile::TempDir,
    pub key: SigningKey,
}

impl Desk {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let key = SigningKey::generate_p256().unwrap();
        let desk = Self { folder, key };
        desk.write("release.pub.pem", desk.key.public_key().to_pem().as_bytes(), 0o644);
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: &[u8], mode: u32) {
        std::fs::write(self.path(name), content).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A configuration with these listeners and one link for each bus; more goes before and behind it.
    pub fn settings(&self, head: &str, listen: &[&str], buses: &[&Bus], tail: &str) -> Settings {
        let mut text = format!("store = \"store\"\n{head}\n[[key]]\nfile = \"release.pub.pem\"\n");
        for listen in listen {
            text += &format!("[[listen]]\n{listen}\n");
        }
        for (number, bus) in buses.iter().enumerate() {
            text += &format!("[[link]]\nname = \"bus{number}\"\nurl = \"tcp://127.0.0.1:{}\"\n", bus.port);
        }
        text += tail;
        Settings::parse(&self.path("relay.toml"), &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }
}

/// A daemon on a thread of this process.
pub struct Running {
    pub targets: Vec<Target>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start(settings: Settings) -> Self {
        let daemon = Daemon::open(settings).unwrap();
        let targets = daemon.targets().iter().map(|target| target.parse().unwrap()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = thread::spawn(move || daemon.run(&ended).unwrap());
        Self { targets, stop, thread: Some(thread) }
    }

    pub fn target(&self) -> &Target {
        &self.targets[0]
    }

    pub fn port(&self) -> u16 {
        match self.target() {
            Target::Tcp { port, .. } | Target::Tls { port, .. } | Target::WebSocket { port, .. } => *port,
            other => panic!("{other}"),
        }
    }

    pub fn link(&self) -> Link {
        Link::connect(self.target(), &Access::default()).unwrap()
    }

    pub fn campaign(&self) -> Campaign {
        controller::campaign(&mut self.link()).unwrap()
    }

    pub fn entry(&self, address: u64) -> RosterEntry {
        let entries = controller::roster(&mut self.link()).unwrap();
        *entries.iter().find(|entry| entry.address == Address::new(address)).unwrap()
    }

    /// Waits until the controller has heard so many appliances.
    #[track_caller]
    pub fn await_appliances(&self, count: usize) {
        eventually("appliances are there", || {
            let entries = controller::roster(&mut self.link()).unwrap();
            entries.iter().filter(|entry| entry.version.is_some()).count() >= count
        });
    }

    /// A push by the sender that direct pushes use.
    pub fn push(&self, address: u64, image: &[u8]) -> Result<Report, Box<DriveError>> {
        push(self.target(), &Access::default(), address, image)
    }
}

pub fn push(target: &Target, access: &Access, address: u64, image: &[u8]) -> Result<Report, Box<DriveError>> {
    let job = Job {
        target,
        access,
        address: Address::new(address),
        plan: Plan::push(image.len() as u32, Sha256::digest(image), None),
        image,
        interrupted: &AtomicBool::new(false),
    };
    drive(&job, Link::connect(target, access).unwrap(), &mut |_| {})
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the daemon panicked");
    }
}

/// Waits for something to become true.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {} s", SOON.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Who runs this test.
pub fn me(folder: &Path) -> u32 {
    std::fs::metadata(folder).unwrap().uid()
}
