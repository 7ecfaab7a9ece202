//! Signed votes, the certificates that they make, and what contradicts itself.
//!
//! Invariant: a vote is signed only for a block of the epoch that this node is in, with no higher one promised, that stands
//! durably in its log under a verified seal. [P-101, P-105]

use alloc::collections::VecDeque;

use io_oi_consensus::{Certifier, ReportRefused, VoteOutcome, Watch};
use io_oi_record::evidence::{Evidence, Signed, SignedEvidence};
use io_oi_record::message::{Message, WantHeader};
use io_oi_record::{BallotGrant, BlockHeader, Epoch, NodeId, QuorumCertificate, Sequence, Vote};
use io_oi_record::{ClusterId, Nanos, ShardId};

use crate::doubt::Doubt;
use crate::event::Lane;
use crate::machine::Machine;
use crate::peers::{To, place_of};
use crate::status::{MuteReason, Notice, PastLost, Role};

/// A leader asks for votes this often when nobody waits for a certificate: a signature costs as much as a flush.
const VOTES_EVERY_NS: u64 = 5_000_000;
/// A follower whose leader is idle votes for the tip when it has not voted for this long.
const IDLE_VOTE_NS: u64 = 15_000_000;
/// Blocks to vote for that are not durable or sealed yet.
const TARGETS_MAX: usize = 4;

/// Votes and evidence of one shard.
pub(crate) struct Voting {
    pub(crate) certifier: Certifier,
    pub(crate) watch: Watch,
    /// A contradicted verdict that is not charged yet.
    pub(crate) doubt: Option<Doubt>,
    /// Ends of blocks that this node is to vote for.
    targets: VecDeque<Sequence>,
    voted_at: Nanos,
    /// The newest place that this node can have voted for, as far as its log and this boot know. [P-44]
    newest_own: (Epoch, Sequence),
    /// As a leader: when a block is to be voted for at the latest.
    votes_at: Option<Nanos>,
    /// A certificate that is to be logged.
    pub(crate) certificate_due: Option<QuorumCertificate>,
    /// How many reports have been logged, and how many stand in the log durably.
    pub(crate) logged: usize,
    pub(crate) kept: usize,
    /// When who has not kept a report is told of it again. [P-103]
    pub(crate) tell_at: Option<Nanos>,
}

impl Voting {
    pub(crate) fn new(cluster: ClusterId, shard: ShardId, own: NodeId) -> Self {
        Self {
            certifier: Certifier::new(),
            watch: Watch::new(cluster, shard, own),
            doubt: None,
            targets: VecDeque::with_capacity(TARGETS_MAX),
            voted_at: Nanos::ZERO,
            newest_own: (Epoch::NONE, Sequence::NONE),
            votes_at: None,
            certificate_due: None,
            logged: 0,
            kept: 0,
            tell_at: None,
        }
    }

    /// When a leader that has become quiet asks for votes.
    pub(crate) fn wake_at(&self) -> Option<Nanos> {
        self.votes_at
    }

    /// A log read back holds these reports already. Others may have lost what they were told: they are told again.
    pub(crate) fn skip_recovered(&mut self) {
        let held = self.watch.held().len();
        (self.logged, self.kept) = (held, held);
    }
}

impl Machine {
    /// A leader's new block: whether it is one to vote for. [P-105]
    pub(crate) fn choose_block(&mut self, last: Sequence) -> bool {
        let now = self.now.mono;
        let votes_at = *self.voting.votes_at.get_or_insert(now.saturating_add(VOTES_EVERY_NS));
        let is_chosen = self.certifying.is_urgent() || now >= votes_at;
        if is_chosen {
            self.voting.votes_at = None;
            self.aim_at(last);
        }
        is_chosen
    }

    /// A leader's newest block is voted for once nothing else is under way: after a while, and at once if anybody waits for
    /// a certificate; a retry may have come after its block. Says whether it was. [P-105]
    pub(crate) fn vote_when_quiet(&mut self) -> bool {
        let is_urgent = self.certifying.is_urgent();
        let is_due = self.voting.votes_at.is_some_and(|at| is_urgent || self.now.mono >= at);
        if !is_due || self.role() != Role::Leading || self.consensus.open_block_count() > 0 {
            return false;
        }
        self.voting.votes_at = None;
        self.aim_at(self.consensus.tip().sequence);
        self.commit_due = true;
        self.try_vote();
        true
    }

