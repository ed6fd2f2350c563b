// SPDX-License-Identifier: Apache-2.0
//! How an update goes: a bar at a terminal, plain lines elsewhere, JSON lines for programs.

use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::time::Instant;

use fusain::Address;
use fusain::relay::Stage;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rekindle_client::drive::DriveEvent;
use rekindle_session::sender::SenderEvent;
use serde_json::{Value, json};

use crate::exit::chain;
use crate::message_json;
use crate::output::{Output, bytes};

/// Between two JSON progress lines.
const EVERY: Duration = Duration::from_millis(250);

/// Shows events as they come.
pub(crate) struct Display {
    output: Output,
    size: u64,
    /// At a terminal.
    bar: Option<ProgressBar>,
    /// Whether people want to hear of each step.
    steps: bool,
    meter: Meter,
    shown: Option<Instant>,
    /// Tenths of the image told in plain lines.
    tenths: u64,
}

impl Display {
    /// A display for an image of `size` bytes.
    pub(crate) fn new(output: Output, size: u32, steps: bool) -> Self {
        let bar = (steps && !output.is_json() && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(size.into()), ProgressDrawTarget::stderr());
            let template = "{bar:30} {percent:>3} %  {binary_bytes} of {binary_total_bytes}  {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self { output, size: size.into(), bar, steps, meter: Meter::default(), shown: None, tenths: 0 }
    }

    /// Takes the next event.
    pub(crate) fn event(&mut self, event: &DriveEvent<'_>) {
        if !self.steps {
            return;
        }
        match event {
            DriveEvent::Sender(event, _) => self.sender_event(event),
            DriveEvent::LinkLost(error) => {
                let reason = chain(*error);
                self.say(&json!({"event": "link_lost", "reason": reason}), &format!("link lost: {reason}"));
            }
            DriveEvent::Retry(error, pause) => {
                let (reason, seconds) = (chain(*error), pause.as_secs());
                self.say(
                    &json!({"event": "retry", "reason": reason, "seconds": seconds}),
                    &format!("{reason}; next try in {seconds} s"),
                );
            }
            DriveEvent::Reconnected => self.say(&json!({"event": "reconnected"}), "link is back"),
        }
    }

    fn sender_event(&mut self, event: &SenderEvent) {
        match event {
            SenderEvent::Peer(info) => self.say(
                &json!({"event": "peer", "info": message_json::info(info)}),
                &format!("device runs {}", info.version),
            ),
            SenderEvent::BasePeer => self.say(
                &json!({"event": "base_peer"}),
                "device speaks the base protocol only: one chunk at a time, and no report of what it runs",
            ),
            SenderEvent::Started { window, chunk } => self.begin(0, *window, *chunk),
            SenderEvent::Resumed { offset, window, chunk } => self.begin((*offset).into(), *window, *chunk),
            SenderEvent::Acknowledged { offset } => self.acknowledged((*offset).into()),
            SenderEvent::WentBack { offset } => {
                let _ = self.output.event(&json!({"event": "went_back", "offset": offset}));
            }
            SenderEvent::TimedOut { command } => {
                let _ = self.output.event(&json!({"event": "timed_out", "command": command.name()}));
            }
            SenderEvent::Refused { command, refusal } => {
                let json =
                    json!({"event": "refused", "command": command.name(), "reason": refusal.to_string()});
                let _ = self.output.event(&json);
            }
            SenderEvent::Paused => {
                self.say(&json!({"event": "paused"}), "waiting for the device to be ready")
            }
            SenderEvent::FromScratch => self.say(
                &json!({"event": "from_scratch"}),
                "what the device received is damaged: sending everything once more",
            ),
            SenderEvent::Verifying => self.say(&json!({"event": "verifying"}), "device verifies the image"),
            SenderEvent::Verified => self.say(&json!({"event": "verified"}), "device has verified the image"),
            SenderEvent::Activated => {
                self.say(&json!({"event": "activated"}), "device has activated the image")
            }
            SenderEvent::Rebooted => self.say(&json!({"event": "rebooted"}), "device has rebooted"),
            SenderEvent::Outcome(report) => self.say(
                &json!({"event": "outcome", "outcome": message_json::outcome(report)}),
                &format!("device reports: {}", report.outcome),
            ),
            // Told with their reasons by the driver.
            SenderEvent::LinkLost | SenderEvent::LinkUp => {}
        }
    }

