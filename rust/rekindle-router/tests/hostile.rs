// SPDX-License-Identifier: Apache-2.0
//! Clients that mean no good: the others are served, and what the hostile ones can take is bounded.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod common;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use common::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rekindle_client::controller;
use rekindle_client::credentials::{Access, Credentials, TlsFiles};
use rekindle_client::link::Link;
use rekindle_client::target::Target;
use rekindle_client::transport::ConnectError;
use rekindle_router::limits::{CLIENTS_MAX, CONNECTIONS_MAX, GREETING};
use rekindle_session::sender::Completion;

const TCP: &str = "url = \"tcp://127.0.0.1:0\"";

fn bench(listen: &[&str]) -> (Desk, Bus, Running) {
    let desk = Desk::new();
    let bus = Bus::new(&[0xA1], &signed(1, 9_000, &desk.key));
    let running = Running::start(desk.settings("", listen, &[&bus], ""));
    running.await_appliances(1);
    (desk, bus, running)
}

/// The daemon ends this connection within its limits.
#[track_caller]
fn ended(socket: &mut TcpStream, within: Duration) {
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let until = Instant::now() + within;
    let mut bytes = [0; 4096];
    loop {
        match socket.read(&mut bytes) {
            Ok(0) => return,
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return,
            Ok(_) => {}
        }
        assert!(Instant::now() < until, "the connection is still open");
    }
}

/// Resident memory of this process, in KiB.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn idle_connections_keep_nobody_out_and_end() {
    let (desk, _bus, running) = bench(&[TCP]);
    let address = ("127.0.0.1", running.port());
    let mut idle: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    // Half a frame is no frame.
    for socket in &mut idle[..50] {
        socket.write_all(&[0x7E, 0x10, 0x01]).unwrap();
    }
    let image = signed(2, 9_000, &desk.key);
    assert_eq!(running.push(0xA1, &image).unwrap().completion, Completion::Confirmed);
    // More than there is room for: those that said nothing make room for whoever says something.
    let more: Vec<TcpStream> =
        (0..CONNECTIONS_MAX - 180).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(running.campaign().appliances, 1);
    ended(&mut idle[0], GREETING + Duration::from_secs(10));
    ended(&mut idle[199], GREETING + Duration::from_secs(10));
    drop(more);
    assert_eq!(running.campaign().appliances, 1);
}

#[test]
fn more_clients_than_places_are_turned_away_and_the_served_ones_go_on() {
    let (_desk, _bus, running) = bench(&[TCP]);
    let mut served: Vec<Link> = (0..CLIENTS_MAX).map(|_| running.link()).collect();
    // The bench's own conversations may still hold a place for a moment.
    eventually("every place is taken", || {
        served.iter_mut().all(|link| match controller::campaign(link) {
            Ok(_) => true,
            Err(_) => {
                *link = running.link();
                false
            }
        })
    });
    assert!(controller::campaign(&mut running.link()).is_err(), "there is no place for one more");
    for link in &mut served {
        controller::campaign(link).unwrap();
    }
    served.pop();
    eventually("a place is free again", || controller::campaign(&mut running.link()).is_ok());
}

