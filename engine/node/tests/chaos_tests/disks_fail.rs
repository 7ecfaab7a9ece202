//! Disks that hang for a while, and disks that are full.

use std::path::Path;
use std::time::Duration;

use crate::cluster::disk::Disk;
use crate::cluster::{Cluster, Plan};
use crate::nemesis::shuffled;
use crate::rounds::{judge, start_workload, wait_for_answers};
use crate::support::{Random, put};

#[test]
fn a_disk_that_hangs_now_and_then_costs_time_and_nothing_else() {
    let _alone = crate::one_cluster_at_a_time();
    let mut disk = match Disk::on_loop_device(128) {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: no disk that can be frozen: {reason}"),
    };
    let mut random = Random::seeded();
    let mut cluster = Cluster::found(Plan::of(3));
    cluster.move_dir(0, disk.path().join("node"));
    cluster.start_nodes(&[0, 1, 2]);
    let workload = start_workload(&cluster);
    let rounds = if std::env::var_os("IO_OI_NIGHTLY").is_some() { 50 } else { 5 };
    for round in 0..rounds {
        if round % 2 == 0 {
            prefer(&mut cluster, 0);
        }
        disk.freeze();
        // The others go on, with or without a change of leaders.
        std::thread::sleep(Duration::from_millis(100 + random.below(1_200)));
        wait_for_answers(&cluster, &workload);
        disk.thaw();
        wait_for_answers(&cluster, &workload);
    }
    judge(&cluster, &workload.finish());
}

/// Makes it likely that this node leads: who leads instead loses its process for a moment.
fn prefer(cluster: &mut Cluster, wanted: usize) {
    let leader = cluster.wait_for_leader(0);
    if leader != wanted {
        cluster.kill(leader);
        cluster.start_nodes(&[leader]);
        cluster.wait_for_leader(0);
    }
}

#[test]
fn a_power_cut_of_all_nodes_at_once_loses_nothing_acknowledged() {
    let _alone = crate::one_cluster_at_a_time();
    let disks: Vec<Disk> = match (0..3).map(|_| Disk::on_loop_device(96)).collect() {
        Ok(disks) => disks,
        Err(reason) => return println!("skipped: no disk whose power can be cut: {reason}"),
    };
    let mut random = Random::seeded();
    let mut cluster = Cluster::found(Plan::of(3));
    for (place, disk) in disks.iter().enumerate() {
        cluster.move_dir(place, disk.path().join("node"));
    }
    cluster.start_nodes(&[0, 1, 2]);
    let workload = start_workload(&cluster);
    let rounds = if std::env::var_os("IO_OI_NIGHTLY").is_some() { 50 } else { 3 };
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_micros(random.below(300_000)));
        disks.iter().for_each(Disk::cut_power);
        cluster.kill_all();
        disks.iter().for_each(Disk::restore_power);
        cluster.start_nodes(&shuffled(&[0, 1, 2], &mut random));
        wait_for_answers(&cluster, &workload);
    }
    judge(&cluster, &workload.finish());
}

#[test]
fn a_full_disk_stops_one_node_and_not_the_cluster() {
    let _alone = crate::one_cluster_at_a_time();
    let disk = match Disk::small(48) {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: no file system of one's own: {reason}"),
    };
    let mut cluster = Cluster::found(Plan::of(3));
    cluster.set(2, "wal.strategy=thread"); // A file system in memory takes no direct writes.
    cluster.move_dir(2, disk.path().join("node"));
    cluster.start_nodes(&[0, 1, 2]);
    if cluster.wait_for_leader(0) == 2 {
        cluster.kill(2);
        cluster.wait_for_leader_other_than(0, &[2]);
        cluster.start_nodes(&[2]);
    }
    let workload = start_workload(&cluster);
    let ballast = disk.path().join("ballast");
    fill(&ballast);
    // More than the segments that stand prepared take.
    let leader = cluster.wait_for_leader_other_than(0, &[2]);
    let mut client = cluster.attach(leader);
    let value = vec![7; 32 * 1024];
    for count in 0..1_000u64 {
        put(&mut client, &(count % 32).to_le_bytes(), &value);
    }
    drop(client);
    wait_for_answers(&cluster, &workload);
    std::fs::remove_file(&ballast).unwrap();
    disk.grow(256);
    if cluster.has_ended(2) {
        cluster.forget(2);
        cluster.start_nodes(&[2]);
    }
    wait_for_answers(&cluster, &workload);
    judge(&cluster, &workload.finish());
}

/// Writes until nothing more goes in.
fn fill(ballast: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(ballast).unwrap();
    while file.write_all(&[1; 65_536]).is_ok() {}
    while file.write_all(&[1; 512]).is_ok() {}
}
