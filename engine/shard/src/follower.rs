//! Following a leader: its blocks, its seals, its commit point, and what is acknowledged to it.
//!
//! Invariant: a block is acknowledged when it is durable here and under a verified seal of the current epoch, its own or a
//! later one's; only to a leader whose epoch is not below anything promised; and never while the log has a hole.
//! [P-28, P-45, P-58]

use io_oi_record::evidence::Signed;
use io_oi_record::message::{Ack, BlockMessage, Commit, Deny, Message, SealMessage, Want, WantHeader};
use io_oi_record::{Block, BlockHeader, Epoch, Hash, Nanos, NodeId, Round, Sequence, Signature};

use crate::appends::{Entry, Note};
use crate::event::{Lane, LogKind};
use crate::machine::Machine;
use crate::peers::To;
use crate::status::{Notice, Role};

/// Seals that came before their blocks; a pipeline has no more under way.
const SEALS_EARLY: usize = 4;
/// A commit point is acknowledged only when nothing else was for this part of a heartbeat.
const ACKS_PER_HEARTBEAT: u64 = 4;

/// Where this node is behind its leader.
pub(crate) struct Following {
    /// Through where our chain is known to be the leader's.
    pub(crate) matched: Sequence,
    /// Through where it is under a verified seal of the current epoch. [P-45]
    pub(crate) sealed: Sequence,
    pub(crate) round: Round,
    /// Whether the leader is owed an acknowledgement.
    pub(crate) owes_ack: bool,
    /// When it got the last one.
    pub(crate) acked_at: Nanos,
    early_seals: [Option<SealMessage>; SEALS_EARLY],
    next_early: usize,
    /// The leader's tip as its last heartbeat named it, when we did not have it then.
    lacking: Sequence,
    /// What was not sealed at the last heartbeat.
    unsealed: Sequence,
    wanted_at: Nanos,
    told_at: Nanos,
    /// The highest epoch of a leader that was noted durably. [P-28]
    pub(crate) noted: Epoch,
    /// The leader's tip when it was first heard in this epoch; a repairing node has to come as far. [P-46]
    pub(crate) leader_tip: Sequence,
}

impl Following {
    pub(crate) fn new() -> Self {
        Self {
            matched: Sequence::NONE,
            sealed: Sequence::NONE,
            round: Round::NONE,
            owes_ack: false,
            acked_at: Nanos::ZERO,
            early_seals: [None; SEALS_EARLY],
            next_early: 0,
            lacking: Sequence::NONE,
            unsealed: Sequence::NONE,
            wanted_at: Nanos::ZERO,
            told_at: Nanos::ZERO,
            noted: Epoch::NONE,
            leader_tip: Sequence::NONE,
        }
    }

    /// Another epoch: nothing of the last leader's counts.
    pub(crate) fn begin_epoch(&mut self) {
        *self = Self { noted: self.noted, ..Self::new() };
    }

    pub(crate) fn rewind_to(&mut self, last: Sequence) {
        self.matched = self.matched.min(last);
        self.sealed = self.sealed.min(last);
    }
}

/// What a signature does to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealing {
    /// The block is not in memory.
    Absent,
    /// The block is under its leader's signature.
    Sealed,
    /// The block is here, and the signature is not its leader's.
    False,
}

impl Machine {
    /// A message that only a leader sends. Follows it when that is allowed; says whether it is. [P-28]
    fn hear_leader(&mut self, from: NodeId, epoch: Epoch) -> bool {
        let is_voter = self.consensus.members().voter_index(from).is_some();
        let is_ahead = self.is_deaf_to(from);
        let is_refused = self.is_barred(from) || self.gives_up_on(from);
        if !is_voter || is_ahead || is_refused || !self.consensus.may_follow(epoch, from) {
            self.counters.messages_stale += 1;
            self.tell_promise(from, epoch);
            return false;
        }
        let led = (self.role() == Role::Leading).then(|| self.epoch());
        if epoch > self.epoch() {
            self.following.begin_epoch();
            self.sealer.clear(); // [P-43]
            self.epoch_first = Sequence::NONE;
        }
        if self.consensus.follow(epoch, from) {
            self.notices.push(Notice::LeaderIs { node: from, epoch });
            self.standing_ballot = None;
            self.forwarding.send_again();
        }
        if let Some(led) = led {
            self.after_leading(led);
        }
        self.timing.heard_at = self.now.mono;
        self.arm_election();
        true
    }

