// SPDX-License-Identifier: Apache-2.0
//! The journal's records as bytes.
//!
//! A record is one to three blocks of [`BLOCK`] bytes: kind, number of blocks, two reserved bytes (0xFF), the
//! body, padding (0xFF), and a CRC-32 in the last four bytes. All numbers are little-endian. The image that is
//! being tested writes into the journal that the old image reads, so **this format is frozen**: kinds are only
//! ever added, and a reader skips the kinds it does not know.

use crate::copy;
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
        Self(0)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let mut register = !self.0;
        for &byte in bytes {
            register ^= u32::from(byte);
            for _ in 0..8 {
                let low = 0_u32.wrapping_sub(register & 1);
                register = (register >> 1) ^ (0xEDB8_8320 & low);
            }
        }
        self.0 = !register;
    }

    /// The CRC-32 of everything so far.
    pub(crate) const fn value(self) -> u32 {
        self.0
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

/// An image on its way: what START announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) size: u32,
    pub(crate) digest: [u8; 32],
    pub(crate) version: Option<Version>,
}

/// How far the self-test of a running image came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    pub(crate) stage: u32,
    pub(crate) code: i32,
}

/// A session began; it ends the one before.
pub(crate) const KIND_SESSION: u8 = 1;
/// Bytes `0..offset` of the image are on flash and have this CRC-32.
pub(crate) const KIND_CHECKPOINT: u8 = 2;
/// The session was read back and found right.
pub(crate) const KIND_VERIFIED: u8 = 3;
/// The session ended without an activation.
pub(crate) const KIND_CLOSED: u8 = 4;
/// An upgrade is about to be requested from the bootloader.
pub(crate) const KIND_ATTEMPT: u8 = 5;
/// A mark of the running image's self-test.
pub(crate) const KIND_STAGE: u8 = 6;
/// The outcome of an attempt is known.
pub(crate) const KIND_SETTLED: u8 = 7;
/// The bootloader took the request of the newest attempt.
pub(crate) const KIND_REQUESTED: u8 = 8;
/// Somebody else could write to the slots: MCUboot's serial recovery, which appends this record by itself
/// (`modules/rekindle/src/recovery.c`).
pub(crate) const KIND_FOREIGN: u8 = 9;

const TAIL: usize = 4;
const FLAG_PRESENT: u8 = 1;

/// Where the fields of a record stand, in bytes from its first.
mod at {
    /// Kind and number of blocks.
    pub(super) const KIND: usize = 0;

    pub(super) const SESSION_SIZE: usize = 4;
    pub(super) const SESSION_DIGEST: usize = 8;
    pub(super) const SESSION_VERSION: usize = 40;

    pub(super) const CHECKPOINT_OFFSET: usize = 4;
    pub(super) const CHECKPOINT_CRC: usize = 8;

    pub(super) const ATTEMPT_NUMBER: usize = 4;
    pub(super) const ATTEMPT_MODE: usize = 8;
    pub(super) const ATTEMPT_SWAP_BEFORE: usize = 9;
    pub(super) const ATTEMPT_TARGET: usize = 10;
    pub(super) const ATTEMPT_RUNNING: usize = 42;

    pub(super) const STAGE: usize = 4;

    pub(super) const SETTLED_NUMBER: usize = 4;
    pub(super) const SETTLED_MODE: usize = 8;
    pub(super) const SETTLED_OUTCOME: usize = 9;
    pub(super) const SETTLED_RESET_CAUSE: usize = 10;
    pub(super) const SETTLED_TARGET: usize = 14;
    pub(super) const SETTLED_HAS_STAGE: usize = 46;
    pub(super) const SETTLED_STAGE: usize = 47;
}

/// A record, or a sector's header, as the bytes that stand on flash. Fields are written to and read from their
/// places: so the ledger keeps records as they are, and none is ever moved through another form.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    bytes: [u8; RECORD_MAX],
    len: usize,
}

impl Record {
    /// No record.
    pub(crate) const NONE: Self = Self { bytes: [0; RECORD_MAX], len: 0 };

    /// The bytes; none where there is no record.
    pub(crate) fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Size in blocks.
    pub(crate) fn blocks(&self) -> u32 {
        blocks(self.len)
    }

    /// Takes the bytes of an [`intact`] record.
    pub(crate) fn copy(&mut self, record: &[u8]) {
        if let Some(place) = self.bytes.get_mut(..record.len()) {
            copy(place, record);
            self.len = record.len();
        }
    }

