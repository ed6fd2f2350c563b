// SPDX-License-Identifier: Apache-2.0
//! The controller's own receiver, which answers one client after the other.
//!
//! What a receiver answers does not say whom: on a wire there is one sender. So a command of another client, or to
//! another address of the controller, waits here until every command before it is done with.

use fusain::{Address, PAYLOAD_MAX};

use crate::controller::Relay;
use crate::outbox::To;
use crate::roster::NOBODY;

/// Whoever a command is from, and the address that it was sent to.
type Asker = (u8, Address);

/// The receiver as the core sees it.
#[derive(Debug)]
pub(crate) struct Own {
    /// Whose commands it works on. Of a client that is gone the address is left: what is still said goes nowhere.
    served: Option<Asker>,
    /// A command that waits to be handed to it.
    asker: Asker,
    len: usize,
    payload: [u8; PAYLOAD_MAX],
}

impl Own {
    pub(crate) const fn new() -> Self {
        Self { served: None, asker: (NOBODY, Address::BROADCAST), len: 0, payload: [0; PAYLOAD_MAX] }
    }

    /// A command waits. No other is taken meanwhile, from whomever: so everybody comes to their turn.
    pub(crate) const fn has_command(&self) -> bool {
        self.len > 0
    }

    /// Keeps a command until it is that client's turn.
    pub(crate) fn keep(&mut self, client: u8, address: Address, payload: &[u8]) {
        if let Some(place) = self.payload.get_mut(..payload.len()) {
            place.copy_from_slice(payload);
            (self.asker, self.len) = ((client, address), payload.len());
        }
    }

    /// A command waits, and it is its client's turn.
    pub(crate) fn is_next(&self) -> bool {
        self.len > 0 && self.served.is_none_or(|served| served == self.asker)
    }

    /// The command that waits.
    pub(crate) fn take(&mut self) -> &[u8] {
        self.served = Some(self.asker);
        self.payload.get(..core::mem::take(&mut self.len)).unwrap_or_default()
    }

    pub(crate) fn forget_client(&mut self, client: u8) {
        if self.asker.0 == client {
            self.len = 0;
        }
        if let Some((served, _)) = self.served.as_mut().filter(|(served, _)| *served == client) {
            *served = NOBODY;
        }
    }
}

impl<const N: usize, const L: usize, const C: usize> Relay<N, L, C> {
    /// Passes on what the controller's own receiver answers, to the client whose commands it works on.
    pub fn answer(&mut self, payload: &[u8]) {
        if let Some((client, address)) = self.own.served {
            self.outbox.pass(To::client(client), address, payload);
        }
    }

    /// The controller's own receiver has taken every [`Output::ToReceiver`](crate::Output::ToReceiver), and
    /// [`answer`](Self::answer) was told of all that it had to say to them. To be called whenever that is so: until
    /// then the commands of other clients wait.
    pub fn receiver_rests(&mut self) {
        self.own.served = None;
    }

    /// A command waits for [`receiver_rests`](Self::receiver_rests).
    #[must_use]
    pub const fn awaits_receiver(&self) -> bool {
        self.own.has_command()
    }
}
