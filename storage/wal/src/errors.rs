//! What can go wrong with a log, by operation. Each text says what happened and what to do.

use std::error::Error;
use std::sync::Arc;

use crate::disk::{DiskError, Operation};
use crate::format::{FrameKind, LogIndex, Position, SegmentHeaderError, SegmentNumber};
use crate::limits::FRAME_KIND_RESERVED;

/// Why a log could not be opened. Nothing was changed on disk unless the text says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A limit of the configuration is not met.
    #[error("the log's configuration is refused: {0}")]
    Config(String),
    /// Another process has the log, or died a moment ago and its last write is not through yet.
    #[error(
        "the log is in use by another process, or the disk does not end the last write of one that died ({0}); stop that \
         node, look after the disk, or give each node a directory of its own"
    )]
    InUse(#[source] DiskError),
    /// No space for a segment that is needed to go on.
    #[error(
        "no space to prepare a log segment of {segment_bytes} bytes ({source}); free space and start again"
    )]
    NoSpace {
        /// Bytes of the segment.
        segment_bytes: u64,
        /// What the system said.
        source: DiskError,
    },
    /// The disk failed.
    #[error("{0}; nothing was changed; mend the disk, or restore this shard from its peers")]
    Disk(#[from] DiskError),
    /// A file's first sector is not that of a segment this build reads.
    #[error("segment {segment} cannot be read: {source}; {}", header_advice(source))]
    SegmentHeader {
        /// The segment, by its file's name.
        segment: SegmentNumber,
        /// What is wrong with it.
        source: SegmentHeaderError,
    },
    /// A segment says another number than its name.
    #[error("the file of segment {segment} holds segment {found}; put the files back under their own names")]
    Misnumbered {
        /// The number in the file's name.
        segment: SegmentNumber,
        /// The number in its header.
        found: SegmentNumber,
    },
    /// A segment of another cluster.
    #[error("segment {segment} belongs to another cluster; start this node on its own directory")]
    WrongCluster {
        /// The segment.
        segment: SegmentNumber,
    },
    /// A segment of another shard.
    #[error(
        "segment {segment} belongs to shard {found}, this is shard {expected}; put the directory back in its place"
    )]
    WrongShard {
        /// The segment.
        segment: SegmentNumber,
        /// The shard in its header.
        found: u16,
        /// The shard that was to be opened.
        expected: u16,
    },
    /// A segment of another log of the same shard.
    #[error(
        "segment {segment} was written by another log of this shard; two logs are mixed in this directory, separate them"
    )]
    MixedLogs {
        /// The first segment that does not belong to segment 0.
        segment: SegmentNumber,
    },
    /// The log may hold frames that this configuration has no room to read.
    #[error(
        "segment {segment} was made for frames of up to {found} bytes; set frame_bytes_max to at least that, now {configured}"
    )]
    LargerFrames {
        /// The segment.
        segment: SegmentNumber,
        /// Largest payload by its header.
        found: u32,
        /// Largest payload of this configuration.
        configured: usize,
    },
    /// A number is missing between the first and the last segment.
    #[error("segment {segment} is missing; restore its file, or this shard from its peers")]
    MissingSegment {
        /// The first missing number.
        segment: SegmentNumber,
    },
    /// A file is shorter or longer than its header says.
    #[error(
        "segment {segment} is {found} bytes long but should have {expected}; restore its file, or this shard from its peers"
    )]
    WrongSize {
        /// The segment.
        segment: SegmentNumber,
        /// Bytes of the file.
        found: u64,
        /// Bytes by its header.
        expected: u64,
    },
    /// Acknowledged bytes are damaged: what follows them proves that they once were durable.
    #[error(
        "segment {segment} is damaged at offset {offset} (log position {position}): a batch at offset {proof_offset} of \
         segment {proof_segment} proves that these bytes were durable; nothing was changed; restore this shard from its peers"
    )]
    Damaged {
        /// The segment with the first bad frame.
        segment: SegmentNumber,
        /// Offset of the first bad frame in it.
        offset: u64,
        /// The same place in the log.
        position: Position,
        /// The segment of the batch that proves it.
        proof_segment: SegmentNumber,
        /// Offset of that batch in it.
        proof_offset: u64,
    },
    /// The log does not go on behind the place at which it was to be taken up.
    #[error(
        "the log does not go on behind segment {segment} as it was kept: it is another log, or was cut or repaired since. \
         Nothing was changed; read the whole log"
    )]
    ResumeRefused {
        /// The segment that ends at that place.
        segment: SegmentNumber,
    },
    /// The caller refused a recovered frame.
    #[error("frame {index} was refused while recovering: {source}")]
    Visitor {
        /// The frame.
        index: LogIndex,
        /// The caller's reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The mark that opens the log could not be made durable.
    #[error("the log was recovered but could not be continued: {0}")]
    FlushFailed(#[from] FlushFailed),
}

impl OpenError {
    /// Whether [`Wal::open_repairing`](crate::Wal::open_repairing) mends it: bytes that went bad or are gone, as against
    /// files that are sound and in the wrong place.
    pub fn is_repairable(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. }
                | Self::MissingSegment { .. }
                | Self::WrongSize { .. }
                | Self::SegmentHeader {
                    source: SegmentHeaderError::Magic | SegmentHeaderError::Checksum,
                    ..
                }
        )
    }
}

