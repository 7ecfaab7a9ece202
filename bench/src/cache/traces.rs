//! Key traces: who is asked for, in which order, by caches of which size.
//!
//! Invariant: a trace is a function of its name alone. Keys are scrambled numbers, so that neither order nor
//! neighbourhood of keys tells a subject anything.

use crate::scrambled;

/// One trace and the cache that is measured with it.
#[derive(Debug, Clone)]
pub struct Trace {
    /// As in the table.
    pub name: &'static str,
    /// The keys asked for.
    pub keys: Vec<u64>,
    /// Entries that the cache holds.
    pub entries_max: usize,
    /// Hits count from this request on; 0 for cold caches.
    pub counted_from: usize,
}

/// How long the traces are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Runs in a moment: for tests.
    Quick,
    /// For the table.
    Full,
}

/// Every invented trace. The recorded ones come from files.
#[must_use]
pub fn invented(size: Size) -> Vec<Trace> {
    let scale = match size {
        Size::Quick => 40,
        Size::Full => 1,
    };
    let keys = 100_000 / scale;
    let entries = 10_000 / scale;
    let requests = 2_000_000 / scale;
    vec![
        cold("cold zipf 0.9", zipf_of(0.9, keys, requests / 10, 1), entries),
        cold("cold zipf 1.0", zipf_of(1.0, 10 * keys, requests / 5, 2), 2 * entries),
        warm("zipf 0.7, 1 in 10", zipf_of(0.7, keys, requests, 3), entries),
        warm("zipf 0.7, 1 in 100", zipf_of(0.7, keys, requests, 4), entries / 10),
        warm("zipf 0.9, 1 in 10", zipf_of(0.9, keys, requests, 5), entries),
        warm("zipf 0.9, 1 in 100", zipf_of(0.9, keys, requests, 6), entries / 10),
        warm("zipf 1.0, 1 in 10", zipf_of(1.0, keys, requests, 7), entries),
        warm("zipf 1.0, 1 in 100", zipf_of(1.0, keys, requests, 8), entries / 10),
        warm("zipf 1.2, 1 in 10", zipf_of(1.2, keys, requests, 9), entries),
        warm("zipf 1.2, 1 in 100", zipf_of(1.2, keys, requests, 10), entries / 10),
        warm("scans over zipf 0.9", scans(keys, requests, entries, 11), entries / 2),
        warm("the same scan over zipf 1.0", scan_again(keys, requests, entries, 12), entries / 2),
        warm("loop of twice the cache", looped(entries, requests / 4), entries / 2),
        warm("loop a tenth too long", looped(entries * 11 / 20, requests / 4), entries / 2),
        cold("hot set that jumps", jumping(keys / 2, requests, requests / 20, 13), entries / 2),
        cold("hot set that drifts", drifting(keys, requests, 14), entries / 2),
        cold("recent keys again", recent(keys, requests, 15), entries / 2),
    ]
}

/// Hits count from the first request on.
#[must_use]
pub fn cold(name: &'static str, keys: Vec<u64>, entries_max: usize) -> Trace {
    Trace { name, keys, entries_max, counted_from: 0 }
}

/// Hits count in the second half.
fn warm(name: &'static str, keys: Vec<u64>, entries_max: usize) -> Trace {
    let counted_from = keys.len() / 2;
    Trace { name, keys, entries_max, counted_from }
}

/// Numbers without pattern: a counter, scrambled.
#[derive(Debug, Clone)]
pub struct Draws(u64);

impl Draws {
    /// A sequence of its own for each seed.
    #[must_use]
    pub const fn new(seed: u64) -> Draws {
        Draws(seed << 40)
    }

    /// The next number.
    pub const fn next_word(&mut self) -> u64 {
        self.0 += 1;
        scrambled(self.0)
    }

