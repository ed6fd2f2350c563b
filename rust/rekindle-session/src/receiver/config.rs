// SPDX-License-Identifier: Apache-2.0
//! What a receiver is told: its configuration, the facts of this boot, whether it is safe now.

use crate::journal::JOURNAL_SECTOR_MIN;
use crate::port::{Layout, WRITE_BLOCK_MAX, WRITE_MAX};
use mcuboot_image::trailer::SwapType;

/// When the secondary slot is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EraseMode {
    /// Header and trailer at START, every other sector just ahead of the write position.
    Ahead,
    /// The whole slot at START, for devices that cannot receive while they erase. START's answer then takes as
    /// long as the erase; a sender allows 30 s.
    AtStart,
}

/// Whether an image with a version below the running one is refused at VERIFY (PROTOCOL.md, downgrade).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DowngradePolicy {
    /// Any version is taken; controllers and the bootloader decide.
    Allow,
    /// VERIFY answers `VERSION_DOWNGRADE`.
    Refuse,
}

/// The receiver's configuration, fixed for one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Sizes of the slots and the journal.
    pub layout: Layout,
    /// Frames that the device can hold while it erases: the window it announces, 1..=255.
    pub window: u8,
    /// Largest chunk it announces, in bytes, 1..=101.
    pub chunk_max: u8,
    /// The link is half duplex: DATA is answered after a full window or when the line has been quiet for
    /// [`quiet_ms`](Self::quiet_ms), never into the next frame. Needs the feature of that name.
    pub half_duplex: bool,
    /// On a half-duplex link, how long the line must be quiet before an answer. Longer than the longest frame
    /// and gap take on the line.
    pub quiet_ms: u16,
    /// When the slot is erased.
    pub erase: EraseMode,
    /// MCUboot vendor UUID of this device; an image must name it when set.
    pub vendor: Option<[u8; 16]>,
    /// MCUboot class UUID of this device; an image must name it when set.
    pub class: Option<[u8; 16]>,
    /// Whether older versions are refused.
    pub downgrade: DowngradePolicy,
    /// Idle time in milliseconds after which a START for another image takes the session over.
    pub takeover_ms: u32,
    /// Hashes of the keys (SHA-256 of the `SubjectPublicKeyInfo`, as an image's key hash TLV names them) of which one
    /// must have signed an image; none: signatures are left to the bootloader. The driver has the keys themselves, in
    /// the same order.
    #[cfg(feature = "signature")]
    pub keys: &'static [[u8; 32]],
}

/// Why a [`Config`] cannot work on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The write block is not a power of two of 1..=32 bytes.
    WriteBlock,
    /// The slot's sector is smaller than the write buffer of 256 bytes or no multiple of it.
    Sector,
    /// The journal needs two sectors of at least 1024 bytes.
    Journal,
    /// Image offset, largest image and trailer do not fit the slot.
    Slot,
    /// The window is 0, or a chunk is not 1..=101 bytes.
    Window,
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::WriteBlock => "write block must be a power of two of 1 to 32 bytes",
            Self::Sector => "slot sector must be a multiple of 256 bytes",
            Self::Journal => "journal needs two sectors of at least 1024 bytes each",
            Self::Slot => "image offset, largest image and trailer must fit the slot",
            Self::Window => "window must be 1 to 255 frames and a chunk 1 to 101 bytes",
        })
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// A configuration with the defaults: window 24, chunks of 100 bytes, full duplex, erase ahead, no target
    /// identifiers, any version, any signature, takeover after 60 s.
    #[must_use]
    pub const fn new(layout: Layout) -> Self {
        Self {
            layout,
            window: 24,
            chunk_max: 100,
            half_duplex: false,
            quiet_ms: 20,
            erase: EraseMode::Ahead,
            vendor: None,
            class: None,
            downgrade: DowngradePolicy::Allow,
            takeover_ms: 60_000,
            #[cfg(feature = "signature")]
            keys: &[],
        }
    }

    /// The link is half duplex, and that is built in.
    pub(super) const fn defers(&self) -> bool {
        cfg!(feature = "half-duplex") && self.half_duplex
    }

    /// Checks the sizes against each other.
    ///
    /// # Errors
    /// [`ConfigError`] names what does not fit.
    pub fn check(&self) -> Result<(), ConfigError> {
        let l = &self.layout;
        if !l.write_block.is_power_of_two() || l.write_block > WRITE_BLOCK_MAX {
            return Err(ConfigError::WriteBlock);
        }
        let buffer = u32::try_from(WRITE_MAX).unwrap_or(u32::MAX);
        if l.sector_size == 0 || l.sector_size.checked_rem(buffer) != Some(0) {
            return Err(ConfigError::Sector);
        }
        let journal_ok = l.journal_sector >= JOURNAL_SECTOR_MIN
            && l.journal_sector.checked_rem(WRITE_BLOCK_MAX) == Some(0)
            && l.journal_sector.checked_mul(2).is_some_and(|two| two <= l.journal_size);
        if !journal_ok {
            return Err(ConfigError::Journal);
        }
        let image_end = l.image_offset.checked_add(l.image_max);
        let slot_ok = l.image_offset.checked_rem(l.sector_size) == Some(0)
            && l.image_max > 0
            && l.trailer_size <= l.slot_size
            && image_end.is_some_and(|end| end <= l.slot_size.saturating_sub(l.trailer_size));
        if !slot_ok {
            return Err(ConfigError::Slot);
        }
        if self.window == 0 || self.chunk_max == 0 || self.chunk_max > 101 {
            return Err(ConfigError::Window);
        }
        Ok(())
    }
}

/// What the platform knows when the device has booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootFacts {
    /// The running image is confirmed: no revert is due.
    pub confirmed: bool,
    /// What the bootloader would do at the next boot.
    pub swap_type: SwapType,
    /// Why the device was reset: the platform's bit mask (Zephyr: `hwinfo_get_reset_cause`), 0 when unknown.
    pub reset_cause: u32,
    /// A random number drawn at this boot, by which a sender notices a reboot.
    pub boot_number: u32,
}

/// What the appliance says about itself at the moment of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safety {
    /// Appliance state as STATE_DATA reports it.
    pub state: u8,
    /// Flash may be written and the device may be rebooted now.
    pub safe: bool,
}
