// SPDX-License-Identifier: Apache-2.0

//! Declarations of `port.h` and `smp.h` in `modules/rekindle/include/rekindle`, one to one.

use rekindle_session::port::Layout;

#[repr(C)]
#[derive(Default)]
pub(crate) struct AreaInfo {
    pub(crate) size: u32,
    pub(crate) sector_size: u32,
    pub(crate) write_block: u32,
    pub(crate) erased: u8,
}

#[repr(C)]
pub(crate) struct Policy {
    pub(crate) confirm_deadline_ms: u32,
    pub(crate) confirm_answered: bool,
    pub(crate) erase_at_start: bool,
    pub(crate) refuse_downgrade: bool,
    pub(crate) has_vendor: bool,
    pub(crate) has_class: bool,
    pub(crate) vendor_id: [u8; 16],
    pub(crate) class_id: [u8; 16],
}

#[repr(C)]
pub(crate) struct Traffic {
    pub(crate) takeover_ms: u32,
    pub(crate) quiet_ms: u16,
    pub(crate) window: u8,
    pub(crate) half_duplex: bool,
    pub(crate) point_to_point: bool,
    pub(crate) serial: bool,
}

#[cfg(feature = "signature")]
#[repr(C)]
pub(crate) struct Keys {
    pub(crate) names: *const [u8; 32],
    pub(crate) points: *const u8,
    pub(crate) count: usize,
}

// SAFETY: what it points to is constant.
#[cfg(feature = "signature")]
unsafe impl Sync for Keys {}

pub(crate) const OUTCOMES: usize = 4;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) attempt: u32,
    pub(crate) outcome: u32,
    pub(crate) stage: u32,
    pub(crate) code: i32,
    pub(crate) reset_cause: u32,
    pub(crate) has_stage: bool,
    pub(crate) permanent: bool,
}

impl Outcome {
    pub(crate) const NONE: Self = Self {
        attempt: 0,
        outcome: 0,
        stage: 0,
        code: 0,
        reset_cause: 0,
        has_stage: false,
        permanent: false,
    };
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    pub(crate) address: u64,
    pub(crate) boot_number: u32,
    pub(crate) reset_cause: u32,
    pub(crate) received: u32,
    pub(crate) size: u32,
    pub(crate) version_build: u32,
    pub(crate) version_revision: u16,
    pub(crate) version_major: u8,
    pub(crate) version_minor: u8,
    pub(crate) update: u8,
    pub(crate) appliance: u8,
    pub(crate) outcomes: u8,
    pub(crate) confirmed: bool,
    pub(crate) busy: bool,
    pub(crate) swap_pending: bool,
    pub(crate) outcome: [Outcome; OUTCOMES],
}

impl State {
    pub(crate) const NONE: Self = Self {
        address: 0,
        boot_number: 0,
        reset_cause: 0,
        received: 0,
        size: 0,
        version_build: 0,
        version_revision: 0,
        version_major: 0,
        version_minor: 0,
        update: 0,
        appliance: 0,
        outcomes: 0,
        confirmed: false,
        busy: false,
        swap_pending: false,
        outcome: [Outcome::NONE; OUTCOMES],
    };
}

// SAFETY: the signatures repeat those of the header; the header's types are fixed-width,
// `size_t` is `usize` and `int` is `i32` on every target that Zephyr and Rust share. Policy
// and traffic are constant.
unsafe extern "C" {
    pub(crate) fn rekindle_area_info(area: u8, info: *mut AreaInfo) -> i32;
    pub(crate) fn rekindle_area_read(area: u8, offset: u32, data: *mut u8, len: usize) -> i32;
    pub(crate) fn rekindle_area_write(area: u8, offset: u32, data: *const u8, len: usize) -> i32;
    pub(crate) safe fn rekindle_area_erase(area: u8, offset: u32, len: usize) -> i32;
    pub(crate) fn rekindle_layout(layout: *mut Layout) -> i32;

    pub(crate) safe fn rekindle_request_upgrade(permanent: bool) -> i32;
    pub(crate) safe fn rekindle_confirm() -> i32;
    pub(crate) safe fn rekindle_is_confirmed() -> bool;
    pub(crate) safe fn rekindle_swap_type() -> i32;

    pub(crate) safe fn rekindle_reset_cause() -> u32;
    pub(crate) safe fn rekindle_uptime_ms() -> u64;
    pub(crate) safe fn rekindle_sleep_ms(ms: u32);
    pub(crate) safe fn rekindle_reboot();
    pub(crate) fn rekindle_random(data: *mut u8, len: usize);
    pub(crate) safe fn rekindle_device_address() -> u64;
    pub(crate) safe fn rekindle_boot_number() -> u32;

    pub(crate) fn rekindle_panic(file: *const u8, file_len: usize, line: u32);
    pub(crate) safe fn rekindle_claim_device() -> bool;
    pub(crate) safe fn rekindle_stack_unused() -> usize;
    pub(crate) safe fn rekindle_watchdog_feed();

    #[cfg(feature = "smp")]
    pub(crate) safe fn rekindle_smp_asks() -> u8;
    #[cfg(feature = "smp")]
    pub(crate) safe fn rekindle_smp_answer(answer: u8) -> bool;
    #[cfg(feature = "smp")]
    pub(crate) safe fn rekindle_smp_holds(back: bool) -> bool;
    #[cfg(feature = "smp")]
    pub(crate) safe fn rekindle_smp_confirmed() -> bool;

    #[cfg(feature = "signature")]
    pub(crate) safe static rekindle_keys: Keys;
    #[cfg(feature = "signature-psa")]
    pub(crate) fn rekindle_verify_p256(
        point: *const [u8; 65],
        hash: *const [u8; 32],
        signature: *const [u8; 64],
    ) -> bool;

    pub(crate) safe static rekindle_policy: Policy;
    pub(crate) safe static rekindle_traffic: Traffic;
    pub(crate) safe fn rekindle_busy() -> bool;
    pub(crate) safe fn rekindle_publish_busy(busy: bool);
    pub(crate) fn rekindle_publish(state: *const State);
    pub(crate) fn rekindle_take(word: *mut u32) -> bool;
    #[cfg(feature = "c-api")]
    pub(crate) safe fn rekindle_take_requests() -> u32;
    #[cfg(feature = "c-api")]
    pub(crate) safe fn rekindle_started(result: i32);

    pub(crate) safe fn rekindle_link_open() -> i32;
    pub(crate) fn rekindle_link_read(data: *mut u8, capacity: usize, timeout_ms: i32) -> usize;
    pub(crate) fn rekindle_link_write(data: *const u8, len: usize, timeout_ms: i32) -> i32;
    pub(crate) safe fn rekindle_link_drain(timeout_ms: i32) -> i32;
    pub(crate) safe fn rekindle_link_capacity() -> u32;
    pub(crate) safe fn rekindle_link_overruns() -> u32;
}
