// SPDX-License-Identifier: Apache-2.0
//! Frames: START, stuffing, CRC, END, and the way back after damage (PROTOCOL.md §1 and §2).

use core::fmt;

use crate::address::Address;
use crate::error::EncodeError;
use crate::{GAP_MS, PAYLOAD_MAX};

const START: u8 = 0x7E;
const END: u8 = 0x7F;
const ESC: u8 = 0x7D;
const FLIP: u8 = 0x20;

/// LENGTH and ADDRESS.
const HEADER: usize = 9;
const CRC: usize = 2;
/// Everything between START and END, without stuffing.
const BODY_MAX: usize = HEADER + PAYLOAD_MAX + CRC;

/// CRC-16 with polynomial 0x1021 and start value 0xFFFF (CRC-16/IBM-3740), bit by bit: a table would be 512 bytes.
struct Checksum(u16);

impl Checksum {
    const fn new() -> Self {
        Self(u16::MAX)
    }

    fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 ^= u16::from(byte) << 8;
            for _ in 0..8 {
                let high = 0_u16.wrapping_sub(self.0 >> 15);
                self.0 = (self.0 << 1) ^ (0x1021 & high);
            }
        }
    }
}

/// A frame that arrived undamaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Destination of a command, source of anything else.
    pub address: Address,
    /// The CBOR payload, 1 to [`PAYLOAD_MAX`] bytes.
    pub payload: &'a [u8],
}

/// Why a frame was dropped. None of these is ever answered (PROTOCOL.md §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// LENGTH announces a longer payload than a frame can carry.
    Length {
        /// The payload length announced.
        length: u8,
    },
    /// LENGTH announces no payload at all, which is no message.
    Empty,
    /// END came before the frame was complete.
    UnexpectedEnd,
    /// The frame went on where END had to be.
    MissingEnd,
    /// START came inside a frame. The frame it begins is being received.
    Restarted,
    /// The checksum is wrong.
    Crc {
        /// The checksum of what was received.
        computed: u16,
        /// The checksum in the frame.
        received: u16,
    },
    /// Silence for more than [`GAP_MS`] inside a frame.
    Gap,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { length } => write!(f, "payload length {length} is more than {PAYLOAD_MAX}"),
            Self::Empty => f.write_str("frame without payload"),
            Self::UnexpectedEnd => f.write_str("frame ends too early"),
            Self::MissingEnd => f.write_str("frame goes on where it must end"),
            Self::Restarted => f.write_str("a new frame begins inside a frame"),
            Self::Crc { computed, received } => {
                write!(f, "checksum {received:#06x} where {computed:#06x} is right")
            }
            Self::Gap => write!(f, "more than {GAP_MS} ms of silence inside a frame"),
        }
    }
}

impl core::error::Error for FrameError {}

/// Where the decoder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between frames: everything but START is ignored.
    Idle,
    /// Inside a frame.
    Body {
        /// The byte before this one was ESC.
        escaped: bool,
    },
}

/// Takes frames out of a stream of bytes.
///
/// Whatever came before, a frame that arrives undamaged is delivered: a raw START begins a frame in every state.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of `body` received.
    filled: usize,
    body: [u8; BODY_MAX],
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// Makes a decoder that waits for START.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Idle, filled: 0, body: [0; BODY_MAX] }
    }

    /// Returns whether a frame has begun and not ended.
    #[must_use]
    pub const fn in_frame(&self) -> bool {
        matches!(self.state, State::Body { .. })
    }

    /// Drops the frame that has begun, and returns whether there was one.
    pub const fn reset(&mut self) -> bool {
        let dropped = self.in_frame();
        self.state = State::Idle;
        dropped
    }

    /// Takes the next byte of the link.
    ///
    /// # Errors
    ///
    /// With `Some(Err(_))`, a frame was dropped, or with [`FrameError::Restarted`] another one has begun instead.
    pub fn push(&mut self, byte: u8) -> Option<Result<Packet<'_>, FrameError>> {
        let State::Body { escaped } = self.state else {
            if byte == START {
                self.begin();
            }
            return None;
        };
        // START and END are never data, not even behind ESC: only so does every START begin a frame.
        match byte {
            START => {
                self.begin();
                Some(Err(FrameError::Restarted))
            }
            END => Some(self.end()),
            _ if self.complete() => Some(Err(self.fail(FrameError::MissingEnd))),
            ESC if !escaped => {
                self.state = State::Body { escaped: true };
                None
            }
            _ => {
                self.state = State::Body { escaped: false };
                self.store(if escaped { byte ^ FLIP } else { byte }).map(Err)
            }
        }
    }

    fn begin(&mut self) {
        self.state = State::Body { escaped: false };
        self.filled = 0;
    }

    fn fail(&mut self, error: FrameError) -> FrameError {
        self.state = State::Idle;
        error
    }

    /// Stores an unstuffed byte; the first one is LENGTH and is judged at once.
    fn store(&mut self, byte: u8) -> Option<FrameError> {
        if self.filled == 0 && usize::from(byte) > PAYLOAD_MAX {
            return Some(self.fail(FrameError::Length { length: byte }));
        }
        // `complete` keeps `filled` within what LENGTH, and so the buffer, allows.
        if let Some(place) = self.body.get_mut(self.filled) {
            *place = byte;
            self.filled += 1;
        }
        None
    }

    /// Bytes of the frame before its checksum, once LENGTH is known.
    fn covered(&self) -> Option<usize> {
        let [length, ..] = self.body;
        (self.filled > 0).then_some(HEADER + usize::from(length))
    }

    fn complete(&self) -> bool {
        self.covered().is_some_and(|covered| self.filled == covered + CRC)
    }

    fn end(&mut self) -> Result<Packet<'_>, FrameError> {
        let complete = self.complete();
        self.state = State::Idle;
        let parts = self.covered().filter(|_| complete).and_then(|covered| {
            let (body, rest) = self.body.split_at_checked(covered)?;
            let ([_, header @ ..], payload) = body.split_first_chunk::<HEADER>()?;
            Some((body, *header, payload, *rest.first_chunk::<CRC>()?))
        });
        let Some((body, address, payload, checksum)) = parts else {
            return Err(FrameError::UnexpectedEnd);
        };
        let mut sum = Checksum::new();
        sum.update(body);
        let (computed, received) = (sum.0, u16::from_be_bytes(checksum));
        if computed != received {
            Err(FrameError::Crc { computed, received })
        } else if payload.is_empty() {
            Err(FrameError::Empty)
        } else {
            Ok(Packet { address: Address::new(u64::from_le_bytes(address)), payload })
        }
    }
}

