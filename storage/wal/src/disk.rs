//! The seam between the log and what holds its bytes: the real device and the simulated one.
//!
//! Invariant: when [`Disk::poll`] has said that a write is done, its bytes survive a power cut.

use std::io;

use crate::format::{SegmentHeader, SegmentNumber};

/// What was asked of a disk when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Listing the segments of the directory.
    List,
    /// Opening a segment, or taking the lock on it.
    Open,
    /// Reading during recovery.
    Read,
    /// Writing.
    Write,
    /// Flushing.
    Flush,
    /// Allocating and zeroing a segment.
    Prepare,
    /// Setting damaged files aside.
    SetAside,
    /// Setting up rings, threads and buffers.
    Setup,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::List => "list segments",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Prepare => "prepare",
            Self::SetAside => "set aside",
            Self::Setup => "set up the device for",
        })
    }
}

/// A disk operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation} {}: {source}", place(*segment))]
pub struct DiskError {
    /// What was asked.
    pub operation: Operation,
    /// The segment it concerned, if one.
    pub segment: Option<SegmentNumber>,
    /// What the system said.
    pub source: io::Error,
}

impl DiskError {
    /// An error of `operation` on `segment`.
    pub fn new(
        operation: Operation,
        segment: impl Into<Option<SegmentNumber>>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self { operation, segment: segment.into(), source: source.into() }
    }

    /// Whether the reason is that a file does not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether the reason is that no space is left.
    pub fn is_no_space(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

fn place(segment: Option<SegmentNumber>) -> String {
    segment.map_or_else(|| "the log".to_owned(), |number| format!("segment {number} of the log"))
}

/// A segment as found in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// Its number, from its name.
    pub number: SegmentNumber,
    /// Bytes of the file.
    pub bytes: u64,
}

/// What holds the segments of one log. Implemented by [`Device`](crate::Device) and
/// [`SimDisk`](crate::sim_disk::SimDisk).
///
/// A disk owns [`BUFFERS`](crate::BUFFERS) aligned buffers; all writes and reads of the log go through them. At most
/// one durable write is in flight. All offsets and lengths are multiples of
/// [`SECTOR_BYTES`](crate::SECTOR_BYTES).
pub trait Disk {
    /// The segments that exist, ascending. Leftovers of unfinished preparations are removed before; a repair that a
    /// crash broke off is undone, or finished if its replacement had its name.
    fn segments(&mut self) -> Result<Vec<SegmentFile>, DiskError>;

    /// Bytes of each buffer.
    fn buffer_bytes(&self) -> usize;

    /// One buffer. It must not be touched while it is being written; asking for it then is our own broken promise
    /// and panics.
    fn buffer(&mut self, buffer: usize) -> &mut [u8];

    /// Reads `bytes` at `offset` into the start of a buffer, blocking; for recovery.
    fn read(
        &mut self,
        segment: SegmentNumber,
        offset: u64,
        buffer: usize,
        bytes: usize,
    ) -> Result<(), DiskError>;

    /// Reads at `offset` into memory of the caller, whole sectors at a sector-aligned address, blocking; for single blocks
    /// that were durable before, while the log goes on.
    fn read_aside(&mut self, segment: SegmentNumber, offset: u64, into: &mut [u8]) -> Result<(), DiskError>;

    /// Zeroes a range, blocking, without flushing; for recovery.
    fn zero(&mut self, segment: SegmentNumber, offset: u64, bytes: u64) -> Result<(), DiskError>;

    /// Makes a segment's writes durable, blocking; for recovery.
    fn flush(&mut self, segment: SegmentNumber) -> Result<(), DiskError>;

    /// Removes a segment durably, blocking.
    fn remove(&mut self, segment: SegmentNumber) -> Result<(), DiskError>;

    /// Makes this segment the one that [`Disk::submit`] writes to.
    fn activate(&mut self, segment: SegmentNumber) -> Result<(), DiskError>;

    /// Asks for a segment to be prepared: allocated, zero-filled, headed, flushed and only then visible under its number.
    /// Retried until it succeeds. Never blocks, allocates nothing.
    fn prepare(&mut self, header: SegmentHeader);

    /// Says whether the oldest preparation asked for is done, or why the last attempt failed. Never blocks.
    fn poll_prepared(&mut self) -> Option<Result<SegmentNumber, DiskError>>;

    /// Called between two looks at a preparation that must be done before anything else.
    fn wait_for_preparation(&mut self) {
        std::thread::sleep(std::time::Duration::from_micros(200));
    }

    /// Makes a file of zeros that is to take a segment's place, under a name of its own that is durable, blocking. This and
    /// what follows are for repairs, in this order: create, write and flush the replacement, begin aside, link each file,
    /// commit, finish.
    fn create_replacement(&mut self, segment: SegmentNumber, bytes: u64) -> Result<(), DiskError>;

    /// Writes the first `bytes` of a buffer at `offset` of the replacement, blocking, without flushing.
    fn write_replacement(&mut self, offset: u64, buffer: usize, bytes: usize) -> Result<(), DiskError>;

    /// Makes the replacement's bytes durable, blocking.
    fn flush_replacement(&mut self) -> Result<(), DiskError>;

    /// The number that [`Disk::begin_aside`] will give.
    fn next_aside(&mut self) -> Result<u32, DiskError>;

    /// Makes a place for the files of a damaged log from the segment `first` on, durably; its number.
    fn begin_aside(&mut self, first: SegmentNumber) -> Result<u32, DiskError>;

    /// Gives a segment's file a second name there, durably.
    fn link_aside(&mut self, number: u32, segment: SegmentNumber) -> Result<(), DiskError>;

    /// Gives the replacement its segment's name, in one step, durably. The former file lives on where it was set aside.
    fn commit_replacement(&mut self) -> Result<(), DiskError>;

    /// Takes all files behind the replaced segment out of the log, the last one first, and says so in the place's name.
    fn finish_aside(&mut self, number: u32) -> Result<(), DiskError>;

    /// Starts writing the first `bytes` of a buffer at `offset` of the active segment and making them durable.
    /// Never blocks. A failure is final: nothing is retried over an unknown state.
    fn submit(&mut self, buffer: usize, offset: u64, bytes: usize) -> Result<(), DiskError>;

    /// Whether the write submitted last is durable now; `false` while it is under way. Never blocks.
    fn poll(&mut self) -> Result<bool, DiskError>;

    /// Bytes that the file system still has for new segments.
    fn free_bytes(&mut self) -> Result<u64, DiskError>;

    /// A number that was never drawn before: the name of a new log, the salt of an opening mark.
    fn nonce(&mut self) -> u64;

    /// How often the system put off taking a write, to be asked again.
    fn enter_retries(&self) -> u64 {
        0
    }

    /// How durable writes are made, and why.
    fn strategy(&self) -> (crate::Strategy, &str);
}
