//! What the governance records have made of the genesis: members, bars, appointments, arbitrators, limits.
//!
//! Invariant: a roster is a function of the genesis and of the accepted governance records in the order of their
//! numbers, so that every node, and everybody who is shown them, comes to the same one. It always has a voter that is
//! not barred.

use alloc::vec;
use alloc::vec::Vec;

use crate::component::JudgeVersions;
use crate::genesis::{ControlMode, Genesis, Member};
use crate::governance::{
    Appointment, ArbitratorChoice, Barring, Change, Governance, Limit, LimitChoice, SignedGovernance,
};
use crate::hash::Domain;
use crate::ids::{ClusterId, Hash, NodeId, OperatorId, ShardId};
use crate::limits::{
    ARBITRATORS_MAX, BARS_MAX, BLOCK_RECORDS_MAX, CLIENTS_MAX, COMPONENTS_MAX, MEMBERS_MAX, SESSIONS_MAX,
    VALUE_BYTES_MAX,
};
use crate::verdict::RefusalCode;

/// A member and whether it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterMember {
    /// Who it is.
    pub member: Member,
    /// Whether it votes; a learner only follows.
    pub is_voter: bool,
}

/// Who may stand for leader of a shard under strict control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appointed {
    /// The node.
    pub node: NodeId,
    /// The number of the governance record that says so; 0 for the genesis.
    pub number: u64,
}

/// Who judges below a prefix, and who runs beside the judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The prefix; the empty one is every key.
    pub prefix: Vec<u8>,
    /// The component that judges; zero when there is only a shadow.
    pub arbitrator: Hash,
    /// By which versions.
    pub versions: JudgeVersions,
    /// The component that runs beside it; zero for none.
    pub shadow: Hash,
    /// By which versions.
    pub shadow_versions: JudgeVersions,
}

impl Seat {
    fn of(prefix: &[u8]) -> Seat {
        let versions = JudgeVersions::default();
        let prefix = prefix.to_vec();
        Seat { prefix, arbitrator: Hash::ZERO, versions, shadow: Hash::ZERO, shadow_versions: versions }
    }
}

/// The cluster as its operators want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    cluster: ClusterId,
    control: ControlMode,
    operators: Vec<OperatorId>,
    members: Vec<RosterMember>,
    appointed: Vec<Appointed>,
    bars: Vec<Barring>,
    arbitrators: Vec<Seat>,
    components: Vec<Hash>,
    limits: [u64; LIMITS.len()],
    number: u64,
    members_version: u64,
}

/// Every limit with what the program itself allows.
const LIMITS: [(Limit, usize); 4] = [
    (Limit::Clients, CLIENTS_MAX),
    (Limit::Sessions, SESSIONS_MAX),
    (Limit::ValueBytes, VALUE_BYTES_MAX),
    (Limit::BlockRecords, BLOCK_RECORDS_MAX),
];

impl Roster {
    /// The cluster at its birth: every member votes, and the first is appointed everywhere.
    #[must_use]
    pub fn of(genesis: &Genesis) -> Roster {
        let first = genesis.members.first().expect("a checked genesis has members");
        let members = genesis.members.iter().cloned();
        Roster {
            cluster: genesis.cluster(),
            control: genesis.control,
            operators: genesis.operators.clone(),
            members: members.map(|member| RosterMember { member, is_voter: true }).collect(),
            appointed: vec![Appointed { node: first.node, number: 0 }; genesis.shards.into()],
            bars: Vec::new(),
            arbitrators: Vec::new(),
            components: Vec::new(),
            limits: LIMITS.map(|(_, allowed)| allowed as u64),
            number: 0,
            members_version: 0,
        }
    }

    /// Number of the newest governance record applied.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Changes whenever members or bars do.
    #[must_use]
    pub const fn members_version(&self) -> u64 {
        self.members_version
    }

    /// Voters and learners, in the order in which they joined.
    #[must_use]
    pub fn members(&self) -> &[RosterMember] {
        &self.members
    }

