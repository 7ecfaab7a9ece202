//! 5. Each proposal takes effect at most once; a retried one gets the same receipt.

use std::collections::BTreeMap;

use io_oi_record::{Receipt, Sequence, SessionId, SessionSequence};

use super::Finding;
use super::receipts::{Receipts, is_for_good};
use crate::oracle::Decided;

/// Where each proposal stands.
#[derive(Debug, Default)]
pub(crate) struct Once {
    places: BTreeMap<(SessionId, SessionSequence), Sequence>,
}

impl Once {
    /// A record is decided.
    pub(super) fn check_record(&mut self, record: &Decided) -> Finding {
        if !record.operation.has_key() {
            return Ok(());
        }
        let (session, number) = (record.session, record.session_sequence);
        match self.places.insert((session, number), record.sequence) {
            None => Ok(()),
            Some(first) => Err(format!(
                "number {number} of {session} stands at {first} and again at {}",
                record.sequence
            )),
        }
    }

    /// A receipt is given, perhaps once more.
    pub(super) fn check_receipt(receipts: &Receipts, session: SessionId, receipt: &Receipt) -> Finding {
        let number = receipt.session_sequence;
        let Some(first) = receipts.first(session, number).filter(|_| is_for_good(receipt)) else {
            return Ok(());
        };
        // An opened session may be closed later; both answers come under number 0.
        if number.is_none() || said(first) == said(receipt) {
            return Ok(());
        }
        Err(format!("number {number} of {session} was answered {first:?} and then {receipt:?}"))
    }
}

fn said(receipt: &Receipt) -> (Sequence, io_oi_record::Epoch, io_oi_record::Nanos, io_oi_record::Outcome) {
    (receipt.sequence, receipt.epoch, receipt.time, receipt.outcome)
}
