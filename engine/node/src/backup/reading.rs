//! A log as a stranger reads it who has nothing but the genesis.
//!
//! Invariant: what is called proven hangs by parent hashes under a certificate that a quorum of the members signed.

use io_oi_record::certificate::QuorumCertificate;
use io_oi_record::{
    Block, BlockHeader, Epoch, Hash, NodeId, Roster, Sequence, ShardId, SignedGenesis, Signer,
};
use io_oi_shard::{Capacity, Config, LogKind, Machine, Timers, Verify};
use io_oi_wal::Frame;

use super::{BackupError, ShardContent};

/// One shard's log, entry by entry.
pub(super) struct Reading<'a> {
    genesis: &'a SignedGenesis,
    shard: ShardId,
    /// Follows the chain, checks roots, seals and sessions; a node of its own that no group knows.
    machine: Machine,
    /// Blocks of the chain behind the last that is proven.
    headers: Vec<BlockHeader>,
    proven: (Sequence, Hash),
    epoch: Epoch,
    frames: u64,
    bytes: u64,
}

impl<'a> Reading<'a> {
    pub(super) fn new(genesis: &'a SignedGenesis, shard: ShardId) -> Result<Self, BackupError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| BackupError::not_proven(shard, error))?;
        let machine = Machine::new(Config {
            cluster: genesis.genesis.cluster(),
            shard,
            signer: Signer::from_secret(&secret),
            genesis: &genesis.genesis,
            arbitrators: genesis.genesis.arbitrators,
            judge_versions: io_oi_arbitrator::VERSIONS,
            boot: 1,
            seed: 0,
            timers: Timers::default(),
            capacity: Capacity::default(),
            verify: Verify::Off,
            promised: Epoch::NONE,
            past_lost: None,
            lost: None,
        })
        .map_err(|error| BackupError::not_proven(shard, error))?;
        Ok(Self {
            genesis,
            shard,
            machine,
            headers: Vec::new(),
            proven: (Sequence::NONE, Hash([0; 32])),
            epoch: Epoch::NONE,
            frames: 0,
            bytes: 0,
        })
    }

    /// The next entry. What the node whose log it is has promised for itself says nothing to others.
    pub(super) fn see(&mut self, frame: &Frame<'_>) -> Result<(), BackupError> {
        self.frames += 1;
        self.bytes += frame.bytes.len() as u64;
        self.epoch = self.epoch.max(Epoch(frame.epoch));
        let Some(kind) = LogKind::from_number(frame.kind.0) else {
            return Err(self.refuse(format!("an entry of the unknown kind {}", frame.kind.0)));
        };
        if !is_shared(kind) {
            return Ok(());
        }
        self.machine.recover_frame(kind, frame.bytes).map_err(|error| self.refuse(error))?;
        while self.machine.poll_effect().is_some() {} // Nobody is shown anything here.
        match kind {
            LogKind::Block => self.see_block(frame.bytes),
            LogKind::Certificate => self.see_certificate(frame.bytes),
            _ => Ok(()),
        }
    }

    /// Everything through here is proven to be committed.
    pub(super) fn proven(&self) -> Sequence {
        self.proven.0
    }

    /// What was read.
    pub(super) fn content(&self) -> ShardContent {
        let (sequence, block) = self.proven;
        ShardContent { shard: self.shard, sequence, block, frames: self.frames, bytes: self.bytes }
    }

    /// The highest epoch that any entry speaks of.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// It continues the chain, or takes the place of blocks that were never decided.
    fn see_block(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        let header = Block::decode(bytes).map_err(|error| self.refuse(error))?.header;
        if header.first_sequence <= self.proven() {
            return Err(
                self.refuse(format!("a block takes the place of the proven sequence {}", self.proven()))
            );
        }
        self.headers.retain(|known| known.last_sequence() < header.first_sequence);
        self.headers.push(header);
        Ok(())
    }

    fn see_certificate(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        let certificate = QuorumCertificate::decode(bytes).map_err(|error| self.refuse(error))?;
        let is_over = |header: &BlockHeader| {
            (certificate.epoch, certificate.sequence) == (header.epoch, header.last_sequence())
                && certificate.block == header.hash()
        };
        let Some(last) = self.headers.iter().position(is_over) else { return Ok(()) };
        if !self.is_signed(&certificate) {
            return Err(
                self.refuse(format!("the certificate over sequence {} proves nothing", certificate.sequence))
            );
        }
        self.proven = (certificate.sequence, certificate.block);
        self.headers.drain(..=last);
        Ok(())
    }

    /// Whether a quorum of the members as of the block has signed. Changes of the members that came after it are left out one
    /// by one until the voters are those who voted.
    fn is_signed(&self, certificate: &QuorumCertificate) -> bool {
        let named = (certificate.cluster, certificate.shard);
        let decided: Vec<_> = self.machine.governance_records().collect();
        named == (self.genesis.genesis.cluster(), self.shard)
            && (0..=decided.len()).rev().any(|count| {
                let mut roster = Roster::of(&self.genesis.genesis);
                let applies = decided[..count].iter().all(|signed| roster.apply(signed).is_ok());
                let voters: Vec<NodeId> = roster.voters().filter(|voter| !roster.is_barred(*voter)).collect();
                applies && certificate.verify(&voters, roster.quorum_size()).is_ok()
            })
    }

    fn refuse(&self, what: impl std::fmt::Display) -> BackupError {
        BackupError::not_proven(
            self.shard,
            format!("entry {}, behind sequence {}: {what}", self.frames, self.proven()),
        )
    }
}

/// Whether an entry means the same in every node's log.
pub(super) fn is_shared(kind: LogKind) -> bool {
    matches!(kind, LogKind::Block | LogKind::Seal | LogKind::Certificate | LogKind::Evidence)
}
