// SPDX-License-Identifier: Apache-2.0
//! Events that wait for the next poll.

use super::report::SenderEvent;

/// Events that can wait at once. One input causes at most four; a driver that does not poll between inputs
/// loses the newest, never a decision.
const EVENTS_MAX: usize = 6;

/// A short queue. Acknowledgements are merged: only the last offset matters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outbox {
    events: [Option<SenderEvent>; EVENTS_MAX],
    acknowledged: Option<u32>,
}

impl Outbox {
    pub(super) fn push(&mut self, event: SenderEvent) {
        if let Some(place) = self.events.iter_mut().find(|place| place.is_none()) {
            *place = Some(event);
        }
    }

    pub(super) fn acknowledged(&mut self, offset: u32) {
        self.acknowledged = Some(offset);
    }

    /// Takes the oldest. Progress comes first: what follows from it was queued later.
    pub(super) fn pop(&mut self) -> Option<SenderEvent> {
        if let Some(offset) = self.acknowledged.take() {
            return Some(SenderEvent::Acknowledged { offset });
        }
        let oldest = self.events.first_mut()?.take()?;
        self.events.rotate_left(1);
        Some(oldest)
    }
}
