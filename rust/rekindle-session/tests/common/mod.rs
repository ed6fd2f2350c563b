// SPDX-License-Identifier: Apache-2.0
//! A device in memory for tests of the receiver: three areas, strict flash rules, a cut after any operation.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::std_instead_of_core,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]
#![allow(clippy::cast_possible_truncation)]

use fusain::{Command, Message};
use mcuboot_image::digest::Sha256;
use mcuboot_image::trailer::SwapType;
use mcuboot_image::{Header, ImageVersion};
use rekindle_session::port::{Area, FlashFault, FlashOp, Layout};
use rekindle_session::receiver::{BootFacts, Config, Event, Output, Receiver, Reply, Safety};

pub const SECTOR: u32 = 4096;
pub const SAFE: Safety = Safety { state: 1, safe: true };

pub fn layout() -> Layout {
    Layout {
        primary_size: 16 * SECTOR,
        slot_size: 16 * SECTOR,
        sector_size: SECTOR,
        write_block: 4,
        image_offset: SECTOR,
        image_max: 14 * SECTOR,
        trailer_size: SECTOR,
        journal_size: 2 * SECTOR,
        journal_sector: SECTOR,
    }
}

/// An unsigned image with a right hash: header, body, hash TLV.
pub fn image(version: (u8, u8, u16), body_len: u32, fill: u8) -> Vec<u8> {
    image_with(version, body_len, fill, &[])
}

/// The same with further TLVs in its unprotected area.
pub fn image_with(version: (u8, u8, u16), body_len: u32, fill: u8, tlvs: &[(u16, &[u8])]) -> Vec<u8> {
    let header = Header {
        load_addr: 0,
        header_size: 32,
        protected_size: 0,
        image_size: body_len,
        flags: 0,
        version: ImageVersion::new(version.0, version.1, version.2, 0),
    };
    let mut bytes = header.emit().to_vec();
    bytes.extend((0..body_len).map(|i| (i as u8).wrapping_mul(31) ^ fill));
    let hash = Sha256::digest(&bytes);
    bytes.extend(0x6907_u16.to_le_bytes());
    let more: usize = tlvs.iter().map(|(_, value)| 4 + value.len()).sum();
    bytes.extend((40 + more as u16).to_le_bytes());
    bytes.extend([0x10, 0, 32, 0]);
    bytes.extend(hash);
    for (kind, value) in tlvs {
        bytes.extend(kind.to_le_bytes());
        bytes.extend((value.len() as u16).to_le_bytes());
        bytes.extend(*value);
    }
    bytes
}

pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes)
}

#[derive(Clone)]
pub struct Device {
    pub layout: Layout,
    pub primary: Vec<u8>,
    pub secondary: Vec<u8>,
    pub journal: Vec<u8>,
    pub upgrade: Option<fusain::Mode>,
    pub confirms: u32,
    pub fail_after: Option<u32>,
    pub writes: u32,
}

impl Device {
    pub fn new(layout: Layout, running: &[u8]) -> Self {
        let mut primary = vec![0xFF; layout.primary_size as usize];
        primary[..running.len()].copy_from_slice(running);
        Self {
            primary,
            secondary: vec![0xFF; layout.slot_size as usize],
            journal: vec![0xFF; layout.journal_size as usize],
            layout,
            upgrade: None,
            confirms: 0,
            fail_after: None,
            writes: 0,
        }
    }

    fn area(&mut self, area: Area) -> &mut Vec<u8> {
        match area {
            Area::Primary => &mut self.primary,
            Area::Secondary => &mut self.secondary,
            Area::Journal => &mut self.journal,
        }
    }

