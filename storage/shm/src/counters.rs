//! Labelled counters in shared memory, and the shard's lease: one writer adds, any small program reads.
//!
//! Invariant: a label never changes once the segment is open; each value is one word, so it is never torn.

use crate::layout::counters as at;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::words::{load_bytes, store_bytes};
use crate::{CreateError, Heartbeat, Kind, OpenError, Region, Segment, SegmentConfig};
use rustix::fd::{BorrowedFd, OwnedFd};

/// One counter of a segment: its place in the list of labels the segment was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterIndex(pub u16);

/// The counting end.
#[derive(Debug)]
pub struct Writer {
    segment: Segment,
    count: usize,
}

impl Writer {
    /// Makes a segment with one counter per label, all zero.
    pub fn create(labels: &[&str], incarnation: u64, shard: u16) -> Result<Writer, CreateError> {
        check(labels)?;
        let bytes = (at::AT_COUNTERS + labels.len() * at::COUNTER_WORDS) * 8;
        let config = SegmentConfig { kind: Kind::Counters, incarnation, shard, preallocate: false };
        Ok(Writer::over(Segment::create(&config, bytes as u64)?, labels))
    }

    /// The descriptor to hand to readers.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.segment.fd()
    }

    /// Number of counters.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds to a counter, wrapping.
    ///
    /// # Panics
    ///
    /// When there is no such counter.
    #[inline]
    pub fn add(&mut self, counter: CounterIndex, more: u64) {
        let word = value_word(self.segment.region(), self.count, counter);
        // One writer: load and store need not be one step.
        word.store(word.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// Sets a counter.
    ///
    /// # Panics
    ///
    /// When there is no such counter.
    #[inline]
    pub fn set(&mut self, counter: CounterIndex, value: u64) {
        value_word(self.segment.region(), self.count, counter).store(value, Relaxed);
    }

    /// Value of a counter.
    ///
    /// # Panics
    ///
    /// When there is no such counter.
    pub fn value(&self, counter: CounterIndex) -> u64 {
        value_word(self.segment.region(), self.count, counter).load(Relaxed)
    }

    /// Gives a sign of life.
    pub fn beat(&self, now_ns: u64) {
        self.segment.heartbeat().beat(now_ns);
    }

    /// Says until when the node's lease on this shard holds, in nanoseconds of the monotonic clock; 0 when it has none.
    /// What was committed so far must stand in the hot table before.
    #[inline]
    pub fn set_lease(&mut self, until_ns: u64) {
        // Release pairs with the Acquire in `Reader::lease`: whoever sees the lease sees what the hot table held.
        self.segment.region().word(at::AT_LEASE).store(until_ns, Release);
    }

    fn over(segment: Segment, labels: &[&str]) -> Writer {
        let region = segment.region();
        region.word(at::AT_COUNT).store(labels.len() as u64, Relaxed);
        for (index, label) in labels.iter().enumerate() {
            let words = region.words(at::AT_COUNTERS + index * at::COUNTER_WORDS, at::COUNTER_WORDS);
            store_bytes(&words[1..], label.as_bytes());
        }
        segment.finish();
        Writer { segment, count: labels.len() }
    }
}

/// A reading end.
#[derive(Debug)]
pub struct Reader {
    segment: Segment,
    labels: Vec<String>,
}

impl Reader {
    /// Opens the counters behind a descriptor from the node.
    pub fn open(file: OwnedFd) -> Result<Reader, OpenError> {
        let segment = Segment::open(file, Kind::Counters)?;
        let count = segment.region().word(at::AT_COUNT).load(Relaxed);
        let needed = count.checked_mul(at::COUNTER_WORDS as u64 * 8);
        let room = segment.bytes() - (at::AT_COUNTERS * 8) as u64;
        if count > at::COUNT_MAX as u64 || needed.is_none_or(|bytes| bytes > room) {
            return Err(OpenError::WrongGeometry { what: "counter count", value: count });
        }
        let labels = (0..count as usize).map(|index| label_of(segment.region(), index)).collect();
        Ok(Reader { segment, labels })
    }

    /// All counters: label and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        let region = self.segment.region();
        self.labels.iter().enumerate().map(|(index, label)| {
            (label.as_str(), region.word(at::AT_COUNTERS + index * at::COUNTER_WORDS).load(Relaxed))
        })
    }

    /// Value of the counter with this label.
    pub fn value(&self, label: &str) -> Option<u64> {
        self.iter().find(|(found, _)| *found == label).map(|(_, value)| value)
    }

    /// Until when the node's lease on this shard holds, in nanoseconds of the monotonic clock; 0 when it has none. Ask the
    /// clock after this: if it is not that late yet, everything committed before that moment stands in the hot table.
    #[inline]
    pub fn lease(&self) -> u64 {
        // Acquire pairs with the Release in `Writer::set_lease`.
        self.segment.region().word(at::AT_LEASE).load(Acquire)
    }

    /// The writer's sign of life.
    pub fn heartbeat(&self) -> Heartbeat {
        self.segment.heartbeat()
    }

    /// Incarnation of the node that made these counters.
    pub fn incarnation(&self) -> u64 {
        self.segment.incarnation()
    }

    /// The shard that counts here.
    pub fn shard(&self) -> u16 {
        self.segment.shard()
    }
}

#[inline]
fn value_word(region: &Region, count: usize, counter: CounterIndex) -> &crate::sync::AtomicU64 {
    let index = usize::from(counter.0);
    assert!(index < count, "a counter must be one of the labels its segment was made with");
    region.word(at::AT_COUNTERS + index * at::COUNTER_WORDS)
}

fn check(labels: &[&str]) -> Result<(), CreateError> {
    if labels.len() > at::COUNT_MAX {
        let value = labels.len() as u64;
        return Err(CreateError::Config { what: "counter labels", value, allowed: "at most 4096" });
    }
    let fits = |label: &str| (1..=at::LABEL_BYTES_MAX).contains(&label.len()) && !label.contains('\0');
    match labels.iter().find(|label| !fits(label)) {
        Some(label) => Err(CreateError::Config {
            what: "counter label bytes",
            value: label.len() as u64,
            allowed: "1 to 56 bytes without zeros",
        }),
        None => Ok(()),
    }
}

fn label_of(region: &Region, index: usize) -> String {
    let words = region.words(at::AT_COUNTERS + index * at::COUNTER_WORDS, at::COUNTER_WORDS);
    let mut bytes = [0; at::LABEL_BYTES_MAX];
    load_bytes(&words[1..], &mut bytes);
    let length = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}
