// SPDX-License-Identifier: Apache-2.0
//! `discover`: who is there.

use core::fmt::Write as _;
use core::time::Duration;

use rekindle_client::ask::{self, Found};
use serde_json::{Value, json};

use crate::cli;
use crate::connect::{connect, link_failed};
use crate::exit::{Exit, Failure, Outcome};
use crate::message_json;
use crate::output::Output;

pub(crate) fn run(args: &cli::Discover, output: Output) -> Outcome {
    let (mut link, _) = connect(args.to.target()?)?;
    let wait = Duration::from_millis(args.wait.into());
    let found = ask::discover(&mut link, wait).map_err(|error| link_failed(&error))?;
    if found.is_empty() {
        let message = format!("no device answers behind {} within {} ms", args.to, args.wait);
        return Err(Failure::new(Exit::Unreachable, message)
            .next("check power, cable and baud rate; a slow bus may need a longer --wait"));
    }
    found.iter().try_for_each(|device| output.print(&to_json(device), to_text(device)))
}

fn to_json(device: &Found) -> Value {
    let announce = &device.announce;
    json!({
        "event": "device",
        "address": device.address.to_string(),
        "motors": announce.motors,
        "thermometers": announce.thermometers,
        "pumps": announce.pumps,
        "glows": announce.glows,
        "info": device.info.as_ref().map(message_json::info),
    })
}

fn to_text(device: &Found) -> String {
    let mut text = device.address.to_string();
    // Writing to a String does not fail.
    let _ = match &device.info {
        Some(info) => {
            let confirmed = info.flags.contains(fusain::InfoFlags::CONFIRMED);
            let state = if confirmed { "confirmed" } else { "under test" };
            write!(text, "  runs {} ({state})", info.version)
        }
        None => write!(text, "  speaks the base protocol: what it runs is not known"),
    };
    let announce = &device.announce;
    for (count, name) in [
        (announce.motors, "motor"),
        (announce.thermometers, "thermometer"),
        (announce.pumps, "pump"),
        (announce.glows, "glow plug"),
    ] {
        let plural = if count == 1 { "" } else { "s" };
        if count > 0 {
            let _ = write!(text, ", {count} {name}{plural}");
        }
    }
    text
}
