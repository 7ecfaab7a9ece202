//! Going on with a log whose middle is damaged: its whole prefix stays, what follows is set aside.
//!
//! Invariant: a crash at any moment leaves either the damaged log, every byte of it in its place, or the repaired one. What
//! was set aside is never removed. The repaired log says for ever, in a mark of its own, what it may have lost.

use crate::config::Config;
use crate::disk::{Disk, DiskError, SegmentFile};
use crate::errors::OpenError;
use crate::format::{
    BatchHeader, Chain, Frame, FrameSeal, KIND_REPAIRED, LogId, LogIndex, Position, SegmentHeader,
    SegmentNumber, frame_bytes,
};
use crate::limits::{BATCH_HEADER_BYTES, SECTOR_BYTES, align_up};
use crate::recovery::{Unreadable, Window};
use crate::wal::Segment;

/// What a log lost to damage, and has to get from its peers. Kept in the log: every later opening tells it again, the
/// highest of all if there was more than one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// The segment of the first bad frame.
    pub segment: SegmentNumber,
    /// Offset of the first bad frame in it.
    pub offset: u64,
    /// The highest epoch that any readable frame behind the damage speaks of.
    pub highest_epoch: u64,
    /// The highest sequence that any readable frame behind the damage speaks of. Frames that cannot be read may have
    /// spoken of higher ones.
    pub highest_sequence: u64,
    /// Frames that are no longer in the log, as far as the batches behind the damage tell.
    pub frames_lost: u64,
    /// The files were set aside as `damaged-` and this number.
    pub set_aside: u32,
    /// The mark that tells it. What the caller appends behind it has a higher number, over every later repair.
    pub mark: LogIndex,
}

impl Damage {
    const BYTES: usize = 32;

    /// As the mark holds it, behind its salt; epoch and sequence stand in the frame's own fields, the mark's number in none.
    fn encode(&self, salt: u64) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0..8].copy_from_slice(&salt.to_le_bytes());
        out[8..12].copy_from_slice(&self.segment.0.to_le_bytes());
        out[12..16].copy_from_slice(&self.set_aside.to_le_bytes());
        out[16..24].copy_from_slice(&self.offset.to_le_bytes());
        out[24..32].copy_from_slice(&self.frames_lost.to_le_bytes());
        out
    }

    /// The damage that a mark tells of. A whole mark of another length was written by a later release: what it
    /// says beyond the frame's own fields is unknown here.
    pub(crate) fn decode(mark: &Frame<'_>, index: LogIndex) -> Self {
        let (highest_epoch, highest_sequence) = (mark.epoch, mark.sequence);
        let mut damage = Self { highest_epoch, highest_sequence, mark: index, ..Self::default() };
        if let Ok(bytes) = <&[u8; Self::BYTES]>::try_from(mark.bytes) {
            let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
            damage.segment = SegmentNumber(word(8) as u32);
            damage.set_aside = (word(8) >> 32) as u32;
            damage.offset = word(16);
            damage.frames_lost = word(24);
        }
        damage
    }

    /// The newest damage, with the highest that any one told.
    pub(crate) fn after(self, earlier: Option<Self>) -> Self {
        let earlier = earlier.unwrap_or_default();
        Self {
            highest_epoch: self.highest_epoch.max(earlier.highest_epoch),
            highest_sequence: self.highest_sequence.max(earlier.highest_sequence),
            ..self
        }
    }
}

/// Where the whole prefix of a damaged log ends.
pub(crate) struct Prefix {
    /// None when not even the first segment says whose log it is.
    pub(crate) log: Option<LogId>,
    /// The segments that are whole as files.
    pub(crate) segments: Vec<Segment>,
    /// Index into them, and offset, of the end.
    pub(crate) at: usize,
    pub(crate) offset: u64,
    pub(crate) end: Position,
    pub(crate) chain: Chain,
    pub(crate) last_index: LogIndex,
    /// Offset in that segment of the batch that was read last.
    pub(crate) last_batch: u64,
    /// The first segment that is bad, and the offset in it.
    pub(crate) bad: (SegmentNumber, u64),
}

