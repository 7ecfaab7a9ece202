//! Reading a log back: every whole frame in order, then a verdict on what follows the last one.
//!
//! Invariant: no frame is handed out whose checksum, chain, number or place is wrong. A bad place is a torn tail only if
//! no batch anywhere behind it says that the place was durable when that batch was written; otherwise the log is
//! damaged, is refused, and not a byte of it is changed.

use std::error::Error;
use std::ops::Range;

use crate::config::Config;
use crate::disk::{Disk, DiskError, Operation, SegmentFile};
use crate::errors::OpenError;
use crate::format::{
    BatchHeader, Chain, Frame, FrameSeal, KIND_CLOSED, KIND_OPENED, KIND_REPAIRED, LogId, LogIndex, Position,
    SegmentHeader, SegmentNumber, frame_bytes,
};
use crate::limits::{BATCH_HEADER_BYTES, FRAME_HEADER_BYTES, FRAME_KIND_RESERVED, SECTOR_BYTES, align_up};
use crate::places::{Place, Places};
use crate::repair::{Damage, Prefix, repair};
use crate::resume::Resume;
use crate::wal::Segment;

/// What a visitor of recovered frames answers when it refuses one.
pub type VisitorError = Box<dyn Error + Send + Sync>;

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The log did not exist and was made.
    pub created: bool,
    /// Frames handed to the visitor.
    pub frames: u64,
    /// The newest frame of the opened log, its own marks included.
    pub last_index: LogIndex,
    /// Segments read.
    pub segments: usize,
    /// Whether the last process closed the log in good order.
    pub closed_cleanly: bool,
    /// What was cut off at the end, if anything was.
    pub torn_tail: Option<TornTail>,
    /// What the log once lost to damage, by this opening or an earlier one, if it was repaired.
    pub damage: Option<Damage>,
}

/// Bytes behind the last whole frame that a crash left. None of them was ever acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment of the cut.
    pub segment: SegmentNumber,
    /// Offset of the cut in it.
    pub offset: u64,
    /// Sectors behind the cut that held something and were zeroed.
    pub sectors_zeroed: u64,
}

/// All that is needed to go on writing.
pub(crate) struct Found {
    pub(crate) recovered: Recovered,
    pub(crate) log: LogId,
    pub(crate) chain: Chain,
    pub(crate) last_index: LogIndex,
    pub(crate) end: Position,
    pub(crate) active: Segment,
    pub(crate) next_offset: u64,
    pub(crate) prepared: Vec<Segment>,
    pub(crate) ends_with_mark: bool,
    pub(crate) places: Places,
}

/// What a sector that cannot be read means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// The disk failed.
    Fails,
    /// It holds zeros, unless there are too many of them.
    Zeros,
}