    /// A leader of an epoch below our promise cannot be followed: it has to take a higher one. [P-28]
    fn tell_promise(&mut self, from: NodeId, epoch: Epoch) {
        let promised = self.consensus.promised();
        let is_due = self.now.mono.since(self.following.told_at) >= self.timers.heartbeat_ns;
        if epoch < promised && self.consensus.own().is_some() && self.mute().is_none() && is_due {
            self.following.told_at = self.now.mono;
            self.peers.post(To::One(from), Lane::Urgent, epoch, Message::Deny(Deny { promised }));
        }
    }

    /// A block of the leader's chain. [P-30..P-35]
    pub(crate) fn handle_block(&mut self, from: NodeId, epoch: Epoch, message: &BlockMessage<'_>) {
        let Ok(block) = Block::decode(message.block) else {
            self.counters.messages_refused += 1;
            return;
        };
        if message.round.is_none() {
            return self.take_offered(from, &block, message.block);
        }
        let (header, last) = (&block.header, block.header.last_sequence());
        if self.is_skewed(from, epoch, header) || !self.hear_leader(from, epoch) {
            return;
        }
        self.following.round = self.following.round.max(message.round);
        if !self.is_believable(from, epoch, header) {
            self.counters.messages_refused += 1;
            return;
        }
        let hash = header.hash();
        let is_known = self.consensus.chain().ending_at(last).is_some_and(|link| link.tip.hash == hash);
        if is_known {
            self.following.matched = self.following.matched.max(last);
            self.following.owes_ack = true;
        } else if last <= self.consensus.committed() {
            self.following.owes_ack = true; // Older than what we remember.
        } else if !self.follow_block(&block, message.block, hash) {
            return;
        }
        self.hear_committed(message.committed);
        if message.wants_held {
            self.following.owes_ack = true;
        }
        if message.wants_votes {
            self.aim_at(last);
        }
        self.take_early_seals();
        self.try_vote();
    }

    /// What a header must be like, whatever stands before it. [P-32, P-34, P-44]
    fn is_believable(&mut self, from: NodeId, epoch: Epoch, header: &BlockHeader) -> bool {
        if header.epoch > epoch || (header.epoch == epoch && header.leader != from) {
            return false;
        }
        // Unsigned so far: refused, and no more; its signature would silence us. Who is silent reads on. [P-44]
        let is_strange = header.leader == self.own_node()
            && !self.consensus.has_claimed(header.epoch)
            && self.mute().is_none();
        !is_strange
    }

    /// A block that is new here: behind our tip, or in the place of blocks that were never committed. Says whether it
    /// was taken. [P-35]
    pub(crate) fn follow_block(&mut self, block: &Block<'_>, bytes: &[u8], hash: Hash) -> bool {
        if !self.appends.has_room_to_follow() || !self.withdrawing.is_empty() {
            return false; // Too much under way already: it is asked for again.
        }
        let header = &block.header;
        let parent = match self.consensus.parent_of(header) {
            Ok(parent) => parent,
            Err(_) => {
                self.want_blocks();
                return false;
            }
        };
        if parent.sequence < self.consensus.tip().sequence {
            self.rewind(parent.sequence);
        }
        if header.arbitrators != self.governing.set_of_next(self.arbitrators) {
            self.counters.messages_refused += 1; // Another set of judges than the log says. [P-96]
            return false;
        }
        let begins_epoch = self.consensus.begins_epoch(header);
        if self.apply_block(block, begins_epoch).is_err() {
            self.counters.messages_refused += 1;
            self.want_blocks();
            return false;
        }
        if begins_epoch {
            self.epoch_first = header.first_sequence;
        }
        self.flights.push_copy(block, bytes, hash, true);
        self.consensus.handle_followed(header, hash);
        self.place_own_proposals(header.first_sequence, header.last_sequence());
        self.following.matched = header.last_sequence();
        self.note_leader_epoch();
        self.to_append.push_back(header.last_sequence());
        true
    }

    /// A leader of an epoch that our log does not show yet sends an older block: its epoch is noted durably before
    /// anything is acknowledged to it. [P-28]
    fn note_leader_epoch(&mut self) {
        let (epoch, tip) = (self.epoch(), *self.consensus.tip());
        let is_noted = self.following.noted >= epoch || tip.epoch >= epoch || self.promise_durable >= epoch;
        let Some(leader) = self.consensus.leader() else { return };
        if is_noted {
            return;
        }
        self.following.noted = epoch;
        let note = self.consensus.promise_note(epoch, leader);
        let (kind, entry, bytes) = (LogKind::Grant, Entry::Silent, note.encode());
        self.appends.push_note(Note { kind, entry, epoch, sequence: tip.sequence, bytes });
    }