    /// The leader asks for a vote over the block that ends at `last`.
    pub(crate) fn aim_at(&mut self, last: Sequence) {
        let voting = &mut self.voting;
        let is_new = voting.targets.back().is_none_or(|newest| *newest < last);
        if is_new && last > voting.certifier.certified() {
            if voting.targets.len() == TARGETS_MAX {
                voting.targets.pop_front();
            }
            voting.targets.push_back(last);
        }
    }

    /// The leader is idle at its committed tip: it is voted for once in a while, until the leader has the certificate. Ours
    /// does not help it. [P-105]
    pub(crate) fn aim_at_idle_tip(&mut self, tip: Sequence, certified: Sequence) {
        let is_due = self.now.mono.since(self.voting.voted_at) >= IDLE_VOTE_NS;
        if is_due && certified < tip && self.voting.targets.is_empty() {
            self.voting.targets.push_back(tip);
            self.try_vote();
        }
    }

    /// Signs what may be signed. [P-105]
    pub(crate) fn try_vote(&mut self) {
        while let Some(target) = self.voting.targets.front().copied() {
            let (is_possible, is_ready) = self.may_vote(target);
            if is_possible && !is_ready {
                return;
            }
            self.voting.targets.pop_front();
            if is_possible {
                self.vote(target);
            }
        }
    }

    /// Whether a vote for the block that ends at `target` may ever be given in this epoch, and whether it may be now.
    fn may_vote(&self, target: Sequence) -> (bool, bool) {
        let epoch = self.epoch();
        let is_voter = self.consensus.own().is_some() && self.mute().is_none() && !self.is_repairing();
        let takes_part = is_voter && self.consensus.promised() == epoch && self.consensus.leader().is_some();
        let is_of_epoch =
            self.consensus.chain().ending_at(target).is_some_and(|link| link.tip.epoch == epoch);
        let durable = self.consensus.own_durable();
        let durable = if planted!(self, VotesUnflushed) { self.consensus.tip().sequence } else { durable };
        let through = if self.role() == Role::Leading {
            durable.min(self.own_signed_through)
        } else {
            durable.min(self.following.matched).min(self.following.sealed).min(self.trusted_through())
        };
        (takes_part && is_of_epoch, target <= through)
    }

    fn vote(&mut self, target: Sequence) {
        let Some(link) = self.consensus.chain().ending_at(target) else { return };
        let group = self.consensus.group();
        let statement = Vote {
            cluster: group.cluster,
            shard: group.shard,
            epoch: link.tip.epoch,
            sequence: target,
            block: link.tip.hash,
            voter: group.node,
        };
        let vote = Signed { statement, signature: self.signer.sign(&statement) };
        self.voting.voted_at = self.now.mono;
        self.voting.newest_own = self.voting.newest_own.max(place_of(&vote));
        self.counters.votes += 1;
        let epoch = self.epoch();
        self.peers.post(To::All, Lane::Urgent, epoch, Message::Vote(vote));
        if planted!(self, TwoVotes) {
            let statement = Vote { block: io_oi_record::Hash::ZERO, ..statement };
            let lie = Signed { statement, signature: self.signer.sign(&statement) };
            self.peers.post(To::All, Lane::Urgent, epoch, Message::Vote(lie));
        }
        self.collect(&vote);
    }

    fn collect(&mut self, vote: &Signed<Vote>) {
        let outcome = self.voting.certifier.collect(vote, self.governing.rules.effective());
        if outcome == VoteOutcome::Certified {
            self.voting.certificate_due = self.voting.certifier.newest().copied();
        }
    }

    /// A certificate is on disk: what it covers of our chain is certified. [P-54]
    pub(crate) fn handle_certificate_durable(&mut self, last: Sequence) {
        self.certificate_through = self.certificate_through.max(last);
        self.commit_due |= self.is_leading() && self.certifying.is_urgent();
    }

