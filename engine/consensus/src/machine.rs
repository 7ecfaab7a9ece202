//! One shard's consensus group as seen by one of its voters: a pure state machine.
//!
//! Invariant: a point (mem-quorum, disk-quorum, certified) never goes back, and only what a quorum has in the current
//! epoch moves it. [P-52, P-53]
//!
//! Order of use: `recover_*` for every log entry, then [`Machine::stand`], then [`Machine::handle_claim_durable`]
//! once the claim is flushed; from [`Role::Leading`] on, blocks.

use io_oi_record::{
    BlockHeader, ClusterId, Durability, Epoch, Hash, NodeId, Sequence, ShardId, Signature, Signer,
    VerifyingKey,
};

use io_oi_record::limits::BLOCKS_IN_FLIGHT_MAX;

use crate::chain::{ChainError, ChainTip};
use crate::epoch::{EpochLife, Role};
use crate::membership::{Membership, VoterIndex};
use crate::note::{EpochClaim, Seal};
use crate::pipeline::Pipeline;
use crate::position::Positions;
use crate::recovery::{RecoverError, Unsealed};
use crate::signing::{SigningGuard, SigningRefused};

/// Which group this is, and which of its voters we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The cluster.
    pub cluster: ClusterId,
    /// The shard.
    pub shard: ShardId,
    /// This node.
    pub node: NodeId,
}

/// Consensus of one shard, seen by one voter. Allocates nothing while leading.
#[derive(Debug)]
pub struct Machine {
    group: Group,
    own: VoterIndex,
    members: Membership,
    life: EpochLife,
    tip: ChainTip,
    pipeline: Pipeline,
    guard: SigningGuard,
    held: Positions,
    durable: Positions,
    signed: Positions,
    points: Points,
    claimed: Epoch,
    unsealed: Unsealed,
    leader_key: Option<VerifyingKey>,
}

/// How far each level of durability has come.
#[derive(Clone, Copy, Debug, Default)]
struct Points {
    mem_quorum: Sequence,
    disk_quorum: Sequence,
    certified: Sequence,
}

impl Machine {
    /// A voter with an empty log, ready to recover. A node that does not vote has no machine.
    pub fn new(group: Group, members: Membership) -> Result<Self, NotAVoter> {
        let own = members.voter_index(group.node).ok_or(NotAVoter { node: group.node })?;
        let tip = ChainTip::ORIGIN;
        Ok(Self {
            group,
            own,
            members,
            life: EpochLife::new(),
            tip,
            pipeline: Pipeline::EMPTY,
            guard: SigningGuard::standing_on(&tip, Epoch::NONE),
            held: Positions::new(),
            durable: Positions::new(),
            signed: Positions::new(),
            points: Points::default(),
            claimed: Epoch::NONE,
            unsealed: Unsealed::new(),
            leader_key: None,
        })
    }

    /// A claim found in the log closes its epoch. [P-20]
    pub fn recover_claim(&mut self, claim: &EpochClaim) -> Result<(), RecoverError> {
        let named = Group { cluster: claim.cluster, shard: claim.shard, node: claim.node };
        if named != self.group {
            return Err(RecoverError::WrongGroup { sequence: claim.tip_sequence });
        }
        if claim.epoch <= self.life.closed() {
            return Err(RecoverError::ClaimWentBack { closed: self.life.closed(), found: claim.epoch });
        }
        if (claim.tip_sequence, claim.tip_hash) != (self.tip.sequence, self.tip.hash) {
            return Err(RecoverError::ClaimElsewhere { named: claim.tip_sequence, found: self.tip.sequence });
        }
        self.life.close_through(claim.epoch);
        self.claimed = claim.epoch;
        Ok(())
    }

