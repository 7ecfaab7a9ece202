//! 4. Every node has the same verdicts; state hash equal at equal sequence.

use std::collections::BTreeMap;

use io_oi_record::{Hash, Sequence};
use io_oi_record::{RefusalCode, Verdict};

use super::Finding;
use crate::hot::Hot;
use crate::oracle::{Decided, Truth};
use crate::story::Short;

/// Writes that take effect together with a record.
type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// What the arbitrator of this world has to say by its own page: one place in eight is refused, one is put off; for every
/// other the cell of the proposing node, its tag in hexadecimal digits, counts one more.
fn by_the_ledger(truth: &Truth, record: &Decided) -> (Verdict, Writes) {
    match record.seed % 8 {
        0 => (Verdict::Refuse(RefusalCode::arbitrator(7).expect("a small code")), Vec::new()),
        1 => (Verdict::Refuse(RefusalCode::ArbitratorDeferred), Vec::new()),
        _ => {
            let cell = format!("{:016x}", record.session.node.0).into_bytes();
            let before = truth.version_at(&cell, Sequence(record.sequence.0 - 1));
            let count = before.and_then(|(_, value)| value?.try_into().ok()).map_or(0, u64::from_le_bytes);
            (Verdict::AcceptWithWrites, vec![(cell, Some((count + 1).to_le_bytes().to_vec()))])
        }
    }
}

/// The state hashes that nodes have told.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    hashes: BTreeMap<Sequence, (Hash, usize)>,
}

impl Verdicts {
    /// A record is decided: is the verdict that of the world's own judge?
    pub(super) fn check_record(truth: &Truth, record: &Decided) -> Finding {
        if !record.operation.has_key() && !record.is_operators {
            return Ok(());
        }
        let before = Sequence(record.sequence.0 - 1);
        let newest = truth.version_at(&record.key, before);
        let newest = newest.and_then(|(sequence, value)| value.map(|_| sequence));
        let holds = match record.precondition {
            io_oi_record::Precondition::None => true,
            io_oi_record::Precondition::Absent => newest.is_none(),
            io_oi_record::Precondition::SequenceIs(asked) => newest == Some(asked),
        };
        let (expected, effects) = match (holds, record.is_judged) {
            (false, _) => (Verdict::Refuse(RefusalCode::PreconditionFailed), Vec::new()),
            (true, false) => (Verdict::Accept, Vec::new()),
            (true, true) => by_the_ledger(truth, record),
        };
        let (expected, effects) = if record.is_operators && expected.is_accepted() {
            // The record writes no key of its own: what the operator writes stands before what the judge adds.
            let own = (record.key.clone(), record.value.clone());
            (Verdict::AcceptWithWrites, [vec![own], effects].concat())
        } else {
            (expected, effects)
        };
        if record.verdict == expected && record.effects == effects {
            return Ok(());
        }
        Err(format!(
            "sequence {} was decided as {} with {:?}, it is {expected} with {effects:?}",
            record.sequence, record.verdict, record.effects
        ))
    }

    /// A node tells its state hash.
    pub(super) fn check_hash(&mut self, node: usize, sequence: Sequence, hash: Hash) -> Finding {
        let (known, first) = *self.hashes.entry(sequence).or_insert((hash, node));
        if known == hash {
            return Ok(());
        }
        let (known, hash) = (Short(&known.0), Short(&hash.0));
        Err(format!("after sequence {sequence} n{first} has state {known}, n{node} has {hash}"))
    }

    /// What a node shows as committed is what was decided, through where it has committed.
    pub(super) fn check_shown(truth: &Truth, node: usize, hot: &Hot, committed: Sequence) -> Finding {
        for key in truth.keys() {
            let decided = truth.version_at(key, committed).map(|(sequence, value)| (sequence.0, value));
            let shown = hot.committed(key).map(|shown| (shown.sequence, shown.value.as_deref()));
            if decided != shown {
                let key = key.escape_ascii();
                return Err(format!(
                    "n{node} shows {key} as {shown:?} at {committed}, decided is {decided:?}"
                ));
            }
        }
        Ok(())
    }
}
