//! The proof of a record, read from the log: its block, the headers behind it, and the first certificate over one of them.
//!
//! Invariant: a proof is handed out only after it has been verified here as a stranger would.

use std::ops::ControlFlow;

use io_oi_record::certificate::QuorumCertificate;
use io_oi_record::governance::SignedGovernance;
use io_oi_record::limits::PROOF_HEADERS_MAX;
use io_oi_record::proof::RecordProof;
use io_oi_record::{Block, BlockHeader, Hash, Sequence, ShardId, SignedGenesis};
use io_oi_shard::LogKind;
use io_oi_wal::{BlockPlace, Frame, LogReader, ReadError};

/// What the log says about one record.
pub(super) struct Evident {
    record: Vec<u8>,
    path: Vec<Hash>,
    headers: Vec<BlockHeader>,
    certificate: QuorumCertificate,
}

/// While the log is being read.
struct Search {
    sequence: Sequence,
    record: Option<(Vec<u8>, Vec<Hash>)>,
    headers: Vec<BlockHeader>,
    certificate: Option<QuorumCertificate>,
}

impl Evident {
    /// Reads on from the record's block until a certificate covers it; none when the log holds none yet.
    pub(super) fn collect(
        reader: &mut LogReader,
        place: &BlockPlace,
        sequence: Sequence,
    ) -> Result<Option<Self>, ReadError> {
        let mut search = Search { sequence, record: None, headers: Vec::new(), certificate: None };
        reader.visit_from(place, &mut |frame| search.see(&frame))?;
        let Search { record, headers, certificate, .. } = search;
        Ok(record.zip(certificate).map(|((record, path), certificate)| Self {
            record,
            path,
            headers,
            certificate,
        }))
    }

    /// The encoded proof. Changes of the members that came after the certified block do not belong to it: they are left out
    /// one by one until the voters are those who voted.
    pub(super) fn into_proof(
        self,
        genesis: &SignedGenesis,
        shard: ShardId,
        governance: Vec<SignedGovernance>,
    ) -> Option<Vec<u8>> {
        let Self { record, path, headers, certificate } = self;
        let genesis = genesis.clone();
        let mut proof = RecordProof { genesis, shard, record, path, headers, certificate, governance };
        loop {
            if proof.verify(&proof.genesis.genesis).is_ok() {
                return proof.encode().ok();
            }
            proof.governance.pop()?;
        }
    }
}

impl Search {
    fn see(&mut self, frame: &Frame<'_>) -> ControlFlow<()> {
        match LogKind::from_number(frame.kind.0) {
            Some(LogKind::Block) => self.see_block(frame.bytes),
            Some(LogKind::Certificate) => self.see_certificate(frame.bytes),
            _ => ControlFlow::Continue(()),
        }
    }

    /// A block continues the headers, or takes the place of some that were never decided.
    fn see_block(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let Ok(block) = Block::decode(bytes) else { return ControlFlow::Break(()) };
        let header = block.header;
        let stays = |known: &BlockHeader| known.last_sequence() < header.first_sequence;
        self.headers.retain(stays);
        if header.first_sequence <= self.sequence && self.sequence <= header.last_sequence() {
            let index = (self.sequence.get() - header.first_sequence.get()) as u32;
            let record = block.records().encoded().nth(index as usize);
            self.record = record
                .zip(block.path(index))
                .map(|(record, path)| (record.to_vec(), path.siblings().to_vec()));
        }
        if self.headers.len() == PROOF_HEADERS_MAX {
            return ControlFlow::Break(());
        }
        self.headers.push(header);
        ControlFlow::Continue(())
    }

    fn see_certificate(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let Ok(certificate) = QuorumCertificate::decode(bytes) else { return ControlFlow::Continue(()) };
        let is_over = |header: &BlockHeader| {
            (certificate.epoch, certificate.sequence) == (header.epoch, header.last_sequence())
                && certificate.block == header.hash()
        };
        let Some(last) = self.headers.iter().position(is_over) else { return ControlFlow::Continue(()) };
        self.headers.truncate(last + 1);
        self.certificate = Some(certificate);
        ControlFlow::Break(())
    }
}
