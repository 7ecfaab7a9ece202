//! Every target in its smallest form, against the contract of its JSON object, so that none can rot.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Node, directory, probe, run, run_json, text, until};

/// Everything that the contract names, with its type; answers the runs.
fn check_contract<'a>(report: &'a Value, target: &str) -> &'a [Value] {
    assert_eq!(report["target"], target);
    assert!(report["version"].is_string() && report["idle"].is_string());
    for name in ["nodes", "shards", "cores", "payload_bytes"] {
        assert!(report[name].is_u64(), "{target}: {name}");
    }
    let durability = report["durability"].as_str().expect("a durability");
    assert!(["local", "mem-quorum", "disk-quorum", "certified"].contains(&durability));
    assert!(report["loop"] == "open" || report["loop"] == "closed");
    let host = &report["host"];
    assert!(
        host["verdict"].is_string() && host["isolated"].is_boolean() && host["hiccup_p99_9_ns"].is_number()
    );
    let runs = report["runs"].as_array().expect("runs");
    assert!(!runs.is_empty());
    for run in runs {
        check_run(run, target);
    }
    runs
}

fn check_run(run: &Value, target: &str) {
    for name in ["in_flight", "count", "errors"] {
        assert!(run[name].is_u64(), "{target}: {name} in {run}");
    }
    assert!(run["per_second"].is_number() && run["ratio_to_floor"].is_number(), "{run}");
    assert_eq!(run["errors"], 0, "{run}");
    assert!(run["answers_hash"].as_str().is_some_and(|hash| hash.len() == 16), "{run}");
    let floors = run["floors"].as_object().expect("floors");
    assert!(!floors.is_empty() && floors.values().all(Value::is_number), "{run}");
    let at = |name: &str| run["ns"][name].as_f64().unwrap_or_else(|| panic!("{target}: ns.{name} in {run}"));
    let points = ["min", "p50", "p90", "p99", "p99_9", "p99_99", "max"].map(at);
    assert!(points.is_sorted(), "{target}: {points:?}");
}

#[test]
fn judge_decides_like_the_plain_function_and_asks_nobody_for_anything() {
    let report = run_json(&["judge", "--count", "500"]);
    let runs = check_contract(&report, "judge");
    let ways: Vec<&str> = runs.iter().filter_map(|run| run["way"].as_str()).collect();
    assert_eq!(ways, ["native", "sealed", "general"]);
    assert_eq!((&runs[0]["allocations"], &runs[1]["allocations"]), (&0.into(), &0.into()));
    let calls = &runs[1]["syscalls"];
    let is_unknown = calls.as_str().is_some_and(|text| text.starts_with("unknown"));
    assert!(*calls == 0 || is_unknown, "a sealed decision called the kernel: {calls}");
    assert!(runs[1]["floors"]["native_ns"].as_f64() > Some(0.0));
}

#[test]
fn hot_read_reads_a_node_and_a_bare_writer() {
    for process in ["node", "writer"] {
        let report = run_json(&["hot-read", "--keys", "100,1000", "--count", "40", "--process", process]);
        let runs = check_contract(&report, "hot-read");
        assert_eq!(runs.len(), 6, "serialized hits, independent hits and misses, for two working sets");
        assert!(
            runs.iter()
                .all(|run| run["process"] == process && run["floors"]["dependent_load_ns"].is_number())
        );
        assert_eq!(runs.iter().filter(|run| run["hit"] == false).count(), 2);
        assert_eq!((&runs[0]["keys"], &runs[0]["value_bytes"]), (&100.into(), &64.into()));
    }
}

#[test]
fn hot_read_reads_values_that_do_not_fit_their_slot() {
    let report = run_json(&["hot-read", "--keys", "300", "--count", "20", "--value-bytes", "500"]);
    assert_eq!(check_contract(&report, "hot-read")[0]["value_bytes"], 500);
}

#[test]
fn hot_read_leaves_an_attached_node_as_it_was() {
    let node = Node::start();
    let mut client = node.client();
    let before = client.hot_entries();
    let report = run_json(&["hot-read", "--keys", "200", "--count", "20", "--attach", node.path()]);
    check_contract(&report, "hot-read");
    let mut left = 0;
    client.scan_committed(b"probe/", |_, _, _| left += 1).expect("readable");
    assert_eq!((left, client.hot_entries()), (0, before));
}

