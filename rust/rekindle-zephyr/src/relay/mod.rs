// SPDX-License-Identifier: Apache-2.0

//! A whole controller: the core with its store, its bus, its clients and its own receiver.
//!
//! The core says what is to be done, this carries it out. The receiver is an appliance like
//! any other, [`Device`], whose link leads to the core instead of to a wire: so the controller
//! is updated, tried and confirmed as the devices behind it are.

mod clients;
mod ffi;
mod lines;
mod store;

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use fusain::{Address, ApplianceState, DeviceAnnounce};
use mcuboot_image::key::PublicKey;
use rekindle_relay::{
    AuditReader, AuditRecord, Config, ConfigError, Event, KEYS_MAX, Keys, LinkConfig, Output, Port, Relay,
    Routing, Target, TrustedKey,
};
use rekindle_session::appliance::{self, Status};
use rekindle_session::sender;

use crate::device::{Application, Device, Options, StartError};
use crate::trial::{Check, Notice};
use crate::{Errno, system};
use clients::{Clients, Place};
use lines::{Bus, Own};
use store::Store;

/// Clients at once (`CONFIG_REKINDLE_CONTROLLER_CLIENTS`).
pub const CLIENTS: usize = 4;
/// Appliances at once.
pub const APPLIANCES: usize = 16;

/// The core, as large as it is here.
pub type Core = Relay<APPLIANCES, 1, CLIENTS>;

/// The core's outputs of one turn: then the receiver has its own.
const OUTPUTS_A_TURN: usize = 32;
/// Longest sleep in milliseconds, and the longest while something waits for a connection.
const PAUSE_MS: u64 = 100;
const FLUSH_MS: u64 = 10;
/// Records of root mode that are told in one turn: at 115200 Bd a console takes less than 0.1 s for them.
const RECORDS_A_TURN: usize = 8;
/// Bytes of the bus that are taken in one turn.
const BYTES_A_TURN: usize = 2_048;
/// A public key in DER is no longer than this.
const KEY_MAX: usize = 128;
/// Nobody asks the receiver: the core answers discoveries.
const ANNOUNCE: DeviceAnnounce = DeviceAnnounce { motors: 0, thermometers: 0, pumps: 0, glows: 0 };

/// What a controller's application brings along. Every call comes from [`Controller::turn`].
pub trait Keeper {
    /// Something happened to the stored image or to an appliance.
    fn event(&mut self, event: &Event) {
        let _ = event;
    }

    /// Something happened to the controller's own update.
    fn own_event(&mut self, event: &appliance::Event) {
        let _ = event;
    }

    /// How the trial of the controller's own image goes.
    fn trial(&mut self, notice: Notice) {
        let _ = notice;
    }

    /// The self-test of the controller's own image. That store, bus and network work is tested
    /// by [`Controller::start`].
    fn self_test(&mut self, now_ms: u64) -> Check {
        let _ = now_ms;
        Check::Passed
    }
}

/// Why a controller cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControllerError {
    /// The receiver cannot start.
    Receiver(StartError),
    /// The store cannot be mounted, or has no room for an image.
    Store(Errno),
    /// The UART of the bus is not ready.
    Bus(Errno),
    /// The network stack gives no socket.
    Network(Errno),
    /// A trusted key is none, or there is none at all.
    Key(u8),
    /// The core's configuration cannot work.
    Config(ConfigError),
}

impl core::fmt::Display for ControllerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Receiver(error) => write!(f, "receiver: {error}"),
            Self::Store(errno) => write!(f, "store: {errno}"),
            Self::Bus(errno) => write!(f, "bus: {errno}"),
            Self::Network(errno) => write!(f, "network: {errno}"),
            Self::Key(number) => write!(f, "trusted key {number} cannot be used"),
            Self::Config(error) => write!(f, "configuration: {error}"),
        }
    }
}

/// Where something lies that is larger than all the stack that it ever uses.
struct Space<T>(UnsafeCell<T>);

// SAFETY: whoever has started the device gets the only reference to what is inside (`spaces`).
unsafe impl<T> Sync for Space<T> {}

// Two, for what has no value yet costs no flash.
static CORE: Space<MaybeUninit<Option<Core>>> = Space(UnsafeCell::new(MaybeUninit::uninit()));
static PLACES: Space<[Place; CLIENTS]> = Space(UnsafeCell::new([Place::EMPTY; CLIENTS]));

/// The spaces, for the one who has started the device: there is one per boot.
fn spaces(_: &Device) -> (&'static mut Option<Core>, &'static mut [Place; CLIENTS]) {
    let core: *mut MaybeUninit<Option<Core>> = CORE.0.get();
    // SAFETY: a `Device` exists once per boot (`Device::start`), this is called once for it
    // (`Controller::start`), and nothing else accesses the spaces.
    unsafe { ((&mut *core).write(None), &mut *PLACES.0.get()) }
}

