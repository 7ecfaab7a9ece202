//! The operator: signs changes one by one, hands them in wherever a node runs, and acts on what was decided.
//!
//! Invariant: a change is numbered by what is decided, so that two copies of one change never both take effect.

use std::collections::{BTreeSet, VecDeque};

use io_oi_record::governance::{Appointment, Barring, Change, Governance, SignedGovernance};
use io_oi_record::{
    ControlMode, Durability, Hash, Nanos, NodeId, Operation, Outcome, Precondition, Receipt, SessionSequence,
    Shipment,
};

use super::{STUCK_NS, What, World};
use crate::cluster::SHARD;
use crate::judge;
use crate::process::{Process, Request, Wish};
use crate::sights::Sight;

/// Somebody who decides about the cluster.
#[derive(Debug, Default)]
pub(super) struct Operator {
    wishes: VecDeque<Change>,
    tries: u32,
    /// Members whose removal was asked for somewhere and is not decided: it may be yet.
    leaving: BTreeSet<NodeId>,
    /// Decided changes that were acted on.
    acted_on: usize,
}

const LOOK_AGAIN_NS: u64 = 40_000_000;
/// After so many tries he takes the number behind.
const TRIES_PER_NUMBER: u32 = 14;
/// After so many tries he gives a change up.
const TRIES_MAX: u32 = 40;

impl World {
    /// The operator wants something.
    pub(super) fn wish(&mut self, change: Change) {
        self.operator.wishes.push_back(change);
        if self.operator.wishes.len() == 1 {
            self.operator.tries = 0;
            self.at(self.time, What::Operator);
        }
    }

    /// The operator looks at what became of the change, and tries again.
    pub(super) fn operate(&mut self) {
        let Some(change) = self.operator.wishes.front().cloned() else { return };
        if self.operator.tries >= TRIES_MAX || !self.is_sensible(&change) {
            return self.next_wish();
        }
        self.operator.tries += 1;
        let node = self.desk(&change);
        if self.nodes[node].is_up() && self.nodes[node].paused_until <= self.time {
            if let Change::Remove(node) = &change {
                self.operator.leaving.insert(*node);
            }
            let what = if self.story.is_heard() { format!("{change:?}") } else { String::new() };
            let wish = self.signed(change);
            self.story.tell(
                self.time,
                format_args!("operator asks n{node}: change {} {what}", wish.session_sequence),
            );
            let process = self.nodes[node].process.as_mut().expect("it is up");
            process.inbox.push_back(Request::Govern(wish));
            self.with_process(node, Process::read_inbox);
        }
        self.at(self.time + LOOK_AGAIN_NS, What::Operator);
    }

    /// Whether a member may be gone any moment: no disk is lost then, for too few may be left that can speak.
    pub(super) fn may_lose_a_member(&self) -> bool {
        !self.operator.leaving.is_empty()
    }

    fn next_wish(&mut self) {
        self.operator.wishes.pop_front();
        self.operator.tries = 0;
        if !self.operator.wishes.is_empty() {
            self.at(self.time, What::Operator);
        }
    }

    /// Where a change is handed in: an appointment at the appointed node, which needs nobody to stand with it.
    fn desk(&mut self, change: &Change) -> usize {
        match change {
            Change::Appoint(appointment) if self.random.chance(700) => {
                self.cluster.index_of(appointment.node).expect("the operator appoints nodes that he knows")
            }
            _ => self.random.index(self.nodes.len()),
        }
    }

    fn signed(&self, change: Change) -> Wish {
        // A change that is in some logs, yet not decided, may have used the next number up.
        let undecided = u64::from(self.operator.tries / TRIES_PER_NUMBER);
        let number = self.witness.truth.changes().len() as u64 + 1 + undecided;
        let operator = self.cluster.operator.signer();
        let governance = Governance {
            cluster: self.cluster.id,
            number,
            time: Nanos(self.time),
            change,
            operator: operator.operator(),
        };
        let payload = judge::payload_of(&governance.change);
        let signed = SignedGovernance::sign(governance, &operator);
        Wish {
            session_sequence: SessionSequence(number),
            operation: Operation::Govern,
            precondition: Precondition::None,
            durability: Durability::DiskQuorum,
            key: Vec::new(),
            value: Shipment { signed, payload: &payload }.encode().expect("a change of one member is short"),
        }
    }

    /// No operator makes his own cluster unable to go on: the voters that can speak stay more than half.
    fn is_sensible(&self, change: &Change) -> bool {
        let Change::Remove(node) = change else { return true };
        // A voter with a repaired log grants nothing before it is whole again: its word may be missing.
        if !self.are_whole() {
            return false;
        }
        let Some(node) = self.cluster.index_of(*node) else { return false };
        let after = self.witness.voters & !(1 << node);
        let can_speak = |node: &usize| !self.nodes[*node].is_rolled_back && after >> node & 1 == 1;
        let speaking = (0..self.nodes.len()).filter(can_speak).count() as u32;
        2 * speaking > after.count_ones() && after.count_ones() >= 2
    }

    /// The node at which a change was handed in answers.
    pub(super) fn answer_operator(&mut self, receipt: &Receipt) {
        if let Outcome::Refused(code) = receipt.outcome {
            self.story.tell(
                self.time,
                format_args!("operator's change {} is refused: {code}", receipt.session_sequence),
            );
            // A verdict stands in the log; what was refused without a place may be asked again.
            if !receipt.sequence.is_none() {
                self.next_wish();
            }
        }
    }

