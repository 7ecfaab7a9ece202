//! One blake3 key per kind of hashed thing, so that no hash of one kind can pass for another.
//!
//! Invariant: every hash of the house is made here under its own domain, a fixed public key of blake3's keyed mode.

use crate::ids::Hash;

/// What is being hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// An encoded record: a leaf of the Merkle tree.
    Record,
    /// Two child hashes of the Merkle tree.
    MerkleInner,
    /// An encoded block header: what the next header names as its parent.
    BlockHeader,
    /// An encoded genesis: the cluster id.
    Genesis,
    /// An encoded governance record.
    Governance,
    /// Encoded evidence.
    Evidence,
    /// The bytes of one arbitrator component.
    Arbitrator,
    /// The sorted set of (prefix, arbitrator) pairs that a header names.
    ArbitratorSet,
    /// The encoded proposal of a write that an operator signs.
    OperatorWrite,
    /// The replicated state of a shard, folded record by record.
    State,
}

impl Domain {
    const fn key(self) -> &'static [u8; 32] {
        match self {
            Domain::Record => b"io_oi v1 record leaf            ",
            Domain::MerkleInner => b"io_oi v1 merkle inner node      ",
            Domain::BlockHeader => b"io_oi v1 block header           ",
            Domain::Genesis => b"io_oi v1 genesis                ",
            Domain::Governance => b"io_oi v1 governance record      ",
            Domain::Evidence => b"io_oi v1 evidence               ",
            Domain::Arbitrator => b"io_oi v1 arbitrator component   ",
            Domain::ArbitratorSet => b"io_oi v1 arbitrator set         ",
            Domain::OperatorWrite => b"io_oi v1 operator's write       ",
            Domain::State => b"io_oi v1 shard state            ",
        }
    }

    /// Hashes bytes under this domain.
    #[must_use]
    pub fn hash(self, bytes: &[u8]) -> Hash {
        Hash(*blake3::keyed_hash(self.key(), bytes).as_bytes())
    }

    /// Hashes the parts as if they stood one behind the other.
    #[must_use]
    pub fn hash_parts(self, parts: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(self.key());
        for part in parts {
            hasher.update(part);
        }
        Hash(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Domain; 10] = [
        Domain::Record,
        Domain::MerkleInner,
        Domain::BlockHeader,
        Domain::Genesis,
        Domain::Governance,
        Domain::Evidence,
        Domain::Arbitrator,
        Domain::ArbitratorSet,
        Domain::OperatorWrite,
        Domain::State,
    ];

    #[test]
    fn no_two_domains_hash_alike() {
        for (index, one) in ALL.iter().enumerate() {
            for other in &ALL[index + 1..] {
                assert_ne!(one.hash(b"same bytes"), other.hash(b"same bytes"), "{one:?} and {other:?}");
            }
        }
    }
}
