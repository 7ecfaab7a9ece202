//! Leading: blocks to the followers, their acknowledgements, what they lack.
//!
//! Invariant: what an acknowledgement names counts only when it is a block of this node's own chain, by its hash.
//! [P-50, P-58]

use alloc::vec::Vec;

use io_oi_record::evidence::Signed;
use io_oi_record::message::{Ack, BlockMessage, Commit, Message, SealMessage, Want, WantHeader};
use io_oi_record::{BlockHeader, Durability, Hash, NodeId, Sequence};

use crate::event::Lane;
use crate::machine::Machine;
use crate::peers::To;
use crate::status::{Notice, Role};

/// A follower this many sequences behind is worth a word to the operator.
const LAGGING_SEQUENCES: u64 = 100_000;

/// A block read back from the log for followers that are far behind.
pub(crate) struct Fetching {
    asked: Sequence,
    /// Not again at once after the log had nothing.
    pub(crate) may_ask: bool,
    first: Sequence,
    last: Sequence,
    bytes: Vec<u8>,
}

impl Fetching {
    pub(crate) fn new() -> Self {
        let (asked, first, last) = (Sequence::NONE, Sequence::NONE, Sequence::NONE);
        Self { asked, may_ask: true, first, last, bytes: Vec::new() }
    }

    pub(crate) fn holds(&self, sequence: Sequence) -> bool {
        !self.first.is_none() && self.first <= sequence && sequence <= self.last
    }

    /// Whether the block that holds `sequence` is to be read now.
    pub(crate) fn ask(&mut self, sequence: Sequence) -> bool {
        let asks = self.asked.is_none() && self.may_ask;
        if asks {
            self.asked = sequence;
        }
        asks
    }

    pub(crate) fn last(&self) -> Sequence {
        self.last
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Where the bytes of a block to be sent stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Memory(Sequence),
    Fetched(Sequence),
}

/// What a follower is to be sent next.
pub(crate) enum NextBlock {
    Send { to: NodeId, source: Source },
    Fetch(Sequence),
}

impl Machine {
    /// The next block for a follower that has room for one.
    pub(crate) fn next_block_for_peer(&mut self) -> Option<NextBlock> {
        if self.role() != Role::Leading {
            return None;
        }
        let (tip, committed) = (self.consensus.tip().sequence, self.consensus.committed());
        for peer in &mut self.peers.all {
            if peer.next > tip || !peer.has_window(committed) {
                continue;
            }
            if let Some(flight) = self.flights.whole_holding(peer.next) {
                let last = Sequence(flight.next_sequence().0 - 1);
                peer.note_sent(last);
                return Some(NextBlock::Send { to: peer.node, source: Source::Memory(last) });
            }
            if self.fetching.holds(peer.next) {
                peer.note_sent(self.fetching.last);
                return Some(NextBlock::Send { to: peer.node, source: Source::Fetched(self.fetching.last) });
            }
            if self.fetching.ask(peer.next) {
                return Some(NextBlock::Fetch(peer.next));
            }
        }
        None
    }

    /// The world has read a block back.
    pub(crate) fn handle_fetched(&mut self, sequence: Sequence, bytes: Option<&[u8]>) {
        if sequence != self.fetching.asked {
            return;
        }
        self.fetching.asked = Sequence::NONE;
        let header = bytes.and_then(|bytes| BlockHeader::decode_first(bytes).ok());
        let (Some((header, _)), Some(bytes)) = (header, bytes) else {
            (self.fetching.first, self.fetching.may_ask) = (Sequence::NONE, false);
            self.repair.forget(sequence);
            return;
        };
        self.fetching.bytes.clear();
        self.fetching.bytes.extend_from_slice(bytes);
        (self.fetching.first, self.fetching.last) = (header.first_sequence, header.last_sequence());
    }

