//! One shard's consensus group as seen by one of its members: a pure state machine.
//!
//! Invariant: a point (mem-quorum, disk-quorum, certified) never goes back, and only what a quorum has in the current
//! epoch moves it. [P-52, P-53]
//!
//! Order of use: `recover_*` for every log entry, then [`Machine::begin`] (several voters) or [`Machine::stand`]; the
//! rest as messages and flushes come.

use alloc::vec::Vec;

use io_oi_record::limits::BLOCKS_IN_FLIGHT_MAX;
use io_oi_record::{
    BlockHeader, ClusterId, Durability, Epoch, Hash, NodeId, Sequence, ShardId, Signature, Signer,
    VerifyingKey,
};

use crate::chain::{Chain, ChainError, ChainTip};
use crate::epoch::{EpochLife, Role};
use crate::membership::{Membership, VoterIndex};
use crate::note::{EpochClaim, EpochPromise, LogWhole, Seal};
use crate::position::Positions;
use crate::recovery::{RecoverError, Unsealed};
use crate::signing::{SigningGuard, SigningRefused};

/// Which group this is, and which of its members we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The cluster.
    pub cluster: ClusterId,
    /// The shard.
    pub shard: ShardId,
    /// This node.
    pub node: NodeId,
}

/// Consensus of one shard, seen by one member. Allocates nothing while a leader leads.
#[derive(Debug)]
pub struct Machine {
    pub(crate) group: Group,
    pub(crate) own: Option<VoterIndex>,
    pub(crate) members: Membership,
    pub(crate) life: EpochLife,
    pub(crate) chain: Chain,
    guard: SigningGuard,
    /// What this node itself has, whether it votes or not.
    pub(crate) own_held: Sequence,
    pub(crate) own_durable: Sequence,
    pub(crate) held: Positions,
    pub(crate) durable: Positions,
    pub(crate) points: Points,
    pub(crate) unsealed: Unsealed,
    /// Voters of earlier days, and of days to come as far as the log names them: their blocks stand in the chain.
    pub(crate) former: Vec<NodeId>,
    /// The newest epoch of an own block in the log without a claim before it. [P-44]
    pub(crate) unclaimed: Option<Epoch>,
    leader_key: Option<VerifyingKey>,
}

/// How far each level of durability has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Points {
    pub(crate) mem_quorum: Sequence,
    pub(crate) disk_quorum: Sequence,
    pub(crate) certified: Sequence,
}

impl Machine {
    /// A member with an empty log, ready to recover. Who is not among the voters follows as a learner.
    pub fn new(group: Group, members: Membership) -> Self {
        let tip = ChainTip::ORIGIN;
        Self {
            group,
            own: members.voter_index(group.node),
            members,
            life: EpochLife::new(),
            chain: Chain::new(),
            guard: SigningGuard::standing_on(&tip, Epoch::NONE),
            own_held: Sequence::NONE,
            own_durable: Sequence::NONE,
            held: Positions::new(),
            durable: Positions::new(),
            points: Points::default(),
            unsealed: Unsealed::new(),
            former: Vec::new(),
            unclaimed: None,
            leader_key: None,
        }
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
        let tip = self.chain.tip();
        if (claim.tip_sequence, claim.tip_hash) != (tip.sequence, tip.hash) {
            return Err(RecoverError::ClaimElsewhere { named: claim.tip_sequence, found: tip.sequence });
        }
        self.life.recover_claim(claim.epoch);
        Ok(())
    }

    /// A promise found in the log closes its epoch. [P-20, P-26]
    pub fn recover_promise(&mut self, promise: &EpochPromise) -> Result<(), RecoverError> {
        let named = Group { cluster: promise.cluster, shard: promise.shard, node: promise.node };
        if named != self.group {
            return Err(RecoverError::WrongGroup { sequence: self.chain.tip().sequence });
        }
        self.life.recover_grant(promise.epoch, promise.candidate);
        Ok(())
    }

    /// The log was damaged and is whole again: what was promised until then is closed. [P-20, P-46]
    pub fn recover_whole(&mut self, whole: &LogWhole) -> Result<(), RecoverError> {
        let named = Group { cluster: whole.cluster, shard: whole.shard, node: whole.node };
        if named != self.group {
            return Err(RecoverError::WrongGroup { sequence: self.chain.tip().sequence });
        }
        self.life.close_through(whole.epoch);
        Ok(())
    }

