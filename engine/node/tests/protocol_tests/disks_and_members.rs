//! Disks that are rolled back or damaged, and members that come and go.

use std::path::Path;
use std::process::Command;

use io_oi_record::governance::{Appointment, Change};
use io_oi_record::{RefusalCode, ShardId};

use crate::cluster::{Cluster, Plan};
use crate::support::put;

/// Puts through the leader, whoever that is.
fn put_some(cluster: &Cluster, from: u64, count: u64) {
    let leader = cluster.wait_for_leader(0);
    let mut client = cluster.attach(leader);
    for number in from..from + count {
        assert!(put(&mut client, &number.to_le_bytes(), &[7; 500]).is_accepted());
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// A cluster one of whose nodes is started on an older copy of this part of its directory; it has led or granted since.
fn rolled_back(part: &str) -> (Cluster, usize) {
    let mut cluster = Cluster::start(Plan::of(3));
    put_some(&cluster, 0, 20);
    cluster.wait_until_equal();
    let victim = cluster.wait_for_leader(0);
    cluster.kill(victim);
    let place = cluster.dir(victim).join(part);
    let backup = cluster.dir(victim).with_extension("backup");
    copy(&place, &backup);
    cluster.start_nodes(&[victim]);
    put_some(&cluster, 100, 20);
    // It leads or grants at least once more, so that its name stands under something that the backup does not know.
    for other in cluster.places().filter(|place| *place != victim) {
        cluster.kill(other);
        cluster.start_nodes(&[other]);
        put_some(&cluster, 200 + other as u64, 1);
    }
    cluster.wait_until_equal();
    cluster.kill(victim);
    std::fs::remove_dir_all(&place).unwrap();
    copy(&backup, &place);
    cluster.start_nodes(&[victim]);
    put_some(&cluster, 300, 5);
    (cluster, victim)
}

/// Why a node is mute, as soon as it is and has read what the others have.
fn reason_of(cluster: &Cluster, victim: usize) -> String {
    let committed = cluster.status(cluster.wait_for_leader(0), 0).expect("the leader answers").committed;
    cluster.wait_for("the rolled-back node says why it is mute, and reads on", |cluster| {
        let status = cluster.status(victim, 0)?;
        status.mute.filter(|_| status.committed >= committed)
    })
}

/// With one honest node left nothing is committed: a mute node's word does not count.
fn counts_for_nothing(cluster: &mut Cluster, victim: usize) {
    let honest = cluster.places().find(|place| *place != victim).expect("three nodes");
    let gone = cluster.places().find(|place| *place != victim && *place != honest).expect("three nodes");
    cluster.kill(gone);
    std::thread::sleep(std::time::Duration::from_millis(1_500)); // Several elections long.
    assert_ne!(cluster.leader(0), Some(victim), "a mute node leads");
    if let Some(mut client) = cluster.attach_without_quorum(honest) {
        let ticket = client.put(b"with a mute node", b"?").unwrap();
        let later = std::time::Instant::now() + std::time::Duration::from_millis(500);
        assert!(client.wait(ticket, later).is_err(), "a mute node's word made a quorum");
    }
    cluster.start_nodes(&[gone]);
    put_some(cluster, 400, 5);
}

/// Its log reads on from the others, later epochs too, and looks whole: at each start it says the same as before.
fn stays_so(cluster: &mut Cluster, victim: usize, reason: &str) {
    for start in 0..2 {
        let leader = cluster.wait_for_leader(0);
        cluster.kill(leader); // The next one leads a later epoch, which the mute node's log names then.
        cluster.start_nodes(&[leader]);
        put_some(cluster, 500 + start, 1);
        assert_eq!(reason_of(cluster, victim), reason);
        cluster.kill(victim);
        cluster.start_nodes(&[victim]);
        assert_eq!(reason_of(cluster, victim), reason, "start {start}");
    }
    counts_for_nothing(cluster, victim);
}

#[test]
fn a_node_on_a_rolled_back_disk_neither_votes_nor_leads() {
    let _alone = crate::one_cluster_at_a_time();
    let (mut cluster, victim) = rolled_back("");
    let reason = reason_of(&cluster, victim);
    println!("mute: {reason}");
    counts_for_nothing(&mut cluster, victim);
    stays_so(&mut cluster, victim, &reason);
}

#[test]
fn a_node_on_a_rolled_back_log_is_mute_after_every_start() {
    let _alone = crate::one_cluster_at_a_time();
    let (mut cluster, victim) = rolled_back("shard-0");
    let reason = reason_of(&cluster, victim);
    println!("mute: {reason}");
    for part in ["had promised epoch", "io_oi peer remove", "io_oi peer add", "io_oi peer promote"] {
        assert!(reason.contains(part), "the operator is not told: {reason}");
    }
    stays_so(&mut cluster, victim, &reason);
}

#[test]
fn a_log_damaged_in_the_middle_is_repaired_from_the_others() {
    let _alone = crate::one_cluster_at_a_time();
    let mut cluster = Cluster::start(Plan::of(3));
    put_some(&cluster, 0, 300);
    cluster.wait_until_equal();
    let leader = cluster.wait_for_leader(0);
    let victim = cluster.places().find(|place| *place != leader).expect("a follower");
    cluster.kill(victim);
    damage(&cluster.dir(victim).join("shard-0"));
    put_some(&cluster, 1_000, 20);
    cluster.start_nodes(&[victim]);
    put_some(&cluster, 2_000, 20);
    cluster.wait_until_equal();
    // It counts again, too: the three survive the loss of another one.
    cluster.kill(leader);
    put_some(&cluster, 3_000, 5);
    damage(&cluster.dir(leader).join("shard-0"));
    cluster.start_nodes(&[leader]);
    put_some(&cluster, 4_000, 5);
    cluster.wait_until_equal();
    // Two of three were repaired: whole again, they elect a leader after a power cut of all.
    let all: Vec<usize> = cluster.places().collect();
    all.iter().for_each(|place| cluster.kill(*place));
    cluster.start_nodes(&all);
    put_some(&cluster, 5_000, 5);
    cluster.wait_until_equal();
}

/// One sector in the first third of the log.
fn damage(dir: &Path) {
    use std::os::unix::fs::FileExt;
    let mut logs: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|ending| ending == "log"));
    logs.sort();
    let file = std::fs::File::options().read(true).write(true).open(&logs[0]).unwrap();
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let offset = (used / 3) as u64 & !4_095;
    assert!(offset > 4_096, "the log is too short to be damaged in the middle");
    file.write_all_at(&[0xA5; 4_096], offset).unwrap();
}

