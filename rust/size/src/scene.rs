// SPDX-License-Identifier: Apache-2.0
//! The sender, the flash and the bootloader of the program that runs an update.

use crate::bench::{check, ticks};
use crate::facts::{BOOT, IDENTITY, IDLE, JOURNAL_SECTOR, LAYOUT, SECTOR, SLOT};
use fusain::{
    Address, DiscoveryRequest, EncodeError, Extension, FRAME_MAX, Mode, OtaActivate, OtaData, OtaQuery,
    OtaStart, OtaState, OtaVerify, Outcome, PingRequest, encode_frame,
};
use mcuboot_image::digest::Sha256;
use mcuboot_image::trailer::SwapType;
use mcuboot_image::{Header, ImageVersion};
use rekindle_session::appliance::{Appliance, Event, Output};
use rekindle_session::port::{Area, FlashFault, FlashOp};
use rekindle_session::receiver::{self, BootFacts, Config};

const SLOT_LEN: usize = SLOT as usize;
const JOURNAL_LEN: usize = 2 * JOURNAL_SECTOR as usize;
const OFFSET: usize = SECTOR as usize;
const CHUNK: usize = 100;
const BODY_LEN: usize = 20_001;
/// Header, body, TLV head, and the TLVs of a signed image: hash, key hash, an ECDSA signature.
const IMAGE_LEN: usize = 32 + BODY_LEN + 4 + 36 + 36 + 4 + 70;

/// Flash and everything else that does not belong on the stack.
pub struct Flash {
    primary: [u8; SLOT_LEN],
    secondary: [u8; SLOT_LEN],
    journal: [u8; JOURNAL_LEN],
    /// The image that is sent, and the one that is replaced.
    image: [u8; IMAGE_LEN],
    old: [u8; IMAGE_LEN],
    digest: [u8; 32],
    frame: [u8; FRAME_MAX],
    sent: Option<Sha256>,
}

impl Flash {
    /// All zero, so that it takes no room in the program.
    pub const NEW: Self = Self {
        primary: [0; SLOT_LEN],
        secondary: [0; SLOT_LEN],
        journal: [0; JOURNAL_LEN],
        image: [0; IMAGE_LEN],
        old: [0; IMAGE_LEN],
        digest: [0; 32],
        frame: [0; FRAME_MAX],
        sent: None,
    };

    fn area(&mut self, area: Area) -> &mut [u8] {
        match area {
            Area::Primary => &mut self.primary,
            Area::Secondary => &mut self.secondary,
            Area::Journal => &mut self.journal,
        }
    }

    /// Carries out one operation as NOR flash would.
    fn apply(&mut self, op: &FlashOp<'_>) -> Result<&[u8], FlashFault> {
        match *op {
            FlashOp::Read { area, offset, len } => Ok(range(self.area(area), offset, len).ok_or(FlashFault)?),
            FlashOp::Write { area, offset, data } => {
                let len = u32::try_from(data.len()).map_err(|_| FlashFault)?;
                let place = range(self.area(area), offset, len).ok_or(FlashFault)?;
                check(place.iter().all(|byte| *byte == 0xFF));
                place.copy_from_slice(data);
                Ok(&[])
            }
            FlashOp::Erase { area, offset, len } => {
                range(self.area(area), offset, len).ok_or(FlashFault)?.fill(0xFF);
                Ok(&[])
            }
        }
    }

    /// Makes the image of the next round; its TLVs are those of an image that imgtool signed.
    fn make_image(&mut self, round: u8) {
        self.old = self.image;
        let header = Header {
            load_addr: 0,
            header_size: 32,
            protected_size: 0,
            image_size: 20_001,
            flags: 0,
            version: ImageVersion::new(round, 0, 0, 0),
        };
        let (head, rest) = self.image.split_at_mut(32);
        head.copy_from_slice(&header.emit());
        let (body, tlvs) = rest.split_at_mut(BODY_LEN);
        let mut value = round;
        for byte in body {
            value = value.wrapping_mul(17).wrapping_add(101);
            *byte = value;
        }
        tlvs.fill(0xA5);
        put(tlvs, 0, &[0x07, 0x69, 150, 0, 0x10, 0, 32, 0]);
        put(tlvs, 40, &[0x01, 0, 32, 0]);
        put(tlvs, 76, &[0x22, 0, 70, 0]);
        let hash = Sha256::digest(self.image.get(..32 + BODY_LEN).unwrap_or_default());
        put(&mut self.image, 32 + BODY_LEN + 8, &hash);
        self.digest = Sha256::digest(&self.image);
    }

