//! The birth of a cluster: who belongs to it and by which rules it lives.
//!
//! Invariant: the cluster's id is the hash of its genesis, so that nothing in a genesis can change afterwards; every
//! operator that it names has signed it.

use alloc::string::String;
use alloc::vec::Vec;

use rkyv::{Archive, Deserialize, Serialize};

use crate::codec::{Noun, layout, read_archive, write_archive};
use crate::error::{DecodeError, EncodeError};
use crate::hash::Domain;
use crate::ids::{ClusterId, Hash, Nanos, NodeId, OperatorId, ShardId, Signature};
use crate::limits::{
    GENESIS_BYTES_MAX, MEMBER_ADDRESS_BYTES_MAX, MEMBER_NAME_BYTES_MAX, MEMBERS_MAX, OPERATORS_MAX,
    SHARDS_MAX,
};
use crate::sign::{Signer, Statement, StatementKind, VerifyError, VerifyingKey, long_statement};

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Member`."))]
pub struct Member {
    /// The node's public key.
    pub node: NodeId,
    /// What people call it; unique in the cluster.
    pub name: String,
    /// Where it listens, host and port; empty for a cluster of one.
    pub address: String,
}

/// Who receives what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `TrustMode`."))]
#[repr(u8)]
pub enum TrustMode {
    /// Blocks, votes and commit points go to every node.
    Full = 1,
    /// Voters as in `Full`; others get committed blocks by gossip.
    Localized = 2,
}

/// Who may stand for leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `ControlMode`."))]
#[repr(u8)]
pub enum ControlMode {
    /// Only the appointed node.
    Strict = 1,
    /// Any voter.
    Competitive = 2,
}

/// Everything that all nodes agree on before the first record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Genesis`."))]
pub struct Genesis {
    /// The first voters, 1 to `MEMBERS_MAX`.
    pub members: Vec<Member>,
    /// Who may sign governance records, 1 to `OPERATORS_MAX` keys.
    pub operators: Vec<OperatorId>,
    /// Number of shards, 1 to `SHARDS_MAX`.
    pub shards: u16,
    /// Who receives what.
    pub trust: TrustMode,
    /// Who may stand for leader.
    pub control: ControlMode,
    /// Seed of the hash that maps keys to shards.
    pub hash_seed: [u8; 16],
    /// Hash of the first set of arbitrators, zero for none.
    pub arbitrators: Hash,
    /// When it was written.
    pub created: Nanos,
}

layout!(ArchivedMember, 48: node 0, name 32, address 40);
layout!(
    ArchivedGenesis, 76: members 0, operators 8, shards 16, trust 18, control 19, hash_seed 20, arbitrators 36,
    created 68
);
layout!(ArchivedSignedGenesis, 84: genesis 0, signatures 76);

impl Genesis {
    /// The encoding, when every limit is kept.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        self.check()?;
        Ok(write_archive(Noun::Genesis, self))
    }

    /// Reads one genesis that fills `bytes` exactly.
    pub fn decode(bytes: &[u8]) -> Result<Genesis, DecodeError> {
        let genesis: Genesis = read_archive(Noun::Genesis, bytes, GENESIS_BYTES_MAX)?;
        genesis.check().map_err(DecodeError::Limit)?;
        Ok(genesis)
    }

    /// The id of the cluster that this genesis founds: the hash of its encoding.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        ClusterId(Domain::Genesis.hash(&write_archive(Noun::Genesis, self)).0)
    }

    /// Whether every limit is kept and nothing stands twice; `encode` and `decode` ask this themselves.
    pub fn check(&self) -> Result<(), EncodeError> {
        check_count("the member list", self.members.len(), MEMBERS_MAX)?;
        check_count("the operator list", self.operators.len(), OPERATORS_MAX)?;
        check_count("the shard count", self.shards.into(), SHARDS_MAX)?;
        self.members.iter().try_for_each(Member::check)?;
        check_once("a member's key", self.members.iter().map(|member| member.node))?;
        check_once("a member's name", self.members.iter().map(|member| &member.name))?;
        check_once("an operator's key", self.operators.iter())
    }

    /// Whether the operator may sign for this cluster.
    #[must_use]
    pub fn names_operator(&self, operator: &OperatorId) -> bool {
        self.operators.contains(operator)
    }

    /// The member with this key.
    #[must_use]
    pub fn member(&self, node: &NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.node == *node)
    }
}

