// SPDX-License-Identifier: Apache-2.0
//! The image on the controller: what it is, and how much of it is there for good.

use fusain::Version;

use crate::record::Checksum;

/// The one image that the controller takes, keeps and forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) size: u32,
    pub(crate) digest: [u8; 32],
    /// As START announced it.
    pub(crate) version: Option<Version>,
    /// Bytes that a power cut leaves, and their CRC-32.
    pub(crate) durable: u32,
    pub(crate) durable_crc: u32,
    /// Bytes that the store has taken, and their CRC-32.
    pub(crate) flushed: u32,
    pub(crate) crc: Checksum,
    /// Bytes of the buffer in use.
    pub(crate) fill: usize,
}

impl Session {
    /// A session of which nothing has come.
    pub(crate) const fn new(size: u32, digest: [u8; 32], version: Option<Version>) -> Self {
        Self::recorded(size, digest, version, 0, Checksum::new().value())
    }

    /// A session as the state file has it.
    pub(crate) const fn recorded(
        size: u32,
        digest: [u8; 32],
        version: Option<Version>,
        durable: u32,
        durable_crc: u32,
    ) -> Self {
        let crc = Checksum::resume(durable_crc);
        Self { size, digest, version, durable, durable_crc, flushed: durable, crc, fill: 0 }
    }

    /// Next expected offset: everything before it is acknowledged.
    pub(crate) fn next(&self) -> u32 {
        self.flushed.saturating_add(u32::try_from(self.fill).unwrap_or(0))
    }

    /// Every byte is there for good.
    pub(crate) const fn complete(&self) -> bool {
        self.durable == self.size
    }

    pub(crate) fn is(&self, size: u32, digest: &[u8; 32]) -> bool {
        self.size == size && self.digest == *digest
    }

    /// Nothing of it is there: it begins anew.
    pub(crate) fn restart(&mut self) {
        *self = Self::new(self.size, self.digest, self.version);
    }
}