    /// A block found in the log continues the chain. The caller has checked its root. Returns through where the log
    /// itself shows that everything was committed. [P-30..P-34, P-44, P-55]
    pub fn recover_block(&mut self, header: &BlockHeader) -> Result<Sequence, RecoverError> {
        self.check_group(header)?;
        self.tip.check_next(header)?;
        if header.leader == self.group.node && header.epoch != self.claimed {
            return Err(RecoverError::NeverClaimed { epoch: header.epoch });
        }
        if self.begins_epoch(header) {
            self.pipeline = Pipeline::EMPTY;
            self.unsealed.clear(); // [P-43]
        }
        let header_hash = header.hash();
        self.unsealed.push(header, header_hash);
        self.life.close_through(header.epoch);
        self.tip = ChainTip::after(header, header_hash);
        self.held.advance(self.own, self.tip.sequence);
        self.durable.advance(self.own, self.tip.sequence);
        let committed = self.pipeline.enter(self.tip.sequence);
        self.points.disk_quorum = self.points.disk_quorum.max(committed);
        self.points.mem_quorum = self.points.disk_quorum;
        Ok(self.points.disk_quorum)
    }

    /// A seal found in the log: the signature must fit the oldest unsealed block of the epoch. [P-42]
    pub fn recover_seal(&mut self, seal: &Seal) -> Result<(), RecoverError> {
        let header = self.unsealed.take(seal)?;
        let forged = RecoverError::SealForged { sequence: seal.last_sequence };
        let leader = self.leader_key(header.leader).ok_or(forged)?;
        leader.verify(&header, &seal.signature).map_err(|_| forged)?;
        self.signed.advance(self.own, seal.last_sequence);
        Ok(())
    }

    /// Whether `header` is the first of its epoch on this chain. [P-25]
    pub fn begins_epoch(&self, header: &BlockHeader) -> bool {
        header.epoch > self.tip.epoch
    }

    /// The log is read: stand for the epoch after the highest closed one. The returned claim has to be flushed
    /// before [`Machine::handle_claim_durable`]. [P-21]
    pub fn stand(&mut self) -> EpochClaim {
        let epoch = self.life.claim(self.tip.next_sequence());
        self.claimed = epoch;
        self.pipeline = Pipeline::EMPTY;
        self.unsealed.clear(); // [P-43]
        self.guard = SigningGuard::standing_on(&self.tip, epoch);
        EpochClaim {
            cluster: self.group.cluster,
            shard: self.group.shard,
            node: self.group.node,
            epoch,
            tip_sequence: self.tip.sequence,
            tip_hash: self.tip.hash,
        }
    }

    /// The flush that covers the claim is done: the node grants itself the epoch. [P-22, P-23]
    pub fn handle_claim_durable(&mut self) {
        self.life.handle_claim_durable(self.own, &self.members);
    }

    /// `voter` grants this node `epoch`; says whether the grant counted. [P-23, P-24]
    pub fn handle_grant(&mut self, voter: VoterIndex, epoch: Epoch) -> bool {
        self.life.handle_grant(voter, epoch, &self.members)
    }

    /// Whether another block may be appended. [P-55]
    pub fn may_append(&self) -> bool {
        self.role() == Role::Leading && self.open_block_count() < BLOCKS_IN_FLIGHT_MAX
    }

    /// How many blocks of this epoch are appended and not committed.
    pub fn open_block_count(&self) -> usize {
        self.pipeline.open_count(self.points.disk_quorum)
    }

    /// Our own next block is appended to the log (not flushed yet). Returns the hash of its header.
    pub fn handle_appended(&mut self, header: &BlockHeader) -> Hash {
        assert!(self.may_append(), "a block is appended by the leader, within the pipeline [P-55]");
        assert_eq!(header.epoch, self.life.current(), "a leader appends to its own epoch");
        assert_eq!(self.check_group(header), Ok(()), "our own header names our own group");
        assert_eq!(self.tip.check_next(header), Ok(()), "our own header continues our own chain");
        let header_hash = header.hash();
        self.tip = ChainTip::after(header, header_hash);
        self.pipeline.enter(self.tip.sequence);
        header_hash
    }

    /// Signs a header of ours once. The block may be on its way to the disk already. [P-40, P-41, P-42]
    pub fn sign(
        &mut self,
        header: &BlockHeader,
        header_hash: Hash,
        signer: &Signer,
    ) -> Result<Signature, SigningRefused> {
        self.guard.permit(&self.life, header, header_hash)?;
        Ok(signer.sign(header))
    }

    /// This node holds its own records through `through` in memory. [P-50]
    pub fn handle_own_held(&mut self, through: Sequence) {
        self.held.advance(self.own, through);
        self.points.mem_quorum = self.moved(self.points.mem_quorum, &self.held);
    }

