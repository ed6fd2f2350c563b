// SPDX-License-Identifier: Apache-2.0
//! The device's WebSocket against a host's library.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use rekindle_relay::websocket::{HEAD_MAX, Refusal, Server, Step, knows_origin};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};
use tungstenite::{Error, Message};

/// A connection whose other end is a [`Server`] that keeps the data it was sent.
#[derive(Clone)]
struct Line(Arc<Mutex<Ends>>);

/// Pages that are let in.
const ORIGINS: [&[u8]; 2] = [b"https://desk.example", b"http://localhost:8080"];

struct Ends {
    server: Server,
    to_client: VecDeque<u8>,
    data: Vec<u8>,
    closed: bool,
}

impl Line {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Ends {
            server: <Server>::new(),
            to_client: VecDeque::new(),
            data: Vec::new(),
            closed: false,
        })))
    }

    /// The server says something.
    fn say(&self, message: &[u8]) {
        let mut ends = self.0.lock().unwrap();
        assert!(ends.server.is_open());
        let (head, len) = <Server>::head(u16::try_from(message.len()).unwrap());
        assert!(len <= HEAD_MAX);
        ends.to_client.extend(head[..len].iter().chain(message));
    }

    fn data(&self) -> Vec<u8> {
        self.0.lock().unwrap().data.clone()
    }

    fn answer(&self) -> String {
        let ends = self.0.lock().unwrap();
        String::from_utf8_lossy(&ends.to_client.iter().copied().collect::<Vec<_>>()).into_owned()
    }

    fn closed(&self) -> bool {
        self.0.lock().unwrap().closed
    }
}

impl Read for Line {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let mut ends = self.0.lock().unwrap();
        let n = out.len().min(ends.to_client.len());
        if n == 0 && !ends.closed {
            return Err(ErrorKind::WouldBlock.into());
        }
        for place in &mut out[..n] {
            *place = ends.to_client.pop_front().unwrap();
        }
        Ok(n)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut ends = self.0.lock().unwrap();
        for &byte in bytes {
            let mut step = ends.server.push(byte);
            if step == Step::Asked {
                let known = knows_origin(ends.server.header("origin"), ORIGINS);
                step = if known { ends.server.accept() } else { ends.server.refuse(Refusal::Forbidden) };
            }
            let reply = ends.server.reply().to_vec();
            match step {
                Step::More | Step::Asked => {}
                Step::Data(byte) => ends.data.push(byte),
                Step::Reply => ends.to_client.extend(reply),
                Step::Close => {
                    ends.to_client.extend(reply);
                    ends.closed = true;
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn connect(path: &str) -> (Line, Result<tungstenite::WebSocket<Line>, String>) {
    let line = Line::new();
    let socket = tungstenite::client(format!("ws://controller{path}"), line.clone());
    (line, socket.map(|(socket, _)| socket).map_err(|error| error.to_string()))
}

#[test]
fn messages_of_every_length_go_both_ways() {
    let (line, socket) = connect("/fusain");
    let mut socket = socket.unwrap();
    let mut sent = Vec::new();
    for len in [0, 1, 125, 126, 252, 65_535, 65_536, 70_000] {
        let message: Vec<u8> = (0..=250).cycle().take(len).collect();
        sent.extend(&message);
        socket.send(Message::binary(message)).unwrap();
    }
    assert_eq!(line.data(), sent);
    for len in [1, 125, 126, 252] {
        let message = vec![0x7E; len];
        line.say(&message);
        assert_eq!(socket.read().unwrap(), Message::binary(message));
    }
}

#[test]
fn pings_are_answered_and_a_close_is_confirmed() {
    let (line, socket) = connect("/fusain");
    let mut socket = socket.unwrap();
    for payload in [&b""[..], b"are you there", &[7; 125]] {
        socket.send(Message::Ping(payload.to_vec().into())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Pong(payload.to_vec().into()));
    }
    socket.send(Message::binary(vec![1, 2, 3])).unwrap();
    socket.close(None).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Close(_))));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    assert_eq!(line.data(), [1, 2, 3]);
    assert!(line.closed());
}

#[test]
fn text_is_passed_over() {
    let (line, socket) = connect("/fusain");
    let mut socket = socket.unwrap();
    socket.send(Message::text("hello")).unwrap();
    socket.send(Message::text("")).unwrap();
    socket.send(Message::binary(vec![1])).unwrap();
    assert_eq!(line.data(), [1]);
    assert!(!line.closed());
}

/// What the server sends last, as a close: its code, and no more.
fn close_code(line: &Line) -> Option<u16> {
    let ends = line.0.lock().unwrap();
    assert!(ends.closed);
    let sent: Vec<u8> = ends.to_client.iter().copied().collect();
    match sent[sent.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4..] {
        [0x88, 0] => None,
        [0x88, 2, high, low] => Some(u16::from_be_bytes([high, low])),
        ref other => panic!("{other:02x?}"),
    }
}

#[test]
fn a_close_is_answered_with_its_code_if_there_can_be_such_a_one() {
    for code in [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999_u16] {
        let [high, low] = code.to_be_bytes();
        let line = raw(&[UPGRADE, &[0x88, 0x84, 0, 0, 0, 0, high, low, b'o', b'k']].concat());
        assert_eq!(close_code(&line), Some(code));
    }
    assert_eq!(close_code(&raw(&[UPGRADE, &[0x88, 0x80, 0, 0, 0, 0]].concat())), None);
    // Codes that are never sent or stand for nothing, half a code, and a reason that is no text.
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535_u16] {
        let [high, low] = code.to_be_bytes();
        let line = raw(&[UPGRADE, &[0x88, 0x82, 0, 0, 0, 0, high, low]].concat());
        assert_eq!(close_code(&line), Some(1002), "{code}");
    }
    assert_eq!(close_code(&raw(&[UPGRADE, &[0x88, 0x81, 0, 0, 0, 0, 3]].concat())), Some(1002));
    let line = raw(&[UPGRADE, &[0x88, 0x84, 0, 0, 0, 0, 0x03, 0xE8, 0xC3, 0x28]].concat());
    assert_eq!(close_code(&line), Some(1002));
}

