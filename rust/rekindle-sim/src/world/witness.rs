// SPDX-License-Identifier: Apache-2.0
//! Watches a world from outside, with access to everything, and says when an [`Invariant`] does not hold.
//!
//! It judges by flash content and by its own record of boots and requests, never by what the session remembers.

use super::invariant::Invariant;
use super::scenario::{Mishap, Scenario};
use crate::bootloader::{Booted, Flag, SwapType};
use crate::device::{Device, Note};
use crate::flash::{NorFlash, RamStore};
use crate::image;
use fusain::{Decoder, Extension, Message, OtaState, Outcome, OutcomeReport};
use rekindle_session::port::Area;
use rekindle_session::sender::{Completion, Report};

/// What a check found: an invariant that does not hold, and what was seen.
pub(super) type Finding = Result<(), (Invariant, String)>;

/// Length of the TLVs behind the hashed part of a [`Recipe`](crate::image::Recipe)'s image.
const TLVS: usize = 40;

/// An image that the world knows.
#[derive(Clone, Debug)]
struct Known {
    bytes: Vec<u8>,
    hash: [u8; 32],
}

impl Known {
    fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), hash: image::digest(&bytes[..bytes.len() - TLVS]) }
    }
}

/// What the device has told about the session since the boot.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    size: u32,
    acknowledged: u32,
    durable: u32,
}

/// A boot, as it was.
#[derive(Clone, Copy, Debug)]
struct Boot {
    running: [u8; 32],
    swapped: Option<SwapType>,
    refused: bool,
}

/// A request to the bootloader.
#[derive(Clone, Copy, Debug)]
struct Request {
    /// Number of the attempt, as the journal has it.
    attempt: u32,
    /// The image.
    target: [u8; 32],
    /// Boots before it.
    boots: usize,
}

/// The witness.
#[derive(Debug)]
pub(super) struct Witness {
    known: Vec<Known>,
    /// Flash operations fail by plan: the bootloader may then rightly find half a request.
    failures: bool,
    told: Option<Told>,
    /// What must still be there after the reset that is under way.
    expected: Option<Told>,
    /// The device has finished its recovery since the last boot.
    recovered: bool,
    boots: Vec<Boot>,
    /// Somebody else was lent the slot.
    visited: bool,
    /// The running image as the device named it last.
    named: Option<[u8; 32]>,
    /// Requests to the bootloader.
    requests: Vec<Request>,
    /// Requests that the bootloader library refused or the flash failed.
    failed_requests: usize,
    checked_operations: u64,
    decoder: Decoder,
    pub(super) unknown_outcomes: u32,
}

