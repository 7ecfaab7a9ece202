//! What an interrupted probe still has to put away: its child processes and its directories.
//!
//! Invariants: whatever is noted here is forgotten again by whoever put it away in good order; what is made while
//! holding the list is noted before an interrupt can look at it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

static LEFT: Mutex<Left> = Mutex::new(Left { children: Vec::new(), directories: Vec::new() });

pub(crate) struct Left {
    children: Vec<u32>,
    directories: Vec<PathBuf>,
}

/// The list, held still: an interrupt waits until the holder is done, and a holder waits for ever behind an interrupt.
pub(crate) struct Hold(MutexGuard<'static, Left>);

/// Holds the list while something is made that must not be left behind.
pub(crate) fn hold() -> Hold {
    Hold(LEFT.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Hold {
    /// A child process that must not outlive the probe.
    pub(crate) fn note_child(&mut self, id: u32) {
        self.0.children.push(id);
    }

    /// A directory that must not outlive the probe.
    pub(crate) fn note_directory(&mut self, path: &Path) {
        self.0.directories.push(path.to_path_buf());
    }
}

/// The child process has ended.
pub(crate) fn forget_child(id: u32) {
    hold().0.children.retain(|child| *child != id);
}

/// The directory is removed, or is to be kept.
pub(crate) fn forget_directory(path: &Path) {
    hold().0.directories.retain(|directory| directory != path);
}

/// From now on SIGINT and SIGTERM put everything away and end the process.
pub(crate) fn on_interrupt() {
    // Refused only when there is a handler already: then it does this.
    let _ = ctrlc::set_handler(|| {
        let left = hold();
        put_away(&left.0);
        // Still holding the list: nothing is made any more.
        std::process::exit(INTERRUPTED);
    });
}

fn put_away(left: &Left) {
    for child in &left.children {
        if let Some(pid) = i32::try_from(*child).ok().and_then(Pid::from_raw) {
            // Fails only when the child is gone already.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let mut tries = 0;
    while left.directories.iter().any(|directory| directory.exists()) && tries < TRIES_MAX {
        // A killed process lets go of its files a moment later, and may have made one meanwhile.
        std::thread::sleep(PAUSE);
        for directory in &left.directories {
            let _ = std::fs::remove_dir_all(directory);
        }
        tries += 1;
    }
}

const PAUSE: Duration = Duration::from_millis(10);
const TRIES_MAX: u32 = 100;
/// What shells expect of a program ended by an interrupt.
const INTERRUPTED: i32 = 130;
