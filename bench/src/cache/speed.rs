//! What one look-up costs, beside the maps and caches that others would take.
//!
//! 16-byte keys, 64-byte values, keys in scrambled order, each answer checked. All subjects of one size live side by side and
//! take turns, so that a noisy minute falls on all; at ten million keys each lives alone.
//!
//! Invariant: a subject that gives back a wrong value, or finds what is not there, stops the measurement.

use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::{Barrier, Mutex};
use std::time::Instant;

use io_oi_shm::hot::{Config, Epoch, Reader, Sequence, Stamp, Writer};

use crate::scrambled;

/// A key of all subjects.
pub type Key = [u8; 16];
/// A value of all subjects.
pub type Value = [u8; 64];

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bench {
    /// A present key.
    Hit,
    /// An absent key.
    Miss,
    /// A new value under a present key.
    Update,
}

/// One figure of the table.
#[derive(Debug, Clone)]
pub struct Figure {
    /// hit, miss, update.
    pub bench: &'static str,
    /// As in the table.
    pub subject: String,
    /// Keys in the cache.
    pub keys: u64,
    /// Threads that ask at once.
    pub threads: usize,
    /// Median nanoseconds of one call in each thread.
    pub ns: f64,
}

trait Store: Sync {
    fn name(&self) -> &'static str;
    fn get(&self, key: &Key) -> Option<Value>;
    fn put(&self, key: Key, value: Value);
    /// Threads that may write at once.
    fn writers_max(&self) -> usize {
        usize::MAX
    }
}

/// All figures for these numbers of keys.
#[must_use]
pub fn measure(sizes: &[u64], rounds: usize) -> Vec<Figure> {
    let mut figures = Vec::new();
    for &keys in sizes {
        let together: Vec<Vec<usize>> = if keys <= TOGETHER_KEYS_MAX {
            vec![(0..MAKERS.len()).collect()]
        } else {
            (0..MAKERS.len()).map(|index| vec![index]).collect()
        };
        for group in together {
            let stores: Vec<Box<dyn Store>> = group.iter().map(|&index| MAKERS[index](keys)).collect();
            figures.extend(turns(&stores, keys, rounds));
        }
        figures.push(from_another_process(keys, rounds));
        eprintln!("{keys} keys: done");
    }
    figures
}

fn turns(stores: &[Box<dyn Store>], keys: u64, rounds: usize) -> Vec<Figure> {
    for store in stores {
        (0..keys).for_each(|number| store.put(key_of(number), value_of(number)));
    }
    let mut figures = Vec::new();
    for (bench, bench_name) in [(Bench::Hit, "hit"), (Bench::Miss, "miss"), (Bench::Update, "update")] {
        for threads in [1, 2] {
            let mut samples: Vec<Vec<f64>> = vec![Vec::new(); stores.len()];
            for round in 0..rounds as u64 {
                for (store, samples) in stores.iter().zip(&mut samples) {
                    if bench != Bench::Update || threads <= store.writers_max() {
                        samples.push(one_turn(&**store, bench, keys, threads, round));
                    }
                }
            }
            for (store, samples) in stores.iter().zip(samples).filter(|(_, samples)| !samples.is_empty()) {
                let (subject, ns) = (store.name().to_owned(), median(samples));
                figures.push(Figure { bench: bench_name, subject, keys, threads, ns });
            }
        }
    }
    figures
}

/// Nanoseconds of one call, in each of so many threads at once.
fn one_turn(store: &dyn Store, bench: Bench, keys: u64, threads: usize, round: u64) -> f64 {
    let barrier = Barrier::new(threads);
    let ns: Vec<f64> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..threads as u64)
            .map(|thread| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let numbers = numbers_of(bench, keys, round * 16 + thread);
                    barrier.wait();
                    let began = Instant::now();
                    numbers.iter().for_each(|&number| ask(store, bench, number));
                    began.elapsed().as_nanos() as f64 / numbers.len() as f64
                })
            })
            .collect();
        asking.into_iter().map(|thread| thread.join().expect("a wrong answer stops everything")).collect()
    });
    ns.iter().sum::<f64>() / ns.len() as f64
}