impl Witness {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let images = scenario.updates.iter().map(|update| &update.image);
        let known =
            core::iter::once(&scenario.installed).chain(images).map(|bytes| Known::new(bytes)).collect();
        let failing = |mishap: &Mishap| matches!(mishap, Mishap::FlashFailure { .. } | Mishap::ReadFailure);
        Self {
            known,
            failures: scenario.mishaps.iter().any(|(_, mishap)| failing(mishap)),
            told: None,
            expected: None,
            recovered: false,
            boots: Vec::new(),
            visited: false,
            named: None,
            requests: Vec::new(),
            failed_requests: 0,
            checked_operations: 0,
            decoder: Decoder::new(),
            unknown_outcomes: 0,
        }
    }

    /// Makes an image known.
    pub(super) fn learn(&mut self, bytes: &[u8]) {
        self.known.push(Known::new(bytes));
    }

    fn named(&self, hash: &[u8; 32]) -> Option<&Known> {
        self.known.iter().find(|known| known.hash == *hash)
    }

    /// After each step of the device.
    pub(super) fn stepped(&mut self, device: &mut Device<RamStore>) -> Finding {
        if let Some(violation) = device.flash().violations().first() {
            return Err((Invariant::FlashRulesAreKept, violation.to_string()));
        }
        self.check_backup(device)?;
        let Some(endpoint) = device.endpoint() else { return Ok(()) };
        let receiver = endpoint.receiver();
        if !self.recovered && receiver.ready() {
            self.recovered = true;
            let progress = receiver.progress();
            self.check_recovery(device, progress)?;
            self.expected = None;
            return Ok(());
        }
        if self.recovered {
            match (receiver.progress(), receiver.durable()) {
                (Some((_, size)), Some(durable)) => {
                    let told = self.told.get_or_insert_default();
                    if told.size != size {
                        *told = Told { size, ..Told::default() };
                    }
                    told.durable = told.durable.max(durable);
                }
                _ => self.told = None,
            }
        }
        Ok(())
    }

    /// While an image is under test, the other slot holds the one before it.
    fn check_backup(&mut self, device: &mut Device<RamStore>) -> Finding {
        let operations = device.flash().operations();
        if !device.under_test() || operations == self.checked_operations || !device.flash().is_powered() {
            return Ok(());
        }
        self.checked_operations = operations;
        let bootloader = device.options().bootloader.clone();
        let flash = &mut looked_at(device);
        // Until the confirmation is in flash, and no longer.
        if bootloader.swap_type(flash) != Ok(SwapType::Revert) {
            return Ok(());
        }
        let backup = bootloader.backup(flash).ok().flatten();
        let before = self.boots.iter().rev().map(|boot| boot.running).nth(1);
        match backup {
            Some(whole) if before.is_none_or(|hash| hash == whole.hash) => Ok(()),
            other => Err((Invariant::RevertImageStaysIntact, format!("the image to revert to is {other:?}"))),
        }
    }

    /// The device has recovered after a boot: what was promised must be there.
    fn check_recovery(&self, device: &mut Device<RamStore>, progress: Option<(u32, u32)>) -> Finding {
        let layout = device.options().config.layout;
        let (resumed, size) = progress.unwrap_or((0, 0));
        if let Some(told) = self.expected {
            let resumed = if size == told.size { resumed } else { 0 };
            if told.acknowledged > resumed + layout.sector_size {
                let seen = format!("{} acknowledged, {resumed} left", told.acknowledged);
                return Err((Invariant::AcknowledgedWithinASector, seen));
            }
            if told.durable > resumed {
                let seen = format!("{} told to be durable, {resumed} left", told.durable);
                return Err((Invariant::DurableSurvives, seen));
            }
        }
        if resumed == 0 {
            return Ok(());
        }
        let content = image::inspect(device.flash_mut(), Area::Secondary, layout.image_offset, resumed);
        let content = content.unwrap_or_default();
        let sized = |known: &&Known| known.bytes.len() == size as usize;
        if self.known.iter().filter(sized).any(|known| known.bytes.starts_with(&content)) {
            return Ok(());
        }
        let same = |known: &Known| known.bytes.iter().zip(&content).take_while(|(a, b)| a == b).count();
        let best = self.known.iter().filter(sized).map(same).max();
        let seen = format!("resumed at {resumed}, of which only {best:?} bytes are the image's");
        Err((Invariant::ResumedBytesAreRight, seen))
    }

    /// The device was reset, or power went away.
    pub(super) fn went_down(&mut self) {
        if let Some(told) = self.told.take() {
            self.expected = Some(told);
        }
        self.recovered = false;
        self.decoder = Decoder::new();
    }

    /// Somebody else was lent the slot, and may have installed something since.
    pub(super) fn visited(&mut self) {
        self.visited = true;
    }

    /// Somebody else wrote into the secondary slot: nothing that was promised about it holds.
    pub(super) fn void(&mut self) {
        self.told = None;
        self.expected = None;
    }

    /// Something that the device noted.
    pub(super) fn noted(&mut self, note: &Note, device: &mut Device<RamStore>) -> Finding {
        match note {
            Note::Booted { booted, .. } => self.booted(booted),
            Note::RequestUpgrade { image_hash, .. } => self.requested(image_hash, device),
            Note::RequestFailed(_) => {
                self.failed_requests += 1;
                Ok(())
            }
            Note::Event(_) | Note::Confirmed | Note::SelfTest(_) => Ok(()),
        }
    }

    fn booted(&mut self, booted: &Booted) -> Finding {
        // A reset that nobody announced is one too.
        self.went_down();
        let Some(running) = booted.running else {
            return Err((Invariant::RunningImageStaysIntact, "nothing starts any more".into()));
        };
        if self.named(&running.hash).is_none() {
            let seen = format!("an unknown image of {} bytes runs", running.extent.total());
            return Err((Invariant::RunningImageStaysIntact, seen));
        }
        if let Some(refusal) = booted.refused
            && !self.failures
        {
            return Err((Invariant::VerifiedImageIsTaken, format!("{refusal:?}")));
        }
        self.boots.push(Boot {
            running: running.hash,
            swapped: booted.swapped,
            refused: booted.refused.is_some(),
        });
        if booted.swapped.is_some() || booted.refused.is_some() {
            // What was in the secondary slot was used up, as it was meant to be.
            self.expected = None;
        }
        Ok(())
    }

    /// The bootloader is asked to install what is in the secondary slot now.
    fn requested(&mut self, hash: &[u8; 32], device: &mut Device<RamStore>) -> Finding {
        let at = device.options().config.layout.image_offset;
        let Some(known) = self.named(hash) else {
            return Err((Invariant::NothingUnverifiedIsActivated, "an image that nobody sent".into()));
        };
        let content = image::inspect(device.flash_mut(), Area::Secondary, at, known.bytes.len() as u32);
        if content.as_ref() != Ok(&known.bytes) {
            let seen = "what is in flash is not what was sent".into();
            return Err((Invariant::NothingUnverifiedIsActivated, seen));
        }
        let attempt = newest_attempt(device);
        self.requests.push(Request { attempt, target: *hash, boots: self.boots.len() });
        Ok(())
    }

    /// A frame that the device sends.
    pub(super) fn sent(&mut self, frame: &[u8], device: &mut Device<RamStore>) -> Finding {
        let mut told = Ok(());
        let mut decoder = core::mem::take(&mut self.decoder);
        for byte in frame {
            if let Some(Ok(packet)) = decoder.push(*byte) {
                match Message::decode(packet.payload) {
                    Ok(Message::OtaStatus(status)) => {
                        let receiving = matches!(status.state, OtaState::Receiving | OtaState::Received);
                        if let (Some(told), Some(offset), true) = (&mut self.told, status.offset, receiving) {
                            told.acknowledged = told.acknowledged.max(offset);
                        }
                    }
                    Ok(Message::Extension(Extension::Info(info))) => self.named = Some(info.image_hash),
                    Ok(Message::Extension(Extension::Outcome(report))) if report.index == 0 => {
                        told = self.check_outcome(&report, device);
                    }
                    _ => {}
                }
            }
        }
        self.decoder = decoder;
        told
    }

    /// What the device says of its newest attempt, against what happened.
    fn check_outcome(&mut self, report: &OutcomeReport, device: &mut Device<RamStore>) -> Finding {
        let bootloader = device.options().bootloader.clone();
        let Ok(swap_type) = bootloader.swap_type(&mut looked_at(device)) else { return Ok(()) };
        let Some(target) = report.target else {
            let none = report.outcome == Outcome::None && self.requests.is_empty();
            return self.told_true(none, report, "no target");
        };
        let running = self.boots.last().is_some_and(|boot| boot.running == target);
        // An attempt that was noted but cut before its request has no request.
        let request = self.requests.iter().find(|request| request.attempt == report.attempt);
        let since = request.map_or(&[][..], |request| &self.boots[request.boots..]);
        let ran = since.iter().any(|boot| boot.running == target);
        let truth = match report.outcome {
            Outcome::None => false,
            // A request that failed is open until the next boot settles it.
            Outcome::Pending => {
                matches!(swap_type, SwapType::Test | SwapType::Perm) || self.failed_requests > 0
            }
            Outcome::UnderTest => running && ran && swap_type == SwapType::Revert,
            // What was confirmed stays so on record when somebody else installs another image.
            Outcome::Confirmed if self.visited => ran,
            Outcome::Confirmed => running && ran && swap_type == SwapType::None,
            Outcome::Reverted => !running && ran,
            Outcome::Refused => !running && !ran && since.iter().any(|boot| boot.refused),
            Outcome::NotAttempted => !running && !ran,
            Outcome::Unknown => {
                self.unknown_outcomes += 1;
                true
            }
        };
        self.told_true(truth, report, &format!("running: {running}, next boot: {swap_type:?}"))
    }

    fn told_true(&self, truth: bool, report: &OutcomeReport, why: &str) -> Finding {
        if truth {
            return Ok(());
        }
        let boots: Vec<_> = self.boots.iter().map(|boot| (boot.swapped, boot.running[0])).collect();
        let seen = format!("{:?} of attempt {}, {why}; boots {boots:02x?}", report.outcome, report.attempt);
        Err((Invariant::OutcomeIsTrue, seen))
    }

    /// The image ran, and later a revert took it away.
    fn was_reverted(&self, target: &[u8; 32]) -> bool {
        let ran = self.boots.iter().position(|boot| boot.running == *target);
        ran.is_some_and(|at| self.boots[at..].iter().any(|boot| boot.swapped == Some(SwapType::Revert)))
    }

    /// What a sender reports, against what is so at that moment.
    pub(super) fn reported(
        &mut self,
        report: &Report,
        target: &[u8; 32],
        device: &mut Device<RamStore>,
    ) -> Finding {
        let bootloader = device.options().bootloader.clone();
        let swap_type = bootloader.swap_type(&mut looked_at(device)).unwrap_or(SwapType::None);
        let running = self.boots.last().is_some_and(|boot| boot.running == *target);
        let ran = self.boots.iter().any(|boot| boot.running == *target);
        let truth = match report.completion {
            // Somebody else may install another image between the device's last word and the sender's.
            Completion::Confirmed if self.visited => ran && self.named == Some(*target),
            Completion::Confirmed | Completion::AlreadyRunning { confirmed: true } => {
                running && swap_type != SwapType::Revert
            }
            Completion::AlreadyRunning { confirmed: false } | Completion::UnderTest => running || ran,
            Completion::Reverted => !running && self.was_reverted(target),
            Completion::RefusedByBootloader => !running && self.boots.iter().any(|boot| boot.refused),
            Completion::NotAttempted => !running,
            Completion::Activated => self.requests.iter().any(|request| request.target == *target),
            Completion::Verified
            | Completion::Unknown
            | Completion::Untold
            | Completion::Status
            | Completion::Aborted => true,
        };
        if truth {
            return Ok(());
        }
        let seen =
            format!("the sender says {:?}; running: {running}, next boot: {swap_type:?}", report.completion);
        Err((Invariant::OutcomeIsTrue, seen))
    }

    /// Whether the image runs although nothing confirmed it and nothing will revert it. Power was cut while the
    /// bootloader wrote *copy done*: what stands there is neither set nor erased, and MCUboot takes the swap for no
    /// swap at all.
    pub(super) fn stranded(&self, target: &[u8; 32], device: &mut Device<RamStore>) -> bool {
        let bootloader = device.options().bootloader.clone();
        let torn =
            bootloader.primary_state(&mut looked_at(device)).is_ok_and(|state| state.copy_done == Flag::Bad);
        torn && self.installed(target, device)
    }

    /// Whether the image runs, and will after a reset.
    pub(super) fn installed(&self, target: &[u8; 32], device: &mut Device<RamStore>) -> bool {
        let bootloader = device.options().bootloader.clone();
        let stays = bootloader.swap_type(&mut looked_at(device)) == Ok(SwapType::None);
        stays && self.boots.last().is_some_and(|boot| boot.running == *target)
    }
}

