// SPDX-License-Identifier: Apache-2.0
//! The cores' flash port, carried out on a simulated chip one to one.

use crate::flash::{FlashError, NorFlash, OpKind, Rule, Store};
use core::fmt;
use rekindle_session::port::{Area, FlashOp, READ_MAX, WRITE_MAX};

/// What lies between the endpoint and the flash. [`Honest`] carries out what it is asked for; a test puts a liar in
/// its place to see whether the liar is found out.
pub trait Port<S>: fmt::Debug {
    /// Carries out `op`; gives the bytes of a read, nothing for a write or an erase.
    ///
    /// # Errors
    /// What the flash reports.
    fn perform(&mut self, flash: &mut NorFlash<S>, op: &FlashOp<'_>) -> Result<Vec<u8>, FlashError>;

    /// The device was reset or lost power: what is not in flash is gone.
    fn forget(&mut self) {}
}

/// The port of a driver that does what it says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Honest;

impl<S: Store> Port<S> for Honest {
    fn perform(&mut self, flash: &mut NorFlash<S>, op: &FlashOp<'_>) -> Result<Vec<u8>, FlashError> {
        perform(flash, op)
    }
}

/// Carries out `op` and gives the bytes of a read, nothing for a write or an erase.
///
/// # Errors
/// What the flash reports; [`FlashError::Rule`] as well when the operation is larger than the port allows, erases
/// more than one sector, or would change the primary slot, which only a bootloader may.
pub fn perform<S: Store>(flash: &mut NorFlash<S>, op: &FlashOp<'_>) -> Result<Vec<u8>, FlashError> {
    match *op {
        FlashOp::Read { area, offset, len } => {
            if len == 0 || len as usize > READ_MAX {
                return Err(flash.violation(Rule::NotAllowed, OpKind::Program, area, offset, len));
            }
            let mut bytes = vec![0; len as usize];
            flash.read(area, offset, &mut bytes)?;
            Ok(bytes)
        }
        FlashOp::Write { area, offset, data } => {
            if area == Area::Primary || data.len() > WRITE_MAX {
                let len = data.len() as u32;
                return Err(flash.violation(Rule::NotAllowed, OpKind::Program, area, offset, len));
            }
            flash.program(area, offset, data).map(|()| Vec::new())
        }
        FlashOp::Erase { area, offset, len } => {
            if area == Area::Primary || len != flash.geometry().region(area).sector_size {
                return Err(flash.violation(Rule::NotAllowed, OpKind::Erase, area, offset, len));
            }
            flash.erase(area, offset, len).map(|()| Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::Geometry;

    #[test]
    fn the_primary_slot_and_oversized_operations_are_refused() {
        let mut flash = NorFlash::new(Geometry::even(1, 4, 1024), 1);
        let refused = [
            FlashOp::Write { area: Area::Primary, offset: 0, data: &[0] },
            FlashOp::Erase { area: Area::Primary, offset: 0, len: 1024 },
            FlashOp::Erase { area: Area::Secondary, offset: 0, len: 2048 },
            FlashOp::Read { area: Area::Secondary, offset: 0, len: 257 },
            FlashOp::Write { area: Area::Secondary, offset: 0, data: &[0; 257] },
        ];
        for op in &refused {
            assert!(matches!(perform(&mut flash, op), Err(FlashError::Rule(_))), "{op:?}");
        }
        assert_eq!(flash.violations().len(), refused.len());
        assert_eq!(flash.operations(), 0);
        let read = FlashOp::Read { area: Area::Primary, offset: 0, len: 256 };
        assert_eq!(perform(&mut flash, &read), Ok(vec![0xFF; 256]));
    }
}
