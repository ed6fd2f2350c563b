// SPDX-License-Identifier: Apache-2.0
//! Questions that only a controller answers (PROTOCOL.md §7.5): who is there, and how is the campaign.

use core::time::Duration;
use std::time::Instant;

use fusain::relay::{Campaign, Relay as Operation, RosterEntry};
use fusain::{Address, InvalidCommand, Message, Mode, PAYLOAD_MAX, StateReject};

use crate::link::Link;
use crate::transport::LinkError;

/// Times that a question is asked.
const TRIES: u32 = 4;
/// Wait for an answer before asking again. A plan is answered when it is durable.
const TIMEOUT: Duration = Duration::from_millis(1500);
/// Wait for an answer where a controller need not be.
const PASSING: Duration = Duration::from_millis(400);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The link is gone.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Nobody answers: it is no controller, or too busy.
    #[error("no controller answers")]
    Silent,
    /// It refuses what is asked for, as it is.
    #[error("the controller refuses: {}", invalid(.0))]
    Invalid(InvalidCommand),
    /// It refuses for now.
    #[error("the controller refuses: {}", reject(.0))]
    Reject(StateReject),
}

fn invalid(refusal: &InvalidCommand) -> String {
    let constraint = refusal.constraint.and_then(|number| fusain::Constraint::try_from(number).ok());
    constraint.map_or_else(|| format!("{refusal:?}"), |constraint| constraint.to_string())
}

fn reject(refusal: &StateReject) -> String {
    let reason = refusal.reason.and_then(|number| fusain::Reason::try_from(number).ok());
    reason.map_or_else(|| format!("{refusal:?}"), |reason| reason.to_string())
}

/// The image on the controller, and how far it has been brought.
///
/// # Errors
///
/// [`AskError`] when there is no answer.
pub fn campaign(link: &mut Link) -> Result<Campaign, AskError> {
    ask(link, &Operation::CampaignRequest, |answer| match answer {
        Operation::Campaign(campaign) => Some(*campaign),
        _ => None,
    })
}

/// The same, asked once and in passing; `None` when no controller answers at once.
///
/// # Errors
///
/// [`LinkError`] when the link is gone.
pub fn campaign_if_any(link: &mut Link) -> Result<Option<Campaign>, LinkError> {
    let answer = ask_within(link, &Operation::CampaignRequest, (1, PASSING), |answer| match answer {
        Operation::Campaign(campaign) => Some(*campaign),
        _ => None,
    });
    match answer {
        Ok(campaign) => Ok(Some(campaign)),
        Err(AskError::Link(error)) => Err(error),
        Err(AskError::Silent | AskError::Invalid(_) | AskError::Reject(_)) => Ok(None),
    }
}

/// The roster's entry number `index`, and how many there are; `None` beyond the last.
///
/// # Errors
///
/// [`AskError`] when there is no answer.
pub fn roster_entry(link: &mut Link, index: u8) -> Result<(Option<RosterEntry>, u8), AskError> {
    ask(link, &Operation::RosterRequest { index }, |answer| match answer {
        Operation::Roster { index: told, total, entry } if *told == index => Some((*entry, *total)),
        _ => None,
    })
}

/// Every appliance that the controller knows, in the order of their addresses.
///
/// # Errors
///
/// [`AskError`] when there is no answer.
pub fn roster(link: &mut Link) -> Result<Vec<RosterEntry>, AskError> {
    let mut entries: Vec<RosterEntry> = Vec::new();
    for index in 0..=u8::MAX {
        let (entry, total) = roster_entry(link, index)?;
        // One that moved up while we asked may come twice.
        if let Some(entry) = entry.filter(|entry| entries.iter().all(|known| known.address != entry.address))
        {
            entries.push(entry);
        }
        if index.saturating_add(1) >= total {
            break;
        }
    }
    entries.sort_by_key(|entry| entry.address);
    Ok(entries)
}

/// Plans an image for an appliance; gives its entry on the roster.
///
/// # Errors
///
/// [`AskError`] when it is refused or there is no answer.
pub fn plan(
    link: &mut Link,
    address: Address,
    (size, digest): (u32, [u8; 32]),
    mode: Mode,
) -> Result<RosterEntry, AskError> {
    ask(link, &Operation::CampaignAdd { address, size, digest, mode }, |answer| match answer {
        Operation::Roster { entry: Some(entry), .. } if entry.address == address => Some(*entry),
        _ => None,
    })
}

/// Takes an appliance's update back, or every one.
///
/// # Errors
///
/// [`AskError`] when there is no answer.
pub fn cancel(link: &mut Link, address: Option<Address>) -> Result<Campaign, AskError> {
    ask(link, &Operation::CampaignCancel { address }, |answer| match answer {
        Operation::Campaign(campaign) => Some(*campaign),
        _ => None,
    })
}

fn ask<T>(
    link: &mut Link,
    question: &Operation,
    answers: impl FnMut(&Operation) -> Option<T>,
) -> Result<T, AskError> {
    ask_within(link, question, (TRIES, TIMEOUT), answers)
}

fn ask_within<T>(
    link: &mut Link,
    question: &Operation,
    (tries, timeout): (u32, Duration),
    mut answers: impl FnMut(&Operation) -> Option<T>,
) -> Result<T, AskError> {
    let mut payload = [0; PAYLOAD_MAX];
    let len = question.encode(&mut payload).map_err(|error| LinkError::Io(std::io::Error::other(error)))?;
    for _ in 0..tries {
        link.send_payload(Address::STATELESS, payload.get(..len).unwrap_or_default())?;
        let deadline = Instant::now() + timeout;
        let mut answer = None;
        while answer.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            link.receive_payloads(left, |from, payload| {
                if from != Address::STATELESS || answer.is_some() {
                    return;
                }
                answer = match Message::decode(payload) {
                    Ok(Message::InvalidCommand(refusal)) => Some(Err(AskError::Invalid(refusal))),
                    Ok(Message::StateReject(refusal)) => Some(Err(AskError::Reject(refusal))),
                    _ => Operation::decode(payload).ok().and_then(|told| answers(&told)).map(Ok),
                };
            })?;
        }
        if let Some(answer) = answer {
            return answer;
        }
    }
    Err(AskError::Silent)
}
