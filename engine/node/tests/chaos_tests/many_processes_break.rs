//! Three and five nodes: every fault in turn, then any faults.

use crate::cluster::{Cluster, Plan};
use crate::nemesis::{Fault, shuffled};
use crate::rounds::survive;
use crate::support::Random;

/// Short in the daily loop, long with `IO_OI_NIGHTLY=1`.
fn faults(among: &[Fault], daily: usize, random: &mut Random) -> Vec<Fault> {
    let rounds = if std::env::var_os("IO_OI_NIGHTLY").is_some() { NIGHTLY_ROUNDS } else { daily };
    let mut chosen = Vec::new();
    while chosen.len() < rounds {
        let order = shuffled(&(0..among.len()).collect::<Vec<_>>(), random);
        chosen.extend(order.into_iter().map(|at| among[at]));
    }
    chosen.truncate(rounds);
    chosen
}

#[test]
fn three_nodes_lose_nothing_whatever_breaks() {
    let _alone = crate::one_cluster_at_a_time();
    let mut random = Random::seeded();
    let mut cluster = Cluster::start(Plan::of(3));
    let faults = faults(&Fault::KERNEL, 7, &mut random);
    survive(&mut cluster, &faults, &mut random);
}

#[test]
fn five_nodes_lose_nothing_whatever_breaks() {
    let _alone = crate::one_cluster_at_a_time();
    let mut random = Random::seeded();
    let mut cluster = Cluster::start(Plan::of(5).with_shards(2));
    let faults = faults(&Fault::KERNEL, 6, &mut random);
    survive(&mut cluster, &faults, &mut random);
}

#[test]
fn three_nodes_lose_nothing_in_a_storm() {
    let _alone = crate::one_cluster_at_a_time();
    let mut random = Random::seeded();
    let mut cluster = Cluster::start(Plan::of(3).relayed());
    let among = [Fault::Storm, Fault::KillLeader, Fault::LeaderAlone, Fault::Storm];
    let faults = faults(&among, 4, &mut random);
    survive(&mut cluster, &faults, &mut random);
    let counts = cluster.network.proxy().expect("a relay").counts();
    assert!(counts.lost > 0 && counts.flipped > 0 && counts.replayed > 0, "no storm: {counts:?}");
}

const NIGHTLY_ROUNDS: usize = 50;
