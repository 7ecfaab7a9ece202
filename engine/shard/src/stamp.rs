//! The time that blocks are stamped with: by this node as a leader, and by the leaders that it follows.
//!
//! Invariant: stamps keep pace with the monotonic clock, whatever the wall clock does, so that no leap of it poisons the
//! chain for everybody else; and a wrong clock costs a true time, never the commits of those who have no other leader. [P-37]

use io_oi_record::{BlockHeader, Epoch, Nanos, NodeId};

use crate::config::Timers;
use crate::machine::Machine;

/// A clock that was far behind at boot is caught up with at one part in so many.
const STAMP_SLEW: u64 = 1_000;
/// No clock that counts from 1970 is further ahead of another one: such a stamp would leave the chain no time to go on.
const AHEAD_NS_MAX: u64 = 100 * 365 * 86_400 * 1_000_000_000;

/// How far the stamps of one member are ahead of our wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    /// When it was first refused for that, and last; zero for never.
    since: Nanos,
    at: Nanos,
    /// It has led on in spite of that: its stamps are taken as far ahead as this.
    taken_ns: u64,
}

impl Ahead {
    /// A header is so far ahead. Says whether it is refused. [P-37]
    fn refuses(&mut self, ahead_ns: u64, now: Nanos, timers: &Timers) -> bool {
        if ahead_ns <= self.taken_ns {
            return false;
        }
        let is_first =
            self.at == Nanos::ZERO || now.since(self.at) > PATIENCE_ROUNDS * timers.election_ns_max;
        if is_first {
            self.since = now;
        }
        self.at = now;
        let is_over = now.since(self.since) > PATIENCE_ROUNDS * timers.election_ns_max;
        if is_over && ahead_ns <= AHEAD_NS_MAX {
            self.taken_ns = ahead_ns.saturating_add(timers.clock_skew_ns_max);
            self.at = Nanos::ZERO;
            return false;
        }
        true
    }

    /// Whether it was refused so lately that it is not heard at all.
    fn is_deaf(&self, now: Nanos, timers: &Timers) -> bool {
        self.at > Nanos::ZERO && now.since(self.at) < timers.election_ns_max
    }
}

/// A leader whose stamps are ahead has this many elections' time to be replaced.
const PATIENCE_ROUNDS: u64 = 3;

impl Machine {
    /// The wall clock, as far as it keeps pace with the monotonic one: a leap would have the block refused. [P-37]
    pub(crate) fn stamp(&self) -> Nanos {
        let elapsed_ns = self.now.mono.since(self.started.mono);
        let slack_ns = elapsed_ns / STAMP_SLEW + self.timers.clock_skew_ns_max / 2;
        self.now.wall.min(self.started.wall.saturating_add(elapsed_ns).saturating_add(slack_ns))
    }

    /// Whether a leader's header is ahead of our clock by more than may be. A leader that stamps such headers is not heard
    /// at all, so that another may be elected; who leads in spite of that for three elections' time is followed with the
    /// clock that it has. [P-37]
    pub(crate) fn is_skewed(&mut self, from: NodeId, epoch: Epoch, header: &BlockHeader) -> bool {
        let ahead_ns = header.time.since(self.now.wall);
        if ahead_ns <= self.timers.clock_skew_ns_max {
            return false;
        }
        // One nanosecond past its parent is the least that a leader can stamp: the leap is somebody else's.
        let parent = self.consensus.chain().find(header.parent).map(|link| link.tip.time);
        let is_leap = parent.is_some_and(|parent| header.time > parent.saturating_add(1));
        let is_judged = is_leap && (epoch == header.epoch || ahead_ns > AHEAD_NS_MAX);
        let (now, timers) = (self.now.mono, self.timers);
        let Some(peer) = self.peers.find(from).filter(|_| is_judged) else { return false };
        let is_refused = peer.ahead.refuses(ahead_ns, now, &timers);
        self.counters.messages_refused += u64::from(is_refused);
        is_refused
    }

    /// Whether this leader is not heard for its clock's sake. [P-37]
    pub(crate) fn is_deaf_to(&mut self, leader: NodeId) -> bool {
        let (now, timers) = (self.now.mono, self.timers);
        self.peers.find(leader).is_some_and(|peer| peer.ahead.is_deaf(now, &timers))
    }
}
