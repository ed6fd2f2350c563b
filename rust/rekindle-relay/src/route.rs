// SPDX-License-Identifier: Apache-2.0
//! Everything that is not an update for the store: who hears what (PROTOCOL.md §10).
//!
//! Down go commands, to the link of the appliance they are for. Up goes telemetry, to those who subscribed, and what
//! is about updates and errors, at once, to the one who asked and to those who subscribed. Discovery and pings end
//! here: each hop has its own.

use fusain::relay::Cause;
use fusain::{
    Address, DataSubscription, DataUnsubscribe, DeviceAnnounce, DiscoveryRequest, Extension, Info, InfoFlags,
    InvalidCommand, Message, OtaAbort, OtaQuery, OtaStart, OtaState, OtaStatus, Outcome, OutcomeReport,
    PingRequest, PingResponse, Reason, StateCommand, StateReject, TelemetryConfig, message_code,
};

use crate::controller::Relay;
use crate::forward::LinkState;
use crate::outbox::{To, mask};
use crate::roster::{Device, NOBODY};

/// Places for subscriptions, for each client that there is room for; all of them share them.
const SUBSCRIPTIONS: usize = 8;
/// Of those, what is kept for each client.
const SUBSCRIPTIONS_KEPT: usize = 4;
/// Time after which a subscription ends unless the client has pinged, in milliseconds.
const SUBSCRIPTION_MS: u32 = 60_000;
/// Time between two pings of an appliance, in milliseconds.
const PING_MS: u64 = 10_000;
/// Time between two searches for appliances, in milliseconds.
const DISCOVERY_MS: u64 = 60_000;
/// How long a client's discovery waits for appliances to answer, in milliseconds: they do so within 50.
const ANNOUNCE_MS: u64 = 150;
/// Telemetry that a client wants only so often still comes as a whole: everything within this time belongs together.
const BURST_MS: u32 = 50;
/// Range of a client's telemetry interval, in milliseconds.
const INTERVAL_RANGE_MS: (u32, u32) = (100, 5_000);
/// Least time between two questions of ours for one appliance's INFO, in milliseconds.
const REFRESH_MS: u64 = 1_000;

/// Whether a message is a command for an appliance that is none of an update: it goes down, to the appliance's link, at
/// any time (PROTOCOL.md §10).
#[must_use]
pub const fn is_command(code: u8) -> bool {
    matches!(code, 0x10..=0x13 | 0x16 | 0x17 | 0x20..=0x25)
}

/// A connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// It gets telemetry at all.
    telemetry: bool,
    /// At most so often.
    interval_ms: u32,
    /// A discovery of it: when it is answered, and the next entry to send.
    discovery: Option<(u64, u8)>,
}

/// The clients, by their numbers.
#[derive(Debug)]
pub(crate) struct Clients<const C: usize> {
    clients: [Option<Client>; C],
}

impl<const C: usize> Clients<C> {
    pub(crate) const fn new() -> Self {
        Self { clients: [None; C] }
    }

    fn get(&self, client: u8) -> Option<&Client> {
        self.clients.get(usize::from(client))?.as_ref()
    }

    fn get_mut(&mut self, client: u8) -> Option<&mut Client> {
        self.clients.get_mut(usize::from(client))?.as_mut()
    }
}

/// One client's interest in one appliance. Of times there are the low bits: that is enough for the differences, and
/// there are many subscriptions.
#[derive(Clone, Copy, Debug)]
struct Subscription {
    client: u8,
    appliance: Address,
    /// When it was last refreshed.
    since_ms: u32,
    /// When the burst of telemetry that went through last began.
    burst_ms: Option<u32>,
}

/// The low bits of a time.
fn low(now_ms: u64) -> u32 {
    u32::try_from(now_ms & u64::from(u32::MAX)).unwrap_or(0)
}

/// Who is interested in what.
#[derive(Debug)]
pub(crate) struct Subscriptions<const C: usize> {
    all: [[Option<Subscription>; SUBSCRIPTIONS]; C],
}

