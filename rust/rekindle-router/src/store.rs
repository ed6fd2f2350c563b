// SPDX-License-Identifier: Apache-2.0
//! The store: a directory with the core's five files, of which one daemon at a time has the lock.
//!
//! What the core calls durable is durable here: sync is fsync, of the directory too where the file is new; commit is
//! a rename, and remove an unlink, with an fsync of the directory behind it. So `kill -9` and a power cut leave what
//! the core counts on.

use std::fs::{self, File as OsFile, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rekindle_relay::{File, STORE_MAX, StoreFault, StoreOp};

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made or used.
    #[error("cannot use the store {}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could change what is in it, root mode included.
    #[error("others can write the store {}: `chmod 700` it", .0.display())]
    Exposed(PathBuf),
    /// Another daemon has it.
    #[error("the store {} is in use by another daemon: end that one, or give this one another store", .0.display())]
    Locked(PathBuf),
}

/// A file that is open, and how long it is.
#[derive(Debug)]
struct Open {
    file: OsFile,
    len: u64,
    /// Its name is not durable yet.
    fresh: bool,
}

/// The store in a directory.
#[derive(Debug)]
pub struct DirStore {
    path: PathBuf,
    directory: OsFile,
    /// Held as long as the process lives; the operating system gives it back, however that ends.
    _lock: OsFile,
    open: [Option<Open>; 5],
    buffer: Vec<u8>,
}

impl DirStore {
    /// Opens the store, or makes it, and locks it.
    ///
    /// # Errors
    /// [`StoreError`] names the directory and the reason.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { path: path.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        if fs::metadata(path).map_err(failed)?.mode() & 0o022 != 0 {
            return Err(StoreError::Exposed(path.to_owned()));
        }
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let directory = OsFile::open(path).map_err(failed)?;
        directory.sync_all().map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            directory,
            _lock: lock,
            open: [const { None }; 5],
            buffer: vec![0; STORE_MAX],
        })
    }

    /// Carries out one operation. Faults are logged with their reason.
    ///
    /// # Errors
    /// [`StoreFault`] when it could not be carried out.
    pub fn perform(&mut self, op: &StoreOp<'_>) -> Result<&[u8], StoreFault> {
        let done = match *op {
            StoreOp::Append { file, at, data } => self.append(file, at.into(), data).map(|()| 0),
            StoreOp::Sync { file } => self.sync(file).map(|()| 0),
            StoreOp::Read { file, offset, len } => self.read(file, offset.into(), len),
            StoreOp::Commit { from, to } => self.commit(from, to).map(|()| 0),
            StoreOp::Remove { file } => self.remove(file).map(|()| 0),
        };
        match done {
            Ok(len) => Ok(self.buffer.get(..len).unwrap_or_default()),
            Err(error) => {
                tracing::error!(store = %self.path.display(), operation = ?brief(op), %error, "store failed");
                Err(StoreFault)
            }
        }
    }

    fn append(&mut self, file: File, at: u64, data: &[u8]) -> io::Result<()> {
        let open = self.opened(file, true)?.ok_or(ErrorKind::NotFound)?;
        if open.len < at {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the file is shorter than it was"));
        }
        if open.len > at {
            open.file.set_len(at)?;
            open.len = at;
        }
        open.file.write_all_at(data, at)?;
        open.len = at.saturating_add(u64::try_from(data.len()).unwrap_or(0));
        Ok(())
    }

    fn sync(&mut self, file: File) -> io::Result<()> {
        let Some(open) = self.opened(file, false)? else { return Ok(()) };
        open.file.sync_all()?;
        if open.fresh {
            self.directory.sync_all()?;
            if let Some(open) = self.opened(file, false)? {
                open.fresh = false;
            }
        }
        Ok(())
    }

    fn read(&mut self, file: File, offset: u64, len: u32) -> io::Result<usize> {
        let mut buffer = core::mem::take(&mut self.buffer);
        let read = self.read_into(file, offset, len, &mut buffer);
        self.buffer = buffer;
        read
    }

    fn read_into(&mut self, file: File, offset: u64, len: u32, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(open) = self.opened(file, false)? else { return Ok(0) };
        let wanted = usize::try_from(len).unwrap_or(0).min(buffer.len());
        let mut got = 0;
        while let Some(rest) = buffer.get_mut(got..wanted).filter(|rest| !rest.is_empty()) {
            match open.file.read_at(rest, offset.saturating_add(u64::try_from(got).unwrap_or(0))) {
                Ok(0) => break,
                Ok(count) => got = got.saturating_add(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }

    fn commit(&mut self, from: File, to: File) -> io::Result<()> {
        self.close(from);
        self.close(to);
        fs::rename(self.path.join(name(from)), self.path.join(name(to)))?;
        self.directory.sync_all()
    }

    fn remove(&mut self, file: File) -> io::Result<()> {
        self.close(file);
        match fs::remove_file(self.path.join(name(file))) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => self.directory.sync_all(),
        }
    }

    /// The open file; `None` if there is none and none is to be made.
    fn opened(&mut self, file: File, make: bool) -> io::Result<Option<&mut Open>> {
        let path = self.path.join(name(file));
        let Some(place) = self.open.get_mut(index(file)) else { return Ok(None) };
        if place.is_none() {
            let mut options = OpenOptions::new();
            options.read(true).write(true);
            let (handle, fresh) = match options.open(&path) {
                Ok(handle) => (handle, false),
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Err(_) if !make => return Ok(None),
                Err(_) => (options.create_new(true).open(&path)?, true),
            };
            let len = handle.metadata()?.len();
            *place = Some(Open { file: handle, len, fresh });
        }
        Ok(place.as_mut())
    }

    fn close(&mut self, file: File) {
        if let Some(place) = self.open.get_mut(index(file)) {
            *place = None;
        }
    }
}

/// Name of a file of the store.
#[must_use]
pub const fn name(file: File) -> &'static str {
    match file {
        File::Image => "image",
        File::State => "state",
        File::StateNew => "state.new",
        File::Audit => "audit",
        File::AuditOld => "audit.old",
    }
}

