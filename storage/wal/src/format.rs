//! The bytes on disk, drawn in FORMAT.md: segment header, batch header, frame.
//!
//! Invariant: every header decodes only if its checksum, its log and its place are right; nothing else of it is
//! looked at before.

use core::fmt;

use crate::limits::{BATCH_HEADER_BYTES, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, SECTOR_BYTES};

/// Version of the format that this build writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// First bytes of every segment file.
pub const SEGMENT_MAGIC: [u8; 8] = *b"io_oiWAL";

/// First bytes of every batch.
pub const BATCH_MAGIC: [u8; 4] = *b"oiBT";

/// A segment's number; the first is 0, and they are dense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNumber(pub u32);

impl SegmentNumber {
    /// The number after this one.
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a log never has 2^32 segments"))
    }
}

impl fmt::Display for SegmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A byte's place in the whole log, segment headers and padding counted: segments laid end to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A frame's number in the log; the first is 1, 0 is "none". Dense over all frames, the log's own marks included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogIndex(pub u64);

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a frame holds. Opaque to the log; values from [`FRAME_KIND_RESERVED`](crate::FRAME_KIND_RESERVED) on are
/// the log's own marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameKind(pub u8);

/// Written when a damaged log is continued from its whole prefix: says what may have stood behind it.
pub(crate) const KIND_REPAIRED: FrameKind = FrameKind(253);
/// Written first by every process that opens a log: it ends what was recovered and starts what follows.
pub(crate) const KIND_OPENED: FrameKind = FrameKind(254);
/// Written last by a process that closes a log in good order: everything before it is proven to be durable.
pub(crate) const KIND_CLOSED: FrameKind = FrameKind(255);

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the bytes are; below [`FRAME_KIND_RESERVED`](crate::FRAME_KIND_RESERVED).
    pub kind: FrameKind,
    /// The epoch it belongs to; opaque to the log.
    pub epoch: u64,
    /// The sequence it belongs to; opaque to the log.
    pub sequence: u64,
    /// At most [`FRAME_BYTES_MAX`] bytes.
    pub bytes: &'a [u8],
}

/// Running value that ties each frame to all before it: the checksum of the newest frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain(pub u32);

/// Random name of one log, drawn when it is made: two logs of the same shard never take each other's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogId(pub u64);

/// The sector at the start of each segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The cluster's id.
    pub cluster: [u8; 32],
    /// The shard's number.
    pub shard: u16,
    /// The log's random name.
    pub log: LogId,
    /// This segment's number.
    pub number: SegmentNumber,
    /// Position of this segment's first byte.
    pub first: Position,
    /// Bytes of the whole file.
    pub bytes: u64,
    /// Largest payload of a frame in this log.
    pub frame_bytes_max: u32,
}

/// Why a segment header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentHeaderError {
    /// The first bytes are not [`SEGMENT_MAGIC`].
    #[error("it does not begin with the magic of a log segment")]
    Magic,
    /// A version this build does not read.
    #[error("it is of format version {found}; this build reads version {FORMAT_VERSION}")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// The sector's checksum does not match.
    #[error("the checksum of its header is wrong")]
    Checksum,
}

