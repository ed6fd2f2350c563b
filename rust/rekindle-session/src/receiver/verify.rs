// SPDX-License-Identifier: Apache-2.0
//! VERIFY: the image is read back from flash, once, and judged by what stands there.

use super::job::{Job, JobOp};
use super::{DowngradePolicy, Event, Receiver, activate};
use crate::journal::record::KIND_VERIFIED;
use crate::port::{Area, READ_MAX_U32};
use fusain::{Constraint, OtaState, Version};
use mcuboot_image::digest::Sha256;
use mcuboot_image::{ImageVersion, Scan, Summary};

/// Proof that the image in the secondary slot was read back in this boot and found right: structure, both
/// digests, target, version policy, and the signature where keys are configured. Only the receiver makes one, and only one can be activated
/// (ARCHITECTURE.md, decision 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    summary: Summary,
}

impl Verified {
    /// What the image says about itself.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// MCUboot's hash of the image (header, body and protected TLVs): the one it claims, which is the one
    /// computed from flash.
    #[must_use]
    pub fn image_hash(&self) -> &[u8; 32] {
        &self.summary.image_hash
    }
}

/// What the verification does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Walk header and TLVs, with the receiver's scan.
    Scan,
    /// Hash the image, from where that has come to.
    Hash,
    /// Read the signature and have it checked.
    #[cfg(feature = "signature")]
    Signature,
    /// Everything is right and noted: give the proof.
    Prove,
}

/// The hashes of a verification.
#[derive(Clone, Debug)]
pub(super) struct Hashing {
    /// So many bytes were read.
    offset: u32,
    /// Over all of them.
    whole: Sha256,
    /// The image's own hash was reached, and is right.
    image_right: bool,
}

impl Receiver {
    /// Begins to read the image back; with `activating`, for an activation that goes on after that.
    pub(super) fn begin_verify(&mut self, activating: bool) {
        self.activating = activating;
        let size = self.transfer.as_ref().map_or(0, |t| t.size);
        #[cfg(feature = "signature")]
        self.begin_signed_scan(0, size);
        #[cfg(not(feature = "signature"))]
        self.begin_scan(size);
        self.job = Job::Verify(Step::Scan);
    }

    /// Begins a walk over header and TLVs of an image of at most `limit` bytes.
    #[inline(never)]
    pub(super) fn begin_scan(&mut self, limit: u32) {
        self.scan = Some(Scan::new(limit));
    }

    /// Opens the next read of the walk over an image that lies at `base` of an area; `false` when the walk is over.
    #[inline(never)]
    pub(super) fn walk(&mut self, area: Area, base: u32) -> bool {
        let Some(mcuboot_image::Step::Read { offset, len }) = self.scan.as_ref().map(Scan::step) else {
            return false;
        };
        self.op = Some(JobOp::Read { area, offset: base.wrapping_add(offset), len });
        true
    }

    /// What the walk found, if it came to the end.
    pub(super) fn summary(&self) -> Option<&Summary> {
        self.scan.as_ref()?.summary()
    }

    pub(super) fn run_verify(&mut self, step: Step) {
        let (offset, len) = match step {
            Step::Scan => {
                self.job = Job::Verify(step);
                if !self.walk(Area::Secondary, self.config.layout.image_offset) {
                    self.scanned();
                }
                return;
            }
            Step::Hash => {
                let offset = self.hashing.as_ref().map_or(0, |h| h.offset);
                let size = self.transfer.as_ref().map_or(0, |t| t.size);
                if offset >= size {
                    return self.hashed();
                }
                // A read ends where MCUboot's hash ends, so that one pass serves both digests.
                let hashed_len = self.summary().map_or(0, |s| s.hashed_len);
                let stop = if offset < hashed_len { hashed_len } else { size };
                (offset, stop.saturating_sub(offset).min(READ_MAX_U32))
            }
            #[cfg(feature = "signature")]
            Step::Signature => match self.signature_place() {
                Some(place) => place,
                None => return self.refuse_image(Constraint::SignatureInvalid),
            },
            Step::Prove => return self.proved(),
        };
        self.job = Job::Verify(step);
        self.read_slot(offset, len);
    }