impl<const C: usize> Subscriptions<C> {
    pub(crate) const fn new() -> Self {
        Self { all: [[None; SUBSCRIPTIONS]; C] }
    }

    fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.all.as_flattened().iter().flatten()
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Subscription> {
        self.all.as_flattened_mut().iter_mut().flatten()
    }

    /// Adds or refreshes one; `false` if what is free is kept for others.
    fn add(&mut self, now_ms: u64, client: u8, appliance: Address) -> bool {
        let since_ms = low(now_ms);
        let same = |s: &&mut Subscription| s.client == client && s.appliance == appliance;
        if let Some(known) = self.iter_mut().find(same) {
            known.since_ms = since_ms;
            return true;
        }
        let held = |client: usize| self.iter().filter(|s| usize::from(s.client) == client).count();
        let others = (0..C).filter(|other| *other != usize::from(client));
        let kept: usize = others.map(|other| SUBSCRIPTIONS_KEPT.saturating_sub(held(other))).sum();
        let mut free = self.all.as_flattened_mut().iter_mut().filter(|place| place.is_none());
        let Some(place) = free.nth(kept) else { return false };
        *place = Some(Subscription { client, appliance, since_ms, burst_ms: None });
        true
    }

    fn drop_if(&mut self, gone: impl Fn(&Subscription) -> bool) {
        for place in self.all.as_flattened_mut() {
            if place.as_ref().is_some_and(&gone) {
                *place = None;
            }
        }
    }

    /// A ping of a client refreshes what it has: one appliance, or all with `None`.
    fn refresh(&mut self, now_ms: u64, client: u8, appliance: Option<Address>) {
        let concerned = |s: &&mut Subscription| {
            s.client == client && appliance.is_none_or(|appliance| s.appliance == appliance)
        };
        self.iter_mut().filter(concerned).for_each(|s| s.since_ms = low(now_ms));
    }

    fn subscribers(&self, appliance: Address) -> u32 {
        let concerned = self.iter().filter(|s| s.appliance == appliance);
        concerned.fold(0, |clients, s| clients | mask(s.client))
    }

    fn expire(&mut self, now_ms: u64) {
        self.drop_if(|s| low(now_ms).wrapping_sub(s.since_ms) >= SUBSCRIPTION_MS);
    }

    /// When the next one ends.
    fn wake_ms(&self, now_ms: u64) -> Option<u64> {
        let left = |s: &Subscription| SUBSCRIPTION_MS.saturating_sub(low(now_ms).wrapping_sub(s.since_ms));
        self.iter().map(|s| now_ms.saturating_add(left(s).into())).min()
    }
}

impl<const N: usize, const L: usize, const C: usize> Relay<N, L, C> {
    /// A client has connected; its number is below `C` and not in use.
    pub fn client_opened(&mut self, client: u8) {
        if let Some(place) = self.clients.clients.get_mut(usize::from(client)) {
            *place = Some(Client { telemetry: true, interval_ms: 0, discovery: None });
        }
    }

    /// A client is gone, and its subscriptions with it. What it has brought stays.
    pub fn client_closed(&mut self, client: u8) {
        if let Some(place) = self.clients.clients.get_mut(usize::from(client)) {
            *place = None;
            self.subscriptions.drop_if(|s| s.client == client);
            self.forget_client(client);
        }
    }

    /// A link is up.
    pub fn link_up(&mut self, now_ms: u64, link: u8) {
        self.set_link(now_ms, link, true);
    }

    /// A link is down.
    pub fn link_down(&mut self, now_ms: u64, link: u8) {
        self.set_link(now_ms, link, false);
    }

    fn set_link(&mut self, now_ms: u64, link: u8, up: bool) {
        self.now_ms = self.now_ms.max(now_ms);
        if let Some(link) = self.links.get_mut(usize::from(link)) {
            link.set_up(now_ms, up);
        }
        // Who waited for the link alone need not wait any longer.
        let waits = |device: &&mut Device| up && device.link == link && device.cause == Cause::LinkLost;
        for device in self.roster.iter_mut().map(|(_, device)| device).filter(waits) {
            (device.missed, device.retry_ms) = (0, 0);
        }
    }

