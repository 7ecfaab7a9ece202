//! `get`, `put`, `delete`, `watch`, `status` against a real node, for people and for programs.

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;
use support::{TestNode, io_oi};

#[test]
fn a_value_goes_in_and_comes_out_for_people_and_programs() {
    let node = TestNode::start();
    let put = node.ask(&["put", "risk/limit", "100", "--json"]).expect(0).json();
    assert_eq!(
        (&put["accepted"], &put["key"], &put["durability"]),
        (&true.into(), &"risk/limit".into(), &"disk-quorum".into())
    );
    let get = node.ask(&["get", "risk/limit", "--json"]).expect(0).json();
    assert_eq!(
        (&get["value"], &get["stage"], &get["sequence"]),
        (&"100".into(), &"committed".into(), &put["sequence"])
    );
    let people = node.ask(&["get", "risk/limit"]).expect(0);
    assert_eq!(people.out(), "100\n");
    assert!(people.err().contains("committed"), "{}", people.err());
    assert!(node.ask(&["put", "risk/limit", "120"]).expect(0).out().starts_with("written as sequence"));
}

#[test]
fn an_unknown_key_is_exit_code_three() {
    let node = TestNode::start();
    let people = node.ask(&["get", "nowhere"]).expect(3);
    assert_eq!(people.out(), "");
    assert!(people.err().contains("there is no key `nowhere`"), "{}", people.err());
    let program = node.ask(&["get", "nowhere", "--json"]).expect(3);
    assert_eq!(program.json()["found"], false);
    let error: Value = serde_json::from_str(&program.err()).unwrap();
    assert_eq!((&error["error"]["name"], &error["error"]["exit_code"]), (&"not-found".into(), &3.into()));
}

#[test]
fn any_bytes_go_through_standard_input_and_hexadecimal() {
    let node = TestNode::start();
    let all: Vec<u8> = (0..=255).collect();
    node.ask_with(&["put", "bytes", "-"], &all).expect(0);
    assert_eq!(node.ask(&["get", "bytes", "--raw"]).expect(0).0.stdout, all);
    let shown = node.ask(&["get", "bytes"]).expect(0).out();
    assert!(shown.trim_end().chars().all(|character| !character.is_control()), "{shown:?}");
    let object = node.ask(&["get", "bytes", "--json"]).expect(0).json();
    assert!(object["value_hex"].as_str().unwrap().starts_with("000102"), "{object}");
    assert!(object.get("value").is_none());
    node.ask(&["put", "00ff", "dead", "--hex"]).expect(0);
    assert_eq!(node.ask(&["get", "00ff", "--hex"]).expect(0).out(), "dead\n");
    node.ask(&["put", "0", "00", "--hex"]).expect(2);
    node.ask_with(&["put", "empty", "-"], b"").expect(0);
    assert_eq!(node.ask(&["get", "empty", "--json"]).expect(0).json()["bytes"], 0);
}

#[test]
fn conditions_decide_and_a_refusal_is_exit_code_four() {
    let node = TestNode::start();
    let first = node.ask(&["put", "key", "1", "--if-absent", "--json"]).expect(0).json();
    let refused = node.ask(&["put", "key", "2", "--if-absent"]).expect(4);
    assert!(refused.err().contains("io_oi get 'key'"), "{}", refused.err());
    let sequence = first["sequence"].to_string();
    node.ask(&["put", "key", "3", "--if-sequence", &sequence]).expect(0);
    let refused = node.ask(&["put", "key", "4", "--if-sequence", &sequence, "--json"]).expect(4);
    let error: Value = serde_json::from_str(&refused.err()).unwrap();
    assert_eq!(error["error"]["name"], "precondition-failed");
    node.ask(&["delete", "key", "--if-sequence", &sequence]).expect(4);
    assert_eq!(node.ask(&["get", "key"]).expect(0).out(), "3\n");
    node.ask(&["delete", "key"]).expect(0);
    node.ask(&["get", "key"]).expect(3);
    node.ask(&["delete", "key"]).expect(0);
    node.ask(&["put", "key", "5", "--if-absent"]).expect(0);
}

#[test]
fn sizes_beyond_the_limits_are_refused_before_anything_is_sent() {
    let node = TestNode::start();
    let long = "k".repeat(513);
    assert!(node.ask(&["put", &long, "v"]).expect(4).err().contains("512"));
    node.ask(&["put", "", "v"]).expect(4);
    let refused = node.ask_with(&["put", "key", "-"], &vec![b'x'; 64 * 1024 + 1]).expect(4);
    assert!(refused.err().contains("65536"), "{}", refused.err());
    node.ask_with(&["put", "key", "-"], &vec![b'x'; 64 * 1024]).expect(0);
    assert_eq!(node.ask(&["get", "key", "--raw"]).expect(0).0.stdout.len(), 64 * 1024);
    node.ask(&["get", &long]).expect(1);
}

#[test]
fn every_durability_gets_its_receipt() {
    let node = TestNode::start();
    for durability in ["local", "mem-quorum", "disk-quorum", "certified"] {
        let put =
            node.ask(&["put", "key", durability, "--durability", durability, "--json"]).expect(0).json();
        assert_eq!(put["durability"], durability);
    }
    node.ask(&["put", "key", "v", "--durability", "eternal"]).expect(2);
}

#[test]
fn watch_prints_what_is_committed_under_its_prefix() {
    let node = TestNode::start();
    let mut command = io_oi();
    command.args(["watch", "a/", "--json", "--count", "3"]).arg("--socket").arg(node.socket());
    let mut watch = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    // A watch starts at the present: keep writing until its first line shows that it has begun.
    let (told, first) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        for line in lines {
            all.push(line.unwrap());
            let _ = told.send(()); // Only the first one is waited for.
        }
        all
    });
    while first.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
        node.ask(&["put", "a/begin", "x"]).expect(0);
    }
    node.ask(&["put", "b/other", "not seen"]).expect(0);
    node.ask(&["put", "a/1", "one"]).expect(0);
    node.ask(&["delete", "a/1"]).expect(0);
    assert_eq!(support::wait_for(&mut watch), Some(0));
    let lines: Vec<Value> =
        reader.join().unwrap().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["key"].as_str().unwrap().starts_with("a/")), "{lines:?}");
    let sequences: Vec<u64> = lines.iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
    assert!(sequences.is_sorted(), "{sequences:?}");
}

#[test]
fn watch_ends_by_itself_after_its_seconds() {
    let node = TestNode::start();
    node.ask(&["watch", "--seconds", "0.05"]).expect(0);
}

#[test]
fn status_shows_node_and_counters() {
    let node = TestNode::start_with(&["shards=2"]);
    for number in 0..20 {
        node.ask(&["put", &format!("key{number}"), "v"]).expect(0);
    }
    let status = node.ask(&["status", "--json"]).expect(0).json();
    assert_eq!((&status["shards"], &status["attached"]), (&2.into(), &true.into()));
    assert_eq!(status["shard"].as_array().unwrap().len(), 2);
    assert!(!status["shard"][0]["counters"].as_object().unwrap().is_empty(), "{status}");
    let people = node.ask(&["status"]).expect(0).out();
    assert!(people.contains("cluster") && people.contains("shard 1"), "{people}");
    assert!(!node.ask(&["status", "--brief"]).expect(0).out().contains("counter"));
}
