//! Finds a session's slot: open addressing over a fixed array.
//!
//! Invariant: every slot stands between its home and the next empty place, so a search may stop at the first empty one.

use alloc::vec;
use alloc::vec::Vec;

use io_oi_record::SessionId;
use io_oi_record::limits::SESSIONS_MAX;

/// At most a quarter full, so that runs stay short.
const PLACES: usize = 4 * SESSIONS_MAX;
const EMPTY: u16 = u16::MAX;
const _: () = assert!(PLACES.is_power_of_two() && SESSIONS_MAX < EMPTY as usize);

/// Session id to slot number. The ids themselves stand in the slots; the caller lends them.
pub(crate) struct SlotIndex {
    places: Vec<u16>,
}

impl SlotIndex {
    pub(crate) fn new() -> Self {
        Self { places: vec![EMPTY; PLACES] }
    }

    pub(crate) fn find(&self, session: SessionId, id_of: impl Fn(usize) -> SessionId) -> Option<usize> {
        let mut place = home(session);
        while self.places[place] != EMPTY {
            let slot = usize::from(self.places[place]);
            if id_of(slot) == session {
                return Some(slot);
            }
            place = (place + 1) % PLACES;
        }
        None
    }

    /// Adds a session that is not in the index.
    pub(crate) fn insert(&mut self, session: SessionId, slot: usize) {
        let mut place = home(session);
        while self.places[place] != EMPTY {
            place = (place + 1) % PLACES;
        }
        self.places[place] = slot as u16;
    }

    /// Removes a session that is in the index, and closes the gap.
    pub(crate) fn remove(&mut self, session: SessionId, id_of: impl Fn(usize) -> SessionId) {
        let mut gap = home(session);
        while id_of(usize::from(self.places[gap])) != session {
            gap = (gap + 1) % PLACES;
        }
        let mut place = gap;
        loop {
            place = (place + 1) % PLACES;
            if self.places[place] == EMPTY {
                break;
            }
            let distance_home = place.wrapping_sub(home(id_of(usize::from(self.places[place])))) % PLACES;
            let distance_gap = place.wrapping_sub(gap) % PLACES;
            if distance_home >= distance_gap {
                self.places[gap] = self.places[place];
                gap = place;
            }
        }
        self.places[gap] = EMPTY;
    }
}

/// Where a session's search begins: the top bits of a multiplicative hash.
fn home(session: SessionId) -> usize {
    let counted = u64::from(session.boot) << 32 | u64::from(session.counter);
    let mixed = (session.node.0 ^ counted.rotate_left(17)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as usize % PLACES
}
