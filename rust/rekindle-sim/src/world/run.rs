// SPDX-License-Identifier: Apache-2.0
//! How time goes by in a world.

use super::invariant::{Broken, Invariant};
use super::scenario::{Fate, Mishap};
use super::witness::{Finding, image_hash};
use super::{Summary, World};
use crate::device::{MS, Note, Step};
use crate::image;
use crate::link::End;
use fusain::{Address, ApplianceState, Decoder, FRAME_MAX, Message, OtaData};
use rekindle_session::port::Area;
use rekindle_session::sender::{
    Completion, Counters, Patience, Plan, Report, SendError, Sender, SenderEvent, SenderOutput,
};

/// Senders after which an operator gives up.
const SENDERS_MAX: u32 = 16;
/// Time between two senders.
const PAUSE_NS: u64 = 3_000 * MS;
/// Time after which a sender that has not ended never will.
const SENDER_MAX_NS: u64 = 3_600_000 * MS;
/// Turns at one moment after which nothing but a loop is left to assume.
const TURNS_MAX: u32 = 100_000;

impl World {
    /// Sends an update until it is where it should be.
    pub(super) fn install(&mut self, update: usize) -> Result<Ended, Broken> {
        self.witness.learn(&self.scenario.updates[update].image.clone());
        let target = image_hash(&self.scenario.updates[update].image);
        let mut last = String::new();
        for _ in 0..SENDERS_MAX {
            self.begin_sender(update);
            self.tell(|| format!("update {update}: a sender begins"));
            let result = self.run_sender(update)?;
            self.tell(|| format!("update {update}: {result:?}"));
            self.sender = None;
            let ended = self.ended(update, &target, result, &mut last)?;
            // The self-test, or what is left of a reboot.
            self.rest(PAUSE_NS)?;
            let fails = self.scenario.updates[update].fate == Fate::Fails;
            if fails && self.witness.stranded(&target, &mut self.device) {
                self.summary.stranded += 1;
                return Ok(Ended::Stranded);
            }
            if ended {
                return Ok(Ended::Done);
            }
        }
        Err(self.broken(Invariant::AlwaysInstallable, format!("given up: {last}")))
    }

    /// Whether a sender's end is the end of the update.
    fn ended(
        &mut self,
        update: usize,
        target: &[u8; 32],
        result: Result<Report, SendError>,
        last: &mut String,
    ) -> Result<bool, Broken> {
        let report = match result {
            Ok(report) => report,
            Err(error) => {
                *last = error.to_string();
                let hopeless = matches!(
                    error,
                    SendError::Plan(_)
                        | SendError::TooLarge { .. }
                        | SendError::HashMismatch { .. }
                        | SendError::WrongImage { .. }
                        | SendError::SignatureInvalid { .. }
                        | SendError::Downgrade { .. }
                );
                if hopeless {
                    return Err(self.broken(Invariant::AlwaysInstallable, last.clone()));
                }
                return Ok(false);
            }
        };
        *last = format!("{:?}", report.completion);
        add(&mut self.summary, &report.counters);
        let finding = self.witness.reported(&report, target, &mut self.device);
        self.found(finding)?;
        self.summary.unknown_outcomes = self.witness.unknown_outcomes;
        if report.completion == Completion::Activated {
            return Ok(true);
        }
        Ok(match self.scenario.updates[update].fate {
            Fate::Passes => self.witness.installed(target, &mut self.device),
            // An image that crashes before it leaves a mark may leave nothing that tells.
            Fate::Fails => matches!(report.completion, Completion::Reverted | Completion::Unknown),
        })
    }

    fn begin_sender(&mut self, update: usize) {
        self.summary.senders += 1;
        let update = &self.scenario.updates[update];
        let size = update.image.len() as u32;
        let patience = Patience { unsafe_ms: 30_000, busy_ms: 90_000, ..Patience::default() };
        let plan = Plan {
            version: Some(update.version),
            mode: update.mode,
            follow: update.follow,
            window_max: self.scenario.window_max,
            chunk_max: self.scenario.chunk_max,
            patience,
            ..Plan::push(size, image::digest(&update.image), Some(image_hash(&update.image)))
        };
        let mut sender = Sender::new(plan, self.scenario.sender_link, self.now_ns / MS);
        if self.link_at_ns.is_some_and(|(_, told)| told) {
            sender.link_lost(self.now_ns / MS);
        }
        self.sender = Some(sender);
        self.decoder = Decoder::new();
    }