impl SegmentHeader {
    /// The sector as it stands on disk.
    pub fn encode(&self) -> Box<[u8; SECTOR_BYTES]> {
        let mut out = Box::new([0u8; SECTOR_BYTES]);
        out[0..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..14].copy_from_slice(&self.shard.to_le_bytes());
        out[16..20].copy_from_slice(&self.number.0.to_le_bytes());
        out[20..24].copy_from_slice(&self.chain_seed().0.to_le_bytes());
        out[24..32].copy_from_slice(&self.log.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.first.0.to_le_bytes());
        out[40..48].copy_from_slice(&self.bytes.to_le_bytes());
        out[48..80].copy_from_slice(&self.cluster);
        out[80..84].copy_from_slice(&self.frame_bytes_max.to_le_bytes());
        let checksum = crc32c::crc32c(&out[..SECTOR_BYTES - 4]);
        out[SECTOR_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads the sector back. The version is looked at before the checksum, so that a newer format is named as such.
    pub fn decode(sector: &[u8; SECTOR_BYTES]) -> Result<Self, SegmentHeaderError> {
        if sector[0..8] != SEGMENT_MAGIC {
            return Err(SegmentHeaderError::Magic);
        }
        let sound = crc32c::crc32c(&sector[..SECTOR_BYTES - 4]) == u32_at(sector, SECTOR_BYTES - 4);
        let version = u32_at(sector, 8);
        if version != FORMAT_VERSION && (sound || version < 1 << 16) {
            return Err(SegmentHeaderError::Version { found: version });
        }
        if !sound {
            return Err(SegmentHeaderError::Checksum);
        }
        let header = Self {
            cluster: sector[48..80].try_into().expect("32 bytes"),
            shard: u16::from_le_bytes([sector[12], sector[13]]),
            log: LogId(u64_at(sector, 24)),
            number: SegmentNumber(u32_at(sector, 16)),
            first: Position(u64_at(sector, 32)),
            bytes: u64_at(sector, 40),
            frame_bytes_max: u32_at(sector, 80),
        };
        if u32_at(sector, 20) != header.chain_seed().0 {
            return Err(SegmentHeaderError::Checksum);
        }
        Ok(header)
    }

    /// The chain value that the log's very first frame names as its previous one.
    pub fn chain_seed(&self) -> Chain {
        let seed = crc32c::crc32c(&self.cluster);
        let seed = crc32c::crc32c_append(seed, &self.shard.to_le_bytes());
        Chain(crc32c::crc32c_append(seed, &self.log.0.to_le_bytes()))
    }
}

/// Stands before a batch's frames, at a sector boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The log's random name.
    pub log: LogId,
    /// Position of this header's first byte.
    pub position: Position,
    /// Everything before this position was durable when this batch was written: the end of the frame before it.
    pub durable_through: Position,
    /// Number of the first frame.
    pub first_index: LogIndex,
    /// Frames in the batch, at least one.
    pub frames: u32,
    /// Bytes of header and frames, without the padding.
    pub bytes: u32,
    /// Checksum of the frame before the first one.
    pub chain: Chain,
}

impl BatchHeader {
    /// Writes the header into the first [`BATCH_HEADER_BYTES`] of `out`.
    pub fn encode(&self, out: &mut [u8]) {
        let out = &mut out[..BATCH_HEADER_BYTES];
        out.fill(0);
        out[0..4].copy_from_slice(&BATCH_MAGIC);
        out[4..8].copy_from_slice(&self.bytes.to_le_bytes());
        out[8..16].copy_from_slice(&self.log.0.to_le_bytes());
        out[16..24].copy_from_slice(&self.position.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.durable_through.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.first_index.0.to_le_bytes());
        out[40..44].copy_from_slice(&self.frames.to_le_bytes());
        out[44..48].copy_from_slice(&self.chain.0.to_le_bytes());
        let checksum = crc32c::crc32c(&out[..BATCH_HEADER_BYTES - 4]);
        out[BATCH_HEADER_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The header at the start of `bytes`, if there is one of this log that belongs to this place.
    pub fn decode(bytes: &[u8], log: LogId, position: Position) -> Option<Self> {
        Self::decode_anywhere(bytes).filter(|header| header.log == log && header.position == position)
    }

    /// The header at the start of `bytes`, of whatever log and place.
    pub(crate) fn decode_anywhere(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < BATCH_HEADER_BYTES || bytes[0..4] != BATCH_MAGIC {
            return None;
        }
        if crc32c::crc32c(&bytes[..BATCH_HEADER_BYTES - 4]) != u32_at(bytes, BATCH_HEADER_BYTES - 4) {
            return None;
        }
        let header = Self {
            log: LogId(u64_at(bytes, 8)),
            position: Position(u64_at(bytes, 16)),
            durable_through: Position(u64_at(bytes, 24)),
            first_index: LogIndex(u64_at(bytes, 32)),
            frames: u32_at(bytes, 40),
            bytes: u32_at(bytes, 4),
            chain: Chain(u32_at(bytes, 44)),
        };
        let whole = header.frames > 0 && header.bytes as usize >= BATCH_HEADER_BYTES + FRAME_HEADER_BYTES;
        whole.then_some(header)
    }
}

/// Seeds every frame's checksum with the log's name, so that a frame of another log never passes.
#[derive(Clone, Copy, Debug)]
pub struct FrameSeal(u32);

impl FrameSeal {
    /// The seal of one log.
    pub fn new(log: LogId) -> Self {
        Self(crc32c::crc32c(&log.0.to_le_bytes()))
    }

    /// Writes header and payload to the start of `out`, which holds at least [`frame_bytes`] of it, and returns
    /// the chain after it. Panics when `out` is too short.
    pub fn encode(self, out: &mut [u8], chain: Chain, index: LogIndex, frame: &Frame<'_>) -> Chain {
        let (header, rest) = out.split_at_mut(FRAME_HEADER_BYTES);
        header[0..4].copy_from_slice(&(frame.bytes.len() as u32).to_le_bytes());
        header[4..8].copy_from_slice(&[frame.kind.0, 0, 0, 0]);
        header[8..16].copy_from_slice(&frame.epoch.to_le_bytes());
        header[16..24].copy_from_slice(&frame.sequence.to_le_bytes());
        header[24..28].copy_from_slice(&chain.0.to_le_bytes());
        let checksum = self.checksum(&header[..28], index, frame.bytes);
        header[28..32].copy_from_slice(&checksum.to_le_bytes());
        rest[..frame.bytes.len()].copy_from_slice(frame.bytes);
        Chain(checksum)
    }

    /// The frame at the start of `bytes` and the chain after it, if it is whole and the one that follows `chain`.
    pub fn decode(self, bytes: &[u8], chain: Chain, index: LogIndex) -> Option<(Frame<'_>, Chain)> {
        let header = bytes.get(..FRAME_HEADER_BYTES)?;
        let payload_bytes = u32_at(header, 0) as usize;
        if payload_bytes > FRAME_BYTES_MAX || u32_at(header, 24) != chain.0 {
            return None;
        }
        let payload = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + payload_bytes)?;
        let checksum = u32_at(header, 28);
        if self.checksum(&header[..28], index, payload) != checksum || header[5..8] != [0, 0, 0] {
            return None;
        }
        let frame = Frame {
            kind: FrameKind(header[4]),
            epoch: u64_at(header, 8),
            sequence: u64_at(header, 16),
            bytes: payload,
        };
        Some((frame, Chain(checksum)))
    }

    /// The frame at the start of `bytes`, if it is whole, whatever came before it.
    pub(crate) fn decode_alone(self, bytes: &[u8], index: LogIndex) -> Option<Frame<'_>> {
        let chain = Chain(u32_at(bytes.get(..FRAME_HEADER_BYTES)?, 24));
        self.decode(bytes, chain, index).map(|(frame, _)| frame)
    }

