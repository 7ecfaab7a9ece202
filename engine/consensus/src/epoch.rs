//! The life of a node's epochs: closed at boot, promised, claimed, granted, led, followed.
//!
//! Invariant: a node stands in an epoch at most once, and only in one above every epoch that it has promised or seen;
//! what it has promised never goes back. [P-20, P-21, P-26]

use alloc::vec::Vec;

use io_oi_record::{Epoch, NodeId, Sequence};

use crate::membership::{Membership, VoterIndex, VoterSet};
use crate::state::Life;

/// What this node is in its group at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes no part yet: reading its log.
    Idle,
    /// It follows a leader, or waits for one.
    Following,
    /// It asks whether it would be granted an epoch. [P-27]
    PreVoting,
    /// It has written a claim to an epoch; the flush that covers the claim is not done. [P-22]
    Claiming,
    /// Its claim is durable; a quorum has not granted the epoch yet. [P-24]
    Standing,
    /// A quorum has granted it the epoch. [P-24]
    Leading,
    /// It follows, and neither votes nor stands for the rest of its days. [P-44]
    Mute,
}

/// Where this node is in its epochs.
#[derive(Clone, Debug)]
pub struct EpochLife {
    closed: Epoch,
    promised: Epoch,
    promised_to: Option<NodeId>,
    current: Epoch,
    leader: Option<NodeId>,
    role: Role,
    /// The highest epoch that others speak of: the next one asked for is above it.
    heard_of: Epoch,
    asked: Epoch,
    pre_votes: VoterSet,
    grants: VoterSet,
    first_sequence: Sequence,
    /// Every epoch that the log claims for this node, in order.
    claimed: Vec<Epoch>,
    /// Claims through here may stand in what is damaged of the log.
    claims_lost_through: Epoch,
}

impl EpochLife {
    /// A node that has seen no epoch yet.
    pub fn new() -> Self {
        Self {
            closed: Epoch::NONE,
            promised: Epoch::NONE,
            promised_to: None,
            current: Epoch::NONE,
            leader: None,
            role: Role::Idle,
            heard_of: Epoch::NONE,
            asked: Epoch::NONE,
            pre_votes: VoterSet::EMPTY,
            grants: VoterSet::EMPTY,
            first_sequence: Sequence::NONE,
            claimed: Vec::with_capacity(CLAIMS_EXPECTED),
            claims_lost_through: Epoch::NONE,
        }
    }

    /// As a checkpoint has it.
    pub(crate) fn restored(life: Life) -> Self {
        let Life { closed, promised, promised_to, is_mute, claimed, claims_lost_through } = life;
        let role = if is_mute { Role::Mute } else { Role::Idle };
        Self { closed, promised, promised_to, role, claimed, claims_lost_through, ..Self::new() }
    }

    /// What the log has told so far.
    pub(crate) fn recovered(&self) -> Life {
        Life {
            closed: self.closed,
            promised: self.promised,
            promised_to: self.promised_to,
            is_mute: self.role == Role::Mute,
            claimed: self.claimed.clone(),
            claims_lost_through: self.claims_lost_through,
        }
    }

    /// The log, or the promise file, has shown `epoch`: it and everything below is closed for signing, for ever. [P-20]
    pub fn close_through(&mut self, epoch: Epoch) {
        let is_booting = matches!(self.role, Role::Idle | Role::Mute); // The log itself may say that this node is out.
        assert!(is_booting, "an epoch is closed by what was read at boot");
        self.closed = self.closed.max(epoch);
        if epoch > self.promised {
            // To whom a lower epoch was promised says nothing about this one.
            (self.promised, self.promised_to) = (epoch, None);
        }
    }

    /// The log holds this node's claim to `epoch`.
    pub fn recover_claim(&mut self, epoch: Epoch) {
        self.close_through(epoch);
        self.claimed.push(epoch);
    }

    /// The log holds this node's promise of `epoch` to `candidate`.
    pub fn recover_grant(&mut self, epoch: Epoch, candidate: NodeId) {
        self.close_through(epoch);
        if self.promised == epoch {
            self.promised_to = Some(candidate);
        }
    }

    /// Boot is over: the node follows whoever leads.
    pub fn begin(&mut self) {
        match self.role {
            Role::Idle => self.role = Role::Following,
            Role::Mute => {}
            _ => panic!("boot ends once"),
        }
    }

    /// Asks for the epoch after everything seen, without promising anything. [P-27]
    pub fn ask(&mut self, own: VoterIndex) -> Epoch {
        assert!(matches!(self.role, Role::Following | Role::PreVoting), "only who follows nobody asks");
        self.role = Role::PreVoting;
        self.leader = None;
        self.asked = self.highest().next();
        self.pre_votes = VoterSet::EMPTY;
        self.pre_votes.insert(own);
        self.asked
    }

    /// Others have promised `epoch`: a lower one is asked for in vain. A number that no honest history reaches is not
    /// believed.
    pub fn hear_of(&mut self, epoch: Epoch) {
        if self.is_near(epoch) {
            self.heard_of = self.heard_of.max(epoch);
        }
    }

    /// `voter` would grant `epoch`. Says whether a quorum would. [P-27]
    pub fn handle_pre_vote(&mut self, voter: VoterIndex, epoch: Epoch, members: &Membership) -> bool {
        if self.role != Role::PreVoting || epoch != self.asked {
            return false;
        }
        self.pre_votes.insert(voter);
        self.has_pre_votes(members)
    }

    /// Whether a quorum would grant the epoch asked for.
    pub fn has_pre_votes(&self, members: &Membership) -> bool {
        self.role == Role::PreVoting && members.is_quorum(self.pre_votes)
    }

