// SPDX-License-Identifier: Apache-2.0
//! VERIFY: the image is read back from flash, once, and judged by what stands there.

use super::command::{Continuation, invalid_image};
use super::job::{Job, JobOp};
use super::{DowngradePolicy, Event, Receiver, activate};
use crate::journal::record::Record;
use crate::port::{Area, READ_MAX};
use fusain::{Constraint, OtaState, Version};
use mcuboot_image::digest::Sha256;
use mcuboot_image::{ImageVersion, Scan, Summary};

/// Proof that the image in the secondary slot was read back in this boot and found right: structure, both
/// digests, target, version policy. Only the receiver makes one, and only one can be activated
/// (ARCHITECTURE.md, decision 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    summary: Summary,
    hash: [u8; 32],
}

impl Verified {
    /// What the image says about itself.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// MCUboot's hash of the image (header, body and protected TLVs), computed from flash.
    #[must_use]
    pub fn image_hash(&self) -> &[u8; 32] {
        &self.hash
    }
}

/// What the verification does next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Walk header and TLVs.
    Scan(Scan),
    /// Hash the image from this offset on.
    Hash { summary: Summary, offset: u32, whole: Sha256, image: Option<[u8; 32]> },
    /// Everything is right and noted: give the proof.
    Prove { summary: Summary, hash: [u8; 32] },
}

impl Step {
    /// Nothing read yet.
    pub(super) fn begin(image_size: u32) -> Self {
        Self::Scan(Scan::new(image_size))
    }
}

impl Receiver {
    pub(super) fn run_verify(&mut self, step: Step, then: Continuation) {
        let base = self.config.layout.image_offset;
        match step {
            Step::Scan(scan) => match scan.step() {
                mcuboot_image::Step::Read { offset, len } => {
                    self.op = Some(read(base, offset, len));
                    self.job = Job::Verify { step: Step::Scan(scan), then };
                }
                mcuboot_image::Step::Done => self.scanned(&scan, then),
            },
            Step::Hash { summary, offset, whole, image } => {
                let size = self.transfer.as_ref().map_or(0, |t| t.size);
                if offset < size {
                    // A read ends where MCUboot's hash ends, so that one pass serves both digests.
                    let stop = if offset < summary.hashed_len { summary.hashed_len } else { size };
                    let len = stop.saturating_sub(offset).min(u32::try_from(READ_MAX).unwrap_or(1));
                    self.op = Some(read(base, offset, len));
                    self.job = Job::Verify { step: Step::Hash { summary, offset, whole, image }, then };
                } else {
                    self.hashed(summary, whole.finalize(), image, then);
                }
            }
            Step::Prove { summary, hash } => self.proved(summary, hash, then),
        }
    }

    pub(super) fn verify_read(&mut self, step: Step, then: Continuation, bytes: &[u8]) {
        match step {
            Step::Scan(mut scan) => {
                if scan.feed(bytes).is_err() {
                    return self.refuse_image(Constraint::HeaderInvalid);
                }
                self.job = Job::Verify { step: Step::Scan(scan), then };
            }
            Step::Hash { summary, offset, mut whole, mut image } => {
                whole.update(bytes);
                let offset = offset.saturating_add(u32::try_from(bytes.len()).unwrap_or(0));
                if offset == summary.hashed_len {
                    image = Some(whole.clone().finalize());
                }
                self.job = Job::Verify { step: Step::Hash { summary, offset, whole, image }, then };
            }
            Step::Prove { .. } => self.job = Job::Verify { step, then },
        }
    }

    /// The structure is sound: is it the image that was announced, for this device?
    fn scanned(&mut self, scan: &Scan, then: Continuation) {
        let (Ok(summary), Some(transfer)) = (scan.finish(), &self.transfer) else {
            return self.refuse_image(Constraint::HeaderInvalid);
        };
        let version = wire_version(summary.header.version);
        // A padded image would carry its own boot request in the trailer.
        let sized = summary.total_len == transfer.size;
        let announced = transfer.version.is_none_or(|v| v == version);
        let vendor = self.config.vendor.is_none_or(|id| summary.vendor == Some(id));
        let class = self.config.class.is_none_or(|id| summary.class == Some(id));
        if !(sized && announced && vendor && class) {
            return self.refuse_image(Constraint::HeaderInvalid);
        }
        let older = summary.header.version.cmp_release(&image_version(self.running.version)).is_lt();
        if older && self.config.downgrade == DowngradePolicy::Refuse {
            return self.refuse_image(Constraint::VersionDowngrade);
        }
        self.job =
            Job::Verify { step: Step::Hash { summary, offset: 0, whole: Sha256::new(), image: None }, then };
    }

    fn hashed(&mut self, summary: Summary, whole: [u8; 32], image: Option<[u8; 32]>, then: Continuation) {
        let announced = self.transfer.as_ref().map(|t| t.digest);
        if announced != Some(whole) || image != Some(summary.image_hash) {
            return self.refuse_image(Constraint::HashMismatch);
        }
        self.job = Job::Verify { step: Step::Prove { summary, hash: whole_image(image) }, then };
        if !self.journal.ledger().verified {
            self.journal.append(Record::Verified);
        }
    }

    fn proved(&mut self, summary: Summary, hash: [u8; 32], then: Continuation) {
        let version = wire_version(summary.header.version);
        self.proof = Some(Verified { summary, hash });
        if let Some(transfer) = &mut self.transfer {
            transfer.state = OtaState::Verified;
            transfer.version = Some(version);
        }
        self.event(Event::Verified { version });
        match then {
            Continuation::Report => {
                self.reply = Some(self.status());
            }
            Continuation::Activate { mode, reboot } => {
                self.job = Job::Activate(activate::Step::Note { mode, reboot });
            }
        }
    }

    /// The image as received can never be installed: the session ends.
    fn refuse_image(&mut self, constraint: Constraint) {
        self.close(Some(invalid_image(constraint)));
    }
}

fn whole_image(image: Option<[u8; 32]>) -> [u8; 32] {
    image.unwrap_or_default()
}

fn read(base: u32, offset: u32, len: u32) -> JobOp {
    JobOp::Read { area: Area::Secondary, offset: base.saturating_add(offset), len }
}

/// The image header's version as the wire carries it.
pub(super) fn wire_version(v: ImageVersion) -> Version {
    Version { major: v.major, minor: v.minor, revision: v.revision, build: v.build }
}

fn image_version(v: Version) -> ImageVersion {
    ImageVersion { major: v.major, minor: v.minor, revision: v.revision, build: v.build }
}
