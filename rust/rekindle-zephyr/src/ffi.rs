// SPDX-License-Identifier: Apache-2.0

//! Declarations of `port.h` and `smp.h` in `modules/rekindle/include/rekindle`, one to one.

#[repr(C)]
#[derive(Default)]
pub(crate) struct AreaInfo {
    pub(crate) size: u32,
    pub(crate) sector_size: u32,
    pub(crate) write_block: u32,
    pub(crate) erased: u8,
}

#[repr(C)]
#[derive(Default)]
pub(crate) struct SlotInfo {
    pub(crate) image_offset: u32,
    pub(crate) image_max: u32,
    pub(crate) trailer_size: u32,
}

// SAFETY: the signatures repeat those of the header; the header's types are fixed-width,
// `size_t` is `usize` and `int` is `i32` on every target that Zephyr and Rust share.
unsafe extern "C" {
    pub(crate) fn rekindle_area_info(area: u8, info: *mut AreaInfo) -> i32;
    pub(crate) fn rekindle_area_read(area: u8, offset: u32, data: *mut u8, len: usize) -> i32;
    pub(crate) fn rekindle_area_write(area: u8, offset: u32, data: *const u8, len: usize) -> i32;
    pub(crate) safe fn rekindle_area_erase(area: u8, offset: u32, len: usize) -> i32;
    pub(crate) fn rekindle_slot_info(info: *mut SlotInfo) -> i32;

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

    pub(crate) safe fn rekindle_claim_device() -> bool;
    pub(crate) safe fn rekindle_stack_unused() -> usize;
    pub(crate) safe fn rekindle_watchdog_start(timeout_ms: u32) -> i32;
    pub(crate) safe fn rekindle_watchdog_feed();

    pub(crate) safe fn rekindle_smp_asks() -> u8;
    pub(crate) safe fn rekindle_smp_answer(answer: u8) -> bool;
    pub(crate) safe fn rekindle_smp_holds(back: bool) -> bool;
    pub(crate) safe fn rekindle_smp_confirmed() -> bool;

    pub(crate) safe fn rekindle_link_open() -> i32;
    pub(crate) fn rekindle_link_read(data: *mut u8, capacity: usize, timeout_ms: i32) -> usize;
    pub(crate) fn rekindle_link_write(data: *const u8, len: usize, timeout_ms: i32) -> i32;
    pub(crate) safe fn rekindle_link_drain(timeout_ms: i32) -> i32;
    pub(crate) safe fn rekindle_link_capacity() -> u32;
    pub(crate) safe fn rekindle_link_overruns() -> u32;
}
