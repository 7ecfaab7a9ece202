//! Directories that are there after a power cut.
//!
//! Invariant: a directory is made only in one that is durable itself, so whenever a path is there, at most its last part
//! may still be lost; that one is flushed here whether it was made here or not.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a directory and those above it, as far as they are missing, and makes their names durable. A directory that is
/// there already is flushed into its parent, too: whoever made it may have died before doing so.
///
/// # Errors
/// A directory cannot be made or flushed, or something else has the name.
pub fn create_directory(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        if let Some(parent) = parent_of(path) {
            create_directory(parent)?;
        }
        match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            made => made?,
        }
    }
    flush_name(path)
}

/// Makes the name of a file or directory durable.
fn flush_name(path: &Path) -> io::Result<()> {
    match File::open(parent_of(path).unwrap_or(Path::new("."))) {
        Ok(parent) => parent.sync_all(),
        // A directory may be entered without being readable; then everything on its file system is flushed.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Ok(rustix::fs::syncfs(File::open(path)?)?)
        }
        Err(error) => Err(error),
    }
}

/// The directory that holds the name, if the path says which.
fn parent_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

const DIRECTORY_MODE: u32 = 0o755;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_ancestor_is_made_and_a_second_call_is_as_good_as_the_first() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/b/c");
        for _ in 0..2 {
            create_directory(&path).unwrap();
            assert!(path.is_dir());
        }
        create_directory(&temporary.path().join("a/b/../d/")).unwrap();
        assert!(temporary.path().join("a/d").is_dir());
        create_directory(Path::new("/")).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("file");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(create_directory(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(create_directory(&path.join("below")).is_err());
    }
}
