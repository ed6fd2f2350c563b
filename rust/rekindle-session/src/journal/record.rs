// SPDX-License-Identifier: Apache-2.0
//! The journal's records as bytes.
//!
//! A record is one to three blocks of [`BLOCK`] bytes: kind, number of blocks, two reserved bytes (0xFF), the
//! body, padding (0xFF), and a CRC-32 in the last four bytes. All numbers are little-endian. The image that is
//! being tested writes into the journal that the old image reads, so **this format is frozen**: kinds are only
//! ever added, and a reader skips the kinds it does not know.

use fusain::{Mode, Outcome, Version};

/// Size of a block in bytes: a multiple of every supported write block.
pub(crate) const BLOCK: usize = 32;
/// Largest record in blocks.
pub(crate) const BLOCKS_MAX: usize = 3;
/// Largest record in bytes.
pub(crate) const RECORD_MAX: usize = BLOCK * BLOCKS_MAX;

/// A CRC-32 (ISO-HDLC, as in zlib) over bytes that come in parts: of the records, the sector headers and, for the
/// checkpoints, the image. Bit by bit: a table costs a device a kilobyte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksum(u32);

impl Checksum {
    pub(crate) const fn new() -> Self {
        Self(u32::MAX)
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

    /// The CRC-32 of everything so far.
    pub(crate) const fn value(self) -> u32 {
        !self.0
    }

    /// The CRC-32 of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> u32 {
        let mut checksum = Self::new();
        checksum.update(bytes);
        checksum.value()
    }
}

impl core::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Checksum({:08x})", self.value())
    }
}

const HEAD: usize = 4;
const TAIL: usize = 4;

/// An image on its way: what START announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) size: u32,
    pub(crate) digest: [u8; 32],
    pub(crate) version: Option<Version>,
}

/// An activation: which image was to replace which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) mode: Mode,
    /// Swap type that the primary slot's trailer named before the request, to tell old evidence from new.
    pub(crate) swap_before: u8,
    pub(crate) target: [u8; 32],
    pub(crate) running: [u8; 32],
}

/// How far the self-test of a running image came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    pub(crate) stage: u32,
    pub(crate) code: i32,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) number: u32,
    pub(crate) mode: Mode,
    pub(crate) outcome: Outcome,
    pub(crate) target: [u8; 32],
    pub(crate) stage: Option<Stage>,
    pub(crate) reset_cause: u32,
}

/// One entry of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A session began; it ends the one before.
    Session(Session),
    /// Bytes `0..offset` of the image are on flash and have this CRC-32.
    Checkpoint { offset: u32, crc: u32 },
    /// The session was read back and found right.
    Verified,
    /// The session ended without an activation.
    Closed,
    /// An upgrade is about to be requested from the bootloader.
    Attempt(Attempt),
    /// A mark of the running image's self-test.
    Stage(Stage),
    /// The outcome of an attempt is known.
    Settled(Settled),
    /// The bootloader took the request of the newest attempt.
    Requested,
    /// Somebody else could write to the slots: MCUboot's serial recovery, which appends this record by itself
    /// (`modules/rekindle/src/recovery.c`).
    Foreign,
    /// A record of a later format: skipped, dropped at compaction.
    Unknown,
}

pub(crate) const KIND_SESSION: u8 = 1;
pub(crate) const KIND_CHECKPOINT: u8 = 2;
pub(crate) const KIND_VERIFIED: u8 = 3;
pub(crate) const KIND_CLOSED: u8 = 4;
pub(crate) const KIND_ATTEMPT: u8 = 5;
pub(crate) const KIND_STAGE: u8 = 6;
pub(crate) const KIND_SETTLED: u8 = 7;
pub(crate) const KIND_REQUESTED: u8 = 8;
pub(crate) const KIND_FOREIGN: u8 = 9;

const FLAG_PRESENT: u8 = 1;

/// Writes fields one after the other; a field that does not fit is dropped, which [`Record::emit`] never meets.
struct Writer<'a> {
    out: &'a mut [u8; RECORD_MAX],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.at.saturating_add(bytes.len());
        if let Some(place) = self.out.get_mut(self.at..end) {
            place.copy_from_slice(bytes);
        }
        self.at = end;
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    fn stage(&mut self, stage: Stage) {
        self.u32(stage.stage);
        self.put(&stage.code.to_le_bytes());
    }
}

