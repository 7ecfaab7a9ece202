//! How to take back each record that is applied and not committed.
//!
//! Invariant: entries stand in the order of their sequences; what is settled is settled from the oldest on, what is
//! taken back is taken back from the newest on.

use alloc::collections::VecDeque;

use io_oi_record::{Sequence, SessionSequence};

use crate::session::floors::Raised;
use crate::session::rings::Packed;

/// What one record changed.
#[derive(Clone, Copy)]
pub(super) enum Undo {
    /// Nothing: it counts for no session.
    Nothing,
    /// A session is known that was not, in `slot`; another one made room for it.
    Open { slot: usize, evicted: Option<Eviction> },
    /// The session in `slot` is closed; its last record was another.
    Close { slot: usize, last_record: Sequence },
    /// The session in `slot` has one more answer; these stood there before.
    Answer {
        slot: usize,
        highest: SessionSequence,
        last_record: Sequence,
        /// The oldest answer, when the ring was full, and through where answers had been forgotten before.
        forgotten: Option<(SessionSequence, Packed)>,
    },
}

/// Who made room, and the floor that this raised.
#[derive(Clone, Copy)]
pub(super) struct Eviction {
    pub(super) slot: usize,
    pub(super) raised: Raised,
}

pub(super) struct Journal {
    entries: VecDeque<(Sequence, Undo)>,
}

impl Journal {
    /// Has room for `entries_max`; only a log whose commits are not known yet takes more, and allocates.
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries: VecDeque::with_capacity(entries_max) }
    }

    pub(super) fn push(&mut self, sequence: Sequence, undo: Undo) {
        let newest = self.entries.back().map_or(Sequence::NONE, |(newest, _)| *newest);
        assert!(sequence > newest, "records are applied in the order of their sequences");
        self.entries.push_back((sequence, undo));
    }

    pub(super) fn pop(&mut self) -> Option<(Sequence, Undo)> {
        self.entries.pop_back()
    }

    /// Takes the oldest entry out if it stands at or before `through`.
    pub(super) fn settle_first(&mut self, through: Sequence) -> Option<Undo> {
        if self.entries.front()?.0 > through {
            return None;
        }
        self.entries.pop_front().map(|(_, undo)| undo)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The newest record that could be taken back.
    #[cfg(test)]
    pub(super) fn newest(&self) -> Option<Sequence> {
        self.entries.back().map(|(sequence, _)| *sequence)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