    /// Runs until the sender ends.
    fn run_sender(&mut self, update: usize) -> Result<Result<Report, SendError>, Broken> {
        let deadline_ns = self.now_ns + SENDER_MAX_NS;
        loop {
            let turn = self.turn(Some(update))?;
            if let Some(result) = turn.done {
                return Ok(result);
            }
            match turn.wake_ns {
                Some(wake_ns) if wake_ns <= deadline_ns => self.now_ns = wake_ns,
                _ => {
                    let seen = format!("{:?}", self.sender.as_ref().map(Sender::progress));
                    return Err(self.broken(Invariant::Progress, seen));
                }
            }
            if self.sender_at_ns.is_some_and(|at| self.now_ns >= at) {
                self.sender_at_ns = None;
                self.begin_sender(update);
            }
        }
    }

    /// Lets time go by without a sender.
    fn rest(&mut self, for_ns: u64) -> Result<(), Broken> {
        let end_ns = self.now_ns + for_ns;
        loop {
            let turn = self.turn(None)?;
            match turn.wake_ns {
                Some(wake_ns) if wake_ns < end_ns => self.now_ns = wake_ns,
                _ => break,
            }
        }
        self.now_ns = end_ns;
        Ok(())
    }

    /// Does everything that happens at this moment.
    fn turn(&mut self, update: Option<usize>) -> Result<Turn, Broken> {
        for _ in 0..TURNS_MAX {
            self.mishaps();
            for (at_ns, byte) in self.link.arrived(self.now_ns, End::Device) {
                self.device.receive_byte(at_ns, byte);
            }
            let device_ns = self.run_device()?;
            self.visit()?;
            self.deliver_to_sender();
            let (done, sender_ns) = match update {
                Some(update) => self.run_sender_once(update),
                None => (None, None),
            };
            let wakes = [
                device_ns,
                sender_ns,
                self.link.next_arrival(End::Device),
                self.link.next_arrival(End::Controller),
                self.timed.last().map(|(ns, _)| *ns),
                self.power_at_ns,
                self.link_at_ns.map(|(ns, _)| ns),
                self.safe_at_ns,
                self.sender_at_ns,
            ];
            let wake_ns = wakes.into_iter().flatten().min();
            if done.is_some() || wake_ns.is_none_or(|ns| ns > self.now_ns) {
                return Ok(Turn { done, wake_ns });
            }
            if self.sender_at_ns.is_some_and(|at| at <= self.now_ns) {
                return Ok(Turn { done, wake_ns: Some(self.now_ns) });
            }
        }
        Err(self.broken(Invariant::Progress, "the same moment over and over"))
    }

    fn run_device(&mut self) -> Result<Option<u64>, Broken> {
        loop {
            let step = self.device.step(self.now_ns);
            while let Some(note) = self.device.take_note() {
                if matches!(note, Note::Booted { .. }) {
                    self.device_booted();
                }
                self.tell(|| format!("device: {note:?}"));
                let finding = self.witness.noted(&note, &mut self.device);
                self.found(finding)?;
            }
            while let Some(frame) = self.device.take_frame() {
                self.tell(|| format!("device sends {}", shown(&frame)));
                let finding = self.witness.sent(&frame, &mut self.device);
                self.found(finding)?;
                self.link.send(self.now_ns, End::Device, &frame);
            }
            let finding = self.witness.stepped(&mut self.device);
            self.found(finding)?;
            match step {
                Step::Progress => {}
                Step::Wait { until_ns } => return Ok(until_ns),
                Step::Off => {
                    if self.power_at_ns.is_none() {
                        self.power_lost();
                        self.tell(|| "power is lost".into());
                    }
                    return Ok(None);
                }
                Step::Dead => {
                    return Err(self.broken(Invariant::RunningImageStaysIntact, "it does not start"));
                }
            }
        }
    }

