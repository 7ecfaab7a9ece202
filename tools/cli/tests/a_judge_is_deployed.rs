//! Judges in a running node: deployed, heard beside another, activated, rolled back, removed, and judged again offline.

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Answer, TestNode, ask};

fn shipped(name: &str) -> PathBuf {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../arbitrator/guests/prebuilt");
    room.join(format!("{name}.wasm"))
}

/// One command of `io_oi arbitrator` as the operator, who is the node itself in a cluster of one.
fn govern(node: &TestNode, arguments: &[&str]) -> Answer {
    let key = node.dir.path().join("node.key");
    let mut all = vec!["arbitrator"];
    all.extend(arguments);
    all.extend(["--prefix", "v/", "--operator-key", key.to_str().unwrap(), "--json"]);
    node.ask(&all)
}

fn deploy(node: &TestNode, name: &str, more: &[&str]) -> Answer {
    let component = shipped(name);
    let mut all = vec!["deploy", component.to_str().unwrap()];
    all.extend(more);
    govern(node, &all)
}

/// Puts a value that begins with this version under `v/a`.
fn put(node: &TestNode, version: u8) -> Answer {
    node.ask(&["put", "762f61", &format!("{version:02x}00000000000000aa"), "--hex", "--json"])
}

fn hash(name: &str) -> String {
    let said = ask(&["arbitrator", "show", shipped(name).to_str().unwrap(), "--json"]).expect(0).json();
    said["hash"].as_str().unwrap().to_owned()
}

fn list(node: &TestNode) -> Value {
    node.ask(&["arbitrator", "list", "--json"]).expect(0).json()["shards"][0].clone()
}

fn component<'a>(list: &'a Value, hash: &str) -> &'a Value {
    list["components"].as_array().unwrap().iter().find(|known| known["component"] == hash).unwrap()
}

#[test]
fn a_judge_decides_from_its_deployment_on_until_another_one_does() {
    let node = TestNode::start();
    assert!(node.ask(&["arbitrator", "list"]).expect(0).out().contains("No judges"));
    put(&node, 0).expect(0);
    put(&node, 0).expect(0);
    node.ask(&["delete", "v/a"]).expect(0);

    let said = deploy(&node, "compare-version", &[]).expect(0).json();
    let versions = hash("compare-version");
    assert_eq!((&said["component"], &said["parts_stored"]), (&versions.as_str().into(), &1.into()));
    put(&node, 0).expect(0);
    // It is stored under the next version: the judge amended it.
    assert_eq!(node.ask(&["get", "762f61", "--hex"]).expect(0).out().trim(), "0100000000000000aa");
    assert!(put(&node, 0).expect(4).err().contains("arbitrator"));
    let seat = list(&node)["seats"][0].clone();
    assert_eq!((&seat["prefix"], &seat["component"]), (&"v/".into(), &versions.as_str().into()));

    // What is stored already is not sent again; the shadow is heard, and decides nothing.
    let writer = hash("last-writer-wins");
    assert_eq!(deploy(&node, "last-writer-wins", &["--shadow"]).expect(0).json()["parts_stored"], 1);
    assert_eq!(deploy(&node, "last-writer-wins", &["--shadow"]).expect(0).json()["parts_stored"], 0);
    put(&node, 0).expect(4);
    put(&node, 1).expect(0);
    let heard = component(&list(&node), &writer)["heard"].clone();
    assert!(heard["shadow_heard"].as_u64() >= Some(2) && heard["accepted"] == 0, "{heard}");

    govern(&node, &["activate"]).expect(0);
    govern(&node, &["activate"]).expect(3);
    assert_eq!(list(&node)["seats"][0]["component"], writer.as_str());
    put(&node, 7).expect(0);
    put(&node, 6).expect(4);
    govern(&node, &["rollback"]).expect(0);
    assert_eq!(list(&node)["seats"][0]["component"], versions.as_str());
    govern(&node, &["rollback", "--to", &writer[..8]]).expect(0);
    assert_eq!(list(&node)["seats"][0]["component"], writer.as_str());
    let shown = node.ask(&["arbitrator", "show", &writer[..8], "--json"]).expect(0).json();
    assert_eq!(shown["shards"][0]["components"].as_array().unwrap().len(), 1);

    govern(&node, &["remove"]).expect(0);
    govern(&node, &["remove"]).expect(3);
    put(&node, 0).expect(0);
}

