//! Group commit: frames gather in one buffer while the other is written and flushed.
//!
//! Invariant: a frame is reported durable only after the flush that covers it; one batch is in flight at most, and
//! a batch never begins in a sector that holds another batch's bytes.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block_index::BlockIndex;
use crate::config::Config;
use crate::device::Device;
use crate::disk::{Disk, DiskError, Operation};
use crate::errors::{AppendError, FlushFailed, OpenError, ReadError};
use crate::format::{
    BatchHeader, Chain, Frame, FrameSeal, KIND_CLOSED, KIND_OPENED, LogId, LogIndex, Position, SegmentHeader,
    SegmentNumber, frame_bytes,
};
use crate::limits::{BATCH_HEADER_BYTES, FRAME_KIND_RESERVED, MARKS_RESERVE_BYTES, SECTOR_BYTES, align_up};
use crate::log_reader::{BlockPlace, Scanner};
use crate::places::{Place, Places};
use crate::recovery::{self, Recovered, Unreadable, VisitorError};
use crate::resume::Resume;
use crate::stats::{FlushHistogram, Stats};

/// One shard's log. `D` is the real device unless a test says otherwise; with the real device it stays on the thread
/// that opened it.
pub struct Wal<D: Disk = Device> {
    disk: D,
    config: Config,
    log: LogId,
    seal: FrameSeal,
    /// The chain after the newest frame taken.
    chain: Chain,
    /// The newest frame taken.
    appended: LogIndex,
    /// The newest frame known to be durable.
    durable: LogIndex,
    /// End of the newest frame written, in flight or not.
    end: Position,
    filling: Filling,
    in_flight: Option<InFlight>,
    active: Segment,
    /// Offset in the active segment where the next batch begins.
    next_offset: u64,
    prepared: VecDeque<Segment>,
    preparing: VecDeque<Segment>,
    failed: Option<FlushFailed>,
    /// The last attempt to prepare a segment failed; told once, not each time.
    preparing_fails: bool,
    stats: Stats,
    places: Places,
    /// The newest segment that a durable batch stands in.
    pub(crate) durable_in: SegmentNumber,
    /// Reads single blocks; made when the first is asked for.
    scanner: Option<Box<Scanner>>,
}

/// From where a log is read, and whether damage is mended.
#[derive(Clone, Copy)]
pub(crate) enum How<'a> {
    Plain,
    Repairing,
    From(&'a Resume),
}

/// A segment's place in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) number: SegmentNumber,
    pub(crate) first: Position,
    pub(crate) bytes: u64,
}

impl Segment {
    pub(crate) fn position(&self, offset: u64) -> Position {
        Position(self.first.0 + offset)
    }

    /// Where ordinary batches must end; only marks may go beyond.
    fn usable_bytes(&self) -> u64 {
        self.bytes.saturating_sub(MARKS_RESERVE_BYTES)
    }

    /// The largest ordinary batch that it takes while it is empty.
    fn room_for_batches(&self) -> u64 {
        self.usable_bytes().saturating_sub(SECTOR_BYTES as u64)
    }
}

/// The batch that takes frames.
struct Filling {
    buffer: usize,
    /// Header and frames; 0 while there is no frame.
    bytes: usize,
    frames: u32,
    payload_bytes: u64,
    first_index: LogIndex,
    chain: Chain,
}

struct InFlight {
    through: LogIndex,
    frames: u32,
    payload_bytes: u64,
    written_bytes: u64,
    since: Instant,
}

