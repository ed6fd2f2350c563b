// SPDX-License-Identifier: Apache-2.0
//! Operations of the extension message that only a controller knows: who is there, and an image for several
//! appliances (PROTOCOL.md §7.5).
//!
//! A module of its own, with its own decoder: a device that only receives an update links none of it.

use crate::address::Address;
use crate::cbor::Writer;
use crate::error::{DecodeError, EncodeError, wire_enum};
use crate::extension::{EXTENSION_MAGIC, EXTENSION_VERSION, Extension};
use crate::fields::{Fields, Slot, framed};
use crate::ota::{Mode, Version, enum_value};

const ROSTER_REQUEST: u32 = 16;
const ROSTER: u32 = 17;
const CAMPAIGN_REQUEST: u32 = 18;
const CAMPAIGN: u32 = 19;
const CAMPAIGN_ADD: u32 = 20;
const CAMPAIGN_CANCEL: u32 = 21;

wire_enum! {
    /// Where an appliance is in its controller's work: key 7 of [`RosterEntry`]. Numbers are append-only.
    pub enum Stage(u8) {
        /// Nothing is planned for it.
        0 => None, "NONE", "no update planned";
        /// The controller does not have the image yet, or has not judged it.
        1 => Waiting, "WAITING", "waiting for the image";
        /// The image may be sent; it is not the appliance's turn, or the next try is later.
        2 => Queued, "QUEUED", "queued";
        /// The image is on its way.
        3 => Transferring, "TRANSFERRING", "transferring";
        /// The appliance has verified the image and waits for its activation.
        4 => Ready, "READY", "verified, not activated";
        /// Activated, or about to be; no verdict yet.
        5 => Activating, "ACTIVATING", "activating";
        /// It is over; the outcome says how it ended.
        6 => Settled, "SETTLED", "settled";
    }
}
enum_value!(Stage, None);

wire_enum! {
    /// What became of the last update of an appliance: key 8 of [`RosterEntry`]. Numbers are append-only.
    pub enum RosterOutcome(u8) {
        /// Nothing is on record.
        0 => None, "NONE", "no update on record";
        /// The appliance ran the image already.
        1 => AlreadyRunning, "ALREADY_RUNNING", "already running";
        /// The new image runs, confirmed.
        2 => Confirmed, "CONFIRMED", "confirmed";
        /// The new image ran, and was not confirmed while the controller watched.
        3 => UnderTest, "UNDER_TEST", "under test";
        /// The bootloader went back to the old image.
        4 => Reverted, "REVERTED", "reverted";
        /// The bootloader would not boot the new image.
        5 => Refused, "REFUSED", "refused by the bootloader";
        /// The bootloader did not try the new image.
        6 => NotAttempted, "NOT_ATTEMPTED", "not tried by the bootloader";
        /// The appliance has rebooted and cannot say what became of the image.
        7 => Unknown, "UNKNOWN", "outcome unknown";
        /// The appliance has rebooted, and speaks the base protocol, which cannot tell outcomes.
        8 => Untold, "UNTOLD", "rebooted, outcome not told";
        /// The image could not be brought there or activated; the cause says why.
        9 => Failed, "FAILED", "failed";
        /// The controller's policy refused the image for this appliance; the cause says why.
        10 => Forbidden, "FORBIDDEN", "forbidden by the controller";
        /// Given up by request.
        11 => Cancelled, "CANCELLED", "cancelled";
    }
}
enum_value!(RosterOutcome, None);

impl RosterOutcome {
    /// Returns whether the new image runs, as far as is known.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::AlreadyRunning | Self::Confirmed | Self::Untold)
    }
}

wire_enum! {
    /// Why it failed or was refused: key 9 of [`RosterEntry`]. Numbers are append-only.
    pub enum Cause(u8) {
        /// No failure.
        0 => None, "NONE", "no failure";
        /// The appliance does not answer.
        1 => Silent, "SILENT", "no answer";
        /// The link to it is down.
        2 => LinkLost, "LINK_LOST", "link lost";
        /// Its state does not allow an update.
        3 => Unsafe, "UNSAFE", "not safe in the appliance's state";
        /// Another update keeps it busy.
        4 => Busy, "BUSY", "another update keeps it busy";
        /// The image it runs is under test.
        5 => Unconfirmed, "UNCONFIRMED", "its running image is under test";
        /// Another image is activated and waits for a reboot.
        6 => SwapPending, "SWAP_PENDING", "another image waits for a reboot";
        /// The image does not fit its slot.
        7 => TooLarge, "TOO_LARGE", "image too large for its slot";
        /// What it received does not have the digest.
        8 => HashMismatch, "HASH_MISMATCH", "digest wrong";
        /// Not an image for this product.
        9 => WrongImage, "WRONG_IMAGE", "not an image for this product";
        /// The signature is not from a trusted key.
        10 => SignatureInvalid, "SIGNATURE_INVALID", "signature not trusted";
        /// An older version, or a lower security counter, than it runs.
        11 => Downgrade, "DOWNGRADE", "downgrade";
        /// It could not write its flash.
        12 => FlashFailed, "FLASH_FAILED", "flash failed";
        /// Any other refusal.
        13 => Refused, "REFUSED", "refused";
        /// It answers, but in circles.
        14 => NoProgress, "NO_PROGRESS", "no progress";
        /// It did not come back from its reboot.
        15 => NotReturned, "NOT_RETURNED", "has not come back from its reboot";
        /// It rebooted without taking the image.
        16 => NotTaken, "NOT_TAKEN", "rebooted without taking the image";
        /// It lost what it had verified.
        17 => NothingToActivate, "NOTHING_TO_ACTIVATE", "nothing to activate";
        /// The controller's own store failed.
        18 => StoreFailed, "STORE_FAILED", "the controller's store failed";
    }
}
enum_value!(Cause, None);