fn header_advice(source: &SegmentHeaderError) -> &'static str {
    match source {
        SegmentHeaderError::Version { .. } => "run the release that wrote it, or the upgrade it names",
        SegmentHeaderError::Magic | SegmentHeaderError::Checksum => {
            "restore its file, or this shard from its peers"
        }
    }
}

/// Why a block could not be read back. Nothing was handed out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The disk failed.
    #[error("{0}; mend the disk, or fetch the block from another node")]
    Disk(#[from] DiskError),
    /// A segment's first sector is damaged.
    #[error("segment {segment} cannot be read: {source}; {}", header_advice(source))]
    SegmentHeader {
        /// The segment.
        segment: SegmentNumber,
        /// What is wrong with it.
        source: SegmentHeaderError,
    },
    /// A segment belongs to another log.
    #[error(
        "segment {segment} belongs to another log; somebody changed the files of a running node, put them back"
    )]
    ForeignSegment {
        /// The segment.
        segment: SegmentNumber,
    },
    /// A durable frame is damaged.
    #[error(
        "segment {segment} is damaged at offset {offset}: frame {index} was durable and cannot be read; the node's next \
         start repairs the log from its peers"
    )]
    Damaged {
        /// The segment.
        segment: SegmentNumber,
        /// Offset of the bad frame in it.
        offset: u64,
        /// The frame's number.
        index: LogIndex,
    },
}

/// Why a frame was not taken. The log is as it was before.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// Longer than any frame may be.
    #[error("a frame of {bytes} bytes is longer than {bytes_max}; split it")]
    TooLong {
        /// Bytes of the payload.
        bytes: usize,
        /// Most bytes that this log takes.
        bytes_max: usize,
    },
    /// A kind that belongs to the log.
    #[error("frame kind {} belongs to the log itself; use one below {FRAME_KIND_RESERVED}", .kind.0)]
    ReservedKind {
        /// The kind.
        kind: FrameKind,
    },
    /// The filling batch has no room while the one before it is still being flushed.
    #[error("the filling batch is full; append again when the flush in flight is done")]
    BatchFull,
    /// No log space is left until another segment is prepared.
    #[error("the log has no space left; free disk space: it goes on by itself")]
    LogFull,
    /// The log has failed before.
    #[error(transparent)]
    Failed(#[from] FlushFailed),
}

/// A batch could not be made durable. Final: what the disk holds is unknown from here on, so nothing is tried again and
/// nothing after `durable` is ever acknowledged by this process.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the log failed after frame {durable}: {cause}; this shard has stopped; mend the disk and start the node again, it \
     recovers what is durable"
)]
pub struct FlushFailed {
    /// The last frame known to be durable.
    pub durable: LogIndex,
    /// What the disk said.
    pub cause: Arc<DiskError>,
}

impl FlushFailed {
    /// What was being done.
    pub fn operation(&self) -> Operation {
        self.cause.operation
    }
}
