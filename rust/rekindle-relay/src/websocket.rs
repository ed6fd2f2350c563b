// SPDX-License-Identifier: Apache-2.0
//! The server's side of a WebSocket (RFC 6455) for a device: no allocator, no I/O, a byte at a time.
//!
//! [`Server::push`] takes what the connection brings and says what it means. Fusain's frames go through as a stream:
//! any split of them over binary messages and fragments will do (PROTOCOL.md §9). What a host's library does beyond
//! that (text, extensions, subprotocols, TLS) is not spoken here.

use base64ct::{Base64, Encoding};
use sha1::{Digest, Sha1};

/// Longest upgrade request that is read, in bytes.
const REQUEST_MAX: usize = 1_024;
/// Headers that an upgrade request may have.
const HEADERS_MAX: usize = 24;
/// Where Fusain is spoken.
const PATH: &str = "/fusain";
/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Most that a control frame carries (RFC 6455 §5.5).
const CONTROL_MAX: usize = 125;
/// Bytes in front of a frame of ours: none is longer than 65,535 bytes.
pub const HEAD_MAX: usize = 4;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Status codes of a close (RFC 6455 §7.4.1).
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED: u16 = 1003;

const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const UPGRADE_REQUIRED: &[u8] = b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n\
Sec-WebSocket-Version: 13\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// What a byte meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    More,
    /// A byte of Fusain.
    Data(u8),
    /// [`Server::reply`] is to be sent.
    Reply,
    /// [`Server::reply`] is to be sent, and the connection to be closed.
    Close,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The upgrade request.
    Request,
    /// A frame's first byte: flags and kind.
    Kind,
    /// Its second: mask flag and length.
    Length,
    /// So many bytes of a longer length are left.
    Extended(u8),
    /// The masking key from this byte on.
    Mask(u8),
    /// Its payload.
    Payload,
    /// The connection is over.
    Over,
}