    /// Whoever submitted one of these here waits for its answer. [P-63]
    fn place_own_proposals(&mut self, first: Sequence, last: Sequence) {
        if self.forwarding.is_empty() {
            return;
        }
        let mut sequence = first;
        while sequence <= last {
            let flight = self.flights.holding_mut(sequence).expect("the block was just taken in");
            let waiters = self.forwarding.place(&flight.record(sequence));
            let note = flight.note_mut(sequence);
            note.waiters = waiters;
            if waiters > 0 && note.durability == io_oi_record::Durability::Certified {
                self.certifying.expect_one();
            }
            sequence = sequence.next();
        }
    }

    /// Everything through `committed`, as far as our chain is the leader's, is committed. [P-56]
    fn hear_committed(&mut self, committed: Sequence) {
        let tip = self.consensus.tip().sequence;
        let shared = if planted!(self, CommitsUnmatched) { tip } else { self.following.matched };
        let known = committed.min(shared);
        if known > self.consensus.committed() && self.consensus.chain().ending_at(known).is_some() {
            self.consensus.learn_committed(known);
        }
    }

    /// The leader's heartbeat. [P-56, P-58]
    pub(crate) fn handle_commit(&mut self, from: NodeId, epoch: Epoch, message: &Commit) {
        if !self.hear_leader(from, epoch) {
            return;
        }
        self.following.round = self.following.round.max(message.round);
        // Under load the acknowledgements of blocks carry the rounds; a heartbeat on a quiet shard is answered at once.
        let since = self.now.mono.since(self.following.acked_at);
        self.following.owes_ack |= since >= self.timers.heartbeat_ns / ACKS_PER_HEARTBEAT;
        let is_first = self.following.leader_tip.is_none();
        if is_first {
            self.following.leader_tip = message.tip;
        }
        let chain = self.consensus.chain();
        let is_at_tip = chain.ending_at(message.tip).is_some_and(|link| link.tip.hash == message.tip_hash);
        if is_at_tip {
            self.following.matched = self.following.matched.max(message.tip);
        }
        self.note_whole();
        self.hear_committed(message.committed);
        self.certificate_through =
            self.certificate_through.max(message.certified.min(self.following.matched));
        if is_at_tip && message.committed == message.tip {
            self.aim_at_idle_tip(message.tip, message.certified);
        }
        if is_first && !is_at_tip {
            self.want_blocks(); // A node that comes late has nothing on its way.
        }
        self.ask_for_what_lacks(is_at_tip, message.tip);
    }

    /// What was under way at the last heartbeat and is not here at this one was lost. [P-59]
    fn ask_for_what_lacks(&mut self, is_at_tip: bool, leader_tip: Sequence) {
        let lacked = core::mem::replace(&mut self.following.lacking, leader_tip);
        if is_at_tip {
            self.following.lacking = Sequence::NONE;
        } else if !lacked.is_none() && self.following.matched < lacked {
            self.want_blocks();
        }
        let unsealed = core::mem::replace(&mut self.following.unsealed, self.following.matched);
        let tip_epoch = self.consensus.tip().epoch;
        if self.following.sealed < unsealed && tip_epoch == self.epoch() {
            let question = WantHeader { epoch: self.epoch(), sequence: self.following.matched };
            self.say_to_leader(Message::WantHeader(question));
        }
        let sent_long_ago = self.now.mono.since(self.forwarding.sent_at) > self.timers.election_ns_min;
        if self.forwarding.has_unplaced() && sent_long_ago && is_at_tip {
            self.forwarding.send_again();
        }
    }

    /// Asks the leader for what stands behind our chain, not more often than every heartbeat. [P-59]
    pub(crate) fn want_blocks(&mut self) {
        let since = self.now.mono.since(self.following.wanted_at);
        if !self.following.wanted_at.eq(&Nanos::ZERO) && since < self.timers.heartbeat_ns / 2 {
            return;
        }
        self.following.wanted_at = self.now.mono;
        let tip = self.consensus.tip();
        let committed = self.consensus.committed();
        let want = Want { after: tip.sequence, after_hash: tip.hash, committed };
        self.say_to_leader(Message::Want(want));
    }

    fn say_to_leader(&mut self, message: Message<'static>) {
        if let Some(leader) = self.consensus.leader() {
            let epoch = self.epoch();
            self.peers.post(To::One(leader), Lane::Urgent, epoch, message);
        }
    }

    /// The leader's signature over the header of a block that we hold, or are about to. [P-42, P-45]
    pub(crate) fn handle_seal(&mut self, from: NodeId, epoch: Epoch, seal: &SealMessage) {
        if !self.hear_leader(from, epoch) {
            return;
        }
        if !self.verify_seal(seal.header_hash, &seal.signature) {
            let place = self.following.next_early % SEALS_EARLY;
            self.following.early_seals[place] = Some(*seal);
            self.following.next_early += 1;
        }
    }

