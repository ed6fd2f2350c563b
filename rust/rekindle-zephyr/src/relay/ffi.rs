// SPDX-License-Identifier: Apache-2.0

//! Declarations of `controller.h` in `modules/rekindle/include/rekindle`, one to one.

#[repr(C)]
pub(crate) struct Settings {
    pub(crate) baud: u32,
    pub(crate) checkpoint: u32,
    pub(crate) bus_window: u8,
    pub(crate) client_window: u8,
    pub(crate) transparent: bool,
    pub(crate) half_duplex: bool,
    pub(crate) has_vendor: bool,
    pub(crate) has_class: bool,
    pub(crate) vendor_id: [u8; 16],
    pub(crate) class_id: [u8; 16],
}

pub(crate) const ORIGINS_MAX: usize = 256;

pub(crate) const CLIENT_TCP: u8 = 1;
pub(crate) const CLIENT_WEB: u8 = 2;
pub(crate) const CLIENT_GONE: u8 = 3;

// SAFETY: the signatures repeat those of the header; the header's types are fixed-width,
// `size_t` is `usize` and `int` is `i32` on every target that Zephyr and Rust share. The
// settings are constant.
unsafe extern "C" {
    pub(crate) safe static rekindle_controller: Settings;

    pub(crate) safe fn rekindle_limit_pause(ms: u32);
    pub(crate) safe fn rekindle_unix_s() -> u64;

    pub(crate) fn rekindle_store_open(room: *mut u32) -> i32;
    pub(crate) fn rekindle_store_append(file: u8, at: u32, data: *const u8, len: usize) -> i32;
    pub(crate) safe fn rekindle_store_sync(file: u8) -> i32;
    pub(crate) fn rekindle_store_read(file: u8, offset: u32, data: *mut u8, len: usize) -> i32;
    pub(crate) safe fn rekindle_store_commit(from: u8, to: u8) -> i32;
    pub(crate) safe fn rekindle_store_remove(file: u8) -> i32;

    pub(crate) safe fn rekindle_clients_listen() -> i32;
    pub(crate) safe fn rekindle_client_state(client: u8) -> u8;
    pub(crate) safe fn rekindle_client_heard(client: u8);
    pub(crate) fn rekindle_client_read(client: u8, data: *mut u8, capacity: usize) -> usize;
    pub(crate) fn rekindle_client_write(client: u8, data: *const u8, len: usize);
    pub(crate) safe fn rekindle_clients_flush() -> bool;
    pub(crate) safe fn rekindle_client_end(client: u8);
    pub(crate) safe fn rekindle_client_release(client: u8);
    pub(crate) safe fn rekindle_clients_stack_unused() -> usize;

    pub(crate) safe fn rekindle_bus_open() -> i32;
    pub(crate) fn rekindle_bus_read(data: *mut u8, capacity: usize, timeout_ms: i32) -> usize;
    pub(crate) fn rekindle_bus_write(data: *const u8, len: usize, timeout_ms: i32) -> i32;
    pub(crate) safe fn rekindle_bus_overruns() -> u32;

    pub(crate) fn rekindle_own_put(data: *const u8, len: usize);
    pub(crate) fn rekindle_own_take(data: *mut u8, capacity: usize) -> usize;

    pub(crate) fn rekindle_origins(list: *mut u8, capacity: usize) -> usize;
    pub(crate) fn rekindle_trusted_key(number: u8, der: *mut u8, capacity: usize) -> usize;
    pub(crate) safe fn rekindle_root_held() -> bool;
}
