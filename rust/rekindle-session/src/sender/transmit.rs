// SPDX-License-Identifier: Apache-2.0
//! What goes out when: one command at a time, data as the window allows, pings in between, and the timers.

use fusain::{Extension, InfoFlags, Message, OtaActivate, OtaStart, OtaVerify, Outcome};

use super::Sender;
use super::decide::{Next, Step, Trigger, decide};
use super::error::CommandKind;
use super::flow::Acks;
use super::plan::{Link, Task};
use super::report::{SenderEvent, SenderOutput};

/// Time between pings, in milliseconds. An appliance that hears none for 30 s goes idle and falls silent
/// (PROTOCOL.md §3).
const PING_MS: u64 = 8_000;

/// Most that data waits for the answer to a ping on a shared line, in milliseconds. Well below [`PING_MS`]: a
/// device that answers no pings must not keep everything else waiting.
const PONG_MS: u64 = 1_000;

/// Silence on a shared line after which a ping need not wait for the answer to a command, in milliseconds.
const TURN_MS: u64 = 2_000;

/// Time between two questions about a reboot or an outcome, in milliseconds.
pub(super) const POLL_MS: u64 = 1_000;

/// Times that one chunk or command is sent before QUERY has to tell (PROTOCOL.md §8).
const TRIES: u8 = 5;

/// Tries of INFO_REQUEST: one and two short retries; more of a device that has answered it before.
const INFO_TRIES: u8 = 3;
const INFO_TRIES_KNOWN: u8 = 6;

/// Most a device that speaks the extension may take to answer INFO_REQUEST, in milliseconds.
const INFO_MS: u64 = 1_000;

/// Bytes of a frame around its payload, without stuffing.
const FRAME_BYTES: u32 = 13;
/// Bytes of OTA_DATA around the chunk.
const DATA_BYTES: u32 = 13;
/// Bytes of a command's payload: the longest, START, counts.
const COMMAND_BYTES: u32 = 62;

/// The command that is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    /// When to send it, unless it is out.
    due_ms: u64,
    /// When it was sent, and when the answer is overdue.
    out: Option<(u64, u64)>,
    tries: u8,
    /// While waiting for reboot or outcome: the next question is about the boot, not about state or outcome.
    pub(super) about_boot: bool,
}

impl Exchange {
    /// A command to be sent at `due_ms`.
    pub(super) const fn due(due_ms: u64) -> Self {
        Self { due_ms, out: None, tries: 0, about_boot: true }
    }

    /// The time its answer took, if it was sent only once.
    pub(super) fn round_trip(&self, now_ms: u64) -> Option<u64> {
        let (sent_ms, _) = self.out.filter(|_| self.tries == 1)?;
        Some(now_ms.saturating_sub(sent_ms))
    }

    /// A question that is asked again and again has its answer: the next is due later.
    pub(super) fn answered(&mut self, now_ms: u64) {
        if self.out.take().is_some() {
            self.due_ms = now_ms.saturating_add(POLL_MS);
            self.tries = 0;
        }
    }

    /// Not before then.
    pub(super) fn hold(&mut self, until_ms: u64) {
        self.due_ms = self.due_ms.max(until_ms);
    }

    /// The next question is about the boot: then, or when the present one is answered.
    pub(super) fn ask_about_boot(&mut self, due_ms: u64) {
        self.about_boot = true;
        if self.out.is_none() {
            self.due_ms = due_ms;
        }
    }

    /// Something was answered: the tries count from the start.
    pub(super) fn renew(&mut self) {
        self.tries = 0;
    }

    fn again(&mut self, now_ms: u64) {
        self.out = None;
        self.due_ms = now_ms;
    }
}

/// The link and what is on its way over it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) link: Link,
    /// When everything handed over has left, in microseconds, if the line's rate is known.
    free_us: u64,
    ping_ms: u64,
    /// On a half-duplex link: a ping is out, and its answer may take until then.
    pong_until_ms: Option<u64>,
    /// When data that went unanswered counts as lost.
    data_until_ms: Option<u64>,
    /// When the device has said all it had to say to a burst.
    quiet_ms: Option<u64>,
}

impl Line {
    pub(super) const fn new(link: Link, now_ms: u64) -> Self {
        Self { link, free_us: 0, ping_ms: now_ms, pong_until_ms: None, data_until_ms: None, quiet_ms: None }
    }

    pub(super) fn restart(&mut self, now_ms: u64) {
        *self = Self::new(self.link, now_ms);
    }

    pub(super) fn ping_soon(&mut self, now_ms: u64) {
        self.ping_ms = self.ping_ms.min(now_ms);
    }

