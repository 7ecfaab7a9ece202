//! Target `hot-read`: reads of the hot tier from another process than the writer's, for several working sets.
//!
//! | access | what it shows |
//! |---|---|
//! | serialized | the next key stands in the value just read: nothing overlaps; beside one dependent load |
//! | independent | keys known in advance: the processor overlaps the misses of several reads |
//! | independent, misses | keys of the same shape that are not there |
//!
//! Every table is made for its working set. Reads are timed in batches of 64, clock included; the table and the
//! pointer chase over as many bytes take turns, and the first reads of every turn only bring the caches back. All
//! answers of all hits are checked afterwards against a walk of the same keys.

use std::time::{Duration, Instant};

use crate::answers;
use crate::cli::{Bounds, Extent, HotRead, NodeOptions};
use crate::clock;
use crate::failure::Failure;
use crate::findings::Findings;
use crate::floors::load::{Chase, huge_page_bytes};
use crate::probe_keys::{KEY_BYTES, key_of};
use crate::recorder::Recorder;
use crate::report::Measured;
use crate::table::{Owner, Table, check_of};

/// Runs every working set.
pub(crate) fn measure(
    options: &HotRead,
    extent: &Extent,
    nodes: &NodeOptions,
    quiet: bool,
) -> Result<Findings, Failure> {
    let bounds = extent.bounds(RUN_LENGTH);
    let mut findings = Findings { payload_bytes: options.value_bytes.into(), ..Findings::default() };
    for keys in &options.keys {
        let mut owner = Owner::open(options, *keys, nodes, quiet)?;
        findings.nodes = owner.nodes();
        findings.shards = owner.shards();
        findings.idle = owner.idle();
        let process = owner.process();
        let mut subject = Subject::new(options, *keys, owner.order().to_vec())?;
        let table = owner.table();
        let runs = [
            subject.serialized(table, bounds),
            subject.independent(table, bounds, true),
            subject.independent(table, bounds, false),
        ];
        for run in runs {
            let run =
                run.with("keys", *keys).with("value_bytes", options.value_bytes).with("process", process);
            findings.runs.push(run.with("working_set_bytes", keys * bytes_per_key(options.value_bytes)));
        }
        owner.close()?;
    }
    Ok(findings)
}

/// What reads one table.
struct Subject {
    chase: Chase,
    value: Vec<u8>,
    keys: u64,
    /// The cycle in which values name the next key, by key number.
    order: Vec<u32>,
}

impl Subject {
    fn new(options: &HotRead, keys: u64, order: Vec<u32>) -> Result<Self, Failure> {
        let chase = Chase::over(keys * bytes_per_key(options.value_bytes));
        let chase =
            chase.map_err(|error| Failure::Child(format!("no memory for the load floor: {error}")))?;
        Ok(Self { chase, value: vec![0; options.value_bytes.into()], keys, order })
    }

    fn serialized(&mut self, table: &mut Table, bounds: Bounds) -> Measured {
        let mut key = key_of(u64::from(self.order[0]));
        let mut walk = Walk::default();
        let (recorder, floor) = self.take_turns(bounds, |subject| {
            let began = Instant::now();
            for _ in 0..READS_PER_SAMPLE {
                let found = table.get(&key, &mut subject.value);
                walk.misses += u64::from(found != Some(subject.value.len()));
                walk.hash = answers::fold(walk.hash, check_word(&subject.value));
                key.copy_from_slice(&subject.value[..KEY_BYTES]);
            }
            walk.steps += READS_PER_SAMPLE;
            (began, Instant::now())
        });
        let wrong = u64::from(walk.hash != self.expected(walk.steps)) + walk.misses;
        self.measured("serialized", true, recorder, floor).answers(walk.hash, wrong)
    }

