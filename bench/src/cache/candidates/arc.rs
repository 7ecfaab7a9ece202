//! ARC (N. Megiddo and D. Modha, ARC: a self-tuning, low overhead replacement cache, FAST 2003).

use super::super::Subject;
use super::chain::Chains;

/// Seen once lately.
const ONCE: usize = 0;
/// Seen more often.
const OFTEN: usize = 1;
const ONCE_GHOST: usize = 2;
const OFTEN_GHOST: usize = 3;

/// Two lists by recency, whose shares follow the hits among the keys that left each.
#[derive(Debug)]
pub struct Arc {
    keys: Chains<4>,
    entries_max: usize,
    once_aim: usize,
}

impl Arc {
    /// For so many entries.
    #[must_use]
    pub fn new(entries_max: usize) -> Arc {
        Arc { keys: Chains::new(), entries_max, once_aim: 0 }
    }

    fn replace(&mut self, was_in_often_ghost: bool) {
        let once = self.keys.count(ONCE);
        let (from, to) =
            if once > 0 && (once > self.once_aim || (was_in_often_ghost && once == self.once_aim)) {
                (ONCE, ONCE_GHOST)
            } else {
                (OFTEN, OFTEN_GHOST)
            };
        if let Some(key) = self.keys.oldest(from) {
            self.keys.push(to, key);
        }
    }

    fn make_room(&mut self) {
        let once = self.keys.count(ONCE) + self.keys.count(ONCE_GHOST);
        let often = self.keys.count(OFTEN) + self.keys.count(OFTEN_GHOST);
        if once == self.entries_max {
            if self.keys.count(ONCE) < self.entries_max {
                self.keys.pop_oldest(ONCE_GHOST);
                self.replace(false);
            } else {
                self.keys.pop_oldest(ONCE);
            }
        } else if once + often >= self.entries_max {
            if once + often == 2 * self.entries_max {
                self.keys.pop_oldest(OFTEN_GHOST);
            }
            self.replace(false);
        }
    }
}

impl Subject for Arc {
    fn name(&self) -> &'static str {
        "ARC"
    }

    fn request(&mut self, key: u64) -> bool {
        let (once_ghosts, often_ghosts) = (self.keys.count(ONCE_GHOST), self.keys.count(OFTEN_GHOST));
        match self.keys.list_of(key) {
            Some(ONCE | OFTEN) => {
                self.keys.push(OFTEN, key);
                true
            }
            Some(ONCE_GHOST) => {
                let step = (often_ghosts / once_ghosts.max(1)).max(1);
                self.once_aim = (self.once_aim + step).min(self.entries_max);
                self.replace(false);
                self.keys.push(OFTEN, key);
                false
            }
            Some(_) => {
                let step = (once_ghosts / often_ghosts.max(1)).max(1);
                self.once_aim = self.once_aim.saturating_sub(step);
                self.replace(true);
                self.keys.push(OFTEN, key);
                false
            }
            None => {
                self.make_room();
                self.keys.push(ONCE, key);
                false
            }
        }
    }
}
