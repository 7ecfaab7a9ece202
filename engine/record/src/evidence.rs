//! Proof that a key has lied: two statements that no honest node can both have made, or a verdict that is wrong.
//!
//! Invariant: evidence convicts by itself. Whoever holds it and the genesis needs nobody's word, not even the
//! reporter's: `check` verifies the accused key's own signatures.

use alloc::vec::Vec;

use rkyv::{Archive, Deserialize, Serialize};

use crate::block::{BlockHeader, HEADER_BYTES};
use crate::codec::{Noun, layout, read_archive, read_signed_archive, write_archive, write_signed_archive};
use crate::error::{DecodeError, EncodeError};
use crate::genesis::{check_count, check_max};
use crate::hash::Domain;
use crate::ids::{ClusterId, Hash, NodeId, ShardId, Signature};
use crate::limits::{EVIDENCE_BYTES_MAX, MERKLE_PATH_MAX, RECORD_BYTES_MAX};
use crate::merkle::MerklePath;
use crate::record::Record;
use crate::sign::{Signer, Statement, StatementKind, VerifyError, long_statement, verify};
use crate::statement::{BALLOT_GRANT_BYTES, BallotGrant, VOTE_BYTES, Vote};

/// A statement together with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signed<S> {
    /// What was signed.
    pub statement: S,
    /// The signature of the key that the statement names.
    pub signature: Signature,
}

impl<S: Statement> Signed<S> {
    /// Checks that the key which the statement names signed it.
    pub fn verify(&self) -> Result<(), VerifyError> {
        verify(&self.statement, &self.signature)
    }
}

/// What convicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Two different blocks by one leader for one sequence of one epoch.
    TwoHeaders(Signed<BlockHeader>, Signed<BlockHeader>),
    /// Two different blocks acknowledged by one voter at one sequence of one epoch.
    TwoVotes(Signed<Vote>, Signed<Vote>),
    /// One epoch promised by one voter to two candidates.
    TwoGrants(Signed<BallotGrant>, Signed<BallotGrant>),
    /// A signed verdict that judging again contradicts. The holder must judge again itself to be sure.
    WrongVerdict {
        /// The leader's header over the record.
        header: Signed<BlockHeader>,
        /// The encoded record with the verdict in question.
        record: Vec<u8>,
        /// The record's Merkle path under the header.
        path: Vec<Hash>,
    },
}

/// A charge against one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The cluster.
    pub cluster: ClusterId,
    /// The shard inside it.
    pub shard: ShardId,
    /// What convicts.
    pub proof: Proof,
    /// Who found it and signs the report.
    pub reporter: NodeId,
}

/// Evidence does not convict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// A signature of the accused is wrong, so that anybody could have made it up.
    #[error(
        "a statement in the evidence is not signed by its key ({0}): drop the evidence and suspect the reporter"
    )]
    Unsigned(#[from] VerifyError),
    /// The report is not signed by its reporter.
    #[error("the report is not signed by the reporter that it names ({0}): drop it and suspect its sender")]
    ReportUnsigned(VerifyError),
    /// The statements belong to another cluster or shard than the evidence, or to two different keys.
    #[error("the statements do not belong together: drop the evidence and suspect the reporter")]
    Unrelated,
    /// An honest node may have made both statements.
    #[error("the statements do not contradict each other: drop the evidence and suspect the reporter")]
    NoContradiction,
    /// The record does not stand under the header.
    #[error("the record is not proven by the header: drop the evidence and suspect the reporter")]
    Unproven,
}

impl Evidence {
    /// Checks everything that can be checked without judging again, and names the accused key.
    pub fn check(&self) -> Result<NodeId, EvidenceError> {
        match &self.proof {
            Proof::TwoHeaders(one, other) => self.check_pair(one, other, headers_contradict),
            Proof::TwoVotes(one, other) => self.check_pair(one, other, votes_contradict),
            Proof::TwoGrants(one, other) => self.check_pair(one, other, grants_contradict),
            Proof::WrongVerdict { header, record, path } => self.check_record(header, record, path),
        }
    }

    /// Whether the holder must also judge the record again: the signatures alone convict of nothing.
    #[must_use]
    pub const fn needs_judging(&self) -> bool {
        matches!(self.proof, Proof::WrongVerdict { .. })
    }

