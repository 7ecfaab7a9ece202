//! Invented markets through a real node, with everything that may go wrong on the way.

mod support;

use std::time::{Duration, Instant};

use support::{
    Node, attach, cursor_event, directory, json, market, probe, record, run, run_json, text, until, write_dbn,
};

/// A path as an argument.
fn word(path: &std::path::Path) -> &str {
    path.to_str().expect("a readable path")
}

#[test]
fn several_instruments_and_every_kind_of_event_leave_an_equal_book() {
    let dir = directory();
    let one = write_dbn(&dir.path().join("one.mbo.dbn.zst"), &market(0, 3_000));
    let two = write_dbn(&dir.path().join("two.mbo.dbn"), &market(3_000, 1_000));
    let report = run_json(&["replay", word(&one), word(&two), "--spawn", "1", "--dir", word(dir.path())]);
    assert_eq!((&report["book"], &report["events"]), (&"equal".into(), &4_000.into()));
    assert_eq!((&report["resumed"], &report["durability"]), (&false.into(), &"disk-quorum".into()));
    assert!(report["unknown_orders"].as_u64() > Some(0), "the market has some");
    assert!(report["keys_compared"].as_u64() > Some(50));
    assert_eq!(report["proposals"], report["receipts"]);
    assert_eq!((&report["runs"][0]["count"], &report["runs"][0]["errors"]), (&4_000.into(), &0.into()));
    let left = std::fs::read_dir(dir.path()).expect("readable").count();
    assert_eq!(left, 2, "only the two files: the node's directory is removed");
}

#[test]
fn a_node_killed_in_the_middle_comes_back_and_nothing_is_applied_twice() {
    let dir = directory();
    let file = write_dbn(&dir.path().join("market.dbn"), &market(0, 3_000));
    let report = run_json(&["replay", word(&file), "--dir", word(dir.path()), "--kill-at", "1500"]);
    assert_eq!((&report["book"], &report["kills"]), (&"equal".into(), &1.into()));
    assert_eq!(report["reattached"], 1);
    assert_eq!(report["proposals"], report["receipts"]);
    assert!(report["records_of_others"].as_u64() <= Some(2), "one epoch's own records at most");
}

#[test]
fn leaders_killed_twice_leave_an_equal_book_and_state_on_every_node() {
    let dir = directory();
    let file = write_dbn(&dir.path().join("market.dbn"), &market(0, 3_000));
    let kills = ["--spawn", "3", "--kill-leader-at", "800,2000"];
    let report = run_json(&[&["replay", word(&file), "--dir", word(dir.path())], &kills[..]].concat());
    assert_eq!((&report["book"], &report["kills"]), (&"equal".into(), &2.into()));
    assert_eq!(report["books"], serde_json::json!(["equal", "equal", "equal"]));
    assert_eq!((&report["state_hashes_equal"], &report["nodes"]), (&true.into(), &3.into()));
    let hashes = report["state_hashes"].as_array().expect("one entry per node");
    assert!(hashes.len() == 3 && hashes.iter().all(|state| *state == hashes[0]), "{hashes:?}");
    assert_eq!(report["proposals"], report["receipts"]);
}

#[test]
fn an_account_under_risk_limit_is_answered_as_its_model_says_on_one_node_and_on_three() {
    let dir = directory();
    let file = write_dbn(&dir.path().join("market.dbn"), &market(0, 2_000));
    let alone = ["--spawn", "1"];
    let several = ["--spawn", "3", "--kill-leader-at", "700"];
    for nodes in [&alone[..], &several[..]] {
        let account = ["replay", word(&file), "--dir", word(dir.path()), "--risk-limit"];
        let report = run_json(&[&account[..], nodes].concat());
        assert_eq!((&report["book"], &report["runs"][0]["errors"]), (&"equal".into(), &0.into()));
        let limits = &report["risk_limit"];
        assert_eq!(limits["differences"], 0, "{limits}");
        let refused = limits["refused"].as_object().expect("counts by code");
        assert!(limits["accepted"].as_u64() > Some(0) && !refused.is_empty(), "both are met: {limits}");
    }
}

