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

/// Takes down the answer to a question for a past outcome, the newest being the first; the index
/// of the next one to ask for, if there is one.
pub(crate) fn learn(state: &mut ffi::State, report: &OutcomeReport) -> Option<u32> {
    if report.outcome == Outcome::None {
        return None;
    }
    let at = usize::try_from(report.index).ok()?;
    let place = state.outcome.get_mut(at)?;
    *place = ffi::Outcome {
        attempt: report.attempt,
        outcome: u32::from(report.outcome as u8),
        stage: report.stage.unwrap_or(0),
        code: report.code.unwrap_or(0),
        reset_cause: report.reset_cause.unwrap_or(0),
        has_stage: report.stage.is_some(),
        permanent: report.mode == Some(Mode::Permanent),
    };
    let next = report.index.saturating_add(1);
    state.outcomes = u8::try_from(next).unwrap_or(0);
    (next < report.total && usize::from(state.outcomes) < ffi::OUTCOMES).then_some(next)
}
