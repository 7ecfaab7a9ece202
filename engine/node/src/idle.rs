//! What a shard does when there is nothing to do, and where it runs.
//!
//! Measured on two cores: a pure spinner that shares its core loses it for a scheduler tick (4 ms) at a time and
//! starves the kernel's flush worker likewise; `sched_yield` on each empty poll (240 ns) brings a quorum of three
//! processes from 4 ms to 7 µs; waking a parked thread takes 25-30 µs.

use std::time::{Duration, Instant};

use crate::config::{Config, IdleSetting};

/// How a shard passes the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Poll without a pause.
    Spin,
    /// Poll, and give the core away between two polls.
    Yield,
    /// Like `Yield`, and sleep after this long without work.
    Park {
        /// Idle time before sleeping.
        after: Duration,
    },
}

/// Strategy and core of every shard of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The same for all shards.
    pub(crate) idle: Idle,
    /// One per shard, or none: the scheduler decides.
    pub(crate) cores: Vec<usize>,
}

impl Idle {
    /// As in configuration and reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Idle::Spin => "spin",
            Idle::Yield => "yield",
            Idle::Park { .. } => "park",
        }
    }
}

impl Placement {
    /// What these settings come to on this machine.
    pub(crate) fn of(config: &Config, shards: usize) -> Self {
        let available: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
        let park_after = Duration::from_micros(config.park_after_us);
        Self::choose(config.idle, park_after, config.cores.as_deref(), &available, shards)
    }

    /// Pins only where every shard gets a core and one is left for everybody else, or where the operator says so.
    pub(crate) fn choose(
        setting: IdleSetting,
        park_after: Duration,
        configured: Option<&[usize]>,
        available: &[usize],
        shards: usize,
    ) -> Self {
        let plenty = available.len() > shards + 1;
        let cores = match configured {
            Some(cores) => cores[..shards].to_vec(),
            // The first core takes most interrupts and housekeeping.
            None if plenty => available[1..=shards].to_vec(),
            None => Vec::new(),
        };
        let idle = match setting {
            IdleSetting::Spin => Idle::Spin,
            IdleSetting::Yield => Idle::Yield,
            IdleSetting::Auto if plenty => Idle::Spin,
            IdleSetting::Auto | IdleSetting::Park => Idle::Park { after: park_after },
        };
        Self { idle, cores }
    }
}

/// What to do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Take the next turn at once.
    None,
    /// Give the core away once.
    Yield,
    /// Sleep until somebody rings.
    Park,
}

/// Counts idle turns and turns them into pauses.
#[derive(Debug)]
pub(crate) struct Idler {
    idle: Idle,
    idle_turns: u32,
    idle_since: Option<Instant>,
}

impl Idler {
    pub(crate) fn new(idle: Idle) -> Self {
        Self { idle, idle_turns: 0, idle_since: None }
    }

    /// The pause that follows a turn. Reads the clock on one idle turn in [`LOOK_EVERY_TURNS`].
    pub(crate) fn pause_after(&mut self, worked: bool) -> Pause {
        if worked {
            self.idle_turns = 0;
            self.idle_since = None;
            return Pause::None;
        }
        self.idle_turns = self.idle_turns.wrapping_add(1);
        match self.idle {
            Idle::Spin => Pause::None,
            Idle::Yield => Pause::Yield,
            Idle::Park { after } => {
                let is_enough = self.is_time_to_look() && self.idle_for(Instant::now()) >= after;
                if is_enough { Pause::Park } else { Pause::Yield }
            }
        }
    }

    /// Once in a while also an idle shard looks at the clock (heartbeat, timer, parking).
    pub(crate) fn is_time_to_look(&self) -> bool {
        self.idle_turns.is_multiple_of(LOOK_EVERY_TURNS)
    }

    /// After a wake-up without work the shard parks again soon, not after the whole waiting time.
    pub(crate) fn woke_for_nothing(&mut self) {
        self.idle_turns = LOOK_EVERY_TURNS - 2;
    }

    fn idle_for(&mut self, now: Instant) -> Duration {
        now.duration_since(*self.idle_since.get_or_insert(now))
    }
}

/// A clock read costs 20 ns, a yielding turn about 300 ns: one look in 16 turns is noise and late by 5 µs at most.
const LOOK_EVERY_TURNS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_millis(1);

    #[test]
    fn a_small_machine_parks_and_leaves_placement_to_the_scheduler() {
        let placement = Placement::choose(IdleSetting::Auto, AFTER, None, &[0, 1], 1);
        assert_eq!(placement, Placement { idle: Idle::Park { after: AFTER }, cores: vec![] });
    }

    #[test]
    fn a_large_machine_spins_on_cores_of_its_own() {
        let placement = Placement::choose(IdleSetting::Auto, AFTER, None, &[0, 1, 2, 3], 2);
        assert_eq!(placement, Placement { idle: Idle::Spin, cores: vec![1, 2] });
    }

    #[test]
    fn the_operator_decides_over_both() {
        let placement = Placement::choose(IdleSetting::Yield, AFTER, Some(&[1, 0]), &[0, 1], 2);
        assert_eq!(placement, Placement { idle: Idle::Yield, cores: vec![1, 0] });
        let placement = Placement::choose(IdleSetting::Park, AFTER, None, &[0, 1, 2, 3], 1);
        assert_eq!(placement.idle, Idle::Park { after: AFTER });
    }

    #[test]
    fn parking_waits_for_the_idle_time_and_work_resets_it() {
        let mut idler = Idler::new(Idle::Park { after: Duration::ZERO });
        let pauses: Vec<Pause> = (0..LOOK_EVERY_TURNS).map(|_| idler.pause_after(false)).collect();
        assert!(pauses[..15].iter().all(|pause| *pause == Pause::Yield));
        assert_eq!(pauses[15], Pause::Park);
        assert_eq!(idler.pause_after(true), Pause::None);
        assert_eq!(idler.pause_after(false), Pause::Yield);
        let mut idler = Idler::new(Idle::Park { after: Duration::from_secs(3600) });
        assert!((0..1000).all(|_| idler.pause_after(false) == Pause::Yield));
    }

    #[test]
    fn a_wake_up_for_nothing_parks_again_on_the_next_look() {
        let mut idler = Idler::new(Idle::Park { after: Duration::ZERO });
        while idler.pause_after(false) != Pause::Park {}
        idler.woke_for_nothing();
        assert_eq!(idler.pause_after(false), Pause::Yield);
        assert_eq!(idler.pause_after(false), Pause::Park);
    }
}
