//! Who decides a proposal.
//!
//! Invariant: a verdict depends on the case and on nothing else, so that every node that judges the same block comes
//! to the same verdicts. The sandboxed arbitrators come in through this trait.

use io_oi_record::{Epoch, Hash, Nanos, Proposal, Sequence, SessionId, Verdict};

/// One proposal at its place in the order; its precondition already holds.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The place that the record will take.
    pub sequence: Sequence,
    /// The leader's epoch.
    pub epoch: Epoch,
    /// The time of the block that the record goes into.
    pub time: Nanos,
    /// Who proposes.
    pub session: SessionId,
    /// What is proposed.
    pub proposal: Proposal<'a>,
}

/// Decides the proposals of one shard, on the shard's own thread.
pub trait Judge {
    /// Names the set of arbitrators; stands in the genesis and in every block header.
    fn arbitrators(&self) -> Hash;

    /// Decides. Must not allocate after the first call, must not read clocks or random numbers.
    fn judge(&mut self, case: &Case<'_>) -> Verdict;
}

/// Last writer wins: whatever satisfies its precondition is accepted.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptAll;

impl Judge for AcceptAll {
    fn arbitrators(&self) -> Hash {
        Hash(*blake3::hash(b"accept-all").as_bytes())
    }

    fn judge(&mut self, _case: &Case<'_>) -> Verdict {
        Verdict::Accept
    }
}
