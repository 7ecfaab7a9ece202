//! The shard's time: read at most once per turn, and only by a turn that needs it.
//!
//! Invariant: the monotonic reading never goes back and alone decides when something is due; the wall's only stamps what
//! is written down. Both are the same during one turn.

use std::time::{SystemTime, UNIX_EPOCH};

use io_oi_record::{Nanos, Now};
use rustix::time::{ClockId, clock_gettime};

/// Both clocks, remembered for one turn.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    read: Option<Now>,
    /// Wall time less monotonic time; changes when the wall clock is set.
    offset_ns: u64,
    /// The monotonic time of the last comparison.
    compared_at: Nanos,
}

impl Clock {
    /// A new turn begins: the next look reads the system's clock again.
    pub(crate) fn turn(&mut self) {
        self.read = None;
    }

    /// Now, the same during one turn. One clock read; two once in a millisecond.
    pub(crate) fn now(&mut self) -> Now {
        match self.read {
            Some(now) => now,
            None => self.read(),
        }
    }

    fn read(&mut self) -> Now {
        let mono = mono_time();
        if self.compared_at == Nanos::ZERO || mono.since(self.compared_at) >= COMPARE_EVERY_NS {
            self.offset_ns = wall_time().get().wrapping_sub(mono.get());
            self.compared_at = mono;
        }
        let now = Now { wall: Nanos(mono.get().wrapping_add(self.offset_ns)), mono };
        self.read = Some(now);
        now
    }

    /// Whether this turn has looked already, so that another look costs nothing.
    pub(crate) fn is_read(&self) -> bool {
        self.read.is_some()
    }
}

/// Nanoseconds since the Unix epoch; 0 for a clock set before it.
pub(crate) fn wall_time() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Nanoseconds of `CLOCK_MONOTONIC`: the same in every process of this machine, so that a lease in shared memory can be
/// compared with it.
pub(crate) fn mono_time() -> Nanos {
    let time = clock_gettime(ClockId::Monotonic);
    Nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// Stamps may be wrong for this long after the wall clock was set.
const COMPARE_EVERY_NS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_sees_one_time_and_the_next_one_does_not_go_back() {
        let mut clock = Clock::default();
        assert!(!clock.is_read());
        let first = clock.now();
        assert!(clock.is_read() && clock.now() == first);
        let apart = first.wall.get().abs_diff(wall_time().get());
        assert!(apart < 60_000_000_000, "wall time is {apart} ns off");
        clock.turn();
        assert!(clock.now().mono >= first.mono);
    }
}
