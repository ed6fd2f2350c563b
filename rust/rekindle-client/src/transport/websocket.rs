// SPDX-License-Identifier: Apache-2.0
//! WebSocket: one frame per binary message out; any split of frames over messages in.

use core::time::Duration;
use std::io::ErrorKind;
use std::time::Instant;

use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::Response;
use tungstenite::http::{HeaderValue, StatusCode, header};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket};

use super::stream::{self, dial, is_timeout, lost};
use super::{CONNECT_TIMEOUT, ConnectError, LinkError, SEND_TIMEOUT, Transport, tls};
use crate::credentials::Access;
use crate::target::{Bracketed, Target};

/// Largest message taken from the other side, in bytes: frames are at most 252.
const MESSAGE_MAX: usize = 64 * 1024;

/// A WebSocket connection, as client or as server.
pub(crate) struct Socket<S> {
    socket: WebSocket<S>,
    read_timeout: Option<Duration>,
    /// What the last message held beyond what the caller took.
    rest: Vec<u8>,
}

impl<S: stream::Socket> Socket<S> {
    /// Takes over a socket whose handshake is done.
    pub(crate) fn new(socket: WebSocket<S>) -> std::io::Result<Self> {
        socket.get_ref().set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self { socket, read_timeout: None, rest: Vec::new() })
    }

    fn take_rest(&mut self, out: &mut [u8]) -> usize {
        let count = out.len().min(self.rest.len());
        for (to, from) in out.iter_mut().zip(self.rest.drain(..count)) {
            *to = from;
        }
        count
    }
}

impl<S: stream::Socket> Transport for Socket<S> {
    fn send(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        self.socket.send(Message::binary(frame.to_vec())).map_err(link_error)
    }

    fn recv(&mut self, out: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        if !self.rest.is_empty() {
            return Ok(self.take_rest(out));
        }
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            if self.read_timeout != Some(left) {
                self.socket.get_ref().set_read_timeout(Some(left))?;
                self.read_timeout = Some(left);
            }
            match self.socket.read() {
                Ok(Message::Binary(bytes)) if !bytes.is_empty() => {
                    self.rest.extend_from_slice(&bytes);
                    return Ok(self.take_rest(out));
                }
                Ok(Message::Close(_)) => return Err(LinkError::Closed),
                // Text has no meaning here; pings are answered by the library.
                Ok(_) => {}
                Err(Error::Io(error)) if is_timeout(&error) => return Ok(0),
                Err(error) => return Err(link_error(error)),
            }
            if Instant::now() >= deadline {
                return Ok(0);
            }
        }
    }
}

/// Limits of a connection, the same on both sides.
pub(crate) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MESSAGE_MAX)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX))
}

pub(super) fn connect(
    target: &Target,
    (host, port): (&str, u16),
    path: &str,
    secure: bool,
    access: &Access,
) -> Result<Box<dyn Transport>, ConnectError> {
    if secure {
        let socket = tls::open(target, host, port, &access.tls)?;
        return upgrade(target, (host, port), path, socket, access);
    }
    let socket =
        dial(host, port).map_err(|source| ConnectError::Network { target: target.clone(), source })?;
    upgrade(target, (host, port), path, socket, access)
}

/// Makes a WebSocket of a connected socket.
fn upgrade<S: stream::Socket + 'static>(
    target: &Target,
    (host, port): (&str, u16),
    path: &str,
    socket: S,
    access: &Access,
) -> Result<Box<dyn Transport>, ConnectError> {
    let network = |source| ConnectError::Network { target: target.clone(), source };
    let handshake = |reason: String| ConnectError::Handshake { target: target.clone(), reason };

    // The scheme only decides how to connect, and that is done.
    let url = format!("ws://{}:{port}{path}", Bracketed(host));
    let mut request = tungstenite::client::IntoClientRequest::into_client_request(url.as_str())
        .map_err(|error| handshake(error.to_string()))?;
    if let Some(credentials) = &access.credentials {
        let mut value =
            HeaderValue::from_str(&credentials.header()).map_err(|error| handshake(error.to_string()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    socket.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(network)?;
    socket.set_write_timeout(Some(CONNECT_TIMEOUT)).map_err(network)?;
    match tungstenite::client::client_with_config(request, socket, Some(config())) {
        Ok((socket, _)) => Ok(Box::new(Socket::new(socket).map_err(network)?)),
        Err(HandshakeError::Interrupted(_)) => {
            Err(network(std::io::Error::new(ErrorKind::TimedOut, "no answer to the WebSocket handshake")))
        }
        Err(HandshakeError::Failure(error)) => Err(refused(target, access.credentials.is_some(), error)),
    }
}

/// What a failed handshake means.
fn refused(target: &Target, given: bool, error: Error) -> ConnectError {
    let target = target.clone();
    match error {
        Error::Http(response) if is_unauthorized(&response) => ConnectError::Unauthorized { target, given },
        Error::Http(response) => {
            ConnectError::Handshake { target, reason: format!("HTTP status {}", response.status()) }
        }
        Error::Io(source) => ConnectError::Network { target, source },
        error => ConnectError::Handshake { target, reason: error.to_string() },
    }
}

fn is_unauthorized(response: &Response) -> bool {
    matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn link_error(error: Error) -> LinkError {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => LinkError::Closed,
        Error::Io(error) => lost(error),
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => LinkError::Closed,
        error => LinkError::WebSocket(error.to_string()),
    }
}
