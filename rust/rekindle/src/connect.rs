// SPDX-License-Identifier: Apache-2.0
//! Connecting, with credentials from the environment or from whoever sits at the terminal.

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use rekindle_client::credentials::{Access, Credentials, TlsFiles, USER_DEFAULT, USER_VARIABLE};
use rekindle_client::link::Link;
use rekindle_client::target::Target;
use rekindle_client::transport::{ConnectError, LinkError};

use crate::exit::{Exit, Failure, Outcome, chain};

/// Connects, and asks for credentials once if the target wants some and somebody is there to ask. Returns the
/// access that worked, for connecting again.
pub(crate) fn connect(target: &Target) -> Outcome<(Link, Access)> {
    let mut access = Access { credentials: Credentials::from_environment(), tls: tls_files() };
    match Link::connect(target, &access) {
        Ok(link) => Ok((link, access)),
        Err(ConnectError::Unauthorized { given: false, .. }) if io::stdin().is_terminal() => {
            access.credentials = Some(prompt(target)?);
            match Link::connect(target, &access) {
                Ok(link) => Ok((link, access)),
                Err(error) => Err(connect_failed(&error)),
            }
        }
        Err(error) => Err(connect_failed(&error)),
    }
}

/// The files for TLS as the command line or the environment names them; one way for every command.
pub(crate) static TLS_FILES: OnceLock<TlsFiles> = OnceLock::new();

fn tls_files() -> TlsFiles {
    TLS_FILES.get().cloned().unwrap_or_default()
}

fn prompt(target: &Target) -> Outcome<Credentials> {
    let user = std::env::var(USER_VARIABLE).unwrap_or_else(|_| USER_DEFAULT.to_owned());
    match rpassword::prompt_password(format!("Password of {user} at {target}: ")) {
        Ok(password) => Ok(Credentials::new(user, password)),
        Err(error) => Err(Failure::new(Exit::Declined, format!("no password was given: {error}"))),
    }
}

/// No connection: why, and what to try.
pub(crate) fn connect_failed(error: &ConnectError) -> Failure {
    let failure = Failure::new(Exit::Unreachable, chain(error));
    match error {
        ConnectError::Serial { source, .. } => failure.next(serial_hint(source)),
        ConnectError::Network { source, .. } => match source.kind() {
            io::ErrorKind::ConnectionRefused => {
                failure.next("nothing listens there: is the device up, and is the port right?")
            }
            io::ErrorKind::TimedOut => failure.next("is the device up, and in the same network?"),
            io::ErrorKind::PermissionDenied => failure.next("may this user connect there?"),
            _ => failure.next("check the host name and the network"),
        },
        ConnectError::Tls { .. } => failure.next(
            "which certificates are trusted is said with --ca; what is shown with --tls-cert and --tls-key",
        ),
        ConnectError::File { .. } => Failure::new(Exit::Input, chain(error)),
        ConnectError::Unauthorized { .. }
        | ConnectError::Handshake { .. }
        | ConnectError::Unsupported { .. } => failure,
    }
}

fn serial_hint(error: &serialport::Error) -> &'static str {
    match error.kind() {
        serialport::ErrorKind::NoDevice => "is it plugged in, and does no other program hold it?",
        serialport::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            "may this user open it? On many systems the group is dialout or uucp"
        }
        serialport::ErrorKind::Io(io::ErrorKind::NotFound) => {
            "is it plugged in? `ls /dev/tty*` shows what is"
        }
        _ => "is it plugged in, and does no other program hold it?",
    }
}

/// A link that broke in the middle of a short conversation.
pub(crate) fn link_failed(error: &LinkError) -> Failure {
    Failure::of(Exit::Unreachable, error).next("check the cable and the device, then try again")
}
