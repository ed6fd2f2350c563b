// SPDX-License-Identifier: Apache-2.0
//! The controller as a whole: its inputs, its outputs, and whose turn it is with the store.

use fusain::relay::{Cause, RosterOutcome, Stage, Stored};
use fusain::{Address, Constraint};

use crate::boot::Boot;
use crate::campaign::Planned;
use crate::config::{Config, ConfigError, LinkConfig, Routing};
use crate::forward::LinkState;
use crate::intake::Intake;
use crate::judge::{Asks, Judge};
use crate::meta::{Audit, Meta};
use crate::outbox::Outbox;
use crate::own::Own;
use crate::policy::{Approved, Keys};
use crate::port::{File, Port, StoreFault, StoreOp};
use crate::record::{AuditKind, AuditRecord, Head, encode_device};
use crate::root::{RootError, RootMode};
use crate::roster::{Device, NOBODY, Roster};
use crate::route::{Clients, Subscriptions};
use crate::session::Session;

/// What the driver must do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// Carry out this operation and answer with [`Relay::store_done`], before anything else is called.
    Store(StoreOp<'a>),
    /// Send this payload as one frame.
    Send {
        /// To whom.
        port: Port,
        /// Destination of a command, source of anything else.
        address: Address,
        /// What [`fusain::encode_frame`] makes a frame of.
        payload: &'a [u8],
    },
    /// An update command for the controller itself, for the receiver that the driver runs beside this. What that
    /// answers is passed on with [`Relay::answer`]; when it has answered all of them, [`Relay::receiver_rests`].
    ToReceiver {
        /// The command.
        payload: &'a [u8],
    },
    /// Tell whoever is interested.
    Event(Event),
    /// Nothing to do until something comes or this time has passed.
    Wait {
        /// On the clock of `now_ms`.
        until_ms: Option<u64>,
    },
}

/// What happens, for a display or a log. Nothing has to be done about any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The state of before was read; `resumed` bytes of an image are there.
    Started {
        /// Bytes of the stored image.
        resumed: u32,
    },
    /// A client began to bring an image.
    Receiving {
        /// Size of the image, in bytes.
        size: u32,
    },
    /// Every byte of the image is there.
    Received,
    /// Policy approved the stored image.
    Approved {
        /// No trusted key has signed it.
        unsigned: bool,
    },
    /// Policy refused the stored image for everybody.
    Refused(Constraint),
    /// Policy refused it for one appliance.
    RefusedFor(Address, Constraint),
    /// An appliance went on to another stage.
    Stage(Address, Stage),
    /// A try failed; the next one is in so many milliseconds.
    Retry(Address, Cause, u64),
    /// It is over for one appliance.
    Settled(Address, RosterOutcome, Cause),
    /// Nobody needs the image: it is being removed.
    Removed,
    /// Something about root mode is on record.
    Recorded(AuditKind),
    /// An operation of the store failed.
    StoreFailed(File),
}

/// Whose operation is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Boot,
    Audit,
    Meta,
    Link(usize),
    Intake,
    Judge,
    /// Removes an image that nobody needs.
    Cleanup,
}

/// A controller for `N` appliances on `L` links and `C` clients; see the [crate's documentation](crate).
#[derive(Debug)]
pub struct Relay<const N: usize = 16, const L: usize = 2, const C: usize = 4> {
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) root: RootMode,
    pub(crate) boot: Boot,
    pub(crate) links: [LinkState; L],
    pub(crate) roster: Roster<N>,
    pub(crate) clients: Clients<C>,
    pub(crate) subscriptions: Subscriptions<C>,
    pub(crate) session: Option<Session>,
    pub(crate) approved: Option<Approved>,
    pub(crate) judge: Option<Judge>,
    judge_read: Option<(u32, u32)>,
    pub(crate) intake: Intake,
    pub(crate) meta: Meta,
    pub(crate) audit: Audit,
    /// The image file is to be removed.
    pub(crate) cleanup: bool,
    pub(crate) outbox: Outbox,
    pub(crate) own: Own<C>,
    /// A plan that is answered when it is durable.
    pub(crate) planned: Option<Planned>,
    op: Option<Owner>,
    /// Link whose turn it is with the store.
    turn: usize,
    pub(crate) now_ms: u64,
    /// Seconds since 1970 at time 0 of the driver's clock.
    unix_s: Option<u64>,
}

