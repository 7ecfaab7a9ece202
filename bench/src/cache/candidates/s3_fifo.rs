//! S3-FIFO (J. Yang and others, FIFO queues are all you need for cache eviction, SOSP 2023).

use super::super::Subject;
use super::chain::Chains;

const SMALL: usize = 0;
const MAIN: usize = 1;
const GHOST: usize = 2;

/// A small queue for the new, a main queue for the proven, and the keys of those that left the small one.
#[derive(Debug)]
pub struct S3Fifo {
    keys: Chains<3>,
    entries_max: usize,
    small_max: usize,
}

impl S3Fifo {
    /// For so many entries.
    #[must_use]
    pub fn new(entries_max: usize) -> S3Fifo {
        S3Fifo { keys: Chains::new(), entries_max, small_max: (entries_max / 10).max(1) }
    }

    fn evict(&mut self) {
        if self.keys.count(SMALL) >= self.small_max {
            self.evict_small();
        } else {
            self.evict_main();
        }
    }

    fn evict_small(&mut self) {
        while let Some(key) = self.keys.oldest(SMALL) {
            let is_proven = self.keys.note(key) > 1;
            self.keys.set_note(key, 0);
            if is_proven {
                self.keys.push(MAIN, key);
                continue;
            }
            self.keys.push(GHOST, key);
            if self.keys.count(GHOST) > self.entries_max {
                self.keys.pop_oldest(GHOST);
            }
            return;
        }
        self.evict_main();
    }

    fn evict_main(&mut self) {
        while let Some(key) = self.keys.oldest(MAIN) {
            let hits = self.keys.note(key);
            if hits == 0 {
                self.keys.remove(key);
                return;
            }
            self.keys.set_note(key, hits - 1);
            self.keys.push(MAIN, key);
        }
    }
}

impl Subject for S3Fifo {
    fn name(&self) -> &'static str {
        "S3-FIFO"
    }

    fn request(&mut self, key: u64) -> bool {
        let list = self.keys.list_of(key);
        if matches!(list, Some(SMALL | MAIN)) {
            self.keys.set_note(key, (self.keys.note(key) + 1).min(3));
            return true;
        }
        while self.keys.count(SMALL) + self.keys.count(MAIN) >= self.entries_max {
            self.evict();
        }
        let list = if self.keys.list_of(key) == Some(GHOST) { MAIN } else { SMALL };
        self.keys.push(list, key);
        false
    }
}
