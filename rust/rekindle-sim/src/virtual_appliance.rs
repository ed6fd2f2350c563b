// SPDX-License-Identifier: Apache-2.0
//! A device on a desk: its flash is a file, so that it survives `kill -9` at any moment, as a device survives a
//! power cut.
//!
//! Whoever runs it owns the sockets and the clock:
//!
//! ```no_run
//! use rekindle_sim::virtual_appliance::{Settings, VirtualAppliance};
//!
//! let settings = Settings { install: Some(std::fs::read("app.signed.bin")?), ..Settings::default() };
//! let mut appliance = VirtualAppliance::open("flash.bin".as_ref(), settings)?;
//! let mut out = Vec::new();
//! let now_ms = 0;
//! appliance.push_bytes(now_ms, b"bytes from the link");
//! let next = appliance.poll(now_ms, &mut out);
//! // send `out`, wait for bytes or until `next.wake_ms`, call again
//! # drop(next);
//! # Ok::<(), rekindle_sim::virtual_appliance::OpenError>(())
//! ```
//!
//! What the image that it runs does is told in [`device`](crate::device::MARKER).

use crate::bootloader::{Bootloader, Judge, SwapMode};
use crate::device::{Device, MS, Note, Options, SelfTest, Step, Timing};
use crate::flash::{FileStore, FlashError, Geometry, NOTES_LEN, NorFlash, RamStore, Store, Tear};
use core::fmt;
use fusain::Address;
use mcuboot_image::key::PublicKey;
use rekindle_session::appliance::Appliance;
use std::io;
use std::path::Path;

/// What a virtual appliance is like. The default is a Raspberry Pi Pico 2 with Zephyr's partitions, alone on a
/// stream link, with flash that takes no time.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Sectors, write block and slots; fixed once the file exists.
    pub geometry: Geometry,
    /// How its bootloader swaps; fixed once the file exists.
    pub mode: SwapMode,
    /// The signature check of its bootloader; `None` boots any whole image.
    pub signature: Option<Judge>,
    /// Keys of which one must have signed an image for the device itself, at VERIFY; with none it leaves signatures to
    /// its bootloader.
    pub keys: Vec<PublicKey>,
    /// Image that a new file's primary slot gets. Without one, a new device does not start.
    pub install: Option<Vec<u8>>,
    /// Its address.
    pub address: Address,
    /// It is alone with its controller on the link, and so answers commands to the broadcast address.
    pub point_to_point: bool,
    /// Bytes come with the timing of a serial line.
    pub serial: bool,
    /// The link is half duplex.
    pub half_duplex: bool,
    /// Window that it announces, in frames.
    pub window: u8,
    /// Milliseconds that erasing a sector takes; nothing else is done meanwhile.
    pub erase_ms: u32,
    /// Milliseconds from a reset until it hears.
    pub boot_ms: u32,
    /// Milliseconds from then until an image under test has its result.
    pub self_test_ms: u32,
    /// How every image's self-test ends on this device, whatever the image says; for one that is broken.
    pub self_test: Option<SelfTest>,
    /// Number of the flash operation, counted from opening, at which power is cut for good; for demonstrations.
    pub cut_at: Option<(u64, Tear)>,
    /// Seed of its boot numbers. Two runs with the same seed cannot be told apart by them.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            geometry: Geometry::rp2350(),
            mode: SwapMode::Offset,
            signature: None,
            keys: Vec::new(),
            install: None,
            address: Address::new(0xFEED_0001),
            point_to_point: true,
            serial: false,
            half_duplex: false,
            window: 24,
            erase_ms: 0,
            boot_ms: 200,
            self_test_ms: 500,
            self_test: None,
            cut_at: None,
            seed: 1,
        }
    }
}

/// Why a virtual appliance could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The file.
    Io(io::Error),
    /// The flash in it.
    Flash(FlashError),
    /// The image is too long for the slot.
    ImageTooLarge {
        /// Its length in bytes.
        len: usize,
        /// The longest that fits.
        max: u32,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Flash(error) => write!(f, "{error}"),
            Self::ImageTooLarge { len, max } => {
                write!(f, "the image has {len} bytes, the slot takes {max}")
            }
        }
    }
}

impl core::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FlashError> for OpenError {
    fn from(error: FlashError) -> Self {
        Self::Flash(error)
    }
}

/// What came of a [`VirtualAppliance::poll`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// When to poll again, unless bytes come first.
    pub wake_ms: Option<u64>,
    /// What happened, in order.
    pub notes: Vec<Note>,
    /// Power is off (a planned cut), or there is nothing to start: polling again is of no use.
    pub stopped: bool,
}

