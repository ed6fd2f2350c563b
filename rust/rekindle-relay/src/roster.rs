// SPDX-License-Identifier: Apache-2.0
//! The appliances: who is there, where each one's update is, and what became of the last one.

use fusain::relay::{Cause, RosterEntry, RosterOutcome, Stage};
use fusain::{Address, DeviceAnnounce, Info, Mode, OtaState, Version};

use crate::controller::Relay;
use crate::forward::LinkState;
use crate::policy::{Approved, Receiving, Target};

/// No client.
pub(crate) const NOBODY: u8 = u8::MAX;

/// Silence after which an appliance counts as away, in milliseconds: three pings.
pub(crate) const AWAY_MS: u64 = 30_000;

/// One appliance. What the state file has of it stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) address: Address,
    pub(crate) link: u8,
    pub(crate) stage: Stage,
    pub(crate) outcome: RosterOutcome,
    pub(crate) cause: Cause,
    pub(crate) tries: u8,
    pub(crate) mode: Mode,
    /// Part of a campaign: the controller activates by itself.
    pub(crate) auto: bool,
    /// ACTIVATE was asked for.
    pub(crate) activate: bool,
    /// With a reboot.
    pub(crate) reboot: bool,
    /// Highest security counter known to be installed.
    pub(crate) counter: u32,
    /// Its newest attempt before the image was brought: an outcome of that one is no word on this image.
    pub(crate) attempt: u32,
    /// The version it runs, if it told; without a hash, the one that was activated last on one that cannot tell.
    pub(crate) running: Option<Version>,
    pub(crate) running_hash: Option<[u8; 32]>,

    pub(crate) target: Target,
    /// Whoever runs the controller has named it: it stays on the roster.
    pub(crate) configured: bool,
    pub(crate) announce: Option<DeviceAnnounce>,
    /// The rest of its last INFO: boot number, flags, state.
    pub(crate) info: Option<(u32, u32, u8)>,
    /// Its last uptime, and when it told.
    pub(crate) uptime: Option<(u32, u64)>,
    pub(crate) heard_ms: Option<u64>,
    pub(crate) retry_ms: u64,
    pub(crate) ping_ms: u64,
    /// When its INFO was asked for last.
    pub(crate) asked_ms: Option<u64>,
    /// Bytes it has acknowledged.
    pub(crate) offset: u32,
    /// ACTIVATE is to be sent; without it, an activation is followed only.
    pub(crate) go: bool,
    /// It was seen to reboot since ACTIVATE.
    pub(crate) rebooted: bool,
    /// Looks in vain at its link, which is down.
    pub(crate) missed: u8,
    /// Reboots seen, the boot number of one that tells none.
    pub(crate) reboots: u8,
    /// The record of an unsigned release stands.
    pub(crate) audited: bool,
    /// An abort is to be sent.
    pub(crate) abort: bool,
    /// State version that must be durable before the next step.
    pub(crate) gate: u32,
    /// Client whose update this is.
    pub(crate) requester: u8,
    /// Client whose question was passed on.
    pub(crate) asker: u8,
    /// Client whose command was passed on last, if that was not refused yet.
    pub(crate) commander: u8,
}

impl Device {
    pub(crate) const fn new(address: Address, link: u8) -> Self {
        Self {
            address,
            link,
            stage: Stage::None,
            outcome: RosterOutcome::None,
            cause: Cause::None,
            tries: 0,
            mode: Mode::Test,
            auto: false,
            activate: false,
            reboot: true,
            counter: 0,
            attempt: 0,
            running: None,
            running_hash: None,
            target: Target { vendor: None, class: None },
            configured: false,
            announce: None,
            info: None,
            uptime: None,
            heard_ms: None,
            retry_ms: 0,
            ping_ms: 0,
            asked_ms: None,
            offset: 0,
            go: false,
            rebooted: false,
            missed: 0,
            reboots: 0,
            audited: false,
            abort: false,
            gate: 0,
            requester: NOBODY,
            asker: NOBODY,
            commander: NOBODY,
        }
    }

    /// The image must stay, for this one needs it.
    pub(crate) const fn needs_image(&self) -> bool {
        !matches!(self.stage, Stage::None | Stage::Settled)
    }

    /// It has received an image, or a part of one, that nobody would activate if the plan ended now.
    pub(crate) const fn holds_image(&self) -> bool {
        match self.stage {
            Stage::Transferring | Stage::Ready => true,
            Stage::Queued => self.offset > 0,
            Stage::None | Stage::Waiting | Stage::Activating | Stage::Settled => false,
        }
    }

    /// Begins a new plan for it; what became of the one before stays on record until this one is settled.
    pub(crate) fn plan(&mut self, auto: bool, mode: Mode) {
        self.stage = Stage::Waiting;
        self.cause = Cause::None;
        self.tries = 0;
        (self.auto, self.mode, self.activate, self.reboot) = (auto, mode, auto, true);
        (self.go, self.rebooted, self.audited, self.abort) = (false, false, false, false);
        (self.offset, self.missed) = (0, 0);
        self.retry_ms = 0;
    }