/// What a microcontroller must have room for: 16 appliances, two links, four clients.
#[cfg(target_pointer_width = "32")]
const _: () =
    assert!(size_of::<Relay<16, 2, 4>>() <= 12 * 1024, "state of a controller on a microcontroller");

impl<const N: usize, const L: usize, const C: usize> Relay<N, L, C> {
    /// A controller that begins by reading its store, in the first calls of [`poll`](Self::poll). `links` are
    /// its southbound links; they are down until [`link_up`](Self::link_up).
    ///
    /// # Errors
    /// [`ConfigError`] when the configuration cannot work.
    pub fn new(config: Config, keys: Keys, links: [LinkConfig; L]) -> Result<Self, ConfigError> {
        config.check(C, N)?;
        Ok(Self::unchecked(config, keys, links))
    }

    /// As [`new`](Self::new), but made in `place`: what a device with a small stack wants, for a controller is larger
    /// than all the stack that it ever uses.
    ///
    /// # Errors
    /// As [`new`](Self::new); `place` is as before then.
    #[inline(never)]
    pub fn begin(
        place: &mut Option<Self>,
        config: Config,
        keys: Keys,
        links: [LinkConfig; L],
    ) -> Result<&mut Self, ConfigError> {
        config.check(C, N)?;
        *place = None;
        Ok(place.get_or_insert(Self::unchecked(config, keys, links)))
    }

    /// With a configuration that has been checked. Inlined, so that there is no copy on the way to its place.
    #[inline(always)]
    fn unchecked(config: Config, keys: Keys, links: [LinkConfig; L]) -> Self {
        Self {
            config,
            keys,
            root: RootMode::default(),
            boot: Boot::new(),
            links: links.map(LinkState::new),
            roster: Roster::new(),
            clients: Clients::new(),
            subscriptions: Subscriptions::new(),
            session: None,
            approved: None,
            judge: None,
            judge_read: None,
            intake: Intake::new(),
            meta: Meta::new(),
            audit: Audit::new(),
            cleanup: false,
            outbox: Outbox::new(),
            own: Own::new(),
            planned: None,
            op: None,
            turn: 0,
            now_ms: 0,
            unix_s: None,
        }
    }

