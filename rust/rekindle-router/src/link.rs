// SPDX-License-Identifier: Apache-2.0
//! A southbound link: one thread that receives and one that sends, and a way back when it is lost.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use fusain::{FRAME_MAX, Message, SerialDecoder, StateCommand, message_code};
use rekindle_client::credentials::Access;
use rekindle_client::link::Backoff;
use rekindle_client::target::Target;
use rekindle_client::transport::{self, LinkError, Transport};

use crate::config::Southbound;
use crate::engine::Input;
use crate::limits::{
    LINK_CLIENT_PACE, LINK_CLIENT_QUEUE, LINK_EMERGENCY_QUEUE, LINK_OUT_QUEUE, LINK_QUEUE, LINK_SILENCE,
};
use crate::packet::Packet;

/// Longest wait in one piece, so that a request to stop is seen soon.
const NAP: Duration = Duration::from_millis(100);
/// Pause between packets on a line with one pair of wires (PROTOCOL.md §9).
const PACKET_GAP: Duration = Duration::from_micros(500);
/// Free places in the queue below which the core keeps data back.
const SPARE: usize = 16;

/// A frame that waits for its link, and whether a client sent it.
type Waiting = (Packet, bool);

/// The core's end of a link that is up.
pub(crate) struct LinkOut {
    queue: SyncSender<Waiting>,
    waiting: Arc<AtomicUsize>,
    /// Of these, frames of clients.
    passed: Arc<AtomicUsize>,
    /// On a network link, when the last command of a client was passed on.
    pace: Option<Cell<Instant>>,
    /// Frames of the link that the core has not taken yet.
    untaken: Arc<AtomicUsize>,
}

impl LinkOut {
    /// Sends, or drops what finds no room, as a wire would.
    pub(crate) fn send(&self, packet: Packet) {
        self.queue(packet, false);
    }

    /// The same for a client's frame, which has no more than the clients' share.
    pub(crate) fn pass(&self, packet: Packet) {
        if self.passed.load(Ordering::Relaxed) < share(&packet) {
            if let Some(pace) = &self.pace {
                pace.set(Instant::now());
            }
            self.queue(packet, true);
        }
    }

    /// A client's frame finds room now, and may be passed on.
    pub(crate) fn takes(&self, packet: &Packet) -> bool {
        let due = self.pace.as_ref().is_none_or(|pace| pace.get().elapsed() >= LINK_CLIENT_PACE);
        // An update has a pace of its own.
        let at_once = is_emergency(packet) || matches!(message_code(packet.payload()), Ok(0x40..=0x44));
        (due || at_once) && self.passed.load(Ordering::Relaxed) < share(packet)
    }

    fn queue(&self, packet: Packet, passed: bool) {
        let of_client = usize::from(passed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.passed.fetch_add(of_client, Ordering::Relaxed);
        if self.queue.try_send((packet, passed)).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.passed.fetch_sub(of_client, Ordering::Relaxed);
        }
    }

    /// There is room for what one input of the core may cause.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) <= LINK_OUT_QUEUE.saturating_sub(SPARE)
    }

    /// The core has taken one of the link's frames.
    pub(crate) fn taken(&self) {
        self.untaken.fetch_sub(1, Ordering::Relaxed);
    }
}

fn is_emergency(packet: &Packet) -> bool {
    let message = Message::decode(packet.payload());
    matches!(message, Ok(Message::StateCommand(StateCommand { mode: StateCommand::EMERGENCY, .. })))
}

/// Frames of clients that may wait when this one is added.
fn share(packet: &Packet) -> usize {
    LINK_CLIENT_QUEUE.saturating_add(if is_emergency(packet) { LINK_EMERGENCY_QUEUE } else { 0 })
}

/// Keeps a link up until `stop` is set.
pub(crate) fn keep(number: u8, link: &Southbound, core: &Sender<Input>, stop: &AtomicBool) {
    let mut backoff = Backoff::new();
    let mut told = false;
    while !stop.load(Ordering::Relaxed) {
        match transport::connect(&link.target, &Access::default()) {
            Ok(transport) => {
                tracing::info!(link = %link.name, target = %link.target, "link is up");
                (backoff, told) = (Backoff::new(), false);
                let error = serve(number, link, transport, core, stop);
                if core.send(Input::LinkDown { link: number }).is_err() || stop.load(Ordering::Relaxed) {
                    return;
                }
                tracing::warn!(link = %link.name, target = %link.target, %error, "link is down");
            }
            Err(error) => {
                // Once is enough: it may stay unplugged for long.
                if !core::mem::replace(&mut told, true) {
                    let error = chain(&error);
                    tracing::warn!(link = %link.name, %error, "no link; trying again every 1 to 30 s");
                }
            }
        }
        let until = Instant::now() + backoff.step();
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            thread::sleep(NAP);
        }
    }
}

