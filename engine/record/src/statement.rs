//! The fixed-size statements that nodes sign: block header, vote, ballot, ballot grant.
//!
//! Invariant: each statement holds everything that its conflict rules compare: two votes by one voter for one
//! (epoch, sequence), or two grants in one epoch, convict by themselves.

use rkyv::{Archive, Deserialize, Serialize};

use crate::block::{BlockHeader, HEADER_BYTES};
use crate::codec::{FORMAT_VERSION, Noun, layout, read_head, write_head};
use crate::error::{DecodeError, ShapeError};
use crate::ids::{ClusterId, Epoch, Hash, NodeId, Sequence, ShardId};
use crate::sign::{PREAMBLE_BYTES, Statement, StatementKind, fixed_statement};

/// "I hold this block durably and have checked it."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vote {
    /// The cluster.
    pub cluster: ClusterId,
    /// The shard inside it.
    pub shard: ShardId,
    /// The epoch of the block.
    pub epoch: Epoch,
    /// The last sequence of the block.
    pub sequence: Sequence,
    /// Hash of the block's header.
    pub block: Hash,
    /// Who votes.
    pub voter: NodeId,
}

/// "I stand for this epoch, and my log ends here."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ballot {
    /// The cluster.
    pub cluster: ClusterId,
    /// The shard inside it.
    pub shard: ShardId,
    /// The epoch asked for.
    pub epoch: Epoch,
    /// Epoch of the candidate's last durable block; 0 for an empty log.
    pub tip_epoch: Epoch,
    /// Last sequence of that block; 0 for an empty log.
    pub tip_sequence: Sequence,
    /// Header hash of that block; zero for an empty log.
    pub tip: Hash,
    /// Number of the governance record that appoints the candidate; 0 where none is needed.
    pub appointment: u64,
    /// Who stands.
    pub candidate: NodeId,
}

/// "I promise this epoch to that candidate and to nobody else."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BallotGrant {
    /// The cluster.
    pub cluster: ClusterId,
    /// The shard inside it.
    pub shard: ShardId,
    /// The promised epoch.
    pub epoch: Epoch,
    /// Whom it is promised to.
    pub candidate: NodeId,
    /// Who promises.
    pub voter: NodeId,
}

#[derive(Archive, Serialize, Deserialize)]
struct VoteHead {
    kind: u8,
    version: u8,
    shard: u16,
    epoch: u64,
    sequence: u64,
    cluster: [u8; 32],
    block: [u8; 32],
    voter: [u8; 32],
}

#[derive(Archive, Serialize, Deserialize)]
struct BallotHead {
    kind: u8,
    version: u8,
    shard: u16,
    epoch: u64,
    tip_epoch: u64,
    tip_sequence: u64,
    appointment: u64,
    cluster: [u8; 32],
    tip: [u8; 32],
    candidate: [u8; 32],
}

#[derive(Archive, Serialize, Deserialize)]
struct BallotGrantHead {
    kind: u8,
    version: u8,
    shard: u16,
    epoch: u64,
    cluster: [u8; 32],
    candidate: [u8; 32],
    voter: [u8; 32],
}

/// Length of every encoded vote.
pub const VOTE_BYTES: usize = size_of::<ArchivedVoteHead>();
/// Length of every encoded ballot.
pub const BALLOT_BYTES: usize = size_of::<ArchivedBallotHead>();
/// Length of every encoded ballot grant.
pub const BALLOT_GRANT_BYTES: usize = size_of::<ArchivedBallotGrantHead>();
layout!(
    ArchivedVoteHead, 116: kind 0, version 1, shard 2, epoch 4, sequence 12, cluster 20, block 52, voter 84
);
layout!(
    ArchivedBallotHead, 132: kind 0, version 1, shard 2, epoch 4, tip_epoch 12, tip_sequence 20, appointment 28,
    cluster 36, tip 68, candidate 100
);
layout!(
    ArchivedBallotGrantHead, 108: kind 0, version 1, shard 2, epoch 4, cluster 12, candidate 44, voter 76
);

impl Vote {
    /// The vote that acknowledges a block.
    #[must_use]
    pub fn of(header: &BlockHeader, voter: NodeId) -> Vote {
        Vote {
            cluster: header.cluster,
            shard: header.shard,
            epoch: header.epoch,
            sequence: header.last_sequence(),
            block: header.hash(),
            voter,
        }
    }

    /// The encoding. Allocates nothing.
    #[must_use]
    pub fn encode(&self) -> [u8; VOTE_BYTES] {
        let mut out = [0; VOTE_BYTES];
        let head = VoteHead {
            kind: Noun::Vote as u8,
            version: FORMAT_VERSION,
            shard: self.shard.0,
            epoch: self.epoch.0,
            sequence: self.sequence.0,
            cluster: self.cluster.0,
            block: self.block.0,
            voter: self.voter.0,
        };
        write_head(&head, &mut out);
        out
    }

