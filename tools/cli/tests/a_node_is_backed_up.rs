//! `io_oi backup` and `io_oi restore`: a copy that proves itself, the node that it makes, and what is no backup.

mod support;

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use support::{Answer, TestNode, accepted, io_oi, value_of};

fn command(arguments: &[&str], paths: &[&Path]) -> Answer {
    Answer(io_oi().args(arguments).args(paths).arg("--json").output().unwrap())
}

/// A backup of the node, in its own directory's neighbourhood.
fn backup(node: &TestNode, to: &Path) -> Answer {
    Answer(io_oi().arg("backup").arg(to).arg("--json").arg("--socket").arg(node.socket()).output().unwrap())
}

fn key(number: u32) -> String {
    format!("key/{number:06}")
}

/// A node with that many keys, each with its own value.
fn filled(keys: u32) -> TestNode {
    let node = TestNode::start();
    let mut client = node.client();
    let mut tickets = Vec::new();
    for number in 0..keys {
        let value = format!("value {number}").repeat(20);
        loop {
            match client.put(key(number).as_bytes(), value.as_bytes()) {
                Ok(ticket) => break tickets.push(ticket),
                Err(_) => accepted(&mut client, tickets.pop().unwrap()),
            };
        }
    }
    for ticket in tickets {
        accepted(&mut client, ticket);
    }
    node
}

#[test]
fn the_only_node_comes_back_from_its_backup_and_its_key() {
    let node = filled(2000);
    let place = tempfile::tempdir().unwrap();
    let (copy, safe) = (place.path().join("copy"), place.path().join("node.key"));
    let dir = tempfile::tempdir().unwrap();
    let is_empty = || std::fs::read_dir(dir.path()).unwrap().next().is_none();
    std::fs::copy(node.dir.path().join("node.key"), &safe).unwrap();
    // Others go on writing meanwhile.
    let done = AtomicBool::new(false);
    let taken = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = node.client();
            while !done.load(Ordering::Relaxed) {
                let ticket = client.put(b"busy", b"1").unwrap();
                accepted(&mut client, ticket);
            }
        });
        let taken = backup(&node, &copy);
        done.store(true, Ordering::Relaxed);
        taken.expect(0).json()
    });
    assert!(taken["shards"][0]["sequence"].as_u64().unwrap() >= 2000, "{taken}");
    assert_eq!(command(&["restore", "--check"], &[&copy]).expect(0).json()["shards"], taken["shards"]);
    backup(&node, &copy).expect(1);

    let keyless = command(&["restore"], &[&copy, dir.path()]).expect(1);
    assert!(keyless.err().contains("key file"), "{}", keyless.err());
    let strange = place.path().join("strange.key");
    Answer(io_oi().args(["genesis", "key"]).arg(&strange).output().unwrap()).expect(0);
    let foreign = command(&["restore", "--own-key"], &[&strange, &copy, dir.path()]).expect(1);
    assert!(foreign.err().contains("key"), "{}", foreign.err());
    assert!(is_empty());
    let beside = format!("{}.unfinished", dir.path().display());
    assert!(!Path::new(&beside).exists(), "no copy of a key is left behind");

    let epoch = |node: &TestNode| {
        node.ask(&["leader", "show", "--json"]).expect(0).json()["shards"][0]["epoch"].as_u64().unwrap()
    };
    let before = epoch(&node);
    drop(node);
    let restored = command(&["restore", "--own-key"], &[&safe, &copy, dir.path()]).expect(0).json();
    assert_eq!(restored["node"], taken["node"]);
    let again = TestNode::start_in(dir, &[]);
    let mut client = again.client();
    for number in (0..2000).step_by(7) {
        let value = value_of(&mut client, key(number).as_bytes()).unwrap();
        assert_eq!(value, format!("value {number}").repeat(20).into_bytes());
    }
    let ticket = client.put(b"after", b"it goes on").unwrap();
    accepted(&mut client, ticket);
    assert!(epoch(&again) > before + (1 << 24), "in no epoch that the lost node may have known");
    let proof = place.path().join("after.proof");
    again.ask(&["prove", "after", "--out", proof.to_str().unwrap()]).expect(0);
}

#[test]
fn a_backup_that_was_changed_or_cut_makes_no_node() {
    let node = filled(300);
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("copy");
    let taken = backup(&node, &copy).expect(0).json();
    let log = copy.join("shard-0/wal-00000000.log");
    let whole = std::fs::read(&log).unwrap();
    let end = 4096 + taken["shards"][0]["bytes"].as_u64().unwrap() as usize;
    for at in (4096..end).step_by(end / 9) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&log, changed).unwrap();
        let refused = command(&["restore", "--check"], &[&copy]);
        // A padding byte between two batches means nothing.
        let is_padding = whole[at - 16..at + 16].iter().all(|byte| *byte == 0);
        assert!(
            is_padding || refused.exit_code() == 7,
            "byte {at}: {} {}",
            refused.exit_code(),
            refused.err()
        );
    }
    std::fs::write(&log, &whole[..end / 2 / 4096 * 4096]).unwrap();
    assert_ne!(command(&["restore", "--check"], &[&copy]).exit_code(), 0);
    std::fs::write(&log, &whole).unwrap();
    command(&["restore", "--check"], &[&copy]).expect(0);

    // The genesis of another cluster proves nothing of this one.
    let other = filled(1);
    let genesis = std::fs::read(copy.join("genesis")).unwrap();
    std::fs::copy(other.dir.path().join("genesis"), copy.join("genesis")).unwrap();
    let foreign = command(&["restore", "--check"], &[&copy]).expect(1);
    assert!(foreign.err().contains("another cluster"), "{}", foreign.err());
    std::fs::write(copy.join("genesis"), genesis).unwrap();
    std::fs::remove_file(copy.join("backup.toml")).unwrap();
    assert!(command(&["restore", "--check"], &[&copy]).expect(1).err().contains("did not end"));
}

#[test]
fn a_backup_that_is_killed_leaves_the_node_and_the_next_one_alone() {
    let node = filled(2000);
    let place = tempfile::tempdir().unwrap();
    for kill_after_ms in [1, 5, 20, 60] {
        let copy = place.path().join("copy");
        let mut child = begin_backup(&node, &copy);
        std::thread::sleep(std::time::Duration::from_millis(kill_after_ms));
        let _ = child.kill();
        child.wait().unwrap();
        if copy.exists() {
            command(&["restore", "--check"], &[&copy]).expect(0);
            std::fs::remove_dir_all(&copy).unwrap();
        }
        backup(&node, &copy).expect(0);
        command(&["restore", "--check"], &[&copy]).expect(0);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "nothing unfinished is left");
        std::fs::remove_dir_all(&copy).unwrap();
    }
    node.ask(&["put", "key", "value"]).expect(0);
}

fn begin_backup(node: &TestNode, to: &Path) -> Child {
    let mut command = io_oi();
    command.arg("backup").arg(to).arg("--socket").arg(node.socket());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
