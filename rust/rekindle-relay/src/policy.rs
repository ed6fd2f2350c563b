// SPDX-License-Identifier: Apache-2.0
//! Which image may go to which appliance.
//!
//! Two proofs lead to a bus, and only this module makes them. [`Approved`]: the image in the store was read back in
//! this run of the controller and is whole, right and signed by a trusted key (or root mode lets it pass).
//! [`Release`]: an approved image may go to one appliance. A transfer cannot be made without a release
//! ([`crate::forward`]), and neither proof outlives the run, a change of keys, or a change of root mode.

use fusain::{Constraint, Version};
use mcuboot_image::key::PublicKey;
use mcuboot_image::{ImageVersion, Summary};

use crate::root::RootMode;

/// Most keys that can be trusted at once.
pub const KEYS_MAX: usize = 4;

/// A key whose signature releases images, unless the same key is revoked anywhere among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// It is not trusted any more.
    pub revoked: bool,
}

/// The keys that are trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    keys: [Option<TrustedKey>; KEYS_MAX],
}

impl Keys {
    /// Trusts these keys; `None` if there are more than [`KEYS_MAX`].
    #[must_use]
    pub fn new(keys: &[TrustedKey]) -> Option<Self> {
        let mut all = Self::default();
        if keys.len() > KEYS_MAX {
            return None;
        }
        for (place, key) in all.keys.iter_mut().zip(keys) {
            *place = Some(*key);
        }
        Some(all)
    }

    /// The trusted key at or behind place `from` that is not revoked, and its place.
    pub(crate) fn from(&self, from: usize) -> Option<(usize, &PublicKey)> {
        let places = self.keys.iter().enumerate().skip(from);
        places
            .filter_map(|(place, key)| key.as_ref().map(|key| (place, &key.key)))
            .find(|(_, key)| !self.is_revoked(key))
    }

    /// The key is not trusted any more, whatever else is said of it.
    fn is_revoked(&self, key: &PublicKey) -> bool {
        self.keys.iter().flatten().any(|known| known.revoked && known.key == *key)
    }
}

/// What images an appliance takes: its vendor and class, where they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// MCUboot vendor UUID that an image must name.
    pub vendor: Option<[u8; 16]>,
    /// MCUboot class UUID that an image must name.
    pub class: Option<[u8; 16]>,
}

/// What is known of an appliance that an image is to go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receiving {
    pub(crate) target: Target,
    /// The version it runs, if it told.
    pub(crate) running: Option<Version>,
    /// The highest security counter that is known to have been installed.
    pub(crate) counter: u32,
}

/// The image in the store, read back and judged: the proof without which nothing of it is sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Approved {
    size: u32,
    digest: [u8; 32],
    summary: Summary,
    unsigned: bool,
}

/// Permission to bring the approved image to one appliance.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    size: u32,
    digest: [u8; 32],
    image_hash: [u8; 32],
}

impl Approved {
    /// Made at the end of a judgement, by what it found.
    pub(crate) fn judge(
        size: u32,
        digest: [u8; 32],
        summary: &Summary,
        signed: bool,
        root: &RootMode,
    ) -> Result<Self, Constraint> {
        if !signed && !root.is_on() {
            return Err(Constraint::SignatureInvalid);
        }
        Ok(Self { size, digest, summary: *summary, unsigned: !signed })
    }

    /// Allows the image for one appliance.
    pub(crate) fn release(&self, to: &Receiving, root: &RootMode) -> Result<Release, Constraint> {
        let wanted =
            |device: &Option<[u8; 16]>, image: &Option<[u8; 16]>| device.is_none() || device == image;
        if !wanted(&to.target.vendor, &self.summary.vendor) || !wanted(&to.target.class, &self.summary.class)
        {
            return Err(Constraint::HeaderInvalid);
        }
        let older = to.running.is_some_and(|running| is_older(self.version(), running));
        let counter = self.summary.security_counter.unwrap_or(0);
        if (older || counter < to.counter) && !root.allows_downgrade() {
            return Err(Constraint::VersionDowngrade);
        }
        Ok(Release { size: self.size, digest: self.digest, image_hash: self.summary.image_hash })
    }

    /// Version in the image's header.
    #[must_use]
    pub fn version(&self) -> Version {
        let ImageVersion { major, minor, revision, build } = self.summary.header.version;
        Version { major, minor, revision, build }
    }

    /// MCUboot's hash of the image.
    #[must_use]
    pub fn image_hash(&self) -> &[u8; 32] {
        &self.summary.image_hash
    }

    /// The image's security counter, 0 if it has none.
    #[must_use]
    pub fn counter(&self) -> u32 {
        self.summary.security_counter.unwrap_or(0)
    }

    /// No trusted key has signed it: root mode lets it pass.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        self.unsigned
    }
}

impl Release {
    pub(crate) const fn size(&self) -> u32 {
        self.size
    }

    pub(crate) const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    pub(crate) const fn image_hash(&self) -> &[u8; 32] {
        &self.image_hash
    }
}

/// Versions order by major, minor and revision (PROTOCOL.md §5.2).
pub(crate) fn is_older(version: Version, running: Version) -> bool {
    (version.major, version.minor, version.revision) < (running.major, running.minor, running.revision)
}
