//! What one look-up costs, beside the maps and caches that others would take.
//!
//! 16-byte keys, 64-byte values, keys in scrambled order, known in advance; in the serialized bench each key stands in the
//! value before. All subjects of one size live side by side and take turns, and so does the floor, so that a noisy minute
//! falls on all; at ten million keys each lives alone, beside a floor of its own.
//!
//! Invariant: every answer goes into a hash that is computed without any subject, too. A wrong one stops the measurement.

use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Instant;

use io_oi_shm::hot::Reader;

use super::chase::Chase;
use super::stores::{ABSENT, HotTable, Key, Maker, OtherProcess, SUBJECTS, Store, after, key_of};
use crate::{Answers, scrambled};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Turns of each subject.
    pub rounds: usize,
    /// Calls of one turn in each thread.
    pub calls: usize,
}

/// One figure of the table.
#[derive(Debug, Clone)]
pub struct Figure {
    /// As in the table: what was measured.
    pub bench: &'static str,
    /// As in the table: of whom.
    pub subject: &'static str,
    /// Keys in the cache.
    pub keys: u64,
    /// Threads that ask at once.
    pub threads: usize,
    /// Median over the turns of the nanoseconds of one call in each thread.
    pub ns: f64,
}

/// Memory that an entry takes.
#[derive(Debug, Clone)]
pub struct Weight {
    /// As in the table.
    pub subject: &'static str,
    /// Keys in the cache.
    pub keys: u64,
    /// Resident memory of a process of its own that came with the entries, for each of them.
    pub bytes_per_entry: f64,
}

/// Everything that was measured.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Nanoseconds.
    pub figures: Vec<Figure>,
    /// Bytes.
    pub weights: Vec<Weight>,
    /// All answers, in the order of the figures.
    pub answers: Answers,
    /// Turns of the floor at the present size.
    loads: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bench {
    Hit,
    Serialized,
    Miss,
    Update,
}

/// Each bench, its name, and its name when the reader stands in another process.
const BENCHES: [(Bench, &str, &str); 4] = [
    (Bench::Hit, "hit", "hit from another process"),
    (Bench::Serialized, "serialized hit", "serialized hit from another process"),
    (Bench::Miss, "miss", "miss from another process"),
    (Bench::Update, "update", ""),
];
/// The floor's bench.
pub const FLOOR: &str = "floor";
const FLOOR_NAME: &str = "dependent load";

