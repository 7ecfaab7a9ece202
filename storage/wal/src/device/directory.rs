//! The directory of one log: names, locks, and opening files past the page cache.
//!
//! Invariant: a file under a segment's name is whole, zeroed and durable; anything unfinished has another name.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::aside::{self, Leftovers};
use super::durable::create_directory;
use crate::disk::SegmentFile;
use crate::format::SegmentNumber;

/// Name of the file on which strategies are measured at boot.
const SCRATCH: &str = "measure.tmp";

/// An open, locked directory.
pub(crate) struct Directory {
    path: PathBuf,
    handle: File,
    direct: bool,
}

impl Directory {
    /// Makes the directory if needed and locks it. `WouldBlock` when another process has the lock.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        create_directory(path)?;
        let handle = File::open(path)?;
        lock(&handle, COPY_WAIT)?;
        let mut directory = Self { path: path.to_owned(), handle, direct: true };
        directory.remove_leftovers()?;
        directory.direct = directory.probe_direct()?;
        Ok(directory)
    }

    /// Only for reading: takes no lock, changes nothing.
    pub(crate) fn open_unlocked(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), handle: File::open(path)?, direct: true })
    }

    /// Files are opened through the page cache from now on.
    pub(crate) fn give_up_direct(&mut self) {
        self.direct = false;
    }

    /// A second handle for another thread; the lock is shared.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { path: self.path.clone(), handle: self.handle.try_clone()?, direct: self.direct })
    }

    /// Whether files are opened with O_DIRECT.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct
    }

    /// Undoes or finishes what a repair left that broke off; says whether that changed the log.
    pub(crate) fn clear_leftovers(&self) -> io::Result<bool> {
        let Some(number) = Leftovers::find(&self.path)?.undo(&self.path)? else { return Ok(false) };
        self.finish_aside(number)?;
        Ok(true)
    }

    /// The number of the next place for files that are set aside.
    pub(crate) fn next_aside(&self) -> io::Result<u32> {
        aside::next(&self.path)
    }

    /// Makes a place for the files from this segment on.
    pub(crate) fn begin_aside(&self, first: SegmentNumber) -> io::Result<u32> {
        aside::begin(&self.path, first)
    }

    /// Gives a segment's file a second name there.
    pub(crate) fn link_aside(&self, number: u32, segment: SegmentNumber) -> io::Result<()> {
        aside::link(&self.path, number, name_of(segment).as_str())
    }

    /// Takes the files behind the first one that is set aside out of the log.
    pub(crate) fn finish_aside(&self, number: u32) -> io::Result<()> {
        let (_, first) = aside::unfinished(&self.path, number)?;
        let mut behind = self.numbers()?;
        behind.retain(|number| *number > first);
        behind.sort();
        for number in behind.into_iter().rev() {
            self.remove(number)?;
        }
        aside::finish(&self.path, number)
    }

    /// Makes the file of a replacement, empty, durably.
    pub(crate) fn create_replacement(&self, number: SegmentNumber) -> io::Result<File> {
        let name = replacement_name_of(number);
        let file = self.open_file(name.as_str(), OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)?;
        self.sync()?;
        Ok(file)
    }

    /// Gives a replacement its segment's name, durably.
    pub(crate) fn commit_replacement(&self, number: SegmentNumber) -> io::Result<()> {
        let from = self.path.join(replacement_name_of(number).as_str());
        std::fs::rename(from, self.path.join(name_of(number).as_str()))?;
        self.sync()
    }

    /// The numbers of the segments, in no order.
    fn numbers(&self) -> io::Result<Vec<SegmentNumber>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            numbers.extend(number_of(&entry?.file_name()));
        }
        Ok(numbers)
    }

    /// The segments, ascending. `WouldBlock` when a process that died still writes to one after `lock_wait`.
    pub(crate) fn segments(&self, lock_wait: Duration) -> io::Result<Vec<SegmentFile>> {
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if let Some(number) = number_of(&entry.file_name()) {
                lock_once_written(&File::open(entry.path())?, number, lock_wait)?;
                segments.push(SegmentFile { number, bytes: entry.metadata()?.len() });
            }
        }
        segments.sort_by_key(|segment| segment.number);
        Ok(segments)
    }

    /// Opens a segment for reading.
    pub(crate) fn open_to_read(&self, number: SegmentNumber) -> io::Result<File> {
        self.open_file(name_of(number).as_str(), OFlags::RDONLY)
    }

    /// Opens a segment for writing and locks it: the lock is held by the open file itself, so it outlives a killed
    /// process for just as long as the kernel still works on that process's last write.
    pub(crate) fn open_to_write(&self, number: SegmentNumber) -> io::Result<File> {
        let file = self.open_file(name_of(number).as_str(), OFlags::RDWR)?;
        lock(&file, COPY_WAIT)?;
        Ok(file)
    }

    /// Makes an unfinished segment's file, empty.
    pub(crate) fn create_unfinished(&self, number: SegmentNumber) -> io::Result<File> {
        self.open_file(unfinished_name_of(number).as_str(), OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)
    }

    /// Gives a finished segment its name, durably.
    pub(crate) fn finish(&self, number: SegmentNumber) -> io::Result<()> {
        std::fs::rename(
            self.path.join(unfinished_name_of(number).as_str()),
            self.path.join(name_of(number).as_str()),
        )?;
        self.sync()
    }

    /// Removes an unfinished segment.
    pub(crate) fn abandon(&self, number: SegmentNumber) -> io::Result<()> {
        std::fs::remove_file(self.path.join(unfinished_name_of(number).as_str()))
    }

    /// Removes a segment, durably.
    pub(crate) fn remove(&self, number: SegmentNumber) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name_of(number).as_str()))?;
        self.sync()
    }

    /// Makes the file on which strategies are measured.
    pub(crate) fn create_scratch(&self) -> io::Result<File> {
        self.open_file(SCRATCH, OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)
    }

    /// Opens that file once more.
    pub(crate) fn open_scratch(&self) -> io::Result<File> {
        self.open_file(SCRATCH, OFlags::RDWR)
    }

    /// Removes it.
    pub(crate) fn remove_scratch(&self) -> io::Result<()> {
        std::fs::remove_file(self.path.join(SCRATCH))
    }

    /// Bytes that an ordinary user may still allocate.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.handle)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    /// Whether the device below writes through its cache on request (FUA), as far as the system says.
    pub(crate) fn has_fua(&self) -> bool {
        let Ok(stat) = rustix::fs::fstat(&self.handle) else { return false };
        let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        let device = format!("/sys/dev/block/{major}:{minor}");
        // A partition has no queue of its own: its disk's is one level up.
        [format!("{device}/queue/fua"), format!("{device}/../queue/fua")]
            .iter()
            .find_map(|path| std::fs::read_to_string(path).ok())
            .is_some_and(|text| text.trim() == "1")
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let direct = if self.direct { OFlags::DIRECT } else { OFlags::empty() };
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::openat(&self.handle, name, flags | direct | OFlags::CLOEXEC, mode)?.into())
    }

    fn probe_direct(&self) -> io::Result<bool> {
        let direct = match self.create_scratch() {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => false,
            Err(error) => return Err(error),
        };
        // A refused open with O_CREAT may have made the file all the same.
        match self.remove_scratch() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(direct),
        }
    }

    fn remove_leftovers(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name == SCRATCH || is_unfinished(name)) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// A lock that was let go a moment ago may live on in a child that another thread is starting: the child has copies of all
