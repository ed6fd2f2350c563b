// SPDX-License-Identifier: Apache-2.0
//! All connections there are. Whoever has not said anything yet makes room when there are too many.

use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::limits::CONNECTIONS_MAX;

#[derive(Debug, Default)]
struct Guests {
    /// By number, and so by age.
    all: BTreeMap<u64, Arc<Mark>>,
    next: u64,
}

#[derive(Debug, Default)]
struct Mark {
    has_spoken: AtomicBool,
    go: Notify,
}

/// See the [module's documentation](self).
#[derive(Clone, Debug, Default)]
pub(super) struct Lobby(Arc<Mutex<Guests>>);

/// A connection in the lobby. Dropping it leaves.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) number: u64,
    mark: Arc<Mark>,
    lobby: Lobby,
}

impl Lobby {
    /// A new connection; `None` if there are too many, and all of them have spoken.
    pub(super) fn enter(&self) -> Option<Guest> {
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if guests.all.len() >= CONNECTIONS_MAX {
            let silent = guests.all.iter().find(|(_, mark)| !mark.has_spoken.load(Ordering::Relaxed));
            let number = *silent?.0;
            if let Some(mark) = guests.all.remove(&number) {
                mark.go.notify_one();
            }
        }
        let number = guests.next;
        guests.next = number.wrapping_add(1);
        let mark = Arc::new(Mark::default());
        guests.all.insert(number, Arc::clone(&mark));
        Some(Guest { number, mark, lobby: self.clone() })
    }
}

impl Guest {
    /// A whole frame has come from it.
    pub(super) fn has_spoken(&self) {
        self.mark.has_spoken.store(true, Ordering::Relaxed);
    }

    /// Ends when it has to make room.
    pub(super) async fn told_to_go(&self) {
        self.mark.go.notified().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.lobby.0.lock().unwrap_or_else(PoisonError::into_inner).all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_is_silent_makes_room_and_nobody_else() {
        let lobby = Lobby::default();
        let mut guests: Vec<Guest> = (0..CONNECTIONS_MAX).map(|_| lobby.enter().unwrap()).collect();
        guests[0].has_spoken();
        let next = lobby.enter().unwrap();
        let all: Vec<u64> = lobby.0.lock().unwrap().all.keys().copied().collect();
        assert_eq!(all.len(), CONNECTIONS_MAX);
        assert!(all.contains(&0) && !all.contains(&1) && all.contains(&next.number));
        guests.remove(1);
        assert_eq!(lobby.0.lock().unwrap().all.len(), CONNECTIONS_MAX, "its number is not given back twice");
        guests.iter().for_each(Guest::has_spoken);
        next.has_spoken();
        assert!(lobby.enter().is_none());
        guests.pop();
        assert!(lobby.enter().is_some());
    }
}
