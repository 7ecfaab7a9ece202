//! Target `wal`: the write-ahead log alone, beside a plain file with the same blocks and the same flush.
//!
//! Three kinds of runs per strategy: `append` (one block in flight: latency), `bandwidth` (the next block waits while
//! one is being flushed), `records` (128-byte records, so many outstanding). Log and floor take turns. Each run has a
//! log of its own whose first segment holds all of it, so that no new segment is zeroed inside the figures.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use io_oi_wal::{
    AppendError, BATCH_HEADER_BYTES, Config, FRAME_BYTES_MAX, Frame, FrameKind, LogIndex, StrategyWish,
    frame_bytes,
};

use crate::answers;
use crate::cli::{Bounds, Extent, NodeOptions, Wal as WalOptions};
use crate::clock;
use crate::failure::Failure;
use crate::findings::Findings;
use crate::floors::flush::{PlainFile, block_bytes};
use crate::place::{Place, is_on_disk};
use crate::recorder::Recorder;
use crate::report::{Load, Measured, rounded};

/// Runs every strategy.
pub(crate) fn measure(
    options: &WalOptions,
    extent: &Extent,
    nodes: &NodeOptions,
) -> Result<Findings, Failure> {
    if !nodes.attach.is_empty() {
        return Err(Failure::Usage(
            "wal measures a log of its own: leave --attach out, choose the disk with --dir".into(),
        ));
    }
    let place = Place::fresh(nodes.dir.as_deref())?;
    if !is_on_disk(place.path()) {
        eprintln!(
            "warning: {} is memory, not a disk; choose another place with --dir",
            place.path().display()
        );
    }
    let bounds = extent.bounds(RUN_LENGTH);
    let mut runs = Vec::new();
    for name in &options.strategy {
        let wish: StrategyWish = name.parse().map_err(|error| Failure::Usage(format!("{error}")))?;
        for point in points(options)? {
            runs.push(run(&point, wish, bounds, place.path())?);
        }
    }
    let findings = Findings {
        idle: "yield".into(),
        payload_bytes: RECORD_BYTES,
        durability: "local".into(),
        load: Load::Closed,
        runs,
        ..Findings::default()
    };
    drop(place);
    Ok(findings)
}

/// One point of the sweep.
struct Point {
    measure: &'static str,
    /// Bytes of one frame's payload.
    frame_bytes: usize,
    /// Frames without their flush, at most.
    outstanding: usize,
    /// The block that the plain file writes.
    block_bytes: usize,
}

fn points(options: &WalOptions) -> Result<Vec<Point>, Failure> {
    let mut points = vec![Point { measure: "append", ..of_block(BLOCK_BYTES_MIN, 1)? }];
    for block in &options.blocks {
        points.push(of_block(*block, 2)?);
    }
    for outstanding in &options.outstanding {
        let bytes = outstanding.saturating_mul(frame_bytes(RECORD_BYTES)) + BATCH_HEADER_BYTES;
        points.push(Point {
            measure: "records",
            frame_bytes: RECORD_BYTES,
            outstanding: (*outstanding).max(1),
            block_bytes: block_bytes(bytes),
        });
    }
    Ok(points)
}

/// A frame that fills a block of the log exactly, headers included.
fn of_block(bytes: usize, outstanding: usize) -> Result<Point, Failure> {
    let headers = BATCH_HEADER_BYTES + frame_bytes(0);
    let fits = bytes >= BLOCK_BYTES_MIN
        && bytes.is_multiple_of(BLOCK_BYTES_MIN)
        && bytes - headers <= FRAME_BYTES_MAX;
    if !fits || bytes > BLOCK_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "--blocks {bytes}: give multiples of 4096 up to {BLOCK_BYTES_MAX}"
        )));
    }
    Ok(Point { measure: "bandwidth", frame_bytes: bytes - headers, outstanding, block_bytes: bytes })
}