    /// The encoding, when every limit is kept.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        if let Proof::WrongVerdict { record, path, .. } = &self.proof {
            check_count("the record", record.len(), RECORD_BYTES_MAX)?;
            check_max("the Merkle path", path.len(), MERKLE_PATH_MAX)?;
        }
        Ok(write_archive(Noun::Evidence, &EvidenceForm::of(self)))
    }

    /// Reads one evidence that fills `bytes` exactly. Says nothing about its truth: see `check`.
    pub fn decode(bytes: &[u8]) -> Result<Evidence, DecodeError> {
        read_archive::<EvidenceForm>(Noun::Evidence, bytes, EVIDENCE_BYTES_MAX)?.into_evidence()
    }

    /// Hash of the encoding: what a governance record that bars the key names.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Domain::Evidence.hash(&write_archive(Noun::Evidence, &EvidenceForm::of(self)))
    }

    fn check_pair<S: Statement>(
        &self,
        one: &Signed<S>,
        other: &Signed<S>,
        contradict: impl Fn(&S, &S) -> bool,
    ) -> Result<NodeId, EvidenceError> {
        self.check_place(&one.statement)?;
        self.check_place(&other.statement)?;
        if one.statement.signed_by() != other.statement.signed_by() {
            return Err(EvidenceError::Unrelated);
        }
        if !contradict(&one.statement, &other.statement) {
            return Err(EvidenceError::NoContradiction);
        }
        one.verify()?;
        other.verify()?;
        Ok(NodeId(one.statement.signed_by()))
    }

    fn check_record(
        &self,
        header: &Signed<BlockHeader>,
        record: &[u8],
        path: &[Hash],
    ) -> Result<NodeId, EvidenceError> {
        self.check_place(&header.statement)?;
        let path = MerklePath::from_siblings(path).ok_or(EvidenceError::Unproven)?;
        if header.statement.proves(record, &path) != Ok(true) {
            return Err(EvidenceError::Unproven);
        }
        header.verify()?;
        Ok(header.statement.leader)
    }

    fn check_place(&self, statement: &impl Statement) -> Result<(), EvidenceError> {
        if (statement.cluster(), statement.shard()) == (self.cluster, self.shard) {
            Ok(())
        } else {
            Err(EvidenceError::Unrelated)
        }
    }
}

/// An honest leader's headers of one epoch never share a sequence.
fn headers_contradict(one: &BlockHeader, other: &BlockHeader) -> bool {
    one.epoch == other.epoch
        && one.first_sequence <= other.last_sequence()
        && other.first_sequence <= one.last_sequence()
        && one != other
}

fn votes_contradict(one: &Vote, other: &Vote) -> bool {
    (one.epoch, one.sequence) == (other.epoch, other.sequence) && one.block != other.block
}

fn grants_contradict(one: &BallotGrant, other: &BallotGrant) -> bool {
    one.epoch == other.epoch && one.candidate != other.candidate
}

impl Statement for Evidence {
    const KIND: StatementKind = StatementKind::Evidence;

    fn cluster(&self) -> ClusterId {
        self.cluster
    }

    fn shard(&self) -> ShardId {
        self.shard
    }

    fn signed_by(&self) -> [u8; 32] {
        self.reporter.0
    }

    fn with_signed_bytes<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        let body = write_archive(Noun::Evidence, &EvidenceForm::of(self));
        look(&long_statement(Self::KIND, self.cluster, self.shard, &body))
    }
}

/// Evidence with its reporter's signature: what nodes log and tell each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedEvidence {
    /// The charge.
    pub evidence: Evidence,
    /// The signature of the reporter that it names.
    pub signature: Signature,
}

impl SignedEvidence {
    /// Signs evidence that names this key as its reporter.
    #[must_use]
    pub fn sign(evidence: Evidence, reporter: &Signer) -> SignedEvidence {
        let signature = reporter.sign(&evidence);
        SignedEvidence { evidence, signature }
    }

    /// Checks the report's signature and that it convicts by itself, and names the accused key.
    pub fn check(&self) -> Result<NodeId, EvidenceError> {
        verify(&self.evidence, &self.signature).map_err(EvidenceError::ReportUnsigned)?;
        self.evidence.check()
    }

