//! Which arbitrator judges which key.
//!
//! Invariant: the longest prefix of a key decides, and the name of the set is a function of prefixes and components
//! alone, in whatever order they were added.

use io_oi_record::Hash;
use io_oi_record::hash::Domain;
use io_oi_record::limits::{ARBITRATORS_MAX, PREFIX_BYTES_MAX};

use crate::admission::Arbitrator;
use crate::pool::Pool;
use crate::sealed::Judge;

/// One prefix and who judges below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The prefix; the empty one is every key.
    pub prefix: Vec<u8>,
    /// The component.
    pub arbitrator: Hash,
    place: usize,
}

/// Which arbitrator judges which key, on one core.
#[derive(Debug, Default)]
pub struct Registry {
    /// Longer prefixes first, then in the order of their bytes.
    seats: Vec<Seat>,
    pool: Pool,
}

/// A prefix cannot be given an arbitrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Too long a prefix.
    #[error("the prefix has {bytes} bytes, at most {PREFIX_BYTES_MAX} are possible: choose a shorter one")]
    PrefixTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// Too many prefixes.
    #[error("{ARBITRATORS_MAX} prefixes have an arbitrator of their own already: remove one first")]
    Full,
}

impl Registry {
    /// Gives a prefix an arbitrator, in place of the one it had.
    ///
    /// # Errors
    ///
    /// When the prefix is too long, or there are too many.
    pub fn set(&mut self, prefix: &[u8], arbitrator: &Arbitrator) -> Result<(), RegistryError> {
        if prefix.len() > PREFIX_BYTES_MAX {
            return Err(RegistryError::PrefixTooLong { bytes: prefix.len() });
        }
        let found = self.find(prefix);
        if found.is_err() && self.seats.len() == ARBITRATORS_MAX {
            return Err(RegistryError::Full);
        }
        let place = self.pool.seat(arbitrator);
        let seat = Seat { prefix: prefix.to_vec(), arbitrator: arbitrator.hash(), place };
        match found {
            Ok(index) => self.seats[index] = seat,
            Err(index) => self.seats.insert(index, seat),
        }
        Ok(())
    }

    /// Takes a prefix its arbitrator away; `false` when it had none.
    pub fn remove(&mut self, prefix: &[u8]) -> bool {
        let found = self.find(prefix);
        if let Ok(index) = found {
            self.seats.remove(index);
        }
        found.is_ok()
    }

    /// Who judges this key, and below which prefix; `None` when nobody does.
    #[inline]
    pub fn judge_of(&mut self, key: &[u8]) -> Option<(&[u8], &mut Judge)> {
        let seat = self.seats.iter().find(|seat| key.starts_with(&seat.prefix))?;
        Some((&seat.prefix, self.pool.judge(seat.place)))
    }

    /// Every prefix with its arbitrator, longer prefixes first.
    #[must_use]
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// The judges behind the prefixes.
    #[must_use]
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The name of the set: what a block header carries.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut bytes = Vec::with_capacity(self.seats.len() * 64);
        for seat in &self.seats {
            bytes.extend_from_slice(&(seat.prefix.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&seat.prefix);
            bytes.extend_from_slice(&seat.arbitrator.0);
        }
        Domain::ArbitratorSet.hash(&bytes)
    }

    fn find(&self, prefix: &[u8]) -> Result<usize, usize> {
        self.seats.binary_search_by(|seat| {
            prefix.len().cmp(&seat.prefix.len()).then_with(|| seat.prefix.as_slice().cmp(prefix))
        })
    }
}