    /// The note that the log is whole again. [P-46]
    pub fn whole_note(&self, mark: u64) -> LogWhole {
        let Group { cluster, shard, node } = self.group;
        LogWhole { cluster, shard, node, epoch: self.life.promised(), mark }
    }

    /// The promise file names this epoch. [P-20]
    pub fn close_through(&mut self, epoch: Epoch) {
        self.life.close_through(epoch);
    }

    /// Where a block found in the log, or sent by a leader, would stand: behind the tip, or behind an older block that
    /// is not committed past. The caller rewinds to it first. [P-35]
    pub fn parent_of(&self, header: &BlockHeader) -> Result<ChainTip, RecoverError> {
        self.check_group(header)?;
        let tip = *self.chain.tip();
        if header.parent == tip.hash {
            tip.check_next(header)?;
            return Ok(tip);
        }
        let parent = self
            .chain
            .find(header.parent)
            .ok_or(ChainError::ParentDiffers { first_sequence: header.first_sequence })?;
        if parent.tip.sequence < self.points.disk_quorum {
            let (first_sequence, committed) = (header.first_sequence, self.points.disk_quorum);
            return Err(RecoverError::Decided { first_sequence, committed });
        }
        parent.tip.check_next(header)?;
        Ok(parent.tip)
    }

    /// Gives up every block behind `last`; none of them is committed. [P-35]
    pub fn rewind_to(&mut self, last: Sequence) {
        assert!(last >= self.points.disk_quorum, "what is committed is never given up [P-35]");
        assert_ne!(self.role(), Role::Leading, "a leader never gives up a block of its own chain");
        self.chain.rewind_to(last);
        self.unsealed.rewind_to(last);
        self.own_held = self.own_held.min(last);
        self.own_durable = self.own_durable.min(last);
        if let Some(own) = self.own {
            self.held.rewind(own, last);
            self.durable.rewind(own, last);
        }
    }

    /// A block found in the log continues the chain. The caller has checked its root and rewound to its parent. Returns
    /// through where the log itself shows that everything was committed. [P-30..P-34, P-44, P-55]
    pub fn recover_block(&mut self, header: &BlockHeader) -> Result<Sequence, RecoverError> {
        self.check_group(header)?;
        self.chain.tip().check_next(header)?;
        if header.leader == self.group.node && !self.life.has_claimed(header.epoch) {
            self.unclaimed = Some(header.epoch);
        }
        if self.begins_epoch(header) {
            self.unsealed.clear(); // [P-43]
        }
        let header_hash = header.hash();
        self.unsealed.push(header, header_hash);
        self.life.close_through(header.epoch);
        self.chain.push(header, header_hash);
        let last = header.last_sequence();
        self.handle_own_held(last);
        self.own_durable = last;
        let proven =
            self.chain.before_tip(BLOCKS_IN_FLIGHT_MAX).filter(|link| link.tip.epoch == header.epoch);
        if let Some(link) = proven {
            let committed = link.tip.sequence;
            self.learn_committed(committed);
        }
        Ok(self.points.disk_quorum)
    }

    /// A seal found in the log: the signature must fit an unsealed block of the epoch. [P-42]
    pub fn recover_seal(&mut self, seal: &Seal) -> Result<(), RecoverError> {
        if seal.epoch < self.chain.tip().epoch || self.unsealed.is_superseded(seal) {
            return self.check_late_seal(seal);
        }
        if self.is_sealed_again(seal) {
            return Ok(());
        }
        let header = self.unsealed.take(seal)?;
        let forged = RecoverError::SealForged { sequence: seal.last_sequence };
        let leader = self.leader_key(header.leader).ok_or(forged)?;
        leader.verify(&header, &seal.signature).map_err(|_| forged)?;
        Ok(())
    }

    /// Its block is covered by a later epoch's, or was superseded: it is not needed, and must still be nobody else's. [P-43]
    fn check_late_seal(&self, seal: &Seal) -> Result<(), RecoverError> {
        let fits = self
            .chain
            .find(seal.header_hash)
            .is_none_or(|link| (link.tip.epoch, link.tip.sequence) == (seal.epoch, seal.last_sequence));
        if seal.epoch.is_none() || !fits {
            return Err(RecoverError::SealWithoutBlock { sequence: seal.last_sequence });
        }
        Ok(())
    }

