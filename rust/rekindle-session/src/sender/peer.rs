// SPDX-License-Identifier: Apache-2.0
//! What is known of the device, and how its reboots are noticed.

use fusain::Info;

/// How far an uptime may lag behind the sender's clock before it means a reboot: delays on the way, and routers
/// that answer pings from a cache, make it lag without one.
const UPTIME_SLACK_MS: i64 = 3_000;

/// Silence after which RECEIVING may be another sender's session, in milliseconds: half of the time after which
/// a receiver lets one be taken over (PROTOCOL.md §8).
const ESTRANGED_MS: u64 = 30_000;

/// The device at the other end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    /// Its last INFO of this boot.
    pub(super) info: Option<Info>,
    /// Whether it speaks the extension; `None` until asked on this connection and boot.
    pub(super) extension: Option<bool>,
    /// An uptime and when it came.
    uptime: Option<(u32, u64)>,
    /// When it last sent anything.
    pub(super) alive_ms: Option<u64>,
    /// When it last answered something about updates.
    pub(super) answered_ms: u64,
    /// Its last STATUS came after a silence in which another sender may have taken the session over.
    pub(super) estranged: bool,
}

impl Peer {
    /// Nothing is known; silence counts from now on.
    pub(super) fn new(now_ms: u64) -> Self {
        Self { answered_ms: now_ms, ..Self::default() }
    }

    /// Takes note of a STATUS.
    pub(super) fn answered_after(&mut self, now_ms: u64) {
        self.estranged = now_ms.saturating_sub(self.answered_ms) > ESTRANGED_MS;
        self.answered_ms = now_ms;
    }

    /// Takes INFO. Returns whether its boot number shows a reboot.
    pub(super) fn learn(&mut self, info: Info) -> bool {
        let rebooted = self.info.is_some_and(|before| before.boot_number != info.boot_number);
        self.info = Some(info);
        self.extension = Some(true);
        if rebooted {
            // The uptime of before would show the same reboot once more.
            self.uptime = None;
        }
        rebooted
    }

    /// Takes an uptime. Returns whether it shows a reboot since the last one; `None` if it is the first.
    ///
    /// The uptime wraps after 49.7 days: only its advance counts, compared with the time that has passed.
    pub(super) fn pinged(&mut self, now_ms: u64, uptime_ms: u32) -> Option<bool> {
        let before = self.uptime.replace((uptime_ms, now_ms));
        let (before_ms, at_ms) = before?;
        let passed = i64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(i64::MAX);
        // Signed: an answer that was overtaken on the way may be a little older than the one before.
        let advance = i64::from(uptime_ms.wrapping_sub(before_ms).cast_signed());
        let slack = UPTIME_SLACK_MS.saturating_add(passed / 64);
        Some(passed.saturating_sub(advance) > slack)
    }

    /// Forgets what a reboot or other firmware may have changed.
    pub(super) fn forget(&mut self) {
        self.extension = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_shows_reboots_and_nothing_else() {
        let mut peer = Peer::default();
        assert_eq!(peer.pinged(1_000, 500_000), None, "the first says nothing");
        assert_eq!(peer.pinged(9_000, 508_000), Some(false));
        assert_eq!(peer.pinged(19_000, 516_500), Some(false), "1.5 s late");
        assert_eq!(peer.pinged(19_001, 516_000), Some(false), "overtaken by the one before");
        assert_eq!(peer.pinged(29_000, 2_000), Some(true), "went back");
        assert_eq!(
            peer.pinged(600_000, 100_000),
            Some(true),
            "rebooted meanwhile, and up for longer than before"
        );
    }

    #[test]
    fn uptime_wraps_after_49_days() {
        let mut peer = Peer::default();
        assert_eq!(peer.pinged(0, u32::MAX - 3_999), None);
        assert_eq!(peer.pinged(8_000, 4_000), Some(false));
    }
}
