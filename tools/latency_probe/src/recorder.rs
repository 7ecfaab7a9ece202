//! Latencies of one run: the whole histogram, and one per second for the interval log.
//!
//! Invariant: every sample given is in the whole histogram and in exactly one interval; nothing is trimmed.

use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;

use crate::clock;

/// Collects the samples of one run.
pub(crate) struct Recorder {
    /// Samples are kept in this many parts of a nanosecond: 1, or 1,000 for figures of a few nanoseconds.
    parts_per_ns: u64,
    whole: Histogram<u64>,
    intervals: Vec<Interval>,
    filling: Histogram<u64>,
    interval_began: Instant,
    began: Instant,
    began_at: SystemTime,
}

/// One line of an interval log.
pub(crate) struct Interval {
    /// Since the run began.
    pub start: Duration,
    /// How long it lasted.
    pub length: Duration,
    /// Its samples, in nanoseconds.
    pub samples: Histogram<u64>,
}

/// The samples of a finished run.
pub(crate) struct Samples {
    parts_per_ns: u64,
    whole: Histogram<u64>,
    intervals: Vec<Interval>,
    began_at: SystemTime,
    length: Duration,
}

impl Recorder {
    /// For figures of a microsecond and more: whole nanoseconds.
    pub(crate) fn of_ns() -> Self {
        Self::new(1)
    }

    /// For figures of a few nanoseconds, each sample the mean of a timed batch: picoseconds.
    pub(crate) fn of_batches() -> Self {
        Self::new(1_000)
    }

    fn new(parts_per_ns: u64) -> Self {
        let now = Instant::now();
        Self {
            parts_per_ns,
            whole: new_histogram(),
            intervals: Vec::new(),
            filling: new_histogram(),
            interval_began: now,
            began: now,
            began_at: SystemTime::now(),
        }
    }

    /// One sample of whole nanoseconds, taken now.
    pub(crate) fn record_ns(&mut self, now: Instant, ns: u64) {
        self.record(now, ns.saturating_mul(self.parts_per_ns), ns);
    }

    /// One timed batch: the mean of its operations is the sample.
    pub(crate) fn record_batch(&mut self, now: Instant, batch_ns: u64, operations: u64) {
        let parts = u128::from(batch_ns) * u128::from(self.parts_per_ns) / u128::from(operations.max(1));
        let parts = u64::try_from(parts).unwrap_or(u64::MAX);
        self.record(now, parts, (parts + self.parts_per_ns / 2) / self.parts_per_ns);
    }

    /// One sample that covers several expected ones (a pause): the ones it swallowed are recorded too.
    pub(crate) fn record_pause(&mut self, now: Instant, ns: u64, expected_every_ns: u64) {
        self.roll(now);
        let parts = ns.saturating_mul(self.parts_per_ns);
        self.add(parts, ns);
        let mut rest = ns.saturating_sub(expected_every_ns);
        while rest >= expected_every_ns && expected_every_ns > 0 {
            self.add(rest.saturating_mul(self.parts_per_ns), rest);
            rest -= expected_every_ns;
        }
    }

    fn record(&mut self, now: Instant, parts: u64, ns: u64) {
        self.roll(now);
        self.add(parts, ns);
    }

    fn add(&mut self, parts: u64, ns: u64) {
        let most = NS_MAX * self.parts_per_ns;
        self.whole.record(parts.min(most)).expect("a histogram grows to an hour");
        self.filling.record(ns.min(NS_MAX)).expect("a histogram grows to an hour");
    }

    fn roll(&mut self, now: Instant) {
        let length = now.saturating_duration_since(self.interval_began);
        if length >= INTERVAL {
            let samples = std::mem::replace(&mut self.filling, new_histogram());
            let start = self.interval_began.saturating_duration_since(self.began);
            self.intervals.push(Interval { start, length, samples });
            self.interval_began = now;
        }
    }

    /// Samples so far.
    pub(crate) fn count(&self) -> u64 {
        self.whole.len()
    }

    /// Ends the run.
    pub(crate) fn finish(mut self) -> Samples {
        let now = Instant::now();
        let length = now.saturating_duration_since(self.began);
        if !self.filling.is_empty() {
            let start = self.interval_began.saturating_duration_since(self.began);
            self.intervals.push(Interval { start, length: now - self.interval_began, samples: self.filling });
        }
        Samples {
            parts_per_ns: self.parts_per_ns,
            whole: self.whole,
            intervals: self.intervals,
            began_at: self.began_at,
            length,
        }
    }
}

impl Samples {
    /// The value below which this share of the samples lies, nanoseconds.
    pub(crate) fn ns_at(&self, quantile: f64) -> f64 {
        self.scaled(self.whole.value_at_quantile(quantile))
    }

    /// The smallest sample, nanoseconds.
    pub(crate) fn min_ns(&self) -> f64 {
        if self.whole.is_empty() { 0.0 } else { self.scaled(self.whole.min()) }
    }

    /// The largest sample, nanoseconds.
    pub(crate) fn max_ns(&self) -> f64 {
        self.scaled(self.whole.max())
    }

    /// How many samples.
    pub(crate) fn count(&self) -> u64 {
        self.whole.len()
    }

    /// The whole histogram, in parts of a nanosecond.
    pub(crate) fn whole(&self) -> &Histogram<u64> {
        &self.whole
    }

    /// How many parts of `whole` make one nanosecond.
    pub(crate) fn parts_per_ns(&self) -> u64 {
        self.parts_per_ns
    }

    /// The run, second by second.
    pub(crate) fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// When the run began.
    pub(crate) fn began_at(&self) -> SystemTime {
        self.began_at
    }

    /// How long it lasted, nanoseconds.
    pub(crate) fn length_ns(&self) -> u64 {
        clock::ns_of(self.length)
    }

    fn scaled(&self, parts: u64) -> f64 {
        parts as f64 / self.parts_per_ns as f64
    }
}

/// Three significant digits, growing as needed: a minute of nanoseconds or picoseconds costs a few hundred KiB.
fn new_histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three significant digits are allowed")
}

/// An hour: nothing that a probe waits for takes longer.
const NS_MAX: u64 = 3_600_000_000_000;
/// One line of an interval log, like the standard tools write.
const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_recorded_as_the_mean_of_its_operations() {
        let mut recorder = Recorder::of_batches();
        recorder.record_batch(Instant::now(), 1_000, 64);
        let samples = recorder.finish();
        assert!((samples.ns_at(0.5) - 15.625).abs() < 0.02, "{}", samples.ns_at(0.5));
    }

    #[test]
    fn a_pause_counts_for_every_sample_it_swallowed() {
        let mut recorder = Recorder::of_ns();
        recorder.record_pause(Instant::now(), 1_000_000, 100_000);
        assert_eq!(recorder.count(), 10);
    }

    #[test]
    fn every_sample_stands_in_exactly_one_interval() {
        let mut recorder = Recorder::of_ns();
        let began = Instant::now();
        for step in 0..50 {
            recorder.record_ns(began + Duration::from_millis(step * 100), step + 1);
        }
        let samples = recorder.finish();
        assert_eq!(samples.count(), 50);
        assert!(samples.intervals().len() >= 4);
        assert_eq!(samples.intervals().iter().map(|interval| interval.samples.len()).sum::<u64>(), 50);
    }
}