    /// What the bootloader does with a test upgrade, swapping with an offset.
    fn swap(&mut self) {
        self.primary.fill(0xFF);
        self.secondary.fill(0xFF);
        put(&mut self.primary, 0, &self.image);
        put(&mut self.secondary, 0, &self.old);
        // Its trailer: a test swap made the running image.
        put(&mut self.primary, SLOT_LEN - 16 - 24, &[2]);
    }
}

/// The places that an operation is about.
fn range(bytes: &mut [u8], offset: u32, len: u32) -> Option<&mut [u8]> {
    let from = usize::try_from(offset).ok()?;
    bytes.get_mut(from..from.checked_add(usize::try_from(len).ok()?)?)
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    let place = to.get_mut(at..at.saturating_add(bytes.len()));
    check(place.is_some());
    if let Some(place) = place {
        place.copy_from_slice(bytes);
    }
}

/// A device and its sender.
pub struct Bench {
    flash: &'static mut Flash,
    appliance: &'static mut Option<Appliance>,
    now_ms: u64,
    upgrade: Option<Mode>,
    rebooted: bool,
    confirmed: u32,
    settled: Option<Outcome>,
    /// Chunks that were received in order, and what they took, the flash's own work left out.
    pub chunks: u64,
    /// See [`chunks`](Self::chunks).
    pub chunk_ticks: u64,
    /// Frames that the device sent.
    pub sent: u64,
    /// Ticks spent in the flash since the clock was read last.
    flash_ticks: u64,
}

impl Bench {
    /// A device with an image that runs and blank flash otherwise.
    pub fn new(flash: &'static mut Flash, appliance: &'static mut Option<Appliance>) -> Self {
        flash.sent = Some(Sha256::new());
        flash.make_image(0);
        flash.primary.fill(0xFF);
        flash.secondary.fill(0xFF);
        flash.journal.fill(0xFF);
        put(&mut flash.primary, 0, &flash.image);
        Self {
            flash,
            appliance,
            now_ms: 0,
            upgrade: None,
            rebooted: false,
            confirmed: 0,
            settled: None,
            chunks: 0,
            chunk_ticks: 0,
            sent: 0,
            flash_ticks: 0,
        }
    }

    /// One update, with everything that may come between.
    pub fn update(&mut self, round: u8) {
        self.flash.make_image(round.wrapping_add(1));
        self.boot(BOOT);
        self.meet();
        self.start();
        self.upload(0, IMAGE_LEN / 2, true);
        // The power fails; what is durable stays.
        self.boot(BOOT);
        self.send(|out| OtaQuery.encode(out));
        let durable = self.progress();
        check(durable > 0 && IMAGE_LEN / 2 - durable <= OFFSET + CHUNK);
        self.start();
        self.upload(durable, IMAGE_LEN, false);
        check(self.state() == OtaState::Received);
        self.send(|out| OtaVerify { digest: None }.encode(out));
        check(self.state() == OtaState::Verified);
        // After another boot, ACTIVATE verifies again by itself.
        self.boot(BOOT);
        self.send(|out| OtaActivate { mode: Mode::Test, reboot: true }.encode(out));
        check(self.upgrade.take() == Some(Mode::Test) && self.rebooted);
        self.flash.swap();
        self.boot(BootFacts { confirmed: false, swap_type: SwapType::Revert, ..BOOT });
        self.with(|appliance| appliance.report_stage(1, 0));
        self.drain();
        self.with(Appliance::confirm);
        self.drain();
        check(self.settled.take() == Some(Outcome::Confirmed));
        for index in 0..4 {
            self.send(|out| Extension::OutcomeRequest { index }.encode(out));
        }
    }

    /// The digest of all frames sent and of what lies in flash.
    pub fn digest(&mut self) -> [u8; 32] {
        let Some(mut digest) = self.flash.sent.take() else { return [0; 32] };
        digest.update(&self.flash.primary);
        digest.update(&self.flash.secondary);
        digest.update(&self.flash.journal);
        digest.finalize()
    }

    fn boot(&mut self, facts: BootFacts) {
        check(Appliance::begin(self.appliance, IDENTITY, Config::new(LAYOUT), facts).is_ok());
        self.rebooted = false;
        self.with(|appliance| appliance.set_status(IDLE));
        self.drain();
    }

    /// What a controller asks before an update, and two payloads that are refused.
    fn meet(&mut self) {
        self.send_to(Address::BROADCAST, |out| DiscoveryRequest.encode(out));
        self.now_ms += 60;
        self.drain();
        self.send(|out| PingRequest.encode(out));
        self.send(|out| Extension::InfoRequest.encode(out));
        // Nested as deep as may be, under a key that nobody knows; then one deeper.
        for depth in [31, 33] {
            self.send(|out| {
                let nested = out.get_mut(..depth + 6).ok_or(EncodeError::BufferTooSmall)?;
                nested.fill(0x81);
                put(nested, 0, &[0x82, 0x18, 0x44, 0xA1, 0x18, 0x63]);
                put(nested, depth + 5, &[0x00]);
                Ok(depth + 6)
            });
        }
    }

