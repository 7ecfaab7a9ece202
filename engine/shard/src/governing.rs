//! What operators have decided, as far as this shard's log says so, and what follows from it.
//!
//! Invariant: who votes, who may stand and who is barred is a function of the genesis, the log, the evidence held and the
//! signed appointment at hand. [P-90..P-95, P-104]

use alloc::vec::Vec;

use io_oi_consensus::{Governance, Membership};
use io_oi_record::governance::{Change, SignedGovernance};
use io_oi_record::{
    Ballot, ControlMode, Genesis, Hash, NodeId, Operation, Proposal, RefusalCode, Roster, Sequence,
    SessionId, SessionSequence, ShardId, Shipment, Verdict,
};

use crate::machine::Machine;
use crate::status::{Admission, MuteReason, Notice, Role};

/// How long a leader that is not the appointed one waits before it tries to hand over again.
const HAND_OVER_AGAIN_NS: u64 = 500_000_000;

/// The rules in force.
pub(crate) struct Governing {
    pub(crate) rules: Governance,
    control: ControlMode,
    /// A signed appointment of this node that stands in no log yet, as it was submitted here. [P-95]
    shown: Option<Shown>,
    /// Who is named by a signed appointment that was submitted here while there was no leader.
    pub(crate) relay_to: Option<NodeId>,
    /// The newest governance record whose consequences were drawn.
    seen: u64,
    hand_over_at: io_oi_record::Nanos,
    /// The name of the set of judges as the whole log says; none while no prefix has one.
    set: Option<Hash>,
    /// The same, when the filling block was opened.
    block_set: Option<Hash>,
}

struct Shown {
    session: SessionId,
    signed: SignedGovernance,
    bytes: Vec<u8>,
}

/// What follows at once from a governance record that stands in the log now.
struct Drawn {
    /// A learner that votes from now on, and may lead.
    promoted: Option<NodeId>,
    /// A component that has got a part.
    stored: Option<Hash>,
}

impl Governing {
    pub(crate) fn new(genesis: &Genesis, shard: ShardId) -> Self {
        Self {
            rules: Governance::new(genesis, shard),
            control: genesis.control,
            shown: None,
            relay_to: None,
            seen: 0,
            hand_over_at: io_oi_record::Nanos::ZERO,
            set: None,
            block_set: None,
        }
    }

    /// The rules that a checkpoint holds.
    pub(crate) fn restore(&mut self, rules: Governance) {
        self.rules = rules;
        self.set = self.rules.judged().arbitrators_hash();
    }

    /// The filling block gets its first record: its header will name the judges as they are now.
    pub(crate) fn open_block(&mut self) {
        self.block_set = self.set;
    }

    /// What the header of the filling block names; `otherwise` while no prefix has a judge.
    pub(crate) fn set_of_block(&self, otherwise: Hash) -> Hash {
        self.block_set.unwrap_or(otherwise)
    }

    /// What the header of the block behind the log names.
    pub(crate) fn set_of_next(&self, otherwise: Hash) -> Hash {
        self.set.unwrap_or(otherwise)
    }

    fn append(&mut self, sequence: Sequence, shipment: Shipment<'_>) -> Drawn {
        let promoted = Governance::promoted(&shipment.signed);
        let stored = match shipment.signed.governance.change {
            Change::StorePart(part) => Some(part.component),
            _ => None,
        };
        self.rules.append(sequence, shipment);
        self.set = self.rules.judged().arbitrators_hash();
        Drawn { promoted, stored }
    }

    pub(crate) fn roster(&self) -> &Roster {
        self.rules.effective()
    }

    /// Whether this node may stand for leader. [P-93, P-95]
    pub(crate) fn may_stand(&self, own: NodeId) -> bool {
        self.rules.may_stand(own, self.shown.as_ref().map(|shown| &shown.signed))
    }

    /// The number of the appointment by which this node stands; 0 where none is needed.
    pub(crate) fn authority(&self) -> u64 {
        match (self.control, &self.shown) {
            (ControlMode::Competitive, _) => 0,
            (ControlMode::Strict, Some(shown)) => shown.signed.governance.number,
            (ControlMode::Strict, None) => self.rules.appointed().number,
        }
    }

    /// Whether the candidate has the authority to stand that its ballot names. [P-95]
    pub(crate) fn grants_authority(&self, ballot: &Ballot, appointment: Option<&[u8]>) -> bool {
        let signed = appointment.and_then(|bytes| SignedGovernance::decode(bytes).ok());
        self.rules.may_stand(ballot.candidate, signed.as_ref())
    }

