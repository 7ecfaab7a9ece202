//! When a node stands, what it tells the others, and what it answers them.
//!
//! Invariant: a leader that is heard is left alone (`election_ns_min`); nobody is told of a promise that is not on disk.
//! [P-26, P-27, P-29]

use io_oi_consensus::{BallotAnswer, EpochClaim};
use io_oi_record::evidence::Signed;
use io_oi_record::message::{BallotMessage, Deny, Message, PreVote, PreVoteAnswer};
use io_oi_record::{BallotGrant, Epoch, Nanos, NodeId, Operation, Precondition, Record, Round, Sequence};
use io_oi_record::{Durability, SessionSequence, Verdict};

use crate::appends::{Entry, Note};
use crate::event::{Lane, LogKind};
use crate::machine::Machine;
use crate::peers::{To, place_of};
use crate::status::{Notice, Role};

/// When what is due, on the monotonic clock.
pub(crate) struct Timing {
    /// The state of a small generator (splitmix64): timeouts differ from node to node.
    random: u64,
    pub(crate) election_at: Nanos,
    /// When the leader was heard last; zero for never.
    pub(crate) heard_at: Nanos,
    /// A voter that has just booted may have heard a leader before it went down.
    pub(crate) silent_until: Nanos,
    pub(crate) heartbeat_at: Nanos,
    /// The earliest time that the world was asked to wake us at.
    pub(crate) told_wake: Option<Nanos>,
}

impl Timing {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: seed,
            election_at: Nanos::ZERO,
            heard_at: Nanos::ZERO,
            silent_until: Nanos::ZERO,
            heartbeat_at: Nanos::ZERO,
            told_wake: None,
        }
    }

    pub(crate) fn random_below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

impl Machine {
    /// The next election is due a random while from now.
    pub(crate) fn arm_election(&mut self) {
        let (low, high) = (self.timers.election_ns_min, self.timers.election_ns_max);
        let wait = low + self.timing.random_below(high.saturating_sub(low) + 1);
        // Whoever can judge everything goes first. [P-97]
        let wait = if self.lacks_judge() { wait.saturating_add(2 * high) } else { wait };
        self.timing.election_at = self.now.mono.saturating_add(wait);
    }

    /// Time went by: whoever should stand asks for votes.
    pub(crate) fn elapse_election(&mut self) {
        let waits = matches!(self.role(), Role::Following | Role::PreVoting | Role::Standing);
        if !waits || self.now.mono < self.timing.election_at || self.phase != crate::machine::Phase::Running {
            return;
        }
        if self.consensus.leader().is_some() {
            self.consensus.step_down();
            self.notices.push(Notice::NoLeader);
        } else {
            self.ask_peers();
        }
        self.arm_election();
        if self.may_stand() {
            if self.role() == Role::Standing {
                self.consensus.step_down();
            }
            self.ask_for_votes();
        }
    }

    /// Whether this node may stand at all: a voter, whole, with a disk that keeps up, and allowed to. [P-29] [P-95]
    pub(crate) fn may_stand(&self) -> bool {
        self.consensus.own().is_some()
            && !self.is_repairing()
            && !self.flush_is_stuck()
            && !self.is_barred(self.own_node())
            && self.governing.may_stand(self.own_node())
    }

    /// [P-27]
    fn ask_for_votes(&mut self) {
        let Some(epoch) = self.consensus.ask() else { return };
        self.tail.forget_offers();
        if self.consensus.has_pre_votes() {
            return self.stand();
        }
        let tip = self.consensus.tip();
        let question = PreVote { tip_epoch: tip.epoch, tip_sequence: tip.sequence, tip_hash: tip.hash };
        self.peers.post(To::Voters, Lane::Urgent, epoch, Message::PreVote(question));
    }

    /// Claims the next epoch; the ballot follows once the claim is on disk. [P-21, P-22]
    pub(crate) fn stand(&mut self) {
        self.arm_election();
        self.sealer.clear(); // [P-43]
        let claim: EpochClaim = self.consensus.stand();
        self.epoch_first = Sequence::NONE;
        self.following.begin_epoch();
        self.appends.push_note(Note {
            kind: LogKind::Claim,
            entry: Entry::Claim(claim.epoch),
            epoch: claim.epoch,
            sequence: claim.tip_sequence,
            bytes: claim.encode(),
        });
        if planted!(self, ClaimUnflushed) {
            self.handle_claim_durable(claim.epoch);
        }
    }

    /// The claim is flushed: it is this node's own ballot, and the others may be asked. [P-22, P-23]
    pub(crate) fn handle_claim_durable(&mut self, epoch: Epoch) {
        if self.role() != Role::Claiming || self.epoch() != epoch {
            return; // Another leader was faster.
        }
        self.consensus.handle_claim_durable();
        if self.is_leading() {
            return self.begin_leading();
        }
        let statement = self.consensus.ballot(self.governing.authority());
        let ballot = Signed { statement, signature: self.signer.sign(&statement) };
        self.standing_ballot = Some((ballot, self.hand_over_round));
        self.hand_over_round = Round::NONE;
        self.ballot_offered = 0;
    }

