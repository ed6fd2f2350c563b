// SPDX-License-Identifier: Apache-2.0
//! The device that the programs pretend to be.

use fusain::{Address, ApplianceState, DeviceAnnounce};
use mcuboot_image::trailer::SwapType;
use rekindle_session::appliance::{Identity, Status};
use rekindle_session::port::Layout;
use rekindle_session::receiver::BootFacts;

/// Sector of the slots, in bytes.
pub const SECTOR: u32 = 4096;
/// Size of a slot, in bytes.
pub const SLOT: u32 = 16 * SECTOR;
/// Sector of the journal, in bytes: the smallest there is, so that it is compacted often.
pub const JOURNAL_SECTOR: u32 = 1024;

/// Swap using offset, as Zephyr sets MCUboot up by default.
pub const LAYOUT: Layout = Layout {
    primary_size: SLOT,
    slot_size: SLOT,
    sector_size: SECTOR,
    write_block: 4,
    image_offset: SECTOR,
    image_max: SLOT - 2 * SECTOR,
    trailer_size: SECTOR,
    journal_size: 2 * JOURNAL_SECTOR,
    journal_sector: JOURNAL_SECTOR,
};

/// An appliance on a bus.
pub const IDENTITY: Identity = Identity {
    address: Address::new(0x0102_0304_0506_0708),
    announce: DeviceAnnounce { motors: 1, thermometers: 1, pumps: 1, glows: 1 },
    point_to_point: false,
    serial: true,
};

/// A boot after which nothing is pending.
pub const BOOT: BootFacts =
    BootFacts { confirmed: true, swap_type: SwapType::None, reset_cause: 0, boot_number: 0x1234_5678 };

/// The heater is off.
pub const IDLE: Status = Status { state: ApplianceState::Idle, safe: true, error: 0 };
