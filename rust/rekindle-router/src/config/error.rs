// SPDX-License-Identifier: Apache-2.0
//! What is wrong with a configuration, and where.

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned;

/// A configuration that cannot be used.
#[derive(Debug)]
pub struct ConfigError {
    path: PathBuf,
    line: Option<usize>,
    key: Option<String>,
    what: String,
}

impl ConfigError {
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => {
                ": there is an example in docs/relay.toml; --config names another file"
            }
            _ => "",
        };
        Self { path: path.to_owned(), line: None, key: None, what: format!("cannot be read: {error}{hint}") }
    }

    pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().map(|span| line_of(text, span.start));
        Self { path: path.to_owned(), line, key: None, what: error.message().to_owned() }
    }

    /// Line in the file, counted from 1, where there is one.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl core::error::Error for ConfigError {}

/// The file at hand.
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Place<'_> {
    pub(super) fn wrong<T>(&self, value: &Spanned<T>, key: &str, what: String) -> ConfigError {
        let line = Some(line_of(self.text, value.span().start));
        ConfigError { path: self.path.to_owned(), line, key: Some(key.to_owned()), what }
    }

    pub(super) fn missing(&self, key: &str, what: &str) -> ConfigError {
        let what = format!("is missing: {what}");
        ConfigError { path: self.path.to_owned(), line: None, key: Some(key.to_owned()), what }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count().saturating_add(1)
}
