// SPDX-License-Identifier: Apache-2.0
//! The one thread that owns the core and its store. Everybody else sends it [`Input`]s.

mod clients;
mod root;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fusain::{Address, Extension, message_code};
use rekindle_relay::{Config, ConfigError, Event, LinkConfig, Output, Port, Relay, Routing, is_command};

use crate::config::Settings;
use crate::limits::{APPLIANCES_MAX, CLIENTS_MAX, LINK_CLIENT_PACE};
use crate::link::LinkOut;
use crate::packet::Packet;
use crate::store::DirStore;
use clients::Clients;
pub(crate) use clients::Opened;
use root::Root;

/// Longest wait in one piece, so that a request to stop is seen soon.
const NAP: Duration = Duration::from_millis(100);
/// Time between two looks at the clock on the wall.
const CLOCK: Duration = Duration::from_secs(60);

/// What reaches the core.
pub(crate) enum Input {
    /// A connection has sent its first frame, and wants to be a client.
    Opened(Opened),
    /// A frame of a client.
    Frame { connection: u64, packet: Packet },
    /// A client is gone.
    Closed { connection: u64 },
    /// A link is up.
    LinkUp { link: u8, out: LinkOut },
    /// A frame of a link.
    LinkFrame { link: u8, packet: Packet },
    /// A link has room for frames again.
    LinkRoom,
    /// A link is down.
    LinkDown { link: u8 },
}

/// The core with everything that is to be done for it.
pub(crate) struct Engine<const L: usize> {
    relay: Box<Relay<APPLIANCES_MAX, L, CLIENTS_MAX>>,
    store: DirStore,
    clients: Clients,
    links: [Option<LinkOut>; L],
    link_names: Vec<String>,
    root: Option<Root>,
    /// Whether a client's frame goes to an appliance.
    goes_down: fn(&Packet) -> bool,
    clock: Instant,
    clock_set: Instant,
    wake_ms: Option<u64>,
}

impl<const L: usize> Engine<L> {
    pub(crate) fn new(settings: &Settings, store: DirStore) -> Result<Self, ConfigError> {
        let config = Config {
            routing: settings.routing,
            takeover_ms: settings.takeover_ms,
            ..Config::new(settings.image_max)
        };
        let line = |number: usize| match settings.links.get(number) {
            Some(link) => LinkConfig {
                target: link.product,
                ..LinkConfig::new(rekindle_client::drive::link_facts(&link.target), link.window)
            },
            None => LinkConfig::new(rekindle_session::sender::Link::ip(), 1),
        };
        let relay = Relay::new(config, settings.keys, core::array::from_fn(line))?;
        let now = Instant::now();
        let root = settings.root_mode_file.as_ref();
        let root = root.map(|file| Root::new(file, settings.administrator, &settings.store));
        let mut engine = Self {
            relay: Box::new(relay),
            store,
            clients: Clients::new(),
            links: [const { None }; L],
            link_names: settings.links.iter().map(|link| link.name.clone()).collect(),
            root,
            goes_down: match settings.routing {
                Routing::StoreAndForward => is_passed,
                Routing::Transparent => is_passed_or_update,
            },
            clock: now,
            clock_set: now,
            wake_ms: None,
        };
        engine.set_clock();
        // What the store has is read before anybody is listened to.
        engine.pump();
        // Those that the store knows come first: a new one must not take the place of one that stands further down.
        let known = |address| engine.relay.roster().any(|entry| entry.address == address);
        let (known, new): (Vec<_>, Vec<_>) =
            settings.appliances.iter().partition(|appliance| known(appliance.address));
        for appliance in known.into_iter().chain(new) {
            if !engine.relay.configure(appliance.address, appliance.link, appliance.product) {
                tracing::error!(appliance = %appliance.address, "no room for this appliance on the roster");
            }
        }
        Ok(engine)
    }

