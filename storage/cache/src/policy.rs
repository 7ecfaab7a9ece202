//! The policy: entries come, are asked for, and go.
//!
//! Invariants: the weights of all entries together never exceed `bytes_max`, and `used_bytes` is their sum, always. Who is
//! held stays. An entry whose deadline has come is not live from that very nanosecond on. Nothing is allocated after `new`.

use thiserror::Error;

use crate::deadlines::Deadlines;
use crate::history::History;
use crate::order::Order;
use crate::score::{HALVING, Present, Score};
use crate::shadow::{HISTORY_PER_ENTRY, NEWCOMER_BELOW, Shadows};
use crate::{EntryId, Epoch, Nanos, Sampler, StandsFor, pruning};

/// Sizes of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Entries are numbered from 0 to one less than this.
    pub entries_max: u32,
    /// Entries expected at once, for which half-lives and memory of the past are made; at most `entries_max`.
    pub entries_expected: u32,
    /// What all entries may weigh together.
    pub bytes_max: u64,
    /// [`Policy::prune`] takes nobody while all entries weigh at most this much.
    pub prune_above_bytes: u64,
    /// Whoever was asked for or written in so many last epochs is not pruned.
    pub keep_epochs: u64,
    /// Decides who of the old is pruned.
    pub seed: u64,
}

/// Sizes that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// No entries, or more than numbers go.
    #[error("cache.entries_max is {entries_max}; give 1 to 2147483647")]
    Entries {
        /// As configured.
        entries_max: u32,
    },
    /// More, or fewer, expected than can be.
    #[error("cache.entries_expected is {entries_expected}; give 1 to cache.entries_max, {entries_max}")]
    Expected {
        /// As configured.
        entries_expected: u32,
        /// As configured.
        entries_max: u32,
    },
}

/// An entry that would like to come in.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer {
    /// The hash of its key: the same for the same key, and secret to clients.
    pub hash: u64,
    /// What it weighs: everything that it takes in memory.
    pub weight_bytes: u64,
    /// From when on it counts as absent.
    pub expires: Option<Nanos>,
    /// It was written, so memory has to take it; otherwise it was only read, and is worth a place or not.
    pub is_written: bool,
}

/// What became of a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// It is in; who had to go for it was named before.
    Admitted,
    /// Those who would have to go are worth more. Nobody went; the next request for it counts on top of this one.
    Declined,
    /// What is held leaves no room for it. Nobody went.
    Full,
}

/// What the policy holds and what it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Entries now.
    pub entries: u64,
    /// What they weigh together.
    pub used_bytes: u64,
    /// What they may weigh together.
    pub bytes_max: u64,
    /// Entries that went to make room.
    pub evicted: u64,
    /// Newcomers that were worth less.
    pub declined: u64,
    /// Entries that went at their deadline.
    pub expired: u64,
    /// Entries that went of old age.
    pub pruned: u64,
    /// Reported hits that named no entry: it had gone meanwhile, or the reader made it up.
    pub hits_on_nobody: u64,
    /// The half-life in use, in requests for each entry that is expected.
    pub half_life: f64,
    /// Bytes that the policy itself takes, all of them since the beginning.
    pub own_bytes: u64,
}

/// The policy's view of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// The hash of its key.
    pub hash: u64,
    /// What it weighs.
    pub weight_bytes: u64,
    /// From when on it counts as absent.
    pub expires: Option<Nanos>,
    /// When it was last asked for, as far as was reported, or written.
    pub touched: Epoch,
    /// It may not go now.
    pub is_held: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    hash: u64,
    weight_bytes: u64,
    touched: Epoch,
    is_present: bool,
    is_held: bool,
}

/// Which entries stay in memory.
#[derive(Debug)]
pub struct Policy {
    config: Config,
    entries: Box<[Entry]>,
    order: Order,
    history: History,
    deadlines: Deadlines,
    shadows: Shadows,
    present: Present,
    epoch: Epoch,
    /// Where the next [`Policy::prune`] goes on.
    hand: usize,
    stats: Stats,
}

impl Policy {
    /// An empty policy. Takes all the memory that it will ever need.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there is no entry at all, or numbers do not fit each other.
    pub fn new(config: &Config) -> Result<Policy, ConfigError> {
        let Config { entries_max, entries_expected, .. } = *config;
        if !(1..1 << 31).contains(&entries_max) {
            return Err(ConfigError::Entries { entries_max });
        }
        if !(1..=entries_max).contains(&entries_expected) {
            return Err(ConfigError::Expected { entries_expected, entries_max });
        }
        let (room, expected) = (entries_max as usize, entries_expected as usize);
        let (history, shadows) = (History::new(HISTORY_PER_ENTRY * expected), Shadows::new(expected));
        let per_entry = size_of::<Entry>() + Order::BYTES_PER_ENTRY + Deadlines::BYTES_PER_ENTRY;
        let own_bytes = (room * per_entry + history.bytes() + shadows.bytes()) as u64;
        let half_life = shadows.half_life();
        Ok(Policy {
            config: *config,
            entries: vec![Entry::default(); room].into_boxed_slice(),
            order: Order::new(room),
            present: Present::new(shadows.halving_requests(expected)),
            history,
            deadlines: Deadlines::new(room),
            shadows,
            epoch: Epoch(0),
            hand: 0,
            stats: Stats { bytes_max: config.bytes_max, own_bytes, half_life, ..Stats::default() },
        })
    }

