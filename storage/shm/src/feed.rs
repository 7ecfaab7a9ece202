//! Broadcast: one writer, any number of readers, the writer never waits; a slow reader is told what it missed.
//!
//! The data is a ring of words that is overwritten without asking. Before the writer overwrites anything it moves
//! `claim` forward; a reader copies a frame and checks afterwards that `claim` had not reached it.
//!
//! Invariant: a frame is delivered whole and once, in order, or counted exactly in [`Next::Lapped`].

use crate::layout::feed as at;
use crate::sync::{
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use crate::words::{load_bytes, store_bytes, words_of};
use crate::{CreateError, Heartbeat, Kind, OpenError, Region, Segment, SegmentConfig};
use rustix::fd::BorrowedFd;
#[cfg(not(loom))]
use rustix::fd::OwnedFd;
use thiserror::Error;

/// Sizes of a feed.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes of data, a power of two, at least twice the longest frame.
    pub data_bytes: usize,
    /// Longest frame in bytes.
    pub frame_bytes_max: usize,
    /// Incarnation of the node.
    pub incarnation: u64,
    /// The shard whose records are published.
    pub shard: u16,
}

/// What a reader finds next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// One frame of this many bytes was copied out.
    Frame(usize),
    /// Nothing new.
    Empty,
    /// The writer overtook this reader, and `missed` frames are lost to it; reading goes on at the newest.
    Lapped {
        /// Frames lost.
        missed: u64,
    },
}

/// The writer put something impossible into its own feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "feed is corrupt: a frame of {frame_bytes} bytes stands where at most {limit} are possible; attach again"
)]
pub struct FeedCorrupt {
    /// Length found.
    pub frame_bytes: u64,
    /// Length possible.
    pub limit: u64,
}

/// The words and how positions address them.
#[derive(Debug)]
struct Data {
    segment: Segment,
    capacity_words: usize,
    frame_bytes_max: usize,
}

impl Data {
    fn region(&self) -> &Region {
        self.segment.region()
    }

    fn offset(&self, position: u64) -> usize {
        position as usize & (self.capacity_words - 1)
    }

    fn words(&self) -> &[crate::sync::AtomicU64] {
        self.region().words(at::AT_DATA, self.capacity_words)
    }

    fn word(&self, position: u64) -> &crate::sync::AtomicU64 {
        &self.words()[self.offset(position)]
    }

    fn store(&self, position: u64, bytes: &[u8]) {
        let offset = self.offset(position);
        let (front, back) = bytes.split_at(bytes.len().min((self.capacity_words - offset) * 8));
        store_bytes(&self.words()[offset..], front);
        store_bytes(self.words(), back);
    }

    fn load(&self, position: u64, out: &mut [u8]) {
        let offset = self.offset(position);
        let room = out.len().min((self.capacity_words - offset) * 8);
        let (front, back) = out.split_at_mut(room);
        load_bytes(&self.words()[offset..], front);
        load_bytes(self.words(), back);
    }
}

/// The publishing end.
#[derive(Debug)]
pub struct Writer {
    data: Data,
    tail: u64,
    /// Number of the frame published last.
    number: u64,
}

impl Writer {
    /// Makes a feed.
    #[cfg(not(loom))]
    pub fn create(config: &Config) -> Result<Writer, CreateError> {
        check(config)?;
        Ok(Writer::over(Segment::create(&segment_config(config), segment_bytes(config))?, config))
    }

    /// Makes a feed in plain memory of this process, for models.
    pub fn plain(config: &Config) -> Result<(Writer, Region), CreateError> {
        check(config)?;
        let writer = Writer::over(Segment::plain(&segment_config(config), segment_bytes(config)), config);
        let region = writer.data.region().clone();
        Ok((writer, region))
    }

