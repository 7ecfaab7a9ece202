//! Groups of any size, and a leader's blocks.
#![allow(dead_code, unreachable_pub)] // Each test file uses its own part of it.

use io_oi_consensus::{Group, Machine, Membership};
use io_oi_record::{BlockHeader, ClusterId, Epoch, Hash, Nanos, NodeId, ShardId, Signer};

pub const CLUSTER: ClusterId = ClusterId([9; 32]);
pub const SHARD: ShardId = ShardId(3);

pub fn signer() -> Signer {
    Signer::from_secret(&[1; 32])
}

/// This node first, then others.
pub fn members(voter_count: usize) -> Membership {
    let others = (1..voter_count).map(|number| NodeId([number as u8; 32]));
    let voters: Vec<NodeId> = std::iter::once(signer().node()).chain(others).collect();
    Membership::new(&voters).expect("a sound membership")
}

pub fn machine(voter_count: usize) -> Machine {
    let group = Group { cluster: CLUSTER, shard: SHARD, node: signer().node() };
    Machine::new(group, members(voter_count))
}

/// A node that leads epoch 1 of an empty chain, granted by as many others as it takes.
pub fn leader(voter_count: usize) -> Machine {
    let mut machine = machine(voter_count);
    let claim = machine.stand();
    machine.handle_claim_durable();
    grant_by_quorum(&mut machine, claim.epoch);
    machine
}

pub fn grant_by_quorum(machine: &mut Machine, epoch: Epoch) {
    let members = *machine.members();
    for voter in &members.voters()[1..members.quorum_size()] {
        let voter = members.voter_index(*voter).expect("a voter");
        assert!(machine.handle_grant(voter, epoch));
    }
}

/// The next header of this leader's chain.
pub fn next_header(machine: &Machine, record_count: u32) -> BlockHeader {
    let tip = machine.tip();
    BlockHeader {
        cluster: CLUSTER,
        shard: SHARD,
        epoch: machine.epoch(),
        first_sequence: tip.next_sequence(),
        record_count,
        records_bytes: 100,
        parent: tip.hash,
        root: Hash([5; 32]),
        arbitrators: Hash::ZERO,
        time: tip.next_time(Nanos(1_000)),
        leader: signer().node(),
    }
}
