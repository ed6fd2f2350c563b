// SPDX-License-Identifier: Apache-2.0
//! Where a device is reached: targets as URLs.

use core::fmt;
use core::str::FromStr;

/// Baud rate of a serial target that names none (PROTOCOL.md §2: every known UART runs at 115200).
pub const BAUD_DEFAULT: u32 = 115_200;
/// TCP port of a target that names none (PROTOCOL.md §2).
pub const TCP_PORT_DEFAULT: u16 = 4850;
/// TCP port of a target with TLS that names none (PROTOCOL.md §10).
pub const TLS_PORT_DEFAULT: u16 = 4851;
/// Port of a WebSocket target that names none.
pub const WEBSOCKET_PORT_DEFAULT: u16 = 80;
/// The same with TLS.
pub const WEBSOCKET_TLS_PORT_DEFAULT: u16 = 443;
/// Path of a WebSocket target that names none (PROTOCOL.md §2).
pub const WEBSOCKET_PATH_DEFAULT: &str = "/fusain";

/// What a URL must look like; shown with every parse error.
const FORMS: &str = "expected serial:///dev/ttyACM0?baud=115200, tcp://host:4850, tls://host:4851, \
                     ws://host/fusain, wss://host/fusain, unix:///path/to/socket or pty:/dev/pts/3";

/// Where a device, or a router in front of it, is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A serial port, or a pseudo-terminal that stands in for one.
    Serial(SerialTarget),
    /// A plain TCP byte stream.
    Tcp {
        /// Host name or address, without brackets.
        host: String,
        /// Port, 1..=65535.
        port: u16,
    },
    /// A TCP byte stream inside TLS.
    Tls {
        /// Host name or address, without brackets; the certificate must be for it.
        host: String,
        /// Port, 1..=65535.
        port: u16,
    },
    /// A WebSocket with one packet per binary message.
    WebSocket {
        /// Host name or address, without brackets.
        host: String,
        /// Port, 1..=65535.
        port: u16,
        /// Path, with its leading slash and any query.
        path: String,
        /// Inside TLS (`wss://`).
        tls: bool,
    },
    /// A Unix stream socket, as emulators offer for an emulated UART.
    Unix {
        /// Path of the socket.
        path: String,
    },
}

/// A serial port and how it is driven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialTarget {
    /// Device path, or a port's name on Windows.
    pub path: String,
    /// Rate in baud; 8 data bits, no parity, 1 stop bit.
    pub baud: u32,
    /// One pair of wires for both directions (RS-485): the sender then leaves room for answers.
    pub half_duplex: bool,
}

/// A URL that names no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The text has no scheme, or one that is not known.
    #[error("`{0}` is not a target URL: {FORMS}")]
    Scheme(String),
    /// The URL holds a user name or a password.
    #[error(
        "credentials in a URL end up in shell histories and process lists: leave them out of the URL and set \
         REKINDLE_USER and REKINDLE_PASSWORD in the environment, or answer the prompt"
    )]
    Credentials,
    /// No device path, socket path or host.
    #[error("`{url}` names no {what}: {FORMS}")]
    Missing {
        /// The URL.
        url: String,
        /// What is missing.
        what: &'static str,
    },
    /// A port that is no number in 1..=65535.
    #[error("`{port}` in `{url}` is not a port: expected a number in 1..=65535")]
    Port {
        /// The URL.
        url: String,
        /// The text found.
        port: String,
    },
    /// A baud rate that is no positive number.
    #[error("`{value}` in `{url}` is not a baud rate: expected a number in 50..=20000000")]
    Baud {
        /// The URL.
        url: String,
        /// The text found.
        value: String,
    },
    /// A parameter with a value it does not take.
    #[error("`{name}={value}` in `{url}`: expected {name}=yes or {name}=no")]
    Flag {
        /// The URL.
        url: String,
        /// The parameter.
        name: &'static str,
        /// The text found.
        value: String,
    },
    /// A parameter that is not known.
    #[error(
        "`{name}` in `{url}` is not a known parameter: serial targets take baud and half-duplex, others none"
    )]
    Parameter {
        /// The URL.
        url: String,
        /// The parameter.
        name: String,
    },
    /// A path, a space or other text where none belongs.
    #[error("`{rest}` in `{url}` is not understood: {FORMS}")]
    Trailing {
        /// The URL.
        url: String,
        /// The text found.
        rest: String,
    },
}

impl Target {
    /// Whether bytes arrive one by one with gaps that mean something: the inter-byte gap of 100 ms
    /// (PROTOCOL.md §1) holds here only.
    #[must_use]
    pub const fn is_serial(&self) -> bool {
        matches!(self, Self::Serial(_))
    }

