// SPDX-License-Identifier: Apache-2.0

//! The clients: connections that come and go, each with a number.

use fusain::Address;
use rekindle_relay::websocket::{Refusal, Server, Step, knows_origin};

use super::lines::{Input, with_frame};
use super::{CLIENTS, Core, ffi};

/// Bytes of one client that are taken in one turn, so that none keeps the others waiting.
const BYTES_A_TURN: usize = 1_024;

/// One place for a client.
#[derive(Debug)]
pub(super) struct Place {
    open: bool,
    /// The controller did not want what it had next.
    held: bool,
    input: Input,
    /// It speaks WebSocket.
    web: Option<Server>,
}

impl Place {
    pub(super) const EMPTY: Self = Self { open: false, held: false, input: Input::new(), web: None };
}

/// All places.
#[derive(Debug)]
pub(super) struct Clients {
    places: &'static mut [Place; CLIENTS],
    /// Whose turn comes first: it may take all the room that the core has.
    first: u8,
}

impl Clients {
    /// Listens from now on, whatever the network does.
    pub(super) fn listen(places: &'static mut [Place; CLIENTS]) -> Result<Self, crate::Errno> {
        crate::Errno::check(ffi::rekindle_clients_listen())?;
        Ok(Self { places, first: 0 })
    }

    /// Takes in what has come: clients, their bytes, their ends. True if a client may have more.
    pub(super) fn turn(&mut self, now_ms: u64, core: &mut Core) -> bool {
        let mut more = false;
        let count = u8::try_from(CLIENTS).unwrap_or(u8::MAX);
        self.first = self.first.saturating_add(1).checked_rem(count).unwrap_or(0);
        for step in 0..count {
            let client = self.first.saturating_add(step).checked_rem(count).unwrap_or(0);
            let Some(place) = self.places.get_mut(usize::from(client)) else { continue };
            match ffi::rekindle_client_state(client) {
                kind @ (ffi::CLIENT_TCP | ffi::CLIENT_WEB) => {
                    if !place.open {
                        *place = Place { open: true, ..Place::EMPTY };
                        place.web = (kind == ffi::CLIENT_WEB).then(Server::new);
                        core.client_opened(client);
                    }
                    more |= place.take(now_ms, client, core);
                }
                ffi::CLIENT_GONE => {
                    // What it had sent still counts, and may have to wait for the core.
                    if place.open {
                        more |= place.take(now_ms, client, core);
                        if place.held {
                            continue;
                        }
                        place.open = false;
                        core.client_closed(client);
                    }
                    ffi::rekindle_client_release(client);
                }
                _ => {}
            }
        }
        more
    }

    /// Whether something that was held back is wanted now.
    pub(super) fn waits(&self, core: &Core) -> bool {
        self.places.iter().zip(0..).any(|(place, client)| place.held && core.wants(client))
    }

    /// Sends one frame.
    pub(super) fn send(&mut self, client: u8, address: Address, payload: &[u8]) {
        let Some(place) = self.places.get(usize::from(client)) else { return };
        with_frame(address, payload, |frame| match &place.web {
            None => write(client, frame),
            Some(web) if web.is_open() => {
                let (head, len) = <Server>::head(u16::try_from(frame.len()).unwrap_or(0));
                write(client, head.get(..len).unwrap_or_default());
                write(client, frame);
            }
            // Nobody is there before the upgrade.
            Some(_) => {}
        });
    }
}

fn write(client: u8, bytes: &[u8]) {
    // SAFETY: `bytes` is valid for `bytes.len()` reads for the call and the shim keeps no pointer.
    unsafe { ffi::rekindle_client_write(client, bytes.as_ptr(), bytes.len()) }
}

impl Place {
    /// Takes bytes for as long as the controller wants this client's. True if there may be more that it wants.
    fn take(&mut self, now_ms: u64, client: u8, core: &mut Core) -> bool {
        for _ in 0..BYTES_A_TURN {
            self.held = !core.wants(client);
            if self.held {
                return false;
            }
            // SAFETY: `bytes` is valid for `bytes.len()` writes for the call and the shim keeps
            // no pointer.
            let read = |bytes: &mut [u8]| unsafe {
                ffi::rekindle_client_read(client, bytes.as_mut_ptr(), bytes.len())
            };
            let Some(byte) = self.input.byte(read) else { return false };
            let Some(byte) = self.unwrapped(client, byte) else { continue };
            if let Some(Ok(packet)) = self.input.decoder.push(byte) {
                ffi::rekindle_client_heard(client);
                core.from_client(now_ms, client, packet.address, packet.payload);
            }
        }
        true
    }

    /// What the byte of a connection is to Fusain.
    fn unwrapped(&mut self, client: u8, byte: u8) -> Option<u8> {
        let Some(web) = &mut self.web else { return Some(byte) };
        let mut step = web.push(byte);
        if step == Step::Asked {
            step = if is_welcome(web) { web.accept() } else { web.refuse(Refusal::Forbidden) };
        }
        match step {
            Step::Data(byte) => return Some(byte),
            Step::More | Step::Asked => {}
            Step::Reply => write(client, web.reply()),
            Step::Close => {
                write(client, web.reply());
                ffi::rekindle_client_end(client);
            }
        }
        None
    }
}

/// Whether whoever asks for a WebSocket may have one.
fn is_welcome(web: &Server) -> bool {
    let mut list = [0; ffi::ORIGINS_MAX];
    // SAFETY: `list` is valid for `list.len()` writes for the call and the shim keeps no pointer.
    let len = unsafe { ffi::rekindle_origins(list.as_mut_ptr(), list.len()) };
    let list = list.get(..len).unwrap_or_default().split(|byte| *byte == b' ');
    knows_origin(web.header("Origin"), list.filter(|origin| !origin.is_empty()))
}
