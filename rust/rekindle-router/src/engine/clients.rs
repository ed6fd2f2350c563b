// SPDX-License-Identifier: Apache-2.0
//! The clients: connections that have a place with the core, and the frames they wait with.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc};

use crate::limits::{CLIENT_QUEUE, CLIENTS_MAX, LINK_PATIENCE, REPLACEABLE};
use crate::packet::Packet;

/// A connection that wants to be a client.
pub(crate) struct Opened {
    /// Its number, never used twice.
    pub(crate) connection: u64,
    /// Who it is, for the log.
    pub(crate) name: Arc<str>,
    /// Takes what is sent to it. Dropping it ends the connection.
    pub(crate) out: mpsc::Sender<Packet>,
    /// A permit for each frame that the core may still be given.
    pub(crate) credit: Arc<Semaphore>,
}

struct Client {
    opened: Opened,
    queue: VecDeque<Packet>,
    heard: Instant,
    /// Since when its next frame has waited for room on a link.
    held: Option<Instant>,
}

/// What place a connection got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One that nobody had.
    Free(u8),
    /// One whose client has long been silent; it is disconnected.
    Of(u8),
    /// There is none; the connection ends.
    None,
}

/// See the [module's documentation](self).
pub(super) struct Clients {
    places: [Option<Client>; CLIENTS_MAX],
    /// Who was served last: everybody has the same share.
    turn: usize,
}

impl Clients {
    pub(super) const fn new() -> Self {
        Self { places: [const { None }; CLIENTS_MAX], turn: 0 }
    }

    pub(super) fn open(&mut self, opened: Opened) -> Place {
        let free = self.places.iter().position(Option::is_none);
        let silent = || {
            let oldest = self.places.iter().enumerate().filter_map(|(at, c)| Some((c.as_ref()?.heard, at)));
            oldest.min().filter(|(heard, _)| heard.elapsed() >= REPLACEABLE).map(|(_, at)| at)
        };
        let Some(at) = free.or_else(silent) else {
            tracing::warn!(client = %opened.name, "every place is taken: disconnected");
            return Place::None;
        };
        let Ok(number) = u8::try_from(at) else { return Place::None };
        tracing::info!(client = %opened.name, connection = opened.connection, "client is here");
        let queue = VecDeque::with_capacity(CLIENT_QUEUE);
        let client = Client { opened, queue, heard: Instant::now(), held: None };
        match self.places.get_mut(at).and_then(|place| place.replace(client)) {
            None => Place::Free(number),
            Some(old) => {
                tracing::info!(client = %old.opened.name, "makes room for another client");
                Place::Of(number)
            }
        }
    }

    /// A connection is gone; gives the place that it had.
    pub(super) fn close(&mut self, connection: u64) -> Option<u8> {
        let at = self.find(connection)?;
        let client = self.places.get_mut(at)?.take()?;
        tracing::info!(client = %client.opened.name, connection, "client is gone");
        u8::try_from(at).ok()
    }

    /// Ends the connection that has a place.
    pub(super) fn drop_place(&mut self, client: u8) {
        if let Some(client) = self.places.get_mut(usize::from(client)).and_then(Option::take) {
            tracing::warn!(client = %client.opened.name, "takes too little of what it is sent: disconnected");
        }
    }

    pub(super) fn queue(&mut self, connection: u64, packet: Packet) {
        let at = self.find(connection);
        if let Some(client) = at.and_then(|at| self.places.get_mut(at)).and_then(Option::as_mut) {
            client.heard = Instant::now();
            client.queue.push_back(packet);
        }
    }