#[test]
fn a_blank_node_joins_is_promoted_and_another_one_leaves() {
    let _alone = crate::one_cluster_at_a_time();
    let mut cluster = Cluster::start(Plan::of(3).with_strangers(1));
    put_some(&cluster, 0, 100);
    let newcomer = 3;
    let leader = cluster.wait_for_leader(0);
    let govern = |cluster: &Cluster, number: u64, change: Change| {
        let leader = cluster.wait_for_leader(0);
        cluster.govern_at(leader, 0, number, change).expect("the leader answers")
    };
    let too_early = govern(&cluster, 1, Change::Promote(cluster.node_id(newcomer)));
    assert!(!too_early.is_accepted(), "a stranger was promoted: {too_early:?}");
    let number = cluster.status(leader, 0).expect("the leader answers").governance + 1;
    let added = govern(&cluster, number, Change::AddLearner(cluster.member(newcomer)));
    assert!(added.is_accepted(), "{added:?}");
    cluster.start_nodes(&[newcomer]);
    put_some(&cluster, 1_000, 20);
    cluster.wait_until_equal();

    // A repeated number changes nothing, whatever it says.
    let repeated = govern(&cluster, number, Change::Remove(cluster.node_id(0)));
    assert!(!matches!(repeated.outcome, io_oi_record::Outcome::Accepted), "number {number} counted twice");
    let promoted = promote(&cluster, newcomer, number + 1);
    put_some(&cluster, 2_000, 5);
    let leaver = (0..3).find(|place| Some(*place) != cluster.leader(0)).expect("a follower");
    let removed = govern(&cluster, promoted + 1, Change::Remove(cluster.node_id(leaver)));
    assert!(removed.is_accepted(), "{removed:?}");
    cluster.kill(leaver);

    // The newcomer counts: three voters are left, and one of the old ones may go.
    let old = (0..3).find(|place| *place != leaver && Some(*place) != cluster.leader(0)).expect("an old one");
    cluster.kill(old);
    put_some(&cluster, 3_000, 5);
    cluster.start_nodes(&[old]);
    cluster.wait_until_equal();
}

