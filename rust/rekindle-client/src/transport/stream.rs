// SPDX-License-Identifier: Apache-2.0
//! TCP and Unix sockets: byte streams without further framing.

use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::{CONNECT_TIMEOUT, ConnectError, LinkError, SEND_TIMEOUT, Transport};
use crate::target::Target;

/// A socket with timeouts.
pub(crate) trait Socket: Read + Write + Send {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    /// A second handle on it.
    fn second(&self) -> io::Result<Box<dyn Transport>> {
        Err(ErrorKind::Unsupported.into())
    }
}

impl Socket for TcpStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_read_timeout(self, timeout)
    }
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_write_timeout(self, timeout)
    }
    fn second(&self) -> io::Result<Box<dyn Transport>> {
        Ok(Box::new(Stream::new(self.try_clone()?)?))
    }
}

#[cfg(unix)]
impl Socket for UnixStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_read_timeout(self, timeout)
    }
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_write_timeout(self, timeout)
    }
    fn second(&self) -> io::Result<Box<dyn Transport>> {
        Ok(Box::new(Stream::new(self.try_clone()?)?))
    }
}

/// A connected byte stream.
pub(crate) struct Stream<S> {
    socket: S,
    read_timeout: Option<Duration>,
}

impl<S: Socket> Stream<S> {
    /// Takes over a connected socket.
    pub(crate) fn new(socket: S) -> io::Result<Self> {
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self { socket, read_timeout: None })
    }
}

impl<S: Socket> Transport for Stream<S> {
    fn send(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        match self.socket.write_all(frame).and_then(|()| self.socket.flush()) {
            Ok(()) => Ok(()),
            Err(error) => Err(lost(error)),
        }
    }

    fn recv(&mut self, out: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        // A timeout of zero would mean "for ever" to the operating system.
        let timeout = timeout.max(Duration::from_millis(1));
        if self.read_timeout != Some(timeout) {
            self.socket.set_read_timeout(Some(timeout))?;
            self.read_timeout = Some(timeout);
        }
        match self.socket.read(out) {
            Ok(0) => Err(LinkError::Closed),
            Ok(count) => Ok(count),
            Err(error) if is_timeout(&error) => Ok(0),
            Err(error) => Err(lost(error)),
        }
    }

    fn try_clone(&self) -> io::Result<Box<dyn Transport>> {
        self.socket.second()
    }
}

/// Whether an error only says that nothing came in time.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// What an error of a working link means.
pub(crate) fn lost(error: io::Error) -> LinkError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => LinkError::Stalled,
        ErrorKind::ConnectionReset
        | ErrorKind::BrokenPipe
        | ErrorKind::ConnectionAborted
        | ErrorKind::UnexpectedEof => LinkError::Closed,
        _ => LinkError::Io(error),
    }
}

pub(super) fn connect_tcp(
    target: &Target,
    host: &str,
    port: u16,
) -> Result<Box<dyn Transport>, ConnectError> {
    let connected = dial(host, port).and_then(Stream::new);
    match connected {
        Ok(stream) => Ok(Box::new(stream)),
        Err(source) => Err(ConnectError::Network { target: target.clone(), source }),
    }
}

/// Tries every address of a host within [`CONNECT_TIMEOUT`].
pub(super) fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let mut failure = io::Error::new(ErrorKind::NotFound, "the host name has no address");
    for address in (host, port).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => {
                // Frames are small and each awaits an answer: waiting to fill a segment only costs time.
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

#[cfg(unix)]
pub(super) fn connect_unix(target: &Target, path: &str) -> Result<Box<dyn Transport>, ConnectError> {
    match UnixStream::connect(path).and_then(Stream::new) {
        Ok(stream) => Ok(Box::new(stream)),
        Err(source) => Err(ConnectError::Network { target: target.clone(), source }),
    }
}

#[cfg(not(unix))]
pub(super) fn connect_unix(target: &Target, _path: &str) -> Result<Box<dyn Transport>, ConnectError> {
    Err(ConnectError::Unsupported { target: target.clone() })
}