impl Member {
    pub(crate) fn check(&self) -> Result<(), EncodeError> {
        check_count("a member's name", self.name.len(), MEMBER_NAME_BYTES_MAX)?;
        check_max("a member's address", self.address.len(), MEMBER_ADDRESS_BYTES_MAX)
    }
}

pub(crate) fn check_max(what: &'static str, found: usize, max: usize) -> Result<(), EncodeError> {
    if found > max { Err(EncodeError::TooLong { what, found, max }) } else { Ok(()) }
}

pub(crate) fn check_count(what: &'static str, found: usize, max: usize) -> Result<(), EncodeError> {
    if found == 0 { Err(EncodeError::Empty { what }) } else { check_max(what, found, max) }
}

fn check_once<T: PartialEq>(
    what: &'static str,
    items: impl Iterator<Item = T> + Clone,
) -> Result<(), EncodeError> {
    let mut rest = items;
    while let Some(item) = rest.next() {
        if rest.clone().any(|other| other == item) {
            return Err(EncodeError::Twice { what });
        }
    }
    Ok(())
}

/// Anything that a genesis' operators sign is signed with each operator's own key; the statement itself names the
/// first of them.
impl Statement for Genesis {
    const KIND: StatementKind = StatementKind::Genesis;

    fn cluster(&self) -> ClusterId {
        self.cluster()
    }

    fn shard(&self) -> ShardId {
        ShardId(0)
    }

    fn signed_by(&self) -> [u8; 32] {
        self.operators.first().map_or([0; 32], |operator| operator.0)
    }

    fn with_signed_bytes<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        let body = write_archive(Noun::Genesis, self);
        look(&long_statement(Self::KIND, self.cluster(), ShardId(0), &body))
    }
}

/// A genesis with the signature of every operator that it names.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `SignedGenesis`."))]
pub struct SignedGenesis {
    /// The signed genesis.
    pub genesis: Genesis,
    /// One signature per operator, in the genesis' order of operators.
    pub signatures: Vec<Signature>,
}

impl SignedGenesis {
    /// Signs with all operators at once, in the genesis' order of operators.
    pub fn sign(genesis: Genesis, operators: &[&Signer]) -> Result<SignedGenesis, GenesisError> {
        let signatures = operators.iter().map(|operator| operator.sign_as_witness(&genesis)).collect();
        let signed = SignedGenesis { genesis, signatures };
        signed.verify()?;
        Ok(signed)
    }

    /// The encoding, when every limit is kept.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        self.genesis.check()?;
        check_max("the signature list", self.signatures.len(), OPERATORS_MAX)?;
        Ok(write_archive(Noun::SignedGenesis, self))
    }

    /// Reads one signed genesis that fills `bytes` exactly. Says nothing about the signatures: see `verify`.
    pub fn decode(bytes: &[u8]) -> Result<SignedGenesis, DecodeError> {
        let signed: SignedGenesis = read_archive(Noun::SignedGenesis, bytes, GENESIS_BYTES_MAX)?;
        signed.genesis.check().map_err(DecodeError::Limit)?;
        Ok(signed)
    }

    /// Checks limits and every signature, and returns the cluster that may be trusted from now on.
    pub fn verify(&self) -> Result<ClusterId, GenesisError> {
        self.genesis.check()?;
        if self.signatures.len() != self.genesis.operators.len() {
            let (needed, found) = (self.genesis.operators.len(), self.signatures.len());
            return Err(GenesisError::SignaturesMissing { needed, found });
        }
        let found = self.signatures.iter().filter(|signature| signature.0 != [0; Signature::BYTES]).count();
        if found < self.signatures.len() {
            // All zero stands where an operator has yet to sign.
            return Err(GenesisError::SignaturesMissing { needed: self.signatures.len(), found });
        }
        for (operator, signature) in self.genesis.operators.iter().zip(&self.signatures) {
            VerifyingKey::new(&operator.0)?.verify(&self.genesis, signature)?;
        }
        Ok(self.genesis.cluster())
    }
}

/// A signed genesis cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// A limit is broken.
    #[error("the genesis breaks a limit: {0}")]
    Limit(#[from] EncodeError),
    /// Not every operator has signed.
    #[error("the genesis names {needed} operators, {found} have signed: let every operator sign")]
    SignaturesMissing {
        /// Operators named.
        needed: usize,
        /// Signatures found.
        found: usize,
    },
    /// A signature or key is wrong.
    #[error("the genesis is not signed by an operator that it names: {0}")]
    Signature(#[from] VerifyError),
}
