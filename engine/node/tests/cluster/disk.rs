//! Disks of a node's own: one that can fill up, one whose writes can be made to hang.
//!
//! Invariant: a disk is thawed and unmounted when it is dropped, whoever still uses it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system; unmounted when dropped.
pub(crate) struct Disk {
    home: tempfile::TempDir,
    is_frozen: bool,
}

impl Disk {
    /// In memory, so small that it can be filled.
    pub(crate) fn small(mebibytes: u32) -> Result<Self, String> {
        let disk = Self::unmounted()?;
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs", text(&disk.path())])?;
        Ok(disk)
    }

    /// On a loop device: it can be frozen, and its power can be cut.
    pub(crate) fn on_loop_device(mebibytes: u64) -> Result<Self, String> {
        let disk = Self::unmounted()?;
        let image = disk.home.path().join("image");
        let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(mebibytes << 20).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q", "-F", text(&image)])?;
        run("mount", &["-o", "loop", text(&image), text(&disk.path())])?;
        Ok(disk)
    }

    fn unmounted() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting needs root".to_owned());
        }
        let home = tempfile::tempdir().map_err(|error| error.to_string())?;
        std::fs::create_dir(home.path().join("disk")).map_err(|error| error.to_string())?;
        Ok(Self { home, is_frozen: false })
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.home.path().join("disk")
    }

    /// Gives a small disk more room.
    pub(crate) fn grow(&self, mebibytes: u32) {
        run("mount", &["-o", &format!("remount,size={mebibytes}m"), text(&self.path())]).unwrap();
    }

    /// Takes the power of a disk on a loop device: what was not flushed never reaches the journal.
    pub(crate) fn cut_power(&self) {
        // FS_IOC_SHUTDOWN with the flag "no log flush" (2), by a tool that can call it without unsafe code of ours.
        const CALL: &str = "open(my $d, '<', $ARGV[0]) or die $!; my $flag = pack('L', 2); \
                            defined(ioctl($d, 0x8004587d, $flag)) or die $!;";
        run("perl", &["-e", CALL, text(&self.path())]).unwrap();
    }

    /// Power is back; nobody may use the disk meanwhile.
    pub(crate) fn restore_power(&self) {
        for _ in 0..500 {
            if run("umount", &[text(&self.path())]).is_ok() {
                let image = self.home.path().join("image");
                return run("mount", &["-o", "loop", text(&image), text(&self.path())]).unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(10)); // A dead process holds it for a moment.
        }
        panic!("the file system stays in use");
    }

    /// Every write hangs from now on.
    pub(crate) fn freeze(&mut self) {
        run("fsfreeze", &["--freeze", text(&self.path())]).unwrap();
        self.is_frozen = true;
    }

    /// Writes go on.
    pub(crate) fn thaw(&mut self) {
        if std::mem::take(&mut self.is_frozen) {
            run("fsfreeze", &["--unfreeze", text(&self.path())]).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_frozen {
            let _ = run("fsfreeze", &["--unfreeze", text(&self.path())]);
        }
        // A failed test may leave a process in it: detach it all the same.
        let _ = run("umount", &["-l", text(&self.path())]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
