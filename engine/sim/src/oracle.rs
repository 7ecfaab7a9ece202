//! The truth about one history: what was decided, in order, as the first node that decided it told.
//!
//! Invariant: the truth only grows. It is kept by the world's own means and asks no machine for its opinion.

use std::collections::BTreeMap;

use io_oi_record::{
    Block, BlockHeader, Epoch, Hash, Nanos, Operation, Precondition, Sequence, SessionId, SessionSequence,
    Shipment, Verdict,
    governance::{Change, Governance},
};
use io_oi_shard::hearing::seed_of;

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
    /// Whether an operator has signed what is written.
    pub(crate) is_operators: bool,
    pub(crate) key: Vec<u8>,
    /// What was proposed for the key (`None`: its removal).
    pub(crate) value: Option<Vec<u8>>,
    /// What an arbitrator has written with it.
    pub(crate) effects: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// What the log makes of its place.
    pub(crate) seed: u64,
    /// Whether an arbitrator judges it, by the changes decided before it.
    pub(crate) is_judged: bool,
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
    is_judged: bool,
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
            for write in record.writes() {
                let versions = self.keys.entry(write.key.to_vec()).or_default();
                versions.push((record.sequence, write.value.map(<[u8]>::to_vec)));
            }
            let is_judged = self.is_judged;
            let operators_write = record.proposal().operators_write();
            // What an operator writes has its number, whatever its judge says of it.
            if record.operation == Operation::Govern
                && (record.verdict.is_accepted() || operators_write.is_some())
            {
                let shipment = Shipment::decode(record.value);
                if let Ok(Shipment { signed, .. }) = shipment {
                    if let Change::SetArbitrator(choice) = &signed.governance.change {
                        self.is_judged = !choice.arbitrator.is_zero();
                    }
                    self.changes.push(signed.governance);
                }
            }
            let written = operators_write.unwrap_or_else(|| record.proposal());
            self.records.push(Decided {
                sequence: record.sequence,
                session: record.session,
                session_sequence: record.session_sequence,
                operation: record.operation,
                is_operators: operators_write.is_some(),
                precondition: written.precondition,
                verdict: record.verdict,
                epoch: header.epoch,
                time: header.time,
                key: written.key.to_vec(),
                value: (written.operation == Operation::Put).then(|| written.value.to_vec()),
                effects: record
                    .effects
                    .iter()
                    .map(|write| (write.key.to_vec(), write.value.map(<[u8]>::to_vec)))
                    .collect(),
                seed: seed_of(header.cluster, header.shard, header.epoch, record.sequence),
                is_judged,
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