wire_enum! {
    /// Where the image is on the controller: key 3 of [`Campaign`].
    pub enum Stored(u8) {
        /// There is none.
        0 => None, "NONE", "no image";
        /// Bytes are missing.
        1 => Receiving, "RECEIVING", "image incomplete";
        /// All bytes are there; not judged.
        2 => Received, "RECEIVED", "image complete, not judged";
        /// Policy has approved it.
        3 => Approved, "APPROVED", "image approved";
    }
}
enum_value!(Stored, None);

/// One appliance as its controller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
pub struct RosterEntry {
    /// Key 5: its address.
    pub address: Address,
    /// Key 6: the controller's link that it is on.
    pub link: u8,
    /// Key 7: where its update is.
    pub stage: Stage,
    /// Key 8: what became of its last update.
    pub outcome: RosterOutcome,
    /// Key 9: why that failed, if it did; while queued, why the last try did.
    pub cause: Cause,
    /// Key 10: bytes of the image that it has acknowledged.
    pub offset: u32,
    /// Key 11: version it runs, if known.
    pub version: Option<Version>,
    /// Key 12: MCUboot's SHA-256 of the image it runs, if known.
    pub image_hash: Option<[u8; 32]>,
}

/// The image on the controller, and how far it has been brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
pub struct Campaign {
    /// Key 3: where the image is.
    pub stored: Stored,
    /// Key 4: bytes of it on the controller.
    pub offset: u32,
    /// Key 5: its size, 0 if there is none.
    pub size: u32,
    /// Key 6: its digest.
    pub digest: Option<[u8; 32]>,
    /// Key 7: see [`CampaignFlags`].
    pub flags: CampaignFlags,
    /// Key 8: appliances on the roster.
    pub appliances: u8,
    /// Key 9: of these, the ones that need the image.
    pub open: u8,
    /// Key 10: version in its header, once approved.
    pub version: Option<Version>,
}

/// Flags of [`Campaign`]; unknown bits are kept and mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
pub struct CampaignFlags(
    /// The bits.
    pub u32,
);

impl CampaignFlags {
    /// Root mode is on: signatures are not asked for.
    pub const ROOT_MODE: Self = Self(1);
    /// Downgrades are allowed.
    pub const DOWNGRADE_ALLOWED: Self = Self(1 << 1);
    /// Updates are passed through; nothing is stored.
    pub const TRANSPARENT: Self = Self(1 << 2);
    /// The stored image has no trusted signature.
    pub const UNSIGNED: Self = Self(1 << 3);

    /// Returns whether every bit of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns these flags with those of `other` set if `on`.
    #[must_use]
    pub const fn with(self, other: Self, on: bool) -> Self {
        if on { Self(self.0 | other.0) } else { Self(self.0 & !other.0) }
    }
}

/// An operation between a client and a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "_fuzz", derive(arbitrary::Arbitrary))]
pub enum Relay {
    /// Asks for the roster's entry number `index`.
    RosterRequest {
        /// Key 3: counted from 0.
        index: u8,
    },
    /// One entry of the roster.
    Roster {
        /// Key 3: its number.
        index: u8,
        /// Key 4: entries on the roster.
        total: u8,
        /// The entry; `None` if there is none of that number.
        entry: Option<RosterEntry>,
    },
    /// Asks for [`Campaign`].
    CampaignRequest,
    /// The image on the controller, and how far it has been brought.
    Campaign(Campaign),
    /// Plans an image for an appliance: transfer, activation and verdict, without further commands. Answered
    /// with its roster entry.
    CampaignAdd {
        /// Key 3: the appliance.
        address: Address,
        /// Key 4: size of the image, in bytes.
        size: u32,
        /// Key 5: SHA-256 of the whole file.
        digest: [u8; 32],
        /// Key 6: how to activate.
        mode: Mode,
    },
    /// Takes an appliance's update back, or all of them. Answered with [`Campaign`].
    CampaignCancel {
        /// Key 3: the appliance; all if absent.
        address: Option<Address>,
    },
    /// An extension message that is none of these. To be ignored.
    Other,
}

