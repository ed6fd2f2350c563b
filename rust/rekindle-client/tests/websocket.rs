// SPDX-License-Identifier: Apache-2.0
//! WebSocket as routers in the field have it: credentials, one frame per message, messages of other kinds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::result_large_err,
    missing_docs,
    reason = "tests stop at the first surprise"
)]

use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use rekindle_client::credentials::{Access, Credentials};
use rekindle_client::target::Target;
use rekindle_client::transport::{ConnectError, LinkError, connect};
use tungstenite::Message;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::http::StatusCode;

/// A router that knows one user, echoes binary messages and sends a text before each.
fn router(connections: usize) -> (Target, JoinHandle<Vec<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = format!("ws://127.0.0.1:{port}/fusain").parse().unwrap();
    let thread = thread::spawn(move || {
        let mut sizes = Vec::new();
        for _ in 0..connections {
            let (socket, _) = listener.accept().unwrap();
            let Ok(mut socket) = tungstenite::accept_hdr(socket, check) else { continue };
            while let Ok(message) = socket.read() {
                if let Message::Binary(bytes) = message {
                    sizes.push(bytes.len());
                    socket.send(Message::text("not for machines")).unwrap();
                    socket.send(Message::Ping("still there?".into())).unwrap();
                    socket.send(Message::Binary(bytes)).unwrap();
                }
            }
        }
        sizes
    });
    (target, thread)
}

fn check(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    let refuse = |status| {
        let mut response = ErrorResponse::new(None);
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/fusain" {
        return Err(refuse(StatusCode::NOT_FOUND));
    }
    // "username:password" in base64, as deployed routers have it built in.
    match request.headers().get("authorization").map(|value| value.to_str().unwrap()) {
        Some("Basic dXNlcm5hbWU6cGFzc3dvcmQ=") => Ok(response),
        _ => Err(refuse(StatusCode::UNAUTHORIZED)),
    }
}

#[test]
fn credentials_are_asked_for_and_one_frame_is_one_message() {
    let (target, router) = router(4);
    let refused = connect(&target, &Access::default()).err().unwrap();
    assert!(matches!(refused, ConnectError::Unauthorized { given: false, .. }), "{refused}");
    assert!(!refused.is_transient(), "asking again without credentials is of no use");
    let wrong = Access::from(Credentials::new("username", "guess"));
    let refused = connect(&target, &wrong).err().unwrap();
    assert!(matches!(refused, ConnectError::Unauthorized { given: true, .. }), "{refused}");
    assert!(!refused.to_string().contains("guess"));

    let Target::WebSocket { host, port, .. } = &target else { panic!("{target}") };
    let elsewhere = Target::WebSocket { host: host.clone(), port: *port, path: "/chat".into(), tls: false };
    let right = Access::from(Credentials::new("username", "password"));
    let refused = connect(&elsewhere, &right).err().unwrap();
    assert!(matches!(refused, ConnectError::Handshake { .. }), "{refused}");
    assert!(refused.to_string().contains("404"), "{refused}");

    let mut link = connect(&target, &right).unwrap();
    let mut buffer = [0; 256];
    for frame in [&b"one"[..], b"two!"] {
        link.send(frame).unwrap();
        let mut got = Vec::new();
        while got.len() < frame.len() {
            let count = link.recv(&mut buffer, Duration::from_secs(5)).unwrap();
            got.extend_from_slice(buffer.get(..count).unwrap());
        }
        assert_eq!(got, frame, "texts and pings are passed over");
    }
    drop(link);
    assert_eq!(router.join().unwrap(), [3, 4]);
}

#[test]
fn a_server_that_goes_away_is_a_closed_link() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("ws://127.0.0.1:{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        drop(tungstenite::accept(socket).unwrap());
    });
    let mut link = connect(&target, &Access::default()).unwrap();
    server.join().unwrap();
    let lost = link.recv(&mut [0; 16], Duration::from_secs(5)).unwrap_err();
    assert!(matches!(lost, LinkError::Closed), "{lost}");
}

#[test]
fn a_server_that_speaks_something_else_is_no_websocket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("ws://127.0.0.1:{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 512]);
        socket.write_all(b"220 mail.example.com ESMTP\r\n").unwrap();
    });
    let refused = connect(&target, &Access::default()).err().unwrap();
    assert!(matches!(refused, ConnectError::Handshake { .. }), "{refused}");
    server.join().unwrap();
}