/// A learner has to be level first; the number that was used in the end.
fn promote(cluster: &Cluster, newcomer: usize, first: u64) -> u64 {
    cluster.wait_for("the learner is promoted", |cluster| {
        let leader = cluster.leader(0)?;
        let number = cluster.status(leader, 0)?.governance + 1;
        assert!(number >= first);
        let receipt = cluster.govern_at(leader, 0, number, Change::Promote(cluster.node_id(newcomer)))?;
        receipt.is_accepted().then_some(number)
    })
}

#[test]
fn in_strict_mode_commits_wait_for_the_operators_word() {
    let _alone = crate::one_cluster_at_a_time();
    let mut cluster = Cluster::start(Plan::of(3).strict());
    assert_eq!(cluster.wait_for_leader(0), 0, "the first member of the genesis is the first leader");
    put_some(&cluster, 0, 10);
    let mut client = cluster.attach(1);
    assert!(put(&mut client, b"warm", b"up").is_accepted());
    cluster.wait_until_equal();
    cluster.kill(0);
    let ticket = client.put(b"meanwhile", b"waits").unwrap();
    let later = std::time::Instant::now() + std::time::Duration::from_millis(1_500);
    assert!(client.wait(ticket, later).is_err(), "a commit without the appointed leader");
    assert_eq!(cluster.leader(0), None, "somebody stood who was not appointed");
    let mut value = Vec::new();
    assert!(client.get_committed(b"warm", &mut value).unwrap().is_some(), "reads go on");

    let number = cluster.status(1, 0).expect("the node answers").governance + 1;
    let appointment = Change::Appoint(Appointment { shard: ShardId(0), node: cluster.node_id(1) });
    cluster.wait_for("the appointment is taken", |cluster| {
        cluster.govern_at(1, 0, number, appointment.clone());
        cluster.leader(0)
    });
    assert_eq!(cluster.leader(0), Some(1));
    assert!(client.wait(ticket, crate::support::soon()).unwrap().is_accepted(), "what waited is committed");
    cluster.start_nodes(&[0]);
    put_some(&cluster, 100, 5);
    assert_eq!(cluster.leader(0), Some(1), "the old leader stands no more");
    drop(client);
    cluster.wait_until_equal();

    // Under a living leader the operator's word is a planned hand-over.
    let back = Change::Appoint(Appointment { shard: ShardId(0), node: cluster.node_id(2) });
    cluster.wait_for("the hand-over", |cluster| {
        let number = cluster.status(1, 0)?.governance + 1;
        if cluster.leader(0) != Some(2) {
            cluster.govern_at(1, 0, number, back.clone());
        }
        cluster.leader(0).filter(|leader| *leader == 2)
    });
    put_some(&cluster, 200, 5);
}

#[test]
fn a_governance_record_that_no_operator_signed_is_refused() {
    let _alone = crate::one_cluster_at_a_time();
    let mut cluster = Cluster::start(Plan::of(3));
    put_some(&cluster, 0, 1);
    cluster.operator = io_oi_record::Signer::from_secret(&crate::cluster::random());
    let leader = cluster.wait_for_leader(0);
    let receipt = cluster.govern_at(leader, 0, 1, Change::Remove(cluster.node_id(1 - leader.min(1))));
    assert!(
        !receipt.is_some_and(|receipt| receipt.is_accepted()),
        "a stranger governs ({:?} would be an answer)",
        RefusalCode::Malformed
    );
    assert_eq!(cluster.status(leader, 0).expect("the leader answers").governance, 0);
    put_some(&cluster, 10, 1);
}
