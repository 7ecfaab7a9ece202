//! Remembers what every key has signed lately, and notices when it signs the contrary.
//!
//! Invariant: evidence leaves here only when two statements of one key contradict each other and both signatures are
//! true. Memory is bounded per key and kind, so nobody displaces what another key has signed. [P-102, P-103]

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use io_oi_record::evidence::{Evidence, EvidenceError, Proof, Signed, SignedEvidence};
use io_oi_record::limits::{BARS_MAX, MEMBERS_MAX};
use io_oi_record::{BallotGrant, BlockHeader, ClusterId, Hash, NodeId, Roster, ShardId, Statement, Vote};

/// Statements of one kind remembered per key. A contradiction further apart than this is found by comparing with the
/// log, not here.
pub const WATCH_WINDOW: usize = 64;

/// What the keys of one shard's group have signed.
#[derive(Clone)]
pub struct Watch {
    cluster: ClusterId,
    shard: ShardId,
    own: NodeId,
    headers: Memory<BlockHeader>,
    votes: Memory<Vote>,
    grants: Memory<BallotGrant>,
    held: Vec<SignedEvidence>,
}

/// A report is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReportRefused {
    /// It is about another cluster or shard.
    #[error("the evidence belongs to another cluster or shard: drop it")]
    Elsewhere,
    /// It does not convict.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The accused key has left: there is nothing to bar any more.
    #[error("the accused key {accused} is no member any more: nothing is to be done")]
    Expired {
        /// The accused.
        accused: NodeId,
    },
    /// The accused key is convicted already.
    #[error("the accused key {accused} is convicted already: nothing is to be done")]
    Repeated {
        /// The accused.
        accused: NodeId,
    },
    /// The verdict in question was not judged again here.
    #[error("the verdict in question has to be judged again: judge it before believing the evidence")]
    NotJudged,
    /// As many are held as operators can ever bar.
    #[error("as much evidence is held as operators can act on: bar the convicted keys")]
    Full,
}

impl Watch {
    /// Nothing seen. Allocates what remembering needs; only evidence allocates later.
    #[must_use]
    pub fn new(cluster: ClusterId, shard: ShardId, own: NodeId) -> Watch {
        Watch {
            cluster,
            shard,
            own,
            headers: Memory::new(),
            votes: Memory::new(),
            grants: Memory::new(),
            held: Vec::new(),
        }
    }

    /// A header that came on its leader's own connection, or whose signature was checked. [P-102]
    pub fn see_header(&mut self, header: &Signed<BlockHeader>, roster: &Roster) -> Option<Evidence> {
        self.is_of_interest(&header.statement, roster).then_some(())?;
        let (one, other) = self.headers.see(header, roster, headers_contradict)?;
        Some(self.charge(Proof::TwoHeaders(one, other)))
    }

    /// Whether a header is remembered that contradicts this one, if both are truly signed: then this one is worth a check.
    #[must_use]
    pub fn contradicts_header(&self, header: &BlockHeader) -> bool {
        self.headers.of(header.leader).any(|known| headers_contradict(known, header))
    }

    /// Whether just this header was seen and is remembered.
    #[must_use]
    pub fn remembers_header(&self, header: &BlockHeader) -> bool {
        self.headers.of(header.leader).any(|known| known == header)
    }

    /// A vote that came on its voter's own connection, or whose signature was checked. [P-102]
    pub fn see_vote(&mut self, vote: &Signed<Vote>, roster: &Roster) -> Option<Evidence> {
        self.is_of_interest(&vote.statement, roster).then_some(())?;
        let (one, other) = self.votes.see(vote, roster, votes_contradict)?;
        Some(self.charge(Proof::TwoVotes(one, other)))
    }

    /// A grant that came on its voter's own connection, or whose signature was checked. [P-102]
    pub fn see_grant(&mut self, grant: &Signed<BallotGrant>, roster: &Roster) -> Option<Evidence> {
        self.is_of_interest(&grant.statement, roster).then_some(())?;
        let (one, other) = self.grants.see(grant, roster, grants_contradict)?;
        Some(self.charge(Proof::TwoGrants(one, other)))
    }

    /// The charge of a verdict that judging again contradicts. `header` is checked and proves the record. [P-103]
    #[must_use]
    pub fn charge_verdict(&self, header: Signed<BlockHeader>, record: Vec<u8>, path: Vec<Hash>) -> Evidence {
        self.charge(Proof::WrongVerdict { header, record, path })
    }

    /// Takes evidence into account: the own, another node's, or one from the log. Names the key that is convicted by it
    /// from now on. `is_judged` says that the verdict in question was judged again here, and is wrong. [P-103]
    pub fn accept(
        &mut self,
        report: SignedEvidence,
        is_judged: bool,
        roster: &Roster,
    ) -> Result<NodeId, ReportRefused> {
        let evidence = &report.evidence;
        if (evidence.cluster, evidence.shard) != (self.cluster, self.shard) {
            return Err(ReportRefused::Elsewhere);
        }
        self.check_accused(accused_of(&evidence.proof), roster)?;
        if evidence.needs_judging() && !is_judged {
            return Err(ReportRefused::NotJudged);
        }
        if self.held.len() == BARS_MAX {
            return Err(ReportRefused::Full);
        }
        let accused = report.check()?;
        self.held.push(report);
        Ok(accused)
    }

