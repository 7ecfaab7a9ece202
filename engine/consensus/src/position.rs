//! How far each voter has come, and how far a quorum has.
//!
//! Invariant: a position never goes back within an epoch. [P-50]

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

    /// Moves `voter` forward to `through`. A stale report changes nothing; says whether it moved. [P-50]
    pub fn advance(&mut self, voter: VoterIndex, through: Sequence) -> bool {
        let position = &mut self.through[voter.as_usize()];
        let moved = through > *position;
        if moved {
            *position = through;
        }
        moved
    }

    /// Where `voter` stands.
    pub fn of(&self, voter: VoterIndex) -> Sequence {
        self.through[voter.as_usize()]
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
