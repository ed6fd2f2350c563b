// SPDX-License-Identifier: Apache-2.0
//! Why a sender gave up: what happened, where, and what to do next.

use core::fmt;

use fusain::{Constraint, InvalidCommand, OtaState, Reason, StateReject, Version};

use super::plan::PlanError;

/// The command that a failure belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// Extension INFO_REQUEST.
    Info,
    /// OTA_START.
    Start,
    /// OTA_DATA.
    Data,
    /// OTA_VERIFY.
    Verify,
    /// OTA_ACTIVATE.
    Activate,
    /// OTA_QUERY.
    Query,
    /// OTA_ABORT.
    Abort,
    /// Extension OUTCOME_REQUEST.
    Outcome,
}

impl CommandKind {
    /// Returns the protocol's name of the command.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO_REQUEST",
            Self::Start => "OTA_START",
            Self::Data => "OTA_DATA",
            Self::Verify => "OTA_VERIFY",
            Self::Activate => "OTA_ACTIVATE",
            Self::Query => "OTA_QUERY",
            Self::Abort => "OTA_ABORT",
            Self::Outcome => "OUTCOME_REQUEST",
        }
    }
}

/// A refusal as the device sent it (PROTOCOL.md §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// ERROR_INVALID_CMD.
    Invalid(InvalidCommand),
    /// ERROR_STATE_REJECT.
    Reject(StateReject),
}

impl Refusal {
    /// Returns the constraint that was violated, if the device named one we know.
    #[must_use]
    pub fn constraint(&self) -> Option<Constraint> {
        match self {
            Self::Invalid(invalid) => invalid.constraint.and_then(|number| number.try_into().ok()),
            Self::Reject(_) => None,
        }
    }

    /// Returns why the state forbade the command, if the device named a reason we know.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Invalid(_) => None,
            Self::Reject(reject) => reject.reason.and_then(|number| number.try_into().ok()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.constraint(), self.reason()) {
            (Self::Invalid(_), Some(constraint), _) => write!(f, "{constraint}")?,
            (Self::Reject(_), _, Some(reason)) => write!(f, "{reason}")?,
            (Self::Invalid(invalid), None, _) => write!(f, "invalid command, error code {}", invalid.code)?,
            (Self::Reject(reject), _, None) => write!(f, "refused in state {}", reject.code)?,
        }
        match self {
            Self::Invalid(InvalidCommand { field: Some(field), .. }) => write!(f, " (field {field})"),
            _ => Ok(()),
        }
    }
}

/// Why a plan was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The plan itself is wrong; nothing was sent.
    Plan(PlanError),
    /// The image does not fit the device's slot.
    TooLarge {
        /// Size of the image, in bytes.
        size: u32,
    },
    /// The device says that what it received does not have the image's digest, twice: everything was sent once
    /// more from the first byte in between.
    HashMismatch {
        /// How often everything was sent again.
        restarts: u8,
    },
    /// Header or trailer are not those of an image for this device: wrong product, wrong version announced, or
    /// not an image.
    WrongImage {
        /// The command that was refused.
        at: CommandKind,
    },
    /// The device checks signatures, and this one is not from a key it trusts.
    SignatureInvalid {
        /// The command that was refused.
        at: CommandKind,
    },
    /// The device refuses versions below the one it runs.
    Downgrade {
        /// The command that was refused.
        at: CommandKind,
        /// The version it runs, if it told.
        running: Option<Version>,
    },
    /// The device could not write its flash.
    FlashFailed {
        /// Bytes acknowledged until then.
        offset: u32,
    },
    /// The appliance is in a state in which an update is not safe, and did not leave it within the patience.
    Unsafe {
        /// The command that was refused.
        at: CommandKind,
        /// The appliance's state as it refused.
        appliance_state: i32,
        /// How long the sender waited, in milliseconds.
        waited_ms: u64,
        /// Bytes acknowledged; the device keeps them.
        offset: u32,
    },
    /// Another update keeps the device busy, and did not end within the patience.
    Busy {
        /// State of that update.
        state: OtaState,
        /// How long the sender waited, in milliseconds.
        waited_ms: u64,
    },
    /// The running image is under test: the other slot holds the image to go back to.
    Unconfirmed {
        /// The running version.
        running: Version,
    },
    /// Another image is activated and waits for its reboot.
    SwapPending,
    /// There is nothing verified to activate.
    NothingToActivate {
        /// The update's state on the device.
        state: OtaState,
        /// Its offset, if it told.
        offset: Option<u32>,
    },
    /// Any other refusal.
    Refused {
        /// The command that was refused.
        at: CommandKind,
        /// The refusal.
        refusal: Refusal,
        /// Bytes acknowledged until then.
        offset: u32,
    },
    /// The device stopped answering.
    Silent {
        /// The command without an answer.
        at: CommandKind,
        /// Bytes acknowledged until then.
        offset: u32,
        /// How long nothing of the update was answered, in milliseconds.
        silent_ms: u64,
        /// It does answer pings: it is alive, but update commands do not get through or are ignored.
        alive: bool,
    },
    /// The link stayed down.
    LinkLost {
        /// Bytes acknowledged until then.
        offset: u32,
        /// How long it was down, in milliseconds.
        away_ms: u64,
    },
    /// The device answers, but what it answers leads in circles.
    NoProgress {
        /// The last command.
        at: CommandKind,
        /// Bytes acknowledged until then.
        offset: u32,
        /// The last refusal, if there was one.
        refusal: Option<Refusal>,
    },
    /// The image is activated, and the device has not come back from its reboot.
    NotReturned {
        /// How long the sender waited, in milliseconds.
        waited_ms: u64,
    },
    /// The device has rebooted without taking the image.
    NotTaken {
        /// The update's state after the reboot.
        state: OtaState,
    },
}

