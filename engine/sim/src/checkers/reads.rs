//! 7. Linearizable reads are linearizable; plain reads never go back within a session; tentative is never committed.

use io_oi_history::{History, sessions};
use io_oi_record::Sequence;

use super::Finding;
use crate::oracle::Truth;

/// More than any history of a run needs; a run that needs more is told, not called wrong.
const STEPS_MAX: u64 = 2_000_000;

/// A node shows a version as committed: it was decided, and it is this one.
pub(super) fn check_shown(
    truth: &Truth,
    node: usize,
    key: &[u8],
    sequence: Sequence,
    value: Option<&[u8]>,
) -> Finding {
    let decided = truth.version_at(key, sequence);
    if decided == Some((sequence, value)) {
        return Ok(());
    }
    let key = key.escape_ascii();
    Err(format!("n{node} shows {key} of sequence {sequence} as committed, decided there is {decided:?}"))
}

/// One order explains what all clients were told.
pub(super) fn check_history(history: &History) -> Finding {
    match io_oi_history::check(history, STEPS_MAX) {
        Ok(_) | Err(io_oi_history::Violation::TooHard { .. }) => Ok(()),
        Err(violation) => {
            let io_oi_history::Violation::NotLinearizable { operations, .. } = &violation else {
                return Err(violation.to_string());
            };
            let told =
                operations.iter().map(|place| format!("\n    {place}: {}", history.operations()[*place]));
            Err(format!("{violation}{}", told.collect::<String>()))
        }
    }
}

/// No session saw a key go back.
pub(super) fn check_views(views: &[sessions::View]) -> Finding {
    sessions::check(views).map(|_| ()).map_err(|back| back.to_string())
}