    /// Says what to do next. To be called again after each output but [`Output::Wait`], after each input, and
    /// when the time of the last `Wait` has come.
    pub fn poll(&mut self, now_ms: u64) -> Output<'_> {
        self.now_ms = self.now_ms.max(now_ms);
        self.pump();
        if let Some(event) = self.outbox.take_event() {
            return Output::Event(event);
        }
        if let Some(client) = self.own.next() {
            return Output::ToReceiver { payload: self.own.take(client) };
        }
        let until_ms = Some(self.wake_ms());
        if self.outbox.has_frame() {
            return match self.outbox.pop() {
                Some((port, address, payload)) => Output::Send { port, address, payload },
                None => Output::Wait { until_ms },
            };
        }
        self.op = self.next_owner();
        match self.op.and_then(|owner| self.operation(owner)) {
            Some(op) => Output::Store(op),
            None => Output::Wait { until_ms },
        }
    }

    /// Answers the last [`Output::Store`]: the bytes for a read, anything for another operation.
    pub fn store_done(&mut self, result: Result<&[u8], StoreFault>) {
        let Some(owner) = self.op.take() else { return };
        if let (Err(StoreFault), Some(file)) = (result, self.operation(owner).map(file_of)) {
            self.outbox.event(Event::StoreFailed(file));
        }
        match owner {
            Owner::Boot => self.boot_done(result),
            Owner::Audit => self.audit.done(result),
            Owner::Meta => self.meta.done(result.is_ok(), self.now_ms),
            Owner::Link(link) => self.data_read(link, result),
            Owner::Intake => self.intake_done(result),
            Owner::Judge => self.judge_done(result),
            Owner::Cleanup => self.cleanup = false,
        }
    }

    /// Whether packets of this client may be given now. When false, poll until it is true again; the other
    /// clients and the links are not concerned.
    #[must_use]
    pub fn wants(&self, client: u8) -> bool {
        self.boot.is_over()
            && self.outbox.room() >= 3
            && !self.own.holds(client)
            && !self.intake.holds(client)
    }

    /// Whether packets of a link may be given now.
    #[must_use]
    pub fn wants_link(&self) -> bool {
        self.boot.is_over() && self.outbox.room() >= 3
    }

    /// The wall clock, for records: seconds since 1970, UTC.
    pub fn set_time(&mut self, now_ms: u64, unix_s: u64) {
        self.unix_s = unix_s.checked_sub(now_ms / 1000);
    }

    /// Trusts other keys from now on. The stored image is judged anew before another byte of it is sent.
    pub fn set_keys(&mut self, keys: Keys) {
        self.keys = keys;
        self.judge_again();
    }

    /// The physical act for root mode was done. Never to be called for anything that came over a network.
    pub fn root_arm(&mut self, now_ms: u64) {
        self.root.arm(now_ms);
    }

    /// Somebody at the controller wants root mode off; it waits for the confirmation.
    ///
    /// # Errors
    /// [`RootError::Locked`] if it is off.
    pub fn root_ask_off(&mut self, now_ms: u64) -> Result<(), RootError> {
        self.root.ask_off(now_ms)
    }

    /// Somebody at the controller confirms. The change counts when it is on record.
    ///
    /// # Errors
    /// [`RootError`] says what is missing.
    pub fn root_confirm(&mut self, now_ms: u64) -> Result<(), RootError> {
        if !self.boot.is_over() || !self.audit.is_idle() {
            return Err(RootError::Busy);
        }
        let change = self.root.confirm(now_ms)?;
        self.record_change(change);
        Ok(())
    }

    /// The second switch: whether downgrades pass while root mode is on.
    ///
    /// # Errors
    /// [`RootError::Locked`] while it is off.
    pub fn root_downgrade(&mut self, allow: bool) -> Result<(), RootError> {
        if !self.boot.is_over() || !self.audit.is_idle() {
            return Err(RootError::Busy);
        }
        let change = self.root.downgrade(allow)?;
        self.record_change(change);
        Ok(())
    }

    /// The switches of root mode.
    #[must_use]
    pub const fn root(&self) -> &RootMode {
        &self.root
    }

    /// Where the stored image is, the bytes of it that are there, and its size.
    #[must_use]
    pub fn stored(&self) -> (Stored, u32, u32) {
        match &self.session {
            None => (Stored::None, 0, 0),
            Some(session) => {
                let stored = if !session.complete() {
                    Stored::Receiving
                } else if self.approved.is_some() {
                    Stored::Approved
                } else {
                    Stored::Received
                };
                (stored, session.next(), session.size)
            }
        }
    }

    /// The stored image, if policy has approved it in this run.
    #[must_use]
    pub const fn approved(&self) -> Option<&Approved> {
        self.approved.as_ref()
    }

    /// Records in the audit file.
    #[must_use]
    pub const fn audit_records(&self) -> u32 {
        self.audit.records()
    }

    /// Moves everything on that can be moved on now.
    fn pump(&mut self) {
        if !self.boot.is_over() {
            self.pump_boot();
        }
        if self.boot.is_over() {
            self.pump_audit();
            self.pump_intake();
            self.pump_judge();
            self.pump_planned();
            self.pump_links();
            self.pump_routes();
            self.pump_meta();
        }
    }

    /// Whose turn it is with the store: records and state first, for others wait for them.
    fn next_owner(&mut self) -> Option<Owner> {
        if !self.boot.is_over() {
            return Some(Owner::Boot);
        }
        if self.audit.op().is_some() {
            return Some(Owner::Audit);
        }
        if self.meta.op().is_some() {
            return Some(Owner::Meta);
        }
        for step in 1..=L {
            let link = self.turn.saturating_add(step).checked_rem(L).unwrap_or(0);
            if self.links.get(link).is_some_and(|link| link.data.is_some()) {
                self.turn = link;
                return Some(Owner::Link(link));
            }
        }
        if self.intake.op(self.session.as_ref()).is_some() {
            return Some(Owner::Intake);
        }
        if self.judge_read.is_some() {
            return Some(Owner::Judge);
        }
        // The image goes when the state that does not name it is durable, and not before.
        (self.cleanup && self.session.is_none() && self.meta.is_clean()).then_some(Owner::Cleanup)
    }

    fn operation(&self, owner: Owner) -> Option<StoreOp<'_>> {
        let read = |(offset, len): (u32, u32)| StoreOp::Read { file: File::Image, offset, len };
        match owner {
            Owner::Boot => self.boot_op(),
            Owner::Audit => self.audit.op(),
            Owner::Meta => self.meta.op(),
            Owner::Link(link) => self.links.get(link)?.data.map(|(offset, len)| read((offset, len.into()))),
            Owner::Intake => self.intake.op(self.session.as_ref()),
            Owner::Judge => self.judge_read.map(read),
            Owner::Cleanup => Some(StoreOp::Remove { file: File::Image }),
        }
    }

    /// The state file's next piece.
    fn pump_meta(&mut self) {
        if !self.meta.begin(self.now_ms) {
            return;
        }
        let devices = self.roster.len();
        match self.meta.piece {
            0 => {
                let (root, downgrade) = self.root.switches();
                let devices = u8::try_from(devices).unwrap_or(u8::MAX);
                let head = Head { root, downgrade, devices, session: self.session };
                self.meta.fill(&head.encode());
            }
            piece if piece <= devices => {
                let entry = self.roster.nth(piece.saturating_sub(1)).map(encode_device);
                self.meta.fill(entry.as_ref().map_or(&[], |entry| entry.as_slice()));
            }
            piece if piece == devices.saturating_add(1) => {
                let crc = self.meta.crc.value();
                self.meta.fill(&crc.to_le_bytes());
            }
            _ => self.meta.fill(&[]),
        }
    }

    fn record_change(&mut self, change: Option<AuditKind>) {
        if let Some(kind) = change {
            self.record(kind, [0; 32], Address::BROADCAST);
        }
    }

    /// Begins to put something on record.
    pub(crate) fn record(&mut self, kind: AuditKind, digest: [u8; 32], address: Address) {
        let unix_s = self.unix_s.map(|start| start.saturating_add(self.now_ms / 1000));
        self.audit.begin(AuditRecord {
            kind,
            unix_s,
            boot: self.config.boot,
            uptime_ms: self.now_ms,
            digest,
            address,
        });
    }

    fn pump_audit(&mut self) {
        let Some((record, stands)) = self.audit.take() else { return };
        if !stands {
            // What could not be recorded does not happen; whoever wants it tries again.
            return;
        }
        self.outbox.event(Event::Recorded(record.kind));
        if record.kind == AuditKind::UnsignedReleased {
            if let Some(device) = self.roster.find(record.address).and_then(|slot| self.roster.get_mut(slot))
            {
                device.audited = true;
            }
        } else {
            self.root.apply(record.kind);
            self.meta.touch();
            self.judge_again();
        }
    }

    /// Keys or switches have changed: nothing that was approved before is approved any more.
    fn judge_again(&mut self) {
        self.approved = None;
        self.judge = None;
        self.judge_read = None;
        self.stop_transfers();
    }

    /// Judges the stored image when somebody waits for that.
    fn pump_judge(&mut self) {
        let Some(session) = self.session.filter(Session::complete) else {
            self.judge = None;
            self.judge_read = None;
            return;
        };
        if self.approved.is_some() || self.judge_read.is_some() {
            return;
        }
        // A campaign goes on without VERIFY when nobody is there any more who would send it.
        let alone = self.intake.is_alone(self.now_ms);
        let awaited = self.intake.verify.is_some()
            || self.roster.iter().any(|(_, device)| match device.stage {
                Stage::Waiting => device.auto && alone,
                stage => stage != Stage::None && stage != Stage::Settled,
            });
        if !awaited {
            return;
        }
        let judge = self.judge.get_or_insert_with(|| Judge::new(&session));
        match judge.next(&self.keys, &self.root) {
            Asks::Read { offset, len } => self.judge_read = Some((offset, len)),
            Asks::Verdict(verdict) => {
                self.judge = None;
                self.judged(verdict);
            }
        }
    }

    fn judge_done(&mut self, result: Result<&[u8], StoreFault>) {
        let read = self.judge_read.take();
        if let (Some(judge), Some((_, _))) = (&mut self.judge, read) {
            // A page that cannot be read counts as none: the digest will be wrong.
            judge.feed(result.unwrap_or_default(), &self.keys);
        }
    }

    fn judged(&mut self, verdict: Result<Approved, Constraint>) {
        let verify = self.intake.verify.take();
        match verdict {
            Ok(approved) => {
                self.outbox.event(Event::Approved { unsigned: approved.is_unsigned() });
                self.approved = Some(approved);
                for slot in 0..N {
                    if self.roster.get(slot).is_some_and(|d| d.auto && d.stage == Stage::Waiting) {
                        // What is refused for one appliance says nothing about the others.
                        let _ = self.queue(slot);
                    }
                }
                if let Some((client, address)) = verify {
                    self.verify_approved(client, address);
                }
                self.drop_unneeded();
            }
            Err(constraint) => {
                self.outbox.event(Event::Refused(constraint));
                if let Some((client, address)) = verify {
                    self.refuse(client, address, None, constraint);
                }
                self.drop_session(RosterOutcome::Forbidden, cause_of(constraint));
            }
        }
    }

    /// The stored image is of no use: everybody who waited for it has waited in vain.
    pub(crate) fn drop_session(&mut self, outcome: RosterOutcome, cause: Cause) {
        for slot in 0..N {
            if self.roster.get(slot).is_some_and(Device::needs_image) {
                self.give_up(slot, outcome, cause);
            }
        }
        self.drop_unneeded();
    }

    /// Nobody needs the stored image any more: it goes.
    pub(crate) fn drop_unneeded(&mut self) {
        if self.session.is_none() || self.roster.needs_image() {
            return;
        }
        self.session = None;
        self.approved = None;
        self.judge = None;
        self.judge_read = None;
        self.intake.forget_session();
        self.cleanup = true;
        self.meta.touch();
        self.outbox.event(Event::Removed);
    }

    /// It is over for one appliance. Nothing that was under way for it goes on: the next image may be another one.
    pub(crate) fn settle(&mut self, slot: usize, outcome: RosterOutcome, cause: Cause) {
        self.stop_transfer(slot);
        let Some(device) = self.roster.get_mut(slot) else { return };
        device.settle(outcome, cause);
        self.meta.touch();
        self.outbox.event(Event::Settled(device.address, outcome, cause));
    }

    pub(crate) fn stage(&mut self, slot: usize, stage: Stage) {
        if let Some(device) = self.roster.get_mut(slot) {
            device.stage = stage;
            self.outbox.event(Event::Stage(device.address, stage));
            self.meta.touch();
        }
    }

    pub(crate) fn is_transparent(&self) -> bool {
        self.config.routing == Routing::Transparent
    }

    /// A client is gone.
    pub(crate) fn forget_client(&mut self, client: u8) {
        self.outbox.forget_client(client);
        self.planned = self.planned.filter(|planned| planned.client != client);
        self.intake.forget_client(client);
        self.own.forget_client(client);
        for (_, device) in self.roster.iter_mut() {
            for place in [&mut device.requester, &mut device.asker, &mut device.commander] {
                if *place == client {
                    *place = NOBODY;
                }
            }
        }
        for link in &mut self.links {
            link.forget_client(client);
        }
    }

    /// When to poll again if nothing comes.
    fn wake_ms(&self) -> u64 {
        let links = self.links.iter().filter_map(|link| link.wake_ms).min();
        let times =
            [links, self.meta.wake_ms(), self.route_wake_ms(), self.retry_wake_ms(), self.alone_wake_ms()];
        let wake_ms = times.into_iter().flatten().min().unwrap_or(u64::MAX);
        wake_ms.max(self.now_ms.saturating_add(1))
    }
}

/// The file that an operation is about.
const fn file_of(op: StoreOp<'_>) -> File {
    match op {
        StoreOp::Append { file, .. }
        | StoreOp::Sync { file }
        | StoreOp::Read { file, .. }
        | StoreOp::Commit { from: file, .. }
        | StoreOp::Remove { file } => file,
    }
}

/// What the roster says of a refusal by policy.
pub(crate) const fn cause_of(constraint: Constraint) -> Cause {
    match constraint {
        Constraint::SignatureInvalid => Cause::SignatureInvalid,
        Constraint::VersionDowngrade => Cause::Downgrade,
        Constraint::HashMismatch => Cause::HashMismatch,
        Constraint::HeaderInvalid => Cause::WrongImage,
        Constraint::ImageTooLarge => Cause::TooLarge,
        Constraint::FlashWriteFailed => Cause::StoreFailed,
        _ => Cause::Refused,
    }
}
