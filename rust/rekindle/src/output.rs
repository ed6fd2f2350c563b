// SPDX-License-Identifier: Apache-2.0
//! What a command prints: text for people, or JSON lines for programs.

use std::io::{self, Write};

use serde_json::Value;

use crate::exit::{Outcome, stdout_failed};

/// Standard output in the form asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints one result: the JSON object on a line of its own, or the text.
    pub(crate) fn print(self, json: &Value, text: impl AsRef<str>) -> Outcome {
        let line = if self.json { json.to_string() } else { text.as_ref().trim_end().to_owned() };
        print_line(&line)
    }

    /// Prints JSON only: progress that people see in another form.
    pub(crate) fn event(self, json: &Value) -> Outcome {
        if self.json { print_line(&json.to_string()) } else { Ok(()) }
    }
}

/// Prints a line at once, so that a program that reads along sees it at once.
pub(crate) fn print_line(line: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        // Whoever read has enough (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(stdout_failed(&error)),
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// A number of bytes, for people.
pub(crate) fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let kib = count as f64 / 1024.0;
    if count < 1024 {
        format!("{count} B")
    } else if kib < 1024.0 {
        format!("{kib:.1} KiB")
    } else {
        format!("{:.1} MiB", kib / 1024.0)
    }
}
