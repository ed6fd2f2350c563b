// SPDX-License-Identifier: Apache-2.0
//! Short conversations: who is there, and what does it run.

use core::time::Duration;
use std::time::Instant;

use fusain::{Address, DeviceAnnounce, Extension, Info, Message};

use crate::link::Link;
use crate::transport::LinkError;

/// Time between two discovery requests: whoever lost the first, or was just booting, hears the next.
const DISCOVERY_INTERVAL: Duration = Duration::from_millis(500);
/// Times a device is asked whether it speaks the extension: once, and two short retries (PROTOCOL.md §7).
const EXTENSION_TRIES: u32 = 3;
/// Wait for an answer before asking again.
const EXTENSION_TIMEOUT: Duration = Duration::from_millis(500);

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

/// Finds the devices behind a link. Waits for `wait`, or until a router says that it has told all it knows.
///
/// # Errors
///
/// [`LinkError`] when the link is gone.
pub fn discover(link: &mut Link, wait: Duration) -> Result<Vec<Found>, LinkError> {
    let mut found = announced(link, wait)?;
    for device in &mut found {
        device.info = info(link, device.address)?;
    }
    Ok(found)
}

/// Like [`discover`], without asking what they run.
///
/// # Errors
///
/// [`LinkError`] when the link is gone.
pub fn announced(link: &mut Link, wait: Duration) -> Result<Vec<Found>, LinkError> {
    let mut found: Vec<Found> = Vec::new();
    let mut last = false;
    let deadline = Instant::now() + wait;
    let mut ask_at = Instant::now();
    while let Some(left) = left_until(deadline).filter(|_| !last) {
        if ask_at <= Instant::now() {
            link.send(Address::BROADCAST, &Message::DiscoveryRequest)?;
            ask_at += DISCOVERY_INTERVAL;
        }
        link.receive(left.min(DISCOVERY_INTERVAL), |address, message| {
            let Message::DeviceAnnounce(announce) = *message else { return };
            // A router ends its list with zeros from the stateless address (PROTOCOL.md §2).
            last |= address == Address::STATELESS;
            if address.is_device() && found.iter().all(|known| known.address != address) {
                found.push(Found { address, announce, info: None });
            }
        })?;
    }
    found.sort_by_key(|device| device.address);
    Ok(found)
}

/// What a device runs and can do; `None` if it does not speak the extension.
///
/// # Errors
///
/// [`LinkError`] when the link is gone.
pub fn info(link: &mut Link, address: Address) -> Result<Option<Info>, LinkError> {
    for _ in 0..EXTENSION_TRIES {
        link.send(address, &Message::Extension(Extension::InfoRequest))?;
        let deadline = Instant::now() + EXTENSION_TIMEOUT;
        while let Some(left) = left_until(deadline) {
            let mut answer = None;
            link.receive(left, |from, message| {
                if let (true, Message::Extension(Extension::Info(info))) = (from == address, message) {
                    answer = Some(*info);
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
