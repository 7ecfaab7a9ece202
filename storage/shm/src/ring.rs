//! Single-producer single-consumer ring of byte frames between two processes.
//!
//! Positions count words since the beginning and never wrap; only their low bits address the data. A frame is one
//! word of length and its bytes, padded to words; it may run over the end of the data and go on at its start, so
//! the free space is exact. Each side keeps its own position in private memory and believes the other side's only
//! after a range check.
//!
//! Invariant: whatever the peer writes, at whatever moment, no access leaves the ring; the consumer copies a frame
//! out before anyone looks at it, and its length is read once.

use crate::layout::ring::{AT_HEAD, AT_TAIL, CONTROL_WORDS, FRAME_HEADER_WORDS};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::words::{load_bytes, store_bytes, words_of};
use crate::{Region, layout};
use thiserror::Error;

/// The ring has no room for the frame now. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "ring is full: {free_bytes} of {needed_bytes} bytes are free; let the other side catch up and push again"
)]
pub struct Full {
    /// Bytes the frame takes, header included.
    pub needed_bytes: usize,
    /// Bytes free, as far as known.
    pub free_bytes: usize,
}

/// The producer wrote something impossible. The ring stays unusable; close the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "ring is corrupt: {what} is {value}, at most {limit} is possible; close this lane, its producer is broken"
)]
pub struct RingCorrupt {
    /// Which number is impossible.
    pub what: &'static str,
    /// What it is.
    pub value: u64,
    /// What would be possible.
    pub limit: u64,
}

/// Where a ring stands in its region.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// First word of the control block ([`CONTROL_WORDS`] words).
    pub control_at: usize,
    /// First word of the data.
    pub data_at: usize,
    /// Words of data, a power of two.
    pub capacity_words: usize,
    /// Longest frame in bytes.
    pub frame_bytes_max: usize,
}

impl Place {
    /// Whether a ring can stand here.
    pub fn fits(&self, region: &Region) -> bool {
        let end =
            |at: usize, words: usize| at.checked_add(words).is_some_and(|end| end <= region.word_count());
        self.capacity_words.is_power_of_two()
            && end(self.control_at, CONTROL_WORDS)
            && end(self.data_at, self.capacity_words)
            && frame_words(self.frame_bytes_max) <= self.capacity_words
    }
}

/// Words a frame of `bytes` takes in the ring, its header included.
const fn frame_words(bytes: usize) -> usize {
    FRAME_HEADER_WORDS + words_of(bytes)
}

/// The data words and how positions address them.
#[derive(Debug)]
struct Data {
    region: Region,
    place: Place,
}

impl Data {
    fn new(region: Region, place: Place) -> Data {
        assert!(place.fits(&region), "a ring's place lies inside its region");
        Data { region, place }
    }

    #[inline]
    fn offset(&self, position: u64) -> usize {
        position as usize & (self.place.capacity_words - 1)
    }

    #[inline]
    fn words(&self) -> &[crate::sync::AtomicU64] {
        self.region.words(self.place.data_at, self.place.capacity_words)
    }

    #[inline]
    fn store(&self, position: u64, bytes: &[u8]) {
        let offset = self.offset(position);
        let until_end = (self.place.capacity_words - offset) * 8;
        let (front, back) = bytes.split_at(bytes.len().min(until_end));
        store_bytes(&self.words()[offset..], front);
        if !back.is_empty() {
            store_bytes(self.words(), back);
        }
    }

    #[inline]
    fn load(&self, position: u64, out: &mut [u8]) {
        let offset = self.offset(position);
        let until_end = (self.place.capacity_words - offset) * 8;
        let (front, back) = out.split_at_mut(out.len().min(until_end));
        load_bytes(&self.words()[offset..], front);
        if !back.is_empty() {
            load_bytes(self.words(), back);
        }
    }
}

/// The pushing end.
#[derive(Debug)]
pub struct Producer {
    data: Data,
    tail: u64,
    /// The consumer's position when last looked at: its cache line is touched only when this one says full.
    head_seen: u64,
    scratch: Box<[u8]>,
}

