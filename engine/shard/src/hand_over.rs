//! A leader gives its place away on purpose.
//!
//! Invariant: the old leader has given up its lease before the new one may be granted anything, and whoever grants on the
//! strength of a hand-over has heard nothing of the old leader since. [P-111, P-112]

use io_oi_record::message::{HandOver, Message};
use io_oi_record::{Nanos, NodeId, Round};

use crate::event::Lane;
use crate::machine::Machine;
use crate::peers::To;
use crate::status::Role;

/// A hand-over under way: nothing is sequenced meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handing {
    to: NodeId,
    /// The leader goes on then if nothing has happened.
    pub(crate) until: Nanos,
    pub(crate) is_sent: bool,
}

impl Machine {
    /// Hands the lead over to `to`, once it holds everything; goes on after the deadline. [P-112]
    pub(crate) fn begin_hand_over(&mut self, to: NodeId) {
        if self.role() != Role::Leading || self.handing.is_some() || to == self.own_node() {
            return;
        }
        let until = self.now.mono.saturating_add(self.timers.hand_over_ns);
        self.handing = Some(Handing { to, until, is_sent: false });
        self.advance_hand_over();
    }

    /// The freshness gate: the target holds our tip durably, and nothing is under way.
    pub(crate) fn advance_hand_over(&mut self) {
        let Some(handing) = self.handing else { return };
        let tip = self.consensus.tip().sequence;
        let is_quiet = self.flights.filled().is_empty() && self.consensus.committed() == tip;
        let is_level = self.peers.find(handing.to).is_some_and(|peer| peer.durable == tip);
        if handing.is_sent || !is_quiet || !is_level {
            return;
        }
        let round = self.rounds.newest();
        self.rounds.void_through = round;
        self.handing = Some(Handing { is_sent: true, ..handing });
        let deadline_ns = Nanos(self.timers.hand_over_ns);
        let epoch = self.epoch();
        let message = Message::HandOver(HandOver { deadline_ns, round });
        self.peers.post(To::One(handing.to), Lane::Urgent, epoch, message);
    }

    /// The deadline has passed: the old leader goes on at once. [P-112]
    pub(crate) fn elapse_hand_over(&mut self) {
        let is_over = self.handing.is_some_and(|handing| self.now.mono >= handing.until);
        if is_over {
            self.handing = None;
            self.timing.heartbeat_at = self.now.mono;
        }
    }

    /// The leader gives its place to this node: stand at once, without asking first. [P-112]
    pub(crate) fn handle_hand_over(&mut self, from: NodeId, epoch: io_oi_record::Epoch, message: &HandOver) {
        let is_leader = self.consensus.leader() == Some(from) && epoch == self.epoch();
        let is_fresh = message.round >= self.following.round;
        if is_leader && is_fresh && self.role() == Role::Following && self.may_stand() {
            self.hand_over_round = message.round;
            self.stand();
        }
    }

    /// Whether the leader that this node follows has given its place away at `round` and was not heard since. [P-111]
    pub(crate) fn is_handed_over_to(&self, round: Round) -> bool {
        if round.is_none() {
            return false;
        }
        match self.role() {
            Role::Leading => self.handing.is_some_and(|_| self.rounds.void_through == round),
            _ => self.following.round <= round,
        }
    }
}