impl Wal<Device> {
    /// Opens the log in a directory, making both if they do not exist, and hands every frame it holds to `visitor`, in
    /// order. Blocks; call it on the thread that will use the log.
    ///
    /// When it returns, everything that was handed out is durable.
    pub fn open(
        directory: impl AsRef<Path>,
        config: Config,
        visitor: impl FnMut(LogIndex, Frame<'_>) -> Result<(), VisitorError>,
    ) -> Result<(Self, Recovered), OpenError> {
        Self::open_in(directory.as_ref(), config, How::Plain, visitor)
    }

    /// As [`Wal::open`], but a log that is damaged in its middle is continued: its whole prefix is handed out and stays, the
    /// damaged files and what follows them are set aside in a directory `damaged-1`, `damaged-2`, …, and
    /// [`Recovered::damage`] says what may be lost and is to be fetched from the peers.
    pub fn open_repairing(
        directory: impl AsRef<Path>,
        config: Config,
        visitor: impl FnMut(LogIndex, Frame<'_>) -> Result<(), VisitorError>,
    ) -> Result<(Self, Recovered), OpenError> {
        Self::open_in(directory.as_ref(), config, How::Repairing, visitor)
    }

    pub(crate) fn open_in(
        directory: &Path,
        config: Config,
        how: How<'_>,
        visitor: impl FnMut(LogIndex, Frame<'_>) -> Result<(), VisitorError>,
    ) -> Result<(Self, Recovered), OpenError> {
        config.check()?;
        let device = Device::open(directory, &config).map_err(in_use_or_disk)?;
        Self::open_any(device, config, visitor, how)
    }
}

impl<D: Disk> Wal<D> {
    /// As [`Wal::open`], on any disk.
    pub fn open_on(
        disk: D,
        config: Config,
        visitor: impl FnMut(LogIndex, Frame<'_>) -> Result<(), VisitorError>,
    ) -> Result<(Self, Recovered), OpenError> {
        Self::open_any(disk, config, visitor, How::Plain)
    }

    /// As [`Wal::open_repairing`], on any disk.
    pub fn open_repairing_on(
        disk: D,
        config: Config,
        visitor: impl FnMut(LogIndex, Frame<'_>) -> Result<(), VisitorError>,
    ) -> Result<(Self, Recovered), OpenError> {
        Self::open_any(disk, config, visitor, How::Repairing)
    }

    pub(crate) fn open_any(
        mut disk: D,
        config: Config,
        mut visitor: impl FnMut(LogIndex, Frame<'_>) -> Result<(), VisitorError>,
        how: How<'_>,
    ) -> Result<(Self, Recovered), OpenError> {
        config.check()?;
        let mut files = disk.segments().map_err(in_use_or_disk)?;
        let created = files.is_empty();
        if let How::From(resume) = how
            && created
        {
            return Err(OpenError::ResumeRefused { segment: resume.segment });
        }
        if created {
            create_first_segment(&mut disk, &config)?;
            files = disk.segments()?;
        }
        let mut found = match how {
            How::Plain => recovery::recover(&mut disk, &config, &files, Unreadable::Fails, &mut visitor)?,
            How::Repairing => recovery::recover_repairing(&mut disk, &config, &files, &mut visitor)?,
            How::From(resume) => recovery::recover_from(&mut disk, &config, &files, resume, &mut visitor)?,
        };
        remove_too_small(&mut disk, &mut found.prepared)?;
        let mut recovered = found.recovered;
        recovered.created = created;
        disk.activate(found.active.number)?;
        let (strategy, reason) = disk.strategy();
        let stats = Stats::new(strategy, reason.to_owned());
        let mut wal = Self {
            seal: FrameSeal::new(found.log),
            log: found.log,
            chain: found.chain,
            appended: found.last_index,
            durable: found.last_index,
            end: found.end,
            filling: Filling::empty(0, found.last_index, found.chain),
            in_flight: None,
            active: found.active,
            next_offset: found.next_offset,
            prepared: found.prepared.into(),
            preparing: VecDeque::with_capacity(config.segments_ahead),
            failed: None,
            preparing_fails: false,
            stats,
            places: found.places,
            durable_in: found.active.number,
            scanner: None,
            disk,
            config,
        };
        wal.prepared.reserve(wal.config.segments_ahead);
        wal.prepare_ahead();
        if !found.ends_with_mark || recovered.torn_tail.is_some() {
            wal.write_opening_mark()?;
        }
        wal.make_first_room();
        recovered.last_index = wal.durable;
        Ok((wal, recovered))
    }

    /// Takes one frame into the filling batch and says its number. Copies, allocates nothing, never blocks.
    pub fn append(&mut self, frame: Frame<'_>) -> Result<LogIndex, AppendError> {
        if frame.kind.0 >= FRAME_KIND_RESERVED {
            return Err(AppendError::ReservedKind { kind: frame.kind });
        }
        if frame.bytes.len() > self.config.frame_bytes_max {
            return Err(AppendError::TooLong {
                bytes: frame.bytes.len(),
                bytes_max: self.config.frame_bytes_max,
            });
        }
        self.take(frame, MARKS_RESERVE_BYTES)
    }

    /// Starts writing and flushing the filled batch when none is in flight; otherwise, and when nothing waits, does
    /// nothing. Never blocks. A failure is told by the next [`Wal::poll`].
    pub fn submit(&mut self) {
        if self.failed.is_some() || self.in_flight.is_some() || self.filling.bytes == 0 {
            return;
        }
        if let Err(cause) = self.start_batch() {
            self.fail(cause);
        }
    }

    /// Says through which frame the log became durable since the last call, if it did. Never blocks. An error is final.
    pub fn poll(&mut self) -> Result<Option<LogIndex>, FlushFailed> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.poll_preparation();
        if self.in_flight.is_none() {
            return Ok(None);
        }
        match self.disk.poll() {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some(self.finish_batch())),
            Err(cause) => Err(self.fail(cause)),
        }
    }

    /// Makes everything appended durable before it returns.
    pub fn flush_blocking(&mut self) -> Result<LogIndex, FlushFailed> {
        while self.failed.is_some() || self.durable < self.appended {
            self.submit();
            self.poll()?;
        }
        Ok(self.durable)
    }

    /// Flushes, and marks the log as closed in good order, so that damage to its last batch can be told from a crash.
    pub fn close(mut self) -> Result<(), FlushFailed> {
        self.flush_blocking()?;
        let mark = Frame { kind: KIND_CLOSED, epoch: 0, sequence: 0, bytes: &[] };
        // A disk so full that even the reserve for marks is gone costs only the mark.
        if self.take(mark, 0).is_ok() {
            self.flush_blocking()?;
        }
        Ok(())
    }

    /// Where the chain's block with this sequence stands, if it is durable by now: for [`LogReader`](crate::LogReader) on
    /// another thread, or for [`Wal::read_block`].
    pub fn locate(&self, index: &BlockIndex, sequence: u64) -> Option<BlockPlace> {
        BlockPlace::locate(&self.places, self.log, self.durable, index, sequence)
    }

    /// Puts the block's bytes into `out`, in place of what was there, and says whether the log holds it durably. Blocks: for
    /// the simulator and for tests; a node reads on another thread.
    pub fn read_block(&mut self, place: &BlockPlace, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        let scanner = self.scanner.get_or_insert_with(|| Box::new(Scanner::new(&self.config)));
        let disk = &mut self.disk;
        let mut read =
            |segment: SegmentNumber, offset: u64, into: &mut [u8]| disk.read_aside(segment, offset, into);
        scanner.read_block(&mut read, place, out)
    }

    /// As [`LogReader::visit_from`](crate::LogReader::visit_from), under the same condition as [`Wal::read_block`].
    pub fn visit_from(
        &mut self,
        place: &BlockPlace,
        visitor: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let scanner = self.scanner.get_or_insert_with(|| Box::new(Scanner::new(&self.config)));
        let disk = &mut self.disk;
        let mut read =
            |segment: SegmentNumber, offset: u64, into: &mut [u8]| disk.read_aside(segment, offset, into);
        scanner.visit(&mut read, place, visitor)
    }

    /// As [`LogReader::visit_sealed`](crate::LogReader::visit_sealed), under the same condition as [`Wal::read_block`].
    pub fn visit_sealed(
        &mut self,
        from: Option<&Resume>,
        through: SegmentNumber,
        visitor: &mut dyn FnMut(LogIndex, Frame<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Resume>, ReadError> {
        let scanner = self.scanner.get_or_insert_with(|| Box::new(Scanner::new(&self.config)));
        let disk = &mut self.disk;
        let mut read =
            |segment: SegmentNumber, offset: u64, into: &mut [u8]| disk.read_aside(segment, offset, into);
        scanner.visit_sealed(&mut read, from, through, visitor)
    }

    /// Bytes of batches that are sure to find room without new disk space, whatever their sizes. A batch takes its
    /// frames, [`frame_bytes`] each, and [`BATCH_HEADER_BYTES`], rounded up to a sector; it never spans two segments, and
    /// what it leaves of one is counted as lost here. 0 once the log has failed.
    pub fn room_bytes(&self) -> usize {
        if self.failed.is_some() {
            return 0;
        }
        let active = self.active.usable_bytes().saturating_sub(self.next_offset);
        let mut ahead = self.prepared.iter().map(Segment::room_for_batches);
        // A batch that does not fit is written to the next segment: what it leaves behind is lost.
        let first = ahead.next().unwrap_or(0);
        let rest: u64 = ahead.map(|bytes| bytes.saturating_sub(self.disk.buffer_bytes() as u64)).sum();
        let room = active.max(first) + rest;
        room.saturating_sub(self.filling.bytes.next_multiple_of(SECTOR_BYTES) as u64) as usize
    }

    /// Payload bytes of one more frame that the filling batch still takes.
    pub fn batch_room_bytes(&self) -> usize {
        let used = self.filling.bytes.max(BATCH_HEADER_BYTES) + frame_bytes(0);
        self.disk.buffer_bytes().saturating_sub(used)
    }

    /// The newest frame taken.
    pub fn appended(&self) -> LogIndex {
        self.appended
    }

    /// The newest frame known to be durable.
    pub fn durable(&self) -> LogIndex {
        self.durable
    }

    /// Whether a batch is being written now.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether nothing is in flight and nothing waits to be submitted.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.filling.bytes == 0
    }

    /// For how long the batch in flight has been on its way; zero when none is.
    pub fn in_flight_for(&self) -> Duration {
        self.in_flight.as_ref().map_or(Duration::ZERO, |batch| batch.since.elapsed())
    }

    /// How often the system put off taking a write (EAGAIN, EBUSY, EINTR of the ring), since the log was opened.
    pub fn enter_retries(&self) -> u64 {
        self.disk.enter_retries()
    }

    /// What the log counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The disk below, for tests that look at it.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    fn take(&mut self, frame: Frame<'_>, reserve_bytes: u64) -> Result<LogIndex, AppendError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone().into());
        }
        let start = self.filling.bytes.max(BATCH_HEADER_BYTES);
        let end = start + frame_bytes(frame.bytes.len());
        if end > self.disk.buffer_bytes() {
            return Err(AppendError::BatchFull);
        }
        if !self.fits(align_up(end as u64), reserve_bytes) {
            return Err(AppendError::LogFull);
        }
        let index = LogIndex(self.appended.0 + 1);
        let out = &mut self.disk.buffer(self.filling.buffer)[start..end];
        self.chain = self.seal.encode(out, self.chain, index, &frame);
        self.filling.bytes = end;
        self.filling.frames += 1;
        self.filling.payload_bytes += frame.bytes.len() as u64;
        self.appended = index;
        Ok(index)
    }

    fn fits(&self, batch_bytes: u64, reserve_bytes: u64) -> bool {
        self.fits_active(batch_bytes, reserve_bytes)
            || self.prepared.front().is_some_and(|next| batch_bytes <= next.room_for_batches())
    }

    fn fits_active(&self, batch_bytes: u64, reserve_bytes: u64) -> bool {
        self.next_offset + batch_bytes + reserve_bytes <= self.active.bytes
    }

    fn start_batch(&mut self) -> Result<(), DiskError> {
        let batch_bytes = align_up(self.filling.bytes as u64);
        // A lone mark may use the reserve; `take` let nothing else come this far.
        let reserve_bytes = if self.prepared.is_empty() { 0 } else { MARKS_RESERVE_BYTES };
        if !self.fits_active(batch_bytes, reserve_bytes) {
            self.switch_segment()?;
        }
        assert!(self.next_offset + batch_bytes <= self.active.bytes, "a batch ends within its segment");
        let header = BatchHeader {
            log: self.log,
            position: self.active.position(self.next_offset),
            durable_through: self.end,
            first_index: self.filling.first_index,
            frames: self.filling.frames,
            bytes: self.filling.bytes as u32,
            chain: self.filling.chain,
        };
        let buffer = self.disk.buffer(self.filling.buffer);
        header.encode(buffer);
        buffer[self.filling.bytes..batch_bytes as usize].fill(0);
        let since = Instant::now();
        self.disk.submit(self.filling.buffer, self.next_offset, batch_bytes as usize)?;
        self.places.note(Place {
            position: header.position,
            index: header.first_index,
            segment: self.active.number,
            chain: header.chain,
        });
        self.in_flight = Some(InFlight {
            through: self.appended,
            frames: self.filling.frames,
            payload_bytes: self.filling.payload_bytes,
            written_bytes: batch_bytes,
            since,
        });
        self.end = Position(header.position.0 + self.filling.bytes as u64);
        self.next_offset += batch_bytes;
        self.filling = Filling::empty(1 - self.filling.buffer, self.appended, self.chain);
        Ok(())
    }

    fn finish_batch(&mut self) -> LogIndex {
        let batch = self.in_flight.take().expect("a batch is in flight");
        assert!(batch.through > self.durable, "durability never goes back");
        self.durable = batch.through;
        self.durable_in = self.active.number; // No other batch was begun meanwhile.
        self.stats.batches += 1;
        self.stats.frames += u64::from(batch.frames);
        self.stats.payload_bytes += batch.payload_bytes;
        self.stats.written_bytes += batch.written_bytes;
        self.stats.flush_ns.record(batch.since.elapsed().as_nanos() as u64);
        self.durable
    }

    fn fail(&mut self, cause: DiskError) -> FlushFailed {
        let failed = FlushFailed { durable: self.durable, cause: Arc::new(cause) };
        tracing::error!(shard = self.config.shard, %failed, "log failed");
        self.failed = Some(failed.clone());
        failed
    }

    fn switch_segment(&mut self) -> Result<(), DiskError> {
        let next = self.prepared.pop_front().expect("append made sure of a prepared segment");
        self.disk.activate(next.number)?;
        tracing::debug!(shard = self.config.shard, segment = %next.number, "log segment begun");
        self.active = next;
        self.next_offset = SECTOR_BYTES as u64;
        self.stats.segments_filled += 1;
        self.prepare_ahead();
        Ok(())
    }

    fn prepare_ahead(&mut self) {
        while self.prepared.len() + self.preparing.len() < self.config.segments_ahead {
            let last = self.preparing.back().or(self.prepared.back()).unwrap_or(&self.active);
            let next = Segment {
                number: last.number.next(),
                first: last.position(last.bytes),
                bytes: self.config.segment_bytes,
            };
            self.preparing.push_back(next);
            self.disk.prepare(segment_header(&self.config, self.log, next));
        }
    }

    /// A log whose last segment is full has its next one before it is used: what the background prepares would come after
    /// the first append. On a full disk it does without.
    fn make_first_room(&mut self) {
        let largest_batch = self.disk.buffer_bytes() as u64;
        while !self.fits(largest_batch, MARKS_RESERVE_BYTES) && !self.preparing_fails {
            self.disk.wait_for_preparation();
            self.poll_preparation();
        }
    }

    fn poll_preparation(&mut self) {
        match self.disk.poll_prepared() {
            None => {}
            Some(Ok(number)) => {
                let segment = self.preparing.pop_front().expect("this segment was asked for");
                assert_eq!(segment.number, number, "segments are prepared in the order asked for");
                self.prepared.push_back(segment);
                if std::mem::take(&mut self.preparing_fails) {
                    tracing::info!(shard = self.config.shard, segment = %number, "log segments can be prepared again");
                }
            }
            Some(Err(error)) => {
                self.stats.prepare_failures += 1;
                if !std::mem::replace(&mut self.preparing_fails, true) {
                    tracing::warn!(shard = self.config.shard, %error, "no log segment ahead; trying again until it works");
                }
            }
        }
    }

    fn write_opening_mark(&mut self) -> Result<(), OpenError> {
        let nonce = self.disk.nonce().to_le_bytes();
        let mark = Frame { kind: KIND_OPENED, epoch: 0, sequence: 0, bytes: &nonce };
        loop {
            match self.take(mark, 0) {
                Ok(_) => break,
                Err(AppendError::Failed(failed)) => return Err(failed.into()),
                Err(_) => self.wait_for_a_segment()?,
            }
        }
        self.flush_blocking()?;
        Ok(())
    }

    fn wait_for_a_segment(&mut self) -> Result<(), OpenError> {
        let segment = *self.preparing.front().expect("a segment is being prepared when none is ahead");
        wait_until_prepared(&mut self.disk, segment.bytes)?;
        self.preparing.pop_front();
        self.prepared.push_back(segment);
        Ok(())
    }
}

impl Filling {
    fn empty(buffer: usize, appended: LogIndex, chain: Chain) -> Self {
        let first_index = LogIndex(appended.0 + 1);
        Self { buffer, bytes: 0, frames: 0, payload_bytes: 0, first_index, chain }
    }
}

impl Stats {
    fn new(strategy: crate::Strategy, strategy_reason: String) -> Self {
        Self {
            batches: 0,
            frames: 0,
            payload_bytes: 0,
            written_bytes: 0,
            segments_filled: 0,
            prepare_failures: 0,
            flush_ns: FlushHistogram::default(),
            strategy,
            strategy_reason,
        }
    }
}

fn create_first_segment<D: Disk>(disk: &mut D, config: &Config) -> Result<(), OpenError> {
    let first = Segment { number: SegmentNumber(0), first: Position(0), bytes: config.segment_bytes };
    let log = LogId(disk.nonce());
    disk.prepare(segment_header(config, log, first));
    wait_until_prepared(disk, config.segment_bytes)
}

/// Removes segments that were prepared for smaller batches than those of today and never written to, and all behind
/// them; larger ones take their place. From the back, so that a crash leaves no gap.
fn remove_too_small<D: Disk>(disk: &mut D, prepared: &mut Vec<Segment>) -> Result<(), DiskError> {
    let largest = disk.buffer_bytes() as u64;
    let first = prepared.iter().position(|segment| segment.room_for_batches() < largest);
    while prepared.len() > first.unwrap_or(prepared.len()) {
        let last = prepared.pop().expect("longer than what stays");
        tracing::info!(segment = %last.number, bytes = last.bytes, "empty log segment too small for a batch removed");
        disk.remove(last.number)?;
    }
    Ok(())
}

fn wait_until_prepared<D: Disk>(disk: &mut D, segment_bytes: u64) -> Result<(), OpenError> {
    loop {
        match disk.poll_prepared() {
            Some(Ok(_)) => return Ok(()),
            Some(Err(source)) if source.is_no_space() => {
                return Err(OpenError::NoSpace { segment_bytes, source });
            }
            Some(Err(error)) => return Err(error.into()),
            None => disk.wait_for_preparation(),
        }
    }
}

fn segment_header(config: &Config, log: LogId, segment: Segment) -> SegmentHeader {
    SegmentHeader {
        cluster: config.cluster,
        shard: config.shard,
        log,
        number: segment.number,
        first: segment.first,
        bytes: segment.bytes,
        frame_bytes_max: config.frame_bytes_max as u32,
    }
}

fn in_use_or_disk(error: DiskError) -> OpenError {
    if error.operation == Operation::Open && error.source.kind() == std::io::ErrorKind::WouldBlock {
        return OpenError::InUse(error);
    }
    error.into()
}
