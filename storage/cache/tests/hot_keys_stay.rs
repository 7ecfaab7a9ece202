//! What the policy is for: scans and loops do not drive out what is hot, and what is not hot any more goes.

use std::collections::HashMap;

use io_oi_cache::{Admission, Config, EntryId, Epoch, Newcomer, Policy, StandsFor};

const ENTRIES: u32 = 1_000;

/// A cache of keys over the policy.
struct Cache {
    policy: Policy,
    entries: HashMap<u64, u32>,
    keys: Vec<u64>,
    free: Vec<u32>,
}

impl Cache {
    fn new(keep_epochs: u64) -> Cache {
        let config = Config {
            entries_max: ENTRIES + 1,
            entries_expected: ENTRIES,
            bytes_max: u64::from(ENTRIES),
            prune_above_bytes: 0,
            keep_epochs,
            seed: 5,
        };
        let policy = Policy::new(&config).expect("these sizes fit each other");
        let keys = vec![0; ENTRIES as usize + 1];
        Cache { policy, entries: HashMap::new(), keys, free: (0..=ENTRIES).collect() }
    }

    fn request(&mut self, key: u64) -> bool {
        if let Some(&entry) = self.entries.get(&key) {
            self.policy.hit(EntryId(entry), StandsFor::ONE);
            return true;
        }
        let entry = *self.free.last().expect("one more than fit");
        let newcomer = Newcomer { hash: hash(key), weight_bytes: 1, expires: None, is_written: false };
        let (entries, keys, free) = (&mut self.entries, &self.keys, &mut self.free);
        let mut gone = Vec::new();
        let admission = self.policy.admit(EntryId(entry), &newcomer, |entry| gone.push(entry.0));
        if admission == Admission::Admitted {
            free.pop();
            entries.insert(key, entry);
            self.keys[entry as usize] = key;
            gone.iter().for_each(|&gone| assert!(self.entries.remove(&self.keys[gone as usize]).is_some()));
            self.free.extend(gone);
        } else {
            assert!(gone.is_empty() && keys.len() > free.len());
        }
        false
    }

    fn hits(&mut self, keys: impl Iterator<Item = u64>) -> usize {
        keys.filter(|&key| self.request(key)).count()
    }
}

fn hash(key: u64) -> u64 {
    let word = (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word ^ word >> 31
}

#[test]
fn a_scan_leaves_hot_keys_where_they_are() {
    let mut cache = Cache::new(u64::MAX);
    for _ in 0..10 {
        cache.hits(0..900);
    }
    cache.hits(100_000..120_000);
    assert_eq!(cache.hits(0..900), 900);
}

#[test]
fn a_loop_longer_than_the_cache_keeps_what_fits() {
    let mut cache = Cache::new(u64::MAX);
    for _ in 0..10 {
        cache.hits(0..2_000);
    }
    let hits = cache.hits(0..2_000);
    assert!(hits >= 990, "{hits} of 1000");
}

#[test]
fn a_new_hot_set_takes_over() {
    let mut cache = Cache::new(u64::MAX);
    for _ in 0..50 {
        cache.hits(0..900);
    }
    for _ in 0..50 {
        cache.hits(5_000..5_900);
    }
    assert_eq!(cache.hits(5_000..5_900), 900);
}

#[test]
fn a_half_life_that_suits_the_trace_is_found() {
    let mut steady = Cache::new(u64::MAX);
    let long_before = steady.policy.stats().half_life;
    // Every key is asked for twice, a little later, and never again: only a short memory is of use.
    for start in 0..60_000_u64 {
        steady.hits([start, start.saturating_sub(300)].into_iter());
    }
    assert!(steady.policy.stats().half_life < long_before, "{:?}", steady.policy.stats());
}

#[test]
fn whoever_was_asked_for_lately_is_not_pruned_and_the_old_are() {
    let mut cache = Cache::new(3);
    cache.hits(0..1_000);
    cache.policy.advance(Epoch(2));
    cache.hits(0..100);
    cache.policy.advance(Epoch(5));
    let mut gone = Vec::new();
    cache.policy.prune(2_000, |entry| gone.push(entry.0));
    assert!(gone.iter().all(|&entry| cache.keys[entry as usize] >= 100), "asked for three epochs ago: stays");
    assert!((240..360).contains(&gone.len()), "a third of 900 goes at age 5 of 3: {}", gone.len());
}