/// Reads the whole log, cuts a torn tail, and flushes what was read.
pub(crate) fn recover<D: Disk>(
    disk: &mut D,
    config: &Config,
    files: &[SegmentFile],
    unreadable: Unreadable,
    visitor: &mut impl FnMut(LogIndex, Frame<'_>) -> Result<(), VisitorError>,
) -> Result<Found, OpenError> {
    let (headers, refused) = read_segment_headers(disk, config, files, false)?;
    if let Some(refused) = refused {
        return Err(refused);
    }
    let mut reader = Reader::new(disk, config, &headers, unreadable);
    reader.read_all(visitor)?;
    let tail = reader.tail();
    let dirty = reader.judge_tail(&tail)?;
    reader.cut_tail(&tail, &dirty)
}

/// As [`recover`], but continues a damaged log from its whole prefix.
pub(crate) fn recover_repairing<D: Disk>(
    disk: &mut D,
    config: &Config,
    files: &[SegmentFile],
    visitor: &mut impl FnMut(LogIndex, Frame<'_>) -> Result<(), VisitorError>,
) -> Result<Found, OpenError> {
    let (headers, refused) = read_segment_headers(disk, config, files, true)?;
    let prefix = if headers.segments.is_empty() {
        Prefix::empty()
    } else {
        let mut reader = Reader::new(disk, config, &headers, Unreadable::Zeros);
        reader.read_all(visitor)?;
        let tail = reader.tail();
        let judged = reader.judge_tail(&tail);
        let unreadable = reader.window.first_unreadable(reader.segments[tail.at].number, tail.offset);
        match (judged, unreadable) {
            (Ok(dirty), None) if refused.is_none() => return reader.cut_tail(&tail, &dirty),
            // Whatever stood there, it may have been durable.
            (Ok(_), Some(place)) => reader.into_prefix(&tail, place),
            (Ok(_), None) => {
                let next = reader.segments[reader.segments.len() - 1].number.next();
                reader.into_prefix(&tail, (next, 0))
            }
            (Err(OpenError::Damaged { segment, offset, .. }), _) => {
                reader.into_prefix(&tail, (segment, offset))
            }
            (Err(error), _) => return Err(error),
        }
    };
    repair(disk, config, files, &prefix)?;
    let files = disk.segments()?;
    let mut frames = 0;
    let found = recover(disk, config, &files, Unreadable::Zeros, &mut |_, _| {
        frames += 1;
        Ok(())
    })?;
    if found.last_index.0 != prefix.last_index.0 + 1 || frames != found.recovered.frames {
        let source = std::io::Error::other("the log reads differently a second time");
        return Err(DiskError::new(Operation::Read, found.active.number, source).into());
    }
    Ok(found)
}

/// As [`recover`], from the end of a segment on.
pub(crate) fn recover_from<D: Disk>(
    disk: &mut D,
    config: &Config,
    files: &[SegmentFile],
    resume: &Resume,
    visitor: &mut impl FnMut(LogIndex, Frame<'_>) -> Result<(), VisitorError>,
) -> Result<Found, OpenError> {
    let (headers, refused) = read_segment_headers(disk, config, files, false)?;
    if let Some(refused) = refused {
        return Err(refused);
    }
    let does_not_fit = || OpenError::ResumeRefused { segment: resume.segment };
    let at = resume.segment.0 as usize;
    let segment = headers.segments.get(at).ok_or_else(does_not_fit)?;
    let fits = segment.first <= resume.end && resume.end <= segment.position(segment.bytes);
    if headers.log != resume.log || !fits {
        return Err(does_not_fit());
    }
    let mut reader = Reader::new(disk, config, &headers, Unreadable::Fails);
    reader.take_up(at + 1, resume, config.places_max);
    // A durable batch stood there when the place was kept.
    let Some(first) = reader.next_batch()? else { return Err(does_not_fit()) };
    reader.read_batch(&first, visitor)?;
    reader.read_all(visitor)?;
    let tail = reader.tail();
    let dirty = reader.judge_tail(&tail)?;
    reader.cut_tail(&tail, &dirty)
}

/// What the segments say of themselves.
struct Headers {
    log: LogId,
    seed: Chain,
    segments: Vec<Segment>,
}

/// Reads the segments' headers up to the first that is missing or damaged, and says which that is. An error is one that no
/// repair mends.
fn read_segment_headers<D: Disk>(
    disk: &mut D,
    config: &Config,
    files: &[SegmentFile],
    is_repairing: bool,
) -> Result<(Headers, Option<OpenError>), OpenError> {
    let mut headers = Headers {
        log: LogId(0),
        seed: Chain(0),
        segments: Vec::with_capacity(files.len() + config.segments_ahead),
    };
    for (expected, file) in (0..).map(SegmentNumber).zip(files) {
        match read_next_header(disk, config, &headers, expected, file) {
            Ok(header) => {
                (headers.log, headers.seed) = (header.log, header.chain_seed());
                headers.segments.push(Segment {
                    number: file.number,
                    first: header.first,
                    bytes: file.bytes,
                });
            }
            Err(refused) if refused.is_repairable() => return Ok((headers, Some(refused))),
            Err(OpenError::Disk(error))
                if is_repairing && error.operation == Operation::Read && !headers.segments.is_empty() =>
            {
                return Ok((headers, Some(error.into())));
            }
            Err(refused) => return Err(refused),
        }
    }
    Ok((headers, None))
}

fn read_next_header<D: Disk>(
    disk: &mut D,
    config: &Config,
    before: &Headers,
    expected: SegmentNumber,
    file: &SegmentFile,
) -> Result<SegmentHeader, OpenError> {
    if file.number != expected {
        return Err(OpenError::MissingSegment { segment: expected });
    }
    let header = read_segment_header(disk, config, file)?;
    let last = before.segments.last();
    if last.is_some() && header.log != before.log {
        return Err(OpenError::MixedLogs { segment: file.number });
    }
    let first = last.map_or(Position(0), |previous| previous.position(previous.bytes));
    if header.bytes != file.bytes {
        return Err(OpenError::WrongSize { segment: file.number, found: file.bytes, expected: header.bytes });
    }
    if header.first != first {
        return Err(OpenError::MixedLogs { segment: file.number });
    }
    Ok(header)
}

fn read_segment_header<D: Disk>(
    disk: &mut D,
    config: &Config,
    file: &SegmentFile,
) -> Result<SegmentHeader, OpenError> {
    let segment = file.number;
    if file.bytes < SECTOR_BYTES as u64 {
        return Err(OpenError::WrongSize { segment, found: file.bytes, expected: config.segment_bytes });
    }
    disk.read(segment, 0, 0, SECTOR_BYTES)?;
    let sector = disk.buffer(0)[..SECTOR_BYTES].try_into().expect("one sector");
    let header =
        SegmentHeader::decode(sector).map_err(|source| OpenError::SegmentHeader { segment, source })?;
    if header.cluster != config.cluster {
        return Err(OpenError::WrongCluster { segment });
    }
    if header.shard != config.shard {
        return Err(OpenError::WrongShard { segment, found: header.shard, expected: config.shard });
    }
    if header.frame_bytes_max as usize > config.frame_bytes_max {
        let (found, configured) = (header.frame_bytes_max, config.frame_bytes_max);
        return Err(OpenError::LargerFrames { segment, found, configured });
    }
    if header.number != segment {
        return Err(OpenError::Misnumbered { segment, found: header.number });
    }
    Ok(header)
}

/// Where the last whole frame ended.
#[derive(Clone, Copy)]
struct Tail {
    /// Index into the segments.
    at: usize,
    /// Offset in it of the first byte that is not part of a whole frame.
    offset: u64,
}

/// A run of sectors that are not all zero, behind the tail.
struct Dirty {
    segment: SegmentNumber,
    sectors: Range<u64>,
}

struct Reader<'d, D: Disk> {
    window: Window<'d, D>,
    segments: &'d [Segment],
    log: LogId,
    seal: FrameSeal,
    chain: Chain,
    last_index: LogIndex,
    end: Position,
    ends_with_mark: bool,
    recovered: Recovered,
    places: Places,
    /// Index into the segments, and offset in it, where the next batch is expected.
    place: (usize, u64),
    /// Offset of the batch read last, in its segment.
    last_batch: u64,
}

impl<'d, D: Disk> Reader<'d, D> {
    fn new(disk: &'d mut D, config: &Config, headers: &'d Headers, unreadable: Unreadable) -> Self {
        let Headers { log, seed, segments } = headers;
        Self {
            window: Window::new(disk, config, unreadable),
            segments,
            log: *log,
            seal: FrameSeal::new(*log),
            chain: *seed,
            last_index: LogIndex(0),
            end: Position(SECTOR_BYTES as u64),
            ends_with_mark: false,
            recovered: Recovered { segments: segments.len(), ..Recovered::default() },
            places: Places::new(config.places_max),
            place: (0, SECTOR_BYTES as u64),
            last_batch: SECTOR_BYTES as u64,
        }
    }

    /// Goes on at the start of a segment, as if everything before it had been read.
    fn take_up(&mut self, at: usize, resume: &Resume, places_max: usize) {
        self.chain = resume.chain;
        self.last_index = resume.last_index;
        self.end = resume.end;
        self.places = resume.places.with_room_for(places_max);
        self.place = (at, SECTOR_BYTES as u64);
    }

    fn into_prefix(self, tail: &Tail, bad: (SegmentNumber, u64)) -> Prefix {
        Prefix {
            log: Some(self.log),
            segments: self.segments.to_vec(),
            at: tail.at,
            offset: tail.offset,
            end: self.end,
            chain: self.chain,
            last_index: self.last_index,
            last_batch: self.last_batch,
            bad,
        }
    }

    fn read_all(
        &mut self,
        visitor: &mut impl FnMut(LogIndex, Frame<'_>) -> Result<(), VisitorError>,
    ) -> Result<(), OpenError> {
        while let Some(batch) = self.next_batch()? {
            self.read_batch(&batch, visitor)?;
        }
        Ok(())
    }

    /// The batch that continues the log: behind the last frame, or else at the start of the next segment.
    fn next_batch(&mut self) -> Result<Option<BatchHeader>, DiskError> {
        let (at, offset) = self.place;
        for (at, offset) in [(at, offset), (at + 1, SECTOR_BYTES as u64)] {
            if let Some(batch) = self.batch_at(at, offset)?
                && batch.durable_through == self.end
                && batch.chain == self.chain
                && batch.first_index.0 == self.last_index.0 + 1
            {
                self.place = (at, offset);
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    fn batch_at(&mut self, at: usize, offset: u64) -> Result<Option<BatchHeader>, DiskError> {
        let Some(segment) = self.segments.get(at) else { return Ok(None) };
        if offset + SECTOR_BYTES as u64 > segment.bytes {
            return Ok(None);
        }
        let bytes = self.window.bytes(segment, offset, BATCH_HEADER_BYTES)?;
        Ok(BatchHeader::decode(bytes, self.log, segment.position(offset)))
    }

    /// Hands out the batch's frames up to the first bad one, and moves the place behind them.
    fn read_batch(
        &mut self,
        batch: &BatchHeader,
        visitor: &mut impl FnMut(LogIndex, Frame<'_>) -> Result<(), VisitorError>,
    ) -> Result<(), OpenError> {
        let (at, start) = self.place;
        let segment = &self.segments[at];
        let place = Place {
            position: batch.position,
            index: batch.first_index,
            segment: segment.number,
            chain: batch.chain,
        };
        let mut offset = start + BATCH_HEADER_BYTES as u64;
        for _ in 0..batch.frames {
            let index = LogIndex(self.last_index.0 + 1);
            let bytes = self.window.frame_bytes(segment, offset)?;
            let Some((frame, chain)) = self.seal.decode(bytes, self.chain, index) else { break };
            self.ends_with_mark = matches!(frame.kind, KIND_OPENED | KIND_CLOSED | KIND_REPAIRED);
            self.recovered.closed_cleanly = frame.kind == KIND_CLOSED;
            if frame.kind == KIND_REPAIRED {
                self.recovered.damage = Some(Damage::decode(&frame, index).after(self.recovered.damage));
            }
            if frame.kind.0 < FRAME_KIND_RESERVED {
                self.recovered.frames += 1;
                visitor(index, frame).map_err(|source| OpenError::Visitor { index, source })?;
            }
            offset += frame_bytes(frame.bytes.len()) as u64;
            self.chain = chain;
            self.last_index = index;
            self.end = segment.position(offset);
        }
        // A batch without one whole frame ends where it starts: nothing continues there a second time.
        let read_nothing = offset == start + BATCH_HEADER_BYTES as u64;
        if !read_nothing {
            self.places.note(place);
        }
        self.last_batch = start;
        self.place = if read_nothing { (at, segment.bytes) } else { (at, align_up(offset)) };
        Ok(())
    }

    fn tail(&self) -> Tail {
        let at =
            self.segments.iter().rposition(|segment| segment.first <= self.end).expect("the log starts at 0");
        // The end of a full segment is also the start of the next: it belongs to the one it ends.
        let full = at > 0 && self.segments[at].first == self.end;
        let at = if full { at - 1 } else { at };
        Tail { at, offset: self.end.0 - self.segments[at].first.0 }
    }

    /// Looks at every sector behind the tail: a batch there that was written after the bad place had become durable
    /// proves damage; otherwise says which sectors are not zero.
    fn judge_tail(&mut self, tail: &Tail) -> Result<Vec<Dirty>, OpenError> {
        let mut dirty: Vec<Dirty> = Vec::new();
        for (at, segment) in self.segments.iter().enumerate().skip(tail.at) {
            let from = if at == tail.at {
                align_up(tail.offset).max(SECTOR_BYTES as u64)
            } else {
                SECTOR_BYTES as u64
            };
            for offset in (from..segment.bytes).step_by(SECTOR_BYTES) {
                let sector = self.window.bytes(segment, offset, SECTOR_BYTES)?;
                if is_zero(sector) {
                    continue;
                }
                if let Some(batch) = BatchHeader::decode(sector, self.log, segment.position(offset))
                    && batch.durable_through > self.end
                {
                    return Err(self.damaged(tail, segment.number, offset));
                }
                match dirty.last_mut() {
                    Some(run) if run.segment == segment.number && run.sectors.end == offset => {
                        run.sectors.end += SECTOR_BYTES as u64;
                    }
                    _ => dirty.push(Dirty {
                        segment: segment.number,
                        sectors: offset..offset + SECTOR_BYTES as u64,
                    }),
                }
            }
        }
        Ok(dirty)
    }

    fn damaged(&self, tail: &Tail, proof_segment: SegmentNumber, proof_offset: u64) -> OpenError {
        OpenError::Damaged {
            segment: self.segments[tail.at].number,
            offset: tail.offset,
            position: self.end,
            proof_segment,
            proof_offset,
        }
    }

    /// Zeroes what a crash left behind the tail, so that it can never be taken for frames, and makes durable what was
    /// handed out: it may have been read from a cache that power would empty.
    fn cut_tail(self, tail: &Tail, dirty: &[Dirty]) -> Result<Found, OpenError> {
        let disk = self.window.disk;
        let mut recovered = self.recovered;
        let active = self.segments[tail.at];
        for run in dirty {
            disk.zero(run.segment, run.sectors.start, run.sectors.end - run.sectors.start)?;
        }
        let mut last_flushed = active.number;
        disk.flush(active.number)?;
        for run in dirty {
            if run.segment != last_flushed {
                disk.flush(run.segment)?;
                last_flushed = run.segment;
            }
        }
        if !dirty.is_empty() {
            let sectors_zeroed =
                dirty.iter().map(|run| (run.sectors.end - run.sectors.start) / SECTOR_BYTES as u64).sum();
            recovered.torn_tail =
                Some(TornTail { segment: active.number, offset: tail.offset, sectors_zeroed });
            tracing::warn!(segment = %active.number, offset = tail.offset, sectors_zeroed, "torn log tail cut");
        }
        Ok(Found {
            recovered,
            log: self.log,
            chain: self.chain,
            last_index: self.last_index,
            end: self.end,
            active,
            next_offset: align_up(tail.offset).max(SECTOR_BYTES as u64),
            prepared: self.segments[tail.at + 1..].to_vec(),
            ends_with_mark: self.ends_with_mark,
            places: self.places,
        })
    }
}

/// The part of a segment that is in the disk's first buffer.
pub(crate) struct Window<'d, D: Disk> {
    disk: &'d mut D,
    frame_bytes_max: usize,
    segment: Option<SegmentNumber>,
    start: u64,
    bytes: u64,
    unreadable: Unreadable,
    /// The sectors that could not be read, as they were met.
    unreadable_sectors: Vec<(SegmentNumber, u64)>,
}

impl<'d, D: Disk> Window<'d, D> {
    pub(crate) fn new(disk: &'d mut D, config: &Config, unreadable: Unreadable) -> Self {
        Self {
            disk,
            frame_bytes_max: config.frame_bytes_max,
            segment: None,
            start: 0,
            bytes: 0,
            unreadable,
            unreadable_sectors: Vec::new(),
        }
    }

    /// The first sector at or behind a place that could not be read.
    fn first_unreadable(&self, segment: SegmentNumber, offset: u64) -> Option<(SegmentNumber, u64)> {
        let from = (segment, offset - offset % SECTOR_BYTES as u64);
        self.unreadable_sectors.iter().copied().filter(|place| *place >= from).min()
    }

    /// Fills the first buffer, with zeros where a sector cannot be read if that is what it means.
    fn fill(&mut self, segment: SegmentNumber, start: u64, bytes: usize) -> Result<(), DiskError> {
        match self.disk.read(segment, start, 0, bytes) {
            Err(_) if self.unreadable == Unreadable::Zeros => {}
            read => return read,
        }
        for at in (0..bytes).step_by(SECTOR_BYTES) {
            let place = (segment, start + at as u64);
            let mut sector = [0; SECTOR_BYTES];
            match self.disk.read(segment, place.1, 1, SECTOR_BYTES) {
                Ok(()) => sector.copy_from_slice(&self.disk.buffer(1)[..SECTOR_BYTES]),
                Err(_) if self.unreadable_sectors.contains(&place) => {}
                // A disk that reads nothing at all has not lost its bytes: somebody will mend it.
                Err(error) if self.unreadable_sectors.len() == UNREADABLE_SECTORS_MAX => return Err(error),
                Err(error) => {
                    tracing::warn!(%segment, offset = place.1, %error, "log sector cannot be read");
                    self.unreadable_sectors.push(place);
                }
            }
            self.disk.buffer(0)[at..at + SECTOR_BYTES].copy_from_slice(&sector);
        }
        Ok(())
    }

    /// The frame that starts at `offset`, as far as its header says, or as far as the segment goes.
    pub(crate) fn frame_bytes(&mut self, segment: &Segment, offset: u64) -> Result<&[u8], DiskError> {
        let left = segment.bytes.saturating_sub(offset) as usize;
        let header = self.bytes(segment, offset, FRAME_HEADER_BYTES.min(left))?;
        let Some(payload) = header.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize) else {
            return Ok(&[]);
        };
        let bytes = if payload > self.frame_bytes_max { 0 } else { frame_bytes(payload).min(left) };
        self.bytes(segment, offset, bytes)
    }

    /// Any `bytes` of a segment that fit a buffer together with the sectors they touch.
    pub(crate) fn bytes(&mut self, segment: &Segment, offset: u64, bytes: usize) -> Result<&[u8], DiskError> {
        let end = offset + bytes as u64;
        let held =
            self.segment == Some(segment.number) && self.start <= offset && end <= self.start + self.bytes;
        if !held {
            let start = offset - offset % SECTOR_BYTES as u64;
            let bytes = (segment.bytes - start).min(self.disk.buffer_bytes() as u64);
            assert!(end <= start + bytes, "a buffer holds a frame of the largest size");
            self.segment = None;
            self.fill(segment.number, start, bytes as usize)?;
            (self.segment, self.start, self.bytes) = (Some(segment.number), start, bytes);
        }
        let from = (offset - self.start) as usize;
        Ok(&self.disk.buffer(0)[from..from + bytes])
    }
}

/// Sectors that may be unreadable in a log that is repaired; with more the disk is taken to be broken, not the log.
const UNREADABLE_SECTORS_MAX: usize = 64;

fn is_zero(sector: &[u8]) -> bool {
    sector.iter().fold(0, |all, byte| all | byte) == 0
}
