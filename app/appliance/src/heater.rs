// SPDX-License-Identifier: Apache-2.0

//! The appliance's own business, as far as an update meets it: a state that commands and its
//! temperature change, and that says whether flash may be written and the device reset.
//!
//! There is no burner behind it: while it heats, its temperature rises at a fixed rate.

use fusain::{ApplianceState, StateCommand};
use rekindle_session::appliance::Status;

/// How long the sensors take to settle after a boot.
const SETTLE_MS: u64 = 200;
/// How long the fan runs on, however cool it is.
const COOL_MS: u64 = 500;
/// From the coldest to the hottest that it gets, and where a stage of ignition ends.
const AMBIENT: i32 = 25;
const STAGE_2: i32 = 190;
const BURNING: i32 = 210;
const TARGET: i32 = 230;
/// Below this the chamber no longer needs its fan.
const COOL: i32 = 120;
/// Milliseconds that a degree takes, up and down.
const HEAT_MS: u64 = 20;
const FALL_MS: u64 = 10;

/// A heater without a fire.
#[derive(Debug)]
pub(crate) struct Heater {
    state: ApplianceState,
    since_ms: u64,
    temperature: i32,
    /// When the temperature last moved by a degree.
    moved_ms: u64,
}

impl Heater {
    pub(crate) fn new() -> Self {
        Self { state: ApplianceState::Initializing, since_ms: 0, temperature: AMBIENT, moved_ms: 0 }
    }

    /// State and safety now. An update is safe in one state only (PROTOCOL.md §4.4).
    pub(crate) fn status(&mut self, now_ms: u64) -> Status {
        self.advance(now_ms);
        Status { state: self.state, safe: self.state == ApplianceState::Idle, error: self.error() }
    }

    /// Whether a reset does no harm: it would stop the fan on a hot chamber, and an emergency
    /// stop ends with the power only.
    pub(crate) fn may_reset(&mut self, now_ms: u64) -> bool {
        matches!(self.status(now_ms).state, ApplianceState::Idle | ApplianceState::Initializing)
    }

    /// Whether the appliance has come up: the sensors answer and nothing is wrong.
    pub(crate) fn ready(&mut self, now_ms: u64) -> bool {
        self.status(now_ms).state == ApplianceState::Idle
    }

    pub(crate) fn temperature(&self) -> i32 {
        self.temperature
    }

    /// Temperature wanted, while it burns.
    pub(crate) fn target(&self) -> Option<i32> {
        self.pumping().then_some(TARGET)
    }

    /// The fan's speed, in revolutions per minute.
    pub(crate) fn fan_rpm(&self) -> i32 {
        match self.state {
            ApplianceState::Blowing | ApplianceState::Cooling => 2_500,
            ApplianceState::Preheat | ApplianceState::PreheatStage2 => 1_200,
            ApplianceState::Heating => 3_000,
            _ => 0,
        }
    }

    pub(crate) fn glows(&self) -> bool {
        matches!(self.state, ApplianceState::Preheat | ApplianceState::PreheatStage2)
    }

    pub(crate) fn pumping(&self) -> bool {
        matches!(
            self.state,
            ApplianceState::Preheat | ApplianceState::PreheatStage2 | ApplianceState::Heating
        )
    }

    /// A controller's command. The endpoint lets none through that an update forbids.
    pub(crate) fn command(&mut self, now_ms: u64, mode: u32) {
        self.advance(now_ms);
        match mode {
            StateCommand::EMERGENCY => self.enter(now_ms, ApplianceState::EmergencyStop),
            StateCommand::IDLE => self.stop(now_ms),
            StateCommand::FAN if self.state == ApplianceState::Idle => {
                self.enter(now_ms, ApplianceState::Blowing);
            }
            StateCommand::HEAT if self.state == ApplianceState::Idle => {
                self.enter(now_ms, ApplianceState::Preheat);
            }
            _ => {}
        }
    }

    /// Goes to `state` whatever it was in: what somebody at the console wants. An emergency
    /// stop ends with the power only.
    pub(crate) fn force(&mut self, now_ms: u64, state: ApplianceState) {
        self.enter(now_ms, state);
        if state == ApplianceState::Heating {
            self.temperature = TARGET;
        }
    }

    /// Becomes idle, by way of cooling down.
    pub(crate) fn stop(&mut self, now_ms: u64) {
        if !matches!(
            self.state,
            ApplianceState::Initializing | ApplianceState::Idle | ApplianceState::Cooling
        ) {
            self.enter(now_ms, ApplianceState::Cooling);
        }
    }

    fn enter(&mut self, now_ms: u64, state: ApplianceState) {
        if self.state != ApplianceState::EmergencyStop {
            self.state = state;
            self.since_ms = now_ms;
        }
    }

    fn advance(&mut self, now_ms: u64) {
        self.warm(now_ms);
        let lasted_ms = now_ms.saturating_sub(self.since_ms);
        let next = match self.state {
            ApplianceState::Initializing if lasted_ms >= SETTLE_MS => ApplianceState::Idle,
            ApplianceState::Preheat if self.temperature >= STAGE_2 => ApplianceState::PreheatStage2,
            ApplianceState::PreheatStage2 if self.temperature >= BURNING => ApplianceState::Heating,
            ApplianceState::Cooling if self.temperature < COOL && lasted_ms >= COOL_MS => {
                ApplianceState::Idle
            }
            state => state,
        };
        if next != self.state {
            self.enter(now_ms, next);
        }
    }

    /// Lets the temperature follow the state.
    fn warm(&mut self, now_ms: u64) {
        let (step, each_ms, end) = if self.pumping() { (1, HEAT_MS, TARGET) } else { (-1, FALL_MS, AMBIENT) };
        while now_ms.saturating_sub(self.moved_ms) >= each_ms {
            if self.temperature == end {
                self.moved_ms = now_ms;
                return;
            }
            self.temperature = self.temperature.saturating_add(step);
            self.moved_ms = self.moved_ms.saturating_add(each_ms);
        }
    }

    /// STATE_DATA's error: stopped by command.
    fn error(&self) -> u32 {
        if self.state == ApplianceState::EmergencyStop { 7 } else { 0 }
    }
}
