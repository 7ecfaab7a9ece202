//! The maps and caches whose look-ups are measured, behind one face, each asked as its own documentation says.
//!
//! Invariant: whoever is asked copies all 64 bytes of the value into the asker's buffer, as the hot table does.

use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::sync::Mutex;

use io_oi_shm::hot::{Config, Epoch, Reader, Sequence, Stamp, Writer};

use crate::{Answers, scrambled};

/// A key of all subjects.
pub type Key = [u8; 16];
/// A value of all subjects: its key's number, zeros, the key that comes after it at byte 16, and zeros.
pub type Value = [u8; 64];

/// What an absent key answers.
pub const ABSENT: u64 = u64::MAX;

/// A map or cache of such keys and values. Its loops are compiled once for each, so that no call of a look-up goes
/// through a table of functions.
pub trait Store: Sync {
    /// Copies the value of a key to `value`. Whether it was there.
    fn get(&self, key: &Key, value: &mut Value) -> bool;

    /// Gives a key a value.
    fn put(&self, key: Key, value: Value);

    /// Gives each of these numbers' keys its value, in this order.
    fn put_all(&self, numbers: &[u64], keys: u64) {
        numbers.iter().for_each(|&number| self.put(key_of(number), value_of(number, keys)));
    }

    /// Asks for keys known in advance. The hash of the answers.
    fn ask_all(&self, keys: &[Key]) -> u64 {
        let (mut answers, mut value) = (Answers::new(), [0; 64]);
        for key in keys {
            let is_there = self.get(black_box(key), &mut value);
            answers.add(if is_there { number_in(black_box(&value)) } else { ABSENT });
        }
        answers.hash()
    }

    /// Asks for a key, then for the one that its value names, and so on. The hash of the answers.
    fn follow(&self, first: Key, calls: usize) -> u64 {
        let (mut answers, mut value, mut key) = (Answers::new(), [0; 64], first);
        for _ in 0..calls {
            let is_there = self.get(&key, &mut value);
            answers.add(if is_there { number_in(black_box(&value)) } else { ABSENT });
            key = next_in(&value);
        }
        answers.hash()
    }

    /// Threads that may write at once.
    fn writers_max(&self) -> usize {
        usize::MAX
    }
}

/// How a subject is made for so many keys.
pub type Maker = fn(u64) -> Box<dyn Store>;

/// Every subject, ours first. Caches get room for twice the keys or more: none of them may evict here, whatever its shards.
pub const SUBJECTS: &[(&str, Maker)] = &[
    ("io_oi", |keys| Box::new(HotTable::new(keys))),
    ("quick_cache", |keys| Box::new(QuickCache(quick_cache::sync::Cache::new(2 * keys as usize)))),
    ("moka", |keys| Box::new(Moka(moka::sync::Cache::new(2 * keys)))),
    ("TinyUFO", |keys| Box::new(TinyUfo(tinyufo::TinyUfo::new(2 * keys as usize, keys as usize)))),
    ("dashmap", |keys| Box::new(DashMap(dashmap::DashMap::with_capacity(keys as usize)))),
    ("papaya", |keys| Box::new(Papaya(papaya::HashMap::with_capacity(keys as usize)))),
    ("foyer", |keys| Box::new(Foyer(foyer::CacheBuilder::new(4 * keys as usize).build()))),
];

/// Sixteen bytes that differ in all of them.
#[must_use]
pub fn key_of(number: u64) -> Key {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&scrambled(number).to_le_bytes());
    key[8..].copy_from_slice(&number.to_le_bytes());
    key
}

/// The value of a key among so many.
#[must_use]
pub fn value_of(number: u64, keys: u64) -> Value {
    let mut value = [0; 64];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value[16..32].copy_from_slice(&key_of(after(number, keys)));
    value
}

/// The number that comes after this one in the only cycle through all numbers below `keys`: far from it, so that no
/// subject's neighbours in memory follow each other.
#[must_use]
pub fn after(number: u64, keys: u64) -> u64 {
    (number + stride(keys)) % keys
}

/// The first number at or above the golden part of `keys` that has no factor in common with it.
fn stride(keys: u64) -> u64 {
    let from = (keys as f64 * 0.618) as u64;
    (from.max(1)..).find(|&stride| common_factor(stride, keys) == 1).expect("one of any two neighbours, soon")
}

fn common_factor(left: u64, right: u64) -> u64 {
    if right == 0 { left } else { common_factor(right, left % right) }
}

fn number_in(value: &Value) -> u64 {
    u64::from_le_bytes(*value.first_chunk().expect("64 bytes"))
}

fn next_in(value: &Value) -> Key {
    // In two words, as they were stored: a load of sixteen bytes would wait until both stores have left the processor.
    let word = |at: usize| black_box(u64::from_le_bytes(*value[at..].first_chunk().expect("64 bytes")));
    let mut key = [0; 16];
    key[..8].copy_from_slice(&word(16).to_le_bytes());
    key[8..].copy_from_slice(&word(24).to_le_bytes());
    key
}

