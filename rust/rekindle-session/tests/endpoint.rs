// SPDX-License-Identifier: Apache-2.0
//! The appliance's endpoint: what it says of itself on the bus, and what it lets through.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{Device, facts, image, layout};
use fusain::{
    Address, ApplianceState, DeviceAnnounce, FRAME_MAX, Mode, Outcome, PAYLOAD_MAX, Reason, SendTelemetry,
    SerialDecoder, StateCommand, StateData, StateReject, TelemetryConfig, encode_frame, message_code,
};
use rekindle_session::appliance::{Appliance, Event, Identity, Output, Status};
use rekindle_session::receiver::{BootFacts, Config};

const ADDRESS: Address = Address::new(0x1122_3344);
const IDLE: Status = Status { state: ApplianceState::Idle, safe: true, error: 0 };

struct Bus {
    device: Device,
    appliance: Appliance,
    now_ms: u64,
    payloads: Vec<Vec<u8>>,
    events: Vec<Event>,
    outcomes: Vec<fusain::OutcomeReport>,
    reboots: u32,
}

impl Bus {
    fn new(boot: BootFacts) -> Self {
        let announce = DeviceAnnounce { motors: 1, thermometers: 1, pumps: 1, glows: 1 };
        let identity = Identity { address: ADDRESS, announce, point_to_point: true, serial: true };
        let appliance = Appliance::new(identity, Config::new(layout()), boot).unwrap();
        let device = Device::new(layout(), &image((1, 0, 0), 3000, 1));
        let mut bus = Self {
            device,
            appliance,
            now_ms: 0,
            payloads: vec![],
            events: vec![],
            outcomes: vec![],
            reboots: 0,
        };
        bus.appliance.set_status(IDLE);
        bus.run(0);
        bus
    }

    /// Lets `ms` pass in steps, and the endpoint do what it wants.
    fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        loop {
            match self.appliance.poll(self.now_ms) {
                Output::Flash(op) => {
                    let result = self.device.apply(&op);
                    self.appliance.flash_done(result.as_deref().map_err(|fault| *fault));
                }
                Output::CheckSignature(_) => self.appliance.signature_done(true),
                Output::RequestUpgrade { .. } | Output::Confirm => self.appliance.boot_done(Ok(())),
                Output::Send(frame) => self.payloads.push(payload(frame)),
                Output::Event(event) => self.events.push(event),
                Output::Outcome(report) => self.outcomes.push(report),
                Output::Reboot => self.reboots += 1,
                Output::Wait { .. } if self.now_ms >= end => return,
                Output::Wait { .. } => self.now_ms += 10,
            }
        }
    }

    fn say(&mut self, encode: impl FnOnce(&mut [u8]) -> Result<usize, fusain::EncodeError>) {
        let (mut payload, mut frame) = ([0; PAYLOAD_MAX], [0; FRAME_MAX]);
        let len = encode(&mut payload).unwrap();
        let len = encode_frame(ADDRESS, &payload[..len], &mut frame).unwrap();
        for byte in &frame[..len] {
            self.appliance.push(self.now_ms, *byte);
        }
        self.run(0);
    }

    fn sent(&self, code: u8) -> usize {
        self.payloads.iter().filter(|p| message_code(p).unwrap() == code).count()
    }
}

fn payload(frame: &[u8]) -> Vec<u8> {
    let mut decoder = SerialDecoder::new();
    for byte in frame {
        if let Some(packet) = decoder.push_at(0, *byte) {
            return packet.unwrap().payload.to_vec();
        }
    }
    panic!("no frame")
}

#[test]
fn reports_come_when_asked_for_or_when_due() {
    let mut bus = Bus::new(facts());
    let ask = SendTelemetry { kind: SendTelemetry::TEMP, index: Some(0) };
    bus.say(|out| ask.encode(out));
    assert!(bus.events.is_empty(), "silent until telemetry is on");
    bus.say(|out| TelemetryConfig { enabled: true, interval_ms: 0 }.encode(out));
    bus.say(|out| ask.encode(out));
    assert_eq!(bus.events, [Event::Telemetry(Some(ask))]);
    assert_eq!(bus.sent(StateData::CODE), 0);

    bus.events.clear();
    bus.say(|out| TelemetryConfig { enabled: true, interval_ms: 100 }.encode(out));
    bus.run(1_000);
    assert_eq!(bus.events, [Event::Telemetry(None); 10]);
    assert_eq!(bus.sent(StateData::CODE), 10);
}

