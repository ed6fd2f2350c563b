// SPDX-License-Identifier: Apache-2.0

//! Where the controller's frames come from and go to: the bus, and its own receiver.

use fusain::{Address, Decoder, FRAME_MAX, encode_frame};

use super::ffi;
use crate::Errno;

/// Longest wait for room in the transmitter, in milliseconds. A bus that takes nothing for
/// this long is down, and the frame is lost like any other on a broken link.
const SEND_TIMEOUT_MS: i32 = 1_000;

/// Bytes that are read ahead of a decoder.
const AHEAD: usize = 64;

/// A decoder with the bytes that it has yet to take.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) decoder: Decoder,
    bytes: [u8; AHEAD],
    next: usize,
    end: usize,
}

impl Input {
    pub(super) const fn new() -> Self {
        Self { decoder: Decoder::new(), bytes: [0; AHEAD], next: 0, end: 0 }
    }

    /// The next byte; `read` stores more where there is none.
    pub(super) fn byte(&mut self, read: impl FnOnce(&mut [u8]) -> usize) -> Option<u8> {
        if self.next >= self.end {
            self.next = 0;
            self.end = read(&mut self.bytes).min(AHEAD);
        }
        let byte = self.bytes.get(self.next..self.end)?.first().copied()?;
        self.next = self.next.saturating_add(1);
        Some(byte)
    }
}

/// The bus with the appliances.
#[derive(Debug)]
pub(super) struct Bus {
    pub(super) input: Input,
}

impl Bus {
    pub(super) fn open() -> Result<Self, Errno> {
        Errno::check(ffi::rekindle_bus_open())?;
        Ok(Self { input: Input::new() })
    }

    /// The next byte that has arrived.
    pub(super) fn byte(&mut self) -> Option<u8> {
        // SAFETY: `bytes` is valid for `bytes.len()` writes for the call and the shim keeps no
        // pointer.
        self.input.byte(|bytes| unsafe { ffi::rekindle_bus_read(bytes.as_mut_ptr(), bytes.len(), 0) })
    }

    /// Sends one frame.
    pub(super) fn send(&mut self, address: Address, payload: &[u8]) {
        with_frame(address, payload, |frame| {
            // A bus that takes nothing loses the frame; whoever needs the answer asks again.
            // SAFETY: `frame` is valid for `frame.len()` reads for the call and the shim keeps
            // no pointer.
            let _ = unsafe { ffi::rekindle_bus_write(frame.as_ptr(), frame.len(), SEND_TIMEOUT_MS) };
        });
    }
}

/// The controller's own receiver, on the other end of two rings.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) input: Input,
    /// Its address on the rings.
    address: Address,
}

impl Own {
    pub(super) const fn new(address: Address) -> Self {
        Self { input: Input::new(), address }
    }

    /// Hands a command on.
    pub(super) fn put(&self, payload: &[u8]) {
        with_frame(self.address, payload, |frame| {
            // SAFETY: `frame` is valid for `frame.len()` reads for the call and the shim keeps
            // no pointer.
            unsafe { ffi::rekindle_own_put(frame.as_ptr(), frame.len()) }
        });
    }

    /// The next byte of what it answers.
    pub(super) fn byte(&mut self) -> Option<u8> {
        // SAFETY: `bytes` is valid for `bytes.len()` writes for the call and the shim keeps no
        // pointer.
        self.input.byte(|bytes| unsafe { ffi::rekindle_own_take(bytes.as_mut_ptr(), bytes.len()) })
    }
}

/// Makes a frame for `send`; what is too long for one is lost.
pub(super) fn with_frame(address: Address, payload: &[u8], send: impl FnOnce(&[u8])) {
    let mut frame = [0; FRAME_MAX];
    if let Ok(len) = encode_frame(address, payload, &mut frame) {
        send(frame.get(..len).unwrap_or_default());
    }
}
