//! The value with the newest stamp stays: writers order themselves, whatever way their proposals take.
//!
//! Invariant: the same proposals in any order leave the same value. A value begins with its writer's stamp (u64); equal
//! stamps are ordered by the bytes behind it. A removal carries no stamp and is accepted.

use io_oi_arbitrator_sdk::{
    Arbitrator, CellReader, Context, Decision, Effects, Keys, Manifest, Plan, ReadSet, Write,
};

use crate::bytes::u64_at;
use crate::code;

/// The newest stamp wins.
#[derive(Clone, Copy, Debug)]
pub struct LastWriterWins;

impl Arbitrator for LastWriterWins {
    const MANIFEST: Manifest = Manifest {
        reads: ReadSet::Explicit,
        max_state: 2048,
        max_proposal: 2048,
        fuel: 20_000,
        ..Manifest::named("last-writer-wins", (1, 0, 0))
    };

    fn decide(_: &Context, state: &[u8], proposal: &[u8], _: &mut Effects<'_>) -> Decision {
        let Some(write) = Write::only(proposal) else { return Decision::refuse(code::MALFORMED) };
        if write.is_delete {
            return Decision::ACCEPT;
        }
        let Some(stamp) = u64_at(write.value, 0) else { return Decision::refuse(code::MALFORMED) };
        let Some(cell) = CellReader::new(state).next() else { return Decision::refuse(code::STATE) };
        let stored = cell.value.and_then(|value| Some((u64_at(value, 0)?, value.get(8..)?)));
        match stored {
            Some(stored) if (stamp, write.value.get(8..).unwrap_or(&[])) <= stored => {
                Decision::refuse(code::STALE)
            }
            _ => Decision::ACCEPT,
        }
    }
}

impl Plan for LastWriterWins {
    fn plan<'a>(proposal: &'a [u8], keys: &mut Keys<'a>) {
        if let Some(write) = Write::only(proposal) {
            keys.push(write.key);
        }
    }
}
