//! The newest blocks of other voters, for a candidate that lacks them: a leader whose own disk was slower than its
//! followers' loses its last block in a power cut, and under strict control nobody else may stand.
//!
//! Invariant: an undecided block is taken over only when so many voters offer it that every quorum that can still vote has
//! one of them, and only if it makes the own chain newer, as following its leader would have done; nothing is acknowledged
//! by it. [P-48]

use alloc::collections::VecDeque;

use io_oi_consensus::VoterSet;
use io_oi_record::message::{BlockMessage, Message, PreVote};
use io_oi_record::{Block, Hash, NodeId, Round, Sequence};

use crate::event::Lane;
use crate::machine::Machine;
use crate::poll::Step;
use crate::status::Role;

/// Candidates that are served at a time; who is not asks again.
const SERVED_MAX: usize = 4;
/// Blocks whose offers are counted at a time: more than a pipeline of several epochs leaves behind.
const OFFERED_MAX: usize = 32;

/// What is offered to others, and what they have offered.
pub(crate) struct Tail {
    serving: VecDeque<(NodeId, Sequence)>,
    offered: VecDeque<(Hash, VoterSet)>,
}

impl Tail {
    pub(crate) fn new() -> Self {
        Self { serving: VecDeque::new(), offered: VecDeque::new() }
    }

    /// The candidate asks anew: offers are counted anew.
    pub(crate) fn forget_offers(&mut self) {
        self.offered.clear();
    }

    fn count(&mut self, hash: Hash) -> &mut VoterSet {
        if let Some(place) = self.offered.iter().position(|(offered, _)| *offered == hash) {
            return &mut self.offered[place].1;
        }
        if self.offered.len() == OFFERED_MAX {
            self.offered.pop_front();
        }
        self.offered.push_back((hash, VoterSet::EMPTY));
        &mut self.offered.back_mut().expect("one was just pushed").1
    }
}

impl Machine {
    /// A candidate was denied because its chain is older than ours: without a leader it gets nowhere else. [P-48]
    pub(crate) fn offer_tail(&mut self, to: NodeId, question: &PreVote) {
        let tip = self.consensus.tip();
        let is_newer = (tip.epoch, tip.sequence) > (question.tip_epoch, question.tip_sequence);
        // A voter that repairs its log grants nothing, and what it holds is there all the same.
        let is_out = self.consensus.own().is_none() || self.mute().is_some();
        let is_served = self.tail.serving.iter().any(|(served, _)| *served == to);
        if !is_newer || is_out || is_served || self.consensus.leader().is_some() {
            return;
        }
        let shared = self.consensus.chain().ending_at(question.tip_sequence);
        let after = match shared.filter(|link| link.tip.hash == question.tip_hash) {
            Some(link) => link.tip.sequence,
            None => self.consensus.committed(),
        };
        if self.tail.serving.len() < SERVED_MAX {
            self.tail.serving.push_back((to, after.next()));
        }
    }

    /// The next block of the tail for a candidate.
    pub(crate) fn next_tail(&mut self) -> Option<Step> {
        let (to, sequence) = self.tail.serving.pop_front()?;
        let flight = self.flights.whole_holding(sequence)?;
        self.tail.serving.push_back((to, flight.next_sequence()));
        self.written = None;
        let (committed, block) = (self.state_hash.0, flight.bytes());
        // No heartbeat: who says this does not lead.
        let (round, wants_held, wants_votes) = (Round::NONE, false, false);
        let message = Message::Block(BlockMessage { committed, round, wants_held, wants_votes, block });
        let (group, epoch) = (self.consensus.group(), self.consensus.epoch());
        let written = message.encode(group.cluster, group.shard, epoch, &mut self.out);
        let bytes = written.expect("a block message fits the buffer made for it");
        Some(Step::Send { to, lane: Lane::Bulk, bytes })
    }

    /// A voter that denied us offers a block that we lack. [P-48]
    pub(crate) fn take_offered(&mut self, from: NodeId, block: &Block<'_>, bytes: &[u8]) {
        let Some(voter) = self.consensus.members().voter_index(from) else { return };
        let counting = self.count_unbarred(VoterSet::ALL);
        let (header, last, tip) = (&block.header, block.header.last_sequence(), *self.consensus.tip());
        let is_newer =
            (header.epoch, last) > (tip.epoch, tip.sequence) && self.consensus.is_near(header.epoch);
        let is_strange = header.leader == self.own_node() && !self.consensus.has_claimed(header.epoch);
        if self.role() != Role::PreVoting || self.is_repairing() || !is_newer || is_strange {
            self.counters.messages_stale += 1;
            return;
        }
        let hash = header.hash();
        let offers = self.tail.count(hash);
        offers.insert(voter);
        let offers = *offers;
        // Without so many there is no quorum.
        if self.count_unbarred(offers) + self.consensus.members().quorum_size() <= counting {
            return;
        }
        self.consensus.hear_of(header.epoch);
        if self.follow_block(block, bytes, hash) {
            self.following.matched = Sequence::NONE;
        }
    }

    /// How many of these voters count: who is barred still counts in the size of a quorum, and is never part of one, whatever
    /// it offered before it was barred. [P-93]
    fn count_unbarred(&self, among: VoterSet) -> usize {
        let members = self.consensus.members();
        let mut counting = VoterSet::EMPTY;
        for voter in members.voters().iter().filter(|voter| !self.is_barred(**voter)) {
            counting.insert(members.voter_index(*voter).expect("it is one of the voters"));
        }
        counting.common(among).count()
    }
}
