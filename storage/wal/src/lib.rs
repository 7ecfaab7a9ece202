//! The write-ahead log of one shard: group commit, one flush a batch, recovery.
//!
//! Invariant: nothing is reported durable before the flush that covers it, and everything reported durable is handed
//! out again, in order, by every later [`Wal::open`], or the open is refused with the place of the damage.
//!
//! ```text
//!  append ─▶ filling buffer ─submit─▶ write ─▶ flush ─▶ poll: durable through
//!                ▲ what arrives meanwhile fills the other buffer
//! ```
//!
//! The bytes on disk are drawn in FORMAT.md. Everything that touches the kernel is behind the [`Disk`] seam: the real
//! [`Device`], and [`sim_disk`] for tests that replay every crash point.

mod block_index;
mod config;
mod device;
mod disk;
mod errors;
mod format;
mod limits;
mod log_reader;
mod places;
mod recovery;
mod repair;
mod resume;
pub mod sim_disk;

mod stats;
mod wal;

pub use block_index::BlockIndex;
pub use config::{Config, Strategy, StrategyWish, UnknownStrategy};
pub use device::{Device, create_directory};
pub use disk::{Disk, DiskError, Operation, SegmentFile};
pub use errors::{AppendError, FlushFailed, OpenError, ReadError};
pub use format::{
    BATCH_MAGIC, BatchHeader, Chain, FORMAT_VERSION, Frame, FrameKind, FrameSeal, LogId, LogIndex, Position,
    SEGMENT_MAGIC, SegmentHeader, SegmentHeaderError, SegmentNumber, frame_bytes,
};
pub use limits::*;
pub use log_reader::{BlockPlace, LogEnd, LogReader};
pub use recovery::{Recovered, TornTail, VisitorError};
pub use repair::Damage;
pub use resume::{NotAPlace, Resume};
pub use stats::{FlushHistogram, Stats};
pub use wal::Wal;
