//! The real disk: files in a directory, written past the page cache.
//!
//! Invariant: of everything in this crate only `buffer.rs` and `ring.rs` hold unsafe code.

mod aside;
mod buffer;
mod choice;
mod directory;
mod durable;
mod flush_thread;
mod preparer;
mod ring;
mod segment_files;
mod transfer;

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::config::{Config, Strategy};
use crate::disk::{Disk, DiskError, Operation, SegmentFile};
use crate::format::{SegmentHeader, SegmentNumber};
use crate::limits::SECTOR_BYTES;

pub(crate) use buffer::AlignedBuffer;
pub use durable::create_directory;
pub(crate) use segment_files::SegmentFiles;

use directory::Directory;
use flush_thread::ThreadWriter;
use preparer::{Preparer, allocate, write_all};
use ring::RingWriter;
use transfer::Failure;

/// Segments as files of one directory. Stays on the thread that opened it, as its ring must:
///
/// ```compile_fail
/// fn sent<T: Send>() {}
/// sent::<io_oi_wal::Device>();
/// ```
pub struct Device {
    directory: Directory,
    writer: Writer,
    preparer: Preparer,
    buffer_bytes: usize,
    lock_wait: Duration,
    strategy: Strategy,
    strategy_reason: String,
    /// The segment that is written to.
    active: SegmentNumber,
    /// The segment read last, during recovery.
    reading: Option<(SegmentNumber, File)>,
    /// The file that is to take a segment's place.
    replacement: Option<(SegmentNumber, File)>,
}

/// One way to make writes durable.
enum Writer {
    Ring(Box<RingWriter>),
    Thread(ThreadWriter),
}

impl Device {
    /// Locks the directory, making it if needed, chooses the strategy, and starts the helper.
    pub(crate) fn open(path: &Path, config: &Config) -> Result<Self, DiskError> {
        let directory =
            Directory::open(path).map_err(|error| DiskError::new(Operation::Open, None, error))?;
        let failed = |(operation, error)| DiskError::new(operation, None, error);
        let (strategy, mut strategy_reason) = choice::choose(&directory, config.strategy).map_err(failed)?;
        if !directory.is_direct() {
            strategy_reason.push_str("; the file system has no O_DIRECT: writes go through the page cache");
        }
        tracing::info!(shard = config.shard, %strategy, reason = %strategy_reason, "log strategy chosen");
        let writer = Writer::new(strategy, config.buffer_bytes).map_err(failed)?;
        let setup = |error| DiskError::new(Operation::Setup, None, error);
        let preparer =
            Preparer::start(directory.try_clone().map_err(setup)?, config.prepare_retry).map_err(setup)?;
        Ok(Self {
            directory,
            writer,
            preparer,
            buffer_bytes: config.buffer_bytes,
            lock_wait: config.lock_wait,
            strategy,
            strategy_reason,
            active: SegmentNumber(0),
            reading: None,
            replacement: None,
        })
    }

    fn file_to_read(&mut self, segment: SegmentNumber) -> Result<&File, DiskError> {
        if self.reading.as_ref().is_none_or(|(number, _)| *number != segment) {
            let file = self.directory.open_to_read(segment);
            let file = file.map_err(|error| DiskError::new(Operation::Open, segment, error))?;
            self.reading = Some((segment, file));
        }
        Ok(&self.reading.as_ref().expect("set above").1)
    }

    fn file_to_write(&self, segment: SegmentNumber) -> Result<File, DiskError> {
        self.directory.open_to_write(segment).map_err(|error| DiskError::new(Operation::Open, segment, error))
    }
}

impl Disk for Device {
    fn segments(&mut self) -> Result<Vec<SegmentFile>, DiskError> {
        let listed = self.directory.segments(self.lock_wait).map_err(|error| {
            let held = error.kind() == io::ErrorKind::WouldBlock;
            DiskError::new(if held { Operation::Open } else { Operation::List }, None, error)
        })?;
        // Only now: a process that died may have been writing until its locks were free.
        if !self.directory.clear_leftovers().map_err(|error| DiskError::new(Operation::List, None, error))? {
            return Ok(listed);
        }
        let again = self.directory.segments(self.lock_wait);
        again.map_err(|error| DiskError::new(Operation::List, None, error))
    }

    fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    fn buffer(&mut self, buffer: usize) -> &mut [u8] {
        self.writer.buffer(buffer)
    }

    fn read(
        &mut self,
        segment: SegmentNumber,
        offset: u64,
        buffer: usize,
        bytes: usize,
    ) -> Result<(), DiskError> {
        self.file_to_read(segment)?;
        let (_, file) = self.reading.as_ref().expect("opened above");
        let into = &mut self.writer.buffer(buffer)[..bytes];
        read_all(file, into, offset).map_err(|error| DiskError::new(Operation::Read, segment, error))
    }

    fn read_aside(&mut self, segment: SegmentNumber, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let file = self.file_to_read(segment)?;
        read_all(file, into, offset).map_err(|error| DiskError::new(Operation::Read, segment, error))
    }

    fn zero(&mut self, segment: SegmentNumber, offset: u64, bytes: u64) -> Result<(), DiskError> {
        let file = self.file_to_write(segment)?;
        write_zeros(&file, offset, bytes).map_err(|error| DiskError::new(Operation::Write, segment, error))
    }

    fn flush(&mut self, segment: SegmentNumber) -> Result<(), DiskError> {
        let file = self.file_to_write(segment)?;
        file.sync_all().map_err(|error| DiskError::new(Operation::Flush, segment, error))
    }

    fn remove(&mut self, segment: SegmentNumber) -> Result<(), DiskError> {
        self.reading = None;
        self.directory.remove(segment).map_err(|error| DiskError::new(Operation::Write, segment, error))
    }

    fn activate(&mut self, segment: SegmentNumber) -> Result<(), DiskError> {
        self.reading = None;
        let file = self.file_to_write(segment)?;
        self.writer.activate(file).map_err(|error| DiskError::new(Operation::Open, segment, error))?;
        self.active = segment;
        Ok(())
    }

    fn prepare(&mut self, header: SegmentHeader) {
        self.preparer.prepare(header);
    }

    fn poll_prepared(&mut self) -> Option<Result<SegmentNumber, DiskError>> {
        self.preparer.poll()
    }

    fn create_replacement(&mut self, segment: SegmentNumber, bytes: u64) -> Result<(), DiskError> {
        let failed = |error| DiskError::new(Operation::Prepare, segment, error);
        let file = self.directory.create_replacement(segment).map_err(failed)?;
        allocate(&file, bytes).and_then(|()| write_zeros(&file, 0, bytes)).map_err(failed)?;
        self.replacement = Some((segment, file));
        Ok(())
    }

    fn write_replacement(&mut self, offset: u64, buffer: usize, bytes: usize) -> Result<(), DiskError> {
        let (segment, file) = self.replacement.as_ref().expect("a replacement was made before");
        let bytes = &self.writer.buffer(buffer)[..bytes];
        write_all(file, bytes, offset).map_err(|error| DiskError::new(Operation::Write, *segment, error))
    }

    fn flush_replacement(&mut self) -> Result<(), DiskError> {
        let (segment, file) = self.replacement.as_ref().expect("a replacement was made before");
        file.sync_all().map_err(|error| DiskError::new(Operation::Flush, *segment, error))
    }

    fn next_aside(&mut self) -> Result<u32, DiskError> {
        self.directory.next_aside().map_err(|error| DiskError::new(Operation::SetAside, None, error))
    }

    fn begin_aside(&mut self, first: SegmentNumber) -> Result<u32, DiskError> {
        self.directory.begin_aside(first).map_err(|error| DiskError::new(Operation::SetAside, None, error))
    }

    fn link_aside(&mut self, number: u32, segment: SegmentNumber) -> Result<(), DiskError> {
        let linked = self.directory.link_aside(number, segment);
        linked.map_err(|error| DiskError::new(Operation::SetAside, segment, error))
    }

