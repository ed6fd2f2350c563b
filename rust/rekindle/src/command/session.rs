// SPDX-License-Identifier: Apache-2.0
//! What `push`, `activate`, `status` and `abort` share: carry out a plan, tell how it goes, say how it ended.

use std::time::Instant;

use fusain::{InfoFlags, OtaState, Outcome as BootOutcome, OutcomeReport};
use rekindle_client::drive::{DriveError, DriveEvent, Job, drive};
use rekindle_session::sender::{Completion, Plan, Progress, Report, SendError};
use serde_json::{Value, json};

use crate::cli::Device;
use crate::connect::{connect, connect_failed};
use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt;
use crate::message_json;
use crate::output::{Output, hex};
use crate::progress::Display;

/// What a plan is for: decides what a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An image is to be brought over: what has arrived stays there.
    Transfer,
    /// A command and its answer.
    Question,
}

/// A plan carried out.
pub(crate) struct Done {
    pub(crate) report: Report,
    pub(crate) seconds: f64,
}

/// Carries out a plan on a device; `watch` sees every event.
pub(crate) fn carry_out(
    device: &Device,
    plan: Plan,
    image: &[u8],
    purpose: Purpose,
    output: Output,
    watch: &mut dyn FnMut(&DriveEvent<'_>),
) -> Outcome<Done> {
    let interrupted = interrupt::flag()?;
    let target = device.to.target()?;
    let (link, access) = connect(target)?;
    let job = Job { target, access: &access, address: device.address, plan, image, interrupted };
    let began = Instant::now();
    let mut display = Display::new(output, plan.size, purpose == Purpose::Transfer);
    let result = drive(&job, link, &mut |event| {
        display.event(event);
        watch(event);
    });
    display.finish();
    match result {
        Ok(report) => Ok(Done { report, seconds: began.elapsed().as_secs_f64() }),
        Err(error) => Err(failure(device, purpose, &error)),
    }
}

fn failure(device: &Device, purpose: Purpose, error: &DriveError) -> Failure {
    match error {
        DriveError::Interrupted { progress } => match purpose {
            Purpose::Question => Failure::new(Exit::Interrupted, "interrupted"),
            // Nothing is left to send or to give up: the device goes on by itself.
            Purpose::Transfer if progress.state == Some(OtaState::Activated) => Failure::new(
                Exit::Interrupted,
                "interrupted; the image is activated, and the device boots it",
            )
            .next(format!(
                "`rekindle status --to '{}' --address {}` tells what became of it",
                device.to, device.address
            )),
            Purpose::Transfer => {
                let message = format!("interrupted; {}", what_stays(progress));
                Failure::new(Exit::Interrupted, message).next(format!(
                    "run the same command again to go on, or `rekindle abort --to '{}' --address {}` to give up",
                    device.to, device.address
                ))
            }
        },
        DriveError::Connect { source, .. } => connect_failed(source),
        DriveError::Gave { error, progress } => {
            let exit = exit_of(purpose, error, progress);
            if exit == Exit::Unreachable {
                let message = format!("device {} at {} does not answer ({error})", device.address, device.to);
                return Failure::new(exit, message).next(format!(
                    "check power and wiring; `rekindle discover --to '{}'` shows who answers",
                    device.to
                ));
            }
            let message = match exit {
                Exit::Incomplete => format!("{error}; {}", what_stays(progress)),
                _ => format!("device {} at {}: {error}", device.address, device.to),
            };
            Failure::new(exit, message).next(error.advice())
        }
    }
}

fn what_stays(progress: &Progress) -> String {
    format!("the device keeps {} of {} bytes", progress.acknowledged, progress.size)
}

pub(crate) fn exit_of(purpose: Purpose, error: &SendError, progress: &Progress) -> Exit {
    match error {
        SendError::Plan(_) => Exit::Usage,
        SendError::Silent { .. } if purpose == Purpose::Question || progress.state.is_none() => {
            Exit::Unreachable
        }
        SendError::LinkLost { .. } if purpose == Purpose::Question => Exit::Unreachable,
        SendError::Silent { .. } | SendError::LinkLost { .. } | SendError::NoProgress { .. } => {
            Exit::Incomplete
        }
        SendError::NotReturned { .. } => Exit::Unknown,
        SendError::NotTaken { .. } => Exit::NotInstalled,
        _ => Exit::Refused,
    }
}

/// Says how an update ended, and fails if the new image is not what the device runs.
pub(crate) fn conclude(device: &Device, done: &Done, output: Output) -> Outcome {
    let report = &done.report;
    let json = to_json(device, done);
    let address = device.address;
    let running = report.info.map(|info| info.version.to_string());
    let runs = running.as_deref().unwrap_or("an image of unknown version");
    let why = report.outcome.as_ref().and_then(why_not).map(|why| format!(": {why}")).unwrap_or_default();
    let ask_later = format!("`rekindle status --to '{}' --address {address}` tells later", device.to);
    let failed = |exit, text: String| {
        output.event(&json)?;
        Err(Failure::new(exit, text))
    };
    match report.completion {
        Completion::AlreadyRunning { confirmed: true } => {
            output.print(&json, format!("nothing to do: device {address} runs this image already ({runs})"))
        }
        Completion::AlreadyRunning { confirmed: false } => {
            output.print(&json, format!("nothing to do: device {address} has this image under test ({runs})"))
        }
        Completion::Verified => output.print(
            &json,
            format!(
                "verified on device {address}, not activated; `rekindle activate` boots it{}",
                sent(done)
            ),
        ),
        Completion::Activated => output.print(
            &json,
            format!("activated on device {address}: its next reset, whenever that is, boots it"),
        ),
        Completion::Confirmed => {
            output.print(&json, format!("done: device {address} runs {runs}, confirmed{}", sent(done)))
        }
        Completion::Status | Completion::Aborted => output.print(&json, ""),
        Completion::UnderTest => failed(
            Exit::Unknown,
            format!("device {address} runs {runs}, but has not confirmed it: it may still be reverted"),
        )
        .map_err(|f: Failure| f.next(ask_later)),
        Completion::Reverted => failed(
            Exit::NotInstalled,
            format!("device {address} tried the new image and went back to {runs}{why}"),
        )
        .map_err(|f| f.next("mend the image: it started, but did not confirm itself")),
        Completion::RefusedByBootloader => failed(
            Exit::NotInstalled,
            format!("the bootloader of device {address} refused the new image{why}; it still runs {runs}"),
        )
        .map_err(|f| {
            f.next("is the image signed with the key this bootloader trusts? `rekindle verify` checks")
        }),
        Completion::NotAttempted => failed(
            Exit::NotInstalled,
            format!(
                "the bootloader of device {address} did not try the new image{why}; it still runs {runs}"
            ),
        )
        .map_err(|f| f.next("push again; if it repeats, look at the bootloader's console")),
        Completion::Unknown => failed(
            Exit::Unknown,
            format!("device {address} has rebooted, outcome unknown{why}; it runs {runs}"),
        )
        .map_err(|f| f.next(ask_later)),
        Completion::Untold => failed(
            Exit::Unknown,
            format!(
                "device {address} has rebooted; it speaks the base protocol and cannot tell what it runs"
            ),
        )
        .map_err(|f| f.next("look at the device itself for the version it runs")),
    }
}

/// ", 131072 bytes in 12.3 s, 10.4 KiB/s", or nothing when nothing was sent.
fn sent(done: &Done) -> String {
    let counters = &done.report.counters;
    if counters.data_bytes == 0 {
        return String::new();
    }
    let resumed = match counters.resumed_at {
        0 => String::new(),
        offset => format!(", resumed at byte {offset}"),
    };
    format!(" ({} bytes sent in {:.1} s{resumed})", counters.data_bytes, done.seconds)
}

/// Why an update ended as it did, as far as the device tells. A new image notes stage 0 as it starts.
pub(crate) fn why_not(report: &OutcomeReport) -> Option<String> {
    if matches!(report.outcome, BootOutcome::None | BootOutcome::Pending | BootOutcome::Confirmed) {
        return None;
    }
    let cause =
        report.reset_cause.map(|cause| format!(", reset cause {}", reset_cause(cause))).unwrap_or_default();
    match (report.stage, report.code) {
        (Some(0) | None, Some(0) | None) if report.outcome == BootOutcome::UnderTest => None,
        (Some(0), Some(0) | None) => Some(format!("it started, but its self-test reported nothing{cause}")),
        (Some(stage), code) => {
            Some(format!("its self-test ended at stage {stage} with code {}{cause}", code.unwrap_or(0)))
        }
        (None, _) if report.outcome == BootOutcome::Reverted => {
            Some(format!("it reported nothing, not even its start{cause}"))
        }
        (None, _) => None,
    }
}

/// Zephyr's reset causes (`hwinfo.h`), which the device passes on as bits.
fn reset_cause(bits: u32) -> String {
    const NAMES: [&str; 17] = [
        "pin",
        "software",
        "brownout",
        "power-on",
        "watchdog",
        "debug",
        "security",
        "low-power wake",
        "CPU lockup",
        "parity",
        "PLL",
        "clock",
        "hardware",
        "user",
        "temperature",
        "bootloader",
        "flash",
    ];
    let names: Vec<&str> =
        NAMES.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name).collect();
    if names.is_empty() { format!("{bits:#x}") } else { format!("{} ({bits:#x})", names.join(", ")) }
}

