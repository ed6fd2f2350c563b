// SPDX-License-Identifier: Apache-2.0
//! The client: plans an image for everybody, brings it, watches until nobody needs it any more. It goes on when the
//! controller comes back from a power cut, as somebody at a desk would.

use super::scenario::Made;
use crate::image::digest;
use alloc::collections::VecDeque;
use fusain::relay::{Relay as Operation, Stored};
use fusain::{Address, Message, Mode, OtaData, OtaState, PAYLOAD_MAX};
use rekindle_relay::Relay;
use rekindle_session::sender::{
    self, Completion, Patience, Plan, Report, SendError, Sender, SenderEvent, SenderOutput,
};

/// How long an answer may take, in milliseconds.
const ANSWER_MS: u64 = 2_000;
/// Time between two looks at the campaign, in milliseconds.
const WATCH_MS: u64 = 5_000;
/// How often a push that fails is tried again.
const PUSHES_MAX: u32 = 30;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Plans the image for the appliance of this number.
    Add(usize),
    /// Brings it.
    Upload,
    /// Watches.
    Watch,
    /// Pushes to one appliance, and follows it to the end.
    Push,
    /// Nobody needs the image any more.
    Over,
}

pub(super) struct Client {
    pub(super) phase: Phase,
    wanted: Vec<Address>,
    /// Plans that were answered.
    pub(super) planned: Vec<Address>,
    pub(super) inbox: VecDeque<(Address, Vec<u8>)>,
    pub(super) wake_ms: Option<u64>,
    /// Offsets that the controller has acknowledged since it last came back, the first and the highest, and the
    /// highest before.
    pub(super) acknowledged: Acknowledged,
    /// Acknowledged bytes that had to be sent again, and the most of them after one cut.
    pub(super) again: (u64, u32),
    sender: Option<Box<Sender>>,
    /// How the push has ended; pushes that are left before it is given up.
    pub(super) completion: Option<Completion>,
    pushes: u32,
    /// It has sent everything, and VERIFY.
    brought: bool,
    asked_until_ms: u64,
    connected: bool,
}

/// See [`Client::acknowledged`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) before: u32,
    pub(super) first: Option<u32>,
    pub(super) highest: u32,
}

