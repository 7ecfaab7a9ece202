//! A stopped node's log, judged again by components that were not there when it was written.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Answer, TestNode, ask};

fn shipped(name: &str) -> PathBuf {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../arbitrator/guests/prebuilt");
    room.join(format!("{name}.wasm"))
}

/// A stopped node whose log holds versioned values below `v/`, other values beside them, and two removals.
fn written() -> TestNode {
    let mut node = TestNode::start();
    for (key, value) in [
        ("v/a", "0000000000000000aa"),
        ("v/a", "0100000000000000ab"),
        ("v/b", "0000000000000000ba"),
        ("v/a", "0700000000000000ac"),
        ("w/a", "07"),
    ] {
        let key = key.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        node.ask(&["put", &key, value, "--hex"]).expect(0);
    }
    // The house refuses this one by itself, so it is nobody's to judge.
    node.ask(&["put", "v/b", "x", "--if-absent"]).expect(4);
    node.ask(&["delete", "v/b"]).expect(0);
    node.ask(&["delete", "w/a"]).expect(0);
    assert_eq!(node.stop(), Some(0));
    node
}

fn replay(node: &TestNode, judge: &str, prefix: &str, more: &[&str]) -> Answer {
    let (component, dir) = (shipped(judge), node.dir.path().to_str().unwrap().to_owned());
    let mut arguments = vec!["arbitrator", "test", component.to_str().unwrap()];
    arguments.extend(["--replay", &dir, "--prefix", prefix, "--json"]);
    arguments.extend(more);
    ask(&arguments)
}

fn lines(answer: &Answer) -> Vec<Value> {
    answer.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every file below a directory, with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => all.extend(files(&entry.path())),
            kind if kind.is_file() && entry.file_name() != "lock" => {
                all.insert(entry.path(), std::fs::read(entry.path()).unwrap());
            }
            _ => {}
        }
    }
    all
}

#[test]
fn every_proposal_below_the_prefix_is_judged_over_the_state_that_the_log_had() {
    let node = written();
    let before = files(node.dir.path());
    let all = lines(&replay(&node, "accept-all", "", &["--same"]).expect(0));
    let last = all.last().unwrap();
    assert_eq!((&last["judged"], &last["different"], &last["faults"]), (&7.into(), &0.into(), &0.into()));

    // What had been accepted by a node without judges, held against the rule of versions.
    let answer = replay(&node, "compare-version", "v/", &[]).expect(0);
    let versioned = lines(&answer);
    let now: Vec<&str> = versioned.iter().filter_map(|line| line["now"].as_str()).collect();
    // The log stores what was proposed, not the next version: the second put of `v/a` finds version 0 and names 1.
    assert_eq!(now, ["accept", "refuse 4", "accept", "refuse 4", "refuse 1"], "{}", answer.out());
    assert!(versioned[0]["fuel"].as_u64().unwrap() > 0 && versioned[0]["ns"].as_u64().unwrap() > 0);
    // An accept whose effects the log lacks is another answer, too.
    assert_eq!((&versioned[5]["judged"], &versioned[5]["different"]), (&5.into(), &5.into()));
    replay(&node, "compare-version", "v/", &["--same"]).expect(1);

    assert_eq!(files(node.dir.path()), before, "a replay changed the directory");
}

#[test]
fn a_log_that_is_being_written_is_left_alone() {
    let mut node = written();
    node.start_again();
    let answer = replay(&node, "accept-all", "", &[]).expect(1);
    assert!(answer.err().contains("stop the node"), "{}", answer.err());
    node.ask(&["get", "v/a"]).expect(0);
    assert_eq!(node.stop(), Some(0));
    replay(&node, "accept-all", "", &["--same"]).expect(0);
}

#[test]
fn what_cannot_be_replayed_is_named() {
    let node = written();
    replay(&node, "batch-auction", "", &[]).expect(2);
    let answer = replay(&node, "accept-all", "", &["--shard", "9"]).expect(1);
    assert!(answer.err().contains("shard 9"), "{}", answer.err());
    let component = shipped("accept-all");
    ask(&["arbitrator", "test", component.to_str().unwrap(), "--replay", "nowhere"]).expect(1);
    ask(&["arbitrator", "test", component.to_str().unwrap()]).expect(2);
}
