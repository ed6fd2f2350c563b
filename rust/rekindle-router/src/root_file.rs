// SPDX-License-Identifier: Apache-2.0
//! The physical act for root mode, on a host: a file that only an administrator of this machine can write.
//!
//! The administrator writes what is wanted into it (`enable`, `disable`, `allow-downgrade`, `forbid-downgrade`). The
//! daemon answers in its store's file `root-mode` with a code, and takes it for meant when `confirm CODE` stands in
//! the administrator's file in time. Nothing of this comes over a network, and there is no message for it.

use core::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Longest content that is looked at, in bytes.
const CONTENT_MAX: u64 = 64;

/// Name of the file in the store that says how root mode is.
pub const STATUS_NAME: &str = "root-mode";

/// What an administrator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Unsigned images pass.
    Enable,
    /// They do not any more.
    Disable,
    /// Older images pass, too, while root mode is on.
    AllowDowngrade,
    /// They do not any more.
    ForbidDowngrade,
}

impl Wish {
    /// Every wish.
    pub const ALL: [Self; 4] = [Self::Enable, Self::Disable, Self::AllowDowngrade, Self::ForbidDowngrade];

    /// How it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::AllowDowngrade => "allow-downgrade",
            Self::ForbidDowngrade => "forbid-downgrade",
        }
    }
}

/// What stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Wish(Wish),
    Confirm(String),
}

/// Why a file is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// The file, or a folder on the way to it, is not the administrator's, or others can write it.
    Writable(PathBuf),
    /// It says nothing we know.
    Senseless,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writable(path) => write!(
                f,
                "{} is not the administrator's alone: it must belong to user 0, and group and others must not \
                 be able to write it",
                path.display()
            ),
            Self::Senseless => {
                f.write_str("expected enable, disable, allow-downgrade, forbid-downgrade or confirm CODE")
            }
        }
    }
}

/// Watches the file.
#[derive(Debug)]
pub(crate) struct RootFile {
    path: PathBuf,
    administrator: u32,
    /// Content and time of the last look: each writing is taken once.
    seen: Option<(String, i64, i64)>,
}

impl RootFile {
    pub(crate) fn new(path: &Path, administrator: u32) -> Self {
        Self { path: path.to_owned(), administrator, seen: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What was newly written into it, if anything was.
    pub(crate) fn look(&mut self) -> Option<Result<Word, Distrust>> {
        // A link is not followed, and a pipe not waited for.
        let Some(named) = fs::symlink_metadata(&self.path).ok().filter(fs::Metadata::is_file) else {
            self.seen = None;
            return None;
        };
        // The open file is judged, not its name: between two looks a name may come to mean another file.
        let file = File::open(&self.path).ok()?;
        let meta =
            file.metadata().ok().filter(|meta| (meta.dev(), meta.ino()) == (named.dev(), named.ino()))?;
        let mut text = String::new();
        file.take(CONTENT_MAX).read_to_string(&mut text).unwrap_or_default();
        let now = (text.trim().to_owned(), meta.mtime(), meta.mtime_nsec());
        if self.seen.as_ref() == Some(&now) {
            return None;
        }
        let word = word(&now.0);
        self.seen = Some(now);
        if !self.is_trusted(&meta, false) {
            return Some(Err(Distrust::Writable(self.path.clone())));
        }
        let folder = self.path.parent().and_then(|folder| fs::canonicalize(folder).ok());
        for folder in folder.iter().flat_map(|folder| folder.ancestors()) {
            if !fs::symlink_metadata(folder).is_ok_and(|meta| self.is_trusted(&meta, true)) {
                return Some(Err(Distrust::Writable(folder.to_owned())));
            }
        }
        Some(word.ok_or(Distrust::Senseless))
    }

    /// The administrator's alone. A folder with the sticky bit, such as /tmp, lets others make files and take away
    /// only their own.
    fn is_trusted(&self, meta: &fs::Metadata, folder: bool) -> bool {
        const STICKY: u32 = 0o1000;
        let owned = meta.uid() == self.administrator || (folder && meta.uid() == 0);
        let others = meta.mode() & 0o022 != 0;
        owned && (!others || (folder && meta.mode() & STICKY != 0))
    }
}

fn word(text: &str) -> Option<Word> {
    if let Some(code) = text.strip_prefix("confirm ") {
        return Some(Word::Confirm(code.trim().to_owned()));
    }
    Wish::ALL.into_iter().find(|wish| wish.name() == text).map(Word::Wish)
}

/// A code for one confirmation. It guards against a confirmation that was not meant, not against guessing: whoever
/// can write the file can read the code.
pub(crate) fn code(seed: &[u8]) -> String {
    let digest = Sha256::digest(seed);
    let number = digest.iter().take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    format!("{:06}", number.checked_rem(1_000_000).unwrap_or(0))
}

/// Writes how root mode is into the store, whole or not at all.
pub(crate) fn write_status(store: &Path, text: &str) -> io::Result<()> {
    let fresh = store.join("root-mode.new");
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    fs::rename(fresh, store.join(STATUS_NAME))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_a_file_of_the_administrator_in_a_folder_of_the_administrator_counts() {
        let folder = tempfile::tempdir().unwrap();
        let me = fs::metadata(folder.path()).unwrap().uid();
        mode(folder.path(), 0o755);
        let path = folder.path().join("root-mode");
        let mut file = RootFile::new(&path, me);
        assert_eq!(file.look(), None);
        fs::write(&path, "enable\n").unwrap();
        mode(&path, 0o644);
        assert_eq!(file.look(), Some(Ok(Word::Wish(Wish::Enable))));
        assert_eq!(file.look(), None, "each writing counts once");
        fs::write(&path, "confirm 123456").unwrap();
        assert_eq!(file.look(), Some(Ok(Word::Confirm("123456".to_owned()))));
        fs::write(&path, "please").unwrap();
        assert_eq!(file.look(), Some(Err(Distrust::Senseless)));

        for (file_mode, folder_mode, culprit) in [
            (0o664, 0o755, path.as_path()),
            (0o646, 0o755, &path),
            (0o644, 0o775, folder.path()),
            (0o644, 0o757, folder.path()),
        ] {
            mode(&path, file_mode);
            mode(folder.path(), folder_mode);
            let culprit = if culprit == path { path.clone() } else { fs::canonicalize(culprit).unwrap() };
            let said = RootFile::new(&path, me).look();
            assert_eq!(said, Some(Err(Distrust::Writable(culprit))), "{file_mode:o} {folder_mode:o}");
        }
        mode(folder.path(), 0o755);
        mode(&path, 0o644);
        let of_another = RootFile::new(&path, me.wrapping_add(1)).look();
        assert!(matches!(of_another, Some(Err(Distrust::Writable(_)))), "{of_another:?}");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(RootFile::new(&link, me).look(), None, "a link is not followed");
    }

    #[test]
    fn codes_are_six_digits() {
        for seed in [&b""[..], b"a", b"b"] {
            let code = code(seed);
            assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()), "{code}");
        }
        assert_ne!(code(b"a"), code(b"b"));
    }
}