    /// The next frame of a client that is wanted, in turn. One that its link has no room for waits, and those behind it,
    /// but not for ever.
    pub(super) fn next(
        &mut self,
        wants: impl Fn(u8) -> bool,
        has_room: impl Fn(&Packet) -> bool,
    ) -> Option<(u8, Packet)> {
        for step in 1..=CLIENTS_MAX {
            let at = self.turn.saturating_add(step).checked_rem(CLIENTS_MAX).unwrap_or(0);
            let Ok(number) = u8::try_from(at) else { continue };
            let Some(client) = self.places.get_mut(at).and_then(Option::as_mut) else { continue };
            let Some(packet) = client.queue.front().filter(|_| wants(number)) else { continue };
            if !has_room(packet) && client.held.get_or_insert_with(Instant::now).elapsed() < LINK_PATIENCE {
                continue;
            }
            client.held = None;
            let packet = client.queue.pop_front()?;
            client.opened.credit.add_permits(1);
            self.turn = at;
            return Some((number, packet));
        }
        None
    }

    /// A client waits for room on a link.
    pub(super) fn hold_something(&self) -> bool {
        self.places.iter().flatten().any(|client| client.held.is_some())
    }

    /// Sends to a client; `false` if it takes too little.
    pub(super) fn send(&self, client: u8, packet: Packet) -> bool {
        match self.places.get(usize::from(client)).and_then(Option::as_ref) {
            Some(client) => {
                !matches!(client.opened.out.try_send(packet), Err(mpsc::error::TrySendError::Full(_)))
            }
            None => true,
        }
    }

    fn find(&self, connection: u64) -> Option<usize> {
        self.places.iter().position(|c| c.as_ref().is_some_and(|c| c.opened.connection == connection))
    }
}

#[cfg(test)]
mod tests {
    use fusain::Address;

    use super::*;

    fn opened(connection: u64) -> (Opened, mpsc::Receiver<Packet>) {
        let (out, end) = mpsc::channel(2);
        let credit = Arc::new(Semaphore::new(0));
        (Opened { connection, name: "somebody".into(), out, credit }, end)
    }

    fn packet(byte: u8) -> Packet {
        Packet::new(Address::new(1), &[byte]).unwrap()
    }

    #[test]
    fn everybody_has_a_turn_and_a_place_is_taken_only_from_the_silent() {
        let mut clients = Clients::new();
        let mut ends = Vec::new();
        for place in 0..u8::try_from(CLIENTS_MAX).unwrap() {
            let (opened, end) = opened(place.into());
            assert_eq!(clients.open(opened), Place::Free(place));
            ends.push(end);
        }
        let (late, mut end) = opened(99);
        assert_eq!(clients.open(late), Place::None);
        assert!(end.try_recv().is_err_and(|e| e == mpsc::error::TryRecvError::Disconnected));

        (0..3).for_each(|_| clients.queue(4, packet(4)));
        clients.queue(7, packet(7));
        clients.queue(1234, packet(0));
        let order: Vec<u8> =
            core::iter::from_fn(|| clients.next(|_| true, |_| true).map(|(client, _)| client)).collect();
        assert_eq!(order, [4, 7, 4, 4]);
        // Whoever's link has no room waits, and nobody with it.
        clients.queue(4, packet(4));
        clients.queue(7, packet(7));
        let has_room = |packet: &Packet| packet.payload() != [4];
        assert_eq!(clients.next(|_| true, has_room).map(|(client, _)| client), Some(7));
        assert!(clients.next(|_| true, has_room).is_none() && clients.hold_something());
        assert_eq!(clients.next(|_| true, |_| true).map(|(client, _)| client), Some(4));
        assert!(!clients.hold_something());
        clients.queue(7, packet(7));
        assert!(clients.next(|client| client != 7, |_| true).is_none(), "what is not wanted waits");
        assert_eq!(clients.close(7), Some(7));
        let (next, _end) = opened(100);
        assert_eq!(clients.open(next), Place::Free(7));
        assert!(clients.next(|_| true, |_| true).is_none(), "what waited went with its client");
    }

    #[test]
    fn a_client_that_takes_nothing_is_told_from_one_that_is_gone() {
        let mut clients = Clients::new();
        let (slow, end) = opened(1);
        clients.open(slow);
        assert!(clients.send(0, packet(1)) && clients.send(0, packet(2)));
        assert!(!clients.send(0, packet(3)));
        drop(end);
        assert!(clients.send(0, packet(4)), "its connection says so by itself");
        assert!(clients.send(9, packet(4)), "nobody is there");
    }
}
