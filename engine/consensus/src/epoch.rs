//! The life of a node's epochs: closed at boot, claimed, granted, led.
//!
//! Invariant: a node stands in an epoch at most once, and only in one above every epoch its log has seen. [P-20, P-21]

use io_oi_record::{Epoch, Sequence};

use crate::membership::{Membership, VoterIndex, VoterSet};

/// What this node is in its group at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It stands for nothing: reading its log, or closed.
    Idle,
    /// It has written a claim to an epoch; the flush that covers the claim is not done. [P-22]
    Claiming,
    /// Its claim is durable; a quorum has not granted the epoch yet. [P-24]
    Standing,
    /// A quorum has granted it the epoch. [P-24]
    Leading,
}

/// Where this node is in its epochs.
#[derive(Clone, Copy, Debug)]
pub struct EpochLife {
    closed: Epoch,
    current: Epoch,
    role: Role,
    grants: VoterSet,
    first_sequence: Sequence,
}

impl EpochLife {
    /// A node that has seen no epoch yet.
    pub fn new() -> Self {
        Self {
            closed: Epoch::NONE,
            current: Epoch::NONE,
            role: Role::Idle,
            grants: VoterSet::EMPTY,
            first_sequence: Sequence::NONE,
        }
    }

    /// The log has shown `epoch`: it and everything below is closed for signing, for ever. [P-20]
    pub fn close_through(&mut self, epoch: Epoch) {
        assert_eq!(self.role, Role::Idle, "an epoch is closed by the log, before the node stands");
        self.closed = self.closed.max(epoch);
    }

    /// Stands for the epoch after the highest closed one. The first record of that epoch will be
    /// `first_sequence`. The caller makes the claim durable before it goes on. [P-21]
    pub fn claim(&mut self, first_sequence: Sequence) -> Epoch {
        assert_eq!(self.role, Role::Idle, "a node claims one epoch per boot");
        self.current = self.closed.next();
        self.role = Role::Claiming;
        self.grants = VoterSet::EMPTY;
        self.first_sequence = first_sequence;
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
        }
        counted
    }

    /// What the node is now.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The epoch this node stands in or leads; 0 before its first claim.
    pub fn current(&self) -> Epoch {
        self.current
    }

    /// The highest epoch closed for signing. [P-20]
    pub fn closed(&self) -> Epoch {
        self.closed
    }

    /// The first sequence of the current epoch: its start record. [P-25]
    pub fn first_sequence(&self) -> Sequence {
        self.first_sequence
    }

    /// Whether the claim to `epoch` is durable and the epoch still open for signing. [P-40]
    pub fn is_open_for_signing(&self, epoch: Epoch) -> bool {
        matches!(self.role, Role::Standing | Role::Leading) && epoch == self.current && epoch > self.closed
    }
}

impl Default for EpochLife {
    fn default() -> Self {
        Self::new()
    }
}