    /// Whether a seal stands behind a later one or a second time: a follower that was restarted in the middle of an epoch is
    /// told again, and logs it again. [P-42]
    fn is_sealed_again(&self, seal: &Seal) -> bool {
        let is_waited_for = self.unsealed.waits_for(seal.header_hash);
        let link = self.chain.ending_at(seal.last_sequence);
        !is_waited_for
            && link.is_some_and(|link| link.tip.hash == seal.header_hash && link.tip.epoch == seal.epoch)
    }

    /// Whether `header` is the first of its epoch on this chain. [P-25]
    pub fn begins_epoch(&self, header: &BlockHeader) -> bool {
        header.epoch > self.chain.tip().epoch
    }

    /// Whether another block may be appended. A leader that has taken over blocks of earlier epochs begins its own epoch
    /// with one block, and appends the next once all of them are committed. [P-55]
    pub fn may_append(&self) -> bool {
        if self.role() != Role::Leading {
            return false;
        }
        let inherited = self.chain.count_behind(self.committed(), |link| link.tip.epoch < self.epoch());
        let open = self.open_block_count();
        if inherited == 0 { open < BLOCKS_IN_FLIGHT_MAX } else { open == 0 }
    }

    /// How many blocks of this epoch are appended and not committed.
    pub fn open_block_count(&self) -> usize {
        let epoch = self.epoch();
        self.chain.count_behind(self.committed(), |link| link.tip.epoch == epoch)
    }

    /// Our own next block is appended to the log (not flushed yet). Returns the hash of its header.
    pub fn handle_appended(&mut self, header: &BlockHeader) -> Hash {
        assert!(self.may_append(), "a block is appended by the leader, within the pipeline [P-55]");
        assert_eq!(header.epoch, self.life.current(), "a leader appends to its own epoch");
        assert_eq!(self.check_group(header), Ok(()), "our own header names our own group");
        assert_eq!(self.chain.tip().check_next(header), Ok(()), "our own header continues our own chain");
        let header_hash = header.hash();
        self.chain.push(header, header_hash);
        header_hash
    }

