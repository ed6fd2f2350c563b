// SPDX-License-Identifier: Apache-2.0
//! The one function that decides what follows what. Whatever is not listed is ignored.
//!
//! A refusal never decides by itself: it leads to QUERY, and the refusal and the STATUS that answers it decide
//! together (PROTOCOL.md §6; a refusal's key 0 is not a state to go by).

use fusain::{Constraint, OtaState, Outcome, Reason};

use super::error::{CommandKind, Refusal};
use super::plan::Task;

/// What the sender is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The answer to INFO_REQUEST, or that there is none.
    Info,
    /// The answer to START.
    Start,
    /// Acknowledgements of data.
    Data,
    /// The answer to VERIFY.
    Verify,
    /// The newest outcome before ACTIVATE: whatever is still the newest after it tells of an earlier attempt.
    Before,
    /// The answer to ACTIVATE.
    Activate,
    /// The answer to ABORT.
    Abort,
    /// The answer to QUERY, asked for a reason.
    Query(Why),
    /// The reboot after activation; asks again and again.
    Reboot,
    /// The outcome of an activation; asks again while it is open.
    Outcome,
    /// A better moment for START or ACTIVATE.
    Pause(Pause),
    /// The link.
    Offline,
    /// INFO once more, so that the report tells how the device is at the end.
    Last(Ending),
}

/// Why QUERY was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The task begins with it.
    Entry,
    /// Something went unanswered, or the answer made no sense.
    Lost,
    /// A command was refused.
    Refused(CommandKind, Class),
    /// The device has rebooted after an activation, and speaks the base protocol only.
    Rebooted,
    /// The device has rebooted after ACTIVATE, and nothing says that ACTIVATE had taken effect before.
    Taken,
}

/// What a pause waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The appliance's state allows an update.
    Unsafe,
    /// The appliance's state allows ACTIVATE, which was refused: nothing is activated.
    Activate,
    /// Another update ends.
    Busy,
}

/// Refusals by what they lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Offset mismatch: a gap, or data for a session that is elsewhere.
    Conflict,
    /// What was received does not have the digest.
    Hash,
    /// Nothing that repeating could change.
    Fatal,
    /// The appliance's state does not allow it now.
    Unsafe,
    /// Another update is in progress.
    Busy,
    /// Anything else, such as a command that the device's state does not allow: the state tells what to do.
    State,
}

impl Class {
    /// Sorts a refusal. Unknown numbers count as a matter of state; repeating them is bounded.
    pub(super) fn of(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(invalid) => {
                match invalid.constraint.and_then(|n| Constraint::try_from(n).ok()) {
                    Some(Constraint::ValueConflict) => Self::Conflict,
                    // With the field named, VERIFY says that the session is for another digest: no wrong bytes.
                    Some(Constraint::HashMismatch) if invalid.field.is_none() => Self::Hash,
                    Some(
                        Constraint::FlashWriteFailed
                        | Constraint::ImageTooLarge
                        | Constraint::SignatureInvalid
                        | Constraint::VersionDowngrade
                        | Constraint::HeaderInvalid,
                    ) => Self::Fatal,
                    // VERIFY names no field when the upload is incomplete; a field too low is one we got wrong.
                    Some(Constraint::ValueTooLow) if invalid.field.is_some() => Self::Fatal,
                    _ => Self::State,
                }
            }
            Refusal::Reject(reject) => match reject.reason.and_then(|n| Reason::try_from(n).ok()) {
                Some(Reason::UnsafeState) => Self::Unsafe,
                Some(Reason::UpdateInProgress) => Self::Busy,
                _ => Self::State,
            },
        }
    }
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// INFO arrived.
    Info,
    /// A STATUS arrived.
    Status(OtaState),
    /// A refusal arrived.
    Refused(Class),
    /// An OUTCOME arrived.
    Outcome(Outcome),
    /// PING_RESPONSE says whether the device has rebooted since the last one.
    Uptime {
        /// The uptime went back.
        back: bool,
    },
    /// The step's tries are used up.
    Silent,
    /// The step's time is over.
    Elapsed,
    /// The link is down.
    LinkLost,
    /// The link is up.
    LinkUp,
}

impl Trigger {
    /// Comes at any time, with a command on its way that may still be answered.
    pub(super) const fn leaves_open(self) -> bool {
        matches!(self, Self::Uptime { .. } | Self::Elapsed)
    }
}