impl Producer {
    /// The producer of the ring at `place`, going on where its tail stands.
    pub fn new(region: Region, place: Place) -> Producer {
        let data = Data::new(region, place);
        let tail = data.region.word(place.control_at + AT_TAIL).load(Relaxed);
        let scratch = vec![0; place.frame_bytes_max].into_boxed_slice();
        Producer { data, tail, head_seen: tail, scratch }.with_head()
    }

    /// Longest frame this ring takes, in bytes.
    pub fn frame_bytes_max(&self) -> usize {
        self.data.place.frame_bytes_max
    }

    /// Adds one frame behind the last and shows it to the consumer.
    ///
    /// # Panics
    ///
    /// When the frame is longer than [`Producer::frame_bytes_max`].
    #[inline]
    pub fn push(&mut self, frame: &[u8]) -> Result<(), Full> {
        assert!(frame.len() <= self.frame_bytes_max(), "a frame must fit the ring it is pushed into");
        let needed = frame_words(frame.len());
        if self.free_words_seen() < needed && self.free_words() < needed {
            return Err(Full { needed_bytes: needed * 8, free_bytes: self.free_words_seen() * 8 });
        }
        self.data.words()[self.data.offset(self.tail)].store(frame.len() as u64, Relaxed);
        self.data.store(self.tail + FRAME_HEADER_WORDS as u64, frame);
        self.tail = self.tail.wrapping_add(needed as u64);
        // Release pairs with the Acquire in `Consumer::refresh_tail`: whoever sees the tail sees the frame.
        self.data.region.word(self.data.place.control_at + AT_TAIL).store(self.tail, Release);
        Ok(())
    }

    /// Adds one frame of `frame_bytes` bytes that `fill` writes. It writes into private memory (the other process
    /// could change shared memory under its hands), which is then copied.
    ///
    /// # Panics
    ///
    /// When the frame is longer than [`Producer::frame_bytes_max`].
    #[inline]
    pub fn push_with(&mut self, frame_bytes: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), Full> {
        let needed = frame_words(frame_bytes);
        if self.free_words_seen() < needed && self.free_words() < needed {
            return Err(Full { needed_bytes: needed * 8, free_bytes: self.free_words_seen() * 8 });
        }
        let mut scratch = core::mem::take(&mut self.scratch);
        fill(&mut scratch[..frame_bytes]);
        let pushed = self.push(&scratch[..frame_bytes]);
        self.scratch = scratch;
        pushed
    }

    /// How many frames of `frame_bytes` bytes certainly fit now, by a fresh look at the consumer.
    pub fn free_frames(&mut self, frame_bytes: usize) -> usize {
        self.free_words() / frame_words(frame_bytes)
    }

    /// Whether the consumer has taken everything.
    pub fn is_drained(&mut self) -> bool {
        self.free_words() == self.data.place.capacity_words
    }

    fn with_head(mut self) -> Producer {
        // Until the consumer says something believable the whole ring counts as full of unread frames.
        self.head_seen = self.tail.wrapping_sub(self.data.place.capacity_words as u64);
        self.free_words();
        self
    }

    /// Free words by the consumer's position when last looked at.
    #[inline]
    fn free_words_seen(&self) -> usize {
        self.data.place.capacity_words - self.tail.wrapping_sub(self.head_seen) as usize
    }

    /// Free words by a fresh look at the consumer.
    #[cold]
    fn free_words(&mut self) -> usize {
        // Acquire pairs with the Release in `Consumer::pop`: its loads of a frame are over before we overwrite it.
        let head = self.data.region.word(self.data.place.control_at + AT_HEAD).load(Acquire);
        // An impossible position is not believed: the ring then stays as full as it was.
        let in_use = self.tail.wrapping_sub(head);
        let forward = head.wrapping_sub(self.head_seen);
        if in_use <= self.data.place.capacity_words as u64 && forward <= self.data.place.capacity_words as u64
        {
            self.head_seen = head;
        }
        self.free_words_seen()
    }
}

