// SPDX-License-Identifier: Apache-2.0
//! What a device is like, and how long things take on it.

use super::SelfTest;
use crate::bootloader::Bootloader;
use crate::flash::Geometry;
use fusain::Address;
use mcuboot_image::key::PublicKey;
use rekindle_session::receiver::{BootFacts, Config};

/// Nanoseconds in a millisecond.
pub const MS: u64 = 1_000_000;

/// How long things take, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Erasing one sector.
    pub erase_ns: u64,
    /// Programming, for each operation.
    pub program_ns: u64,
    /// Reading, for each operation.
    pub read_ns: u64,
    /// From a reset until the endpoint hears.
    pub boot_ns: u64,
    /// From then until the self-test has its result.
    pub self_test_ns: u64,
    /// From the last frame sent until a requested reboot.
    pub reboot_ns: u64,
}

impl Timing {
    /// Flash that takes no time; boot and self-test of a few milliseconds.
    pub const FAST: Self = Self {
        erase_ns: 0,
        program_ns: 0,
        read_ns: 0,
        boot_ns: 5 * MS,
        self_test_ns: 20 * MS,
        reboot_ns: 10 * MS,
    };

    /// QSPI flash of a microcontroller: 45 ms for a sector, 0.7 ms for a page, 30 µs for a read.
    pub const QSPI: Self = Self {
        erase_ns: 45 * MS,
        program_ns: 700_000,
        read_ns: 30_000,
        boot_ns: 300 * MS,
        self_test_ns: 1_000 * MS,
        reboot_ns: 250 * MS,
    };
}

/// What a device is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its bootloader.
    pub bootloader: Bootloader,
    /// The receiver's configuration; [`Options::new`] fills in the layout.
    pub config: Config,
    /// Keys that it checks signatures with at VERIFY, as [`check_signatures`](Self::check_signatures) has it.
    pub keys: Vec<PublicKey>,
    /// Its address.
    pub address: Address,
    /// It is alone with its controller on the link.
    pub point_to_point: bool,
    /// Bytes come with the timing of a serial line.
    pub serial: bool,
    /// How long things take.
    pub timing: Timing,
    /// Bytes that its driver keeps while the endpoint is busy; more are lost.
    pub rx_capacity: usize,
    /// Bytes that arrive while an erase or write stalls the processor and are not lost: the depth of the UART's
    /// FIFO. `None` when the driver goes on receiving (DMA).
    pub rx_while_stalled: Option<usize>,
    /// What the platform makes of the facts of a boot before it tells the endpoint; for platforms that are wrong.
    pub facts: fn(BootFacts) -> BootFacts,
    /// How every image's self-test ends on this device, whatever the image says; for one that is broken.
    pub self_test: Option<SelfTest>,
    /// Seed of the boot numbers.
    pub seed: u64,
}

impl Options {
    /// A device with the receiver's defaults for this flash.
    #[must_use]
    pub fn new(bootloader: Bootloader, geometry: &Geometry) -> Self {
        let config = Config::new(bootloader.layout(geometry));
        Self {
            bootloader,
            config,
            keys: Vec::new(),
            address: Address::new(0xFEED_0001),
            point_to_point: true,
            serial: false,
            timing: Timing::FAST,
            rx_capacity: usize::from(config.window) * fusain::FRAME_MAX,
            rx_while_stalled: None,
            facts: |facts| facts,
            self_test: None,
            seed: 1,
        }
    }

    /// Has VERIFY ask for a signature by one of `keys`, apart from what the bootloader asks for. Their names stay in
    /// memory for good, as on a device.
    pub fn check_signatures(&mut self, keys: Vec<PublicKey>) {
        self.config.keys = Vec::leak(keys.iter().map(PublicKey::key_hash).collect());
        self.keys = keys;
    }
}
