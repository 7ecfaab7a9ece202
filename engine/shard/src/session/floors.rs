//! Which sessions are gone for good: of every node the newest one that was evicted. [P-65]
//!
//! Invariant: a function of the log alone; every change can be taken back. A node counts the sessions that it opens, so
//! the open record of one at or below its floor is a late copy, or of one that never got its place.

use io_oi_record::limits::SESSION_FLOORS_MAX;
use io_oi_record::{NodeTag, Sequence, SessionId};

/// The floors of the nodes whose sessions were evicted last.
pub(super) struct Floors {
    pub(super) floors: [Floor; SESSION_FLOORS_MAX],
}

#[derive(Clone, Copy)]
pub(super) struct Floor {
    pub(super) session: SessionId,
    /// The record that raised it; 0 while the place is free.
    pub(super) raised_at: Sequence,
}

/// What stood in a place before it was raised.
#[derive(Clone, Copy)]
pub(super) struct Raised {
    place: usize,
    before: Floor,
}

impl Floors {
    pub(super) fn new() -> Self {
        let session = SessionId { node: NodeTag(0), boot: 0, counter: 0 };
        Self { floors: [Floor { session, raised_at: Sequence::NONE }; SESSION_FLOORS_MAX] }
    }

    /// Whether this session, or a later one of its node, was evicted.
    pub(super) fn is_past(&self, session: SessionId) -> bool {
        self.place_of(session.node).is_some_and(|place| session <= self.floors[place].session)
    }

    /// `evicted` is gone: the record at `sequence` took its place. The floor that was raised longest ago makes room for
    /// that of another node.
    pub(super) fn raise(&mut self, evicted: SessionId, sequence: Sequence) -> Raised {
        let place = self.place_of(evicted.node).unwrap_or_else(|| self.stalest());
        let before = self.floors[place];
        let is_higher = before.raised_at == Sequence::NONE
            || before.session.node != evicted.node
            || evicted > before.session;
        self.floors[place] =
            Floor { session: if is_higher { evicted } else { before.session }, raised_at: sequence };
        Raised { place, before }
    }

    /// Takes the newest raise back.
    pub(super) fn lower(&mut self, raised: Raised) {
        self.floors[raised.place] = raised.before;
    }

    pub(super) fn place_of(&self, node: NodeTag) -> Option<usize> {
        self.floors.iter().position(|floor| floor.raised_at > Sequence::NONE && floor.session.node == node)
    }

    fn stalest(&self) -> usize {
        let places = 0..self.floors.len();
        places.min_by_key(|place| self.floors[*place].raised_at).expect("there are places")
    }
}
