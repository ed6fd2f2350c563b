// SPDX-License-Identifier: Apache-2.0
//! A wire between two ends, in virtual time and accurate to the byte: it has a rate, a latency and gaps between
//! frames, loses, repeats, reorders and corrupts by a seed, and on a half-duplex line two that talk at once destroy
//! what both said.
//!
//! It is sans-IO: [`Link::send`] takes a frame, [`Link::arrived`] gives the bytes that have arrived by now, and
//! [`Link::next_arrival`] says when it is worth asking again.

use crate::rng::Rng;
use alloc::collections::VecDeque;

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The controller's.
    Controller,
    /// The device's.
    Device,
}

impl End {
    fn index(self) -> usize {
        match self {
            Self::Controller => 0,
            Self::Device => 1,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Controller => Self::Device,
            Self::Device => Self::Controller,
        }
    }
}

/// What goes wrong by chance, in parts per million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Frames that vanish.
    pub loss: u32,
    /// Frames that arrive twice.
    pub duplicate: u32,
    /// Frames that are held back and overtaken; of use on datagram links only.
    pub reorder: u32,
    /// Bytes of which one bit flips.
    pub corrupt: u32,
}

/// What the link is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// Bits per second; 0 for a link without a rate.
    pub bits_per_second: u32,
    /// Bits on the line for a byte: 10 for 8N1.
    pub bits_per_byte: u32,
    /// From the end of a byte at one end to its arrival at the other.
    pub latency_ns: u64,
    /// Silence that a driver keeps before each frame.
    pub gap_ns: u64,
    /// One line for both directions.
    pub half_duplex: bool,
    /// Frames arrive whole or not at all, and may overtake each other.
    pub datagram: bool,
    /// What goes wrong by chance.
    pub faults: Faults,
}

impl LinkConfig {
    /// A full-duplex serial line, 8N1, that loses nothing.
    #[must_use]
    pub const fn serial(bits_per_second: u32, latency_ns: u64) -> Self {
        Self {
            bits_per_second,
            bits_per_byte: 10,
            latency_ns,
            gap_ns: 0,
            half_duplex: false,
            datagram: false,
            faults: Faults { loss: 0, duplicate: 0, reorder: 0, corrupt: 0 },
        }
    }

    /// An RS-485 line: half duplex, with gaps between frames.
    #[must_use]
    pub const fn rs485(bits_per_second: u32, gap_ns: u64) -> Self {
        Self { half_duplex: true, gap_ns, ..Self::serial(bits_per_second, 0) }
    }

    /// A link that carries frames whole, without a rate.
    #[must_use]
    pub const fn datagrams(latency_ns: u64, faults: Faults) -> Self {
        Self { datagram: true, faults, ..Self::serial(0, latency_ns) }
    }

    /// When byte number `n` of a frame that starts at `start_ns` has left, counted from 1: rounded once, so that no
    /// error adds up.
    fn left_ns(&self, start_ns: u64, n: usize) -> u64 {
        if self.bits_per_second == 0 {
            return start_ns;
        }
        let bits = n as u64 * u64::from(self.bits_per_byte);
        start_ns + bits * SECOND / u64::from(self.bits_per_second)
    }
}

/// What one end has put on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames.
    pub frames: u64,
    /// Bytes.
    pub bytes: u64,
    /// Frames that were lost by chance or by a cut.
    pub lost: u64,
    /// Bytes that were corrupted by chance.
    pub corrupted: u64,
    /// Bytes that were destroyed because both ends talked.
    pub collided: u64,
}

/// A frame on its way.
#[derive(Clone, Debug)]
struct Flight {
    bytes: Vec<u8>,
    start_ns: u64,
    /// Extra time on the way: what reordering holds back.
    held_ns: u64,
    delivered: usize,
}

#[derive(Clone, Debug, Default)]
struct Direction {
    /// When the last frame has left, and the line may be used again by the same end.
    free_ns: u64,
    flights: VecDeque<Flight>,
    traffic: Traffic,
}