#[test]
fn leaders_are_killed_only_where_others_go_on() {
    let dir = directory();
    let file = write_dbn(&dir.path().join("market.dbn"), &market(0, 50));
    for wrong in [&["--kill-leader-at", "10"][..], &["--spawn", "3", "--kill-leader-at", "20,10"]] {
        let output = run(&[&["replay", word(&file), "--dir", word(dir.path())], wrong].concat());
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains("--kill-leader-at"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_probe_and_its_node_killed_in_the_middle_are_resumed_from_the_directory() {
    let dir = directory();
    let file = write_dbn(&dir.path().join("market.dbn"), &market(0, 6_000));
    // 6 s of market at this speed: long enough to be caught in the middle.
    let slow = ["replay", word(&file), "--dir", word(dir.path()), "--pace", "real", "--speed", "1"];
    let mut caught = probe(&slow).spawn().expect("the probe runs");
    let mut node_dir = None;
    until("the node's directory is there", || {
        let entries = std::fs::read_dir(dir.path()).expect("readable").flatten();
        node_dir = entries.map(|entry| entry.path().join("node-0/io_oi.sock")).find(|socket| socket.exists());
        node_dir.is_some()
    });
    let mut client = attach(&node_dir.expect("found"));
    until("the replay is under way", || cursor_event(&mut client) > 100);
    caught.kill().expect("it was running");
    caught.wait().expect("it was a child");
    drop(client);

    let report = run_json(&["replay", word(&file), "--dir", word(dir.path()), "--resume"]);
    assert_eq!((&report["book"], &report["resumed"]), (&"equal".into(), &true.into()));
    let (at, applied) = (&report["resumed_at_event"], &report["events_applied"]);
    assert!(at.as_u64() >= Some(100) && applied.as_u64() < Some(6_000), "{at} {applied}");
    assert_eq!(at.as_u64().zip(applied.as_u64()).map(|(at, applied)| at + applied), Some(6_000));
}

#[test]
fn an_event_that_was_applied_in_part_is_completed_once() {
    let (node, dir) = (Node::start(), directory());
    let one = write_dbn(&dir.path().join("one.dbn"), &market(0, 200));
    let two = write_dbn(&dir.path().join("two.dbn"), &[record(200, (1, 500), 'A', 'B', 7_777, 1_000, 5)]);
    let first = run_json(&["replay", word(&one), "--attach", node.path()]);
    let proposals_before = first["proposals"].as_u64().expect("a number");

    // The order of event 201 reaches the node, its level and the cursor do not.
    let mut order = Vec::new();
    order.extend_from_slice(&201_u64.to_le_bytes());
    order.extend_from_slice(&1_000_i64.to_le_bytes());
    order.extend_from_slice(&5_u32.to_le_bytes());
    order.extend_from_slice(&[b'B', 0, 0, 0]);
    order.extend_from_slice(&0_u64.to_le_bytes());
    order.extend_from_slice(&i64::MAX.to_le_bytes());
    order.extend_from_slice(&(1_700_000_000_000_000_000_u64 + 200_000_000).to_le_bytes());
    let mut client = node.client();
    let ticket = client.put(b"ord/500/7777", &order).expect("taken");
    client.wait(ticket, Instant::now() + Duration::from_secs(10)).expect("answered");

    let report = run_json(&["replay", word(&one), word(&two), "--attach", node.path(), "--resume"]);
    assert_eq!((&report["book"], &report["resumed_at_event"]), (&"equal".into(), &200.into()));
    assert_eq!(report["proposals_applied_before"].as_u64(), Some(proposals_before + 1));
    assert_eq!(report["proposals"], 2, "the level and the cursor");
}

#[test]
fn a_planted_difference_is_found() {
    let (node, dir) = (Node::start(), directory());
    let file = write_dbn(&dir.path().join("market.dbn"), &[record(0, (1, 500), 'A', 'B', 1, 1_000, 5)]);
    run_json(&["replay", word(&file), "--attach", node.path()]);
    let again = ["replay", word(&file), "--attach", node.path(), "--resume"];
    assert_eq!(run_json(&again)["book"], "equal");

    let mut client = node.client();
    let deleted = client.delete(b"lvl/500/B/1000").expect("taken");
    let extra = client.put(b"ord/500/2", b"no order").expect("taken");
    for ticket in [deleted, extra] {
        client.wait(ticket, Instant::now() + Duration::from_secs(10)).expect("answered");
    }
    let output = run(&[&again[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let report = json(&output);
    assert_eq!((&report["book"], &report["differences"]), (&"different".into(), &2.into()));
    let first = report["first_differences"].to_string();
    assert!(first.contains("lvl/500/B/1000: missing") && first.contains("ord/500/2"), "{first}");
    assert!(text(&output.stderr).contains("lvl/500/B/1000"));
}

#[test]
fn another_market_is_not_put_on_top_of_a_replayed_one() {
    let (node, dir) = (Node::start(), directory());
    let file = write_dbn(&dir.path().join("one.dbn"), &market(0, 50));
    let other = write_dbn(&dir.path().join("other.dbn"), &market(1, 50));
    run_json(&["replay", word(&file), "--attach", node.path()]);

    let output = run(&["replay", word(&file), "--attach", node.path()]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("--resume"), "{}", text(&output.stderr));

    let output = run(&["replay", word(&other), "--attach", node.path(), "--resume"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("other files"), "{}", text(&output.stderr));
}

#[test]
fn a_node_that_dies_is_waited_for_and_a_later_resume_goes_on() {
    let (mut node, dir) = (Node::start(), directory());
    let file = write_dbn(&dir.path().join("market.dbn"), &market(0, 3_000));
    let slow = [
        "replay",
        word(&file),
        "--attach",
        node.path(),
        "--pace",
        "real",
        "--speed",
        "1",
        "--patience",
        "0.2",
    ];
    let caught = probe(&slow).spawn().expect("the probe runs");
    let mut client = node.client();
    until("the replay is under way", || cursor_event(&mut client) > 100);
    node.kill();
    let output = caught.wait_with_output().expect("it was a child");
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(text(&output.stderr).contains("--resume"), "{}", text(&output.stderr));

    node.restart();
    let report = run_json(&["replay", word(&file), "--attach", node.path(), "--resume"]);
    assert_eq!((&report["book"], &report["resumed"]), (&"equal".into(), &true.into()));
}

#[test]
fn a_broken_or_missing_file_is_refused_before_anything_is_started() {
    let dir = directory();
    let broken = dir.path().join("broken.dbn.zst");
    std::fs::write(&broken, b"not a market").expect("a file");
    for file in [word(&broken), "/nonexistent.dbn"] {
        let output = run(&["replay", file, "--dir", word(dir.path())]);
        assert!(!output.status.success() && output.stdout.is_empty());
        assert!(text(&output.stderr).contains("as a DBN file"), "{}", text(&output.stderr));
    }
}

#[test]
fn the_real_market_comes_out_right_across_a_kill() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let files = ["20231224", "20231225"].map(|day| data.join(format!("esh4-glbx-mdp3-{day}.mbo.dbn.zst")));
    if files.iter().any(|file| !file.exists()) {
        println!("skipped: no market data in {}", data.display());
        return;
    }
    let dir = directory();
    let [one, two] = files.each_ref().map(|file| word(file));
    let report =
        run_json(&["replay", one, two, "--spawn", "1", "--dir", word(dir.path()), "--kill-at", "40000"]);
    assert_eq!((&report["book"], &report["events"]), (&"equal".into(), &77_517.into()));
    // Seven fills name orders that neither file adds; 11,217 orders, 1,487 levels and one tape are left.
    assert_eq!((&report["unknown_orders"], &report["keys_compared"]), (&7.into(), &12_705.into()));
    assert_eq!(report["proposals"], report["receipts"]);
}
