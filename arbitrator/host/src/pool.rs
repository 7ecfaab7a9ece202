//! The judges of one core: one instance of each arbitrator, made at boot.
//!
//! Invariant: a component has one instance in a pool, however many prefixes it judges.

use io_oi_record::Hash;

use crate::admission::Arbitrator;
use crate::sealed::Judge;

/// The judges of one core.
#[derive(Debug, Default)]
pub struct Pool {
    judges: Vec<(Hash, Judge)>,
}

impl Pool {
    /// Where the judge of this arbitrator stands; made when there is none yet.
    pub fn seat(&mut self, arbitrator: &Arbitrator) -> usize {
        let found = self.judges.iter().position(|(hash, _)| *hash == arbitrator.hash());
        found.unwrap_or_else(|| {
            self.judges.push((arbitrator.hash(), arbitrator.judge()));
            self.judges.len() - 1
        })
    }

    /// The judge at this place.
    ///
    /// # Panics
    ///
    /// For a place that [`Pool::seat`] has not named.
    #[inline]
    pub fn judge(&mut self, seat: usize) -> &mut Judge {
        &mut self.judges[seat].1
    }

    /// Every judge with the hash of its component.
    pub fn iter(&self) -> impl Iterator<Item = (Hash, &Judge)> {
        self.judges.iter().map(|(hash, judge)| (*hash, judge))
    }
}