    fn start(&mut self) {
        let digest = self.flash.digest;
        let size = u64::try_from(IMAGE_LEN).unwrap_or(0);
        self.send(|out| OtaStart { size, digest, version: None, slot: Some(1) }.encode(out));
        check(matches!(self.state(), OtaState::Receiving | OtaState::Received));
    }

    /// Sends the image's bytes from `from` to `to`; with `trouble`, some of them twice and some too early.
    fn upload(&mut self, from: usize, to: usize, trouble: bool) {
        let mut at = from;
        while at < to {
            if trouble && at > 0 && at.is_multiple_of(700) {
                self.chunk(at - CHUNK);
                self.chunk(at + CHUNK);
                check(self.progress() == at);
            }
            let ticks = self.chunk(at);
            at = (at + CHUNK).min(IMAGE_LEN);
            check(self.progress() == at);
            if !trouble {
                self.chunks += 1;
                self.chunk_ticks += ticks;
            }
        }
    }

    fn chunk(&mut self, at: usize) -> u64 {
        let data = self.flash.image.get(at..(at + CHUNK).min(IMAGE_LEN)).unwrap_or_default();
        let message = OtaData { offset: u64::try_from(at).unwrap_or(0), data };
        let result = message.encode_frame(IDENTITY.address, &mut self.flash.frame);
        check(result.is_ok());
        self.receive(result.unwrap_or(0))
    }

    fn send(&mut self, encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>) {
        self.send_to(IDENTITY.address, encode);
    }

    fn send_to(&mut self, to: Address, encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>) {
        let len = frame(to, &mut self.flash.frame, encode);
        let _ = self.receive(len);
    }

    /// Gives the device the first `len` bytes of the frame buffer, lets it do all that follows, and returns the
    /// ticks that took it.
    fn receive(&mut self, len: usize) -> u64 {
        self.now_ms += 10;
        self.flash_ticks = 0;
        let Self { flash, appliance, now_ms, .. } = self;
        let (mut spent, ()) = ticks(|| {
            if let Some(appliance) = appliance {
                for byte in flash.frame.iter().take(len) {
                    appliance.push(*now_ms, *byte);
                }
            }
        });
        spent += ticks(|| self.drain()).0;
        spent.saturating_sub(self.flash_ticks)
    }

    /// Does what the device asks for until it asks for nothing.
    fn drain(&mut self) {
        loop {
            let Some(appliance) = self.appliance else { return };
            match appliance.poll(self.now_ms) {
                Output::Flash(op) => {
                    let (ticks, result) = ticks(|| self.flash.apply(&op));
                    self.flash_ticks += ticks;
                    appliance.flash_done(result);
                }
                Output::RequestUpgrade { image, mode } => {
                    check(image.summary().total_len as usize == IMAGE_LEN);
                    self.upgrade = Some(mode);
                    appliance.boot_done(Ok(()));
                }
                Output::Confirm => {
                    self.confirmed += 1;
                    appliance.boot_done(Ok(()));
                }
                Output::Send(frame) => {
                    self.sent += 1;
                    let (ticks, ()) = ticks(|| {
                        if let Some(digest) = &mut self.flash.sent {
                            digest.update(frame);
                        }
                    });
                    self.flash_ticks += ticks;
                }
                Output::Event(Event::Update(receiver::Event::Settled { outcome, .. })) => {
                    self.settled = Some(outcome);
                }
                Output::Event(_) | Output::Outcome(_) => {}
                Output::Reboot => self.rebooted = true,
                Output::Wait { .. } => return,
            }
        }
    }

    fn with(&mut self, act: impl FnOnce(&mut Appliance)) {
        check(self.appliance.is_some());
        if let Some(appliance) = self.appliance {
            act(appliance);
        }
    }

    fn state(&self) -> OtaState {
        self.appliance.as_ref().map_or(OtaState::Idle, Appliance::ota_state)
    }

    fn progress(&self) -> usize {
        let progress = self.appliance.as_ref().and_then(|appliance| appliance.receiver().progress());
        progress.map_or(0, |(next, _)| next as usize)
    }
}

/// Builds a frame; its payload is gone from the stack before the device gets it.
#[inline(never)]
fn frame(to: Address, out: &mut [u8], encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>) -> usize {
    let mut payload = [0; 114];
    let len =
        encode(&mut payload).and_then(|len| encode_frame(to, payload.get(..len).unwrap_or_default(), out));
    check(len.is_ok());
    len.unwrap_or(0)
}
