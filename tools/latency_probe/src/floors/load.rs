//! One dependent load: a pointer chase through as many bytes as the measured table has.
//!
//! Invariant: the chase visits every cache line of its memory exactly once per round, in an order that no prefetcher
//! guesses, and every load's address comes from the load before.

use std::hint::black_box;
use std::time::Instant;

use crate::answers;

/// A ring of pointers, one per cache line.
///
/// The memory is private, of the system's base page size: transparent huge pages are switched off for this process
/// while it is touched first, because a hot segment (a memfd) does not get them either unless the host says so.
pub(crate) struct Chase {
    words: Vec<u64>,
    at: usize,
}

/// Words of one cache line.
const LINE_WORDS: usize = 8;

impl Chase {
    /// A chase over this many bytes, at least two lines.
    pub(crate) fn over(bytes: u64) -> Self {
        let lines = usize::try_from(bytes / 64).unwrap_or(usize::MAX).max(2);
        let was_disabled = rustix::thread::transparent_huge_pages_are_disabled().unwrap_or(false);
        // Refused on hosts without the feature: then there are no huge pages to be kept out.
        let _ = rustix::thread::disable_transparent_huge_pages(true);
        let mut words = vec![0; lines * LINE_WORDS];
        link(&mut words, lines);
        let _ = rustix::thread::disable_transparent_huge_pages(was_disabled);
        Self { words, at: 0 }
    }

    /// Follows this many pointers; answers the nanoseconds they took.
    pub(crate) fn walk(&mut self, loads: u32) -> u64 {
        let began = Instant::now();
        let mut at = self.at;
        for _ in 0..loads {
            at = self.words[at] as usize;
        }
        self.at = black_box(at);
        crate::clock::ns_between(began, Instant::now())
    }

    /// Bytes that the chase runs over.
    pub(crate) fn bytes(&self) -> u64 {
        (self.words.len() * 8) as u64
    }
}

/// One cycle through all lines (Sattolo's shuffle), each line holding the place of the next.
fn link(words: &mut [u64], lines: usize) {
    let mut order: Vec<u32> = (0..u32::try_from(lines).expect("a table below 256 GiB")).collect();
    for last in (1..lines).rev() {
        let other = answers::scramble(last as u64) % last as u64;
        order.swap(last, other as usize);
    }
    for (line, next) in order.iter().enumerate() {
        words[line * LINE_WORDS] = u64::from(*next) * LINE_WORDS as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_visits_every_line_once() {
        let chase = Chase::over(64 * 1_000);
        let (mut at, mut visited) = (0, vec![false; 1_000]);
        for _ in 0..1_000 {
            assert!(!std::mem::replace(&mut visited[at / LINE_WORDS], true), "line {at} twice");
            at = chase.words[at] as usize;
        }
        assert_eq!(at, 0);
    }

    #[test]
    fn the_smallest_chase_walks() {
        let mut chase = Chase::over(0);
        chase.walk(10);
        assert_eq!(chase.bytes(), 128);
    }
}
