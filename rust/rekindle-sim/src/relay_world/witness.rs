// SPDX-License-Identifier: Apache-2.0
//! Sees everything, and says which promise did not hold.

use super::Transfer;
use super::client::Acknowledged;
use super::scenario::{Fate, Made};
use crate::image::digest;
use alloc::collections::BTreeMap;
use core::fmt;
use fusain::relay::{RosterEntry, RosterOutcome, Stage};
use fusain::{Address, Command};
use rekindle_session::sender::Completion;

/// A promise of the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// Nothing that policy refuses reaches a bus, and what does is the image, byte for byte.
    NothingForbiddenIsForwarded,
    /// Whatever happened, every appliance that is there can be updated afterwards.
    AlwaysUpdatable,
    /// The image is there as long as somebody needs it.
    ImageKeptWhileNeeded,
    /// What is told to be durable is there after a power cut.
    DurableSurvives,
    /// An outcome that is told is what happened.
    OutcomeIsTrue,
    /// A plan that was answered is carried out.
    PlansAreKept,
    /// Something happens: nobody waits for ever.
    Progress,
}

impl Invariant {
    /// Its name, as messages and tests have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NothingForbiddenIsForwarded => "nothing_forbidden_is_forwarded",
            Self::AlwaysUpdatable => "always_updatable",
            Self::ImageKeptWhileNeeded => "image_kept_while_needed",
            Self::DurableSurvives => "durable_survives",
            Self::OutcomeIsTrue => "outcome_is_true",
            Self::PlansAreKept => "plans_are_kept",
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
    /// Number of the store's last operation.
    pub operation: u64,
    /// Time in the world, in milliseconds.
    pub at_ms: u64,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, seen, seed, operation, at_ms } = self;
        write!(f, "{}: {seen} (seed {seed}, store operation {operation}, {at_ms} ms)", invariant.name())
    }
}

impl core::error::Error for Broken {}

type Finding = Result<(), (Invariant, String)>;

/// What the witness knows of the campaign that goes on.
pub(super) struct Witness {
    fate: Fate,
    version: u8,
    bytes: Vec<u8>,
    digest: [u8; 32],
    /// Digest that an appliance was last sent.
    started: BTreeMap<u64, [u8; 32]>,
    transfers: BTreeMap<u64, Transfer>,
}

impl Witness {
    pub(super) fn new() -> Self {
        Self {
            fate: Fate::Confirms,
            version: 0,
            bytes: Vec::new(),
            digest: [0; 32],
            started: BTreeMap::new(),
            transfers: BTreeMap::new(),
        }
    }

    pub(super) fn begin(&mut self, made: &Made) {
        (self.fate, self.version) = (made.fate, made.version);
        self.bytes = made.bytes.clone();
        self.digest = digest(&made.bytes);
    }

