// SPDX-License-Identifier: Apache-2.0

//! MCUboot's side of an update: requests, confirmation and what the next boot will do.

use mcuboot_image::trailer::SwapType;

use crate::{Errno, ffi};

/// Asks MCUboot to run the staged image at the next boot, once (`permanent` false: it
/// must confirm itself) or for good.
///
/// MCUboot accepts the request for anything that lies in the slot and judges the image
/// only at boot; whoever calls this has verified it. That the request was written says
/// little either: over flags that an earlier cut left half written MCUboot reports success
/// and then does nothing. So it is asked what it will do.
///
/// # Errors
///
/// The slot's trailer cannot be written, or MCUboot would do something else.
pub fn request_upgrade(permanent: bool) -> Result<(), Errno> {
    Errno::check(ffi::rekindle_request_upgrade(permanent))?;
    let wanted = if permanent { SwapType::Perm } else { SwapType::Test };
    if swap_type() == wanted { Ok(()) } else { Err(Errno::IO) }
}

/// Confirms the running image, so that MCUboot does not revert it.
///
/// # Errors
///
/// The slot's trailer cannot be written, or MCUboot would revert all the same.
pub fn confirm() -> Result<(), Errno> {
    Errno::check(ffi::rekindle_confirm())?;
    if is_confirmed() && swap_type() != SwapType::Revert { Ok(()) } else { Err(Errno::IO) }
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
