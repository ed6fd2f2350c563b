// SPDX-License-Identifier: Apache-2.0
//! The server's side of a WebSocket (RFC 6455), for a device and for a host: no allocator, no I/O, a byte at a time.
//!
//! [`Server::push`] takes what the connection brings and says what it means; who may come in is asked of the driver.
//! Fusain's frames go through as a stream: any split of them over binary messages and fragments will do (PROTOCOL.md
//! §10). Text is passed over; extensions and subprotocols are not spoken.

use base64ct::{Base64, Encoding};
use sha1::{Digest, Sha1};

/// Longest upgrade request that a device reads, in bytes.
pub const REQUEST_MAX: usize = 1_024;
/// Headers that an upgrade request may have.
const HEADERS_MAX: usize = 32;
/// Headers that mean nothing certain when they are there twice.
const SINGLE: [&str; 5] = ["Host", "Origin", "Authorization", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];
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

/// Status code of a close (RFC 6455 §7.4.1).
const PROTOCOL_ERROR: u16 = 1002;

const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
/// Why an upgrade is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no request that can be understood.
    BadRequest,
    /// Credentials are missing or wrong.
    Unauthorized,
    /// A browser's page that was not let in asks.
    Forbidden,
    /// The path is another one.
    NotFound,
    /// It asks for something else than a WebSocket.
    UpgradeRequired,
    /// The request is longer than what is read of one.
    TooLarge,
}

impl Refusal {
    /// The status line's end, and the headers that belong to it.
    const fn answer(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::Unauthorized => {
                "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"fusain\", Bearer realm=\"fusain\""
            }
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::UpgradeRequired => {
                "426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
            }
            Self::TooLarge => "431 Request Header Fields Too Large",
        }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let answer = self.answer();
        f.write_str(answer.split_once('\r').map_or(answer, |(status, _)| status))
    }
}

/// Whether a page of this origin may connect: a browser names it (RFC 6455 §10.2), and nobody else does. A controller
/// has no pages, so every origin is a stranger's, also one that has the controller's own name: a name can be made to
/// lead here. `listed` has those that may, as browsers write them, such as `https://desk.example`; `*` stands for all.
#[must_use]
pub fn knows_origin<'a>(origin: Option<&[u8]>, listed: impl IntoIterator<Item = &'a [u8]>) -> bool {
    origin.is_none_or(|origin| {
        listed.into_iter().any(|known| known == b"*" || known.eq_ignore_ascii_case(origin))
    })
}

/// What a byte meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    More,
    /// A byte of Fusain.
    Data(u8),
    /// Somebody asks to be let in: [`Server::header`] says who, [`Server::accept`] or [`Server::refuse`] goes on.
    Asked,
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
    /// The driver's answer to it.
    Answer,
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

/// One connection, of which a request of `N` bytes is read: at least 256, or there is no room for the answers.
#[derive(Debug)]
pub struct Server<const N: usize = REQUEST_MAX> {
    state: State,
    /// The request; later a control frame's payload, and what is to be sent.
    buffer: [u8; N],
    len: usize,
    kind: u8,
    last: bool,
    /// A message has begun and not ended.
    inside: bool,
    /// That message is text.
    text: bool,
    left: u64,
    mask: [u8; 4],
    at: usize,
}

impl<const N: usize> Default for Server<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Server<N> {
    /// The longest answer, and the longest control frame, have room.
    const ROOM: () = assert!(N >= 256, "room for the answers");

    /// A connection of which nothing has been read.
    #[must_use]
    pub const fn new() -> Self {
        let () = Self::ROOM;
        Self {
            state: State::Request,
            buffer: [0; N],
            len: 0,
            kind: CONTINUATION,
            last: false,
            inside: false,
            text: false,
            left: 0,
            mask: [0; 4],
            at: 0,
        }
    }

