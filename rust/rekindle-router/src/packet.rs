// SPDX-License-Identifier: Apache-2.0
//! A frame's content on its way through the daemon.

use fusain::{Address, FRAME_MAX, PAYLOAD_MAX, encode_frame};

/// Address and payload, without an allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) address: Address,
    len: usize,
    bytes: [u8; PAYLOAD_MAX],
}

impl Packet {
    /// `None` for a payload that is longer than a frame carries.
    pub(crate) fn new(address: Address, payload: &[u8]) -> Option<Self> {
        let mut bytes = [0; PAYLOAD_MAX];
        bytes.get_mut(..payload.len())?.copy_from_slice(payload);
        Some(Self { address, len: payload.len(), bytes })
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The frame, in `out`.
    pub(crate) fn frame<'a>(&self, out: &'a mut [u8; FRAME_MAX]) -> &'a [u8] {
        let len = encode_frame(self.address, self.payload(), out).unwrap_or(0);
        out.get(..len).unwrap_or_default()
    }
}
