// SPDX-License-Identifier: Apache-2.0
//! A whole update through the daemon by a client that knows the base protocol and nothing of us: its frames, its
//! CRC and its CBOR are written here by hand, after PROTOCOL.md §1 to §5.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod common;

use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use common::*;
use fusain::Address;
use mcuboot_image::digest::Sha256;
use rekindle_relay::STORE_MAX;

const APPLIANCE: u64 = 0xA1;

/// CRC-16/CCITT-FALSE, bit by bit.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 }
        })
    })
}

fn frame(address: u64, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![payload.len() as u8];
    body.extend(address.to_le_bytes());
    body.extend(payload);
    body.extend(crc(&body).to_be_bytes());
    let mut out = vec![0x7E];
    for byte in body {
        match byte {
            0x7D..=0x7F => out.extend([0x7D, byte ^ 0x20]),
            _ => out.push(byte),
        }
    }
    out.push(0x7F);
    out
}

struct BaseClient {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl BaseClient {
    fn new(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { socket, bytes: Vec::new() }
    }

    fn send(&mut self, payload: &[u8]) {
        self.socket.write_all(&frame(APPLIANCE, payload)).unwrap();
    }

    /// The payload of the next frame from the appliance's address.
    fn receive(&mut self) -> Option<Vec<u8>> {
        let until = Instant::now() + Duration::from_secs(2);
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == 0x7F) {
                let raw: Vec<u8> = self.bytes.drain(..=end).collect();
                let mut body = Vec::new();
                let mut escaped = false;
                for &byte in &raw[1..raw.len() - 1] {
                    match (escaped, byte) {
                        (false, 0x7D) => escaped = true,
                        (true, byte) => (body.push(byte ^ 0x20), escaped = false).1,
                        (false, byte) => body.push(byte),
                    }
                }
                let (content, check) = body.split_at(body.len() - 2);
                assert_eq!(crc(content).to_be_bytes(), check, "{raw:02x?}");
                assert_eq!(usize::from(content[0]), content.len() - 9);
                if content[1..9] == APPLIANCE.to_le_bytes() {
                    return Some(content[9..].to_vec());
                }
                continue;
            }
            if Instant::now() > until {
                return None;
            }
            let mut bytes = [0; 512];
            match self.socket.read(&mut bytes) {
                Ok(0) => panic!("closed"),
                Ok(count) => self.bytes.extend(&bytes[..count]),
                Err(_) => {}
            }
        }
    }

    /// Sends a command until it is answered; the answer is STATUS, as (state, offset).
    fn command(&mut self, payload: &[u8]) -> (u8, Option<u64>) {
        for _ in 0..15 {
            self.send(payload);
            match self.receive() {
                Some(answer) if answer[..3] == [0x82, 0x18, 0x45] => return status(&answer),
                Some(answer) => panic!("{payload:02x?} is answered with {answer:02x?}"),
                None => {}
            }
        }
        panic!("{payload:02x?} is not answered");
    }

    fn update(&mut self, image: &[u8]) {
        let size = image.len() as u32;
        let mut start = vec![0x82, 0x18, 0x40, 0xA2, 0x00, 0x1A];
        start.extend(size.to_be_bytes());
        start.extend([0x01, 0x58, 0x20]);
        start.extend(Sha256::digest(image));
        assert_eq!(self.command(&start), (1, Some(0)));
        let mut offset = 0;
        while offset < image.len() {
            let end = image.len().min(offset + 96);
            let mut data = vec![0x82, 0x18, 0x41, 0xA2, 0x00, 0x1A];
            data.extend((offset as u32).to_be_bytes());
            data.extend([0x01, 0x58, (end - offset) as u8]);
            data.extend(&image[offset..end]);
            let (state, next) = self.command(&data);
            assert!(state == 1 || (state == 2 && end == image.len()), "state {state} at {offset}");
            offset = next.unwrap() as usize;
            assert_eq!(offset, end);
        }
        // VERIFY, then QUERY until it is verified.
        let mut answer = self.command(&[0x82, 0x18, 0x42, 0xF6]);
        let until = Instant::now() + SOON;
        while answer.0 != 3 {
            assert!(answer.0 == 2 && Instant::now() < until, "{answer:?}");
            std::thread::sleep(Duration::from_millis(50));
            answer = self.command(&[0x82, 0x18, 0x44, 0xF6]);
        }
        // ACTIVATE for a test with a reboot, then QUERY until IDLE. A router says at once that the appliance has
        // verified the image, so that word may come twice.
        let mut answer = self.command(&[0x82, 0x18, 0x43, 0xA2, 0x00, 0x00, 0x01, 0xF5]);
        while answer.0 != 0 {
            assert!(matches!(answer.0, 3 | 4) && Instant::now() < until, "{answer:?}");
            std::thread::sleep(Duration::from_millis(50));
            answer = self.command(&[0x82, 0x18, 0x44, 0xF6]);
        }
    }
}

/// {0: state, ?1: offset, …} of a STATUS.
fn status(payload: &[u8]) -> (u8, Option<u64>) {
    assert!(payload[3] & 0xE0 == 0xA0 && payload[4] == 0, "{payload:02x?}");
    let state = payload[5];
    let offset = (payload.get(6) == Some(&1)).then(|| match payload[7] {
        0x18 => payload[8].into(),
        0x19 => u16::from_be_bytes(payload[8..10].try_into().unwrap()).into(),
        0x1A => u32::from_be_bytes(payload[8..12].try_into().unwrap()).into(),
        small => small.into(),
    });
    (state, offset)
}

fn updates_in(routing: &str) {
    let desk = Desk::new();
    let old = signed(1, 20_000, &desk.key);
    let bus = Bus::new(&[APPLIANCE, 0xA2], &old);
    let head = format!("routing = \"{routing}\"");
    let running = Running::start(desk.settings(&head, &["url = \"tcp://127.0.0.1:0\""], &[&bus], ""));
    running.await_appliances(2);
    // Not a multiple of anything.
    let image = signed(2, 20 * STORE_MAX + 77, &desk.key);
    BaseClient::new(running.port()).update(&image);
    let mut link = running.link();
    let mut version = |address| {
        rekindle_client::ask::info(&mut link, Address::new(address)).unwrap().map(|info| info.version.major)
    };
    eventually("the new version runs", || version(APPLIANCE) == Some(2));
    assert_eq!(version(0xA2), Some(1), "the other one is left alone");
    assert_eq!(bus.updates(0xA2), 0);
}

#[test]
fn a_base_protocol_client_updates_through_store_and_forward() {
    updates_in("store-and-forward");
}

#[test]
fn a_base_protocol_client_updates_through_transparent_forwarding() {
    updates_in("transparent");
}
