// SPDX-License-Identifier: Apache-2.0
//! Who may upgrade to a WebSocket: users with passwords (Basic), and tokens (Bearer), from a file that nobody but
//! the daemon can read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use data_encoding::BASE64;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Longest file that is read, in bytes.
const FILE_MAX: u64 = 64 * 1024;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    users: BTreeMap<String, String>,
    #[serde(default)]
    tokens: BTreeMap<String, String>,
}

/// Names, and what their secrets hash to: so comparing takes as long for a wrong one as for a right one.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    users: Vec<(String, [u8; 32])>,
    tokens: Vec<(String, [u8; 32])>,
}

impl Secrets {
    /// Reads the file; says what is wrong with it.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot read {}: {error}", path.display());
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.mode();
        if mode & 0o077 != 0 {
            return Err(format!(
                "{} holds secrets, and others can read or write it (mode {:03o}): `chmod 600` it",
                path.display(),
                mode & 0o777
            ));
        }
        let mut text = String::new();
        file.take(FILE_MAX).read_to_string(&mut text).map_err(failed)?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let document: Document = toml::from_str(text).map_err(|error| {
            // Not the text around it: that is a secret.
            let line = error.span().map_or(0, |span| text.get(..span.start).unwrap_or("").lines().count());
            format!("near line {}: {}", line.max(1), error.message())
        })?;
        let hashed = |entries: BTreeMap<String, String>| -> Result<Vec<_>, String> {
            let short = entries.iter().find(|(_, secret)| secret.len() < 8).map(|(name, _)| name);
            match short {
                Some(name) => Err(format!("the secret of `{name}` has less than 8 characters")),
                None => {
                    Ok(entries.into_iter().map(|(name, secret)| (name, hash(secret.as_bytes()))).collect())
                }
            }
        };
        let secrets = Self { users: hashed(document.users)?, tokens: hashed(document.tokens)? };
        if secrets.users.is_empty() && secrets.tokens.is_empty() {
            return Err("it names nobody: put a line under [users] or [tokens]".to_owned());
        }
        Ok(secrets)
    }

    /// Who shows this `Authorization` header; `None` for nobody we know.
    pub(crate) fn who(&self, header: &str) -> Option<String> {
        let (scheme, value) = header.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            let shown = hash(value.trim().as_bytes());
            return find(&self.tokens, |_, secret| equal(secret, &shown)).map(|name| format!("token {name}"));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = BASE64.decode(value.trim().as_bytes()).ok()?;
        let text = core::str::from_utf8(&decoded).ok()?;
        let (user, password) = text.split_once(':')?;
        let shown = hash(password.as_bytes());
        find(&self.users, |name, secret| equal(secret, &shown) & (name == user))
            .map(|name| format!("user {name}"))
    }
}

fn find(entries: &[(String, [u8; 32])], is_it: impl Fn(&str, &[u8; 32]) -> bool) -> Option<&String> {
    // Every entry is looked at, whichever it is.
    entries.iter().fold(None, |found, (name, secret)| if is_it(name, secret) { Some(name) } else { found })
}

fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[users]\ndesk = \"correct horse\"\n[tokens]\nci = \"0123456789abcdef\"\n";

    #[test]
    fn the_right_secret_of_the_right_name_passes_and_nothing_else() {
        let secrets = Secrets::parse(TEXT).unwrap();
        let basic = |text: &str| secrets.who(&format!("Basic {}", BASE64.encode(text.as_bytes())));
        assert_eq!(basic("desk:correct horse").as_deref(), Some("user desk"));
        for wrong in
            ["desk:correct horsf", "disk:correct horse", "desk:", "desk", "desk:0123456789abcdef", ""]
        {
            assert_eq!(basic(wrong), None, "{wrong}");
        }
        assert_eq!(secrets.who("bearer 0123456789abcdef").as_deref(), Some("token ci"));
        for wrong in
            ["Bearer 0123456789abcdee", "Bearer correct horse", "Bearer", "", "Digest x", "Basic %%%"]
        {
            assert_eq!(secrets.who(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_bad_file_is_explained_without_its_secrets() {
        let said = |text: &str| Secrets::parse(text).unwrap_err();
        assert!(said("[users]\ndesk = \"short\"\n").contains("`desk`"));
        assert!(said("").contains("nobody"));
        let wrong = said("[users]\ndesk = \"hunter2hunter2\nx = 1\n");
        assert!(!wrong.contains("hunter2") && wrong.contains("line 2"), "{wrong}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        std::fs::write(&path, TEXT).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        assert!(Secrets::read(&path).unwrap_err().contains("chmod 600"));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(Secrets::read(&path).unwrap().users.len(), 1);
    }
}
