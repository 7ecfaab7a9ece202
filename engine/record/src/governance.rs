//! What operators decide: members, appointments, arbitrators, limits, bars.
//!
//! Invariant: governance records are numbered from 1 without gaps and each is signed by an operator that the genesis
//! names; whoever applies one checks both.

use alloc::vec::Vec;

use rkyv::{Archive, Deserialize, Serialize};

use crate::codec::{Noun, layout, read_archive, read_signed_archive, write_archive, write_signed_archive};
use crate::component::{ComponentPart, JudgeVersions};
use crate::error::{DecodeError, EncodeError};
use crate::genesis::{Genesis, Member, check_max};
use crate::hash::Domain;
use crate::ids::{ClusterId, Hash, Nanos, NodeId, OperatorId, ShardId, Signature};
use crate::limits::{GOVERNANCE_BYTES_MAX, PREFIX_BYTES_MAX};
use crate::sign::{Signer, Statement, StatementKind, VerifyError, long_statement, verify};

/// One change of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Change`."))]
#[repr(u8)]
pub enum Change {
    /// A new node that follows but does not count.
    AddLearner(Member),
    /// A level learner that counts from now on.
    Promote(NodeId),
    /// A member that leaves.
    Remove(NodeId),
    /// The only node that may stand for leader of a shard (strict control).
    Appoint(Appointment),
    /// The judge of a key prefix, or its shadow.
    SetArbitrator(ArbitratorChoice),
    /// A limit below the one that the program has by itself.
    SetLimit(LimitChoice),
    /// A key that may not lead, vote or stand any more.
    Bar(Barring),
    /// The next part of an arbitrator's component, whose bytes travel beside the signed record.
    StorePart(ComponentPart),
    /// A component, whole or begun, that no prefix uses and nobody keeps any more.
    DropComponent(Hash),
    /// A write of one key by an operator: the hash of the encoded proposal that travels beside the signed record. The judge
    /// of the key is told that an operator proposes it.
    Write(Hash),
}

/// A node's authority to stand for leader of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Appointment`."))]
pub struct Appointment {
    /// The shard.
    pub shard: ShardId,
    /// The appointed node.
    pub node: NodeId,
}

/// Which arbitrator judges a prefix from the next record on, or runs beside the one that does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `ArbitratorChoice`."))]
pub struct ArbitratorChoice {
    /// The prefix, up to `PREFIX_BYTES_MAX` bytes.
    pub prefix: Vec<u8>,
    /// Hash of the component; the zero hash takes the judge, or the shadow, away.
    pub arbitrator: Hash,
    /// Whether it only runs beside the judge, so that differences are counted before it decides anything. A shadow that
    /// becomes the judge is a shadow no more.
    pub is_shadow: bool,
    /// By which versions it judges; a node whose program has others does not judge at all. All zero without arbitrator.
    pub versions: JudgeVersions,
}

/// A limit and its new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `LimitChoice`."))]
pub struct LimitChoice {
    /// Which limit.
    pub limit: Limit,
    /// Its new value.
    pub value: u64,
}

/// A key that is out, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Barring`."))]
pub struct Barring {
    /// The barred key.
    pub node: NodeId,
    /// Hash of the evidence for it.
    pub evidence: Hash,
}

/// A limit that operators may lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Limit`."))]
#[repr(u8)]
pub enum Limit {
    /// Clients attached to one node.
    Clients = 1,
    /// Sessions remembered per shard.
    Sessions = 2,
    /// Longest value in bytes.
    ValueBytes = 3,
    /// Records in one block.
    BlockRecords = 4,
}

/// One numbered decision of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Governance`."))]
pub struct Governance {
    /// The cluster it changes.
    pub cluster: ClusterId,
    /// Its number, from 1 without gaps.
    pub number: u64,
    /// When the operator signed it.
    pub time: Nanos,
    /// What changes.
    pub change: Change,
    /// Who decides and signs.
    pub operator: OperatorId,
}

layout!(ArchivedGovernance, 145: cluster 0, number 32, time 40, change 48, operator 113);

