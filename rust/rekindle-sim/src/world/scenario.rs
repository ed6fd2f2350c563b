// SPDX-License-Identifier: Apache-2.0
//! What a world is made of, and what happens to it.

use crate::bootloader::{Bootloader, SwapMode};
use crate::device::{self, MARKER, MS};
use crate::flash::{Geometry, Tear};
use crate::image::Recipe;
use crate::link::{Faults, LinkConfig};
use crate::rng::Rng;
use fusain::{ApplianceState, Mode, Version};
use rekindle_session::receiver::EraseMode;
use rekindle_session::sender;

/// When something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At a time in the world.
    At {
        /// Nanoseconds since its beginning.
        ns: u64,
    },
    /// Inside a flash operation; for power cuts and failures of the flash.
    Operation {
        /// Its number.
        number: u64,
    },
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The device loses power.
    PowerCut {
        /// What the operation under way leaves behind.
        tear: Tear,
        /// How long it is without power.
        off_ns: u64,
    },
    /// The device is reset without losing power.
    Reset,
    /// A flash operation fails.
    FlashFailure {
        /// What it leaves behind.
        tear: Tear,
    },
    /// A read of the flash fails; the number of its [`When::Operation`] counts reads.
    ReadFailure,
    /// The link is down for a while.
    LinkCut {
        /// For how long.
        for_ns: u64,
        /// Whether the sender is told, as by a closed connection.
        told: bool,
    },
    /// The sender stops, and another one with the same plan begins.
    SenderRestart {
        /// After how long.
        after_ns: u64,
    },
    /// Somebody else writes into the secondary slot and tells nobody.
    ForeignWrite {
        /// First byte in the slot.
        offset: u32,
        /// Number of bytes.
        len: u32,
    },
    /// Another writer on the device, such as SMP, asks for the secondary slot and uses it if it may.
    Visitor {
        /// What it does there.
        visit: Visit,
    },
    /// The appliance is in a state in which an update is not safe.
    Unsafe {
        /// The state.
        state: ApplianceState,
        /// For how long.
        for_ns: u64,
    },
}

/// What another writer does with the secondary slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// It erases the slot.
    Erases,
    /// It writes some of an image and goes away.
    GivesUp,
    /// It installs an image of its own, and resets the device.
    Installs,
}

/// What an image does once it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It confirms itself.
    Passes,
    /// Its self-test fails, or it crashes: the old image comes back.
    Fails,
}

/// One image to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The file.
    pub image: Vec<u8>,
    /// Its version.
    pub version: Version,
    /// How it is activated.
    pub mode: Mode,
    /// What becomes of it.
    pub fate: Fate,
    /// The operator waits for the verdict, instead of going on as soon as it is activated.
    pub follow: bool,
}

impl Update {
    /// An image of `len` bytes with a version and a body of its own.
    #[must_use]
    pub fn new(number: u8, len: usize, mode: Mode, text: Option<&str>, seed: u64) -> Self {
        let recipe = Recipe::sized((number, 0, 0, 0), len, seed ^ u64::from(number));
        let recipe = match text {
            Some(text) => recipe.with_text(&format!("{MARKER}{text}")),
            None => recipe,
        };
        let version = Version { major: number, minor: 0, revision: 0, build: 0 };
        let fate = if text.is_some() { Fate::Fails } else { Fate::Passes };
        Self { image: recipe.build(), version, mode, fate, follow: true }
    }
}

/// A world before it begins.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Everything random follows from it.
    pub seed: u64,
    /// The chip.
    pub geometry: Geometry,
    /// The device.
    pub device: device::Options,
    /// The image that runs at the beginning.
    pub installed: Vec<u8>,
    /// It has the trailer of a confirmed image, not none at all.
    pub installed_confirmed: bool,
    /// Images to install, one after the other.
    pub updates: Vec<Update>,
    /// The link.
    pub link: LinkConfig,
    /// What the sender knows of the link.
    pub sender_link: sender::Link,
    /// Largest window that the sender uses.
    pub window_max: u8,
    /// Largest chunk that the sender uses, in bytes.
    pub chunk_max: u8,
    /// The link is a connection: it breaks when the device resets, and the sender is told.
    pub connection: bool,
    /// What goes wrong, and when.
    pub mishaps: Vec<(When, Mishap)>,
}

impl Scenario {
    /// A quiet world: one device without an update, on a fast link without faults.
    #[must_use]
    pub fn new(seed: u64, mode: SwapMode, geometry: Geometry) -> Self {
        let bootloader = Bootloader::new(mode);
        let device = device::Options { seed, ..device::Options::new(bootloader, &geometry) };
        let slot = device.config.layout.image_max as usize;
        Self {
            seed,
            geometry,
            device,
            installed: Recipe::sized((1, 0, 0, 0), slot * 2 / 3, seed).build(),
            installed_confirmed: true,
            updates: Vec::new(),
            link: LinkConfig::serial(0, MS),
            sender_link: sender::Link::serial(115_200),
            window_max: u8::MAX,
            chunk_max: 100,
            connection: false,
            mishaps: Vec::new(),
        }
    }

    /// The same world with one more update.
    #[must_use]
    pub fn with_update(mut self, update: Update) -> Self {
        self.updates.push(update);
        self
    }

    /// The same world with one more mishap.
    #[must_use]
    pub fn with_mishap(mut self, when: When, mishap: Mishap) -> Self {
        self.mishaps.push((when, mishap));
        self
    }