/// The hot tier: one writer, and a reader with a mapping of its own.
pub struct HotTable {
    writer: Mutex<Appending>,
    reader: Reader,
}

struct Appending {
    writer: Writer,
    sequence: u64,
}

impl HotTable {
    /// For so many keys of 16 bytes with values of 64.
    #[must_use]
    pub fn new(keys: u64) -> HotTable {
        let config = Config { entries_max: keys, large_bytes_max: 1 << 20, ..Config::default() };
        let writer = Writer::create(&config).expect("shared memory is at hand");
        let file = writer.fd().try_clone_to_owned().expect("a descriptor can be duplicated");
        let reader = Reader::open(file).expect("the table is sound");
        HotTable { reader, writer: Mutex::new(Appending { writer, sequence: 0 }) }
    }

    /// Where another process finds this table while this one lives.
    pub fn path(&self) -> String {
        let appending = self.writer.lock().expect("nobody panicked");
        format!("/proc/{}/fd/{}", std::process::id(), appending.writer.fd().as_raw_fd())
    }
}

impl Appending {
    fn put(&mut self, key: &Key, value: &Value) {
        self.sequence += 1;
        let stamp = Stamp { sequence: Sequence(self.sequence), epoch: Epoch(1), time_ns: 1 };
        self.writer.publish_committed(key, Some(value), stamp).expect("the table was made for these keys");
    }
}

#[inline(always)]
fn get_from(reader: &Reader, key: &Key, value: &mut Value) -> bool {
    reader.get(key, value).expect("the table is sound").is_some()
}

impl Store for HotTable {
    fn get(&self, key: &Key, value: &mut Value) -> bool {
        get_from(&self.reader, key, value)
    }

    fn put(&self, key: Key, value: Value) {
        self.writer.lock().expect("nobody panicked").put(&key, &value);
    }

    /// The shard's thread is the only writer, so it takes no lock for each of them.
    fn put_all(&self, numbers: &[u64], keys: u64) {
        let mut appending = self.writer.lock().expect("nobody panicked");
        numbers.iter().for_each(|&number| appending.put(&key_of(number), &value_of(number, keys)));
    }

    fn writers_max(&self) -> usize {
        1
    }
}

/// The hot tier of another process, which this one may only read.
pub struct OtherProcess(pub Reader);

impl Store for OtherProcess {
    fn get(&self, key: &Key, value: &mut Value) -> bool {
        get_from(&self.0, key, value)
    }

    fn put(&self, _key: Key, _value: Value) {
        unreachable!("a reader's mapping is read-only, and nobody asks it to write")
    }

    fn writers_max(&self) -> usize {
        0
    }
}

struct Moka(moka::sync::Cache<Key, Value>);

impl Store for Moka {
    fn get(&self, key: &Key, value: &mut Value) -> bool {
        self.0.get(key).map(|found| *value = found).is_some()
    }

    fn put(&self, key: Key, value: Value) {
        self.0.insert(key, value);
    }
}

struct QuickCache(quick_cache::sync::Cache<Key, Value>);

impl Store for QuickCache {
    fn get(&self, key: &Key, value: &mut Value) -> bool {
        self.0.get(key).map(|found| *value = found).is_some()
    }

    fn put(&self, key: Key, value: Value) {
        self.0.insert(key, value);
    }
}

struct TinyUfo(tinyufo::TinyUfo<Key, Value>);

impl Store for TinyUfo {
    fn get(&self, key: &Key, value: &mut Value) -> bool {
        self.0.get(key).map(|found| *value = found).is_some()
    }

    fn put(&self, key: Key, value: Value) {
        self.0.force_put(key, value, 1);
    }
}

struct DashMap(dashmap::DashMap<Key, Value>);

impl Store for DashMap {
    fn get(&self, key: &Key, value: &mut Value) -> bool {
        self.0.get(key).map(|found| *value = *found).is_some()
    }

    fn put(&self, key: Key, value: Value) {
        self.0.insert(key, value);
    }
}

struct Papaya(papaya::HashMap<Key, Value>);

impl Store for Papaya {
    fn get(&self, key: &Key, value: &mut Value) -> bool {
        self.0.pin().get(key).map(|found| *value = *found).is_some()
    }

    fn put(&self, key: Key, value: Value) {
        self.0.pin().insert(key, value);
    }
}

struct Foyer(foyer::Cache<Key, Value>);

impl Store for Foyer {
    fn get(&self, key: &Key, value: &mut Value) -> bool {
        self.0.get(key).map(|found| *value = *found.value()).is_some()
    }

    fn put(&self, key: Key, value: Value) {
        self.0.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cycle_leads_through_all_numbers() {
        for keys in [1, 2, 3, 10, 97, 1_000, 1_024] {
            let mut number = 0;
            let mut seen = vec![false; keys as usize];
            for _ in 0..keys {
                assert!(!std::mem::replace(&mut seen[number as usize], true), "{keys}: {number} twice");
                number = after(number, keys);
            }
            assert_eq!(number, 0);
        }
    }
}
