// SPDX-License-Identifier: Apache-2.0
//! A controller and its appliances in one world, in virtual time: lossy links, power cuts at operations of its store
//! and of their flash, and a client that plans campaigns and brings images.
//!
//! The appliances are virtual ones; the controller is the core that also runs on a host and on Zephyr. Everything
//! comes from one seed, and ends with what was seen or with the first [`Invariant`] that did not hold.

mod client;
mod scenario;
mod store;
mod witness;

pub use scenario::{Cut, Fate, Kit, Made, Outage, Scenario};
pub use store::{Medium, Plant, PowerLost, SimStore, StoreTear};
pub use witness::{Broken, Invariant};

use crate::flash::RamStore;
use crate::link::{End, Faults, Link};
use crate::rng::Rng;
use crate::virtual_appliance::{Settings, VirtualAppliance};
use client::{Client, Phase};
use core::fmt;
use fusain::relay::{RosterOutcome, Stage};
use fusain::{Address, Decoder, FRAME_MAX, encode_frame};
use rekindle_relay::{Config, LinkConfig, Output, Port, Relay, StoreOp, Target};
use rekindle_session::sender;
use witness::Witness;

const MS: u64 = 1_000_000;
/// A campaign takes at most so long, in milliseconds of the world.
const CAMPAIGN_MS: u64 = 6 * 3_600_000;
/// Room for an image in the controller's store, in bytes.
const IMAGE_MAX: u32 = 256 * 1024;
/// Things that can happen at one moment.
const TURNS_MAX: usize = 20_000;

type Controller = Relay<4, 2, 2>;

/// What a world saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Operations of the store at which power could have been cut.
    pub store_operations: u64,
    /// Times that power of the controller went.
    pub controller_cuts: u32,
    /// Times that power of an appliance went.
    pub appliance_cuts: u32,
    /// Updates that were settled, and of these the ones of which nobody could say what became.
    pub settled: u32,
    /// See [`settled`](Self::settled).
    pub unknown: u32,
    /// Updates of appliances that speak the base protocol alone, and cannot tell.
    pub untold: u32,
    /// Times that a link was down.
    pub outages: u32,
    /// Plain pushes that came to a verdict.
    pub pushes: u32,
    /// Bytes of images that the controller had acknowledged and had to be sent again after a cut of its power.
    pub again: u64,
    /// The most of them after one cut.
    pub again_max: u32,
}

/// The image on its way to one appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// When the first byte of it was put on the bus, in milliseconds of the world.
    pub from_ms: u64,
    /// When the last one had been acknowledged and VERIFY went out.
    pub to_ms: u64,
}

/// An appliance on a link.
struct Station {
    link: usize,
    address: Address,
    appliance: VirtualAppliance<RamStore>,
    power_at_ms: Option<u64>,
    wake_ms: Option<u64>,
    /// It speaks the base protocol alone.
    base: bool,
}

/// A world in the course of its time.
pub struct World<'k> {
    scenario: Scenario,
    kit: &'k Kit,
    now_ms: u64,
    rng: Rng,
    relay: Option<Box<Controller>>,
    relay_at_ms: Option<u64>,
    relay_wake_ms: Option<u64>,
    /// What the store answers, and when: the controller stands still until then.
    reading: Option<(u64, Vec<u8>)>,
    store: Box<dyn Medium>,
    links: [Link; 2],
    decoders: [Decoder; 2],
    stations: Vec<Station>,
    absent: Vec<Address>,
    client: Client,
    witness: Witness,
    cuts: Vec<Cut>,
    /// The outages to come, the next one last.
    outages: Vec<Outage>,
    /// When the next one begins, and the link that is down and until when.
    outage_at_ms: Option<u64>,
    down: Option<(usize, u64)>,
    late: bool,
    summary: Summary,
    trace: bool,
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("scenario", &self.scenario).finish_non_exhaustive()
    }
}

impl<'k> World<'k> {
    /// A world in which everything has power from time 0 on, and the controller a [`SimStore`].
    ///
    /// # Panics
    /// When an image does not fit.
    #[must_use]
    pub fn new(scenario: Scenario, kit: &'k Kit) -> Self {
        let store = SimStore::new(scenario.seed, scenario.plant);
        Self::over(Box::new(store), scenario, kit)
    }