    /// The controller puts something on a bus.
    pub(super) fn on_bus(&mut self, now_ms: u64, address: Address, payload: &[u8]) -> Finding {
        let broken = |seen: String| Err((Invariant::NothingForbiddenIsForwarded, seen));
        match Command::decode(payload) {
            Ok(Some(Command::Start(start))) => {
                self.started.insert(address.get(), start.digest);
                if start.digest != self.digest {
                    return broken(format!("START of another image to {address}"));
                }
                if !self.fate.is_allowed() {
                    return broken(format!("START of an image that is {:?} to {address}", self.fate));
                }
            }
            Ok(Some(Command::Data(data))) => {
                let transfer = Transfer { from_ms: now_ms, to_ms: now_ms };
                self.transfers.entry(address.get()).or_insert(transfer);
                let from = usize::try_from(data.offset).unwrap_or(usize::MAX);
                let right = self.bytes.get(from..from.saturating_add(data.data.len()));
                if !self.fate.is_allowed() || right != Some(data.data) {
                    return broken(format!("DATA at {from} to {address}"));
                }
            }
            Ok(Some(Command::Verify(_) | Command::Activate(_))) if !self.fate.is_allowed() => {
                return broken(format!("an image that is {:?} goes on at {address}", self.fate));
            }
            Ok(Some(Command::Verify(_))) => {
                if let Some(transfer) = self.transfers.get_mut(&address.get()) {
                    transfer.to_ms = now_ms;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// When an image was on its way, to each appliance.
    pub(super) fn transfers(&self) -> Vec<Transfer> {
        self.transfers.values().copied().collect()
    }

    /// An outcome is told; `runs` is what the appliance really runs, if it is there.
    pub(super) fn settled(
        &self,
        address: Address,
        outcome: RosterOutcome,
        runs: Option<u8>,
        base: bool,
    ) -> Finding {
        let target = runs == Some(self.version);
        let true_ = match outcome {
            RosterOutcome::Confirmed => target && self.fate == Fate::Confirms,
            RosterOutcome::AlreadyRunning => target,
            RosterOutcome::Reverted | RosterOutcome::Refused | RosterOutcome::NotAttempted => !target,
            RosterOutcome::Forbidden => !self.fate.is_allowed(),
            RosterOutcome::Untold => base,
            RosterOutcome::UnderTest
            | RosterOutcome::None
            | RosterOutcome::Unknown
            | RosterOutcome::Failed
            | RosterOutcome::Cancelled => true,
        };
        if true_ {
            return Ok(());
        }
        let fate = self.fate;
        Err((
            Invariant::OutcomeIsTrue,
            format!("{address} is {outcome:?}, runs {runs:?}; the image is {fate:?}"),
        ))
    }

    /// A plain push is over, with this word of its sender if it has one.
    pub(super) fn pushed(
        &self,
        address: Address,
        completion: Option<Completion>,
        runs: u8,
        base: bool,
    ) -> Finding {
        let target = runs == self.version;
        let true_ = match completion {
            Some(Completion::Confirmed) => target && self.fate == Fate::Confirms && !base,
            Some(Completion::AlreadyRunning { .. }) => target,
            Some(Completion::Reverted | Completion::RefusedByBootloader | Completion::NotAttempted) => {
                !target
            }
            Some(Completion::Untold) => base,
            _ => true,
        };
        if true_ {
            return Ok(());
        }
        let fate = self.fate;
        Err((
            Invariant::OutcomeIsTrue,
            format!("{completion:?} is told of {address}, which runs {runs}; the image is {fate:?}"),
        ))
    }

    /// What the controller acknowledged before and after a power cut.
    pub(super) fn acknowledged(&self, seen: Acknowledged, checkpoint: u32) -> Finding {
        // A page may be on its way beyond the checkpoint.
        match seen.first {
            Some(first) if first + checkpoint + 256 < seen.before => {
                Err((Invariant::DurableSurvives, format!("{} acknowledged, {first} left", seen.before)))
            }
            _ => Ok(()),
        }
    }

    /// The controller has come back: what it had answered for, it still knows.
    pub(super) fn kept(planned: &[Address], entries: &[RosterEntry]) -> Finding {
        for address in planned {
            let entry = entries.iter().find(|entry| entry.address == *address);
            if entry.is_none_or(|entry| entry.stage == Stage::None) {
                return Err((Invariant::PlansAreKept, format!("{address} was planned, and is {entry:?}")));
            }
        }
        Ok(())
    }

    /// The controller says that nobody needs the image any more.
    pub(super) fn over(&self, planned: &[Address], entries: &[RosterEntry]) -> Finding {
        for address in planned {
            let entry = entries.iter().find(|entry| entry.address == *address);
            let settled =
                entry.is_some_and(|e| e.stage == Stage::Settled && e.outcome != RosterOutcome::None);
            if !settled {
                return Err((Invariant::PlansAreKept, format!("{address} was planned, and is {entry:?}")));
            }
        }
        Ok(())
    }
}
