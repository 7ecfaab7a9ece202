//! SIEVE (Y. Zhang and others, SIEVE is simpler than LRU, NSDI 2024).

use super::super::Subject;
use super::chain::Chains;

/// One queue, and a hand that passes over what was asked for since it came by last.
#[derive(Debug)]
pub struct Sieve {
    keys: Chains<1>,
    hand: Option<u64>,
    entries_max: usize,
}

impl Sieve {
    /// For so many entries.
    #[must_use]
    pub fn new(entries_max: usize) -> Sieve {
        Sieve { keys: Chains::new(), hand: None, entries_max }
    }

    fn evict(&mut self) {
        let mut at = self.hand.or_else(|| self.keys.oldest(0)).expect("a full queue has an oldest key");
        while self.keys.note(at) != 0 {
            self.keys.set_note(at, 0);
            at = self.keys.newer_than(at).or_else(|| self.keys.oldest(0)).expect("the queue is not empty");
        }
        self.hand = self.keys.newer_than(at);
        self.keys.remove(at);
    }
}

impl Subject for Sieve {
    fn name(&self) -> &'static str {
        "SIEVE"
    }

    fn request(&mut self, key: u64) -> bool {
        if self.keys.list_of(key).is_some() {
            self.keys.set_note(key, 1);
            return true;
        }
        if self.keys.count(0) == self.entries_max {
            self.evict();
        }
        self.keys.push(0, key);
        false
    }
}
