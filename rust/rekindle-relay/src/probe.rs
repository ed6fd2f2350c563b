// SPDX-License-Identifier: Apache-2.0
//! What an appliance's answers to a probe lead to. One function decides; it knows no transfer and no clock.

use fusain::relay::{Cause, RosterOutcome};
use fusain::{InfoFlags, OtaState, Outcome};
use rekindle_session::sender::Report;

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// It rebooted between its answers: they do not belong together.
    pub(crate) torn: bool,
    /// The appliance speaks the extension.
    pub(crate) extension: bool,
    /// It runs the stored image.
    pub(crate) runs_target: bool,
    pub(crate) confirmed: bool,
    pub(crate) swap_pending: bool,
    /// State of its update.
    pub(crate) state: Option<OtaState>,
    /// What became of its newest attempt, if that was with the stored image.
    pub(crate) ours: Option<Outcome>,
}

impl Found {
    /// `before`: the newest attempt of the time before the activation that is asked about. Its outcome may be about
    /// the same image, and is still no word on this activation.
    pub(crate) fn new(report: &Report, image_hash: &[u8; 32], before: Option<u32>) -> Self {
        let flag = |flag| report.info.is_some_and(|info| info.flags.contains(flag));
        let ours = report
            .outcome
            .filter(|outcome| outcome.target.as_ref() == Some(image_hash) && before != Some(outcome.attempt));
        let boots = report.info.zip(report.outcome);
        Self {
            torn: boots.is_some_and(|(info, outcome)| info.boot_number != outcome.boot_number),
            extension: report.info.is_some(),
            runs_target: report.info.is_some_and(|info| info.image_hash == *image_hash),
            confirmed: flag(InfoFlags::CONFIRMED),
            swap_pending: flag(InfoFlags::SWAP_PENDING),
            state: report.status.map(|status| status.state),
            ours: ours.map(|report| report.outcome),
        }
    }
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Bring the image.
    Send,
    /// Send ACTIVATE.
    Activate,
    /// The new image is under test, or about to be: look again.
    Follow,
    /// It was activated without a reboot: look again, for as long as it takes.
    Wait,
    /// It is over.
    Settle(RosterOutcome),
    /// Not now.
    Retry(Cause),
    /// What it had verified is gone: bring the image once more.
    Again,
}

/// Decides. `activated`: ACTIVATE was sent for the stored image, or may have been; `reboot`: with a reboot.
pub(crate) const fn decide(activated: bool, reboot: bool, found: &Found) -> Next {
    if found.torn {
        return Next::Retry(Cause::Silent);
    }
    match (activated, found.runs_target, found.confirmed) {
        (true, true, true) => return Next::Settle(RosterOutcome::Confirmed),
        (false, true, true) => return Next::Settle(RosterOutcome::AlreadyRunning),
        (_, true, false) => return Next::Follow,
        (_, false, _) => {}
    }
    if activated { after_activation(reboot, found) } else { before(found) }
}

/// It runs another image, and nothing was activated.
const fn before(found: &Found) -> Next {
    match (found.extension, found.confirmed, found.swap_pending, found.ours) {
        // The base protocol tells nothing more: START's answer decides.
        (false, ..) => Next::Send,
        (true, true, true, Some(Outcome::Pending)) => Next::Activate,
        (true, _, true, _) => Next::Retry(Cause::SwapPending),
        // Its other slot holds the image to go back to.
        (true, false, ..) => Next::Retry(Cause::Unconfirmed),
        (true, true, false, _) => Next::Send,
    }
}

/// It runs another image than the one that was activated, or does not say what it runs.
const fn after_activation(reboot: bool, found: &Found) -> Next {
    match (found.ours, found.state) {
        // The swap waits for a reset.
        (_, Some(OtaState::Activated)) if reboot => Next::Activate,
        (_, Some(OtaState::Activated)) => Next::Wait,
        (Some(Outcome::Pending | Outcome::UnderTest), _) => Next::Follow,
        (Some(Outcome::Reverted), _) => Next::Settle(RosterOutcome::Reverted),
        (Some(Outcome::Refused), _) => Next::Settle(RosterOutcome::Refused),
        // ACTIVATE was lost on the way, or a reboot came first.
        (_, Some(OtaState::Verified | OtaState::Received)) => Next::Activate,
        (Some(Outcome::NotAttempted), _) => Next::Settle(RosterOutcome::NotAttempted),
        // It ran and does not run any more: whatever happened was not our doing.
        (Some(Outcome::Confirmed | Outcome::Unknown | Outcome::None), _) => {
            Next::Settle(RosterOutcome::Unknown)
        }
        (None, _) if found.extension => Next::Again,
        (None, Some(OtaState::Idle)) => Next::Settle(RosterOutcome::Untold),
        (None, _) => Next::Retry(Cause::Silent),
    }
}
