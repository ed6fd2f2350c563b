// SPDX-License-Identifier: Apache-2.0
//! `devices` and `campaign`: what a controller knows.

use core::fmt::Write as _;
use core::time::Duration;

use fusain::Address;
use fusain::relay::{Campaign, CampaignFlags, Cause, RosterEntry, RosterOutcome, Stage};
use rekindle_client::controller::{self, AskError};
use rekindle_client::link::Link;
use rekindle_client::{ask, target::Target};
use serde_json::{Value, json};

use crate::cli;
use crate::connect::{connect, link_failed};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, bytes, hex};

/// Longest wait for a controller's list of who is there; it ends with a mark.
const PRESENT_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &cli::Devices, output: Output) -> Outcome {
    let target = args.to.target()?;
    let (mut link, _) = connect(target)?;
    let failed = |error| ask_failed(target, error);
    let campaign = controller::campaign(&mut link).map_err(failed)?;
    let entries = controller::roster(&mut link).map_err(failed)?;
    let present = present(&mut link)?;
    warn(&campaign, output);
    if entries.is_empty() {
        return Err(Failure::new(Exit::Unreachable, format!("the controller at {target} knows no device"))
            .next("is a bus connected? Devices that are switched on are found within a minute"));
    }
    entries.iter().try_for_each(|entry| {
        let here = present.contains(&entry.address);
        let mut json = entry_json("device", entry, campaign.size);
        if let Value::Object(fields) = &mut json {
            fields.insert("here".to_owned(), json!(here));
        }
        output
            .print(&json, format!("{}{}", entry_text(entry, campaign.size), if here { "" } else { ", away" }))
    })
}

pub(crate) fn show(args: &cli::Devices, output: Output) -> Outcome {
    let target = args.to.target()?;
    let (mut link, _) = connect(target)?;
    let failed = |error| ask_failed(target, error);
    let campaign = controller::campaign(&mut link).map_err(failed)?;
    let entries = controller::roster(&mut link).map_err(failed)?;
    warn(&campaign, output);
    let devices: Vec<Value> =
        entries.iter().map(|entry| entry_json("device", entry, campaign.size)).collect();
    let mut json = campaign_json(&campaign);
    if let Value::Object(fields) = &mut json {
        fields.insert("devices".to_owned(), Value::Array(devices));
    }
    let mut text = campaign_text(&campaign);
    for entry in &entries {
        // Writing to a String does not fail.
        let _ = write!(text, "\n  {}", entry_text(entry, campaign.size));
    }
    output.print(&json, text)
}

pub(crate) fn cancel(args: &cli::CampaignCancel, output: Output) -> Outcome {
    let target = args.to.target()?;
    let (mut link, _) = connect(target)?;
    let address = args.address.filter(|_| !args.all);
    let campaign = controller::cancel(&mut link, address).map_err(|error| ask_failed(target, error))?;
    warn(&campaign, output);
    let left = match campaign.open {
        0 => "no device is left that needs an image".to_owned(),
        1 => "one device still needs the image; what is activated cannot be taken back".to_owned(),
        open => format!("{open} devices still need the image"),
    };
    output.print(&campaign_json(&campaign), format!("cancelled: {left}"))
}

/// The devices that the controller hears.
fn present(link: &mut Link) -> Outcome<Vec<Address>> {
    let found = ask::announced(link, PRESENT_TIMEOUT).map_err(|error| link_failed(&error))?;
    Ok(found.into_iter().map(|device| device.address).collect())
}

/// What everybody who looks at a controller must know about it.
pub(crate) fn warn(campaign: &Campaign, output: Output) {
    if output.is_json() {
        return;
    }
    if campaign.flags.contains(CampaignFlags::ROOT_MODE) {
        let downgrades = campaign.flags.contains(CampaignFlags::DOWNGRADE_ALLOWED);
        let more = if downgrades { ", and older ones" } else { "" };
        eprintln!(
            "warning: root mode is on: this controller forwards images without a trusted signature{more}"
        );
    }
    if campaign.flags.contains(CampaignFlags::UNSIGNED) {
        eprintln!("warning: the image on this controller has no trusted signature");
    }
}

