//! Taking a log up at the end of a segment, without reading what lies before.
//!
//! Invariant: a place is only ever the end of a segment behind which a durable batch stands; a log that does not go on just
//! there, frame number, chain and position alike, is refused by name and left as it is. What lies before is not looked at:
//! whoever kept the place had read it.

use std::path::Path;

use crate::config::Config;
use crate::device::Device;
use crate::disk::Disk;
use crate::errors::OpenError;
use crate::format::{Chain, Frame, FrameKind, LogId, LogIndex, Position, SegmentNumber};
use crate::log_reader::BlockPlace;
use crate::places::{Place, Places};
use crate::recovery::{Recovered, VisitorError};
use crate::wal::{How, Wal};

/// The end of a segment, and where batches stand before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    pub(crate) log: LogId,
    /// The segment that ends here.
    pub(crate) segment: SegmentNumber,
    /// Where its last frame ends.
    pub(crate) end: Position,
    /// Checksum of that frame.
    pub(crate) chain: Chain,
    pub(crate) last_index: LogIndex,
    pub(crate) places: Places,
}

/// The bytes are no place of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no place in a log: read the whole log")]
pub struct NotAPlace;

impl Resume {
    /// The segment behind which the log is taken up.
    #[must_use]
    pub fn segment(&self) -> SegmentNumber {
        self.segment
    }

    /// The last frame before it.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        self.last_index
    }

    /// The log's random name.
    #[must_use]
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Where a frame before the place is to be looked for: a block of this kind that holds `sequence`.
    #[must_use]
    pub fn locate_frame(&self, kind: FrameKind, index: LogIndex, sequence: u64) -> Option<BlockPlace> {
        if index > self.last_index {
            return None;
        }
        let start = self.places.before(index)?;
        Some(BlockPlace { log: self.log, kind, sequence, start, from: index, through: self.last_index })
    }

    /// As bytes, for a file of the caller's own, which checks them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + self.places.all().len() * PLACE_BYTES);
        out.extend_from_slice(&self.log.0.to_le_bytes());
        out.extend_from_slice(&self.segment.0.to_le_bytes());
        out.extend_from_slice(&self.chain.0.to_le_bytes());
        out.extend_from_slice(&self.end.0.to_le_bytes());
        out.extend_from_slice(&self.last_index.0.to_le_bytes());
        out.extend_from_slice(&self.places.spacing_bytes().to_le_bytes());
        for place in self.places.all() {
            out.extend_from_slice(&place.position.0.to_le_bytes());
            out.extend_from_slice(&place.index.0.to_le_bytes());
            out.extend_from_slice(&place.segment.0.to_le_bytes());
            out.extend_from_slice(&place.chain.0.to_le_bytes());
        }
        out
    }

    /// Reads what [`Resume::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAPlace> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(NotAPlace)?;
        if !rest.len().is_multiple_of(PLACE_BYTES) {
            return Err(NotAPlace);
        }
        let places = rest.chunks_exact(PLACE_BYTES).map(|place| Place {
            position: Position(u64_at(place, 0)),
            index: LogIndex(u64_at(place, 8)),
            segment: SegmentNumber(u32_at(place, 16)),
            chain: Chain(u32_at(place, 20)),
        });
        let resume = Self {
            log: LogId(u64_at(head, 0)),
            segment: SegmentNumber(u32_at(head, 8)),
            chain: Chain(u32_at(head, 12)),
            end: Position(u64_at(head, 16)),
            last_index: LogIndex(u64_at(head, 24)),
            places: Places::restored(places.collect(), u64_at(head, 32)),
        };
        if resume.is_possible() { Ok(resume) } else { Err(NotAPlace) }
    }

    fn is_possible(&self) -> bool {
        let places = self.places.all();
        let rise = places.windows(2).all(|pair| {
            let (before, after) = (&pair[0], &pair[1]);
            before.position < after.position && before.index < after.index && before.segment <= after.segment
        });
        let last = places.last();
        let ends = last.is_none_or(|last| {
            last.position < self.end && last.index <= self.last_index && last.segment <= self.segment
        });
        rise && ends && self.places.spacing_bytes() > 0 && self.segment.0 < u32::MAX
    }
}

impl Wal<Device> {
    /// As [`Wal::open`], but takes the log up behind a place that was kept: what lies before is neither read nor handed out.
    /// [`OpenError::ResumeRefused`] says that this log does not go on there; nothing was changed then.
    pub fn open_from(
        directory: impl AsRef<Path>,
        config: Config,
        resume: &Resume,
        visitor: impl FnMut(LogIndex, Frame<'_>) -> Result<(), VisitorError>,
    ) -> Result<(Self, Recovered), OpenError> {
        Self::open_in(directory.as_ref(), config, How::From(resume), visitor)
    }
}

impl<D: Disk> Wal<D> {
    /// As [`Wal::open_from`], on any disk.
    pub fn open_from_on(
        disk: D,
        config: Config,
        resume: &Resume,
        visitor: impl FnMut(LogIndex, Frame<'_>) -> Result<(), VisitorError>,
    ) -> Result<(Self, Recovered), OpenError> {
        Self::open_any(disk, config, visitor, How::From(resume))
    }

    /// The newest segment that is full and behind which a durable batch stands; none before there is one.
    pub fn sealed_through(&self) -> Option<SegmentNumber> {
        self.durable_in.0.checked_sub(1).map(SegmentNumber)
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

const HEAD_BYTES: usize = 40;
const PLACE_BYTES: usize = 24;
