//! Which entries should stay: key traces, the bound that no policy beats, and the policies that were tried.
//!
//! Invariant: every subject answers the same requests in the same order and holds at most the same number of entries.

pub mod bound;
pub mod candidates;
#[cfg(feature = "cache_rivals")]
pub mod chase;
#[cfg(feature = "cache_rivals")]
pub mod market;
pub mod own;
#[cfg(feature = "cache_rivals")]
pub mod picture;
#[cfg(feature = "cache_rivals")]
pub mod rivals;
#[cfg(feature = "cache_rivals")]
pub mod speed;
#[cfg(feature = "cache_rivals")]
pub mod stores;
pub mod traces;

use traces::Trace;

/// A cache of keys that is asked, and that takes in what it did not have.
pub trait Subject {
    /// As in the table.
    fn name(&self) -> &'static str;

    /// Asks for a key, and offers it when it was absent. Whether it was there.
    fn request(&mut self, key: u64) -> bool;
}

/// The share of counted requests that a subject answers.
pub fn hit_rate(trace: &Trace, subject: &mut dyn Subject) -> f64 {
    let mut hits = 0_usize;
    for (at, &key) in trace.keys.iter().enumerate() {
        let is_hit = subject.request(key);
        hits += usize::from(is_hit && at >= trace.counted_from);
    }
    hits as f64 / (trace.keys.len() - trace.counted_from) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use traces::{Size, invented};

    #[test]
    fn nobody_beats_the_bound_and_the_policy_that_ships_is_near_the_best_candidate() {
        for trace in invented(Size::Quick) {
            let bound = bound::clairvoyant(&trace);
            let own = hit_rate(&trace, &mut own::IoOi::new(trace.entries_max));
            let mut best = 0.0_f64;
            for mut candidate in candidates::all(trace.entries_max) {
                let rate = hit_rate(&trace, &mut *candidate);
                assert!(rate <= bound, "{} on {}", candidate.name(), trace.name);
                best = best.max(rate);
            }
            assert!(own <= bound, "{}", trace.name);
            // Caches of 25 to 500 entries: too small for a sample of the keys to tell half-lives apart well.
            assert!(own > best - 0.08, "{}: {own:.4} beside {best:.4}", trace.name);
        }
    }

    #[test]
    fn candidates_hold_no_more_than_they_were_made_for() {
        for trace in invented(Size::Quick) {
            for mut candidate in candidates::all(10) {
                // Eleven keys in turn: who answers eleven in a row holds more than ten.
                for key in (0..11_000).map(|number| trace.keys[number % 11]) {
                    candidate.request(key);
                }
                let distinct: std::collections::HashSet<u64> = trace.keys[..11].iter().copied().collect();
                let hits = distinct.iter().filter(|&&key| candidate.request(key)).count();
                assert!(distinct.len() <= 10 || hits <= 10, "{} on {}", candidate.name(), trace.name);
            }
        }
    }
}