    /// Reads one vote that fills `bytes` exactly.
    pub fn decode(bytes: &[u8]) -> Result<Vote, DecodeError> {
        let (head, rest) = read_head::<VoteHead>(Noun::Vote, bytes)?;
        check_end(Noun::Vote, bytes, rest)?;
        if head.sequence == 0 {
            return Err(DecodeError::Shape(ShapeError::SequenceZero));
        }
        Ok(Vote {
            cluster: ClusterId(head.cluster),
            shard: ShardId(head.shard),
            epoch: Epoch(head.epoch),
            sequence: Sequence(head.sequence),
            block: Hash(head.block),
            voter: NodeId(head.voter),
        })
    }
}

impl Ballot {
    /// The encoding. Allocates nothing.
    #[must_use]
    pub fn encode(&self) -> [u8; BALLOT_BYTES] {
        let mut out = [0; BALLOT_BYTES];
        let head = BallotHead {
            kind: Noun::Ballot as u8,
            version: FORMAT_VERSION,
            shard: self.shard.0,
            epoch: self.epoch.0,
            tip_epoch: self.tip_epoch.0,
            tip_sequence: self.tip_sequence.0,
            appointment: self.appointment,
            cluster: self.cluster.0,
            tip: self.tip.0,
            candidate: self.candidate.0,
        };
        write_head(&head, &mut out);
        out
    }

    /// Reads one ballot that fills `bytes` exactly.
    pub fn decode(bytes: &[u8]) -> Result<Ballot, DecodeError> {
        let (head, rest) = read_head::<BallotHead>(Noun::Ballot, bytes)?;
        check_end(Noun::Ballot, bytes, rest)?;
        Ok(Ballot {
            cluster: ClusterId(head.cluster),
            shard: ShardId(head.shard),
            epoch: Epoch(head.epoch),
            tip_epoch: Epoch(head.tip_epoch),
            tip_sequence: Sequence(head.tip_sequence),
            tip: Hash(head.tip),
            appointment: head.appointment,
            candidate: NodeId(head.candidate),
        })
    }
}

impl BallotGrant {
    /// The encoding. Allocates nothing.
    #[must_use]
    pub fn encode(&self) -> [u8; BALLOT_GRANT_BYTES] {
        let mut out = [0; BALLOT_GRANT_BYTES];
        let head = BallotGrantHead {
            kind: Noun::BallotGrant as u8,
            version: FORMAT_VERSION,
            shard: self.shard.0,
            epoch: self.epoch.0,
            cluster: self.cluster.0,
            candidate: self.candidate.0,
            voter: self.voter.0,
        };
        write_head(&head, &mut out);
        out
    }

    /// Reads one grant that fills `bytes` exactly.
    pub fn decode(bytes: &[u8]) -> Result<BallotGrant, DecodeError> {
        let (head, rest) = read_head::<BallotGrantHead>(Noun::BallotGrant, bytes)?;
        check_end(Noun::BallotGrant, bytes, rest)?;
        Ok(BallotGrant {
            cluster: ClusterId(head.cluster),
            shard: ShardId(head.shard),
            epoch: Epoch(head.epoch),
            candidate: NodeId(head.candidate),
            voter: NodeId(head.voter),
        })
    }
}

fn check_end(noun: Noun, bytes: &[u8], rest: &[u8]) -> Result<(), DecodeError> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(DecodeError::LengthMismatch { noun, named: bytes.len() - rest.len(), found: bytes.len() })
}

macro_rules! fixed_statements {
    ($($noun:ident, $bytes:ident, $signer:ident;)*) => {$(
        impl Statement for $noun {
            const KIND: StatementKind = StatementKind::$noun;

            fn cluster(&self) -> ClusterId {
                self.cluster
            }

            fn shard(&self) -> ShardId {
                self.shard
            }

            fn signed_by(&self) -> [u8; 32] {
                self.$signer.0
            }

            fn with_signed_bytes<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
                look(&fixed_statement::<$bytes, { PREAMBLE_BYTES + $bytes }>(
                    Self::KIND,
                    self.cluster,
                    self.shard,
                    &self.encode(),
                ))
            }
        }
    )*};
}

fixed_statements! {
    BlockHeader, HEADER_BYTES, leader;
    Vote, VOTE_BYTES, voter;
    Ballot, BALLOT_BYTES, candidate;
    BallotGrant, BALLOT_GRANT_BYTES, voter;
}
