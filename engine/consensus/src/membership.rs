//! Who votes, and how many make a quorum.
//!
//! Invariant: any two quorums of one membership share a voter. [P-11]

use io_oi_record::NodeId;
use io_oi_record::limits::MEMBERS_MAX;

/// The voters of one shard's group, in genesis order. [P-10]
#[derive(Clone, Copy, Debug)]
pub struct Membership {
    voters: [NodeId; MEMBERS_MAX],
    voter_count: usize,
}

impl Membership {
    /// Takes the voters in genesis order: between one and [`MEMBERS_MAX`], each named once.
    pub fn new(voters: &[NodeId]) -> Result<Self, MembershipError> {
        let Some(first) = voters.first() else { return Err(MembershipError::Empty) };
        if voters.len() > MEMBERS_MAX {
            return Err(MembershipError::TooMany { voter_count: voters.len() });
        }
        for (index, voter) in voters.iter().enumerate() {
            if voters[..index].contains(voter) {
                return Err(MembershipError::NamedTwice { index });
            }
        }
        let mut members = Self { voters: [*first; MEMBERS_MAX], voter_count: voters.len() };
        members.voters[..voters.len()].copy_from_slice(voters);
        Ok(members)
    }

    /// How many voters make a quorum: more than half of them. [P-11]
    pub fn quorum_size(&self) -> usize {
        self.voter_count / 2 + 1
    }

    /// The place of `node` among the voters, `None` when it does not vote.
    pub fn voter_index(&self, node: NodeId) -> Option<VoterIndex> {
        self.voters().iter().position(|voter| *voter == node).map(|index| VoterIndex(index as u8))
    }

    /// The voters in genesis order.
    pub fn voters(&self) -> &[NodeId] {
        &self.voters[..self.voter_count]
    }

    /// Whether `set` holds a quorum of the voters.
    pub fn is_quorum(&self, set: VoterSet) -> bool {
        set.count() >= self.quorum_size()
    }
}

/// A voter's place in its [`Membership`]; only a membership hands them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VoterIndex(u8);

impl VoterIndex {
    /// The place as an index into per-voter arrays.
    pub fn as_usize(self) -> usize {
        usize::from(self.0)
    }
}

/// A set of voters: one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VoterSet(u8);

const _: () = assert!(MEMBERS_MAX <= u8::BITS as usize, "a voter set is one byte");

impl VoterSet {
    /// The empty set.
    pub const EMPTY: Self = Self(0);

    /// Every voter that a membership can have.
    pub const ALL: Self = Self(u8::MAX);

    /// The voters that are in both sets.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Adds `voter`; adding it again changes nothing. Says whether it is new.
    pub fn insert(&mut self, voter: VoterIndex) -> bool {
        let before = self.0;
        self.0 |= 1 << voter.0;
        self.0 != before
    }

    /// How many voters are in the set.
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// Why a list of nodes is not a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// No voter at all.
    #[error("the genesis names no voter: name at least one member")]
    Empty,
    /// More voters than a group may have.
    #[error("the genesis names {voter_count} voters, a group has at most {MEMBERS_MAX}: name fewer")]
    TooMany {
        /// How many were named.
        voter_count: usize,
    },
    /// One key twice would count its vote twice.
    #[error("the voter at place {index} is named before: name every member once")]
    NamedTwice {
        /// Place of the second naming.
        index: usize,
    },
}
