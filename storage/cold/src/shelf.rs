//! Where footers and checkpoints are kept: a directory beside the log, in which a file is there as a whole or not at all.
//!
//! Invariant: a file gets its name when its bytes are flushed; a crash before that leaves a leftover that nobody reads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The steps of keeping files; what a crash between any two of them leaves is the caller's to survive.
pub trait Shelf {
    /// Makes or empties a file and writes it, without flushing.
    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Makes a file's bytes durable.
    fn flush(&mut self, name: &str) -> io::Result<()>;
    /// Gives a file another name, in the place of whatever had it.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Makes names durable.
    fn flush_names(&mut self) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// All names, in no order.
    fn names(&mut self) -> io::Result<Vec<String>>;
    /// Bytes of a file.
    fn len(&mut self, name: &str) -> io::Result<u64>;
    /// Reads a part of a file, all of it.
    fn read(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// Puts a file on the shelf as a whole: written beside, flushed, renamed, and the names flushed.
pub(crate) fn put(shelf: &mut impl Shelf, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = format!("{name}{BESIDE}");
    shelf.write(&beside, bytes)?;
    shelf.flush(&beside)?;
    shelf.rename(&beside, name)?;
    shelf.flush_names()
}

/// The names that are there as a whole; leftovers of a crash are removed.
pub(crate) fn clear(shelf: &mut impl Shelf) -> io::Result<Vec<String>> {
    let (beside, whole): (Vec<_>, Vec<_>) =
        shelf.names()?.into_iter().partition(|name| name.ends_with(BESIDE));
    beside.iter().try_for_each(|name| shelf.remove(name))?;
    Ok(whole)
}

const BESIDE: &str = ".new";

/// A directory of the file system.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The file that was read last.
    open: Option<(String, File)>,
}

impl Directory {
    /// For this directory, which is made when the first file is written.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_path_buf(), open: None }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            self.open = Some((name.to_owned(), File::open(self.path.join(name))?));
        }
        Ok(&mut self.open.as_mut().expect("opened above").1)
    }
}

impl Shelf for Directory {
    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        let path = self.path.join(name);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        file.write_all(bytes)
    }

    fn flush(&mut self, name: &str) -> io::Result<()> {
        File::open(self.path.join(name))?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.open = None;
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn flush_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.open = None;
        fs::remove_file(self.path.join(name))
    }

    fn names(&mut self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries
            .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
            .collect()
    }

    fn len(&mut self, name: &str) -> io::Result<u64> {
        Ok(self.file(name)?.metadata()?.len())
    }

    fn read(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let file = self.file(name)?;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(into)
    }
}
