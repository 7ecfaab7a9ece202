//! What nobody can beat: the hits of a cache that knows the future.
//!
//! Belady's rule (L. A. Belady, A study of replacement algorithms for a virtual-storage computer, IBM Systems
//! Journal 5, 1966), with the freedom not to keep what was just asked for: among the kept entries and the new one,
//! the one whose next request is farthest away goes.

use std::collections::{BinaryHeap, HashMap};

use super::traces::Trace;

/// The share of counted requests that a clairvoyant cache answers.
#[must_use]
pub fn clairvoyant(trace: &Trace) -> f64 {
    let next = next_requests(&trace.keys);
    // Kept keys, by their next request; an entry of the heap that does not say a key's true next request is stale.
    let mut kept: HashMap<u64, usize> = HashMap::new();
    let mut farthest: BinaryHeap<(usize, u64)> = BinaryHeap::new();
    let mut hits = 0;
    for (at, &key) in trace.keys.iter().enumerate() {
        hits += usize::from(kept.remove(&key).is_some() && at >= trace.counted_from);
        if next[at] == usize::MAX {
            continue;
        }
        kept.insert(key, next[at]);
        farthest.push((next[at], key));
        while kept.len() > trace.entries_max {
            let (request, other) = farthest.pop().expect("every kept key is in the heap");
            if kept.get(&other) == Some(&request) {
                kept.remove(&other);
            }
        }
    }
    hits as f64 / (trace.keys.len() - trace.counted_from) as f64
}

/// For every request, when its key is asked for again.
fn next_requests(keys: &[u64]) -> Vec<usize> {
    let mut soonest = HashMap::new();
    let mut next = vec![usize::MAX; keys.len()];
    for (at, key) in keys.iter().enumerate().rev() {
        if let Some(later) = soonest.insert(*key, at) {
            next[at] = later;
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::super::traces::cold;
    use super::*;

    #[test]
    fn a_loop_keeps_all_but_one() {
        // Three keys, room for two. A cache must let one of three go in every round: 1 2 3 1 2 3 ...
        let keys = (0..3_000).map(|number| number % 3).collect();
        let rate = clairvoyant(&cold("loop", keys, 2));
        assert!((rate - 2.0 / 3.0).abs() < 0.01, "{rate}");
    }

    #[test]
    fn what_never_comes_again_takes_no_room() {
        let rate = clairvoyant(&cold("scan", vec![1, 2, 3, 4, 5, 1], 1));
        assert!((rate - 1.0 / 6.0).abs() < 1e-9, "{rate}");
    }
}
