//! One dependent load, the floor of every read: pointers through as many bytes as the entries of a hot table take.
//!
//! Invariant: every line is visited once in a round, each address comes from the load before, and no prefetcher
//! guesses the order. The memory is of the same making as a hot table's, so the pages have the same size.

use std::hint::black_box;
use std::time::Instant;

use io_oi_shm::{Kind, Segment, SegmentConfig};

use crate::scrambled;

/// A ring of lines, each of which says where the next one stands.
pub struct Chase {
    segment: Segment,
    at: usize,
}

impl Chase {
    /// Through the slots of so many keys.
    #[must_use]
    pub fn through(keys: u64) -> Chase {
        let lines = (keys as usize * BYTES_PER_KEY / LINE_BYTES).max(2);
        let config = SegmentConfig { kind: Kind::Hot, incarnation: 1, shard: 0, preallocate: false };
        let bytes = (HEADER_WORDS * 8 + lines * LINE_BYTES) as u64;
        let segment = Segment::create(&config, bytes).expect("shared memory is at hand");
        // Sattolo's shuffle: one cycle.
        let mut order: Vec<u32> = (0..lines as u32).collect();
        for last in (1..lines).rev() {
            order.swap(last, (scrambled(last as u64) % last as u64) as usize);
        }
        for (line, &next) in order.iter().enumerate() {
            segment.region().store(word_of(line), word_of(next as usize) as u64);
        }
        Chase { segment, at: word_of(0) }
    }

    /// Nanoseconds of one load, the mean of so many.
    pub fn walk(&mut self, loads: usize) -> f64 {
        let region = self.segment.region();
        let (mut at, began) = (self.at, Instant::now());
        for _ in 0..loads {
            at = region.load(at) as usize;
        }
        self.at = black_box(at);
        began.elapsed().as_nanos() as f64 / loads as f64
    }
}

fn word_of(line: usize) -> usize {
    HEADER_WORDS + line * LINE_BYTES / 8
}

const HEADER_WORDS: usize = io_oi_shm::layout::HEADER_WORDS;
const LINE_BYTES: usize = 64;
/// A slot.
const BYTES_PER_KEY: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_visits_every_line_once() {
        let chase = Chase::through(500);
        let (mut at, mut visited) = (word_of(0), vec![false; 1_000]);
        for _ in 0..1_000 {
            let line = (at - HEADER_WORDS) * 8 / LINE_BYTES;
            assert!(!std::mem::replace(&mut visited[line], true), "line {line} twice");
            at = chase.segment.region().load(at) as usize;
        }
        assert_eq!(at, word_of(0));
    }
}