    pub(super) fn verify_read(&mut self, step: Step, bytes: &[u8]) {
        if step == Step::Scan {
            if self.scan.as_mut().is_some_and(|scan| scan.feed(bytes).is_err()) {
                self.refuse_image(Constraint::HeaderInvalid);
            }
            return;
        }
        #[cfg(feature = "signature")]
        if step == Step::Signature {
            return self.signature_read(bytes);
        }
        let Some(hashing) = &mut self.hashing else { return };
        hashing.whole.update(bytes);
        hashing.offset = hashing.offset.wrapping_add(u32::try_from(bytes.len()).unwrap_or(0));
        if let Some(summary) = self.scan.as_ref().and_then(Scan::summary)
            && hashing.offset == summary.hashed_len
        {
            hashing.image_right = hashing.whole.value() == summary.image_hash;
        }
    }

    /// The structure is sound: is it the image that was announced, for this device?
    fn scanned(&mut self) {
        #[cfg(feature = "signature")]
        if self.other_key() {
            return;
        }
        let (Some(summary), Some(transfer)) = (self.summary(), &self.transfer) else {
            return self.refuse_image(Constraint::HeaderInvalid);
        };
        let version = summary.header.version;
        // A padded image would carry its own boot request in the trailer.
        let right = summary.total_len == transfer.size
            && transfer.version.is_none_or(|v| v == wire_version(version))
            && wanted(&self.config.vendor, &summary.vendor)
            && wanted(&self.config.class, &summary.class);
        if !right {
            return self.refuse_image(Constraint::HeaderInvalid);
        }
        let older = version.cmp_release(&image_version(self.running.version)).is_lt();
        if older && self.config.downgrade == DowngradePolicy::Refuse {
            return self.refuse_image(Constraint::VersionDowngrade);
        }
        self.hashing = Some(Hashing { offset: 0, whole: Sha256::new(), image_right: false });
        self.job = Job::Verify(Step::Hash);
    }

    fn hashed(&mut self) {
        let right = match (&self.hashing, &self.transfer) {
            (Some(hashing), Some(transfer)) => {
                hashing.image_right && hashing.whole.value() == transfer.digest
            }
            _ => false,
        };
        if !right {
            return self.refuse_image(Constraint::HashMismatch);
        }
        #[cfg(feature = "signature")]
        if !self.config.keys.is_empty() {
            self.job = Job::Verify(Step::Signature);
            return;
        }
        self.note_verified();
    }

    /// Nothing is wrong with the image: that is noted before it is said.
    #[cfg_attr(not(feature = "signature"), inline(always))]
    pub(super) fn note_verified(&mut self) {
        self.job = Job::Verify(Step::Prove);
        if !self.journal.ledger().verified {
            self.journal.append_mark(KIND_VERIFIED);
        }
    }

    fn proved(&mut self) {
        let summary = self.scan.as_ref().and_then(Scan::summary);
        let (Some(summary), Some(transfer)) = (summary, &mut self.transfer) else { return };
        let version = wire_version(summary.header.version);
        self.proof = Some(Verified { summary: *summary });
        transfer.version = Some(version);
        self.state = OtaState::Verified;
        self.event(Event::Verified { version });
        if self.activating {
            self.job = Job::Activate(activate::Step::Note);
        } else {
            self.answer_status();
        }
    }

    /// The image as received can never be installed: the session ends.
    pub(super) fn refuse_image(&mut self, constraint: Constraint) {
        self.refuse(None, constraint);
        self.close();
    }
}

/// The image names the identifier that this device asks for, if it asks for one.
fn wanted(device: &Option<[u8; 16]>, image: &Option<[u8; 16]>) -> bool {
    device.is_none() || device == image
}

/// The image header's version as the wire carries it.
pub(super) fn wire_version(v: ImageVersion) -> Version {
    Version { major: v.major, minor: v.minor, revision: v.revision, build: v.build }
}

fn image_version(v: Version) -> ImageVersion {
    ImageVersion { major: v.major, minor: v.minor, revision: v.revision, build: v.build }
}