/// Carries frames both ways until the link breaks.
fn serve(
    number: u8,
    link: &Southbound,
    receiving: Box<dyn Transport>,
    core: &Sender<Input>,
    stop: &AtomicBool,
) -> LinkError {
    let sending = match receiving.try_clone() {
        Ok(sending) => sending,
        Err(error) => return LinkError::Io(error),
    };
    let (queue, packets) = sync_channel(LINK_OUT_QUEUE);
    let [waiting, passed, untaken] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let out = LinkOut {
        queue,
        waiting: Arc::clone(&waiting),
        passed: Arc::clone(&passed),
        pace: (!link.target.is_serial()).then(|| Cell::new(Instant::now())),
        untaken: Arc::clone(&untaken),
    };
    if core.send(Input::LinkUp { link: number, out }).is_err() {
        return LinkError::Closed;
    }
    let broken = AtomicBool::new(false);
    thread::scope(|scope| {
        let pace = Pace::of(&link.target);
        let (counts, broken) = ((&*waiting, &*passed), &broken);
        let writer = scope.spawn(move || {
            let result = send_all(sending, &packets, counts, pace, (core, broken));
            broken.store(true, Ordering::Relaxed);
            result
        });
        let ended = || stop.load(Ordering::Relaxed) || broken.load(Ordering::Relaxed);
        let received = receive_all(number, link, receiving, core, &untaken, &ended);
        broken.store(true, Ordering::Relaxed);
        // The core drops its end of the queue only when it is told, so the writer looks at `broken` itself.
        match (received, writer.join()) {
            (Err(error), _) | (Ok(()), Ok(Err(error))) => error,
            (Ok(()), _) => LinkError::Closed,
        }
    })
}

/// Time that the line needs for each frame.
#[derive(Clone, Copy)]
struct Pace {
    /// Baud rate of a line with one pair of wires: answers need gaps there.
    half_duplex: Option<u32>,
}

impl Pace {
    const fn of(target: &Target) -> Self {
        match target {
            Target::Serial(serial) if serial.half_duplex => Self { half_duplex: Some(serial.baud) },
            _ => Self { half_duplex: None },
        }
    }

    fn after(self, bytes: usize) -> Option<Duration> {
        let bits = u64::try_from(bytes).unwrap_or(0).saturating_mul(10).saturating_mul(1_000_000);
        let micros = bits.checked_div(u64::from(self.half_duplex?))?;
        Some(Duration::from_micros(micros).saturating_add(PACKET_GAP))
    }
}

fn send_all(
    mut sending: Box<dyn Transport>,
    packets: &Receiver<Waiting>,
    (waiting, passed): (&AtomicUsize, &AtomicUsize),
    pace: Pace,
    (core, broken): (&Sender<Input>, &AtomicBool),
) -> Result<(), LinkError> {
    let mut frame = [0; FRAME_MAX];
    while !broken.load(Ordering::Relaxed) {
        let Ok((packet, was_passed)) = packets.recv_timeout(NAP) else { continue };
        let frame = packet.frame(&mut frame);
        sending.send(frame)?;
        if let Some(pause) = pace.after(frame.len()) {
            thread::sleep(pause);
        }
        let was = waiting.fetch_sub(1, Ordering::Relaxed);
        // A client may wait where its share was full.
        let share_was_full = was_passed && passed.fetch_sub(1, Ordering::Relaxed) >= LINK_CLIENT_QUEUE;
        // And the core may have stopped at a full queue.
        if share_was_full || was == LINK_OUT_QUEUE.saturating_sub(SPARE) {
            let _ = core.send(Input::LinkRoom);
        }
    }
    Ok(())
}

fn receive_all(
    number: u8,
    link: &Southbound,
    mut receiving: Box<dyn Transport>,
    core: &Sender<Input>,
    untaken: &AtomicUsize,
    ended: &dyn Fn() -> bool,
) -> Result<(), LinkError> {
    let serial = link.target.is_serial();
    let mut decoder = SerialDecoder::new();
    // Only time spent waiting counts for the gap between bytes, and only on a serial line.
    let mut idle = Duration::ZERO;
    let mut heard = Instant::now();
    let mut bytes = [0; 1024];
    while !ended() {
        let before = Instant::now();
        let count = receiving.recv(&mut bytes, NAP)?;
        if serial {
            idle = idle.saturating_add(before.elapsed());
        } else if count > 0 {
            heard = Instant::now();
        } else if heard.elapsed() >= LINK_SILENCE {
            // A network connection whose other end has lost its power looks like this, for hours.
            return Err(LinkError::Stalled);
        }
        let now_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        for &byte in bytes.get(..count).unwrap_or_default() {
            let Some(Ok(packet)) = decoder.push_at(now_ms, byte) else { continue };
            let Some(packet) = Packet::new(packet.address, packet.payload) else { continue };
            if untaken.load(Ordering::Relaxed) >= LINK_QUEUE {
                continue;
            }
            untaken.fetch_add(1, Ordering::Relaxed);
            if core.send(Input::LinkFrame { link: number, packet }).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// An error's message with its causes behind it.
pub(crate) fn chain(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
