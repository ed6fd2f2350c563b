// SPDX-License-Identifier: Apache-2.0
//! What must hold in every world, by name.

use core::fmt;

/// A promise of the update session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// Whatever the bootloader is asked to install is, byte for byte, the image that was sent.
    NothingUnverifiedIsActivated,
    /// The bootloader takes what the session verified: a refusal of a good image means it was not as it should be.
    VerifiedImageIsTaken,
    /// The device always starts, and what starts is an image that was sent or installed.
    RunningImageStaysIntact,
    /// While an image is under test, the one to revert to is whole.
    RevertImageStaysIntact,
    /// What was acknowledged and is gone after a power cut is never more than one sector.
    AcknowledgedWithinASector,
    /// What was told to be durable is still there after a power cut.
    DurableSurvives,
    /// A session goes on only on top of bytes that are in flash as they were sent.
    ResumedBytesAreRight,
    /// Whatever happened, an update can be installed afterwards.
    AlwaysInstallable,
    /// An outcome that is told, by the device or by the sender, is what happened.
    OutcomeIsTrue,
    /// Flash is used by its rules: erased before it is written, in whole blocks.
    FlashRulesAreKept,
    /// Something happens: no end of the link waits for ever.
    Progress,
}

impl Invariant {
    /// Its name, as messages and tests have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NothingUnverifiedIsActivated => "nothing_unverified_is_activated",
            Self::VerifiedImageIsTaken => "verified_image_is_taken",
            Self::RunningImageStaysIntact => "running_image_stays_intact",
            Self::RevertImageStaysIntact => "revert_image_stays_intact",
            Self::AcknowledgedWithinASector => "acknowledged_within_a_sector",
            Self::DurableSurvives => "durable_survives",
            Self::ResumedBytesAreRight => "resumed_bytes_are_right",
            Self::AlwaysInstallable => "always_installable",
            Self::OutcomeIsTrue => "outcome_is_true",
            Self::FlashRulesAreKept => "flash_rules_are_kept",
            Self::Progress => "progress",
        }
    }
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// What was seen.
    pub seen: String,
    /// Seed of the world.
    pub seed: u64,
    /// Number of the next flash operation.
    pub operation: u64,
    /// Time in the world, in nanoseconds.
    pub at_ns: u64,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, seen, seed, operation, at_ns } = self;
        let name = invariant.name();
        let ms = at_ns / 1_000_000;
        write!(f, "{name}: {seen} (seed {seed}, before flash operation {operation}, {ms} ms)")
    }
}

impl core::error::Error for Broken {}
