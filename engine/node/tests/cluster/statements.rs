//! Everything that was signed within a listener's hearing, and whether one honest node can have signed it.
//!
//! Invariant: only what its key really signed is counted; a header counts as signed when a seal names it.

use std::collections::HashMap;

use io_oi_record::message::Message;
use io_oi_record::{BlockHeader, ClusterId, Hash, NodeId, ShardId, verify};

use super::impostor::Heard;

/// One place that a key may sign once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SignedPlace {
    /// An epoch granted by this voter.
    Grant(NodeId, u64),
    /// An epoch stood for by this candidate.
    Ballot(NodeId, u64),
    /// An epoch and sequence acknowledged by this voter.
    Vote(NodeId, u64, u64),
    /// An epoch and sequence led by this leader.
    Header(NodeId, u64, u64),
}

/// What was signed at each place.
#[derive(Default)]
pub(crate) struct Statements {
    signed: HashMap<SignedPlace, Hash>,
    headers: HashMap<Hash, BlockHeader>,
    contradictions: Vec<SignedPlace>,
}

impl Statements {
    /// Takes in what was heard; what is no message or badly signed is passed over.
    pub(crate) fn of(heard: &[Heard], cluster: ClusterId) -> Self {
        let mut statements = Self::default();
        for frame in heard {
            if let Ok((_, message)) = Message::decode(&frame.bytes, cluster, ShardId(0)) {
                statements.take(&message);
            }
        }
        statements
    }

    fn take(&mut self, message: &Message<'_>) {
        match message {
            Message::Grant(grant) if grant.verify().is_ok() => {
                let said = grant.statement;
                self.note(SignedPlace::Grant(said.voter, said.epoch.0), Hash(said.candidate.0));
            }
            Message::Ballot(message) if message.ballot.verify().is_ok() => {
                let said = message.ballot.statement;
                self.note(SignedPlace::Ballot(said.candidate, said.epoch.0), said.tip);
            }
            Message::Vote(vote) if vote.verify().is_ok() => {
                let said = vote.statement;
                self.note(SignedPlace::Vote(said.voter, said.epoch.0, said.sequence.0), said.block);
            }
            Message::Block(message) => self.keep_header(message.block),
            Message::FetchedBlock(block) => self.keep_header(block),
            Message::Seal(seal) => {
                if let Some(header) = self.headers.get(&seal.header_hash).copied()
                    && verify(&header, &seal.signature).is_ok()
                {
                    self.note_header(&header);
                }
            }
            Message::Header(header) if header.verify().is_ok() => self.note_header(&header.statement),
            _ => {}
        }
    }

    fn keep_header(&mut self, block: &[u8]) {
        if let Ok((header, _)) = BlockHeader::decode_first(block) {
            self.headers.insert(header.hash(), header);
        }
    }

    fn note_header(&mut self, header: &BlockHeader) {
        let place = SignedPlace::Header(header.leader, header.epoch.0, header.first_sequence.0);
        self.note(place, header.hash());
    }

    fn note(&mut self, place: SignedPlace, what: Hash) {
        if *self.signed.entry(place).or_insert(what) != what {
            self.contradictions.push(place);
        }
    }

    /// Places that were signed twice, differently.
    pub(crate) fn contradictions(&self) -> &[SignedPlace] {
        &self.contradictions
    }

    pub(crate) fn count(&self, is_meant: impl Fn(&SignedPlace) -> bool) -> usize {
        self.signed.keys().filter(|place| is_meant(place)).count()
    }

    /// The highest epoch that a node stood for, led or granted.
    pub(crate) fn highest_epoch_of_elections(&self, node: NodeId) -> u64 {
        let epoch = |place: &SignedPlace| match *place {
            SignedPlace::Grant(who, epoch)
            | SignedPlace::Ballot(who, epoch)
            | SignedPlace::Header(who, epoch, _) => (who == node).then_some(epoch),
            SignedPlace::Vote(..) => None, // Its durable note is the block itself.
        };
        self.signed.keys().filter_map(epoch).max().unwrap_or(0)
    }
}
