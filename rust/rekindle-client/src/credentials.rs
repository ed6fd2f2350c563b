// SPDX-License-Identifier: Apache-2.0
//! What a target may ask for before it listens: a user name and a password, a token, a certificate.

use core::fmt;
use std::env;
use std::path::PathBuf;

use data_encoding::BASE64;

/// Environment variable with the user name.
pub const USER_VARIABLE: &str = "REKINDLE_USER";
/// Environment variable with the password.
pub const PASSWORD_VARIABLE: &str = "REKINDLE_PASSWORD";
/// Environment variable that other Fusain tools read the password from; used when [`PASSWORD_VARIABLE`] is unset.
pub const PASSWORD_VARIABLE_FUSAIN: &str = "FUSAIN_PASSWORD";
/// Environment variable with a token; it goes before a password.
pub const TOKEN_VARIABLE: &str = "REKINDLE_TOKEN";
/// User name where none is given: the one that deployed routers know (PROTOCOL.md §2).
pub const USER_DEFAULT: &str = "username";

/// A user name and a password, or a token. `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Basic { user: String, password: String },
    Bearer { token: String },
}

impl Credentials {
    /// Credentials of these two parts.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self(Kind::Basic { user: user.into(), password: password.into() })
    }

    /// A token (RFC 6750).
    #[must_use]
    pub fn bearer(token: impl Into<String>) -> Self {
        Self(Kind::Bearer { token: token.into() })
    }

    /// Reads the environment; `None` when it holds neither token nor password.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let read = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(token) = read(TOKEN_VARIABLE) {
            return Some(Self::bearer(token));
        }
        let password = read(PASSWORD_VARIABLE).or_else(|| read(PASSWORD_VARIABLE_FUSAIN))?;
        Some(Self::new(read(USER_VARIABLE).unwrap_or_else(|| USER_DEFAULT.to_owned()), password))
    }

    /// Value of an HTTP `Authorization` header (RFC 7617, RFC 6750).
    pub(crate) fn header(&self) -> String {
        match &self.0 {
            Kind::Basic { user, password } => {
                format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
            }
            Kind::Bearer { token } => format!("Bearer {token}"),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Basic { user, .. } => f.debug_struct("Basic").field("user", user).finish_non_exhaustive(),
            Kind::Bearer { .. } => f.debug_struct("Bearer").finish_non_exhaustive(),
        }
    }
}

/// Everything that a connection is made with. The default asks for nothing, shows nothing, and trusts what the
/// system trusts.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// For WebSocket targets.
    pub credentials: Option<Credentials>,
    /// For targets with TLS.
    pub tls: TlsFiles,
}

/// Files for TLS, all in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates that the target's must come from; the system's when there are none.
    pub ca: Option<PathBuf>,
    /// Certificate chain to show, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl From<Credentials> for Access {
    fn from(credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), tls: TlsFiles::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_are_those_of_the_rfcs_and_debug_hides_secrets() {
        let credentials = Credentials::new("Aladdin", "open sesame");
        assert_eq!(credentials.header(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{credentials:?}").contains("sesame"));
        let token = Credentials::bearer("mF_9.B5f-4.1JqM");
        assert_eq!(token.header(), "Bearer mF_9.B5f-4.1JqM");
        assert!(!format!("{token:?}").contains("mF_9"));
    }
}
