//! What operators get wrong: each gets told what happened and what to do, and nothing is lost.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;
use support::{Answer, TestNode, ask, io_oi};

#[test]
fn without_a_node_every_command_says_so_and_ends_with_five() {
    for command in [&["get", "k"][..], &["put", "k", "v"], &["delete", "k"], &["watch"], &["status"]] {
        let unknown = ask(command).expect(5);
        assert!(unknown.err().contains("io_oi dev"), "{}", unknown.err());
        let mut named = command.to_vec();
        named.extend(["--socket", "/nonexistent/io_oi.sock"]);
        let absent = ask(&named).expect(5);
        assert!(absent.err().contains("/nonexistent/io_oi.sock"), "{}", absent.err());
        named.push("--json");
        let program = ask(&named).expect(5);
        let error: Value = serde_json::from_str(&program.err()).unwrap();
        assert_eq!((error["error"]["name"].as_str(), program.out().as_str()), (Some("unreachable"), ""));
    }
}

#[test]
fn a_wrong_command_line_ends_with_two() {
    for wrong in [&["fly"][..], &["get"], &["put", "k"], &["get", "k", "--loud"], &["node", "run"], &[]] {
        ask(wrong).expect(2);
    }
    assert!(ask(&["--help"]).expect(0).out().contains("Exit codes"));
}

#[test]
fn a_second_node_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let node = TestNode::start();
    node.ask(&["put", "key", "v"]).expect(0);
    let second = Answer(node.command().output().unwrap()).expect(1);
    assert!(second.err().contains("lock") || second.err().contains("running"), "{}", second.err());
    assert_eq!(node.ask(&["get", "key"]).expect(0).out(), "v\n");
}

#[test]
fn a_lock_and_a_socket_left_by_a_killed_node_are_no_obstacle() {
    let mut node = TestNode::start();
    node.ask(&["put", "key", "v"]).expect(0);
    node.kill();
    assert!(node.socket().exists(), "the killed node left its socket");
    assert!(node.ask(&["get", "key"]).expect(5).err().contains("nobody listens"));
    node.start_again();
    assert_eq!(node.ask(&["get", "key"]).expect(0).out(), "v\n");
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let mut node = TestNode::start();
    assert_eq!(node.stop(), Some(0));
    let key = node.dir.path().join("node.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Answer(node.command().output().unwrap()).expect(1);
    assert!(refused.err().contains("node.key"), "{}", refused.err());
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    node.start_again();
}

#[test]
fn a_misspelt_setting_is_named_wherever_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, "idle = \"park\"\n[hot]\nentries = 5\n").unwrap();
    let run = |more: &[&str]| {
        let mut command = io_oi();
        command.args(["node", "run", "--dir"]).arg(dir.path().join("node")).args(more);
        Answer(command.output().unwrap()).expect(1).err()
    };
    let in_file = run(&["--config", file.to_str().unwrap()]);
    assert!(in_file.contains("entries_max") && in_file.contains("node.toml"), "{in_file}");
    assert!(run(&["--set", "hott.entries_max=5"]).contains("hot.entries_max"));
    assert!(run(&["--set", "shards=many"]).contains("shards"));
    assert!(run(&["--config", "/nonexistent/node.toml"]).contains("/nonexistent/node.toml"));
    assert!(run(&["--set", "log=[[["]).contains("log"));
}

#[test]
fn the_sample_configuration_starts_a_node_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, ask(&["node", "sample"]).expect(0).out()).unwrap();
    let mut command = io_oi();
    command.args([
        "node",
        "run",
        "--json",
        "--set",
        "wal.segment_bytes=8388608",
        "--set",
        "hot.entries_max=1000",
    ]);
    command.arg("--config").arg(&file).arg("--dir").arg(dir.path().join("node"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("ready"), "{line}");
}

#[test]
fn the_configuration_file_and_its_overrides_reach_the_node() {
    let mut node = TestNode::start();
    assert_eq!(node.stop(), Some(0));
    let file = node.dir.path().join("node.toml");
    let socket = node.dir.path().join("elsewhere.sock");
    std::fs::write(&file, format!("socket = \"{}\"\nidle = \"park\"\n", socket.display())).unwrap();
    let mut command = io_oi();
    command.args(["node", "run", "--json", "--config"]).arg(&file).arg("--dir").arg(node.dir.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["socket"], socket.to_str().unwrap());
    ask(&["status", "--socket", socket.to_str().unwrap()]).expect(0);
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(child.id() as i32).unwrap(),
        rustix::process::Signal::INT,
    )
    .unwrap();
    assert_eq!(support::wait_for(&mut child), Some(0));
}

#[test]
fn an_announcement_in_a_directory_open_to_others_is_not_followed() {
    let place = tempfile::tempdir().unwrap();
    let open = place.path().join("io_oi");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::symlink("/tmp/somebody-elses.sock", open.join("current")).unwrap();
    let mut command = io_oi();
    let answer = Answer(command.args(["get", "key"]).env("XDG_RUNTIME_DIR", place.path()).output().unwrap());
    assert!(answer.expect(5).err().contains("open to other users"));
}

#[test]
fn a_write_without_a_receipt_in_time_says_that_its_outcome_is_open() {
    let node = TestNode::start();
    let mut client = node.client();
    node.signal(rustix::process::Signal::STOP);
    let ticket = client.put(b"key", b"v").unwrap();
    let waited = client.wait(ticket, std::time::Instant::now() + std::time::Duration::from_millis(50));
    assert!(matches!(waited, Err(io_oi_client::WaitError::TimedOut { .. })), "{waited:?}");
    node.signal(rustix::process::Signal::CONT);
    support::accepted(&mut client, ticket);
}

#[test]
fn a_reader_that_left_is_no_failure() {
    let node = TestNode::start();
    node.ask_with(&["put", "key", "-"], &vec![b'x'; 60_000]).expect(0);
    let mut child = io_oi()
        .args(["get", "key", "--socket"])
        .arg(node.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(support::wait_for(&mut child), Some(0));
}
