//! The plain-file floor: one aligned write at the end of a pre-zeroed file, then fdatasync.
//!
//! Invariant: the file is opened O_DIRECT where the file system allows it (the figure says whether it did), its
//! blocks were written once before, and it wraps around instead of growing.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};

/// A file to write and flush.
pub(crate) struct PlainFile {
    file: File,
    path: PathBuf,
    direct: bool,
    blocks: Blocks,
    next: u64,
    bytes: u64,
}

impl PlainFile {
    /// Makes and zeroes a file of this many bytes in `dir`.
    pub(crate) fn create(dir: &Path, name: &str, bytes: u64) -> io::Result<Self> {
        let path = dir.join(name);
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::TRUNC | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let (file, direct) = match rustix::fs::open(&path, flags | OFlags::DIRECT, mode) {
            Ok(file) => (File::from(file), true),
            Err(_) => (File::from(rustix::fs::open(&path, flags, mode)?), false),
        };
        let bytes = bytes.next_multiple_of(ZEROING_BYTES as u64);
        let mut plain = Self { file, path, direct, blocks: Blocks::new(ZEROING_BYTES), next: 0, bytes };
        for _ in 0..bytes / ZEROING_BYTES as u64 {
            plain.write(ZEROING_BYTES)?;
        }
        rustix::fs::fsync(&plain.file)?;
        plain.blocks.fill();
        Ok(plain)
    }

    /// Writes one block (a multiple of 4 KiB, at most 1 MiB) and flushes it; answers nanoseconds.
    pub(crate) fn append(&mut self, block_bytes: usize) -> io::Result<u64> {
        let began = Instant::now();
        self.write(block_bytes)?;
        rustix::fs::fdatasync(&self.file)?;
        Ok(crate::clock::ns_between(began, Instant::now()))
    }

    /// Many appends, each begun when everybody is there.
    fn append_in_step(&mut self, block_bytes: usize, rounds: usize, start: &Barrier) -> io::Result<Vec<f64>> {
        let mut samples = Vec::with_capacity(rounds);
        let mut failed = None;
        for _ in 0..rounds {
            start.wait(); // Also after a failure: the others wait for everybody.
            match self.append(block_bytes) {
                Ok(ns) => samples.push(ns as f64),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(samples), Err)
    }

    /// The page cache is out of the way.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct
    }

    fn write(&mut self, block_bytes: usize) -> io::Result<()> {
        if self.next + block_bytes as u64 > self.bytes {
            self.next = 0;
        }
        let written = rustix::io::pwrite(&self.file, self.blocks.first(block_bytes), self.next)?;
        if written != block_bytes {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "the disk took only part of a block"));
        }
        self.next += block_bytes as u64;
        Ok(())
    }
}

impl Drop for PlainFile {
    fn drop(&mut self) {
        // A file left behind is removed with its directory; nothing depends on it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// As many files as nodes that share the disk, flushed at the same moment: what a flush costs a node among others.
pub(crate) struct PlainFiles {
    files: Vec<PlainFile>,
}

impl PlainFiles {
    /// Makes and zeroes the files.
    pub(crate) fn create(dir: &Path, name: &str, bytes: u64, count: usize) -> io::Result<Self> {
        let files = (0..count.max(1)).map(|index| PlainFile::create(dir, &format!("{name}-{index}"), bytes));
        Ok(Self { files: files.collect::<io::Result<_>>()? })
    }

    /// So many appends to each, every round begun by all at once; answers nanoseconds of each.
    pub(crate) fn append(&mut self, block_bytes: usize, rounds: usize) -> io::Result<Vec<f64>> {
        if let [alone] = &mut self.files[..] {
            return (0..rounds).map(|_| Ok(alone.append(block_bytes)? as f64)).collect();
        }
        let start = Barrier::new(self.files.len());
        let all: io::Result<Vec<Vec<f64>>> = std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .files
                .iter_mut()
                .map(|file| scope.spawn(|| file.append_in_step(block_bytes, rounds, &start)))
                .collect();
            let ended =
                threads.into_iter().map(|thread| thread.join().expect("a floor's thread does not panic"));
            ended.collect()
        });
        Ok(all?.concat())
    }

    /// The page cache is out of the way.
    pub(crate) fn are_direct(&self) -> bool {
        self.files.iter().all(PlainFile::is_direct)
    }
}

/// The block a payload takes on disk: whole pages, as the log writes them.
pub(crate) fn block_bytes(payload_bytes: usize) -> usize {
    payload_bytes.next_multiple_of(PAGE_BYTES).clamp(PAGE_BYTES, ZEROING_BYTES)
}

/// Bytes at an address that O_DIRECT takes.
struct Blocks {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Blocks {
    fn new(length: usize) -> Self {
        let bytes = vec![0_u8; length + PAGE_BYTES];
        let start = bytes.as_ptr().align_offset(PAGE_BYTES);
        Self { bytes, start, length }
    }

    /// No zeroes: some disks take them for free.
    fn fill(&mut self) {
        for (index, word) in self.bytes.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&crate::answers::scramble(index as u64).to_le_bytes());
        }
    }

    fn first(&self, length: usize) -> &[u8] {
        &self.bytes[self.start..self.start + length.min(self.length)]
    }
}

const PAGE_BYTES: usize = 4_096;
/// The largest block measured, and the step in which the file is zeroed.
const ZEROING_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole_pages() {
        assert_eq!((block_bytes(0), block_bytes(4_097), block_bytes(1 << 30)), (4_096, 8_192, 1 << 20));
    }

    #[test]
    fn every_file_of_several_is_flushed_in_every_round() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut files = PlainFiles::create(dir.path(), "floor", 1 << 20, 3).expect("files");
        let samples = files.append(4_096, 5).expect("appends");
        assert_eq!(samples.len(), 15);
        assert!(samples.iter().all(|ns| *ns > 0.0));
        let mut alone = PlainFiles::create(dir.path(), "alone", 1 << 20, 1).expect("a file");
        assert_eq!(alone.append(4_096, 5).expect("appends").len(), 5);
    }

    #[test]
    fn a_plain_file_wraps_instead_of_growing_and_is_gone_afterwards() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut plain = PlainFile::create(dir.path(), "floor", 1 << 20).expect("a file");
        for _ in 0..3 {
            plain.append(512 * 1024).expect("an append");
        }
        let path = dir.path().join("floor");
        assert_eq!(std::fs::metadata(&path).expect("the file").len(), 1 << 20);
        drop(plain);
        assert!(!path.exists());
    }
}
