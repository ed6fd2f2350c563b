// SPDX-License-Identifier: Apache-2.0
//! Serial ports and pseudo-terminals.

use core::time::Duration;
use std::fs;
use std::io::{self, ErrorKind};
use std::time::Instant;

use serialport::SerialPort;

use super::stream::{is_timeout, lost};
use super::{ConnectError, LinkError, SEND_TIMEOUT, Transport};
use crate::target::{SerialTarget, Target};

/// An open serial port, 8N1, raw, without flow control (PROTOCOL.md §2).
pub(crate) struct Serial<P> {
    port: P,
    timeout: Option<Duration>,
}

impl<P: SerialPort> Serial<P> {
    /// Takes over an open port.
    pub(crate) const fn new(port: P) -> Self {
        Self { port, timeout: None }
    }

    fn set_timeout(&mut self, timeout: Duration) -> Result<(), LinkError> {
        if self.timeout != Some(timeout) {
            self.port.set_timeout(timeout).map_err(|error| LinkError::Io(error.into()))?;
            self.timeout = Some(timeout);
        }
        Ok(())
    }

    /// Sends, and gives up when the port takes nothing for so long.
    pub(crate) fn send_within(&mut self, frame: &[u8], timeout: Duration) -> Result<(), LinkError> {
        self.set_timeout(timeout)?;
        let deadline = Instant::now() + timeout;
        let mut left = frame;
        while !left.is_empty() {
            match self.port.write(left) {
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(error)),
            }
            if Instant::now() > deadline {
                return Err(LinkError::Stalled);
            }
        }
        Ok(())
    }
}

impl<P: Port> Transport for Serial<P> {
    fn send(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        self.send_within(frame, SEND_TIMEOUT)
    }

    fn recv(&mut self, out: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        self.set_timeout(timeout)?;
        match self.port.read(out) {
            Ok(0) => Err(LinkError::Closed),
            Ok(count) => Ok(count),
            Err(error) if is_timeout(&error) => Ok(0),
            Err(error) => Err(lost(error)),
        }
    }

    fn try_clone(&self) -> io::Result<Box<dyn Transport>> {
        Ok(Box::new(Self::new(self.port.second()?)))
    }
}

/// A port that can be opened twice.
pub(crate) trait Port: SerialPort + Sized + 'static {
    /// A second handle on it.
    fn second(&self) -> io::Result<Self>;
}

#[cfg(unix)]
impl Port for serialport::TTYPort {
    fn second(&self) -> io::Result<Self> {
        self.try_clone_native().map_err(io::Error::from)
    }
}

#[cfg(windows)]
impl Port for serialport::COMPort {
    fn second(&self) -> io::Result<Self> {
        self.try_clone_native().map_err(io::Error::from)
    }
}

pub(super) fn open(target: &Target, serial: &SerialTarget) -> Result<Box<dyn Transport>, ConnectError> {
    let failed = |source| ConnectError::Serial { target: target.clone(), source };
    let builder = serialport::new(&serial.path, serial.baud)
        .data_bits(serialport::DataBits::Eight)
        .parity(serialport::Parity::None)
        .stop_bits(serialport::StopBits::One)
        .flow_control(serialport::FlowControl::None);
    #[cfg(unix)]
    {
        // The exclusive mark of a pseudo-terminal outlives a killed user of it, for as long as the other end is
        // open, and would lock everybody out.
        let builder = builder.exclusive(!is_pseudo_terminal(&serial.path));
        let port = serialport::TTYPort::open(&builder).map_err(failed)?;
        // Half a frame from before we came is of no use.
        let _ = port.clear(serialport::ClearBuffer::Input);
        Ok(Box::new(Serial::new(port)))
    }
    #[cfg(not(unix))]
    {
        let port = serialport::COMPort::open(&builder).map_err(failed)?;
        Ok(Box::new(Serial::new(port)))
    }
}

#[cfg(unix)]
fn is_pseudo_terminal(path: &str) -> bool {
    fs::canonicalize(path).is_ok_and(|path| path.starts_with("/dev/pts"))
}
