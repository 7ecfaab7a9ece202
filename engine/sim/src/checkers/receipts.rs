//! 2. A receipt `committed` survives every later leader.
//!
//! The truth only grows and every node is held against it (checker 1), so a receipt survives if what it says is true when
//! it is given, and every node has it at the end (checker 4).

use std::collections::BTreeMap;

use io_oi_record::{Durability, Outcome, Receipt, SessionId, SessionSequence, Verdict};

use super::Finding;
use crate::oracle::Truth;

/// What sessions were told for good.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    given: BTreeMap<(SessionId, SessionSequence), Receipt>,
}

impl Receipts {
    /// A node gives a receipt. `committed` is through where it says that everything is committed.
    pub(super) fn check(
        &mut self,
        truth: &Truth,
        node: usize,
        session: SessionId,
        receipt: &Receipt,
    ) -> Finding {
        if !is_for_good(receipt) {
            return Ok(());
        }
        let sequence = receipt.sequence;
        let who = || {
            format!("n{node} tells {session} that number {} stands at {sequence}", receipt.session_sequence)
        };
        let Some(record) = truth.record(sequence) else {
            return Err(format!("{} at {}, where nothing is decided", who(), receipt.durability.name()));
        };
        let opens = receipt.session_sequence.is_none();
        if record.session != session || (!opens && record.session_sequence != receipt.session_sequence) {
            return Err(format!(
                "{}, but number {} of {} stands there",
                who(),
                record.session_sequence,
                record.session
            ));
        }
        let agrees = match (record.verdict, receipt.outcome) {
            (Verdict::Refuse(code), Outcome::Refused(told)) => code == told,
            (Verdict::Refuse(_), Outcome::Accepted) => false,
            (_, outcome) => outcome == Outcome::Accepted,
        };
        if !agrees {
            return Err(format!("{} as {:?}, decided was {}", who(), receipt.outcome, record.verdict));
        }
        if (record.epoch, record.time) != (receipt.epoch, receipt.time) {
            return Err(format!("{} in epoch {}, decided in epoch {}", who(), receipt.epoch, record.epoch));
        }
        self.given.entry((session, receipt.session_sequence)).or_insert(*receipt);
        Ok(())
    }

    /// The first receipt that was given for good.
    pub(super) fn first(&self, session: SessionId, number: SessionSequence) -> Option<&Receipt> {
        self.given.get(&(session, number))
    }

    /// At the end everything that was told is still so.
    pub(super) fn check_all(&self, truth: &Truth) -> Finding {
        for ((session, number), receipt) in &self.given {
            let record = truth.record(receipt.sequence);
            if record.is_none_or(|record| record.session != *session) {
                return Err(format!("number {number} of {session} was acknowledged and is gone"));
            }
        }
        Ok(())
    }
}

/// Whether the receipt promises for ever: `local` and `mem-quorum` ones may be lost with the boxes.
pub(crate) fn is_for_good(receipt: &Receipt) -> bool {
    receipt.durability >= Durability::DiskQuorum && !receipt.sequence.is_none()
}
