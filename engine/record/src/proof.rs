//! The proof of one record for somebody who was not there: a file that needs the genesis and nobody's word.
//!
//! Invariant: what `verify` returns was committed by a quorum of the voters that the operators' governance records up to
//! `governance_number` name. Nothing in the file is believed that is not signed or hashed under something signed.
//!
//! What it cannot know: that no later governance record exists. A verifier who knows that voters have left since
//! should ask for a proof that names the later number.

use alloc::vec::Vec;

use rkyv::{Archive, Deserialize, Serialize};

use crate::block::{BlockHeader, HEADER_BYTES};
use crate::certificate::{CertificateError, QuorumCertificate};
use crate::codec::{Noun, layout, read_archive, write_archive};
use crate::error::{DecodeError, EncodeError};
use crate::genesis::{Genesis, GenesisError, SignedGenesis, check_count, check_max};
use crate::governance::SignedGovernance;
use crate::ids::{ClusterId, Epoch, Hash, Nanos, NodeId, Sequence, ShardId};
use crate::limits::{
    CERTIFICATE_BYTES_MAX, GENESIS_BYTES_MAX, MERKLE_PATH_MAX, PROOF_BYTES_MAX, PROOF_GOVERNANCE_MAX,
    PROOF_HEADERS_MAX, RECORD_BYTES_MAX, SIGNED_GOVERNANCE_BYTES_MAX,
};
use crate::merkle::MerklePath;
use crate::record::Record;
use crate::roster::Roster;
use crate::verdict::RefusalCode;

/// Everything that proves one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordProof {
    /// The genesis as the prover knows it; the verifier uses its own.
    pub genesis: SignedGenesis,
    /// The shard.
    pub shard: ShardId,
    /// The encoded record.
    pub record: Vec<u8>,
    /// Its Merkle path under the first header.
    pub path: Vec<Hash>,
    /// The header of its block, then the headers behind it up to the certified one.
    pub headers: Vec<BlockHeader>,
    /// The votes over the last header.
    pub certificate: QuorumCertificate,
    /// Every governance record that was accepted before the certified block, from number 1.
    pub governance: Vec<SignedGovernance>,
}

/// What a proof proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The cluster.
    pub cluster: ClusterId,
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the record's block.
    pub epoch: Epoch,
    /// The record's sequence.
    pub sequence: Sequence,
    /// The leader's time of its block.
    pub time: Nanos,
    /// Who led.
    pub leader: NodeId,
    /// Who voted.
    pub voters: Vec<NodeId>,
    /// The newest governance record that the voters follow from; 0 for the genesis alone.
    pub governance_number: u64,
}

