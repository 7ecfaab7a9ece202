//! A cluster of three with one operator, and everything that its nodes sign.

use io_oi_record::evidence::Signed;
use io_oi_record::governance::{Appointment, Barring, Change};
use io_oi_record::*;

pub(crate) const SHARD: ShardId = ShardId(1);

/// Nodes 0 to 2 are voters from the beginning, the others come later.
pub(crate) fn node(number: u8) -> Signer {
    Signer::from_secret(&[number + 1; 32])
}

pub(crate) fn id(number: u8) -> NodeId {
    node(number).node()
}

pub(crate) fn operator() -> Signer {
    Signer::from_secret(&[200; 32])
}

pub(crate) fn member(number: u8) -> Member {
    Member { node: id(number), name: format!("n{number}"), address: format!("10.0.0.{number}:7000") }
}

pub(crate) fn genesis_of(voters: u8, control: ControlMode) -> Genesis {
    Genesis {
        members: (0..voters).map(member).collect(),
        operators: vec![operator().operator()],
        shards: 2,
        trust: TrustMode::Full,
        control,
        hash_seed: [1; 16],
        arbitrators: Hash::ZERO,
        created: Nanos(1),
    }
}

pub(crate) fn genesis() -> Genesis {
    genesis_of(3, ControlMode::Competitive)
}

pub(crate) fn roster() -> Roster {
    Roster::of(&genesis())
}

pub(crate) fn govern_in(genesis: &Genesis, number: u64, change: Change) -> SignedGovernance {
    let governance = Governance {
        cluster: genesis.cluster(),
        number,
        time: Nanos(number),
        change,
        operator: operator().operator(),
    };
    SignedGovernance::sign(governance, &operator())
}

pub(crate) fn govern(number: u64, change: Change) -> SignedGovernance {
    govern_in(&genesis(), number, change)
}

pub(crate) fn add(number: u8) -> Change {
    Change::AddLearner(member(number))
}

pub(crate) fn promote(number: u8) -> Change {
    Change::Promote(id(number))
}

pub(crate) fn remove(number: u8) -> Change {
    Change::Remove(id(number))
}

pub(crate) fn appoint(number: u8) -> Change {
    Change::Appoint(Appointment { shard: SHARD, node: id(number) })
}

pub(crate) fn bar(number: u8) -> Change {
    Change::Bar(Barring { node: id(number), evidence: Hash::ZERO })
}

pub(crate) fn signed<S: Statement>(signer: &Signer, statement: S) -> Signed<S> {
    let signature = signer.sign(&statement);
    Signed { statement, signature }
}

/// The same statement under a signature that is not its signer's.
pub(crate) fn forged<S: Statement>(statement: S) -> Signed<S> {
    let signature = node(99).sign_as_witness(&statement);
    Signed { statement, signature }
}

/// A header of node `leader`; `variant` tells different ones for one place apart.
pub(crate) fn header(leader: u8, epoch: u64, first: u64, count: u32, variant: u8) -> BlockHeader {
    BlockHeader {
        cluster: genesis().cluster(),
        shard: SHARD,
        epoch: Epoch(epoch),
        first_sequence: Sequence(first),
        record_count: count,
        records_bytes: 100,
        parent: Hash::ZERO,
        root: Hash([variant; 32]),
        arbitrators: Hash::ZERO,
        time: Nanos(1),
        leader: id(leader),
    }
}

pub(crate) fn vote(voter: u8, epoch: u64, sequence: u64, variant: u8) -> Vote {
    Vote {
        cluster: genesis().cluster(),
        shard: SHARD,
        epoch: Epoch(epoch),
        sequence: Sequence(sequence),
        block: Hash([variant; 32]),
        voter: id(voter),
    }
}

pub(crate) fn grant(voter: u8, epoch: u64, candidate: u8) -> BallotGrant {
    BallotGrant {
        cluster: genesis().cluster(),
        shard: SHARD,
        epoch: Epoch(epoch),
        candidate: id(candidate),
        voter: id(voter),
    }
}
