//! What an operator writes himself.
//!
//! Invariant: it is signed for and numbered as governance is, and judged as every write is: its judge is told that an operator
//! proposes it. What takes effect stands in the record's effects, so it needs no judge to be shown, replayed or taken back. A
//! write that is refused has used its number up, in every shard alike, and writes nothing. [P-98]

use alloc::vec::Vec;

use io_oi_record::{Effect, Effects, Operation, Proposal, RefusalCode, Verdict};

use crate::governing::Decision;
use crate::machine::Machine;
use crate::poll::Step;

/// What a judge is asked about when this proposal is decided, and whether an operator proposes it.
#[inline]
pub(crate) fn put_to_judge<'a>(proposal: &Proposal<'a>) -> Option<(Proposal<'a>, bool)> {
    if proposal.operation.has_key() {
        return Some((*proposal, false));
    }
    Some((proposal.operators_write()?, true))
}

/// The verdict of the governance record that carries an operator's write, of what was said about the write alone.
pub(crate) fn verdict_of_record<'o>(
    write: &Proposal<'_>,
    said: Verdict,
    effects: Effects<'_>,
    out: &'o mut Vec<u8>,
) -> (Verdict, Effects<'o>) {
    match said {
        // It stands in the log of every shard, and is for the one that holds the key.
        Verdict::Refuse(RefusalCode::WrongShard) => return (Verdict::Accept, Effects::NONE),
        Verdict::Refuse(_) => return (said, Effects::NONE),
        Verdict::Accept | Verdict::AcceptWithWrites => {}
    }
    out.clear();
    if !effects.iter().any(|effect| effect.key == write.key) {
        let value = (write.operation == Operation::Put).then_some(write.value);
        Effect { key: write.key, value }.encode(out);
    }
    out.extend_from_slice(effects.as_bytes());
    match Effects::check(out) {
        Ok(effects) => (Verdict::AcceptWithWrites, effects),
        Err(_) => (Verdict::Refuse(RefusalCode::ArbitratorFault), Effects::NONE),
    }
}

impl Machine {
    /// A governance record needs no world to be judged, save that a judge is asked about an operator's write. [P-90]
    pub(crate) fn next_governance(&mut self) -> Option<Step> {
        match self.decide_governance() {
            Decision::Decline(code) => self.decline_pending(code),
            Decision::Accept if self.pending.proposal().operators_write().is_some() => {
                return self.ask_judge();
            }
            Decision::Accept => self.sequence_pending(Verdict::Accept),
        }
        None
    }

    /// The world has said what becomes of the pending proposal.
    pub(crate) fn sequence_decided(&mut self, verdict: Verdict, effects: Effects<'_>) {
        if self.pending.operation() != Operation::Govern {
            return self.sequence_judged(verdict, effects);
        }
        let mut written = core::mem::take(&mut self.operators_effects);
        let write = self.pending.proposal().operators_write().expect("the judge was asked about a write");
        let (verdict, effects) = verdict_of_record(&write, verdict, effects, &mut written);
        self.sequence_judged(verdict, effects);
        self.operators_effects = written;
    }
}
