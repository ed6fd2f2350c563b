// SPDX-License-Identifier: Apache-2.0
//! How the program ends: exit codes, and failures that say what, where and what next.

use core::fmt;
use std::io;

use rekindle_client::target::TargetError;
use serde_json::{Value, json};

/// Exit codes; documented in `--help` and docs/cli.md. Numbers are never given a new meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// A fault of this program or of the operating system.
    Fault = 1,
    /// A wrong option, URL or address. clap uses the same number.
    Usage = 2,
    /// A file or a key that cannot be used.
    Input = 3,
    /// No connection, or nobody answers.
    Unreachable = 4,
    /// The device refused, and will refuse again until something changes.
    Refused = 5,
    /// The transfer is not complete; the same command resumes it.
    Incomplete = 6,
    /// The device runs its old image: the new one was reverted or refused by the bootloader.
    NotInstalled = 7,
    /// Activated, but what became of it is not known.
    Unknown = 8,
    /// A question was answered with no.
    Declined = 9,
    /// Of several devices, not all run the new image.
    Partial = 10,
    /// Interrupted by Ctrl-C or SIGTERM.
    Interrupted = 130,
}

/// The table in `--help`.
pub(crate) const EXIT_CODES_HELP: &str = "\
Exit codes:
    0  done
    1  fault of this program or of the operating system
    2  wrong option, URL or address
    3  a file or a key cannot be used
    4  no connection, or nobody answers
    5  the device refused
    6  transfer not complete; the same command resumes it
    7  the device runs its old image: the new one was reverted or refused by the bootloader
    8  activated, but what became of it is not known
    9  a question was answered with no
   10  of several devices, not all run the new image; the summary says which
  130  interrupted by Ctrl-C; a push can be resumed

Credentials for ws:// and wss:// targets come from REKINDLE_TOKEN, or from REKINDLE_USER and REKINDLE_PASSWORD
(or FUSAIN_PASSWORD) in the environment, or from a prompt; never from the command line.";

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
    next: Option<String>,
}

/// What commands return.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), next: None }
    }

    /// A failure with an error and everything below it.
    pub(crate) fn of(exit: Exit, error: &dyn core::error::Error) -> Self {
        Self::new(exit, chain(error))
    }

    /// Adds what the user can do about it.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "event": "error",
            "exit_code": self.exit as u8,
            "message": self.message,
            "next": self.next,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.next {
            Some(next) => write!(f, "\n next: {next}"),
            None => Ok(()),
        }
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self::of(Exit::Usage, &error)
    }
}

/// An error's message with its causes behind it.
pub(crate) fn chain(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Some libraries repeat their cause in their own message.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

/// Printing to a closed pipe ends the program without a fuss.
pub(crate) fn stdout_failed(error: &io::Error) -> Failure {
    Failure::new(Exit::Fault, format!("cannot write to standard output: {error}"))
}
