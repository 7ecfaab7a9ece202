//! W-TinyLFU with a fixed window (G. Einziger, R. Friedman, B. Manes, TinyLFU: a highly efficient cache admission
//! policy, ACM Transactions on Storage 13, 2017).

use super::super::Subject;
use super::chain::Chains;
use crate::scrambled;

const WINDOW: usize = 0;
const PROBATION: usize = 1;
const PROTECTED: usize = 2;

/// A window for the new; who leaves it must be asked for more often than who would leave the main part.
#[derive(Debug)]
pub struct WTinyLfu {
    keys: Chains<3>,
    sketch: Sketch,
    window_max: usize,
    protected_max: usize,
    entries_max: usize,
}

impl WTinyLfu {
    /// For so many entries, one in a hundred of them in the window.
    #[must_use]
    pub fn new(entries_max: usize) -> WTinyLfu {
        WTinyLfu::with_window(entries_max, entries_max / 100)
    }

    /// For so many entries, of which the window has this many.
    #[must_use]
    pub fn with_window(entries_max: usize, window_max: usize) -> WTinyLfu {
        let window_max = window_max.max(1);
        let protected_max = (entries_max - window_max) * 4 / 5;
        let sketch = Sketch::new(entries_max);
        WTinyLfu { keys: Chains::new(), sketch, window_max, protected_max, entries_max }
    }

    fn hit(&mut self, list: usize, key: u64) {
        self.keys.push(if list == WINDOW { WINDOW } else { PROTECTED }, key);
        if self.keys.count(PROTECTED) > self.protected_max {
            let demoted = self.keys.oldest(PROTECTED).expect("it is over its share");
            self.keys.push(PROBATION, demoted);
        }
    }

    fn leave_window(&mut self) {
        let candidate = self.keys.oldest(WINDOW).expect("the window is over its share");
        let main = self.keys.count(PROBATION) + self.keys.count(PROTECTED);
        if main < self.entries_max - self.window_max {
            self.keys.push(PROBATION, candidate);
            return;
        }
        let victim = self.keys.oldest(PROBATION).or_else(|| self.keys.oldest(PROTECTED));
        let Some(victim) = victim else { return self.keys.remove(candidate) };
        if self.sketch.count(candidate) > self.sketch.count(victim) {
            self.keys.remove(victim);
            self.keys.push(PROBATION, candidate);
        } else {
            self.keys.remove(candidate);
        }
    }
}

impl Subject for WTinyLfu {
    fn name(&self) -> &'static str {
        "W-TinyLFU"
    }

    fn request(&mut self, key: u64) -> bool {
        self.sketch.add(key);
        if let Some(list) = self.keys.list_of(key) {
            self.hit(list, key);
            return true;
        }
        self.keys.push(WINDOW, key);
        if self.keys.count(WINDOW) > self.window_max {
            self.leave_window();
        }
        false
    }
}

/// Counts to 15, halved from time to time; may say more than there was, never less.
#[derive(Debug)]
struct Sketch {
    counts: Vec<u8>,
    added: usize,
    sample: usize,
}

impl Sketch {
    fn new(entries_max: usize) -> Sketch {
        let counts = vec![0; (8 * entries_max).next_power_of_two()];
        Sketch { counts, added: 0, sample: 10 * entries_max }
    }

    fn places(&self, key: u64) -> [usize; 4] {
        let mask = self.counts.len() - 1;
        [1, 2, 3, 4].map(|row| scrambled(key ^ (row << 60)) as usize & mask)
    }

    fn count(&self, key: u64) -> u8 {
        self.places(key).into_iter().map(|at| self.counts[at]).min().unwrap_or(0)
    }

    fn add(&mut self, key: u64) {
        let least = self.count(key);
        if least < 15 {
            for at in self.places(key) {
                if self.counts[at] == least {
                    self.counts[at] += 1;
                }
            }
        }
        self.added += 1;
        if self.added == self.sample {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.added /= 2;
        }
    }
}
