// SPDX-License-Identifier: Apache-2.0
//! Pseudo-terminals and Unix sockets.

use core::time::Duration;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread;

use serialport::{SerialPort, TTYPort};

use crate::target::{BAUD_DEFAULT, SerialTarget, Target};
use crate::transport::serial::Serial;
use crate::transport::stream::Stream;
use crate::transport::{LinkError, Transport};

/// The device's end of a pseudo-terminal.
struct Pty {
    device: Serial<TTYPort>,
    /// Held open so that the device's end lives on when clients come and go.
    _client: TTYPort,
}

impl Transport for Pty {
    fn send(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        match self.device.send_within(frame, Duration::from_millis(50)) {
            // Nobody reads: the bytes are lost, as on a wire.
            Err(LinkError::Stalled) => Ok(()),
            result => result,
        }
    }

    fn recv(&mut self, out: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        self.device.recv(out, timeout)
    }
}

pub(super) fn bind_pty(link: Option<&str>, sender: Sender<Box<dyn Transport>>) -> io::Result<Target> {
    let (device, client) = TTYPort::pair()?;
    let name = client.name().ok_or_else(|| io::Error::other("the pseudo-terminal has no name"))?;
    let path = match link {
        None => name,
        Some(link) => {
            replace_link(Path::new(link), &name)?;
            link.to_owned()
        }
    };
    let transport: Box<dyn Transport> = Box::new(Pty { device: Serial::new(device), _client: client });
    sender.send(transport).map_err(|_| io::Error::other("nobody accepts"))?;
    Ok(Target::Serial(SerialTarget { path, baud: BAUD_DEFAULT, half_duplex: false }))
}

/// Points a link at the new pseudo-terminal; anything but a link in its place is left alone.
fn replace_link(link: &Path, name: &str) -> io::Result<()> {
    match fs::symlink_metadata(link) {
        Ok(meta) if meta.is_symlink() => fs::remove_file(link)?,
        Ok(_) => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "a file that is no link is in the way"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    symlink(name, link)
}

pub(super) fn bind_unix(path: &str, sender: Sender<Box<dyn Transport>>) -> io::Result<Target> {
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let Ok(stream) = Stream::new(socket) else { continue };
            if sender.send(Box::new(stream)).is_err() {
                return;
            }
        }
    });
    Ok(Target::Unix { path: path.to_owned() })
}
