// SPDX-License-Identifier: Apache-2.0
//! `push` to several devices behind a controller: plan it for each, bring the image once, watch until all are done.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::time::Instant;

use fusain::relay::{CampaignFlags, RosterEntry, Stage, Stored};
use fusain::{Address, Mode};
use mcuboot_image::Image;
use rekindle_client::controller::{self, AskError};
use rekindle_client::credentials::Access;
use rekindle_client::drive::{DriveError, DriveEvent, Job, drive};
use rekindle_client::link::{Backoff, Link};
use rekindle_client::target::Target;
use rekindle_session::sender::{BASE_CHUNK, Patience, Plan, SenderEvent};
use serde_json::json;

use super::devices::{ask_failed, entry_json, stage_text, warn};
use super::push::plan_of;
use super::session::{Purpose, exit_of};
use crate::cli;
use crate::connect::{connect, connect_failed};
use crate::exit::{Exit, Failure, Outcome, chain};
use crate::interrupt;
use crate::output::Output;
use crate::progress::{Display, Roster};

/// Time between two looks at the roster.
const WATCH: Duration = Duration::from_millis(500);
/// Longest wait in one piece, so that an interruption is seen soon.
const NAP: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &cli::Push, mode: Mode, image: &Image<'_>, output: Output) -> Outcome {
    if args.no_activate {
        return Err(Failure::new(Exit::Usage, "--no-activate is for a single device")
            .next("push to one --address, or leave it out: the controller activates each by itself"));
    }
    let target = args.to.target()?;
    let interrupted = interrupt::flag()?;
    let (mut link, access) = connect(target)?;
    let campaign = controller::campaign(&mut link).map_err(|error| ask_failed(target, error))?;
    if campaign.flags.contains(CampaignFlags::TRANSPARENT) {
        let message = format!("the controller at {target} passes updates through and keeps no image");
        return Err(Failure::new(Exit::Refused, message).next("push to one --address after the other"));
    }
    warn(&campaign, output);
    let patience = Duration::from_secs(args.patience.into());
    let mut desk = Desk { target, access, link: Some(link), patience, interrupted, output };
    let addresses = if args.all { desk.everybody()? } else { unique(&args.address) };
    // The controller judges the version for each appliance by itself.
    let plan = Plan {
        mode,
        activate: false,
        follow: false,
        version: None,
        chunk: args.chunk.min(BASE_CHUNK),
        chunk_max: args.chunk,
        window_max: args.window,
        patience: Patience { away_ms: u64::from(args.patience) * 1000, ..Patience::default() },
        ..plan_of(image)?
    };
    let mut devices = desk.plan(&addresses, &plan, mode)?;
    desk.carry_out(&mut devices, &plan, image.bytes())?;
    conclude(&devices, plan.size, output)
}

fn unique(addresses: &[Address]) -> Vec<Address> {
    let mut all = addresses.to_vec();
    all.sort();
    all.dedup();
    all
}

/// A device of this push.
struct Device {
    address: Address,
    /// What the controller said last.
    entry: Option<RosterEntry>,
    /// Why it is not part of the campaign at all.
    refused: Option<String>,
}

impl Device {
    fn is_open(&self) -> bool {
        self.refused.is_none()
            && !matches!(self.entry, Some(RosterEntry { stage: Stage::Settled | Stage::None, .. }))
    }

    fn succeeded(&self) -> bool {
        self.refused.is_none()
            && self.entry.is_some_and(|entry| entry.outcome.is_success() && !self.is_open())
    }

    fn says(&self, size: u32) -> String {
        match (&self.refused, &self.entry) {
            (Some(reason), _) => reason.clone(),
            (None, Some(entry)) if entry.stage == Stage::Settled => {
                let runs = entry.version.map_or_else(String::new, |version| format!(", runs {version}"));
                let cause = match entry.cause {
                    fusain::relay::Cause::None => String::new(),
                    cause => format!(": {cause}"),
                };
                format!("{}{cause}{runs}", entry.outcome)
            }
            (None, Some(entry)) => stage_text(entry, size),
            (None, None) => "the controller does not know it".to_owned(),
        }
    }
}

