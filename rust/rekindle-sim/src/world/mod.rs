// SPDX-License-Identifier: Apache-2.0
//! Whole worlds in virtual time: a sender, a link, a device with its flash and bootloader, and everything that can
//! go wrong between them, from one seed.
//!
//! [`World::run`] brings every update of a [`Scenario`] about, as an operator would who tries again, and then one
//! more in peace. It ends with what it saw, or with the first [`Invariant`] that did not hold; the same scenario
//! ends the same way every time.

mod invariant;
mod run;
mod scenario;
mod visitor;
mod witness;

pub use invariant::{Broken, Invariant};
pub use scenario::{Fate, Mishap, Scenario, Update, Visit, When};

use crate::device::{Device, Honest, Port};
use crate::flash::{FlashError, NorFlash, RamStore};
use crate::link::{End, Link};
use alloc::collections::BTreeSet;
use core::fmt;
use fusain::Decoder;
use rekindle_session::port::FlashOp;
use rekindle_session::sender::{Counters, Sender};
use run::Ended;
use witness::Witness;

/// What a world saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Flash operations from the first power-on to the last update, the peaceful one not counted.
    pub operations: u64,
    /// Number of the first of them.
    pub first_operation: u64,
    /// Time from the beginning to the same moment, in nanoseconds.
    pub elapsed_ns: u64,
    /// Power cuts that happened.
    pub power_cuts: u32,
    /// Senders that were needed.
    pub senders: u32,
    /// Failing images that stay because MCUboot itself lost the revert.
    pub stranded: u32,
    /// Outcomes that the device could not tell.
    pub unknown_outcomes: u32,
    /// From the first byte of the last transfer that began or resumed to the acknowledgement of its last, in
    /// nanoseconds.
    pub transfer_ns: Option<u64>,
    /// Bytes of the image at which that transfer began.
    pub transfer_from: u32,
    /// Bytes that arrived at the device and were lost because nothing could keep them.
    pub rx_lost: u64,
    /// Times that another writer was lent the slot.
    pub visits: u32,
    /// What the senders sent, summed up.
    pub counters: Counters,
    /// Bytes on the wire, from the controller and from the device.
    pub wire_bytes: (u64, u64),
}

/// A world in the course of its time.
#[derive(Debug)]
pub struct World {
    scenario: Scenario,
    now_ns: u64,
    device: Device<RamStore>,
    link: Link,
    sender: Option<Sender>,
    decoder: Decoder,
    witness: Witness,
    /// Mishaps at times that have not happened yet, the next one last.
    timed: Vec<(u64, Mishap)>,
    /// Power cuts in operations that have not happened yet, the next one last.
    cuts: Vec<(u64, Mishap)>,
    /// When power returns.
    power_at_ns: Option<u64>,
    /// When the link returns, and whether the sender is told.
    link_at_ns: Option<(u64, bool)>,
    /// When the appliance is safe again.
    safe_at_ns: Option<u64>,
    /// Another writer that waits for the slot.
    visitor: Option<Visit>,
    /// When the next sender begins.
    sender_at_ns: Option<u64>,
    transfer_at_ns: u64,
    summary: Summary,
    trace: Option<Trace>,
}

/// Takes one line for each thing that happens.
struct Trace(Box<dyn FnMut(&str)>);

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace")
    }
}