    /// Another voter's signed vote. [P-101, P-102]
    pub(crate) fn handle_vote(&mut self, from: NodeId, epoch: io_oi_record::Epoch, vote: &Signed<Vote>) {
        let statement = &vote.statement;
        if statement.voter == self.own_node() {
            return self.meet_own_vote(vote);
        }
        if statement.voter != from || statement.epoch != epoch {
            self.counters.messages_refused += 1;
            return;
        }
        if let Some(peer) = self.peers.find(from) {
            peer.note_vote(vote);
        }
        if let Some(evidence) = self.voting.watch.see_vote(vote, self.governing.rules.effective()) {
            self.accuse(evidence);
        }
        let link = self.consensus.chain().ending_at(statement.sequence).map(|link| link.tip);
        match link {
            Some(tip) if tip.hash == statement.block => self.collect(vote),
            // A split history: whoever voted for the other header shows it. [P-106]
            Some(tip) if tip.epoch == statement.epoch => {
                let question = WantHeader { epoch: statement.epoch, sequence: statement.sequence };
                let epoch = self.epoch();
                self.peers.post(To::One(from), Lane::Urgent, epoch, Message::WantHeader(question));
            }
            _ => {}
        }
    }

    /// What the log knows of this node's votes: a block that it voted for stands in it, or an epoch after it.
    pub(crate) fn remember_own_votes(&mut self) {
        let (tip, promised) = (*self.consensus.tip(), self.consensus.promised());
        let sequence = match tip.epoch == promised {
            _ if self.is_repairing() => Sequence(u64::MAX), // The damage took them; the repair makes up for them. [P-46]
            true => tip.sequence,
            false => Sequence::NONE,
        };
        self.voting.newest_own = (promised, sequence);
    }

    /// A member is behind what it voted for: it is shown its own vote. [P-44]
    pub(crate) fn show_vote(&mut self, to: NodeId, is_behind: impl Fn(&Signed<Vote>) -> bool) {
        let newest = self.peers.find(to).and_then(|peer| peer.newest_vote);
        if let Some(vote) = newest.filter(is_behind) {
            let epoch = vote.statement.epoch;
            self.peers.post(To::One(to), Lane::Urgent, epoch, Message::Vote(vote));
        }
    }

    /// Somebody shows us our own vote: one that neither our log nor this boot knows of was given with a disk that is no
    /// longer this one. [P-44]
    fn meet_own_vote(&mut self, vote: &Signed<Vote>) {
        let is_unknown = place_of(vote) > self.voting.newest_own;
        // What this log holds was not lost: a repaired log has caught up before an old message arrives.
        let Vote { sequence, block, .. } = vote.statement;
        let link = self.consensus.chain().ending_at(sequence);
        let is_held =
            sequence <= self.consensus.committed() || link.is_some_and(|link| link.tip.hash == block);
        let is_lost = is_unknown && !is_held && !self.is_repairing();
        if is_lost && self.mute().is_none() && vote.verify().is_ok() {
            self.lose_past(PastLost::Vote { sequence: vote.statement.sequence });
        }
    }

    /// A header whose signature was checked.
    pub(crate) fn see_header(&mut self, header: &Signed<BlockHeader>) {
        self.settle_doubt(header);
        if let Some(evidence) = self.voting.watch.see_header(header, self.governing.rules.effective()) {
            self.accuse(evidence);
        }
    }

    pub(crate) fn see_grant(&mut self, grant: &Signed<BallotGrant>) {
        if let Some(evidence) = self.voting.watch.see_grant(grant, self.governing.rules.effective()) {
            self.accuse(evidence);
        }
    }

    /// This node has found a contradiction: it is signed, believed, logged and told to everybody. [P-102, P-103]
    pub(crate) fn accuse(&mut self, evidence: Evidence) {
        let report = SignedEvidence::sign(evidence, &self.signer);
        let _ = self.believe(report, true); // Convicted already, or as many as can be acted on.
    }

    /// Takes a report into account, from now on and, by the log, for ever. [P-103]
    pub(crate) fn believe(&mut self, report: SignedEvidence, is_judged: bool) -> Result<(), ReportRefused> {
        let hash = report.evidence.hash();
        let roster = self.governing.rules.effective();
        let accused = self.voting.watch.accept(report, is_judged, roster)?;
        self.notices.push(Notice::EvidenceFound { accused, hash });
        self.members_version += 1;
        if accused == self.own_node() {
            self.fall_mute(MuteReason::Barred);
        } else if self.consensus.leader() == Some(accused) {
            self.consensus.step_down();
            self.timing.heard_at = Nanos::ZERO;
            self.arm_election();
            self.notices.push(Notice::NoLeader);
        }
        Ok(())
    }

    /// Whether this key is out: convicted by evidence held here, or barred by an operator. [P-93, P-104]
    pub fn is_barred(&self, node: NodeId) -> bool {
        self.voting.watch.is_convicted(node) || self.governing.roster().is_barred(node)
    }
}
