//! What the log counts about itself.
//!
//! Invariant: counting allocates nothing and never fails.

use crate::Strategy;

/// Sub-buckets per power of two: a value is known to about 6 %.
const SUB_BUCKETS: u64 = 16;
const SUB_BUCKET_BITS: u32 = SUB_BUCKETS.trailing_zeros();
/// Powers of two above the linear part: up to 2^40 ns, some 18 minutes.
const BUCKETS: usize = (37 * SUB_BUCKETS) as usize;

/// A histogram of nanoseconds with buckets of fixed, exponentially growing width.
#[derive(Clone, Debug)]
pub struct FlushHistogram {
    counts: [u64; BUCKETS],
    count: u64,
    total_ns: u64,
    max_ns: u64,
}

impl Default for FlushHistogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], count: 0, total_ns: 0, max_ns: 0 }
    }
}

impl FlushHistogram {
    /// Counts one value.
    pub fn record(&mut self, ns: u64) {
        self.counts[bucket_of(ns)] += 1;
        self.count += 1;
        self.total_ns = self.total_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest value.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The mean, or 0 when nothing was counted.
    pub fn mean_ns(&self) -> u64 {
        self.total_ns.checked_div(self.count).unwrap_or(0)
    }

    /// The smallest value that at least `quantile` (0.0 to 1.0) of all values do not exceed, rounded up to its bucket's
    /// end; 0 when nothing was counted.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        let wanted = (quantile * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += count;
            if count > 0 && seen >= wanted {
                return bucket_end(bucket).min(self.max_ns);
            }
        }
        0
    }

    /// Every bucket that counted something: its inclusive upper end in nanoseconds and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(b, count)| (bucket_end(b), *count))
    }
}

fn bucket_of(ns: u64) -> usize {
    if ns < SUB_BUCKETS {
        return ns as usize;
    }
    let power = ns.ilog2() - SUB_BUCKET_BITS;
    let sub = (ns >> power) - SUB_BUCKETS;
    (((u64::from(power) + 1) * SUB_BUCKETS + sub) as usize).min(BUCKETS - 1)
}

fn bucket_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB_BUCKETS {
        return bucket;
    }
    let power = bucket / SUB_BUCKETS - 1;
    let sub = bucket % SUB_BUCKETS + SUB_BUCKETS;
    ((sub + 1) << power) - 1
}

/// What the log counted since it was opened.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Batches made durable.
    pub batches: u64,
    /// Frames made durable, the log's own marks included.
    pub frames: u64,
    /// Payload bytes made durable.
    pub payload_bytes: u64,
    /// Bytes written: payload, headers and padding.
    pub written_bytes: u64,
    /// Segments finished.
    pub segments_filled: u64,
    /// Attempts to prepare a segment that failed, for want of space or otherwise.
    pub prepare_failures: u64,
    /// From submitting a batch to knowing it durable.
    pub flush_ns: FlushHistogram,
    /// How durable writes are made.
    pub strategy: Strategy,
    /// Why they are made that way, with the figures.
    pub strategy_reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_never_wider_than_a_sixteenth_of_its_value() {
        for ns in (0..100_000u64).chain((17..40).map(|p| (1 << p) + 12345)) {
            let end = bucket_end(bucket_of(ns));
            assert!(end >= ns && end - ns <= ns / 16, "{ns} landed in a bucket that ends at {end}");
        }
    }

    #[test]
    fn quantiles_find_the_value_below_which_the_share_lies() {
        let mut histogram = FlushHistogram::default();
        for ns in 1..=1000 {
            histogram.record(ns * 1000);
        }
        let median = histogram.quantile_ns(0.5);
        assert!((500_000..=532_000).contains(&median), "{median}");
        assert_eq!(histogram.quantile_ns(1.0), 1_000_000);
        assert_eq!(histogram.count(), 1000);
        assert_eq!(histogram.mean_ns(), 500_500);
    }

    #[test]
    fn an_absurd_value_lands_in_the_last_bucket() {
        let mut histogram = FlushHistogram::default();
        histogram.record(u64::MAX);
        assert_eq!(histogram.max_ns(), u64::MAX);
        assert_eq!(histogram.buckets().count(), 1);
    }
}