#[test]
fn put_measures_batches_single_puts_and_visibility() {
    let report = run_json(&["put", "--count", "200"]);
    let runs = check_contract(&report, "put");
    let measures: Vec<&str> = runs.iter().filter_map(|run| run["measure"].as_str()).collect();
    assert_eq!(measures, ["put", "put-single", "tentative-visible"]);
    assert!(runs.iter().all(|run| run["floors"]["ring_put_ns"].is_number()));
    assert_eq!((&runs[0]["full"], &runs[2]["process"]), (&0.into(), &"reader".into()));
}

#[test]
fn commit_sweeps_in_open_and_in_closed_loop() {
    let node = Node::start();
    for (load, durability) in [("open", "disk-quorum"), ("closed", "local")] {
        let arguments =
            ["commit", "--attach", node.path(), "--in-flight", "1,16", "--count", "60", "--keys", "50"];
        let report = run_json(&[&arguments[..], &["--loop", load, "--durability", durability]].concat());
        let runs = check_contract(&report, "commit");
        assert_eq!((&report["loop"], &report["durability"]), (&load.into(), &durability.into()));
        assert_eq!((&report["payload_bytes"], runs.len()), (&256.into(), 2));
        assert!(runs.iter().all(|run| run["floors"]["flush_ns"].is_number()));
        assert!(runs[1]["count"].as_u64() >= Some(60), "{}", runs[1]);
    }
}

#[test]
fn commit_on_three_nodes_stands_beside_a_round_trip_and_a_shared_flush() {
    let dir = directory();
    let place = dir.path().to_str().expect("a readable path");
    for durability in ["disk-quorum", "mem-quorum", "certified"] {
        let small = ["commit", "--spawn", "3", "--in-flight", "1,16", "--count", "40", "--keys", "20"];
        let report = run_json(&[&small[..], &["--durability", durability, "--dir", place]].concat());
        let runs = check_contract(&report, "commit");
        assert_eq!((&report["nodes"], &report["durability"]), (&3.into(), &durability.into()));
        for run in runs {
            let floor =
                |name: &str| run["floors"][name].as_f64().unwrap_or_else(|| panic!("{name} in {run}"));
            let wire = floor("quic_round_trip_ns");
            let bound = if durability == "mem-quorum" { wire } else { wire + floor("flush_ns") };
            assert!((floor("commit_ns") - bound).abs() <= 2.0, "{run}");
            assert!(run["ratio_to_floor"].as_f64() > Some(0.0), "{run}");
        }
    }
    assert_eq!(std::fs::read_dir(place).expect("readable").count(), 0, "everything is removed");
}

#[test]
fn failover_loses_and_doubles_nothing() {
    let report = run_json(&["failover", "--crashes", "2", "--hand-overs", "2"]);
    let runs = check_contract(&report, "failover");
    let kinds: Vec<&str> = runs.iter().filter_map(|run| run["kind"].as_str()).collect();
    assert_eq!(kinds, ["hand-over", "crash"]);
    for run in runs {
        assert_eq!(run["records_lost_or_doubled"], 0, "{run}");
        assert!(run["records_acknowledged"].as_u64() > Some(100), "{run}");
    }
    assert_eq!((&runs[1]["count"], &report["nodes"]), (&2.into(), &3.into()));
    let too_few = run(&["failover", "--spawn", "1"]);
    assert!(!too_few.status.success());
    assert!(text(&too_few.stderr).contains("--spawn 3"), "{}", text(&too_few.stderr));
}

