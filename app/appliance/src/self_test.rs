// SPDX-License-Identifier: Apache-2.0

//! What the appliance checks before it lets a new image stay.
//!
//! The trial around it (stages in the journal, deadline, confirmation, reset) is
//! `rekindle_zephyr::trial`'s.

use rekindle_zephyr::trial::Check;

/// The sensors answer, so the appliance has come up.
const STAGE_SENSORS: u32 = 1;
/// Fan, pump and glow plug can be driven.
const STAGE_OUTPUTS: u32 = 2;

/// The self-test of the running image.
#[derive(Debug)]
pub(crate) struct SelfTest {
    stage: u32,
}

impl SelfTest {
    pub(crate) fn new() -> Self {
        Self { stage: 0 }
    }

    /// One step; `up` says that the sensors answer. The trial calls again when the stage
    /// named last is noted.
    pub(crate) fn step(&mut self, up: bool) -> Check {
        match self.stage {
            STAGE_SENSORS if !up => {}
            STAGE_SENSORS => match script::sensors() {
                Check::Passed => self.stage = STAGE_OUTPUTS,
                other => return other,
            },
            STAGE_OUTPUTS => return script::outputs(),
            _ if script::silent() => {}
            _ => self.stage = STAGE_SENSORS,
        }
        Check::At(self.stage)
    }
}

/// What becomes of an image before anything else of the application runs.
pub(crate) fn before_everything() {
    script::before_everything();
}

/// The checks themselves. There is no hardware behind this appliance that could fail them.
#[cfg(not(CONFIG_APPLIANCE_SELF_TEST_IMAGE))]
mod script {
    use super::Check;

    pub(super) fn before_everything() {}

    pub(super) fn silent() -> bool {
        false
    }

    pub(super) fn sensors() -> Check {
        Check::Passed
    }

    pub(super) fn outputs() -> Check {
        Check::Passed
    }
}

/// The checks end as a mark in the image says.
#[cfg(CONFIG_APPLIANCE_SELF_TEST_IMAGE)]
mod script {
    use rekindle_zephyr::system;
    use rekindle_zephyr::trial::Check;

    /// Where a test writes the script into the finished image, before it signs it: a letter
    /// behind the label, and for `b` the code as four little-endian bytes.
    #[used]
    static MARK: [u8; 24] = *b"rekindle-self-test:g\0\0\0\0";

    fn letter() -> u8 {
        // Not what the compiler saw: the image was changed since.
        core::hint::black_box(&MARK)[19]
    }

    fn hang() -> ! {
        loop {
            core::hint::spin_loop();
        }
    }

    /// `e` hangs, `p` panics, `r` resets: before anything is started.
    pub(super) fn before_everything() {
        match letter() {
            b'e' => hang(),
            b'p' => panic!("as the mark in the image says"),
            b'r' => system::reboot(),
            _ => {}
        }
    }

    /// `s` never so much as begins.
    pub(super) fn silent() -> bool {
        letter() == b's'
    }

    /// `t` never ends, `b` fails.
    pub(super) fn sensors() -> Check {
        let mark = core::hint::black_box(&MARK);
        match letter() {
            b't' => Check::At(super::STAGE_SENSORS),
            b'b' => Check::Failed {
                stage: super::STAGE_SENSORS,
                code: i32::from_le_bytes([mark[20], mark[21], mark[22], mark[23]]),
            },
            _ => Check::Passed,
        }
    }

    /// `h` hangs.
    pub(super) fn outputs() -> Check {
        if letter() == b'h' {
            hang();
        }
        Check::Passed
    }
}
