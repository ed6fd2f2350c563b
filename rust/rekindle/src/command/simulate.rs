// SPDX-License-Identifier: Apache-2.0
//! `simulate appliance`: a device whose flash is a file, behind a real socket or pseudo-terminal.

use core::hash::{BuildHasher as _, Hasher as _};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Instant;

use fusain::Address;
use rekindle_client::listen::{Listen, Listener};
use rekindle_client::transport::Transport;
use rekindle_session::{appliance, receiver};
use rekindle_sim::bootloader::{Judge, SwapType};
use rekindle_sim::device::{Note, SelfTest};
use rekindle_sim::virtual_appliance::{OpenError, Settings, VirtualAppliance};
use serde_json::{Value, json};

use super::image_file::{ImageFile, public_key};
use crate::cli;
use crate::exit::{Exit, Failure, Outcome, chain};
use crate::interrupt;
use crate::output::Output;

/// Longest wait in one piece, so that a new client is seen soon.
const NAP: Duration = Duration::from_millis(20);

pub(crate) fn run(args: &cli::SimulateAppliance, output: Output) -> Outcome {
    let interrupted = interrupt::flag()?;
    let settings = settings(args)?;
    // Held as long as the process lives: two devices on one flash would tear each other apart.
    let (appliance, _lock) = open(&args.flash, settings)?;
    let listener = Listener::bind(&args.listen).map_err(|error| {
        Failure::of(Exit::Usage, &error).next("choose another port or path, or end whatever listens there")
    })?;
    let (target, address) = (listener.target().clone(), args.address);
    output.print(
        &json!({"event": "listening", "target": target.to_string(), "address": address.to_string()}),
        format!("device {address} listens at {target}; Ctrl-C takes its power away"),
    )?;
    let drops_links = matches!(args.listen, Listen::Tcp { .. } | Listen::WebSocket { .. });
    let station = Station { appliance, address, booted: false };
    Board::new(vec![station], listener, drops_links, args.link_rate, output).run(interrupted)
}

/// Several devices on one bus: each hears all of it, and answers to its own address only.
pub(crate) fn run_bus(args: &cli::SimulateBus, output: Output) -> Outcome {
    let interrupted = interrupt::flag()?;
    std::fs::create_dir_all(&args.flash).map_err(|error| {
        Failure::new(Exit::Input, format!("cannot make the folder {}: {error}", args.flash.display()))
    })?;
    let common = Settings {
        signature: judge(args.key.as_deref())?,
        install: installed(args.install.as_deref())?,
        point_to_point: false,
        serial: matches!(args.listen, Listen::Pty { .. }),
        erase_ms: args.erase_ms,
        ..Settings::default()
    };
    let (mut stations, mut locks) = (Vec::new(), Vec::new());
    for &address in &args.address {
        let broken = args.broken.contains(&address);
        let self_test = broken.then_some(SelfTest::Fail { stage: 1, code: -1 });
        let settings = Settings { address, self_test, seed: random_seed(), ..common.clone() };
        let (appliance, lock) = open(&args.flash.join(format!("{address}.flash")), settings)?;
        stations.push(Station { appliance, address, booted: false });
        locks.push(lock);
    }
    let listener = Listener::bind(&args.listen).map_err(|error| {
        Failure::of(Exit::Usage, &error).next("choose another port or path, or end whatever listens there")
    })?;
    let target = listener.target().clone();
    let addresses: Vec<String> = args.address.iter().map(ToString::to_string).collect();
    output.print(
        &json!({"event": "listening", "target": target.to_string(), "addresses": addresses}),
        format!("bus with {} devices at {target}; Ctrl-C takes their power away", addresses.len()),
    )?;
    Board::new(stations, listener, false, args.link_rate, output).run(interrupted)
}

fn settings(args: &cli::SimulateAppliance) -> Outcome<Settings> {
    let key = args.key.as_deref().map(public_key).transpose()?;
    let is_serial = matches!(args.listen, Listen::Pty { .. });
    Ok(Settings {
        signature: key.map(Judge::key),
        keys: key.filter(|_| args.check_signature).into_iter().collect(),
        install: installed(args.install.as_deref())?,
        address: args.address,
        serial: is_serial,
        erase_ms: args.erase_ms,
        seed: random_seed(),
        ..Settings::default()
    })
}

fn installed(path: Option<&Path>) -> Outcome<Option<Vec<u8>>> {
    let Some(path) = path else { return Ok(None) };
    let file = ImageFile::read(path)?;
    let image = file.image()?;
    file.check_hash(&image)?;
    Ok(Some(image.bytes().to_vec()))
}

fn judge(key: Option<&Path>) -> Outcome<Option<Judge>> {
    key.map(|path| public_key(path).map(Judge::key)).transpose()
}

