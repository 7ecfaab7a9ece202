//! A clean stop answers what stands in the rings, flushes, and leaves a log that was closed in order.

use crate::support::{NodeProcess, eventually, get};

#[test]
fn what_was_put_before_a_stop_is_there_after_it() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5u64 {
        let node = NodeProcess::start(dir.path(), &[]);
        let mut client = node.attach();
        for key in 0..2_000u64 {
            while client.put(&key.to_le_bytes(), &(round + key).to_le_bytes()).is_err() {
                client.poll(|_, _| {});
            }
        }
        node.stop();
        drop(client); // It never got the chance to submit anything again.
        assert!(!dir.path().join("io_oi.sock").exists(), "the socket goes with the node");
        let node = NodeProcess::start(dir.path(), &[]);
        let mut client = node.attach();
        for key in 0..2_000u64 {
            let value = get(&mut client, &key.to_le_bytes());
            assert_eq!(value, Some((round + key).to_le_bytes().to_vec()), "round {round}, key {key}");
        }
        node.stop();
    }
}

#[test]
fn clients_notice_a_stop_and_come_back_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &[]);
    let mut client = node.attach();
    let before = client.incarnation();
    node.stop();
    let ticket = client.put(b"k", b"while away");
    let node = NodeProcess::start(dir.path(), &[]);
    eventually("the client is back", || {
        client.tend();
        client.is_attached() && client.incarnation() != before
    });
    if let Ok(ticket) = ticket {
        assert!(client.wait(ticket, crate::support::soon()).unwrap().is_accepted());
        assert_eq!(get(&mut client, b"k").as_deref(), Some(&b"while away"[..]));
    }
    node.stop();
}
