//! Who takes part: keys, genesis, and the operator who signs changes.
//!
//! Invariant: every key follows from the seed, and keys that join later are known from the start.

use io_oi_record::{
    ClusterId, ControlMode, Genesis, Hash, Member, Nanos, NodeId, ShardId, Signer, TrustMode,
};

use crate::random::Random;

/// The only shard of an invented cluster: shards share nothing, so one shows everything.
pub(crate) const SHARD: ShardId = ShardId(0);

/// One key.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) secret: [u8; 32],
    pub(crate) node: NodeId,
}

impl Identity {
    pub(crate) fn signer(&self) -> Signer {
        Signer::from_secret(&self.secret)
    }

    fn of(random: &mut Random) -> Self {
        let mut secret = [0; 32];
        secret.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&random.next().to_le_bytes()));
        Self { secret, node: Signer::from_secret(&secret).node() }
    }
}

/// A cluster and everybody who may ever belong to it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) id: ClusterId,
    pub(crate) genesis: Genesis,
    /// The founders first, then those who may join.
    pub(crate) identities: Vec<Identity>,
    pub(crate) operator: Identity,
}

impl Cluster {
    pub(crate) fn new(founders: usize, others: usize, control: ControlMode, mut random: Random) -> Self {
        let identities: Vec<_> = (0..founders + others).map(|_| Identity::of(&mut random)).collect();
        let operator = Identity::of(&mut random);
        let genesis = Genesis {
            members: (0..founders).map(|index| member(&identities, index)).collect(),
            operators: vec![operator.signer().operator()],
            shards: 1,
            trust: TrustMode::Full,
            control,
            hash_seed: [7; 16],
            arbitrators: Hash::ZERO,
            created: Nanos(1),
        };
        Self { id: genesis.cluster(), genesis, identities, operator }
    }

    /// Which node has this key.
    pub(crate) fn index_of(&self, node: NodeId) -> Option<usize> {
        self.identities.iter().position(|identity| identity.node == node)
    }

    /// A node as governance names it.
    pub(crate) fn member(&self, index: usize) -> Member {
        member(&self.identities, index)
    }
}

fn member(identities: &[Identity], index: usize) -> Member {
    Member {
        node: identities[index].node,
        name: format!("n{index}"),
        address: format!("10.0.0.{}:7000", index + 1),
    }
}