#[test]
fn a_cluster_that_runs_already_is_measured_at_its_leader() {
    let dir = directory();
    let place = dir.path().to_str().expect("a readable path");
    // A replay at the market's own pace keeps three nodes up for as long as this needs them.
    let file = support::write_dbn(&dir.path().join("market.dbn"), &support::market(0, 30_000));
    let file = file.to_str().expect("a readable path").to_owned();
    let slow = ["replay", &file, "--spawn", "3", "--dir", place, "--pace", "real", "--speed", "1"];
    let mut keeper = probe(&slow).spawn().expect("the probe runs");
    let sockets = || -> Vec<String> {
        let homes = std::fs::read_dir(place).expect("readable").flatten().map(|entry| entry.path());
        let nodes =
            homes.flat_map(|home| (0..3).map(move |index| home.join(format!("node-{index}/io_oi.sock"))));
        nodes.filter(|socket| socket.exists()).map(|socket| socket.display().to_string()).collect()
    };
    until("three sockets are there", || sockets().len() == 3);
    let sockets = sockets();
    let mut arguments = vec!["commit", "--in-flight", "4", "--count", "40", "--keys", "20"];
    sockets.iter().for_each(|socket| arguments.extend(["--attach", socket]));
    let report = run_json(&arguments);
    assert_eq!((&report["nodes"], &report["idle"]), (&3.into(), &"as configured".into()));
    check_contract(&report, "commit");
    kill_process(Pid::from_raw(keeper.id() as i32).expect("a process"), rustix::process::Signal::TERM)
        .expect("it runs");
    keeper.wait().expect("it was a child");
}

#[test]
fn wal_runs_every_kind_beside_the_plain_file() {
    let dir = directory();
    let place = dir.path().to_str().expect("a readable path");
    let small =
        ["wal", "--count", "20", "--strategy", "thread", "--blocks", "4096,65536", "--outstanding", "1,16"];
    let report = run_json(&[&small[..], &["--dir", place]].concat());
    let runs = check_contract(&report, "wal");
    let measures: Vec<&str> = runs.iter().filter_map(|run| run["measure"].as_str()).collect();
    assert_eq!(measures, ["append", "bandwidth", "bandwidth", "records", "records"]);
    assert!(runs.iter().all(|run| run["strategy"] == "thread" && run["floors"]["flush_ns"].is_number()));
    assert_eq!(std::fs::read_dir(place).expect("readable").count(), 0, "everything is removed");
}

#[test]
fn hiccup_watches_every_core_and_writes_every_kind_of_file() {
    let dir = directory();
    let path = |name: &str| dir.path().join(name).to_str().expect("a readable path").to_owned();
    let (hgrm, hlog, svg) = (path("h.hgrm"), path("h.hlog"), path("h.svg"));
    let report = run_json(&["hiccup", "--seconds", "0.05", "--hgrm", &hgrm, "--hlog", &hlog, "--svg", &svg]);
    assert_eq!(
        check_contract(&report, "hiccup").len(),
        report["cores"].as_u64().map_or(0, |cores| cores as usize)
    );
    let read = |path: &str| std::fs::read_to_string(path).expect("written");
    assert!(read(&hgrm).contains("Percentile") && read(&hgrm).contains("#[Max"));
    assert!(read(&hlog).contains("#[Histogram log format version 1.3]") && read(&hlog).contains("Tag=core-"));
    assert!(read(&svg).contains("<svg") && read(&svg).contains("core-"));
}

#[test]
fn people_get_a_table_and_what_the_host_lacks() {
    let output = run(&["hiccup", "--seconds", "0.02"]);
    let out = text(&output.stdout);
    assert!(output.status.success() && out.contains("p99.9") && out.contains("isolated-cpus"), "{out}");
}

#[test]
fn an_interrupted_probe_leaves_nothing_behind() {
    let dir = directory();
    let place = dir.path().to_str().expect("a readable path");
    let mut interrupted = probe(&["put", "--seconds", "60", "--dir", place]).spawn().expect("the probe runs");
    let count = || std::fs::read_dir(place).expect("readable").count();
    until("the node's directory is there", || count() == 1);
    let pid = Pid::from_raw(interrupted.id() as i32).expect("a process id");
    kill_process(pid, Signal::TERM).expect("it was running");
    let status = interrupted.wait().expect("it was a child");
    assert_eq!((status.code(), count()), (Some(130), 0));
}

#[test]
fn what_this_version_cannot_do_is_said() {
    for (arguments, expected) in [
        (&["commit", "--spawn", "9"][..], "a cluster has 1 to"),
        (&["hot-read", "--keys", "1"], "--keys"),
        (&["wal", "--blocks", "5000"], "4096"),
        (&["wal", "--strategy", "psychic"], "psychic"),
        (&["put", "--attach", "/nonexistent"], "/nonexistent"),
        (&["put", "--spawn", "1", "--set", "hott=1"], "hott"),
    ] {
        let output = run(arguments);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{arguments:?}: {}", text(&output.stderr));
    }
}