    /// The same over another store, an empty one.
    ///
    /// # Panics
    /// When an image does not fit.
    #[must_use]
    pub fn over(store: Box<dyn Medium>, scenario: Scenario, kit: &'k Kit) -> Self {
        let seed = scenario.seed;
        let unknown_age = scenario.campaigns.iter().any(|nth| kit.images[*nth].fate == Fate::Older);
        let base = if unknown_age { 0 } else { scenario.base };
        let places = [0, 1].into_iter().flat_map(|link| (0..scenario.appliances[link]).map(move |_| link));
        let stations = places.enumerate().map(|(nth, link)| {
            let address = Address::new(0xA0 + nth as u64);
            let settings = Settings {
                geometry: scenario.geometry,
                mode: scenario.mode,
                install: Some(kit.installed.clone()),
                address,
                point_to_point: false,
                serial: false,
                window: scenario.window,
                seed: seed ^ address.get(),
                ..Settings::default()
            };
            let appliance = VirtualAppliance::in_memory(settings).expect("an image that fits");
            Station { link, address, appliance, power_at_ms: None, wake_ms: Some(0), base: nth < base }
        });
        let stations: Vec<Station> = stations.collect();
        let absent = (0..scenario.absent).map(|nth| Address::new(0xD0 + nth as u64)).collect();
        let mut cuts = scenario.cuts.clone();
        cuts.reverse();
        let mut outages = scenario.outages.clone();
        outages.reverse();
        let mut world = Self {
            now_ms: 1,
            rng: Rng::new(seed).fork(0x20_71D),
            relay: None,
            relay_at_ms: Some(1),
            relay_wake_ms: None,
            reading: None,
            store,
            links: [Link::new(scenario.link, seed), Link::new(scenario.link, !seed)],
            decoders: [Decoder::new(), Decoder::new()],
            stations,
            absent,
            client: Client::new(),
            witness: Witness::new(),
            cuts,
            outages,
            outage_at_ms: None,
            down: None,
            late: false,
            summary: Summary::default(),
            trace: false,
            scenario,
            kit,
        };
        world.plan_cut();
        world.plan_outage();
        world
    }

    /// Brings the last image to everybody and says when it was on its way to each.
    ///
    /// # Errors
    /// The [`Broken`] invariant.
    pub fn measure(mut self) -> Result<Vec<Transfer>, Broken> {
        self.campaign(&self.kit.last)?;
        self.all_run_the_last()?;
        Ok(self.witness.transfers())
    }

    /// The same world, which prints what happens in it.
    #[must_use]
    pub fn traced(mut self) -> Self {
        self.trace = true;
        self
    }

    /// Lets time go by until every campaign is over, then brings one more image to everybody in peace.
    ///
    /// # Errors
    /// The [`Broken`] invariant.
    pub fn run(mut self) -> Result<Summary, Broken> {
        let kit = self.kit;
        for campaign in self.scenario.campaigns.clone() {
            if self.scenario.pushes {
                self.push(&kit.images[campaign])?;
            } else {
                self.campaign(&kit.images[campaign])?;
            }
        }
        self.make_peace();
        self.rest(&kit.last)?;
        self.campaign(&kit.last)?;
        self.rest(&kit.last)?;
        self.all_run_the_last()?;
        self.summary.store_operations = self.store.operations();
        (self.summary.again, self.summary.again_max) = self.client.again;
        Ok(self.summary)
    }

    fn campaign(&mut self, made: &'k Made) -> Result<(), Broken> {
        let wanted = self.stations.iter().map(|s| s.address).chain(self.absent.iter().copied()).collect();
        self.witness.begin(made);
        self.client.begin(self.now_ms, wanted);
        self.go_on(made, |world| world.client.phase == Phase::Over)?;
        let relay = self.relay.as_ref().expect("it has just answered");
        let entries: Vec<_> = relay.roster().collect();
        let checked = self.witness.over(&self.client.planned, &entries);
        checked.map_err(|(invariant, seen)| self.broken(invariant, seen))
    }