    /// A planned cut has happened inside an operation.
    fn power_lost(&mut self) {
        let off_ns = match self.cuts.pop() {
            Some((_, Mishap::PowerCut { off_ns, .. })) => off_ns,
            _ => PAUSE_NS,
        };
        self.device_down(off_ns);
    }

    pub(super) fn device_down(&mut self, off_ns: u64) {
        self.summary.power_cuts += 1;
        self.witness.went_down();
        self.power_at_ns = Some(self.now_ns + off_ns);
        if self.scenario.connection && self.link.is_up() {
            self.link.cut(self.now_ns);
            if let Some(sender) = &mut self.sender {
                sender.link_lost(self.now_ns / MS);
            }
        }
    }

    /// A connection breaks with the device's reset, and comes back with it.
    fn device_booted(&mut self) {
        if !self.scenario.connection || self.link_at_ns.is_some() {
            return;
        }
        let now_ms = self.now_ns / MS;
        self.link.cut(self.now_ns);
        self.link.restore();
        self.device.link_reset();
        self.decoder = Decoder::new();
        if let Some(sender) = &mut self.sender {
            sender.link_lost(now_ms);
            sender.link_up(now_ms);
        }
    }

    fn deliver_to_sender(&mut self) {
        let now_ms = self.now_ns / MS;
        for (_, byte) in self.link.arrived(self.now_ns, End::Controller) {
            let Some(Ok(packet)) = self.decoder.push(byte) else { continue };
            if packet.address != self.scenario.device.address {
                continue;
            }
            if let (Ok(message), Some(sender)) = (Message::decode(packet.payload), &mut self.sender) {
                sender.message(now_ms, &message);
            }
        }
    }

    fn run_sender_once(&mut self, update: usize) -> (Option<Result<Report, SendError>>, Option<u64>) {
        let mut events = Vec::new();
        let came = self.poll_sender(update, &mut events);
        for event in events {
            self.tell(|| format!("sender: {event:?}"));
            self.time_transfer(&event);
        }
        came
    }

    fn time_transfer(&mut self, event: &SenderEvent) {
        match event {
            SenderEvent::Started { .. } => {
                (self.transfer_at_ns, self.summary.transfer_from) = (self.now_ns, 0)
            }
            SenderEvent::Resumed { offset, .. } => {
                (self.transfer_at_ns, self.summary.transfer_from) = (self.now_ns, *offset);
            }
            SenderEvent::Verifying => self.summary.transfer_ns = Some(self.now_ns - self.transfer_at_ns),
            _ => {}
        }
    }

    fn poll_sender(
        &mut self,
        update: usize,
        events: &mut Vec<SenderEvent>,
    ) -> (Option<Result<Report, SendError>>, Option<u64>) {
        let now_ms = self.now_ns / MS;
        let address = self.scenario.device.address;
        let image = &self.scenario.updates[update].image;
        let Some(sender) = &mut self.sender else { return (None, None) };
        loop {
            match sender.poll(now_ms) {
                SenderOutput::Send(message) => {
                    let frame = encode(&message, address);
                    self.link.send(self.now_ns, End::Controller, &frame);
                }
                SenderOutput::SendData { offset, len } => {
                    let at = offset as usize;
                    let data = OtaData { offset: u64::from(offset), data: &image[at..at + usize::from(len)] };
                    let frame = encode(&Message::OtaData(data), address);
                    self.link.send(self.now_ns, End::Controller, &frame);
                }
                SenderOutput::Event(event) => events.push(event),
                SenderOutput::Wait { until_ms } => {
                    // Its clock counts whole milliseconds: never before the next one.
                    let wake_ms = until_ms.max(now_ms + 1);
                    return (None, Some(wake_ms * MS));
                }
                SenderOutput::Done(result) => return (Some(result), None),
            }
        }
    }