/// What is known about the running image in comparison with the one to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// The device or the caller does not name its image.
    Unknown,
    /// Another image.
    Other,
    /// The image to send.
    Target,
}

/// What decisions depend on besides step and trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) task: Task,
    /// The plan's options.
    pub(super) activate: bool,
    pub(super) reboot: bool,
    pub(super) follow: bool,
    pub(super) force: bool,
    /// The device speaks the extension.
    pub(super) extension: bool,
    pub(super) running: Running,
    /// The running image is confirmed, as far as INFO said.
    pub(super) confirmed: bool,
    /// The bootloader will swap at the next boot, as far as INFO said.
    pub(super) swap_pending: bool,
    /// All bytes are acknowledged.
    pub(super) complete: bool,
    /// The last STATUS came after so long a silence that the session may be another sender's.
    pub(super) estranged: bool,
    /// Data and QUERY have followed one another without progress: the device may have rebooted unnoticed.
    pub(super) in_circles: bool,
    /// The last STATUS named an offset below what had been acknowledged.
    pub(super) stepped_back: bool,
    /// ACTIVATE was sent; the reboot may happen at any time.
    pub(super) activating: bool,
    /// The device was ACTIVATED before ACTIVATE was sent.
    pub(super) was_activated: bool,
    /// ACTIVATE was sent more than once.
    pub(super) repeated: bool,
    /// Whether the device has rebooted since ACTIVATE, if that is known.
    pub(super) rebooted: Option<bool>,
    /// While waiting for the reboot: a state other than ACTIVATED that the device was seen in. It counts only
    /// with a later word on whether it has rebooted.
    pub(super) seen: Option<OtaState>,
    /// Whether the newest outcome is that of the image to send: `None` if that cannot be told, false too while
    /// no verdict was heard.
    pub(super) ours: Option<bool>,
    /// The newest outcome is not that of the image to send, for certain: it names another, or there is none.
    pub(super) foreign: bool,
    /// The newest outcome is that of an attempt that was over before ACTIVATE.
    pub(super) stale: bool,
    /// The newest attempt before ACTIVATE is known.
    pub(super) prior: bool,
    /// ACTIVATE may be sent again after a reboot that came too early for it.
    pub(super) once_more: bool,
}

/// What became of the activated image, as far as decisions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As the device's outcome says.
    Reported,
    /// The target runs and is confirmed, though no outcome is on record.
    Confirmed,
    /// The target runs and is not confirmed; nor is an outcome on record.
    UnderTest,
    /// Nobody can tell.
    Unknown,
    /// Rebooted; the base protocol cannot tell more.
    Untold,
}

/// How a plan ends well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    AlreadyRunning,
    Verified,
    Activated,
    Rebooted(Verdict),
    Status,
    Aborted,
}

/// How it ends otherwise; the sender adds the particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The refusal that led to the last QUERY.
    Refusal,
    Silent,
    LinkLost,
    Unconfirmed,
    SwapPending,
    NothingToActivate(OtaState),
    NotReturned,
    NotTaken(OtaState),
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Ignore,
    /// Enter a step.
    Go(Step),
    /// Open the session again: START, after INFO where the device speaks the extension, since it may have booted.
    Reopen,
    /// The digest was wrong: send everything once more. Bounded.
    Scratch,
    /// Wait for a better moment, within the plan's patience, or report the refusal.
    Wait(Pause),
    /// Ask the same again, within the plan's patience, or report the silence.
    Persist,
    /// Ask for the outcome again later.
    Again,
    /// Ask for the next older outcome, or end.
    Older,
    /// Keep this state in mind and ask whether the device has rebooted.
    Weigh(OtaState),
    /// End well.
    Finish(Ending),
    /// End with an error.
    Fail(Failure),
}

