// SPDX-License-Identifier: Apache-2.0
//! What a sender is told: the task, the link's nature, and how long to be patient.

use core::fmt;

use fusain::{Mode, OtaData, Version};

/// Chunk against a base-protocol device, in bytes: the protocol's recommendation (PROTOCOL.md §5.3).
pub const BASE_CHUNK: u8 = 96;

/// What the sender is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Transfer an image, verify it and, if planned, activate it and follow the reboot.
    Push,
    /// Activate what the device has received and verified.
    Activate,
    /// Ask for state, versions and outcomes; changes nothing.
    Status,
    /// Make the device give its update up.
    Abort,
}

/// How long the sender waits for what only the world outside can change, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A device that does not answer, or a link that is down.
    pub away_ms: u64,
    /// An appliance whose state does not allow an update now. 0 reports it at once.
    pub unsafe_ms: u64,
    /// A device that another update keeps busy. 0 reports it at once.
    pub busy_ms: u64,
    /// A device that reboots after activation; the bootloader may be swapping images all that time.
    pub reboot_ms: u64,
    /// A new image that is under test. 0 reports "under test" at once.
    pub verdict_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { away_ms: 60_000, unsafe_ms: 0, busy_ms: 0, reboot_ms: 120_000, verdict_ms: 60_000 }
    }
}

/// What one sender does. [`Plan::push`] and its siblings fill in the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The task; the fields below that it does not need are ignored.
    pub task: Task,
    /// Size of the image file, in bytes.
    pub size: u32,
    /// SHA-256 over the whole file: with the size, the identity of the session (PROTOCOL.md §5.2).
    pub digest: [u8; 32],
    /// MCUboot's own hash of the image (its SHA-256 TLV), by which a device names what it runs. Without it the
    /// sender cannot tell that the image already runs, nor whose outcome a device reports.
    pub image_hash: Option<[u8; 32]>,
    /// Version in the image's header, announced at START if given.
    pub version: Option<Version>,
    /// How to activate.
    pub mode: Mode,
    /// Activate after verification.
    pub activate: bool,
    /// Reboot with the activation. Otherwise the image is swapped in at whatever reset comes next.
    pub reboot: bool,
    /// Wait for the reboot and report what became of the image.
    pub follow: bool,
    /// Send even if the device says that this image runs already.
    pub force: bool,
    /// Chunk against a base-protocol device, in bytes, 1..=100.
    pub chunk: u8,
    /// Largest chunk against a device that announces its own limit, in bytes, 1..=100.
    pub chunk_max: u8,
    /// Most frames of data on the way, 1..=255; the device's announcement limits it further.
    pub window_max: u8,
    /// How many past outcomes [`Task::Status`] asks for.
    pub outcomes: u8,
    /// How long to wait for what.
    pub patience: Patience,
}

impl Plan {
    /// Pushes an image: transfer, verify, activate for test with a reboot, follow to the verdict.
    #[must_use]
    pub fn push(size: u32, digest: [u8; 32], image_hash: Option<[u8; 32]>) -> Self {
        Self {
            task: Task::Push,
            size,
            digest,
            image_hash,
            version: None,
            mode: Mode::Test,
            activate: true,
            reboot: true,
            follow: true,
            force: false,
            chunk: BASE_CHUNK,
            chunk_max: OtaData::CHUNK_MAX,
            window_max: u8::MAX,
            outcomes: 4,
            patience: Patience::default(),
        }
    }

    /// Activates what the device has verified, with a reboot, and follows to the verdict.
    #[must_use]
    pub fn activate_only(mode: Mode) -> Self {
        Self { task: Task::Activate, mode, ..Self::push(0, [0; 32], None) }
    }

    /// Asks how the device is. A device that is away is given up after 5 s.
    #[must_use]
    pub fn status_only() -> Self {
        let patience = Patience { away_ms: 5_000, ..Patience::default() };
        Self { task: Task::Status, patience, ..Self::push(0, [0; 32], None) }
    }

    /// Makes the device give its update up. A device that is away is given up after 5 s.
    #[must_use]
    pub fn abort_only() -> Self {
        Self { task: Task::Abort, ..Self::status_only() }
    }

    /// Checks that the plan can be carried out.
    ///
    /// # Errors
    ///
    /// [`PlanError`] names the first field that is out of range.
    pub fn check(&self) -> Result<(), PlanError> {
        let chunk = 1..=OtaData::CHUNK_MAX;
        if self.task == Task::Push && self.size == 0 {
            Err(PlanError::EmptyImage)
        } else if !chunk.contains(&self.chunk) || !chunk.contains(&self.chunk_max) {
            Err(PlanError::Chunk)
        } else if self.window_max == 0 {
            Err(PlanError::Window)
        } else {
            Ok(())
        }
    }
}

/// Why a plan cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// The image has no bytes.
    EmptyImage,
    /// A chunk is not 1..=100 bytes.
    Chunk,
    /// The window is 0.
    Window,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyImage => "the image is empty",
            Self::Chunk => "a chunk must be 1 to 100 bytes",
            Self::Window => "the window must be at least one frame",
        })
    }
}

impl core::error::Error for PlanError {}

/// What the sender needs to know of the link. It never measures what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Retransmission time before the first round trip is measured (PROTOCOL.md §8: 500 ms serial, 2 s IP).
    pub initial_rto_ms: u32,
    /// Least retransmission time: covers a device that erases a sector.
    pub min_rto_ms: u32,
    /// Greatest retransmission time.
    pub max_rto_ms: u32,
    /// Only one side may talk at a time: pings and data take turns.
    pub half_duplex: bool,
    /// Bytes per second of the line, 0 if unknown or as good as endless. Tells when a burst has left; needed
    /// on half-duplex links, harmless elsewhere.
    pub bytes_per_second: u32,
    /// On half-duplex links, how long the line must stay quiet after an answer before the sender talks again.
    pub turnaround_ms: u32,
}

impl Link {
    /// A full-duplex serial line, 8N1.
    #[must_use]
    pub const fn serial(baud: u32) -> Self {
        Self {
            initial_rto_ms: 500,
            min_rto_ms: 200,
            max_rto_ms: 8_000,
            half_duplex: false,
            bytes_per_second: baud / 10,
            turnaround_ms: 0,
        }
    }

    /// A half-duplex serial line, 8N1 (RS-485, LIN). The turnaround is the time of one short answer.
    #[must_use]
    pub fn serial_half_duplex(baud: u32) -> Self {
        let answer_ms = 30_000_u32.checked_div(baud / 10).unwrap_or(0);
        Self { half_duplex: true, turnaround_ms: answer_ms.saturating_add(2), ..Self::serial(baud) }
    }

    /// TCP or WebSocket.
    #[must_use]
    pub const fn ip() -> Self {
        Self {
            initial_rto_ms: 2_000,
            min_rto_ms: 300,
            max_rto_ms: 8_000,
            half_duplex: false,
            bytes_per_second: 0,
            turnaround_ms: 0,
        }
    }
}
