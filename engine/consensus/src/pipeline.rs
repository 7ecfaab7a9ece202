//! The newest blocks of the epoch: how many may be open, and what an old one says about the commit.
//!
//! Invariant: at most [`BLOCKS_IN_FLIGHT_MAX`] blocks of an epoch are appended and not committed. [P-55]

use io_oi_record::Sequence;
use io_oi_record::limits::BLOCKS_IN_FLIGHT_MAX;

/// The last sequences of the newest blocks of one epoch, oldest first; [`Sequence::NONE`] where there is none yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pipeline {
    newest: [Sequence; BLOCKS_IN_FLIGHT_MAX],
}

impl Pipeline {
    /// The pipeline of an epoch without blocks.
    pub(crate) const EMPTY: Self = Self { newest: [Sequence::NONE; BLOCKS_IN_FLIGHT_MAX] };

    /// A block that ends at `last` enters. Returns the end of the block that it pushed out: by [P-55] that block
    /// was committed when this one was appended.
    pub(crate) fn enter(&mut self, last: Sequence) -> Sequence {
        let pushed_out = self.newest[0];
        self.newest.rotate_left(1);
        self.newest[BLOCKS_IN_FLIGHT_MAX - 1] = last;
        pushed_out
    }

    /// How many blocks of the epoch are not committed.
    pub(crate) fn open_count(&self, committed: Sequence) -> usize {
        self.newest.iter().filter(|last| **last > committed).count()
    }
}
