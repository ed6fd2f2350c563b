// SPDX-License-Identifier: Apache-2.0
//! Outcomes older than the newest one: they are read from the journal when asked for.

use super::command::report_settled;
use super::job::Job;
use super::{Receiver, Reply};
use crate::journal::record::{KIND_SETTLED, Settled};

/// A walk to the wanted outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walk {
    /// Settled records still to be passed over.
    skip: u32,
    index: u32,
    total: u32,
}

impl Receiver {
    /// Begins to look for outcome `index` of `total`, counted from the newest.
    pub(super) fn find_outcome(&mut self, index: u32, total: u32) {
        // Those that came before it, from the oldest on.
        let skip = total.wrapping_sub(index).wrapping_sub(1);
        self.walk = Walk { skip, index, total };
        self.job = Job::History;
        self.journal.next_record(0);
    }

    pub(super) fn run_history(&mut self) {
        // If the journal ends before the outcome, it could not be read.
        let Some(record) = self.journal.found() else { return };
        let walk = &mut self.walk;
        if record.kind() == KIND_SETTLED {
            if walk.skip == 0 {
                let mut report = self.empty_report(self.walk.index, self.walk.total);
                report_settled(&mut report, Settled(record));
                self.reply = Some(Reply::Outcome(report));
                return;
            }
            walk.skip = walk.skip.wrapping_sub(1);
        }
        self.job = Job::History;
        self.journal.next();
    }
}
