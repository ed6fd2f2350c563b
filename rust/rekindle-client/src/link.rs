// SPDX-License-Identifier: Apache-2.0
//! A connection that speaks frames, and how a lost one is made anew.

use core::time::Duration;
use std::time::Instant;

use fusain::{Address, DataSubscription, FRAME_MAX, Message, SerialDecoder, encode_frame};

use crate::credentials::Access;
use crate::target::Target;
use crate::transport::{self, ConnectError, LinkError, Transport};

/// A connection that sends and receives messages.
pub struct Link {
    transport: Box<dyn Transport>,
    decoder: SerialDecoder,
    /// Time spent waiting for bytes; stands still on links without an inter-byte gap.
    idle: Duration,
    serial: bool,
    dropped_frames: u64,
}

impl Link {
    /// Connects to a target.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says why there is no connection.
    pub fn connect(target: &Target, access: &Access) -> Result<Self, ConnectError> {
        Ok(Self::new(transport::connect(target, access)?, target.is_serial()))
    }

    /// Speaks frames over a transport; `serial` says whether the inter-byte gap holds on it.
    #[must_use]
    pub fn new(transport: Box<dyn Transport>, serial: bool) -> Self {
        Self { transport, decoder: SerialDecoder::new(), idle: Duration::ZERO, serial, dropped_frames: 0 }
    }

    /// Sends one message.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the link is gone.
    pub fn send(&mut self, address: Address, message: &Message<'_>) -> Result<(), LinkError> {
        let mut frame = [0; FRAME_MAX];
        // Fails only for a payload longer than a frame carries, which no message of ours is.
        let length = message
            .encode_frame(address, &mut frame)
            .map_err(|error| LinkError::Io(std::io::Error::other(error)))?;
        self.transport.send(frame.get(..length).unwrap_or_default())
    }

    /// Sends a payload that is no [`Message`], such as an operation of controllers (PROTOCOL.md §7.5).
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the link is gone.
    pub fn send_payload(&mut self, address: Address, payload: &[u8]) -> Result<(), LinkError> {
        let mut frame = [0; FRAME_MAX];
        let length = encode_frame(address, payload, &mut frame)
            .map_err(|error| LinkError::Io(std::io::Error::other(error)))?;
        self.transport.send(frame.get(..length).unwrap_or_default())
    }

    /// Waits up to `timeout` for bytes and hands every message in them to `sink`, with its source. Damaged
    /// frames and messages that cannot be decoded are dropped, as the protocol asks (PROTOCOL.md §2.1).
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the link is gone.
    pub fn receive(
        &mut self,
        timeout: Duration,
        mut sink: impl FnMut(Address, &Message<'_>),
    ) -> Result<(), LinkError> {
        let mut senseless = 0;
        self.receive_payloads(timeout, |address, payload| match Message::decode(payload) {
            Ok(message) => sink(address, &message),
            Err(_) => senseless += 1,
        })?;
        self.dropped_frames += senseless;
        Ok(())
    }

    /// Waits up to `timeout` for bytes and hands every payload in them to `sink`, with its source. Damaged frames
    /// are dropped.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the link is gone.
    pub fn receive_payloads(
        &mut self,
        timeout: Duration,
        mut sink: impl FnMut(Address, &[u8]),
    ) -> Result<(), LinkError> {
        let mut bytes = [0; 1024];
        let before = Instant::now();
        let count = self.transport.recv(&mut bytes, timeout)?;
        if self.serial {
            // Only time spent waiting counts: a byte that sat in a buffer while this process did something else
            // came without a gap.
            self.idle += before.elapsed();
        }
        let now_ms = u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX);
        for &byte in bytes.get(..count).unwrap_or_default() {
            match self.decoder.push_at(now_ms, byte) {
                None => {}
                Some(Ok(packet)) => sink(packet.address, packet.payload),
                Some(Err(_)) => self.dropped_frames += 1,
            }
        }
        Ok(())
    }

    /// Frames dropped so far because they were damaged or made no sense.
    #[must_use]
    pub const fn dropped_frames(&self) -> u64 {
        self.dropped_frames
    }

    /// Asks a router to forward what a device reports (PROTOCOL.md §2); devices ignore it.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the link is gone.
    pub fn subscribe(&mut self, appliance: Address) -> Result<(), LinkError> {
        self.send(Address::STATELESS, &Message::DataSubscription(DataSubscription { appliance }))
    }
}

/// How long to wait before each further try to connect: 1 s, doubling, at most 30 s.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(30);

    /// Starts with the shortest wait.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// The wait before the next try.
    pub fn step(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(Self::LONGEST);
        wait
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::{Listen, Listener};

    #[test]
    fn waits_double_up_to_half_a_minute() {
        let mut backoff = Backoff::new();
        let waits: Vec<u64> = (0..8).map(|_| backoff.step().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    /// A frame split over messages, two frames in one message, and noise in between.
    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let listener = Listener::bind(&Listen::WebSocket { host: "127.0.0.1".to_owned(), port: 0 }).unwrap();
        let mut link = Link::connect(listener.target(), &Access::default()).unwrap();
        let mut device = listener.accept(Duration::from_secs(5)).unwrap();

        let mut frame = [0; FRAME_MAX];
        let address = Address::new(7);
        let length = Message::PingRequest.encode_frame(address, &mut frame).unwrap();
        let frame = &frame[..length];
        let (head, tail) = frame.split_at(5);
        let doubled = [frame, b"noise", frame].concat();
        for part in [head, tail, &doubled] {
            device.send(part).unwrap();
        }

        let mut got = 0;
        let deadline = Instant::now() + Duration::from_secs(5);
        while got < 3 && Instant::now() < deadline {
            link.receive(Duration::from_millis(50), |from, message| {
                assert_eq!((from, message), (address, &Message::PingRequest));
                got += 1;
            })
            .unwrap();
        }
        assert_eq!(got, 3);
        assert_eq!(link.dropped_frames(), 0);
    }
}