#[test]
fn an_emergency_stop_is_reported_unasked() {
    let mut bus = Bus::new(facts());
    bus.run(1_000);
    assert_eq!(bus.sent(StateData::CODE), 0);
    bus.say(|out| StateCommand { mode: StateCommand::EMERGENCY, argument: None }.encode(out));
    bus.appliance.set_status(Status { state: ApplianceState::EmergencyStop, safe: false, error: 7 });
    bus.run(1_000);
    assert!((4..=5).contains(&bus.sent(StateData::CODE)));
    let last = StateData::decode(bus.payloads.last().unwrap()).unwrap();
    assert!(last.error && last.state == ApplianceState::EmergencyStop.number());
    // It hears nothing any more.
    let before = bus.events.len();
    bus.say(|out| StateCommand { mode: StateCommand::IDLE, argument: None }.encode(out));
    assert!(!bus.events[before..].iter().any(|e| matches!(e, Event::StateCommand(_))));
}

#[test]
fn an_image_under_test_keeps_the_heater_off() {
    let under_test =
        BootFacts { confirmed: false, swap_type: mcuboot_image::trailer::SwapType::Revert, ..facts() };
    let mut bus = Bus::new(under_test);
    assert!(bus.appliance.busy(bus.now_ms));
    let heat = StateCommand { mode: StateCommand::HEAT, argument: None };
    bus.say(|out| heat.encode(out));
    let refusal = StateReject::decode(bus.payloads.last().unwrap()).unwrap();
    assert_eq!(refusal.reason, Some(Reason::UpdateInProgress.number()));
    assert!(!bus.events.contains(&Event::StateCommand(heat)));

    bus.appliance.confirm();
    bus.run(0);
    assert!(!bus.appliance.busy(bus.now_ms));
    bus.say(|out| heat.encode(out));
    assert!(bus.events.contains(&Event::StateCommand(heat)));
}

#[cfg(feature = "smp")]
#[test]
fn a_reset_by_somebody_else_keeps_the_heater_off_until_it_comes() {
    let mut bus = Bus::new(facts());
    let heat = StateCommand { mode: StateCommand::HEAT, argument: None };
    let idle = StateCommand { mode: StateCommand::IDLE, argument: None };
    bus.appliance.reserve(bus.now_ms + 1_000);
    assert!(bus.appliance.busy(bus.now_ms) && bus.appliance.reserved(bus.now_ms));
    bus.say(|out| heat.encode(out));
    let refusal = StateReject::decode(bus.payloads.last().unwrap()).unwrap();
    assert_eq!(refusal.reason, Some(Reason::UpdateInProgress.number()));
    assert!(!bus.events.contains(&Event::StateCommand(heat)));
    bus.say(|out| idle.encode(out));
    assert!(bus.events.contains(&Event::StateCommand(idle)));

    // It never comes.
    bus.run(1_000);
    assert!(!bus.appliance.busy(bus.now_ms) && !bus.appliance.reserved(bus.now_ms));
    bus.say(|out| heat.encode(out));
    assert!(bus.events.contains(&Event::StateCommand(heat)));

    bus.appliance.reserve(bus.now_ms + 1_000);
    bus.appliance.reserve(0);
    assert!(!bus.appliance.busy(bus.now_ms));
}

#[test]
fn the_application_can_ask_for_outcomes_too() {
    let mut bus = Bus::new(facts());
    bus.appliance.recall(0);
    bus.run(0);
    assert_eq!(bus.outcomes.len(), 1);
    assert_eq!((bus.outcomes[0].outcome, bus.outcomes[0].total), (Outcome::None, 0));
    // Nobody asked on the bus, so nobody is answered there.
    assert!(bus.payloads.is_empty());

    let update = image((1, 1, 0), 5000, 2);
    let start = fusain::OtaStart {
        size: update.len() as u64,
        digest: common::digest(&update),
        version: None,
        slot: None,
    };
    bus.say(|out| start.encode(out));
    for (n, data) in update.chunks(96).enumerate() {
        bus.say(|out| fusain::OtaData { offset: n as u64 * 96, data }.encode(out));
    }
    bus.say(|out| fusain::OtaVerify { digest: None }.encode(out));
    bus.say(|out| fusain::OtaActivate { mode: Mode::Test, reboot: false }.encode(out));
    let answers = bus.payloads.len();
    bus.outcomes.clear();
    bus.appliance.recall(0);
    bus.run(0);
    assert_eq!((bus.outcomes[0].outcome, bus.outcomes[0].attempt), (Outcome::Pending, 1));
    assert_eq!((bus.payloads.len(), bus.reboots), (answers, 0));
}
