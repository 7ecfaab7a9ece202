//! What breaks a cluster, and what makes it whole again.
//!
//! Invariant: after `heal` every node runs, every packet arrives and the weather is fair.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::cluster::proxy::Weather;
use crate::support::Random;

/// One kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// kill -9 of one node.
    Kill,
    /// kill -9 of the leader.
    KillLeader,
    /// kill -9 of everybody, started again in any order.
    KillAll,
    /// SIGSTOP of one node.
    Pause,
    /// SIGSTOP of the leader.
    PauseLeader,
    /// Two groups that do not hear each other.
    Halves,
    /// What the leader says is lost, what is said to it arrives.
    LeaderMute,
    /// What is said to the leader is lost.
    LeaderDeaf,
    /// Everybody hears two neighbours only.
    Ring,
    /// Two groups that share one node.
    Bridge,
    /// The leader alone with its clients.
    LeaderAlone,
    /// Loss, doubles, flips, delays, replays.
    Storm,
}

impl Fault {
    /// What real processes on one kernel can suffer.
    pub(crate) const KERNEL: [Fault; 11] = [
        Fault::Kill,
        Fault::KillLeader,
        Fault::KillAll,
        Fault::Pause,
        Fault::PauseLeader,
        Fault::Halves,
        Fault::LeaderMute,
        Fault::LeaderDeaf,
        Fault::Ring,
        Fault::Bridge,
        Fault::LeaderAlone,
    ];

    /// Breaks it.
    pub(crate) fn strike(self, cluster: &mut Cluster, random: &mut Random) {
        let all: Vec<usize> = cluster.places().collect();
        let any = random.below(all.len() as u64) as usize;
        let leader = cluster.leader(0).unwrap_or(any);
        let others: Vec<usize> = all.iter().copied().filter(|place| *place != leader).collect();
        println!("{self:?}: the leader is {leader}, the dice say {any}");
        match self {
            Fault::Kill => cluster.kill(any),
            Fault::KillLeader => cluster.kill(leader),
            Fault::KillAll => shuffled(&all, random).into_iter().for_each(|place| cluster.kill(place)),
            Fault::Pause => cluster.pause(any),
            Fault::PauseLeader => cluster.pause(leader),
            Fault::Halves => {
                let order = shuffled(&all, random);
                let (ones, others) = order.split_at(order.len() / 2);
                cluster.part(ones, others);
            }
            Fault::LeaderMute => others.iter().for_each(|other| cluster.network.cut(leader, *other)),
            Fault::LeaderDeaf => others.iter().for_each(|other| cluster.network.cut(*other, leader)),
            Fault::Ring => ring(cluster, &shuffled(&all, random)),
            Fault::Bridge => {
                let order = shuffled(&all, random);
                let (ones, others) = order[1..].split_at(order.len() / 2);
                cluster.part(ones, others);
            }
            Fault::LeaderAlone => cluster.isolate(leader),
            Fault::Storm => cluster.network.set_weather(STORM),
        }
    }
}

/// Ends all faults; nodes start again in any order.
pub(crate) fn heal(cluster: &mut Cluster, random: &mut Random) {
    cluster.mend_all();
    cluster.network.set_weather(Weather::default());
    let paused: Vec<usize> =
        cluster.running().into_iter().filter(|place| cluster.is_paused(*place)).collect();
    paused.into_iter().for_each(|place| cluster.resume(place));
    let dead: Vec<usize> = cluster.places().filter(|place| !cluster.is_running(*place)).collect();
    cluster.start_nodes(&shuffled(&dead, random));
}

fn ring(cluster: &Cluster, order: &[usize]) {
    for (at, one) in order.iter().enumerate() {
        for (other_at, other) in order.iter().enumerate() {
            let distance = at.abs_diff(other_at);
            if distance > 1 && distance != order.len() - 1 {
                cluster.network.cut(*one, *other);
            }
        }
    }
}

pub(crate) fn shuffled(places: &[usize], random: &mut Random) -> Vec<usize> {
    let mut order = places.to_vec();
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last as u64 + 1) as usize);
    }
    order
}

const STORM: Weather = Weather {
    lost: 100,
    doubled: 100,
    flipped: 50,
    delayed: 300,
    delay_max: Duration::from_millis(20),
    replayed: 200,
};
