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
    /// The segments that exist, ascending; leftovers of unfinished preparations are removed.
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
