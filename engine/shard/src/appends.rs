//! The entries handed to the log and not flushed yet.
//!
//! Invariant: append indexes are dense from 1, and a flush covers them in order.

use alloc::collections::VecDeque;

use io_oi_record::Sequence;

use crate::event::AppendIndex;

/// More than can be in flight: the claim, the pipeline's blocks, and a seal each for them and their forerunners.
const UNFLUSHED_MAX: usize = 16;

/// What an unflushed entry is, as far as its flush matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The claim to the epoch.
    Claim,
    /// The block that ends here.
    Block(Sequence),
    /// The seal of the block that ends here.
    Seal(Sequence),
}

/// The entries between append and flush, oldest first.
pub(crate) struct Appends {
    last: AppendIndex,
    unflushed: VecDeque<(AppendIndex, Entry)>,
}

impl Appends {
    pub(crate) fn new() -> Self {
        Self { last: AppendIndex(0), unflushed: VecDeque::with_capacity(UNFLUSHED_MAX) }
    }

    /// Numbers the next entry.
    pub(crate) fn add(&mut self, entry: Entry) -> AppendIndex {
        assert!(self.has_room(), "the pipeline bounds what is appended and not flushed");
        self.last = AppendIndex(self.last.0 + 1);
        self.unflushed.push_back((self.last, entry));
        self.last
    }

    /// Whether one more entry may be appended before a flush is reported.
    pub(crate) fn has_room(&self) -> bool {
        self.unflushed.len() < UNFLUSHED_MAX
    }

    /// The oldest entry covered by a flush through `through`; call until `None`.
    pub(crate) fn flushed(&mut self, through: AppendIndex) -> Option<Entry> {
        assert!(through <= self.last, "only what was appended becomes durable");
        let (index, entry) = *self.unflushed.front()?;
        if index > through {
            return None;
        }
        self.unflushed.pop_front();
        Some(entry)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unflushed.is_empty()
    }
}