impl SendError {
    /// Returns whether the same plan can go on where this one ended once the cause is gone.
    #[must_use]
    pub const fn resumable(&self) -> bool {
        match self {
            Self::Unsafe { .. }
            | Self::Busy { .. }
            | Self::Silent { .. }
            | Self::LinkLost { .. }
            | Self::NoProgress { .. }
            | Self::NotReturned { .. }
            | Self::NotTaken { .. } => true,
            Self::Plan(_)
            | Self::TooLarge { .. }
            | Self::HashMismatch { .. }
            | Self::WrongImage { .. }
            | Self::SignatureInvalid { .. }
            | Self::Downgrade { .. }
            | Self::FlashFailed { .. }
            | Self::Unconfirmed { .. }
            | Self::SwapPending
            | Self::NothingToActivate { .. }
            | Self::Refused { .. } => false,
        }
    }

    /// Says what to do next, in one sentence.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Plan(_) => "correct the option and try again",
            Self::TooLarge { .. } => "build a smaller image, or check that it is meant for this device",
            Self::HashMismatch { .. } => {
                "check the file; if it is right, the device's flash or memory is failing"
            }
            Self::WrongImage { .. } => "check that the image is signed, complete and built for this product",
            Self::SignatureInvalid { .. } => "sign the image with a key this device trusts",
            Self::Downgrade { .. } => "push a newer version, or allow downgrades on the device",
            Self::FlashFailed { .. } => "try once more; if it repeats, the device's flash is failing",
            Self::Unsafe { .. } => "bring the appliance to idle and run the same command again: it resumes",
            Self::Busy { .. } => "let the other update end or abort it, then run the same command again",
            Self::Unconfirmed { .. } => "wait until the running image is confirmed or has been reverted",
            Self::SwapPending => "reboot the device first; its pending image is swapped in then",
            Self::NothingToActivate { .. } => "push the image first",
            Self::Refused { .. } => "see the device's reason; ask for its status",
            Self::Silent { alive: true, .. } => {
                "the device answers pings but no update commands: check that its firmware supports updates and \
                 that it is not in emergency stop"
            }
            Self::Silent { alive: false, .. } => {
                "check address, power and wiring, then run the same command again: it resumes"
            }
            Self::LinkLost { .. } => "restore the link and run the same command again: it resumes",
            Self::NoProgress { .. } => {
                "run the same command again: it resumes; if it repeats, ask for the status"
            }
            Self::NotReturned { .. } => {
                "the bootloader may still be swapping: ask for the status before a power cycle"
            }
            Self::NotTaken { .. } => "ask for the status; the bootloader did not swap the image in",
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(error) => write!(f, "{error}"),
            Self::TooLarge { size } => write!(f, "an image of {size} bytes does not fit the device's slot"),
            Self::HashMismatch { restarts } => {
                write!(
                    f,
                    "the image's digest was wrong on the device, also after {restarts} transfer(s) from scratch"
                )
            }
            Self::WrongImage { at } => write!(f, "{}: not a valid image for this device", at.name()),
            Self::SignatureInvalid { at } => {
                write!(f, "{}: the device does not trust the signature", at.name())
            }
            Self::Downgrade { at, running: Some(running) } => {
                write!(f, "{}: the device runs {running} and refuses older versions", at.name())
            }
            Self::Downgrade { at, running: None } => {
                write!(f, "{}: the device refuses versions older than its own", at.name())
            }
            Self::FlashFailed { offset } => {
                write!(f, "the device could not write its flash at byte {offset}")
            }
            Self::Unsafe { at, appliance_state, waited_ms, .. } => write!(
                f,
                "{}: not safe in the appliance's state {appliance_state}, for {waited_ms} ms",
                at.name()
            ),
            Self::Busy { state, waited_ms } => {
                write!(f, "another update keeps the device busy ({state}), for {waited_ms} ms")
            }
            Self::Unconfirmed { running } => {
                write!(f, "the device runs {running} under test and must keep the image it may revert to")
            }
            Self::SwapPending => f.write_str("another image is activated and waits for a reboot"),
            Self::NothingToActivate { state, .. } => write!(f, "nothing to activate: {state}"),
            Self::Refused { at, refusal, offset } => {
                write!(f, "{} refused at byte {offset}: {refusal}", at.name())
            }
            Self::Silent { at, offset, silent_ms, .. } => {
                write!(f, "no answer to {} for {silent_ms} ms, at byte {offset}", at.name())
            }
            Self::LinkLost { offset, away_ms } => {
                write!(f, "the link has been down for {away_ms} ms, at byte {offset}")
            }
            Self::NoProgress { at, offset, refusal } => {
                write!(f, "no progress at byte {offset}, last with {}", at.name())?;
                refusal.map_or(Ok(()), |refusal| write!(f, ": {refusal}"))
            }
            Self::NotReturned { waited_ms } => {
                write!(f, "the image is activated, but the device has not come back within {waited_ms} ms")
            }
            Self::NotTaken { state } => {
                write!(f, "the device has rebooted without taking the image ({state})")
            }
        }
    }
}

impl core::error::Error for SendError {}