    /// A sampler for one reading thread that reports one hit in `one_in`.
    #[must_use]
    pub fn sampler(&self, one_in: StandsFor, seed: u64) -> Sampler {
        Sampler::new(self.shadows.mask(), one_in, seed)
    }

    /// A reader reported a hit. What it says is not believed: an entry that is not there is counted, nothing else.
    pub fn hit(&mut self, entry: EntryId, stands_for: StandsFor) {
        let Some(known) = self.entries.get_mut(entry.0 as usize).filter(|known| known.is_present) else {
            self.stats.hits_on_nobody += 1;
            return;
        };
        known.touched = self.epoch;
        let (hash, is_held) = (known.hash, known.is_held);
        let now = self.request(hash, stands_for);
        let asked = Score(now.0.wrapping_add(stands_for.log2() * HALVING as u32));
        let score = self.order.score(entry.0).asked(asked);
        if is_held {
            self.order.set_score(entry.0, score);
        } else {
            self.order.put(entry.0, score, 0);
        }
    }

    /// A key was asked for, or written, that has no entry; it would get number `entry`. Names everybody who has to go for
    /// it to `evict`, which has to let them go.
    ///
    /// # Panics
    ///
    /// When the number is taken or out of range.
    pub fn admit(&mut self, entry: EntryId, newcomer: &Newcomer, evict: impl FnMut(EntryId)) -> Admission {
        assert!(!self.entries[entry.0 as usize].is_present, "a number names one entry at a time");
        let now = self.request(newcomer.hash, StandsFor::ONE);
        let score = self.history.take(newcomer.hash).map_or(now, |past| past.asked(now));
        let worth = (!newcomer.is_written).then(|| score.lowered(NEWCOMER_BELOW));
        match self.make_room(newcomer.weight_bytes, worth, evict) {
            Admission::Admitted => {}
            refused => {
                self.history.remember(newcomer.hash, score, now);
                self.stats.declined += u64::from(refused == Admission::Declined);
                return refused;
            }
        }
        let Newcomer { hash, weight_bytes, expires, .. } = *newcomer;
        self.entries[entry.0 as usize] =
            Entry { hash, weight_bytes, touched: self.epoch, is_present: true, is_held: false };
        self.deadlines.set(entry.0, expires);
        self.order.put_first(entry.0, score, NEWCOMER_BELOW);
        self.stats.entries += 1;
        self.stats.used_bytes += weight_bytes;
        Admission::Admitted
    }

    /// An entry was written anew: it weighs, and expires, otherwise now. It counts as asked for. As [`Policy::admit`], but
    /// never declined; when there is no room, everything stays as it was.
    ///
    /// # Panics
    ///
    /// When there is no such entry.
    pub fn rewrite(
        &mut self,
        entry: EntryId,
        weight_bytes: u64,
        expires: Option<Nanos>,
        evict: impl FnMut(EntryId),
    ) -> Admission {
        let known = self.present(entry);
        // Nobody goes for his own growth.
        self.order.remove(entry.0);
        let grown = weight_bytes.saturating_sub(known.weight_bytes);
        let admission = self.make_room(grown, None, evict);
        if admission == Admission::Admitted {
            self.stats.used_bytes = self.stats.used_bytes - known.weight_bytes + weight_bytes;
            self.entries[entry.0 as usize].weight_bytes = weight_bytes;
            self.deadlines.set(entry.0, expires);
        }
        if !known.is_held {
            self.order.put(entry.0, self.order.score(entry.0), 0);
        }
        self.hit(entry, StandsFor::ONE);
        admission
    }

    /// From now on this entry may not go: something tentative stands in it, or its bytes are not on disk yet.
    ///
    /// # Panics
    ///
    /// When there is no such entry.
    pub fn hold(&mut self, entry: EntryId) {
        self.present(entry);
        self.entries[entry.0 as usize].is_held = true;
        self.order.remove(entry.0);
    }

    /// From now on this entry may go again.
    ///
    /// # Panics
    ///
    /// When there is no such entry.
    pub fn release(&mut self, entry: EntryId) {
        self.present(entry);
        self.entries[entry.0 as usize].is_held = false;
        self.order.put(entry.0, self.order.score(entry.0), 0);
    }

    /// The entry was deleted. Nothing of it is remembered.
    ///
    /// # Panics
    ///
    /// When there is no such entry.
    pub fn remove(&mut self, entry: EntryId) {
        let known = self.present(entry);
        self.order.remove(entry.0);
        self.deadlines.remove(entry.0);
        self.entries[entry.0 as usize] = Entry::default();
        self.stats.entries -= 1;
        self.stats.used_bytes -= known.weight_bytes;
    }

