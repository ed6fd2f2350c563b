// SPDX-License-Identifier: Apache-2.0

//! SMP beside the session: the session's side of `rekindle/smp.h`.

use rekindle_session::appliance::Appliance;
use rekindle_session::receiver::Lend;

use crate::{boot, ffi};

const NOTHING: u8 = 0;
const MARK: u8 = 2;
const RESET: u8 = 3;

/// MCUmgr resets some time after it was allowed to, and asks nobody any more. Nothing may be started until then, or
/// until it has not come for so long (`modules/rekindle/src/smp.c`).
const RESET_WITHIN_MS: u64 = 5_000;

const GRANTED: u8 = 0;
const LENT: u8 = 1;
const BUSY: u8 = 2;
const UNSAFE: u8 = 3;

/// Answers what SMP asks for, and takes the slot back when SMP is done with it. To be called once a turn.
pub(crate) fn turn(appliance: &mut Appliance, now_ms: u64) {
    let safe = appliance.status().safe;
    if ffi::rekindle_smp_confirmed() {
        // The journal is to know, and the core asks the bootloader once more, which changes nothing.
        appliance.confirm();
    }
    let confirmed = appliance.receiver().confirmed();
    let answer = match ffi::rekindle_smp_asks() {
        NOTHING => {
            if appliance.receiver().lent() && !ffi::rekindle_smp_holds(!safe) {
                appliance.take_back(boot::is_confirmed(), boot::swap_type());
            }
            return;
        }
        // Known to be busy first, and safe after that: then nothing has been started in between.
        RESET if safe && !appliance.reserved(now_ms) => {
            appliance.reserve(now_ms.saturating_add(RESET_WITHIN_MS));
            return;
        }
        RESET if safe => {
            appliance.reserve(now_ms.saturating_add(RESET_WITHIN_MS));
            GRANTED
        }
        RESET => {
            appliance.reserve(0);
            UNSAFE
        }
        // While an image is under test MCUmgr marks nothing but that image as good.
        MARK if !confirmed => GRANTED,
        _ => match appliance.lend(now_ms) {
            Lend::Soon => return,
            Lend::Lent => LENT,
            Lend::Refused if safe && confirmed => BUSY,
            Lend::Refused => UNSAFE,
        },
    };
    // When nobody waits any more, nothing was lent, and the next turn takes it back.
    let _ = ffi::rekindle_smp_answer(answer);
}
