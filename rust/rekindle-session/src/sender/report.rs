// SPDX-License-Identifier: Apache-2.0
//! What a sender tells: events on the way, a report at the end.

use fusain::{Info, Message, OtaState, OtaStatus, OutcomeReport};

use super::error::{CommandKind, Refusal, SendError};

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SenderOutput {
    /// Send this message to the device.
    Send(Message<'static>),
    /// Send OTA_DATA with these bytes of the file.
    SendData {
        /// First byte.
        offset: u32,
        /// Number of bytes, 1..=100.
        len: u8,
    },
    /// Tell whoever is interested.
    Event(SenderEvent),
    /// Wait for a message, at most until this time, then poll again.
    Wait {
        /// On the clock of `now_ms`.
        until_ms: u64,
    },
    /// The plan is carried out, or cannot be. Every later poll says the same.
    Done(Result<Report, SendError>),
}

/// Progress, for a display or a log. Nothing has to be done about any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderEvent {
    /// The device answered INFO_REQUEST.
    Peer(Info),
    /// The device speaks the base protocol only.
    BasePeer,
    /// A transfer begins at its first byte.
    Started {
        /// Frames that may be on the way; 1 is lock-step.
        window: u8,
        /// Bytes of a full chunk.
        chunk: u8,
    },
    /// A transfer goes on where an earlier one ended.
    Resumed {
        /// First byte to send.
        offset: u32,
        /// Frames that may be on the way; 1 is lock-step.
        window: u8,
        /// Bytes of a full chunk.
        chunk: u8,
    },
    /// The device has everything up to here.
    Acknowledged {
        /// Bytes from the image's start.
        offset: u32,
    },
    /// Data is sent again from here on.
    WentBack {
        /// First byte sent again.
        offset: u32,
    },
    /// A command got no answer in time.
    TimedOut {
        /// The command.
        command: CommandKind,
    },
    /// The device refused a command; the sender asks for its state.
    Refused {
        /// The command.
        command: CommandKind,
        /// The refusal.
        refusal: Refusal,
    },
    /// The sender waits for the appliance to become safe, or for another update to end.
    Paused,
    /// The digest was wrong on the device; everything is sent once more.
    FromScratch,
    /// The device now verifies.
    Verifying,
    /// The device has verified the image.
    Verified,
    /// The device has marked the image for its next boot.
    Activated,
    /// The device has rebooted.
    Rebooted,
    /// An outcome was reported.
    Outcome(OutcomeReport),
    /// The link is down.
    LinkLost,
    /// The link is back.
    LinkUp,
}

/// What was sent, and what of it more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames of data sent.
    pub data_frames: u32,
    /// Bytes of the image sent, repeats included.
    pub data_bytes: u64,
    /// Bytes of the image that this sender sent more than once.
    pub bytes_again: u64,
    /// Offset at which the first START was answered: what an earlier sender had brought over.
    pub resumed_at: u32,
    /// Commands or data without an answer in time.
    pub timeouts: u32,
    /// Gaps the device reported.
    pub gaps: u32,
    /// Reboots of the device that were noticed, the one after activation included.
    pub reboots: u32,
    /// Links that were lost.
    pub links_lost: u32,
    /// Transfers begun again from scratch after a wrong digest.
    pub restarts: u8,
}

/// How a plan ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Nothing was sent: the device runs this image already.
    AlreadyRunning {
        /// The running image is confirmed.
        confirmed: bool,
    },
    /// Transferred and verified; the plan asked for no more.
    Verified,
    /// Activated; the plan asked not to follow. Without a reboot, any reset swaps the image in.
    Activated,
    /// The new image runs, and is confirmed.
    Confirmed,
    /// The new image runs, and was not confirmed within the patience: it may still be reverted.
    UnderTest,
    /// The new image ran, and the bootloader went back to the old one. The report's outcome says why.
    Reverted,
    /// The bootloader would not boot the new image.
    RefusedByBootloader,
    /// The bootloader did not try the new image.
    NotAttempted,
    /// The device has rebooted, but cannot say what became of the image.
    Unknown,
    /// The device has rebooted; with the base protocol it cannot tell the outcome.
    Untold,
    /// The status was asked for; the report has it.
    Status,
    /// The device has given its update up.
    Aborted,
}

impl Completion {
    /// Returns whether the image was activated and does not run: the update failed, though the sender did not.
    #[must_use]
    pub const fn is_rejection(self) -> bool {
        matches!(self, Self::Reverted | Self::RefusedByBootloader | Self::NotAttempted)
    }
}

/// What a plan led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub completion: Completion,
    /// The device's last INFO; `None` of a base-protocol device.
    pub info: Option<Info>,
    /// Its last STATUS.
    pub status: Option<OtaStatus>,
    /// Its newest outcome, if it was asked for.
    pub outcome: Option<OutcomeReport>,
    /// What was sent.
    pub counters: Counters,
}

/// Where a sender is, for a message when it is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes the device has acknowledged.
    pub acknowledged: u32,
    /// Size of the image, in bytes.
    pub size: u32,
    /// The device's last known state.
    pub state: Option<OtaState>,
    /// What was sent.
    pub counters: Counters,
}