    /// The encoded signed appointment that our ballot carries: a voter's log may lack what ours holds. [P-95]
    pub(crate) fn appointment_at_hand(&self, own: NodeId) -> Option<Vec<u8>> {
        let logged = || self.rules.appointment_of(own).and_then(|signed| signed.encode().ok());
        match (&self.shown, self.control) {
            (Some(shown), _) => Some(shown.bytes.clone()),
            (None, ControlMode::Strict) => logged(),
            (None, ControlMode::Competitive) => None,
        }
    }

    pub(crate) fn rewind_to(&mut self, last: Sequence) {
        self.rules.rewind_to(last);
        self.set = self.rules.judged().arbitrators_hash();
    }
}

/// What a leader does with a governance record.
pub(crate) enum Decision {
    Accept,
    Decline(RefusalCode),
}

impl Machine {
    /// A governance record was submitted to a node without a leader: an appointment of this node is its authority to
    /// stand. [P-95]
    pub(crate) fn note_appointment(&mut self, session: SessionId, proposal: &Proposal<'_>) {
        if proposal.operation != Operation::Govern || self.consensus.leader().is_some() {
            return;
        }
        if self.note_own_appointment(session, proposal) {
            return;
        }
        let Ok(signed) = SignedGovernance::decode(proposal.value) else { return };
        // Whoever it names has to see it; nobody else can lead.
        if let Change::Appoint(appointment) = signed.governance.change
            && self.governing.rules.is_authority(appointment.node, &signed)
        {
            self.governing.relay_to = Some(appointment.node);
            self.forwarding.send_again();
        }
    }

    /// Says whether the proposal is this node's authority to stand; it stands at once then.
    pub(crate) fn note_own_appointment(&mut self, session: SessionId, proposal: &Proposal<'_>) -> bool {
        let Ok(signed) = SignedGovernance::decode(proposal.value) else { return false };
        let is_ours = self.governing.rules.is_authority(self.own_node(), &signed);
        if is_ours && self.consensus.leader().is_none() && self.governing.shown.is_none() {
            self.governing.shown = Some(Shown { session, signed, bytes: proposal.value.to_vec() });
            self.timing.election_at = self.now.mono;
            self.timing.told_wake = None;
        }
        is_ours
    }

    /// The appointment by which this node stood is the first record behind the start record. [P-95]
    pub(crate) fn sequence_appointment(&mut self) {
        let Some(Shown { session, signed, bytes }) = self.governing.shown.take() else { return };
        let session_sequence = SessionSequence(signed.governance.number);
        let waiters = self.forwarding.decline(session, session_sequence);
        let proposal = Proposal {
            session_sequence,
            operation: Operation::Govern,
            precondition: io_oi_record::Precondition::None,
            durability: io_oi_record::Durability::DiskQuorum,
            key: &[],
            value: &bytes,
        };
        self.pending.fill_from(None, waiters, session, &proposal);
    }

    /// What becomes of the pending governance record. [P-90, P-92]
    pub(crate) fn decide_governance(&self) -> Decision {
        let proposal = self.pending.proposal();
        let signed = match self.governing.rules.judge(proposal.value) {
            Ok(shipment) => shipment.signed,
            Err(code) => return Decision::Decline(code), // Without a place: a number is used up by an accepted record only.
        };
        if let Err(code) = self.governing.rules.may_sequence(&signed) {
            return Decision::Decline(code);
        }
        let changes = io_oi_record::roster::changes_membership(&signed.governance.change);
        if changes && !self.has_committed_in_epoch() {
            return Decision::Decline(RefusalCode::GovernancePending);
        }
        if let Change::SetArbitrator(choice) = &signed.governance.change
            && !choice.arbitrator.is_zero()
            && self.admissions.can_judge(choice.arbitrator, choice.versions) != Admission::Admitted
        {
            return Decision::Decline(RefusalCode::ArbitratorNotAdmitted);
        }
        if let Change::Remove(node) = signed.governance.change
            && !self.can_go_on_without(node)
        {
            return Decision::Decline(RefusalCode::GovernancePending);
        }
        let learner = Governance::promoted(&signed);
        if learner.is_some_and(|node| !self.is_level(node)) {
            return Decision::Decline(RefusalCode::LearnerNotLevel);
        }
        Decision::Accept
    }

    /// Whether those who would still vote are heard, and write what this leader sends, as many as make a quorum of them: a
    /// voter that is away, or that repairs its log, may never take part again without the one that leaves. [P-92]
    fn can_go_on_without(&self, leaves: NodeId) -> bool {
        let voters = self.consensus.members().voters();
        let stay = voters.iter().filter(|voter| **voter != leaves);
        let takes_part = |voter: &NodeId| {
            let heard_ns = |peer: &crate::peers::Peer| self.now.mono.since(peer.confirmed_at);
            let is_heard = |peer: &crate::peers::Peer| heard_ns(peer) < self.timers.election_ns_min;
            let peer = self.peers.all.iter().find(|peer| peer.node == *voter);
            *voter == self.own_node()
                || peer.is_some_and(|peer| peer.durable >= self.epoch_first && is_heard(peer))
        };
        let (count, taking_part) = (stay.clone().count(), stay.filter(|voter| takes_part(voter)).count());
        count == voters.len() || 2 * taking_part > count // A learner may always leave.
    }