/// The standard library's maps are seeded at random; boot numbers of a virtual device need no more than that.
fn random_seed() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Opens the flash, or makes a new one under another name first, so that a killed process leaves none that is half
/// made.
fn open(path: &Path, settings: Settings) -> Outcome<(VirtualAppliance, File)> {
    let failed = |error: &dyn core::error::Error| {
        Failure::new(Exit::Input, format!("flash {}: {}", path.display(), chain(error)))
    };
    let installed = settings.install.is_some();
    if !path.exists() {
        if !installed {
            return Err(Failure::new(Exit::Input, format!("flash {} does not exist yet", path.display()))
                .next("give the image it shall run with --install, or the path of an existing flash"));
        }
        let fresh = path.with_extension("new-flash");
        let _ = std::fs::remove_file(&fresh);
        drop(VirtualAppliance::open(&fresh, settings.clone()).map_err(|error| open_failed(&fresh, &error))?);
        std::fs::rename(&fresh, path).map_err(|error| failed(&error))?;
    }
    let lock = OpenOptions::new().read(true).write(true).open(path).map_err(|error| failed(&error))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let message = format!("flash {} is in use by another virtual device", path.display());
            return Err(Failure::new(Exit::Input, message).next("end that one first, or give another file"));
        }
        Err(TryLockError::Error(error)) => return Err(failed(&error)),
    }
    let appliance = VirtualAppliance::open(path, settings).map_err(|error| open_failed(path, &error))?;
    Ok((appliance, lock))
}

fn open_failed(path: &Path, error: &OpenError) -> Failure {
    let _ = std::fs::remove_file(path.with_extension("new-flash"));
    Failure::new(Exit::Input, format!("flash {}: {error}", path.display()))
}

/// One appliance on the board's bus.
struct Station {
    appliance: VirtualAppliance,
    address: Address,
    booted: bool,
}

/// Everything around the appliances.
struct Board {
    stations: Vec<Station>,
    listener: Listener,
    /// A reboot ends connections, as it does where the device's own processor speaks TCP.
    drops_links: bool,
    links: Vec<Box<dyn Transport>>,
    clock: Instant,
    budget: Budget,
    output: Output,
}

impl Board {
    fn new(
        stations: Vec<Station>,
        listener: Listener,
        drops_links: bool,
        link_rate: u32,
        output: Output,
    ) -> Self {
        let (clock, budget) = (Instant::now(), Budget::new(link_rate));
        Self { stations, listener, drops_links, links: Vec::new(), clock, budget, output }
    }