    /// The image was installed, as far as is known: older ones are a step back from now on.
    pub(crate) fn has_installed(&mut self, outcome: RosterOutcome, image: &Approved) {
        if outcome.is_success() {
            self.counter = self.counter.max(image.counter());
        }
        if outcome == RosterOutcome::Untold {
            (self.running, self.running_hash) = (Some(image.version()), None);
        }
    }

    /// What an end without a verdict comes to: what was activated may yet come up, and nobody knows.
    pub(crate) const fn unless_activated(&self, outcome: RosterOutcome) -> RosterOutcome {
        match self.stage {
            Stage::Activating => RosterOutcome::Unknown,
            _ => outcome,
        }
    }

    pub(crate) fn settle(&mut self, outcome: RosterOutcome, cause: Cause) {
        self.stage = Stage::Settled;
        self.outcome = outcome;
        self.cause = cause;
        (self.auto, self.activate, self.go) = (false, false, false);
    }

    /// Heard within the time of three pings.
    pub(crate) fn is_here(&self, now_ms: u64) -> bool {
        self.heard_ms.is_some_and(|heard| now_ms.saturating_sub(heard) < AWAY_MS)
    }

    /// Somebody has heard it: in this run, or before, as its version or what was installed on it tells.
    pub(crate) const fn was_there(&self) -> bool {
        self.heard_ms.is_some() || self.running.is_some() || self.counter > 0
    }

    /// What policy looks at; `links` says what the appliances of a link take.
    pub(crate) fn receiving(&self, links: &[LinkState]) -> Receiving {
        let named = Some(self.target).filter(|target| *target != Target::default());
        let target = named.or_else(|| links.get(usize::from(self.link)).map(|link| link.config.target));
        Receiving { target: target.unwrap_or_default(), running: self.running, counter: self.counter }
    }

    /// It was seen to reboot, perhaps for the second time the same reboot.
    pub(crate) fn has_rebooted(&mut self) {
        if !core::mem::replace(&mut self.rebooted, true) {
            self.reboots = self.reboots.wrapping_add(1);
        }
    }

    /// It was activated without a reboot, and nobody knows when one comes.
    pub(crate) fn waits_for_reset(&self) -> bool {
        self.stage == Stage::Activating && !self.reboot && !self.go
    }

    /// Takes INFO. It is no reason to write the state: it is asked for again after a restart.
    pub(crate) fn learn(&mut self, info: &Info) {
        if self.info.is_some_and(|(boot, _, _)| boot != info.boot_number) {
            self.has_rebooted();
        }
        self.info = Some((info.boot_number, info.flags.0, info.appliance_state));
        self.running = Some(info.version);
        self.running_hash = Some(info.image_hash);
    }

    /// The update's state as the appliance's address answers it for the client.
    pub(crate) const fn ota_state(&self, complete: bool) -> OtaState {
        match self.stage {
            Stage::None | Stage::Settled => OtaState::Idle,
            Stage::Waiting if !complete => OtaState::Receiving,
            Stage::Waiting => OtaState::Received,
            // What a campaign takes care of is done with for the one who brought the image.
            Stage::Queued | Stage::Transferring | Stage::Ready | Stage::Activating if self.auto => {
                OtaState::Verified
            }
            Stage::Queued | Stage::Transferring => OtaState::Received,
            Stage::Ready => OtaState::Verified,
            Stage::Activating if self.rebooted => OtaState::Idle,
            Stage::Activating => OtaState::Activated,
        }
    }

    /// The version it runs, where it told.
    pub(crate) fn told_version(&self) -> Option<Version> {
        self.running.filter(|_| self.running_hash.is_some())
    }

    pub(crate) fn entry(&self) -> RosterEntry {
        RosterEntry {
            address: self.address,
            link: self.link,
            stage: self.stage,
            outcome: self.outcome,
            cause: self.cause,
            offset: self.offset,
            version: self.told_version(),
            image_hash: self.running_hash,
        }
    }
}

/// The appliances that the controller knows, in the order in which it met them.
#[derive(Debug)]
pub(crate) struct Roster<const N: usize> {
    devices: [Option<Device>; N],
}

