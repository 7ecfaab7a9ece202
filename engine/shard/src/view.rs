//! Looking at a machine from outside.
//!
//! Invariant: looking changes nothing.

use io_oi_record::evidence::Evidence;
use io_oi_record::{Durability, Hash, Member, Nanos, NodeId};

use crate::machine::Machine;
use crate::status::{MuteReason, Notice, PeerStatus, Role, Status};

impl Machine {
    /// Everything that operators ask for. Allocates.
    pub fn status(&self) -> Status {
        let own = self.consensus.group().node;
        let leader = self.is_leading().then_some(own);
        let durable = self.consensus.committed();
        let peer = |(member, is_voter): (&Member, bool)| {
            let is_level = member.node == own;
            PeerStatus { node: member.node, is_voter, durable, is_level }
        };
        Status {
            role: self.consensus.role(),
            epoch: self.epoch(),
            leader,
            tip: self.last_sequence(),
            committed: self.committed(),
            certified: self.consensus.point(Durability::Certified),
            mute: self.mute(),
            peers: self.members().map(peer).collect(),
            state_hash: (self.committed(), Hash::ZERO),
            evidence_count: self.evidence().count() as u64,
            governance_number: 0,
        }
    }

    /// What this node is in its group.
    pub fn role(&self) -> Role {
        self.consensus.role()
    }

    /// Why this node neither votes nor leads, when it does not.
    pub fn mute(&self) -> Option<MuteReason> {
        None
    }

    /// Until when (on the monotonic clock) a read of this node's committed state is linearizable; zero for not at all.
    pub fn lease_until(&self) -> Nanos {
        Nanos::ZERO
    }

    /// Changes whenever [`Machine::members`] or [`Machine::is_barred`] would.
    pub fn members_version(&self) -> u64 {
        1
    }

    /// The members of the group, and whether they vote.
    pub fn members(&self) -> impl Iterator<Item = (&Member, bool)> {
        self.members.iter().map(|member| (member, true))
    }

    /// Whether this key is out: convicted by evidence, or barred by an operator.
    pub fn is_barred(&self, _node: NodeId) -> bool {
        false
    }

    /// The evidence that this node holds.
    pub fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        core::iter::empty()
    }

    /// Something that the node should know, oldest first; call until `None` after the effects are drained.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        None
    }
}