/// The link; see the [module's documentation](self).
#[derive(Clone, Debug)]
pub struct Link {
    config: LinkConfig,
    rng: Rng,
    up: bool,
    directions: [Direction; 2],
}

impl Link {
    /// A link that is up.
    #[must_use]
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self { config, rng: Rng::new(seed).fork(0x114E), up: true, directions: Default::default() }
    }

    /// What the link is like.
    #[must_use]
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.config.faults = faults;
    }

    /// What an end has sent so far.
    #[must_use]
    pub fn traffic(&self, from: End) -> Traffic {
        self.directions[from.index()].traffic
    }

    /// Whether the link is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Takes the link away: what has not arrived never will.
    pub fn cut(&mut self, now_ns: u64) {
        self.up = false;
        for direction in &mut self.directions {
            for flight in &mut direction.flights {
                let arrived = arrived(&self.config, flight, now_ns);
                direction.traffic.lost += u64::from(arrived < flight.bytes.len());
                flight.bytes.truncate(arrived);
            }
            direction.free_ns = now_ns;
        }
    }

    /// Brings the link back.
    pub fn restore(&mut self) {
        self.up = true;
    }

    /// When everything that an end has sent will have left it.
    #[must_use]
    pub fn idle_at(&self, from: End) -> u64 {
        self.directions[from.index()].free_ns
    }

    /// Sends a frame as soon as the line is free for this end; gives the time at which its last byte has left.
    pub fn send(&mut self, now_ns: u64, from: End, frame: &[u8]) -> u64 {
        let config = self.config;
        // On a shared line the gap is kept from what the other end said last, too; nobody waits for it to end.
        let heard_ns = self.directions[from.other().index()].free_ns;
        let quiet_ns = if config.half_duplex && heard_ns <= now_ns { heard_ns + config.gap_ns } else { 0 };
        let direction = &mut self.directions[from.index()];
        direction.traffic.frames += 1;
        direction.traffic.bytes += frame.len() as u64;
        if !self.up || frame.is_empty() {
            direction.traffic.lost += u64::from(!self.up);
            return now_ns;
        }
        let start_ns = now_ns.max(direction.free_ns + config.gap_ns).max(quiet_ns);
        direction.free_ns = config.left_ns(start_ns, frame.len());
        let left_ns = direction.free_ns;
        let mut flight = Flight { bytes: frame.to_vec(), start_ns, held_ns: 0, delivered: 0 };
        for byte in &mut flight.bytes {
            if self.rng.chance_ppm(config.faults.corrupt) {
                *byte ^= 1 << self.rng.below(8);
                direction.traffic.corrupted += 1;
            }
        }
        if config.half_duplex {
            self.collide(from, &mut flight);
        }
        if self.rng.chance_ppm(config.faults.reorder) {
            flight.held_ns = 1 + self.rng.below(config.latency_ns.max(SECOND / 100) * 2);
        }
        let direction = &mut self.directions[from.index()];
        let twice = self.rng.chance_ppm(config.faults.duplicate);
        if self.rng.chance_ppm(config.faults.loss) {
            direction.traffic.lost += 1;
        } else {
            direction.flights.push_back(flight.clone());
        }
        if twice {
            // The second one comes later, and on a line takes its own time.
            flight.start_ns = direction.free_ns;
            if !config.datagram {
                direction.free_ns = config.left_ns(flight.start_ns, frame.len());
            }
            direction.flights.push_back(flight);
        }
        left_ns
    }

    /// Bytes that have arrived at an end by now and were not given before, with the time of each, in order.
    pub fn arrived(&mut self, now_ns: u64, at: End) -> Vec<(u64, u8)> {
        let config = self.config;
        let direction = &mut self.directions[at.other().index()];
        let mut out = Vec::new();
        for flight in &mut direction.flights {
            let until = arrived(&config, flight, now_ns);
            for n in flight.delivered..until {
                out.push((arrival(&config, flight, n), flight.bytes[n]));
            }
            flight.delivered = flight.delivered.max(until);
        }
        direction.flights.retain(|flight| flight.delivered < flight.bytes.len());
        if config.datagram {
            // Sorting is stable: the bytes of one frame arrive at one moment and stay together.
            out.sort_by_key(|(at_ns, _)| *at_ns);
        }
        out
    }

    /// When the next frame will have arrived whole at an end.
    #[must_use]
    pub fn next_arrival(&self, at: End) -> Option<u64> {
        let direction = &self.directions[at.other().index()];
        let last = |flight: &Flight| arrival(&self.config, flight, flight.bytes.len().saturating_sub(1));
        direction.flights.iter().map(last).min()
    }

    /// Destroys what two frames say at the same time.
    fn collide(&mut self, from: End, flight: &mut Flight) {
        let config = self.config;
        let Self { directions, rng, .. } = self;
        let [controller, device] = directions;
        let (ours, theirs) = match from {
            End::Controller => (controller, device),
            End::Device => (device, controller),
        };
        let start = flight.start_ns;
        let end = config.left_ns(start, flight.bytes.len());
        for other in &mut theirs.flights {
            let other_start = other.start_ns;
            let other_end = config.left_ns(other_start, other.bytes.len());
            if start >= other_end || other_start >= end {
                continue;
            }
            theirs.traffic.collided += destroy(&config, other, start, end, rng);
            ours.traffic.collided += destroy(&config, flight, other_start, other_end, rng);
        }
    }
}