    /// The next number, at least 0 and below 1.
    pub fn next_share(&mut self) -> f64 {
        (self.next_word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The next number below `count`.
    pub const fn below(&mut self, count: u64) -> u64 {
        ((self.next_word() as u128 * count as u128) >> 64) as u64
    }
}

/// Draws ranks: rank r (from 0) with a chance proportional to 1 / (r + 1)^exponent.
#[derive(Debug, Clone)]
pub struct Zipf {
    /// Chance of this rank or one before it.
    sums: Vec<f64>,
}

impl Zipf {
    /// Over so many ranks.
    #[must_use]
    pub fn new(exponent: f64, ranks: usize) -> Zipf {
        let mut sum = 0.0;
        let mut sums: Vec<f64> = (1..=ranks)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        sums.iter_mut().for_each(|share| *share /= sum);
        Zipf { sums }
    }

    /// One rank.
    pub fn rank(&self, draws: &mut Draws) -> u64 {
        let share = draws.next_share();
        self.sums.partition_point(|&sum| sum <= share).min(self.sums.len() - 1) as u64
    }
}

fn zipf_of(exponent: f64, keys: usize, requests: usize, seed: u64) -> Vec<u64> {
    let (zipf, mut draws) = (Zipf::new(exponent, keys), Draws::new(seed));
    (0..requests).map(|_| scrambled(zipf.rank(&mut draws))).collect()
}

/// Every so often somebody reads twice the cache, each key once and never again.
fn scans(keys: usize, requests: usize, scan: usize, seed: u64) -> Vec<u64> {
    let (zipf, mut draws) = (Zipf::new(0.9, keys), Draws::new(seed));
    let mut once = keys as u64;
    let mut trace = Vec::with_capacity(requests);
    while trace.len() < requests {
        trace.extend((0..4 * scan).map(|_| scrambled(zipf.rank(&mut draws))));
        trace.extend((0..scan).map(|_| {
            once += 1;
            scrambled(once)
        }));
    }
    trace
}

/// The same keys are scanned again and again, mixed one to one into the others while that lasts.
fn scan_again(keys: usize, requests: usize, scan: usize, seed: u64) -> Vec<u64> {
    let (zipf, mut draws) = (Zipf::new(1.0, keys), Draws::new(seed));
    let mut trace = Vec::with_capacity(requests);
    while trace.len() < requests {
        trace.extend((0..5 * scan).map(|_| scrambled(zipf.rank(&mut draws))));
        for number in 0..scan {
            trace.push(scrambled((keys + number) as u64));
            trace.push(scrambled(zipf.rank(&mut draws)));
        }
    }
    trace
}

fn looped(keys: usize, requests: usize) -> Vec<u64> {
    (0..requests).map(|number| scrambled((number % keys) as u64)).collect()
}

/// Who is hot changes all at once, every `period` requests.
fn jumping(keys: usize, requests: usize, period: usize, seed: u64) -> Vec<u64> {
    let (zipf, mut draws) = (Zipf::new(1.0, keys), Draws::new(seed));
    (0..requests)
        .map(|number| {
            let era = (number / period) as u64;
            // An odd factor and a sum move every rank to another key, each era anew.
            let key = (zipf.rank(&mut draws) + scrambled(era)) % keys as u64;
            scrambled(key)
        })
        .collect()
}

/// Who is hot changes a little with every request: a rank is another key twenty requests later.
fn drifting(keys: usize, requests: usize, seed: u64) -> Vec<u64> {
    let (zipf, mut draws) = (Zipf::new(0.9, keys), Draws::new(seed));
    (0..requests).map(|number| scrambled(zipf.rank(&mut draws) + number as u64 / 20)).collect()
}

/// Mostly a key that was asked for lately, the sooner the likelier, or else a new one: recency is all there is.
fn recent(keys: usize, requests: usize, seed: u64) -> Vec<u64> {
    let (back, mut draws) = (Zipf::new(0.8, keys / 4), Draws::new(seed));
    let mut trace: Vec<u64> = Vec::with_capacity(requests);
    let mut fresh = 0;
    for number in 0..requests {
        let steps = back.rank(&mut draws) as usize + 1;
        if draws.below(5) == 0 || steps > number {
            fresh += 1;
            trace.push(scrambled(fresh));
        } else {
            trace.push(trace[number - steps]);
        }
    }
    trace
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_the_same_every_time() {
        for (left, right) in invented(Size::Quick).into_iter().zip(invented(Size::Quick)) {
            assert_eq!(left.keys, right.keys, "{}", left.name);
            assert!(left.counted_from < left.keys.len() && left.entries_max > 0, "{}", left.name);
        }
    }

    #[test]
    fn low_ranks_are_drawn_as_often_as_they_should_be() {
        let (zipf, mut draws) = (Zipf::new(1.0, 1_000), Draws::new(1));
        let first = (0..100_000).filter(|_| zipf.rank(&mut draws) == 0).count();
        // One over the thousandth harmonic number: 13.36 %.
        assert!((13_000..13_720).contains(&first), "{first}");
    }
}
