// SPDX-License-Identifier: Apache-2.0
//! `status` and `abort`: questions with one answer.

use core::cmp::Reverse;

use fusain::OutcomeReport;
use fusain::relay::Campaign;
use rekindle_client::controller;
use rekindle_client::drive::DriveEvent;
use rekindle_client::target::Target;
use rekindle_session::sender::{Plan, SenderEvent};
use serde_json::Value;

use super::devices::{campaign_json, warn};
use super::session::{Purpose, carry_out, status_text, to_json};
use crate::cli::Device;
use crate::connect::connect;
use crate::exit::Outcome;
use crate::message_json;
use crate::output::Output;

pub(crate) fn run(device: &Device, output: Output) -> Outcome {
    // The newest first; a device that reboots meanwhile may tell one of them twice.
    let mut outcomes: Vec<OutcomeReport> = Vec::new();
    let mut collect = |event: &DriveEvent<'_>| {
        if let DriveEvent::Sender(SenderEvent::Outcome(report), _) = event {
            outcomes.retain(|known| known.attempt != report.attempt);
            outcomes.push(*report);
        }
    };
    let done = carry_out(device, Plan::status_only(), &[], Purpose::Question, output, &mut collect)?;
    outcomes.sort_by_key(|report| Reverse(report.attempt));
    let mut json = to_json(device, &done);
    if let Value::Object(fields) = &mut json {
        fields.insert("outcomes".to_owned(), outcomes.iter().map(message_json::outcome).collect());
        if let Some(campaign) = controller_of(device) {
            warn(&campaign, output);
            fields.insert("controller".to_owned(), campaign_json(&campaign));
        }
    }
    output.print(&json, status_text(device, &done.report, &outcomes))
}

/// The controller in between, if there is one: what it forwards concerns the device. None stands between this host and
/// its own serial ports.
fn controller_of(device: &Device) -> Option<Campaign> {
    let target = device.to.target().ok()?;
    if matches!(target, Target::Serial(_) | Target::Unix { .. }) {
        return None;
    }
    let (mut link, _) = connect(target).ok()?;
    controller::campaign_if_any(&mut link).ok()?
}

pub(crate) fn abort(device: &Device, output: Output) -> Outcome {
    let done = carry_out(device, Plan::abort_only(), &[], Purpose::Question, output, &mut |_| {})?;
    let text = format!("device {} has given its update up; its flash keeps what was written", device.address);
    output.print(&to_json(device, &done), text)
}
