// SPDX-License-Identifier: Apache-2.0

//! What other threads may know of the device: C's side of it is `rekindle_busy()` and
//! `rekindle_state()`.

use fusain::{Mode, Outcome, OutcomeReport};

use crate::ffi;

/// Whether an update is on its way, pending or under test: start nothing that a reset or a
/// stalled CPU would harm. From any thread; true until the session has looked at its flash.
///
/// An application that changes its state first and asks afterwards cannot race an update,
/// for the session asks for the state before each step.
#[must_use]
pub fn busy() -> bool {
    ffi::rekindle_busy()
}

pub(crate) fn publish_busy(busy: bool) {
    ffi::rekindle_publish_busy(busy);
}

pub(crate) fn publish(state: &ffi::State) {
    // SAFETY: `state` is valid for the call, which copies it.
    unsafe { ffi::rekindle_publish(state) }
}

/// The past outcomes, the newest first.
#[derive(Debug)]
pub(crate) struct Outcomes {
    known: [ffi::Outcome; ffi::OUTCOMES],
    count: usize,
}

impl Outcomes {
    pub(crate) const NONE: Self = Self { known: [ffi::Outcome::NONE; ffi::OUTCOMES], count: 0 };

    /// Takes down the answer to a question for one of them; the index of the next one to ask
    /// for, if there is one.
    pub(crate) fn learn(&mut self, report: &OutcomeReport) -> Option<u32> {
        if report.outcome == Outcome::None {
            return None;
        }
        let at = usize::try_from(report.index).ok()?;
        let place = self.known.get_mut(at)?;
        *place = ffi::Outcome {
            attempt: report.attempt,
            outcome: u32::from(report.outcome as u8),
            stage: report.stage.unwrap_or(0),
            code: report.code.unwrap_or(0),
            reset_cause: report.reset_cause.unwrap_or(0),
            has_stage: report.stage.is_some(),
            permanent: report.mode == Some(Mode::Permanent),
        };
        self.count = at.saturating_add(1);
        let next = report.index.saturating_add(1);
        (next < report.total && self.count < ffi::OUTCOMES).then_some(next)
    }

    pub(crate) fn copy_to(&self, state: &mut ffi::State) {
        state.outcome = self.known;
        state.outcomes = u8::try_from(self.count).unwrap_or(0);
    }
}
