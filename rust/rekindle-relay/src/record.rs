// SPDX-License-Identifier: Apache-2.0
//! The state file and the audit file as bytes.
//!
//! The state file is a head, one entry for each appliance, and a CRC-32 over all of it. It is always written as a
//! whole under another name and then given its own, so it is there as a whole or as it was. All numbers are
//! little-endian. A file of another format or with a wrong CRC counts as none.

use core::fmt;

use fusain::relay::{Cause, RosterOutcome, Stage};
use fusain::{Address, Mode, Version};

use crate::meta::{AUDIT_LEN_U32, AUDIT_MAX};
use crate::roster::Device;
use crate::session::Session;
use crate::{File, StoreOp};

/// First bytes of the state file; the last one is the version of the format.
const MAGIC: [u8; 4] = *b"RKR1";
/// Length of the head in bytes.
pub(crate) const HEAD_LEN: usize = 64;
/// Length of an entry in bytes.
pub(crate) const ENTRY_LEN: usize = 72;
/// Length of the CRC at the end.
pub(crate) const TAIL_LEN: usize = 4;
/// Length of an audit record in bytes.
pub(crate) const AUDIT_LEN: usize = 64;

/// A CRC-32 (ISO-HDLC, as in zlib) over bytes that come in parts, bit by bit: a table costs a kilobyte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksum(u32);

impl Checksum {
    pub(crate) const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Goes on where a checksum of this value ended.
    pub(crate) const fn resume(value: u32) -> Self {
        Self(!value)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 ^= u32::from(byte);
            for _ in 0..8 {
                let low = 0_u32.wrapping_sub(self.0 & 1);
                self.0 = (self.0 >> 1) ^ (0xEDB8_8320 & low);
            }
        }
    }

    pub(crate) const fn value(self) -> u32 {
        !self.0
    }
}

/// Writes fields one behind the other.
struct Put<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Put<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        let end = self.at.saturating_add(bytes.len());
        if let Some(place) = self.out.get_mut(self.at..end) {
            place.copy_from_slice(bytes);
        }
        self.at = end;
    }

    fn version(&mut self, version: Option<Version>) {
        let v = version.unwrap_or_default();
        self.bytes(&[u8::from(version.is_some()), v.major, v.minor]);
        self.bytes(&v.revision.to_le_bytes());
        self.bytes(&v.build.to_le_bytes());
    }
}

/// Reads them back. What is beyond the end reads as zeros.
struct Take<'a> {
    bytes: &'a [u8],
}

impl Take<'_> {
    fn array<const LEN: usize>(&mut self) -> [u8; LEN] {
        match self.bytes.split_first_chunk::<LEN>() {
            Some((array, rest)) => {
                self.bytes = rest;
                *array
            }
            None => [0; LEN],
        }
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn version(&mut self) -> Option<Version> {
        let [there, major, minor, r0, r1, b0, b1, b2, b3] = self.array();
        let version = Version {
            major,
            minor,
            revision: u16::from_le_bytes([r0, r1]),
            build: u32::from_le_bytes([b0, b1, b2, b3]),
        };
        (there != 0).then_some(version)
    }
}

/// What stands in the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) root: bool,
    pub(crate) downgrade: bool,
    pub(crate) devices: u8,
    pub(crate) session: Option<Session>,
}

const ROOT: u8 = 1;
const DOWNGRADE: u8 = 2;
const SESSION: u8 = 4;

