//! Who gets an epoch: pre-votes, claims, ballots, promises.
//!
//! Invariant: a voter promises an epoch once, only upwards, only to a candidate whose chain holds everything that the
//! voter's own chain may have helped to commit, and remembers it on disk before it says so. [P-26]

use io_oi_record::{Ballot, Epoch, NodeId, Sequence};

use crate::epoch::Role;
use crate::machine::Machine;
use crate::membership::VoterIndex;
use crate::note::{EpochClaim, EpochPromise};

/// What a voter says to a ballot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BallotAnswer {
    /// It may be granted, once the promise is durable.
    Grant,
    /// It has been promised to this very candidate before: the same grant again.
    Again,
    /// It is refused.
    Deny,
}

impl Machine {
    /// Boot is over: the node follows whoever leads.
    pub fn begin(&mut self) {
        self.unsealed.close();
        self.life.begin();
    }

    /// Asks for the epoch after everything seen; says which. `None` when this node does not vote. [P-27]
    pub fn ask(&mut self) -> Option<Epoch> {
        let own = self.own?;
        Some(self.life.ask(own))
    }

    /// `voter` would grant `epoch`; says whether a quorum would. [P-27]
    pub fn handle_pre_vote(&mut self, voter: VoterIndex, epoch: Epoch) -> bool {
        self.life.handle_pre_vote(voter, epoch, &self.members)
    }

    /// Whether a quorum would grant the epoch asked for.
    pub fn has_pre_votes(&self) -> bool {
        self.life.has_pre_votes(&self.members)
    }

    /// Whether this voter would grant `epoch` to a candidate whose chain ends there. [P-26, P-27]
    pub fn would_grant(&self, epoch: Epoch, tip_epoch: Epoch, tip_sequence: Sequence) -> bool {
        let tip = self.chain.tip();
        self.own.is_some()
            && self.role() != Role::Mute
            && epoch > self.life.promised()
            && epoch > self.life.current()
            && self.life.is_near(epoch)
            && (tip_epoch, tip_sequence) >= (tip.epoch, tip.sequence)
    }

    /// What this voter says to a ballot. [P-26]
    pub fn judge_ballot(&self, ballot: &Ballot) -> BallotAnswer {
        let is_repeated = ballot.epoch == self.life.promised()
            && self.life.promised_to() == Some(ballot.candidate)
            && self.life.current() < ballot.epoch;
        if self.would_grant(ballot.epoch, ballot.tip_epoch, ballot.tip_sequence) {
            BallotAnswer::Grant
        } else if is_repeated {
            BallotAnswer::Again
        } else {
            BallotAnswer::Deny
        }
    }

    /// Promises `epoch` to `candidate` from now on. The returned note has to be flushed before the grant is sent. [P-26]
    pub fn promise(&mut self, epoch: Epoch, candidate: NodeId) -> EpochPromise {
        self.life.promise(epoch, candidate);
        self.promise_note(epoch, candidate)
    }

    /// The note that this node follows `candidate` in `epoch`.
    pub fn promise_note(&self, epoch: Epoch, candidate: NodeId) -> EpochPromise {
        let group = self.group;
        EpochPromise { cluster: group.cluster, shard: group.shard, node: group.node, epoch, candidate }
    }

    /// Stands for the epoch after everything promised and seen. The returned claim has to be flushed before
    /// [`Machine::handle_claim_durable`]. [P-21]
    pub fn stand(&mut self) -> EpochClaim {
        let tip = *self.chain.tip();
        let epoch = self.life.claim(self.group.node, tip.next_sequence());
        self.begin_positions();
        self.guard_from_tip(epoch);
        EpochClaim {
            cluster: self.group.cluster,
            shard: self.group.shard,
            node: self.group.node,
            epoch,
            tip_sequence: tip.sequence,
            tip_hash: tip.hash,
        }
    }

    /// The flush that covers the claim is done: the node grants itself the epoch. [P-22, P-23]
    pub fn handle_claim_durable(&mut self) {
        let own = self.own.expect("only a voter claims an epoch");
        self.life.handle_claim_durable(own, &self.members);
    }

    /// The ballot of the claim just made. [P-23]
    pub fn ballot(&self, appointment: u64) -> Ballot {
        let tip = self.chain.tip();
        Ballot {
            cluster: self.group.cluster,
            shard: self.group.shard,
            epoch: self.life.current(),
            tip_epoch: tip.epoch,
            tip_sequence: tip.sequence,
            tip: tip.hash,
            appointment,
            candidate: self.group.node,
        }
    }

    /// `voter` grants this node `epoch`; says whether the grant counted. [P-23, P-24]
    pub fn handle_grant(&mut self, voter: VoterIndex, epoch: Epoch) -> bool {
        self.life.handle_grant(voter, epoch, &self.members)
    }

    /// Whether `leader` may be followed in `epoch`. [P-28]
    pub fn may_follow(&self, epoch: Epoch, leader: NodeId) -> bool {
        self.life.may_follow(epoch, leader)
    }

    /// Follows `leader` in `epoch`; what voters reported in another epoch counts no more. Says whether that is news. [P-28]
    pub fn follow(&mut self, epoch: Epoch, leader: NodeId) -> bool {
        let is_new_epoch = epoch > self.life.current();
        let is_news = self.life.follow(epoch, leader);
        if is_new_epoch {
            self.begin_positions();
        }
        is_news
    }

    /// Gives up whatever it stood for or led.
    pub fn step_down(&mut self) {
        self.life.step_down();
    }

    /// Neither votes nor leads from now on. [P-44]
    pub fn mute(&mut self) {
        self.life.mute();
    }

    /// Others have promised `epoch`: a lower one is asked for in vain.
    pub fn hear_of(&mut self, epoch: Epoch) {
        self.life.hear_of(epoch);
    }

    /// Whether an honest history may have come that far.
    pub fn is_near(&self, epoch: Epoch) -> bool {
        self.life.is_near(epoch)
    }

    /// Who leads, as far as this node knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.life.leader()
    }

    /// The highest epoch that this node has promised, claimed or followed.
    pub fn promised(&self) -> Epoch {
        self.life.promised()
    }

    /// The log is damaged: claims to epochs through `epoch` may have stood there. [P-46]
    pub fn lose_claims_through(&mut self, epoch: Epoch) {
        self.life.lose_claims_through(epoch);
    }

    /// An epoch of which the log holds an own block and no claim: the disk was restored or cloned. [P-44]
    pub fn unclaimed(&self) -> Option<Epoch> {
        self.unclaimed
    }

    /// Whether the log claims `epoch` for this node. [P-44]
    pub fn has_claimed(&self, epoch: Epoch) -> bool {
        self.life.has_claimed(epoch)
    }
}
