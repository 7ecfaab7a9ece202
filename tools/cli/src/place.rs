//! Where the socket is, when nobody says.
//!
//! `io_oi dev` leaves a symbolic link `current` to its socket in a directory that only this user can enter:
//! `$XDG_RUNTIME_DIR/io_oi`, or `/tmp/io_oi-<uid>` where there is no such variable. Order of the search:
//! `--socket`, `IO_OI_SOCKET`, the link.
//!
//! Invariant: a directory that another user could have prepared is refused, never followed.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// The directory of this user; see the head of the file.
pub(crate) fn directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(runtime) if Path::new(&runtime).is_absolute() => Path::new(&runtime).join("io_oi"),
        _ => PathBuf::from(format!("/tmp/io_oi-{}", user_id())),
    }
}

/// The socket that the newest `io_oi dev` of this user serves, if it left a link.
pub(crate) fn current() -> io::Result<Option<PathBuf>> {
    let directory = directory();
    match check(&directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    match fs::read_link(directory.join(LINK)) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The link to a running node's socket; taken away again when dropped.
pub(crate) struct Announcement {
    link: PathBuf,
    socket: PathBuf,
}

impl Announcement {
    /// Points `current` at `socket`. The newest announcement wins.
    pub(crate) fn publish(socket: &Path) -> io::Result<Self> {
        let directory = directory();
        match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        check(&directory)?;
        // Made aside and renamed: a reader finds the old link or the new one, never none.
        let fresh = directory.join(format!("{LINK}.{}", std::process::id()));
        let _ = fs::remove_file(&fresh);
        symlink(socket, &fresh)?;
        let link = directory.join(LINK);
        fs::rename(&fresh, &link)?;
        Ok(Self { link, socket: socket.to_owned() })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if fs::read_link(&self.link).is_ok_and(|socket| socket == self.socket) {
            let _ = fs::remove_file(&self.link); // A newer node's link is left alone; a vanished one is fine.
        }
    }
}

const LINK: &str = "current";

fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A real directory, ours, closed to everybody else.
fn check(directory: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(directory)?;
    let refuse = |what: &str| {
        let text = format!("{} {what}: remove it, or name the socket with --socket", directory.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    };
    if !found.is_dir() {
        return refuse("is not a directory");
    }
    if found.uid() != user_id() {
        return refuse("belongs to another user");
    }
    if found.mode() & 0o077 != 0 {
        return refuse("is open to other users");
    }
    Ok(())
}
