//! A client is killed while it writes: what it left is taken in whole frames, its lane is freed, others go on.

use std::process::{Command, Stdio};
use std::time::Duration;

use io_oi_client::Client;

use crate::support::{NodeProcess, Random, attach, counter, eventually, put};

const SOCKET_VARIABLE: &str = "CLIENT_UNDER_TEST_SOCKET";
const KEYS: u64 = 500;

/// Every value says which key and version it belongs to, all the way through.
fn value_of(key: u64, version: u64, bytes: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(bytes + 16);
    while value.len() < bytes {
        value.extend_from_slice(&key.to_le_bytes());
        value.extend_from_slice(&version.to_le_bytes());
    }
    value
}

#[test]
fn ten_clients_killed_while_putting_leave_whole_values_and_a_free_lane() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &[]);
    let mut watcher = node.attach();
    let mut random = Random::seeded();
    for round in 0..10u64 {
        let mut putting = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_client_dies_inside_a_put::put_for_ever", "--nocapture"])
            .env(SOCKET_VARIABLE, &node.socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let before = counter(&watcher, "accepted");
        eventually("the client puts", || counter(&watcher, "accepted") > before + 2);
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        putting.kill().unwrap();
        putting.wait().unwrap();
        assert!(put(&mut watcher, b"watcher", &round.to_le_bytes()).is_accepted());
        eventually("its lane is free", || counter(&watcher, "lanes_now") == 1);
    }
    let mut seen = 0;
    let mut value = Vec::new();
    for key in 0..KEYS {
        if watcher.get(&key.to_le_bytes(), &mut value).unwrap().is_some() {
            let version = u64::from_le_bytes(value[8..16].try_into().unwrap());
            assert_eq!(value, value_of(key, version, value.len()), "key {key} holds a mixture");
            seen += 1;
        }
    }
    assert!(seen > 0, "no client got as far as a put");
    assert_eq!(counter(&watcher, "lanes_broken"), 0);
    node.stop();
}

/// The client that is killed; run by itself it does nothing.
#[test]
fn put_for_ever() {
    let Ok(socket) = std::env::var(SOCKET_VARIABLE) else { return };
    let mut client: Client = attach(socket.as_ref());
    for version in 0u64.. {
        for key in 0..KEYS {
            let bytes = 16 << (version % 9);
            while client.put(&key.to_le_bytes(), &value_of(key, version, bytes)).is_err() {
                client.poll(|_, _| {});
            }
        }
    }
}