    /// Acts on the changes that were decided since the last time.
    pub(super) fn act_on_changes(&mut self) {
        while let Some(decided) = self.witness.truth.changes().get(self.operator.acted_on).cloned() {
            self.operator.acted_on += 1;
            self.sights.see(Sight::Governance);
            self.story
                .tell(self.time, format_args!("decided: change {} {:?}", decided.number, decided.change));
            if self.operator.wishes.front() == Some(&decided.change) {
                self.next_wish();
            }
            self.act_on(&decided.change);
        }
    }

    fn act_on(&mut self, change: &Change) {
        let index = |node: &NodeId| self.cluster.index_of(*node);
        match change {
            Change::AddLearner(member) => {
                let Some(node) = index(&member.node) else { return };
                self.sights.see(Sight::LearnerAdded);
                self.nodes[node].is_in_use = true;
                self.at(self.time, What::Start { node });
            }
            Change::Promote(node) => {
                let Some(node) = index(node) else { return };
                self.sights.see(Sight::Promoted);
                self.witness.change_voters(self.witness.voters | 1 << node);
            }
            Change::Remove(node) => {
                self.operator.leaving.remove(node);
                let Some(node) = index(node) else { return };
                self.sights.see(Sight::Removed);
                self.witness.change_voters(self.witness.voters & !(1 << node));
                self.leave(node);
            }
            Change::Bar(barring) => {
                let Some(node) = index(&barring.node) else { return };
                self.sights.see(Sight::Barred);
                self.leave(node);
            }
            Change::Appoint(appointment) => self.appointed = index(&appointment.node),
            Change::SetArbitrator(_) => self.sights.see(Sight::Seated),
            Change::Write(_) => self.sights.see(Sight::OperatorWrite),
            Change::SetLimit(_) | Change::StorePart(_) | Change::DropComponent(_) => {}
        }
    }

    /// A node does not belong to the cluster any more: its clients go elsewhere.
    fn leave(&mut self, node: usize) {
        self.nodes[node].has_left = true;
        self.detach_all(node);
    }

    /// The arbitrator shall judge every key, or nobody.
    pub(super) fn seat(&mut self, is_seated: bool) {
        if !is_seated {
            return self.wish(judge::seat(Hash::ZERO));
        }
        let changes = self.witness.truth.changes();
        let is_stored =
            changes.iter().filter(|decided| matches!(decided.change, Change::StorePart(_))).count() == 2;
        judge::deployment().skip(if is_stored { 2 } else { 0 }).for_each(|change| self.wish(change));
    }

    /// The operator writes a few keys himself.
    pub(super) fn write_some(&mut self, first: u64) {
        (first..first + 3)
            .for_each(|number| self.wish(judge::operators_write(number % judge::OPERATOR_WRITES).0));
    }

    /// A node to appoint; it votes and can speak.
    pub(super) fn appoint(&mut self, node: usize) {
        let it = &self.nodes[node];
        if self.witness.voters >> node & 1 == 1 && !it.is_rolled_back && !it.has_left {
            let node = it.identity.node;
            self.wish(Change::Appoint(Appointment { shard: SHARD, node }));
        }
    }

    /// In the calm a leader is appointed if the one who should lead cannot.
    pub(super) fn appoint_somebody(&mut self) {
        // Whoever's cluster has no leader thinks of that first: an arbitrator would wait for one, and everything behind it.
        let is_seating = |change: &Change| {
            matches!(change, Change::StorePart(_) | Change::SetArbitrator(_) | Change::Write(_))
        };
        if self.operator.wishes.front().is_some_and(is_seating) {
            self.operator.tries = 0;
        }
        self.operator.wishes.retain(|change| !is_seating(change));
        let can_lead = |node: usize| {
            let it = &self.nodes[node];
            self.witness.voters >> node & 1 == 1 && !it.is_rolled_back && !it.has_left && !self.is_liar(node)
        };
        if self.scenario.control == ControlMode::Competitive || self.appointed.is_some_and(can_lead) {
            return;
        }
        if let Some(node) = (0..self.nodes.len()).find(|node| can_lead(*node)) {
            self.appoint(node);
        }
    }

    /// Nothing is decided although nothing goes wrong any more: under strict control another has to lead, the one that
    /// holds most. It goes before all other wishes, which need a leader.
    pub(super) fn appoint_another(&mut self) {
        if self.scenario.control == ControlMode::Competitive
            || self.witness.truth.through() > self.decided_at_calm
        {
            return;
        }
        self.at(self.time + STUCK_NS, What::Stuck);
        let can_lead = |node: &usize| {
            let it = &self.nodes[*node];
            let is_free = !it.is_rolled_back && !it.has_left && !self.is_liar(*node);
            is_free && self.witness.voters >> node & 1 == 1 && self.appointed != Some(*node)
        };
        let tip = |node: &usize| {
            let status = self.nodes[*node].process.as_ref().map(|it| it.machine.status());
            let own = self.nodes[*node].identity.node;
            // A promotion that only its dead leader knew to be committed makes nobody a voter yet.
            let counts =
                |status: &io_oi_shard::Status| status.peers.iter().any(|it| it.node == own && it.is_voter);
            status.map(|status| (status.mute.is_none(), counts(&status), status.tip))
        };
        let Some(node) = (0..self.nodes.len()).filter(can_lead).max_by_key(tip) else { return };
        let node = self.nodes[node].identity.node;
        let appointment = Change::Appoint(Appointment { shard: SHARD, node });
        if self.operator.wishes.front() != Some(&appointment) {
            self.operator.wishes.push_front(appointment);
            self.operator.tries = 0;
            if self.operator.wishes.len() == 1 {
                self.at(self.time, What::Operator);
            }
        }
    }

    /// The operator bars a convicted key.
    pub(super) fn bar(&mut self, node: NodeId, evidence: Hash) {
        self.wish(Change::Bar(Barring { node, evidence }));
    }
}
