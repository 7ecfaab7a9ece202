//! Where measured files go: a fresh directory on a real disk, removed afterwards.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use thiserror::Error;

use crate::cleanup;

/// A directory that is removed when dropped, unless it is kept.
#[derive(Debug)]
pub(crate) struct Place {
    dir: Option<TempDir>,
    path: PathBuf,
}

/// Why there is no place to measure at.
#[derive(Debug, Error)]
pub(crate) enum PlaceError {
    /// The directory cannot be made.
    #[error("cannot make a directory in {parent}: {error}; choose another place with --dir")]
    Make {
        /// Where it should have been.
        parent: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is nothing to go on with.
    #[error(
        "no kept node in {parent}; --resume goes on with a directory that an interrupted replay left there (see --dir and --keep)"
    )]
    NothingKept {
        /// Where it was looked for.
        parent: PathBuf,
    },
}

impl Place {
    /// A fresh directory in `parent`, or on the first real disk among the usual places.
    pub(crate) fn fresh(parent: Option<&Path>) -> Result<Self, PlaceError> {
        let parent = parent.map_or_else(default_parent, Path::to_path_buf);
        let mut left = cleanup::hold();
        let made = std::fs::create_dir_all(&parent)
            .and_then(|()| tempfile::Builder::new().prefix(PREFIX).rand_bytes(8).tempdir_in(&parent));
        let dir = made.map_err(|error| PlaceError::Make { parent, error })?;
        left.note_directory(dir.path());
        Ok(Self { path: dir.path().to_path_buf(), dir: Some(dir) })
    }

    /// The youngest directory that an earlier run left in `parent`.
    pub(crate) fn kept(parent: Option<&Path>) -> Result<Self, PlaceError> {
        let parent = parent.map_or_else(default_parent, Path::to_path_buf);
        let entries = std::fs::read_dir(&parent).into_iter().flatten().flatten();
        let youngest = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .max();
        let Some((_, path)) = youngest else { return Err(PlaceError::NothingKept { parent }) };
        Ok(Self { path, dir: None })
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory where it is.
    pub(crate) fn keep(&mut self) {
        cleanup::forget_directory(&self.path);
        if let Some(dir) = self.dir.take() {
            self.path = dir.keep();
        }
    }

    /// Removes the directory now, also one that was kept by an earlier run.
    pub(crate) fn remove(mut self) {
        if let Some(dir) = self.dir.take() {
            return drop(dir);
        }
        // A directory that cannot be removed stays for the operator, as it was found.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.dir.take());
        cleanup::forget_directory(&self.path);
    }
}

/// The first of the usual places that is not memory; an `O_DIRECT` write to memory measures nothing.
fn default_parent() -> PathBuf {
    let places = [PathBuf::from("/var/tmp"), std::env::temp_dir(), PathBuf::from(".")];
    places.iter().find(|place| is_on_disk(place)).unwrap_or(&places[2]).clone()
}

/// The file system at this path keeps its bytes on a disk, as far as its type tells.
pub(crate) fn is_on_disk(path: &Path) -> bool {
    rustix::fs::statfs(path)
        .is_ok_and(|stat| !MEMORY_FILE_SYSTEMS.contains(&(stat.f_type as u64 & 0xffff_ffff)))
}

/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of linux/magic.h.
const MEMORY_FILE_SYSTEMS: [u64; 2] = [0x0102_1994, 0x8584_58f6];
const PREFIX: &str = "latency-probe-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_place_is_gone_afterwards_and_a_kept_one_is_found_again() {
        let parent = tempfile::tempdir().expect("a directory");
        let place = Place::fresh(Some(parent.path())).expect("a place");
        let path = place.path().to_path_buf();
        assert!(path.is_dir());
        drop(place);
        assert!(!path.exists());
        assert!(matches!(Place::kept(Some(parent.path())), Err(PlaceError::NothingKept { .. })));

        let mut place = Place::fresh(Some(parent.path())).expect("a place");
        place.keep();
        let path = place.path().to_path_buf();
        drop(place);
        let again = Place::kept(Some(parent.path())).expect("the kept place");
        assert_eq!(again.path(), path);
        again.remove();
        assert!(!path.exists());
    }

    #[test]
    fn memory_is_no_disk() {
        if Path::new("/dev/shm").is_dir() {
            assert!(!is_on_disk(Path::new("/dev/shm")));
        }
        assert!(!is_on_disk(Path::new("/nonexistent")));
    }
}
