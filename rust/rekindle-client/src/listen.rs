// SPDX-License-Identifier: Apache-2.0
//! The other side of a target: where a virtual device or a router waits for connections.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;

use crate::target::{self, Target, TargetError, WEBSOCKET_PATH_DEFAULT};
use crate::transport::stream::Stream;
use crate::transport::{Transport, websocket};

#[cfg(unix)]
mod local;

/// Longest wait for a client's WebSocket handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a listening URL must look like; shown with every parse error.
const FORMS: &str = "expected tcp://127.0.0.1:4850, ws://127.0.0.1:8080, unix:///path/to/socket, pty: or \
                     pty:/path/to/link";

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// TCP; port 0 takes any free one.
    Tcp {
        /// Host name or address of the interface.
        host: String,
        /// Port.
        port: u16,
    },
    /// WebSocket; any path is served.
    WebSocket {
        /// Host name or address of the interface.
        host: String,
        /// Port.
        port: u16,
    },
    /// A new pseudo-terminal.
    Pty {
        /// Symbolic link to keep at its path, so that the path survives a restart.
        link: Option<String>,
    },
    /// A Unix stream socket.
    Unix {
        /// Path of the socket; a stale socket there is replaced.
        path: String,
    },
}

/// A listening URL that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenParseError {
    /// The host or the port is wrong.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The scheme is not known, or a part is missing.
    #[error("`{0}` is not an address to listen on: {FORMS}")]
    Form(String),
}

/// A listener that could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}")]
pub struct ListenError {
    listen: Listen,
    source: io::Error,
}

impl FromStr for Listen {
    type Err = ListenParseError;

    fn from_str(url: &str) -> Result<Self, ListenParseError> {
        let form = || ListenParseError::Form(url.to_owned());
        let (scheme, rest) = url.split_once(':').ok_or_else(form)?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        match scheme {
            "tcp" => {
                let (host, port) = target::host_and_port(url, rest)?;
                Ok(Self::Tcp { host, port: port.unwrap_or(target::TCP_PORT_DEFAULT) })
            }
            "ws" => {
                let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
                let (host, port) = target::host_and_port(url, authority)?;
                Ok(Self::WebSocket { host, port: port.unwrap_or(target::WEBSOCKET_PORT_DEFAULT) })
            }
            "pty" => Ok(Self::Pty { link: (!rest.is_empty()).then(|| rest.to_owned()) }),
            "unix" if !rest.is_empty() => Ok(Self::Unix { path: rest.to_owned() }),
            _ => Err(form()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "tcp://{}:{port}", target::Bracketed(host)),
            Self::WebSocket { host, port } => write!(f, "ws://{}:{port}", target::Bracketed(host)),
            Self::Pty { link } => write!(f, "pty:{}", link.as_deref().unwrap_or("")),
            Self::Unix { path } => write!(f, "unix://{path}"),
        }
    }
}

/// A place that clients connect to.
///
/// Connections are accepted on a thread of its own, which lives as long as the process.
pub struct Listener {
    target: Target,
    connections: Receiver<Box<dyn Transport>>,
}

impl Listener {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// [`ListenError`] when the address cannot be used.
    pub fn bind(listen: &Listen) -> Result<Self, ListenError> {
        let (sender, connections) = channel();
        let target = match listen {
            Listen::Tcp { host, port } => bind_tcp(host, *port, sender),
            Listen::WebSocket { host, port } => bind_websocket(host, *port, sender),
            #[cfg(unix)]
            Listen::Pty { link } => local::bind_pty(link.as_deref(), sender),
            #[cfg(unix)]
            Listen::Unix { path } => local::bind_unix(path, sender),
            #[cfg(not(unix))]
            Listen::Pty { .. } | Listen::Unix { .. } => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "not on this operating system"))
            }
        };
        match target {
            Ok(target) => Ok(Self { target, connections }),
            Err(source) => Err(ListenError { listen: listen.clone(), source }),
        }
    }

    /// How a client on this machine reaches it.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Waits up to `timeout` for a client.
    #[must_use]
    pub fn accept(&self, timeout: Duration) -> Option<Box<dyn Transport>> {
        match self.connections.recv_timeout(timeout) {
            Ok(connection) => Some(connection),
            Err(RecvTimeoutError::Timeout) => None,
            // The accepting thread is done (a pseudo-terminal has one connection only): nobody else will come.
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(timeout);
                None
            }
        }
    }
}

