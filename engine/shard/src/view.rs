//! Looking at a machine from outside.
//!
//! Invariant: looking changes nothing.

use io_oi_record::evidence::Evidence;
use io_oi_record::{Durability, Member, NodeId, Sequence};

use crate::machine::Machine;
use crate::status::{MuteReason, Notice, PeerStatus, Role, Status};

impl Machine {
    /// Everything that operators ask for. Allocates.
    pub fn status(&self) -> Status {
        let (own, committed) = (self.own_node(), self.committed());
        let peer = |(member, is_voter): (&Member, bool)| {
            let node = member.node;
            let known = self.peers.all.iter().find(|peer| peer.node == node);
            let durable = match known {
                Some(peer) => peer.durable,
                None if node == own => self.consensus.own_durable(),
                None => Sequence::NONE,
            };
            PeerStatus { node, is_voter, durable, is_level: durable >= committed }
        };
        Status {
            role: self.consensus.role(),
            epoch: self.epoch(),
            leader: self.consensus.leader(),
            tip: self.last_sequence(),
            committed: self.committed(),
            certified: self.consensus.point(Durability::Certified),
            mute: self.mute(),
            peers: self.members().map(peer).collect(),
            state_hash: self.state_hash,
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
        self.mute
    }

    /// Changes whenever [`Machine::members`] or [`Machine::is_barred`] would.
    pub fn members_version(&self) -> u64 {
        1
    }

    /// The members of the group, and whether they vote.
    pub fn members(&self) -> impl Iterator<Item = (&Member, bool)> {
        let voters = self.consensus.members();
        self.members.iter().map(move |member| (member, voters.voter_index(member.node).is_some()))
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
        self.notices.pop()
    }
}