    /// Whatever goes wrong or right again by now.
    fn mishaps(&mut self) {
        let now_ns = self.now_ns;
        if self.power_at_ns.is_some_and(|at| now_ns >= at) {
            self.power_at_ns = None;
            self.device.power_on(now_ns);
            self.plan_next_cut();
        }
        if let Some((_, told)) = self.link_at_ns.take_if(|(at, _)| now_ns >= *at) {
            self.link.restore();
            self.device.link_reset();
            self.decoder = Decoder::new();
            if let Some(sender) = self.sender.as_mut().filter(|_| told) {
                sender.link_up(now_ns / MS);
            }
        }
        if self.safe_at_ns.is_some_and(|at| now_ns >= at) {
            self.safe_at_ns = None;
            self.device.set_state(ApplianceState::Idle);
        }
        while let Some((_, mishap)) = self.timed.pop_if(|(at, _)| now_ns >= *at) {
            self.tell(|| format!("{mishap:?}"));
            self.befall(mishap);
        }
    }

    fn befall(&mut self, mishap: Mishap) {
        let now_ns = self.now_ns;
        match mishap {
            Mishap::PowerCut { off_ns, .. } => {
                if self.power_at_ns.is_none() {
                    self.device.power_off();
                    self.device_down(off_ns);
                }
            }
            Mishap::Reset => {
                if self.power_at_ns.is_none() {
                    self.reset_device();
                }
            }
            Mishap::LinkCut { for_ns, told } => {
                let told = told || self.scenario.connection;
                if self.link.is_up() {
                    self.link.cut(now_ns);
                    self.link_at_ns = Some((now_ns + for_ns, told));
                    if let Some(sender) = self.sender.as_mut().filter(|_| told) {
                        sender.link_lost(now_ns / MS);
                    }
                }
            }
            Mishap::SenderRestart { after_ns } => {
                if self.sender.take().is_some() {
                    self.sender_at_ns = Some(now_ns + after_ns);
                }
            }
            Mishap::Unsafe { state, for_ns } => {
                self.device.set_state(state);
                self.safe_at_ns = Some(now_ns + for_ns);
            }
            Mishap::Visitor { visit } => self.visitor = Some(visit),
            Mishap::ForeignWrite { offset, len } => {
                let noise: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
                let written = self.device.flash_mut().install(Area::Secondary, offset, &noise);
                written.expect("a foreign write inside the slot");
                self.witness.void();
            }
            Mishap::FlashFailure { .. } | Mishap::ReadFailure => {}
        }
    }

    /// Resets the device without a cut of its power.
    pub(super) fn reset_device(&mut self) {
        self.witness.went_down();
        self.device.reset(self.now_ns, crate::device::reset_cause::SOFTWARE);
    }

    fn found(&self, finding: Finding) -> Result<(), Broken> {
        finding.map_err(|(invariant, seen)| self.broken(invariant, seen))
    }
}

/// How an update ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// As it should.
    Done,
    /// An image that fails runs, and MCUboot will not revert it.
    Stranded,
}

/// What a moment came to.
struct Turn {
    done: Option<Result<Report, SendError>>,
    wake_ns: Option<u64>,
}

fn encode(message: &Message<'_>, address: Address) -> Vec<u8> {
    let mut frame = [0; FRAME_MAX];
    let len = message.encode_frame(address, &mut frame).expect("a message of the sender fits a frame");
    frame[..len].to_vec()
}

/// A frame for a reader.
fn shown(frame: &[u8]) -> String {
    let mut decoder = Decoder::new();
    for byte in frame {
        if let Some(Ok(packet)) = decoder.push(*byte) {
            return format!("{:?}", Message::decode(packet.payload));
        }
    }
    format!("{frame:02x?}")
}

fn add(summary: &mut Summary, counters: &Counters) {
    let sum = &mut summary.counters;
    sum.data_frames += counters.data_frames;
    sum.data_bytes += counters.data_bytes;
    sum.bytes_again += counters.bytes_again;
    sum.timeouts += counters.timeouts;
    sum.gaps += counters.gaps;
    sum.reboots += counters.reboots;
    sum.links_lost += counters.links_lost;
}