/// An account of `risk-limit`: nothing dearer than 100, no order above `order_max`, everything else as good as unlimited.
fn account(order_max: u64) -> String {
    let much = (u64::MAX / 2).to_le_bytes();
    let begin =
        [&[1, 0, 0, 0][..], &10_000_u32.to_le_bytes(), &50_u64.to_le_bytes(), &order_max.to_le_bytes()];
    let limits = [&much[..], &much, &much, &u32::MAX.to_le_bytes(), &[0; 36]];
    [begin.concat(), limits.concat()].concat().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_operator_sets_what_nobody_else_may_write() {
    let node = TestNode::start();
    let (key, component) = (node.dir.path().join("node.key"), shipped("risk-limit"));
    let with_key = |arguments: &[&str]| {
        let mut all = vec!["arbitrator"];
        all.extend(arguments);
        all.extend(["--operator-key", key.to_str().unwrap(), "--json"]);
        node.ask(&all)
    };
    with_key(&["deploy", component.to_str().unwrap(), "--prefix", "v/"]).expect(0);
    let cell = "762f612f"; // v/a/
    assert!(node.ask(&["put", cell, &account(9), "--hex"]).expect(4).err().contains("arbitrator"));
    let said = with_key(&["set", cell, &account(9), "--hex"]).expect(0).json();
    assert_eq!(said["key_hex"], cell);
    assert_eq!(node.ask(&["get", cell, "--hex"]).expect(0).out().trim(), account(9));
    // A buy of ten for 60 each is above the limit, of nine it is not.
    let order = |quantity: u64| {
        let bytes = [&[1, 1, 0, 0, 0, 0, 0, 0][..], &quantity.to_le_bytes(), &60_u64.to_le_bytes()].concat();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        node.ask(&["put", "762f612f31", &hex, "--hex"])
    };
    order(10).expect(4);
    order(9).expect(0);
    // What the judge refuses is refused to the operator, too, and the next decision goes through.
    assert!(with_key(&["set", cell, "00", "--hex"]).expect(4).err().contains("arbitrator"));
    with_key(&["set", cell, &account(10), "--hex", "--if-sequence", "1"]).expect(4);
    with_key(&["set", cell, &account(10), "--hex"]).expect(0);
    order(10).expect(0);
    with_key(&["set", cell, "--hex", "--delete"]).expect(0);
    order(1).expect(4);
}

#[test]
fn what_judges_refuse_is_counted_by_code() {
    let node = TestNode::start();
    deploy(&node, "compare-version", &[]).expect(0);
    for version in [0, 7, 7, 7] {
        put(&node, version);
    }
    let receipt = put(&node, 7).expect(4).err();
    let code =
        receipt.split("arbitrator-").nth(1).and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let code = code.filter(|code| !code.is_empty()).unwrap_or_else(|| panic!("a code in `{receipt}`"));
    let listed = list(&node);
    let heard = &component(&listed, &hash("compare-version"))["heard"];
    assert_eq!((&heard["refused"], &heard["refused_by_code"][code]), (&4.into(), &4.into()), "{heard}");
    assert!(node.ask(&["arbitrator", "list"]).expect(0).out().contains(&format!("{code}: 4")));
    let counted = || node.ask(&["status", "--json"]).expect(0).json()["shard"][0]["refused_by_code"].clone();
    // The board is shown every few milliseconds.
    while counted()[code] != 4 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(node.ask(&["status"]).expect(0).out().contains(&format!("refused by a judge as {code}")));
}

/// A judge that grows its memory: no sealed one. Accepts everything.
const GROWING: &str = r#"(module (memory (export "memory") 1) (global $next (mut i32) (i32.const 1024))
    (data (i32.const 0) "\28\00\00\00\04\00\00\00\01\00\00\00\00\00\00\00\00\00\00\00\00\02\00\00\00\00\00\00\00\00\00\00\a0\86\01\00\00\00\00\00grow")
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (global.get $next))
    (func (export "describe") (result i32) (i32.const 0))
    (func (export "decide") (param i64 i64 i64 i64 i64 i32 i32 i32 i32 i32 i32) (result i32)
      (drop (memory.grow (i32.const 1))) (i32.const 256)))"#;

#[test]
fn what_cannot_be_sealed_is_deployed_by_who_asks_for_the_general_tier() {
    let node = TestNode::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("growing.wasm");
    let module = wat::parse_str(GROWING).unwrap();
    let component = io_oi_arbitrator::author::component_of(&module).unwrap();
    std::fs::write(&file, &component).unwrap();
    let file = file.to_str().unwrap();
    let answer = govern(&node, &["deploy", file]).expect(4);
    assert!(answer.err().contains("memory.grow"), "{}", answer.err());
    assert_eq!(list(&node)["governance"], 0);
    govern(&node, &["deploy", file, "--tier", "general"]).expect(0);
    put(&node, 1).expect(0);
    let listed = list(&node);
    let judge = &listed["components"][0];
    assert_eq!((&judge["tier"], &judge["heard"]["accepted"]), (&"general".into(), &1.into()), "{judge}");

    // A language runtime beside a judge is more than the log carries.
    let grown = dir.path().join("grown.wasm");
    let section = [&[0, 0x81, 0x80, 0x80, 1, 0][..], &vec![0; 2 << 20]].concat();
    std::fs::write(&grown, [component, section].concat()).unwrap();
    let answer = govern(&node, &["deploy", grown.to_str().unwrap(), "--tier", "general"]).expect(4);
    assert!(answer.err().contains("the log carries components of 262144"), "{}", answer.err());
}

#[test]
fn what_a_node_does_not_ask_is_refused_before_anything_is_signed() {
    let node = TestNode::start();
    deploy(&node, "batch-auction", &[]).expect(4);
    let component = node.dir.path().join("node.key");
    let answer = govern(&node, &["deploy", component.to_str().unwrap()]).expect(4);
    assert!(answer.err().contains("valid WebAssembly"), "{}", answer.err());
    govern(&node, &["rollback"]).expect(3);
    govern(&node, &["rollback", "--to", "abcd"]).expect(3);
    node.ask(&["arbitrator", "show", "abcd"]).expect(3);
    assert_eq!(list(&node)["governance"], 0);
}

#[test]
fn what_a_node_was_told_is_what_a_replay_of_its_log_is_told() {
    let mut node = TestNode::start();
    deploy(&node, "compare-version", &[]).expect(0);
    for (version, exit_code) in [(0, 0), (1, 0), (1, 4), (2, 0), (9, 4)] {
        put(&node, version).expect(exit_code);
    }
    assert_eq!(node.stop(), Some(0));
    let (judge, dir) = (shipped("compare-version"), node.dir.path().to_str().unwrap().to_owned());
    let arguments = [
        "arbitrator",
        "test",
        judge.to_str().unwrap(),
        "--replay",
        &dir,
        "--prefix",
        "v/",
        "--same",
        "--json",
    ];
    let out = ask(&arguments).expect(0).out();
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["judged"], &last["different"]), (&5.into(), &0.into()), "{out}");
}
