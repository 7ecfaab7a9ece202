//! Target `hiccup`: for how long does the host stop a thread that never sleeps?
//!
//! A sample is the longest gap between two looks at the clock inside one window of 100 µs; a stop that covers
//! several windows counts in each of them (record of the corrected pause), so the percentiles are shares of time.

use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::clock;
use crate::recorder::{Recorder, Samples};
use crate::report::Measured;

/// Watches every core for this long, all at the same time; one run per core.
pub(crate) fn measure(length: Duration) -> Vec<Measured> {
    let cores = allowed_cores();
    let clock_ns = clock::cost_ns();
    let watches: Vec<_> =
        cores.into_iter().map(|core| (core, thread::spawn(move || (pin(core), watch(length))))).collect();
    watches
        .into_iter()
        .map(|(core, watch)| {
            let (pinned, samples) = watch.join().expect("a watch only reads the clock");
            let windows = samples.length_ns() as f64 / WINDOW_NS as f64;
            Measured::new(format!("core-{core}"), 1, samples)
                .with("core", core)
                .with("pinned", pinned)
                .with("windows", windows.round() as u64)
                .bound("clock_ns", clock_ns)
        })
        .collect()
}

/// The 99.9th percentile of a short watch on whatever core this thread has: the figure beside every other target.
pub(crate) fn glance() -> f64 {
    watch(GLANCE).ns_at(0.999)
}

fn watch(length: Duration) -> Samples {
    let mut recorder = Recorder::of_ns();
    let began = Instant::now();
    let (mut window_began, mut last, mut longest_ns) = (began, began, 0);
    while last.duration_since(began) < length {
        let now = Instant::now();
        longest_ns = longest_ns.max(clock::ns_between(last, now));
        last = now;
        if clock::ns_between(window_began, now) >= WINDOW_NS {
            recorder.record_pause(now, longest_ns, WINDOW_NS);
            // The recording itself is no hiccup of the host.
            last = Instant::now();
            (window_began, longest_ns) = (last, 0);
        }
    }
    recorder.finish()
}

/// The CPUs this process may use.
fn allowed_cores() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

fn pin(core: usize) -> bool {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).is_ok()
}

/// Long against a clock read, short against a scheduler tick.
const WINDOW_NS: u64 = 100_000;
/// 2,000 windows: two of them decide the 99.9th percentile.
const GLANCE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allowed_core_is_watched() {
        let runs = measure(Duration::from_millis(20));
        assert_eq!(runs.len(), allowed_cores().len());
        assert!(runs.iter().all(|run| run.run.count > 0));
    }
}