/// A [`Decoder`] for a serial link, where silence ends a frame (PROTOCOL.md §2.3).
#[derive(Clone, Debug, Default)]
pub struct SerialDecoder {
    decoder: Decoder,
    last_ms: u64,
}

impl SerialDecoder {
    /// Makes a decoder that waits for START.
    #[must_use]
    pub const fn new() -> Self {
        Self { decoder: Decoder::new(), last_ms: 0 }
    }

    /// Returns whether a frame has begun and not ended.
    #[must_use]
    pub const fn in_frame(&self) -> bool {
        self.decoder.in_frame()
    }

    /// Drops the frame that has begun, and returns whether there was one.
    pub const fn reset(&mut self) -> bool {
        self.decoder.reset()
    }

    /// Takes a byte that arrived at `now_ms`, in milliseconds of any clock that does not go back.
    ///
    /// # Errors
    ///
    /// As [`Decoder::push`]. [`FrameError::Gap`] drops what came before the silence; the byte itself is taken as
    /// the first one after it, so that it may begin the next frame.
    pub fn push_at(&mut self, now_ms: u64, byte: u8) -> Option<Result<Packet<'_>, FrameError>> {
        let gap = self.fell_silent(now_ms);
        self.last_ms = now_ms;
        let result = self.decoder.push(byte);
        // Outside a frame a byte completes nothing, so no result is lost behind the gap's.
        if gap { Some(Err(FrameError::Gap)) } else { result }
    }

    /// Drops a frame that has been silent for more than [`GAP_MS`] at `now_ms`. Calling it is optional: the next
    /// byte finds the gap as well.
    pub fn poll_gap(&mut self, now_ms: u64) -> Option<FrameError> {
        self.fell_silent(now_ms).then_some(FrameError::Gap)
    }

    #[inline(never)]
    fn fell_silent(&mut self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.last_ms) > GAP_MS && self.decoder.reset()
    }
}

/// Writes `payload` as a frame to `out`, stuffing included, and returns the frame's length in bytes.
///
/// # Errors
///
/// The payload is empty or longer than [`PAYLOAD_MAX`], or `out` is shorter than the frame
/// ([`FRAME_MAX`](crate::FRAME_MAX) always suffices). `out` is then of no use.
pub fn encode_frame(address: Address, payload: &[u8], out: &mut [u8]) -> Result<usize, EncodeError> {
    let length = match u8::try_from(payload.len()) {
        Ok(0) => return Err(EncodeError::PayloadEmpty),
        Ok(length) if payload.len() <= PAYLOAD_MAX => length,
        _ => return Err(EncodeError::PayloadTooLong),
    };
    let mut stuffer = Stuffer { out, length: 0, sum: Checksum::new() };
    stuffer.raw(START);
    stuffer.part(&[length]);
    stuffer.part(&address.get().to_le_bytes());
    stuffer.part(payload);
    let checksum = stuffer.sum.0.to_be_bytes();
    stuffer.part(&checksum);
    stuffer.raw(END);
    if stuffer.length > stuffer.out.len() {
        return Err(EncodeError::BufferTooSmall);
    }
    Ok(stuffer.length)
}

/// A frame that is being written. It takes all there is to write and counts on when `out` is full.
struct Stuffer<'o> {
    out: &'o mut [u8],
    length: usize,
    /// Of everything that was stuffed.
    sum: Checksum,
}

impl Stuffer<'_> {
    fn raw(&mut self, byte: u8) {
        if let Some(place) = self.out.get_mut(self.length) {
            *place = byte;
        }
        self.length += 1;
    }

    /// Writes a part of the frame, stuffed.
    #[inline(never)]
    fn part(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        for &byte in bytes {
            let special = matches!(byte, ESC..=END);
            if special {
                self.raw(ESC);
            }
            self.raw(if special { byte ^ FLIP } else { byte });
        }
    }
}
