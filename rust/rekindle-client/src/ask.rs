// SPDX-License-Identifier: Apache-2.0
//! Short conversations: who is there, what does it run, activate, abort.

use core::time::Duration;
use std::time::Instant;

use fusain::{
    Address, DeviceAnnounce, Extension, Info, InvalidCommand, Message, Mode, OtaActivate, OtaStatus,
    OutcomeReport, StateReject,
};

use crate::link::Link;
use crate::transport::LinkError;

/// Wait for an answer before asking again. Longer than the protocol's 500 ms for a serial line (PROTOCOL.md §8),
/// so that a router in between does not see every question twice.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1000);
/// Times a question is asked.
const TRIES: u32 = 3;
/// Times the extension is asked for: one question, two short retries (PROTOCOL.md §7).
const EXTENSION_TIMEOUT: Duration = Duration::from_millis(500);

/// A question without the answer asked for.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The link broke.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Nobody answered.
    #[error("device {address} does not answer")]
    Silent {
        /// Whom was asked.
        address: Address,
    },
    /// The device refused the command's content.
    #[error("device {address} refuses: {}", invalid_text(answer))]
    Invalid {
        /// Who refused.
        address: Address,
        /// Its answer.
        answer: InvalidCommand,
    },
    /// The device refused the command in its present state.
    #[error("device {address} refuses: {}", reject_text(answer))]
    Rejected {
        /// Who refused.
        address: Address,
        /// Its answer.
        answer: StateReject,
    },
}

/// A device that answered a discovery.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its address.
    pub address: Address,
    /// What it is made of.
    pub announce: DeviceAnnounce,
    /// What it runs, if it speaks the extension.
    pub info: Option<Info>,
}

/// All that a device tells about itself and its update.
#[derive(Clone, Debug)]
pub struct Status {
    /// How far an update is.
    pub update: OtaStatus,
    /// What it runs, if it speaks the extension.
    pub info: Option<Info>,
    /// What became of the last update, if it speaks the extension.
    pub outcome: Option<OutcomeReport>,
}

/// Finds the devices behind a link. Waits for `wait`, or until a router says that it has told all it knows.
///
/// # Errors
///
/// [`LinkError`] when the link is gone.
pub fn discover(link: &mut Link, wait: Duration) -> Result<Vec<Found>, LinkError> {
    let mut found: Vec<Found> = Vec::new();
    let mut last = false;
    link.send(Address::BROADCAST, &Message::DiscoveryRequest)?;
    let deadline = Instant::now() + wait;
    while let Some(left) = left_until(deadline).filter(|_| !last) {
        link.receive(left, |address, message| {
            let Message::DeviceAnnounce(announce) = *message else { return };
            // A router ends its list with zeros from the stateless address (PROTOCOL.md §2).
            last |= address == Address::STATELESS;
            if address.is_device() && found.iter().all(|known| known.address != address) {
                found.push(Found { address, announce, info: None });
            }
        })?;
    }
    found.sort_by_key(|device| device.address);
    for device in &mut found {
        device.info = info(link, device.address)?;
    }
    Ok(found)
}

/// Asks a device for everything it tells.
///
/// # Errors
///
/// [`AskError`] when the device does not answer or refuses.
pub fn status(link: &mut Link, address: Address) -> Result<Status, AskError> {
    let update = command(link, address, &Message::OtaQuery)?;
    let info = info(link, address)?;
    let outcome = match info {
        Some(_) => outcome(link, address)?,
        None => None,
    };
    Ok(Status { update, info, outcome })
}

/// Activates what a device has verified.
///
/// # Errors
///
/// [`AskError`] when the device does not answer or refuses.
pub fn activate(link: &mut Link, address: Address, mode: Mode, reboot: bool) -> Result<OtaStatus, AskError> {
    command(link, address, &Message::OtaActivate(OtaActivate { mode, reboot }))
}

/// Gives up the update in progress on a device.
///
/// # Errors
///
/// [`AskError`] when the device does not answer or refuses.
pub fn abort(link: &mut Link, address: Address) -> Result<OtaStatus, AskError> {
    command(link, address, &Message::OtaAbort)
}

/// What a device runs and can do; `None` if it does not speak the extension.
///
/// # Errors
///
/// [`LinkError`] when the link is gone.
pub fn info(link: &mut Link, address: Address) -> Result<Option<Info>, LinkError> {
    ask(
        link,
        address,
        &Message::Extension(Extension::InfoRequest),
        EXTENSION_TIMEOUT,
        |message| match message {
            Message::Extension(Extension::Info(info)) => Some(*info),
            _ => None,
        },
    )
}

/// What became of the last update; `None` if the device does not tell.
///
/// # Errors
///
/// [`LinkError`] when the link is gone.
pub fn outcome(link: &mut Link, address: Address) -> Result<Option<OutcomeReport>, LinkError> {
    let question = Message::Extension(Extension::OutcomeRequest { index: 0 });
    ask(link, address, &question, EXTENSION_TIMEOUT, |message| match message {
        Message::Extension(Extension::Outcome(report)) => Some(*report),
        _ => None,
    })
}

/// Sends an update command and waits for the status, or the refusal, that answers it.
fn command(link: &mut Link, address: Address, message: &Message<'_>) -> Result<OtaStatus, AskError> {
    let answer = ask(link, address, message, ANSWER_TIMEOUT, |message| match *message {
        Message::OtaStatus(status) => Some(Ok(status)),
        Message::InvalidCommand(answer) => Some(Err(AskError::Invalid { address, answer })),
        Message::StateReject(answer) => Some(Err(AskError::Rejected { address, answer })),
        _ => None,
    })?;
    answer.unwrap_or(Err(AskError::Silent { address }))
}

/// Asks up to [`TRIES`] times for something that `pick` takes out of a message.
fn ask<T>(
    link: &mut Link,
    address: Address,
    question: &Message<'_>,
    timeout: Duration,
    pick: impl Fn(&Message<'_>) -> Option<T>,
) -> Result<Option<T>, LinkError> {
    for _ in 0..TRIES {
        link.send(address, question)?;
        let deadline = Instant::now() + timeout;
        while let Some(left) = left_until(deadline) {
            let mut answer = None;
            link.receive(left, |from, message| {
                if from == address && answer.is_none() {
                    answer = pick(message);
                }
            })?;
            if answer.is_some() {
                return Ok(answer);
            }
        }
    }
    Ok(None)
}

fn left_until(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

/// A refused field in plain words.
#[must_use]
pub fn invalid_text(answer: &InvalidCommand) -> String {
    let what = match answer.constraint.map(fusain::Constraint::try_from) {
        Some(Ok(constraint)) => format!("{constraint} ({})", constraint.name()),
        Some(Err(unknown)) => format!("constraint {}", unknown.0),
        None => "bad parameter".to_owned(),
    };
    match answer.field {
        Some(field) => format!("{what}, field {field} of the command"),
        None => what,
    }
}

/// A refused command in plain words.
#[must_use]
pub fn reject_text(answer: &StateReject) -> String {
    match answer.reason.map(fusain::Reason::try_from) {
        Some(Ok(reason)) => format!("{reason} ({}, state {})", reason.name(), answer.code),
        Some(Err(unknown)) => format!("reason {} in state {}", unknown.0, answer.code),
        None => format!("not possible in state {}", answer.code),
    }
}