    fn independent(&mut self, table: &mut Table, bounds: Bounds, hit: bool) -> Measured {
        // The numbers above all keys of the table are those of keys that are not there.
        let all = self.keys;
        let first = if hit { 0 } else { all };
        let count = all.clamp(KEYS_AHEAD_MIN, KEYS_AHEAD_MAX);
        let number = |at: u64| first + answers::scramble(at) % all;
        let keys: Vec<[u8; KEY_BYTES]> = (0..count).map(|at| key_of(number(at))).collect();
        let (mut at, mut steps, mut hash, mut wrong) = (0, 0_u64, 0, 0);
        let (recorder, floor) = self.take_turns(bounds, |subject| {
            if at + READS_PER_SAMPLE as usize > keys.len() {
                at = 0;
            }
            let batch = &keys[at..at + READS_PER_SAMPLE as usize];
            let began = Instant::now();
            for key in batch {
                let found = table.get(key, &mut subject.value);
                wrong += u64::from(found.is_some() != hit);
                hash = answers::fold(
                    hash,
                    if hit { check_word(&subject.value) } else { u64::from(found.is_some()) },
                );
            }
            let ended = Instant::now();
            at += READS_PER_SAMPLE as usize;
            steps += READS_PER_SAMPLE;
            (began, ended)
        });
        let per_round = count / READS_PER_SAMPLE * READS_PER_SAMPLE;
        let expected = (0..steps).fold(0, |hash, step| {
            answers::fold(hash, if hit { check_of(number(step % per_round)) } else { 0 })
        });
        self.measured("independent", hit, recorder, floor).answers(hash, wrong + u64::from(hash != expected))
    }

    /// Table and floor in turn; answers the samples of the table and the floor's median per load.
    fn take_turns(
        &mut self,
        bounds: Bounds,
        mut sample: impl FnMut(&mut Self) -> (Instant, Instant),
    ) -> (Recorder, f64) {
        let mut recorder = Recorder::of_batches();
        let mut floors = Vec::new();
        let piece = bounds.split(PIECES);
        let warm_up =
            (self.keys.min(WARM_UP_READS_MAX) / READS_PER_SAMPLE + 1).min(bounds.count.saturating_mul(4));
        for _ in 0..PIECES {
            for _ in 0..warm_up {
                self.chase.walk(READS_PER_SAMPLE as u32);
            }
            let began = Instant::now();
            let mut count = 0;
            while !piece.reached(began, Instant::now(), count) {
                floors.push(self.chase.walk(READS_PER_SAMPLE as u32) as f64 / READS_PER_SAMPLE as f64);
                count += 1;
            }
            for _ in 0..warm_up {
                sample(self);
            }
            let (began, mut count) = (Instant::now(), 0);
            while !piece.reached(began, Instant::now(), count) {
                let (from, to) = sample(self);
                recorder.record_batch(to, clock::ns_between(from, to), READS_PER_SAMPLE);
                count += 1;
            }
        }
        (recorder, clock::median(&mut floors))
    }

    fn measured(&self, access: &'static str, hit: bool, recorder: Recorder, floor: f64) -> Measured {
        let name = format!("{access}-{}-{}", if hit { "hit" } else { "miss" }, self.keys);
        let samples = recorder.finish();
        let p50 = samples.ns_at(0.5);
        Measured::new(name, 1, samples)
            .rate(if p50 > 0.0 { 1e9 / p50 } else { 0.0 })
            .bound("dependent_load_ns", floor)
            .with("access", access)
            .with("hit", hit)
            .with("reads_per_sample", READS_PER_SAMPLE)
            .with("huge_page_bytes", huge_page_bytes())
    }

    /// The hash of the values' check words along so many steps of the cycle.
    fn expected(&self, steps: u64) -> u64 {
        let cycle = self.order.iter().cycle().take(usize::try_from(steps).unwrap_or(usize::MAX));
        cycle.fold(0, |hash, number| answers::fold(hash, check_of(u64::from(*number))))
    }
}

#[derive(Default)]
struct Walk {
    steps: u64,
    hash: u64,
    misses: u64,
}

/// The word of a value that follows from its key's number.
#[inline]
fn check_word(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[24..32].try_into().expect("values have at least 32 bytes"))
}

/// A slot of two cache lines holds keys and values up to 88 bytes; larger values stand in a block beside it.
fn bytes_per_key(value_bytes: u16) -> u64 {
    let near = usize::from(value_bytes) + KEY_BYTES <= 88;
    128 + if near { 0 } else { u64::from(value_bytes).next_power_of_two() }
}

const RUN_LENGTH: Duration = Duration::from_secs(2);
const READS_PER_SAMPLE: u64 = 64;
const PIECES: u32 = 5;
/// Enough to bring a table of this many keys back into the caches, where it fits at all.
const WARM_UP_READS_MAX: u64 = 200_000;
/// Keys made in advance: they stream past at 16 bytes a read, and cover the table up to 4 million keys.
const KEYS_AHEAD_MIN: u64 = 4_096;
const KEYS_AHEAD_MAX: u64 = 4_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_stand_beside_their_slot() {
        assert_eq!((bytes_per_key(64), bytes_per_key(72), bytes_per_key(73)), (128, 128, 256));
    }
}