    /// Whether both directions share one pair of wires.
    #[must_use]
    pub const fn is_half_duplex(&self) -> bool {
        matches!(self, Self::Serial(SerialTarget { half_duplex: true, .. }))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(s) => {
                write!(f, "serial://{}?baud={}", s.path, s.baud)?;
                if s.half_duplex { f.write_str("&half-duplex=yes") } else { Ok(()) }
            }
            Self::Tcp { host, port } => write!(f, "tcp://{}:{port}", Bracketed(host)),
            Self::Tls { host, port } => write!(f, "tls://{}:{port}", Bracketed(host)),
            Self::WebSocket { host, port, path, tls } => {
                let scheme = if *tls { "wss" } else { "ws" };
                write!(f, "{scheme}://{}:{port}{path}", Bracketed(host))
            }
            Self::Unix { path } => write!(f, "unix://{path}"),
        }
    }
}

/// A host as it stands in a URL: IPv6 addresses in brackets.
pub(crate) struct Bracketed<'a>(pub(crate) &'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(TargetError::Scheme(url.to_owned()));
        };
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        match scheme.to_ascii_lowercase().as_str() {
            "serial" | "pty" => serial(url, rest),
            "tcp" => {
                let (host, port) = authority(url, rest, TCP_PORT_DEFAULT)?;
                Ok(Self::Tcp { host, port })
            }
            "tls" => {
                let (host, port) = authority(url, rest, TLS_PORT_DEFAULT)?;
                Ok(Self::Tls { host, port })
            }
            "ws" => websocket(url, rest, false),
            "wss" => websocket(url, rest, true),
            "unix" if rest.is_empty() => Err(missing(url, "socket path")),
            "unix" => Ok(Self::Unix { path: rest.to_owned() }),
            _ => Err(TargetError::Scheme(redacted(url))),
        }
    }
}

fn serial(url: &str, rest: &str) -> Result<Target, TargetError> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    // serial:///COM3 is how a URL says COM3.
    let path = if cfg!(windows) { path.trim_start_matches('/') } else { path };
    if path.is_empty() {
        return Err(missing(url, "serial port"));
    }
    let mut target = SerialTarget { path: path.to_owned(), baud: BAUD_DEFAULT, half_duplex: false };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "baud" => target.baud = baud(url, value)?,
            "half-duplex" => target.half_duplex = flag(url, "half-duplex", value)?,
            _ => return Err(TargetError::Parameter { url: url.to_owned(), name: name.to_owned() }),
        }
    }
    Ok(Target::Serial(target))
}

fn websocket(url: &str, rest: &str, tls: bool) -> Result<Target, TargetError> {
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority_text, path) = rest.split_at(at);
    if path.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
        return Err(TargetError::Trailing { url: redacted(url), rest: path.to_owned() });
    }
    let port_default = if tls { WEBSOCKET_TLS_PORT_DEFAULT } else { WEBSOCKET_PORT_DEFAULT };
    let (host, port) = authority(url, authority_text, port_default)?;
    let path = if path.is_empty() { WEBSOCKET_PATH_DEFAULT } else { path };
    Ok(Target::WebSocket { host, port, path: path.to_owned(), tls })
}

/// Host and port of `tcp://` and `ws://`.
fn authority(url: &str, text: &str, port_default: u16) -> Result<(String, u16), TargetError> {
    let (host, port) = host_and_port(url, text)?;
    match port {
        Some(0) => Err(TargetError::Port { url: url.to_owned(), port: "0".to_owned() }),
        port => Ok((host, port.unwrap_or(port_default))),
    }
}

/// Host and port, where port 0 may stand for "any free one": used for addresses to listen on.
///
/// # Errors
///
/// [`TargetError`] says what is wrong with the text.
pub fn host_and_port(url: &str, text: &str) -> Result<(String, Option<u16>), TargetError> {
    if text.contains('@') {
        return Err(TargetError::Credentials);
    }
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = if let Some(inner) = text.strip_prefix('[') {
        let Some((host, after)) = inner.split_once(']') else {
            return Err(TargetError::Trailing { url: url.to_owned(), rest: text.to_owned() });
        };
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(TargetError::Trailing { url: url.to_owned(), rest: after.to_owned() }),
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err(missing(url, "host"));
    }
    if let Some(at) = host.find(|c: char| c.is_whitespace() || c.is_control() || "/?#\\".contains(c)) {
        let rest = host.get(at..).unwrap_or(host);
        return Err(TargetError::Trailing { url: url.to_owned(), rest: rest.to_owned() });
    }
    let port = match port {
        None => None,
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(port),
            _ => return Err(TargetError::Port { url: url.to_owned(), port: digits.to_owned() }),
        },
    };
    Ok((host.to_owned(), port))
}