    /// Lets time go by until it is over, which takes hours at most.
    fn go_on(&mut self, made: &'k Made, over: impl Fn(&Self) -> bool) -> Result<(), Broken> {
        let limit_ms = self.now_ms + CAMPAIGN_MS;
        while !over(self) {
            let wake_ms = self.turn(made)?;
            if self.now_ms >= limit_ms {
                return Err(self.broken(Invariant::Progress, format!("{:?}", self.client.phase)));
            }
            self.now_ms = wake_ms.unwrap_or(self.now_ms + 1_000).max(self.now_ms + 1);
        }
        Ok(())
    }

    /// Somebody pushes an image to the first appliance, and again until it is there or refused.
    fn push(&mut self, made: &'k Made) -> Result<(), Broken> {
        let station = &self.stations[0];
        let (address, base) = (station.address, station.base);
        self.witness.begin(made);
        self.client.begin_push(self.now_ms, address);
        // The controller may still watch when whoever pushes knows already, or has given up.
        let rests = |world: &Self| world.relay.as_ref().is_some_and(|relay| !works(relay));
        self.go_on(made, |world| world.client.phase == Phase::Over && rests(world))?;
        let runs = running(&mut self.stations[0]);
        self.summary.pushes += u32::from(self.client.completion.is_some());
        let finding = self.witness.pushed(address, self.client.completion.take(), runs, base);
        finding.map_err(|(invariant, seen)| self.broken(invariant, seen))
    }

    /// Lets a minute go by in which nobody wants anything: what is under test is confirmed, or goes back.
    fn rest(&mut self, made: &'k Made) -> Result<(), Broken> {
        if self.stations.iter().all(|station| !station.base) {
            return Ok(());
        }
        let until_ms = self.now_ms + 60_000;
        while self.now_ms < until_ms {
            let wake_ms = self.turn(made)?;
            self.now_ms = wake_ms.unwrap_or(until_ms).max(self.now_ms + 1);
        }
        Ok(())
    }

    /// Does everything that happens at this moment; gives the time at which more does.
    fn turn(&mut self, made: &'k Made) -> Result<Option<u64>, Broken> {
        for _ in 0..TURNS_MAX {
            let mut busy = self.run_outages();
            busy |= self.run_stations();
            busy |= self.deliver();
            busy |= self.run_relay()?;
            busy |= self.run_client(made)?;
            if !busy {
                let links = self
                    .links
                    .iter()
                    .flat_map(|link| [link.next_arrival(End::Device), link.next_arrival(End::Controller)]);
                let stations = self.stations.iter().flat_map(|s| [s.power_at_ms, s.wake_ms]);
                let outages = [self.outage_at_ms, self.down.map(|(_, until_ms)| until_ms)];
                let others = [self.relay_at_ms, self.relay_wake_ms, self.client.wake_ms];
                let links = links.map(|ns| ns.map(|ns| ns.div_ceil(MS)));
                return Ok(stations.chain(links).chain(others).chain(outages).flatten().min());
            }
        }
        Err(self.broken(Invariant::Progress, "the same moment over and over".into()))
    }

    /// A link goes down, or comes back.
    fn run_outages(&mut self) -> bool {
        if self.outage_at_ms.take_if(|at| self.now_ms >= *at).is_some()
            && let Some(Outage { link, for_ms, .. }) = self.outages.pop()
        {
            self.down = Some((link, self.now_ms + for_ms));
            self.summary.outages += 1;
            if let Some(relay) = &mut self.relay {
                relay.link_down(self.now_ms, link as u8);
            }
            return true;
        }
        let Some((link, _)) = self.down.take_if(|(_, until_ms)| self.now_ms >= *until_ms) else {
            return false;
        };
        if let Some(relay) = &mut self.relay {
            relay.link_up(self.now_ms, link as u8);
        }
        self.plan_outage();
        true
    }

    fn plan_outage(&mut self) {
        self.outage_at_ms = self.outages.last().map(|outage| self.now_ms + outage.after_ms);
    }

