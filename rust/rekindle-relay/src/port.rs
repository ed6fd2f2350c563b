// SPDX-License-Identifier: Apache-2.0
//! What the controller asks of its store, as data.
//!
//! A few files by fixed names, each written only at its end. A host carries the operations out on a directory,
//! Zephyr on littlefs; either way one operation at a time, in order, and power may go between any two.

/// Largest number of bytes of one [`StoreOp::Read`] or [`StoreOp::Append`].
pub const STORE_MAX: usize = 256;
/// [`STORE_MAX`], as offsets are counted.
pub(crate) const STORE_MAX_U32: u32 = 256;

/// A file of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum File {
    /// The image, whole or as far as it has come.
    Image,
    /// What the controller must remember.
    State,
    /// The same, while it is being written anew.
    StateNew,
    /// The record of root mode: who allowed what, and what went out unsigned.
    Audit,
    /// The part of that record that came before.
    AuditOld,
}

/// One operation.
///
/// **Only [`Sync`](StoreOp::Sync) makes bytes durable.** After a power cut a file has at least what it had at its
/// last sync, and anything behind that. Commit and Remove are durable when they are answered, and a cut leaves
/// either the old or the new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOp<'a> {
    /// Put `data` at byte `at`. Whatever the file has from there on is cut off; it is made if it does not exist.
    Append {
        /// The file.
        file: File,
        /// Length of the file before; a shorter file is a fault.
        at: u32,
        /// Bytes to append, 1..=[`STORE_MAX`].
        data: &'a [u8],
    },
    /// Make everything appended to the file durable.
    Sync {
        /// The file.
        file: File,
    },
    /// Read up to `len` bytes; fewer are answered where the file ends, none where there is no file.
    Read {
        /// The file.
        file: File,
        /// First byte.
        offset: u32,
        /// Number of bytes, 1..=[`STORE_MAX`].
        len: u32,
    },
    /// Give the file another name, replacing the file of that name as one step.
    Commit {
        /// The file.
        from: File,
        /// Its new name.
        to: File,
    },
    /// Remove the file; a file that does not exist is no fault.
    Remove {
        /// The file.
        file: File,
    },
}

/// An operation that the store could not carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFault;

/// One of the controller's links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// A connection of a client, northbound, by its number.
    Client(u8),
    /// A bus with appliances, southbound, by its number.
    Link(u8),
}
