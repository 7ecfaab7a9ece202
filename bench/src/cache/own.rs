//! The policy that ships, driven as the shard drives it: hits are sampled by the reader, misses reach the shard.

use std::collections::HashMap;

use io_oi_cache::{Admission, Config, EntryId, Epoch, Newcomer, Policy, Sampler, StandsFor};

use super::Subject;
use crate::scrambled;

/// A cache of keys over `io_oi_cache`.
#[derive(Debug)]
pub struct IoOi {
    name: &'static str,
    policy: Policy,
    sampler: Sampler,
    entries: HashMap<u64, u32>,
    keys: Vec<u64>,
    free: Vec<u32>,
    requests: u64,
}

impl IoOi {
    /// For so many entries; readers report every hit.
    #[must_use]
    pub fn new(entries_max: usize) -> IoOi {
        IoOi::sampling("io_oi", entries_max, StandsFor::ONE)
    }

    /// For so many entries; readers report one hit in eight.
    #[must_use]
    pub fn sparing(entries_max: usize) -> IoOi {
        IoOi::sampling("io_oi, 1 hit in 8", entries_max, StandsFor::power_of_two(3))
    }

    fn sampling(name: &'static str, entries_max: usize, one_in: StandsFor) -> IoOi {
        let (entries, bytes) = (entries_max as u32, entries_max as u64);
        let config = Config {
            // One more: the newcomer has its number before anybody has gone for it.
            entries_max: entries + 1,
            entries_expected: entries,
            bytes_max: bytes,
            prune_above_bytes: bytes - bytes / 16,
            keep_epochs: 64,
            seed: 1,
        };
        let policy = Policy::new(&config).expect("a trace's cache has entries");
        let sampler = policy.sampler(one_in, 1);
        let (keys, free) = (vec![0; entries_max + 1], (0..=entries).collect());
        IoOi { name, policy, sampler, entries: HashMap::new(), keys, free, requests: 0 }
    }

    fn forget(&mut self, gone: impl IntoIterator<Item = EntryId>) {
        for EntryId(entry) in gone {
            self.entries.remove(&self.keys[entry as usize]);
            self.free.push(entry);
        }
    }
}

impl Subject for IoOi {
    fn name(&self) -> &'static str {
        self.name
    }

    fn request(&mut self, key: u64) -> bool {
        let hash = scrambled(!key);
        let mut gone = Vec::new();
        self.requests += 1;
        self.policy.advance(Epoch(self.requests / self.keys.len() as u64));
        self.policy.prune(1, |entry| gone.push(entry));
        self.forget(gone.drain(..));
        if let Some(&entry) = self.entries.get(&key) {
            if let Some(stands_for) = self.sampler.report(hash) {
                self.policy.hit(EntryId(entry), stands_for);
            }
            return true;
        }
        let entry = self.free.pop().expect("one number more than entries");
        let newcomer = Newcomer { hash, weight_bytes: 1, expires: None, is_written: false };
        match self.policy.admit(EntryId(entry), &newcomer, |other| gone.push(other)) {
            Admission::Admitted => {
                self.forget(gone);
                self.keys[entry as usize] = key;
                self.entries.insert(key, entry);
            }
            Admission::Declined | Admission::Full => self.free.push(entry),
        }
        false
    }
}