    /// Forgets the data that was on its way.
    pub(super) fn drop_data(&mut self) {
        self.data_until_ms = None;
        self.quiet_ms = None;
    }

    pub(super) fn pong(&mut self) {
        self.pong_until_ms = None;
    }

    /// Takes a frame with so many bytes of payload onto the line.
    fn carry(&mut self, now_ms: u64, payload: u32) {
        let bytes = u64::from(payload.saturating_add(FRAME_BYTES));
        let now_us = now_ms.saturating_mul(1_000);
        if let Some(frame_us) = (bytes * 1_000_000).checked_div(u64::from(self.link.bytes_per_second)) {
            self.free_us = self.free_us.max(now_us).saturating_add(frame_us);
        }
    }

    /// When everything handed over has left.
    fn free_ms(&self, now_ms: u64) -> u64 {
        now_ms.max(self.free_us.div_ceil(1_000))
    }
}

impl Sender {
    /// What to send now.
    pub(super) fn transmit(&mut self, now_ms: u64) -> Option<SenderOutput> {
        if self.step == Step::Offline || self.line.pong_until_ms.is_some() {
            return None;
        }
        if now_ms >= self.line.ping_ms {
            if !self.takes_turns() {
                return Some(self.ping(now_ms));
            }
            // On a shared line a ping goes alone, and data waits for its answer.
            if now_ms >= self.turn_ms(now_ms) {
                self.line.pong_until_ms = Some(now_ms.saturating_add(self.rtt.rto_ms().min(PONG_MS)));
                return Some(self.ping(now_ms));
            }
            return None;
        }
        if self.step == Step::Data {
            return self.send_data(now_ms);
        }
        if self.exchange.out.is_some() || now_ms < self.exchange.due_ms {
            return None;
        }
        let message = self.next_command()?;
        self.exchange.tries = self.exchange.tries.saturating_add(1);
        self.activation.repeated |= self.step == Step::Activate && self.exchange.tries > 1;
        self.line.carry(now_ms, COMMAND_BYTES);
        let overdue_ms = self.line.free_ms(now_ms).saturating_add(self.answer_ms());
        self.exchange.out = Some((now_ms, overdue_ms));
        Some(SenderOutput::Send(message))
    }

    fn takes_turns(&self) -> bool {
        self.line.link.half_duplex || (self.step == Step::Data && self.flow.acks() == Acks::Burst)
    }

    /// Since when an unanswered command or data has been out, if any is.
    pub(super) fn out_since(&self, now_ms: u64) -> Option<u64> {
        let data = self.step == Step::Data && self.flow.in_flight() > 0;
        if data { Some(now_ms) } else { self.exchange.out.map(|(sent_ms, _)| sent_ms) }
    }

    /// When a ping can go out on a shared line: at once if the device has nothing to answer; else when it has
    /// taken so long that it is probably busy or gone. Running into its answer then costs one retry, not pinging
    /// would cost its patience.
    fn turn_ms(&self, now_ms: u64) -> u64 {
        let out =
            if self.step == Step::Data { self.flow.in_flight() > 0 } else { self.exchange.out.is_some() };
        if out { self.line.free_us.div_ceil(1_000).saturating_add(TURN_MS) } else { now_ms }
    }

    fn ping(&mut self, now_ms: u64) -> SenderOutput {
        self.line.ping_ms = now_ms.saturating_add(PING_MS);
        self.line.carry(now_ms, 4);
        SenderOutput::Send(Message::PingRequest)
    }

    fn send_data(&mut self, now_ms: u64) -> Option<SenderOutput> {
        if self.line.quiet_ms.is_some() {
            return None;
        }
        let (offset, len) = self.flow.peek()?;
        self.line.carry(now_ms, u32::from(len).saturating_add(DATA_BYTES));
        let leaves_ms = self.line.free_ms(now_ms);
        let again = self.flow.sent(now_ms, leaves_ms);
        self.counters.data_frames = self.counters.data_frames.saturating_add(1);
        self.counters.data_bytes = self.counters.data_bytes.saturating_add(u64::from(len));
        self.counters.bytes_again = self.counters.bytes_again.saturating_add(u64::from(again));
        // The first frame starts the clock, an acknowledgement restarts it. A burst is answered after its end.
        if self.line.data_until_ms.is_none() || self.flow.acks() == Acks::Burst {
            self.await_data(now_ms);
        }
        Some(SenderOutput::SendData { offset, len })
    }

    /// Starts the clock for the data on the way, or stops it if there is none.
    pub(super) fn await_data(&mut self, now_ms: u64) {
        let shared = self.flow.acks() == Acks::Burst;
        let from_ms = if shared || self.flow.in_flight() == 1 { self.line.free_ms(now_ms) } else { now_ms };
        let until_ms = from_ms.saturating_add(self.rtt.rto_ms());
        self.line.data_until_ms = (self.flow.in_flight() > 0).then_some(until_ms);
    }