    fn checksum(self, header: &[u8], index: LogIndex, payload: &[u8]) -> u32 {
        let state = crc32c::crc32c_append(self.0, &index.0.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(state, header), payload)
    }
}

/// Bytes that a frame with this payload takes in a batch.
pub const fn frame_bytes(payload_bytes: usize) -> usize {
    FRAME_HEADER_BYTES + payload_bytes
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId(0x1234_5678_9ABC_DEF0);

    fn batch() -> BatchHeader {
        BatchHeader {
            log: LOG,
            position: Position(8192),
            durable_through: Position(5000),
            first_index: LogIndex(3),
            frames: 2,
            bytes: 400,
            chain: Chain(77),
        }
    }

    fn segment() -> SegmentHeader {
        SegmentHeader {
            cluster: [9; 32],
            shard: 4,
            log: LOG,
            number: SegmentNumber(6),
            first: Position(123 << 12),
            bytes: 1 << 20,
            frame_bytes_max: 6000,
        }
    }

    #[test]
    fn a_segment_header_is_read_back() {
        assert_eq!(SegmentHeader::decode(&segment().encode()), Ok(segment()));
    }

    #[test]
    fn every_flipped_bit_of_a_segment_header_is_noticed() {
        let sector = segment().encode();
        for bit in 0..SECTOR_BYTES * 8 {
            let mut flipped = sector.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            SegmentHeader::decode(&flipped).expect_err("a flipped bit");
        }
    }

    #[test]
    fn another_version_is_named_even_though_its_checksum_may_lie_elsewhere() {
        let mut sector = segment().encode();
        sector[8..12].copy_from_slice(&2u32.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&sector), Err(SegmentHeaderError::Version { found: 2 }));
        assert_eq!(SegmentHeader::decode(&[0; SECTOR_BYTES]), Err(SegmentHeaderError::Magic));
    }

    #[test]
    fn a_batch_header_is_taken_only_in_its_log_and_place() {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        batch().encode(&mut bytes);
        assert_eq!(BatchHeader::decode(&bytes, LOG, Position(8192)), Some(batch()));
        assert_eq!(BatchHeader::decode(&bytes, LOG, Position(8192 + 4096)), None);
        assert_eq!(BatchHeader::decode(&bytes, LogId(1), Position(8192)), None);
        for bit in 0..BATCH_HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BatchHeader::decode(&flipped, LOG, Position(8192)), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_is_taken_only_after_its_own_predecessor_and_in_its_own_log() {
        let frame = Frame { kind: FrameKind(3), epoch: 8, sequence: 9, bytes: b"payload" };
        let mut bytes = vec![0; frame_bytes(frame.bytes.len())];
        let seal = FrameSeal::new(LOG);
        let after = seal.encode(&mut bytes, Chain(5), LogIndex(10), &frame);
        assert_eq!(seal.decode(&bytes, Chain(5), LogIndex(10)), Some((frame, after)));
        assert_eq!(seal.decode(&bytes, Chain(6), LogIndex(10)), None, "another predecessor");
        assert_eq!(seal.decode(&bytes, Chain(5), LogIndex(11)), None, "another place in the log");
        assert_eq!(FrameSeal::new(LogId(1)).decode(&bytes, Chain(5), LogIndex(10)), None, "another log");
        for length in 0..bytes.len() {
            assert_eq!(seal.decode(&bytes[..length], Chain(5), LogIndex(10)), None, "cut at {length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(seal.decode(&flipped, Chain(5), LogIndex(10)), None, "bit {bit}");
        }
    }
}
