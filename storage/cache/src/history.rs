//! What those who left were worth: the difference between a newcomer and somebody who comes back.
//!
//! A set-associative table of fingerprints and scores. Where a set is full, the least worth is forgotten: keys seen
//! once pass through in turn, keys asked for often stay known.
//!
//! Invariant: memory is fixed. A wrong answer (one in about 2^29 questions) costs a place in memory, nothing else.

use crate::score::Score;

/// Scores of keys that are not held.
#[derive(Debug)]
pub(crate) struct History {
    sets: Box<[[Past; WAYS]]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Past {
    /// 0 is nobody.
    fingerprint: u32,
    score: Score,
}

impl History {
    /// Room for about so many keys.
    pub(crate) fn new(keys_max: usize) -> History {
        let sets = keys_max.div_ceil(WAYS).max(1).next_power_of_two();
        History { sets: vec![[Past::default(); WAYS]; sets].into_boxed_slice() }
    }

    /// Bytes for so many keys.
    pub(crate) const fn bytes(&self) -> usize {
        self.sets.len() * size_of::<[Past; WAYS]>()
    }

    /// What a key was worth, if it is remembered; it is forgotten here.
    pub(crate) fn take(&mut self, hash: u64) -> Option<Score> {
        let (set, fingerprint) = self.place(hash);
        let past = self.sets[set].iter_mut().find(|past| past.fingerprint == fingerprint)?;
        past.fingerprint = 0;
        Some(past.score)
    }

    /// Remembers what a key is worth that leaves, or is not let in.
    pub(crate) fn remember(&mut self, hash: u64, score: Score, now: Score) {
        let (set, fingerprint) = self.place(hash);
        let set = &mut self.sets[set];
        let place = match set.iter().position(|past| past.fingerprint == fingerprint) {
            Some(place) => place,
            None => least(set, now),
        };
        set[place] = Past { fingerprint, score };
    }

    fn place(&self, hash: u64) -> (usize, u32) {
        // The hash's low half chooses the entry's home elsewhere; all of it is mixed here.
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let set = ((u128::from(mixed) * self.sets.len() as u128) >> 64) as usize;
        (set, (mixed as u32 ^ (hash >> 40) as u32).max(1))
    }
}

fn least(set: &[Past; WAYS], now: Score) -> usize {
    let worth = |past: &Past| if past.fingerprint == 0 { i32::MIN } else { past.score.above(now) };
    (0..WAYS).min_by_key(|&at| worth(&set[at])).expect("a set has ways")
}

/// One cache line.
const WAYS: usize = 8;
