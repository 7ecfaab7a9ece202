//! Small file systems of their own, mounted from a file, for tests that fill them or take their power away.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted image file; unmounted and removed when dropped.
pub struct Mount {
    directory: tempfile::TempDir,
    mounted: bool,
}

impl Mount {
    /// Makes a file system of this kind and size and mounts it, or says why that is not possible here.
    pub fn make(kind: &str, megabytes: u64) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting needs root".to_owned());
        }
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = directory.path().join("image");
        let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(megabytes << 20).map_err(|error| error.to_string())?;
        std::fs::create_dir(directory.path().join("root")).map_err(|error| error.to_string())?;
        let force = if kind == "xfs" { "-f" } else { "-F" };
        run(Command::new(format!("mkfs.{kind}")).args(["-q", force]).arg(&image))?;
        let mut mount = Self { directory, mounted: false };
        mount.mount()?;
        Ok(mount)
    }

    /// The mounted directory.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Mounts the image.
    pub fn mount(&mut self) -> Result<(), String> {
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(self.directory.path().join("image"))
            .arg(self.path()))?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts it; a dead process may hold it for a moment longer.
    pub fn unmount(&mut self) -> Result<(), String> {
        let mut outcome = Ok(());
        for _ in 0..100 {
            outcome = run(Command::new("umount").arg(self.path()));
            if outcome.is_ok() {
                self.mounted = false;
                return outcome;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        outcome
    }

    /// Takes the file system's power away: nothing that was not flushed reaches the journal any more.
    pub fn cut_power(&self) -> Result<(), String> {
        // FS_IOC_SHUTDOWN with the flag "no log flush" (2), by a tool that can call it without unsafe code of ours.
        const SHUTDOWN: &str = "open(my $d, '<', $ARGV[0]) or die $!; my $flag = pack('L', 2); defined(ioctl($d, 0x8004587d, $flag)) or die $!;";
        run(Command::new("perl").args(["-e", SHUTDOWN]).arg(self.path()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted {
            // A failed test may leave a process in it: detach it all the same.
            let _ = run(Command::new("umount").arg("-l").arg(self.path()));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Whether this file system exists here; prints why not.
pub fn mount_or_skip(kind: &str, megabytes: u64) -> Option<Mount> {
    match Mount::make(kind, megabytes) {
        Ok(mount) => Some(mount),
        Err(reason) => {
            println!("skipped: no {kind} on a loop device: {reason}");
            None
        }
    }
}

/// Bytes of the file system that nobody uses.
pub fn ballast(path: &Path, bytes: u64) -> PathBuf {
    let file = path.join("ballast");
    std::fs::write(&file, vec![1; bytes as usize]).unwrap();
    file
}