impl Head {
    pub(crate) fn encode(&self) -> [u8; HEAD_LEN] {
        let mut out = [0; HEAD_LEN];
        let mut put = Put { out: &mut out, at: 0 };
        put.bytes(&MAGIC);
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let flags =
            bit(self.root, ROOT) | bit(self.downgrade, DOWNGRADE) | bit(self.session.is_some(), SESSION);
        put.bytes(&[flags, self.devices]);
        if let Some(session) = &self.session {
            put.bytes(&session.size.to_le_bytes());
            put.bytes(&session.digest);
            put.version(session.version);
            put.bytes(&session.durable.to_le_bytes());
            put.bytes(&session.durable_crc.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut take = Take { bytes: bytes.strip_prefix(&MAGIC)? };
        let [flags, devices] = take.array();
        let on = |bit: u8| flags & bit != 0;
        let session = on(SESSION).then(|| {
            let (size, digest, version) = (take.word(), take.array(), take.version());
            let (durable, crc) = (take.word(), take.word());
            Session::recorded(size, digest, version, durable, crc)
        });
        Some(Self { root: on(ROOT), downgrade: on(ROOT) && on(DOWNGRADE), devices, session })
    }
}

const AUTO: u8 = 1;
const PERMANENT: u8 = 2;
const HASH: u8 = 4;
const ACTIVATE: u8 = 8;
const NO_REBOOT: u8 = 16;

/// An appliance as the state file has it.
pub(crate) fn encode_device(device: &Device) -> [u8; ENTRY_LEN] {
    let mut out = [0; ENTRY_LEN];
    let mut put = Put { out: &mut out, at: 0 };
    put.bytes(&device.address.get().to_le_bytes());
    let bit = |on: bool, bit: u8| if on { bit } else { 0 };
    let flags = bit(device.auto, AUTO)
        | bit(device.mode == Mode::Permanent, PERMANENT)
        | bit(device.running_hash.is_some(), HASH)
        | bit(device.activate, ACTIVATE)
        | bit(!device.reboot, NO_REBOOT);
    let numbers = [device.stage.number(), device.outcome.number(), device.cause.number()];
    put.bytes(&[device.link, flags]);
    put.bytes(&numbers);
    put.bytes(&[device.tries]);
    put.bytes(&device.counter.to_le_bytes());
    put.bytes(&device.attempt.to_le_bytes());
    put.version(device.running);
    put.bytes(&device.running_hash.unwrap_or_default());
    out
}

/// Reads it back; `None` where a number has no meaning.
pub(crate) fn decode_device(bytes: &[u8]) -> Option<Device> {
    let mut take = Take { bytes };
    let address = Address::new(take.long());
    let [link, flags, stage, outcome, cause, tries] = take.array();
    let on = |bit: u8| flags & bit != 0;
    let mut device = Device::new(address, link);
    device.stage = Stage::try_from(stage).ok()?;
    device.outcome = RosterOutcome::try_from(outcome).ok()?;
    device.cause = Cause::try_from(cause).ok()?;
    device.tries = tries;
    device.auto = on(AUTO);
    device.activate = on(ACTIVATE);
    device.reboot = !on(NO_REBOOT);
    device.mode = if on(PERMANENT) { Mode::Permanent } else { Mode::Test };
    (device.counter, device.attempt) = (take.word(), take.word());
    device.running = take.version();
    let hash = take.array();
    device.running_hash = on(HASH).then_some(hash);
    address.is_device().then_some(device)
}

/// What was allowed or done in root mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditKind {
    /// Root mode was switched on.
    RootEnabled,
    /// Root mode was switched off.
    RootDisabled,
    /// Downgrades were allowed.
    DowngradeAllowed,
    /// Downgrades were forbidden again.
    DowngradeForbidden,
    /// An image without a trusted signature was released for an appliance.
    UnsignedReleased,
}

impl AuditKind {
    const ALL: [Self; 5] = [
        Self::RootEnabled,
        Self::RootDisabled,
        Self::DowngradeAllowed,
        Self::DowngradeForbidden,
        Self::UnsignedReleased,
    ];

    /// What it says, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::RootEnabled => "root mode enabled",
            Self::RootDisabled => "root mode disabled",
            Self::DowngradeAllowed => "downgrades allowed",
            Self::DowngradeForbidden => "downgrades forbidden",
            Self::UnsignedReleased => "unsigned image released",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::RootEnabled => 1,
            Self::RootDisabled => 2,
            Self::DowngradeAllowed => 3,
            Self::DowngradeForbidden => 4,
            Self::UnsignedReleased => 5,
        }
    }
}

/// One record of the audit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// What.
    pub kind: AuditKind,
    /// Seconds since 1970, UTC; `None` if the controller did not know the time.
    pub unix_s: Option<u64>,
    /// The low bits of the boot's number, 0 on a controller that does not count its boots.
    pub boot: u16,
    /// Milliseconds since the controller's start.
    pub uptime_ms: u64,
    /// Digest of the image, zeros where none is concerned.
    pub digest: [u8; 32],
    /// The appliance, [`Address::BROADCAST`] where none is concerned.
    pub address: Address,
}

impl AuditRecord {
    /// Bytes of one record in the audit file.
    pub const LEN: usize = AUDIT_LEN;

    /// The time that it tells, for people.
    #[must_use]
    pub const fn when(&self) -> When {
        When { unix_s: self.unix_s, boot: self.boot, uptime_ms: self.uptime_ms }
    }

