//! The ordinary life of a node: attach, write, read, stop, start again.

use std::sync::atomic::{AtomicBool, Ordering};

use io_oi_client::Expected;
use io_oi_record::{Outcome, RefusalCode, Sequence, ShardId, Stage};

use crate::support::{NodeProcess, attach, counter, eventually, get, put, small_config, soon};

#[test]
fn a_put_is_visible_at_once_and_committed_later_and_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &[]);
    let mut client = node.attach();
    let receipt = put(&mut client, b"ord/1", b"buy 7");
    assert_eq!((receipt.outcome, receipt.stage), (Outcome::Accepted, Stage::Committed));
    assert_eq!(get(&mut client, b"ord/1").as_deref(), Some(&b"buy 7"[..]));
    let large = vec![7u8; 60_000];
    put(&mut client, b"large", &large);
    let ticket = client.delete(b"ord/1").unwrap();
    assert!(client.wait(ticket, soon()).unwrap().is_accepted());
    assert_eq!(get(&mut client, b"ord/1"), None);
    put(&mut client, b"ord/2", b"");
    drop(client);
    node.stop();

    let node = NodeProcess::start(dir.path(), &[]);
    let mut client = node.attach();
    assert_eq!(get(&mut client, b"ord/1"), None);
    assert_eq!(get(&mut client, b"ord/2").as_deref(), Some(&b""[..]));
    assert_eq!(get(&mut client, b"large"), Some(large));
    node.stop();
}

#[test]
fn a_compare_and_set_sees_the_version_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &[]);
    let mut client = node.attach();
    let mut set = |expected, value: &[u8]| {
        let ticket = client.compare_and_set(b"k", expected, value).unwrap();
        client.wait(ticket, soon()).unwrap()
    };
    let first = set(Expected::Absent, b"1");
    assert!(first.is_accepted());
    assert_eq!(set(Expected::Absent, b"2").outcome, Outcome::Refused(RefusalCode::PreconditionFailed));
    assert!(set(Expected::Sequence(first.sequence), b"3").is_accepted());
    let stale = set(Expected::Sequence(first.sequence), b"4");
    assert_eq!(stale.outcome, Outcome::Refused(RefusalCode::PreconditionFailed));
    assert!(stale.sequence > Sequence(0), "a refusal by precondition has its place in the order, too");
    assert_eq!(get(&mut client, b"k").as_deref(), Some(&b"3"[..]));
    node.stop();
}

#[test]
fn several_shards_share_the_keys_and_survive_together() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["shards=3", "idle=park"];
    let node = NodeProcess::start(dir.path(), &settings);
    let mut client = node.attach();
    assert_eq!(client.shards(), 3);
    let tickets: Vec<_> = (0..300u32)
        .map(|key| client.put(format!("k{key}").as_bytes(), &key.to_le_bytes()).unwrap())
        .collect();
    for ticket in tickets {
        assert!(client.wait(ticket, soon()).unwrap().is_accepted());
    }
    drop(client);
    node.kill();
    let node = NodeProcess::start(dir.path(), &settings);
    let mut client = node.attach();
    for key in 0..300u32 {
        assert_eq!(get(&mut client, format!("k{key}").as_bytes()), Some(key.to_le_bytes().to_vec()));
    }
    node.stop();
}

#[test]
fn run_ends_when_its_flag_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = small_config(dir.path(), "idle=park\ncores=[0]");
    let socket = config.socket_path();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let node = scope.spawn(|| io_oi_node::run(config, &stop));
        let mut client = attach(&socket);
        assert!(put(&mut client, b"k", b"v").is_accepted());
        stop.store(true, Ordering::Release);
        node.join().unwrap().unwrap();
    });
    assert!(!socket.exists());
}

#[test]
fn a_parked_shard_goes_on_beating_and_wakes_for_a_put() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &["idle=park", "park_after_us=100"]);
    let mut client = node.attach();
    assert!(put(&mut client, b"k", b"0").is_accepted());
    for count in 1..5u64 {
        let parks = counter(&client, "parks");
        eventually("the shard parks, and its board goes on", || {
            counter(&client, "parks") > parks + 1 && client.is_parked(ShardId(0))
        });
        assert!(client.staleness().is_some_and(|age| age.as_secs() < 10), "a parked shard beats");
        assert!(put(&mut client, b"k", &count.to_le_bytes()).is_accepted());
    }
    node.stop();
}
