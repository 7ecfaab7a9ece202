//! How long to remember: small copies of the policy on a sample of the keys, each with another half-life.
//!
//! Whether an old request should count depends on who asks: where the same keys stay hot, a long memory finds them
//! exactly and withstands scans and loops; where hot keys change, a short one follows them. No rule tells which from a
//! single hit, so every half-life is tried, on keys whose hash falls into a small share: what happens to that
//! sample, in a cache smaller by the same share, is what would happen to all (C. Waldspurger and others, Cache modeling
//! and optimization using miniature simulations, USENIX ATC 2017).
//!
//! Invariant: the sample is the same for all half-lives, so their hits differ by what they remember alone; memory and
//! time are a fixed small share of the policy's own. Another half-life takes over when it answered more of the sample
//! than chance explains.

use crate::contest::{Answered, Contest};
use crate::history::History;
use crate::order::{NONE, Order};
use crate::score::{Present, Score};

/// The copies, and which of them has done best lately.
#[derive(Debug)]
pub(crate) struct Shadows {
    shadows: [Shadow; HALF_LIVES.len()],
    contest: Contest<{ HALF_LIVES.len() }>,
    /// A key is in the sample when the upper bits of its hash that this mask keeps are zero.
    mask: u64,
    until_look: u32,
    best: usize,
}

impl Shadows {
    /// For a policy of so many entries.
    pub(crate) fn new(entries_max: usize) -> Shadows {
        let share = (entries_max / SAMPLE_ENTRIES).max(1).next_power_of_two();
        let entries = entries_max.div_ceil(share).max(1);
        let shadows = HALF_LIVES.map(|half_life| Shadow::new(entries, half_life));
        let mask = (share as u64 - 1) << 48;
        Shadows { shadows, contest: Contest::new(), mask, until_look: entries as u32, best: FIRST_HALF_LIFE }
    }

    /// Which hashes are in the sample.
    pub(crate) fn mask(&self) -> u64 {
        self.mask
    }

    /// The half-life to use, in requests, for a cache of so many entries.
    pub(crate) fn halving_requests(&self, entries: usize) -> u64 {
        halving_requests(HALF_LIVES[self.best], entries)
    }

    /// Which of [`HALF_LIVES`] is in use.
    pub(crate) fn half_life(&self) -> f64 {
        HALF_LIVES[self.best]
    }

    /// Bytes of all copies.
    pub(crate) fn bytes(&self) -> usize {
        self.shadows.iter().map(Shadow::bytes).sum()
    }

    /// Sees a request; without the sampled keys' every request it would see another pattern than there is. Whether
    /// another half-life is best now.
    pub(crate) fn request(&mut self, hash: u64) -> bool {
        if hash & self.mask != 0 {
            return false;
        }
        let mut answered: Answered = 0;
        for (index, shadow) in self.shadows.iter_mut().enumerate() {
            answered |= Answered::from(shadow.request(hash)) << index;
        }
        self.contest.count(answered);
        self.until_look -= 1;
        self.until_look == 0 && self.look()
    }

    fn look(&mut self) -> bool {
        self.until_look = self.round();
        let before = self.best;
        self.best = self.contest.better_than(before);
        self.contest.forget();
        self.best != before
    }

    /// Sampled requests from one look to the next.
    fn round(&self) -> u32 {
        (self.shadows[0].entries_max / ROUNDS_PER_ENTRY).max(1) as u32
    }
}

/// One small copy with its own half-life: keys only, each of the same weight.
#[derive(Debug)]
struct Shadow {
    order: Order,
    history: History,
    present: Present,
    hashes: Box<[u64]>,
    /// First entry of each chain, and the next one behind each entry.
    heads: Box<[u32]>,
    next: Box<[u32]>,
    free: Vec<u32>,
    entries_max: usize,
}

impl Shadow {
    fn new(entries_max: usize, half_life: f64) -> Shadow {
        let room = entries_max + 1;
        Shadow {
            order: Order::new(room),
            history: History::new(HISTORY_PER_ENTRY * entries_max),
            present: Present::new(halving_requests(half_life, entries_max)),
            hashes: vec![0; room].into_boxed_slice(),
            heads: vec![NONE; room.next_power_of_two()].into_boxed_slice(),
            next: vec![NONE; room].into_boxed_slice(),
            free: (0..room as u32).collect(),
            entries_max,
        }
    }

    fn bytes(&self) -> usize {
        let room = self.hashes.len();
        room * (Order::BYTES_PER_ENTRY + 8 + 4 + 4) + self.heads.len() * 4 + self.history.bytes()
    }

    /// Whether the key was there.
    fn request(&mut self, hash: u64) -> bool {
        self.present.pass(1);
        let now = self.present.score();
        self.order.follow(now);
        if let Some(entry) = self.find(hash) {
            let score = self.order.score(entry).asked(now);
            self.order.put(entry, score, 0);
            return true;
        }
        let score = self.history.take(hash).map_or(now, |past| past.asked(now));
        self.insert(hash, score);
        if self.hashes.len() - self.free.len() > self.entries_max {
            self.evict(now);
        }
        false
    }

    fn insert(&mut self, hash: u64, score: Score) {
        let entry = self.free.pop().expect("room for one more than the most");
        let head = self.head_of(hash);
        self.hashes[entry as usize] = hash;
        self.next[entry as usize] = self.heads[head];
        self.heads[head] = entry;
        self.order.put_first(entry, score, NEWCOMER_BELOW);
    }

    fn evict(&mut self, now: Score) {
        let entry = self.order.first().expect("more entries than the most");
        self.order.remove(entry);
        let hash = self.hashes[entry as usize];
        self.history.remember(hash, self.order.score(entry), now);
        let head = self.head_of(hash);
        let behind = self.next[entry as usize];
        if self.heads[head] == entry {
            self.heads[head] = behind;
        } else {
            let mut at = self.heads[head];
            while self.next[at as usize] != entry {
                at = self.next[at as usize];
            }
            self.next[at as usize] = behind;
        }
        self.free.push(entry);
    }

    fn find(&self, hash: u64) -> Option<u32> {
        let mut at = self.heads[self.head_of(hash)];
        while at != NONE && self.hashes[at as usize] != hash {
            at = self.next[at as usize];
        }
        (at != NONE).then_some(at)
    }

    fn head_of(&self, hash: u64) -> usize {
        (hash.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) as usize & (self.heads.len() - 1)
    }
}

fn halving_requests(half_life: f64, entries: usize) -> u64 {
    (half_life * entries as f64) as u64
}

/// Worth halves in so many requests for each entry that the cache holds.
const HALF_LIVES: [f64; 7] = [0.4, 1.3, 2.5, 6.0, 15.0, 50.0, 500.0];
/// Where to begin: scans and loops pass over, and a mistake is soon forgotten.
const FIRST_HALF_LIFE: usize = 4;
/// Entries of a copy: fewer than this cannot tell one half-life from the next.
const SAMPLE_ENTRIES: usize = 2048;
/// A look comes after one sampled request for so many entries of a copy, and eight looks are remembered: a quarter of the
/// cache. The test of `contest` is as sure of few requests as of many, so this only has to be long enough to see what differs.
const ROUNDS_PER_ENTRY: usize = 32;
/// Keys remembered after they left, for each entry held.
pub(crate) const HISTORY_PER_ENTRY: usize = 4;
/// A newcomer has to be worth more than who is there, by so much, or goes first: whoever takes turns with others that
/// are worth the same keeps nobody long enough to be of use.
pub(crate) const NEWCOMER_BELOW: i32 = crate::score::HALVING / 4;
