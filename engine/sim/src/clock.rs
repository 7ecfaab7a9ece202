//! The clocks of one node: a monotonic one that drifts, and a wall clock that somebody may set.
//!
//! Invariant: the monotonic clock of one boot never goes back, whatever happens to the wall clock.

use io_oi_record::{Nanos, Now};

/// When the invented world begins, by its own calendar.
const WALL_START_NS: u64 = 1_800_000_000_000_000_000;
const MILLION: i128 = 1_000_000;

/// Both clocks of a node.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    drift_ppm: i64,
    wall_offset_ns: i64,
    mono_start_ns: u64,
    started_at: u64,
}

impl Clock {
    /// Clocks that run this much too fast (or slow), with the wall clock this far off.
    pub(crate) fn new(drift_ppm: i64, wall_offset_ns: i64) -> Self {
        Self { drift_ppm, wall_offset_ns, mono_start_ns: 1_000_000_000, started_at: 0 }
    }

    /// The machine was switched on: its monotonic clock starts anew.
    pub(crate) fn power_on(&mut self, time: u64, mono_start_ns: u64) {
        (self.started_at, self.mono_start_ns) = (time, mono_start_ns);
    }

    /// Somebody sets the wall clock.
    pub(crate) fn jump(&mut self, by_ns: i64) {
        self.wall_offset_ns += by_ns;
    }

    /// The wall clock is right again.
    pub(crate) fn mend(&mut self) {
        self.wall_offset_ns = 0;
    }

    /// What both show at a moment of the world's own time.
    pub(crate) fn at(&self, time: u64) -> Now {
        let passed = self.passed(time);
        let wall = (WALL_START_NS + time).saturating_add_signed(self.wall_offset_ns);
        Now { wall: Nanos(wall), mono: Nanos(self.mono_start_ns + passed) }
    }

    /// The moment of the world's own time at which the monotonic clock shows this, or a little later.
    pub(crate) fn time_of(&self, mono: Nanos) -> u64 {
        let passed = mono.0.saturating_sub(self.mono_start_ns);
        let time = i128::from(passed) * MILLION / (MILLION + i128::from(self.drift_ppm));
        self.started_at + time as u64 + 1
    }

    fn passed(&self, time: u64) -> u64 {
        let passed = i128::from(time - self.started_at);
        (passed * (MILLION + i128::from(self.drift_ppm)) / MILLION) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_set_by_a_drifting_clock_is_due_when_the_clock_says_so() {
        for drift in [-200, 0, 200] {
            let mut clock = Clock::new(drift, 0);
            clock.power_on(500, 77);
            for time in [500, 12_345, 9_999_999_999] {
                let mono = clock.at(time).mono;
                let due = clock.time_of(mono);
                assert!(clock.at(due).mono >= mono && due <= time + 2, "{drift} {time} {due}");
            }
        }
    }

    #[test]
    fn setting_the_wall_clock_leaves_the_monotonic_one_alone() {
        let mut clock = Clock::new(100, 5);
        let before = clock.at(1000);
        clock.jump(-3_600_000_000_000);
        let after = clock.at(1000);
        assert_eq!(before.mono, after.mono);
        assert_eq!(before.wall.0 - after.wall.0, 3_600_000_000_000);
    }
}
