//! The caches that others would take, each set up as its own documentation says, with one shard where it has shards:
//! on one thread more of them only cost it hits.
//!
//! Invariant: a rival is asked through its public interface alone and given no hint about the trace.

use super::Subject;

/// Every rival that evicts, for so many entries.
#[must_use]
pub fn all(entries_max: usize) -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(Moka(moka::sync::Cache::new(entries_max as u64))),
        Box::new(QuickCache(quick_cache::unsync::Cache::new(entries_max))),
        Box::new(TinyUfo(tinyufo::TinyUfo::new(entries_max, entries_max))),
        foyer("foyer LRU", entries_max, foyer::LruConfig::default()),
        foyer("foyer LFU", entries_max, foyer::LfuConfig::default()),
        foyer("foyer S3-FIFO", entries_max, foyer::S3FifoConfig::default()),
        foyer("foyer SIEVE", entries_max, foyer::SieveConfig),
    ]
}

struct Moka(moka::sync::Cache<u64, u64>);

impl Subject for Moka {
    fn name(&self) -> &'static str {
        "moka"
    }

    fn request(&mut self, key: u64) -> bool {
        let found = self.0.get(&key);
        if found.is_none() {
            self.0.insert(key, key);
        }
        found.is_some_and(|value| value == key)
    }
}

struct QuickCache(quick_cache::unsync::Cache<u64, u64>);

impl Subject for QuickCache {
    fn name(&self) -> &'static str {
        "quick_cache"
    }

    fn request(&mut self, key: u64) -> bool {
        let found = self.0.get(&key).copied();
        if found.is_none() {
            self.0.insert(key, key);
        }
        found.is_some_and(|value| value == key)
    }
}

struct TinyUfo(tinyufo::TinyUfo<u64, u64>);

impl Subject for TinyUfo {
    fn name(&self) -> &'static str {
        "TinyUFO"
    }

    fn request(&mut self, key: u64) -> bool {
        let found = self.0.get(&key);
        if found.is_none() {
            self.0.put(key, key, 1);
        }
        found.is_some_and(|value| value == key)
    }
}

struct Foyer {
    name: &'static str,
    cache: foyer::Cache<u64, u64>,
}

fn foyer(
    name: &'static str,
    entries_max: usize,
    config: impl Into<foyer::EvictionConfig>,
) -> Box<dyn Subject> {
    let builder = foyer::CacheBuilder::new(entries_max).with_shards(1);
    Box::new(Foyer { name, cache: builder.with_eviction_config(config).build() })
}

impl Subject for Foyer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn request(&mut self, key: u64) -> bool {
        let found = self.cache.get(&key).map(|entry| *entry.value());
        if found.is_none() {
            self.cache.insert(key, key);
        }
        found.is_some_and(|value| value == key)
    }
}