/// A controller that does not answer as one.
pub(crate) fn ask_failed(target: &Target, error: AskError) -> Failure {
    match error {
        AskError::Silent => Failure::new(Exit::Unreachable, format!("no controller answers at {target}"))
            .next(
                "a device without a controller takes one --address; `rekindle discover` shows who is there",
            ),
        AskError::Link(error) => link_failed(&error),
        error @ AskError::Invalid(_) => Failure::of(Exit::Refused, &error),
        error @ AskError::Reject(_) => Failure::of(Exit::Refused, &error)
            .next(format!("`rekindle campaign show --to '{target}'` tells what it works on")),
    }
}

pub(crate) fn campaign_json(campaign: &Campaign) -> Value {
    let flags = campaign.flags;
    json!({
        "event": "campaign",
        "stored": campaign.stored.name(),
        "offset": campaign.offset,
        "size": campaign.size,
        "digest": campaign.digest.as_ref().map(|digest| hex(digest)),
        "version": campaign.version.map(|version| version.to_string()),
        "root_mode": flags.contains(CampaignFlags::ROOT_MODE),
        "downgrade_allowed": flags.contains(CampaignFlags::DOWNGRADE_ALLOWED),
        "transparent": flags.contains(CampaignFlags::TRANSPARENT),
        "unsigned": flags.contains(CampaignFlags::UNSIGNED),
        "appliances": campaign.appliances,
        "open": campaign.open,
    })
}

fn campaign_text(campaign: &Campaign) -> String {
    let mut text = match campaign.size {
        0 => "no image on the controller".to_owned(),
        size => {
            let version = campaign.version.map_or_else(String::new, |version| format!(" {version}"));
            let (have, all) = (bytes(campaign.offset.into()), bytes(size.into()));
            format!("image{version}: {}, {have} of {all}", campaign.stored)
        }
    };
    let routing =
        if campaign.flags.contains(CampaignFlags::TRANSPARENT) { "; updates are passed through" } else { "" };
    // Writing to a String does not fail.
    let _ = write!(text, "; {} of {} devices need it{routing}", campaign.open, campaign.appliances);
    text
}

pub(crate) fn entry_json(event: &str, entry: &RosterEntry, size: u32) -> Value {
    json!({
        "event": event,
        "address": entry.address.to_string(),
        "link": entry.link,
        "version": entry.version.map(|version| version.to_string()),
        "image_hash": entry.image_hash.as_ref().map(|hash| hex(hash)),
        "stage": entry.stage.name(),
        "outcome": entry.outcome.name(),
        "cause": entry.cause.name(),
        "acknowledged": entry.offset,
        "size": size,
    })
}

/// One line for people.
pub(crate) fn entry_text(entry: &RosterEntry, size: u32) -> String {
    let runs =
        entry.version.map_or_else(|| "version not told".to_owned(), |version| format!("runs {version}"));
    format!("{}  link {}, {runs}, {}", entry.address, entry.link, stage_text(entry, size))
}

/// Where a device is, and why.
pub(crate) fn stage_text(entry: &RosterEntry, size: u32) -> String {
    let because = |text: String| match entry.cause {
        Cause::None => text,
        cause => format!("{text}: {cause}"),
    };
    match entry.stage {
        Stage::None | Stage::Settled if entry.outcome == RosterOutcome::None => entry.outcome.to_string(),
        Stage::None | Stage::Settled => because(format!("last update {}", entry.outcome)),
        Stage::Transferring => {
            let percent = (u64::from(entry.offset) * 100).checked_div(size.into()).unwrap_or(0);
            format!("{} {percent} %", entry.stage)
        }
        Stage::Queued if entry.cause != Cause::None => format!("{}, last try: {}", entry.stage, entry.cause),
        stage => stage.to_string(),
    }
}