    fn is_down(&self, link: usize) -> bool {
        self.down.is_some_and(|(down, _)| down == link)
    }

    fn run_stations(&mut self) -> bool {
        let mut busy = false;
        for index in 0..self.stations.len() {
            let (now_ms, trace) = (self.now_ms, self.trace);
            let station = &mut self.stations[index];
            if station.power_at_ms.take_if(|at| now_ms >= *at).is_some() {
                station.appliance.device_mut().power_on(now_ms * MS);
                busy = true;
            } else if station.power_at_ms.is_some() {
                continue;
            }
            let mut out = Vec::new();
            let polled = station.appliance.poll(now_ms, &mut out);
            station.wake_ms = polled.wake_ms;
            if trace {
                polled.notes.iter().for_each(|note| println!("{now_ms:8} {}: {note:?}", station.address));
            }
            if !out.is_empty() {
                let link = station.link;
                self.links[link].send(now_ms * MS, End::Device, &out);
                busy = true;
            }
            if polled.stopped {
                self.summary.appliance_cuts += 1;
                let off_ms = 10 + self.rng.below(3_000);
                self.stations[index].power_at_ms = Some(now_ms + off_ms);
                self.stations[index].wake_ms = None;
                self.plan_cut();
            }
        }
        busy
    }

    /// What has arrived by now is heard.
    fn deliver(&mut self) -> bool {
        let mut busy = false;
        for link in 0..2 {
            let heard: Vec<u8> =
                self.links[link].arrived(self.now_ms * MS, End::Device).into_iter().map(|(_, b)| b).collect();
            busy |= !heard.is_empty();
            let cut = self.is_down(link);
            let listens = |s: &&mut Station| s.link == link && s.power_at_ms.is_none() && !cut;
            for station in self.stations.iter_mut().filter(listens) {
                station.appliance.push_bytes(self.now_ms, &heard);
            }
            let mut frames = Vec::new();
            if self.reading.is_some() {
                // The driver's queue holds it meanwhile.
                continue;
            }
            for (_, byte) in self.links[link].arrived(self.now_ms * MS, End::Controller) {
                if let Some(Ok(packet)) = self.decoders[link].push(byte)
                    && !cut
                {
                    frames.push((packet.address, packet.payload.to_vec()));
                }
            }
            for (address, payload) in frames {
                busy = true;
                if let Some(relay) = &mut self.relay {
                    // A driver's queue would hold it; here it counts as lost on the way.
                    relay.from_link(self.now_ms, link as u8, address, &payload);
                }
            }
        }
        busy
    }

    fn run_relay(&mut self) -> Result<bool, Broken> {
        if self.relay_at_ms.take_if(|at| self.now_ms >= *at).is_some() {
            self.start_relay();
            let entries: Vec<_> = self.relay.iter().flat_map(|relay| relay.roster()).collect();
            if self.relay.is_some() {
                let kept = Witness::kept(&self.client.planned, &entries);
                kept.map_err(|(invariant, seen)| self.broken(invariant, seen))?;
            }
        }
        let mut busy = false;
        loop {
            let Some(relay) = &mut self.relay else { return Ok(busy) };
            if let Some((_, bytes)) = self.reading.take_if(|(at, _)| self.now_ms >= *at) {
                relay.store_done(Ok(&bytes));
            } else if let Some((at, _)) = &self.reading {
                self.relay_wake_ms = Some(*at);
                return Ok(busy);
            }
            match relay.poll(self.now_ms) {
                Output::Store(op @ StoreOp::Read { .. }) if self.scenario.read_ms > 0 => {
                    if let Ok(Ok(bytes)) = self.store.perform(&op) {
                        self.reading = Some((self.now_ms + self.scenario.read_ms, bytes));
                    }
                }
                Output::Store(op) => match self.store.perform(&op) {
                    Ok(result) => relay.store_done(result.as_deref().map_err(|fault| *fault)),
                    Err(PowerLost) => {
                        self.stop_relay();
                        return Ok(true);
                    }
                },
                Output::Send { port: Port::Link(link), address, payload } => {
                    let finding = self.witness.on_bus(self.now_ms, address, payload);
                    let mut frame = [0; FRAME_MAX];
                    let len = encode_frame(address, payload, &mut frame).expect("a frame of the controller");
                    if self.trace {
                        println!(
                            "{:8} link {link} {address}: {:02x?}",
                            self.now_ms,
                            &payload[..payload.len().min(8)]
                        );
                    }
                    // What one does not know is as good as not sent.
                    let extension = payload.get(2) == Some(&fusain::Extension::CODE);
                    let deaf = self.stations.iter().any(|s| s.base && s.address == address) && extension;
                    if !deaf {
                        self.links[usize::from(link)].send(self.now_ms * MS, End::Controller, &frame[..len]);
                    }
                    finding.map_err(|(invariant, seen)| self.broken(invariant, seen))?;
                    busy = true;
                }
                Output::Send { port: Port::Client(_), address, payload } => {
                    self.client.inbox.push_back((address, payload.to_vec()));
                    busy = true;
                }
                Output::ToReceiver { .. } => {}
                Output::Event(event) => {
                    if self.trace {
                        println!("{:8} controller: {event:?}", self.now_ms);
                    }
                    self.heed(&event)?;
                    busy = true;
                }
                Output::Wait { until_ms } => {
                    self.relay_wake_ms = until_ms;
                    self.check_store()?;
                    return Ok(busy);
                }
            }
        }
    }

