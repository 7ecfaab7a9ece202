//! Nothing signed leaves a node before its durable note: looked at from outside, with a disk that hangs and with kills
//! at any step.

use std::time::Duration;

use crate::cluster::disk::Disk;
use crate::cluster::impostor::Impostor;
use crate::cluster::statements::{SignedPlace, Statements};
use crate::cluster::{Cluster, Plan};
use crate::support::{Random, put};

/// A listener with a member's key hears every ballot, grant, vote and header of the other two.
fn statements(listener: &Impostor) -> Statements {
    Statements::of(&listener.heard(), listener.cluster)
}

#[test]
fn kills_at_any_step_never_make_a_node_sign_twice() {
    let _alone = crate::one_cluster_at_a_time();
    let mut random = Random::seeded();
    let mut cluster = Cluster::found(Plan::of(3));
    cluster.start_nodes(&[0, 1]);
    let listener = Impostor::enter(&cluster, 2);
    listener.wait_for(&[cluster.node_id(0), cluster.node_id(1)]);
    let rounds = if std::env::var_os("IO_OI_NIGHTLY").is_some() { 300 } else { 15 };
    for round in 0..rounds {
        // A leader now and then, so that there is an election; anybody at any moment otherwise.
        let victim = if round % 3 == 0 { cluster.wait_for_leader(0) } else { random.below(2) as usize };
        // Anywhere between the first words of an election and the first blocks of the new leader.
        std::thread::sleep(Duration::from_micros(random.below(400_000)));
        cluster.kill(victim);
        let promised = promised_epoch(&cluster, victim);
        let signed = statements(&listener).highest_epoch_of_elections(cluster.node_id(victim));
        assert!(
            signed <= promised,
            "round {round}: node {victim} stood or granted in epoch {signed}, its durable promise says {promised}"
        );
        cluster.start_nodes(&[victim]);
        if random.below(3) == 0 {
            let leader = cluster.wait_for_leader(0);
            assert!(
                put(&mut cluster.attach(leader), b"round", &round.to_string().into_bytes()).is_accepted()
            );
        }
    }
    cluster.wait_for_leader(0);
    cluster.wait_until_equal();
    let statements = statements(&listener);
    let grants = statements.count(|place| matches!(place, SignedPlace::Grant(..)));
    let headers = statements.count(|place| matches!(place, SignedPlace::Header(..)));
    println!("{grants} grants and {headers} headers heard over {rounds} kills");
    assert!(grants >= 3 && headers >= 3, "too little was signed to be a test");
    assert_eq!(statements.contradictions(), [], "a node signed twice");
    for place in [0, 1] {
        assert_eq!(cluster.status(place, 0).expect("the node answers").mute, None);
    }
}

/// The highest epoch in the shard's promise file, which keeps the last two.
fn promised_epoch(cluster: &Cluster, place: usize) -> u64 {
    let bytes = std::fs::read(cluster.dir(place).join("promise-0")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut words = text.split_whitespace();
    let mut highest = 0;
    while words.any(|word| word == "epoch") {
        highest = highest.max(words.next().and_then(|epoch| epoch.parse().ok()).unwrap_or(0));
    }
    highest
}

#[test]
fn a_promise_that_reached_the_log_alone_is_in_its_file_after_the_boot() {
    let _alone = crate::one_cluster_at_a_time();
    let mut cluster = Cluster::found(Plan::of(3));
    cluster.start_nodes(&[0, 1]);
    cluster.wait_for_leader(0);
    let file = cluster.dir(1).join("promise-0");
    let before = std::fs::read(&file).expect("a promise file");
    let known = promised_epoch(&cluster, 1);
    while promised_epoch(&cluster, 1) == known {
        let leader = cluster.wait_for_leader(0);
        cluster.kill(leader);
        cluster.start_nodes(&[leader]);
        cluster.wait_for_leader(0);
    }
    cluster.kill(1);
    let promised = promised_epoch(&cluster, 1);
    std::fs::write(&file, before).expect("the file as it was before its last flush");
    cluster.start_nodes(&[1]);
    assert!(promised_epoch(&cluster, 1) >= promised, "the log says {promised}");
    assert_eq!(cluster.status(1, 0).expect("the node answers").mute, None);
}

#[test]
fn a_node_whose_disk_hangs_signs_nothing() {
    let _alone = crate::one_cluster_at_a_time();
    let mut disk = match Disk::on_loop_device(96) {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: no disk that can be frozen: {reason}"),
    };
    let mut cluster = Cluster::found(Plan::of(3));
    cluster.move_dir(1, disk.path().join("node"));
    cluster.start_nodes(&[0, 1]);
    let listener = Impostor::enter(&cluster, 2);
    listener.wait_for(&[cluster.node_id(0), cluster.node_id(1)]);
    let leader = cluster.wait_for_leader(0);
    assert!(put(&mut cluster.attach(leader), b"before", b"the frost").is_accepted());
    cluster.wait_until_equal();
    std::thread::sleep(Duration::from_millis(300)); // Votes that trail have been sent by now.
    disk.freeze();
    let node = cluster.node_id(1);
    let before = signed_by(&statements(&listener), node);
    // Whatever the other one asks for now, elections and blocks, this one can put no note on its disk.
    cluster.kill(0);
    cluster.start_nodes(&[0]);
    std::thread::sleep(Duration::from_millis(2_500));
    let after = signed_by(&statements(&listener), node);
    disk.thaw();
    assert_eq!(after, before, "something was signed while the disk hung");
    cluster.wait_for_leader(0);
    let leader = cluster.wait_for_leader(0);
    assert!(put(&mut cluster.attach(leader), b"after", b"the frost").is_accepted());
    cluster.wait_until_equal();
    assert_eq!(statements(&listener).contradictions(), []);
    drop(listener);
    drop(cluster);
}

/// How much the node has put its name to: blocks that it decided before are sealed without a new note.
fn signed_by(statements: &Statements, node: io_oi_record::NodeId) -> usize {
    statements.count(|place| match place {
        SignedPlace::Grant(who, _) | SignedPlace::Ballot(who, _) | SignedPlace::Vote(who, ..) => *who == node,
        SignedPlace::Header(..) => false,
    })
}