/// Reads fields one after the other; past the end everything is zero (the CRC was right, so a short body
/// belongs to a later format, which may only add).
struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.bytes.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.bytes = rest;
                *head
            }
            None => [0; N],
        }
    }

    fn u8(&mut self) -> u8 {
        let [byte] = self.take::<1>();
        byte
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }
}

/// The bytes of the record at the start of `bytes`; `None` when no whole, intact one stands there.
pub(crate) fn intact(bytes: &[u8]) -> Option<&[u8]> {
    let &[_, blocks, ..] = bytes else { return None };
    let blocks = usize::from(blocks);
    if blocks == 0 || blocks > BLOCKS_MAX {
        return None;
    }
    let record = bytes.get(..blocks.saturating_mul(BLOCK))?;
    let (content, crc) = record.split_last_chunk::<TAIL>()?;
    (Checksum::of(content) == u32::from_le_bytes(*crc)).then_some(record)
}

impl Record {
    /// Writes the record into `out` and returns its length in bytes, a multiple of [`BLOCK`].
    pub(crate) fn emit(&self, out: &mut [u8; RECORD_MAX]) -> usize {
        out.fill(0xFF);
        let mut w = Writer { out, at: HEAD };
        let kind = self.emit_body(&mut w);
        let blocks = w.at.saturating_add(TAIL).div_ceil(BLOCK);
        let len = blocks.saturating_mul(BLOCK).min(RECORD_MAX);
        let (record, _) = w.out.split_at_mut(len);
        let (content, tail) = record.split_at_mut(len.saturating_sub(TAIL));
        if let [first, second, ..] = content {
            *first = kind;
            *second = u8::try_from(blocks).unwrap_or(0);
        }
        tail.copy_from_slice(&Checksum::of(content).to_le_bytes());
        len
    }

    /// Writes the body and returns the kind.
    fn emit_body(&self, w: &mut Writer<'_>) -> u8 {
        match self {
            Self::Session(s) => {
                w.u32(s.size);
                w.put(&s.digest);
                if let Some(v) = &s.version {
                    w.put(&[FLAG_PRESENT, v.major, v.minor]);
                    w.put(&v.revision.to_le_bytes());
                    w.u32(v.build);
                }
                KIND_SESSION
            }
            Self::Checkpoint { offset, crc } => {
                w.u32(*offset);
                w.u32(*crc);
                KIND_CHECKPOINT
            }
            Self::Verified => KIND_VERIFIED,
            Self::Closed | Self::Unknown => KIND_CLOSED,
            Self::Requested => KIND_REQUESTED,
            Self::Foreign => KIND_FOREIGN,
            Self::Attempt(a) => {
                w.u32(a.number);
                w.put(&[a.mode.number(), a.swap_before]);
                w.put(&a.target);
                w.put(&a.running);
                KIND_ATTEMPT
            }
            Self::Stage(s) => {
                w.stage(*s);
                KIND_STAGE
            }
            Self::Settled(s) => {
                w.u32(s.number);
                w.put(&[s.mode.number(), s.outcome.number()]);
                w.u32(s.reset_cause);
                w.put(&s.target);
                if let Some(stage) = s.stage {
                    w.put(&[FLAG_PRESENT]);
                    w.stage(stage);
                }
                KIND_SETTLED
            }
        }
    }

    /// Reads a record that is [`intact`].
    pub(crate) fn decode(record: &[u8]) -> Self {
        let mut r = Reader { bytes: record.get(HEAD..record.len().saturating_sub(TAIL)).unwrap_or_default() };
        Self::decode_body(kind(record), &mut r)
    }

    fn decode_body(kind: u8, r: &mut Reader<'_>) -> Self {
        match kind {
            KIND_SESSION => Self::Session(Session {
                size: r.u32(),
                digest: r.take(),
                version: (r.u8() == FLAG_PRESENT).then(|| Version {
                    major: r.u8(),
                    minor: r.u8(),
                    revision: u16::from_le_bytes(r.take()),
                    build: r.u32(),
                }),
            }),
            KIND_CHECKPOINT => Self::Checkpoint { offset: r.u32(), crc: r.u32() },
            KIND_VERIFIED => Self::Verified,
            KIND_CLOSED => Self::Closed,
            KIND_ATTEMPT => Self::Attempt(Attempt {
                number: r.u32(),
                mode: parse_mode(r.u8()),
                swap_before: r.u8(),
                target: r.take(),
                running: r.take(),
            }),
            KIND_STAGE => Self::Stage(parse_stage(r)),
            KIND_SETTLED => Self::Settled(Settled {
                number: r.u32(),
                mode: parse_mode(r.u8()),
                outcome: parse_outcome(r.u8()),
                reset_cause: r.u32(),
                target: r.take(),
                stage: (r.u8() == FLAG_PRESENT).then(|| parse_stage(r)),
            }),
            KIND_REQUESTED => Self::Requested,
            KIND_FOREIGN => Self::Foreign,
            _ => Self::Unknown,
        }
    }
}

