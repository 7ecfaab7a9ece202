//! One dependent load: a pointer chase through as many bytes as the measured table has.
//!
//! Invariant: the chase visits every cache line of its memory exactly once per round, in an order that no prefetcher
//! guesses, and every load's address comes from the load before.

use std::hint::black_box;
use std::time::Instant;

use io_oi_shm::{CreateError, Kind, Segment, SegmentConfig};

use crate::answers;

/// A ring of pointers, one per cache line, in a segment of the same making as a hot table: the same kind of memory,
/// mapped with the same advice, so that both get the same page size from this host.
pub(crate) struct Chase {
    segment: Segment,
    at: usize,
}

/// Words of one cache line.
const LINE_WORDS: usize = 8;
/// A segment's header stands before the lines of the chase.
const HEADER_LINES: usize = io_oi_shm::layout::HEADER_WORDS / LINE_WORDS;

impl Chase {
    /// A chase over this many bytes, at least two lines.
    pub(crate) fn over(bytes: u64) -> Result<Self, CreateError> {
        let lines = usize::try_from(bytes / 64).unwrap_or(usize::MAX).max(2);
        let config = SegmentConfig { kind: Kind::Hot, incarnation: 1, shard: 0, preallocate: false };
        let segment = Segment::create(&config, (HEADER_LINES + lines) as u64 * 64)?;
        link(&segment, lines);
        Ok(Self { segment, at: word_of(0) })
    }

    /// Follows this many pointers; answers the nanoseconds they took.
    pub(crate) fn walk(&mut self, loads: u32) -> u64 {
        let region = self.segment.region();
        let began = Instant::now();
        let mut at = self.at;
        for _ in 0..loads {
            at = region.load(at) as usize;
        }
        self.at = black_box(at);
        crate::clock::ns_between(began, Instant::now())
    }
}

/// Bytes of this process's shared mappings that stand on huge pages; all others stand on base pages.
pub(crate) fn huge_page_bytes() -> u64 {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let counts = smaps.lines().filter_map(|line| line.strip_prefix("ShmemPmdMapped:"));
    let kib = counts.filter_map(|count| count.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.sum::<u64>() * 1_024
}

/// One cycle through all lines (Sattolo's shuffle), each line holding the word where the next begins.
fn link(segment: &Segment, lines: usize) {
    let mut order: Vec<u32> = (0..u32::try_from(lines).expect("a table below 256 GiB")).collect();
    for last in (1..lines).rev() {
        let other = answers::scramble(last as u64) % last as u64;
        order.swap(last, other as usize);
    }
    for (line, next) in order.iter().enumerate() {
        segment.region().store(word_of(line), word_of(*next as usize) as u64);
    }
}

fn word_of(line: usize) -> usize {
    (HEADER_LINES + line) * LINE_WORDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_visits_every_line_once() {
        let chase = Chase::over(64 * 1_000).expect("a segment");
        let (mut at, mut visited) = (word_of(0), vec![false; 1_000]);
        for _ in 0..1_000 {
            let line = at / LINE_WORDS - HEADER_LINES;
            assert!(!std::mem::replace(&mut visited[line], true), "line {line} twice");
            at = chase.segment.region().load(at) as usize;
        }
        assert_eq!(at, word_of(0));
    }

    #[test]
    fn the_smallest_chase_walks() {
        let mut chase = Chase::over(0).expect("a segment");
        chase.walk(10);
        assert!(chase.at == word_of(0) || chase.at == word_of(1));
    }
}
