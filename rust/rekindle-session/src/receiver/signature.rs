// SPDX-License-Identifier: Apache-2.0
//! The signature, where keys are configured: it is looked for in the walk over the TLVs, and checked when the digests
//! are right (PROTOCOL.md, `OTA_VERIFY`).
//!
//! The arithmetic is the driver's: an accelerator, a library in C or in Rust. The core reads the signature from flash,
//! and what comes of it when the driver says no.

use super::job::{Job, JobOp};
use super::{Output, Receiver, verify};
use fusain::Constraint;
use mcuboot_image::{SIGNATURE_MAX, Scan, SignatureKind};

/// A signature to be checked, and what it is said to be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The key that it must be by: its place in [`Config::keys`](super::Config::keys).
    pub key: usize,
    /// MCUboot's hash of the image (header, body, protected TLVs), as computed from flash.
    pub image_hash: &'a [u8; 32],
    /// Algorithm that the image names; another one than the key's is wrong.
    pub kind: SignatureKind,
    /// Bytes of the TLV, at most [`SIGNATURE_MAX`]; nothing was checked but their number.
    pub signature: &'a [u8],
}

impl Receiver {
    /// Begins the walk that also looks for the signature by the key at `place`.
    pub(super) fn begin_signed_scan(&mut self, place: usize, limit: u32) {
        self.key = place;
        self.begin_scan(limit);
        if let Some(hash) = self.config.keys.get(place) {
            self.scan = Some(Scan::for_key(limit, *hash));
        }
    }

    /// A walk is over: whether there is a further key to walk for, because this one signed nothing. After the last one
    /// the verification goes on, so that whatever else is wrong with the image is named first.
    pub(super) fn other_key(&mut self) -> bool {
        let unsigned = self.summary().is_some_and(|summary| summary.signature.is_none());
        let place = self.key.saturating_add(1);
        if !unsigned || place >= self.config.keys.len() {
            return false;
        }
        let size = self.transfer.as_ref().map_or(0, |t| t.size);
        self.begin_signed_scan(place, size);
        self.job = Job::Verify(verify::Step::Scan);
        true
    }

    /// Where in the image the signature lies, if one of the keys is named and it can be read at once.
    pub(super) fn signature_place(&self) -> Option<(u32, u32)> {
        let at = self.summary()?.signature?;
        (usize::from(at.len) <= SIGNATURE_MAX).then_some((at.offset, u32::from(at.len)))
    }

    /// The signature was read. It waits in the buffer, which is empty since the image is complete.
    pub(super) fn signature_read(&mut self, bytes: &[u8]) {
        let Some(place) = self.buffer.get_mut(..bytes.len()) else { return };
        place.copy_from_slice(bytes);
        self.op = Some(JobOp::CheckSignature { len: bytes.len() });
    }

    /// What the driver is asked.
    pub(super) fn signed(&self, len: usize) -> Output<'_> {
        let found = self.summary().and_then(|summary| Some((summary, summary.signature?.kind)));
        // `signature_place` has found both, and nothing has touched the walk since.
        let Some((summary, kind)) = found else { return Output::Wait { until_ms: None } };
        let signature = self.buffer.get(..len).unwrap_or_default();
        Output::CheckSignature(Signed { key: self.key, image_hash: &summary.image_hash, kind, signature })
    }

    /// Answers the last [`Output::CheckSignature`]. A signature that names a trusted key and is not right ends the
    /// session, whatever other signatures there are.
    pub fn signature_done(&mut self, right: bool) {
        if !matches!(self.op, Some(JobOp::CheckSignature { .. })) {
            return;
        }
        self.op = None;
        if right {
            self.note_verified();
        } else {
            self.refuse_image(Constraint::SignatureInvalid);
        }
    }
}