    /// Takes a frame of a client that is [wanted](Relay::wants); what is not, is dropped as if it had been lost.
    pub fn from_client(&mut self, now_ms: u64, client: u8, address: Address, payload: &[u8]) {
        self.now_ms = self.now_ms.max(now_ms);
        if self.clients.get(client).is_none() || !self.wants(client) {
            return;
        }
        let Ok(code) = message_code(payload) else { return };
        let router = address == Address::STATELESS || Some(address) == self.config.own;
        match code {
            DiscoveryRequest::CODE => self.discovery(client),
            PingRequest::CODE if router || address == Address::BROADCAST => self.ping(client),
            PingRequest::CODE => self.ping_for(client, address),
            DataSubscription::CODE | DataUnsubscribe::CODE if router => {
                self.subscription(client, code, address, payload);
            }
            TelemetryConfig::CODE if router => self.telemetry_config(client, address, payload),
            _ if is_command(code) && !router => self.down(client, address, code, payload),
            OtaStart::CODE..=OtaQuery::CODE | Extension::CODE | OtaAbort::CODE => match address {
                // An update is for one device: sent to all, it is dropped (PROTOCOL.md §5).
                Address::BROADCAST => {}
                _ if router => self.own_update(client, address, code, payload),
                _ if self.is_transparent() => self.pass_update(client, address, code, payload),
                _ if code == Extension::CODE => self.extension_for(client, address, payload),
                // Answered by what is known, whoever is being worked for. To the one who brings the image the answer
                // acknowledges, so it comes behind what was brought.
                _ if code == OtaQuery::CODE && !self.intake.serves(client) => {
                    if self.slot_of(address).is_some() {
                        self.answer_status(client, address);
                    }
                }
                _ => self.take_command(client, address, payload),
            },
            _ => {}
        }
    }

    /// Takes a frame of a link.
    pub fn from_link(&mut self, now_ms: u64, link: u8, address: Address, payload: &[u8]) {
        self.now_ms = self.now_ms.max(now_ms);
        if !self.wants_link() || !address.is_device() {
            return;
        }
        let Ok(code) = message_code(payload) else { return };
        // What commands look like is no word of an appliance: a bus may echo what was sent on it.
        if !matches!(code, 0x30..=0x35 | 0x3F | 0x45 | 0x46 | 0xE0 | 0xE1) {
            return;
        }
        let Some(slot) = self.admit(address, link, true) else { return };
        if self.roster.get(slot).is_some_and(|device| device.link != link) {
            return;
        }
        let message = Message::decode(payload);
        if let Some(device) = self.roster.get_mut(slot) {
            device.heard_ms = Some(now_ms);
        }
        match &message {
            Ok(Message::DeviceAnnounce(announce)) => {
                if let Some(device) = self.roster.get_mut(slot).filter(|_| !announce.is_end()) {
                    device.announce = Some(*announce);
                }
            }
            Ok(Message::PingResponse(pong)) => self.pong(slot, pong.uptime_ms),
            Ok(Message::Extension(Extension::Info(info))) => {
                if let Some(device) = self.roster.get_mut(slot) {
                    device.learn(info);
                }
            }
            _ => {}
        }
        if let (Ok(message), Some(link)) = (&message, self.links.get_mut(usize::from(link))) {
            link.heard(now_ms, address, message);
        }
        // Who it is and what it runs: asked once, answered by those that speak the extension.
        if self.roster.get(slot).is_some_and(|device| device.info.is_none() && device.asked_ms.is_none()) {
            self.refresh(slot);
        }
        self.up(slot, usize::from(link), code, payload);
    }

    fn pong(&mut self, slot: usize, uptime_ms: u32) {
        let now_ms = self.now_ms;
        let Some(device) = self.roster.get_mut(slot) else { return };
        // Of an appliance that tells no boot number, an uptime that goes back is the only word on a reboot.
        if let Some((before_ms, at_ms)) = device.uptime
            && device.info.is_none()
            && u64::from(before_ms).saturating_add(now_ms.saturating_sub(at_ms))
                > u64::from(uptime_ms).saturating_add(PING_MS)
        {
            device.has_rebooted();
        }
        device.uptime = Some((uptime_ms, now_ms));
    }

