//! The votes that made a block committed, together: what proves the commit to anybody who knows the voters.
//!
//! Invariant: a certificate that decodes names each voter once, in the order of their keys, so it has one encoding.
//! Whether the votes are true, and enough, is `verify`'s to say.

use rkyv::{Archive, Deserialize, Serialize};

use crate::codec::{FORMAT_VERSION, Noun, layout, read_head, write_head};
use crate::error::{DecodeError, EncodeError, ShapeError};
use crate::evidence::Signed;
use crate::ids::{ClusterId, Epoch, Hash, NodeId, Sequence, ShardId, Signature};
use crate::limits::MEMBERS_MAX;
use crate::sign::{VerifyError, verify};
use crate::statement::Vote;

/// Signed votes of several voters over one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumCertificate {
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
    votes: [(NodeId, Signature); MEMBERS_MAX],
    vote_count: usize,
}

#[derive(Archive, Serialize, Deserialize)]
struct CertificateHead {
    kind: u8,
    version: u8,
    shard: u16,
    vote_count: u32,
    epoch: u64,
    sequence: u64,
    cluster: [u8; 32],
    block: [u8; 32],
}

/// Bytes in front of the votes.
pub const CERTIFICATE_HEAD_BYTES: usize = size_of::<ArchivedCertificateHead>();
/// Bytes of each vote: the voter and its signature.
pub const CERTIFICATE_VOTE_BYTES: usize = NodeId::BYTES + Signature::BYTES;
layout!(
    ArchivedCertificateHead, 88: kind 0, version 1, shard 2, vote_count 4, epoch 8, sequence 16, cluster 24, block 56
);

/// A certificate proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Somebody signed who does not vote.
    #[error("{voter} has signed and is no voter: ask for a proof under the members as they were")]
    NotAVoter {
        /// Who signed.
        voter: NodeId,
    },
    /// Too few votes.
    #[error("{found} of {needed} votes: the block is not proven to be committed, ask again later")]
    NoQuorum {
        /// Votes that make a quorum.
        needed: usize,
        /// Votes found.
        found: usize,
    },
    /// A vote is not signed by its voter.
    #[error("a vote of the certificate is forged ({0}): refuse it and suspect its sender")]
    Signature(#[from] VerifyError),
}

impl QuorumCertificate {
    /// A certificate over the block that this vote is for, without any vote yet.
    #[must_use]
    pub const fn over(vote: &Vote) -> QuorumCertificate {
        QuorumCertificate {
            cluster: vote.cluster,
            shard: vote.shard,
            epoch: vote.epoch,
            sequence: vote.sequence,
            block: vote.block,
            votes: [(NodeId([0; 32]), Signature([0; 64])); MEMBERS_MAX],
            vote_count: 0,
        }
    }

    /// Adds a signed vote for this block; says whether it is new. A vote for another block is our own broken promise,
    /// and so is one more than a cluster has members.
    pub fn add(&mut self, vote: &Signed<Vote>) -> bool {
        assert_eq!(self.vote_of(vote.statement.voter), vote.statement, "a certificate is over one block");
        let voter = vote.statement.voter;
        let Err(place) = self.votes().binary_search_by_key(&voter, |(voter, _)| *voter) else { return false };
        assert!(self.vote_count < MEMBERS_MAX, "no cluster has more voters");
        self.vote_count += 1;
        self.votes[place..self.vote_count].rotate_right(1);
        self.votes[place] = (voter, vote.signature);
        true
    }

    /// Voters and signatures in the order of the voters' keys.
    #[must_use]
    pub fn votes(&self) -> &[(NodeId, Signature)] {
        &self.votes[..self.vote_count]
    }