impl Client {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Over,
            wanted: Vec::new(),
            planned: Vec::new(),
            inbox: VecDeque::new(),
            wake_ms: None,
            acknowledged: Acknowledged::default(),
            again: (0, 0),
            sender: None,
            completion: None,
            pushes: 0,
            brought: false,
            asked_until_ms: 0,
            connected: false,
        }
    }

    pub(super) fn begin(&mut self, now_ms: u64, wanted: Vec<Address>) {
        self.phase = Phase::Add(0);
        self.wanted = wanted;
        self.planned.clear();
        self.acknowledged = Acknowledged::default();
        self.sender = None;
        self.asked_until_ms = now_ms;
    }

    pub(super) fn begin_push(&mut self, now_ms: u64, appliance: Address) {
        self.begin(now_ms, vec![appliance]);
        self.phase = Phase::Push;
        self.completion = None;
        self.pushes = PUSHES_MAX;
    }

    pub(super) fn connected(&mut self, now_ms: u64) {
        self.connected = true;
        self.inbox.clear();
        self.asked_until_ms = now_ms;
        let Acknowledged { highest, .. } = self.acknowledged;
        self.acknowledged = Acknowledged { before: highest, first: None, highest: 0 };
        if self.brought && self.phase == Phase::Upload {
            // The campaign may be over by now, and the image gone: that is asked before anything is brought again.
            self.sender = None;
            self.phase = Phase::Watch;
        }
        if let Some(sender) = &mut self.sender {
            sender.link_up(now_ms);
        }
    }

    pub(super) fn forget_acknowledged(&mut self) {
        self.acknowledged = Acknowledged::default();
    }

    pub(super) fn disconnected(&mut self, now_ms: u64) {
        self.connected = false;
        self.inbox.clear();
        if let Some(sender) = &mut self.sender {
            sender.link_lost(now_ms);
        }
    }

    /// Does what there is to do now; `true` if that was anything.
    pub(super) fn run<const N: usize, const L: usize, const C: usize>(
        &mut self,
        now_ms: u64,
        made: &Made,
        relay: Option<&mut Relay<N, L, C>>,
    ) -> bool {
        self.wake_ms = None;
        let Some(relay) = relay.filter(|_| self.connected) else {
            if let Some(sender) = &mut self.sender
                && let SenderOutput::Wait { until_ms } = sender.poll(now_ms)
            {
                self.wake_ms = Some(until_ms);
            }
            return false;
        };
        let busy = !self.inbox.is_empty();
        while let Some((from, payload)) = self.inbox.pop_front() {
            self.hear(now_ms, from, &payload);
        }
        match self.phase {
            Phase::Upload | Phase::Push => busy | self.upload(now_ms, made, relay),
            Phase::Over => busy,
            Phase::Add(_) | Phase::Watch => busy | self.ask(now_ms, made, relay),
        }
    }

    fn ask<const N: usize, const L: usize, const C: usize>(
        &mut self,
        now_ms: u64,
        made: &Made,
        relay: &mut Relay<N, L, C>,
    ) -> bool {
        self.wake_ms = Some(self.asked_until_ms.max(now_ms + 1));
        if now_ms < self.asked_until_ms || !relay.wants(0) {
            return false;
        }
        let operation = match self.phase {
            Phase::Add(nth) => Operation::CampaignAdd {
                address: self.wanted[nth],
                size: made.bytes.len() as u32,
                digest: digest(&made.bytes),
                mode: Mode::Test,
            },
            _ => Operation::CampaignRequest,
        };
        let mut payload = [0; PAYLOAD_MAX];
        let len = operation.encode(&mut payload).expect("an operation fits");
        relay.from_client(now_ms, 0, Address::STATELESS, &payload[..len]);
        self.asked_until_ms = now_ms + ANSWER_MS;
        true
    }

    fn hear(&mut self, now_ms: u64, from: Address, payload: &[u8]) {
        if from == Address::STATELESS {
            if let Ok(operation) = Operation::decode(payload) {
                self.operation(now_ms, &operation);
            }
            return;
        }
        let Ok(message) = Message::decode(payload) else { return };
        if let Message::OtaStatus(status) = &message
            && status.state == OtaState::Receiving
        {
            let offset = status.offset.unwrap_or(0);
            let seen = &mut self.acknowledged;
            if seen.first.is_none() {
                let again = seen.before.saturating_sub(offset);
                self.again = (self.again.0 + u64::from(again), self.again.1.max(again));
                seen.first = Some(offset);
            }
            seen.highest = seen.highest.max(offset);
        }
        if let Some(sender) = self.sender.as_mut().filter(|_| from == self.wanted[0]) {
            sender.message(now_ms, &message);
        }
    }

    fn operation(&mut self, now_ms: u64, operation: &Operation) {
        match (self.phase, operation) {
            (Phase::Add(nth), Operation::Roster { entry: Some(entry), .. })
                if entry.address == self.wanted[nth] =>
            {
                self.planned.push(entry.address);
                let next = nth + 1;
                self.phase = if next < self.wanted.len() { Phase::Add(next) } else { Phase::Upload };
                self.asked_until_ms = now_ms;
            }
            (Phase::Watch, Operation::Campaign(campaign)) => {
                if campaign.open == 0 {
                    self.phase = Phase::Over;
                } else if matches!(campaign.stored, Stored::Receiving | Stored::Received) {
                    // The sender gave up on the way, or before VERIFY: somebody at a desk pushes again.
                    self.phase = Phase::Upload;
                }
                self.asked_until_ms = now_ms + WATCH_MS;
            }
            _ => {}
        }
    }

    fn upload<const N: usize, const L: usize, const C: usize>(
        &mut self,
        now_ms: u64,
        made: &Made,
        relay: &mut Relay<N, L, C>,
    ) -> bool {
        if self.phase == Phase::Push && self.sender.is_none() && now_ms < self.asked_until_ms {
            self.wake_ms = Some(self.asked_until_ms);
            return false;
        }
        let patience = Patience { away_ms: 600_000, busy_ms: 600_000, ..Patience::default() };
        let whole = self.phase == Phase::Push;
        let sender = self.sender.get_or_insert_with(|| {
            let image_hash =
                mcuboot_image::Image::parse(&made.bytes).ok().map(|image| image.summary().image_hash);
            let plan = Plan::push(made.bytes.len() as u32, digest(&made.bytes), image_hash.filter(|_| whole));
            let plan = Plan { activate: whole, follow: whole, patience, ..plan };
            self.brought = false;
            Box::new(Sender::new(plan, sender::Link::ip(), now_ms))
        });
        let mut busy = false;
        while relay.wants(0) {
            let message = match sender.poll(now_ms) {
                SenderOutput::Send(message) => message,
                SenderOutput::SendData { offset, len } => {
                    let at = offset as usize;
                    let data = &made.bytes[at..at + usize::from(len)];
                    Message::OtaData(OtaData { offset: offset.into(), data })
                }
                SenderOutput::Event(event) => {
                    self.brought |= event == SenderEvent::Verifying;
                    continue;
                }
                SenderOutput::Wait { until_ms } => {
                    self.wake_ms = Some(until_ms);
                    return busy;
                }
                SenderOutput::Done(result) if whole => {
                    self.sender = None;
                    self.pushed(now_ms, result);
                    return true;
                }
                SenderOutput::Done(_) => {
                    // Brought, or refused; the campaign says what came of it.
                    self.sender = None;
                    self.phase = Phase::Watch;
                    self.asked_until_ms = now_ms;
                    return true;
                }
            };
            let mut payload = [0; PAYLOAD_MAX];
            let len = message.encode(&mut payload).expect("a message of the sender fits");
            relay.from_client(now_ms, 0, self.wanted[0], &payload[..len]);
            busy = true;
        }
        self.wake_ms = Some(now_ms + 1);
        busy
    }

    /// A push is over: what may be otherwise the next time is pushed again.
    fn pushed(&mut self, now_ms: u64, result: Result<Report, SendError>) {
        self.pushes = self.pushes.saturating_sub(1);
        let last = match result {
            Ok(report) => {
                self.completion = Some(report.completion);
                true
            }
            Err(
                SendError::SignatureInvalid { .. }
                | SendError::WrongImage { .. }
                | SendError::Downgrade { .. },
            ) => true,
            Err(_) => self.pushes == 0,
        };
        if last {
            self.phase = Phase::Over;
        } else {
            self.asked_until_ms = now_ms + WATCH_MS;
        }
    }
}
