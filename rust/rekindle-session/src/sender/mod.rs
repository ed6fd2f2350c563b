// SPDX-License-Identifier: Apache-2.0
//! The sending side of an update session: one image on its way to one device, or one question to it.
//!
//! The sender does nothing by itself. A driver gives it every message that comes from the device
//! ([`Sender::message`]), tells it when the link goes and comes, and calls [`Sender::poll`] until it says
//! [`SenderOutput::Wait`]; it sends what it is told to send, to one address, in order. Time is whatever clock
//! the driver has, in milliseconds, as long as it never goes back.
//!
//! A sender holds no state worth saving. A new one with the same plan resumes: START with the same digest and
//! size makes the device say where it is (PROTOCOL.md §5.2).
//!
//! ```
//! use rekindle_session::sender::{Completion, Link, Plan, Sender, SenderOutput};
//! use fusain::{Message, OtaState, OtaStatus};
//!
//! let mut sender = Sender::new(Plan::abort_only(), Link::serial(115_200), 0);
//! let mut now_ms = 0;
//! let report = loop {
//!     match sender.poll(now_ms) {
//!         SenderOutput::Send(Message::OtaAbort) => {
//!             let idle = OtaStatus { state: OtaState::Idle, offset: None, version: None };
//!             sender.message(now_ms, &Message::OtaStatus(idle));
//!         }
//!         SenderOutput::Wait { until_ms } => now_ms = until_ms,
//!         SenderOutput::Done(result) => break result?,
//!         _ => {}
//!     }
//! };
//! assert_eq!(report.completion, Completion::Aborted);
//! # Ok::<(), rekindle_session::sender::SendError>(())
//! ```

mod decide;
mod error;
mod flow;
mod outbox;
mod peer;
mod plan;
mod report;
mod rtt;
mod steps;
mod transmit;

pub use error::{CommandKind, Refusal, SendError};
pub use plan::{BASE_CHUNK, Link, Patience, Plan, PlanError, Task};
pub use report::{Completion, Counters, Progress, Report, SenderEvent, SenderOutput};

use fusain::{Extension, Info, Message, OtaState, OtaStatus, Outcome, OutcomeReport};

use decide::{Class, Ending, Facts, Next, Running, Step, Trigger, decide};
use flow::{Ack, Acks, Flow};
use outbox::Outbox;
use peer::Peer;
use rtt::Rtt;
use steps::Activation;
use transmit::{Exchange, Line};

/// Times that data goes back to the same offset before QUERY has to tell what the device wants.
const FRUITLESS_MAX: u8 = 2;

/// One plan on its way to one device.
#[derive(Clone, Debug)]
pub struct Sender {
    plan: Plan,
    step: Step,
    /// When the present step was entered.
    since_ms: u64,
    /// Ends a pause or the wait for the link.
    until_ms: Option<u64>,
    line: Line,
    exchange: Exchange,
    rtt: Rtt,
    flow: Flow,
    peer: Peer,
    activation: Activation,
    status: Option<OtaStatus>,
    outcome: Option<OutcomeReport>,
    /// The newest attempt on record before the first ACTIVATE.
    prior: Option<u32>,
    /// Which outcome is asked for.
    outcome_index: u32,
    /// The refusal that led to the present QUERY, or the last one.
    refusal: Option<Refusal>,
    /// The command that last went unanswered.
    unanswered: CommandKind,
    /// Since when a pause has been going on without progress.
    paused_ms: Option<u64>,
    /// Highest offset ever acknowledged, and the furthest step reached: what progress is measured by.
    best: (u32, u8),
    /// Detours without progress.
    detours: u8,
    /// Times that ACTIVATE was sent again after a reboot that it had not led to.
    again: u8,
    /// Bytes of data sent before the last restart.
    bytes_before: u64,
    /// Times that data went back to the same offset.
    fruitless: u8,
    opened: bool,
    counters: Counters,
    outbox: Outbox,
    end: Option<Result<Ending, SendError>>,
}