/// This end of the conversation.
struct Desk<'a> {
    target: &'a Target,
    access: Access,
    link: Option<Link>,
    patience: Duration,
    interrupted: &'a AtomicBool,
    output: Output,
}

impl Desk<'_> {
    fn everybody(&mut self) -> Outcome<Vec<Address>> {
        let all: Vec<Address> = self
            .ask(controller::roster)?
            .map_err(|error| ask_failed(self.target, error))?
            .iter()
            .map(|e| e.address)
            .collect();
        if all.is_empty() {
            let message = format!("the controller at {} knows no device", self.target);
            return Err(Failure::new(Exit::Unreachable, message).next("is a bus connected?"));
        }
        Ok(all)
    }

    /// Asks the controller, over a new connection where the old one is lost. A refusal is an answer.
    fn ask<T>(
        &mut self,
        mut question: impl FnMut(&mut Link) -> Result<T, AskError>,
    ) -> Outcome<Result<T, AskError>> {
        let (began, mut backoff) = (Instant::now(), Backoff::new());
        loop {
            self.check_interrupted()?;
            let link = match self.link.take() {
                Some(link) => Ok(link),
                None => Link::connect(self.target, &self.access),
            };
            let error = match link {
                Ok(mut link) => match question(&mut link) {
                    Err(error @ (AskError::Link(_) | AskError::Silent)) => {
                        Failure::of(Exit::Incomplete, &error)
                    }
                    answer => {
                        self.link = Some(link);
                        return Ok(answer);
                    }
                },
                Err(error) if error.is_transient() => connect_failed(&error),
                Err(error) => return Err(connect_failed(&error)),
            };
            if began.elapsed() >= self.patience {
                return Err(
                    error.next("the controller goes on with what it has; the same command looks again")
                );
            }
            self.rest(backoff.step())?;
        }
    }

    fn check_interrupted(&self) -> Outcome {
        if self.interrupted.load(Ordering::Relaxed) {
            let next = format!(
                "`rekindle campaign show --to '{0}'` tells how it goes on, `rekindle campaign cancel --to '{0}' --all` \
                 takes it back",
                self.target
            );
            return Err(Failure::new(
                Exit::Interrupted,
                "interrupted; the controller goes on with what it has",
            )
            .next(next));
        }
        Ok(())
    }

    fn rest(&self, pause: Duration) -> Outcome {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            self.check_interrupted()?;
            std::thread::sleep(NAP);
        }
        Ok(())
    }

    /// Plans the image for each device. One that the controller does not know does not keep the others from it.
    fn plan(&mut self, addresses: &[Address], plan: &Plan, mode: Mode) -> Outcome<Vec<Device>> {
        let mut devices = Vec::new();
        for &address in addresses {
            let image = (plan.size, plan.digest);
            let device = match self.ask(|link| controller::plan(link, address, image, mode))? {
                Ok(entry) => Device { address, entry: Some(entry), refused: None },
                Err(AskError::Invalid(refusal)) if refusal.field == Some(3) => {
                    let reason =
                        "the controller does not know it: is it switched on, or in the configuration?";
                    Device { address, entry: None, refused: Some(reason.to_owned()) }
                }
                Err(error) => return Err(ask_failed(self.target, error)),
            };
            devices.push(device);
        }
        Ok(devices)
    }

    /// Brings the image as often as the controller asks for it, and watches.
    fn carry_out(&mut self, devices: &mut [Device], plan: &Plan, image: &[u8]) -> Outcome {
        let mut roster = Roster::new(self.output, plan.size);
        while devices.iter().any(Device::is_open) {
            let waiting = |d: &&Device| d.is_open() && d.entry.is_some_and(|e| e.stage == Stage::Waiting);
            if let Some(first) = devices.iter().find(waiting) {
                let (address, stored) = (first.address, self.ask(controller::campaign)?);
                let stored = stored.map_err(|error| ask_failed(self.target, error))?;
                if matches!(stored.stored, Stored::Receiving | Stored::Received) {
                    self.upload(address, plan, image)?;
                }
            }
            let entries = self.ask(controller::roster)?.map_err(|error| ask_failed(self.target, error))?;
            for device in devices.iter_mut().filter(|device| device.is_open()) {
                let entry = entries.iter().find(|entry| entry.address == device.address).copied();
                if entry != device.entry {
                    device.entry = entry;
                    let text = device.says(plan.size);
                    let json = entry.map(|entry| entry_json("device", &entry, plan.size));
                    roster.tell(device.address, entry.map(|e| (e.stage, e.offset)), json.as_ref(), &text);
                }
                if entry.is_none() {
                    device.refused = Some("the controller has forgotten it: push again".to_owned());
                }
            }
            if devices.iter().any(Device::is_open) {
                self.rest(WATCH)?;
            }
        }
        roster.finish();
        Ok(())
    }

    /// Brings the image, addressed to one of the devices that wait for it. What the controller's policy refuses
    /// shows on the roster.
    fn upload(&mut self, address: Address, plan: &Plan, image: &[u8]) -> Outcome {
        let (target, interrupted) = (self.target, self.interrupted);
        let link = match self.link.take() {
            Some(link) => link,
            None => Link::connect(target, &self.access).map_err(|error| connect_failed(&error))?,
        };
        let job = Job { target, access: &self.access, address, plan: *plan, image, interrupted };
        let mut display = Display::new(self.output, plan.size, true);
        if !self.output.is_json() {
            eprintln!("bringing the image to the controller");
        }
        let result = drive(&job, link, &mut |event| {
            if is_about_the_way(event) {
                display.event(event);
            }
        });
        display.finish();
        match result.map_err(|error| *error) {
            Ok(_) => Ok(()),
            Err(DriveError::Interrupted { .. }) => self.check_interrupted(),
            Err(DriveError::Connect { source, .. }) => Err(connect_failed(&source)),
            Err(DriveError::Gave { error, progress }) => {
                let exit = exit_of(Purpose::Transfer, &error, &progress);
                if exit == Exit::Refused {
                    // For this device, or for all: the roster says which, and why.
                    let _ = self.output.event(&json!({"event": "refused", "reason": chain(&error)}));
                    return Ok(());
                }
                let message = format!(
                    "{error}; the controller keeps {} of {} bytes",
                    progress.acknowledged, progress.size
                );
                Err(Failure::new(exit, message).next("the same command goes on"))
            }
        }
    }
}