    /// Whether the upgrade is done: Fusain may be sent.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !matches!(self.state, State::Request | State::Answer | State::Over)
    }

    /// What the request says under this name, after [`Step::Asked`]. Of a header that is there twice, the first.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = self.buffer.get(..self.len).filter(|_| self.state == State::Answer)?;
        request.parse(parsed).ok()?;
        let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(header.value.trim_ascii())
    }

    /// Lets in who asked.
    pub fn accept(&mut self) -> Step {
        let Some(accept) = self.header("Sec-WebSocket-Key").and_then(accept) else {
            return self.refuse(Refusal::BadRequest);
        };
        self.len = 0;
        self.put(SWITCH);
        self.put(&accept);
        self.put(b"\r\n\r\n");
        self.state = State::Kind;
        Step::Reply
    }

    /// Turns away who asked.
    pub fn refuse(&mut self, why: Refusal) -> Step {
        self.len = 0;
        self.put(b"HTTP/1.1 ");
        self.put(why.answer().as_bytes());
        self.put(b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        self.state = State::Over;
        Step::Close
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
                // The highest bit of a length is not set (RFC 6455 §5.2).
                if left == 8 && byte & 0x80 != 0 {
                    return self.fail();
                }
                self.left = self.left.wrapping_shl(8) | u64::from(byte);
                self.state = if left > 1 { State::Extended(left.saturating_sub(1)) } else { State::Mask(0) };
                Step::More
            }
            State::Mask(nth) => self.mask(nth, byte),
            State::Payload => self.payload(byte),
            State::Answer | State::Over => Step::More,
        }
    }

    fn request(&mut self, byte: u8) -> Step {
        let Some(place) = self.buffer.get_mut(self.len) else { return self.refuse(Refusal::TooLarge) };
        *place = byte;
        self.len = self.len.saturating_add(1);
        if !self.reply().ends_with(b"\r\n\r\n") {
            return Step::More;
        }
        match check(self.reply()) {
            Err(why) => self.refuse(why),
            Ok(()) => {
                self.state = State::Answer;
                Step::Asked
            }
        }
    }

    fn kind(&mut self, byte: u8) -> Step {
        (self.last, self.kind) = (byte & 0x80 != 0, byte & 0x0F);
        let fits = match self.kind {
            _ if byte & 0x70 != 0 => false,
            CONTINUATION => self.inside,
            TEXT | BINARY => !self.inside,
            CLOSE | PING | PONG => self.last,
            _ => false,
        };
        if !fits {
            return self.fail();
        }
        if matches!(self.kind, TEXT | BINARY) {
            self.text = self.kind == TEXT;
        }
        self.state = State::Length;
        Step::More
    }

    fn length(&mut self, byte: u8) -> Step {
        let short = byte & 0x7F;
        // A client masks, and a control frame is short.
        if byte & 0x80 == 0 || (self.is_control() && usize::from(short) > CONTROL_MAX) {
            return self.fail();
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
        if self.text { Step::More } else { Step::Data(byte) }
    }

    /// A frame without payload, or a control frame, is there as a whole.
    fn ended(&mut self) -> Step {
        match self.kind {
            CLOSE => self.confirm_close(),
            PING => {
                let len = self.len.min(CONTROL_MAX);
                self.buffer.copy_within(..len, 2);
                self.frame(PONG, len)
            }
            _ => self.go(State::Kind),
        }
    }

    /// Answers a close with its own code, or without one where it has none.
    fn confirm_close(&mut self) -> Step {
        let code = match self.reply() {
            [] => None,
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !may_be_sent(code) || core::str::from_utf8(reason).is_err() {
                    return self.fail();
                }
                Some(code)
            }
            [_] => return self.fail(),
        };
        self.close(code)
    }

    /// The other side does not keep to the protocol.
    fn fail(&mut self) -> Step {
        self.close(Some(PROTOCOL_ERROR))
    }

    fn close(&mut self, code: Option<u16>) -> Step {
        self.len = 0;
        self.put(&[0, 0]);
        if let Some(code) = code {
            self.put(&code.to_be_bytes());
        }
        let _ = self.frame(CLOSE, self.len.saturating_sub(2));
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

/// Codes that a close may carry (RFC 6455 §7.4, and those registered since).
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Whether this is the request of a client that wants a WebSocket here (RFC 6455 §4.2.1).
fn check(request: &[u8]) -> Result<(), Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(request) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        _ => return Err(Refusal::BadRequest),
    }
    let all = |name: &'static str| {
        let named = parsed.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim_ascii())
    };
    // A list may be split over lines of the same name (RFC 9110 §5.3).
    let lists = |name: &'static str, wanted: &[u8]| {
        let mut tokens = all(name).flat_map(|value| value.split(|byte| *byte == b','));
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
    };
    if parsed.version != Some(1)
        || all("Host").next().is_none()
        || SINGLE.iter().any(|name| all(name).nth(1).is_some())
    {
        return Err(Refusal::BadRequest);
    }
    // What stands behind a question mark means nothing here.
    if parsed.path.and_then(|path| path.split('?').next()) != Some(PATH) {
        return Err(Refusal::NotFound);
    }
    let asks =
        parsed.method == Some("GET") && lists("Connection", b"upgrade") && lists("Upgrade", b"websocket");
    if !asks || all("Sec-WebSocket-Version").next() != Some(b"13") {
        return Err(Refusal::UpgradeRequired);
    }
    let key = all("Sec-WebSocket-Key").next().and_then(accept);
    key.map(|_| ()).ok_or(Refusal::BadRequest)
}

/// Sec-WebSocket-Accept for a key, which is sixteen bytes in Base64.
fn accept(key: &[u8]) -> Option<[u8; 28]> {
    let mut nonce = [0; 16];
    Base64::decode(key, &mut nonce).ok().filter(|nonce| nonce.len() == 16)?;
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    Base64::encode(&digest, &mut accept).ok()?;
    Some(accept)
}
