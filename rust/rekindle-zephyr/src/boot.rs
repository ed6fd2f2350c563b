// SPDX-License-Identifier: Apache-2.0

//! MCUboot's side of an update: requests, confirmation and what the next boot will do.

use mcuboot_image::trailer::SwapType;

use crate::{Errno, ffi};

/// Asks MCUboot to run the staged image at the next boot, once (`permanent` false: it
/// must confirm itself) or for good.
///
/// MCUboot accepts the request for anything that lies in the slot and judges the image
/// only at boot; whoever calls this has verified it.
///
/// # Errors
///
/// The slot's trailer cannot be written.
pub fn request_upgrade(permanent: bool) -> Result<(), Errno> {
    Errno::check(ffi::rekindle_request_upgrade(permanent))
}

/// Confirms the running image, so that MCUboot does not revert it.
///
/// # Errors
///
/// The slot's trailer cannot be written.
pub fn confirm() -> Result<(), Errno> {
    Errno::check(ffi::rekindle_confirm())
}

/// Whether the running image is confirmed; an image that was never swapped in counts as
/// such.
#[must_use]
pub fn is_confirmed() -> bool {
    ffi::rekindle_is_confirmed()
}

/// What MCUboot would do at the next boot.
#[must_use]
pub fn swap_type() -> SwapType {
    match ffi::rekindle_swap_type() {
        2 => SwapType::Test,
        3 => SwapType::Perm,
        4 => SwapType::Revert,
        // 5, and whatever else a trailer that cannot be read is answered with.
        5.. | ..=0 => SwapType::Fail,
        1 => SwapType::None,
    }
}
