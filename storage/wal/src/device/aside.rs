//! Damaged files set aside, and the file that takes their place.
//!
//! ```text
//!  wal-00000005.new                  the replacement, until it takes the name wal-00000005.log
//!  damaged-1.unfinished-00000005/    second names of the files from segment 5 on, until the log is rid of them
//!  damaged-1/                        the same, for ever; nothing here removes it
//! ```
//!
//! Invariant: the replacement is there before the directory and is renamed before anything is removed. So while it is there
//! the log is the damaged one, and once it is gone the log is the repaired one, whatever remains to be cleared away.

use std::fs::{File, read_dir, remove_dir, remove_file, rename};
use std::io;
use std::path::{Path, PathBuf};

use super::durable::create_directory;
use crate::format::SegmentNumber;

/// What a repair that broke off left in a directory.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    replacements: Vec<PathBuf>,
    unfinished: Vec<(u32, SegmentNumber)>,
}

impl Leftovers {
    /// Looks for them.
    pub(super) fn find(directory: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        for entry in read_dir(directory)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with("wal-") && name.ends_with(".new") {
                found.replacements.push(directory.join(name));
            }
            if let Some((number, Some(first))) = parse(name) {
                found.unfinished.push((number, first));
            }
        }
        Ok(found)
    }

    /// Undoes a repair that was not committed; says which one is to be finished.
    pub(super) fn undo(&self, directory: &Path) -> io::Result<Option<u32>> {
        if self.replacements.is_empty() {
            return Ok(self.unfinished.first().map(|(number, _)| *number));
        }
        for (number, first) in &self.unfinished {
            let place = directory.join(unfinished_name(*number, *first));
            // Second names: the files stay in the log.
            for entry in read_dir(&place)? {
                remove_file(entry?.path())?;
            }
            remove_dir(&place)?;
        }
        sync(directory)?;
        for replacement in &self.replacements {
            remove_file(replacement)?;
        }
        sync(directory)?;
        Ok(None)
    }
}

/// The first number above all that are taken.
pub(super) fn next(directory: &Path) -> io::Result<u32> {
    let mut number = 1;
    for entry in read_dir(directory)? {
        if let Some((taken, _)) = entry?.file_name().to_str().and_then(parse) {
            number = number.max(taken.saturating_add(1));
        }
    }
    Ok(number)
}

/// Makes a place with a number of its own.
pub(super) fn begin(directory: &Path, first: SegmentNumber) -> io::Result<u32> {
    let number = next(directory)?;
    create_directory(&directory.join(unfinished_name(number, first)))?;
    Ok(number)
}

/// Gives a file a second name there.
pub(super) fn link(directory: &Path, number: u32, file: &str) -> io::Result<()> {
    let place = unfinished(directory, number)?.0;
    std::fs::hard_link(directory.join(file), place.join(file))?;
    sync(&place)
}

/// The place that is not finished, and the segment that is replaced.
pub(super) fn unfinished(directory: &Path, number: u32) -> io::Result<(PathBuf, SegmentNumber)> {
    let found = Leftovers::find(directory)?;
    let (_, first) = found.unfinished.iter().find(|(of, _)| *of == number).ok_or(io::ErrorKind::NotFound)?;
    Ok((directory.join(unfinished_name(number, *first)), *first))
}

/// Gives the place its last name.
pub(super) fn finish(directory: &Path, number: u32) -> io::Result<()> {
    let (place, _) = unfinished(directory, number)?;
    rename(place, directory.join(format!("damaged-{number}")))?;
    sync(directory)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn unfinished_name(number: u32, first: SegmentNumber) -> String {
    format!("damaged-{number}.unfinished-{:08}", first.0)
}

/// The number in a place's name, and, while it is not finished, its first segment.
fn parse(name: &str) -> Option<(u32, Option<SegmentNumber>)> {
    let rest = name.strip_prefix("damaged-")?;
    match rest.split_once(".unfinished-") {
        None => Some((rest.parse().ok()?, None)),
        Some((number, first)) => Some((number.parse().ok()?, Some(SegmentNumber(first.parse().ok()?)))),
    }
}
