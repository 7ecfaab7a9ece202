//! Who goes first: entries in levels of a quarter of a halving, lowest level first, oldest in its level first.
//!
//! ```text
//! level 0            16 ...              128              ...  255
//! ├ next to go ──────┼ worth little ─────┼ one request now ────┤
//!                    every quarter halving, all levels move down by one; the lowest two become one
//! ```
//!
//! Invariant: an entry stands in at most one level, and every step takes constant time.

use crate::score::{HALVING, Score};

/// No entry.
pub(crate) const NONE: u32 = u32::MAX;

/// The levels, over entries `0..entries_max`.
#[derive(Debug)]
pub(crate) struct Order {
    nodes: Box<[Node]>,
    levels: [Ends; LEVELS],
    /// Which levels hold anybody.
    occupied: [u64; LEVELS / 64],
    /// The ring place of the lowest level, and the score that it stands for, in levels.
    lowest: usize,
    lowest_score: u32,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    score: Score,
    older: u32,
    newer: u32,
    /// Ring place of the level, or [`NOWHERE`].
    level: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    oldest: u32,
    newest: u32,
}

impl Order {
    /// Nobody stands anywhere.
    pub(crate) fn new(entries_max: usize) -> Order {
        let node = Node { score: Score(0), older: NONE, newer: NONE, level: NOWHERE };
        Order {
            nodes: vec![node; entries_max].into_boxed_slice(),
            levels: [Ends { oldest: NONE, newest: NONE }; LEVELS],
            occupied: [0; LEVELS / 64],
            lowest: 0,
            lowest_score: level_score(Score(0)).wrapping_sub(PRESENT_LEVEL),
        }
    }

    /// Bytes that each entry takes here.
    pub(crate) const BYTES_PER_ENTRY: usize = size_of::<Node>();

    pub(crate) fn score(&self, entry: u32) -> Score {
        self.nodes[entry as usize].score
    }

    pub(crate) fn set_score(&mut self, entry: u32, score: Score) {
        self.nodes[entry as usize].score = score;
    }

    /// Moves the levels so that one request now stands in their middle.
    pub(crate) fn follow(&mut self, now: Score) {
        let lowest_score = level_score(now).wrapping_sub(PRESENT_LEVEL) & LEVEL_MASK;
        while self.lowest_score & LEVEL_MASK != lowest_score {
            self.sink();
        }
    }

    /// Puts an entry behind all others of its score's level, `below` its score. When it stands there already, it stays.
    pub(crate) fn put(&mut self, entry: u32, score: Score, below: i32) {
        let level = self.level_of(score.lowered(below));
        let node = &mut self.nodes[entry as usize];
        node.score = score;
        if node.level == level as u32 {
            return;
        }
        self.remove(entry);
        self.push_newest(level, entry);
    }

    /// As [`Order::put`], before all others of the level: this one goes first.
    pub(crate) fn put_first(&mut self, entry: u32, score: Score, below: i32) {
        self.remove(entry);
        self.nodes[entry as usize].score = score;
        let level = self.level_of(score.lowered(below));
        self.push_oldest(level, entry);
    }

    /// Takes an entry out; it keeps its score.
    pub(crate) fn remove(&mut self, entry: u32) {
        let Node { older, newer, level, .. } = self.nodes[entry as usize];
        if level == NOWHERE {
            return;
        }
        let level = level as usize;
        match older {
            NONE => self.levels[level].oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        match newer {
            NONE => self.levels[level].newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        if self.levels[level].oldest == NONE {
            self.occupied[level / 64] &= !(1 << (level % 64));
        }
        self.nodes[entry as usize].level = NOWHERE;
    }

    /// Who goes first.
    pub(crate) fn first(&self) -> Option<u32> {
        let level = self.lowest_occupied()?;
        Some(self.levels[level].oldest)
    }

    /// Who goes after this one.
    pub(crate) fn after(&self, entry: u32) -> Option<u32> {
        let node = self.nodes[entry as usize];
        if node.newer != NONE {
            return Some(node.newer);
        }
        let next = (node.level as usize + 1) % LEVELS;
        if next == self.lowest {
            return None;
        }
        let level = self.occupied_from(next)?;
        // Beyond the highest level the ring starts again at the lowest.
        let rank = |level: usize| (level + LEVELS - self.lowest) % LEVELS;
        (rank(level) >= rank(next)).then(|| self.levels[level].oldest)
    }

    fn lowest_occupied(&self) -> Option<usize> {
        self.occupied_from(self.lowest)
    }

    /// The first level that holds anybody, from a ring place on, around the ring.
    fn occupied_from(&self, level: usize) -> Option<usize> {
        let (word, bit) = (level / 64, level % 64);
        let words = LEVELS / 64;
        let upper = self.occupied[word] & (u64::MAX << bit);
        if upper != 0 {
            return Some(word * 64 + upper.trailing_zeros() as usize);
        }
        (1..=words)
            .map(|step| (word + step) % words)
            .find(|&word| self.occupied[word] != 0)
            .map(|word| word * 64 + self.occupied[word].trailing_zeros() as usize)
    }

    fn level_of(&self, score: Score) -> usize {
        let above = level_score(score).wrapping_sub(self.lowest_score) & LEVEL_MASK;
        // The half of the circle that lies below the lowest level is worth nothing.
        let above = if above > LEVEL_MASK / 2 { 0 } else { above.min(LEVELS as u32 - 1) };
        (self.lowest + above as usize) % LEVELS
    }

    /// Everybody's level moves down by one; who stood lowest stays lowest, and goes first.
    fn sink(&mut self) {
        let (from, to) = (self.lowest, (self.lowest + 1) % LEVELS);
        self.lowest = to;
        self.lowest_score = self.lowest_score.wrapping_add(1);
        while self.levels[from].newest != NONE {
            let entry = self.levels[from].newest;
            self.remove(entry);
            self.push_oldest(to, entry);
        }
    }

    fn push_newest(&mut self, level: usize, entry: u32) {
        let newest = self.levels[level].newest;
        let node = &mut self.nodes[entry as usize];
        (node.older, node.newer, node.level) = (newest, NONE, level as u32);
        match newest {
            NONE => self.levels[level].oldest = entry,
            newest => self.nodes[newest as usize].newer = entry,
        }
        self.levels[level].newest = entry;
        self.occupied[level / 64] |= 1 << (level % 64);
    }

    fn push_oldest(&mut self, level: usize, entry: u32) {
        let oldest = self.levels[level].oldest;
        let node = &mut self.nodes[entry as usize];
        (node.older, node.newer, node.level) = (NONE, oldest, level as u32);
        match oldest {
            NONE => self.levels[level].newest = entry,
            oldest => self.nodes[oldest as usize].older = entry,
        }
        self.levels[level].oldest = entry;
        self.occupied[level / 64] |= 1 << (level % 64);
    }
}

const NOWHERE: u32 = u32::MAX;
const LEVELS: usize = 256;
/// The level of one request now.
const PRESENT_LEVEL: u32 = 128;
/// A level is a quarter of a halving wide.
const LEVEL_SHIFT: u32 = HALVING.trailing_zeros() - 2;
const LEVEL_MASK: u32 = u32::MAX >> LEVEL_SHIFT;

const fn level_score(score: Score) -> u32 {
    score.0 >> LEVEL_SHIFT
}