    /// Makes it no record.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn kind(&self) -> u8 {
        kind(self.get())
    }

    /// Begins a record without a body, which is all that some kinds are.
    pub(crate) fn open(&mut self, kind: u8) {
        let blocks = blocks_of(kind);
        self.blank(usize::from(blocks) * BLOCK);
        self.put(at::KIND, &[kind, blocks]);
    }

    fn blank(&mut self, len: usize) {
        self.bytes = [0xFF; RECORD_MAX];
        self.len = len;
    }

    /// Writes the CRC-32; nothing may be written to it after that.
    pub(crate) fn seal(&mut self) {
        if let Some((content, crc)) = self.bytes.get_mut(..self.len).and_then(<[u8]>::split_last_chunk_mut) {
            *crc = Checksum::of(content).to_le_bytes();
        }
    }

    /// Begins a sector's header, whose place is that of a record of one block.
    pub(crate) fn header(&mut self, magic: [u8; 4], generation: u32) {
        self.blank(BLOCK);
        self.put(0, &magic);
        self.put(magic.len(), &generation.to_le_bytes());
    }

    pub(crate) fn session(&mut self, session: &Session) {
        self.open(KIND_SESSION);
        self.put(at::SESSION_SIZE, &session.size.to_le_bytes());
        self.put(at::SESSION_DIGEST, &session.digest);
        if let Some(v) = &session.version {
            let ([r0, r1], [b0, b1, b2, b3]) = (v.revision.to_le_bytes(), v.build.to_le_bytes());
            self.put(at::SESSION_VERSION, &[FLAG_PRESENT, v.major, v.minor, r0, r1, b0, b1, b2, b3]);
        }
    }

    pub(crate) fn checkpoint(&mut self, offset: u32, crc: u32) {
        self.open(KIND_CHECKPOINT);
        self.put(at::CHECKPOINT_OFFSET, &offset.to_le_bytes());
        self.put(at::CHECKPOINT_CRC, &crc.to_le_bytes());
    }

    /// `swap_before` is the swap type that the primary slot's trailer names before the request, to tell old
    /// evidence from new.
    pub(crate) fn attempt(
        &mut self,
        number: u32,
        mode: Mode,
        swap_before: u8,
        target: &[u8; 32],
        running: &[u8; 32],
    ) {
        self.open(KIND_ATTEMPT);
        self.put(at::ATTEMPT_NUMBER, &number.to_le_bytes());
        self.put(at::ATTEMPT_MODE, &[mode.number(), swap_before]);
        self.put(at::ATTEMPT_TARGET, target);
        self.put(at::ATTEMPT_RUNNING, running);
    }

    pub(crate) fn stage(&mut self, stage: Stage) {
        self.open(KIND_STAGE);
        self.put_stage(at::STAGE, stage);
    }

    pub(crate) fn settled(
        &mut self,
        attempt: Attempt<'_>,
        outcome: Outcome,
        reset_cause: u32,
        stage: Option<Stage>,
    ) {
        self.open(KIND_SETTLED);
        self.put(at::SETTLED_NUMBER, &attempt.number().to_le_bytes());
        self.put(at::SETTLED_MODE, &[attempt.mode().number(), outcome.number()]);
        self.put(at::SETTLED_RESET_CAUSE, &reset_cause.to_le_bytes());
        self.put(at::SETTLED_TARGET, attempt.target());
        if let Some(stage) = stage {
            self.put(at::SETTLED_HAS_STAGE, &[FLAG_PRESENT]);
            self.put_stage(at::SETTLED_STAGE, stage);
        }
    }

    fn put_stage(&mut self, at: usize, stage: Stage) {
        self.put(at, &stage.stage.to_le_bytes());
        self.put(at.wrapping_add(4), &stage.code.to_le_bytes());
    }

    /// Writes a field to its place, which is a constant within the record wherever this is called.
    #[inline(always)]
    fn put<const N: usize>(&mut self, at: usize, field: &[u8; N]) {
        if let Some(place) = self.bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *place = *field;
        }
    }

    /// A field at its place, as with [`put`](Self::put).
    #[inline(always)]
    fn part<const N: usize>(&self, at: usize) -> &[u8; N] {
        self.bytes.get(at..).and_then(<[u8]>::first_chunk).unwrap_or(&[0; N])
    }

    #[inline(always)]
    fn u8(&self, at: usize) -> u8 {
        let [byte] = *self.part(at);
        byte
    }

    #[inline(always)]
    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(*self.part(at))
    }

    /// Reads a record of kind [`KIND_SESSION`].
    pub(crate) fn to_session(&self) -> Session {
        let [flag, major, minor, r0, r1, b0, b1, b2, b3] = *self.part(at::SESSION_VERSION);
        let version = Version {
            major,
            minor,
            revision: u16::from_le_bytes([r0, r1]),
            build: u32::from_le_bytes([b0, b1, b2, b3]),
        };
        Session {
            size: self.u32(at::SESSION_SIZE),
            digest: *self.part(at::SESSION_DIGEST),
            version: (flag == FLAG_PRESENT).then_some(version),
        }
    }

    /// Reads a record of kind [`KIND_CHECKPOINT`]: its offset and its CRC-32.
    pub(crate) fn to_checkpoint(&self) -> (u32, u32) {
        (self.u32(at::CHECKPOINT_OFFSET), self.u32(at::CHECKPOINT_CRC))
    }

    /// Reads a record of kind [`KIND_STAGE`].
    pub(crate) fn to_stage(&self) -> Stage {
        self.stage_at(at::STAGE)
    }

    #[inline(always)]
    fn stage_at(&self, at: usize) -> Stage {
        Stage { stage: self.u32(at), code: i32::from_le_bytes(*self.part(at.wrapping_add(4))) }
    }
}