    fn commit_replacement(&mut self) -> Result<(), DiskError> {
        let (segment, file) = self.replacement.take().expect("a replacement was made before");
        drop(file);
        let committed = self.directory.commit_replacement(segment);
        committed.map_err(|error| DiskError::new(Operation::SetAside, segment, error))
    }

    fn finish_aside(&mut self, number: u32) -> Result<(), DiskError> {
        self.reading = None;
        let finished = self.directory.finish_aside(number);
        finished.map_err(|error| DiskError::new(Operation::SetAside, None, error))
    }

    fn submit(&mut self, buffer: usize, offset: u64, bytes: usize) -> Result<(), DiskError> {
        debug_assert!(offset.is_multiple_of(SECTOR_BYTES as u64) && bytes.is_multiple_of(SECTOR_BYTES));
        let active = self.active;
        self.writer
            .submit(buffer, offset, bytes)
            .map_err(|(operation, error)| DiskError::new(operation, active, error))
    }

    fn poll(&mut self) -> Result<bool, DiskError> {
        let active = self.active;
        self.writer.poll().map_err(|(operation, error)| DiskError::new(operation, active, error))
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        self.directory.free_bytes().map_err(|error| DiskError::new(Operation::List, None, error))
    }

    fn nonce(&mut self) -> u64 {
        // The standard library keys each `RandomState` from the system's random numbers.
        RandomState::new().build_hasher().finish()
    }

    fn enter_retries(&self) -> u64 {
        match &self.writer {
            Writer::Ring(ring) => ring.enter_retries(),
            Writer::Thread(_) => 0,
        }
    }

    fn strategy(&self) -> (Strategy, &str) {
        (self.strategy, &self.strategy_reason)
    }
}

impl Writer {
    fn new(strategy: Strategy, buffer_bytes: usize) -> Result<Self, Failure> {
        let setup = |error| (Operation::Setup, error);
        match strategy {
            Strategy::Linked => {
                RingWriter::new(buffer_bytes, false).map(Box::new).map(Self::Ring).map_err(setup)
            }
            Strategy::Fua => RingWriter::new(buffer_bytes, true).map(Box::new).map(Self::Ring).map_err(setup),
            Strategy::Thread => ThreadWriter::new(buffer_bytes).map(Self::Thread).map_err(setup),
            Strategy::Simulated => Err(setup(io::ErrorKind::Unsupported.into())),
        }
    }

    fn buffer(&mut self, buffer: usize) -> &mut [u8] {
        match self {
            Self::Ring(ring) => ring.buffer(buffer),
            Self::Thread(thread) => thread.buffer(buffer),
        }
    }

    fn activate(&mut self, file: File) -> io::Result<()> {
        match self {
            Self::Ring(ring) => ring.activate(file),
            Self::Thread(thread) => {
                thread.activate(file);
                Ok(())
            }
        }
    }

    fn submit(&mut self, buffer: usize, offset: u64, bytes: usize) -> Result<(), Failure> {
        match self {
            Self::Ring(ring) => ring.submit(buffer, offset, bytes),
            Self::Thread(thread) => thread.submit(buffer, offset, bytes),
        }
    }

    fn poll(&mut self) -> Result<bool, Failure> {
        match self {
            Self::Ring(ring) => ring.poll(),
            Self::Thread(thread) => thread.poll(),
        }
    }
}

fn write_zeros(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    const CHUNK_BYTES: u64 = 256 << 10;
    let zeros = AlignedBuffer::new(CHUNK_BYTES as usize);
    for start in (0..bytes).step_by(CHUNK_BYTES as usize) {
        let chunk = &zeros.bytes()[..(bytes - start).min(CHUNK_BYTES) as usize];
        write_all(file, chunk, offset + start)?;
    }
    Ok(())
}

fn read_all(file: &File, into: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        match rustix::io::pread(file, &mut into[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => done += bytes,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