fn ask(store: &dyn Store, bench: Bench, number: u64) {
    let key = black_box(key_of(number));
    match bench {
        Bench::Hit => {
            let value = store.get(&key).expect("a key that was put is there");
            assert_eq!(value[..8], number.to_le_bytes(), "{} gave another key's value", store.name());
        }
        Bench::Miss => assert!(store.get(&key).is_none(), "{} found what is not there", store.name()),
        Bench::Update => store.put(key, value_of(number)),
    }
}

fn numbers_of(bench: Bench, keys: u64, seed: u64) -> Vec<u64> {
    let absent = if bench == Bench::Miss { keys } else { 0 };
    (0..CALLS).map(|call| absent + scrambled(seed << 32 | call) % keys).collect()
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Sixteen bytes that differ in all of them.
fn key_of(number: u64) -> Key {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&scrambled(number).to_le_bytes());
    key[8..].copy_from_slice(&number.to_le_bytes());
    key
}

fn value_of(number: u64) -> Value {
    let mut value = [0; 64];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

/// Hits of a reader in a process of its own, which opens the table and asks alone.
fn from_another_process(keys: u64, rounds: usize) -> Figure {
    let own = HotTable::new(keys);
    (0..keys).for_each(|number| own.put(key_of(number), value_of(number)));
    let writer = own.writer.lock().expect("nobody panicked");
    let table = format!("/proc/{}/fd/{}", std::process::id(), writer.fd().as_raw_fd());
    let program = std::env::current_exe().expect("a running program has a file");
    let mut reader = Command::new(program);
    reader.args(["--reader-of", &table, "--keys", &keys.to_string(), "--rounds", &rounds.to_string()]);
    let output = reader.stderr(Stdio::inherit()).output().expect("a copy of this program starts");
    assert!(output.status.success(), "the reader in another process failed");
    let ns =
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("the reader answers with a number");
    Figure { bench: "hit", subject: "io_oi, another process".to_owned(), keys, threads: 1, ns }
}

/// The reader's side of [`from_another_process`]: median nanoseconds of a hit.
pub fn read_from(table: &str, keys: u64, rounds: usize) -> std::io::Result<f64> {
    let file = std::fs::File::open(table)?;
    let reader = Reader::open(file.into()).map_err(std::io::Error::other)?;
    let store = OtherProcess(reader);
    Ok(median((0..rounds as u64).map(|round| one_turn(&store, Bench::Hit, keys, 1, round)).collect()))
}

struct OtherProcess(Reader);

impl Store for OtherProcess {
    fn name(&self) -> &'static str {
        "io_oi, another process"
    }

    fn get(&self, key: &Key) -> Option<Value> {
        get_from(&self.0, key)
    }

    fn put(&self, _key: Key, _value: Value) {
        unreachable!("a reader's mapping is read-only, and nobody asks it to write")
    }
}

/// The hot tier: one writer, and a reader with a mapping of its own.
struct HotTable {
    writer: Mutex<Writer>,
    reader: Reader,
}

impl HotTable {
    fn new(keys: u64) -> HotTable {
        let config = Config { entries_max: keys, large_bytes_max: 1 << 20, ..Config::default() };
        let writer = Writer::create(&config).expect("shared memory is at hand");
        let file = writer.fd().try_clone_to_owned().expect("a descriptor can be duplicated");
        HotTable { reader: Reader::open(file).expect("the table is sound"), writer: Mutex::new(writer) }
    }
}

fn get_from(reader: &Reader, key: &Key) -> Option<Value> {
    let mut value = [0; 64];
    let found = reader.get(key, &mut value).expect("the table is sound");
    found.map(|_| value)
}