/// The kind of a record; 0, which is none, when there are no bytes.
pub(crate) fn kind(record: &[u8]) -> u8 {
    record.first().copied().unwrap_or(0)
}

fn parse_stage(r: &mut Reader<'_>) -> Stage {
    Stage { stage: r.u32(), code: i32::from_le_bytes(r.take()) }
}

fn parse_mode(byte: u8) -> Mode {
    Mode::try_from(byte).unwrap_or(Mode::Test)
}

fn parse_outcome(byte: u8) -> Outcome {
    Outcome::try_from(byte).unwrap_or(Outcome::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> [Record; 9] {
        let stage = Stage { stage: 3, code: -7 };
        [
            Record::Session(Session {
                size: 0x0102_0304,
                digest: [0xA5; 32],
                version: Some(Version { major: 1, minor: 2, revision: 0x0304, build: 0x0506_0708 }),
            }),
            Record::Checkpoint { offset: 4096, crc: 0xDEAD_BEEF },
            Record::Verified,
            Record::Closed,
            Record::Attempt(Attempt {
                number: 9,
                mode: Mode::Permanent,
                swap_before: 4,
                target: [1; 32],
                running: [2; 32],
            }),
            Record::Stage(stage),
            Record::Settled(Settled {
                number: 9,
                mode: Mode::Test,
                outcome: Outcome::Reverted,
                target: [1; 32],
                stage: Some(stage),
                reset_cause: 0x40,
            }),
            Record::Requested,
            Record::Foreign,
        ]
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        for record in samples() {
            let mut bytes = [0; RECORD_MAX];
            let len = record.emit(&mut bytes);
            assert_eq!(len % BLOCK, 0);
            let whole = intact(&bytes).expect("intact");
            assert_eq!(Record::decode(whole), record);
            assert_eq!(whole.len(), len);
        }
    }

    /// The old image reads what the image under test wrote, whichever versions the two are. If this test
    /// fails, the format has changed: do not change the test, add a kind.
    #[test]
    fn the_format_is_frozen() {
        let expected: [&[u8]; 9] = [
            &[
                1, 2, 0xFF, 0xFF, 4, 3, 2, 1, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5,
                0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5,
                0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 1, 1, 2, 4, 3, 8, 7, 6, 5,
            ],
            &[2, 1, 0xFF, 0xFF, 0, 0x10, 0, 0, 0xEF, 0xBE, 0xAD, 0xDE],
            &[3, 1, 0xFF, 0xFF],
            &[4, 1, 0xFF, 0xFF],
            &[5, 3, 0xFF, 0xFF, 9, 0, 0, 0, 1, 4, 1, 1, 1, 1],
            &[6, 1, 0xFF, 0xFF, 3, 0, 0, 0, 0xF9, 0xFF, 0xFF, 0xFF],
            &[7, 2, 0xFF, 0xFF, 9, 0, 0, 0, 0, 4, 0x40, 0, 0, 0, 1, 1, 1, 1],
            &[8, 1, 0xFF, 0xFF],
            &[9, 1, 0xFF, 0xFF],
        ];
        for (record, expected) in samples().iter().zip(expected) {
            let mut bytes = [0; RECORD_MAX];
            let len = record.emit(&mut bytes);
            assert_eq!(&bytes[..expected.len()], expected, "{record:?}");
            let (body, crc) = bytes[..len].split_at(len - 4);
            // CRC-32 (ISO-HDLC) of the whole record but itself.
            assert_eq!(crc, Checksum::of(body).to_le_bytes());
        }
        assert_eq!(Checksum::of(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for record in samples() {
            let mut bytes = [0; RECORD_MAX];
            let len = record.emit(&mut bytes);
            for bit in 0..len * 8 {
                let mut torn = bytes;
                torn[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(intact(&torn).map(Record::decode), Some(record), "bit {bit} of {record:?}");
            }
        }
    }

    #[test]
    fn blank_flash_is_no_record() {
        assert_eq!(intact(&[0xFF; RECORD_MAX]), None);
        assert_eq!(intact(&[0; RECORD_MAX]), None);
        assert_eq!(intact(&[]), None);
    }
}