/// One controller during one boot.
#[derive(Debug)]
pub struct Controller {
    core: &'static mut Core,
    store: Store,
    bus: Bus,
    clients: Clients,
    own: Own,
    device: Device,
    /// The button for root mode was held, and the core does not know yet.
    held: bool,
}

impl Controller {
    /// Mounts the store, opens bus and network, and looks whether the button for root mode is
    /// held.
    ///
    /// # Errors
    ///
    /// [`ControllerError`] says what does not work. An image under test that cannot start is
    /// best reset, so that MCUboot reverts it.
    #[inline(never)]
    pub fn start() -> Result<Self, ControllerError> {
        let held = ffi::rekindle_root_held();
        let options = Options { announce: ANNOUNCE };
        let device = Device::start(&options).map_err(ControllerError::Receiver)?;
        let store = Store::open().map_err(ControllerError::Store)?;
        if store.room() == 0 {
            return Err(ControllerError::Store(Errno::NO_SPACE));
        }
        let address = device.identity().address;
        let (core, places) = spaces(&device);
        let core = begin_core(core, &store, address, device.boot().boot_number)?;
        let bus = Bus::open().map_err(ControllerError::Bus)?;
        let clients = Clients::listen(places).map_err(ControllerError::Network)?;
        let now_ms = system::uptime_ms();
        core.link_up(now_ms, 0);
        Ok(Self { core, store, bus, clients, own: Own::new(address), device, held })
    }

    /// The core, to ask for its state and to turn the switches of root mode.
    pub fn core(&mut self) -> &mut Core {
        self.core
    }

    /// The controller's own receiver.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Room for an image in the store, in bytes.
    #[must_use]
    pub fn room(&self) -> u32 {
        self.store.room()
    }

    /// Bytes of the bus that were lost since boot.
    #[must_use]
    pub fn overruns(&self) -> u32 {
        ffi::rekindle_bus_overruns()
    }

    /// The least that any of the clients' threads has left of its stack since boot, in bytes; 0 if it is not known.
    #[must_use]
    pub fn clients_stack_unused(&self) -> usize {
        ffi::rekindle_clients_stack_unused()
    }

    /// The next few records of root mode. Between two calls a [`turn`](Self::turn) is due, for bus and clients wait.
    /// False when there are no more.
    pub fn records(&mut self, reader: &mut AuditReader, mut tell: impl FnMut(&AuditRecord)) -> bool {
        for _ in 0..RECORDS_A_TURN {
            let Some(op) = reader.next_read() else { return false };
            if let Some(record) = reader.take(self.store.perform(&op).ok()) {
                tell(&record);
            }
        }
        system::feed_watchdog();
        true
    }

    /// One turn of the controller's loop: everything that can be done now, then a short sleep.
    pub fn turn(&mut self, keeper: &mut impl Keeper) {
        let now_ms = system::uptime_ms();
        match ffi::rekindle_unix_s() {
            0 => {}
            unix_s => self.core.set_time(now_ms, unix_s),
        }
        // The bus first: what clients send can take all the room that the core has, the bus cannot.
        let more = self.hear(now_ms);
        let more = self.clients.turn(now_ms, self.core) || more;
        let pause_ms = self.carry_out(now_ms, keeper);
        // What is here already wakes nobody.
        let more = more || self.core.awaits_receiver() || self.clients.waits(self.core);
        let pause_ms = if more { 0 } else { pause_ms };
        let pause_ms = if ffi::rekindle_clients_flush() { pause_ms.min(FLUSH_MS) } else { pause_ms };
        ffi::rekindle_limit_pause(u32::try_from(pause_ms).unwrap_or(0));
        self.device.turn(&mut Receiver(keeper));
    }

    /// Takes in what bus and receiver have said. True if they may have said more.
    fn hear(&mut self, now_ms: u64) -> bool {
        let mut more = true;
        for _ in 0..BYTES_A_TURN {
            if !self.core.wants_link() {
                break;
            }
            let Some(byte) = self.bus.byte() else {
                more = false;
                break;
            };
            if let Some(Ok(packet)) = self.bus.input.decoder.push(byte) {
                self.core.from_link(now_ms, 0, packet.address, packet.payload);
            }
        }
        while self.core.wants_link() {
            let Some(byte) = self.own.byte() else {
                // It had its turn after everything that it was handed, and this is all it had to say.
                if self.device.owes_nothing() {
                    self.core.receiver_rests();
                }
                break;
            };
            if let Some(Ok(packet)) = self.own.input.decoder.push(byte) {
                self.core.answer(packet.payload);
            }
        }
        more || !self.core.wants_link()
    }

