// SPDX-License-Identifier: Apache-2.0
//! The simulator's chip keeps what the device's flash is held to as well (`tests/port`).
#![allow(clippy::panic, reason = "an integration test")]

#[path = "../../../tests/shared/flash_expectations.rs"]
mod flash_expectations;

use flash_expectations::{EXPECTATIONS, Flash, Refused, Shape};
use rekindle_session::port::Area;
use rekindle_sim::flash::{FlashError, Geometry, NorFlash};

struct Chip {
    flash: NorFlash,
    area: Area,
}

/// A rule that stood in the way; anything else is no refusal but a fault of the test.
fn refused(result: Result<(), FlashError>) -> Result<(), Refused> {
    match result {
        Ok(()) => Ok(()),
        Err(FlashError::Rule(_)) => Err(Refused),
        Err(other) => panic!("{other}"),
    }
}

impl Flash for Chip {
    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Refused> {
        refused(self.flash.read(self.area, offset, out))
    }

    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), Refused> {
        refused(self.flash.program(self.area, offset, data))
    }

    fn erase(&mut self, offset: u32, len: u32) -> Result<(), Refused> {
        refused(self.flash.erase(self.area, offset, len))
    }
}

#[test]
fn the_chip_keeps_every_expectation() {
    for block in [1, 4, 8, 16, 32] {
        for area in [Area::Secondary, Area::Journal] {
            let geometry = Geometry::even(block, 8, 4096);
            let region = geometry.region(area);
            let shape = Shape { size: region.size(), sector: region.sector_size, block };
            let mut chip = Chip { flash: NorFlash::new(geometry, 1), area };
            for (name, keeps) in EXPECTATIONS {
                assert!(keeps(&mut chip, shape), "{name}: {area:?}, write block {block}");
            }
        }
    }
}