    /// The message that carries a block, with the commit point and a heartbeat.
    pub(crate) fn write_block_message(&mut self, source: Source) -> usize {
        if let Some((_, bytes)) = self.written.filter(|(written, _)| *written == source) {
            return bytes; // The same bytes to the next follower.
        }
        self.rounds.next(self.now.mono);
        self.commit_due = false;
        self.timing.heartbeat_at = self.now.mono.saturating_add(self.timers.heartbeat_ns);
        let block = match source {
            Source::Memory(last) => {
                self.flights.whole_holding(last).expect("a block is sent while it is held").bytes()
            }
            Source::Fetched(_) => self.fetching.bytes(),
        };
        let message = Message::Block(BlockMessage {
            committed: self.state_hash.0,
            round: self.rounds.newest(),
            wants_held: self.replicated_is_awaited(),
            wants_votes: self.chosen_block == Some(source),
            block,
        });
        let (group, epoch) = (self.consensus.group(), self.consensus.epoch());
        let written = message.encode(group.cluster, group.shard, epoch, &mut self.out);
        let bytes = written.expect("a block message fits the buffer made for it");
        self.written = Some((source, bytes));
        bytes
    }

    /// Whether somebody waits for `mem-quorum`.
    fn replicated_is_awaited(&self) -> bool {
        self.mem_quorum_through > self.consensus.point(Durability::MemQuorum)
    }

    /// The heartbeat, and the commit point when no block carries it. [P-56]
    pub(crate) fn post_commit(&mut self) {
        self.commit_due = false;
        self.timing.heartbeat_at = self.now.mono.saturating_add(self.timers.heartbeat_ns);
        let round = self.rounds.next(self.now.mono);
        // Nobody is told of a commit before it is shown here: a reader under our lease must not miss it. [P-113]
        let (tip, committed) = (*self.consensus.tip(), self.state_hash.0);
        let committed_hash =
            self.consensus.chain().ending_at(committed).map_or(Hash::ZERO, |link| link.tip.hash);
        let message = Commit {
            committed,
            committed_hash,
            tip: tip.sequence,
            tip_hash: tip.hash,
            round,
            certified: self.consensus.point(Durability::Certified),
        };
        let epoch = self.epoch();
        self.peers.post(To::All, Lane::Urgent, epoch, Message::Commit(message));
    }

    /// Our signature over a header, behind its block. [P-42]
    pub(crate) fn post_seal(&mut self, header: &BlockHeader, hash: Hash, signature: io_oi_record::Signature) {
        let (last_sequence, epoch) = (header.last_sequence(), header.epoch);
        let seal = SealMessage { last_sequence, header_hash: hash, signature };
        self.peers.post(To::All, Lane::Urgent, epoch, Message::Seal(seal));
        if let Some(closed) = self.flights.whole_mut(hash) {
            closed.signature = Some(signature);
        }
    }

    /// How far another member has come. [P-50, P-58]
    pub(crate) fn handle_ack(&mut self, from: NodeId, epoch: io_oi_record::Epoch, ack: &Ack) {
        if self.role() != Role::Leading || epoch != self.epoch() || self.is_barred(from) {
            self.counters.messages_stale += 1;
            return;
        }
        let chain = self.consensus.chain();
        let is_ours = |last, hash| chain.ending_at(last).is_some_and(|link| link.tip.hash == hash);
        let holds_ours = is_ours(ack.held, ack.held_hash);
        let is_durable = !ack.durable.is_none() && is_ours(ack.durable, ack.durable_hash);
        if let Some(voter) = self.consensus.members().voter_index(from) {
            if holds_ours {
                self.consensus.handle_held(voter, epoch, ack.held);
            }
            if is_durable {
                let before = self.consensus.committed();
                let is_news = self.consensus.handle_durable(voter, epoch, ack.durable);
                if planted!(self, CountsAcksTwice) && !is_news {
                    #[cfg(feature = "planted")]
                    self.count_for_another(epoch, ack.durable);
                }
                #[cfg(feature = "planted")]
                if planted!(self, CommitsOldEpoch) {
                    self.commit_by_counting();
                }
                self.commit_due |= self.consensus.committed() > before;
            }
        }
        self.note_round(from, ack.round);
        self.note_progress(from, ack, holds_ours, is_durable);
        self.advance_hand_over();
    }

