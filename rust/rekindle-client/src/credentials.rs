// SPDX-License-Identifier: Apache-2.0
//! User name and password for targets that ask for them.

use core::fmt;
use std::env;

use data_encoding::BASE64;

/// Environment variable with the user name.
pub const USER_VARIABLE: &str = "REKINDLE_USER";
/// Environment variable with the password.
pub const PASSWORD_VARIABLE: &str = "REKINDLE_PASSWORD";
/// Environment variable that other Fusain tools read the password from; used when [`PASSWORD_VARIABLE`] is unset.
pub const PASSWORD_VARIABLE_FUSAIN: &str = "FUSAIN_PASSWORD";
/// User name where none is given: the one that deployed routers know (PROTOCOL.md §2).
pub const USER_DEFAULT: &str = "username";

/// A user name and a password. `Debug` leaves the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// Credentials of these two parts.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// Reads the environment; `None` when it holds no password.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let read = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let password = read(PASSWORD_VARIABLE).or_else(|| read(PASSWORD_VARIABLE_FUSAIN))?;
        let user = read(USER_VARIABLE).unwrap_or_else(|| USER_DEFAULT.to_owned());
        Some(Self { user, password })
    }

    /// Value of an HTTP `Authorization` header (RFC 7617).
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", BASE64.encode(format!("{}:{}", self.user, self.password).as_bytes()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_rfc_7617_and_debug_hides_the_password() {
        let credentials = Credentials::new("Aladdin", "open sesame");
        assert_eq!(credentials.basic(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{credentials:?}").contains("sesame"));
    }
}