    /// The descriptor to hand to readers.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.data.segment.fd()
    }

    /// Longest frame in bytes.
    pub fn frame_bytes_max(&self) -> usize {
        self.data.frame_bytes_max
    }

    /// Number of frames published so far.
    pub fn published(&self) -> u64 {
        self.number
    }

    /// Publishes one frame, over the oldest ones when the feed is full.
    ///
    /// # Panics
    ///
    /// When the frame is longer than [`Writer::frame_bytes_max`].
    pub fn publish(&mut self, frame: &[u8]) {
        assert!(frame.len() <= self.data.frame_bytes_max, "a frame must fit the feed it is published in");
        let start = self.tail;
        let end = start + (at::FRAME_HEADER_WORDS + words_of(frame.len())) as u64;
        let region = self.data.region();
        region.word(at::AT_CLAIM).store(end, Relaxed);
        // Release fence pairs with the Acquire fence in `Reader::is_intact`: whoever loaded a word we store below
        // also sees the claim.
        fence(Release);
        self.number += 1;
        self.data.word(start).store(frame.len() as u64, Relaxed);
        self.data.word(start + 1).store(self.number, Relaxed);
        self.data.store(start + at::FRAME_HEADER_WORDS as u64, frame);
        // Release pairs with the Acquire loads in `Reader`: whoever sees the position sees the frame.
        region.word(at::AT_LAST).store(start, Release);
        region.word(at::AT_TAIL).store(end, Release);
        self.tail = end;
    }

    /// Gives a sign of life.
    pub fn beat(&self, now_ns: u64) {
        self.data.segment.heartbeat().beat(now_ns);
    }

    fn over(segment: Segment, config: &Config) -> Writer {
        let region = segment.region();
        region.word(at::AT_DATA_BYTES).store(config.data_bytes as u64, Relaxed);
        region.word(at::AT_FRAME_BYTES_MAX).store(config.frame_bytes_max as u64, Relaxed);
        segment.finish();
        let (capacity_words, frame_bytes_max) = (config.data_bytes / 8, config.frame_bytes_max);
        Writer { data: Data { segment, capacity_words, frame_bytes_max }, tail: 0, number: 0 }
    }
}

/// A reading end.
#[derive(Debug)]
pub struct Reader {
    data: Data,
    position: u64,
    /// Number of the frame that should come next.
    expected: u64,
}

impl Reader {
    /// Opens the feed behind a descriptor from the node; the first frame seen is the first published from now on.
    #[cfg(not(loom))]
    pub fn open(file: OwnedFd) -> Result<Reader, OpenError> {
        Reader::over(Segment::open(file, Kind::Feed)?)
    }

    /// Opens a feed in plain memory of this process, for models.
    pub fn plain(region: Region) -> Result<Reader, OpenError> {
        Reader::over(Segment::open_region(region, Kind::Feed)?)
    }

    /// Longest frame in bytes.
    pub fn frame_bytes_max(&self) -> usize {
        self.data.frame_bytes_max
    }

    /// The writer's sign of life.
    pub fn heartbeat(&self) -> Heartbeat {
        self.data.segment.heartbeat()
    }

    /// Incarnation of the node that made this feed.
    pub fn incarnation(&self) -> u64 {
        self.data.segment.incarnation()
    }

    /// Copies the next frame into `out`, or says why there is none.
    ///
    /// # Errors
    ///
    /// [`FeedCorrupt`] when the feed contradicts itself, which no sound node writes.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than [`Reader::frame_bytes_max`].
    pub fn poll(&mut self, out: &mut [u8]) -> Result<Next, FeedCorrupt> {
        assert!(out.len() >= self.data.frame_bytes_max, "the buffer must take the longest frame");
        // Acquire pairs with the Release in `Writer::publish`.
        let tail = self.data.region().word(at::AT_TAIL).load(Acquire);
        // Whoever took its place from the newest frame may be ahead of `tail`, which the writer moves a moment later.
        if tail <= self.position {
            return Ok(Next::Empty);
        }
        let frame_bytes = self.data.word(self.position).load(Relaxed);
        let number = self.data.word(self.position.wrapping_add(1)).load(Relaxed);
        let limit = self.data.frame_bytes_max as u64;
        if frame_bytes <= limit {
            let start = self.position.wrapping_add(at::FRAME_HEADER_WORDS as u64);
            self.data.load(start, &mut out[..frame_bytes as usize]);
        }
        if !self.is_intact(self.position) {
            return Ok(self.skip_to_newest());
        }
        if frame_bytes > limit || number != self.expected {
            return Err(FeedCorrupt { frame_bytes, limit });
        }
        self.expected += 1;
        self.position += (at::FRAME_HEADER_WORDS + words_of(frame_bytes as usize)) as u64;
        Ok(Next::Frame(frame_bytes as usize))
    }