    /// The votes as statements.
    pub fn signed_votes(&self) -> impl Iterator<Item = Signed<Vote>> + '_ {
        self.votes()
            .iter()
            .map(|(voter, signature)| Signed { statement: self.vote_of(*voter), signature: *signature })
    }

    /// Checks that at least `quorum` of `voters`, and nobody else, have signed.
    pub fn verify(&self, voters: &[NodeId], quorum: usize) -> Result<(), CertificateError> {
        if let Some((voter, _)) = self.votes().iter().find(|(voter, _)| !voters.contains(voter)) {
            return Err(CertificateError::NotAVoter { voter: *voter });
        }
        if self.vote_count < quorum {
            return Err(CertificateError::NoQuorum { needed: quorum, found: self.vote_count });
        }
        for vote in self.signed_votes() {
            verify(&vote.statement, &vote.signature)?;
        }
        Ok(())
    }

    /// Length of the encoding.
    #[must_use]
    pub const fn encoded_bytes(&self) -> usize {
        CERTIFICATE_HEAD_BYTES + self.vote_count * CERTIFICATE_VOTE_BYTES
    }

    /// Writes the encoding to the front of `out` and returns its length. Allocates nothing.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        if self.vote_count == 0 {
            return Err(EncodeError::Empty { what: WHAT });
        }
        let (needed, found) = (self.encoded_bytes(), out.len());
        let out = out.get_mut(..needed).ok_or(EncodeError::NoRoom { needed, found })?;
        let (head, votes) = out.split_at_mut(CERTIFICATE_HEAD_BYTES);
        write_head(&self.head(), head);
        for ((voter, signature), out) in
            self.votes().iter().zip(votes.chunks_exact_mut(CERTIFICATE_VOTE_BYTES))
        {
            out[..NodeId::BYTES].copy_from_slice(&voter.0);
            out[NodeId::BYTES..].copy_from_slice(&signature.0);
        }
        Ok(needed)
    }

    /// Reads one certificate that fills `bytes` exactly. Says nothing about its truth: see `verify`.
    pub fn decode(bytes: &[u8]) -> Result<QuorumCertificate, DecodeError> {
        let noun = Noun::QuorumCertificate;
        let (head, votes) = read_head::<CertificateHead>(noun, bytes)?;
        let (count, max) = (head.vote_count as usize, MEMBERS_MAX);
        match count {
            0 => return Err(DecodeError::Limit(EncodeError::Empty { what: WHAT })),
            _ if count > max => {
                return Err(DecodeError::Limit(EncodeError::TooLong { what: WHAT, found: count, max }));
            }
            _ => {}
        }
        let named = CERTIFICATE_HEAD_BYTES + count * CERTIFICATE_VOTE_BYTES;
        if named != bytes.len() {
            return Err(DecodeError::LengthMismatch { noun, named, found: bytes.len() });
        }
        if head.sequence == 0 {
            return Err(DecodeError::Shape(ShapeError::SequenceZero));
        }
        QuorumCertificate::from_head(&head, votes)
    }

    fn from_head(head: &CertificateHead, votes: &[u8]) -> Result<QuorumCertificate, DecodeError> {
        let mut certificate = QuorumCertificate::over(&Vote {
            cluster: ClusterId(head.cluster),
            shard: ShardId(head.shard),
            epoch: Epoch(head.epoch),
            sequence: Sequence(head.sequence),
            block: Hash(head.block),
            voter: NodeId([0; 32]),
        });
        for vote in votes.chunks_exact(CERTIFICATE_VOTE_BYTES) {
            let (voter, signature) = vote.split_at(NodeId::BYTES);
            let mut next = (NodeId([0; 32]), Signature([0; 64]));
            next.0.0.copy_from_slice(voter);
            next.1.0.copy_from_slice(signature);
            if certificate.votes().last().is_some_and(|(last, _)| *last >= next.0) {
                return Err(DecodeError::NotCanonical { noun: Noun::QuorumCertificate });
            }
            certificate.votes[certificate.vote_count] = next;
            certificate.vote_count += 1;
        }
        Ok(certificate)
    }

    fn vote_of(&self, voter: NodeId) -> Vote {
        let QuorumCertificate { cluster, shard, epoch, sequence, block, .. } = *self;
        Vote { cluster, shard, epoch, sequence, block, voter }
    }

    fn head(&self) -> CertificateHead {
        CertificateHead {
            kind: Noun::QuorumCertificate as u8,
            version: FORMAT_VERSION,
            shard: self.shard.0,
            vote_count: self.vote_count as u32,
            epoch: self.epoch.0,
            sequence: self.sequence.0,
            cluster: self.cluster.0,
            block: self.block.0,
        }
    }
}

const WHAT: &str = "the vote list of a certificate";