    /// What an appliance says goes to those whom it concerns.
    fn up(&mut self, slot: usize, link: usize, code: u8, payload: &[u8]) {
        let Some(device) = self.roster.get(slot) else { return };
        let (address, requester, asker) = (device.address, device.requester, device.asker);
        let commander = device.commander;
        let subscribers = self.subscriptions.subscribers(address);
        let bound = self.links.get(link).and_then(|link| link.bound);
        let bound =
            bound.filter(|(_, appliance, _)| *appliance == address).map_or(NOBODY, |(client, ..)| client);
        // What answers the controller itself is not for the client that it acts for.
        let ours = self.links.get(link).is_some_and(|link| link.works_for(address));
        let others = if ours && requester != NOBODY { !mask(requester) } else { u32::MAX };
        let clients = match code {
            0x30..=0x34 => return self.telemetry(address, payload),
            0xE0 | 0xE1 | 0x45 if self.is_transparent() => subscribers | mask(bound) | mask(asker),
            0xE0 | 0xE1 if !ours => subscribers | mask(commander),
            0xE0 | 0xE1 | 0x45 => subscribers & others,
            0x46 if self.is_transparent() => subscribers | mask(bound) | mask(asker),
            // Of what others say in this message, only the answer to a question that was passed on is for a client.
            0x46 if matches!(Extension::decode(payload), Ok(Extension::Outcome(_))) => {
                if let Some(device) = self.roster.get_mut(slot) {
                    device.asker = NOBODY;
                }
                mask(asker)
            }
            _ => 0,
        };
        if let Some(device) = self.roster.get_mut(slot).filter(|_| matches!(code, 0xE0 | 0xE1)) {
            device.commander = NOBODY;
        }
        self.outbox.pass(To::Clients(clients), address, payload);
        if code == 0x45 && bound != NOBODY {
            self.unbind_when_idle(link, payload);
        }
    }

    /// Telemetry goes to those who subscribed, as often as each of them wants it.
    fn telemetry(&mut self, address: Address, payload: &[u8]) {
        let (now_ms, mut clients) = (low(self.now_ms), 0);
        for subscription in self.subscriptions.iter_mut().filter(|s| s.appliance == address) {
            let Some(client) = self.clients.get(subscription.client).filter(|client| client.telemetry) else {
                continue;
            };
            let since_ms = subscription.burst_ms.map(|burst_ms| now_ms.wrapping_sub(burst_ms));
            let due = since_ms.is_none_or(|since_ms| since_ms >= client.interval_ms);
            if due {
                subscription.burst_ms = Some(now_ms);
            }
            if due || since_ms.is_some_and(|since_ms| since_ms < BURST_MS) {
                clients |= mask(subscription.client);
            }
        }
        self.outbox.pass(To::Clients(clients), address, payload);
    }

    /// A command goes to the link of its appliance, or to every link if it is for all. Unknown destinations lead
    /// nowhere.
    fn down(&mut self, client: u8, address: Address, code: u8, payload: &[u8]) {
        if address == Address::BROADCAST {
            for (number, link) in self.links.iter().enumerate() {
                if link.up {
                    let to = To::Link(u8::try_from(number).unwrap_or(u8::MAX));
                    self.outbox.pass(to, address, payload);
                }
            }
            return;
        }
        let Some(device) = self.slot_of(address).and_then(|slot| self.roster.get_mut(slot)) else { return };
        let Some(link) = self.links.get(usize::from(device.link)) else { return };
        // Its refusal would be taken for that of the update (PROTOCOL.md §10). What stops it always passes.
        if link.works_for(address) && code != StateCommand::CODE {
            return self.busy(client, address);
        }
        device.commander = client;
        let to = To::Link(device.link);
        self.outbox.pass(to, address, payload);
    }