    fn heed(&mut self, event: &rekindle_relay::Event) -> Result<(), Broken> {
        use rekindle_relay::Event;
        if let Event::Settled(address, outcome, _) = event {
            self.summary.settled += 1;
            self.summary.unknown += u32::from(*outcome == RosterOutcome::Unknown);
            self.summary.untold += u32::from(*outcome == RosterOutcome::Untold);
            let station = self.stations.iter_mut().find(|s| s.address == *address);
            let seen = station.map(|station| (running(station), station.base));
            let (runs, base) = (seen.map(|(runs, _)| runs), seen.is_some_and(|(_, base)| base));
            let finding = self.witness.settled(*address, *outcome, runs, base);
            finding.map_err(|(invariant, seen)| self.broken(invariant, seen))?;
        }
        if *event == Event::Removed {
            // What is not there any more is sent anew.
            self.client.forget_acknowledged();
        }
        if let (Event::Stage(_, Stage::Ready), true) = (event, self.late) {
            // The planted one asks now.
            self.late = false;
            if let Some(relay) = &mut self.relay {
                relay.set_keys(self.kit.keys);
            }
        }
        Ok(())
    }

    /// Whoever needs the image finds it.
    fn check_store(&mut self) -> Result<(), Broken> {
        let Some(relay) = &self.relay else { return Ok(()) };
        let (_, _, size) = relay.stored();
        let needs =
            |stage| matches!(stage, Stage::Queued | Stage::Transferring | Stage::Ready | Stage::Activating);
        let needed = relay.roster().find(|entry| needs(entry.stage));
        let Some(entry) = needed else { return Ok(()) };
        let Some(there) = self.store.len_of(rekindle_relay::File::Image) else { return Ok(()) };
        if there < size as usize || size == 0 {
            let seen = format!("{entry:?} needs {size} bytes, the store has {there}");
            return Err(self.broken(Invariant::ImageKeptWhileNeeded, seen));
        }
        Ok(())
    }

