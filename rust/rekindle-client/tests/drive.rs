// SPDX-License-Identifier: Apache-2.0
//! Pushes into a device of the base protocol that is written here from PROTOCOL.md alone, over a link that breaks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests stop at the first surprise"
)]

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use fusain::{Address, Decoder, FRAME_MAX, InvalidCommand, Message, OtaState, OtaStatus, PingResponse};
use mcuboot_image::digest::Sha256;
use rekindle_client::credentials::Access;
use rekindle_client::drive::{DriveError, DriveEvent, Job, drive};
use rekindle_client::link::Link;
use rekindle_client::listen::{Listen, Listener};
use rekindle_client::target::Target;
use rekindle_client::transport::Transport;
use rekindle_session::sender::{Completion, Patience, Plan, SendError, SenderEvent};

const ADDRESS: Address = Address::new(0xB05E);

/// From the answer to ACTIVATE until the device hears again.
const BOOT: Duration = Duration::from_millis(300);

/// Lock-step, no extension, nothing kept over a reboot but the image.
struct BaseDevice {
    size: usize,
    received: Vec<u8>,
    state: u8,
    /// Its uptime is counted from `up_before` before this; until then it boots and hears nothing.
    booted: Instant,
    up_before: Duration,
    /// Frames after which the connection is dropped, for once.
    drop_after: Option<u32>,
}

