// SPDX-License-Identifier: Apache-2.0

//! The controller's store: littlefs behind the operations of the core, one to one.

use rekindle_relay::{File, STORE_MAX, StoreFault, StoreOp};

use super::ffi;
use crate::Errno;

/// The shims' number of a file.
const fn id(file: File) -> u8 {
    match file {
        File::Image => 0,
        File::State => 1,
        File::StateNew => 2,
        File::Audit => 3,
        File::AuditOld => 4,
    }
}

/// The mounted store. There is one per device.
#[derive(Debug)]
pub(super) struct Store {
    buffer: [u8; STORE_MAX],
    room: u32,
}

impl Store {
    /// Mounts the file system, which is made on an empty partition.
    pub(super) fn open() -> Result<Self, Errno> {
        let mut room = 0;
        // SAFETY: `room` is a valid, exclusive destination for the call.
        Errno::check(unsafe { ffi::rekindle_store_open(&raw mut room) })?;
        Ok(Self { buffer: [0; STORE_MAX], room })
    }

    /// Room for an image, in bytes.
    pub(super) const fn room(&self) -> u32 {
        self.room
    }

    /// Carries one operation out; the bytes for a read, nothing for another.
    pub(super) fn perform(&mut self, op: &StoreOp<'_>) -> Result<&[u8], StoreFault> {
        let rc = match *op {
            StoreOp::Read { file, offset, len } => return self.read(file, offset, len),
            // SAFETY: `data` is valid for `data.len()` reads for the call and the shim keeps
            // no pointer.
            StoreOp::Append { file, at, data } => unsafe {
                ffi::rekindle_store_append(id(file), at, data.as_ptr(), data.len())
            },
            StoreOp::Sync { file } => ffi::rekindle_store_sync(id(file)),
            StoreOp::Commit { from, to } => ffi::rekindle_store_commit(id(from), id(to)),
            StoreOp::Remove { file } => ffi::rekindle_store_remove(id(file)),
        };
        Errno::check(rc).map(|()| &[][..]).map_err(|_| StoreFault)
    }

    fn read(&mut self, file: File, offset: u32, len: u32) -> Result<&[u8], StoreFault> {
        let len = usize::try_from(len).map_err(|_| StoreFault)?;
        let place = self.buffer.get_mut(..len).ok_or(StoreFault)?;
        // SAFETY: `place` is valid for `place.len()` writes for the call and the shim keeps no
        // pointer.
        let n = unsafe { ffi::rekindle_store_read(id(file), offset, place.as_mut_ptr(), place.len()) };
        let n = usize::try_from(n).map_err(|_| StoreFault)?;
        self.buffer.get(..n).ok_or(StoreFault)
    }
}