impl Store for HotTable {
    fn name(&self) -> &'static str {
        "io_oi"
    }

    fn get(&self, key: &Key) -> Option<Value> {
        get_from(&self.reader, key)
    }

    fn put(&self, key: Key, value: Value) {
        let mut writer = self.writer.lock().expect("nobody panicked");
        let newest = writer.newest(&key).map_or(0, |newest| newest.stamp.sequence.0);
        let stamp = Stamp { sequence: Sequence(newest + 1), epoch: Epoch(1), time_ns: 1 };
        writer.publish_committed(&key, Some(&value), stamp).expect("the table was made for these keys");
    }

    fn writers_max(&self) -> usize {
        1
    }
}

struct Moka(moka::sync::Cache<Key, Value>);

impl Store for Moka {
    fn name(&self) -> &'static str {
        "moka"
    }

    fn get(&self, key: &Key) -> Option<Value> {
        self.0.get(key)
    }

    fn put(&self, key: Key, value: Value) {
        self.0.insert(key, value);
    }
}

struct QuickCache(quick_cache::sync::Cache<Key, Value>);

impl Store for QuickCache {
    fn name(&self) -> &'static str {
        "quick_cache"
    }

    fn get(&self, key: &Key) -> Option<Value> {
        self.0.get(key)
    }

    fn put(&self, key: Key, value: Value) {
        self.0.insert(key, value);
    }
}

struct TinyUfo(tinyufo::TinyUfo<Key, Value>);

impl Store for TinyUfo {
    fn name(&self) -> &'static str {
        "TinyUFO"
    }

    fn get(&self, key: &Key) -> Option<Value> {
        self.0.get(key)
    }

    fn put(&self, key: Key, value: Value) {
        self.0.force_put(key, value, 1);
    }
}

struct DashMap(dashmap::DashMap<Key, Value>);

impl Store for DashMap {
    fn name(&self) -> &'static str {
        "dashmap"
    }

    fn get(&self, key: &Key) -> Option<Value> {
        self.0.get(key).map(|value| *value)
    }

    fn put(&self, key: Key, value: Value) {
        self.0.insert(key, value);
    }
}

struct Papaya(papaya::HashMap<Key, Value>);

impl Store for Papaya {
    fn name(&self) -> &'static str {
        "papaya"
    }

    fn get(&self, key: &Key) -> Option<Value> {
        self.0.pin().get(key).copied()
    }

    fn put(&self, key: Key, value: Value) {
        self.0.pin().insert(key, value);
    }
}

struct Foyer(foyer::Cache<Key, Value>);

impl Store for Foyer {
    fn name(&self) -> &'static str {
        "foyer"
    }

    fn get(&self, key: &Key) -> Option<Value> {
        self.0.get(key).map(|entry| *entry.value())
    }

    fn put(&self, key: Key, value: Value) {
        self.0.insert(key, value);
    }
}

type Maker = fn(u64) -> Box<dyn Store>;

/// Caches get room for twice the keys: none of them may evict here, whatever its shards.
const MAKERS: &[Maker] = &[
    |keys| Box::new(HotTable::new(keys)),
    |keys| Box::new(QuickCache(quick_cache::sync::Cache::new(2 * keys as usize))),
    |keys| Box::new(Moka(moka::sync::Cache::new(2 * keys))),
    |keys| Box::new(TinyUfo(tinyufo::TinyUfo::new(2 * keys as usize, keys as usize))),
    |keys| Box::new(DashMap(dashmap::DashMap::with_capacity(keys as usize))),
    |keys| Box::new(Papaya(papaya::HashMap::with_capacity(keys as usize))),
    |keys| Box::new(Foyer(foyer::CacheBuilder::new(4 * keys as usize).build())),
];

/// Calls of one turn in each thread.
const CALLS: u64 = 200_000;
/// More keys than this are too many bytes for all subjects at once.
const TOGETHER_KEYS_MAX: u64 = 1_000_000;