    /// Everything at random: flash, swap mode, images, link, and what goes wrong.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed).fork(0x3021D);
        let write_block = *rng.pick(&[1, 4, 8, 16, 32]);
        let sector_size = *rng.pick(&[512, 1024, 2048, 4096]);
        // The journal needs sectors of 1024 bytes, whatever the slots have.
        let mut geometry = Geometry::even(write_block, rng.range(8, 16), sector_size);
        geometry.journal.sector_size = sector_size.max(1024);
        geometry.journal.sectors = 2;
        let mode = *rng.pick(&[SwapMode::Offset, SwapMode::Move]);
        let mut scenario = Self::new(seed, mode, geometry);
        scenario.installed_confirmed = rng.coin();
        scenario.device.config.erase = *rng.pick(&[EraseMode::Ahead, EraseMode::AtStart]);
        scenario.device.config.window = *rng.pick(&[1, 4, 8, 24]);
        scenario.device.config.chunk_max = *rng.pick(&[32, 64, 100, 101]);
        scenario.device.rx_capacity = usize::from(scenario.device.config.window) * fusain::FRAME_MAX;
        if rng.coin() {
            scenario.device.timing.erase_ns = u64::from(rng.range(1, 60)) * MS;
            scenario.device.timing.program_ns = u64::from(rng.range(0, 2_000_000));
        }
        scenario.window_max = *rng.pick(&[1, 3, 8, 255]);
        scenario.chunk_max = *rng.pick(&[48, 96, 100]);
        scenario.random_link(&mut rng);
        scenario.random_updates(&mut rng);
        scenario.random_mishaps(&mut rng);
        scenario
    }

    /// The same world, in which a few reads of the flash fail as well.
    #[must_use]
    pub fn with_read_failures(mut self) -> Self {
        let mut rng = Rng::new(self.seed).fork(0x2EAD);
        for _ in 0..3 {
            let when = When::Operation { number: rng.below(1500) };
            self.mishaps.push((when, Mishap::ReadFailure));
        }
        self
    }

    /// The same world, in which another writer comes by a few times.
    #[must_use]
    pub fn with_visitors(mut self) -> Self {
        let mut rng = Rng::new(self.seed).fork(0x51517);
        for _ in 0..3 {
            let when = When::At { ns: rng.below(20_000) * MS };
            let visit = *rng.pick(&[Visit::Erases, Visit::GivesUp, Visit::Installs]);
            self.mishaps.push((when, Mishap::Visitor { visit }));
        }
        self
    }

    fn random_link(&mut self, rng: &mut Rng) {
        let latency_ns = u64::from(rng.range(0, 50)) * MS;
        let faults = Faults {
            loss: *rng.pick(&[0, 0, 1_000, 10_000, 50_000]),
            duplicate: *rng.pick(&[0, 0, 5_000]),
            reorder: 0,
            corrupt: *rng.pick(&[0, 0, 10, 100]),
        };
        match rng.below(4) {
            0 => {
                self.link = LinkConfig::datagrams(latency_ns, Faults { reorder: 20_000, ..faults });
                self.sender_link = sender::Link::ip();
            }
            1 => {
                self.link = LinkConfig { faults, ..LinkConfig::rs485(115_200, 500_000) };
                self.sender_link = sender::Link::serial_half_duplex(115_200);
                self.device.config.half_duplex = true;
            }
            2 => {
                // A connection loses nothing until it breaks.
                self.link = LinkConfig::serial(0, latency_ns);
                self.sender_link = sender::Link::ip();
                self.connection = true;
            }
            _ => {
                let baud = *rng.pick(&[115_200, 460_800, 1_000_000]);
                self.link = LinkConfig { faults, ..LinkConfig::serial(baud, latency_ns) };
                self.sender_link = sender::Link::serial(baud);
            }
        }
    }

    fn random_updates(&mut self, rng: &mut Rng) {
        let max = self.device.config.layout.image_max;
        let installed = rng.range(100, max) as usize;
        self.installed = Recipe::sized((1, 0, 0, 0), installed, self.seed).build();
        for number in 2..=rng.range(2, 3) {
            let len = rng.range(100, max) as usize;
            let mode = if rng.chance_ppm(250_000) { Mode::Permanent } else { Mode::Test };
            // A permanent image that fails is a lost device: nobody promises otherwise.
            let text = match rng.below(6) {
                0 if mode == Mode::Test => Some("fail:3:-1"),
                1 if mode == Mode::Test => Some("crash"),
                _ => None,
            };
            let follow = rng.below(8) != 0;
            let update = Update::new(number as u8, len, mode, text, self.seed);
            self.updates.push(Update { follow, ..update });
        }
    }

    fn random_mishaps(&mut self, rng: &mut Rng) {
        for _ in 0..rng.below(5) {
            let tear = *rng.pick(&Tear::ALL);
            let ns = rng.below(4_000) * MS;
            let operation = When::Operation { number: rng.below(200) };
            let off_ns = u64::from(rng.range(1, 3000)) * MS;
            let mishap = match rng.below(8) {
                0..=2 => (operation, Mishap::PowerCut { tear, off_ns }),
                3 => (When::At { ns }, Mishap::PowerCut { tear, off_ns }),
                4 => (When::At { ns }, Mishap::Reset),
                5 => {
                    let told = rng.coin();
                    (When::At { ns }, Mishap::LinkCut { for_ns: off_ns, told })
                }
                6 => (When::At { ns }, Mishap::SenderRestart { after_ns: off_ns / 3 }),
                _ => {
                    let state = *rng.pick(&[ApplianceState::Heating, ApplianceState::Cooling]);
                    (When::At { ns }, Mishap::Unsafe { state, for_ns: off_ns })
                }
            };
            self.mishaps.push(mishap);
        }
        if rng.chance_ppm(150_000) {
            let when = When::Operation { number: rng.below(150) };
            self.mishaps.push((when, Mishap::FlashFailure { tear: *rng.pick(&Tear::ALL) }));
        }
    }
}
