// SPDX-License-Identifier: Apache-2.0
//! Outcomes older than the newest one: they are read from the journal when asked for.

use super::job::Job;
use super::{Receiver, Reply};
use crate::journal::record::Record;

/// A walk to the wanted outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Settled records still to be passed over.
    skip: u32,
    index: u32,
    total: u32,
}

impl Receiver {
    /// Begins to look for outcome `index` of `total`, counted from the newest.
    pub(super) fn find_outcome(&mut self, index: u32, total: u32) {
        let open = u32::from(self.journal.ledger().attempt.is_some());
        let settled = self.journal.ledger().settled_count;
        let back = index.saturating_sub(open);
        let skip = settled.saturating_sub(1).saturating_sub(back);
        self.job = Job::History(Step { skip, index, total });
        self.journal.next_record(0);
    }

    pub(super) fn run_history(&mut self, step: Step) {
        match self.journal.take_found() {
            Some((Record::Settled(settled), _)) if step.skip == 0 => {
                let mut report = self.empty_report(step.index, step.total);
                settled.report(&mut report);
                self.reply = Some(Reply::Outcome(report));
            }
            Some((record, block)) => {
                let passed = u32::from(matches!(record, Record::Settled(_)));
                self.job = Job::History(Step { skip: step.skip.saturating_sub(passed), ..step });
                self.journal.next_record(block);
            }
            // The journal ends before the outcome: it could not be read.
            None => self.job = Job::None,
        }
    }
}