fn baud(url: &str, value: &str) -> Result<u32, TargetError> {
    match value.parse::<u32>() {
        Ok(baud @ 50..=20_000_000) => Ok(baud),
        _ => Err(TargetError::Baud { url: url.to_owned(), value: value.to_owned() }),
    }
}

fn flag(url: &str, name: &'static str, value: &str) -> Result<bool, TargetError> {
    match value {
        "yes" | "true" | "1" => Ok(true),
        "no" | "false" | "0" => Ok(false),
        _ => Err(TargetError::Flag { url: url.to_owned(), name, value: value.to_owned() }),
    }
}

fn missing(url: &str, what: &'static str) -> TargetError {
    TargetError::Missing { url: url.to_owned(), what }
}

/// The URL with whatever stands before an `@` left out: messages end up in logs.
fn redacted(url: &str) -> String {
    match (url.split_once(':'), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Target, TargetError> {
        url.parse()
    }

    fn tcp(host: &str, port: u16) -> Target {
        Target::Tcp { host: host.to_owned(), port }
    }

    fn tty(path: &str, baud: u32, half_duplex: bool) -> Target {
        Target::Serial(SerialTarget { path: path.to_owned(), baud, half_duplex })
    }

    #[test]
    fn every_documented_form_is_read_and_printed_back() {
        let cases = [
            ("serial:///dev/ttyACM0", tty("/dev/ttyACM0", 115_200, false)),
            ("serial:///dev/ttyACM0?baud=230400", tty("/dev/ttyACM0", 230_400, false)),
            ("SERIAL:///dev/ttyS1?half-duplex=yes&baud=19200", tty("/dev/ttyS1", 19_200, true)),
            ("pty:/dev/pts/7", tty("/dev/pts/7", 115_200, false)),
            ("tcp://heater.local", tcp("heater.local", 4850)),
            ("tcp://10.0.0.7:4851/", tcp("10.0.0.7", 4851)),
            ("tcp://[fe80::1]:99", tcp("fe80::1", 99)),
            ("tcp://[::1]", tcp("::1", 4850)),
            (
                "ws://slate/fusain",
                Target::WebSocket { host: "slate".into(), port: 80, path: "/fusain".into(), tls: false },
            ),
            (
                "ws://slate",
                Target::WebSocket { host: "slate".into(), port: 80, path: "/fusain".into(), tls: false },
            ),
            (
                "ws://[::1]:8080/x?y=1",
                Target::WebSocket { host: "::1".into(), port: 8080, path: "/x?y=1".into(), tls: false },
            ),
            ("tls://slate", Target::Tls { host: "slate".into(), port: 4851 }),
            (
                "wss://slate:8443",
                Target::WebSocket { host: "slate".into(), port: 8443, path: "/fusain".into(), tls: true },
            ),
            ("unix:///tmp/uart0", Target::Unix { path: "/tmp/uart0".into() }),
        ];
        for (url, target) in cases {
            assert_eq!(parse(url).as_ref(), Ok(&target), "{url}");
            assert_eq!(parse(&target.to_string()), Ok(target), "{url} printed and read again");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        let cases = [
            ("", "is not a target URL"),
            ("/dev/ttyACM0", "is not a target URL"),
            ("http://host", "is not a target URL"),
            ("serial://", "names no serial port"),
            ("serial:///dev/ttyS0?baud=fast", "not a baud rate"),
            ("serial:///dev/ttyS0?baud=0", "not a baud rate"),
            ("serial:///dev/ttyS0?speed=9600", "`speed`"),
            ("serial:///dev/ttyS0?half-duplex=maybe", "half-duplex=yes"),
            ("tcp://", "names no host"),
            ("tcp://:4850", "names no host"),
            ("tcp://host:0", "not a port"),
            ("tcp://host:65536", "not a port"),
            ("tcp://host:+80", "not a port"),
            ("tcp://host:48 50", "not a port"),
            ("tcp://host/path", "`/path`"),
            ("tcp://[::1", "not understood"),
            ("tcp://[::1]x", "`x`"),
            ("ws://host/with space", "not understood"),
            ("tls://host/fusain", "`/fusain`"),
            ("unix://", "names no socket path"),
        ];
        for (url, text) in cases {
            let said = parse(url).expect_err(url).to_string();
            assert!(said.contains(text), "{url}: {said}");
        }
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_never_repeated() {
        for url in
            ["ws://user:secret@host/fusain", "tcp://user:secret@host", "wss://u:secret@h", "ftp://u:secret@h"]
        {
            let said = parse(url).expect_err(url).to_string();
            assert!(!said.contains("secret"), "{said}");
        }
        assert_eq!(parse("ws://user:secret@host/fusain"), Err(TargetError::Credentials));
    }
}