    /// Stands for the epoch after everything promised and seen. The first record of that epoch will be
    /// `first_sequence`. The caller makes the claim durable before it goes on. [P-21]
    pub fn claim(&mut self, own: NodeId, first_sequence: Sequence) -> Epoch {
        let may_claim = matches!(self.role, Role::Idle | Role::Following | Role::PreVoting);
        assert!(may_claim, "a node claims one epoch at a time");
        self.current = self.highest().next();
        self.promised = self.current;
        self.promised_to = Some(own);
        self.leader = None;
        self.role = Role::Claiming;
        self.grants = VoterSet::EMPTY;
        self.first_sequence = first_sequence;
        self.claimed.push(self.current);
        self.current
    }

    /// The claim is durable: it is the node's own ballot. [P-22, P-23]
    pub fn handle_claim_durable(&mut self, own: VoterIndex, members: &Membership) {
        assert_eq!(self.role, Role::Claiming, "a claim becomes durable once");
        self.role = Role::Standing;
        self.handle_grant(own, self.current, members);
    }

    /// `voter` grants this node `epoch`. Grants for another epoch, and repeated ones, change nothing;
    /// says whether this one counted. [P-23, P-24]
    pub fn handle_grant(&mut self, voter: VoterIndex, epoch: Epoch, members: &Membership) -> bool {
        if epoch != self.current || !matches!(self.role, Role::Standing | Role::Leading) {
            return false;
        }
        let counted = self.grants.insert(voter);
        if members.is_quorum(self.grants) {
            self.role = Role::Leading;
            self.leader = self.promised_to;
        }
        counted
    }

    /// Promises `epoch` to `candidate`; whatever the node was in a lower epoch, it is no more. [P-26]
    pub fn promise(&mut self, epoch: Epoch, candidate: NodeId) {
        assert!(epoch > self.promised, "a promise is given once and only upwards [P-26]");
        (self.promised, self.promised_to) = (epoch, Some(candidate));
        self.step_down();
    }

    /// Whether `leader` may be followed in `epoch`: not below anything promised or seen, and one leader an epoch. [P-28]
    pub fn may_follow(&self, epoch: Epoch, leader: NodeId) -> bool {
        if epoch < self.promised || epoch < self.current || epoch.is_none() || !self.is_near(epoch) {
            return false;
        }
        let is_taken = epoch == self.current && self.leader.is_some_and(|known| known != leader);
        let is_own = epoch == self.current && self.role == Role::Leading;
        !is_taken && !is_own
    }

    /// Follows `leader` in `epoch`. Says whether that is news. [P-28]
    pub fn follow(&mut self, epoch: Epoch, leader: NodeId) -> bool {
        assert!(self.may_follow(epoch, leader), "the caller asked whether the leader may be followed");
        let is_news = epoch > self.current || self.leader != Some(leader);
        if self.role != Role::Mute {
            self.role = Role::Following;
        }
        (self.current, self.leader) = (epoch, Some(leader));
        if epoch > self.promised {
            (self.promised, self.promised_to) = (epoch, Some(leader));
        }
        is_news
    }

    /// Gives up whatever it stood for or led; waits for a leader.
    pub fn step_down(&mut self) {
        if !matches!(self.role, Role::Mute | Role::Idle) {
            self.role = Role::Following;
        }
        self.leader = None;
    }

    /// Neither votes nor leads from now on. [P-44]
    pub fn mute(&mut self) {
        self.role = Role::Mute;
    }

    /// What the node is now.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The epoch this node follows, stands in or leads; 0 before the first.
    pub fn current(&self) -> Epoch {
        self.current
    }

    /// Who leads, as far as this node knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// The highest epoch that this node has promised, claimed or followed.
    pub fn promised(&self) -> Epoch {
        self.promised
    }

    /// To whom it has promised that epoch.
    pub fn promised_to(&self) -> Option<NodeId> {
        self.promised_to
    }

    /// The epoch that a pre-vote asks for.
    pub fn asked(&self) -> Epoch {
        self.asked
    }

    /// The highest epoch closed for signing. [P-20]
    pub fn closed(&self) -> Epoch {
        self.closed
    }

    /// The first sequence of the epoch stood for: its start record. [P-25]
    pub fn first_sequence(&self) -> Sequence {
        self.first_sequence
    }

    /// Whether the log claims `epoch` for this node.
    pub fn has_claimed(&self, epoch: Epoch) -> bool {
        epoch <= self.claims_lost_through || self.claimed.binary_search(&epoch).is_ok()
    }

    /// The log is damaged: claims to epochs through `epoch` may have stood there. [P-46]
    pub fn lose_claims_through(&mut self, epoch: Epoch) {
        self.claims_lost_through = epoch;
    }

    /// Whether the claim to `epoch` is durable and the epoch still open for signing. [P-40]
    pub fn is_open_for_signing(&self, epoch: Epoch) -> bool {
        matches!(self.role, Role::Standing | Role::Leading) && epoch == self.current && epoch > self.closed
    }

    /// Whether an honest history may have come that far.
    pub fn is_near(&self, epoch: Epoch) -> bool {
        epoch.0 < self.highest().0.saturating_add(EPOCH_LEAP_MAX)
    }

    fn highest(&self) -> Epoch {
        self.closed.max(self.promised).max(self.current).max(self.heard_of)
    }
}

impl Default for EpochLife {
    fn default() -> Self {
        Self::new()
    }
}

/// Room for claims before the list grows; it grows in an election only, never on the fast path.
const CLAIMS_EXPECTED: usize = 64;

/// How far one message may move the next epoch: a liar must not use the numbers up.
const EPOCH_LEAP_MAX: u64 = 1 << 20;
