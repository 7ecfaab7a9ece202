//! A hot tier that is a little too small for its log grows at the start; one that is far too small is named.

use crate::support::{NodeProcess, get, put};

#[test]
fn a_table_a_little_too_small_is_enlarged_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &["hot.entries_max=4_000"]);
    let mut client = node.attach();
    for key in 0..4_000u32 {
        assert!(put(&mut client, &key.to_le_bytes(), b"v").is_accepted());
    }
    drop(client);
    node.stop();
    let node = NodeProcess::start(dir.path(), &["hot.entries_max=2_000"]);
    let mut client = node.attach();
    for key in 0..4_000u32 {
        assert_eq!(get(&mut client, &key.to_le_bytes()).as_deref(), Some(&b"v"[..]), "key {key}");
    }
    drop(client);
    node.stop();
    let refusal = NodeProcess::try_start(dir.path(), &["hot.entries_max=200"]).err().expect("it starts");
    assert!(refusal.contains("more than the hot tier") && refusal.contains("hot.entries_max"), "{refusal}");
    NodeProcess::start(dir.path(), &["hot.entries_max=4_000"]).stop();
}

#[test]
fn an_area_for_large_values_a_little_too_small_is_enlarged_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let value = vec![3; 8 * 1024];
    let node = NodeProcess::start(dir.path(), &[]);
    let mut client = node.attach();
    for key in 0..200u32 {
        assert!(put(&mut client, &key.to_le_bytes(), &value).is_accepted());
    }
    drop(client);
    node.stop();
    let node = NodeProcess::start(dir.path(), &["hot.large_bytes_max=1_400_000"]);
    let mut client = node.attach();
    for key in 0..200u32 {
        assert_eq!(get(&mut client, &key.to_le_bytes()).as_ref(), Some(&value), "key {key}");
    }
    drop(client);
    node.stop();
    let refusal =
        NodeProcess::try_start(dir.path(), &["hot.large_bytes_max=65_536"]).err().expect("it starts");
    assert!(refusal.contains("hot.large_bytes_max"), "{refusal}");
}