    /// The appliances are asked again; who is there by then is announced.
    fn discovery(&mut self, client: u8) {
        let now_ms = self.now_ms;
        for link in &mut self.links {
            link.discover_ms = link.discover_ms.min(now_ms);
        }
        if let Some(client) = self.clients.get_mut(client) {
            client.discovery = Some((now_ms.saturating_add(ANNOUNCE_MS), 0));
        }
    }

    fn ping(&mut self, client: u8) {
        self.subscriptions.refresh(self.now_ms, client, None);
        let uptime_ms = low(self.now_ms);
        self.outbox
            .push(To::client(client), Address::STATELESS, |out| PingResponse { uptime_ms }.encode(out));
    }

    /// The controller answers for an appliance that it hears itself.
    fn ping_for(&mut self, client: u8, address: Address) {
        self.subscriptions.refresh(self.now_ms, client, Some(address));
        let device = self.roster.find(address).and_then(|slot| self.roster.get(slot));
        let Some((uptime_ms, at_ms)) = device.filter(|d| d.is_here(self.now_ms)).and_then(|d| d.uptime)
        else {
            return;
        };
        let since_ms = u32::try_from(self.now_ms.saturating_sub(at_ms)).unwrap_or(0);
        let uptime_ms = uptime_ms.wrapping_add(since_ms);
        self.outbox.push(To::client(client), address, |out| PingResponse { uptime_ms }.encode(out));
    }

    fn subscription(&mut self, client: u8, code: u8, address: Address, payload: &[u8]) {
        let appliance = if code == DataSubscription::CODE {
            DataSubscription::decode(payload).map(|subscription| subscription.appliance)
        } else {
            DataUnsubscribe::decode(payload).map(|subscription| subscription.appliance)
        };
        let wrong = match appliance {
            Err(error) => error.invalid_command(),
            Ok(appliance) if code == DataUnsubscribe::CODE => {
                self.subscriptions.drop_if(|s| s.client == client && s.appliance == appliance);
                None
            }
            Ok(appliance) if !appliance.is_device() => {
                Some(InvalidCommand::parameter(Some(0), fusain::Constraint::ValueInvalid))
            }
            Ok(appliance) => (!self.subscriptions.add(self.now_ms, client, appliance))
                .then_some(InvalidCommand::parameter(Some(0), fusain::Constraint::OperationBlocked)),
        };
        if let Some(wrong) = wrong {
            self.outbox.push(To::client(client), address, |out| wrong.encode(out));
        }
    }

    /// Sent to the controller itself, it says how often this client wants telemetry.
    fn telemetry_config(&mut self, client: u8, address: Address, payload: &[u8]) {
        match (TelemetryConfig::decode(payload), self.clients.get_mut(client)) {
            (Ok(config), Some(client)) => {
                let (low, high) = INTERVAL_RANGE_MS;
                let at_once = config.interval_ms == 0;
                client.telemetry = config.enabled;
                client.interval_ms = if at_once { 0 } else { config.interval_ms.clamp(low, high) };
            }
            (Err(error), _) => {
                if let Some(wrong) = error.invalid_command() {
                    self.outbox.push(To::client(client), address, |out| wrong.encode(out));
                }
            }
            (Ok(_), None) => {}
        }
    }

    /// Transparent routing: one update on a link at a time, bound to the connection that began it.
    fn pass_update(&mut self, client: u8, address: Address, code: u8, payload: &[u8]) {
        let Some(slot) = self.slot_of(address) else { return };
        let (now_ms, takeover_ms) = (self.now_ms, u64::from(self.config.takeover_ms));
        let Some(device) = self.roster.get_mut(slot) else { return };
        device.asker = client;
        let Some(link) = self.links.get_mut(usize::from(device.link)) else { return };
        if !matches!(code, OtaQuery::CODE | Extension::CODE) {
            link.bound = link.bound.filter(|(_, _, last_ms)| now_ms.saturating_sub(*last_ms) < takeover_ms);
            match link.bound {
                Some((bound, appliance, _)) if bound != client || appliance != address => {
                    let state = i32::from(OtaState::Receiving.number());
                    let busy = StateReject::because(state, Reason::UpdateInProgress);
                    return self.outbox.push(To::client(client), address, |out| busy.encode(out));
                }
                None if code != OtaStart::CODE => {}
                _ => link.bound = Some((client, address, now_ms)),
            }
        }
        let to = To::Link(device.link);
        self.outbox.pass(to, address, payload);
    }

