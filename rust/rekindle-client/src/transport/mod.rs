// SPDX-License-Identifier: Apache-2.0
//! Byte transports: what carries frames between this host and a device.

use core::time::Duration;
use std::io;
use std::path::PathBuf;

use crate::credentials::Access;
use crate::target::Target;

pub(crate) mod serial;
pub(crate) mod stream;
mod tls;
pub(crate) mod websocket;

/// Longest wait for a connection to come up.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the other side to take what is sent; a link that takes nothing for so long is lost.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a device or a router.
///
/// After an error the transport is of no more use: drop it and connect again.
pub trait Transport: Send {
    /// Sends one whole frame. Message-oriented transports make one message of it.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the link is gone or takes nothing for [`SEND_TIMEOUT`].
    fn send(&mut self, frame: &[u8]) -> Result<(), LinkError>;

    /// Waits up to `timeout` for bytes and returns how many it put in `out`; 0 when none came.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the link is gone.
    fn recv(&mut self, out: &mut [u8], timeout: Duration) -> Result<usize, LinkError>;

    /// A second handle on the same connection, so that one thread can send while another one receives.
    ///
    /// # Errors
    ///
    /// Of the operating system; [`io::ErrorKind::Unsupported`] where messages of both directions belong together
    /// (WebSocket, TLS).
    fn try_clone(&self) -> io::Result<Box<dyn Transport>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A link that worked and does no longer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The other side closed the connection.
    #[error("the other side closed the connection")]
    Closed,
    /// The other side took nothing for [`SEND_TIMEOUT`].
    #[error("the other side took no data for {} s", SEND_TIMEOUT.as_secs())]
    Stalled,
    /// The operating system reports a fault.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The other side broke the rules of WebSocket.
    #[error("the WebSocket connection broke: {0}")]
    WebSocket(String),
}

/// A connection that did not come up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A network connection failed.
    #[error("cannot connect to {target}")]
    Network {
        /// Where to.
        target: Target,
        /// Why.
        source: io::Error,
    },
    /// A serial port cannot be opened.
    #[error("cannot open {target}")]
    Serial {
        /// Which.
        target: Target,
        /// Why.
        source: serialport::Error,
    },
    /// The user name or the password is wrong or missing.
    #[error(
        "{target} asks for a user name and a password and {}: set REKINDLE_USER and REKINDLE_PASSWORD in the environment",
        if *given { "refused the ones given" } else { "none are given" }
    )]
    Unauthorized {
        /// Where.
        target: Target,
        /// Whether credentials were sent.
        given: bool,
    },
    /// The server answered, but not with a WebSocket.
    #[error("{target} answers, but offers no WebSocket there ({reason}): is the path right?")]
    Handshake {
        /// Where.
        target: Target,
        /// What it said.
        reason: String,
    },
    /// There is no trust between both sides.
    #[error("{target} is not connected over TLS: {reason}")]
    Tls {
        /// Where.
        target: Target,
        /// What one of them says.
        reason: String,
    },
    /// A file for TLS cannot be used.
    #[error("cannot use {}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The target is not supported on this operating system.
    #[error("{target} cannot be used on this operating system")]
    Unsupported {
        /// Which.
        target: Target,
    },
}

impl ConnectError {
    /// Whether trying again later, with nothing changed by the user, can help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Network { .. } | Self::Serial { .. } | Self::Handshake { .. })
    }
}

/// Connects to a target.
///
/// # Errors
///
/// [`ConnectError`] says why there is no connection.
pub fn connect(target: &Target, access: &Access) -> Result<Box<dyn Transport>, ConnectError> {
    match target {
        Target::Serial(serial) => serial::open(target, serial),
        Target::Tcp { host, port } => stream::connect_tcp(target, host, *port),
        Target::Tls { host, port } => tls::connect(target, host, *port, &access.tls),
        Target::WebSocket { host, port, path, tls } => {
            websocket::connect(target, (host, *port), path, *tls, access)
        }
        Target::Unix { path } => stream::connect_unix(target, path),
    }
}
