// SPDX-License-Identifier: Apache-2.0

//! The appliance's own business, as far as an update meets it: a state that commands
//! change and that says whether flash may be written and the device rebooted.

use fusain::{ApplianceState, StateCommand};
use rekindle_session::appliance::{Event, Status};

/// How long the sensors take to settle after a boot.
const SETTLE_MS: u64 = 200;
/// How long the fan runs on after blowing.
const COOL_MS: u64 = 500;

/// A heater without a fire: it only has states.
pub(crate) struct Heater {
    state: ApplianceState,
    command: Option<ApplianceState>,
    until_ms: u64,
}

impl Heater {
    pub(crate) fn new() -> Self {
        Self { state: ApplianceState::Initializing, command: None, until_ms: SETTLE_MS }
    }

    /// State and safety now. An update is safe in one state only (PROTOCOL.md, safety).
    pub(crate) fn status(&mut self, now_ms: u64) -> Status {
        self.advance(now_ms);
        Status { state: self.state, safe: self.state == ApplianceState::Idle, error: 0 }
    }

    /// Whether the appliance has come up: the sensors answer and nothing is wrong.
    pub(crate) fn ready(&mut self, now_ms: u64) -> bool {
        self.advance(now_ms);
        self.state != ApplianceState::Initializing
    }

    pub(crate) fn event(&mut self, event: &Event) {
        self.command = match event {
            Event::StateCommand(command) => match command.mode {
                StateCommand::EMERGENCY => Some(ApplianceState::EmergencyStop),
                StateCommand::IDLE => Some(ApplianceState::Idle),
                _ => Some(ApplianceState::Blowing),
            },
            Event::CommunicationLost => Some(ApplianceState::Idle),
            Event::Update(_) | Event::Framing(_) => return,
        };
    }

    fn advance(&mut self, now_ms: u64) {
        let elapsed = now_ms >= self.until_ms;
        let command = self.command.take();
        self.state = match (self.state, command) {
            // An emergency stop ends with the power.
            (ApplianceState::EmergencyStop, _) | (_, Some(ApplianceState::EmergencyStop)) => {
                ApplianceState::EmergencyStop
            }
            (ApplianceState::Initializing, _) if !elapsed => {
                self.command = command;
                ApplianceState::Initializing
            }
            (ApplianceState::Initializing, _) => ApplianceState::Idle,
            (ApplianceState::Blowing, Some(ApplianceState::Idle)) => {
                self.until_ms = now_ms.saturating_add(COOL_MS);
                ApplianceState::Cooling
            }
            (ApplianceState::Cooling, _) if elapsed => ApplianceState::Idle,
            (ApplianceState::Cooling, _) => ApplianceState::Cooling,
            (ApplianceState::Idle, Some(ApplianceState::Blowing)) => ApplianceState::Blowing,
            (state, _) => state,
        };
    }
}