fn run(point: &Point, wish: StrategyWish, bounds: Bounds, dir: &Path) -> Result<Measured, Failure> {
    let mut plain = PlainFile::create(dir, "wal-floor", FLOOR_FILE_BYTES)
        .map_err(Failure::io("making the plain file of the flush floor"))?;
    let log_dir = dir.join("log");
    let segment_bytes = segment_bytes(point, bounds);
    let mut log = Log::open(&log_dir, wish, segment_bytes)?;
    let (mut flushes, mut rates) = (Vec::new(), Vec::new());
    let mut recorder = Recorder::of_ns();
    for _ in 0..PIECES {
        let piece = bounds.split(PIECES);
        let flush_length = piece.length.min(FLOOR_PIECE_LENGTH);
        let (began, mut count) = (Instant::now(), 0);
        while count < piece.count.min(FLUSHES_PER_PIECE_MAX) && began.elapsed() < flush_length {
            let flush = plain.append(point.block_bytes).map_err(Failure::io("writing the flush floor"))?;
            flushes.push(flush as f64);
            count += 1;
        }
        rates.push(log.load(point, piece, &mut recorder)?);
    }
    let (strategy, reason) = (log.wal.stats().strategy.to_string(), log.wal.stats().strategy_reason.clone());
    let appended = log.close()?;
    let (hash, found) = read_again(&log_dir, wish, segment_bytes)?;
    std::fs::remove_dir_all(&log_dir).map_err(Failure::io("removing the measured log"))?;
    let flush_ns = clock::median(&mut flushes);
    let per_second = clock::median(&mut rates);
    let name = format!("{strategy}-{}-{}-{}", point.measure, point.block_bytes, point.outstanding);
    let measured = Measured::new(name, point.outstanding, recorder.finish())
        .rate(per_second)
        .bound("flush_ns", flush_ns)
        .floor("flush_p99_ns", clock::p99(&mut flushes))
        .with("measure", point.measure)
        .with("strategy", strategy)
        .with("strategy_wish", wish.to_string())
        .with("strategy_reason", reason)
        .with("block_bytes", point.block_bytes)
        .with("frame_bytes", point.frame_bytes)
        .with("flush_direct", plain.is_direct())
        .answers(hash, u64::from(found != appended));
    if point.measure == "records" {
        return Ok(measured);
    }
    let floor_per_second = if flush_ns > 0.0 { 1e9 / flush_ns } else { 0.0 };
    let mib = point.block_bytes as f64 / f64::from(1 << 20);
    Ok(measured
        .with("mib_per_second", rounded(per_second * mib))
        .with("floor_mib_per_second", rounded(floor_per_second * mib))
        .with("share_of_floor", rounded(per_second / floor_per_second.max(1e-9))))
}

/// The log under measurement.
struct Log {
    wal: io_oi_wal::Wal,
    payload: Vec<u8>,
    frames: u64,
    /// Bytes of the run at most: what the first segment holds.
    room: u64,
}

impl Log {
    fn open(dir: &Path, wish: StrategyWish, segment_bytes: u64) -> Result<Self, Failure> {
        let opened = io_oi_wal::Wal::open(dir, config(wish, segment_bytes), |_, _| Ok(()));
        let (mut wal, _) = opened.map_err(|error| Failure::Refused(error.to_string()))?;
        settle(&mut wal, dir)?;
        let payload = (0..FRAME_BYTES_MAX).map(|at| answers::scramble(at as u64) as u8).collect();
        Ok(Self { wal, payload, frames: 0, room: segment_bytes * 3 / 4 })
    }

    /// Keeps so many frames outstanding until the bounds, or the prepared space, are reached; answers frames per second.
    fn load(&mut self, point: &Point, bounds: Bounds, recorder: &mut Recorder) -> Result<f64, Failure> {
        let room = self.room / u64::from(PIECES);
        let written = |frames: u64| frames * point.block_bytes_per_frame();
        let (began, mut sent, mut done) = (Instant::now(), 0_u64, 0_u64);
        let mut open: VecDeque<(LogIndex, Instant)> = VecDeque::with_capacity(point.outstanding);
        loop {
            let over = bounds.reached(began, Instant::now(), sent) || written(sent) >= room;
            if over && open.is_empty() {
                break;
            }
            while !over && open.len() < point.outstanding && sent < bounds.count {
                let Some(index) = self.append(point.frame_bytes)? else { break };
                open.push_back((index, Instant::now()));
                sent += 1;
            }
            self.wal.submit();
            match self.wal.poll().map_err(|error| Failure::Refused(error.to_string()))? {
                Some(through) => {
                    let now = Instant::now();
                    while let Some((_, from)) = open.pop_front_if(|(index, _)| *index <= through) {
                        recorder.record_ns(now, clock::ns_between(from, now));
                        done += 1;
                    }
                }
                // A pure spinner starves the kernel's flush worker on its own core for a scheduler tick.
                None => rustix::thread::sched_yield(),
            }
        }
        Ok(done as f64 / began.elapsed().as_secs_f64())
    }