/// The popping end.
#[derive(Debug)]
pub struct Consumer {
    data: Data,
    head: u64,
    /// The producer's position when last looked at.
    tail_seen: u64,
    corrupt: Option<RingCorrupt>,
}

impl Consumer {
    /// The consumer of the ring at `place`, going on where its head stands.
    pub fn new(region: Region, place: Place) -> Consumer {
        let data = Data::new(region, place);
        let head = data.region.word(place.control_at + AT_HEAD).load(Relaxed);
        Consumer { data, head, tail_seen: head, corrupt: None }
    }

    /// Longest frame that can come, in bytes.
    pub fn frame_bytes_max(&self) -> usize {
        self.data.place.frame_bytes_max
    }

    /// Copies the oldest frame into `out` and gives its place back. `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`RingCorrupt`] when the producer wrote an impossible position or length; then at every later call, too.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than [`Consumer::frame_bytes_max`].
    #[inline]
    pub fn pop(&mut self, out: &mut [u8]) -> Result<Option<usize>, RingCorrupt> {
        assert!(out.len() >= self.frame_bytes_max(), "the buffer must take the longest frame");
        if self.head == self.tail_seen && !self.refresh_tail()? {
            return Ok(None);
        }
        let frame_bytes = self.data.words()[self.data.offset(self.head)].load(Relaxed);
        let waiting_bytes = (self.tail_seen - self.head - FRAME_HEADER_WORDS as u64) * 8;
        let limit = waiting_bytes.min(self.frame_bytes_max() as u64);
        if frame_bytes > limit {
            return Err(self.condemn("frame length", frame_bytes, limit));
        }
        let frame_bytes = frame_bytes as usize;
        self.data.load(self.head + FRAME_HEADER_WORDS as u64, &mut out[..frame_bytes]);
        self.head += frame_words(frame_bytes) as u64;
        // Release pairs with the Acquire in `Producer::free_words`: our loads above are over.
        self.data.region.word(self.data.place.control_at + AT_HEAD).store(self.head, Release);
        Ok(Some(frame_bytes))
    }

    /// Whether a frame waits (or the ring is corrupt, which the next `pop` tells).
    #[inline]
    pub fn has_frame(&mut self) -> bool {
        self.head != self.tail_seen || self.refresh_tail().unwrap_or(true)
    }

    /// Looks at the producer's position; whether it moved.
    #[inline]
    fn refresh_tail(&mut self) -> Result<bool, RingCorrupt> {
        if let Some(corrupt) = self.corrupt {
            return Err(corrupt);
        }
        // Acquire pairs with the Release in `Producer::push`: the frame's words are there.
        let tail = self.data.region.word(self.data.place.control_at + AT_TAIL).load(Acquire);
        let waiting = tail.wrapping_sub(self.head);
        let capacity = self.data.place.capacity_words as u64;
        if waiting > capacity || tail < self.head {
            return Err(self.condemn("words waiting", waiting, capacity));
        }
        self.tail_seen = tail;
        Ok(waiting > 0)
    }

    #[cold]
    fn condemn(&mut self, what: &'static str, value: u64, limit: u64) -> RingCorrupt {
        let corrupt = RingCorrupt { what, value, limit };
        self.corrupt = Some(corrupt);
        self.tail_seen = self.head; // Nothing further is looked at.
        corrupt
    }
}

/// Two ends over plain memory of this process, for models, benches and tests.
///
/// # Panics
///
/// When the sizes make no ring.
pub fn plain(capacity_bytes: usize, frame_bytes_max: usize) -> (Producer, Consumer) {
    let place =
        Place { control_at: 0, data_at: CONTROL_WORDS, capacity_words: capacity_bytes / 8, frame_bytes_max };
    let region = Region::plain(CONTROL_WORDS + place.capacity_words);
    (Producer::new(region.clone(), place), Consumer::new(region, place))
}

const _: () = assert!(AT_TAIL.abs_diff(AT_HEAD) >= layout::LINE_WORDS);
