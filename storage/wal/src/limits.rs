//! Every limit of the log, and how they hang together.
//!
//! Invariant: a buffer always holds one frame of the largest size with its headers and padding.

/// Bytes of a sector: the unit in which the log writes, and the grid on which batches begin. O_DIRECT wants
/// at most this alignment on every device in use; a device may still tear a write at 512 bytes.
pub const SECTOR_BYTES: usize = 4096;

/// Bytes a device writes whole even when power fails. Finer than [`SECTOR_BYTES`].
pub const TEAR_BYTES: usize = 512;

/// Largest payload of one frame: a block of 1 MiB and 64 KiB for its header and signature.
pub const FRAME_BYTES_MAX: usize = (1 << 20) + (64 << 10);

/// Bytes of the header before each frame's payload. Drawn in FORMAT.md.
pub const FRAME_HEADER_BYTES: usize = 32;

/// Bytes of the header before each batch's first frame. Drawn in FORMAT.md.
pub const BATCH_HEADER_BYTES: usize = 64;

/// Aligned buffers of a log: one fills while the other is written.
pub const BUFFERS: usize = 2;

/// Bytes of one buffer unless configured: two frames of the largest size and the small ones between them. Two
/// such buffers stay below the 8 MiB of memory that an ordinary user may lock.
pub const BUFFER_BYTES_DEFAULT: usize = 3 << 20;

/// Smallest buffer: one frame of the largest size, its headers, and the padding to a sector.
pub const BUFFER_BYTES_MIN: usize = buffer_bytes_for(FRAME_BYTES_MAX);

/// Bytes of one segment unless configured: filled in 50 ms at full bandwidth, so that the next one can be
/// zeroed in good time; small enough that recovery scans the last one in a few tens of milliseconds.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;

/// Smallest segment: its header, one buffer, and the reserve for marks.
pub const SEGMENT_BYTES_MIN: u64 = (BUFFER_BYTES_MIN + SECTOR_BYTES) as u64 + MARKS_RESERVE_BYTES;

/// Largest segment: offsets of a batch stay within 32 bits.
pub const SEGMENT_BYTES_MAX: u64 = 2 << 30;

/// Bytes at the end of each segment that only marks may use, so that a log on a full disk can still be closed
/// and opened again.
pub const MARKS_RESERVE_BYTES: u64 = 8 * SECTOR_BYTES as u64;

/// Segments kept prepared ahead of the active one unless configured.
pub const SEGMENTS_AHEAD_DEFAULT: usize = 2;

/// Most segments kept prepared ahead.
pub const SEGMENTS_AHEAD_MAX: usize = 64;

/// The first frame kind that belongs to the log itself; a caller's kinds are below.
pub const FRAME_KIND_RESERVED: u8 = 240;

/// Bytes of log between two entries of an index, at least, while it has room: so much is read in the time of one access.
pub const INDEX_SPACING_BYTES: u64 = 64 << 10;

/// Places of batches that a log remembers unless configured: every 64 KiB of 4 GiB, or every MiB of 64 GiB, in 2 MiB of memory.
pub const PLACES_MAX_DEFAULT: usize = 1 << 16;

/// Bytes read at once when single blocks are looked for.
pub(crate) const READ_BYTES: usize = 64 << 10;

const _: () = assert!(READ_BYTES.is_multiple_of(SECTOR_BYTES));
const _: () = assert!(SECTOR_BYTES.is_multiple_of(TEAR_BYTES));
const _: () = assert!(BUFFER_BYTES_MIN.is_multiple_of(SECTOR_BYTES));
const _: () = assert!(BUFFER_BYTES_DEFAULT.is_multiple_of(SECTOR_BYTES));
const _: () =
    assert!(BUFFER_BYTES_DEFAULT >= 2 * (FRAME_BYTES_MAX + FRAME_HEADER_BYTES) + BATCH_HEADER_BYTES);
const _: () = assert!(BUFFER_BYTES_MIN >= BATCH_HEADER_BYTES + FRAME_HEADER_BYTES + FRAME_BYTES_MAX);
const _: () = assert!(BUFFERS * BUFFER_BYTES_DEFAULT < 8 << 20);
const _: () = assert!(SEGMENT_BYTES_DEFAULT.is_multiple_of(SECTOR_BYTES as u64));
const _: () =
    assert!(SEGMENT_BYTES_DEFAULT >= SEGMENT_BYTES_MIN && SEGMENT_BYTES_DEFAULT <= SEGMENT_BYTES_MAX);
const _: () = assert!(BATCH_HEADER_BYTES + FRAME_HEADER_BYTES <= TEAR_BYTES);

/// Smallest buffer for frames of this size: one of them, its headers, and the sectors it begins and ends in.
pub const fn buffer_bytes_for(frame_bytes_max: usize) -> usize {
    (frame_bytes_max + BATCH_HEADER_BYTES + FRAME_HEADER_BYTES).next_multiple_of(SECTOR_BYTES) + SECTOR_BYTES
}

/// The next sector boundary at or after `bytes`.
pub(crate) const fn align_up(bytes: u64) -> u64 {
    bytes.next_multiple_of(SECTOR_BYTES as u64)
}
