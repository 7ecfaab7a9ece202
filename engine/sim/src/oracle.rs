//! The truth about one history: what was decided, in order, as the first node that decided it told.
//!
//! Invariant: the truth only grows. It is kept by the world's own means and asks no machine for its opinion.

use std::collections::BTreeMap;

use io_oi_record::{
    Block, BlockHeader, Epoch, Hash, Nanos, Operation, Precondition, Sequence, SessionId, SessionSequence,
    Verdict,
    governance::{Governance, SignedGovernance},
};

/// One decided block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecidedBlock {
    pub(crate) first: Sequence,
    pub(crate) last: Sequence,
    pub(crate) hash: Hash,
    pub(crate) epoch: Epoch,
}

/// One decided record.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) sequence: Sequence,
    pub(crate) session: SessionId,
    pub(crate) session_sequence: SessionSequence,
    pub(crate) operation: Operation,
    pub(crate) precondition: Precondition,
    pub(crate) verdict: Verdict,
    pub(crate) epoch: Epoch,
    pub(crate) time: Nanos,
    pub(crate) key: Vec<u8>,
}

/// Where a key was written, and what (`None`: removed), in order.
type Versions = Vec<(Sequence, Option<Vec<u8>>)>;

/// Everything decided so far.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    blocks: Vec<DecidedBlock>,
    records: Vec<Decided>,
    keys: BTreeMap<Vec<u8>, Versions>,
    changes: Vec<Governance>,
}

impl Truth {
    /// The decided block that holds this sequence.
    pub(crate) fn block_at(&self, sequence: Sequence) -> Option<&DecidedBlock> {
        let place = self.blocks.partition_point(|block| block.last < sequence);
        self.blocks.get(place).filter(|block| block.first <= sequence)
    }

    /// The newest decided block.
    pub(crate) fn newest_block(&self) -> Option<&DecidedBlock> {
        self.blocks.last()
    }

    /// The record at this sequence.
    pub(crate) fn record(&self, sequence: Sequence) -> Option<&Decided> {
        self.records.get(usize::try_from(sequence.0.checked_sub(1)?).ok()?)
    }

    /// Through which sequence everything is decided.
    pub(crate) fn through(&self) -> Sequence {
        Sequence(self.records.len() as u64)
    }

    pub(crate) fn records(&self) -> &[Decided] {
        &self.records
    }

    /// Adds the next decided block; its place was checked by the caller.
    pub(crate) fn decide(&mut self, header: &BlockHeader, hash: Hash, block: &Block<'_>) {
        assert_eq!(header.first_sequence, self.through().next(), "the truth grows at its end");
        let (first, last) = (header.first_sequence, header.last_sequence());
        self.blocks.push(DecidedBlock { first, last, hash, epoch: header.epoch });
        for record in block.records() {
            if record.operation.has_key() && record.verdict.is_accepted() {
                let value = (record.operation == Operation::Put).then(|| record.value.to_vec());
                let versions = self.keys.entry(record.key.to_vec()).or_default();
                versions.push((record.sequence, value));
            }
            if record.operation == Operation::Govern && record.verdict.is_accepted() {
                let signed = SignedGovernance::decode(record.value);
                self.changes.extend(signed.map(|signed| signed.governance));
            }
            self.records.push(Decided {
                sequence: record.sequence,
                session: record.session,
                session_sequence: record.session_sequence,
                operation: record.operation,
                precondition: record.precondition,
                verdict: record.verdict,
                epoch: header.epoch,
                time: header.time,
                key: record.key.to_vec(),
            });
        }
    }

    /// The newest version of a key at or before a sequence: where it was written, and what (`None`: removed).
    pub(crate) fn version_at(&self, key: &[u8], through: Sequence) -> Option<(Sequence, Option<&[u8]>)> {
        let versions = self.keys.get(key)?;
        let place = versions.partition_point(|(sequence, _)| *sequence <= through).checked_sub(1)?;
        let (sequence, value) = &versions[place];
        Some((*sequence, value.as_deref()))
    }

    /// The changes of the cluster that were decided, in order; the first has number 1.
    pub(crate) fn changes(&self) -> &[Governance] {
        &self.changes
    }

    /// Every key that was ever written.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.keys.keys()
    }
}