    fn begin(&mut self, offset: u64, window: u8, chunk: u8) {
        self.meter.begin(offset);
        self.tenths = self.tenth(offset);
        let json = json!({
            "event": if offset == 0 { "started" } else { "resumed" },
            "offset": offset,
            "size": self.size,
            "window": window,
            "chunk": chunk,
        });
        let size = bytes(self.size);
        if offset == 0 {
            self.say(&json, &format!("sending {size}"));
        } else {
            let percent = (offset * 100).checked_div(self.size).unwrap_or(0);
            self.say(&json, &format!("resuming at {} of {size} ({percent} %)", bytes(offset)));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(offset);
        }
    }

    fn acknowledged(&mut self, offset: u64) {
        let tenth = self.tenth(offset);
        let due = if self.bar.is_some() || self.output.is_json() {
            self.shown.is_none_or(|at| at.elapsed() >= EVERY) || offset == self.size
        } else {
            tenth > self.tenths
        };
        if !due {
            return;
        }
        (self.shown, self.tenths) = (Some(Instant::now()), tenth);
        let rate = self.meter.rate(offset);
        let left = self.size.saturating_sub(offset).checked_div(rate);
        let pace = match left {
            Some(seconds) => format!("{}/s, {seconds} s left", bytes(rate)),
            None => String::new(),
        };
        if let Some(bar) = &self.bar {
            bar.set_message(pace);
            bar.set_position(offset);
        } else if self.output.is_json() {
            let _ = self.output.event(&json!({
                "event": "progress",
                "acknowledged": offset,
                "size": self.size,
                "bytes_per_second": rate,
                "seconds_left": left,
            }));
        } else {
            eprintln!("{:>3} %  {} of {}  {pace}", tenth * 10, bytes(offset), bytes(self.size));
        }
    }

    fn tenth(&self, offset: u64) -> u64 {
        (offset * 10).checked_div(self.size).unwrap_or(0)
    }

    fn say(&self, json: &Value, text: &str) {
        let _ = self.output.event(json);
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None if !self.output.is_json() => eprintln!("{text}"),
            None => {}
        }
    }

    /// Leaves the terminal as it was.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Measures the rate since a transfer began or resumed.
#[derive(Default)]
struct Meter {
    began: Option<(Instant, u64)>,
}

impl Meter {
    fn begin(&mut self, offset: u64) {
        self.began = Some((Instant::now(), offset));
    }

    /// Bytes per second so far; 0 while there is nothing to tell.
    fn rate(&self, offset: u64) -> u64 {
        let Some((at, from)) = self.began else { return 0 };
        let millis = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        (offset.saturating_sub(from) * 1000).checked_div(millis).unwrap_or(0)
    }
}

/// Several devices at once: a line for each at a terminal, and a line for each change elsewhere.
pub(crate) struct Roster {
    output: Output,
    size: u64,
    bars: Option<MultiProgress>,
    lines: BTreeMap<Address, ProgressBar>,
    /// What was told in plain lines.
    told: BTreeMap<Address, (Stage, u64)>,
}

impl Roster {
    /// A display for devices that get an image of `size` bytes.
    pub(crate) fn new(output: Output, size: u32) -> Self {
        let bars = (!output.is_json() && io::stderr().is_terminal()).then(MultiProgress::new);
        Self { output, size: size.into(), bars, lines: BTreeMap::new(), told: BTreeMap::new() }
    }

    /// Something has changed for a device.
    pub(crate) fn tell(
        &mut self,
        address: Address,
        at: Option<(Stage, u32)>,
        json: Option<&Value>,
        text: &str,
    ) {
        if let Some(json) = json {
            let _ = self.output.event(json);
        }
        let offset = at.map_or(0, |(_, offset)| u64::from(offset));
        if let Some(bars) = &self.bars {
            let line = self.lines.entry(address).or_insert_with(|| {
                let line = bars.add(ProgressBar::new(self.size));
                if let Ok(style) = ProgressStyle::with_template("{prefix}  {bar:20} {msg}") {
                    line.set_style(style);
                }
                line.with_prefix(address.to_string())
            });
            line.set_position(offset);
            line.set_message(text.to_owned());
        } else if !self.output.is_json() {
            // A quarter of the image at a time is enough for a log.
            let quarter = (offset * 4).checked_div(self.size).unwrap_or(0);
            let now = at.map_or((Stage::None, 0), |(stage, _)| (stage, quarter));
            if self.told.insert(address, now) != Some(now) {
                eprintln!("{address}  {text}");
            }
        }
    }

    /// Leaves the terminal as it was.
    pub(crate) fn finish(&self) {
        if let Some(bars) = &self.bars {
            self.lines.values().for_each(ProgressBar::finish_and_clear);
            let _ = bars.clear();
        }
    }
}
