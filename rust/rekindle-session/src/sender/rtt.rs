// SPDX-License-Identifier: Apache-2.0
//! The retransmission time: RFC 6298 in integer milliseconds, with Karn's rule.

use super::plan::Link;

/// Estimates the round trip and derives the retransmission time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rtt {
    /// Smoothed round trip, in 1/8 ms; `None` before the first sample.
    smoothed: Option<u32>,
    /// Mean deviation, in 1/4 ms.
    deviation: u32,
    /// Doublings since the last sample: they hold until something sent once is answered (RFC 6298, 5.5 to 5.7).
    backoff: u8,
    initial_ms: u32,
    min_ms: u32,
    max_ms: u32,
}

impl Rtt {
    pub(super) fn new(link: &Link) -> Self {
        let min_ms = link.min_rto_ms.max(1);
        Self {
            smoothed: None,
            deviation: 0,
            backoff: 0,
            initial_ms: link.initial_rto_ms.max(1),
            min_ms,
            max_ms: link.max_rto_ms.max(min_ms),
        }
    }

    /// Takes one measured round trip. By Karn's rule the caller measures only what was sent once.
    pub(super) fn sample(&mut self, rtt_ms: u64) {
        let rtt = u32::try_from(rtt_ms).unwrap_or(u32::MAX).min(60_000);
        self.backoff = 0;
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(rtt * 8);
            self.deviation = rtt * 2;
            return;
        };
        let error = rtt.abs_diff(smoothed / 8);
        // RTTVAR ← 3/4 RTTVAR + 1/4 |error|, SRTT ← 7/8 SRTT + 1/8 RTT, in their scaled forms.
        self.deviation = self.deviation - self.deviation / 4 + error;
        self.smoothed = Some(smoothed - smoothed / 8 + rtt);
    }

    /// The time after which data that went unanswered is sent again.
    pub(super) fn rto_ms(&self) -> u64 {
        self.after(self.backoff)
    }

    /// The time after which a command that went unanswered is sent again, for its n-th try. Commands back off by
    /// themselves: one that gets through must not wait for what data has suffered.
    pub(super) fn try_ms(&self, tries: u8) -> u64 {
        self.after(tries.saturating_sub(1))
    }

    fn after(&self, doublings: u8) -> u64 {
        let base = match self.smoothed {
            None => self.initial_ms,
            // The deviation is kept in quarters: as it stands it is the 4·RTTVAR of RFC 6298.
            Some(smoothed) => (smoothed / 8).saturating_add(self.deviation.max(1)),
        };
        let base = u64::from(base.max(self.min_ms));
        (base << doublings.min(16)).min(u64::from(self.max_ms))
    }

    /// Doubles the retransmission time after a timeout.
    pub(super) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1).min(16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_the_links_value_and_follows_the_measured_round_trip() {
        let mut rtt = Rtt::new(&Link::serial(115_200));
        assert_eq!(rtt.rto_ms(), 500);
        rtt.sample(113);
        assert_eq!(rtt.rto_ms(), 113 + 226, "first sample: SRTT + 4 × RTT/2");
        for _ in 0..40 {
            rtt.sample(113);
        }
        assert_eq!(rtt.rto_ms(), 200, "a steady link ends at the least value");
        for _ in 0..40 {
            rtt.sample(900);
        }
        assert!((900..1100).contains(&rtt.rto_ms()), "{}", rtt.rto_ms());
    }

    #[test]
    fn backs_off_to_the_bound_and_recovers() {
        let mut rtt = Rtt::new(&Link::serial(115_200));
        let mut seen = [0; 6];
        for place in &mut seen {
            *place = rtt.rto_ms();
            rtt.back_off();
        }
        assert_eq!(seen, [500, 1000, 2000, 4000, 8000, 8000]);
        rtt.sample(100);
        assert_eq!(rtt.rto_ms(), 300);
    }

    #[test]
    fn absurd_samples_stay_bounded() {
        let mut rtt = Rtt::new(&Link::ip());
        rtt.sample(u64::MAX);
        rtt.sample(0);
        rtt.sample(u64::MAX);
        assert_eq!(rtt.rto_ms(), 8_000);
    }
}