impl Prefix {
    /// Nothing can be read.
    pub(crate) fn empty() -> Self {
        Self {
            log: None,
            segments: Vec::new(),
            at: 0,
            offset: 0,
            end: Position(SECTOR_BYTES as u64),
            chain: Chain(0),
            last_index: LogIndex(0),
            last_batch: 0,
            bad: (SegmentNumber(0), 0),
        }
    }
}

/// Makes the prefix the log.
pub(crate) fn repair<D: Disk>(
    disk: &mut D,
    config: &Config,
    files: &[SegmentFile],
    prefix: &Prefix,
) -> Result<Damage, OpenError> {
    let seen = scan(disk, config, files, prefix)?;
    let place = Replacement::plan(disk, config, prefix);
    let (bad_segment, offset) = prefix.bad;
    let mut damage = Damage {
        segment: bad_segment,
        offset,
        highest_epoch: seen.highest_epoch,
        highest_sequence: seen.highest_sequence,
        frames_lost: seen.highest_index.saturating_sub(prefix.last_index.0),
        set_aside: 0,
        mark: place.mark(),
    };
    let no_space = |source: DiskError| {
        if source.is_no_space() {
            return OpenError::NoSpace { segment_bytes: place.header.bytes, source };
        }
        source.into()
    };
    disk.create_replacement(place.header.number, place.header.bytes).map_err(no_space)?;
    place.copy_prefix(disk)?;
    // The number is known before the place is made, so that the mark can name it.
    damage.set_aside = disk.next_aside()?;
    place.write_mark(disk, &damage)?;
    disk.flush_replacement()?;
    let number = disk.begin_aside(place.header.number)?;
    assert_eq!(number, damage.set_aside, "nobody else sets files of this log aside");
    for file in files.iter().filter(|file| file.number >= place.header.number) {
        disk.link_aside(number, file.number)?;
    }
    disk.commit_replacement()?;
    disk.finish_aside(number)?;
    tracing::error!(
        shard = config.shard, segment = %damage.segment, offset = damage.offset, frames_lost = damage.frames_lost,
        highest_epoch = damage.highest_epoch, highest_sequence = damage.highest_sequence,
        "damaged log continued from its whole prefix; the damaged files are in damaged-{number}"
    );
    Ok(damage)
}

/// The file that takes the place of the one in which the prefix ends.
struct Replacement {
    header: SegmentHeader,
    /// Bytes to copy, from a segment of the same number.
    copied: u64,
    /// Where the mark begins.
    mark_at: u64,
    end: Position,
    chain: Chain,
    last_index: LogIndex,
}

impl Replacement {
    fn plan<D: Disk>(disk: &mut D, config: &Config, prefix: &Prefix) -> Self {
        let sector = SECTOR_BYTES as u64;
        let new = |number, first, log| SegmentHeader {
            cluster: config.cluster,
            shard: config.shard,
            log,
            number,
            first,
            bytes: config.segment_bytes,
            frame_bytes_max: config.frame_bytes_max as u32,
        };
        let (header, copied) = match (prefix.segments.get(prefix.at), prefix.log) {
            (Some(segment), Some(log)) if align_up(prefix.offset) + sector <= segment.bytes => {
                let header =
                    SegmentHeader { bytes: segment.bytes, ..new(segment.number, segment.first, log) };
                (header, prefix.offset)
            }
            // Not even a mark fits behind the prefix.
            (Some(segment), Some(log)) => {
                (new(segment.number.next(), segment.position(segment.bytes), log), 0)
            }
            _ => (new(SegmentNumber(0), Position(0), LogId(disk.nonce())), 0),
        };
        let is_empty = prefix.segments.is_empty();
        Self {
            copied,
            mark_at: align_up(copied).max(sector),
            end: if is_empty { Position(sector) } else { prefix.end },
            chain: if is_empty { header.chain_seed() } else { prefix.chain },
            last_index: prefix.last_index,
            header,
        }
    }

    fn mark(&self) -> LogIndex {
        LogIndex(self.last_index.0 + 1)
    }

