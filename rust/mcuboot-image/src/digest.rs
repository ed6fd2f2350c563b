// SPDX-License-Identifier: Apache-2.0
//! SHA-256, so that callers need not name the crate that computes it.
//!
//! That crate compresses the blocks; they are filled and padded here (FIPS 180-4, 5.1.1). Its own buffers, made for
//! any hash, would be a third of a kilobyte of a device's code.

use core::slice::from_ref;

use sha2::block_api::compress256;

/// Bytes of a block.
const BLOCK: u64 = 64;
/// Bytes of a block before the length that ends the last one.
const LENGTH_AT: usize = 56;

/// The state before the first block (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A SHA-256 being computed.
#[derive(Clone)]
pub struct Sha256 {
    state: [u32; 8],
    /// The block that is being filled.
    block: [u8; 64],
    /// Bytes taken in.
    length: u64,
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl Sha256 {
    /// Nothing hashed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: INITIAL, block: [0; 64], length: 0 }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.push(byte));
    }

    #[inline(never)]
    fn push(&mut self, byte: u8) {
        let at = self.filled();
        if let Some(place) = self.block.get_mut(at) {
            *place = byte;
        }
        self.length = self.length.wrapping_add(1);
        if self.filled() == 0 {
            compress256(&mut self.state, from_ref(&self.block));
        }
    }

    /// Bytes of the block that are filled.
    fn filled(&self) -> usize {
        usize::try_from(self.length % BLOCK).unwrap_or(0)
    }

    /// The hash of all bytes taken in.
    #[must_use]
    pub fn finalize(mut self) -> [u8; 32] {
        let bits = self.length.wrapping_mul(8);
        self.push(0x80);
        while self.filled() != LENGTH_AT {
            self.push(0);
        }
        bits.to_be_bytes().into_iter().for_each(|byte| self.push(byte));
        let mut hash = [0; 32];
        let (words, _) = hash.as_chunks_mut();
        words.iter_mut().zip(&self.state).for_each(|(to, from)| *to = from.to_be_bytes());
        hash
    }

    /// The hash of all bytes taken in so far.
    #[must_use]
    #[inline(never)]
    pub fn value(&self) -> [u8; 32] {
        self.clone().finalize()
    }

    /// The hash of `bytes`.
    #[must_use]
    pub fn digest(bytes: &[u8]) -> [u8; 32] {
        let mut hash = Self::new();
        hash.update(bytes);
        hash.finalize()
    }
}

impl core::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sha256")
    }
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    /// FIPS 180-4, the example "abc".
    #[test]
    fn known_answer() {
        let mut hash = Sha256::new();
        hash.update(b"a");
        let fork = hash.clone();
        hash.update(b"bc");
        assert_eq!(
            hash.finalize(),
            [
                0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22,
                0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00,
                0x15, 0xad,
            ]
        );
        assert_eq!(fork.finalize(), Sha256::digest(b"a"));
    }

    /// Every place in a block at which the bytes can end, and the padding with them, in parts and at once.
    #[test]
    fn every_length_hashes_as_the_library_has_it() {
        let bytes: [u8; 200] = core::array::from_fn(|n| n.to_le_bytes()[0].wrapping_mul(37));
        for len in 0..=bytes.len() {
            let expected: [u8; 32] = sha2::Sha256::digest(&bytes[..len]).into();
            assert_eq!(Sha256::digest(&bytes[..len]), expected, "{len} bytes");
            let mut parts = Sha256::new();
            bytes[..len].chunks(7).for_each(|part| parts.update(part));
            assert_eq!(parts.value(), expected, "{len} bytes in parts");
            assert_eq!(parts.finalize(), expected, "{len} bytes in parts, asked before");
        }
    }
}
