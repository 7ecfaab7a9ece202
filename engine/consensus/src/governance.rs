//! Operators' changes on their way through the log: judged when they are appended, in effect when they are committed.
//!
//! Invariant: both rosters are functions of the genesis and the log: the judged one of the whole log, the one in effect
//! of its committed part. Of two nodes, neither is more than one change of the membership ahead of the other's quorums,
//! so any two quorums share a voter. [P-90..P-95]

use alloc::vec::Vec;

use io_oi_record::fields::{FieldError, FieldReader, FieldWriter, field_rule};
use io_oi_record::governance::{Appointment, ArbitratorChoice, Change, SignedGovernance};
use io_oi_record::limits::SIGNED_GOVERNANCE_BYTES_MAX;
use io_oi_record::roster::{Appointed, changes_membership};
use io_oi_record::{ControlMode, Genesis, Hash, NodeId, RefusalCode, Roster, Sequence, ShardId, Shipment};

use crate::components::Components;
use crate::seats::{Seated, Seats};

/// The governance of one shard's group.
#[derive(Debug, Clone)]
pub struct Governance {
    genesis: Genesis,
    shard: ShardId,
    /// Accepted records in log order, with their places.
    accepted: Vec<(Sequence, SignedGovernance)>,
    /// How many of them are in effect.
    effective_count: usize,
    effective: Roster,
    judged: Roster,
    components: Components,
    seats: Seats,
}

impl Governance {
    /// The governance at the cluster's birth.
    #[must_use]
    pub fn new(genesis: &Genesis, shard: ShardId) -> Governance {
        let roster = Roster::of(genesis);
        Governance {
            genesis: genesis.clone(),
            shard,
            accepted: Vec::new(),
            effective_count: 0,
            effective: roster.clone(),
            judged: roster,
            components: Components::default(),
            seats: Seats::default(),
        }
    }

    /// The cluster as committed: whose quorum counts, who is barred, which limits hold. [P-91]
    #[must_use]
    pub const fn effective(&self) -> &Roster {
        &self.effective
    }

    /// The cluster as it will be once the whole log is committed: what the next record is judged by. [P-90]
    #[must_use]
    pub const fn judged(&self) -> &Roster {
        &self.judged
    }