    /// Does what the core wants done; milliseconds until it wants more.
    fn carry_out(&mut self, now_ms: u64, keeper: &mut impl Keeper) -> u64 {
        for _ in 0..OUTPUTS_A_TURN {
            // Each can take a second, on a bus that takes nothing or with a sector to erase.
            system::feed_watchdog();
            match self.core.poll(now_ms) {
                Output::Store(op) => {
                    let result = self.store.perform(&op);
                    self.core.store_done(result);
                }
                Output::Send { port: Port::Client(client), address, payload } => {
                    self.clients.send(client, address, payload);
                }
                Output::Send { port: Port::Link(_), address, payload } => self.bus.send(address, payload),
                Output::ToReceiver { payload } => self.own.put(payload),
                Output::Event(event) => {
                    // What the store says of root mode takes the place of what was said before it was read.
                    if matches!(event, Event::Started { .. }) && core::mem::take(&mut self.held) {
                        self.core.root_arm(now_ms);
                    }
                    keeper.event(&event);
                }
                Output::Wait { until_ms } => {
                    return until_ms.map_or(PAUSE_MS, |at| at.saturating_sub(now_ms).min(PAUSE_MS));
                }
            }
        }
        0
    }
}

/// The core over its store, with the keys that the build was given.
fn begin_core(
    space: &'static mut Option<Core>,
    store: &Store,
    address: Address,
    boot_number: u32,
) -> Result<&'static mut Core, ControllerError> {
    let settings = &ffi::rekindle_controller;
    let config = Config {
        routing: if settings.transparent { Routing::Transparent } else { Routing::StoreAndForward },
        checkpoint: settings.checkpoint,
        window: settings.client_window,
        own: Some(address),
        updates_itself: true,
        boot: u16::try_from(boot_number & 0xFFFF).unwrap_or(0),
        ..Config::new(store.room())
    };
    let line = if settings.half_duplex {
        sender::Link::serial_half_duplex(settings.baud)
    } else {
        sender::Link::serial(settings.baud)
    };
    let target = Target {
        vendor: settings.has_vendor.then_some(settings.vendor_id),
        class: settings.has_class.then_some(settings.class_id),
    };
    let link = LinkConfig { target, ..LinkConfig::new(line, settings.bus_window) };
    Core::begin(space, config, trusted_keys()?, [link]).map_err(ControllerError::Config)
}

/// The trusted keys, of which there must be one.
fn trusted_keys() -> Result<Keys, ControllerError> {
    let first = trusted_key(0)?.ok_or(ControllerError::Key(0))?;
    let mut keys = [first; KEYS_MAX];
    let mut count = 1;
    for (place, number) in keys.iter_mut().zip(0_u8..).skip(1) {
        let Some(key) = trusted_key(number)? else { break };
        *place = key;
        count = usize::from(number).saturating_add(1);
    }
    Keys::new(keys.get(..count).unwrap_or_default()).ok_or(ControllerError::Key(0))
}

/// The key of this number, if there is one.
fn trusted_key(number: u8) -> Result<Option<TrustedKey>, ControllerError> {
    let mut der = [0; KEY_MAX];
    // SAFETY: `der` is valid for `der.len()` writes for the call and the shim keeps no pointer.
    let len = unsafe { ffi::rekindle_trusted_key(number, der.as_mut_ptr(), der.len()) };
    if len == 0 {
        return Ok(None);
    }
    // One that is longer than any that can be used is as good as empty.
    let key = PublicKey::from_spki_der(der.get(..len).unwrap_or_default());
    let key = key.map_err(|_| ControllerError::Key(number))?;
    Ok(Some(TrustedKey { key, revoked: false }))
}

/// The application around the controller's own receiver.
///
/// Nothing that a controller does is harmed by a write to its flash or by a reset: what it has
/// promised is durable. That appliances come first is the core's business, which refuses
/// ACTIVATE until then.
struct Receiver<'a, K>(&'a mut K);

impl<K: Keeper> Application for Receiver<'_, K> {
    fn status(&mut self, _now_ms: u64) -> Status {
        Status { state: ApplianceState::Idle, safe: true, error: 0 }
    }

    fn self_test(&mut self, now_ms: u64) -> Check {
        self.0.self_test(now_ms)
    }

    fn event(&mut self, _now_ms: u64, event: &appliance::Event) {
        self.0.own_event(event);
    }

    fn trial(&mut self, notice: Notice) {
        self.0.trial(notice);
    }
}
