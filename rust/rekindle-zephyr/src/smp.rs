// SPDX-License-Identifier: Apache-2.0

//! SMP beside the session: the session's side of `rekindle/smp.h`.

use rekindle_session::appliance::Appliance;
use rekindle_session::receiver::Lend;

use crate::{boot, ffi};

const NOTHING: u8 = 0;
const MARK: u8 = 2;
const RESET: u8 = 3;

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
        RESET if safe => GRANTED,
        RESET => UNSAFE,
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
