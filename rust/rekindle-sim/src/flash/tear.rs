// SPDX-License-Identifier: Apache-2.0
//! What an interrupted flash operation leaves behind.

use crate::rng::Rng;

/// How far an operation came before power was lost, or before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Nothing of it happened.
    Before,
    /// All of it happened; whoever asked never learnt it.
    After,
    /// A seeded number of its bytes happened, from the first one on.
    Prefix,
    /// A seeded choice of its bytes happened.
    Subset,
    /// Every byte came part of the way: of the bits to clear (program) or to set (erase), a seeded choice moved.
    Bits,
}

impl Tear {
    /// Every mode.
    pub const ALL: [Self; 5] = [Self::Before, Self::After, Self::Prefix, Self::Subset, Self::Bits];

    /// What is there afterwards, given what was there and what the operation would have left.
    pub(super) fn apply(self, before: &[u8], after: &[u8], rng: &mut Rng) -> Vec<u8> {
        match self {
            Self::Before => before.to_vec(),
            Self::After => after.to_vec(),
            Self::Prefix => {
                // At least one byte and not all of them, so that it is a tear whenever it can be one.
                let done = 1 + rng.below((after.len() as u64).saturating_sub(1));
                let done = (done as usize).min(after.len());
                let mut left = after[..done].to_vec();
                left.extend_from_slice(&before[done..]);
                left
            }
            Self::Subset => {
                before.iter().zip(after).map(|(old, new)| if rng.coin() { *new } else { *old }).collect()
            }
            Self::Bits => before
                .iter()
                .zip(after)
                .map(|(old, new)| {
                    let moved = (old ^ new) & rng.byte();
                    old ^ moved
                })
                .collect(),
        }
    }
}
