//! Key files: 64 hexadecimal digits, readable by their owner alone.
//!
//! Invariant: a key that others can read is refused, never used; a key file is made anew or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use io_oi_record::{Hash, Signer};

use crate::failure::Failure;

/// Reads a key file.
pub(crate) fn load(path: &Path) -> Result<Signer, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::with_help(
            format!("cannot read the key {}: {error}", path.display()),
            "name the key file; `io_oi genesis key FILE` makes a new key",
        )
    };
    let mode = fs::metadata(path).map_err(cannot)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::with_help(
            format!("{} has mode {mode:o}: others could sign with this key", path.display()),
            format!("run: chmod 600 {}", path.display()),
        ));
    }
    let text = fs::read_to_string(path).map_err(cannot)?;
    // Any 32 bytes in hexadecimal; the hash type happens to read exactly that.
    let secret: Hash = text.trim().parse().map_err(|error| {
        Failure::with_help(
            format!("{} is no key: {error}", path.display()),
            "a key file holds 64 hexadecimal digits and nothing else; restore it from a backup",
        )
    })?;
    Ok(Signer::from_secret(&secret.0))
}

/// Makes a key file that must not be there yet.
pub(crate) fn make(path: &Path) -> Result<Signer, Failure> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| Failure::other(format!("no random bytes: {error}")))?;
    write_new(path, &secret).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::with_help(
            format!("{} is there already", path.display()),
            "a key is never overwritten: name another file, or move this one away",
        ),
        _ => Failure::with_help(
            format!("cannot write the key {}: {error}", path.display()),
            "name a file in a directory that you may write",
        ),
    })?;
    Ok(Signer::from_secret(&secret))
}

/// The key in the file, or a new one where there is no file.
pub(crate) fn load_or_make(path: &Path) -> Result<Signer, Failure> {
    if path.exists() { load(path) } else { make(path) }
}

/// Writes a file beside its place and moves it there, flushed: it is the old one or the new one, never a part.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::with_help(
            format!("cannot write {}: {error}", path.display()),
            "name a file in a directory that you may write and that has room",
        )
    };
    let beside = path.with_file_name(format!(
        "{}.{}.new",
        path.file_name().unwrap_or_default().to_string_lossy(),
        std::process::id()
    ));
    let written = File::create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| sync_parent(path));
    if written.is_err() {
        let _ = fs::remove_file(&beside); // What could not be written may not be there either.
    }
    written.map_err(cannot)
}

fn write_new(path: &Path, secret: &[u8; 32]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(format!("{}\n", Hash(*secret)).as_bytes())?;
    file.sync_all()?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        let made = make(&path).unwrap();
        assert_eq!(load(&path).unwrap().node(), made.node());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(make(&path).is_err());
        assert_eq!(load_or_make(&path).unwrap().node(), made.node());
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_cut_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        make(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(load(&path).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "abcd\n").unwrap();
        assert!(load(&path).is_err());
    }

    #[test]
    fn a_replaced_file_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace(&dir.path().join("no/where"), b"").is_err());
    }
}
