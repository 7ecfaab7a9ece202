//! Compare and set by a version inside the value, without knowing any sequence.
//!
//! Invariant: the version under a key rises by exactly one with each accepted proposal. A value begins with its version
//! (u64): a proposal names the version it has seen, 0 for none, and is stored under the next one.

use io_oi_arbitrator_sdk::{
    Arbitrator, CellReader, Context, Decision, Effects, Keys, Manifest, Plan, ReadSet, Write,
};

use crate::bytes::{put, u64_at};
use crate::code;

/// Accepts what has seen the newest version.
#[derive(Clone, Copy, Debug)]
pub struct CompareVersion;

/// Longest value that it takes.
const VALUE_BYTES_MAX: usize = 512;

impl Arbitrator for CompareVersion {
    const MANIFEST: Manifest = Manifest {
        reads: ReadSet::Explicit,
        max_state: 1088,
        max_proposal: 1088,
        max_effects: 1088,
        fuel: 40_000,
        ..Manifest::named("compare-version", (1, 0, 0))
    };

    fn decide(_: &Context, state: &[u8], proposal: &[u8], effects: &mut Effects<'_>) -> Decision {
        let write =
            Write::only(proposal).filter(|write| !write.is_delete && write.value.len() <= VALUE_BYTES_MAX);
        let Some(write) = write else { return Decision::refuse(code::MALFORMED) };
        let Some(seen) = u64_at(write.value, 0) else { return Decision::refuse(code::MALFORMED) };
        let Some(cell) = CellReader::new(state).next() else { return Decision::refuse(code::STATE) };
        let stored = match cell.value {
            None => 0,
            Some(value) => match u64_at(value, 0) {
                Some(version) => version,
                None => return Decision::refuse(code::STATE),
            },
        };
        if seen != stored || stored == u64::MAX {
            return Decision::refuse(code::STALE);
        }
        let mut value = [0; VALUE_BYTES_MAX];
        put(&mut value, 0, write.value);
        put(&mut value, 0, &(stored + 1).to_le_bytes());
        if effects.put(write.key, &value[..write.value.len()]) {
            Decision::ACCEPT
        } else {
            Decision::refuse(code::NO_ROOM)
        }
    }
}

impl Plan for CompareVersion {
    fn plan<'a>(proposal: &'a [u8], keys: &mut Keys<'a>) {
        if let Some(write) = Write::only(proposal) {
            keys.push(write.key);
        }
    }
}