#[test]
fn a_length_has_63_bits() {
    let line = raw(&[UPGRADE, &[0x82, 0xFF, 0x80]].concat());
    assert_eq!(close_code(&line), Some(1002));
    let line = raw(
        &[UPGRADE, &[0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 1]].concat()
    );
    assert!(!line.closed());
    assert_eq!(line.data(), [1]);
}

/// An upgrade request with these lines instead of those for the connection.
fn request(lines: &str) -> Vec<u8> {
    format!(
        "GET /fusain HTTP/1.1\r\nHost: c\r\n{lines}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn lists_may_be_split_over_lines_and_other_headers_may_not() {
    for lines in [
        "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket",
        "Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: h2c\r\nUpgrade: websocket",
        "Connection: close, upgrade\r\nUpgrade: h2c, websocket",
    ] {
        assert!(raw(&request(lines)).answer().starts_with("HTTP/1.1 101 "), "{lines}");
    }
    let proper = "Connection: Upgrade\r\nUpgrade: websocket";
    for line in [
        "Host: d",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Origin: https://desk.example\r\nOrigin: https://desk.example",
        "Authorization: Bearer a\r\nAuthorization: Bearer b",
    ] {
        let line = raw(&request(&format!("{proper}\r\n{line}")));
        assert!(line.answer().starts_with("HTTP/1.1 400 ") && line.closed(), "{}", line.answer());
    }
}

#[test]
fn a_browser_is_let_in_for_the_pages_that_are_known() {
    let origin = |origin: &str| {
        let line = raw(&request(&format!("Connection: Upgrade\r\nUpgrade: websocket\r\nOrigin: {origin}")));
        line.answer().split(' ').nth(1).unwrap().to_owned()
    };
    for known in ["https://desk.example", "HTTPS://Desk.Example", "http://localhost:8080"] {
        assert_eq!(origin(known), "101", "{known}");
    }
    // Not even a page from the controller's own name: a name can be made to lead here.
    for stranger in [
        "http://c",
        "https://desk.example:8443",
        "https://desk.example.org",
        "http://desk.example",
        "null",
        "",
    ] {
        assert_eq!(origin(stranger), "403", "{stranger}");
    }
    assert!(knows_origin(None, []) && knows_origin(Some(b"null"), [&b"*"[..]]));
    assert!(!knows_origin(Some(b"http://c"), []));
}

#[test]
fn another_path_is_not_found() {
    let (line, socket) = connect("/other");
    assert!(socket.err().unwrap().contains("404"));
    assert!(line.closed());
}

fn raw(bytes: &[u8]) -> Line {
    let mut line = Line::new();
    line.write_all(bytes).unwrap();
    line
}

const UPGRADE: &[u8] =
    b"GET /fusain HTTP/1.1\r\nHost: c\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn the_example_of_the_rfc_is_accepted() {
    let line = raw(UPGRADE);
    assert!(
        line.answer().contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{}",
        line.answer()
    );
    assert!(!line.closed());
}

#[test]
fn what_is_no_upgrade_is_answered_and_closed() {
    for (request, status) in [
        (&b"GET /fusain HTTP/1.1\r\nHost: c\r\n\r\n"[..], "426"),
        (b"POST /fusain HTTP/1.1\r\nHost: c\r\n\r\n", "426"),
        (b"nonsense\r\n\r\n", "400"),
        // Nobody's host, and a version in which nothing is upgraded.
        (b"GET /fusain HTTP/1.1\r\n\r\n", "400"),
        (b"GET /fusain HTTP/1.0\r\nHost: c\r\n\r\n", "400"),
    ] {
        let line = raw(request);
        assert!(line.answer().starts_with(&format!("HTTP/1.1 {status} ")), "{}", line.answer());
        assert!(line.closed());
    }
    let long = [&b"GET /fusain HTTP/1.1\r\nCookie: "[..], &[b'x'; 4_000]].concat();
    let line = raw(&long);
    assert!(line.answer().starts_with("HTTP/1.1 431 ") && line.closed());
}

#[test]
fn what_breaks_the_protocol_closes_the_connection() {
    for frame in [
        // Not masked; a reserved bit; an unknown kind; a continuation of nothing; a control frame in parts, a long one.
        &[0x82, 0x01, 0x00][..],
        &[0xC2, 0x81],
        &[0x83, 0x81],
        &[0x80, 0x81],
        &[0x09, 0x81],
        &[0x89, 0xFE],
        // A message within a message.
        &[0x02, 0x80, 0, 0, 0, 0, 0x82, 0x80],
    ] {
        let line = raw(&[UPGRADE, frame].concat());
        assert!(line.closed(), "{frame:02x?}");
        let ends = line.0.lock().unwrap();
        let tail: Vec<u8> = ends.to_client.iter().rev().take(4).rev().copied().collect();
        assert_eq!(tail, [0x88, 2, 0x03, 0xEA], "{frame:02x?}");
    }
    // In fragments, with a ping between them, it goes through.
    let frames = [0x02, 0x81, 1, 0, 0, 0, 0x41, 0x89, 0x80, 0, 0, 0, 0, 0x80, 0x82, 0, 2, 0, 0, 0x42, 0x41];
    let line = raw(&[UPGRADE, &frames].concat());
    assert_eq!(line.data(), [0x40, 0x42, 0x43]);
    assert!(!line.closed());
}
