//! `io_oi dev`: the first thing that anybody runs.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Answer, io_oi, is_running, wait_for};

/// A `dev` of one node, with its link and its temporary directory inside one of ours.
fn dev(place: &tempfile::TempDir) -> Command {
    let mut command = io_oi();
    command.args(["dev", "--nodes", "1"]).env("XDG_RUNTIME_DIR", place.path()).env("TMPDIR", place.path());
    command.env("IO_OI_HOT_ENTRIES_MAX", "20000").env("IO_OI_WAL_SEGMENT_BYTES", "8388608");
    command
}

fn events(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn leftovers(place: &tempfile::TempDir) -> Vec<String> {
    let named =
        |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().to_string_lossy().into_owned();
    std::fs::read_dir(place.path()).unwrap().map(named).filter(|name| name.starts_with("io_oi-dev")).collect()
}

/// A `dev` without demonstration that has said that it is ready.
fn start_quietly(place: &tempfile::TempDir, more: &[&str]) -> (Child, BufReader<ChildStdout>, Value) {
    let mut command = dev(place);
    command.args(["--no-demo", "--json"]).args(more).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    (child, out, serde_json::from_str(&line).unwrap())
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
}

#[test]
fn the_demonstration_holds_every_claim_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let answer = Answer(dev(&place).args(["--seconds", "0", "--json"]).output().unwrap()).expect(0);
    let events = events(&answer.out());
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let story =
        ["ready", "write", "compare-and-set", "other-process", "figures", "kill-and-restart", "stopped"];
    assert_eq!(names, story);
    assert!(leftovers(&place).is_empty(), "{:?}", leftovers(&place));
    assert!(std::fs::read_link(place.path().join("io_oi/current")).is_err(), "the link is taken away");
}

#[test]
fn people_are_told_the_story_and_what_to_try_next() {
    let place = tempfile::tempdir().unwrap();
    let answer = Answer(dev(&place).args(["--seconds", "0"]).output().unwrap()).expect(0);
    for told in
        ["1. A strategy writes", "kill -9", "none lost, none twice", "What to try next", "put risk/limit"]
    {
        assert!(answer.out().contains(told), "{told} is missing in {}", answer.out());
    }
}

#[test]
fn other_commands_find_the_newest_dev_by_themselves() {
    let place = tempfile::tempdir().unwrap();
    let (mut child, _out, ready) = start_quietly(&place, &[]);
    let ask = |arguments: &[&str]| {
        Answer(io_oi().args(arguments).env("XDG_RUNTIME_DIR", place.path()).output().unwrap())
    };
    ask(&["put", "key", "found"]).expect(0);
    assert_eq!(ask(&["get", "key"]).expect(0).out(), "found\n");
    assert_eq!(ask(&["status", "--json"]).expect(0).json()["socket"], ready["socket"]);
    signal(&child, Signal::INT);
    assert_eq!(wait_for(&mut child), Some(0), "Ctrl-C is how a dev ends");
    assert!(leftovers(&place).is_empty());
    ask(&["get", "key"]).expect(5);
}

#[test]
fn a_given_directory_is_kept_and_taken_up_again() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("mine");
    let dir_text = dir.to_str().unwrap();
    let (mut child, _out, ready) = start_quietly(&place, &["--dir", dir_text]);
    let socket = ready["socket"].as_str().unwrap().to_owned();
    support::ask(&["put", "key", "kept", "--socket", &socket]).expect(0);
    signal(&child, Signal::TERM);
    assert_eq!(wait_for(&mut child), Some(0));
    assert!(dir.join("node.key").exists());
    let (mut child, _out, _) = start_quietly(&place, &["--dir", dir_text]);
    assert_eq!(support::ask(&["get", "key", "--socket", &socket]).expect(0).out(), "kept\n");
    signal(&child, Signal::TERM);
    assert_eq!(wait_for(&mut child), Some(0));
}

#[test]
fn the_node_does_not_outlive_its_dev() {
    let place = tempfile::tempdir().unwrap();
    let (mut child, _out, ready) = start_quietly(&place, &[]);
    let lock = std::path::Path::new(ready["dir"].as_str().unwrap()).join("lock");
    let node: u32 = std::fs::read_to_string(lock).unwrap().trim().parse().unwrap();
    assert!(is_running(node));
    child.kill().unwrap();
    child.wait().unwrap();
    let end = support::soon();
    while is_running(node) {
        assert!(std::time::Instant::now() < end, "the node goes on without its dev");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_directory_in_memory_is_called_so() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: no /dev/shm here");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let (mut child, _out, ready) = start_quietly(&place, &["--dir", memory.path().to_str().unwrap()]);
    signal(&child, Signal::INT);
    assert_eq!(wait_for(&mut child), Some(0));
    assert_eq!(ready["in_memory"], true);
}

#[test]
fn numbers_of_nodes_that_help_nobody_are_refused_with_the_reason() {
    let answer = support::ask(&["dev", "--nodes", "4"]).expect(2);
    assert!(answer.err().contains("survives no more failures"), "{}", answer.err());
    support::ask(&["dev", "--nodes", "0"]).expect(2);
}

#[test]
fn a_directory_of_one_node_is_not_run_as_a_cluster() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("mine");
    let (mut child, _out, _) = start_quietly(&place, &["--dir", dir.to_str().unwrap()]);
    signal(&child, Signal::INT);
    assert_eq!(wait_for(&mut child), Some(0));
    let three = support::ask(&["dev", "--nodes", "3", "--dir", dir.to_str().unwrap()]).expect(1);
    assert!(three.err().contains("was founded for 1 nodes"), "{}", three.err());
}

#[test]
fn a_directory_that_cannot_be_made_is_told() {
    let answer = support::ask(&["dev", "--dir", "/proc/nothing"]).expect(1);
    assert!(answer.err().contains("--dir"), "{}", answer.err());
}
