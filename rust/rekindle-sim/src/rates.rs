// SPDX-License-Identifier: Apache-2.0
//! How fast an update is on a link, in virtual time, and how fast it could be at best: each link has a bound of its
//! own, from the frames' real lengths, the line's rate, its latency and what the device does meanwhile. The same
//! image on the same link, brought by a controller, says what store and forward costs there.

mod controller;

pub use controller::{ControllerRate, through_controller};

use crate::bootloader::SwapMode;
use crate::device::{MS, Timing};
use crate::flash::{Geometry, Tear};
use crate::link::{Faults, LinkConfig};
use crate::world::{Broken, Mishap, Scenario, Summary, Update, When, World};
use fusain::{Address, FRAME_MAX, Message, Mode, OtaData, OtaState, OtaStatus};
use rekindle_session::receiver::EraseMode;
use rekindle_session::sender;

/// Size of the image that is measured: that of a real appliance's firmware.
pub const IMAGE_LEN: usize = 127_456;

/// A link and a device to be measured together.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What to call it.
    pub name: &'static str,
    scenario: Scenario,
    chunk: usize,
    window: u64,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Rate {
    /// Bytes of the image per second, from the first DATA to the last acknowledgement.
    pub bytes_per_second: f64,
    /// The bound, in bytes per second.
    pub bound: f64,
    /// What the line carries, in bytes per second.
    pub line: f64,
    /// Everything else.
    pub summary: Summary,
}

impl Rate {
    /// Share of the bound, 0 to 1.
    #[must_use]
    pub fn of_bound(&self) -> f64 {
        self.bytes_per_second / self.bound
    }

    /// Share of the line, 0 to 1.
    #[must_use]
    pub fn of_line(&self) -> f64 {
        self.bytes_per_second / self.line
    }
}

impl Setup {
    /// 115200 baud, 8N1, full duplex, 50 ms one way, and a device whose flash takes no time.
    #[must_use]
    pub fn full_duplex() -> Self {
        let mut scenario = Scenario::new(1, SwapMode::Offset, Geometry::rp2350());
        scenario.link = LinkConfig::serial(115_200, 50 * MS);
        scenario.sender_link = sender::Link::serial(115_200);
        scenario.updates = vec![Update::new(2, IMAGE_LEN, Mode::Test, None, 1)];
        Self { name: "full duplex, 50 ms, window 24", scenario, chunk: 100, window: 24 }
    }

    /// The same in lock-step, with the base protocol's chunks.
    #[must_use]
    pub fn lock_step() -> Self {
        let mut setup = Self::full_duplex();
        setup.scenario.window_max = 1;
        setup.scenario.chunk_max = 96;
        Self { name: "full duplex, 50 ms, lock-step of 96", chunk: 96, window: 1, ..setup }
    }

    /// Lock-step without latency.
    #[must_use]
    pub fn lock_step_near() -> Self {
        let mut setup = Self::lock_step();
        setup.scenario.link.latency_ns = 0;
        Self { name: "full duplex, 0 ms, lock-step of 96", ..setup }
    }

    /// RS-485: half duplex, 500 µs between frames, acknowledgements in bursts.
    #[must_use]
    pub fn rs485() -> Self {
        let mut setup = Self::full_duplex();
        setup.scenario.link = LinkConfig::rs485(115_200, 500_000);
        setup.scenario.sender_link = sender::Link::serial_half_duplex(115_200);
        setup.scenario.device.config.half_duplex = true;
        Self { name: "RS-485 half duplex, 500 µs gaps, window 24", ..setup }
    }

    /// A device that erases ahead, 45 ms for each sector, and goes on receiving meanwhile.
    #[must_use]
    pub fn erasing() -> Self {
        let mut setup = Self::full_duplex();
        setup.scenario.device.timing = Timing::QSPI;
        Self { name: "full duplex, 50 ms, 45 ms erase per sector", ..setup }
    }

    /// A device that loses what arrives while it erases or writes, beyond its UART's 32 bytes, and so erases at START.
    #[must_use]
    pub fn stalling() -> Self {
        let mut setup = Self::erasing();
        setup.scenario.device.config.erase = EraseMode::AtStart;
        setup.scenario.device.rx_while_stalled = Some(32);
        Self { name: "the same, deaf while it erases: erases at START", ..setup }
    }

    /// A device that is deaf while it erases, and erases ahead all the same: what [`EraseMode::AtStart`] is for.
    #[must_use]
    pub fn deaf() -> Self {
        let mut setup = Self::erasing();
        setup.scenario.device.rx_while_stalled = Some(32);
        Self { name: "the same, deaf while it erases, but erases ahead", ..setup }
    }

    /// The same with a window of 1, the other way out: a frame's answer leaves after the erase that it caused.
    #[must_use]
    pub fn deaf_lock_step() -> Self {
        let mut setup = Self::deaf();
        setup.scenario.device.config.window = 1;
        Self { name: "the same, deaf while it erases, erases ahead, window 1", window: 1, ..setup }
    }

