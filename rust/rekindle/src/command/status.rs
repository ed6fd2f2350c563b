// SPDX-License-Identifier: Apache-2.0
//! `status` and `abort`: questions with one answer.

use rekindle_session::sender::Plan;

use super::session::{Purpose, carry_out, status_text, to_json};
use crate::cli::Device;
use crate::exit::Outcome;
use crate::output::Output;

pub(crate) fn run(device: &Device, output: Output) -> Outcome {
    let done = carry_out(device, Plan::status_only(), &[], Purpose::Question, output, &mut |_| {})?;
    output.print(&to_json(device, &done), status_text(device, &done.report))
}

pub(crate) fn abort(device: &Device, output: Output) -> Outcome {
    let done = carry_out(device, Plan::abort_only(), &[], Purpose::Question, output, &mut |_| {})?;
    let text = format!("device {} has given its update up; its flash keeps what was written", device.address);
    output.print(&to_json(device, &done), text)
}