fn bind_tcp(host: &str, port: u16, sender: Sender<Box<dyn Transport>>) -> io::Result<Target> {
    let listener = TcpListener::bind((host, port))?;
    let target = Target::Tcp { host: host.to_owned(), port: listener.local_addr()?.port() };
    serve(listener, sender, |socket| {
        socket.set_nodelay(true)?;
        Ok(Box::new(Stream::new(socket)?))
    });
    Ok(target)
}

fn bind_websocket(host: &str, port: u16, sender: Sender<Box<dyn Transport>>) -> io::Result<Target> {
    let listener = TcpListener::bind((host, port))?;
    let port = listener.local_addr()?.port();
    let path = WEBSOCKET_PATH_DEFAULT.to_owned();
    let target = Target::WebSocket { host: host.to_owned(), port, path, tls: false };
    serve(listener, sender, |socket| {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
        socket.set_write_timeout(Some(HANDSHAKE_TIMEOUT))?;
        let accepted = tungstenite::accept_with_config(socket, Some(websocket::config()));
        let socket = accepted.map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Box::new(websocket::Socket::new(socket)?))
    });
    Ok(target)
}

/// Accepts connections for ever; one that does not get through its greeting is dropped.
fn serve(
    listener: TcpListener,
    sender: Sender<Box<dyn Transport>>,
    greet: impl Fn(TcpStream) -> io::Result<Box<dyn Transport>> + Send + 'static,
) {
    thread::spawn(move || {
        loop {
            match listener.accept() {
                Ok((socket, _)) => {
                    if let Ok(transport) = greet(socket)
                        && sender.send(transport).is_err()
                    {
                        return;
                    }
                }
                // Out of file descriptors, for instance: better later than never.
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::connect;

    #[test]
    fn listening_urls_are_read_and_wrong_ones_explained() {
        let tcp = |host: &str, port| Listen::Tcp { host: host.to_owned(), port };
        assert_eq!("tcp://127.0.0.1:0".parse(), Ok(tcp("127.0.0.1", 0)));
        assert_eq!("tcp://[::1]".parse(), Ok(tcp("::1", 4850)));
        assert_eq!(
            "ws://0.0.0.0:80/fusain".parse(),
            Ok(Listen::WebSocket { host: "0.0.0.0".to_owned(), port: 80 })
        );
        assert_eq!("pty:".parse(), Ok(Listen::Pty { link: None }));
        assert_eq!("pty:/tmp/x".parse(), Ok(Listen::Pty { link: Some("/tmp/x".to_owned()) }));
        for url in ["", "tcp", "udp://x", "unix:", "tcp://:1", "tcp://h:99999"] {
            assert!(url.parse::<Listen>().is_err(), "{url}");
        }
    }

    /// Frames go both ways, and a lost client is noticed.
    fn echoes(listen: &Listen) {
        let listener = Listener::bind(listen).unwrap();
        let mut client = connect(listener.target(), &crate::credentials::Access::default()).unwrap();
        client.send(b"hello").unwrap();
        let mut server = listener.accept(Duration::from_secs(5)).unwrap();
        let mut buffer = [0; 64];
        let mut got = Vec::new();
        while got.len() < 5 {
            let count = server.recv(&mut buffer[..3], Duration::from_secs(5)).unwrap();
            got.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(got, b"hello");
        assert_eq!(server.recv(&mut buffer, Duration::from_millis(5)).unwrap(), 0, "nothing more came");
        server.send(b"world").unwrap();
        assert_eq!(client.recv(&mut buffer, Duration::from_secs(5)).unwrap(), 5);
        assert_eq!(&buffer[..5], b"world");
    }

    #[test]
    fn tcp_websocket_unix_and_pty_carry_bytes_both_ways() {
        echoes(&Listen::Tcp { host: "127.0.0.1".to_owned(), port: 0 });
        echoes(&Listen::WebSocket { host: "127.0.0.1".to_owned(), port: 0 });
        #[cfg(unix)]
        {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("uart").to_str().unwrap().to_owned();
            echoes(&Listen::Unix { path: path.clone() });
            echoes(&Listen::Unix { path });
            echoes(&Listen::Pty { link: None });
            let link = folder.path().join("tty").to_str().unwrap().to_owned();
            echoes(&Listen::Pty { link: Some(link.clone()) });
            echoes(&Listen::Pty { link: Some(link) });
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_in_the_way_of_a_link_or_socket_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        let path_text = path.to_str().unwrap().to_owned();
        assert!(Listener::bind(&Listen::Pty { link: Some(path_text.clone()) }).is_err());
        assert!(Listener::bind(&Listen::Unix { path: path_text }).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
    }
}
