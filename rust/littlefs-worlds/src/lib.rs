// SPDX-License-Identifier: Apache-2.0
//! The controller's store on real littlefs, over the simulated NOR flash: what a controller under Zephyr has. Power can
//! be cut at every write and erase that littlefs makes, torn in every way that the flash knows.
#![allow(clippy::expect_used, reason = "a simulation: whatever must not happen ends it")]

extern crate alloc;

mod chip;
mod session;

use chip::Chip;
use core::fmt;
use rekindle_relay::{File, STORE_MAX, StoreFault, StoreOp};
use rekindle_sim::relay_world::{Medium, Plant, PowerLost, StoreTear};
use session::{Desk, Op, Reply, Request};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A store on littlefs with `COUNT` sectors of `SECTOR` bytes, freshly formatted.
pub struct LittlefsStore<const SECTOR: usize, const COUNT: usize> {
    requests: Sender<Request>,
    replies: Receiver<Reply>,
    operations: u64,
    /// Length of the image file, as long as nothing has changed a file.
    image: Option<usize>,
}

impl<const SECTOR: usize, const COUNT: usize> fmt::Debug for LittlefsStore<SECTOR, COUNT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LittlefsStore").field("operations", &self.operations).finish_non_exhaustive()
    }
}

impl<const SECTOR: usize, const COUNT: usize> LittlefsStore<SECTOR, COUNT> {
    /// An empty store; `seed` decides how operations tear.
    #[must_use]
    pub fn new(seed: u64, plant: Option<Plant>) -> Self {
        let (requests, theirs) = channel();
        let (replies, ours) = channel();
        std::thread::spawn(move || {
            let chip = Chip::<SECTOR, COUNT>::new(seed);
            Desk { chip, plant, requests: theirs, replies }.run();
        });
        let mut store = Self { requests, replies: ours, operations: 0, image: None };
        // Learns how many operations the format took.
        store.clear_plans();
        store
    }

    fn ask(&mut self, request: Request) -> Reply {
        self.requests.send(request).expect("the file system's thread, which panicked");
        let (result, operations) = self.replies.recv().expect("the file system's thread, which panicked");
        self.operations = operations;
        (result, operations)
    }
}

impl<const SECTOR: usize, const COUNT: usize> Medium for LittlefsStore<SECTOR, COUNT> {
    fn perform(&mut self, op: &StoreOp<'_>) -> Result<Result<Vec<u8>, StoreFault>, PowerLost> {
        match *op {
            StoreOp::Read { len, .. } => assert!(len > 0 && len as usize <= STORE_MAX, "{op:?}"),
            StoreOp::Append { data, .. } => {
                assert!(!data.is_empty() && data.len() <= STORE_MAX, "{op:?}");
                self.image = None;
            }
            _ => self.image = None,
        }
        let (result, _) = self.ask(Request::Perform(Op::from(op)));
        result.map(|done| done.map(|(bytes, _)| bytes))
    }

    /// Writes and erases of the flash.
    fn operations(&self) -> u64 {
        self.operations
    }

    fn plan_cut(&mut self, operation: u64, tear: StoreTear) {
        let _ = self.ask(Request::PlanCut(operation, tear));
    }

    fn clear_plans(&mut self) {
        let _ = self.ask(Request::ClearPlans);
    }

    fn power_off(&mut self) {
        self.image = None;
        let _ = self.ask(Request::PowerOff);
    }

    fn len_of(&mut self, file: File) -> Option<usize> {
        if let (File::Image, Some(len)) = (file, self.image) {
            return Some(len);
        }
        let (result, _) = self.ask(Request::LenOf(file));
        let (_, len) = result.ok()?.expect("littlefs knows its files");
        if file == File::Image {
            self.image = Some(len);
        }
        Some(len)
    }
}