    /// The update on a link is over when its appliance says so.
    fn unbind_when_idle(&mut self, link: usize, payload: &[u8]) {
        let idle = OtaStatus::decode(payload).is_ok_and(|status| status.state == OtaState::Idle);
        if let Some(link) = self.links.get_mut(link).filter(|_| idle) {
            link.bound = None;
        }
    }

    /// The extension message for an appliance: the controller answers with what it can take, and with what it
    /// knows of the appliance (PROTOCOL.md §7).
    fn extension_for(&mut self, client: u8, address: Address, payload: &[u8]) {
        let Some(slot) = self.slot_of(address) else { return };
        match Extension::decode(payload) {
            Ok(Extension::InfoRequest) => {
                self.intake.knows_window(client);
                // Of an appliance that has told nothing yet, the second question is answered, and until then it may
                // tell: a boot number that comes later would look like a reboot.
                let unknown = self.roster.get(slot).is_some_and(|d| d.info.is_none() && d.asked_ms.is_none());
                self.refresh(slot);
                if !unknown {
                    let info = self.info_of(slot);
                    self.outbox.push(To::client(client), address, |out| info.encode(out));
                }
            }
            Ok(Extension::OutcomeRequest { index }) => {
                let Some(device) = self.roster.get_mut(slot) else { return };
                if device.info.is_some() {
                    device.asker = client;
                    let link = To::Link(device.link);
                    return self.outbox.pass(link, address, payload);
                }
                // With the base protocol it can tell nothing, and neither can its controller.
                let report = OutcomeReport {
                    boot_number: 0,
                    outcome: if index == 0 { Outcome::Unknown } else { Outcome::None },
                    attempt: 0,
                    target: None,
                    mode: None,
                    stage: None,
                    code: None,
                    reset_cause: None,
                    index,
                    total: 0,
                };
                self.outbox.push(To::client(client), address, |out| report.encode(out));
            }
            Ok(Extension::Info(_) | Extension::Outcome(_) | Extension::Other { .. }) => {}
            Err(error) => {
                if let Some(wrong) = error.invalid_command() {
                    self.outbox.push(To::client(client), address, |out| wrong.encode(out));
                }
            }
        }
    }

    fn info_of(&self, slot: usize) -> Info {
        let device = self.roster.get(slot);
        // Of an appliance that has not told, nothing speaks against an update; its reboots show in its uptime.
        let reboots = device.map_or(0, |device| u32::from(device.reboots));
        let (boot_number, flags, appliance_state) =
            device.and_then(|device| device.info).unwrap_or((reboots, InfoFlags::CONFIRMED.0, 1));
        // How its own link acknowledges and erases does not concern the client of the controller.
        let flags = InfoFlags(flags)
            .with(InfoFlags::ACKS_COALESCED, false)
            .with(InfoFlags::ERASE_AT_START, false)
            .with(InfoFlags::SIGNATURE_CHECKED, !self.root.is_on());
        // Whoever brings the image for a campaign brings it for others too, whatever this one runs and waits for.
        let auto = device.is_some_and(|device| device.auto);
        let flags = flags
            .with(InfoFlags::CONFIRMED, auto || flags.contains(InfoFlags::CONFIRMED))
            .with(InfoFlags::SWAP_PENDING, !auto && flags.contains(InfoFlags::SWAP_PENDING));
        let receiving = self.session.as_ref().filter(|_| device.is_some_and(|d| d.needs_image()));
        Info {
            boot_number,
            window: self.config.window,
            version: device.and_then(Device::told_version).unwrap_or_default(),
            image_hash: device.filter(|_| !auto).and_then(|d| d.running_hash).unwrap_or_default(),
            flags,
            chunk_max: self.config.chunk_max,
            durable: receiving.map(|session| session.durable),
            appliance_state,
        }
    }