    /// Whether a report is worth judging again: not yet convicted, still a member.
    pub fn check_accused(&self, accused: NodeId, roster: &Roster) -> Result<(), ReportRefused> {
        if self.is_convicted(accused) {
            return Err(ReportRefused::Repeated { accused });
        }
        if roster.member(accused).is_none() {
            return Err(ReportRefused::Expired { accused });
        }
        Ok(())
    }

    /// Whether evidence against the key is held: nothing of it is counted any more. [P-104]
    #[must_use]
    pub fn is_convicted(&self, node: NodeId) -> bool {
        self.held.iter().any(|report| accused_of(&report.evidence.proof) == node)
    }

    /// The evidence held, oldest first: one for each convicted key.
    #[must_use]
    pub fn held(&self) -> &[SignedEvidence] {
        &self.held
    }

    /// Takes over the evidence that a checkpoint holds: it was accepted when it was read from the log, and is checked once
    /// more. [P-72, P-103]
    pub fn restore_held(&mut self, reports: Vec<SignedEvidence>) -> Result<(), ReportRefused> {
        for report in reports {
            if (report.evidence.cluster, report.evidence.shard) != (self.cluster, self.shard) {
                return Err(ReportRefused::Elsewhere);
            }
            let accused = report.check()?;
            if self.is_convicted(accused) {
                return Err(ReportRefused::Repeated { accused });
            }
            if self.held.len() == BARS_MAX {
                return Err(ReportRefused::Full);
            }
            self.held.push(report);
        }
        Ok(())
    }

    fn is_of_interest<S: Statement>(&self, statement: &S, roster: &Roster) -> bool {
        let signer = NodeId(statement.signed_by());
        (statement.cluster(), statement.shard()) == (self.cluster, self.shard)
            && roster.member(signer).is_some()
            && !self.is_convicted(signer)
    }

    fn charge(&self, proof: Proof) -> Evidence {
        Evidence { cluster: self.cluster, shard: self.shard, proof, reporter: self.own }
    }
}

/// Whom a proof accuses, before anything of it is checked.
#[must_use]
pub fn accused_of(proof: &Proof) -> NodeId {
    match proof {
        Proof::TwoHeaders(header, _) | Proof::WrongVerdict { header, .. } => header.statement.leader,
        Proof::TwoVotes(vote, _) => vote.statement.voter,
        Proof::TwoGrants(grant, _) => grant.statement.voter,
    }
}

fn headers_contradict(one: &BlockHeader, other: &BlockHeader) -> bool {
    one.epoch == other.epoch
        && one.first_sequence <= other.last_sequence()
        && other.first_sequence <= one.last_sequence()
        && one != other
}

fn votes_contradict(one: &Vote, other: &Vote) -> bool {
    (one.epoch, one.sequence) == (other.epoch, other.sequence) && one.block != other.block
}

fn grants_contradict(one: &BallotGrant, other: &BallotGrant) -> bool {
    one.epoch == other.epoch && one.candidate != other.candidate
}

/// The newest statements of one kind, a ring per key.
#[derive(Clone)]
struct Memory<S> {
    keys: Box<[Ring<S>]>,
}

#[derive(Clone)]
struct Ring<S> {
    key: NodeId,
    seen: Box<[Option<Signed<S>>]>,
    next: usize,
}

impl<S: Statement + Copy + PartialEq> Memory<S> {
    fn new() -> Memory<S> {
        let nobody = Ring { key: NodeId([0; 32]), seen: vec![None; WATCH_WINDOW].into(), next: 0 };
        Memory { keys: vec![nobody; MEMBERS_MAX].into() }
    }

    /// Remembers a statement, or returns it with one that it contradicts when both are truly signed.
    fn see(
        &mut self,
        signed: &Signed<S>,
        roster: &Roster,
        contradict: impl Fn(&S, &S) -> bool,
    ) -> Option<(Signed<S>, Signed<S>)> {
        let ring = self.ring_of(NodeId(signed.statement.signed_by()), roster);
        let mut is_known = false;
        for place in 0..WATCH_WINDOW {
            let Some(known) = ring.seen[place] else { continue };
            is_known |= known == *signed;
            if !contradict(&known.statement, &signed.statement) {
                continue;
            }
            if signed.verify().is_err() {
                return None; // Made up by somebody else: not worth remembering.
            }
            if known.verify().is_ok() {
                return Some((known, *signed));
            }
            ring.seen[place] = None;
        }
        if !is_known {
            ring.remember(signed);
        }
        None
    }

    /// What is remembered of a key.
    fn of(&self, key: NodeId) -> impl Iterator<Item = &S> {
        let rings = self.keys.iter().filter(move |ring| ring.key == key);
        rings.flat_map(|ring| &ring.seen).flatten().map(|signed| &signed.statement)
    }

    /// The rings of keys that left are given to those that came.
    fn ring_of(&mut self, key: NodeId, roster: &Roster) -> &mut Ring<S> {
        let known = self.keys.iter().position(|ring| ring.key == key);
        let place = known.unwrap_or_else(|| {
            let free = self.keys.iter().position(|ring| roster.member(ring.key).is_none());
            let free = free.expect("a cluster has no more keys than members");
            self.keys[free].key = key;
            self.keys[free].seen.fill(None);
            self.keys[free].next = 0;
            free
        });
        &mut self.keys[place]
    }
}

impl<S: Copy> Ring<S> {
    fn remember(&mut self, signed: &Signed<S>) {
        self.seen[self.next] = Some(*signed);
        self.next = (self.next + 1) % WATCH_WINDOW;
    }
}