/// A record of kind [`KIND_ATTEMPT`]: an activation, and which image was to replace which.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a>(pub(crate) &'a Record);

impl<'a> Attempt<'a> {
    pub(crate) fn number(self) -> u32 {
        self.0.u32(at::ATTEMPT_NUMBER)
    }

    pub(crate) fn mode(self) -> Mode {
        parse_mode(self.0.u8(at::ATTEMPT_MODE))
    }

    pub(crate) fn swap_before(self) -> u8 {
        self.0.u8(at::ATTEMPT_SWAP_BEFORE)
    }

    pub(crate) fn target(self) -> &'a [u8; 32] {
        self.0.part(at::ATTEMPT_TARGET)
    }

    pub(crate) fn running(self) -> &'a [u8; 32] {
        self.0.part(at::ATTEMPT_RUNNING)
    }
}

/// A record of kind [`KIND_SETTLED`]: how an attempt ended.
#[derive(Clone, Copy)]
pub(crate) struct Settled<'a>(pub(crate) &'a Record);

impl<'a> Settled<'a> {
    pub(crate) fn number(self) -> u32 {
        self.0.u32(at::SETTLED_NUMBER)
    }

    pub(crate) fn mode(self) -> Mode {
        parse_mode(self.0.u8(at::SETTLED_MODE))
    }

    pub(crate) fn outcome(self) -> Outcome {
        Outcome::try_from(self.0.u8(at::SETTLED_OUTCOME)).unwrap_or(Outcome::Unknown)
    }

    pub(crate) fn reset_cause(self) -> u32 {
        self.0.u32(at::SETTLED_RESET_CAUSE)
    }

    pub(crate) fn target(self) -> &'a [u8; 32] {
        self.0.part(at::SETTLED_TARGET)
    }

    pub(crate) fn stage(self) -> Option<Stage> {
        (self.0.u8(at::SETTLED_HAS_STAGE) == FLAG_PRESENT).then(|| self.0.stage_at(at::SETTLED_STAGE))
    }
}

fn parse_mode(byte: u8) -> Mode {
    Mode::try_from(byte).unwrap_or(Mode::Test)
}

/// Size of a record by its kind, in blocks. Later formats may only add kinds.
const fn blocks_of(kind: u8) -> u8 {
    match kind {
        KIND_SESSION | KIND_SETTLED => 2,
        KIND_ATTEMPT => 3,
        _ => 1,
    }
}

/// Whole blocks in so many bytes.
pub(crate) fn blocks(len: usize) -> u32 {
    u32::try_from(len / BLOCK).unwrap_or(u32::MAX)
}

/// The content, if these bytes are a whole record or header: the CRC-32 at their end is right.
pub(crate) fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (content, crc) = bytes.split_last_chunk::<TAIL>()?;
    (Checksum::of(content) == u32::from_le_bytes(*crc)).then_some(content)
}

/// The bytes of the record at the start of `bytes`; `None` when no whole, intact one stands there.
pub(crate) fn intact(bytes: &[u8]) -> Option<&[u8]> {
    let &[_, blocks, ..] = bytes else { return None };
    let blocks = usize::from(blocks);
    if blocks == 0 || blocks > BLOCKS_MAX {
        return None;
    }
    let record = bytes.get(..blocks * BLOCK)?;
    checked(record).map(|_| record)
}