    /// This node's own log is durable through `through`. [P-50]
    pub fn handle_own_durable(&mut self, through: Sequence) {
        assert!(through <= self.tip.sequence, "only appended records become durable");
        self.handle_durable(self.own, self.life.current(), through);
    }

    /// This node's own signatures are durable through `through`, each behind its block. [P-50]
    pub fn handle_own_signed(&mut self, through: Sequence) {
        assert!(through <= self.durable.of(self.own), "a seal stands behind its block in the log");
        self.handle_signed(self.own, self.life.current(), through);
    }

    /// A checked signature of `voter` over the chain through `through`, given in `epoch`, stands durably in our log.
    /// Ignored, like [`Machine::handle_durable`], when it says nothing new; says whether it counted. [P-50, P-54]
    pub fn handle_signed(&mut self, voter: VoterIndex, epoch: Epoch, through: Sequence) -> bool {
        if epoch != self.life.current() || through > self.tip.sequence {
            return false;
        }
        let counted = self.signed.advance(voter, through);
        self.points.certified = self.moved(self.points.certified, &self.signed);
        counted
    }

    /// `voter` has the chain durably through `through` in `epoch`. A report from another epoch, or beyond the chain,
    /// or a repeated one, changes nothing; says whether it counted. [P-50, P-52]
    pub fn handle_durable(&mut self, voter: VoterIndex, epoch: Epoch, through: Sequence) -> bool {
        if epoch != self.life.current() || through > self.tip.sequence {
            return false;
        }
        let counted = self.durable.advance(voter, through);
        self.held.advance(voter, through);
        self.points.disk_quorum = self.moved(self.points.disk_quorum, &self.durable);
        self.points.mem_quorum = self.moved(self.points.mem_quorum, &self.held);
        counted
    }

    /// Through which sequence the chain has reached a level of durability. [P-54]
    pub fn point(&self, level: Durability) -> Sequence {
        match level {
            Durability::Local => self.held.of(self.own),
            Durability::MemQuorum => self.points.mem_quorum,
            Durability::DiskQuorum => self.points.disk_quorum,
            Durability::Certified => self.points.certified,
        }
    }

    /// Through which sequence everything is committed.
    pub fn committed(&self) -> Sequence {
        self.points.disk_quorum
    }

    /// What this node is at the moment.
    pub fn role(&self) -> Role {
        self.life.role()
    }

    /// The epoch this node stands in or leads.
    pub fn epoch(&self) -> Epoch {
        self.life.current()
    }

    /// The newest header of the chain.
    pub fn tip(&self) -> &ChainTip {
        &self.tip
    }

    /// Which group this is.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The voters of the group.
    pub fn members(&self) -> &Membership {
        &self.members
    }

    /// Where a point stands after `positions` moved. [P-51, P-52, P-53]
    fn moved(&self, point: Sequence, positions: &Positions) -> Sequence {
        let reached = positions.quorum_point(&self.members);
        let is_of_this_epoch = self.role() == Role::Leading && reached >= self.life.first_sequence();
        if is_of_this_epoch { point.max(reached) } else { point }
    }

    /// The key of a leader, made ready once: a log has many seals of few leaders.
    fn leader_key(&mut self, leader: NodeId) -> Option<VerifyingKey> {
        if self.leader_key.is_none_or(|key| key.node() != leader) {
            self.leader_key = VerifyingKey::new(&leader.0).ok();
        }
        self.leader_key
    }

    fn check_group(&self, header: &BlockHeader) -> Result<(), RecoverError> {
        let is_ours = header.cluster == self.group.cluster && header.shard == self.group.shard;
        if !is_ours {
            return Err(RecoverError::WrongGroup { sequence: header.first_sequence });
        }
        if self.members.voter_index(header.leader).is_none() {
            return Err(RecoverError::StrangeLeader { leader: header.leader });
        }
        if header.epoch.is_none() {
            return Err(RecoverError::Chain(ChainError::EpochWentBack {
                parent: self.tip.epoch,
                found: header.epoch,
            }));
        }
        Ok(())
    }
}

/// The node is not among the voters that the genesis names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node} is not a voter of this cluster: start it with the key that its genesis names")]
pub struct NotAVoter {
    /// The node's id.
    pub node: NodeId,
}