impl Sender {
    /// A sender whose link is up. A plan that cannot be carried out ends at the first poll.
    #[must_use]
    pub fn new(plan: Plan, link: Link, now_ms: u64) -> Self {
        let mut flow = Flow::new(plan.size);
        flow.shape(plan.chunk, 1, Acks::Each);
        let step = if plan.task == Task::Abort { Step::Abort } else { Step::Info };
        Self {
            plan,
            step,
            since_ms: now_ms,
            until_ms: None,
            rtt: Rtt::new(&link),
            line: Line::new(link, now_ms),
            exchange: Exchange::due(now_ms),
            flow,
            peer: Peer::new(now_ms),
            activation: Activation::default(),
            status: None,
            outcome: None,
            prior: None,
            outcome_index: 0,
            refusal: None,
            unanswered: CommandKind::Info,
            paused_ms: None,
            best: (0, 0),
            detours: 0,
            again: 0,
            bytes_before: 0,
            fruitless: 0,
            opened: false,
            counters: Counters::default(),
            outbox: Outbox::default(),
            end: plan.check().err().map(|error| Err(SendError::Plan(error))),
        }
    }

    /// Takes a message from the device. What is not about updates is ignored.
    pub fn message(&mut self, now_ms: u64, message: &Message<'_>) {
        if self.end.is_some() || self.step == Step::Offline {
            return;
        }
        self.peer.alive_ms = Some(now_ms);
        match message {
            Message::OtaStatus(status) => self.on_status(now_ms, status),
            Message::InvalidCommand(invalid) => self.on_refusal(now_ms, Refusal::Invalid(*invalid)),
            Message::StateReject(reject) => self.on_refusal(now_ms, Refusal::Reject(*reject)),
            Message::Extension(Extension::Info(info)) => self.on_info(now_ms, *info),
            Message::Extension(Extension::Outcome(report)) => self.on_outcome(now_ms, report),
            Message::PingResponse(pong) => self.on_pong(now_ms, pong.uptime_ms),
            _ => {}
        }
    }

    /// Says that the link is down. Nothing is sent until [`link_up`](Self::link_up).
    pub fn link_lost(&mut self, now_ms: u64) {
        if self.end.is_none() && self.step != Step::Offline {
            self.counters.links_lost = self.counters.links_lost.saturating_add(1);
            self.outbox.push(SenderEvent::LinkLost);
            self.turn(now_ms, Trigger::LinkLost);
        }
    }

    /// Says that the link is up again, perhaps to a device that has rebooted.
    pub fn link_up(&mut self, now_ms: u64) {
        if self.end.is_none() && self.step == Step::Offline {
            self.outbox.push(SenderEvent::LinkUp);
            self.peer.answered_ms = now_ms;
            self.line.restart(now_ms);
            self.flow.forget_link();
            self.turn(now_ms, Trigger::LinkUp);
        }
    }

    /// Says what to do next. To be called again after each output but [`SenderOutput::Wait`], after each
    /// message, and when the time of the last `Wait` has come.
    pub fn poll(&mut self, now_ms: u64) -> SenderOutput {
        if self.end.is_none() {
            self.expire(now_ms);
        }
        if let Some(event) = self.outbox.pop() {
            return SenderOutput::Event(event);
        }
        if let Some(end) = self.end {
            return SenderOutput::Done(end.map(|ending| self.report(ending)));
        }
        match self.transmit(now_ms) {
            Some(output) => output,
            None => SenderOutput::Wait { until_ms: self.wake_ms(now_ms) },
        }
    }