framed!(Relay = 0x46);

impl Relay {
    /// Decodes a payload of this type.
    ///
    /// # Errors
    ///
    /// A payload of another type, or one of these operations with fields that are not its own.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::open(payload, Extension::CODE)?;
        let [magic, version] = [0, 1].map(|key| fields.optional::<u32>(key).unwrap_or(0));
        if magic != EXTENSION_MAGIC || version != EXTENSION_VERSION {
            return Ok(Self::Other);
        }
        let operation = match fields.required(2) {
            ROSTER_REQUEST => Self::RosterRequest { index: fields.optional(3).unwrap_or(0) },
            ROSTER => Self::Roster {
                index: fields.required(3),
                total: fields.required(4),
                entry: RosterEntry::load(&mut fields),
            },
            CAMPAIGN_REQUEST => Self::CampaignRequest,
            CAMPAIGN => Self::Campaign(Campaign::load(&mut fields)),
            CAMPAIGN_ADD => Self::CampaignAdd {
                address: fields.required(3),
                size: fields.required(4),
                digest: fields.required(5),
                mode: fields.required(6),
            },
            CAMPAIGN_CANCEL => Self::CampaignCancel { address: fields.optional(3) },
            0_u32.. => Self::Other,
        };
        fields.finish(operation)
    }

    /// Encodes the payload into `out` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let operation = match self {
            Self::RosterRequest { .. } => ROSTER_REQUEST,
            Self::Roster { .. } => ROSTER,
            Self::CampaignRequest => CAMPAIGN_REQUEST,
            Self::Campaign(_) => CAMPAIGN,
            Self::CampaignAdd { .. } => CAMPAIGN_ADD,
            Self::CampaignCancel { .. } => CAMPAIGN_CANCEL,
            Self::Other => 0,
        };
        let mut writer = Writer::open(out, Extension::CODE);
        let magic = if *self == Self::Other { 0 } else { EXTENSION_MAGIC };
        magic.store(&mut writer, 0);
        EXTENSION_VERSION.store(&mut writer, 1);
        operation.store(&mut writer, 2);
        match self {
            Self::RosterRequest { index } => (*index != 0).then_some(*index).store(&mut writer, 3),
            Self::Roster { index, total, entry } => {
                index.store(&mut writer, 3);
                total.store(&mut writer, 4);
                if let Some(entry) = entry {
                    entry.store(&mut writer);
                }
            }
            Self::Campaign(campaign) => campaign.store(&mut writer),
            Self::CampaignAdd { address, size, digest, mode } => {
                address.store(&mut writer, 3);
                size.store(&mut writer, 4);
                digest.store(&mut writer, 5);
                mode.store(&mut writer, 6);
            }
            Self::CampaignCancel { address } => address.store(&mut writer, 3),
            Self::CampaignRequest | Self::Other => {}
        }
        writer.finish()
    }
}

impl RosterEntry {
    fn load(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            address: fields.optional(5)?,
            link: fields.required(6),
            stage: fields.required(7),
            outcome: fields.required(8),
            cause: fields.required(9),
            offset: fields.required(10),
            version: fields.optional(11),
            image_hash: fields.optional(12),
        })
    }

    fn store(&self, writer: &mut Writer<'_>) {
        self.address.store(writer, 5);
        self.link.store(writer, 6);
        self.stage.store(writer, 7);
        self.outcome.store(writer, 8);
        self.cause.store(writer, 9);
        self.offset.store(writer, 10);
        self.version.store(writer, 11);
        self.image_hash.store(writer, 12);
    }
}

impl Campaign {
    fn load(fields: &mut Fields<'_>) -> Self {
        Self {
            stored: fields.required(3),
            offset: fields.required(4),
            size: fields.required(5),
            digest: fields.optional(6),
            flags: CampaignFlags(fields.required(7)),
            appliances: fields.required(8),
            open: fields.required(9),
            version: fields.optional(10),
        }
    }

    fn store(&self, writer: &mut Writer<'_>) {
        self.stored.store(writer, 3);
        self.offset.store(writer, 4);
        self.size.store(writer, 5);
        self.digest.store(writer, 6);
        self.flags.0.store(writer, 7);
        self.appliances.store(writer, 8);
        self.open.store(writer, 9);
        self.version.store(writer, 10);
    }
}