/// The appliance; see the [module's documentation](self).
#[derive(Debug)]
pub struct VirtualAppliance<S = FileStore> {
    device: Device<S>,
}

impl VirtualAppliance<FileStore> {
    /// Opens the flash in `path`, or makes it, and gives power at time 0.
    ///
    /// # Errors
    /// [`OpenError`] names what is wrong with the file or the image.
    pub fn open(path: &Path, settings: Settings) -> Result<Self, OpenError> {
        let geometry = settings.geometry;
        let (store, created) = FileStore::open(path, geometry.size() + NOTES_LEN as u64)?;
        Self::over(NorFlash::over(store, geometry, settings.seed)?, created, settings)
    }
}

impl VirtualAppliance<RamStore> {
    /// An appliance whose flash is in memory, with power since time 0.
    ///
    /// # Errors
    /// [`OpenError::ImageTooLarge`].
    pub fn in_memory(settings: Settings) -> Result<Self, OpenError> {
        Self::over(NorFlash::new(settings.geometry, settings.seed), true, settings)
    }
}

impl<S: Store> VirtualAppliance<S> {
    fn over(mut flash: NorFlash<S>, created: bool, settings: Settings) -> Result<Self, OpenError> {
        let geometry = settings.geometry;
        let bootloader = Bootloader { signature: settings.signature, ..Bootloader::new(settings.mode) };
        if let Some(image) = settings.install.filter(|_| created) {
            let max = bootloader.layout(&geometry).image_max;
            if image.len() > max as usize {
                return Err(OpenError::ImageTooLarge { len: image.len(), max });
            }
            bootloader.install(&mut flash, &image, true)?;
        }
        if let Some((operation, tear)) = settings.cut_at {
            flash.plan_cut(operation, tear);
        }
        let mut options = Options::new(bootloader, &geometry);
        options.check_signatures(settings.keys);
        options.config.window = settings.window;
        options.config.half_duplex = settings.half_duplex;
        options.rx_capacity = usize::from(settings.window).max(1) * fusain::FRAME_MAX;
        options.address = settings.address;
        options.point_to_point = settings.point_to_point;
        options.serial = settings.serial;
        options.seed = settings.seed;
        options.self_test = settings.self_test;
        options.timing = Timing {
            erase_ns: u64::from(settings.erase_ms) * MS,
            program_ns: 0,
            read_ns: 0,
            boot_ns: u64::from(settings.boot_ms) * MS,
            self_test_ns: u64::from(settings.self_test_ms) * MS,
            reboot_ns: Timing::QSPI.reboot_ns,
        };
        let mut device = Device::new(flash, options);
        device.power_on(0);
        Ok(Self { device })
    }

    /// Takes bytes from the link.
    pub fn push_bytes(&mut self, now_ms: u64, bytes: &[u8]) {
        self.device.receive(now_ms * MS, bytes);
    }

    /// Bytes that may be pushed now without any being lost.
    pub fn room(&self) -> usize {
        self.device.rx_room()
    }

    /// The link was opened anew.
    pub fn link_reset(&mut self) {
        self.device.link_reset();
    }

    /// Does everything there is to do now; what it sends is appended to `out`.
    pub fn poll(&mut self, now_ms: u64, out: &mut Vec<u8>) -> Polled {
        let mut polled = Polled::default();
        loop {
            let step = self.device.step(now_ms * MS);
            while let Some(frame) = self.device.take_frame() {
                out.extend(frame);
            }
            while let Some(note) = self.device.take_note() {
                polled.notes.push(note);
            }
            match step {
                Step::Progress => {}
                Step::Wait { until_ns } => {
                    // Rounded up: asked again a moment too early, it would only say the same.
                    polled.wake_ms = until_ns.map(|ns| ns.div_ceil(MS));
                    return polled;
                }
                Step::Off | Step::Dead => {
                    polled.stopped = true;
                    return polled;
                }
            }
        }
    }

    /// The endpoint, while the device runs: to ask for its state and version.
    pub fn endpoint(&self) -> Option<&Appliance> {
        self.device.endpoint()
    }

    /// The device under it.
    pub fn device(&self) -> &Device<S> {
        &self.device
    }

    /// The device under it, to put its application into another state or to reset it.
    pub fn device_mut(&mut self) -> &mut Device<S> {
        &mut self.device
    }
}

#[cfg(test)]
mod tests;