#[test]
#[cfg(target_os = "linux")]
fn floods_and_garbage_take_no_memory_and_nobodys_time() {
    let (desk, _bus, running) = bench(&[TCP, "url = \"ws://127.0.0.1:0\""]);
    let Target::WebSocket { port: ws, .. } = running.targets[1] else { panic!() };
    let before = resident();
    let tcp = running.port();
    let floods: Vec<_> = (0..12)
        .map(|kind| {
            std::thread::spawn(move || {
                let mut socket =
                    TcpStream::connect(("127.0.0.1", if kind % 3 == 2 { ws } else { tcp })).unwrap();
                socket.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
                let piece: Vec<u8> = match kind % 3 {
                    // Frames that ask for answers which are never read.
                    0 => {
                        let mut frame = [0; fusain::FRAME_MAX];
                        let len = fusain::Message::PingRequest
                            .encode_frame(fusain::Address::STATELESS, &mut frame)
                            .unwrap();
                        frame[..len].repeat(256)
                    }
                    // A frame that never ends, and frames with a length that cannot be.
                    1 => [vec![0x7E, 0x72], vec![0x55; 8000], vec![0x7E, 0xFF, 0x7F]].concat(),
                    // An upgrade that never ends.
                    _ => b"GET /fusain HTTP/1.1\r\nX-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
                        .repeat(64),
                };
                let until = Instant::now() + Duration::from_secs(4);
                while Instant::now() < until && socket.write_all(&piece).is_ok() {}
            })
        })
        .collect();
    let image = signed(2, 9_000, &desk.key);
    assert_eq!(running.push(0xA1, &image).unwrap().completion, Completion::Confirmed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more than before");
    assert_eq!(running.campaign().appliances, 1);
}

/// A bus as slow as a serial line, and a client that has more to say to one appliance than fits onto it.
#[test]
fn a_client_that_floods_a_bus_takes_neither_an_update_nor_an_emergency_stop_from_others() {
    const STATE_COMMAND: u8 = 0x20;
    const MOTOR_COMMAND: u8 = 0x21;
    const PING: u8 = 0x2F;
    let desk = Desk::new();
    let bus = Bus::new(&[0xA1, 0xA2], &signed(1, 9_000, &desk.key));
    bus.pace.store(12, Ordering::Relaxed);
    let running = Running::start(desk.settings("", &[TCP], &[&bus], ""));
    running.await_appliances(2);
    let push = |version: u8| {
        let begun = Instant::now();
        let image = signed(version, 9_000, &desk.key);
        assert_eq!(running.push(0xA1, &image).unwrap().completion, Completion::Confirmed);
        begun.elapsed()
    };
    let alone = push(2);

    let stop = Arc::new(AtomicBool::new(false));
    let (ended, port) = (Arc::clone(&stop), running.port());
    let begun = Instant::now();
    let flood = std::thread::spawn(move || {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let command = fusain::Message::MotorCommand(fusain::MotorCommand { motor: 0, rpm: 0 });
        let mut frame = [0; fusain::FRAME_MAX];
        let len = command.encode_frame(fusain::Address::new(0xA2), &mut frame).unwrap();
        let piece = frame[..len].repeat(64);
        let mut at = 0;
        while !ended.load(Ordering::Relaxed) {
            match socket.write(&piece[at..]) {
                Ok(count) => at = (at + count) % piece.len(),
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    eventually("the flood is there", || bus.heard_of(0xA2, MOTOR_COMMAND) > 200);
    let flooded = push(3);
    assert!(flooded < alone * 2 + Duration::from_secs(2), "{flooded:?}, and {alone:?} without the flood");

    let mut link = running.link();
    let stopped = Instant::now();
    let emergency = fusain::StateCommand { mode: 255, argument: None };
    link.send(fusain::Address::new(0xA2), &fusain::Message::StateCommand(emergency)).unwrap();
    eventually("the emergency stop is there", || bus.heard_of(0xA2, STATE_COMMAND) > 0);
    assert!(stopped.elapsed() < Duration::from_secs(2), "{:?}", stopped.elapsed());

    let pings = bus.heard_of(0xA2, PING);
    eventually("the appliance is asked whether it is there", || bus.heard_of(0xA2, PING) > pings);
    let commands = bus.heard_of(0xA2, MOTOR_COMMAND);
    println!("alone {alone:?}, flooded {flooded:?}, {commands} commands in {:?}", begun.elapsed());
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
}

#[test]
fn malformed_upgrades_are_refused_and_malformed_messages_end_the_connection() {
    let desk = Desk::new();
    desk.write(
        "secrets.toml",
        b"[users]\ndesk = \"correct horse\"\n[tokens]\nci = \"0123456789abcdef\"\n",
        0o600,
    );
    let bus = Bus::new(&[0xA1], &signed(1, 9_000, &desk.key));
    let listen = "url = \"ws://127.0.0.1:0\"\nsecrets = \"secrets.toml\"";
    let running = Running::start(desk.settings("", &[listen], &[&bus], ""));
    let connect = || TcpStream::connect(("127.0.0.1", running.port())).unwrap();
    for request in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET /fusain HTTP/1.1\r\n\r\n",
        b"POST /fusain HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /fusain HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\
          Sec-WebSocket-Key: x\r\n\r\n",
    ] {
        let mut socket = connect();
        socket.write_all(request).unwrap();
        ended(&mut socket, SOON);
    }
    let mut slow = connect();
    slow.write_all(b"GET /fus").unwrap();
    ended(&mut slow, GREETING + Duration::from_secs(10));

    let with = |credentials: Credentials| Link::connect(running.target(), &Access::from(credentials));
    let Target::WebSocket { host, port, .. } = running.target() else { panic!() };
    let elsewhere = Target::WebSocket { host: host.clone(), port: *port, path: "/stats".into(), tls: false };
    let access = Access::from(Credentials::bearer("0123456789abcdef"));
    let refused = Link::connect(&elsewhere, &access).err().unwrap();
    assert!(refused.to_string().contains("404"), "{refused}");
    for wrong in [Credentials::new("desk", "correct horsf"), Credentials::bearer("0123456789abcdee")] {
        assert!(matches!(with(wrong), Err(ConnectError::Unauthorized { given: true, .. })));
    }
    let nothing = Link::connect(running.target(), &Access::default());
    assert!(matches!(nothing, Err(ConnectError::Unauthorized { given: false, .. })));
    let mut user = with(Credentials::new("desk", "correct horse")).unwrap();
    controller::campaign(&mut user).unwrap();

    // One who is known can misbehave, too.
    let known = UPGRADE.replace("\r\n\r\n", "\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n");
    let mut socket = connect();
    socket.write_all(known.as_bytes()).unwrap();
    socket.write_all(&[0x82, 0xFF, 0x80]).unwrap();
    let answer = all_of(&mut socket);
    assert!(
        answer.starts_with(b"HTTP/1.1 101 ") && answer.ends_with(&[0x88, 2, 0x03, 0xEA]),
        "{answer:02x?}"
    );
    controller::campaign(&mut user).unwrap();
}

/// A client's request, as some write it: each thing that the connection is for on a line of its own.
const UPGRADE: &str = "GET /fusain HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What comes until the daemon ends the connection.
fn all_of(socket: &mut TcpStream) -> Vec<u8> {
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut all = Vec::new();
    socket.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn a_websocket_is_closed_in_order_and_a_page_is_known_or_refused() {
    let page = "url = \"ws://127.0.0.1:0\"\norigins = [\"https://desk.example\"]";
    let (_desk, _bus, running) = bench(&["url = \"ws://127.0.0.1:0\"", page]);
    let ports = running.targets.iter().map(|target| match target {
        Target::WebSocket { port, .. } => *port,
        other => panic!("{other}"),
    });
    let [plain, listed] = ports.collect::<Vec<_>>()[..] else { panic!() };
    let says = |port: u16, bytes: &[u8]| {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.write_all(bytes).unwrap();
        all_of(&mut socket)
    };
    // In one piece with the request: a text, a ping that is masked with zeros, and a close with a code that may be sent.
    let frames = [
        &[0x81, 0x81, 0, 0, 0, 0, b'x', 0x89, 0x81, 0, 0, 0, 0, 7][..],
        &[0x88, 0x82, 0, 0, 0, 0, 0x0B, 0xB8],
    ];
    let answer = says(plain, &[UPGRADE.as_bytes(), &frames.concat()].concat());
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    assert!(answer.ends_with(&[0x8A, 1, 7, 0x88, 2, 0x0B, 0xB8]), "{answer:02x?}");
    // One that may not, and one without.
    for (close, reply) in [
        (&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xED][..], &[0x88, 2, 0x03, 0xEA][..]),
        (&[0x88, 0x80, 0, 0, 0, 0], &[0x88, 0]),
    ] {
        let answer = says(plain, &[UPGRADE.as_bytes(), close].concat());
        assert!(answer.ends_with(reply), "{answer:02x?}");
    }
    let from =
        |origin: &str| UPGRADE.replace("\r\n\r\n", &format!("\r\nOrigin: {origin}\r\n\r\n")).into_bytes();
    let close = [0x88, 0x80, 0, 0, 0, 0];
    for (port, origin, status) in [
        (plain, "https://desk.example", "403"),
        (plain, "http://x", "403"),
        (listed, "http://x", "403"),
        (listed, "https://desk.example", "101"),
    ] {
        let answer = says(port, &[&from(origin)[..], &close].concat());
        assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{origin}: {answer:02x?}");
    }
}

/// Certificates of a small authority, as files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(desk: &Desk, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        desk.write(name, issuer.pem().as_bytes(), 0o644);
        Self { issuer }
    }

    fn issue(&self, desk: &Desk, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let (certificate_name, key_name) = (format!("{name}.pem"), format!("{name}.key"));
        desk.write(&certificate_name, certificate.pem().as_bytes(), 0o644);
        desk.write(&key_name, key.serialize_pem().as_bytes(), 0o600);
        (desk.path(&certificate_name), desk.path(&key_name))
    }
}

#[test]
fn tls_asks_for_certificates_where_it_is_told_to() {
    let desk = Desk::new();
    let (ours, theirs) = (Authority::new(&desk, "ca.pem"), Authority::new(&desk, "other.pem"));
    ours.issue(&desk, "server");
    let (desk_identity, stranger) = (ours.issue(&desk, "desk"), theirs.issue(&desk, "stranger"));
    desk.write("secrets.toml", b"[tokens]\nci = \"0123456789abcdef\"\n", 0o600);
    let bus = Bus::new(&[0xA1], &signed(1, 9_000, &desk.key));
    let files = "certificate = \"server.pem\"\nprivate-key = \"server.key\"\nclient-ca = \"ca.pem\"";
    let required = format!("url = \"tls://127.0.0.1:0\"\n{files}\nclient-certificate = \"required\"");
    let accepted = format!(
        "url = \"wss://127.0.0.1:0\"\n{files}\nclient-certificate = \"accepted\"\nsecrets = \"secrets.toml\""
    );
    let running = Running::start(desk.settings("", &[&required, &accepted, TCP], &[&bus], ""));
    let (tls, wss) = (&running.targets[0], &running.targets[1]);
    let access = |identity: Option<&(PathBuf, PathBuf)>, credentials: Option<Credentials>| Access {
        credentials,
        tls: TlsFiles { ca: Some(desk.path("ca.pem")), identity: identity.cloned() },
    };
    let speaks = |target: &Target, access: &Access| match Link::connect(target, access) {
        Ok(mut link) => controller::campaign(&mut link).map(drop).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    // Bytes that are no TLS, and a handshake that is not gone on with, end.
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01"] {
        let mut socket = TcpStream::connect(("127.0.0.1", running.port())).unwrap();
        socket.write_all(bytes).unwrap();
        ended(&mut socket, GREETING + Duration::from_secs(10));
    }
    assert_eq!(speaks(tls, &access(Some(&desk_identity), None)), Ok(()));
    let none = speaks(tls, &access(None, None)).unwrap_err();
    assert!(none.contains("CertificateRequired") || none.contains("certificate"), "{none}");
    assert!(speaks(tls, &access(Some(&stranger), None)).is_err());
    // The client does not trust everybody either.
    let trusts_others = Access {
        credentials: None,
        tls: TlsFiles { ca: Some(desk.path("other.pem")), identity: Some(desk_identity.clone()) },
    };
    let refused = Link::connect(tls, &trusts_others).err().unwrap();
    assert!(matches!(refused, ConnectError::Tls { .. }), "{refused}");
    assert!(!refused.is_transient());

    assert_eq!(
        speaks(wss, &access(Some(&desk_identity), None)),
        Ok(()),
        "a certificate is as good as a token"
    );
    assert_eq!(speaks(wss, &access(None, Some(Credentials::bearer("0123456789abcdef")))), Ok(()));
    assert!(speaks(wss, &access(None, None)).is_err());
    assert!(speaks(wss, &access(Some(&stranger), Some(Credentials::bearer("0123456789abcdef")))).is_err());

    // An update over TLS, while everybody else was refused.
    eventually("the appliance is there", || {
        let mut link = Link::connect(tls, &access(Some(&desk_identity), None)).unwrap();
        controller::roster(&mut link).is_ok_and(|entries| entries.iter().any(|e| e.version.is_some()))
    });
    let image = signed(2, 9_000, &desk.key);
    let done = push(tls, &access(Some(&desk_identity), None), 0xA1, &image).unwrap();
    assert_eq!(done.completion, Completion::Confirmed);
}
