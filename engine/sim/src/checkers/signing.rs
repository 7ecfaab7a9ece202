//! 3. No honest key signs twice. (And a planted dishonest one is convicted.)

use std::collections::BTreeMap;

use io_oi_record::{Epoch, Sequence};

use super::{Finding, Said};
use crate::story::Short;

/// What a signature was given for, by its place: at one place a key may sign one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Header(Epoch, Sequence),
    Vote(usize, Epoch, Sequence),
    Ballot(usize, Epoch),
    Grant(usize, Epoch),
}

/// Where a statement was signed, and for what.
fn place_of(said: &Said) -> Option<(Place, [u8; 32])> {
    match *said {
        Said::Sealed { epoch, last, hash, .. } => Some((Place::Header(epoch, last), hash.0)),
        Said::Voted { voter, epoch, sequence, hash } => Some((Place::Vote(voter, epoch, sequence), hash.0)),
        Said::Stood { candidate, epoch, tip } => Some((Place::Ballot(candidate, epoch), tip.0)),
        Said::Granted { voter, epoch, candidate } => Some((Place::Grant(voter, epoch), candidate.0)),
        Said::Acknowledged { .. } | Said::Other => None,
    }
}

/// Everything that was signed and sent.
#[derive(Debug, Default)]
pub(crate) struct Signing {
    signed: BTreeMap<Place, [u8; 32]>,
}

impl Signing {
    /// Whether something else was signed at the place of this.
    pub(crate) fn contradicts(&self, said: &Said) -> bool {
        let signed = place_of(said).and_then(|(place, what)| Some((self.signed.get(&place)?, what)));
        signed.is_some_and(|(known, what)| *known != what)
    }

    /// A signed statement leaves a node.
    pub(crate) fn check(&mut self, from: usize, said: &Said) -> Finding {
        let Some((place, what)) = place_of(said) else { return Ok(()) };
        let first = *self.signed.entry(place).or_insert(what);
        if first == what {
            return Ok(());
        }
        Err(format!(
            "signed twice: {place:?} for {} and for {}, the second sent by n{from}",
            Short(&first),
            Short(&what)
        ))
    }
}