/// Makes noise of the bytes of a frame that are on the line between two times.
fn destroy(config: &LinkConfig, flight: &mut Flight, from_ns: u64, to_ns: u64, rng: &mut Rng) -> u64 {
    let mut destroyed = 0;
    let start_ns = flight.start_ns;
    for (n, byte) in flight.bytes.iter_mut().enumerate() {
        let (begins, ends) = (config.left_ns(start_ns, n), config.left_ns(start_ns, n + 1));
        if begins < to_ns && ends > from_ns {
            *byte ^= rng.byte() | 1;
            destroyed += 1;
        }
    }
    destroyed
}

/// When byte `n` of a frame arrives.
fn arrival(config: &LinkConfig, flight: &Flight, n: usize) -> u64 {
    // A datagram arrives with its last byte.
    let n = if config.datagram { flight.bytes.len() } else { n + 1 };
    config.left_ns(flight.start_ns, n) + config.latency_ns + flight.held_ns
}

/// Number of bytes of a frame that have arrived.
fn arrived(config: &LinkConfig, flight: &Flight, now_ns: u64) -> usize {
    (flight.delivered..flight.bytes.len())
        .find(|n| arrival(config, flight, *n) > now_ns)
        .unwrap_or(flight.bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: u64 = 3600 * SECOND;

    fn bytes(arrived: &[(u64, u8)]) -> Vec<u8> {
        arrived.iter().map(|(_, byte)| *byte).collect()
    }

    #[test]
    fn a_serial_line_takes_ten_bits_for_a_byte() {
        let mut link = Link::new(LinkConfig::serial(115_200, 50_000_000), 1);
        let left = link.send(0, End::Controller, &[1; 1152]);
        assert_eq!(left, SECOND / 10, "1152 bytes of 10 bits at 115200 baud");
        assert_eq!(link.next_arrival(End::Device), Some(SECOND / 10 + 50_000_000));
        assert_eq!(link.arrived(50_000_000 + 86_805, End::Device).len(), 1);
        assert_eq!(link.arrived(100_000_000, End::Device).len(), 575);
        assert_eq!(link.arrived(FAR, End::Device).len(), 576);
        assert_eq!(link.next_arrival(End::Device), None);
    }

    #[test]
    fn frames_queue_with_a_gap_and_directions_are_apart() {
        let config = LinkConfig { gap_ns: 500_000, ..LinkConfig::serial(9600, 0) };
        let mut link = Link::new(config, 1);
        let first = link.send(0, End::Controller, &[1; 96]);
        let second = link.send(0, End::Controller, &[2; 96]);
        assert_eq!(first, 500_000 + SECOND / 10);
        assert_eq!(second, 2 * first);
        link.send(0, End::Device, &[3]);
        assert_eq!(bytes(&link.arrived(FAR, End::Controller)), [3]);
        assert_eq!(link.arrived(FAR, End::Device).len(), 192);
        assert_eq!(link.traffic(End::Controller).bytes, 192);
        assert_eq!(link.traffic(End::Device).frames, 1);
    }

    #[test]
    fn a_cut_loses_what_has_not_arrived() {
        let mut link = Link::new(LinkConfig::serial(9600, 0), 1);
        link.send(0, End::Controller, &[7; 96]);
        link.send(0, End::Controller, &[8; 96]);
        link.cut(SECOND / 20);
        link.send(SECOND / 10, End::Controller, &[9; 96]);
        assert_eq!(bytes(&link.arrived(FAR, End::Device)), [7; 48]);
        assert_eq!(link.traffic(End::Controller).lost, 3);
        link.restore();
        link.send(SECOND, End::Controller, &[9; 2]);
        assert_eq!(bytes(&link.arrived(FAR, End::Device)), [9; 2]);
    }

    #[test]
    fn half_duplex_destroys_what_is_said_at_once() {
        let mut link = Link::new(LinkConfig::rs485(9600, 0), 1);
        link.send(0, End::Controller, &[1; 96]);
        link.send(SECOND / 20, End::Device, &[2; 96]);
        let heard = bytes(&link.arrived(FAR, End::Device));
        assert_eq!(heard[..47], [1; 47]);
        assert!(heard[48..].iter().all(|byte| *byte != 1));
        let heard = bytes(&link.arrived(FAR, End::Controller));
        assert!(heard[..48].iter().all(|byte| *byte != 2));
        assert_eq!(heard[49..], [2; 47]);
        assert!(link.traffic(End::Device).collided >= 48);
        // One after the other, nothing happens.
        let left = link.send(SECOND, End::Controller, &[1; 96]);
        link.send(left, End::Device, &[2; 96]);
        assert_eq!(bytes(&link.arrived(FAR, End::Device)), [1; 96]);
        assert_eq!(bytes(&link.arrived(FAR, End::Controller)), [2; 96]);
    }

    #[test]
    fn the_gap_of_a_shared_line_is_kept_by_both_ends() {
        let mut link = Link::new(LinkConfig::rs485(9600, 500_000), 1);
        let asked = link.send(0, End::Controller, &[1; 96]);
        let answered = link.send(asked, End::Device, &[2; 96]);
        assert_eq!(answered - asked, 500_000 + SECOND / 10);
        assert_eq!(
            link.send(answered + 400_000, End::Controller, &[3; 96]) - answered,
            500_000 + SECOND / 10
        );
    }

    #[test]
    fn chances_are_met_and_replay() {
        let faults = Faults { loss: 100_000, duplicate: 50_000, reorder: 50_000, corrupt: 1000 };
        let run = |seed| {
            let mut link = Link::new(LinkConfig::datagrams(10_000_000, faults), seed);
            for n in 0..4000_u32 {
                link.send(u64::from(n) * 1_000_000, End::Controller, &n.to_be_bytes());
            }
            (bytes(&link.arrived(FAR, End::Device)), link.traffic(End::Controller))
        };
        let (heard, traffic) = run(5);
        assert!((340..460).contains(&traffic.lost), "{traffic:?}");
        assert!((5..40).contains(&traffic.corrupted), "{traffic:?}");
        let numbers: Vec<u32> =
            heard.chunks(4).map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]])).collect();
        assert!(numbers.windows(2).any(|pair| pair[0] == pair[1]), "none came twice");
        assert!(numbers.windows(2).any(|pair| pair[0] > pair[1]), "none was overtaken");
        assert_eq!(run(5), run(5));
        assert_ne!(run(5).0, run(6).0);
    }
}