impl BaseDevice {
    fn answer(&mut self, message: &Message<'_>) -> Option<Message<'static>> {
        let status = |device: &Self| {
            Some(Message::OtaStatus(OtaStatus {
                state: OtaState::try_from(device.state).unwrap(),
                offset: (device.state > 0).then(|| u32::try_from(device.received.len()).unwrap()),
                version: None,
            }))
        };
        match message {
            Message::OtaStart(start) => {
                if self.state == 0 {
                    self.size = usize::try_from(start.size).unwrap();
                    self.received.clear();
                    self.state = 1;
                }
                status(self)
            }
            Message::OtaData(data) if data.offset == self.received.len() as u64 => {
                self.received.extend_from_slice(data.data);
                if self.received.len() == self.size {
                    self.state = 2;
                }
                status(self)
            }
            Message::OtaData(_) => {
                Some(Message::InvalidCommand(InvalidCommand { code: 1, field: Some(0), constraint: Some(4) }))
            }
            Message::OtaVerify(_) => {
                self.state = 3;
                status(self)
            }
            Message::OtaActivate(_) => {
                self.state = 4;
                let answer = status(self);
                self.state = 0;
                (self.booted, self.up_before) = (Instant::now() + BOOT, Duration::ZERO);
                answer
            }
            Message::OtaQuery => status(self),
            Message::PingRequest => {
                let up = self.up_before + self.booted.elapsed();
                let uptime_ms = u32::try_from(up.as_millis()).unwrap();
                Some(Message::PingResponse(PingResponse { uptime_ms }))
            }
            // 0x46 is reserved in the base protocol: ignored, as everything else.
            _ => None,
        }
    }

    /// Serves one connection until it ends.
    fn serve(device: &Mutex<Self>, mut link: Box<dyn Transport>) {
        let (mut decoder, mut bytes, mut frame) = (Decoder::new(), [0; 512], [0; FRAME_MAX]);
        while let Ok(count) = link.recv(&mut bytes, Duration::from_millis(20)) {
            for byte in &bytes[..count] {
                let Some(Ok(packet)) = decoder.push(*byte) else { continue };
                assert_eq!(packet.address, ADDRESS);
                let message = Message::decode(packet.payload).unwrap();
                let mut device = device.lock().unwrap();
                if Instant::now() < device.booted {
                    continue;
                }
                let Some(answer) = device.answer(&message) else { continue };
                if let Some(left) = &mut device.drop_after {
                    *left -= 1;
                    if *left == 0 {
                        device.drop_after = None;
                        return;
                    }
                }
                let length = answer.encode_frame(ADDRESS, &mut frame).unwrap();
                if link.send(&frame[..length]).is_err() {
                    return;
                }
            }
        }
    }
}

/// A device on a thread of its own.
fn device(drop_after: Option<u32>) -> (Target, Arc<Mutex<BaseDevice>>) {
    let listener = Listener::bind(&Listen::Tcp { host: "127.0.0.1".to_owned(), port: 0 }).unwrap();
    let target = listener.target().clone();
    let device = Arc::new(Mutex::new(BaseDevice {
        size: 0,
        received: Vec::new(),
        state: 0,
        booted: Instant::now(),
        up_before: Duration::from_secs(1000),
        drop_after,
    }));
    let shared = Arc::clone(&device);
    thread::spawn(move || {
        loop {
            if let Some(link) = listener.accept(Duration::from_secs(60)) {
                BaseDevice::serve(&shared, link);
            }
        }
    });
    (target, device)
}

fn image() -> Vec<u8> {
    (0..20_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

fn plan(image: &[u8]) -> Plan {
    Plan::push(u32::try_from(image.len()).unwrap(), Sha256::digest(image), None)
}

#[test]
fn a_base_protocol_device_is_updated_through_a_broken_link() {
    let (target, device) = device(Some(60));
    let image = image();
    let interrupted = AtomicBool::new(false);
    let job = Job {
        target: &target,
        access: &Access::default(),
        address: ADDRESS,
        plan: plan(&image),
        image: &image,
        interrupted: &interrupted,
    };
    let mut seen = Vec::new();
    let link = Link::connect(&target, &Access::default()).unwrap();
    let report = drive(&job, link, &mut |event| match event {
        DriveEvent::Sender(SenderEvent::BasePeer, _) => seen.push("base"),
        DriveEvent::LinkLost(_) => seen.push("lost"),
        DriveEvent::Reconnected => seen.push("back"),
        _ => {}
    })
    .unwrap();
    assert_eq!(report.completion, Completion::Untold);
    assert!(seen.starts_with(&["base", "lost", "back"]), "{seen:?}");
    assert_eq!(report.counters.links_lost, 1);
    assert!(report.counters.bytes_again <= 96, "{:?}", report.counters);
    assert_eq!(device.lock().unwrap().received, image);
}

#[test]
fn an_interruption_stops_at_once_and_tells_how_far_it_came() {
    let (target, device) = device(None);
    let image = image();
    let interrupted = AtomicBool::new(false);
    let job = Job {
        target: &target,
        access: &Access::default(),
        address: ADDRESS,
        plan: plan(&image),
        image: &image,
        interrupted: &interrupted,
    };
    let link = Link::connect(&target, &Access::default()).unwrap();
    let stopped = drive(&job, link, &mut |event| {
        if let DriveEvent::Sender(SenderEvent::Acknowledged { offset: 5_000.. }, _) = event {
            interrupted.store(true, Ordering::Relaxed);
        }
    })
    .unwrap_err();
    let DriveError::Interrupted { progress } = *stopped else { panic!("{stopped}") };
    let received = device.lock().unwrap().received.len();
    assert!(progress.acknowledged as usize <= received, "{progress:?}");
    assert!((5_000..6_000).contains(&received), "{received}");
}

#[test]
fn a_device_that_stays_away_is_given_up_after_the_patience_asked_for() {
    let (target, _device) = device(None);
    let image = image();
    let interrupted = AtomicBool::new(false);
    let patience = Patience { away_ms: 1_500, ..Patience::default() };
    let job = Job {
        target: &target,
        access: &Access::default(),
        address: Address::new(0xDEAF),
        plan: Plan { patience, ..plan(&image) },
        image: &image,
        interrupted: &interrupted,
    };
    // A listener that nobody answers on.
    let silent = Listener::bind(&Listen::Tcp { host: "127.0.0.1".to_owned(), port: 0 }).unwrap();
    let link = Link::connect(silent.target(), &Access::default()).unwrap();
    let began = Instant::now();
    let gave_up = drive(&job, link, &mut |_| {}).unwrap_err();
    assert!(matches!(*gave_up, DriveError::Gave { error: SendError::Silent { .. }, .. }), "{gave_up}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