/// Decides what follows.
pub(super) fn decide(step: Step, trigger: Trigger, facts: &Facts) -> Next {
    match (step, trigger) {
        (Step::Offline, Trigger::LinkUp) => Next::Go(Step::Info),
        (Step::Offline, Trigger::Elapsed) => Next::Fail(Failure::LinkLost),
        (Step::Offline, _) => Next::Ignore,
        (Step::Last(ending), Trigger::Info | Trigger::Silent | Trigger::LinkLost) => Next::Finish(ending),
        (_, Trigger::LinkLost) => Next::Go(Step::Offline),

        (Step::Info, Trigger::Info | Trigger::Silent) => entry(facts),
        (Step::Data | Step::Verify | Step::Before, Trigger::Uptime { back: true }) if facts.extension => {
            reopen(facts)
        }
        (Step::Start, _) => start(trigger, facts),
        (Step::Data, _) => data(trigger, facts),
        (Step::Verify, _) => verify(trigger, facts),
        (Step::Before, _) => before(trigger),
        (Step::Activate, _) => activate(trigger, facts),
        (Step::Abort, _) => abort(trigger, facts),
        (Step::Query(why), Trigger::Status(state)) => queried(why, state, facts),
        (Step::Query(_), Trigger::Silent) => Next::Persist,
        (Step::Reboot, _) => reboot(trigger, facts),
        (Step::Outcome, _) => outcome(trigger, facts),
        (Step::Pause(_), Trigger::Elapsed) if facts.activating => Next::Go(Step::Reboot),
        (Step::Pause(Pause::Activate), Trigger::Elapsed) => Next::Go(Step::Query(Why::Entry)),
        (Step::Pause(_), Trigger::Elapsed) if facts.task == Task::Push => Next::Go(Step::Start),
        (Step::Pause(_), Trigger::Elapsed) => Next::Go(Step::Query(Why::Entry)),
        (Step::Info | Step::Query(_) | Step::Pause(_) | Step::Last(_), _) => Next::Ignore,
    }
}

/// What comes first, or next after a new connection: INFO has been answered, or there is none.
fn entry(facts: &Facts) -> Next {
    if facts.activating {
        return activated_before(facts);
    }
    match facts.task {
        Task::Abort => Next::Go(Step::Abort),
        Task::Status | Task::Activate => Next::Go(Step::Query(Why::Entry)),
        Task::Push if facts.running == Running::Target && !facts.force => {
            // Somebody activated it before us, perhaps this plan's earlier run: its verdict may be open.
            let open = facts.extension && !facts.confirmed && facts.follow && facts.activate;
            if open { Next::Go(Step::Outcome) } else { Next::Finish(Ending::AlreadyRunning) }
        }
        // The device would refuse START: the other slot holds the image to go back to (PROTOCOL.md §8).
        Task::Push if facts.extension && !facts.confirmed => Next::Fail(Failure::Unconfirmed),
        // Perhaps it is our image that waits for its reboot: the newest outcome says.
        Task::Push if facts.extension && facts.swap_pending => Next::Go(Step::Outcome),
        Task::Push => Next::Go(Step::Start),
    }
}

/// The device has rebooted in mid-transfer.
fn reopen(facts: &Facts) -> Next {
    if facts.task == Task::Push { Next::Reopen } else { Next::Ignore }
}

/// An activation was under way when the connection began.
fn activated_before(facts: &Facts) -> Next {
    match facts.rebooted {
        Some(true) if !facts.follow => Next::Go(Step::Query(Why::Taken)),
        Some(true) if facts.extension => Next::Go(Step::Outcome),
        Some(true) => Next::Go(Step::Query(Why::Rebooted)),
        _ => Next::Go(Step::Reboot),
    }
}

/// What a state that is certain to be our session's leads to.
fn by_state(state: OtaState, facts: &Facts) -> Next {
    match (facts.task, state) {
        (Task::Activate, OtaState::Verified) => activating(facts),
        (Task::Activate, OtaState::Activated) => Next::Go(Step::Activate),
        // A device that rebooted since has to verify once more.
        (Task::Activate, OtaState::Received) => Next::Go(Step::Verify),
        (Task::Activate, _) => Next::Fail(Failure::NothingToActivate(state)),
        (_, OtaState::Idle) => Next::Reopen,
        // Only START's answer proves whose session it is.
        (_, OtaState::Receiving) if facts.estranged => Next::Reopen,
        // It lost what was not durable yet, so it has rebooted: whoever does not ask again is a base sender to it.
        (_, OtaState::Receiving) if facts.extension && (facts.stepped_back || facts.in_circles) => {
            Next::Reopen
        }
        (_, OtaState::Receiving) => Next::Go(Step::Data),
        (_, OtaState::Received) => Next::Go(Step::Verify),
        (_, OtaState::Verified) => verified(facts),
        (_, OtaState::Activated) if facts.activating => Next::Go(Step::Reboot),
        (_, OtaState::Activated) => Next::Fail(Failure::SwapPending),
    }
}