    /// Whether nothing from `position` on was being overwritten while it was loaded.
    fn is_intact(&self, position: u64) -> bool {
        // Acquire fence pairs with the Release fence in `Writer::publish`.
        fence(Acquire);
        let claim = self.data.region().word(at::AT_CLAIM).load(Relaxed);
        claim.wrapping_sub(position) <= self.data.capacity_words as u64
    }

    /// Goes on at the newest frame; its number says how many were missed. A writer faster than a handful of looks
    /// leaves us where we were, and the next `poll` tries again.
    fn skip_to_newest(&mut self) -> Next {
        for _ in 0..SKIP_TRIES {
            // Acquire pairs with the Release in `Writer::publish`.
            let last = self.data.region().word(at::AT_LAST).load(Acquire);
            let number = self.data.word(last.wrapping_add(1)).load(Relaxed);
            if self.is_intact(last) && number >= self.expected {
                let missed = number - self.expected;
                (self.position, self.expected) = (last, number);
                return Next::Lapped { missed };
            }
        }
        Next::Empty
    }

    fn over(segment: Segment) -> Result<Reader, OpenError> {
        let geometry = |at: usize| segment.region().word(at).load(Relaxed);
        let (data_bytes, frame_bytes_max) = (geometry(at::AT_DATA_BYTES), geometry(at::AT_FRAME_BYTES_MAX));
        let room = segment.bytes() - (at::AT_DATA * 8) as u64;
        if !data_bytes.is_power_of_two() || data_bytes < 64 || data_bytes > room {
            return Err(OpenError::WrongGeometry { what: "feed bytes", value: data_bytes });
        }
        if frame_bytes_max > data_bytes / 2 {
            return Err(OpenError::WrongGeometry { what: "feed frame bytes", value: frame_bytes_max });
        }
        let (capacity_words, frame_bytes_max) = (data_bytes as usize / 8, frame_bytes_max as usize);
        let mut reader =
            Reader { data: Data { segment, capacity_words, frame_bytes_max }, position: 0, expected: 1 };
        reader.start_at_tail();
        Ok(reader)
    }

    /// Puts the reader behind the newest frame. When the writer is too fast for that the reader starts at the
    /// beginning, and the first `poll` tells the lap.
    fn start_at_tail(&mut self) {
        if self.data.region().word(at::AT_TAIL).load(Acquire) == 0 {
            return;
        }
        for _ in 0..SKIP_TRIES {
            let last = self.data.region().word(at::AT_LAST).load(Acquire);
            let frame_bytes = self.data.word(last).load(Relaxed);
            let number = self.data.word(last.wrapping_add(1)).load(Relaxed);
            if self.is_intact(last) && frame_bytes <= self.data.frame_bytes_max as u64 {
                let frame_words = at::FRAME_HEADER_WORDS + words_of(frame_bytes as usize);
                (self.position, self.expected) = (last + frame_words as u64, number + 1);
                return;
            }
        }
    }
}

fn check(config: &Config) -> Result<(), CreateError> {
    let longest = (at::FRAME_HEADER_WORDS + words_of(config.frame_bytes_max)) * 8;
    if !config.data_bytes.is_power_of_two() || config.data_bytes < 2 * longest || config.data_bytes > 1 << 40
    {
        let allowed = "a power of two that holds at least two of the longest frames";
        return Err(CreateError::Config {
            what: "feed data_bytes",
            value: config.data_bytes as u64,
            allowed,
        });
    }
    Ok(())
}

fn segment_config(config: &Config) -> SegmentConfig {
    let Config { incarnation, shard, .. } = *config;
    SegmentConfig { kind: Kind::Feed, incarnation, shard, preallocate: false }
}

fn segment_bytes(config: &Config) -> u64 {
    (at::AT_DATA * 8 + config.data_bytes) as u64
}

/// Looks at the newest frame before a reader gives up for this turn.
const SKIP_TRIES: u32 = if cfg!(loom) { 1 } else { 64 };