    fn start_relay(&mut self) {
        let Scenario { checkpoint, window, .. } = self.scenario;
        let config = Config { checkpoint, window, ..Config::new(IMAGE_MAX) };
        let line = sender::Link::serial(115_200);
        self.late = self.scenario.plant == Some(Plant::PolicyLate);
        let keys = if self.late { self.kit.all_keys } else { self.kit.keys };
        let relay = Relay::new(config, keys, [LinkConfig::new(line, window); 2]);
        let mut relay = Box::new(relay.expect("a configuration that works"));
        // The store is read first, as a driver does it.
        loop {
            match relay.poll(self.now_ms) {
                Output::Store(op) => match self.store.perform(&op) {
                    Ok(result) => relay.store_done(result.as_deref().map_err(|fault| *fault)),
                    Err(PowerLost) => return self.stop_relay(),
                },
                // Given up before the cut, and found out only now.
                Output::Event(rekindle_relay::Event::Removed) => self.client.forget_acknowledged(),
                Output::Wait { .. } => break,
                _ => {}
            }
        }
        for station in &self.stations {
            relay.configure(station.address, station.link as u8, Target::default());
        }
        for address in &self.absent {
            relay.configure(*address, 0, Target::default());
        }
        if self.scenario.root {
            relay.root_arm(self.now_ms);
            relay.root_confirm(self.now_ms).expect("the store has been read");
        }
        relay.client_opened(0);
        for link in [0, 1] {
            if !self.is_down(link) {
                relay.link_up(self.now_ms, link as u8);
            }
        }
        self.relay = Some(relay);
        self.client.connected(self.now_ms);
    }

    /// Power of the controller goes.
    fn stop_relay(&mut self) {
        self.summary.controller_cuts += 1;
        self.store.power_off();
        self.relay = None;
        self.relay_wake_ms = None;
        self.relay_at_ms = Some(self.now_ms + 10 + self.rng.below(5_000));
        self.client.disconnected(self.now_ms);
        self.decoders = [Decoder::new(), Decoder::new()];
        if self.trace {
            println!("{:8} the controller loses its power", self.now_ms);
        }
        self.plan_cut();
    }

    fn run_client(&mut self, made: &'k Made) -> Result<bool, Broken> {
        if self.reading.is_some() {
            return Ok(false);
        }
        let busy = self.client.run(self.now_ms, made, self.relay.as_deref_mut());
        let finding = self.witness.acknowledged(self.client.acknowledged, self.scenario.checkpoint);
        finding.map_err(|(invariant, seen)| self.broken(invariant, seen))?;
        Ok(busy)
    }

    fn plan_cut(&mut self) {
        match self.cuts.pop() {
            Some(Cut::Store(after, tear)) => self.store.plan_cut(self.store.operations() + after, tear),
            Some(Cut::Flash(station, after, tear)) => {
                let flash = self.stations[station].appliance.device_mut().flash_mut();
                let at = flash.operations() + after;
                flash.plan_cut(at, tear);
            }
            None => {}
        }
    }

    /// Nothing goes wrong any more.
    fn make_peace(&mut self) {
        self.cuts.clear();
        self.outages.clear();
        self.outage_at_ms = None;
        self.down = self.down.map(|(link, _)| (link, self.now_ms));
        self.store.clear_plans();
        for station in &mut self.stations {
            station.appliance.device_mut().flash_mut().clear_plans();
        }
        for link in &mut self.links {
            link.set_faults(Faults::default());
        }
    }

    fn all_run_the_last(&mut self) -> Result<(), Broken> {
        let last = self.kit.last.version;
        let wrong: Vec<String> = self
            .stations
            .iter_mut()
            .filter_map(|station| {
                let runs = running(station);
                let confirmed = station.appliance.endpoint().is_some_and(|e| e.receiver().confirmed());
                (runs != last || !confirmed).then(|| format!("{} runs {runs}", station.address))
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(self.broken(Invariant::AlwaysUpdatable, wrong.join(", "))) }
    }

    fn broken(&self, invariant: Invariant, seen: String) -> Broken {
        let seed = self.scenario.seed;
        Broken { invariant, seen, seed, operation: self.store.operations(), at_ms: self.now_ms }
    }
}

/// It works for an appliance.
fn works(relay: &Controller) -> bool {
    let works = |stage| matches!(stage, Stage::Queued | Stage::Transferring | Stage::Activating);
    relay.roster().any(|entry| works(entry.stage))
}

/// Major version of the image in the primary slot.
fn running(station: &mut Station) -> u8 {
    let flash = station.appliance.device_mut().flash_mut();
    let header = crate::image::inspect(flash, rekindle_session::port::Area::Primary, 0, 32);
    header.map_or(0, |header| header[20])
}
