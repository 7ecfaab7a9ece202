//! What the node should know, until it asks.
//!
//! Invariant: the queue is bounded; when nobody asks, the oldest is forgotten.

use alloc::collections::VecDeque;

use crate::status::Notice;

const NOTICES_MAX: usize = 64;

/// Notices, oldest first.
pub(crate) struct Notices {
    waiting: VecDeque<Notice>,
}

impl Notices {
    pub(crate) fn new() -> Self {
        Self { waiting: VecDeque::with_capacity(NOTICES_MAX) }
    }

    pub(crate) fn push(&mut self, notice: Notice) {
        if self.waiting.len() == NOTICES_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(notice);
    }

    pub(crate) fn pop(&mut self) -> Option<Notice> {
        self.waiting.pop_front()
    }
}
