//! The chain of block headers: what the next one must look like.
//!
//! Invariant: sequences are dense, every header names its parent, time only grows, epochs never go back. [P-30..P-33]

use alloc::collections::VecDeque;
use alloc::vec::Vec;

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

/// One block of the chain, as much of it as is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The tip that the chain had with this block at its end.
    pub tip: ChainTip,
    /// The first sequence of the block; 0 for the origin.
    pub first_sequence: Sequence,
}

/// The newest blocks of the chain: all that are not committed, and some before them.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Oldest first, never empty: the origin, or the oldest block remembered.
    links: VecDeque<Link>,
}

/// Committed blocks that are remembered, so that a follower a little behind is answered from memory.
const HISTORY_LINKS: usize = 128;

impl Chain {
    /// An empty chain.
    pub fn new() -> Self {
        let mut links = VecDeque::with_capacity(2 * HISTORY_LINKS);
        links.push_back(Link { tip: ChainTip::ORIGIN, first_sequence: Sequence::NONE });
        Self { links }
    }

    /// The chain that a checkpoint remembers.
    pub(crate) fn restored(links: Vec<Link>) -> Self {
        let mut chain = Self { links: VecDeque::with_capacity((2 * HISTORY_LINKS).max(links.len())) };
        chain.links.extend(links);
        chain
    }

    /// All that is remembered, oldest first.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.iter()
    }

    /// Its end.
    pub fn tip(&self) -> &ChainTip {
        &self.links.back().expect("a chain has an origin").tip
    }

    /// Adds a checked header at the end.
    pub fn push(&mut self, header: &BlockHeader, header_hash: Hash) {
        assert_eq!(header.parent, self.tip().hash, "a chain grows at its tip");
        let tip = ChainTip::after(header, header_hash);
        self.links.push_back(Link { tip, first_sequence: header.first_sequence });
    }

    /// The block that ends at `last`.
    pub fn ending_at(&self, last: Sequence) -> Option<&Link> {
        let place = self.links.binary_search_by_key(&last, |link| link.tip.sequence).ok()?;
        self.links.get(place)
    }

    /// The block that holds `sequence`.
    pub fn holding(&self, sequence: Sequence) -> Option<&Link> {
        let place = self.links.partition_point(|link| link.tip.sequence < sequence);
        self.links.get(place).filter(|link| link.first_sequence <= sequence && !sequence.is_none())
    }

    /// The block whose header has this hash, looked for from the newest on.
    pub fn find(&self, hash: Hash) -> Option<&Link> {
        self.links.iter().rev().find(|link| link.tip.hash == hash)
    }

    /// How many blocks behind `committed` the chain has, as far as `counts` says so.
    pub fn count_behind(&self, committed: Sequence, counts: impl Fn(&Link) -> bool) -> usize {
        let open = self.links.iter().rev().take_while(|link| link.tip.sequence > committed);
        open.filter(|link| counts(link)).count()
    }

    /// The block that stands `places` before the newest one.
    pub fn before_tip(&self, places: usize) -> Option<&Link> {
        self.links.len().checked_sub(1 + places).and_then(|place| self.links.get(place))
    }

    /// Gives up everything behind the block that ends at `last`, which is remembered. [P-35]
    pub fn rewind_to(&mut self, last: Sequence) {
        assert!(self.ending_at(last).is_some(), "a chain is rewound to one of its own blocks [P-35]");
        while self.tip().sequence > last {
            self.links.pop_back();
        }
    }

    /// Forgets committed blocks beyond the history.
    pub fn forget_before(&mut self, committed: Sequence) {
        while self.links.len() > HISTORY_LINKS && self.links[HISTORY_LINKS / 2].tip.sequence <= committed {
            self.links.pop_front();
        }
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
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