    /// A block of the leader that we follow, checked with [`Machine::parent_of`] and rewound to, is appended to our log.
    pub fn handle_followed(&mut self, header: &BlockHeader, header_hash: Hash) {
        assert_ne!(self.role(), Role::Leading, "a leader follows nobody");
        self.chain.push(header, header_hash);
        self.handle_own_held(header.last_sequence());
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

    /// This node holds the chain through `through` in memory. [P-50]
    pub fn handle_own_held(&mut self, through: Sequence) {
        self.own_held = self.own_held.max(through);
        if let Some(own) = self.own {
            self.held.advance(own, through);
            if self.role() == Role::Leading {
                self.points.mem_quorum = self.moved(self.points.mem_quorum, &self.held);
            }
        }
    }

    /// This node's own log is durable through `through`, a block of its chain. [P-50]
    pub fn handle_own_durable(&mut self, through: Sequence) {
        assert!(through <= self.chain.tip().sequence, "only appended records become durable");
        self.own_durable = self.own_durable.max(through);
        if let Some(own) = self.own {
            self.handle_durable(own, self.life.current(), through);
        }
    }

    /// `voter` has the chain durably through `through`, a block's end, in `epoch`. A report from another epoch, or beyond
    /// the chain, or a repeated one, changes nothing; says whether it counted. [P-50, P-52]
    pub fn handle_durable(&mut self, voter: VoterIndex, epoch: Epoch, through: Sequence) -> bool {
        if epoch != self.life.current() || through > self.chain.tip().sequence {
            return false;
        }
        let counted = self.durable.advance(voter, through);
        self.held.advance(voter, through);
        let disk_quorum = self.moved(self.points.disk_quorum, &self.durable);
        if disk_quorum > self.points.disk_quorum {
            self.points.disk_quorum = disk_quorum;
            self.chain.forget_before(disk_quorum);
        }
        self.points.mem_quorum = self.moved(self.points.mem_quorum, &self.held).max(disk_quorum);
        counted
    }

    /// `voter` holds the chain in memory through `through` in `epoch`; says whether it counted. [P-50, P-54]
    pub fn handle_held(&mut self, voter: VoterIndex, epoch: Epoch, through: Sequence) -> bool {
        if epoch != self.life.current() || through > self.chain.tip().sequence {
            return false;
        }
        let counted = self.held.advance(voter, through);
        self.points.mem_quorum = self.moved(self.points.mem_quorum, &self.held);
        counted
    }

    /// Somebody who knows says that everything through `through`, a block of our chain, is committed. [P-56]
    pub fn learn_committed(&mut self, through: Sequence) {
        assert!(through <= self.chain.tip().sequence, "only what is held is known to be committed");
        self.points.disk_quorum = self.points.disk_quorum.max(through);
        self.points.mem_quorum = self.points.mem_quorum.max(through);
        self.chain.forget_before(self.points.disk_quorum);
    }

    /// A checked certificate of a quorum over a block of our chain stands durably in our log. It counts as far as this node
    /// has been told of the commit: nobody shows a commit before its leader does. [P-54, P-113]
    pub fn learn_certified(&mut self, through: Sequence) {
        self.points.certified = self.points.certified.max(through.min(self.points.disk_quorum));
    }

    /// Through which sequence the chain has reached a level of durability. [P-54]
    pub fn point(&self, level: Durability) -> Sequence {
        match level {
            Durability::Local => self.own_held,
            Durability::MemQuorum => self.points.mem_quorum,
            Durability::DiskQuorum => self.points.disk_quorum,
            Durability::Certified => self.points.certified,
        }
    }

    /// Through which sequence everything is committed.
    pub fn committed(&self) -> Sequence {
        self.points.disk_quorum
    }

    /// Through where this node's own log is durable.
    pub fn own_durable(&self) -> Sequence {
        self.own_durable
    }

    /// Through where `voter` is known to be durable in this epoch.
    pub fn durable_of(&self, voter: VoterIndex) -> Sequence {
        self.durable.of(voter)
    }

    /// What this node is at the moment.
    pub fn role(&self) -> Role {
        self.life.role()
    }

    /// The epoch this node follows, stands in or leads.
    pub fn epoch(&self) -> Epoch {
        self.life.current()
    }

    /// The newest header of the chain.
    pub fn tip(&self) -> &ChainTip {
        self.chain.tip()
    }

    /// The newest blocks of the chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Which group this is.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The voters of the group.
    pub fn members(&self) -> &Membership {
        &self.members
    }

    /// This node among the voters.
    pub fn own(&self) -> Option<VoterIndex> {
        self.own
    }

    /// Other voters from now on; positions are carried over. [P-90]
    pub fn change_members(&mut self, members: Membership) {
        for positions in [&mut self.held, &mut self.durable] {
            *positions = positions.carried_over(&self.members, &members);
        }
        let gone = self.members.voters().iter().filter(|voter| members.voter_index(**voter).is_none());
        self.former.extend(gone);
        self.own = members.voter_index(self.group.node);
        self.members = members;
        if let Some(own) = self.own {
            self.held.advance(own, self.own_held);
            self.durable.advance(own, self.own_durable);
        }
    }

    /// The log makes `node` a voter, whether that is known to be committed yet or not: blocks that it leads may follow.
    /// [P-34]
    pub fn know_leader(&mut self, node: NodeId) {
        if !self.former.contains(&node) {
            self.former.push(node);
        }
    }

    /// A new epoch begins: what others reported before does not count in it, what this node has itself does.
    pub(crate) fn begin_positions(&mut self) {
        (self.held, self.durable) = (Positions::new(), Positions::new());
        self.unsealed.clear(); // [P-43]
        if let Some(own) = self.own {
            self.held.advance(own, self.own_held);
            self.durable.advance(own, self.own_durable);
        }
    }

    pub(crate) fn guard_from_tip(&mut self, epoch: Epoch) {
        self.guard = SigningGuard::standing_on(self.chain.tip(), epoch);
    }

    /// Where a point stands after `positions` moved: only a leader counts, and only what lies in its own epoch; everybody
    /// else is told. [P-51, P-52, P-53, P-56]
    fn moved(&self, point: Sequence, positions: &Positions) -> Sequence {
        let reached = positions.quorum_point(&self.members);
        if reached <= point {
            return point;
        }
        let is_of_this_epoch = self.role() == Role::Leading && reached >= self.life.first_sequence();
        if is_of_this_epoch { reached } else { point }
    }

    /// The key of a leader, made ready once: a log has many seals of few leaders.
    pub fn leader_key(&mut self, leader: NodeId) -> Option<VerifyingKey> {
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
        if self.members.voter_index(header.leader).is_none() && !self.former.contains(&header.leader) {
            return Err(RecoverError::StrangeLeader { leader: header.leader });
        }
        if header.epoch.is_none() {
            return Err(RecoverError::Chain(ChainError::EpochWentBack {
                parent: self.chain.tip().epoch,
                found: header.epoch,
            }));
        }
        Ok(())
    }
}