impl<const N: usize> Roster<N> {
    pub(crate) const fn new() -> Self {
        Self { devices: [None; N] }
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&Device> {
        self.devices.get(slot)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Device> {
        self.devices.get_mut(slot)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Device)> {
        self.devices.iter().enumerate().filter_map(|(slot, device)| device.as_ref().map(|d| (slot, d)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Device)> {
        self.devices.iter_mut().enumerate().filter_map(|(slot, device)| device.as_mut().map(|d| (slot, d)))
    }

    pub(crate) fn find(&self, address: Address) -> Option<usize> {
        self.iter().find(|(_, device)| device.address == address).map(|(slot, _)| slot)
    }

    pub(crate) fn len(&self) -> usize {
        self.devices.iter().flatten().count()
    }

    /// Adds an appliance; `None` if there is no room. One that was never configured, needs no image and is away makes
    /// room: first one that was never heard, then the one that has been silent longest. For one that is only spoken
    /// of, which is not `there`, none makes room that ever was.
    pub(crate) fn admit(&mut self, device: Device, there: bool, now_ms: u64) -> Option<usize> {
        if !device.address.is_device() {
            return None;
        }
        let free = self.devices.iter().position(Option::is_none);
        let slot = free.or_else(|| {
            let stale = |d: &Device| {
                !d.needs_image() && !d.configured && !d.is_here(now_ms) && (there || !d.was_there())
            };
            let stale = self.iter().filter(|(_, device)| stale(device));
            stale.min_by_key(|(_, device)| (device.was_there(), device.heard_ms)).map(|(slot, _)| slot)
        })?;
        *self.devices.get_mut(slot)? = Some(device);
        Some(slot)
    }

    pub(crate) fn clear(&mut self) {
        self.devices = [None; N];
    }

    /// Somebody needs the stored image.
    pub(crate) fn needs_image(&self) -> bool {
        self.iter().any(|(_, device)| device.needs_image())
    }

    /// The entry that stands at place `index`, counted without gaps.
    pub(crate) fn nth(&self, index: usize) -> Option<&Device> {
        self.iter().nth(index).map(|(_, device)| device)
    }
}

impl<const N: usize, const L: usize, const C: usize> Relay<N, L, C> {
    /// Says what images an appliance takes; a target that names nothing leaves it to the link's
    /// [configuration](crate::LinkConfig). It is added to the roster if it is not there, and stays there for this run.
    /// `false` if there is no room or no such link.
    pub fn configure(&mut self, address: Address, link: u8, target: Target) -> bool {
        let there = self.roster.find(address).and_then(|slot| self.roster.get(slot));
        if there.is_none_or(|device| device.link != link) {
            // What is being written is of before.
            self.meta.touch();
            self.meta.restart();
        }
        let slot = self.admit(address, link, true);
        if let Some(device) = slot.and_then(|slot| self.roster.get_mut(slot)) {
            (device.target, device.configured) = (target, true);
        }
        slot.is_some()
    }

    /// The appliances, with the place of each.
    pub fn roster(&self) -> impl Iterator<Item = RosterEntry> {
        self.roster.iter().map(|(_, device)| device.entry())
    }

    /// Puts an appliance on the roster, if there is room. It is `there` by its own word, or that of whoever runs the
    /// controller; a client's word alone takes no place from anybody who was ever heard.
    ///
    /// Who is there is no reason to write the state: it is found out again after a restart, and whoever can send frames
    /// with addresses of his own making would wear the store out, and keep everybody waiting who waits for the state.
    /// A state that is being written must keep its order, so it is begun anew when the roster grows, but not for ever:
    /// then the frame counts as lost.
    pub(crate) fn admit(&mut self, address: Address, link: u8, there: bool) -> Option<usize> {
        if usize::from(link) >= L {
            return None;
        }
        if let Some(slot) = self.roster.find(address) {
            self.meet(slot, link);
            return Some(slot);
        }
        if !self.meta.give_way() {
            return None;
        }
        let device = Device::new(address, link);
        let slot = self.roster.admit(device, there, self.now_ms).or_else(|| {
            let ended = there && address.is_device() && self.end_a_phantom();
            if ended { self.roster.admit(device, there, self.now_ms) } else { None }
        })?;
        if let Some(device) = self.roster.get_mut(slot) {
            device.ping_ms = self.now_ms;
        }
        Some(slot)
    }

    /// An appliance is met on a link. One that needs the image stays on the link where it is heard; on that of the state
    /// file, or where it has long been silent, nothing that was begun comes to anything.
    fn meet(&mut self, slot: usize, link: u8) {
        let now_ms = self.now_ms;
        let Some(device) = self.roster.get_mut(slot).filter(|device| device.link != link) else { return };
        if !device.needs_image() {
            device.link = link;
        } else if !device.is_here(now_ms) {
            device.link = link;
            // As after a restart: how it is, is asked first.
            if device.stage == Stage::Transferring {
                device.stage = Stage::Queued;
            }
            (device.go, device.retry_ms) = (false, 0);
            self.stop_transfer(slot);
        }
    }

    /// Ends a plan for an appliance that nobody has ever heard, before anything was sent to it; `false` if there is
    /// none.
    fn end_a_phantom(&mut self) -> bool {
        // The answer to a plan names the place that it has.
        if self.planned.is_some() {
            return false;
        }
        let phantom = |d: &Device| d.stage == Stage::Waiting && !d.configured && !d.was_there();
        let Some(slot) = self.roster.iter().find(|(_, d)| phantom(d)).map(|(slot, _)| slot) else {
            return false;
        };
        self.cancel(slot);
        self.drop_unneeded();
        true
    }

    /// The appliance with this address; one that nobody has heard of yet is looked for on the only link.
    pub(crate) fn slot_of(&mut self, address: Address) -> Option<usize> {
        match self.roster.find(address) {
            None if self.config.admit_unknown && L == 1 => self.admit(address, 0, false),
            slot => slot,
        }
    }
}
