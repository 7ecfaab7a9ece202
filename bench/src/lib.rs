//! What every bench shares: keys that no prefetcher guesses, and a hash over the answers.
//!
//! Invariant: a bench checks what it gets. It prints nothing about answers that nobody looked at.

pub mod cache;

/// Folds what a bench was answered into one number, so that no answer goes unread (FNV-1a, word by word).
#[derive(Debug, Clone, Copy)]
pub struct Answers(u64);

impl Answers {
    /// Nothing answered yet.
    #[must_use]
    pub const fn new() -> Answers {
        Answers(0xcbf2_9ce4_8422_2325)
    }

    /// One more answer.
    pub const fn add(&mut self, answer: u64) {
        self.0 = (self.0 ^ answer).wrapping_mul(0x0000_0100_0000_01b3);
    }

    /// All answers so far.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.0
    }
}

impl Default for Answers {
    fn default() -> Answers {
        Answers::new()
    }
}

/// The `index`-th number of a fixed sequence without pattern (SplitMix64; Steele, Lea, Flood 2014).
#[must_use]
pub const fn scrambled(index: u64) -> u64 {
    let mut word = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Whether this is the quick form that `cargo test` runs: criterion gets `--bench` from `cargo bench` only.
#[must_use]
pub fn is_quick() -> bool {
    !std::env::args().any(|word| word == "--bench")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_sees_every_answer_and_their_order() {
        let hash = |answers: &[u64]| {
            let mut seen = Answers::new();
            answers.iter().for_each(|answer| seen.add(*answer));
            seen.hash()
        };
        assert_ne!(hash(&[1, 2]), hash(&[2, 1]));
        assert_ne!(hash(&[1, 2]), hash(&[1]));
        assert_eq!(hash(&[1, 2]), hash(&[1, 2]));
    }

    #[test]
    fn scrambled_numbers_differ() {
        let mut numbers: Vec<u64> = (0..10_000).map(scrambled).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 10_000);
    }
}
