// SPDX-License-Identifier: Apache-2.0
//! Another writer in the secondary slot that asks before it writes, as SMP does on a device.

use super::World;
use super::invariant::Broken;
use super::scenario::{Update, Visit};
use crate::bootloader::RequestError;
use crate::flash::FlashError;
use fusain::Mode;
use rekindle_session::port::Area;
use rekindle_session::receiver::Lend;

/// Time without power after a cut in the visitor's request.
const OFF_NS: u64 = 200 * crate::device::MS;

impl World {
    /// Asks for the slot once more, if somebody waits for it.
    pub(super) fn visit(&mut self) -> Result<(), Broken> {
        let Some(visit) = self.visitor else { return Ok(()) };
        let answer = self.device.lend(self.now_ns);
        if answer == Lend::Soon {
            if self.device.endpoint().is_some_and(|endpoint| endpoint.receiver().lent()) {
                // The session is being closed, and what it held is given up.
                self.witness.void();
            }
            return Ok(());
        }
        self.tell(|| format!("a visitor {visit:?}: {answer:?}"));
        self.visitor = None;
        if answer != Lend::Lent {
            // What was promised before it was refused is not promised any more.
            let _ = self.device.take_back();
        } else if self.use_slot(visit).is_err() {
            self.device.power_off();
            self.device_down(OFF_NS);
        }
        Ok(())
    }

    fn use_slot(&mut self, visit: Visit) -> Result<(), FlashError> {
        self.summary.visits += 1;
        self.witness.visited();
        let layout = self.scenario.device.config.layout;
        let number = 100_u8.saturating_add(self.summary.visits as u8);
        let len = layout.image_max as usize / 2;
        let image = Update::new(number, len, Mode::Test, None, self.scenario.seed).image;
        let flash = self.device.flash_mut();
        flash.install(Area::Secondary, 0, &vec![0xFF; layout.slot_size as usize])?;
        match visit {
            Visit::Erases => {}
            Visit::GivesUp => flash.install(Area::Secondary, layout.image_offset, &image[..len / 3])?,
            Visit::Installs => {
                flash.install(Area::Secondary, layout.image_offset, &image)?;
                self.witness.learn(&image);
                let requested = self.scenario.device.bootloader.request_upgrade(flash, false);
                if let Err(RequestError::Flash(error)) = requested {
                    return Err(error);
                }
            }
        }
        self.device.take_back()?;
        if visit == Visit::Installs {
            self.reset_device();
        }
        Ok(())
    }
}
