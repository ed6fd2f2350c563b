// SPDX-License-Identifier: Apache-2.0
//! Frames and events that wait for the next poll.

use fusain::{Address, EncodeError, PAYLOAD_MAX};

use crate::controller::Event;
use crate::port::Port;

/// Frames that can wait at once. One input causes at most three; what causes more asks for room first.
const FRAMES_MAX: usize = 8;

/// Events that can wait at once. A driver that does not poll between inputs loses the newest, never a decision.
const EVENTS_MAX: usize = 8;

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// To the clients whose bits are set.
    Clients(u32),
    Link(u8),
}

impl To {
    /// To one client; to nobody if there is none.
    pub(crate) fn client(client: u8) -> Self {
        Self::Clients(mask(client))
    }
}

/// The bit of a client.
pub(crate) fn mask(client: u8) -> u32 {
    1_u32.checked_shl(u32::from(client)).unwrap_or(0)
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    to: To,
    address: Address,
    len: u8,
    payload: [u8; PAYLOAD_MAX],
}

impl Frame {
    const NONE: Self =
        Self { to: To::Clients(0), address: Address::BROADCAST, len: 0, payload: [0; PAYLOAD_MAX] };
}

/// Two short queues.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: [Frame; FRAMES_MAX],
    first: usize,
    used: usize,
    events: [Option<Event>; EVENTS_MAX],
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self { frames: [Frame::NONE; FRAMES_MAX], first: 0, used: 0, events: [None; EVENTS_MAX] }
    }

    /// Frames that can be taken now.
    pub(crate) const fn room(&self) -> usize {
        FRAMES_MAX.saturating_sub(self.used)
    }

    /// Whether somebody waits for a frame.
    pub(crate) const fn has_frame(&self) -> bool {
        self.used > 0
    }

    /// Queues a frame. There is room, or the caller can bear its loss as a link's.
    pub(crate) fn push(
        &mut self,
        to: To,
        address: Address,
        encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>,
    ) {
        if to == To::Clients(0) || self.room() == 0 {
            return;
        }
        let place = self.first.saturating_add(self.used).checked_rem(FRAMES_MAX).unwrap_or(0);
        let Some(frame) = self.frames.get_mut(place) else { return };
        let Some(len) = encode(&mut frame.payload).ok().and_then(|len| u8::try_from(len).ok()) else {
            return;
        };
        (frame.to, frame.address, frame.len) = (to, address, len);
        self.used = self.used.saturating_add(1);
    }

    /// Queues a frame as it came.
    pub(crate) fn pass(&mut self, to: To, address: Address, payload: &[u8]) {
        self.push(to, address, |out| {
            out.get_mut(..payload.len()).ok_or(EncodeError::BufferTooSmall)?.copy_from_slice(payload);
            Ok(payload.len())
        });
    }

    /// Takes the oldest frame, for one receiver at a time.
    pub(crate) fn pop(&mut self) -> Option<(Port, Address, &[u8])> {
        loop {
            if self.used == 0 {
                return None;
            }
            let place = self.first;
            let frame = self.frames.get_mut(place)?;
            let port = match &mut frame.to {
                To::Clients(0) => {
                    self.drop_first();
                    continue;
                }
                To::Clients(clients) => {
                    let client = clients.trailing_zeros();
                    *clients &= clients.wrapping_sub(1);
                    Port::Client(u8::try_from(client).unwrap_or(0))
                }
                To::Link(link) => Port::Link(*link),
            };
            if matches!(frame.to, To::Link(_) | To::Clients(0)) {
                self.drop_first();
            }
            let frame = self.frames.get(place)?;
            return Some((port, frame.address, frame.payload.get(..usize::from(frame.len))?));
        }
    }

    fn drop_first(&mut self) {
        self.first = self.first.saturating_add(1).checked_rem(FRAMES_MAX).unwrap_or(0);
        self.used = self.used.saturating_sub(1);
    }

    /// A client is gone: nothing goes to it any more.
    pub(crate) fn forget_client(&mut self, client: u8) {
        for frame in &mut self.frames {
            if let To::Clients(clients) = &mut frame.to {
                *clients &= !mask(client);
            }
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        if let Some(place) = self.events.iter_mut().find(|place| place.is_none()) {
            *place = Some(event);
        }
    }

    pub(crate) fn take_event(&mut self) -> Option<Event> {
        let event = self.events.first_mut()?.take()?;
        self.events.rotate_left(1);
        Some(event)
    }
}
