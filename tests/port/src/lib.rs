// SPDX-License-Identifier: Apache-2.0

//! The port's flash, on a device, against the list that the simulator's chip is held to.
//!
//! Prints what twister takes for the end of a suite.

#![no_std]
// Zephyr's options, which only its build knows.
#![allow(unexpected_cfgs)]

#[path = "../../shared/flash_expectations.rs"]
mod flash_expectations;

use flash_expectations::{EXPECTATIONS, Flash, Refused, Shape};
use rekindle_session::port::Area;
use rekindle_zephyr::flash;
use zephyr::printkln;

struct Port(Area);

impl Flash for Port {
    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Refused> {
        flash::read(self.0, offset, out).map_err(|_| Refused)
    }

    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), Refused> {
        flash::write(self.0, offset, data).map_err(|_| Refused)
    }

    fn erase(&mut self, offset: u32, len: u32) -> Result<(), Refused> {
        flash::erase(self.0, offset, len).map_err(|_| Refused)
    }
}

/// Checks an area; the number of expectations it does not meet.
fn check(name: &str, area: Area) -> usize {
    let geometry = match flash::geometry(area) {
        Ok(geometry) => geometry,
        Err(error) => {
            printkln!(" FAIL - {}: {}", name, error);
            return 1;
        }
    };
    let shape = Shape { size: geometry.size, sector: geometry.sector_size, block: geometry.write_block };
    let mut failed = 0;
    for (expectation, keeps) in EXPECTATIONS {
        let kept = keeps(&mut Port(area), shape);
        printkln!(" {} - {}: {}", if kept { "PASS" } else { "FAIL" }, name, expectation);
        failed += usize::from(!kept);
    }
    failed
}

/// The running image's slot is out of the session's reach.
fn check_primary() -> usize {
    let before = flash::geometry(Area::Primary).map(|geometry| geometry.size);
    let refused = before.is_ok_and(|size| {
        flash::write(Area::Primary, size - 256, &[0; 256]).is_err()
            && flash::erase(Area::Primary, size - 4096, 4096).is_err()
    });
    printkln!(" {} - primary: never_written", if refused { "PASS" } else { "FAIL" });
    usize::from(!refused)
}

#[unsafe(no_mangle)]
extern "C" fn rust_main() {
    let failed = check("secondary", Area::Secondary) + check("journal", Area::Journal) + check_primary();
    printkln!("PROJECT EXECUTION {}", if failed == 0 { "SUCCESSFUL" } else { "FAILED" });
}
