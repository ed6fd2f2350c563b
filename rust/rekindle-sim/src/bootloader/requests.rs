// SPDX-License-Identifier: Apache-2.0
//! What an application asks of MCUboot while it runs, as Zephyr's `dfu/mcuboot.h` offers it: the same writes, in
//! the same order, in the trailers of the same flash (`boot_set_next` in bootutil_public.c).

use super::{Area, Bootloader, ERASED, Flag, FlashError, Magic, NorFlash, State, Store, SwapType, swap_type};
use core::fmt;

/// Why a request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The flash.
    Flash(FlashError),
    /// Something other than a magic stands in the magic's place (`BOOT_MAGIC_BAD`), as a write leaves it that power
    /// was taken from. Only erasing the trailer helps.
    BadMagic,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash(error) => error.fmt(f),
            Self::BadMagic => write!(f, "the trailer's magic is neither good nor erased"),
        }
    }
}

impl core::error::Error for RequestError {}

impl From<FlashError> for RequestError {
    fn from(error: FlashError) -> Self {
        Self::Flash(error)
    }
}

impl Bootloader {
    /// What the bootloader will do at the next boot, as far as the trailers say (`mcuboot_swap_type`).
    ///
    /// # Errors
    /// What the flash reports.
    pub fn swap_type<S: Store>(&self, flash: &mut NorFlash<S>) -> Result<SwapType, FlashError> {
        let primary = self.state(flash, Area::Primary)?;
        let secondary = self.state(flash, Area::Secondary)?;
        Ok(swap_type(&primary, &secondary, self.mode))
    }

    /// What the primary slot's trailer says.
    ///
    /// # Errors
    /// What the flash reports.
    pub fn primary_state<S: Store>(&self, flash: &mut NorFlash<S>) -> Result<State, FlashError> {
        self.state(flash, Area::Primary)
    }

    /// Whether the running image is confirmed (`boot_is_img_confirmed`): an image without a trailer counts as
    /// confirmed, it can never be reverted.
    ///
    /// # Errors
    /// What the flash reports.
    pub fn is_confirmed<S: Store>(&self, flash: &mut NorFlash<S>) -> Result<bool, FlashError> {
        let state = self.state(flash, Area::Primary)?;
        Ok(state.magic == Magic::Unset || state.image_ok == Flag::Set)
    }

    /// Asks for the image in the secondary slot at the next boot (`boot_request_upgrade`). One that is already
    /// asked for stays as it is, whatever the mode.
    ///
    /// # Errors
    /// [`RequestError::BadMagic`], or what the flash reports.
    pub fn request_upgrade<S: Store>(
        &self,
        flash: &mut NorFlash<S>,
        permanent: bool,
    ) -> Result<(), RequestError> {
        match self.state(flash, Area::Secondary)?.magic {
            Magic::Good => Ok(()),
            Magic::Bad => Err(RequestError::BadMagic),
            Magic::Unset => {
                let trailer = self.trailer(flash.geometry(), Area::Secondary);
                for write in trailer.request(permanent, 0, ERASED) {
                    flash.program(Area::Secondary, write.offset(), write.bytes())?;
                }
                Ok(())
            }
        }
    }

    /// Confirms the running image (`boot_write_img_confirmed`); does nothing where there is nothing to revert.
    ///
    /// # Errors
    /// [`RequestError::BadMagic`], or what the flash reports.
    pub fn confirm<S: Store>(&self, flash: &mut NorFlash<S>) -> Result<(), RequestError> {
        let state = self.state(flash, Area::Primary)?;
        match (state.magic, state.image_ok) {
            (Magic::Bad, _) => Err(RequestError::BadMagic),
            (Magic::Good, Flag::Unset) => {
                let write = self.trailer(flash.geometry(), Area::Primary).write_image_ok(ERASED);
                flash.program(Area::Primary, write.offset(), write.bytes())?;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
