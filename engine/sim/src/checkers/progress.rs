//! 8. After faults heal, commits resume within a bounded number of election timeouts.

use io_oi_record::Sequence;

use super::Finding;

/// Where one node stands at the end of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) node: usize,
    /// Whether it has to take part: a member that is not silenced.
    pub(crate) is_expected: bool,
    pub(crate) is_up: bool,
    pub(crate) committed: Sequence,
}

/// Some time after somebody first asked for it, with no fault left, something new was decided.
pub(super) fn check_resumed(before: Sequence, now: Sequence, waited_ns: u64) -> Finding {
    if now > before {
        return Ok(());
    }
    Err(format!(
        "asked for since {} ms without a fault, nothing was decided beyond {before}",
        waited_ns / 1_000_000
    ))
}

/// In the quiet at the end every node has everything.
pub(super) fn check_level(through: Sequence, nodes: &[Standing]) -> Finding {
    for node in nodes.iter().filter(|node| node.is_expected) {
        if !node.is_up {
            return Err(format!("n{} is not up at the end", node.node));
        }
        if node.committed != through {
            let Standing { node, committed, .. } = node;
            return Err(format!("n{node} ends with {committed} committed, decided is {through}"));
        }
    }
    Ok(())
}

/// Nobody waits for ever.
pub(super) fn check_answered(waiting: &[String]) -> Finding {
    match waiting.first() {
        None => Ok(()),
        Some(first) => Err(format!("{} clients still wait at the end, one for {first}", waiting.len())),
    }
}