    /// One frame of a hundred is lost, in both directions.
    #[must_use]
    pub fn lossy() -> Self {
        let mut setup = Self::full_duplex();
        setup.scenario.link.faults = Faults { loss: 10_000, ..Faults::default() };
        Self { name: "full duplex, 50 ms, 1 % of the frames lost", ..setup }
    }

    /// 1 Mbaud: what is on the way is then limited by the window.
    #[must_use]
    pub fn fast() -> Self {
        let mut setup = Self::full_duplex();
        setup.scenario.link = LinkConfig::serial(1_000_000, 5 * MS);
        setup.scenario.sender_link = sender::Link::serial(1_000_000);
        Self { name: "1 Mbaud, full duplex, 5 ms, window 24", ..setup }
    }

    /// The same setup with another seed, for chances that are to be averaged.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Self {
        self.scenario.seed = seed;
        self
    }

    /// The same setup with an image of another size.
    #[must_use]
    pub fn sized(mut self, len: usize) -> Self {
        self.scenario.updates = vec![Update::new(2, len, Mode::Test, None, 1)];
        self
    }

    /// The same setup with a mishap at a time.
    #[must_use]
    pub fn with_mishap(mut self, ns: u64, mishap: Mishap) -> Self {
        self.scenario.mishaps.push((When::At { ns }, mishap));
        self
    }

    /// The best that frames of this length could do, in bytes of the image per second.
    ///
    /// Full duplex: the line is never idle, or, where the window is less than what fits on the way, a window for each
    /// round trip. Half duplex: bursts of a window, each frame with its gap, then the quiet time after which the
    /// device answers, and its answer.
    #[must_use]
    pub fn bound(&self) -> f64 {
        let image = &self.scenario.updates[0].image;
        let link = &self.scenario.link;
        let byte_ns = f64::from(link.bits_per_byte) * 1e9 / f64::from(link.bits_per_second);
        let (mut count, mut bytes, mut answers) = (0.0, 0.0, 0.0);
        for (n, data) in image.chunks(self.chunk).enumerate() {
            let offset = (n * self.chunk) as u32;
            let next = offset + data.len() as u32;
            bytes += frame_len(&Message::OtaData(OtaData { offset: u64::from(offset), data }));
            answers += frame_len(&Message::OtaStatus(OtaStatus {
                state: OtaState::Receiving,
                offset: Some(next),
                version: None,
            }));
            count += 1.0;
        }
        let gap_ns = link.gap_ns as f64;
        let answer_ns = answers / count * byte_ns + gap_ns;
        let line_ns = bytes * byte_ns + count * gap_ns;
        let frame_ns = line_ns / count;
        let window = self.window as f64;
        let total_ns = if link.half_duplex {
            let config = &self.scenario.device.config;
            // A full window is answered at once; without one the line must have been quiet.
            let quiet_ns =
                if self.window == u64::from(config.window) { 0.0 } else { f64::from(config.quiet_ms) * 1e6 };
            line_ns + count / window * (answer_ns + quiet_ns + 2.0 * link.latency_ns as f64)
        } else {
            let round_trip_ns = frame_ns + answer_ns + 2.0 * link.latency_ns as f64;
            line_ns.max(count / window * round_trip_ns)
        };
        image.len() as f64 / total_ns * 1e9
    }

    /// Measures.
    ///
    /// # Errors
    /// A [`Broken`] invariant.
    ///
    /// # Panics
    /// When the world ended without a transfer.
    pub fn run(self) -> Result<Rate, Broken> {
        let bound = self.bound();
        let link = self.scenario.link;
        let line = f64::from(link.bits_per_second) / f64::from(link.bits_per_byte);
        let len = self.scenario.updates[0].image.len() as f64;
        let summary = World::new(self.scenario).measure()?;
        let ns = summary.transfer_ns.expect("a transfer") as f64;
        let sent = len - f64::from(summary.transfer_from);
        Ok(Rate { bytes_per_second: sent / ns * 1e9, bound, line, summary })
    }
}

/// What a cut in the middle of a transfer costs.
///
/// # Errors
/// A [`Broken`] invariant.
pub fn after_cut(mishap: Mishap) -> Result<Summary, Broken> {
    Ok(Setup::erasing().with_mishap(8_000 * MS, mishap).run()?.summary)
}

/// A power cut of two seconds.
pub const POWER_CUT: Mishap = Mishap::PowerCut { tear: Tear::Before, off_ns: 2_000 * MS };

/// A link that is down for two seconds, of which the sender is told.
pub const LINK_CUT: Mishap = Mishap::LinkCut { for_ns: 2_000 * MS, told: true };

fn frame_len(message: &Message<'_>) -> f64 {
    let mut frame = [0; FRAME_MAX];
    message.encode_frame(Address::new(0xFEED_0001), &mut frame).expect("a frame") as f64
}