/// The chip as it is now, to look at: looking changes nothing and nothing that is planned happens to it.
fn looked_at(device: &Device<RamStore>) -> NorFlash {
    let mut flash = device.flash().clone();
    flash.clear_plans();
    flash.power_on();
    flash
}

/// The highest number among the attempts in the journal: records of three blocks of 32 bytes that begin with kind 5,
/// length 3 and two reserved bytes, go on with the number, and end with the CRC-32 of what is before it.
fn newest_attempt(device: &mut Device<RamStore>) -> u32 {
    let size = device.flash().geometry().journal.size();
    let journal = image::inspect(device.flash_mut(), Area::Journal, 0, size).unwrap_or_default();
    let attempt = |block: &[u8]| {
        let (content, crc) = block.split_last_chunk::<4>()?;
        match content {
            [5, 3, 0xFF, 0xFF, a, b, c, d, ..] if crc32(content) == u32::from_le_bytes(*crc) => {
                Some(u32::from_le_bytes([*a, *b, *c, *d]))
            }
            _ => None,
        }
    };
    journal.windows(96).step_by(32).filter_map(attempt).max().unwrap_or(0)
}

/// CRC-32 as in zip files, one bit at a time.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// MCUboot's hash of one of the world's images.
pub(super) fn image_hash(image: &[u8]) -> [u8; 32] {
    image::digest(&image[..image.len() - TLVS])
}
