//! The one judgement of the house itself: does the precondition hold?
//!
//! Invariant: the answer depends on its arguments only, so every node that executes the record says the same.

use io_oi_record::{Precondition, Proposal, RefusalCode, Sequence, Verdict};

/// Judges a proposal against the newest version of its key in log order, tentative ones included.
///
/// `newest` is the sequence that wrote the version, `None` when the key does not exist (never written, or deleted).
#[must_use]
pub const fn precondition_verdict(proposal: &Proposal<'_>, newest: Option<Sequence>) -> Verdict {
    let holds = match (proposal.precondition, newest) {
        (Precondition::None, _) | (Precondition::Absent, None) => true,
        (Precondition::SequenceIs(expected), Some(found)) => expected.0 == found.0,
        (Precondition::Absent, Some(_)) | (Precondition::SequenceIs(_), None) => false,
    };
    if holds { Verdict::Accept } else { Verdict::Refuse(RefusalCode::PreconditionFailed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_oi_record::{Durability, Operation, SessionSequence};

    fn judged(precondition: Precondition, newest: Option<u64>) -> bool {
        let proposal = Proposal {
            session_sequence: SessionSequence(1),
            operation: Operation::Put,
            precondition,
            durability: Durability::DiskQuorum,
            key: b"k",
            value: b"v",
        };
        precondition_verdict(&proposal, newest.map(Sequence)).is_accepted()
    }

    #[test]
    fn no_precondition_always_holds() {
        assert!(judged(Precondition::None, None) && judged(Precondition::None, Some(3)));
    }

    #[test]
    fn absent_holds_only_while_the_key_does_not_exist() {
        assert!(judged(Precondition::Absent, None));
        assert!(!judged(Precondition::Absent, Some(3)));
    }

    #[test]
    fn a_sequence_holds_only_for_the_version_it_names() {
        let expected = Precondition::SequenceIs(Sequence(3));
        assert!(judged(expected, Some(3)));
        assert!(!judged(expected, Some(2)) && !judged(expected, Some(4)) && !judged(expected, None));
    }
}
