// SPDX-License-Identifier: Apache-2.0
//! The controller's own receiver, which answers one client after the other.
//!
//! What a receiver answers does not say whom: on a wire there is one sender. So a command of another client, or to
//! another address of the controller, waits here until every command before it is done with. Whoever wants nothing of
//! the receiver waits for nobody.

use fusain::{Address, PAYLOAD_MAX};

use crate::controller::Relay;
use crate::outbox::To;
use crate::roster::NOBODY;

/// Whoever a command is from, and the address that it was sent to.
type Asker = (u8, Address);

/// A client's command that waits to be handed to the receiver; without length there is none.
#[derive(Debug)]
struct Command {
    address: Address,
    len: usize,
    payload: [u8; PAYLOAD_MAX],
}

impl Command {
    const NONE: Self = Self { address: Address::BROADCAST, len: 0, payload: [0; PAYLOAD_MAX] };
}

/// The receiver as the core sees it.
#[derive(Debug)]
pub(crate) struct Own<const C: usize> {
    /// Whose commands it works on. Of a client that is gone the address is left: what is still said goes nowhere.
    served: Option<Asker>,
    /// The client whose turn was the last: the next one's is the next.
    last: u8,
    waiting: [Command; C],
}

impl<const C: usize> Own<C> {
    pub(crate) const fn new() -> Self {
        Self { served: None, last: 0, waiting: [Command::NONE; C] }
    }

    /// A command of this client waits. No other is taken from it meanwhile.
    pub(crate) fn holds(&self, client: u8) -> bool {
        self.waiting.get(usize::from(client)).is_some_and(|command| command.len > 0)
    }

    /// Keeps a command until it is that client's turn.
    pub(crate) fn keep(&mut self, client: u8, address: Address, payload: &[u8]) {
        let Some(command) = self.waiting.get_mut(usize::from(client)) else { return };
        if let Some(place) = command.payload.get_mut(..payload.len()) {
            place.copy_from_slice(payload);
            (command.address, command.len) = (address, payload.len());
        }
    }

    /// The clients with a command that waits, in the order of their turns.
    fn waiting(&self) -> impl Iterator<Item = Asker> {
        let clients = (0..=u8::MAX).zip(&self.waiting);
        let next = usize::from(self.last) + 1;
        let in_turn = clients.clone().skip(next).chain(clients.take(next));
        in_turn.filter(|(_, command)| command.len > 0).map(|(client, command)| (client, command.address))
    }

    /// Whose command is to be handed over now. While the receiver works it takes more from the one it works for, whose
    /// turn was the last, so only while nobody else waits.
    pub(crate) fn next(&self) -> Option<u8> {
        let first = self.waiting().next()?;
        self.served.is_none_or(|served| served == first).then_some(first.0)
    }

    /// The command of a client that waits.
    pub(crate) fn take(&mut self, client: u8) -> &[u8] {
        let Some(command) = self.waiting.get_mut(usize::from(client)) else { return &[] };
        (self.served, self.last) = (Some((client, command.address)), client);
        command.payload.get(..core::mem::take(&mut command.len)).unwrap_or_default()
    }

    pub(crate) fn forget_client(&mut self, client: u8) {
        if let Some(command) = self.waiting.get_mut(usize::from(client)) {
            command.len = 0;
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
    pub fn awaits_receiver(&self) -> bool {
        self.own.waiting().next().is_some()
    }
}
