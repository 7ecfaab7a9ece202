//! Messages of other members: refused, or taken to where they belong.
//!
//! Invariant: nothing of a stranger, of a barred key, of another cluster or shard is looked into. [P-80, P-81]

use io_oi_record::message::{Declined, Forwarded, Message};
use io_oi_record::{Epoch, NodeId, Operation};

use crate::machine::{Machine, Phase};
use crate::status::Role;

impl Machine {
    /// One message, as its connection proved it to be from `from`. [P-80]
    pub(crate) fn handle_received(&mut self, from: NodeId, bytes: &[u8]) {
        let is_known = self.peers.find(from).is_some() && !self.is_barred(from);
        if !is_known || self.phase != Phase::Running {
            self.counters.messages_refused += 1; // [P-81]
            return;
        }
        let group = *self.consensus.group();
        match Message::decode(bytes, group.cluster, group.shard) {
            Ok((epoch, message)) => self.handle_message(from, epoch, &message),
            Err(_) => self.counters.messages_refused += 1,
        }
    }

    fn handle_message(&mut self, from: NodeId, epoch: Epoch, message: &Message<'_>) {
        match message {
            Message::Block(block) => self.handle_block(from, epoch, block),
            Message::Seal(seal) => self.handle_seal(from, epoch, seal),
            Message::Ack(ack) => self.handle_ack(from, epoch, ack),
            Message::Commit(commit) => self.handle_commit(from, epoch, commit),
            Message::PreVote(question) => self.handle_pre_vote(from, epoch, question),
            Message::PreVoteAnswer(answer) => self.handle_pre_vote_answer(from, epoch, answer),
            Message::Ballot(ballot) => self.handle_ballot(from, ballot),
            Message::Grant(grant) => self.handle_grant(from, grant),
            Message::Deny(deny) => self.handle_deny(from, epoch, deny),
            Message::Want(want) => self.handle_want(from, want),
            Message::WantHeader(question) => self.handle_want_header(from, question),
            Message::FetchBlock(question) => self.handle_fetch_block(from, question),
            Message::FetchedBlock(bytes) => self.handle_fetched_block(from, bytes),
            Message::Header(header) => self.handle_header(from, header),
            Message::Vote(vote) => self.handle_vote(from, epoch, vote),
            Message::Evidence(bytes) => self.handle_evidence(from, bytes),
            Message::EvidenceKept(said) => self.handle_evidence_kept(from, said.accused),
            Message::StateHash(said) => self.handle_state_hash(from, said),
            Message::Forward(forwarded) => self.handle_forward(from, epoch, forwarded),
            Message::Declined(declined) => self.handle_declined_by_leader(from, declined),
            Message::HandOver(hand_over) => self.handle_hand_over(from, epoch, hand_over),
        }
    }

    /// Proposals of another node's clients, meant for the leader of `epoch`. One of an earlier epoch is not taken: its
    /// node sends it again, unless it has been answered meanwhile. [P-68]
    fn handle_forward(&mut self, from: NodeId, epoch: Epoch, forwarded: &Forwarded<'_>) {
        if self.role() == Role::Leading && epoch == self.epoch() {
            self.inbox.push(from, forwarded);
        } else {
            self.counters.messages_stale += 1;
            // A signed appointment says by itself whom it is for. [P-95]
            for (session, proposal) in
                forwarded.iter().filter(|(_, proposal)| proposal.operation == Operation::Govern)
            {
                self.note_own_appointment(session, &proposal);
            }
        }
    }

    /// The leader refuses one of our proposals without a place. [P-68]
    fn handle_declined_by_leader(&mut self, from: NodeId, declined: &Declined) {
        if self.consensus.leader() != Some(from) {
            return;
        }
        let waiters = self.forwarding.decline(declined.session, declined.session_sequence);
        if waiters > 0 {
            self.refuse_all(declined.session, declined.session_sequence, declined.code, waiters);
        }
    }
}
