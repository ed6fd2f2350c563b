// SPDX-License-Identifier: Apache-2.0
//! What happens in a world with a controller, drawn from one seed.

use super::store::{Plant, StoreTear};
use crate::bootloader::SwapMode;
use crate::flash::{Geometry, Tear};
use crate::link::{Faults, LinkConfig};
use crate::rng::Rng;
use rekindle_relay::Keys;

/// What becomes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is confirmed.
    Confirms,
    /// It fails its self-test.
    Fails,
    /// Policy refuses it: no trusted key has signed it.
    Unsigned,
    /// Policy refuses it: another key has signed it.
    Rogue,
    /// Policy refuses it: it is older than what runs.
    Older,
}

impl Fate {
    /// Policy lets it pass.
    #[must_use]
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Confirms | Self::Fails)
    }
}

/// An image as a test made it.
#[derive(Clone, Debug)]
pub struct Made {
    /// What becomes of it.
    pub fate: Fate,
    /// Major number of its version; each image has its own.
    pub version: u8,
    /// The signed file.
    pub bytes: Vec<u8>,
}

/// Images and keys: made outside, for signing needs what a simulator does not have.
#[derive(Clone, Debug)]
pub struct Kit {
    /// What every appliance runs at first.
    pub installed: Vec<u8>,
    /// What campaigns bring, in the order of their versions.
    pub images: Vec<Made>,
    /// The last one, in peace.
    pub last: Made,
    /// The keys that policy trusts.
    pub keys: Keys,
    /// The same, and the rogue one.
    pub all_keys: Keys,
}

/// A power cut.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// In so many operations of the store from now on.
    Store(u64, StoreTear),
    /// In so many operations of an appliance's flash from now on.
    Flash(usize, u64, Tear),
}

/// A time during which a link is down.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// Which link.
    pub link: usize,
    /// Milliseconds from the end of the outage before, or from the beginning.
    pub after_ms: u64,
    /// How long, in milliseconds.
    pub for_ms: u64,
}

/// The world.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Seed of everything random.
    pub seed: u64,
    /// Appliances on each link.
    pub appliances: [usize; 2],
    /// Appliances that are never there.
    pub absent: usize,
    /// Their chips.
    pub geometry: Geometry,
    /// How their bootloaders swap.
    pub mode: SwapMode,
    /// Both southbound links.
    pub link: LinkConfig,
    /// Images of the campaigns, by their number.
    pub campaigns: Vec<usize>,
    /// Power cuts, each planned when the one before has happened.
    pub cuts: Vec<Cut>,
    /// Bytes between two checkpoints.
    pub checkpoint: u32,
    /// Frames of data on their way, on every link and from the client.
    pub window: u8,
    /// Milliseconds that the controller stands still for a read of its store.
    pub read_ms: u64,
    /// Root mode is on from the beginning: the images need no signature.
    pub root: bool,
    /// Times at which a link is down.
    pub outages: Vec<Outage>,
    /// So many appliances, the first ones, speak the base protocol alone; none where an image is older than what runs,
    /// for nobody can know that of them.
    pub base: usize,
    /// All images but the last come by plain pushes to the first appliance, not by campaigns.
    pub pushes: bool,
    /// What is wrong with the controller.
    pub plant: Option<Plant>,
}

impl Scenario {
    /// A world at random, with one of so many images in each campaign.
    #[must_use]
    pub fn random(seed: u64, images: usize) -> Self {
        let mut rng = Rng::new(seed).fork(0x5E1A7);
        let geometry = Geometry::even(*rng.pick(&[1, 4, 16]), 12, 1024);
        let faults = if rng.coin() {
            Faults { loss: rng.range(0, 20_000), duplicate: rng.range(0, 5_000), reorder: 0, corrupt: 50 }
        } else {
            Faults::default()
        };
        let link = if rng.coin() {
            LinkConfig { faults, ..LinkConfig::serial(115_200, 100_000) }
        } else {
            LinkConfig::datagrams(2_000_000, faults)
        };
        let appliances = [1 + rng.below(2) as usize, rng.below(2) as usize];
        let present = appliances[0] + appliances[1];
        let mut campaigns: Vec<usize> =
            (0..=rng.below(2)).map(|_| rng.below(images as u64) as usize).collect();
        campaigns.sort_unstable();
        let cuts = (0..rng.below(6))
            .map(|_| {
                if rng.coin() {
                    let tear = *rng.pick(&[StoreTear::Before, StoreTear::After, StoreTear::Half]);
                    Cut::Store(1 + rng.below(120), tear)
                } else {
                    let tear = *rng.pick(&[Tear::Before, Tear::After, Tear::Prefix]);
                    Cut::Flash(rng.below(present as u64) as usize, rng.below(150), tear)
                }
            })
            .collect();
        Self {
            seed,
            appliances,
            absent: usize::from(rng.below(4) == 0),
            geometry,
            mode: *rng.pick(&[SwapMode::Offset, SwapMode::Move]),
            link,
            campaigns,
            cuts,
            checkpoint: *rng.pick(&[512, 1024, 4096]),
            window: 8,
            read_ms: 0,
            root: false,
            outages: Vec::new(),
            base: 0,
            pushes: false,
            plant: None,
        }
    }

    /// The same world, in which also links go down, appliances speak the base protocol alone, and images come by plain
    /// pushes.
    #[must_use]
    pub fn with_more(mut self) -> Self {
        let mut rng = Rng::new(self.seed).fork(0x30_2E5);
        self.outages = (0..rng.below(4))
            .map(|_| Outage {
                link: rng.below(2) as usize,
                after_ms: rng.below(20_000),
                for_ms: *rng.pick(&[1_000, 15_000, 120_000, 900_000]),
            })
            .collect();
        self.base = rng.below(3) as usize;
        self.pushes = rng.coin();
        self
    }

    /// The same world, with something wrong.
    #[must_use]
    pub fn with_plant(mut self, plant: Plant) -> Self {
        self.plant = Some(plant);
        self
    }
}
