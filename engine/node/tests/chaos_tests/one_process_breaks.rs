//! A cluster of one: killed, stopped and started again under the same clients and the same judgement as any other.

use std::time::Duration;

use crate::cluster::workload::Workload;
use crate::cluster::{Cluster, Plan};

#[test]
fn one_node_loses_nothing_over_kills_and_pauses() {
    let _alone = crate::one_cluster_at_a_time();
    let mut cluster = Cluster::start(Plan::of(1));
    let workload = Workload::start((0..4).map(|_| cluster.socket(0)).collect::<Vec<_>>());
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(400));
        cluster.kill(0);
        cluster.start_nodes(&[0]);
    }
    cluster.pause(0);
    std::thread::sleep(Duration::from_secs(2)); // Longer than a client waits for one answer.
    cluster.resume(0);
    std::thread::sleep(Duration::from_millis(200));
    let record = workload.finish();
    record.check();
    let table = cluster.committed_table(0);
    for (key, accepted) in record.newest() {
        let version = table.get(key).map_or(0, |found| found.0);
        assert!(version >= accepted.place.1, "lost: {accepted:?}, found version {version}");
    }
}
