// SPDX-License-Identifier: Apache-2.0
//! Root mode on a host: from the administrator's file to the core's switches.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rekindle_relay::{CONFIRM_MS, RootError, RootMode};

use super::Engine;
use crate::root_file::{RootFile, Wish, Word, code, write_status};

/// Time between two looks at the file.
const LOOK: Duration = Duration::from_millis(500);

/// The file, and a wish that waits for its confirmation.
pub(super) struct Root {
    file: RootFile,
    store: PathBuf,
    looked: Instant,
    asked: Option<(Wish, String, Instant)>,
    /// What the status file says.
    told: Option<String>,
    codes: u64,
}

impl Root {
    pub(super) fn new(file: &Path, administrator: u32, store: &Path) -> Self {
        let file = RootFile::new(file, administrator);
        Self { file, store: store.to_owned(), looked: Instant::now(), asked: None, told: None, codes: 0 }
    }

    fn code(&mut self) -> String {
        self.codes = self.codes.wrapping_add(1);
        let time = std::time::SystemTime::now();
        code(format!("{time:?} {} {}", std::process::id(), self.codes).as_bytes())
    }

    /// Says in the store how root mode is, and what waits for a confirmation.
    fn tell(&mut self, switches: &RootMode) {
        let mut text = match (switches.is_on(), switches.allows_downgrade()) {
            (false, _) => "off\n".to_owned(),
            (true, false) => "on\n".to_owned(),
            (true, true) => "on, downgrades allowed\n".to_owned(),
        };
        if let Some((wish, code, _)) = &self.asked {
            text.push_str(&format!("asked: {} {code}\n", wish.name()));
        }
        if self.told.as_ref() == Some(&text) {
            return;
        }
        match write_status(&self.store, &text) {
            Ok(()) => self.told = Some(text),
            Err(error) => tracing::error!(%error, "cannot write the status of root mode"),
        }
    }
}

impl<const L: usize> Engine<L> {
    /// Looks whether the administrator has written something.
    pub(super) fn look_at_root_mode(&mut self) {
        let Some(mut root) = self.root.take_if(|root| root.looked.elapsed() >= LOOK || root.told.is_none())
        else {
            return;
        };
        root.looked = Instant::now();
        if root.asked.as_ref().is_some_and(|(_, _, at)| at.elapsed() > Duration::from_millis(CONFIRM_MS)) {
            tracing::warn!("nobody confirmed in time: root mode stays as it is");
            root.asked = None;
        }
        match root.file.look() {
            None => {}
            Some(Err(distrust)) => tracing::error!(%distrust, "the root mode file does not count"),
            Some(Ok(Word::Wish(wish))) => self.wish(&mut root, wish),
            Some(Ok(Word::Confirm(said))) => self.confirm(&mut root, &said),
        }
        // The switches change when the change is on record.
        self.pump();
        root.tell(self.relay.root());
        self.root = Some(root);
    }

    fn wish(&mut self, root: &mut Root, wish: Wish) {
        let now_ms = self.now_ms();
        let on = self.relay.root().is_on();
        if on == (wish == Wish::Enable) {
            let state = if on { "on already" } else { "off" };
            tracing::warn!(wish = wish.name(), "root mode is {state}");
            root.asked = None;
            return;
        }
        if wish == Wish::Enable {
            self.relay.root_arm(now_ms);
        }
        let code = root.code();
        tracing::warn!(
            wish = wish.name(),
            "root mode: write `confirm {code}` into {} within {} s if this is meant",
            root.file.path().display(),
            CONFIRM_MS / 1000
        );
        root.asked = Some((wish, code, Instant::now()));
    }

    fn confirm(&mut self, root: &mut Root, said: &str) {
        let now_ms = self.now_ms();
        let wish = match root.asked.take() {
            Some((wish, code, _)) if code == said => wish,
            asked => {
                let why = if asked.is_some() { "the code is wrong" } else { "nothing waits for it" };
                tracing::error!("root mode is not changed: {why}; begin again");
                return;
            }
        };
        let done = match wish {
            Wish::Enable => self.relay.root_confirm(now_ms),
            Wish::Disable => self.relay.root_ask_off(now_ms).and_then(|()| self.relay.root_confirm(now_ms)),
            Wish::AllowDowngrade => self.relay.root_downgrade(true),
            Wish::ForbidDowngrade => self.relay.root_downgrade(false),
        };
        match done {
            Ok(()) => tracing::warn!(wish = wish.name(), "root mode: confirmed"),
            Err(error @ (RootError::NotArmed | RootError::Locked | RootError::Busy)) => {
                tracing::error!(wish = wish.name(), %error, "root mode is not changed");
            }
        }
    }
}
