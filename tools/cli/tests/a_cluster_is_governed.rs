//! `dev` with three nodes, and what operators do with a cluster: look, hand over, add, remove, prove.

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Answer, io_oi, soon, wait_for};

/// A `dev` of three nodes that has said that it is ready.
struct Dev {
    place: tempfile::TempDir,
    child: Child,
    _out: BufReader<ChildStdout>,
    ready: Value,
}

/// Small nodes in a temporary place of the test's own.
fn dev(place: &Path) -> Command {
    let mut command = io_oi();
    command.args(["dev", "--json"]).env("XDG_RUNTIME_DIR", place).env("TMPDIR", place);
    command.env("IO_OI_HOT_ENTRIES_MAX", "20000").env("IO_OI_WAL_SEGMENT_BYTES", "8388608");
    command
}

impl Dev {
    fn start(more: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(place.path().join("dev.log")).unwrap();
        let mut command = dev(place.path());
        command.arg("--no-demo").args(more).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let said = std::fs::read_to_string(place.path().join("dev.log")).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready: {said}"));
        Self { place, child, _out: out, ready }
    }

    fn ask(&self, arguments: &[&str]) -> Answer {
        let mut command = io_oi();
        command.args(arguments).env("XDG_RUNTIME_DIR", self.place.path()).current_dir(self.place.path());
        Answer(command.output().unwrap())
    }

    fn nodes(&self) -> &Vec<Value> {
        self.ready["nodes"].as_array().unwrap()
    }

    fn genesis(&self) -> PathBuf {
        Path::new(self.ready["dir"].as_str().unwrap()).join("cluster.genesis")
    }

    /// The key of the node with this name, as every node knows it.
    fn key_of(&self, name: &str) -> String {
        let peers = self.ask(&["peer", "list", "--json"]).expect(0).json();
        let members = peers["members"].as_array().unwrap();
        members.iter().find(|member| member["name"] == name).unwrap()["node"].as_str().unwrap().to_owned()
    }