    /// A quorum has granted the epoch: it begins with its start record. [P-24, P-25]
    pub(crate) fn begin_leading(&mut self) {
        self.standing_ballot = None;
        self.epoch_first = self.consensus.tip().next_sequence();
        self.rounds.begin_epoch();
        for peer in &mut self.peers.all {
            peer.begin_epoch(self.epoch_first);
        }
        self.inbox.clear();
        self.flights.make_room();
        self.timing.heartbeat_at = self.now.mono;
        let (node, epoch) = (self.own_node(), self.epoch());
        self.notices.push(Notice::LeaderIs { node, epoch });
        self.open_block();
        let start = Record {
            sequence: self.next_sequence(),
            session: self.own_session,
            session_sequence: SessionSequence::NONE,
            operation: Operation::StartEpoch,
            precondition: Precondition::None,
            durability: Durability::DiskQuorum,
            verdict: Verdict::Accept,
            key: &[],
            value: &[],
            effects: io_oi_record::Effects::NONE,
        };
        let (epoch, time) = (self.flights.filled().epoch, self.flights.filled().time);
        self.sessions.apply(&start, epoch, time).expect("a start record belongs to no session");
        self.flights.filling().push(&start, 0);
        self.checked = start.sequence;
        self.counters.records += 1;
        self.consensus.handle_own_held(start.sequence);
        self.leading_since = self.now.mono;
        self.own_signed_through = Sequence::NONE;
        self.sequence_appointment();
    }

    /// Leads no more: what is not committed may be given up soon, what was not appended is given up now.
    pub(crate) fn stop_leading(&mut self) {
        if self.role() == Role::Leading {
            let epoch = self.epoch();
            self.consensus.step_down();
            self.after_leading(epoch);
        }
    }

    /// The leader of `epoch` has stepped down.
    pub(crate) fn after_leading(&mut self, epoch: Epoch) {
        self.notices.push(Notice::Deposed { epoch });
        self.give_up_pending();
        self.inbox.clear();
        self.handing = None;
        self.commit_due = false;
        self.sealer.clear();
        let tip = self.consensus.tip().sequence;
        self.following.matched = Sequence::NONE;
        if !self.flights.filled().is_empty() {
            self.rewind(tip);
        }
        self.forwarding.send_again();
        self.arm_election();
    }

    /// Whether a leader was heard so recently that nobody else gets a vote. [P-29]
    pub(crate) fn is_sticky(&self) -> bool {
        if planted!(self, NotSticky) {
            return false;
        }
        let now = self.now.mono;
        if now < self.timing.silent_until {
            return true;
        }
        if self.role() == Role::Leading {
            return now < self.quorum_heard_at(Round::NONE).saturating_add(self.timers.election_ns_min);
        }
        let until = self.timing.heard_at.saturating_add(self.timers.election_ns_min);
        self.timing.heard_at > Nanos::ZERO && now < until
    }

    /// [P-27]
    pub(crate) fn handle_pre_vote(&mut self, from: NodeId, epoch: Epoch, question: &PreVote) {
        let place = (question.tip_epoch, question.tip_sequence);
        self.show_vote(from, |vote| place < place_of(vote));
        let would = self.consensus.would_grant(epoch, question.tip_epoch, question.tip_sequence)
            || planted!(self, GrantStaleLog) && epoch > self.consensus.promised();
        let may_ask = self.consensus.members().voter_index(from).is_some();
        let granted = would && may_ask && !self.is_sticky() && !self.is_repairing();
        if !granted && may_ask {
            self.offer_tail(from, question);
        }
        let promised = self.consensus.promised().max(self.epoch());
        let answer = PreVoteAnswer { granted, promised };
        self.peers.post(To::One(from), Lane::Urgent, epoch, Message::PreVoteAnswer(answer));
    }

    pub(crate) fn handle_pre_vote_answer(&mut self, from: NodeId, epoch: Epoch, answer: &PreVoteAnswer) {
        self.consensus.hear_of(answer.promised);
        let Some(voter) = self.consensus.members().voter_index(from) else { return };
        if answer.granted && !self.is_barred(from) && self.consensus.handle_pre_vote(voter, epoch) {
            self.stand();
        }
    }

