//! Looking at a machine from outside.
//!
//! Invariant: looking changes nothing.

use io_oi_record::evidence::SignedEvidence;
use io_oi_record::governance::{ArbitratorChoice, SignedGovernance};
use io_oi_record::{Durability, Epoch, Hash, Member, NodeId, QuorumCertificate, Roster, Sequence};

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
            governance_number: self.roster().number(),
        }
    }

    /// What this node is in its group.
    pub fn role(&self) -> Role {
        self.consensus.role()
    }

    /// Why this node neither votes nor leads, when it does not.
    pub fn mute(&self) -> Option<MuteReason> {
        self.muteness.reason()
    }

    /// Changes whenever [`Machine::members`] or [`Machine::is_barred`] would.
    pub fn members_version(&self) -> u64 {
        self.members_version
    }

    /// The members of the group, and whether they vote.
    pub fn members(&self) -> impl Iterator<Item = (&Member, bool)> {
        self.roster().members().iter().map(|member| (&member.member, member.is_voter))
    }

    /// The committed roster: members, bars, appointments, limits.
    pub fn roster(&self) -> &Roster {
        self.governing.roster()
    }

    /// The roster as it will be once the whole log is committed: the arbitrators that judge the next record among it.
    pub fn judged_roster(&self) -> &Roster {
        self.governing.rules.judged()
    }

    /// Every choice of an arbitrator in the log, with its place, oldest first.
    pub fn arbitrator_choices(&self) -> &[(Sequence, ArbitratorChoice)] {
        self.governing.rules.choices()
    }

    /// How many bytes of a component the log holds, and whether that is all of it.
    pub fn component_stored(&self, component: Hash) -> (usize, bool) {
        (self.governing.rules.component_bytes(component), self.governing.rules.is_complete(component))
    }

    /// The evidence that this node holds, oldest first.
    pub fn evidence(&self) -> impl Iterator<Item = &SignedEvidence> {
        self.voting.watch.held().iter()
    }

    /// The accepted governance records that are in effect, from number 1.
    pub fn governance_records(&self) -> impl Iterator<Item = &SignedGovernance> {
        self.governing.rules.history()
    }

    /// The newest certificate; it covers everything before it on the chain.
    pub fn certificate(&self) -> Option<&QuorumCertificate> {
        self.voting.certifier.newest()
    }

    /// A certificate that covers `sequence`, as far as this boot has seen one.
    pub fn certificate_for(&self, sequence: Sequence) -> Option<&QuorumCertificate> {
        self.certificate().filter(|certificate| certificate.sequence >= sequence)
    }

    /// Who leads, as far as this node knows; itself when it leads.
    pub fn leader(&self) -> Option<NodeId> {
        self.consensus.leader()
    }

    /// The highest epoch that this node has promised, claimed or followed; before the start, the highest that its log shows.
    pub fn promised(&self) -> Epoch {
        self.consensus.promised()
    }

    /// Through which sequence everything is certified.
    pub fn certified(&self) -> Sequence {
        self.consensus.point(Durability::Certified)
    }

    /// The hash over every committed and shown block, through that sequence.
    pub fn state_hash(&self) -> (Sequence, Hash) {
        self.state_hash
    }

    /// Something that the node should know, oldest first; call until `None` after the effects are drained.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop()
    }
}
