// SPDX-License-Identifier: Apache-2.0
//! What MCUboot keeps in the last bytes of a slot (design.md, "Image trailer").

/// What MCUboot does at the next boot (`BOOT_SWAP_TYPE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SwapType {
    /// Starts the image in the primary slot.
    None = 1,
    /// Swaps; without a confirmation the next boot swaps back.
    Test = 2,
    /// Swaps for good.
    Perm = 3,
    /// Swaps back, because the running image was not confirmed.
    Revert = 4,
    /// The image asked for is not valid; nothing is swapped.
    Fail = 5,
}