impl World {
    /// A world whose device has power from time 0 on.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        Self::with_port(scenario, Box::new(Honest))
    }

    /// A world whose device reaches its flash through `port`.
    ///
    /// # Panics
    /// When the installed image does not fit.
    #[must_use]
    pub fn with_port(scenario: Scenario, port: Box<dyn Port<RamStore>>) -> Self {
        let mut flash = NorFlash::new(scenario.geometry, scenario.seed);
        scenario
            .device
            .bootloader
            .install(&mut flash, &scenario.installed, scenario.installed_confirmed)
            .expect("an image that fits");
        let mut reads = BTreeSet::new();
        let mut timed = Vec::new();
        let mut cuts = Vec::new();
        for (when, mishap) in &scenario.mishaps {
            match (when, mishap) {
                (When::Operation { number }, Mishap::FlashFailure { tear }) => {
                    flash.plan_failure(*number, *tear);
                }
                (When::Operation { number }, Mishap::ReadFailure) => {
                    reads.insert(*number);
                }
                (When::Operation { number }, _) => cuts.push((*number, *mishap)),
                (When::At { ns }, _) => timed.push((*ns, *mishap)),
            }
        }
        timed.sort_by_key(|(ns, _)| core::cmp::Reverse(*ns));
        cuts.sort_by_key(|(number, _)| core::cmp::Reverse(*number));
        let link = Link::new(scenario.link, scenario.seed);
        let port = Box::new(FailingReads { inner: port, reads, done: 0 });
        let device = Device::with_port(flash, scenario.device.clone(), port);
        let witness = Witness::new(&scenario);
        let mut world = Self {
            scenario,
            now_ns: 0,
            device,
            link,
            sender: None,
            decoder: Decoder::new(),
            witness,
            timed,
            cuts,
            power_at_ns: Some(0),
            link_at_ns: None,
            safe_at_ns: None,
            visitor: None,
            sender_at_ns: None,
            transfer_at_ns: 0,
            summary: Summary::default(),
            trace: None,
        };
        world.plan_next_cut();
        world
    }

    /// The same world, which tells `tell` what happens in it.
    #[must_use]
    pub fn traced(mut self, tell: impl FnMut(&str) + 'static) -> Self {
        self.trace = Some(Trace(Box::new(tell)));
        self
    }

    /// The device.
    pub fn device(&self) -> &Device<RamStore> {
        &self.device
    }

    /// Lets time go by until everything is installed, or an invariant does not hold.
    ///
    /// # Errors
    /// The [`Broken`] invariant.
    pub fn run(mut self) -> Result<Summary, Broken> {
        if self.run_updates()? == Ended::Stranded {
            return Ok(self.summary);
        }
        self.make_peace();
        let last = self.rescue();
        self.install(last)?;
        Ok(self.summary)
    }

    /// The same without the last update in peace: for measurements.
    ///
    /// # Errors
    /// The [`Broken`] invariant.
    pub fn measure(mut self) -> Result<Summary, Broken> {
        self.run_updates()?;
        Ok(self.summary)
    }

    fn run_updates(&mut self) -> Result<Ended, Broken> {
        self.summary.first_operation = self.device.flash().operations();
        for update in 0..self.scenario.updates.len() {
            if self.install(update)? == Ended::Stranded && self.device.endpoint().is_none() {
                // An image that crashes at once and is never reverted: no update session can help.
                return Ok(Ended::Stranded);
            }
        }
        self.summary.operations = self.device.flash().operations() - self.summary.first_operation;
        self.summary.elapsed_ns = self.now_ns;
        self.summary.wire_bytes =
            (self.link.traffic(End::Controller).bytes, self.link.traffic(End::Device).bytes);
        self.summary.rx_lost = self.device.rx_lost();
        Ok(Ended::Done)
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(Trace(tell)) = &mut self.trace {
            let ms = self.now_ns as f64 / 1e6;
            tell(&format!("{ms:10.3} {}", what()));
        }
    }

    fn broken(&self, invariant: Invariant, seen: impl Into<String>) -> Broken {
        Broken {
            invariant,
            seen: seen.into(),
            seed: self.scenario.seed,
            operation: self.device.flash().operations(),
            at_ns: self.now_ns,
        }
    }

    /// Nothing goes wrong any more.
    fn make_peace(&mut self) {
        self.timed.clear();
        self.cuts.clear();
        self.device.flash_mut().clear_plans();
        self.link.set_faults(crate::link::Faults::default());
    }

    /// The update that must always be possible.
    fn rescue(&mut self) -> usize {
        let len = self.scenario.device.config.layout.image_max as usize * 3 / 4;
        let mode = fusain::Mode::Test;
        self.scenario.updates.push(Update::new(99, len, mode, None, self.scenario.seed));
        self.scenario.updates.len() - 1
    }

    fn plan_next_cut(&mut self) {
        let due = self.device.flash().operations();
        while self.cuts.last().is_some_and(|(number, _)| *number < due) {
            self.cuts.pop();
        }
        if let Some((number, Mishap::PowerCut { tear, .. })) = self.cuts.last() {
            self.device.flash_mut().plan_cut(*number, *tear);
        }
    }
}

/// Lets some of the session's reads fail; the bootloader's never do.
#[derive(Debug)]
struct FailingReads {
    inner: Box<dyn Port<RamStore>>,
    reads: BTreeSet<u64>,
    done: u64,
}

impl Port<RamStore> for FailingReads {
    fn perform(&mut self, flash: &mut NorFlash, op: &FlashOp<'_>) -> Result<Vec<u8>, FlashError> {
        if let FlashOp::Read { .. } = op {
            self.done += 1;
            if self.reads.remove(&(self.done - 1)) {
                return Err(FlashError::Fault);
            }
        }
        self.inner.perform(flash, op)
    }

    fn forget(&mut self) {
        self.inner.forget();
    }
}
