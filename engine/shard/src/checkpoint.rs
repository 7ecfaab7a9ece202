//! A checkpoint: what the log has told this machine through one place, so that a boot reads only what follows.
//!
//! Invariant: a machine that is restored goes on as the one that read the log would have, entry by entry. What is committed
//! stands in the fields; what is not stands behind them as the blocks themselves, and goes the way of every block that is
//! read. [P-72]

use alloc::vec::Vec;

use io_oi_consensus as consensus;
use io_oi_consensus::{ChainTip, Governance, Membership, State};
use io_oi_record::evidence::SignedEvidence;
use io_oi_record::fields::{FieldError, FieldReader, FieldWriter, field_rule};
use io_oi_record::limits::{BARS_MAX, BLOCK_BYTES_MAX, CERTIFICATE_BYTES_MAX, SIGNED_EVIDENCE_BYTES_MAX};
use io_oi_record::{Block, DecodeError, Genesis, NodeId, QuorumCertificate, Sequence};

use crate::flight::Flight;
use crate::machine::{Machine, Phase};
use crate::recovery::RecoverError;
use crate::state::StateHashes;

/// The version of the fields. Another one is not read: the log is.
const VERSION: u64 = 1;

impl Machine {
    /// What the log has told so far. The machine has read it and its effects are drained; it is of no further use. Not to be
    /// asked while [`Machine::is_repairing`]: what a damaged log has lost is told by that log alone. [P-46]
    ///
    /// # Panics
    ///
    /// When the machine has started, has effects to be polled, or repairs its log.
    #[must_use]
    pub fn into_checkpoint(mut self) -> Vec<u8> {
        assert_eq!(self.phase, Phase::Recovering, "a checkpoint is taken while the log is read");
        assert!(self.settled.is_past(self.consensus.committed()), "a checkpoint is taken between entries");
        assert!(self.lost.is_none(), "a log that is being repaired has no checkpoint");
        let mut out = FieldWriter::new();
        let (group, committed) = (*self.consensus.group(), self.consensus.committed());
        out.number(VERSION);
        out.raw(&group.cluster.0);
        out.number(u64::from(group.shard.0));
        out.raw(&group.node.0);
        self.consensus.state().write(&mut out);
        self.sessions.take_back_all();
        self.sessions.write(&mut out);
        self.governing.rules.rewind_to(committed);
        self.governing.rules.write(&mut out);
        self.write_votes(&mut out);
        self.write_hashes(&mut out);
        let undecided: Vec<&Flight> = self.flights.flying().collect();
        out.count(undecided.len());
        undecided.iter().for_each(|flight| out.bytes(flight.bytes()));
        out.into_bytes()
    }

    /// Goes on from a checkpoint; entries that follow it come next. After an error the machine is of no use.
    ///
    /// # Panics
    ///
    /// When an entry was read before.
    pub fn restore(&mut self, genesis: &Genesis, bytes: &[u8]) -> Result<(), RestoreError> {
        assert_eq!(self.phase, Phase::Recovering, "a checkpoint is taken over before the machine starts");
        let mut fields = FieldReader::new(bytes);
        self.read_group(&mut fields)?;
        let state = State::read(&mut fields)?;
        let committed = state.committed();
        self.sessions.read(&mut fields)?;
        let shard = self.consensus.group().shard;
        self.governing.restore(Governance::read(genesis, shard, &mut fields)?);
        self.governed_through = committed;
        self.draw_consequences();
        self.read_votes(&mut fields)?;
        self.read_hashes(&mut fields, committed)?;
        self.settled.skip_to(committed.next());
        let undecided = fields.list(usize::MAX, 8, |fields| fields.bytes(BLOCK_BYTES_MAX))?;
        fields.finish()?;
        for bytes in undecided {
            self.restore_block(&state, bytes)?;
        }
        let end =
            self.flights.flying().last().map_or(committed, |flight| Sequence(flight.next_sequence().0 - 1));
        field_rule(end == state.tip().sequence, "a block that is not decided is missing")?;
        self.draw_consequences();
        let members = *self.consensus.members();
        self.take_over(state, members);
        Ok(())
    }

    fn take_over(&mut self, state: State, members: Membership) {
        let group = *self.consensus.group();
        self.consensus = consensus::Machine::new(group, members);
        self.consensus.restore(state, members);
        self.lost = None; // What was lost before is made up for, or there would be no checkpoint.
        while self.poll_notice().is_some() {} // Old news.
    }