fn verified(facts: &Facts) -> Next {
    if facts.activate { activating(facts) } else { Next::Finish(Ending::Verified) }
}

/// ACTIVATE comes next, unless its verdict could not be told from an earlier one about the same image.
fn activating(facts: &Facts) -> Next {
    Next::Go(if facts.extension && !facts.prior { Step::Before } else { Step::Activate })
}

fn before(trigger: Trigger) -> Next {
    match trigger {
        // A device that does not answer has no outcomes to confuse with one another.
        Trigger::Outcome(_) | Trigger::Silent => Next::Go(Step::Activate),
        _ => Next::Ignore,
    }
}

fn start(trigger: Trigger, facts: &Facts) -> Next {
    match trigger {
        // IDLE answers no START, and an activated device refuses it: what is left of an earlier exchange.
        Trigger::Status(OtaState::Idle | OtaState::Activated) => Next::Ignore,
        Trigger::Status(OtaState::Receiving) => Next::Go(Step::Data),
        Trigger::Status(state) => by_state(state, facts),
        // The answer to an INFO_REQUEST that was given up.
        Trigger::Info if facts.running == Running::Target && !facts.force => Next::Go(Step::Abort),
        // Not answers to START: a gap's or VERIFY's refusal that was under way for long, or twice.
        Trigger::Refused(Class::Conflict | Class::Hash) => Next::Ignore,
        Trigger::Refused(class) => Next::Go(Step::Query(Why::Refused(CommandKind::Start, class))),
        Trigger::Silent => Next::Go(Step::Query(Why::Lost)),
        _ => Next::Ignore,
    }
}

fn data(trigger: Trigger, facts: &Facts) -> Next {
    match trigger {
        Trigger::Status(OtaState::Received) => Next::Go(Step::Verify),
        Trigger::Status(OtaState::Receiving) if facts.complete => Next::Go(Step::Verify),
        Trigger::Status(OtaState::Receiving) => Next::Ignore,
        Trigger::Status(_) | Trigger::Silent => Next::Go(Step::Query(Why::Lost)),
        Trigger::Refused(Class::Hash) => Next::Ignore,
        Trigger::Refused(class) => Next::Go(Step::Query(Why::Refused(CommandKind::Data, class))),
        _ => Next::Ignore,
    }
}

fn verify(trigger: Trigger, facts: &Facts) -> Next {
    match trigger {
        Trigger::Status(OtaState::Verified) => verified(facts),
        // Acknowledgements of data that were overtaken by the last one.
        Trigger::Status(OtaState::Receiving | OtaState::Received) => Next::Ignore,
        Trigger::Refused(Class::Conflict) => Next::Ignore,
        Trigger::Status(_) | Trigger::Silent => Next::Go(Step::Query(Why::Lost)),
        Trigger::Refused(class) => Next::Go(Step::Query(Why::Refused(CommandKind::Verify, class))),
        _ => Next::Ignore,
    }
}

fn activate(trigger: Trigger, facts: &Facts) -> Next {
    match trigger {
        Trigger::Status(OtaState::Activated) if facts.reboot && facts.follow => Next::Go(Step::Reboot),
        Trigger::Status(OtaState::Activated) => Next::Finish(Ending::Activated),
        // The answer may be lost and the device be gone: whether it reboots says more than asking once more.
        Trigger::Status(OtaState::Idle) | Trigger::Silent => Next::Go(Step::Reboot),
        Trigger::Uptime { back: true } if facts.rebooted == Some(true) => Next::Go(Step::Info),
        Trigger::Refused(Class::Conflict) => Next::Ignore,
        Trigger::Refused(class) => Next::Go(Step::Query(Why::Refused(CommandKind::Activate, class))),
        _ => Next::Ignore,
    }
}

fn abort(trigger: Trigger, facts: &Facts) -> Next {
    match trigger {
        Trigger::Status(OtaState::Idle) => aborted(facts),
        Trigger::Refused(class @ (Class::State | Class::Busy)) => {
            Next::Go(Step::Query(Why::Refused(CommandKind::Abort, class)))
        }
        Trigger::Silent => Next::Persist,
        _ => Next::Ignore,
    }
}