/// One connection.
#[derive(Debug)]
pub struct Server {
    state: State,
    /// The request; later a control frame's payload, and what is to be sent.
    buffer: [u8; REQUEST_MAX],
    len: usize,
    kind: u8,
    last: bool,
    /// A message has begun and not ended.
    inside: bool,
    left: u64,
    mask: [u8; 4],
    at: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A connection of which nothing has been read.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Request,
            buffer: [0; REQUEST_MAX],
            len: 0,
            kind: CONTINUATION,
            last: false,
            inside: false,
            left: 0,
            mask: [0; 4],
            at: 0,
        }
    }

    /// Whether the upgrade is done: Fusain may be sent.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !matches!(self.state, State::Request | State::Over)
    }

    /// What [`Step::Reply`] and [`Step::Close`] want sent.
    #[must_use]
    pub fn reply(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// What goes in front of a binary message of `len` bytes, and how much of it counts. Messages of a server are not
    /// masked.
    #[must_use]
    pub fn head(len: u16) -> ([u8; HEAD_MAX], usize) {
        let [high, low] = len.to_be_bytes();
        if len < 126 { ([0x80 | BINARY, low, 0, 0], 2) } else { ([0x80 | BINARY, 126, high, low], 4) }
    }

    /// Takes the next byte.
    pub fn push(&mut self, byte: u8) -> Step {
        match self.state {
            State::Request => self.request(byte),
            State::Kind => self.kind(byte),
            State::Length => self.length(byte),
            State::Extended(left) => {
                self.left = self.left.wrapping_shl(8) | u64::from(byte);
                self.state = if left > 1 { State::Extended(left.saturating_sub(1)) } else { State::Mask(0) };
                Step::More
            }
            State::Mask(nth) => self.mask(nth, byte),
            State::Payload => self.payload(byte),
            State::Over => Step::More,
        }
    }

    fn request(&mut self, byte: u8) -> Step {
        let Some(place) = self.buffer.get_mut(self.len) else { return self.refuse(TOO_LARGE) };
        *place = byte;
        self.len = self.len.saturating_add(1);
        if !self.reply().ends_with(b"\r\n\r\n") {
            return Step::More;
        }
        match accept(self.reply()) {
            Err(answer) => self.refuse(answer),
            Ok(accept) => {
                self.len = 0;
                self.put(SWITCH);
                self.put(&accept);
                self.put(b"\r\n\r\n");
                self.state = State::Kind;
                Step::Reply
            }
        }
    }

    fn kind(&mut self, byte: u8) -> Step {
        (self.last, self.kind) = (byte & 0x80 != 0, byte & 0x0F);
        let fits = match self.kind {
            _ if byte & 0x70 != 0 => false,
            CONTINUATION => self.inside,
            BINARY => !self.inside,
            CLOSE | PING | PONG => self.last,
            TEXT => return self.close(UNSUPPORTED),
            _ => false,
        };
        if !fits {
            return self.close(PROTOCOL_ERROR);
        }
        self.state = State::Length;
        Step::More
    }

    fn length(&mut self, byte: u8) -> Step {
        let short = byte & 0x7F;
        // A client masks, and a control frame is short.
        if byte & 0x80 == 0 || (self.is_control() && usize::from(short) > CONTROL_MAX) {
            return self.close(PROTOCOL_ERROR);
        }
        self.left = 0;
        self.state = match short {
            126 => State::Extended(2),
            127 => State::Extended(8),
            _ => {
                self.left = short.into();
                State::Mask(0)
            }
        };
        Step::More
    }

    fn mask(&mut self, nth: u8, byte: u8) -> Step {
        if let Some(place) = self.mask.get_mut(usize::from(nth)) {
            *place = byte;
        }
        if nth < 3 {
            self.state = State::Mask(nth.saturating_add(1));
            return Step::More;
        }
        self.at = 0;
        if self.is_control() {
            self.len = 0;
        } else {
            self.inside = !self.last;
        }
        if self.left == 0 { self.ended() } else { self.go(State::Payload) }
    }

    fn payload(&mut self, byte: u8) -> Step {
        let byte = byte ^ self.mask.get(self.at & 3).copied().unwrap_or(0);
        self.at = self.at.wrapping_add(1);
        self.left = self.left.saturating_sub(1);
        if self.is_control() {
            self.put(&[byte]);
            return if self.left == 0 { self.ended() } else { Step::More };
        }
        if self.left == 0 {
            self.state = State::Kind;
        }
        Step::Data(byte)
    }

    /// A frame without payload, or a control frame, is there as a whole.
    fn ended(&mut self) -> Step {
        match self.kind {
            CLOSE => {
                let code = match self.reply() {
                    [high, low, ..] => u16::from_be_bytes([*high, *low]),
                    _ => NORMAL,
                };
                self.close(code)
            }
            PING => {
                let len = self.len.min(CONTROL_MAX);
                self.buffer.copy_within(..len, 2);
                self.frame(PONG, len)
            }
            _ => self.go(State::Kind),
        }
    }

    fn close(&mut self, code: u16) -> Step {
        let [high, low] = code.to_be_bytes();
        self.len = 0;
        self.put(&[0, 0, high, low]);
        let _ = self.frame(CLOSE, 2);
        self.state = State::Over;
        Step::Close
    }

    /// Puts the head in front of a control frame's payload, which lies two bytes into the buffer.
    fn frame(&mut self, kind: u8, len: usize) -> Step {
        if let Some(head) = self.buffer.first_chunk_mut::<2>() {
            *head = [0x80 | kind, u8::try_from(len).unwrap_or(0)];
        }
        self.len = len.saturating_add(2);
        self.state = State::Kind;
        Step::Reply
    }

    fn refuse(&mut self, answer: &[u8]) -> Step {
        self.len = 0;
        self.put(answer);
        self.state = State::Over;
        Step::Close
    }

    fn go(&mut self, state: State) -> Step {
        self.state = state;
        Step::More
    }

    const fn is_control(&self) -> bool {
        self.kind & 0x08 != 0
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if let Some(place) = self.buffer.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        }
    }
}

/// The answer's Sec-WebSocket-Accept, or the answer that refuses the request.
fn accept(request: &[u8]) -> Result<[u8; 28], &'static [u8]> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(request) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(TOO_LARGE),
        _ => return Err(BAD_REQUEST),
    }
    if parsed.path != Some(PATH) {
        return Err(NOT_FOUND);
    }
    let value = |name: &str| {
        let header = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| header.value.trim_ascii())
    };
    let has = |name: &str, wanted: &[u8]| {
        let mut tokens = value(name).unwrap_or_default().split(|byte| *byte == b',');
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
    };
    let asks = parsed.method == Some("GET") && has("Connection", b"upgrade") && has("Upgrade", b"websocket");
    if !asks || value("Sec-WebSocket-Version") != Some(b"13") {
        return Err(UPGRADE_REQUIRED);
    }
    // Sixteen bytes in Base64.
    let key = value("Sec-WebSocket-Key").filter(|key| key.len() == 24).ok_or(BAD_REQUEST)?;
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    Base64::encode(&digest, &mut accept).map_err(|_| BAD_REQUEST)?;
    Ok(accept)
}