/// How the image comes to the controller. What the controller says in the name of a device is told from the roster.
const fn is_about_the_way(event: &DriveEvent<'_>) -> bool {
    use SenderEvent::{Acknowledged, Resumed, Started, TimedOut, WentBack};
    match event {
        DriveEvent::Sender(event, _) => matches!(
            event,
            Started { .. } | Resumed { .. } | Acknowledged { .. } | WentBack { .. } | TimedOut { .. }
        ),
        DriveEvent::LinkLost(_) | DriveEvent::Retry(..) | DriveEvent::Reconnected => true,
    }
}

/// The summary; fails unless every device runs the image.
fn conclude(devices: &[Device], size: u32, output: Output) -> Outcome {
    let failed = devices.iter().filter(|device| !device.succeeded()).count();
    let done = devices.len().saturating_sub(failed);
    let list: Vec<_> = devices
        .iter()
        .map(|device| {
            json!({
                "address": device.address.to_string(),
                "ok": device.succeeded(),
                "outcome": device.entry.map(|entry| entry.outcome.name()),
                "cause": device.entry.map(|entry| entry.cause.name()),
                "version": device.entry.and_then(|entry| entry.version).map(|version| version.to_string()),
                "text": device.says(size),
            })
        })
        .collect();
    let lines: Vec<String> =
        devices.iter().map(|device| format!("{}  {}", device.address, device.says(size))).collect();
    let summary = format!("{done} of {} devices run the image", devices.len());
    let json = json!({"event": "summary", "ok": done, "failed": failed, "devices": list});
    output.print(&json, format!("{}\n{summary}", lines.join("\n")))?;
    match failed {
        0 => Ok(()),
        _ => Err(Failure::new(Exit::Partial, summary)
            .next("see to the devices that failed, then push again: the others are left alone")),
    }
}