    fn run(mut self, interrupted: &AtomicBool) -> Outcome {
        while !interrupted.load(Ordering::Relaxed) {
            let mut wake_ms = None;
            for index in 0..self.stations.len() {
                let now_ms = self.now_ms();
                let Some(station) = self.stations.get_mut(index) else { continue };
                let mut out = Vec::new();
                let polled = station.appliance.poll(now_ms, &mut out);
                self.send(&out);
                for note in &polled.notes {
                    self.tell(index, note)?;
                }
                if polled.stopped {
                    return Err(Failure::new(Exit::Input, "the bootloader finds no image to start")
                        .next("begin with a new flash file and --install"));
                }
                wake_ms = [wake_ms, polled.wake_ms].into_iter().flatten().min();
            }
            self.receive(wake_ms);
        }
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Everybody hears everything, as on a bus.
    fn send(&mut self, frames: &[u8]) {
        if frames.is_empty() {
            return;
        }
        self.links.retain_mut(|link| {
            // One frame per message where the transport has messages: every frame ends with its END byte.
            frames.split_inclusive(|byte| *byte == FRAME_END).all(|frame| link.send(frame).is_ok())
        });
    }

    fn receive(&mut self, wake_ms: Option<u64>) {
        let now = self.now_ms();
        let due = wake_ms.map_or(NAP, |wake| Duration::from_millis(wake.saturating_sub(now)));
        let wait = due.min(NAP);
        let had_links = !self.links.is_empty();
        let patience = if had_links { Duration::ZERO } else { wait };
        while let Some(link) = self.listener.accept(patience) {
            self.links.push(link);
            self.stations.iter_mut().for_each(|station| station.appliance.link_reset());
            if !had_links {
                return;
            }
        }
        let room = self.stations.iter().map(|station| station.appliance.room()).min().unwrap_or(0);
        let room = room.min(self.budget.available());
        if room == 0 {
            // What comes stays in the operating system's buffers and slows the sender down.
            std::thread::sleep(wait.max(Duration::from_millis(1)));
            return;
        }
        let share = wait.checked_div(u32::try_from(self.links.len()).unwrap_or(1)).unwrap_or(wait);
        let mut buffer = [0; 4096];
        let mut left = room.min(buffer.len());
        let mut arrived = Vec::new();
        self.links.retain_mut(|link| {
            let Some(part) = buffer.get_mut(..left).filter(|part| !part.is_empty()) else { return true };
            match link.recv(part, share) {
                Ok(count) => {
                    left -= count;
                    arrived.extend_from_slice(part.get(..count).unwrap_or_default());
                    true
                }
                Err(_) => false,
            }
        });
        self.budget.spend(arrived.len());
        let now_ms = self.now_ms();
        self.stations.iter_mut().for_each(|station| station.appliance.push_bytes(now_ms, &arrived));
    }

    fn tell(&mut self, index: usize, note: &Note) -> Outcome {
        let alone = self.stations.len() == 1;
        let Some(station) = self.stations.get_mut(index) else { return Ok(()) };
        if matches!(note, Note::Booted { .. }) {
            if station.booted && self.drops_links {
                self.links.clear();
            }
            station.booted = true;
        }
        let Some((mut json, mut text)) = describe(note) else { return Ok(()) };
        if !alone {
            text = format!("{}: {text}", station.address);
            if let Value::Object(fields) = &mut json {
                fields.insert("address".to_owned(), json!(station.address.to_string()));
            }
        }
        self.output.print(&json, text)
    }
}

/// Last byte of every frame (PROTOCOL.md §1.1).
const FRAME_END: u8 = 0x7F;

/// A note for programs and for people; `None` for what happens all the time.
fn describe(note: &Note) -> Option<(Value, String)> {
    let (name, text) = match note {
        Note::Booted { booted, .. } => {
            let text = match (booted.swapped, booted.refused) {
                (_, Some(refusal)) => {
                    format!("bootloader refuses the new image ({refusal:?}), starts the old one")
                }
                (Some(SwapType::Revert), _) => "bootloader goes back to the old image".to_owned(),
                (Some(_), _) => "bootloader swaps the new image in".to_owned(),
                (None, None) => "bootloader starts the image".to_owned(),
            };
            ("booted", text)
        }
        Note::Event(appliance::Event::Update(event)) => match event {
            receiver::Event::Started { size } => ("started", format!("update of {size} bytes begins")),
            receiver::Event::Resumed { offset, size } => {
                ("resumed", format!("update resumes at byte {offset} of {size}"))
            }
            receiver::Event::Verified { version } => ("verified", format!("image {version} verified")),
            receiver::Event::Closed => ("closed", "update closed".to_owned()),
            receiver::Event::UnderTest { attempt } => {
                ("under_test", format!("attempt {attempt} is under test"))
            }
            receiver::Event::Settled { attempt, outcome } => {
                ("settled", format!("attempt {attempt}: {outcome}"))
            }
            receiver::Event::Fault { area } => ("fault", format!("flash fault in {area:?}")),
            receiver::Event::SwapPending { .. } | receiver::Event::Progress { .. } => return None,
        },
        Note::RequestUpgrade { mode, .. } => ("upgrade", format!("upgrade requested, {}", mode.name())),
        Note::Confirmed => ("confirmed", "image confirmed".to_owned()),
        Note::RequestFailed(error) => ("request_failed", format!("bootloader library: {error}")),
        Note::SelfTest(SelfTest::Pass) => ("self_test", "self-test passed".to_owned()),
        Note::SelfTest(SelfTest::Fail { stage, code }) => {
            ("self_test", format!("self-test failed at stage {stage}, code {code}"))
        }
        Note::SelfTest(_) => ("self_test", "self-test does not end".to_owned()),
        Note::Event(_) => return None,
    };
    Some((json!({"event": name, "text": text}), text))
}

/// Bytes that a slow link lets through.
struct Budget {
    rate: u32,
    counted: Instant,
    bytes: usize,
}

impl Budget {
    fn new(rate: u32) -> Self {
        Self { rate, counted: Instant::now(), bytes: 0 }
    }

    fn available(&mut self) -> usize {
        if self.rate == 0 {
            return usize::MAX;
        }
        let micros = u64::try_from(self.counted.elapsed().as_micros()).unwrap_or(u64::MAX);
        let earned = u64::from(self.rate).saturating_mul(micros) / 1_000_000;
        if earned > 0 {
            self.counted = Instant::now();
            // A line that was idle has not saved anything up; a twentieth of a second evens out the scheduler.
            let most = usize::try_from(self.rate / 20).unwrap_or(usize::MAX).max(64);
            self.bytes = self.bytes.saturating_add(usize::try_from(earned).unwrap_or(usize::MAX)).min(most);
        }
        self.bytes
    }

    fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