/// The status of a device, for people.
pub(crate) fn status_text(device: &Device, report: &Report, outcomes: &[OutcomeReport]) -> String {
    let mut lines = vec![format!("device {} at {}", device.address, device.to)];
    match &report.info {
        Some(info) => {
            let confirmed =
                if info.flags.contains(InfoFlags::CONFIRMED) { "confirmed" } else { "under test" };
            lines.push(format!(
                "  runs         {} ({confirmed}), image {}",
                info.version,
                hex(&info.image_hash)
            ));
            if info.flags.contains(InfoFlags::SWAP_PENDING) {
                lines.push("  pending      another image is swapped in at the next reset".to_owned());
            }
            lines.push(format!("  receives     chunks of {}, {} in flight", info.chunk_max, info.window));
        }
        None => lines.push("  runs         not known: it speaks the base protocol".to_owned()),
    }
    if let Some(status) = &report.status {
        let mut line = format!("  update       {}", status.state);
        if let Some(offset) = status.offset {
            line.push_str(&format!(", {offset} bytes received"));
        }
        if let Some(version) = status.version {
            line.push_str(&format!(", version {version}"));
        }
        if let Some(durable) = report.info.and_then(|info| info.durable) {
            line.push_str(&format!(" ({durable} of them survive a power cut)"));
        }
        lines.push(line);
    }
    for (index, outcome) in outcomes.iter().filter(|one| one.outcome != BootOutcome::None).enumerate() {
        let why = why_not(outcome).map(|why| format!("; {why}")).unwrap_or_default();
        let which = if index == 0 { "last update" } else { "before that" };
        lines.push(format!("  {which}  {}{why}", outcome.outcome));
    }
    lines.join("\n")
}

