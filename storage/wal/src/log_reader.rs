//! Reading single blocks back while the log is written.
//!
//! Invariant: no frame is handed out whose checksum, chain, number or place is wrong, and none behind the last that was
//! durable when it was asked for.

use std::ops::ControlFlow;
use std::path::Path;

use crate::block_index::BlockIndex;
use crate::config::Config;
use crate::device::{AlignedBuffer, SegmentFiles};
use crate::disk::DiskError;
use crate::errors::ReadError;
use crate::format::{
    BatchHeader, Chain, Frame, FrameKind, FrameSeal, LogId, LogIndex, Position, SegmentHeader, SegmentNumber,
    frame_bytes,
};
use crate::limits::{
    BATCH_HEADER_BYTES, FRAME_HEADER_BYTES, FRAME_KIND_RESERVED, READ_BYTES, SECTOR_BYTES, align_up,
    buffer_bytes_for,
};
use crate::places::{Place, Places};
use crate::resume::Resume;

/// Where a block is to be looked for. Made by [`Wal::locate`](crate::Wal::locate); may be sent to the thread that reads.
#[derive(Clone, Copy, Debug)]
pub struct BlockPlace {
    pub(crate) log: LogId,
    pub(crate) kind: FrameKind,
    pub(crate) sequence: u64,
    pub(crate) start: Place,
    /// The first frame that may be the block.
    pub(crate) from: LogIndex,
    /// The last frame that is durable.
    pub(crate) through: LogIndex,
}

impl BlockPlace {
    pub(crate) fn locate(
        places: &Places,
        log: LogId,
        durable: LogIndex,
        index: &BlockIndex,
        sequence: u64,
    ) -> Option<Self> {
        let from = index.find(sequence)?;
        if from > durable {
            return None;
        }
        let start = places.before(from)?;
        Some(Self { log, kind: index.kind(), sequence, start, from, through: durable })
    }

    /// The sequence that is asked for.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// Reads blocks of a log through descriptors of its own, on any thread, while the log is written elsewhere.
pub struct LogReader {
    files: SegmentFiles,
    scanner: Scanner,
}

impl LogReader {
    /// For the log in this directory, which exists, with the configuration it was opened with. Takes no lock.
    pub fn open(directory: impl AsRef<Path>, config: &Config) -> Result<Self, ReadError> {
        Ok(Self { files: SegmentFiles::open(directory.as_ref())?, scanner: Scanner::new(config) })
    }

    /// Puts the block's bytes into `out`, in place of what was there, and says whether the log holds it durably. Blocks.
    /// Blocks asked for in rising order are read without looking at anything twice.
    pub fn read_block(&mut self, place: &BlockPlace, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        let files = &mut self.files;
        let mut read =
            |segment: SegmentNumber, offset: u64, into: &mut [u8]| files.read(segment, offset, into);
        self.scanner.read_block(&mut read, place, out)
    }

    /// Hands out every durable frame of the caller's from the block's own on, of any kind, in the order of the log, until
    /// the visitor breaks off. Superseded blocks may stand among them. Hands out nothing when the block is not durable.
    pub fn visit_from(
        &mut self,
        place: &BlockPlace,
        visitor: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let files = &mut self.files;
        let mut read =
            |segment: SegmentNumber, offset: u64, into: &mut [u8]| files.read(segment, offset, into);
        self.scanner.visit(&mut read, place, visitor)
    }

