//! Strict control: nodes founded by `genesis new`, run by `node run`, led by whom the operator appoints, alive or not.

mod support;

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use io_oi_client::{Client, LinearizableError, Options};
use serde_json::Value;
use support::{Answer, io_oi, soon};

/// Three nodes of one strict genesis.
struct Cluster {
    place: tempfile::TempDir,
    children: Vec<Option<Child>>,
}

const NAMES: [&str; 3] = ["n1", "n2", "n3"];
const SETTINGS: [&str; 4] =
    ["hot.entries_max=20000", "hot.large_bytes_max=16777216", "wal.segment_bytes=8388608", "idle=park"];

impl Cluster {
    fn found() -> Self {
        let place = tempfile::tempdir().unwrap();
        // Held until all are chosen, so that no two are the same.
        let held: Vec<UdpSocket> = NAMES.iter().map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let members: Vec<String> = NAMES
            .iter()
            .zip(&held)
            .map(|(name, socket)| format!("{name}@{}", socket.local_addr().unwrap()))
            .collect();
        let mut command = io_oi();
        command.args(["genesis", "new", "--keys-in", "nodes"]).args(&members).current_dir(place.path());
        Answer(command.output().unwrap()).expect(0);
        drop(held);
        let mut cluster = Self { place, children: Vec::new() };
        let children: Vec<Option<Child>> = NAMES.iter().map(|name| Some(cluster.run(name))).collect();
        cluster.children = children;
        cluster
    }

    fn home(&self, name: &str) -> PathBuf {
        self.place.path().join("nodes").join(name)
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.home(name).join("io_oi.sock")
    }

    fn run(&self, name: &str) -> Child {
        let log = std::fs::File::create(self.home(name).join("log")).unwrap();
        let mut command = io_oi();
        command.args(["node", "run", "--json", "--with-parent", "--dir"]).arg(self.home(name));
        for setting in SETTINGS {
            command.args(["--set", setting]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(
            line.contains("ready"),
            "{name}: {}",
            std::fs::read_to_string(self.home(name).join("log")).unwrap()
        );
        child
    }

    fn kill(&mut self, name: &str) {
        let index = NAMES.iter().position(|other| *other == name).unwrap();
        let mut child = self.children[index].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn start(&mut self, name: &str) {
        let index = NAMES.iter().position(|other| *other == name).unwrap();
        self.children[index] = Some(self.run(name));
    }

    fn ask(&self, name: &str, arguments: &[&str]) -> Answer {
        let mut command = io_oi();
        command.args(arguments).arg("--socket").arg(self.socket(name)).current_dir(self.place.path());
        Answer(command.output().unwrap())
    }

    /// The name of the leader as one node sees it.
    fn leader_seen_by(&self, name: &str) -> Option<String> {
        let shown = self.ask(name, &["leader", "show", "--json"]).expect(0).json();
        let key = shown["shards"][0]["leader"].as_str()?.to_owned();
        let peers = self.ask(name, &["peer", "list", "--json"]).expect(0).json();
        let of_key = |member: &&Value| member["node"] == key.as_str();
        peers["members"].as_array().unwrap().iter().find(of_key)?["name"].as_str().map(str::to_owned)
    }

    fn wait_for_leader(&self, name: &str, wanted: Option<&str>) {
        let end = soon();
        loop {
            let seen = self.leader_seen_by(name);
            if seen.as_deref() == wanted {
                return;
            }
            assert!(Instant::now() < end, "{name} sees {seen:?} leading, not {wanted:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn attach(socket: &Path) -> Client {
    let options = Options { patience: support::PATIENCE, reattach: support::PATIENCE, ..Options::default() };
    Client::attach_with(socket, options).unwrap()
}

#[test]
fn a_dead_leader_is_followed_by_whom_the_operator_appoints() {
    let mut cluster = Cluster::found();
    cluster.wait_for_leader("n2", Some("n1"));
    cluster.ask("n2", &["put", "key", "first"]).expect(0);
    cluster.kill("n1");
    cluster.wait_for_leader("n2", None);
    cluster.wait_for_leader("n3", None);
    let show = cluster.ask("n2", &["leader", "show"]).expect(0).out();
    assert!(show.contains("nobody") && show.contains("leader appoint"), "{show}");
    // Nobody else may stand, and the appointment is given to the node that it names.
    let elsewhere =
        cluster.ask("n2", &["leader", "appoint", "n3", "--operator-key", "operator.key"]).expect(1);
    assert!(elsewhere.err().contains("--socket"), "{}", elsewhere.err());
    cluster
        .ask("n3", &["leader", "appoint", "n3", "--operator-key", "operator.key", "--timeout", "30"])
        .expect(0);
    cluster.wait_for_leader("n2", Some("n3"));
    cluster.ask("n2", &["put", "key", "second", "--timeout", "30"]).expect(0);
    assert_eq!(cluster.ask("n3", &["get", "key", "--committed"]).expect(0).out(), "second\n");
    // The old one comes back as a follower.
    cluster.start("n1");
    cluster.wait_for_leader("n1", Some("n3"));
    let end = soon();
    while cluster.ask("n1", &["get", "key", "--committed"]).out() != "second\n" {
        assert!(Instant::now() < end, "n1 does not catch up");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn linearizable_reads_are_answered_at_the_leader_alone() {
    let cluster = Cluster::found();
    cluster.wait_for_leader("n1", Some("n1"));
    let mut clients: Vec<Client> = NAMES.iter().map(|name| attach(&cluster.socket(name))).collect();
    let mut value = Vec::new();
    for round in 0..20u64 {
        // Acknowledged at a follower: from then on the leader's box must not show anything older.
        let ticket = clients[1 + round as usize % 2].put(b"key", &round.to_le_bytes()).unwrap();
        support::accepted(&mut clients[1 + round as usize % 2], ticket);
        let end = soon();
        let found = loop {
            match clients[0].get_linearizable(b"key", &mut value) {
                Ok(found) => break found,
                // A leader that could not be heard for a moment has no lease for that long.
                Err(LinearizableError::NoLease { .. }) => {
                    assert!(Instant::now() < end, "the leader has no lease")
                }
                Err(error) => panic!("{error}"),
            }
        };
        assert!(found.is_some());
        assert_eq!(value, round.to_le_bytes(), "an acknowledged write is missing");
        for follower in &mut clients[1..] {
            let refused = follower.get_linearizable(b"key", &mut value);
            assert!(matches!(refused, Err(LinearizableError::NoLease { .. })), "{refused:?}");
        }
    }
}
