//! The chain of block headers: what the next one must look like.
//!
//! Invariant: sequences are dense, every header names its parent, time only grows, epochs never go back. [P-30..P-33]

use io_oi_record::{BlockHeader, Epoch, Hash, Nanos, Sequence};

/// The newest header of the chain, as much of it as the next one is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainTip {
    /// The last sequence of the newest block; 0 before the first.
    pub sequence: Sequence,
    /// The hash of the newest header; all zero before the first. [P-30]
    pub hash: Hash,
    /// The leader time of the newest header; 0 before the first.
    pub time: Nanos,
    /// The epoch of the newest header; 0 before the first.
    pub epoch: Epoch,
}

impl ChainTip {
    /// The tip of an empty chain: the first header has an all-zero parent. [P-30]
    pub const ORIGIN: Self =
        Self { sequence: Sequence::NONE, hash: Hash::ZERO, time: Nanos::ZERO, epoch: Epoch::NONE };

    /// The tip once `header` stands at the end of the chain.
    pub fn after(header: &BlockHeader, header_hash: Hash) -> Self {
        Self { sequence: header.last_sequence(), hash: header_hash, time: header.time, epoch: header.epoch }
    }

    /// The first sequence of the next block. [P-31]
    pub fn next_sequence(&self) -> Sequence {
        self.sequence.next()
    }

    /// The leader time of a block that opens at `now`: the clock, but always past the parent's. [P-32]
    pub fn next_time(&self, now: Nanos) -> Nanos {
        now.max(self.time.saturating_add(1))
    }

    /// Checks that `header` may stand right behind this tip.
    pub fn check_next(&self, header: &BlockHeader) -> Result<(), ChainError> {
        if header.parent != self.hash {
            return Err(ChainError::ParentDiffers { first_sequence: header.first_sequence });
        }
        if header.first_sequence != self.next_sequence() || header.record_count == 0 {
            let expected = self.next_sequence();
            return Err(ChainError::SequenceGap { expected, found: header.first_sequence });
        }
        if header.first_sequence.0.checked_add(u64::from(header.record_count)).is_none() {
            return Err(ChainError::SequenceGap {
                expected: self.next_sequence(),
                found: header.first_sequence,
            });
        }
        if header.time <= self.time {
            return Err(ChainError::TimeNotGreater { parent: self.time, found: header.time });
        }
        if header.epoch < self.epoch {
            return Err(ChainError::EpochWentBack { parent: self.epoch, found: header.epoch });
        }
        Ok(())
    }
}

/// Why a header does not continue the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The header names another parent. [P-30]
    #[error(
        "the block at sequence {first_sequence} names another parent than the block before it: \
         the log mixes two histories, restore it from a peer or a backup"
    )]
    ParentDiffers {
        /// First sequence of the refused block.
        first_sequence: Sequence,
    },
    /// The header leaves out or repeats sequences, or holds none. [P-31]
    #[error("a block starts at sequence {found}, {expected} was due: records are missing, restore the log")]
    SequenceGap {
        /// The sequence that was due.
        expected: Sequence,
        /// The sequence found.
        found: Sequence,
    },
    /// The header's time is not past its parent's. [P-32]
    #[error("a block's time {found} is not past its parent's {parent}: its leader broke the protocol")]
    TimeNotGreater {
        /// Time of the parent.
        parent: Nanos,
        /// Time of the refused header.
        found: Nanos,
    },
    /// The header's epoch is lower than its parent's. [P-33]
    #[error("a block of epoch {found} stands behind one of epoch {parent}: its leader was deposed")]
    EpochWentBack {
        /// Epoch of the parent.
        parent: Epoch,
        /// Epoch of the refused header.
        found: Epoch,
    },
}