    /// One more voter has that, as the planted bug counts it.
    #[cfg(feature = "planted")]
    fn count_for_another(&mut self, epoch: io_oi_record::Epoch, durable: Sequence) {
        let members = *self.consensus.members();
        let voters = members.voters().iter().filter_map(|voter| members.voter_index(*voter));
        let another = voters.into_iter().find(|voter| self.consensus.durable_of(*voter) < durable);
        if let Some(voter) = another {
            self.consensus.handle_durable(voter, epoch, durable);
        }
    }

    /// What a quorum has of any epoch, as the planted bug counts it.
    #[cfg(feature = "planted")]
    fn commit_by_counting(&mut self) {
        let members = self.consensus.members();
        let indices = members.voters().iter().filter_map(|voter| members.voter_index(*voter));
        let mut durable: Vec<Sequence> = indices.map(|voter| self.consensus.durable_of(voter)).collect();
        durable.sort_unstable_by(|left, right| right.cmp(left));
        let point = durable[members.quorum_size() - 1];
        if self.consensus.chain().ending_at(point).is_some() {
            self.consensus.learn_committed(point);
        }
    }

    fn note_progress(&mut self, from: NodeId, ack: &Ack, holds_ours: bool, is_durable: bool) {
        let (tip, committed) = (self.consensus.tip().sequence, self.consensus.committed());
        let Some(peer) = self.peers.find(from) else { return };
        let is_old = ack.held < committed && !ack.held.is_none(); // Older than what is remembered by hash.
        if holds_ours || is_old {
            peer.note_held(ack.held);
        }
        if is_durable {
            peer.durable = peer.durable.max(ack.durable);
        }
        let behind = tip.0.saturating_sub(peer.held.0);
        let is_lagging = behind > LAGGING_SEQUENCES;
        if is_lagging && !peer.lag_was_told {
            self.notices.push(Notice::PeerLagging { node: from, behind });
        }
        peer.lag_was_told = is_lagging;
    }

    /// A follower lacks what stands behind its chain. [P-59]
    pub(crate) fn handle_want(&mut self, from: NodeId, want: &Want) {
        self.show_vote(from, |vote| want.after < vote.statement.sequence);
        if self.role() != Role::Leading {
            return;
        }
        let chain = self.consensus.chain();
        let is_on_chain = want.after.is_none()
            || chain.ending_at(want.after).is_some_and(|link| link.tip.hash == want.after_hash);
        let after = if is_on_chain { want.after } else { want.committed };
        if after > self.consensus.tip().sequence {
            return;
        }
        if let Some(peer) = self.peers.find(from) {
            peer.restart_after(after);
        }
    }

    /// Somebody lacks a signed header.
    pub(crate) fn handle_want_header(&mut self, from: NodeId, question: &WantHeader) {
        let flight = self.flights.whole_holding(question.sequence);
        let Some(closed) = flight.and_then(|flight| flight.closed) else { return };
        let Some(signature) = closed.signature.filter(|_| closed.header.epoch == question.epoch) else {
            return;
        };
        let header = Signed { statement: closed.header, signature };
        let epoch = self.epoch();
        self.peers.post(To::One(from), Lane::Urgent, epoch, Message::Header(header));
    }

    /// Time went by for a leader: heartbeats, and whether it may go on. [P-57]
    pub(crate) fn elapse_leading(&mut self) {
        if self.role() != Role::Leading || self.peers.is_empty() {
            return;
        }
        let heard_at = self.quorum_heard_at(io_oi_record::Round::NONE);
        let began_at = self.leading_since;
        let is_alone = self.now.mono.since(heard_at.max(began_at)) > 2 * self.timers.election_ns_max;
        if is_alone || self.flush_is_stuck() {
            return self.stop_leading();
        }
        self.follow_appointment();
        if self.now.mono >= self.timing.heartbeat_at {
            self.commit_due = true;
        }
    }
}