    /// The verdict over the value of a `Govern` proposal that would come next in the log. Every node that holds the log
    /// so far comes to the same one. [P-90]
    pub fn judge<'a>(&self, value: &'a [u8]) -> Result<Shipment<'a>, RefusalCode> {
        let shipment = Shipment::decode(value).map_err(|_| RefusalCode::Malformed)?;
        self.judged.judge(&shipment.signed)?;
        let is_possible = match &shipment.signed.governance.change {
            Change::StorePart(part) => self.components.takes(part.component, shipment.payload),
            Change::SetArbitrator(choice) if !choice.arbitrator.is_zero() => {
                self.components.is_complete(choice.arbitrator)
            }
            _ => true,
        };
        if is_possible { Ok(shipment) } else { Err(RefusalCode::GovernanceNotApplicable) }
    }

    /// Whether a leader may give an accepted record its place now. Not a verdict: it depends on what is committed, and
    /// the answer may be another in a moment. The leader's start record must be committed. [P-92]
    pub fn may_sequence(&self, signed: &SignedGovernance) -> Result<(), RefusalCode> {
        let is_blocked = changes_membership(&signed.governance.change) && self.has_membership_pending();
        if is_blocked { Err(RefusalCode::GovernancePending) } else { Ok(()) }
    }

    /// Whether a change of the membership is in the log and not known to be committed.
    #[must_use]
    pub fn has_membership_pending(&self) -> bool {
        self.pending().any(|signed| changes_membership(&signed.governance.change))
    }

    /// The learner that a record would promote: its leader checks that it is level before it sequences the record.
    #[must_use]
    pub const fn promoted(signed: &SignedGovernance) -> Option<NodeId> {
        match signed.governance.change {
            Change::Promote(node) => Some(node),
            _ => None,
        }
    }

    /// A record that [`Governance::judge`] accepted stands in the log at `sequence`. A second change of the membership
    /// proves that the first was committed. [P-92]
    pub fn append<'a>(&mut self, sequence: Sequence, shipment: impl Into<Shipment<'a>>) {
        let Shipment { signed, payload } = shipment.into();
        let newest = self.accepted.last().map_or(Sequence::NONE, |(newest, _)| *newest);
        assert!(sequence > newest, "governance records are appended in log order");
        if changes_membership(&signed.governance.change) && self.has_membership_pending() {
            self.take_effect(self.accepted.len());
        }
        match &signed.governance.change {
            Change::StorePart(part) => self.components.store(sequence, part.component, payload),
            Change::DropComponent(component) => self.components.drop_at(sequence, *component),
            Change::SetArbitrator(choice) => self.seats.set(sequence, choice),
            _ => {}
        }
        self.judged.apply_judged(&signed.governance);
        self.accepted.push((sequence, signed));
    }

    /// Everything through `sequence` is committed. Says whether the cluster changed by it. [P-91]
    pub fn commit_through(&mut self, sequence: Sequence) -> bool {
        let committed = self.accepted.partition_point(|(at, _)| *at <= sequence);
        let changes = committed > self.effective_count;
        if changes {
            self.take_effect(committed);
            self.components.commit_through(sequence);
        }
        changes
    }

    /// The log was cut: records behind `tip` are gone. The caller never cuts what is committed.
    pub fn rewind_to(&mut self, tip: Sequence) {
        let kept = self.accepted.partition_point(|(at, _)| *at <= tip);
        if kept == self.accepted.len() {
            return;
        }
        self.accepted.truncate(kept);
        // What a later record only seemed to prove committed may be cut with it.
        self.effective_count = self.effective_count.min(kept);
        self.effective = self.roster_of(self.effective_count);
        self.judged = self.roster_of(kept);
        self.components.rewind_to(tip);
        self.seats.rewind_to(tip);
    }

    /// Who judges a record of this key at `sequence`, and who runs beside: by the choices that stand before it in the
    /// log, whether they are committed or not, so that every node that holds the log so far says the same. [P-96]
    pub fn seated(&self, sequence: Sequence, key: &[u8]) -> Seated<'_> {
        self.seats.of(sequence, key, self.judged.arbitrators())
    }

    /// Every component that is stored whole, oldest first.
    pub fn components(&self) -> impl Iterator<Item = Hash> + '_ {
        self.judged.components().iter().copied().filter(|component| self.components.is_complete(*component))
    }

    /// A copy of a component's bytes; `None` while it is not stored whole.
    #[must_use]
    pub fn component(&self, component: Hash) -> Option<Vec<u8>> {
        self.components.bytes(component)
    }

    /// How many bytes of a component are stored.
    #[must_use]
    pub fn component_bytes(&self, component: Hash) -> usize {
        self.components.bytes_stored(component)
    }

    /// Whether all of a component is stored.
    #[must_use]
    pub fn is_complete(&self, component: Hash) -> bool {
        self.components.is_complete(component)
    }

    /// Every choice of an arbitrator in the log, with its place, oldest first.
    #[must_use]
    pub fn choices(&self) -> &[(Sequence, ArbitratorChoice)] {
        self.seats.choices()
    }

    /// The accepted records that are in effect, from number 1: what a proof of a record carries.
    pub fn history(&self) -> impl Iterator<Item = &SignedGovernance> {
        self.accepted[..self.effective_count].iter().map(|(_, signed)| signed)
    }

    /// Whether `node` may ask for an epoch, with the appointment that it shows, if any. [P-93] [P-95]
    #[must_use]
    pub fn may_stand(&self, node: NodeId, shown: Option<&SignedGovernance>) -> bool {
        if !self.effective.is_voter(node) || self.effective.is_barred(node) {
            return false;
        }
        match self.genesis.control {
            ControlMode::Competitive => true,
            ControlMode::Strict => {
                let decided = self.effective.appointed(self.shard);
                decided.node == node
                    || self.appointed().node == node
                    || shown.is_some_and(|signed| self.is_authority(node, signed))
            }
        }
    }

    /// The newest appointment in the log.
    #[must_use]
    pub fn appointed(&self) -> Appointed {
        self.judged.appointed(self.shard)
    }

    /// The newest record of the log that appoints `node`: what it shows to voters whose logs lack it. [P-95]
    #[must_use]
    pub fn appointment_of(&self, node: NodeId) -> Option<&SignedGovernance> {
        let appoints = Change::Appoint(Appointment { shard: self.shard, node });
        let newest = self.accepted.iter().rev().find(|(_, signed)| signed.governance.change == appoints);
        newest.map(|(_, signed)| signed)
    }

    /// Whether a signed appointment lets `node` stand although it stands in no log yet: it is newer than everything
    /// that this log knows. One that the log knows already is judged by the log. [P-95]
    #[must_use]
    pub fn is_authority(&self, node: NodeId, signed: &SignedGovernance) -> bool {
        let appoints = Change::Appoint(Appointment { shard: self.shard, node });
        signed.governance.change == appoints
            && signed.governance.number > self.judged.number()
            && signed.verify(&self.genesis).is_ok()
    }

    /// Puts it behind the fields that are there.
    pub fn write(&self, out: &mut FieldWriter) {
        out.count(self.accepted.len());
        for (sequence, signed) in &self.accepted {
            out.sequence(*sequence);
            out.bytes(&signed.encode().expect("an accepted record was read from its own encoding"));
        }
        out.count(self.effective_count);
        self.components.write(out);
    }

    /// Reads what [`Governance::write`] wrote. Every record is judged again, signature included. [P-90]
    pub fn read(
        genesis: &Genesis,
        shard: ShardId,
        fields: &mut FieldReader<'_>,
    ) -> Result<Governance, FieldError> {
        let mut rules = Governance::new(genesis, shard);
        let accepted = fields.list(usize::MAX, 16, |fields| {
            let sequence = fields.sequence()?;
            let signed = SignedGovernance::decode(fields.bytes(SIGNED_GOVERNANCE_BYTES_MAX)?);
            Ok((sequence, signed.map_err(|_| FieldError::Wrong { what: "a governance record is not one" })?))
        })?;
        let effective_count = fields.count(accepted.len(), 0)?;
        for (sequence, signed) in accepted {
            let newest = rules.accepted.last().map_or(Sequence::NONE, |(newest, _)| *newest);
            field_rule(sequence > newest, "governance records are out of order")?;
            field_rule(rules.judged.judge(&signed).is_ok(), "a governance record was not accepted")?;
            if let Change::SetArbitrator(choice) = &signed.governance.change {
                rules.seats.set(sequence, choice);
            }
            rules.judged.apply_judged(&signed.governance);
            rules.accepted.push((sequence, signed));
        }
        rules.take_effect(effective_count);
        rules.components = Components::read(fields)?;
        Ok(rules)
    }

    fn pending(&self) -> impl Iterator<Item = &SignedGovernance> {
        self.accepted[self.effective_count..].iter().map(|(_, signed)| signed)
    }

    fn take_effect(&mut self, count: usize) {
        for (_, signed) in &self.accepted[self.effective_count..count] {
            self.effective.apply_judged(&signed.governance);
        }
        self.effective_count = count;
    }

    fn roster_of(&self, count: usize) -> Roster {
        let mut roster = Roster::of(&self.genesis);
        self.accepted[..count].iter().for_each(|(_, signed)| roster.apply_judged(&signed.governance));
        roster
    }
}