    /// The record as the audit file has it.
    #[must_use]
    pub fn encode(&self) -> [u8; AUDIT_LEN] {
        let mut out = [0; AUDIT_LEN];
        let mut put = Put { out: &mut out, at: 0 };
        put.bytes(&[self.kind.number(), u8::from(self.unix_s.is_some())]);
        put.bytes(&self.boot.to_le_bytes());
        put.bytes(&self.unix_s.unwrap_or(0).to_le_bytes());
        put.bytes(&self.uptime_ms.to_le_bytes());
        put.bytes(&self.digest);
        put.bytes(&self.address.get().to_le_bytes());
        let mut crc = Checksum::new();
        crc.update(out.split_last_chunk::<4>().map_or(&[], |(body, _)| body));
        if let Some(tail) = out.last_chunk_mut::<4>() {
            *tail = crc.value().to_le_bytes();
        }
        out
    }

    /// Reads it back; `None` for bytes that are no whole record.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; AUDIT_LEN] = bytes.try_into().ok()?;
        let (body, tail) = bytes.split_last_chunk::<4>()?;
        let mut crc = Checksum::new();
        crc.update(body);
        if crc.value().to_le_bytes() != *tail {
            return None;
        }
        let mut take = Take { bytes: body };
        let [number, timed] = take.array();
        let boot = u16::from_le_bytes(take.array());
        let (unix_s, uptime_ms, digest) = (take.long(), take.long(), take.array());
        Some(Self {
            kind: AuditKind::ALL.into_iter().find(|kind| kind.number() == number)?,
            unix_s: (timed != 0).then_some(unix_s),
            boot,
            uptime_ms,
            digest,
            address: Address::new(take.long()),
        })
    }
}

/// Reads what is on record about root mode, the oldest first and one record after the other: there may be hundreds, and
/// whoever shows them has other work to do meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditReader {
    /// `None`: it has read all of them.
    file: Option<File>,
    nth: u32,
}

impl AuditReader {
    /// Before the first record.
    #[must_use]
    pub const fn new() -> Self {
        Self { file: Some(File::AuditOld), nth: 0 }
    }

    /// What is to be read of the store for [`take`](Self::take); `None` at the end.
    #[must_use]
    pub const fn next_read(&self) -> Option<StoreOp<'static>> {
        let Some(file) = self.file else { return None };
        // At most AUDIT_MAX records.
        Some(StoreOp::Read { file, offset: self.nth.saturating_mul(AUDIT_LEN_U32), len: AUDIT_LEN_U32 })
    }

    /// The record that was read. With none, because the file has ended or cannot be read, it goes on with the next file.
    pub fn take(&mut self, read: Option<&[u8]>) -> Option<AuditRecord> {
        let record = read.and_then(AuditRecord::decode);
        self.nth = self.nth.saturating_add(1);
        if record.is_none() || self.nth >= AUDIT_MAX {
            self.file = if self.file == Some(File::AuditOld) { Some(File::Audit) } else { None };
            self.nth = 0;
        }
        record
    }
}

impl Default for AuditReader {
    fn default() -> Self {
        Self::new()
    }
}

/// When something was put on record: the date where the controller knew it (RFC 3339, UTC), or else the boot and the
/// time since then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    unix_s: Option<u64>,
    boot: u16,
    uptime_ms: u64,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.unix_s, self.boot) {
            (Some(seconds), _) => date(f, seconds),
            (None, 0) => write!(f, "{} ms after boot", self.uptime_ms),
            (None, boot) => write!(f, "{} ms after boot {boot:04x}", self.uptime_ms),
        }
    }
}

