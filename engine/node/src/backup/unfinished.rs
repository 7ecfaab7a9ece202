//! A directory that gets its name when it is whole.
//!
//! Invariant: nothing stands under the name before, and everything in it is flushed before it gets it.

use std::path::{Path, PathBuf};

use io_oi_wal::create_directory;

use super::BackupError;
use crate::directory::{self, Directory};

/// The directory while it is made, and locked so that nobody else makes it, too.
pub(super) struct Unfinished {
    /// Keeps its lock.
    _directory: Directory,
    beside: PathBuf,
    path: PathBuf,
    has_its_name: bool,
}

impl Unfinished {
    /// Beside `path`, under its name and `.unfinished`; what an attempt before left there is removed.
    pub(super) fn begin(path: &Path) -> Result<Self, BackupError> {
        refuse_content(path)?;
        let mut name =
            path.file_name().ok_or_else(|| BackupError::InTheWay { path: path.to_owned() })?.to_owned();
        name.push(".unfinished");
        let beside = path.with_file_name(name);
        create_directory(&beside).map_err(|error| BackupError::io("create", &beside, error))?;
        let directory = Directory::open(&beside)?;
        empty(&beside).map_err(|error| BackupError::io("empty", &beside, error))?;
        Ok(Self { _directory: directory, beside, path: path.to_owned(), has_its_name: false })
    }

    /// Where it is made.
    pub(super) fn beside(&self) -> &Path {
        &self.beside
    }

    /// Everything in it is flushed: now it gets its name, and that is flushed, too.
    pub(super) fn finish(mut self) -> Result<(), BackupError> {
        refuse_content(&self.path)?;
        let renamed = directory::rename(&self.beside, &self.path);
        renamed.map_err(|error| BackupError::io("rename to", &self.path, error))?;
        self.has_its_name = true;
        Ok(())
    }
}

/// What was not finished is of no use, and may hold a copy of a key.
impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.has_its_name {
            // What stays is removed by the next attempt.
            let _ = std::fs::remove_dir_all(&self.beside);
        }
    }
}

fn refuse_content(path: &Path) -> Result<(), BackupError> {
    let is_free = match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(BackupError::io("read", path, error)),
    };
    if is_free { Ok(()) } else { Err(BackupError::InTheWay { path: path.to_owned() }) }
}

/// All but the lock, which is held.
fn empty(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() == "lock" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