    /// [P-26, P-29]
    pub(crate) fn handle_ballot(&mut self, from: NodeId, message: &BallotMessage<'_>) {
        let ballot = &message.ballot.statement;
        let is_voter = self.consensus.members().voter_index(from).is_some();
        if ballot.candidate != from || !is_voter || message.ballot.verify().is_err() {
            self.counters.messages_refused += 1;
            return;
        }
        let is_handed_over = self.is_handed_over_to(message.hand_over_round);
        let has_authority = self.governing.grants_authority(ballot, message.appointment);
        let is_same_leader = self.consensus.leader() == Some(from); // It gives its own lease up. [P-28]
        let is_undisturbed = is_handed_over || is_same_leader || !self.is_sticky();
        let is_open = has_authority && !self.is_repairing() && is_undisturbed;
        match self.consensus.judge_ballot(ballot) {
            BallotAnswer::Grant if is_open => self.promise(ballot.epoch, from),
            BallotAnswer::Again if self.promise_durable >= ballot.epoch => {
                self.send_grant(ballot.epoch, from)
            }
            BallotAnswer::Again => {} // The flush that covers the promise sends it.
            BallotAnswer::Deny if planted!(self, GrantTwice) && ballot.epoch == self.consensus.promised() => {
                self.send_grant(ballot.epoch, from);
            }
            BallotAnswer::Deny
                if planted!(self, GrantStaleLog) && is_open && ballot.epoch > self.consensus.promised() =>
            {
                self.promise(ballot.epoch, from);
            }
            BallotAnswer::Grant | BallotAnswer::Deny => {
                let promised = self.consensus.promised().max(self.epoch());
                let deny = Message::Deny(Deny { promised });
                self.peers.post(To::One(from), Lane::Urgent, ballot.epoch, deny);
            }
        }
    }

    /// [P-26]
    fn promise(&mut self, epoch: Epoch, candidate: NodeId) {
        let led = (self.role() == Role::Leading).then(|| self.epoch());
        let note = self.consensus.promise(epoch, candidate);
        if let Some(led) = led {
            self.after_leading(led);
        }
        self.arm_election();
        let entry = Entry::Grant(epoch, candidate);
        let sequence = self.consensus.tip().sequence;
        self.appends.push_note(Note { kind: LogKind::Grant, entry, epoch, sequence, bytes: note.encode() });
        if planted!(self, GrantUnflushed) {
            self.send_grant(epoch, candidate);
        }
    }

    /// The promise is on disk: now it may be given away. [P-26]
    pub(crate) fn handle_promise_durable(&mut self, epoch: Epoch, candidate: NodeId) {
        self.promise_durable = self.promise_durable.max(epoch);
        let stands = self.consensus.promised() == epoch && self.epoch() < epoch;
        if stands && candidate != self.own_node() {
            self.send_grant(epoch, candidate);
        }
    }

    fn send_grant(&mut self, epoch: Epoch, candidate: NodeId) {
        let group = self.consensus.group();
        let (cluster, shard, voter) = (group.cluster, group.shard, group.node);
        let statement = BallotGrant { cluster, shard, epoch, candidate, voter };
        let grant = Signed { statement, signature: self.signer.sign(&statement) };
        self.peers.post(To::All, Lane::Urgent, epoch, Message::Grant(grant));
    }

    pub(crate) fn handle_grant(&mut self, from: NodeId, grant: &Signed<BallotGrant>) {
        let statement = &grant.statement;
        if statement.voter == from {
            self.see_grant(grant);
        }
        let Some(voter) = self.consensus.members().voter_index(from) else { return };
        let is_for_us = statement.candidate == self.own_node() && statement.epoch == self.epoch();
        if statement.voter != from || self.is_barred(from) || !is_for_us || self.role() != Role::Standing {
            return;
        }
        if grant.verify().is_err() {
            self.counters.messages_refused += 1;
            return;
        }
        if self.consensus.handle_grant(voter, statement.epoch) && self.is_leading() {
            self.begin_leading();
        }
    }

    /// A voter has promised a higher epoch. A leader takes one above it, so that this voter can follow it again. [P-28]
    pub(crate) fn handle_deny(&mut self, from: NodeId, epoch: Epoch, deny: &Deny) {
        self.consensus.hear_of(deny.promised);
        let is_voter = self.consensus.members().voter_index(from).is_some();
        let is_above =
            epoch == self.epoch() && deny.promised > epoch && self.consensus.is_near(deny.promised);
        let may_go_on = self.handing.is_none() && self.may_stand();
        if self.role() != Role::Leading || !is_voter || !is_above {
            return;
        }
        if may_go_on {
            self.stop_leading();
            self.stand();
        } else if !self.governing.may_stand(self.own_node()) && self.governing.may_stand(from) {
            self.stop_leading(); // It should lead, and no hand-over reaches it across its own promise. [P-112]
        }
    }

    /// Whether our own oldest append has waited for its flush for longer than a leader may. [P-57]
    pub(crate) fn flush_is_stuck(&self) -> bool {
        let since = self.appends.unflushed_since();
        since.is_some_and(|since| self.now.mono.since(since) > self.timers.flush_ns_max)
    }
}