    /// Asks an appliance for news of itself, so that the next answer for it is fresh.
    fn refresh(&mut self, slot: usize) {
        let now_ms = self.now_ms;
        let Some(device) = self.roster.get_mut(slot) else { return };
        let (address, link) = (device.address, device.link);
        if device.asked_ms.is_some_and(|asked_ms| now_ms.saturating_sub(asked_ms) < REFRESH_MS) {
            return;
        }
        device.asked_ms = Some(now_ms);
        // A transfer asks by itself.
        let free = |link: &LinkState| link.up && !link.works_for(address);
        if self.links.get(usize::from(link)).is_some_and(free) {
            self.outbox.push(To::Link(link), address, |out| Extension::InfoRequest.encode(out));
        }
    }

    /// Pings, searches and announcements whose time has come.
    pub(crate) fn pump_routes(&mut self) {
        self.subscriptions.expire(self.now_ms);
        self.announce();
        self.search();
        let now_ms = self.now_ms;
        for slot in 0..N {
            if self.outbox.room() < 3 {
                return;
            }
            let Some(device) = self.roster.get_mut(slot).filter(|device| now_ms >= device.ping_ms) else {
                continue;
            };
            let Some(link) = self.links.get(usize::from(device.link)).filter(|link| link.up) else {
                continue;
            };
            device.ping_ms = now_ms.saturating_add(PING_MS);
            // Whoever is being updated is pinged by its sender.
            if !link.works_for(device.address) {
                let to = To::Link(device.link);
                self.outbox.push(to, device.address, |out| PingRequest.encode(out));
            }
        }
    }

    fn search(&mut self) {
        let now_ms = self.now_ms;
        for (number, link) in self.links.iter_mut().enumerate() {
            // On a shared line the answers of many would run into the transfer.
            let quiet = !(link.line().half_duplex && link.is_working());
            if link.up && quiet && now_ms >= link.discover_ms && self.outbox.room() >= 3 {
                link.discover_ms = now_ms.saturating_add(DISCOVERY_MS);
                let to = To::Link(u8::try_from(number).unwrap_or(u8::MAX));
                self.outbox.push(to, Address::BROADCAST, |out| DiscoveryRequest.encode(out));
            }
        }
    }

    /// One announcement for each appliance that is here, then the end marker.
    fn announce(&mut self) {
        let now_ms = self.now_ms;
        for number in 0..C {
            let number = u8::try_from(number).unwrap_or(u8::MAX);
            while self.outbox.room() >= 3 {
                let Some(client) = self.clients.get_mut(number) else { break };
                let Some((_, entry)) = client.discovery.filter(|(due_ms, _)| now_ms >= *due_ms) else {
                    break;
                };
                let slot = usize::from(entry);
                client.discovery = (slot < N).then(|| (now_ms, entry.saturating_add(1)));
                let to = To::client(number);
                if slot >= N {
                    let end = DeviceAnnounce { motors: 0, thermometers: 0, pumps: 0, glows: 0 };
                    self.outbox.push(to, Address::STATELESS, |out| end.encode(out));
                } else if let Some(device) = self.roster.get(slot).filter(|device| device.is_here(now_ms))
                    && let Some(announce) = device.announce
                {
                    self.outbox.push(to, device.address, |out| announce.encode(out));
                }
            }
        }
    }

    /// When the next of all that is due.
    pub(crate) fn route_wake_ms(&self) -> Option<u64> {
        let up = |link: u8| self.links.get(usize::from(link)).is_some_and(|link| link.up);
        let pings = self.roster.iter().filter(|(_, d)| up(d.link)).map(|(_, d)| d.ping_ms).min();
        let searches = self.links.iter().filter(|link| link.up).map(|link| link.discover_ms).min();
        let announces = self.clients.clients.iter().flatten().filter_map(|client| client.discovery);
        let ends = self.subscriptions.wake_ms(self.now_ms);
        let announces = announces.map(|(due_ms, _)| due_ms).min();
        [pings, searches, announces, ends].into_iter().flatten().min()
    }
}