    /// Who leads shard 0, by everybody's word.
    fn leader(&self) -> String {
        let end = soon();
        loop {
            let show = |node: &Value| {
                let socket = node["socket"].as_str().unwrap();
                let answer = self.ask(&["leader", "show", "--json", "--socket", socket]);
                (answer.exit_code() == 0)
                    .then(|| answer.json()["shards"][0]["leader"].as_str().map(str::to_owned))?
            };
            let seen: Vec<Option<String>> = self.nodes().iter().map(show).collect();
            if let Some(leader) = &seen[0]
                && seen.iter().all(|other| other.as_ref() == Some(leader))
            {
                return leader.clone();
            }
            assert!(Instant::now() < end, "the nodes do not agree who leads: {seen:?}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn stop(mut self) {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), Signal::INT).unwrap();
        assert_eq!(wait_for(&mut self.child), Some(0));
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Its nodes end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_demonstration_of_a_cluster_holds_every_claim_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let answer = Answer(dev(place.path()).args(["--seconds", "0"]).output().unwrap()).expect(0);
    let events: Vec<Value> = answer.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let story =
        ["ready", "write", "compare-and-set", "other-process", "figures", "kill-the-leader", "stopped"];
    assert_eq!(names, story);
    assert_ne!(events[5]["leader_before"], events[5]["leader_after"], "{}", events[5]);
    let left = std::fs::read_dir(place.path()).unwrap().flatten();
    assert_eq!(left.filter(|entry| entry.file_name().to_string_lossy().starts_with("io_oi-dev")).count(), 0);
}

#[test]
fn the_lead_is_handed_over_and_the_decision_is_kept() {
    let dev = Dev::start(&[]);
    let before = dev.leader();
    let target = ["n1", "n2", "n3"].into_iter().find(|name| dev.key_of(name) != before).unwrap();
    let said = dev.ask(&["leader", "transfer", target, "--json"]).expect(0).json();
    assert_eq!((&said["number"], &said["shard"]), (&1.into(), &0.into()), "{said}");
    assert_eq!(dev.leader(), dev.key_of(target));
    let show = dev.ask(&["leader", "show"]).expect(0).out();
    assert!(show.contains(target) && show.contains("competitive"), "{show}");
    let operator_key = PathBuf::from(dev.ready["operator_key"].as_str().unwrap());
    assert!(
        operator_key.with_file_name("operator.key.decisions").is_dir(),
        "a decision is kept beside its key"
    );
    dev.ask(&["put", "key", "after"]).expect(0);
    dev.stop();
}

#[test]
fn members_come_and_go_by_decision() {
    let dev = Dev::start(&[]);
    let key = dev.ask(&["genesis", "key", "n4.key"]).expect(0).out().trim().to_owned();
    let member = format!("n4={key}@127.0.0.1:9");
    dev.ask(&["peer", "add", &member]).expect(0);
    let list = dev.ask(&["peer", "list"]).expect(0).out();
    assert!(list.lines().any(|line| line.starts_with("n4") && line.contains("learner")), "{list}");
    let early = dev.ask(&["peer", "promote", "n4"]).expect(4);
    assert!(early.err().contains("level"), "a learner that holds nothing is not promoted: {}", early.err());
    dev.ask(&["peer", "remove", &key[..16]]).expect(0);
    assert!(!dev.ask(&["peer", "list"]).expect(0).out().contains("n4"));
    dev.ask(&["peer", "remove", "n9"]).expect(3);
    let twice = format!("n1={key}@127.0.0.1:9");
    dev.ask(&["peer", "add", &twice]).expect(4);
    dev.stop();
}

#[test]
fn a_node_made_of_a_backup_joins_catches_up_and_votes() {
    let dev = Dev::start(&[]);
    for number in 0..40 {
        dev.ask(&["put", &format!("before/{number}"), "old"]).expect(0);
    }
    let source = dev.nodes()[1]["socket"].as_str().unwrap();
    let taken = dev.ask(&["backup", "copy", "--json", "--socket", source]).expect(0).json();
    assert!(taken["shards"][0]["sequence"].as_u64().unwrap() >= 40, "{taken}");
    for number in 0..40 {
        dev.ask(&["put", &format!("after/{number}"), "new"]).expect(0);
    }
    let made = dev.ask(&["restore", "copy", "n4", "--json"]).expect(0).json();
    let (key, port) = (made["node"].as_str().unwrap(), io_oi_node::free_loopback_ports(1, 1).unwrap()[0]);
    assert_ne!(made["node"], taken["node"], "a key of its own");
    let address = format!("127.0.0.1:{port}");
    dev.ask(&["peer", "add", &format!("n4={key}@{address}")]).expect(0);
    let mut run = dev_node(dev.place.path());
    run.args(["--dir", "n4", "--set", &format!("listen={address}")]).current_dir(dev.place.path());
    let mut child = Joined(run.spawn().unwrap());
    let socket = dev.place.path().join("n4/io_oi.sock");
    let joined = |arguments: &[&str]| dev.ask(&[arguments, &["--socket", socket.to_str().unwrap()]].concat());
    let end = soon();
    while joined(&["get", "after/39", "--committed"]).exit_code() != 0 {
        assert!(child.0.try_wait().unwrap().is_none() && Instant::now() < end, "n4 does not catch up");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    dev.ask(&["peer", "promote", "n4"]).expect(0);
    assert_eq!(joined(&["get", "before/0", "--raw"]).expect(0).out(), "old");
    let said = joined(&["put", "from/n4", "1", "--json"]).expect(0).json();
    dev.ask(&["put", "last", "1"]).expect(0);
    assert_eq!(said["durability"], "disk-quorum", "{said}");
    // The same hash over everything, at the same place, which lies behind the last write.
    let state = |status: Value| {
        let counter = |name: &str| status["shard"][0]["counters"][name].as_u64().unwrap();
        (counter("state_hash_sequence"), counter("state_hash"))
    };
    let sequence = said["sequence"].as_u64().unwrap();
    let end = soon();
    loop {
        let here = state(joined(&["status", "--json"]).json());
        let there = state(dev.ask(&["status", "--json"]).json());
        if here == there && here.0 > sequence {
            break;
        }
        assert!(Instant::now() < end, "{here:?} and {there:?}");
    }
    drop(child);
    dev.stop();
}

/// `node run`, small.
fn dev_node(place: &Path) -> Command {
    let mut command = io_oi();
    command.args(["node", "run", "--json"]).env("XDG_RUNTIME_DIR", place);
    command.env("IO_OI_HOT_ENTRIES_MAX", "20000").env("IO_OI_WAL_SEGMENT_BYTES", "8388608");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Ends with the test.
struct Joined(Child);

impl Drop for Joined {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nobody_but_an_operator_decides() {
    let dev = Dev::start(&[]);
    dev.ask(&["genesis", "key", "stranger.key"]).expect(0);
    let refused = dev.ask(&["peer", "remove", "n1", "--operator-key", "stranger.key"]).expect(4);
    assert!(refused.err().contains("operator"), "{}", refused.err());
    let socket = dev.ready["socket"].as_str().unwrap();
    let moved = dev.place.path().join("elsewhere.sock");
    std::os::unix::fs::symlink(socket, &moved).unwrap();
    let keyless = dev.ask(&["peer", "remove", "n1", "--socket", moved.to_str().unwrap()]).expect(2);
    assert!(keyless.err().contains("--operator-key"), "{}", keyless.err());
    dev.ask(&["leader", "transfer", "n1", "--shard", "7"]).expect(2);
    dev.stop();
}

#[test]
fn a_committed_value_is_proven_to_a_stranger_and_no_bit_of_it_can_be_changed() {
    let dev = Dev::start(&[]);
    dev.ask(&["put", "risk/limit", "100"]).expect(0);
    dev.ask(&["put", "other", "x"]).expect(0);
    let proven = dev.ask(&["prove", "risk/limit", "--out", "limit.proof", "--json"]).expect(0).json();
    assert_eq!((&proven["key"], &proven["value"]), (&"risk/limit".into(), &"100".into()));
    dev.ask(&["prove", "nowhere"]).expect(3);
    let genesis = dev.place.path().join("cluster.genesis");
    std::fs::copy(dev.genesis(), &genesis).unwrap();
    let place = dev.place.path().to_owned();
    let verify = |bytes: &[u8]| {
        std::fs::write(place.join("a.proof"), bytes).unwrap();
        let mut command = io_oi();
        command.args(["verify", "a.proof", "--json", "--genesis", "cluster.genesis"]).current_dir(&place);
        Answer(command.output().unwrap())
    };
    let bytes = std::fs::read(place.join("limit.proof")).unwrap();
    let said = verify(&bytes).expect(0).json();
    assert_eq!((&said["proven"], &said["value"]), (&true.into(), &"100".into()));
    assert!(said["voters"].as_array().unwrap().len() >= 2, "a quorum of three: {said}");
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert_eq!(verify(&changed).exit_code(), 7, "a changed bit at {at} was let through");
    }
    verify(&bytes[..bytes.len() - 1]).expect(7);
    let other = Dev::start(&[]);
    std::fs::copy(other.genesis(), &genesis).unwrap();
    let foreign = verify(&bytes).expect(7);
    assert!(foreign.err().contains("cluster"), "{}", foreign.err());
    other.stop();
    dev.stop();
}

#[test]
fn a_killed_node_is_started_again_and_nothing_is_lost() {
    let dev = Dev::start(&[]);
    dev.ask(&["put", "key", "before"]).expect(0);
    let before = dev.leader();
    let name = ["n1", "n2", "n3"].into_iter().find(|name| dev.key_of(name) == before).unwrap();
    let victim = dev.nodes().iter().find(|node| node["name"] == name).unwrap();
    let other = dev.nodes().iter().find(|node| node["name"] != name).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2_100)); // `dev` gives up on a node that dies at once.
    let id = victim["process"].as_u64().unwrap() as i32;
    kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
    let socket = other["socket"].as_str().unwrap();
    dev.ask(&["put", "key", "after", "--socket", socket, "--timeout", "30"]).expect(0);
    let end = soon();
    loop {
        let read = dev.ask(&["get", "key", "--committed", "--socket", victim["socket"].as_str().unwrap()]);
        if read.exit_code() == 0 && read.out() == "after\n" {
            break;
        }
        assert!(Instant::now() < end, "{name} does not come back: {}", read.err());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    dev.stop();
}
