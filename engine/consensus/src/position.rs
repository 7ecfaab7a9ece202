//! How far each voter has come, and how far a quorum has.
//!
//! Invariant: within an epoch a position of another voter never goes back. [P-50]

use io_oi_record::Sequence;
use io_oi_record::limits::MEMBERS_MAX;

use crate::membership::{Membership, VoterIndex};

/// One position per voter: the highest sequence through which the voter has every record.
#[derive(Clone, Copy, Debug)]
pub struct Positions {
    through: [Sequence; MEMBERS_MAX],
}

impl Positions {
    /// Every voter at the beginning.
    pub fn new() -> Self {
        Self { through: [Sequence::NONE; MEMBERS_MAX] }
    }

    /// As a checkpoint has them.
    pub(crate) fn restored(through: [Sequence; MEMBERS_MAX]) -> Self {
        Self { through }
    }

    /// All of them, in the order of the voters; zeros behind the last.
    pub(crate) fn all(&self) -> &[Sequence; MEMBERS_MAX] {
        &self.through
    }

    /// Moves `voter` forward to `through`. A stale report changes nothing; says whether it moved. [P-50]
    pub fn advance(&mut self, voter: VoterIndex, through: Sequence) -> bool {
        let position = &mut self.through[voter.as_usize()];
        let moved = through > *position;
        if moved {
            *position = through;
        }
        moved
    }

    /// The chain was rewound: `voter`, which is this node, has nothing behind `through` any more. [P-35]
    pub fn rewind(&mut self, voter: VoterIndex, through: Sequence) {
        let position = &mut self.through[voter.as_usize()];
        *position = through.min(*position);
    }

    /// Where `voter` stands.
    pub fn of(&self, voter: VoterIndex) -> Sequence {
        self.through[voter.as_usize()]
    }

    /// The same positions under another membership; who is new begins at the beginning.
    pub fn carried_over(&self, before: &Membership, after: &Membership) -> Self {
        let mut carried = Self::new();
        for (place, node) in after.voters().iter().enumerate() {
            if let Some(voter) = before.voter_index(*node) {
                carried.through[place] = self.of(voter);
            }
        }
        carried
    }

    /// The highest sequence that a quorum has reached: the quorum-th highest position. [P-51]
    pub fn quorum_point(&self, members: &Membership) -> Sequence {
        let voter_count = members.voters().len();
        let mut ranked = self.through;
        let ranked = &mut ranked[..voter_count];
        ranked.sort_unstable_by(|left, right| right.cmp(left));
        ranked[members.quorum_size() - 1]
    }
}

impl Default for Positions {
    fn default() -> Self {
        Self::new()
    }
}
