//! Rounds of trouble under load, and the judgement afterwards.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::cluster::workload::{Record, Workload};
use crate::nemesis::{Fault, heal};
use crate::support::{Random, soon};

/// Strikes once for each fault, heals, waits for answers in between, and judges.
pub(crate) fn survive(cluster: &mut Cluster, faults: &[Fault], random: &mut Random) {
    let workload = start_workload(cluster);
    for fault in faults {
        fault.strike(cluster, random);
        std::thread::sleep(Duration::from_millis(300 + random.below(900)));
        heal(cluster, random);
        wait_for_answers(cluster, &workload);
    }
    let record = workload.finish();
    assert!(record.lease_reads() > 0, "no leader ever had a lease");
    judge(cluster, &record);
}

/// Two clients on every node.
pub(crate) fn start_workload(cluster: &Cluster) -> Workload {
    cluster.wait_for_leader(0);
    let sockets = cluster.awake().into_iter().chain(cluster.awake()).map(|place| cluster.socket(place));
    let workload = Workload::start(sockets.collect::<Vec<_>>());
    wait_for_answers(cluster, &workload);
    workload
}

/// Commits come back by themselves.
pub(crate) fn wait_for_answers(cluster: &Cluster, workload: &Workload) {
    let (before, deadline) = (workload.accepted(), soon());
    while workload.accepted() < before + ANSWERS_AWAITED {
        if Instant::now() > deadline {
            let seen: Vec<_> = cluster.places().map(|place| cluster.statuses(place)).collect();
            panic!("nothing is committed after the faults were over; last seen: {seen:#?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Everybody holds the same, and everything that was acknowledged.
pub(crate) fn judge(cluster: &Cluster, record: &Record) {
    record.check();
    cluster.wait_until_equal();
    let tables: Vec<_> =
        cluster.awake().into_iter().map(|place| (place, cluster.committed_table(place))).collect();
    let newest = record.newest();
    for (place, table) in &tables {
        for (key, accepted) in &newest {
            let (version, value) = table.get(*key).unwrap_or_else(|| {
                panic!("node {place} lost {}, acknowledged as {accepted:?}", key.escape_ascii())
            });
            assert!(
                *version >= accepted.place.1,
                "node {place} holds version {version} of {}, older than {accepted:?}",
                key.escape_ascii()
            );
            if *version == accepted.place.1 {
                assert_eq!(
                    value, &accepted.value,
                    "node {place} holds another value than acknowledged: {accepted:?}"
                );
            } else {
                // Only a write whose answer never came may be newer than the newest acknowledged one.
                assert!(
                    record.may_be_unanswered(key, value),
                    "node {place}: nobody wrote {}",
                    value.escape_ascii()
                );
            }
        }
    }
    for (place, table) in &tables {
        assert!(table == &tables[0].1, "node {place} and node {} show different tables", tables[0].0);
    }
}

const ANSWERS_AWAITED: u64 = 30;
