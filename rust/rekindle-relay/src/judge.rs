// SPDX-License-Identifier: Apache-2.0
//! Reads the stored image back and judges it: structure, size, version, both digests, then the signature by each
//! trusted key in turn. At most one page is in memory.

use fusain::{Constraint, Version};
use mcuboot_image::digest::Sha256;
use mcuboot_image::{SIGNATURE_MAX, Scan, SignatureRef, Step as ScanStep};

use crate::policy::{Approved, Keys};
use crate::port::STORE_MAX_U32;
use crate::root::RootMode;
use crate::session::Session;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Walk header and TLVs.
    Structure,
    /// Hash from this offset on.
    Hash { offset: u32 },
    /// Look for the signature by the key at this place.
    Find { place: usize },
    /// Read that signature and check it.
    Check { place: usize, at: SignatureRef },
    /// The verdict.
    Over(Result<bool, Constraint>),
}

/// What a judgement asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// These bytes of the image.
    Read { offset: u32, len: u32 },
    /// Nothing: it is decided.
    Verdict(Result<Approved, Constraint>),
}

/// A judgement under way.
#[derive(Debug)]
pub(crate) struct Judge {
    size: u32,
    digest: [u8; 32],
    version: Option<Version>,
    step: Step,
    scan: Scan,
    /// The walk of the structure, once done; further walks look for signatures.
    summary: Option<mcuboot_image::Summary>,
    whole: Sha256,
    image_right: bool,
}

impl Judge {
    pub(crate) fn new(session: &Session) -> Self {
        Self {
            size: session.size,
            digest: session.digest,
            version: session.version,
            step: Step::Structure,
            scan: Scan::new(session.size),
            summary: None,
            whole: Sha256::new(),
            image_right: false,
        }
    }

    /// Says what comes next; a read stays the same until it is fed.
    pub(crate) fn next(&mut self, keys: &Keys, root: &RootMode) -> Asks {
        loop {
            match self.step {
                Step::Structure => match self.scan.step() {
                    ScanStep::Read { offset, len } => return Asks::Read { offset, len },
                    ScanStep::Done => self.step = self.structure(),
                },
                Step::Hash { offset } if offset < self.size => {
                    // A read ends where MCUboot's hash ends, so that one pass serves both digests.
                    let hashed_len = self.summary.map_or(0, |summary| summary.hashed_len);
                    let stop = if offset < hashed_len { hashed_len } else { self.size };
                    return Asks::Read { offset, len: stop.saturating_sub(offset).min(STORE_MAX_U32) };
                }
                Step::Hash { .. } => self.step = self.hashed(keys),
                Step::Find { place } => match self.scan.step() {
                    ScanStep::Read { offset, len } => return Asks::Read { offset, len },
                    ScanStep::Done => self.step = self.found(place, keys),
                },
                Step::Check { at, .. } => {
                    return Asks::Read { offset: at.offset, len: u32::from(at.len) };
                }
                Step::Over(verdict) => {
                    let verdict = verdict.and_then(|signed| {
                        let summary = self.summary.as_ref().ok_or(Constraint::HeaderInvalid)?;
                        Approved::judge(self.size, self.digest, summary, signed, root)
                    });
                    return Asks::Verdict(verdict);
                }
            }
        }
    }

    /// Takes the bytes of the last read.
    pub(crate) fn feed(&mut self, bytes: &[u8], keys: &Keys) {
        match &mut self.step {
            Step::Structure => {
                if self.scan.feed(bytes).is_err() {
                    self.step = Step::Over(Err(Constraint::HeaderInvalid));
                }
            }
            Step::Hash { offset } => {
                self.whole.update(bytes);
                *offset = offset.saturating_add(u32::try_from(bytes.len()).unwrap_or(0));
                if let Some(summary) = self.summary.filter(|summary| summary.hashed_len == *offset) {
                    self.image_right = self.whole.clone().finalize() == summary.image_hash;
                }
                // A file that ends too early gives no bytes, and so another digest.
                if bytes.is_empty() {
                    self.step = Step::Over(Err(Constraint::HashMismatch));
                }
            }
            Step::Find { place } => {
                let place = *place;
                if self.scan.feed(bytes).is_err() {
                    self.step = self.seek(place.saturating_add(1), keys);
                }
            }
            Step::Check { place, .. } => {
                let place = *place;
                let hash = self.summary.map(|summary| summary.image_hash).unwrap_or_default();
                let signed = keys
                    .from(place)
                    .is_some_and(|(found, key)| found == place && key.verify(&hash, bytes).is_ok());
                self.step =
                    if signed { Step::Over(Ok(true)) } else { self.seek(place.saturating_add(1), keys) };
            }
            Step::Over(_) => {}
        }
    }

    /// The structure is sound: is it the image that was announced?
    fn structure(&mut self) -> Step {
        let Some(summary) = self.scan.summary().copied() else {
            return Step::Over(Err(Constraint::HeaderInvalid));
        };
        let v = summary.header.version;
        let version = Version { major: v.major, minor: v.minor, revision: v.revision, build: v.build };
        if summary.total_len != self.size || self.version.is_some_and(|announced| announced != version) {
            return Step::Over(Err(Constraint::HeaderInvalid));
        }
        self.summary = Some(summary);
        Step::Hash { offset: 0 }
    }

    fn hashed(&mut self, keys: &Keys) -> Step {
        if self.whole.clone().finalize() != self.digest || !self.image_right {
            return Step::Over(Err(Constraint::HashMismatch));
        }
        self.seek(0, keys)
    }

    /// Looks for a signature by the first key from `place` on; without one left, there is none.
    fn seek(&mut self, place: usize, keys: &Keys) -> Step {
        match keys.from(place) {
            Some((place, key)) => {
                self.scan = Scan::for_key(self.size, key.key_hash());
                Step::Find { place }
            }
            None => Step::Over(Ok(false)),
        }
    }

    fn found(&mut self, place: usize, keys: &Keys) -> Step {
        let signature = self.scan.summary().and_then(|summary| summary.signature);
        let kind = keys.from(place).map(|(_, key)| key.signature_kind());
        match signature {
            Some(at) if Some(at.kind) == kind && usize::from(at.len) <= SIGNATURE_MAX => {
                Step::Check { place, at }
            }
            _ => self.seek(place.saturating_add(1), keys),
        }
    }
}