    /// Hands out every frame of the caller's from a kept place on, or from the first one, through the end of a segment that
    /// [`Wal::sealed_through`](crate::Wal::sealed_through) has named; and says where the log is taken up behind it. May run
    /// while the log is written. The visitor may break off; then nothing is said.
    pub fn visit_sealed(
        &mut self,
        from: Option<&Resume>,
        through: SegmentNumber,
        visitor: &mut dyn FnMut(LogIndex, Frame<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Resume>, ReadError> {
        let files = &mut self.files;
        let mut read =
            |segment: SegmentNumber, offset: u64, into: &mut [u8]| files.read(segment, offset, into);
        self.scanner.visit_sealed(&mut read, from, through, visitor)
    }

    /// Hands out every frame of the caller's from the first on, as far as whole frames go or until the visitor breaks off,
    /// and says where that is. Changes nothing, so it cannot say whether what follows is a torn tail, damage, or, where
    /// somebody writes, not there yet: who asks has to know by other means what the log must hold, or leave it to the next
    /// [`Wal::open`](crate::Wal::open). The newest frames of a log that is being written may not be durable.
    pub fn visit_all(
        &mut self,
        visitor: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<LogEnd, ReadError> {
        let files = &mut self.files;
        let mut read =
            |segment: SegmentNumber, offset: u64, into: &mut [u8]| files.read(segment, offset, into);
        self.scanner.visit_all(&mut read, visitor)
    }
}

/// Where the whole frames of a log end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The segment of the last one.
    pub segment: SegmentNumber,
    /// Offset behind it.
    pub offset: u64,
    /// Its number; 0 for a log without frames.
    pub last_index: LogIndex,
}

/// Reads bytes of a segment: its number, an offset, and memory, all in whole sectors.
pub(crate) type ReadAt<'a> = dyn FnMut(SegmentNumber, u64, &mut [u8]) -> Result<(), DiskError> + 'a;

/// Follows frames through the log.
pub(crate) struct Scanner {
    cluster: [u8; 32],
    shard: u16,
    window: Window,
    /// What was durable when the window was read, at least.
    through: LogIndex,
    cursor: Option<Cursor>,
    /// The segment whose header was read last.
    segment: Option<(LogId, OpenSegment)>,
    places_max: usize,
}

/// Between two frames.
#[derive(Clone, Copy)]
struct Cursor {
    /// The request that brought it here.
    from: LogIndex,
    log: LogId,
    segment: OpenSegment,
    /// Where the next frame begins if it stands in this batch.
    offset: u64,
    /// Where the last whole frame ended.
    end: Position,
    /// Frames of the batch that are not read yet.
    frames_left: u32,
    /// Whether a frame of the batch was read.
    has_read: bool,
    next: LogIndex,
    chain: Chain,
    /// Blocks up to this sequence lie before it.
    passed: u64,
}

#[derive(Clone, Copy)]
struct OpenSegment {
    number: SegmentNumber,
    first: Position,
    bytes: u64,
}

impl Scanner {
    pub(crate) fn new(config: &Config) -> Self {
        let window = Window {
            buffer: AlignedBuffer::new(buffer_bytes_for(config.frame_bytes_max)),
            segment: None,
            start: 0,
            bytes: 0,
            ahead_bytes: 0,
            last_end: 0,
            frame_bytes_max: config.frame_bytes_max,
        };
        Self {
            cluster: config.cluster,
            shard: config.shard,
            window,
            through: LogIndex(0),
            cursor: None,
            segment: None,
            places_max: config.places_max,
        }
    }

    /// As [`LogReader::read_block`].
    pub(crate) fn read_block(
        &mut self,
        read: &mut ReadAt<'_>,
        place: &BlockPlace,
        out: &mut Vec<u8>,
    ) -> Result<bool, ReadError> {
        let mut found = false;
        self.visit(read, place, &mut |frame| {
            found = true;
            out.clear();
            out.extend_from_slice(frame.bytes);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// As [`LogReader::visit_from`].
    pub(crate) fn visit(
        &mut self,
        read: &mut ReadAt<'_>,
        place: &BlockPlace,
        visitor: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut cursor = match self.cursor.take() {
            Some(cursor) if cursor.serves(place) => Cursor { from: place.from, ..cursor },
            _ => self.start(read, place)?,
        };
        let mut is_found = false;
        while cursor.next <= place.through {
            let index = cursor.next;
            if index > self.through {
                // What is held may be older than this frame.
                self.window.segment = None;
                self.through = place.through;
            }
            let Some(frame) = next_frame(&mut self.window, read, &mut cursor)? else {
                self.next_batch(read, &mut cursor)?;
                continue;
            };
            let is_block = frame.kind == place.kind && index >= place.from;
            let was_found = is_found;
            if is_block && !is_found {
                cursor.passed = frame.sequence;
                is_found = frame.sequence >= place.sequence;
            }
            if is_found && frame.kind.0 < FRAME_KIND_RESERVED && visitor(frame).is_break() {
                // Behind the block itself the next one may be looked for; further on it may have been passed.
                self.cursor = (!was_found).then_some(cursor);
                return Ok(());
            }
        }
        Ok(())
    }

    /// As [`LogReader::visit_all`].
    fn visit_all(
        &mut self,
        read: &mut ReadAt<'_>,
        visitor: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<LogEnd, ReadError> {
        let mut cursor = self.first(read)?;
        let end = |cursor: &Cursor| LogEnd {
            segment: cursor.segment.number,
            offset: cursor.offset,
            last_index: LogIndex(cursor.next.0 - 1),
        };
        loop {
            while let Some(frame) = next_frame(&mut self.window, read, &mut cursor)? {
                if frame.kind.0 < FRAME_KIND_RESERVED && visitor(frame).is_break() {
                    return Ok(end(&cursor));
                }
            }
            let ended = end(&cursor);
            match self.next_batch(read, &mut cursor) {
                Ok(()) => {}
                Err(ReadError::Damaged { .. }) => return Ok(ended),
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`LogReader::visit_sealed`].
    pub(crate) fn visit_sealed(
        &mut self,
        read: &mut ReadAt<'_>,
        from: Option<&Resume>,
        through: SegmentNumber,
        visitor: &mut dyn FnMut(LogIndex, Frame<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Resume>, ReadError> {
        self.window.segment = None; // What is held may be older than the sealing.
        let mut cursor = match from {
            Some(resume) => self.take_up(read, resume)?,
            None => self.first(read)?,
        };
        let mut places = from.map_or_else(|| Places::new(self.places_max), |resume| resume.places.clone());
        places = places.with_room_for(self.places_max);
        let mut entered: Option<Place> = None;
        loop {
            loop {
                let index = cursor.next;
                let Some(frame) = next_frame(&mut self.window, read, &mut cursor)? else { break };
                if frame.kind.0 < FRAME_KIND_RESERVED && visitor(index, frame).is_break() {
                    return Ok(None);
                }
            }
            // A batch without one whole frame is no place: the next one begins with the same number.
            entered.take_if(|_| cursor.has_read).into_iter().for_each(|place| places.note(place));
            let Cursor { log, end, chain, next, .. } = cursor;
            self.next_batch(read, &mut cursor)?;
            let segment = cursor.segment;
            if segment.number > through {
                let last_index = LogIndex(next.0 - 1);
                return Ok(Some(Resume { log, segment: through, end, chain, last_index, places }));
            }
            let position = Position(segment.first.0 + cursor.offset - BATCH_HEADER_BYTES as u64);
            entered = Some(Place { position, index: next, segment: segment.number, chain });
        }
    }

    /// Behind the last frame of a segment.
    fn take_up(&mut self, read: &mut ReadAt<'_>, resume: &Resume) -> Result<Cursor, ReadError> {
        let segment = self.open_segment(read, resume.log, resume.segment)?;
        Ok(Cursor {
            from: LogIndex(1),
            log: resume.log,
            segment,
            // Nothing more is looked for in it.
            offset: segment.bytes,
            end: resume.end,
            frames_left: 0,
            has_read: false,
            next: LogIndex(resume.last_index.0 + 1),
            chain: resume.chain,
            passed: 0,
        })
    }

    /// In front of the first frame of the log.
    fn first(&mut self, read: &mut ReadAt<'_>) -> Result<Cursor, ReadError> {
        let segment = SegmentNumber(0);
        let sector = self.window.header(read, segment)?;
        let header =
            SegmentHeader::decode(sector).map_err(|source| ReadError::SegmentHeader { segment, source })?;
        let start = Position(SECTOR_BYTES as u64);
        Ok(Cursor {
            from: LogIndex(1),
            log: header.log,
            segment: self.open_segment(read, header.log, segment)?,
            offset: start.0,
            end: start,
            frames_left: 0,
            has_read: true,
            next: LogIndex(1),
            chain: header.chain_seed(),
            passed: 0,
        })
    }

    /// In front of the first frame of the batch where the search begins.
    fn start(&mut self, read: &mut ReadAt<'_>, place: &BlockPlace) -> Result<Cursor, ReadError> {
        let start = place.start;
        let segment = self.open_segment(read, place.log, start.segment)?;
        let mut cursor = Cursor {
            from: place.from,
            log: place.log,
            segment,
            offset: start.position.0.saturating_sub(segment.first.0),
            end: start.position,
            frames_left: 0,
            has_read: true,
            next: start.index,
            chain: start.chain,
            passed: 0,
        };
        let batch = self.batch_at(read, &cursor, segment, cursor.offset)?.ok_or_else(|| damaged(&cursor))?;
        cursor.enter(segment, cursor.offset, &batch);
        cursor.end = batch.durable_through;
        Ok(cursor)
    }

    /// Goes to the batch that continues the log: behind the last frame, or else at the start of the next segment.
    fn next_batch(&mut self, read: &mut ReadAt<'_>, cursor: &mut Cursor) -> Result<(), ReadError> {
        let end = cursor.end;
        let continues = |batch: &BatchHeader| batch.durable_through == end;
        if cursor.has_read {
            let offset = align_up(cursor.offset);
            if let Some(batch) = self.batch_at(read, cursor, cursor.segment, offset)?.filter(continues) {
                cursor.enter(cursor.segment, offset, &batch);
                return Ok(());
            }
        }
        let here = damaged(cursor);
        let segment = match self.open_segment(read, cursor.log, cursor.segment.number.next()) {
            Ok(segment) => segment,
            // There is no next segment: the frame should have been in this one.
            Err(ReadError::Disk(error)) if error.is_not_found() => return Err(here),
            Err(error) => return Err(error),
        };
        let offset = SECTOR_BYTES as u64;
        let batch = self.batch_at(read, cursor, segment, offset)?.filter(continues).ok_or(here)?;
        cursor.enter(segment, offset, &batch);
        Ok(())
    }

    fn batch_at(
        &mut self,
        read: &mut ReadAt<'_>,
        cursor: &Cursor,
        segment: OpenSegment,
        offset: u64,
    ) -> Result<Option<BatchHeader>, ReadError> {
        if offset + SECTOR_BYTES as u64 > segment.bytes {
            return Ok(None);
        }
        let bytes = self.window.bytes(read, &segment, offset, BATCH_HEADER_BYTES)?;
        let batch = BatchHeader::decode(bytes, cursor.log, Position(segment.first.0 + offset));
        Ok(batch.filter(|batch| batch.first_index == cursor.next && batch.chain == cursor.chain))
    }

    fn open_segment(
        &mut self,
        read: &mut ReadAt<'_>,
        log: LogId,
        segment: SegmentNumber,
    ) -> Result<OpenSegment, ReadError> {
        if let Some((_, known)) = self.segment.filter(|(of, known)| *of == log && known.number == segment) {
            return Ok(known);
        }
        let sector = self.window.header(read, segment)?;
        let header =
            SegmentHeader::decode(sector).map_err(|source| ReadError::SegmentHeader { segment, source })?;
        let is_ours = header.log == log
            && header.number == segment
            && header.cluster == self.cluster
            && header.shard == self.shard;
        if !is_ours {
            return Err(ReadError::ForeignSegment { segment });
        }
        let opened = OpenSegment { number: segment, first: header.first, bytes: header.bytes };
        self.segment = Some((log, opened));
        Ok(opened)
    }
}

/// The frame behind the cursor, which moves on; none when the batch has no further one that is whole.
fn next_frame<'w>(
    window: &'w mut Window,
    read: &mut ReadAt<'_>,
    cursor: &mut Cursor,
) -> Result<Option<Frame<'w>>, ReadError> {
    if cursor.frames_left == 0 {
        return Ok(None);
    }
    let bytes = window.frame_bytes(read, &cursor.segment, cursor.offset)?;
    let Some((frame, chain)) = FrameSeal::new(cursor.log).decode(bytes, cursor.chain, cursor.next) else {
        // Cut here by a crash, if the next batch says so.
        cursor.frames_left = 0;
        return Ok(None);
    };
    cursor.frames_left -= 1;
    cursor.has_read = true;
    cursor.offset += frame_bytes(frame.bytes.len()) as u64;
    cursor.end = Position(cursor.segment.first.0 + cursor.offset);
    cursor.next = LogIndex(cursor.next.0 + 1);
    cursor.chain = chain;
    Ok(Some(frame))
}

impl Cursor {
    /// Whether the block that is asked for lies behind it, as if the search had begun at the start.
    fn serves(&self, place: &BlockPlace) -> bool {
        let is_on_the_way = place.start.index <= self.next && self.next <= place.from;
        let is_behind = self.from == place.from && self.passed < place.sequence;
        self.log == place.log && (is_on_the_way || is_behind)
    }

    fn enter(&mut self, segment: OpenSegment, offset: u64, batch: &BatchHeader) {
        self.segment = segment;
        self.offset = offset + BATCH_HEADER_BYTES as u64;
        self.frames_left = batch.frames;
        self.has_read = false;
    }
}

fn damaged(cursor: &Cursor) -> ReadError {
    ReadError::Damaged { segment: cursor.segment.number, offset: cursor.offset, index: cursor.next }
}

/// The part of a segment that was read last.
struct Window {
    buffer: AlignedBuffer,
    segment: Option<SegmentNumber>,
    start: u64,
    bytes: u64,
    /// Bytes read at once: the more, the longer the reading goes straight on.
    ahead_bytes: u64,
    /// Where the last reading ended.
    last_end: u64,
    frame_bytes_max: usize,
}

impl Window {
    fn header(
        &mut self,
        read: &mut ReadAt<'_>,
        segment: SegmentNumber,
    ) -> Result<&[u8; SECTOR_BYTES], DiskError> {
        self.segment = None;
        let sector = &mut self.buffer.bytes_mut()[..SECTOR_BYTES];
        read(segment, 0, sector)?;
        Ok((&*sector).try_into().expect("one sector"))
    }

    /// The frame that starts at `offset`, as far as its header says, or as far as the segment goes.
    fn frame_bytes(
        &mut self,
        read: &mut ReadAt<'_>,
        segment: &OpenSegment,
        offset: u64,
    ) -> Result<&[u8], DiskError> {
        let left = segment.bytes.saturating_sub(offset) as usize;
        let header = self.bytes(read, segment, offset, FRAME_HEADER_BYTES.min(left))?;
        let Some(payload) = header.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize) else {
            return Ok(&[]);
        };
        let bytes = if payload > self.frame_bytes_max { 0 } else { frame_bytes(payload).min(left) };
        self.bytes(read, segment, offset, bytes)
    }

    /// Any `bytes` of a segment that fit the buffer together with the sectors they touch.
    fn bytes(
        &mut self,
        read: &mut ReadAt<'_>,
        segment: &OpenSegment,
        offset: u64,
        bytes: usize,
    ) -> Result<&[u8], DiskError> {
        let end = offset + bytes as u64;
        let held =
            self.segment == Some(segment.number) && self.start <= offset && end <= self.start + self.bytes;
        if !held {
            let start = offset - offset % SECTOR_BYTES as u64;
            let goes_on =
                start <= self.last_end && self.last_end <= start + (READ_BYTES + SECTOR_BYTES) as u64;
            self.ahead_bytes = if goes_on { self.ahead_bytes * 2 } else { 0 }.max(READ_BYTES as u64);
            self.ahead_bytes = self.ahead_bytes.min(self.buffer.len() as u64);
            let bytes = align_up(end - start).max(self.ahead_bytes).min(segment.bytes - start);
            assert!(end <= start + bytes, "a window holds a frame of the largest size");
            self.segment = None;
            read(segment.number, start, &mut self.buffer.bytes_mut()[..bytes as usize])?;
            (self.segment, self.start, self.bytes) = (Some(segment.number), start, bytes);
            self.last_end = start + bytes;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.buffer.bytes()[from..from + bytes])
    }
}