    /// Whether a member holds everything committed, durably.
    fn is_level(&self, node: NodeId) -> bool {
        let committed = self.consensus.committed();
        self.peers.all.iter().any(|peer| peer.node == node && peer.durable >= committed)
    }

    /// An accepted governance record has its place in the log.
    pub(crate) fn append_governance(&mut self, sequence: Sequence) {
        let judged = self.governing.rules.judge(self.pending.proposal().value);
        let drawn = self.governing.append(sequence, judged.expect("it was judged when it got its place"));
        self.draw_from(&drawn);
    }

    fn draw_from(&mut self, drawn: &Drawn) {
        if let Some(node) = drawn.promoted {
            self.consensus.know_leader(node);
        }
        if let Some(component) = drawn.stored {
            self.note_component(component);
        }
    }

    /// Whether a leader's verdict over a governance record is what this log says; if so it is taken in. [P-90]
    pub(crate) fn follow_governance(&mut self, record: &io_oi_record::Record<'_>) -> bool {
        let judged = self.governing.rules.judge(record.value);
        match (judged, record.verdict) {
            // What its key's judge has to say is judged again by whoever shows it. [P-98]
            (Ok(shipment), verdict) if shipment.write().is_some() || verdict == Verdict::Accept => {
                let drawn = self.governing.append(record.sequence, shipment);
                self.draw_from(&drawn);
                true
            }
            (Err(code), Verdict::Refuse(said)) => code == said,
            _ => false,
        }
    }

    /// What was committed lately may have changed the members, barred a key or appointed a node. [P-91]
    pub(crate) fn draw_consequences(&mut self) {
        let committed = self.consensus.committed();
        if committed > self.governed_through {
            self.governed_through = committed;
            self.governing.rules.commit_through(committed);
        }
        let (number, version) = (self.governing.roster().number(), self.governing.roster().members_version());
        if version != self.roster_version {
            self.roster_version = version;
            self.change_members();
        }
        if number != self.governing.seen {
            self.governing.seen = number;
            self.governing.hand_over_at = self.now.mono;
            self.follow_appointment();
        }
    }

    fn change_members(&mut self) {
        let roster = self.governing.roster();
        let voters: Vec<NodeId> = roster.voters().collect();
        let nodes: Vec<NodeId> = roster.members().iter().map(|member| member.member.node).collect();
        let members = Membership::new(&voters).expect("one voter that is not barred always remains [P-94]");
        let own = self.own_node();
        let is_out = roster.is_barred(own);
        self.consensus.change_members(members);
        self.peers.set(own, nodes.into_iter(), &members);
        if !self.peers.is_empty() && self.out.is_empty() {
            self.out = alloc::vec![0; io_oi_record::limits::MESSAGE_BYTES_MAX];
            self.flights.keep_landed();
            self.timing.heartbeat_at = self.now.mono;
        }
        if self.role() == Role::Leading {
            let next = self.consensus.tip().next_sequence();
            for peer in self.peers.all.iter_mut().filter(|peer| peer.next.is_none()) {
                peer.begin_epoch(next);
            }
        }
        self.members_version += 1;
        self.notices.push(Notice::MembersChanged { version: self.members_version });
        if is_out && self.mute().is_none() {
            self.fall_mute(MuteReason::Barred);
        } else if self.role() == Role::Leading && self.consensus.own().is_none() {
            self.stop_leading();
        }
    }

    /// A leader that is not the appointed node hands over to it: once under competitive control, where that is a wish, and
    /// again and again under strict control. [P-112]
    pub(crate) fn follow_appointment(&mut self) {
        let appointed = self.governing.rules.appointed();
        let is_due = self.now.mono >= self.governing.hand_over_at
            && appointed.number > 0
            && appointed.number <= self.governing.roster().number()
            && self.role() == Role::Leading
            && appointed.node != self.own_node();
        if !is_due || self.handing.is_some() {
            return;
        }
        let is_done = self.governing.control == ControlMode::Competitive;
        let again_ns = if is_done { u64::MAX } else { HAND_OVER_AGAIN_NS };
        self.governing.hand_over_at = self.now.mono.saturating_add(again_ns);
        self.begin_hand_over(appointed.node);
    }
}