/// descriptors between its fork and its exec.
const COPY_WAIT: Duration = Duration::from_millis(200);

/// Takes the exclusive lock, trying for `wait`.
fn lock(file: &File, wait: Duration) -> io::Result<()> {
    let until = Instant::now() + wait;
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Takes a segment's lock. Who has the directory's lock is alone: this one is held by the last write of a process that died.
fn lock_once_written(file: &File, segment: SegmentNumber, wait: Duration) -> io::Result<()> {
    match lock(file, wait.min(QUIET_WAIT)) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && wait > QUIET_WAIT => {
            tracing::warn!(%segment, "the disk still works on the last write of a process that died: waiting for it");
            lock(file, wait - QUIET_WAIT)
        }
        locked => locked,
    }
}

/// A wait that is longer is told.
const QUIET_WAIT: Duration = Duration::from_secs(1);

/// A file's name, made without allocating: a segment is changed on the shard's own time.
struct Name {
    text: [u8; Name::BYTES_MAX],
    bytes: usize,
}

impl Name {
    /// "wal-", ten digits, ".log".
    const BYTES_MAX: usize = 18;

    fn new(number: SegmentNumber, ending: &str) -> Self {
        let mut text = [0; Self::BYTES_MAX];
        let mut rest = &mut text[..];
        write!(rest, "wal-{:08}.{ending}", number.0).expect("the longest number fits");
        let bytes = Self::BYTES_MAX - rest.len();
        Self { text, bytes }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.bytes]).expect("only ASCII was written")
    }
}

fn name_of(number: SegmentNumber) -> Name {
    Name::new(number, "log")
}

fn unfinished_name_of(number: SegmentNumber) -> Name {
    Name::new(number, "tmp")
}

fn replacement_name_of(number: SegmentNumber) -> Name {
    Name::new(number, "new")
}

fn is_unfinished(name: &str) -> bool {
    name.strip_prefix("wal-").is_some_and(|rest| rest.ends_with(".tmp"))
}

fn number_of(name: &OsStr) -> Option<SegmentNumber> {
    let digits = name.to_str()?.strip_prefix("wal-")?.strip_suffix(".log")?;
    digits.parse().ok().map(SegmentNumber)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segments_name_is_read_back_as_its_number() {
        for number in [0, 7, 99_999_999, u32::MAX].map(SegmentNumber) {
            assert_eq!(number_of(OsStr::new(name_of(number).as_str())), Some(number));
            assert_eq!(number_of(OsStr::new(unfinished_name_of(number).as_str())), None);
            assert!(is_unfinished(unfinished_name_of(number).as_str()));
        }
        assert_eq!(number_of(OsStr::new("wal-x.log")), None);
    }

    #[test]
    fn a_directory_is_locked_while_it_is_open() {
        let temporary = tempfile::tempdir().unwrap();
        let first = Directory::open(temporary.path()).unwrap();
        let refused = Directory::open(temporary.path()).err().expect("the lock is taken");
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        Directory::open(temporary.path()).unwrap();
    }

    #[test]
    fn a_segment_is_waited_for_until_the_last_write_of_the_dead_is_through() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::open(temporary.path()).unwrap();
        std::fs::write(temporary.path().join("wal-00000003.log"), b"segment").unwrap();
        let held = directory.open_to_write(SegmentNumber(3)).unwrap();
        let refused = directory.segments(Duration::ZERO).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(2 * QUIET_WAIT);
                drop(held);
            });
            assert_eq!(directory.segments(60 * QUIET_WAIT).unwrap().len(), 1);
        });
    }

    #[test]
    fn leftovers_of_an_unfinished_preparation_are_removed() {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join("wal-00000003.tmp"), b"half").unwrap();
        std::fs::write(temporary.path().join("notes.txt"), b"not ours").unwrap();
        let directory = Directory::open(temporary.path()).unwrap();
        assert!(directory.segments(Duration::ZERO).unwrap().is_empty());
        let left: Vec<_> =
            std::fs::read_dir(temporary.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["notes.txt"]);
    }
}