/// All figures for these numbers of keys, of the subjects with these names; of all when there are none.
#[must_use]
pub fn measure(sizes: &[u64], extent: Extent, names: &[String]) -> Findings {
    let is_asked_for = |name: &str| names.is_empty() || names.iter().any(|other| other == name);
    let subjects: Vec<(&'static str, Maker)> =
        SUBJECTS.iter().filter(|(name, _)| is_asked_for(name)).copied().collect();
    let mut findings = Findings::default();
    for &keys in sizes {
        let group = if keys <= TOGETHER_KEYS_MAX { SUBJECTS.len() } else { 1 };
        for group in subjects.chunks(group) {
            let stores: Vec<(&'static str, Box<dyn Store>)> =
                group.iter().map(|(name, make)| (*name, make(keys))).collect();
            fill(&stores, keys);
            let stores: Vec<Subject<'_>> = stores.iter().map(|(name, store)| (*name, &**store)).collect();
            findings.take(turns(&stores, keys, extent, false));
        }
        if is_asked_for(SUBJECTS[0].0) {
            findings.take(from_another_process(keys, extent));
        }
        findings.close_size(keys);
        findings.weights.extend(subjects.iter().map(|(subject, _)| weight(subject, keys)));
        eprintln!("{keys} keys: done");
    }
    findings
}

type Subject<'a> = (&'static str, &'a dyn Store);

impl Findings {
    fn take(&mut self, more: Findings) {
        self.figures.extend(more.figures);
        self.answers.add(more.answers.hash());
        self.loads.extend(more.loads);
    }

    /// The floor of all subjects of this size.
    fn close_size(&mut self, keys: u64) {
        if self.loads.is_empty() {
            return;
        }
        let ns = median(std::mem::take(&mut self.loads));
        self.figures.push(Figure { bench: FLOOR, subject: FLOOR_NAME, keys, threads: 1, ns });
    }
}

fn fill(stores: &[(&'static str, Box<dyn Store>)], keys: u64) {
    let numbers: Vec<u64> = (0..keys).collect();
    stores.iter().for_each(|(_, store)| store.put_all(&numbers, keys));
}

/// All benches over these subjects and the floor, in turns.
fn turns(stores: &[Subject<'_>], keys: u64, extent: Extent, is_other_process: bool) -> Findings {
    let mut findings = Findings::default();
    let mut chase = Chase::through(keys);
    chase.walk(extent.calls);
    for (bench, here, elsewhere) in BENCHES {
        for threads in [1, 2] {
            let able = |store: &dyn Store| bench != Bench::Update || threads <= store.writers_max();
            let able: Vec<&Subject<'_>> = stores.iter().filter(|(_, store)| able(*store)).collect();
            let mut samples = vec![Vec::new(); able.len()];
            for round in 0..extent.rounds as u64 {
                for ((name, store), samples) in able.iter().zip(&mut samples) {
                    let turn = Turn { bench, keys, calls: extent.calls, round };
                    let (ns, answers) = turn.take(name, *store, threads);
                    samples.push(ns);
                    findings.answers.add(answers);
                }
                findings.loads.push(chase.walk(extent.calls));
            }
            let bench = if is_other_process { elsewhere } else { here };
            findings.figures.extend(able.iter().zip(samples).map(|((subject, _), samples)| Figure {
                bench,
                subject,
                keys,
                threads,
                ns: median(samples),
            }));
        }
    }
    findings
}

/// One subject's turn at one bench.
#[derive(Clone, Copy)]
struct Turn {
    bench: Bench,
    keys: u64,
    calls: usize,
    round: u64,
}

impl Turn {
    /// Nanoseconds of one call, in each of so many threads at once, and the answers' hash.
    fn take(self, name: &str, store: &dyn Store, threads: usize) -> (f64, u64) {
        let barrier = Barrier::new(threads);
        let turns: Vec<(f64, u64)> = std::thread::scope(|scope| {
            let asking = (0..threads as u64).map(|thread| {
                let barrier = &barrier;
                scope.spawn(move || self.of_thread(store, thread, barrier))
            });
            let asking: Vec<_> = asking.collect();
            let turn = |asking: std::thread::ScopedJoinHandle<'_, Option<(f64, u64)>>| {
                let turn = asking.join().expect("a subject does not panic");
                turn.unwrap_or_else(|| {
                    panic!("{name} gave a wrong answer at {:?}, {} keys", self.bench, self.keys)
                })
            };
            asking.into_iter().map(turn).collect()
        });
        let mut answers = Answers::new();
        turns.iter().for_each(|(_, hash)| answers.add(*hash));
        (turns.iter().map(|(ns, _)| ns).sum::<f64>() / threads as f64, answers.hash())
    }

    /// `None` when an answer was wrong.
    fn of_thread(self, store: &dyn Store, thread: u64, barrier: &Barrier) -> Option<(f64, u64)> {
        let numbers = self.numbers(self.round * 16 + thread);
        let keys: Vec<Key> = numbers.iter().map(|&number| key_of(number)).collect();
        barrier.wait();
        let began = Instant::now();
        let hash = match self.bench {
            Bench::Hit | Bench::Miss => store.ask_all(&keys),
            Bench::Serialized => store.follow(keys[0], self.calls),
            Bench::Update => {
                store.put_all(&numbers, self.keys);
                0
            }
        };
        let ns = began.elapsed().as_nanos() as f64 / self.calls as f64;
        // What was written is read again, outside the time.
        let hash = if self.bench == Bench::Update { store.ask_all(&keys) } else { hash };
        (hash == self.expected(&numbers)).then_some((ns, hash))
    }

    /// The numbers asked for, one after the other.
    fn numbers(self, seed: u64) -> Vec<u64> {
        let draw = |call: u64| scrambled(seed << 32 | call) % self.keys;
        let calls = 0..self.calls as u64;
        match self.bench {
            Bench::Hit | Bench::Update => calls.map(draw).collect(),
            Bench::Miss => calls.map(|call| self.keys + draw(call)).collect(),
            Bench::Serialized => {
                let next = |number: &u64| Some(after(*number, self.keys));
                std::iter::successors(Some(draw(0)), next).take(self.calls).collect()
            }
        }
    }

    fn expected(self, numbers: &[u64]) -> u64 {
        let mut answers = Answers::new();
        let answer = |number: u64| if self.bench == Bench::Miss { ABSENT } else { number };
        numbers.iter().for_each(|&number| answers.add(answer(number)));
        answers.hash()
    }
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// The same benches over our table, by a process that has only a descriptor of it. No rival's entries can be read from
/// another process.
fn from_another_process(keys: u64, extent: Extent) -> Findings {
    let own = HotTable::new(keys);
    own.put_all(&(0..keys).collect::<Vec<u64>>(), keys);
    let (rounds, calls) = (extent.rounds.to_string(), extent.calls.to_string());
    let words = ["--reader-of", &own.path(), "--rounds", &rounds, "--calls", &calls];
    let output = child(keys, &words);
    let mut findings = Findings::default();
    for line in output.lines() {
        let words: Vec<&str> = line.split('|').collect();
        let [place, threads, ns, hash] = words[..] else { continue };
        let number = |word: &str| word.parse::<usize>().expect("the child writes numbers");
        let bench = match BENCHES.get(number(place)) {
            Some((_, _, elsewhere)) => elsewhere,
            None => continue,
        };
        let ns = ns.parse().expect("the child writes numbers");
        findings.figures.push(Figure { bench, subject: SUBJECTS[0].0, keys, threads: number(threads), ns });
        findings.answers.add(hash.parse().expect("the child writes numbers"));
    }
    findings
}

/// The reader's side: one line a figure, as [`from_another_process`] reads it.
///
/// # Errors
///
/// When there is no table at this path.
pub fn read_from(table: &str, keys: u64, extent: Extent) -> std::io::Result<String> {
    let file = std::fs::File::open(table)?;
    let reader = Reader::open(file.into()).map_err(std::io::Error::other)?;
    let store = OtherProcess(reader);
    let findings = turns(&[(SUBJECTS[0].0, &store)], keys, extent, true);
    let hash = findings.answers.hash();
    let line = |figure: &Figure| {
        let place = BENCHES.iter().position(|(_, _, elsewhere)| *elsewhere == figure.bench)?;
        Some(format!("{place}|{}|{}|{hash}\n", figure.threads, figure.ns))
    };
    Ok(findings.figures.iter().filter_map(line).collect())
}

/// What an entry of this subject weighs, in a process that has nothing else.
fn weight(subject: &'static str, keys: u64) -> Weight {
    let output = child(keys, &["--weigh", subject]);
    let bytes: f64 = output.trim().parse().expect("the child writes a number");
    Weight { subject, keys, bytes_per_entry: bytes / keys as f64 }
}

/// The weighing side: bytes of resident memory that came with so many entries of a subject.
///
/// # Errors
///
/// When there is no such subject, or the kernel does not say what is resident.
pub fn weigh(subject: &str, keys: u64) -> std::io::Result<u64> {
    let known = SUBJECTS.iter().find(|(name, _)| *name == subject);
    let (_, make) = known.ok_or_else(|| std::io::Error::other(format!("no subject {subject}")))?;
    let before = resident_bytes()?;
    let store = make(keys);
    // One by one: a list of numbers would be weighed, too.
    (0..keys).for_each(|number| store.put_all(&[number], keys));
    Ok(resident_bytes()?.saturating_sub(before))
}

fn resident_bytes() -> std::io::Result<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let resident = pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    Ok(resident.ok_or_else(|| std::io::Error::other("/proc/self/statm has no second number"))? * PAGE_BYTES)
}

/// Another process of this program. What it says.
fn child(keys: u64, words: &[&str]) -> String {
    let program = std::env::current_exe().expect("a running program has a file");
    let mut child = Command::new(program);
    child.args(words).args(["--keys", &keys.to_string()]).stderr(Stdio::inherit());
    let output = child.output().expect("a copy of this program starts");
    assert!(output.status.success(), "{words:?} failed in a process of its own");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const PAGE_BYTES: u64 = io_oi_shm::layout::PAGE_BYTES as u64;
/// More keys than this are too many bytes for all subjects at once.
const TOGETHER_KEYS_MAX: u64 = 1_000_000;
