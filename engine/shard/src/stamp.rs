//! The time that a leader's blocks are stamped with.
//!
//! Invariant: stamps keep pace with the monotonic clock, whatever the wall clock does, so that no leap of it poisons the
//! chain for everybody else. [P-37]

use io_oi_record::Nanos;

use crate::machine::Machine;

/// A clock that was far behind at boot is caught up with at one part in so many.
const STAMP_SLEW: u64 = 1_000;

impl Machine {
    /// The wall clock, as far as it keeps pace with the monotonic one: a leap would have the block refused. [P-37]
    pub(crate) fn stamp(&self) -> Nanos {
        let elapsed_ns = self.now.mono.since(self.started.mono);
        let slack_ns = elapsed_ns / STAMP_SLEW + self.timers.clock_skew_ns_max / 2;
        self.now.wall.min(self.started.wall.saturating_add(elapsed_ns).saturating_add(slack_ns))
    }
}
