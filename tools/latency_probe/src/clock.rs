//! Time as the probe sees it: nanoseconds since its own start, and what asking costs.

use std::time::{Duration, Instant};

/// Nanoseconds between two moments, saturating.
pub(crate) fn ns_between(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds of a duration, saturating.
pub(crate) fn ns_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `CLOCK_MONOTONIC` in nanoseconds: one clock for every process of a host.
pub(crate) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What one `Instant::now` costs, nanoseconds: the median over batches of 1,000 calls.
pub(crate) fn cost_ns() -> f64 {
    let mut batches: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..CALLS {
                std::hint::black_box(Instant::now());
            }
            started.elapsed().as_nanos() as f64 / f64::from(CALLS)
        })
        .collect();
    median(&mut batches)
}

/// The middle of some figures; 0 for none.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => 0.0,
        n if n % 2 == 1 => figures[n / 2],
        n => (figures[n / 2 - 1] + figures[n / 2]) / 2.0,
    }
}

/// The 99th percentile of some figures; 0 for none.
pub(crate) fn p99(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    let place = (figures.len() as f64 * 0.99).ceil() as usize;
    figures.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

const BATCHES: u32 = 15;
const CALLS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&mut []), 0.0);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_clock_of_two_threads_is_one() {
        let before = monotonic_ns();
        let between = std::thread::spawn(monotonic_ns).join().expect("the thread ran");
        assert!(before <= between && between <= monotonic_ns());
    }
}
