//! What a node has appended, as the world saw it: blocks above its commit point, and entries above its newest flush.
//!
//! Invariant: a block whose place is taken by another is gone, and so is everything above it.

use std::collections::VecDeque;
use std::rc::Rc;

use io_oi_record::{BlockHeader, DecodeError, Epoch, Hash, Sequence};
use io_oi_shard::{AppendIndex, LogKind};

/// A block that its node holds and has not committed yet.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) first: Sequence,
    pub(crate) last: Sequence,
    pub(crate) hash: Hash,
    pub(crate) bytes: Rc<[u8]>,
}

/// Something whose flush others may be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Block(Hash),
    Promise { epoch: Epoch, is_claim: bool },
    Other,
}

/// The mirror.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    held: VecDeque<Held>,
    unflushed: VecDeque<(AppendIndex, Entry)>,
    committed: Sequence,
}

impl Chain {
    /// What an entry is.
    pub(crate) fn entry(kind: LogKind, epoch: Epoch, header: Option<&(BlockHeader, Hash)>) -> Entry {
        match (kind, header) {
            (LogKind::Block, Some((_, hash))) => Entry::Block(*hash),
            (LogKind::Claim, _) => Entry::Promise { epoch, is_claim: true },
            (LogKind::Grant, _) => Entry::Promise { epoch, is_claim: false },
            _ => Entry::Other,
        }
    }

    /// An entry goes to the log.
    pub(crate) fn append(&mut self, index: AppendIndex, entry: Entry) {
        self.unflushed.push_back((index, entry));
    }

    /// The oldest entry that a flush through here covers; call until `None`.
    pub(crate) fn flushed(&mut self, through: AppendIndex) -> Option<Entry> {
        let (index, entry) = *self.unflushed.front()?;
        if index > through {
            return None;
        }
        self.unflushed.pop_front();
        Some(entry)
    }

    /// A block is held from now on. Returns the blocks whose place it takes, newest first.
    pub(crate) fn hold(&mut self, header: &BlockHeader, hash: Hash, bytes: &[u8]) -> Vec<Held> {
        let mut taken_back = Vec::new();
        while self.held.back().is_some_and(|newest| newest.last >= header.first_sequence) {
            taken_back.extend(self.held.pop_back());
        }
        let (first, last) = (header.first_sequence, header.last_sequence());
        self.held.push_back(Held { first, last, hash, bytes: bytes.into() });
        taken_back
    }

    /// The oldest held block that is committed by now and begins at or before `through`; call until `None`.
    pub(crate) fn committed(&mut self, committed: Sequence, through: Sequence) -> Option<Held> {
        let oldest = self.held.front()?;
        if oldest.last > committed || oldest.first > through {
            return None;
        }
        let block = self.held.pop_front()?;
        self.committed = block.last;
        Some(block)
    }

    /// Whether the block with this header is held and not committed.
    pub(crate) fn holds(&self, hash: Hash) -> bool {
        self.held.iter().any(|block| block.hash == hash)
    }

    /// Through where blocks were handed out as committed.
    pub(crate) fn committed_through(&self) -> Sequence {
        self.committed
    }
}

/// The header of an encoded block and its hash.
pub(crate) fn header_of(bytes: &[u8]) -> Result<(BlockHeader, Hash), DecodeError> {
    let (header, _) = BlockHeader::decode_first(bytes)?;
    Ok((header, header.hash()))
}