    /// Where the sender is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            acknowledged: self.flow.acked(),
            size: self.plan.size,
            state: self.status.map(|status| status.state),
            counters: self.counters,
        }
    }

    fn report(&self, ending: Ending) -> Report {
        Report {
            completion: self.completion(ending),
            info: self.peer.info,
            status: self.status,
            outcome: self.outcome,
            counters: self.counters,
        }
    }

    fn on_status(&mut self, now_ms: u64, status: &OtaStatus) {
        self.peer.answered_after(now_ms);
        let before = self.status.replace(*status).map(|before| before.state);
        if before != Some(status.state) && self.plan.task != Task::Status {
            match status.state {
                OtaState::Verified => self.outbox.push(SenderEvent::Verified),
                OtaState::Activated => self.outbox.push(SenderEvent::Activated),
                OtaState::Idle | OtaState::Receiving | OtaState::Received => {}
            }
        }
        match self.step {
            Step::Data => self.on_acknowledgement(now_ms, status),
            Step::Query(_) => {
                if let Some(rtt_ms) = self.exchange.round_trip(now_ms) {
                    self.rtt.sample(rtt_ms);
                }
            }
            Step::Reboot => self.exchange.answered(now_ms),
            _ => {}
        }
        self.turn(now_ms, Trigger::Status(status.state));
    }

    fn on_acknowledgement(&mut self, now_ms: u64, status: &OtaStatus) {
        let offset = match (status.state, status.offset) {
            (OtaState::Receiving, Some(offset)) => offset,
            (OtaState::Received, _) => self.plan.size,
            _ => return,
        };
        match self.flow.acknowledge(offset, now_ms) {
            Ack::Forward { rtt_ms } => {
                if let Some(rtt_ms) = rtt_ms {
                    self.rtt.sample(rtt_ms);
                }
                self.exchange.renew();
                self.fruitless = 0;
                self.progressed();
                self.outbox.acknowledged(self.flow.acked());
                self.await_data(now_ms);
            }
            Ack::Stale => {}
        }
        self.end_burst(now_ms);
    }

    fn on_refusal(&mut self, now_ms: u64, refusal: Refusal) {
        self.peer.answered_ms = now_ms;
        let class = Class::of(refusal);
        if self.step == Step::Data && class == Class::Conflict && self.flow.windowed() {
            self.on_gap(now_ms);
            return;
        }
        let command = self.command();
        let next = decide(self.step, Trigger::Refused(class), &self.facts());
        if next != Next::Ignore {
            self.refusal = Some(refusal);
            self.outbox.push(SenderEvent::Refused { command, refusal });
        }
        self.apply(now_ms, next);
    }

    /// A gap before what the device received: back to what it has (PROTOCOL.md §8).
    fn on_gap(&mut self, now_ms: u64) {
        if self.flow.listening() {
            // More may be on its way on a shared line: the turnaround decides.
            self.end_burst(now_ms);
        } else if self.flow.gap() {
            self.went_back(now_ms);
        }
    }

    fn went_back(&mut self, now_ms: u64) {
        self.counters.gaps = self.counters.gaps.saturating_add(1);
        self.fruitless = self.fruitless.saturating_add(1);
        if self.fruitless > FRUITLESS_MAX {
            self.turn(now_ms, Trigger::Silent);
            return;
        }
        self.outbox.push(SenderEvent::WentBack { offset: self.flow.acked() });
        self.await_data(now_ms);
    }

    fn on_info(&mut self, now_ms: u64, info: Info) {
        self.peer.answered_ms = now_ms;
        let known = self.peer.extension == Some(true) && self.peer.info == Some(info);
        if self.peer.learn(info) {
            self.rebooted();
        }
        self.activation.booted(info.boot_number);
        if !known {
            self.outbox.push(SenderEvent::Peer(info));
            self.shape_flow();
        }
        if matches!(self.step, Step::Reboot | Step::Outcome) {
            self.exchange.answered(now_ms);
        }
        self.turn(now_ms, Trigger::Info);
    }

    fn on_outcome(&mut self, now_ms: u64, report: &OutcomeReport) {
        self.peer.answered_ms = now_ms;
        if self.step == Step::Before && report.index == 0 {
            self.prior = Some(report.attempt);
            self.turn(now_ms, Trigger::Outcome(report.outcome));
        }
        let asked = self.step == Step::Outcome && report.index == self.outcome_index;
        if !asked || self.activation.over(report.boot_number) {
            return;
        }
        let news = self.outcome != Some(*report);
        if report.index == 0 {
            self.outcome = Some(*report);
        }
        if news {
            self.outbox.push(SenderEvent::Outcome(*report));
        }
        self.exchange.answered(now_ms);
        self.turn(now_ms, Trigger::Outcome(report.outcome));
    }

    fn on_pong(&mut self, now_ms: u64, uptime_ms: u32) {
        self.line.pong();
        let Some(back) = self.peer.pinged(now_ms, uptime_ms) else { return };
        // Of a device that tells its boot number, INFO will say so.
        if back && self.peer.info.is_none() {
            self.rebooted();
        }
        self.activation.uptime(back, now_ms, uptime_ms, self.peer.extension == Some(true));
        self.turn(now_ms, Trigger::Uptime { back });
    }

    /// The device was seen to have rebooted.
    fn rebooted(&mut self) {
        self.counters.reboots = self.counters.reboots.saturating_add(1);
        self.outbox.push(SenderEvent::Rebooted);
    }

    /// Decides and carries out what follows from `trigger`.
    fn turn(&mut self, now_ms: u64, trigger: Trigger) {
        let next = decide(self.step, trigger, &self.facts());
        let out_ms = self.out_since(now_ms).filter(|_| trigger.leaves_open());
        let step = self.step;
        self.apply(now_ms, next);
        if let Some(sent_ms) = out_ms.filter(|_| self.step != step) {
            // What was asked before may still be answered: one command at a time.
            self.exchange.hold(sent_ms.saturating_add(self.rtt.try_ms(1)));
        }
    }

    fn facts(&self) -> Facts {
        let info = self.peer.info.filter(|_| self.peer.extension == Some(true));
        let running = match (info, self.plan.image_hash) {
            (Some(info), Some(hash)) if info.image_hash == hash => Running::Target,
            (Some(_), Some(_)) => Running::Other,
            _ => Running::Unknown,
        };
        let flag = |flag| info.is_some_and(|info| info.flags.contains(flag));
        let offset = self.status.and_then(|status| status.offset);
        // What an ACTIVATED device was asked to do before is the attempt that ACTIVATE repeats.
        let counts = self.activation.sent() && !self.activation.was_activated;
        let stale = counts && self.outcome.is_some_and(|report| Some(report.attempt) == self.prior);
        let ours = match (self.outcome, self.plan.image_hash) {
            (None, _) => Some(false),
            _ if stale => Some(false),
            (Some(report), _) if matches!(report.outcome, Outcome::None | Outcome::Unknown) => Some(false),
            (Some(report), Some(hash)) => report.target.map(|target| target == hash),
            (Some(_), None) => None,
        };
        let foreign = self.outcome.is_some_and(|report| match (report.target, self.plan.image_hash) {
            _ if stale || report.outcome == Outcome::None => true,
            (Some(target), Some(hash)) => target != hash,
            _ => false,
        });
        Facts {
            task: self.plan.task,
            activate: self.plan.activate,
            reboot: self.plan.reboot,
            follow: self.plan.follow,
            force: self.plan.force,
            extension: info.is_some(),
            running,
            confirmed: flag(fusain::InfoFlags::CONFIRMED),
            swap_pending: flag(fusain::InfoFlags::SWAP_PENDING),
            complete: self.flow.complete(),
            estranged: self.peer.estranged,
            in_circles: self.detours > 1,
            stepped_back: offset.is_some_and(|offset| offset < self.flow.acked()),
            activating: self.activation.sent(),
            was_activated: self.activation.was_activated,
            rebooted: self.activation.rebooted,
            repeated: self.activation.repeated,
            seen: self.activation.seen,
            ours,
            foreign,
            stale,
            prior: self.prior.is_some(),
            once_more: self.once_more(),
        }
    }
}