    /// One frame; `None` while the log has no room for it.
    fn append(&mut self, bytes: usize) -> Result<Option<LogIndex>, Failure> {
        self.payload[..8].copy_from_slice(&self.frames.to_le_bytes());
        let frame =
            Frame { kind: FrameKind(1), epoch: 1, sequence: self.frames, bytes: &self.payload[..bytes] };
        match self.wal.append(frame) {
            Ok(index) => {
                self.frames += 1;
                Ok(Some(index))
            }
            Err(AppendError::BatchFull | AppendError::LogFull) => Ok(None),
            Err(error) => Err(Failure::Refused(error.to_string())),
        }
    }

    fn close(self) -> Result<u64, Failure> {
        self.wal.close().map_err(|error| Failure::Refused(error.to_string()))?;
        Ok(self.frames)
    }
}

impl Point {
    /// Bytes on disk per frame, at most.
    fn block_bytes_per_frame(&self) -> u64 {
        match self.measure {
            "records" => (self.block_bytes / self.outstanding).max(frame_bytes(RECORD_BYTES)) as u64,
            _ => self.block_bytes as u64,
        }
    }
}

/// Waits until the segment ahead is prepared: zeroing it would take its share of the disk.
fn settle(wal: &mut io_oi_wal::Wal, dir: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    while segments_ready(dir) < 2 && began.elapsed() < SETTLE_MAX {
        wal.poll().map_err(|error| Failure::Refused(error.to_string()))?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Segments get their name when they are zeroed and flushed.
fn segments_ready(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".log")).count()
}

/// Opens the log once more and hashes what it hands out: every frame in order, none missing.
fn read_again(dir: &Path, wish: StrategyWish, segment_bytes: u64) -> Result<(u64, u64), Failure> {
    let (mut hash, mut count) = (0, 0);
    let opened = io_oi_wal::Wal::open(dir, config(wish, segment_bytes), |_, frame| {
        if frame.kind == FrameKind(1) {
            if frame.sequence != count || frame.bytes.get(..8) != Some(&count.to_le_bytes()[..]) {
                return Err(format!("frame {count} came back as {}", frame.sequence).into());
            }
            hash = answers::fold(hash, frame.sequence ^ frame.bytes.len() as u64);
            count += 1;
        }
        Ok(())
    });
    opened.map_err(|error| Failure::Refused(error.to_string()))?;
    Ok((hash, count))
}

/// Room for all that the run can write at the rates of fast disks, with a quarter to spare.
fn segment_bytes(point: &Point, bounds: Bounds) -> u64 {
    let blocks_by_time = bounds.length.as_secs_f64() * BLOCKS_PER_SECOND_MAX;
    let blocks = bounds.count.min(blocks_by_time as u64).saturating_add(u64::from(PIECES));
    let bytes = blocks.saturating_mul(point.block_bytes as u64).saturating_mul(3) / 2;
    bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX).next_multiple_of(BLOCK_BYTES_MIN as u64)
}

fn config(wish: StrategyWish, segment_bytes: u64) -> Config {
    let mut config = Config::new([7; 32], 0);
    config.strategy = wish;
    config.segment_bytes = segment_bytes;
    config.segments_ahead = 1;
    config
}

const RUN_LENGTH: Duration = Duration::from_secs(2);
const PIECES: u32 = 5;
const FLUSHES_PER_PIECE_MAX: u64 = 1_000;
const FLOOR_PIECE_LENGTH: Duration = Duration::from_millis(400);
const FLOOR_FILE_BYTES: u64 = 32 << 20;
const SEGMENT_BYTES_MIN: u64 = 16 << 20;
/// A quarter of a second at the full bandwidth of the disks seen: a run ends when it is full.
const SEGMENT_BYTES_MAX: u64 = 256 << 20;
const BLOCKS_PER_SECOND_MAX: f64 = 20_000.0;
const SETTLE_MAX: Duration = Duration::from_secs(20);
const BLOCK_BYTES_MIN: usize = 4_096;
const BLOCK_BYTES_MAX: usize = 1 << 20;
/// A small proposal with its head.
const RECORD_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_a_block_fills_it_exactly() {
        let point = of_block(65_536, 2).expect("a block");
        assert_eq!(BATCH_HEADER_BYTES + frame_bytes(point.frame_bytes), 65_536);
        assert!(of_block(5_000, 1).is_err() && of_block(2 << 20, 1).is_err());
    }
}
