//! What the log may say when it is read back, and what it must not.
//!
//! Invariant: a log that contradicts itself is never continued. [P-70]

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use io_oi_record::{BlockHeader, Epoch, Hash, NodeId, Sequence};

use crate::chain::ChainError;
use crate::note::Seal;

/// The blocks of the newest epoch whose seal has not been read yet, oldest first. Used at boot only.
#[derive(Debug)]
pub(crate) struct Unsealed {
    waiting: VecDeque<(BlockHeader, Hash)>,
    /// Headers of blocks that were superseded: a seal of theirs may stand behind what took their place.
    superseded: Vec<Hash>,
}

impl Unsealed {
    pub(crate) fn new() -> Self {
        Self { waiting: VecDeque::new(), superseded: Vec::new() }
    }

    /// The blocks that a checkpoint names.
    pub(crate) fn restored(waiting: &[BlockHeader], superseded: Vec<Hash>) -> Self {
        Self { waiting: waiting.iter().map(|header| (*header, header.hash())).collect(), superseded }
    }

    /// The headers without a seal, and the hashes of those that were superseded.
    pub(crate) fn parts(&self) -> (Vec<BlockHeader>, Vec<Hash>) {
        (self.waiting.iter().map(|(header, _)| *header).collect(), self.superseded.clone())
    }

    pub(crate) fn push(&mut self, header: &BlockHeader, header_hash: Hash) {
        self.waiting.push_back((*header, header_hash));
    }

    /// Whether the block with this header has no seal yet.
    pub(crate) fn waits_for(&self, header_hash: Hash) -> bool {
        self.waiting.iter().any(|(_, waiting)| *waiting == header_hash)
    }

    /// The header that `seal` belongs to. Seals stand in block order; a block before it that has none is covered. [P-42]
    pub(crate) fn take(&mut self, seal: &Seal) -> Result<BlockHeader, RecoverError> {
        let missing = RecoverError::SealWithoutBlock { sequence: seal.last_sequence };
        let fits = |(header, header_hash): &(BlockHeader, Hash)| {
            *header_hash == seal.header_hash
                && header.epoch == seal.epoch
                && header.last_sequence() == seal.last_sequence
        };
        let place = self.waiting.iter().position(fits).ok_or(missing)?;
        let (header, _) = self.waiting.drain(..=place).next_back().ok_or(missing)?;
        Ok(header)
    }

    /// Whether the seal is of a block that was superseded before it came to the log. [P-43]
    pub(crate) fn is_superseded(&self, seal: &Seal) -> bool {
        self.superseded.contains(&seal.header_hash)
    }

    /// Boot is over: what was only needed to read the log is given back.
    pub(crate) fn close(&mut self) {
        (self.waiting, self.superseded) = (VecDeque::new(), Vec::new());
    }

    /// Blocks behind `last` are superseded. [P-35]
    pub(crate) fn rewind_to(&mut self, last: Sequence) {
        let superseded = self.waiting.iter().filter(|(header, _)| header.last_sequence() > last);
        self.superseded.extend(superseded.map(|(_, hash)| *hash));
        self.waiting.retain(|(header, _)| header.last_sequence() <= last);
    }

    /// A later epoch covers what stayed unsealed. [P-43]
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}

/// Why the log is not continued. Nothing is changed on disk; the operator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// A claim or header of another cluster, shard or node.
    #[error(
        "the entry at sequence {sequence} belongs to another cluster, shard or node: check the directory"
    )]
    WrongGroup {
        /// Where the entry stands.
        sequence: Sequence,
    },
    /// A header of a node that does not vote here. [P-34]
    #[error("a block is led by {leader}, which is no voter of this cluster: restore the log")]
    StrangeLeader {
        /// The leader that the header names.
        leader: NodeId,
    },
    /// The header does not continue the chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A claim to an epoch that was closed before. [P-20]
    #[error("a claim to epoch {found} stands behind epoch {closed}: the log mixes two histories, restore it")]
    ClaimWentBack {
        /// The highest epoch seen before.
        closed: Epoch,
        /// The claimed epoch.
        found: Epoch,
    },
    /// A claim that stands on another tip than the log has there. [P-21]
    #[error(
        "a claim stands on sequence {named}, the log is at {found} there: records are missing, restore the log"
    )]
    ClaimElsewhere {
        /// The tip that the claim names.
        named: Sequence,
        /// The tip of the log.
        found: Sequence,
    },
    /// A block that continues neither the tip nor anything that may still be given up. [P-35]
    #[error(
        "the block at sequence {first_sequence} would supersede what sequence {committed} had decided: the log mixes \
         two histories, restore it from a peer or a backup"
    )]
    Decided {
        /// First sequence of the refused block.
        first_sequence: Sequence,
        /// Through which sequence the log proves everything to be committed.
        committed: Sequence,
    },
    /// A seal that fits no unsealed block in order. [P-42]
    #[error(
        "the seal for sequence {sequence} fits no unsealed block before it: the log is damaged, restore it"
    )]
    SealWithoutBlock {
        /// Last sequence that the seal names.
        sequence: Sequence,
    },
    /// A seal whose signature is not the leader's. [P-42]
    #[error(
        "the signature over the block that ends at sequence {sequence} is not its leader's: restore the log"
    )]
    SealForged {
        /// Last sequence of the block.
        sequence: Sequence,
    },
}