    fn read_group(&self, fields: &mut FieldReader<'_>) -> Result<(), RestoreError> {
        let version = fields.number()?;
        if version != VERSION {
            return Err(RestoreError::Version { found: version });
        }
        let group = self.consensus.group();
        let (cluster, shard) = (fields.array::<32>()?, fields.number()?);
        let node = fields.node()?;
        if cluster != group.cluster.0 || shard != u64::from(group.shard.0) || node != group.node {
            return Err(RestoreError::Elsewhere { node });
        }
        Ok(())
    }

    fn write_votes(&self, out: &mut FieldWriter) {
        out.sequence(self.certificate_through);
        out.option(self.voting.certifier.newest(), |out, certificate| {
            let mut bytes = [0; CERTIFICATE_BYTES_MAX];
            let length = certificate.encode(&mut bytes).expect("made for the longest certificate");
            out.bytes(&bytes[..length]);
        });
        let held = self.voting.watch.held();
        out.count(held.len());
        for report in held {
            out.bytes(&report.encode().expect("accepted evidence is within its limits"));
        }
    }

    fn read_votes(&mut self, fields: &mut FieldReader<'_>) -> Result<(), RestoreError> {
        self.certificate_through = fields.sequence()?;
        let newest = fields.option(|fields| fields.bytes(CERTIFICATE_BYTES_MAX))?;
        if let Some(bytes) = newest {
            self.voting.certifier.note_certificate(&QuorumCertificate::decode(bytes)?);
        }
        let held = fields.list(BARS_MAX, 8, |fields| fields.bytes(SIGNED_EVIDENCE_BYTES_MAX))?;
        let held: Result<Vec<SignedEvidence>, DecodeError> =
            held.into_iter().map(SignedEvidence::decode).collect();
        let taken = self.voting.watch.restore_held(held?);
        taken.map_err(|_| FieldError::Wrong { what: "evidence does not convict" })?;
        Ok(())
    }

    fn write_hashes(&self, out: &mut FieldWriter) {
        out.sequence(self.state_hash.0);
        out.raw(&self.state_hash.1.0);
        self.state_hashes.write(out);
    }

    fn read_hashes(&mut self, fields: &mut FieldReader<'_>, committed: Sequence) -> Result<(), RestoreError> {
        self.state_hash = (fields.sequence()?, fields.hash()?);
        field_rule(self.state_hash.0 == committed, "the state hash is of another place")?;
        self.state_hashes = StateHashes::read(fields, committed)?;
        Ok(())
    }

    /// A block that is not decided: applied as when it was read.
    fn restore_block(&mut self, state: &State, bytes: &[u8]) -> Result<(), RestoreError> {
        let block = Block::decode(bytes)?;
        let header = &block.header;
        let (hash, before) = (header.hash(), Sequence(header.first_sequence.0.saturating_sub(1)));
        let expected = self.flights.flying().last().map_or(state.committed().next(), Flight::next_sequence);
        let link = state.link_ending_at(header.last_sequence());
        let is_on_chain = link.is_some_and(|link| link.tip.hash == hash && link.first_sequence == expected);
        field_rule(is_on_chain, "a block that is not decided is not on the chain")?;
        let parent = state.link_ending_at(before).map_or(ChainTip::ORIGIN, |link| link.tip);
        field_rule(parent.check_next(header).is_ok(), "a block does not follow the one before it")?;
        self.apply_block(&block, header.epoch > parent.epoch)?;
        self.flights.push_copy(&block, bytes, hash, false);
        Ok(())
    }
}

/// Why a checkpoint is not taken over. The log still says everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Fields of another version.
    #[error("the checkpoint has version {found}, this program reads {VERSION}: the log is read instead")]
    Version {
        /// The version found.
        found: u64,
    },
    /// It belongs to another cluster, shard or node.
    #[error("the checkpoint belongs to another group, or to node {node}: check the directory")]
    Elsewhere {
        /// The node that it names.
        node: NodeId,
    },
    /// The fields are not a state.
    #[error(transparent)]
    Fields(#[from] FieldError),
    /// Something in it does not decode.
    #[error(transparent)]
    Noun(#[from] DecodeError),
    /// A block of it breaks a rule.
    #[error(transparent)]
    Block(#[from] RecoverError),
}