    /// The voters, in the order in which they joined; barred ones too, for they still count in a quorum's size.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().filter(|member| member.is_voter).map(|member| member.member.node)
    }

    /// How many voters make a quorum: more than half of them.
    #[must_use]
    pub fn quorum_size(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// The member with this key.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&RosterMember> {
        self.members.iter().find(|member| member.member.node == node)
    }

    /// Whether it votes, barred or not.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.member(node).is_some_and(|member| member.is_voter)
    }

    /// Whether a governance record bars the key.
    #[must_use]
    pub fn is_barred(&self, node: NodeId) -> bool {
        self.bars.iter().any(|bar| bar.node == node)
    }

    /// The barred keys, oldest first.
    #[must_use]
    pub fn bars(&self) -> &[Barring] {
        &self.bars
    }

    /// Who may stand for leader of the shard; matters under strict control only.
    #[must_use]
    pub fn appointed(&self, shard: ShardId) -> Appointed {
        self.appointed[shard.index()]
    }

    /// The limit that holds.
    #[must_use]
    pub fn limit(&self, limit: Limit) -> u64 {
        self.limits[limit_index(limit)]
    }

    /// The arbitrators of prefixes, sorted by prefix.
    #[must_use]
    pub fn arbitrators(&self) -> &[Seat] {
        &self.arbitrators
    }

    /// The components of which parts are stored, oldest first.
    #[must_use]
    pub fn components(&self) -> &[Hash] {
        &self.components
    }

    /// Whether a prefix uses this component, as its judge or as a shadow.
    #[must_use]
    pub fn uses(&self, component: Hash) -> bool {
        self.arbitrators.iter().any(|seat| seat.arbitrator == component || seat.shadow == component)
    }

    /// The name of the set of judges; `None` while no prefix has one.
    #[must_use]
    pub fn arbitrators_hash(&self) -> Option<Hash> {
        let judging = || self.arbitrators.iter().filter(|seat| !seat.arbitrator.is_zero());
        judging().next()?;
        let mut bytes = Vec::new();
        for seat in judging() {
            bytes.extend_from_slice(&(seat.prefix.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&seat.prefix);
            bytes.extend_from_slice(&seat.arbitrator.0);
        }
        Some(Domain::ArbitratorSet.hash(&bytes))
    }

    /// Whether the record may come next: signed by an operator, numbered next, and fitting the cluster as it is. What
    /// is cheap is asked first, so that replays cost nobody a signature check.
    pub fn judge(&self, signed: &SignedGovernance) -> Result<(), RefusalCode> {
        if Some(signed.governance.number) != self.number.checked_add(1) {
            return Err(RefusalCode::GovernanceNumber);
        }
        signed.verify_for(self.cluster, &self.operators).map_err(|_| RefusalCode::GovernanceUnsigned)?;
        if self.allows(&signed.governance.change) {
            Ok(())
        } else {
            Err(RefusalCode::GovernanceNotApplicable)
        }
    }

    /// Judges the record and, if it is accepted, takes it into account.
    pub fn apply(&mut self, signed: &SignedGovernance) -> Result<(), RefusalCode> {
        self.judge(signed)?;
        self.apply_judged(&signed.governance);
        Ok(())
    }

    /// Takes a record into account that was judged before, by this very roster.
    pub fn apply_judged(&mut self, governance: &Governance) {
        assert_eq!(governance.number, self.number + 1, "governance records are applied in order");
        self.number = governance.number;
        self.members_version += u64::from(changes_members(&governance.change));
        match &governance.change {
            Change::AddLearner(member) => {
                self.members.push(RosterMember { member: member.clone(), is_voter: false });
            }
            Change::Promote(node) => {
                let member = self.members.iter_mut().find(|member| member.member.node == *node);
                member.expect("the judge found the learner").is_voter = true;
            }
            Change::Remove(node) => self.members.retain(|member| member.member.node != *node),
            Change::Appoint(Appointment { shard, node }) => {
                self.appointed[shard.index()] = Appointed { node: *node, number: governance.number };
            }
            Change::SetArbitrator(choice) => self.set_arbitrator(choice),
            Change::SetLimit(choice) => self.limits[limit_index(choice.limit)] = choice.value,
            Change::Bar(barring) => self.bars.push(*barring),
            Change::Write(_) => {}
            Change::StorePart(part) if self.components.contains(&part.component) => {}
            Change::StorePart(part) => self.components.push(part.component),
            Change::DropComponent(component) => self.components.retain(|stored| stored != component),
        }
    }

    fn allows(&self, change: &Change) -> bool {
        match change {
            Change::AddLearner(member) => self.allows_learner(member),
            Change::Promote(node) => {
                self.member(*node).is_some_and(|member| !member.is_voter) && !self.is_barred(*node)
            }
            Change::Remove(node) => self.allows_removal(*node),
            Change::Appoint(Appointment { shard, node }) => {
                shard.index() < self.appointed.len() && self.is_voter(*node) && !self.is_barred(*node)
            }
            Change::SetArbitrator(choice) => self.allows_arbitrator(choice),
            Change::SetLimit(LimitChoice { limit, value }) => {
                (1..=LIMITS[limit_index(*limit)].1 as u64).contains(value)
            }
            Change::Bar(barring) => {
                !self.is_barred(barring.node)
                    && self.bars.len() < BARS_MAX
                    && self.has_honest_voter_besides(barring.node)
            }
            Change::StorePart(part) => {
                self.components.contains(&part.component) || self.components.len() < COMPONENTS_MAX
            }
            Change::DropComponent(component) => self.components.contains(component) && !self.uses(*component),
            Change::Write(_) => true, // What its key's judge says of it follows from what stands there.
        }
    }

    fn allows_learner(&self, learner: &Member) -> bool {
        let is_known = |known: &RosterMember| {
            known.member.node == learner.node
                || known.member.name == learner.name
                || known.member.address == learner.address
        };
        self.members.len() < MEMBERS_MAX
            && !self.members.iter().any(is_known)
            && !self.is_barred(learner.node)
            && !learner.address.is_empty()
    }

    /// [P-94] A voter stays, and under strict control nobody leaves who is appointed: appoint another first.
    fn allows_removal(&self, node: NodeId) -> bool {
        let is_appointed = self.control == ControlMode::Strict
            && self.appointed.iter().any(|appointed| appointed.node == node);
        self.member(node).is_some() && self.has_honest_voter_besides(node) && !is_appointed
    }

    /// A component judges once all of it is stored, which is for those to say who have its bytes.
    fn allows_arbitrator(&self, choice: &ArbitratorChoice) -> bool {
        let found = self.find_arbitrator(&choice.prefix);
        if choice.arbitrator.is_zero() {
            let seat = found.ok().map(|place| &self.arbitrators[place]);
            let known = seat.map(|seat| if choice.is_shadow { seat.shadow } else { seat.arbitrator });
            return known.is_some_and(|known| !known.is_zero());
        }
        let has_room = found.is_ok() || self.arbitrators.len() < ARBITRATORS_MAX;
        let judges = found.is_ok_and(|place| self.arbitrators[place].arbitrator == choice.arbitrator);
        has_room && !(choice.is_shadow && judges) && self.components.contains(&choice.arbitrator)
    }

    fn has_honest_voter_besides(&self, node: NodeId) -> bool {
        self.voters().any(|voter| voter != node && !self.is_barred(voter))
    }

    fn set_arbitrator(&mut self, choice: &ArbitratorChoice) {
        let ArbitratorChoice { prefix, arbitrator, is_shadow, versions } = choice;
        let place = self.find_arbitrator(prefix).unwrap_or_else(|place| {
            self.arbitrators.insert(place, Seat::of(prefix));
            place
        });
        let seat = &mut self.arbitrators[place];
        if *is_shadow {
            (seat.shadow, seat.shadow_versions) = (*arbitrator, *versions);
        } else {
            (seat.arbitrator, seat.versions) = (*arbitrator, *versions);
        }
        if seat.shadow == seat.arbitrator {
            (seat.shadow, seat.shadow_versions) = (Hash::ZERO, JudgeVersions::default());
        }
        if seat.arbitrator.is_zero() && seat.shadow.is_zero() {
            self.arbitrators.remove(place);
        }
    }

    fn find_arbitrator(&self, prefix: &[u8]) -> Result<usize, usize> {
        self.arbitrators.binary_search_by(|seat| seat.prefix.as_slice().cmp(prefix))
    }
}

/// Whether a change concerns who belongs to the cluster. Of these, one at a time is not committed.
#[must_use]
pub const fn changes_membership(change: &Change) -> bool {
    matches!(change, Change::AddLearner(_) | Change::Promote(_) | Change::Remove(_))
}

const fn changes_members(change: &Change) -> bool {
    changes_membership(change) || matches!(change, Change::Bar(_))
}

fn limit_index(limit: Limit) -> usize {
    LIMITS.iter().position(|(known, _)| *known == limit).expect("every limit is listed")
}
