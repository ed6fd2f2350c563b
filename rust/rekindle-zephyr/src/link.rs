// SPDX-License-Identifier: Apache-2.0

//! The link to the controller: the UART chosen as `rekindle,uart`.

use crate::{Errno, ffi};

/// The opened link. There is one per device.
#[derive(Debug)]
pub struct Link(());

impl Link {
    /// Opens the link and starts to receive.
    ///
    /// # Errors
    ///
    /// The UART is not ready or has no interrupts.
    pub fn open() -> Result<Self, Errno> {
        Errno::check(ffi::rekindle_link_open())?;
        Ok(Self(()))
    }

    /// Waits up to `timeout_ms` for received bytes and returns them; without limit for
    /// `None`.
    pub fn read<'a>(&mut self, buffer: &'a mut [u8], timeout_ms: Option<u32>) -> &'a [u8] {
        // SAFETY: `buffer` is valid for `buffer.len()` writes for the call and the shim
        // keeps no pointer.
        let n = unsafe { ffi::rekindle_link_read(buffer.as_mut_ptr(), buffer.len(), timeout(timeout_ms)) };
        buffer.get(..n).unwrap_or_default()
    }

    /// Queues `data`, waiting up to `timeout_ms` for room.
    ///
    /// # Errors
    ///
    /// There was no room in time; a part of `data` may have been queued.
    pub fn write(&mut self, data: &[u8], timeout_ms: Option<u32>) -> Result<(), Errno> {
        // SAFETY: `data` is valid for `data.len()` reads for the call and the shim keeps no
        // pointer.
        Errno::check(unsafe { ffi::rekindle_link_write(data.as_ptr(), data.len(), timeout(timeout_ms)) })
    }

    /// Waits up to `timeout_ms` until everything queued has left the transmitter.
    ///
    /// # Errors
    ///
    /// It has not, in time.
    pub fn drain(&mut self, timeout_ms: Option<u32>) -> Result<(), Errno> {
        Errno::check(ffi::rekindle_link_drain(timeout(timeout_ms)))
    }

    /// Bytes that can be received ahead while nobody reads.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        ffi::rekindle_link_capacity()
    }

    /// Received bytes lost since boot, because nobody had read in time.
    #[must_use]
    pub fn overruns(&self) -> u32 {
        ffi::rekindle_link_overruns()
    }
}

/// The shims' convention: negative waits without limit.
fn timeout(ms: Option<u32>) -> i32 {
    ms.map_or(-1, |ms| i32::try_from(ms).unwrap_or(i32::MAX))
}
