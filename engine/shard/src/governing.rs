//! What operators have decided, as far as this shard's log says so.
//!
//! Invariant: who may stand is a function of the genesis, the log and the signed appointment at hand. [P-100]

use io_oi_record::{Ballot, ControlMode, Genesis, NodeId, Sequence};

/// The rules in force.
pub(crate) struct Governing {
    control: ControlMode,
    appointed: Option<NodeId>,
}

impl Governing {
    pub(crate) fn new(genesis: &Genesis) -> Self {
        let appointed = genesis.members.first().map(|member| member.node);
        Self { control: genesis.control, appointed }
    }

    /// Whether `node` may stand for leader. [P-100]
    pub(crate) fn may_stand(&self, node: NodeId) -> bool {
        match self.control {
            ControlMode::Competitive => true,
            ControlMode::Strict => self.appointed == Some(node),
        }
    }

    /// The number of the appointment by which `node` stands; 0 where none is needed.
    pub(crate) fn authority(&self, _node: NodeId) -> u64 {
        0
    }

    /// Whether the candidate has the authority to stand that its ballot names. [P-100]
    pub(crate) fn grants_authority(&self, ballot: &Ballot, _appointment: Option<&[u8]>) -> bool {
        self.may_stand(ballot.candidate)
    }

    /// The encoded signed appointment that our ballot carries.
    pub(crate) fn appointment_at_hand(&self) -> Option<&[u8]> {
        None
    }

    pub(crate) fn rewind_to(&mut self, _last: Sequence) {}
}
