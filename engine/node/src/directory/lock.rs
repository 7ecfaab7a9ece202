//! One node per directory.
//!
//! Invariant: the lock is the kernel's (flock), so it dies with its process; the process id inside is for the message only.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Self, LockError> {
        let io = |error| LockError::Io { path: path.to_owned(), error };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false) // The holder's id stands in there.
            .open(path)
            .map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Unreadable only makes the message poorer.
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                let holder = if holder.is_empty() { "unknown" } else { holder }.to_owned();
                return Err(LockError::Held { path: path.to_owned(), holder });
            }
            Err(errno) => return Err(io(errno.into())),
        }
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        file.set_len(0).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

/// Why the directory's lock was not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another node runs in this directory.
    #[error(
        "another node (process {holder}) holds {path}: stop it first, or start this one in another directory."
    )]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The other's process id.
        holder: String,
    },
    /// The system refused.
    #[error("cannot lock {path}: {error}. Check its permissions and the free space.")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}