impl Governance {
    /// The encoding, when every limit is kept.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        self.check()?;
        Ok(write_archive(Noun::Governance, self))
    }

    /// Reads one governance record that fills `bytes` exactly.
    pub fn decode(bytes: &[u8]) -> Result<Governance, DecodeError> {
        let governance: Governance = read_archive(Noun::Governance, bytes, GOVERNANCE_BYTES_MAX)?;
        governance.check().map_err(DecodeError::Limit)?;
        Ok(governance)
    }

    /// Hash of the encoding.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Domain::Governance.hash(&write_archive(Noun::Governance, self))
    }

    fn check(&self) -> Result<(), EncodeError> {
        if self.number == 0 {
            return Err(EncodeError::Empty { what: "the number of a governance record" });
        }
        match &self.change {
            Change::AddLearner(member) => member.check(),
            Change::SetArbitrator(choice) => {
                check_max("an arbitrator's prefix", choice.prefix.len(), PREFIX_BYTES_MAX)
            }
            Change::StorePart(part) if part.component.is_zero() => {
                Err(EncodeError::Empty { what: "the hash of a component" })
            }
            _ => Ok(()),
        }
    }
}

impl Statement for Governance {
    const KIND: StatementKind = StatementKind::Governance;

    fn cluster(&self) -> ClusterId {
        self.cluster
    }

    fn shard(&self) -> ShardId {
        match self.change {
            Change::Appoint(appointment) => appointment.shard,
            _ => ShardId(0),
        }
    }

    fn signed_by(&self) -> [u8; 32] {
        self.operator.0
    }

    fn with_signed_bytes<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        let body = write_archive(Noun::Governance, self);
        look(&long_statement(Self::KIND, self.cluster, self.shard(), &body))
    }
}

/// A governance record with its operator's signature: with what travels with it, the value of a `Govern` proposal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignedGovernance {
    /// What was decided.
    pub governance: Governance,
    /// The signature of the operator that it names.
    pub signature: Signature,
}

/// A governance record binds nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GovernanceError {
    /// It was signed for another cluster.
    #[error("the change belongs to another cluster: sign it for this one")]
    WrongCluster,
    /// The genesis does not name its operator.
    #[error(
        "the change is signed by {operator}, which is no operator of this cluster: sign it with an operator's key"
    )]
    NoOperator {
        /// Who signed.
        operator: OperatorId,
    },
    /// The signature is wrong.
    #[error(transparent)]
    Signature(#[from] VerifyError),
}

impl SignedGovernance {
    /// Signs a record that names this key as its operator.
    #[must_use]
    pub fn sign(governance: Governance, operator: &Signer) -> SignedGovernance {
        let signature = operator.sign(&governance);
        SignedGovernance { governance, signature }
    }

    /// The encoding, when every limit is kept.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        Ok(write_signed_archive(Noun::SignedGovernance, &self.signature, &self.governance.encode()?))
    }

    /// Reads one signed governance record that fills `bytes` exactly. Says nothing about the signature: see `verify`.
    pub fn decode(bytes: &[u8]) -> Result<SignedGovernance, DecodeError> {
        let (signature, governance) = read_signed_archive(Noun::SignedGovernance, bytes)?;
        Ok(SignedGovernance { governance: Governance::decode(governance)?, signature })
    }

    /// Checks that an operator of this genesis signed it for this cluster.
    pub fn verify(&self, genesis: &Genesis) -> Result<(), GovernanceError> {
        self.verify_for(genesis.cluster(), &genesis.operators)
    }

    pub(crate) fn verify_for(
        &self,
        cluster: ClusterId,
        operators: &[OperatorId],
    ) -> Result<(), GovernanceError> {
        if self.governance.cluster != cluster {
            return Err(GovernanceError::WrongCluster);
        }
        if !operators.contains(&self.governance.operator) {
            return Err(GovernanceError::NoOperator { operator: self.governance.operator });
        }
        Ok(verify(&self.governance, &self.signature)?)
    }
}
