//! Signatures trail their blocks: headers that wait for the key, and seals that wait for company on the way to disk.
//!
//! Invariant: headers are signed, and seals appended, in the order of their blocks. [P-41, P-42]

use alloc::collections::VecDeque;

use io_oi_consensus::Seal;
use io_oi_record::limits::BLOCKS_IN_FLIGHT_MAX;
use io_oi_record::{BlockHeader, Hash, Nanos, Sequence, Signature};

/// How long a finished seal waits for the next block before it is appended alone. A seal costs a flush of its own
/// then; ten milliseconds keep that below a hundred a second on a quiet shard.
pub(crate) const SEAL_IDLE_NS: u64 = 10_000_000;

/// Every block is signed in the same round of effects in which it was appended, so the queues hold a pipeline at most.
const QUEUE_MAX: usize = 2 * BLOCKS_IN_FLIGHT_MAX + 2;

/// Headers to sign and seals to append.
pub(crate) struct Sealer {
    unsigned: VecDeque<(BlockHeader, Hash)>,
    ready: VecDeque<Seal>,
    idle_until: Option<Nanos>,
    is_due: bool,
}

impl Sealer {
    pub(crate) fn new() -> Self {
        Self {
            unsigned: VecDeque::with_capacity(QUEUE_MAX),
            ready: VecDeque::with_capacity(QUEUE_MAX),
            idle_until: None,
            is_due: false,
        }
    }

    /// Whether one more block may be appended before some are signed and their seals appended.
    pub(crate) fn has_room(&self) -> bool {
        self.unsigned.len() + self.ready.len() < QUEUE_MAX
    }

    /// A block was appended; its header waits for the key.
    pub(crate) fn push_unsigned(&mut self, header: BlockHeader, header_hash: Hash) {
        self.unsigned.push_back((header, header_hash));
    }

    /// The next header to sign.
    pub(crate) fn pop_unsigned(&mut self) -> Option<(BlockHeader, Hash)> {
        self.unsigned.pop_front()
    }

    /// A header was signed; its seal waits for company.
    pub(crate) fn push_ready(&mut self, seal: Seal) {
        self.ready.push_back(seal);
    }

    /// A leader's seal was verified. What there is no room for is covered by a later one. [P-43]
    pub(crate) fn push_followed(&mut self, header: &BlockHeader, header_hash: Hash, signature: Signature) {
        if self.has_room() {
            let (epoch, last_sequence) = (header.epoch, header.last_sequence());
            self.ready.push_back(Seal { epoch, last_sequence, header_hash, signature });
        }
    }

    /// Another leader, or none: what was not signed stays so. [P-43]
    pub(crate) fn clear(&mut self) {
        self.unsigned.clear();
        self.ready.clear();
        (self.idle_until, self.is_due) = (None, false);
    }

    /// Blocks behind `last` are given up, and their seals with them.
    pub(crate) fn rewind_to(&mut self, last: Sequence) {
        self.ready.retain(|seal| seal.last_sequence <= last);
    }

    /// The next seal to append.
    pub(crate) fn pop_ready(&mut self) -> Option<Seal> {
        let seal = self.ready.pop_front();
        if self.ready.is_empty() {
            (self.idle_until, self.is_due) = (None, false);
        }
        seal
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.unsigned.is_empty()
    }

    /// Whether the finished seals have waited long enough.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Nothing else goes to the log for now: when to look at the seals again.
    pub(crate) fn idle(&mut self, now: Nanos) -> Option<Nanos> {
        let until = *self.idle_until.get_or_insert_with(|| now.saturating_add(SEAL_IDLE_NS));
        (!self.is_due).then_some(until)
    }

    /// Time went by. A clock that was set back must not hold the seals for longer than the bound.
    pub(crate) fn elapsed(&mut self, now: Nanos) {
        let Some(until) = self.idle_until else { return };
        self.is_due = now >= until;
        self.idle_until = Some(until.min(now.saturating_add(SEAL_IDLE_NS)));
    }
}