/// A proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The file belongs to another cluster.
    #[error("the proof belongs to another cluster than the genesis: verify it with its own genesis")]
    WrongCluster,
    /// The genesis in the file is not signed.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// A governance record is not accepted.
    #[error("governance record {number} of the proof is refused ({code}): the proof is forged or incomplete")]
    Governance {
        /// Its number.
        number: u64,
        /// Why.
        code: RefusalCode,
    },
    /// No header at all, or one that is not followed by the next.
    #[error("the headers of the proof are no chain: the proof is damaged or forged")]
    NoChain,
    /// The record does not stand under the first header.
    #[error("the record is not under the header of its block: the proof is damaged or forged")]
    RecordElsewhere,
    /// The certificate is over another block than the last header.
    #[error("the certificate belongs to another block: the proof is damaged or forged")]
    CertificateElsewhere,
    /// The certificate does not prove its block.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Something in the file does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl RecordProof {
    /// Checks everything with nothing but the genesis.
    pub fn verify(&self, genesis: &Genesis) -> Result<Proven, ProofError> {
        let cluster = self.genesis.verify()?;
        if cluster != genesis.cluster() || self.shard.0 >= genesis.shards {
            return Err(ProofError::WrongCluster);
        }
        let roster = self.roster(genesis)?;
        let (first, last) = self.check_chain(cluster)?;
        let path = MerklePath::from_siblings(&self.path).ok_or(ProofError::RecordElsewhere)?;
        if !first.proves(&self.record, &path)? {
            return Err(ProofError::RecordElsewhere);
        }
        self.check_certificate(cluster, last, &roster)?;
        Ok(Proven {
            cluster,
            shard: self.shard,
            epoch: first.epoch,
            sequence: Record::decode(&self.record)?.sequence,
            time: first.time,
            leader: first.leader,
            voters: self.certificate.votes().iter().map(|(voter, _)| *voter).collect(),
            governance_number: roster.number(),
        })
    }

    /// The proven record. Says nothing about its truth: see `verify`.
    pub fn record(&self) -> Result<Record<'_>, DecodeError> {
        Record::decode(&self.record)
    }

    fn roster(&self, genesis: &Genesis) -> Result<Roster, ProofError> {
        let mut roster = Roster::of(genesis);
        for signed in &self.governance {
            let number = signed.governance.number;
            roster.apply(signed).map_err(|code| ProofError::Governance { number, code })?;
        }
        Ok(roster)
    }

    /// The first and the last header, if each is followed by the next.
    fn check_chain(&self, cluster: ClusterId) -> Result<(&BlockHeader, &BlockHeader), ProofError> {
        let (Some(first), Some(last)) = (self.headers.first(), self.headers.last()) else {
            return Err(ProofError::NoChain);
        };
        let in_place =
            self.headers.iter().all(|header| (header.cluster, header.shard) == (cluster, self.shard));
        let in_order = self.headers.windows(2).all(|pair| {
            pair[1].parent == pair[0].hash()
                && Some(pair[1].first_sequence) == pair[0].last_sequence().checked_add(1)
                && pair[1].epoch >= pair[0].epoch
                && pair[1].time > pair[0].time
        });
        if in_place && in_order { Ok((first, last)) } else { Err(ProofError::NoChain) }
    }

    fn check_certificate(
        &self,
        cluster: ClusterId,
        last: &BlockHeader,
        roster: &Roster,
    ) -> Result<(), ProofError> {
        let QuorumCertificate { shard, epoch, sequence, block, .. } = self.certificate;
        let is_over_last = (self.certificate.cluster, shard) == (cluster, self.shard)
            && (epoch, sequence, block) == (last.epoch, last.last_sequence(), last.hash());
        if !is_over_last {
            return Err(ProofError::CertificateElsewhere);
        }
        let honest: Vec<NodeId> = roster.voters().filter(|voter| !roster.is_barred(*voter)).collect();
        Ok(self.certificate.verify(&honest, roster.quorum_size())?)
    }

    /// The encoding, when every limit is kept.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        check_count("the record", self.record.len(), RECORD_BYTES_MAX)?;
        check_max("the Merkle path", self.path.len(), MERKLE_PATH_MAX)?;
        check_count("the header list", self.headers.len(), PROOF_HEADERS_MAX)?;
        check_max("the list of governance records", self.governance.len(), PROOF_GOVERNANCE_MAX)?;
        let mut certificate = alloc::vec![0; self.certificate.encoded_bytes()];
        self.certificate.encode(&mut certificate)?;
        let governance = self.governance.iter().map(SignedGovernance::encode);
        let form = ProofForm {
            genesis: self.genesis.encode()?,
            shard: self.shard,
            record: self.record.clone(),
            path: self.path.clone(),
            headers: self.headers.iter().map(BlockHeader::encode).collect(),
            certificate,
            governance: governance.collect::<Result<_, _>>()?,
        };
        Ok(write_archive(Noun::RecordProof, &form))
    }

    /// Reads one proof that fills `bytes` exactly. Says nothing about its truth: see `verify`.
    pub fn decode(bytes: &[u8]) -> Result<RecordProof, DecodeError> {
        let form: ProofForm = read_archive(Noun::RecordProof, bytes, PROOF_BYTES_MAX)?;
        form.check_lengths().map_err(DecodeError::Limit)?;
        Record::decode(&form.record)?;
        let headers = form.headers.iter().map(|header| BlockHeader::decode(header));
        let governance = form.governance.iter().map(|signed| SignedGovernance::decode(signed));
        Ok(RecordProof {
            genesis: SignedGenesis::decode(&form.genesis)?,
            shard: form.shard,
            headers: headers.collect::<Result<_, _>>()?,
            certificate: QuorumCertificate::decode(&form.certificate)?,
            governance: governance.collect::<Result<_, _>>()?,
            record: form.record,
            path: form.path,
        })
    }
}

/// How a proof is archived: every part as the bytes that were signed or hashed.
#[derive(Archive, Serialize, Deserialize)]
struct ProofForm {
    genesis: Vec<u8>,
    shard: ShardId,
    record: Vec<u8>,
    path: Vec<Hash>,
    headers: Vec<[u8; HEADER_BYTES]>,
    certificate: Vec<u8>,
    governance: Vec<Vec<u8>>,
}
layout!(
    ArchivedProofForm, 50: genesis 0, shard 8, record 10, path 18, headers 26, certificate 34, governance 42
);

impl ProofForm {
    fn check_lengths(&self) -> Result<(), EncodeError> {
        check_count("the genesis", self.genesis.len(), GENESIS_BYTES_MAX)?;
        check_count("the record", self.record.len(), RECORD_BYTES_MAX)?;
        check_max("the Merkle path", self.path.len(), MERKLE_PATH_MAX)?;
        check_count("the header list", self.headers.len(), PROOF_HEADERS_MAX)?;
        check_count("the certificate", self.certificate.len(), CERTIFICATE_BYTES_MAX)?;
        check_max("the list of governance records", self.governance.len(), PROOF_GOVERNANCE_MAX)?;
        let mut records = self.governance.iter();
        records.try_for_each(|signed| {
            check_count("a governance record", signed.len(), SIGNED_GOVERNANCE_BYTES_MAX)
        })
    }
}
