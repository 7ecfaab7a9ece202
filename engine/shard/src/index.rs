//! Finds a session's slot: open addressing over a fixed array.
//!
//! Invariant: every slot stands between its home and the next empty place, so a search may stop at the first empty one.

use alloc::vec;
use alloc::vec::Vec;

use io_oi_record::SessionId;

/// Places per session: at most a quarter full, so that runs stay short.
const PLACES_PER_SESSION: usize = 4;
const EMPTY: u32 = u32::MAX;

/// Session id to slot number. The ids themselves stand in the slots; the caller lends them.
pub(crate) struct SlotIndex {
    /// As many as a power of two.
    places: Vec<u32>,
}

impl SlotIndex {
    /// An index for up to `sessions_max` sessions at a time.
    pub(crate) fn new(sessions_max: usize) -> Self {
        Self { places: vec![EMPTY; (PLACES_PER_SESSION * sessions_max).next_power_of_two()] }
    }

    pub(crate) fn find(&self, session: SessionId, id_of: impl Fn(usize) -> SessionId) -> Option<usize> {
        let mut place = self.home(session);
        while self.places[place] != EMPTY {
            let slot = self.places[place] as usize;
            if id_of(slot) == session {
                return Some(slot);
            }
            place = self.after(place);
        }
        None
    }

    /// Adds a session that is not in the index.
    pub(crate) fn insert(&mut self, session: SessionId, slot: usize) {
        let mut place = self.home(session);
        while self.places[place] != EMPTY {
            place = self.after(place);
        }
        self.places[place] = slot as u32;
    }

    /// Removes a session that is in the index, and closes the gap.
    pub(crate) fn remove(&mut self, session: SessionId, id_of: impl Fn(usize) -> SessionId) {
        let mut gap = self.home(session);
        while id_of(self.places[gap] as usize) != session {
            gap = self.after(gap);
        }
        let mut place = gap;
        loop {
            place = self.after(place);
            if self.places[place] == EMPTY {
                break;
            }
            let from_home = self.distance(self.home(id_of(self.places[place] as usize)), place);
            if from_home >= self.distance(gap, place) {
                self.places[gap] = self.places[place];
                gap = place;
            }
        }
        self.places[gap] = EMPTY;
    }

    /// Where a session's search begins: the top bits of a multiplicative hash.
    fn home(&self, session: SessionId) -> usize {
        let counted = u64::from(session.boot) << 32 | u64::from(session.counter);
        let mixed = (session.node.0 ^ counted.rotate_left(17)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 32) as usize & self.mask()
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & self.mask()
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.mask()
    }

    fn mask(&self) -> usize {
        self.places.len() - 1
    }
}