/// Seconds since 1970 as date and time, by the calendar's rule of 400 years.
fn date(f: &mut fmt::Formatter<'_>, seconds: u64) -> fmt::Result {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut left) = (1970 + days / 146_097 * 400, days % 146_097);
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    write!(f, "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", left + 1)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::ToString as _;

    #[test]
    fn the_checksum_is_crc_32() {
        let mut crc = Checksum::new();
        crc.update(b"12345");
        let mut crc = Checksum::resume(crc.value());
        crc.update(b"6789");
        assert_eq!(crc.value(), 0xCBF4_3926);
    }

    #[test]
    fn a_head_goes_both_ways() {
        let version = Some(Version { major: 1, minor: 2, revision: 300, build: 70_000 });
        let session = Session::recorded(127_456, [0x5A; 32], version, 98_304, 0xDEAD_BEEF);
        for head in [
            Head { root: true, downgrade: true, devices: 16, session: Some(session) },
            Head { root: false, downgrade: false, devices: 0, session: None },
        ] {
            assert_eq!(Head::decode(&head.encode()), Some(head));
        }
        assert_eq!(Head::decode(&[0; HEAD_LEN]), None);
        // Without root mode there is no downgrade, whatever the file says.
        let odd = Head { root: false, downgrade: true, devices: 0, session: None };
        assert_eq!(Head::decode(&odd.encode()).map(|head| head.downgrade), Some(false));
    }

    #[test]
    fn a_device_goes_both_ways() {
        let mut device = Device::new(Address::new(0xAABB), 1);
        device.stage = Stage::Activating;
        device.outcome = RosterOutcome::Reverted;
        device.cause = Cause::Silent;
        (device.auto, device.activate, device.reboot) = (true, true, false);
        device.mode = Mode::Permanent;
        (device.tries, device.counter, device.attempt) = (3, 77, 9);
        device.running = Some(Version { major: 9, minor: 8, revision: 7, build: 6 });
        device.running_hash = Some([3; 32]);
        let bytes = encode_device(&device);
        assert_eq!(decode_device(&bytes), Some(device));
        let mut damaged = bytes;
        damaged[10] = 99;
        assert_eq!(decode_device(&damaged), None);
    }

    #[test]
    fn an_audit_record_goes_both_ways_and_damage_shows() {
        let record = AuditRecord {
            kind: AuditKind::UnsignedReleased,
            unix_s: Some(1_800_000_000),
            boot: 0xBEEF,
            uptime_ms: 5,
            digest: [7; 32],
            address: Address::new(0xAABB),
        };
        let bytes = record.encode();
        assert_eq!(AuditRecord::decode(&bytes), Some(record));
        for at in 0..AUDIT_LEN {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert_eq!(AuditRecord::decode(&bad), None, "byte {at}");
        }
        assert_eq!(AuditRecord::decode(&bytes[..63]), None);
    }

    #[test]
    fn records_are_read_one_at_a_time_from_both_files() {
        let record = |uptime_ms| AuditRecord {
            kind: AuditKind::RootEnabled,
            unix_s: None,
            boot: 0,
            uptime_ms,
            digest: [0; 32],
            address: Address::BROADCAST,
        };
        let file = |from: u64, to: u64| -> std::vec::Vec<u8> {
            (from..to).flat_map(|n| record(n).encode()).collect()
        };
        let list = |old: &[u8], new: &[u8]| {
            let mut reader = AuditReader::new();
            let (mut reads, mut found) = (0, std::vec::Vec::new());
            while let Some(op) = reader.next_read() {
                let StoreOp::Read { file, offset, len } = op else { panic!("{op:?}") };
                let (bytes, at) = (if file == File::AuditOld { old } else { new }, offset as usize);
                let read = bytes.get(at..bytes.len().min(at + len as usize));
                let record = reader.take(read);
                found.extend(record.map(|record| record.uptime_ms));
                reads += 1;
                assert!(reads <= 2 * AUDIT_MAX, "it does not end");
            }
            assert_eq!((reader.next_read(), reader.take(None)), (None, None));
            found
        };
        let (most, all) = (u64::from(AUDIT_MAX), |n: u64| (0..n).collect::<std::vec::Vec<_>>());
        assert_eq!(list(&file(0, most), &file(most, 2 * most)), all(2 * most));
        assert_eq!(list(&file(0, most), &file(most, most + 3)), all(most + 3));
        assert_eq!(list(&[], &file(0, 2)), all(2));
        assert_eq!(list(&[], &[]), all(0));
        // A record that was cut off, and one that cannot be read, end their file.
        assert_eq!(list(&file(0, 2)[..100], &file(1, 3)), all(3));
    }

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (1_800_000_000, "2027-01-15T08:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (12_622_780_800, "2370-01-01T00:00:00Z"),
        ] {
            let when = When { unix_s: Some(seconds), boot: 7, uptime_ms: 5 };
            assert_eq!(when.to_string(), text);
        }
    }

    #[test]
    fn without_a_clock_it_is_told_which_boot() {
        let when = When { unix_s: None, boot: 0xA7, uptime_ms: 5 };
        assert_eq!(when.to_string(), "5 ms after boot 00a7");
        assert_eq!(When { boot: 0, ..when }.to_string(), "5 ms after boot");
    }
}
