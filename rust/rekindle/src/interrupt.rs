// SPDX-License-Identifier: Apache-2.0
//! Ctrl-C: the first asks to stop in good order, the second stops at once.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use crate::exit::{Exit, Failure, Outcome};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The flag that Ctrl-C, SIGTERM and SIGHUP set; installs the handler with the first call.
pub(crate) fn flag() -> Outcome<&'static AtomicBool> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let handler = || {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                std::process::exit(i32::from(Exit::Interrupted as u8));
            }
        };
        ctrlc::set_handler(handler).map_err(|error| error.to_string())
    });
    match installed {
        Ok(()) => Ok(&INTERRUPTED),
        Err(error) => Err(Failure::new(Exit::Fault, format!("cannot watch for Ctrl-C: {error}"))),
    }
}