/// The device has given its update up: as asked, or since there is a reason not to send, or to send again.
fn aborted(facts: &Facts) -> Next {
    match facts.task {
        Task::Push if facts.running == Running::Target && !facts.force => {
            Next::Finish(Ending::AlreadyRunning)
        }
        Task::Push => Next::Reopen,
        Task::Activate | Task::Status | Task::Abort => Next::Finish(Ending::Aborted),
    }
}

/// QUERY was answered.
fn queried(why: Why, state: OtaState, facts: &Facts) -> Next {
    match why {
        Why::Entry if facts.task == Task::Status && !facts.extension => Next::Finish(Ending::Status),
        Why::Entry if facts.task == Task::Status => Next::Go(Step::Outcome),
        Why::Entry | Why::Lost => by_state(state, facts),
        Why::Refused(CommandKind::Abort, _) if state == OtaState::Idle => aborted(facts),
        Why::Refused(CommandKind::Abort, _) if facts.task == Task::Push => by_state(state, facts),
        Why::Refused(_, Class::Fatal) | Why::Refused(CommandKind::Abort, _) => Next::Fail(Failure::Refusal),
        // Sent once more and good: the refusal was that of before, late or twice.
        Why::Refused(_, Class::Hash) if state == OtaState::Verified => by_state(state, facts),
        Why::Refused(_, Class::Hash) if facts.task == Task::Push => Next::Scratch,
        Why::Refused(_, Class::Hash) => Next::Fail(Failure::Refusal),
        Why::Refused(CommandKind::Activate, Class::Unsafe) if untaken(state, facts) => {
            Next::Wait(Pause::Activate)
        }
        Why::Refused(_, Class::Unsafe) => Next::Wait(Pause::Unsafe),
        Why::Refused(_, Class::Busy) => Next::Wait(Pause::Busy),
        // Only START's own answer proves whose session RECEIVING is; an echo of an old refusal does not repeat.
        Why::Refused(CommandKind::Start, _) if state == OtaState::Activated => {
            Next::Fail(Failure::SwapPending)
        }
        Why::Refused(CommandKind::Start, _) => Next::Reopen,
        // In another mode than the one asked for now.
        Why::Refused(CommandKind::Activate, _) if state == OtaState::Activated && facts.was_activated => {
            Next::Fail(Failure::Refusal)
        }
        // Refused at once, so there is no reboot to wait for. After a repeat, the first may have been taken.
        Why::Refused(CommandKind::Activate, _) if state != OtaState::Activated && !facts.repeated => {
            by_state(state, facts)
        }
        Why::Refused(CommandKind::Activate, _) => Next::Go(Step::Reboot),
        Why::Refused(..) => by_state(state, facts),
        Why::Rebooted => match state {
            OtaState::Idle => Next::Finish(Ending::Rebooted(Verdict::Untold)),
            OtaState::Activated => Next::Go(Step::Reboot),
            _ => Next::Fail(Failure::NotTaken(state)),
        },
        Why::Taken => taken(state, facts),
    }
}

/// ACTIVATE was refused, and the device's state says that no earlier try of it was taken either: a device keeps
/// its session when it was taken for nothing, and loses it when it had an effect.
fn untaken(state: OtaState, facts: &Facts) -> bool {
    state == OtaState::Verified || (state != OtaState::Activated && !facts.repeated)
}

/// The device has rebooted after ACTIVATE, perhaps before it took effect: a session that waits for ACTIVATE says
/// so, whatever became of updates before it.
fn taken(state: OtaState, facts: &Facts) -> Next {
    let waits = matches!(state, OtaState::Verified | OtaState::Received);
    match state {
        _ if waits && facts.once_more => by_state(state, facts),
        _ if waits && !facts.follow => Next::Fail(Failure::NotTaken(state)),
        _ if !facts.follow => Next::Finish(Ending::Activated),
        OtaState::Activated => Next::Go(Step::Reboot),
        _ if facts.stale && !waits && facts.running == Running::Target => {
            Next::Finish(Ending::Rebooted(runs(facts)))
        }
        _ if facts.ours == Some(false) => Next::Finish(Ending::Rebooted(Verdict::Unknown)),
        _ => Next::Finish(Ending::Rebooted(Verdict::Reported)),
    }
}

