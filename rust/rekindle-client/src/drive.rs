// SPDX-License-Identifier: Apache-2.0
//! Carries out a sender's plan over a link, and makes the link anew when it breaks.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::time::Instant;

use fusain::{Address, Message, OtaData};
use rekindle_session::sender::{self, Plan, Progress, Report, SendError, Sender, SenderEvent, SenderOutput};

use crate::credentials::Access;
use crate::link::{Backoff, Link};
use crate::target::{SerialTarget, Target};
use crate::transport::{ConnectError, LinkError};

/// Longest wait in one piece, so that an interruption is seen soon.
const NAP: Duration = Duration::from_millis(100);

/// What is to be done, and where.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Where the device is.
    pub target: &'a Target,
    /// For connecting again.
    pub access: &'a Access,
    /// Which device.
    pub address: Address,
    /// What to do.
    pub plan: Plan,
    /// The image file; empty for plans that send none.
    pub image: &'a [u8],
    /// Set by whoever wants to stop; the device keeps what it has.
    pub interrupted: &'a AtomicBool,
}

/// What happens on the way.
#[derive(Debug)]
pub enum DriveEvent<'a> {
    /// Told by the sender; `progress` says where it is.
    Sender(SenderEvent, Progress),
    /// The link broke; it is made anew.
    LinkLost(&'a LinkError),
    /// A try to connect failed; the next one is in so long.
    Retry(&'a ConnectError, Duration),
    /// The link is back.
    Reconnected,
}

/// Why a plan was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The sender gave up.
    #[error("{error}")]
    Gave {
        /// Why.
        error: SendError,
        /// How far it came.
        progress: Progress,
    },
    /// Somebody wanted to stop.
    #[error("interrupted")]
    Interrupted {
        /// How far it came.
        progress: Progress,
    },
    /// Connecting again fails, and will go on failing.
    #[error("cannot connect again")]
    Connect {
        /// Why.
        source: ConnectError,
        /// How far it came.
        progress: Progress,
    },
}

/// Carries out a plan. `link` is connected already.
///
/// # Errors
///
/// [`DriveError`] says why the plan was not carried out, and how far it came.
pub fn drive(
    job: &Job<'_>,
    link: Link,
    on_event: &mut dyn FnMut(&DriveEvent<'_>),
) -> Result<Report, Box<DriveError>> {
    let clock = Clock(Instant::now());
    let sender = Sender::new(job.plan, link_facts(job.target), clock.now_ms());
    let mut driver = Driver { job, clock, sender, way: Way::Up(link), on_event };
    driver.subscribe();
    driver.run()
}

/// What a sender must know of the link to a target.
#[must_use]
pub fn link_facts(target: &Target) -> sender::Link {
    match target {
        Target::Serial(SerialTarget { baud, half_duplex: true, .. }) => {
            sender::Link::serial_half_duplex(*baud)
        }
        Target::Serial(SerialTarget { baud, .. }) => sender::Link::serial(*baud),
        Target::Tcp { .. } | Target::Tls { .. } | Target::WebSocket { .. } | Target::Unix { .. } => {
            sender::Link::ip()
        }
    }
}

/// The clock of a drive: milliseconds since it began.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The link, or the way back to one.
enum Way {
    Up(Link),
    Down { backoff: Backoff, next: Instant },
}

struct Driver<'a, 'e> {
    job: &'a Job<'a>,
    clock: Clock,
    sender: Sender,
    way: Way,
    on_event: &'e mut dyn FnMut(&DriveEvent<'_>),
}

impl Driver<'_, '_> {
    fn run(&mut self) -> Result<Report, Box<DriveError>> {
        loop {
            if self.job.interrupted.load(Ordering::Relaxed) {
                return Err(Box::new(DriveError::Interrupted { progress: self.sender.progress() }));
            }
            match self.sender.poll(self.clock.now_ms()) {
                SenderOutput::Send(message) => self.send(&message),
                SenderOutput::SendData { offset, len } => self.send_data(offset, len),
                SenderOutput::Event(event) => {
                    let progress = self.sender.progress();
                    (self.on_event)(&DriveEvent::Sender(event, progress));
                }
                SenderOutput::Wait { until_ms } => self.wait(until_ms)?,
                SenderOutput::Done(Ok(report)) => return Ok(report),
                SenderOutput::Done(Err(error)) => {
                    return Err(Box::new(DriveError::Gave { error, progress: self.sender.progress() }));
                }
            }
        }
    }

    fn send_data(&mut self, offset: u32, len: u8) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        // The sender stays within the size it was given; were it not so, the receiver would say so.
        let data = self.job.image.get(start..start.saturating_add(len.into())).unwrap_or_default();
        self.send(&Message::OtaData(OtaData { offset: offset.into(), data }));
    }

    fn send(&mut self, message: &Message<'_>) {
        if let Way::Up(link) = &mut self.way
            && let Err(error) = link.send(self.job.address, message)
        {
            self.lost(&error);
        }
    }

    /// A router forwards what a device says only to those who subscribed (PROTOCOL.md §2).
    fn subscribe(&mut self) {
        if let (Target::WebSocket { .. }, Way::Up(link)) = (self.job.target, &mut self.way)
            && let Err(error) = link.subscribe(self.job.address)
        {
            self.lost(&error);
        }
    }

    fn wait(&mut self, until_ms: u64) -> Result<(), Box<DriveError>> {
        let left = Duration::from_millis(until_ms.saturating_sub(self.clock.now_ms())).min(NAP);
        match &mut self.way {
            Way::Up(link) => {
                let (sender, clock, address) = (&mut self.sender, self.clock, self.job.address);
                let received = link.receive(left, |from, message| {
                    if from == address {
                        sender.message(clock.now_ms(), message);
                    }
                });
                if let Err(error) = received {
                    self.lost(&error);
                }
                Ok(())
            }
            Way::Down { next, .. } => {
                let pause = next.saturating_duration_since(Instant::now());
                if !pause.is_zero() {
                    std::thread::sleep(pause.min(left.max(Duration::from_millis(1))));
                    return Ok(());
                }
                self.reconnect()
            }
        }
    }

    fn lost(&mut self, error: &LinkError) {
        (self.on_event)(&DriveEvent::LinkLost(error));
        self.sender.link_lost(self.clock.now_ms());
        let mut backoff = Backoff::new();
        let next = Instant::now() + backoff.step();
        self.way = Way::Down { backoff, next };
    }

    fn reconnect(&mut self) -> Result<(), Box<DriveError>> {
        let Way::Down { backoff, next } = &mut self.way else { return Ok(()) };
        match Link::connect(self.job.target, self.job.access) {
            Ok(link) => {
                self.way = Way::Up(link);
                self.sender.link_up(self.clock.now_ms());
                (self.on_event)(&DriveEvent::Reconnected);
                self.subscribe();
                Ok(())
            }
            Err(source) if source.is_transient() => {
                let pause = backoff.step();
                *next = Instant::now() + pause;
                (self.on_event)(&DriveEvent::Retry(&source, pause));
                Ok(())
            }
            Err(source) => Err(Box::new(DriveError::Connect { source, progress: self.sender.progress() })),
        }
    }
}
