//! The entries handed to the log and not flushed yet, and the notes that are to be handed to it.
//!
//! Invariant: append indexes are dense from 1, and a flush covers them in order.

use alloc::collections::VecDeque;

use io_oi_consensus::NOTE_BYTES;
use io_oi_record::{Epoch, Hash, Nanos, NodeId, Sequence};

use crate::event::{AppendIndex, LogKind};

/// More than a leader can have in flight: claim, pipeline and a seal each for its blocks and their forerunners. A
/// follower that is sent more than this drops the rest and asks for it again.
const UNFLUSHED_MAX: usize = 64;

/// Notes that wait for their turn; a few of each kind at most.
const NOTES_EXPECTED: usize = 16;

/// What an unflushed entry is, as far as its flush matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The claim to the epoch.
    Claim(Epoch),
    /// The block that ends here, with this header: superseded ones must not count.
    Block(Sequence, Hash),
    /// The promise of an epoch to a candidate, who may be told. [P-26]
    Grant(Epoch, NodeId),
    /// The certificate of the block that ends here.
    Certificate(Sequence),
    /// Evidence: so many reports stand in the log with it. [P-103]
    Reports(usize),
    /// Nothing waits for it.
    Silent,
}

/// An entry that is to be appended, as its bytes.
#[derive(Clone, Copy)]
pub(crate) struct Note {
    pub(crate) kind: LogKind,
    pub(crate) entry: Entry,
    pub(crate) epoch: Epoch,
    pub(crate) sequence: Sequence,
    pub(crate) bytes: [u8; NOTE_BYTES],
}

/// The entries between append and flush, oldest first.
pub(crate) struct Appends {
    last: AppendIndex,
    unflushed: VecDeque<(AppendIndex, Entry, Nanos)>,
    notes: VecDeque<Note>,
}

impl Appends {
    pub(crate) fn new() -> Self {
        Self {
            last: AppendIndex(0),
            unflushed: VecDeque::with_capacity(UNFLUSHED_MAX),
            notes: VecDeque::with_capacity(NOTES_EXPECTED),
        }
    }

    /// A note is to be appended as soon as the effects are polled.
    pub(crate) fn push_note(&mut self, note: Note) {
        self.notes.push_back(note);
    }

    /// The next note to append.
    pub(crate) fn pop_note(&mut self) -> Option<Note> {
        if self.notes.is_empty() || !self.has_room() {
            return None;
        }
        self.notes.pop_front()
    }

    /// Numbers the next entry.
    pub(crate) fn add(&mut self, entry: Entry, now: Nanos) -> AppendIndex {
        assert!(self.has_room(), "the pipeline bounds what is appended and not flushed");
        self.last = AppendIndex(self.last.0 + 1);
        self.unflushed.push_back((self.last, entry, now));
        self.last
    }

    /// Whether one more entry may be appended before a flush is reported.
    pub(crate) fn has_room(&self) -> bool {
        self.unflushed.len() < UNFLUSHED_MAX
    }

    /// Whether a whole block and what goes with it may be appended, with room left for the notes of an election.
    pub(crate) fn has_room_to_follow(&self) -> bool {
        self.unflushed.len() < UNFLUSHED_MAX / 2
    }

    /// The oldest entry covered by a flush through `through`; call until `None`.
    pub(crate) fn flushed(&mut self, through: AppendIndex) -> Option<Entry> {
        assert!(through <= self.last, "only what was appended becomes durable");
        let (index, entry, _) = *self.unflushed.front()?;
        if index > through {
            return None;
        }
        self.unflushed.pop_front();
        Some(entry)
    }

    /// When the oldest entry that is not flushed was appended.
    pub(crate) fn unflushed_since(&self) -> Option<Nanos> {
        self.unflushed.front().map(|(_, _, since)| *since)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unflushed.is_empty() && self.notes.is_empty()
    }
}
