//! Operator errors: each gets a message that says what, where, and what to do, and a status that says no.

use std::os::unix::fs::PermissionsExt;

use crate::support::{NodeProcess, put};

#[test]
fn a_second_node_on_a_directory_is_told_who_is_there_and_disturbs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &[]);
    let mut client = node.attach();
    let refusal = NodeProcess::try_start(dir.path(), &[]).err().unwrap();
    assert!(refusal.contains(&format!("process {}", node.pid())), "{refusal}");
    assert!(put(&mut client, b"k", b"v").is_accepted());
    node.stop();
}

#[test]
fn a_socket_of_another_node_is_not_taken_away() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = NodeProcess::start(one.path(), &[]);
    let mut client = node.attach();
    let socket = format!("socket={}", node.socket.display());
    let refusal = NodeProcess::try_start(other.path(), &[&socket]).err().unwrap();
    assert!(refusal.contains("cannot listen"), "{refusal}");
    assert!(put(&mut client, b"k", b"v").is_accepted());
    assert!(node.socket.exists());
    node.stop();
}

#[test]
fn what_stands_in_the_way_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = |settings: &[&str]| NodeProcess::try_start(dir.path(), settings).err().expect("it starts");
    let long = format!("socket=/tmp/{}", "x".repeat(110));
    assert!(refusal(&[&long]).contains("at most 107"));
    let file = dir.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(refusal(&[&format!("socket={}", file.display())]).contains("not a socket"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    assert!(refusal(&["cores=[4000]"]).contains("4000"));
    NodeProcess::start(dir.path(), &[]).stop();
    assert!(refusal(&["shards=2"]).contains("founded with 1"));
    std::fs::set_permissions(dir.path().join("node.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refusal(&[]).contains("chmod 600"));
}

#[test]
fn a_hot_tier_that_became_too_small_is_refused_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &[]);
    let mut client = node.attach();
    for key in 0..2_000u32 {
        let ticket = client.put(&key.to_le_bytes(), b"v").unwrap();
        if key % 100 == 99 {
            assert!(client.wait(ticket, crate::support::soon()).unwrap().is_accepted());
        }
    }
    node.stop();
    let refusal = NodeProcess::try_start(dir.path(), &["hot.entries_max=10"]).err().unwrap();
    assert!(refusal.contains("hot.entries_max"), "{refusal}");
    let node = NodeProcess::start(dir.path(), &[]);
    let mut client = node.attach();
    assert!(crate::support::get(&mut client, &1_999u32.to_le_bytes()).is_some());
    node.stop();
}
