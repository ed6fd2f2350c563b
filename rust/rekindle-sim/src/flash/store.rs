// SPDX-License-Identifier: Apache-2.0
//! Where the bytes of a simulated chip live: in memory, or in a file that outlives the process.

use alloc::sync::Arc;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

const PAGE: usize = 1024;

/// Plain bytes that can be overwritten at will; the rules of flash are [`NorFlash`](super::NorFlash)'s.
pub trait Store {
    /// Reads `out.len()` bytes at `offset`.
    ///
    /// # Errors
    /// What the medium under it reports.
    fn read(&mut self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Puts `bytes` at `offset`. One call is one indivisible change for whoever kills the process.
    ///
    /// # Errors
    /// What the medium under it reports.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

/// Bytes in memory. A clone shares every page until one of the two writes to it.
#[derive(Clone, Debug)]
pub struct RamStore {
    pages: Vec<Arc<[u8; PAGE]>>,
}

impl RamStore {
    /// `len` bytes of 0xFF.
    #[must_use]
    pub fn new(len: u64) -> Self {
        let blank = Arc::new([0xFF; PAGE]);
        Self { pages: vec![blank; (len as usize).div_ceil(PAGE)] }
    }
}

fn beyond_end() -> io::Error {
    io::Error::from(io::ErrorKind::UnexpectedEof)
}

impl Store for RamStore {
    fn read(&mut self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut at = offset as usize;
        let mut rest = out;
        while !rest.is_empty() {
            let page = self.pages.get(at / PAGE).ok_or_else(beyond_end)?;
            let start = at % PAGE;
            let n = rest.len().min(PAGE - start);
            let (head, tail) = rest.split_at_mut(n);
            head.copy_from_slice(&page[start..start + n]);
            rest = tail;
            at += n;
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut at = offset as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let page = self.pages.get_mut(at / PAGE).ok_or_else(beyond_end)?;
            let start = at % PAGE;
            let n = rest.len().min(PAGE - start);
            let (head, tail) = rest.split_at(n);
            Arc::make_mut(page)[start..start + n].copy_from_slice(head);
            rest = tail;
            at += n;
        }
        Ok(())
    }
}

/// Bytes in a file. Every change is written through before the call returns, so that killing the process is
/// what a power cut is to a device.
#[derive(Debug)]
pub struct FileStore {
    file: File,
}

impl FileStore {
    /// Opens `path`, or creates it with `len` bytes of 0xFF. Gives `true` when it was created.
    ///
    /// # Errors
    /// Whatever the file system reports; `InvalidData` when the file exists with another length.
    pub fn open(path: &Path, len: u64) -> io::Result<(Self, bool)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let found = file.metadata()?.len();
        let created = found == 0;
        if created {
            let blank = [0xFF; PAGE];
            let mut left = len;
            while left > 0 {
                let n = left.min(PAGE as u64);
                file.write_all(&blank[..n as usize])?;
                left -= n;
            }
        } else if found != len {
            let text = format!("the flash file has {found} bytes, a flash of this geometry has {len}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok((Self { file }, created))
    }
}

impl Store for FileStore {
    fn read(&mut self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read_exact(out)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(bytes)
    }
}