    /// Seals that came before the block that was just taken in.
    fn take_early_seals(&mut self) {
        for place in 0..SEALS_EARLY {
            let Some(seal) = self.following.early_seals[place] else { continue };
            if seal.last_sequence <= self.following.matched {
                self.following.early_seals[place] = None;
                self.verify_seal(seal.header_hash, &seal.signature);
            }
        }
    }

    /// Says whether the block is here; a signature that is not its leader's changes nothing. [P-45]
    pub(crate) fn verify_seal(&mut self, hash: Hash, signature: &Signature) -> bool {
        self.check_seal(hash, signature) != Sealing::Absent
    }

    pub(crate) fn check_seal(&mut self, hash: Hash, signature: &Signature) -> Sealing {
        let Some(closed) = self.flights.whole_mut(hash) else { return Sealing::Absent };
        if closed.signature.is_some() {
            return Sealing::Sealed;
        }
        let header = closed.header;
        let key = self.consensus.leader_key(header.leader);
        if key.is_none_or(|key| key.verify(&header, signature).is_err()) {
            self.counters.messages_refused += 1;
            return Sealing::False;
        }
        let closed = self.flights.whole_mut(hash).expect("it was found just now");
        closed.signature = Some(*signature);
        self.counters.signatures_checked += 1;
        let last = header.last_sequence();
        let is_ours = self.consensus.chain().ending_at(last).is_some_and(|link| link.tip.hash == hash);
        if is_ours && header.epoch == self.epoch() && last > self.following.sealed {
            // A flush that is still to come will be acknowledged with it.
            self.following.owes_ack |= self.consensus.own_durable() > self.following.sealed;
            self.following.sealed = last;
            self.sealer.push_followed(&header, hash, *signature);
            self.try_vote();
        }
        let signed = Signed { statement: header, signature: *signature };
        self.pass_on(&signed, hash);
        self.see_header(&signed);
        Sealing::Sealed
    }

    /// What this node acknowledges now. [P-45] [P-58]
    pub(crate) fn ack(&self) -> Ack {
        let following = &self.following;
        let through = following.matched.min(following.sealed).min(self.trusted_through());
        let mut durable = self.consensus.own_durable().min(through);
        if planted!(self, AckUnflushed) {
            durable = through;
        }
        if self.is_repairing() || self.mute().is_some() {
            durable = Sequence::NONE;
        }
        let link = self.consensus.chain().ending_at(durable).filter(|_| !durable.is_none());
        let (durable, durable_hash, header_epoch) = match link {
            Some(link) => (durable, link.tip.hash, link.tip.epoch),
            None => (Sequence::NONE, Hash::ZERO, Epoch::NONE),
        };
        let held = self.consensus.chain().ending_at(following.matched).map(|link| link.tip);
        let (held, held_hash) = held.map_or((Sequence::NONE, Hash::ZERO), |tip| (tip.sequence, tip.hash));
        Ack { round: following.round, held, held_hash, durable, durable_hash, header_epoch }
    }

    /// Whether this node's log may lack something that it once had. [P-46]
    pub fn is_repairing(&self) -> bool {
        self.lost.is_some()
    }

    /// What the log may have lost is there again: once whole, a log stays whole, whoever leads next and after every start.
    /// [P-46]
    pub(crate) fn note_whole(&mut self) {
        let Some(lost) = self.lost else { return };
        let durable = self.consensus.own_durable();
        let leader_tip = self.following.leader_tip;
        let is_level = !leader_tip.is_none() && durable >= leader_tip && self.following.matched >= leader_tip;
        let is_whole = is_level && durable >= lost.sequence || self.holds_a_later_commit();
        if !is_whole {
            return;
        }
        self.lost = None;
        let note = self.consensus.whole_note(lost.mark);
        let (kind, entry, sequence) = (LogKind::Whole, Entry::Silent, self.consensus.tip().sequence);
        self.appends.push_note(Note { kind, entry, epoch: note.epoch, sequence, bytes: note.encode() });
    }

    /// Whether a block stands durably here that was committed in an epoch above all that this node may have spoken in: the
    /// quorum that elected its leader answers for everything acknowledged before. [P-46]
    fn holds_a_later_commit(&self) -> bool {
        let committed = self.consensus.committed();
        let link = self.consensus.chain().ending_at(committed).filter(|_| !committed.is_none());
        let is_later = link.is_some_and(|link| link.tip.epoch > self.lost_through);
        is_later && self.consensus.own_durable() >= committed
    }
}