    pub fn apply(&mut self, op: &FlashOp<'_>) -> Result<Vec<u8>, FlashFault> {
        if !matches!(op, FlashOp::Read { .. }) {
            self.writes += 1;
            if self.fail_after.is_some_and(|n| self.writes > n) {
                return Err(FlashFault);
            }
        }
        let block = self.layout.write_block;
        match *op {
            FlashOp::Read { area, offset, len } => {
                Ok(self.area(area)[offset as usize..(offset + len) as usize].to_vec())
            }
            FlashOp::Write { area, offset, data } => {
                assert!(
                    area != Area::Primary && offset % block == 0 && (data.len() as u32).is_multiple_of(block)
                );
                assert!(!data.is_empty() && data.len() <= 256);
                let place = &mut self.area(area)[offset as usize..offset as usize + data.len()];
                assert!(place.iter().all(|b| *b == 0xFF), "write to unerased {area:?} {offset:#x}");
                place.copy_from_slice(data);
                Ok(vec![])
            }
            FlashOp::Erase { area, offset, len } => {
                assert!(area != Area::Primary && offset % SECTOR == 0 && len == SECTOR);
                self.area(area)[offset as usize..(offset + len) as usize].fill(0xFF);
                Ok(vec![])
            }
        }
    }
}

pub fn facts() -> BootFacts {
    BootFacts { confirmed: true, swap_type: SwapType::None, reset_cause: 0, boot_number: 7 }
}

pub struct Rig {
    pub device: Device,
    pub receiver: Receiver,
    pub now_ms: u64,
    pub safety: Safety,
    pub events: Vec<Event>,
    pub replies: Vec<Reply>,
    pub rebooted: bool,
    /// What the driver says of a signature, and those it was asked for: the key's place and the bytes.
    pub signature_right: bool,
    pub signatures: Vec<(usize, Vec<u8>)>,
    /// An emergency comes behind so many flash operations from now.
    pub emergency_in: Option<u32>,
    /// What has touched the slot, and been asked of the bootloader, since the emergency.
    pub since_emergency: u32,
}

impl Rig {
    pub fn boot(device: Device, config: Config, facts: BootFacts) -> Self {
        let receiver = Receiver::new(config, facts).unwrap();
        let mut rig = Self {
            device,
            receiver,
            now_ms: 0,
            safety: SAFE,
            events: vec![],
            replies: vec![],
            rebooted: false,
            signature_right: true,
            signatures: vec![],
            emergency_in: None,
            since_emergency: 0,
        };
        rig.drain();
        rig
    }

    /// Runs until nothing is left to do.
    pub fn drain(&mut self) {
        for _ in 0..1_000_000 {
            match self.receiver.poll(self.now_ms) {
                Output::Flash(op) => {
                    let touches = matches!(
                        op,
                        FlashOp::Write { area: Area::Secondary, .. }
                            | FlashOp::Erase { area: Area::Secondary, .. }
                    );
                    let result = self.device.apply(&op);
                    self.receiver.flash_done(result.as_deref().map_err(|fault| *fault));
                    if self.emergency_in == Some(0) {
                        self.since_emergency += u32::from(touches);
                    }
                    if let Some(left) = self.emergency_in.as_mut().filter(|left| **left > 0) {
                        *left -= 1;
                        if *left == 0 {
                            self.receiver.emergency();
                        }
                    }
                }
                Output::CheckSignature(signed) => {
                    self.signatures.push((signed.key, signed.signature.to_vec()));
                    self.receiver.signature_done(self.signature_right);
                }
                Output::RequestUpgrade { mode, .. } => {
                    self.device.upgrade = Some(mode);
                    self.since_emergency += u32::from(self.emergency_in == Some(0));
                    self.receiver.boot_done(Ok(()));
                }
                Output::Confirm => {
                    self.device.confirms += 1;
                    self.receiver.boot_done(Ok(()));
                }
                Output::Reply(reply) => self.replies.push(reply),
                Output::Event(event) => self.events.push(event),
                Output::Reboot => self.rebooted = true,
                Output::Wait { .. } => return,
            }
        }
        panic!("the receiver never comes to rest");
    }

    /// Sends one command through its wire form and returns the answers.
    pub fn send(&mut self, message: &Message<'_>) -> Vec<Reply> {
        let mut payload = [0; 114];
        let len = message.encode(&mut payload).unwrap();
        assert!(matches!(Command::decode(&payload[..len]), Ok(Some(_)) | Err(_)), "not a command");
        self.receiver.receive(self.now_ms, self.safety, &payload[..len]);
        self.drain();
        std::mem::take(&mut self.replies)
    }
}
