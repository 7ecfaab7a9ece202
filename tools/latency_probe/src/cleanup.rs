//! What an interrupted probe still has to put away: its child processes and its directories.
//!
//! Invariant: whatever is noted here is forgotten again by whoever put it away in good order.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

static LEFT: Mutex<Left> = Mutex::new(Left { children: Vec::new(), directories: Vec::new() });

struct Left {
    children: Vec<u32>,
    directories: Vec<PathBuf>,
}

/// From now on SIGINT and SIGTERM put everything away and end the process.
pub(crate) fn on_interrupt() {
    // Refused only when there is a handler already: then it does this.
    let _ = ctrlc::set_handler(|| {
        put_away();
        std::process::exit(INTERRUPTED);
    });
}

/// A child process that must not outlive the probe.
pub(crate) fn note_child(id: u32) {
    left().children.push(id);
}

/// The child process has ended.
pub(crate) fn forget_child(id: u32) {
    left().children.retain(|child| *child != id);
}

/// A directory that must not outlive the probe.
pub(crate) fn note_directory(path: &Path) {
    left().directories.push(path.to_path_buf());
}

/// The directory is removed, or is to be kept.
pub(crate) fn forget_directory(path: &Path) {
    left().directories.retain(|directory| directory != path);
}

fn put_away() {
    let left = left();
    for child in &left.children {
        if let Some(pid) = i32::try_from(*child).ok().and_then(Pid::from_raw) {
            // Fails only when the child is gone already.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    if !left.children.is_empty() {
        std::thread::sleep(DYING);
    }
    for directory in &left.directories {
        // Nobody is left to tell.
        let _ = std::fs::remove_dir_all(directory);
    }
}

fn left() -> MutexGuard<'static, Left> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A killed process must have let go of its files before they are removed.
const DYING: Duration = Duration::from_millis(50);
/// What shells expect of a program ended by an interrupt.
const INTERRUPTED: i32 = 130;