    /// Works until `stop` is set.
    pub(crate) fn run(&mut self, inputs: &Receiver<Input>, stop: &AtomicBool) {
        self.say_root_mode();
        while !stop.load(Ordering::Relaxed) {
            self.pump();
            match inputs.recv_timeout(self.patience()) {
                Ok(input) => {
                    self.take(input);
                    // More may wait, but not for ever: others have timers.
                    for input in inputs.try_iter().take(CLIENTS_MAX) {
                        self.take(input);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.clock_set.elapsed() >= CLOCK {
                self.set_clock();
            }
            self.look_at_root_mode();
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn patience(&self) -> Duration {
        let until_ms = self.wake_ms.unwrap_or(u64::MAX);
        let nap = if self.clients.hold_something() { LINK_CLIENT_PACE } else { NAP };
        Duration::from_millis(until_ms.saturating_sub(self.now_ms())).min(nap)
    }

    fn set_clock(&mut self) {
        self.clock_set = Instant::now();
        if let Ok(unix) = SystemTime::now().duration_since(UNIX_EPOCH) {
            self.relay.set_time(self.now_ms(), unix.as_secs());
        }
    }

    fn take(&mut self, input: Input) {
        let now_ms = self.now_ms();
        match input {
            Input::Opened(opened) => self.opened(opened),
            Input::Frame { connection, packet } => self.clients.queue(connection, packet),
            Input::Closed { connection } => {
                if let Some(client) = self.clients.close(connection) {
                    self.relay.client_closed(client);
                }
            }
            Input::LinkUp { link, out } => {
                if let Some(place) = self.links.get_mut(usize::from(link)) {
                    *place = Some(out);
                    self.relay.link_up(now_ms, link);
                }
            }
            Input::LinkFrame { link, packet } => {
                if let Some(Some(out)) = self.links.get(usize::from(link)) {
                    out.taken();
                }
                if !self.relay.wants_link() {
                    self.pump();
                }
                self.relay.from_link(now_ms, link, packet.address, packet.payload());
            }
            Input::LinkRoom => {}
            Input::LinkDown { link } => {
                if let Some(place) = self.links.get_mut(usize::from(link)) {
                    *place = None;
                    self.relay.link_down(now_ms, link);
                }
            }
        }
        self.pump();
    }

    fn opened(&mut self, opened: Opened) {
        match self.clients.open(opened) {
            clients::Place::Free(client) => self.relay.client_opened(client),
            clients::Place::Of(client) => {
                self.relay.client_closed(client);
                self.relay.client_opened(client);
            }
            clients::Place::None => {}
        }
    }

    /// Does what the core wants until it waits, and gives it the frames that clients wait with.
    fn pump(&mut self) {
        let mut given = None;
        loop {
            self.drain(given.as_ref());
            let (relay, links) = (&self.relay, &self.links);
            let goes_down = self.goes_down;
            let has_room = |packet: &Packet| !goes_down(packet) || has_room(relay, links, packet);
            let Some((client, packet)) = self.clients.next(|client| relay.wants(client), has_room) else {
                return;
            };
            let now_ms = self.now_ms();
            self.relay.from_client(now_ms, client, packet.address, packet.payload());
            given = Some(packet);
        }
    }

    /// Does what the core wants until it waits; `given` is what a client has just sent.
    fn drain(&mut self, given: Option<&Packet>) {
        for (number, out) in self.links.iter().enumerate() {
            let room = out.as_ref().is_none_or(LinkOut::has_room);
            self.relay.link_room(u8::try_from(number).unwrap_or(u8::MAX), room);
        }
        loop {
            let now_ms = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
            match self.relay.poll(now_ms) {
                Output::Store(op) => {
                    let result = self.store.perform(&op);
                    self.relay.store_done(result);
                }
                Output::Send { port: Port::Client(client), address, payload } => {
                    let sent =
                        Packet::new(address, payload).is_none_or(|packet| self.clients.send(client, packet));
                    if !sent {
                        self.clients.drop_place(client);
                        self.relay.client_closed(client);
                    }
                }
                Output::Send { port: Port::Link(link), address, payload } => {
                    if let (Some(packet), Some(Some(out))) =
                        (Packet::new(address, payload), self.links.get(usize::from(link)))
                    {
                        let passed = given.is_some_and(|given| {
                            given.address == packet.address && given.payload() == packet.payload()
                        });
                        if passed {
                            out.pass(packet);
                        } else {
                            out.send(packet);
                        }
                        let room = out.has_room();
                        self.relay.link_room(link, room);
                    }
                }
                // The daemon has no receiver: its own update is a matter of the host's packages.
                Output::ToReceiver { .. } => {}
                Output::Event(event) => tell(&event),
                Output::Wait { until_ms } => {
                    self.wake_ms = until_ms;
                    return;
                }
            }
        }
    }

    fn say_root_mode(&self) {
        if self.relay.root().is_on() {
            let downgrades = self.relay.root().allows_downgrade();
            tracing::warn!(downgrades, "root mode is on: images without a trusted signature are forwarded");
        }
        for (number, name) in self.link_names.iter().enumerate() {
            tracing::info!(link = number, name, "link");
        }
        let (stored, offset, size) = self.relay.stored();
        let appliances = self.relay.roster().count();
        tracing::info!(image = %stored, offset, size, appliances, "controller is up");
    }
}

/// Where the controller stores and forwards, a client's frame goes to an appliance; what does not is for the controller.
fn is_passed(packet: &Packet) -> bool {
    let question =
        |packet: &Packet| matches!(Extension::decode(packet.payload()), Ok(Extension::OutcomeRequest { .. }));
    let command = message_code(packet.payload()).is_ok_and(is_command);
    packet.address != Address::STATELESS && (command || question(packet))
}

/// The same where routing is transparent.
fn is_passed_or_update(packet: &Packet) -> bool {
    let passed = |code| is_command(code) || matches!(code, 0x40..=0x4F);
    packet.address != Address::STATELESS && message_code(packet.payload()).is_ok_and(passed)
}

/// The links that a client's frame goes to have room for it.
fn has_room<const L: usize>(
    relay: &Relay<APPLIANCES_MAX, L, CLIENTS_MAX>,
    links: &[Option<LinkOut>; L],
    packet: &Packet,
) -> bool {
    let known = relay.roster().find(|entry| entry.address == packet.address).map(|entry| entry.link);
    let links = links.iter().enumerate();
    let concerned = links.filter(|(number, _)| {
        packet.address == Address::BROADCAST || known.is_none_or(|link| usize::from(link) == *number)
    });
    concerned.filter_map(|(_, link)| link.as_ref()).all(|link| link.takes(packet))
}

/// What happens, in the log.
fn tell(event: &Event) {
    match event {
        Event::Started { resumed } => tracing::info!(resumed, "store is read"),
        Event::Receiving { size } => tracing::info!(size, "a client brings an image"),
        Event::Received => tracing::info!("the image is complete"),
        Event::Approved { unsigned: false } => tracing::info!("the image is approved"),
        Event::Approved { unsigned: true } => {
            tracing::warn!("the image has no trusted signature, and root mode lets it pass");
        }
        Event::Refused(constraint) => tracing::warn!(reason = %constraint.name(), "the image is refused"),
        Event::RefusedFor(appliance, constraint) => {
            tracing::warn!(%appliance, reason = %constraint.name(), "the image is refused for this appliance");
        }
        Event::Stage(appliance, stage) => tracing::info!(%appliance, stage = %stage, "next stage"),
        Event::Retry(appliance, cause, pause_ms) => {
            tracing::warn!(%appliance, cause = %cause, pause_ms, "a try failed; there will be another one");
        }
        Event::Settled(appliance, outcome, cause) if outcome.is_success() => {
            tracing::info!(%appliance, outcome = %outcome, cause = %cause, "settled");
        }
        Event::Settled(appliance, outcome, cause) => {
            tracing::warn!(%appliance, outcome = %outcome, cause = %cause, "settled");
        }
        Event::Removed => tracing::info!("nobody needs the image any more: it is removed"),
        Event::Recorded(kind) => tracing::warn!(record = ?kind, "put on record"),
        Event::StoreFailed(file) => tracing::error!(file = crate::store::name(*file), "the store refused"),
    }
}