const fn index(file: File) -> usize {
    match file {
        File::Image => 0,
        File::State => 1,
        File::StateNew => 2,
        File::Audit => 3,
        File::AuditOld => 4,
    }
}

/// An operation without its data.
fn brief(op: &StoreOp<'_>) -> (&'static str, &'static str) {
    match *op {
        StoreOp::Append { file, .. } => ("append", name(file)),
        StoreOp::Sync { file } => ("sync", name(file)),
        StoreOp::Read { file, .. } => ("read", name(file)),
        StoreOp::Commit { to, .. } => ("commit", name(to)),
        StoreOp::Remove { file } => ("remove", name(file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(store: &mut DirStore, file: File, at: u32, data: &[u8]) -> Result<(), StoreFault> {
        store.perform(&StoreOp::Append { file, at, data }).map(drop)
    }

    fn read(store: &mut DirStore, file: File, offset: u32, len: u32) -> Vec<u8> {
        store.perform(&StoreOp::Read { file, offset, len }).unwrap().to_vec()
    }

    #[test]
    fn operations_do_what_the_core_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = DirStore::open(&folder.path().join("a/b")).unwrap();
        assert_eq!(read(&mut store, File::Image, 0, 9), b"", "no file reads as nothing");
        append(&mut store, File::Image, 0, b"hello world").unwrap();
        store.perform(&StoreOp::Sync { file: File::Image }).unwrap();
        assert_eq!(read(&mut store, File::Image, 6, 256), b"world");
        append(&mut store, File::Image, 5, b"!").unwrap();
        assert_eq!(read(&mut store, File::Image, 0, 256), b"hello!", "what was behind is cut off");
        assert_eq!(append(&mut store, File::Image, 7, b"x"), Err(StoreFault), "there is a gap");
        append(&mut store, File::StateNew, 0, b"new").unwrap();
        append(&mut store, File::State, 0, b"old one").unwrap();
        store.perform(&StoreOp::Commit { from: File::StateNew, to: File::State }).unwrap();
        assert_eq!(read(&mut store, File::State, 0, 256), b"new");
        assert_eq!(read(&mut store, File::StateNew, 0, 256), b"");
        assert!(store.perform(&StoreOp::Commit { from: File::StateNew, to: File::State }).is_err());
        store.perform(&StoreOp::Remove { file: File::State }).unwrap();
        store.perform(&StoreOp::Remove { file: File::State }).unwrap();
        assert_eq!(read(&mut store, File::State, 0, 256), b"");
    }

    #[test]
    fn a_second_daemon_is_kept_out_and_the_next_one_finds_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = DirStore::open(folder.path()).unwrap();
        append(&mut store, File::Audit, 0, b"kept").unwrap();
        let second = DirStore::open(folder.path()).unwrap_err();
        assert!(matches!(second, StoreError::Locked(_)), "{second}");
        drop(store);
        let mut store = DirStore::open(folder.path()).unwrap();
        assert_eq!(read(&mut store, File::Audit, 0, 256), b"kept");
        append(&mut store, File::Audit, 4, b" and more").unwrap();
        assert_eq!(read(&mut store, File::Audit, 0, 256), b"kept and more");
    }

    #[test]
    fn a_store_that_others_can_write_is_none() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        for (mode, good) in [(0o770, false), (0o707, false), (0o755, true), (0o700, true)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            let exposed = matches!(DirStore::open(folder.path()), Err(StoreError::Exposed(_)));
            assert_eq!(exposed, !good, "{mode:o}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let error = DirStore::open(&path.join("store")).unwrap_err();
        assert!(error.to_string().contains("file/store"), "{error}");
    }
}
