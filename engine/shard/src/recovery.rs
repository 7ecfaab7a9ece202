//! Reading the log back.
//!
//! Invariant: whatever the bytes are, the answer is a state that they prove or an error that names what is wrong. [P-70]

use io_oi_consensus as consensus;
use io_oi_consensus::{EpochClaim, EpochPromise, LogWhole, NoteError, Seal};
use io_oi_record::evidence::SignedEvidence;
use io_oi_record::{Block, DecodeError, Operation, QuorumCertificate, Record, Sequence};

use crate::event::LogKind;
use crate::machine::{Machine, Phase};

impl Machine {
    /// Takes the next log entry into account, in log order; then [`Machine::poll_effect`] shows the records that the
    /// log itself proves to be committed. Allocates, because nothing is served yet. After an error the machine is
    /// of no use: the log must not be continued.
    pub fn recover_frame(&mut self, kind: LogKind, bytes: &[u8]) -> Result<(), RecoverError> {
        assert_eq!(self.phase, Phase::Recovering, "the log is read before the machine starts");
        match kind {
            LogKind::Claim => Ok(self.consensus.recover_claim(&EpochClaim::decode(bytes)?)?),
            LogKind::Grant => Ok(self.consensus.recover_promise(&EpochPromise::decode(bytes)?)?),
            LogKind::Seal => Ok(self.consensus.recover_seal(&Seal::decode(bytes)?)?),
            LogKind::Block => self.recover_block(bytes),
            LogKind::Certificate => self.recover_certificate(bytes),
            LogKind::Evidence => self.recover_evidence(bytes),
            LogKind::Whole => self.recover_whole(&LogWhole::decode(bytes)?),
        }?;
        self.draw_consequences();
        Ok(())
    }

    fn recover_block(&mut self, bytes: &[u8]) -> Result<(), RecoverError> {
        let block = Block::decode(bytes)?;
        let parent = self.consensus.parent_of(&block.header)?;
        if parent.sequence < self.consensus.tip().sequence {
            self.rewind(parent.sequence); // [P-35]
            while self.next_withdrawn().is_some() {} // Nothing of it was shown.
        }
        let begins_epoch = self.consensus.begins_epoch(&block.header);
        self.consensus.recover_block(&block.header)?;
        self.apply_block(&block, begins_epoch)?;
        let hash = self.consensus.tip().hash;
        self.flights.push_copy(&block, bytes, hash, false);
        Ok(())
    }

    /// A certificate is believed because this node checked it before it wrote it. [P-71]
    fn recover_certificate(&mut self, bytes: &[u8]) -> Result<(), RecoverError> {
        let certificate = QuorumCertificate::decode(bytes)?;
        let link = self.consensus.chain().ending_at(certificate.sequence);
        if link.is_some_and(|link| link.tip.hash == certificate.block) {
            self.certificate_through = self.certificate_through.max(certificate.sequence);
        }
        self.voting.certifier.note_certificate(&certificate);
        Ok(())
    }

    /// Whole again after the damage that it names; there may have been another since. [P-46]
    fn recover_whole(&mut self, whole: &LogWhole) -> Result<(), RecoverError> {
        self.consensus.recover_whole(whole)?;
        if self.lost.take_if(|lost| lost.mark == whole.mark).is_some() {
            self.consensus.lose_claims_through(whole.epoch); // What was claimed since stands in the log.
        }
        Ok(())
    }

    fn recover_evidence(&mut self, bytes: &[u8]) -> Result<(), RecoverError> {
        let report = SignedEvidence::decode(bytes)?;
        // Against one who is no member any more, it is kept in the log and nowhere else.
        let _ = self.voting.watch.accept(report, true, self.governing.rules.judged());
        Ok(())
    }

    /// Applies the records of a block to the sessions, all of them or, with an error, none. [P-25, P-60]
    pub(crate) fn apply_block(&mut self, block: &Block<'_>, begins_epoch: bool) -> Result<(), RecoverError> {
        for (applied, record) in block.records().enumerate() {
            let result = self.apply_record(&record, block, begins_epoch && applied == 0);
            if let Err(error) = result {
                for _ in 0..applied {
                    self.sessions.undo_last();
                }
                self.governing.rewind_to(Sequence(block.header.first_sequence.0 - 1));
                return Err(error);
            }
        }
        Ok(())
    }

    fn apply_record(
        &mut self,
        record: &Record<'_>,
        block: &Block<'_>,
        must_start: bool,
    ) -> Result<(), RecoverError> {
        let sequence = record.sequence;
        if (record.operation == Operation::StartEpoch) != must_start {
            return Err(RecoverError::StartMisplaced { sequence }); // [P-25]
        }
        let applied = self.sessions.apply(record, block.header.epoch, block.header.time);
        applied.map_err(|_| RecoverError::SessionBroken { sequence })?;
        if record.operation == Operation::Govern && !self.follow_governance(record) {
            self.sessions.undo_last();
            return Err(RecoverError::GovernanceWrong { sequence });
        }
        Ok(())
    }
}

/// Why the log is not continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// A claim, promise or seal does not decode.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A block does not decode, or does not match its own root.
    #[error(transparent)]
    Block(#[from] DecodeError),
    /// The entry contradicts the log before it.
    #[error(transparent)]
    Log(#[from] consensus::RecoverError),
    /// An epoch that does not begin with its start record, or a start record elsewhere. [P-25]
    #[error(
        "the record at sequence {sequence} breaks the rule that an epoch's first record, and no other, starts it"
    )]
    StartMisplaced {
        /// The record.
        sequence: Sequence,
    },
    /// A record that its session forbids: repeated, going back, or of a session that is not open. [P-60]
    #[error(
        "the record at sequence {sequence} repeats a proposal or belongs to no open session: restore the log"
    )]
    SessionBroken {
        /// The record.
        sequence: Sequence,
    },
    /// A governance record whose verdict does not follow from the log before it. [P-90]
    #[error("the governance record at sequence {sequence} has a verdict that the log before it contradicts")]
    GovernanceWrong {
        /// The record.
        sequence: Sequence,
    },
}