    /// The encoding, when every limit is kept.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        Ok(write_signed_archive(Noun::SignedEvidence, &self.signature, &self.evidence.encode()?))
    }

    /// Reads one signed evidence that fills `bytes` exactly. Says nothing about its truth: see `check`.
    pub fn decode(bytes: &[u8]) -> Result<SignedEvidence, DecodeError> {
        let (signature, evidence) = read_signed_archive(Noun::SignedEvidence, bytes)?;
        Ok(SignedEvidence { evidence: Evidence::decode(evidence)?, signature })
    }
}

/// How evidence is archived: statements as the very bytes that were signed.
#[derive(Archive, Serialize, Deserialize)]
struct EvidenceForm {
    cluster: ClusterId,
    shard: ShardId,
    reporter: NodeId,
    proof: ProofForm,
}

#[derive(Archive, Serialize, Deserialize)]
#[repr(u8)]
enum ProofForm {
    TwoHeaders([SignedForm<HEADER_BYTES>; 2]),
    TwoVotes([SignedForm<VOTE_BYTES>; 2]),
    TwoGrants([SignedForm<BALLOT_GRANT_BYTES>; 2]),
    WrongVerdict { header: SignedForm<HEADER_BYTES>, record: Vec<u8>, path: Vec<Hash> },
}

#[derive(Archive, Serialize, Deserialize)]
struct SignedForm<const BYTES: usize> {
    statement: [u8; BYTES],
    signature: Signature,
}

layout!(ArchivedEvidenceForm, 587: cluster 0, shard 32, reporter 34, proof 66);

impl EvidenceForm {
    fn of(evidence: &Evidence) -> EvidenceForm {
        let proof = match &evidence.proof {
            Proof::TwoHeaders(one, other) => ProofForm::TwoHeaders([one, other].map(SignedForm::of_header)),
            Proof::TwoVotes(one, other) => ProofForm::TwoVotes(
                [one, other].map(|vote| SignedForm::of(vote.statement.encode(), vote.signature)),
            ),
            Proof::TwoGrants(one, other) => ProofForm::TwoGrants(
                [one, other].map(|grant| SignedForm::of(grant.statement.encode(), grant.signature)),
            ),
            Proof::WrongVerdict { header, record, path } => ProofForm::WrongVerdict {
                header: SignedForm::of_header(header),
                record: record.clone(),
                path: path.clone(),
            },
        };
        EvidenceForm { cluster: evidence.cluster, shard: evidence.shard, reporter: evidence.reporter, proof }
    }

    fn into_evidence(self) -> Result<Evidence, DecodeError> {
        let proof = match self.proof {
            ProofForm::TwoHeaders([one, other]) => {
                Proof::TwoHeaders(one.read(BlockHeader::decode)?, other.read(BlockHeader::decode)?)
            }
            ProofForm::TwoVotes([one, other]) => {
                Proof::TwoVotes(one.read(Vote::decode)?, other.read(Vote::decode)?)
            }
            ProofForm::TwoGrants([one, other]) => {
                Proof::TwoGrants(one.read(BallotGrant::decode)?, other.read(BallotGrant::decode)?)
            }
            ProofForm::WrongVerdict { header, record, path } => {
                Record::decode(&record)?;
                let limit = check_max("the Merkle path", path.len(), MERKLE_PATH_MAX);
                limit.map_err(DecodeError::Limit)?;
                Proof::WrongVerdict { header: header.read(BlockHeader::decode)?, record, path }
            }
        };
        Ok(Evidence { cluster: self.cluster, shard: self.shard, proof, reporter: self.reporter })
    }
}

impl<const BYTES: usize> SignedForm<BYTES> {
    fn of(statement: [u8; BYTES], signature: Signature) -> Self {
        SignedForm { statement, signature }
    }

    fn read<S>(&self, decode: impl Fn(&[u8]) -> Result<S, DecodeError>) -> Result<Signed<S>, DecodeError> {
        Ok(Signed { statement: decode(&self.statement)?, signature: self.signature })
    }
}

impl SignedForm<HEADER_BYTES> {
    fn of_header(header: &Signed<BlockHeader>) -> Self {
        SignedForm::of(header.statement.encode(), header.signature)
    }
}
