//! Least recently used: the yardstick.

use super::super::Subject;
use super::chain::Chains;

/// Keeps what was asked for last.
#[derive(Debug)]
pub struct Lru {
    keys: Chains<1>,
    entries_max: usize,
}

impl Lru {
    /// For so many entries.
    #[must_use]
    pub fn new(entries_max: usize) -> Lru {
        Lru { keys: Chains::new(), entries_max }
    }
}

impl Subject for Lru {
    fn name(&self) -> &'static str {
        "LRU"
    }

    fn request(&mut self, key: u64) -> bool {
        let is_hit = self.keys.list_of(key).is_some();
        if !is_hit && self.keys.count(0) == self.entries_max {
            self.keys.pop_oldest(0);
        }
        self.keys.push(0, key);
        is_hit
    }
}
