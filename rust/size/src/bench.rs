// SPDX-License-Identifier: Apache-2.0
//! What a program that runs under QEMU needs: a clock that counts instructions, and a way to tell its results.

use core::panic::PanicInfo;
use cortex_m::Peripherals;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_semihosting::{debug, hio};

const RELOAD: u32 = 0x00FF_FFFF;

/// Starts the clock. `scripts/cross` runs QEMU with a fixed time per instruction, so ticks count instructions.
pub fn start_clock() {
    if let Some(mut peripherals) = Peripherals::take() {
        let clock: &mut SYST = &mut peripherals.SYST;
        clock.set_clock_source(SystClkSource::Core);
        clock.set_reload(RELOAD);
        clock.clear_current();
        clock.enable_counter();
    }
}

/// Ticks that `work` takes: fewer than 2^24.
pub fn ticks<T>(work: impl FnOnce() -> T) -> (u64, T) {
    // The counter counts down.
    let before = SYST::get_current();
    let result = work();
    let after = SYST::get_current();
    (u64::from(before.wrapping_sub(after) & RELOAD), result)
}

/// Tells a result: its name and a number, as one line.
///
/// Without the formatting of `core`, whose stack would be measured as ours.
pub fn tell(name: &str, number: u64) {
    let mut line = [b'0'; 21];
    let mut rest = number;
    let mut first = line.len();
    for (at, digit) in line.iter_mut().enumerate().rev() {
        if at == 20 {
            *digit = b'\n';
        } else if rest > 0 || at == 19 {
            *digit = b'0'.wrapping_add(u8::try_from(rest % 10).unwrap_or(0));
            rest /= 10;
        } else {
            break;
        }
        first = at;
    }
    if let Ok(mut out) = hio::hstdout() {
        let _ = out.write_all(name.as_bytes());
        let _ = out.write_all(b" ");
        let _ = out.write_all(line.get(first..).unwrap_or_default());
    }
}

/// Ends the program with success.
pub fn succeed() -> ! {
    debug::exit(debug::EXIT_SUCCESS);
    crate::halt()
}

/// Ends the program when `holds` is not so, and names the line.
#[track_caller]
pub fn check(holds: bool) {
    if !holds {
        fail(core::panic::Location::caller().line());
    }
}

/// Ends the program with failure, at this line.
pub fn fail(line: u32) -> ! {
    tell("failed-at-line", u64::from(line));
    debug::exit(debug::EXIT_FAILURE);
    crate::halt()
}

/// What the panic handlers of these programs do.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    fail(info.location().map_or(0, core::panic::Location::line))
}
