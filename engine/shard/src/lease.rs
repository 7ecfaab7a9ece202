//! The leader's heartbeats, and what their acknowledgements allow it: reads without a round trip.
//!
//! Invariant: a voter grants nobody an epoch within `election_ns_min` of hearing the leader, so for that long after a
//! heartbeat was *sent* that a quorum has heard, there is no other leader. Only the monotonic clock counts. [P-110]

use alloc::collections::VecDeque;

use io_oi_record::limits::MEMBERS_MAX;
use io_oi_record::{Nanos, Round};

use crate::machine::Machine;
use crate::status::Role;

/// Heartbeats whose acknowledgement still says something.
const ROUNDS_KEPT: usize = 256;

/// The heartbeats of one epoch of ours.
pub(crate) struct Rounds {
    newest: Round,
    /// When each of the newest was sent, oldest first.
    sent: VecDeque<(Round, Nanos)>,
    /// Acknowledgements of this heartbeat and earlier ones allow nothing: the lease was given up after it. [P-111]
    pub(crate) void_through: Round,
}

impl Rounds {
    pub(crate) fn new() -> Self {
        Self { newest: Round::NONE, sent: VecDeque::with_capacity(ROUNDS_KEPT), void_through: Round::NONE }
    }

    pub(crate) fn begin_epoch(&mut self) {
        self.newest = Round::NONE;
        self.void_through = Round::NONE;
        self.sent.clear();
    }

    /// The next heartbeat, sent at `now` or later.
    pub(crate) fn next(&mut self, now: Nanos) -> Round {
        self.newest = self.newest.next();
        if self.sent.len() == ROUNDS_KEPT {
            self.sent.pop_front();
        }
        self.sent.push_back((self.newest, now));
        self.newest
    }

    pub(crate) fn newest(&self) -> Round {
        self.newest
    }

    /// When `round` was sent.
    fn sent_at(&self, round: Round) -> Option<Nanos> {
        let place = self.sent.binary_search_by_key(&round, |(round, _)| *round).ok()?;
        self.sent.get(place).map(|(_, at)| *at)
    }
}

impl Machine {
    /// A follower has heard our heartbeat `round`.
    pub(crate) fn note_round(&mut self, from: io_oi_record::NodeId, round: Round) {
        let Some(sent_at) = self.rounds.sent_at(round) else { return };
        let Some(peer) = self.peers.find(from) else { return };
        if round > peer.confirmed_round {
            (peer.confirmed_round, peer.confirmed_at) = (round, sent_at);
        }
    }

    /// The newest moment at which a quorum, this node included, was heard to follow; zero for never in this epoch.
    pub(crate) fn quorum_heard_at(&self, void_through: Round) -> Nanos {
        let mut heard = [Nanos::ZERO; MEMBERS_MAX];
        let voters = self.peers.all.iter().filter(|peer| peer.voter.is_some() && !self.is_barred(peer.node));
        let confirmed = voters.filter(|peer| peer.confirmed_round > void_through);
        let mut count = 0;
        if self.consensus.own().is_some() {
            heard[0] = self.now.mono;
            count = 1;
        }
        for peer in confirmed.take(MEMBERS_MAX - 1) {
            heard[count] = peer.confirmed_at;
            count += 1;
        }
        heard.sort_unstable_by(|left, right| right.cmp(left));
        heard[self.consensus.members().quorum_size() - 1]
    }

    /// Until when (on the monotonic clock) a read of this node's committed state is linearizable; zero for not at all.
    /// A leader has a lease once it has committed in its own epoch. [P-110]
    pub fn lease_until(&self) -> Nanos {
        let may_read = self.has_committed_in_epoch() || planted!(self, LeaseBeforeCommit);
        let leads = self.role() == Role::Leading && may_read && self.handing.is_none();
        if !leads {
            return Nanos::ZERO;
        }
        let heard_at = self.quorum_heard_at(self.rounds.void_through);
        if planted!(self, LeaseWithoutQuorum) {
            return self.now.mono.saturating_add(self.timers.election_ns_min);
        }
        if heard_at == Nanos::ZERO {
            return Nanos::ZERO;
        }
        let timers = &self.timers;
        if planted!(self, LeaseTooLong) {
            return heard_at.saturating_add(20 * timers.election_ns_max);
        }
        let drift_ns = timers.election_ns_min / 1_000_000 * timers.drift_ppm * 2 + 1;
        heard_at.saturating_add(timers.election_ns_min.saturating_sub(drift_ns))
    }

    /// Whether everything that earlier leaders committed is known here to be committed. [P-52]
    pub(crate) fn has_committed_in_epoch(&self) -> bool {
        self.consensus.committed() >= self.epoch_first && !self.epoch_first.is_none()
    }
}
