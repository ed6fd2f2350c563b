// SPDX-License-Identifier: Apache-2.0
//! Files: read with an error that names them, written whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

use crate::exit::{Exit, Failure, Outcome};

/// Largest file read, in bytes: MCUboot's image sizes are 32-bit, and no slot comes near this.
const SIZE_MAX: u64 = 64 * 1024 * 1024;

/// Reads a whole file.
pub(crate) fn read(path: &Path, what: &str) -> Outcome<Vec<u8>> {
    let failed = |error: &io::Error| {
        let failure = Failure::new(Exit::Input, format!("cannot read {what} {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::NotFound => failure.next("check the path"),
            _ => failure,
        }
    };
    let meta = fs::metadata(path).map_err(|error| failed(&error))?;
    if meta.is_dir() {
        return Err(Failure::new(Exit::Input, format!("{what} {} is a folder", path.display())));
    }
    if meta.len() > SIZE_MAX {
        let message = format!("{what} {} has {} bytes: more than any slot", path.display(), meta.len());
        return Err(Failure::new(Exit::Input, message));
    }
    fs::read(path).map_err(|error| failed(&error))
}

/// Whether an existing file may be replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replace {
    Yes,
    Never,
}

/// Who may read a new file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    Owner,
    All,
}

/// Writes a file by way of a temporary one beside it, so that no partial file ever stands in its place.
pub(crate) fn write(path: &Path, content: &[u8], replace: Replace, readers: Readers) -> Outcome {
    let failed = |error: &io::Error| {
        let failure = Failure::new(Exit::Input, format!("cannot write {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::AlreadyExists => failure.next("choose another name, or move the old file away"),
            io::ErrorKind::NotFound => failure.next("does the folder exist?"),
            _ => failure,
        }
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = temporary(folder, readers).map_err(|error| failed(&error))?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(|error| failed(&error))?;
    let kept = match replace {
        Replace::Yes => file.persist(path),
        Replace::Never => file.persist_noclobber(path),
    };
    kept.map(drop).map_err(|error| failed(&error.error))
}

fn temporary(folder: &Path, readers: Readers) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".rekindle-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = if readers == Readers::Owner { 0o600 } else { 0o644 };
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = readers;
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write(&path, b"one", Replace::Never, Readers::All).unwrap();
        let refused = write(&path, b"two", Replace::Never, Readers::All).unwrap_err();
        assert_eq!(refused.exit, Exit::Input);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(&path, b"two", Replace::Yes, Readers::All).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_private_from_its_first_byte() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write(&path, b"secret", Replace::Never, Readers::Owner).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
