//! Messages into the one buffer that they are sent from.
//!
//! Invariant: the buffer holds the longest message of the group; a group of one has none to send and no buffer.

use io_oi_record::evidence::Signed;
use io_oi_record::message::{BallotMessage, Declined, Forwarded, Message};
use io_oi_record::{Ballot, Epoch, NodeId, RefusalCode, Round, SessionId, SessionSequence};

use crate::event::Lane;
use crate::machine::Machine;
use crate::peers::To;
use crate::replication::Source;

impl Machine {
    /// Encodes a message; its length.
    pub(crate) fn write(&mut self, epoch: Epoch, message: &Message<'_>) -> usize {
        self.written = None;
        let group = self.consensus.group();
        let written = message.encode(group.cluster, group.shard, epoch, &mut self.out);
        written.expect("every message fits the buffer made for the longest")
    }

    pub(crate) fn write_ballot(&mut self, ballot: &Signed<Ballot>, hand_over_round: Round) -> usize {
        self.written = None;
        let group = self.consensus.group();
        let appointment = self.governing.appointment_at_hand(group.node);
        let appointment = appointment.as_deref();
        let message = Message::Ballot(BallotMessage { ballot: *ballot, hand_over_round, appointment });
        let epoch = ballot.statement.epoch;
        let written = message.encode(group.cluster, group.shard, epoch, &mut self.out);
        written.expect("every message fits the buffer made for the longest")
    }

    /// A committed block for a member that asked for it.
    pub(crate) fn write_fetched_block(&mut self, source: Source) -> usize {
        self.written = None;
        let block = match source {
            Source::Memory(last) => self.flights.whole_holding(last).expect("it was found just now").bytes(),
            Source::Fetched(_) => self.fetching.bytes(),
        };
        let (group, epoch) = (self.consensus.group(), self.consensus.epoch());
        let message = Message::FetchedBlock(block);
        let written = message.encode(group.cluster, group.shard, epoch, &mut self.out);
        written.expect("a block message fits the buffer made for it")
    }

    /// The oldest of our proposals that are to be sent.
    pub(crate) fn write_forward(&mut self) -> usize {
        self.written = None;
        self.forwarding.take_unsent(&mut self.taken);
        let forwarded = Forwarded::decode(&self.taken).expect("our own entries decode");
        let (group, epoch) = (self.consensus.group(), self.consensus.epoch());
        let message = Message::Forward(forwarded);
        let written = message.encode(group.cluster, group.shard, epoch, &mut self.out);
        written.expect("a forward message fits the buffer made for a block")
    }

    /// The world has no room for another node's proposal. Its client takes that for final: a late copy gets no place
    /// either, and nobody is told before an earlier leader's place for it is out of the question. [P-68]
    pub(crate) fn decline_for_good(&mut self, to: NodeId, code: RefusalCode) {
        if self.consensus.committed() < self.epoch_first {
            return; // It is sent again.
        }
        let proposal = self.pending.proposal();
        let (session, number, epoch) = (self.pending.session, proposal.session_sequence, self.epoch());
        if proposal.operation.has_key() {
            self.sessions.note_declined(session, number, epoch);
        }
        self.decline(to, session, number, code);
    }

    /// Another node's proposal gets no place. [P-68]
    pub(crate) fn decline(
        &mut self,
        to: NodeId,
        session: SessionId,
        session_sequence: SessionSequence,
        code: RefusalCode,
    ) {
        let epoch = self.epoch();
        let message = Message::Declined(Declined { session, session_sequence, code });
        self.counters.refused += 1;
        self.peers.post(To::One(to), Lane::Urgent, epoch, message);
    }
}