fn reboot(trigger: Trigger, facts: &Facts) -> Next {
    let judged = |state| match facts.rebooted {
        Some(true) => activated_before(facts),
        // Not rebooted, and yet not ACTIVATED: ACTIVATE was lost, or somebody gave the update up.
        Some(false) => by_state(state, facts),
        None => Next::Weigh(state),
    };
    match trigger {
        Trigger::Info if facts.rebooted == Some(true) => activated_before(facts),
        Trigger::Info => facts.seen.map_or(Next::Ignore, judged),
        // Other firmware may speak another protocol than before.
        Trigger::Uptime { back: true } => Next::Go(Step::Info),
        Trigger::Uptime { back: false } if !facts.extension => facts.seen.map_or(Next::Ignore, judged),
        Trigger::Status(OtaState::Activated) if facts.reboot && facts.follow => Next::Ignore,
        Trigger::Status(OtaState::Activated) => Next::Finish(Ending::Activated),
        Trigger::Status(state) => Next::Weigh(state),
        // A base device that answers no ping, and is IDLE after an activation.
        Trigger::Elapsed if !facts.extension && facts.seen == Some(OtaState::Idle) => {
            Next::Finish(Ending::Rebooted(Verdict::Untold))
        }
        Trigger::Elapsed => Next::Fail(Failure::NotReturned),
        _ => Next::Ignore,
    }
}

fn outcome(trigger: Trigger, facts: &Facts) -> Next {
    match trigger {
        Trigger::Outcome(_) if facts.task == Task::Status => Next::Older,
        Trigger::Silent if facts.task == Task::Status => Next::Finish(Ending::Status),
        Trigger::Outcome(outcome) if facts.activating => rebooted(outcome, facts),
        Trigger::Outcome(Outcome::Pending) => match facts.ours {
            Some(true) if facts.activate => Next::Go(Step::Activate),
            Some(true) => Next::Finish(Ending::Activated),
            _ => Next::Fail(Failure::SwapPending),
        },
        Trigger::Outcome(outcome) if facts.running == Running::Target => rebooted(outcome, facts),
        Trigger::Outcome(_) => Next::Fail(Failure::SwapPending),
        Trigger::Silent => Next::Again,
        // Other firmware may speak another protocol than before.
        Trigger::Uptime { back: true } if facts.activating => Next::Go(Step::Info),
        Trigger::Elapsed if facts.ours != Some(false) => Next::Finish(Ending::Rebooted(Verdict::Reported)),
        Trigger::Elapsed if facts.running == Running::Target => Next::Finish(Ending::Rebooted(runs(facts))),
        Trigger::Elapsed => Next::Finish(Ending::Rebooted(Verdict::Unknown)),
        _ => Next::Ignore,
    }
}

/// The device has rebooted and says what became of the image.
fn rebooted(outcome: Outcome, facts: &Facts) -> Next {
    let in_vain = facts.foreign || (outcome == Outcome::NotAttempted && facts.ours != Some(false));
    if facts.activating && (facts.stale || (in_vain && facts.running != Running::Target)) {
        return Next::Go(Step::Query(Why::Taken));
    }
    if facts.ours != Some(false) {
        match outcome {
            Outcome::Confirmed | Outcome::Reverted | Outcome::Refused | Outcome::NotAttempted => {
                return Next::Finish(Ending::Rebooted(Verdict::Reported));
            }
            // PENDING after a reboot: the device is still finding out.
            Outcome::UnderTest | Outcome::Pending => return Next::Again,
            Outcome::None | Outcome::Unknown => {}
        }
    }
    match (facts.running, facts.confirmed) {
        (Running::Target, true) => Next::Finish(Ending::Rebooted(Verdict::Confirmed)),
        (Running::Target, false) => Next::Again,
        _ if outcome == Outcome::Unknown => Next::Finish(Ending::Rebooted(Verdict::Reported)),
        _ => Next::Finish(Ending::Rebooted(Verdict::Unknown)),
    }
}

/// What INFO alone says of a target that runs.
fn runs(facts: &Facts) -> Verdict {
    if facts.confirmed { Verdict::Confirmed } else { Verdict::UnderTest }
}

#[cfg(test)]
mod tests;