    /// An answer came while a burst is out: if it is not the last word, what follows it soon belongs to it.
    pub(super) fn end_burst(&mut self, now_ms: u64) {
        let over = now_ms >= self.line.free_us / 1_000;
        let turnaround_ms = u64::from(self.line.link.turnaround_ms);
        self.line.quiet_ms = (self.flow.listening() && over).then_some(now_ms.saturating_add(turnaround_ms));
    }

    /// The message of the present step.
    fn next_command(&mut self) -> Option<Message<'static>> {
        let info = Message::Extension(Extension::InfoRequest);
        Some(match self.step {
            Step::Info | Step::Last(_) => info,
            Step::Start => Message::OtaStart(OtaStart {
                size: u64::from(self.plan.size),
                digest: self.plan.digest,
                version: self.plan.version,
                slot: None,
            }),
            Step::Verify => {
                let digest = (self.plan.task == Task::Push).then_some(self.plan.digest);
                Message::OtaVerify(OtaVerify { digest })
            }
            Step::Activate => {
                Message::OtaActivate(OtaActivate { mode: self.plan.mode, reboot: self.plan.reboot })
            }
            Step::Query(_) => Message::OtaQuery,
            Step::Abort => Message::OtaAbort,
            Step::Reboot => {
                let about_boot = self.exchange.about_boot;
                self.exchange.about_boot = !about_boot;
                match (about_boot, self.peer.extension) {
                    (false, _) => Message::OtaQuery,
                    (true, Some(true)) => info,
                    (true, _) => Message::PingRequest,
                }
            }
            // Without a verdict on record, what runs and whether it is confirmed is all there is to go by.
            Step::Outcome if self.undecided() && core::mem::take(&mut self.exchange.about_boot) => info,
            Step::Before => Message::Extension(Extension::OutcomeRequest { index: 0 }),
            Step::Outcome => Message::Extension(Extension::OutcomeRequest { index: self.outcome_index }),
            Step::Data | Step::Pause(_) | Step::Offline => return None,
        })
    }

    /// How long the present command may take to be answered.
    fn answer_ms(&self) -> u64 {
        let rto_ms = self.rtt.try_ms(1);
        let doubled = |first_ms: u64| first_ms << self.exchange.tries.saturating_sub(1).min(8);
        let size = u64::from(self.plan.size);
        match self.step {
            Step::Info | Step::Last(_) => rto_ms.min(INFO_MS),
            Step::Start => {
                // 30 s at least (PROTOCOL.md §5.2): 10 + 20 s of a device that may erase its slot first, 5 + 10 +
                // 20 s of one that at most reads back what it has.
                doubled(rto_ms.max(if self.erases_at_start() { 10_000 } else { 5_000 }))
            }
            // Reading back and hashing: 128 KiB/s at first, 4 s for what precedes it. All tries: ≥ 28 s.
            Step::Verify => doubled(rto_ms.saturating_add(4_000).saturating_add(size / 128)),
            Step::Activate => doubled(rto_ms.max(3_000)),
            Step::Reboot | Step::Outcome => rto_ms.max(POLL_MS),
            _ => self.rtt.try_ms(self.exchange.tries),
        }
    }

    /// The device erases its whole slot at START, or may do so for all we know.
    fn erases_at_start(&self) -> bool {
        let info = self.peer.info.filter(|_| self.peer.extension == Some(true));
        info.is_none_or(|info| info.flags.contains(InfoFlags::ERASE_AT_START))
    }

    /// The device has no verdict on record.
    fn undecided(&self) -> bool {
        let outcome = self.outcome.map(|report| report.outcome);
        self.plan.task != Task::Status && matches!(outcome, Some(Outcome::None | Outcome::Unknown))
    }

    fn tries(&self) -> u8 {
        match self.step {
            Step::Info if self.peer.info.is_some() => INFO_TRIES_KNOWN,
            Step::Info | Step::Before | Step::Last(_) => INFO_TRIES,
            Step::Start if self.erases_at_start() => 2,
            Step::Start | Step::Verify | Step::Activate => 3,
            // With a window, QUERY both tells the offset and opens the receiver's ear for a gap again.
            Step::Data if self.flow.windowed() => 1,
            _ => TRIES,
        }
    }

    /// Handles everything whose time has come.
    pub(super) fn expire(&mut self, now_ms: u64) {
        if self.line.pong_until_ms.is_some_and(|until_ms| now_ms >= until_ms) {
            self.line.pong_until_ms = None;
        }
        if self.line.quiet_ms.is_some_and(|quiet_ms| now_ms >= quiet_ms) {
            self.line.quiet_ms = None;
            if self.step == Step::Data && self.flow.listening() {
                self.flow.go_back();
                self.went_back(now_ms);
            }
        }
        if self.deadline_ms().is_some_and(|until_ms| now_ms >= until_ms) {
            self.until_ms = None;
            self.turn(now_ms, Trigger::Elapsed);
        }
        if self.end.is_some() {
            return;
        }
        if self.step == Step::Data {
            if self.line.data_until_ms.is_some_and(|until_ms| now_ms >= until_ms) {
                self.data_lost(now_ms);
            }
        } else if self.exchange.out.is_some_and(|(_, overdue_ms)| now_ms >= overdue_ms) {
            self.overdue(now_ms);
        }
    }

    /// Data went unanswered: again, or, after the tries, QUERY.
    fn data_lost(&mut self, now_ms: u64) {
        self.timed_out(CommandKind::Data);
        self.rtt.back_off();
        self.line.data_until_ms = None;
        self.flow.lost();
        self.exchange.tries = self.exchange.tries.saturating_add(1);
        if self.exchange.tries >= self.tries() {
            self.turn(now_ms, Trigger::Silent);
        }
    }

    /// A command went unanswered.
    fn overdue(&mut self, now_ms: u64) {
        if matches!(self.step, Step::Reboot | Step::Outcome) {
            // A device that reboots is expected to be silent; a lost answer must not hurry the next question.
            self.exchange.again(now_ms);
            if self.step == Step::Outcome && self.exchange.tries >= self.tries() {
                self.exchange.tries = 0;
                self.turn(now_ms, Trigger::Silent);
            }
            return;
        }
        let command = self.command();
        self.timed_out(command);
        if self.exchange.tries < self.tries() {
            self.exchange.again(now_ms);
            return;
        }
        if self.step == Step::Info {
            self.no_info(now_ms);
            return;
        }
        let next = decide(self.step, Trigger::Silent, &self.facts());
        if !matches!(next, Next::Persist) {
            self.unanswered = command;
        }
        self.apply(now_ms, next);
    }

    /// INFO_REQUEST was not answered: the base protocol, if there is a device at all.
    fn no_info(&mut self, now_ms: u64) {
        if self.peer.alive_ms.is_none_or(|alive_ms| alive_ms < self.since_ms) {
            self.line.ping_soon(now_ms);
            self.persist(now_ms);
            return;
        }
        self.peer.extension = Some(false);
        self.peer.info = None;
        self.outbox.push(SenderEvent::BasePeer);
        self.shape_flow();
        self.turn(now_ms, Trigger::Silent);
    }

    fn timed_out(&mut self, command: CommandKind) {
        self.counters.timeouts = self.counters.timeouts.saturating_add(1);
        self.outbox.push(SenderEvent::TimedOut { command });
    }

    /// When the present step ends by itself.
    fn deadline_ms(&self) -> Option<u64> {
        let patience = &self.plan.patience;
        match self.step {
            Step::Reboot => Some(self.activation.awaited_ms?.saturating_add(patience.reboot_ms)),
            Step::Outcome if self.plan.task == Task::Status => None,
            Step::Outcome => {
                let until_ms = self.activation.asked_ms?.saturating_add(patience.verdict_ms);
                // A device under test that falls silent is probably being reverted: that takes a reboot.
                let recent_ms = self.peer.answered_ms.saturating_add(3 * POLL_MS);
                let heard = self.outcome.is_some() && recent_ms >= until_ms;
                Some(if heard { until_ms } else { until_ms.saturating_add(patience.reboot_ms) })
            }
            _ => self.until_ms,
        }
    }

    /// When to poll again if nothing comes.
    pub(super) fn wake_ms(&self, now_ms: u64) -> u64 {
        let offline = self.step == Step::Offline;
        let turn_ms = if self.takes_turns() { self.turn_ms(now_ms) } else { now_ms };
        let command_ms = match self.exchange.out {
            _ if matches!(self.step, Step::Data | Step::Pause(_) | Step::Offline) => None,
            Some((_, overdue_ms)) => Some(overdue_ms),
            None => Some(self.exchange.due_ms),
        };
        let data_ms = self.line.data_until_ms.filter(|_| self.step == Step::Data);
        let times = [
            (!offline).then_some(self.line.ping_ms.max(turn_ms)),
            command_ms,
            data_ms,
            self.line.quiet_ms,
            self.line.pong_until_ms,
            self.deadline_ms(),
        ];
        let wake_ms = times.into_iter().flatten().min().unwrap_or(u64::MAX);
        wake_ms.max(now_ms.saturating_add(1))
    }
}