/// The kind of a record that is [`intact`]; 0, which is none, if it has another size than its kind.
pub(crate) fn kind(record: &[u8]) -> u8 {
    match record {
        &[kind, blocks, ..] if blocks == blocks_of(kind) => kind,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(write: impl FnOnce(&mut Record)) -> Record {
        let mut record = Record::NONE;
        write(&mut record);
        record.seal();
        record
    }

    fn samples() -> [Record; 9] {
        let stage = Stage { stage: 3, code: -7 };
        let session = Session {
            size: 0x0102_0304,
            digest: [0xA5; 32],
            version: Some(Version { major: 1, minor: 2, revision: 0x0304, build: 0x0506_0708 }),
        };
        let permanent = record(|r| r.attempt(9, Mode::Permanent, 4, &[1; 32], &[2; 32]));
        let test = record(|r| r.attempt(9, Mode::Test, 4, &[1; 32], &[2; 32]));
        [
            record(|r| r.session(&session)),
            record(|r| r.checkpoint(4096, 0xDEAD_BEEF)),
            record(|r| r.open(KIND_VERIFIED)),
            record(|r| r.open(KIND_CLOSED)),
            permanent,
            record(|r| r.stage(stage)),
            record(|r| r.settled(Attempt(&test), Outcome::Reverted, 0x40, Some(stage))),
            record(|r| r.open(KIND_REQUESTED)),
            record(|r| r.open(KIND_FOREIGN)),
        ]
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        for record in samples() {
            assert_eq!(record.len % BLOCK, 0);
            let whole = intact(&record.bytes).expect("intact");
            assert_eq!((kind(whole), whole.len()), (record.kind(), record.len));
            let mut copy = Record::NONE;
            copy.copy(whole);
            assert_eq!(copy.get(), record.get());
        }
        let [session, checkpoint, _, _, attempt, stage, settled, ..] = samples();
        let version = Some(Version { major: 1, minor: 2, revision: 0x0304, build: 0x0506_0708 });
        assert_eq!(session.to_session(), Session { size: 0x0102_0304, digest: [0xA5; 32], version });
        assert_eq!(checkpoint.to_checkpoint(), (4096, 0xDEAD_BEEF));
        let expected = Stage { stage: 3, code: -7 };
        assert_eq!(stage.to_stage(), expected);
        let attempt = Attempt(&attempt);
        assert_eq!((attempt.number(), attempt.mode(), attempt.swap_before()), (9, Mode::Permanent, 4));
        assert_eq!((attempt.target(), attempt.running()), (&[1; 32], &[2; 32]));
        let settled = Settled(&settled);
        assert_eq!((settled.number(), settled.mode()), (9, Mode::Test));
        assert_eq!((settled.outcome(), settled.reset_cause()), (Outcome::Reverted, 0x40));
        assert_eq!((settled.target(), settled.stage()), (&[1; 32], Some(expected)));
    }

    #[test]
    fn what_is_left_out_reads_back_as_left_out() {
        let session = Session { size: 1, digest: [0xFF; 32], version: None };
        assert_eq!(record(|r| r.session(&session)).to_session(), session);
        let attempt = record(|r| r.attempt(1, Mode::Test, 0, &[1; 32], &[2; 32]));
        let settled = record(|r| r.settled(Attempt(&attempt), Outcome::Confirmed, 0, None));
        assert_eq!(Settled(&settled).stage(), None);
    }

    /// Such a record would be of a later format, and its fields elsewhere.
    #[test]
    fn a_record_of_another_size_is_of_no_known_kind() {
        let mut long = record(|r| r.checkpoint(1, 2));
        long.len = 2 * BLOCK;
        long.put(at::KIND, &[KIND_CHECKPOINT, 2]);
        long.seal();
        let whole = intact(long.get()).expect("intact");
        assert_eq!((whole.len(), kind(whole)), (2 * BLOCK, 0));
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
            let bytes = record.get();
            assert_eq!(&bytes[..expected.len()], expected, "{record:?}");
            let (body, crc) = bytes.split_at(bytes.len() - 4);
            // CRC-32 (ISO-HDLC) of the whole record but itself.
            assert_eq!(crc, Checksum::of(body).to_le_bytes());
        }
        assert_eq!(Checksum::of(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for record in samples() {
            for bit in 0..record.len * 8 {
                let mut torn = record.bytes;
                torn[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(intact(&torn), None, "bit {bit} of {record:?}");
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