    fn copy_prefix<D: Disk>(&self, disk: &mut D) -> Result<(), DiskError> {
        let chunk_bytes = disk.buffer_bytes() as u64;
        for start in (0..self.copied).step_by(chunk_bytes as usize) {
            let bytes = (self.copied - start).min(chunk_bytes) as usize;
            let whole = bytes.next_multiple_of(SECTOR_BYTES);
            disk.read(self.header.number, start, 0, whole)?;
            // What follows in the last sector may be the damage itself.
            disk.buffer(0)[bytes..whole].fill(0);
            if start == 0 {
                disk.buffer(0)[..SECTOR_BYTES].copy_from_slice(&self.header.encode()[..]);
            }
            disk.write_replacement(start, 0, whole)?;
        }
        if self.copied == 0 {
            disk.buffer(0)[..SECTOR_BYTES].copy_from_slice(&self.header.encode()[..]);
            disk.write_replacement(0, 0, SECTOR_BYTES)?;
        }
        Ok(())
    }

    fn write_mark<D: Disk>(&self, disk: &mut D, damage: &Damage) -> Result<(), DiskError> {
        let bytes = damage.encode(disk.nonce());
        let index = self.mark();
        let mark = Frame {
            kind: KIND_REPAIRED,
            epoch: damage.highest_epoch,
            sequence: damage.highest_sequence,
            bytes: &bytes,
        };
        let header = BatchHeader {
            log: self.header.log,
            position: Position(self.header.first.0 + self.mark_at),
            durable_through: self.end,
            first_index: index,
            frames: 1,
            bytes: (BATCH_HEADER_BYTES + frame_bytes(bytes.len())) as u32,
            chain: self.chain,
        };
        let sector = &mut disk.buffer(0)[..SECTOR_BYTES];
        sector.fill(0);
        header.encode(sector);
        FrameSeal::new(self.header.log).encode(&mut sector[BATCH_HEADER_BYTES..], self.chain, index, &mark);
        disk.write_replacement(self.mark_at, 0, SECTOR_BYTES)
    }
}

/// The highest that readable frames and batches behind the prefix speak of.
#[derive(Default)]
struct Seen {
    log: Option<LogId>,
    highest_epoch: u64,
    highest_sequence: u64,
    highest_index: u64,
}

fn scan<D: Disk>(
    disk: &mut D,
    config: &Config,
    files: &[SegmentFile],
    prefix: &Prefix,
) -> Result<Seen, DiskError> {
    let mut seen = Seen { log: prefix.log, ..Seen::default() };
    let mut window = Window::new(disk, config, Unreadable::Zeros);
    let start = prefix.segments.get(prefix.at).map(|segment| segment.number);
    for file in files.iter().filter(|file| start.is_none_or(|start| file.number >= start)) {
        let bytes = file.bytes - file.bytes % SECTOR_BYTES as u64;
        // Where it stands in the log is not asked: a misplaced batch was written, too.
        let segment = Segment { number: file.number, first: Position(0), bytes };
        let from = if Some(file.number) == start { prefix.last_batch } else { 0 };
        for offset in (from..bytes).step_by(SECTOR_BYTES) {
            let sector = window.bytes(&segment, offset, SECTOR_BYTES)?;
            let Some(batch) = BatchHeader::decode_anywhere(sector) else { continue };
            if *seen.log.get_or_insert(batch.log) == batch.log {
                seen.read_batch(&mut window, &segment, offset, &batch, prefix.last_index)?;
            }
        }
    }
    Ok(seen)
}

impl Seen {
    fn read_batch<D: Disk>(
        &mut self,
        window: &mut Window<'_, D>,
        segment: &Segment,
        start: u64,
        batch: &BatchHeader,
        last_index: LogIndex,
    ) -> Result<(), DiskError> {
        let seal = FrameSeal::new(batch.log);
        let end = (start + u64::from(batch.bytes)).min(segment.bytes);
        let mut offset = start + BATCH_HEADER_BYTES as u64;
        for number in 0..u64::from(batch.frames) {
            if offset >= end {
                break;
            }
            let index = LogIndex(batch.first_index.0.saturating_add(number));
            let bytes = window.frame_bytes(segment, offset)?;
            if let Some(frame) = seal.decode_alone(bytes, index)
                && index > last_index
            {
                self.highest_epoch = self.highest_epoch.max(frame.epoch);
                self.highest_sequence = self.highest_sequence.max(frame.sequence);
            }
            // A frame whose payload alone is damaged still says where the next one begins.
            offset += bytes.len().max(1) as u64;
        }
        let batch_end = batch.first_index.0.saturating_add(u64::from(batch.frames) - 1);
        self.highest_index = self.highest_index.max(batch_end);
        Ok(())
    }
}