    /// Whether the entry may be shown at this moment: it is there, and its deadline has not come.
    #[must_use]
    pub fn is_live(&self, entry: EntryId, now: Nanos) -> bool {
        self.tracked(entry).is_some_and(|known| known.expires.is_none_or(|expires| now < expires))
    }

    /// Lets everybody go whose deadline has come, held or not, at most `count_max` at once. How many went.
    pub fn expire(&mut self, now: Nanos, count_max: usize, mut evict: impl FnMut(EntryId)) -> usize {
        let mut count = 0;
        while count < count_max
            && let Some((deadline, entry)) = self.deadlines.first()
            && deadline <= now
        {
            self.remove(EntryId(entry));
            evict(EntryId(entry));
            count += 1;
        }
        self.stats.expired += count as u64;
        count
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.deadlines.first().map(|(deadline, _)| deadline)
    }

    /// A later epoch has begun. An earlier one changes nothing.
    pub fn advance(&mut self, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
    }

    /// Looks at the next `count` numbers, and lets those go that are too old, while more than `prune_above_bytes` are
    /// used. Of the same age, those go that are worth less: whoever is worth a request now or more stays. How many went.
    pub fn prune(&mut self, count: usize, mut evict: impl FnMut(EntryId)) -> usize {
        let now = self.present.score();
        let mut went = 0;
        for _ in 0..count.min(self.entries.len()) {
            if self.stats.used_bytes <= self.config.prune_above_bytes {
                break;
            }
            let entry = self.hand as u32;
            self.hand = (self.hand + 1) % self.entries.len();
            if self.is_outlived(entry, now) {
                self.let_go(entry, now);
                evict(EntryId(entry));
                went += 1;
            }
        }
        self.stats.pruned += went as u64;
        went
    }

    /// What is known of an entry.
    #[must_use]
    pub fn tracked(&self, entry: EntryId) -> Option<Tracked> {
        let known = self.entries.get(entry.0 as usize).filter(|known| known.is_present)?;
        let Entry { hash, weight_bytes, touched, is_held, .. } = *known;
        Some(Tracked { hash, weight_bytes, expires: self.deadlines.of(entry.0), touched, is_held })
    }

    /// What the policy holds and takes.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn present(&self, entry: EntryId) -> Entry {
        let known = self.entries[entry.0 as usize];
        assert!(known.is_present, "the caller names entries that were admitted and have not gone");
        known
    }

    /// Requests pass. What one is worth now.
    fn request(&mut self, hash: u64, stands_for: StandsFor) -> Score {
        let is_tried = stands_for == StandsFor::ONE;
        if is_tried && self.shadows.request(hash) {
            let expected = self.config.entries_expected as usize;
            self.present.set_halving(self.shadows.halving_requests(expected));
            self.stats.half_life = self.shadows.half_life();
        }
        self.present.pass(1 << stands_for.log2());
        let now = self.present.score();
        self.order.follow(now);
        now
    }

    /// Lets so many go that `bytes` fit; only those who together are worth less than `worth`, when that is given.
    fn make_room(&mut self, bytes: u64, worth: Option<Score>, mut evict: impl FnMut(EntryId)) -> Admission {
        let Some(room) = self.config.bytes_max.checked_sub(bytes) else { return Admission::Full };
        if self.stats.used_bytes > room {
            let excess = self.stats.used_bytes - room;
            match self.can_free(excess, worth) {
                Admission::Admitted => {}
                refused => return refused,
            }
        }
        let now = self.present.score();
        while self.stats.used_bytes > room {
            let entry = self.order.first().expect("there is enough that may go: it was added up just now");
            self.let_go(entry, now);
            self.stats.evicted += 1;
            evict(EntryId(entry));
        }
        Admission::Admitted
    }

    /// Whether those who go first free so many bytes, and are worth less together.
    fn can_free(&self, bytes: u64, worth: Option<Score>) -> Admission {
        let (mut freed, mut together, mut next) = (0, None::<Score>, self.order.first());
        while freed < bytes {
            let Some(entry) = next else { return Admission::Full };
            let score = self.order.score(entry);
            let sum = together.map_or(score, |sum| sum.plus(score));
            if worth.is_some_and(|worth| worth.above(sum) <= 0) {
                return Admission::Declined;
            }
            together = Some(sum);
            freed += self.entries[entry as usize].weight_bytes;
            next = self.order.after(entry);
        }
        Admission::Admitted
    }

    /// Lets an entry go, and remembers what it was worth.
    fn let_go(&mut self, entry: u32, now: Score) {
        let hash = self.entries[entry as usize].hash;
        self.history.remember(hash, self.order.score(entry), now);
        self.remove(EntryId(entry));
    }

    fn is_outlived(&self, entry: u32, now: Score) -> bool {
        let known = self.entries[entry as usize];
        let age = self.epoch.0 - known.touched.0;
        let Config { keep_epochs, seed, .. } = self.config;
        known.is_present
            && !known.is_held
            && self.order.score(entry).above(now) < 0
            && !pruning::stays(age, keep_epochs, known.hash, seed)
    }
}