/// A plan carried out, for programs.
pub(crate) fn to_json(device: &Device, done: &Done) -> Value {
    let report = &done.report;
    let counters = &report.counters;
    json!({
        "event": "done",
        "address": device.address.to_string(),
        "completion": completion_name(report.completion),
        "info": report.info.as_ref().map(message_json::info),
        "status": report.status.map(|status| json!({
            "state": status.state.name(),
            "offset": status.offset,
            "version": status.version.map(|version| version.to_string()),
        })),
        "outcome": report.outcome.as_ref().map(message_json::outcome),
        "bytes_sent": counters.data_bytes,
        "bytes_again": counters.bytes_again,
        "resumed_at": counters.resumed_at,
        "timeouts": counters.timeouts,
        "links_lost": counters.links_lost,
        "reboots": counters.reboots,
        "seconds": (done.seconds * 1000.0).round() / 1000.0,
    })
}

const fn completion_name(completion: Completion) -> &'static str {
    match completion {
        Completion::AlreadyRunning { .. } => "already_running",
        Completion::Verified => "verified",
        Completion::Activated => "activated",
        Completion::Confirmed => "confirmed",
        Completion::UnderTest => "under_test",
        Completion::Reverted => "reverted",
        Completion::RefusedByBootloader => "refused_by_bootloader",
        Completion::NotAttempted => "not_attempted",
        Completion::Unknown => "unknown",
        Completion::Untold => "untold",
        Completion::Status => "status",
        Completion::Aborted => "aborted",
    }
}
