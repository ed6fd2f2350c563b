// SPDX-License-Identifier: Apache-2.0

//! The clients: connections that come and go, each with a number.

use fusain::Address;

use super::lines::{Input, with_frame};
use super::{CLIENTS, Core, ffi};

/// Bytes of one client that are taken in one turn, so that none keeps the others waiting.
const BYTES_A_TURN: usize = 1_024;

/// One place for a client.
#[derive(Debug)]
struct Place {
    open: bool,
    input: Input,
}

/// All places.
#[derive(Debug)]
pub(super) struct Clients {
    places: [Place; CLIENTS],
}

impl Clients {
    /// Listens from now on, whatever the network does.
    pub(super) fn listen() -> Result<Self, crate::Errno> {
        crate::Errno::check(ffi::rekindle_clients_listen())?;
        Ok(Self { places: [const { Place { open: false, input: Input::new() } }; CLIENTS] })
    }

    /// Takes in what has come: clients, their bytes, their ends. `gone` is told of ends.
    pub(super) fn turn(&mut self, now_ms: u64, core: &mut Core, mut gone: impl FnMut(u8)) {
        for (place, client) in self.places.iter_mut().zip(0..) {
            match ffi::rekindle_client_state(client) {
                ffi::CLIENT_TCP => {
                    if !place.open {
                        *place = Place { open: true, input: Input::new() };
                        core.client_opened(client);
                    }
                    place.take(now_ms, client, core);
                }
                // Not spoken here yet.
                ffi::CLIENT_WEB => ffi::rekindle_client_drop(client),
                ffi::CLIENT_GONE => {
                    if core::mem::take(&mut place.open) {
                        core.client_closed(client);
                        gone(client);
                    }
                    ffi::rekindle_client_release(client);
                }
                _ => {}
            }
        }
    }

    /// Sends one frame.
    pub(super) fn send(&mut self, client: u8, address: Address, payload: &[u8]) {
        with_frame(address, payload, |frame| {
            // SAFETY: `frame` is valid for `frame.len()` reads for the call and the shim keeps
            // no pointer.
            unsafe { ffi::rekindle_client_write(client, frame.as_ptr(), frame.len()) }
        });
    }
}

impl Place {
    /// Takes bytes for as long as the controller wants this client's.
    fn take(&mut self, now_ms: u64, client: u8, core: &mut Core) {
        for _ in 0..BYTES_A_TURN {
            if !core.wants(client) {
                return;
            }
            // SAFETY: `bytes` is valid for `bytes.len()` writes for the call and the shim keeps
            // no pointer.
            let read = |bytes: &mut [u8]| unsafe {
                ffi::rekindle_client_read(client, bytes.as_mut_ptr(), bytes.len())
            };
            let Some(byte) = self.input.byte(read) else { return };
            if let Some(Ok(packet)) = self.input.decoder.push(byte) {
                core.from_client(now_ms, client, packet.address, packet.payload);
            }
        }
    }
}
