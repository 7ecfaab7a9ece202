//! Committed blocks from any member: for a node that hears no leader, because it lacks the decision that made it one.
//!
//! Invariant: only committed blocks are asked for and given, so that whoever takes one in gives up nothing that any
//! quorum has, and holds nothing that any later leader lacks. [P-47]

use alloc::collections::VecDeque;

use io_oi_record::message::{FetchBlock, Message};
use io_oi_record::{Block, NodeId, Sequence};

use crate::event::Lane;
use crate::machine::Machine;
use crate::peers::To;
use crate::poll::Step;
use crate::replication::Source;
use crate::status::Role;

/// Questions kept at a time; who got no answer asks again.
const REQUESTS_MAX: usize = 16;

/// Who asked for what, and whom we asked.
pub(crate) struct Repair {
    requests: VecDeque<(NodeId, Sequence)>,
    /// The peer that is asked next.
    turn: usize,
    asked: Sequence,
}

impl Repair {
    pub(crate) fn new() -> Self {
        Self { requests: VecDeque::with_capacity(REQUESTS_MAX), turn: 0, asked: Sequence::NONE }
    }

    /// The log does not have that block.
    pub(crate) fn forget(&mut self, sequence: Sequence) {
        self.requests.retain(|(_, wanted)| *wanted != sequence);
    }
}

impl Machine {
    /// No leader is heard: another member may know more. Each in turn is asked for what follows our commit point.
    pub(crate) fn ask_peers(&mut self) {
        let Some(peer) = self.peers.all.get(self.repair.turn % self.peers.all.len().max(1)) else { return };
        let to = peer.node;
        self.repair.turn += 1;
        self.ask_peer(to);
    }

    fn ask_peer(&mut self, to: NodeId) {
        let sequence = self.consensus.committed().next();
        self.repair.asked = sequence;
        let epoch = self.epoch();
        self.peers.post(To::One(to), Lane::Urgent, epoch, Message::FetchBlock(FetchBlock { sequence }));
    }

    /// Another member lacks a committed block.
    pub(crate) fn handle_fetch_block(&mut self, from: NodeId, question: &FetchBlock) {
        let is_committed = question.sequence <= self.state_hash.0 && !question.sequence.is_none();
        if is_committed && self.repair.requests.len() < REQUESTS_MAX {
            self.repair.requests.push_back((from, question.sequence));
        }
    }

    /// The next answer to such a question.
    pub(crate) fn next_repair(&mut self) -> Option<Step> {
        let (to, sequence) = *self.repair.requests.front()?;
        let source = match self.flights.whole_holding(sequence) {
            Some(flight) => Source::Memory(Sequence(flight.next_sequence().0 - 1)),
            None if self.fetching.holds(sequence) => Source::Fetched(self.fetching.last()),
            None if self.fetching.ask(sequence) => return Some(Step::Fetch(sequence)),
            None => return None,
        };
        self.repair.requests.pop_front();
        let bytes = self.write_fetched_block(source);
        Some(Step::Send { to, lane: Lane::Bulk, bytes })
    }

    /// A committed block that we asked for. A leader that is heard knows better. [P-47]
    pub(crate) fn handle_fetched_block(&mut self, from: NodeId, bytes: &[u8]) {
        let is_awaited = !self.repair.asked.is_none() && self.consensus.leader().is_none();
        let waits = matches!(self.role(), Role::Following | Role::PreVoting | Role::Mute);
        let Ok(block) = Block::decode(bytes) else {
            self.counters.messages_refused += 1;
            return;
        };
        let last = block.header.last_sequence();
        if !is_awaited || !waits || last <= self.consensus.committed() {
            return;
        }
        self.repair.asked = Sequence::NONE;
        let hash = block.header.hash();
        let is_known = self.consensus.chain().ending_at(last).is_some_and(|link| link.tip.hash == hash);
        let is_own = block.header.leader == self.own_node();
        let is_stranger = is_own && !self.consensus.has_claimed(block.header.epoch) && self.mute().is_none();
        if is_stranger || (!is_known && !self.follow_block(&block, bytes, hash)) {
            return;
        }
        self.following.matched = Sequence::NONE;
        self.consensus.learn_committed(last);
        self.note_whole();
        self.ask_peer(from);
    }
}
