//! Redis's own tools and a client from its registry, unchanged, against one node and against three whose leader is killed.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{TestNode, io_oi, soon, value_of, wait_for};

const RESP: [&str; 2] = ["resp.address=127.0.0.1:20379", "resp.ports_tried=2000"];

/// Where a node serves Redis clients, by its own word.
fn address_of(node: &TestNode) -> SocketAddr {
    let asked = io_oi_client::inquire(node.socket(), &io_oi_client::Inquiry::Status).unwrap();
    let status: Value = serde_json::from_slice(&asked).unwrap();
    status["resp"].as_str().expect("the node serves Redis clients").parse().unwrap()
}

fn start() -> (TestNode, SocketAddr) {
    start_with(&[])
}

fn start_with(settings: &[&str]) -> (TestNode, SocketAddr) {
    let node = TestNode::start_with(&[&RESP[..], settings].concat());
    let address = address_of(&node);
    until_loaded(address);
    (node, address)
}

/// The gateway attaches a moment after the node serves.
fn until_loaded(address: SocketAddr) {
    let end = soon();
    while ask(address, b"DBSIZE\r\n").starts_with("-LOADING") {
        assert!(Instant::now() < end, "the gateway does not attach");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One line for one request.
fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

/// Everything that comes until the other side closes, or says no more for the request that is last.
fn talk(address: SocketAddr, requests: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream.write_all(requests).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

/// Whether a tool is here; says so when it is not.
fn has(tool: &str, arguments: &[&str]) -> bool {
    let found = Command::new(tool).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = found.is_ok_and(|status| status.success());
    if !is_there {
        println!("skipped: `{tool} {}` does not run here (.ci/run installs it)", arguments.join(" "));
    }
    is_there
}

fn redis_cli(address: SocketAddr, arguments: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]).args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn every_answer_is_redis_own() {
    let (_node, address) = start();
    let cases: &[(&str, &str)] = &[
        ("PING", "+PONG\r\n"),
        ("PING hi", "$2\r\nhi\r\n"),
        ("ECHO hi", "$2\r\nhi\r\n"),
        ("SELECT 0", "+OK\r\n"),
        ("SELECT 1", "-ERR DB index is out of range\r\n"),
        ("GET absent", "$-1\r\n"),
        ("SET s one", "+OK\r\n"),
        ("GET s", "$3\r\none\r\n"),
        ("SET s two NX", "$-1\r\n"),
        ("SET fresh v NX", "+OK\r\n"),
        ("SET absent v XX", "$-1\r\n"),
        ("SET s two XX GET", "$3\r\none\r\n"),
        ("SET s two NX XX", "-ERR syntax error\r\n"),
        ("SETNX s x", ":0\r\n"),
        ("SETNX nx x", ":1\r\n"),
        ("GETSET s three", "$3\r\ntwo\r\n"),
        ("GETDEL nx", "$1\r\nx\r\n"),
        ("GETDEL nx", "$-1\r\n"),
        ("GETEX s", "$5\r\nthree\r\n"),
        ("STRLEN s", ":5\r\n"),
        ("STRLEN absent", ":0\r\n"),
        ("APPEND s !", ":6\r\n"),
        ("GETRANGE s 1 -2", "$4\r\nhree\r\n"),
        ("SETRANGE s 0 TH", ":6\r\n"),
        ("GET s", "$6\r\nTHree!\r\n"),
        ("INCR n", ":1\r\n"),
        ("INCRBY n 41", ":42\r\n"),
        ("DECRBY n 2", ":40\r\n"),
        ("DECR n", ":39\r\n"),
        ("GET n", "$2\r\n39\r\n"),
        ("INCR s", "-ERR value is not an integer or out of range\r\n"),
        ("INCRBY n x", "-ERR value is not an integer or out of range\r\n"),
        ("DECRBY n -9223372036854775808", "-ERR decrement would overflow\r\n"),
        ("INCRBY n 9223372036854775807", "-ERR increment or decrement would overflow\r\n"),
        ("MSET a 1 b 2 c 3", "+OK\r\n"),
        ("MGET a absent c", "*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n3\r\n"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n"),
        ("EXISTS a b absent a", ":3\r\n"),
        ("DEL a absent b", ":2\r\n"),
        ("UNLINK c", ":1\r\n"),
        ("TYPE s", "+string\r\n"),
        ("TYPE a", "+none\r\n"),
        ("TTL s", ":-1\r\n"),
        ("PTTL a", ":-2\r\n"),
        ("PERSIST s", ":0\r\n"),
        ("SETRANGE s -1 x", "-ERR offset is out of range\r\n"),
        ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("FOO a b", "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' \r\n"),
        ("SCAN x", "-ERR invalid cursor\r\n"),
        ("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("CLIENT SETNAME a", "+OK\r\n"),
        ("CLIENT NOTHING", "-ERR unknown subcommand 'NOTHING'. Try CLIENT HELP.\r\n"),
        (
            "AUTH secret",
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n",
        ),
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        ("RESET", "+RESET\r\n"),
        ("QUIT", "+OK\r\n"),
    ];
    for (request, wanted) in cases {
        assert_eq!(talk(address, format!("{request}\r\n").as_bytes()), *wanted, "{request}");
    }
    for request in ["SET s v EX 10", "EXPIRE s 10", "SETEX s 10 v", "GETEX s PX 1"] {
        let answer = talk(address, format!("{request}\r\n").as_bytes());
        assert!(answer.starts_with("-ERR unsupported: keys of io_oi do not expire"), "{answer}");
    }
    let together: String = cases.iter().map(|(request, _)| format!("{request}\r\n")).collect();
    let wanted: String = cases.iter().map(|(_, wanted)| *wanted).collect();
    assert_eq!(talk(address, b"DEL s n fresh a b c nx absent\r\n"), ":3\r\n");
    assert_eq!(talk(address, together.as_bytes()), wanted, "a pipeline says the same as one by one");
}

#[test]
fn values_are_the_same_bytes_for_every_client_of_the_store() {
    let (node, address) = start();
    let mut client = node.client();
    assert_eq!(talk(address, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\0\r\n\xff\r\n"), "+OK\r\n");
    assert_eq!(value_of(&mut client, b"k").unwrap(), b"\0\r\n\xff");
    let ticket = client.put(b"shim", b"41").unwrap();
    support::accepted(&mut client, ticket);
    assert_eq!(talk(address, b"GET shim\r\nINCR shim\r\n"), "$2\r\n41\r\n:42\r\n");
    assert_eq!(value_of(&mut client, b"shim").unwrap(), b"42");
}

#[test]
fn no_increment_is_lost_between_gateway_and_shims() {
    let (node, address) = start_with(&["shards=2"]);
    const EACH: usize = 200;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let answers = talk(address, &b"INCR n\r\n".repeat(EACH));
                assert_eq!(answers.matches(':').count(), EACH, "{answers}");
            })
        })
        .collect();
    let mut client = node.client();
    let mut added = 0;
    let (mut value, end) = (Vec::new(), soon());
    while added < 50 {
        assert!(Instant::now() < end, "a compare-and-set never wins");
        let meta = client.get(b"n", &mut value).unwrap();
        let Some(meta) = meta else { continue };
        let next = std::str::from_utf8(&value).unwrap().parse::<u64>().unwrap() + 1;
        let expected = io_oi_client::Expected::Sequence(meta.sequence);
        let ticket = client.compare_and_set(b"n", expected, next.to_string().as_bytes()).unwrap();
        added += usize::from(client.wait(ticket, end).unwrap().is_accepted());
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
    let sum = (4 * EACH + 50).to_string();
    assert_eq!(talk(address, b"GET n\r\n"), format!("${}\r\n{sum}\r\n", sum.len()));
}

#[test]
fn a_scan_meets_every_key_once() {
    let (_node, address) = start_with(&["shards=2"]);
    let keys: String = (0..500).map(|number| format!("SET key:{number} v\r\n")).collect();
    assert_eq!(talk(address, keys.as_bytes()).matches("+OK").count(), 500);
    assert_eq!(talk(address, b"DBSIZE\r\n"), ":500\r\n");
    let (mut cursor, mut met) = ("0".to_owned(), Vec::new());
    loop {
        let page = talk(address, format!("SCAN {cursor} COUNT 37 MATCH key:*\r\n").as_bytes());
        let mut texts = page.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with(['*', '$']));
        cursor = texts.next().unwrap().to_owned();
        met.extend(texts.map(str::to_owned));
        if cursor == "0" {
            break;
        }
    }
    met.sort();
    let count = met.len();
    met.dedup();
    assert_eq!((met.len(), count), (500, 500));
    assert!(talk(address, b"RANDOMKEY\r\n").contains("key:"));
    assert_eq!(talk(address, b"KEYS key:1?\r\n").matches("key:").count(), 10);
}

#[test]
fn clients_that_break_the_protocol_are_told_and_dropped() {
    let (_node, address) = start();
    let cases: &[(&[u8], &str)] = &[
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*99999999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n*1\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"),
        (
            b"PING\r\nSET k \"open\r\nPING\r\n",
            "+PONG\r\n-ERR Protocol error: unbalanced quotes in request\r\n",
        ),
        (b"SET k v\r\n*1\r\n:1\r\n", "+OK\r\n-ERR Protocol error: expected '$', got ':'\r\n"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", ""),
    ];
    for (request, wanted) in cases {
        assert_eq!(talk(address, request), *wanted, "{:?}", String::from_utf8_lossy(request));
    }
    let endless = [b"GET ".as_slice(), &[b'x'; 70_000]].concat();
    assert_eq!(talk(address, &endless), "-ERR Protocol error: too big inline request\r\n");
    assert_eq!(ask(address, b"PING\r\n"), "+PONG\r\n", "nobody else is disturbed");
}

#[test]
fn without_the_password_nothing_is_served() {
    let (_node, address) = start_with(&["resp.password=sesame"]);
    assert_eq!(talk(address, b"GET k\r\n"), "-NOAUTH Authentication required.\r\n");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    assert_eq!(
        talk(address, b"AUTH wrong\r\nGET k\r\n"),
        format!("{wrong}-NOAUTH Authentication required.\r\n")
    );
    assert_eq!(talk(address, b"AUTH sesame\r\nGET k\r\n"), "+OK\r\n$-1\r\n");
    assert_eq!(talk(address, b"AUTH default sesame\r\nPING\r\n"), "+OK\r\n+PONG\r\n");
    assert!(talk(address, b"HELLO 3 AUTH default sesame\r\n").starts_with("%7\r\n"));
}

#[test]
fn more_clients_than_allowed_are_turned_away() {
    let (_node, address) = start_with(&["resp.clients_max=3"]);
    let held: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"PING\r\n").unwrap();
            stream.read_exact(&mut [0; 7]).unwrap();
            stream
        })
        .collect();
    assert_eq!(ask(address, b"PING\r\n"), "-ERR max number of clients reached\r\n");
    drop(held);
    let end = soon();
    while ask(address, b"PING\r\n") != "+PONG\r\n" {
        assert!(Instant::now() < end, "places become free again");
    }
}

#[test]
fn redis_cli_works_unchanged() {
    if !has("redis-cli", &["--version"]) {
        return;
    }
    let (_node, address) = start();
    assert_eq!(redis_cli(address, &["ping"]), "PONG");
    assert_eq!(redis_cli(address, &["set", "k", "a b"]), "OK");
    assert_eq!(redis_cli(address, &["get", "k"]), "a b");
    assert_eq!(redis_cli(address, &["-3", "mget", "k", "absent"]), "a b");
    assert_eq!(redis_cli(address, &["incr", "n"]), "1");
    assert_eq!(redis_cli(address, &["--scan", "--pattern", "k*"]), "k");
    let docs = redis_cli(address, &["-3", "--json", "command", "docs", "set"]);
    let docs: Value = serde_json::from_str(&docs).unwrap_or_else(|error| panic!("{error}: {docs}"));
    assert_eq!(docs["set"]["arguments"][0]["name"], "key");
    let help = redis_cli(address, &["help", "get"]);
    assert!(help.contains("Returns the string value of a key"), "{help}");
    assert!(redis_cli(address, &["info"]).contains("loading:0"));
}

#[test]
fn redis_benchmark_runs_to_its_end() {
    if !has("redis-benchmark", &["--version"]) {
        return;
    }
    let (_node, address) = start_with(&["shards=2"]);
    let mut command = Command::new("redis-benchmark");
    command.args([
        "-h",
        "127.0.0.1",
        "-p",
        &address.port().to_string(),
        "-q",
        "-n",
        "600",
        "-c",
        "10",
        "-P",
        "4",
    ]);
    let output = command.args(["-t", "ping,set,get,incr,mset"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for name in ["PING_INLINE", "SET", "GET", "INCR", "MSET"] {
        assert!(said.contains(name), "{name} is missing in {said}");
    }
    assert_eq!(talk(address, b"GET counter:__rand_int__\r\n"), "$3\r\n600\r\n");
}

/// What a Python program does, as its users write it.
const PYTHON: &str = r#"
import sys, redis
port = int(sys.argv[1])
for protocol in (2, 3):
    r = redis.Redis(port=port, protocol=protocol, decode_responses=True)
    r.delete("py", "n", "a", "b")
    assert r.ping() and r.set("py", "value") is True and r.get("py") == "value"
    assert r.set("py", "x", nx=True) is None and r.getset("py", "y") == "value"
    assert r.incr("n", 5) == 5 and r.decr("n") == 4
    assert r.mset({"a": 1, "b": 2}) and r.mget("a", "missing", "b") == ["1", None, "2"]
    with r.pipeline(transaction=False) as pipe:
        for _ in range(50):
            pipe.incr("n")
        pipe.get("n")
        answers = pipe.execute()
    assert answers == list(range(5, 55)) + ["54"], answers
    assert sorted(r.scan_iter("[ab]")) == ["a", "b"]
    assert r.delete("a", "b", "c") == 2 and r.exists("py") == 1
    assert r.type("py") == "string" and r.ttl("py") == -1
    assert r.info()["loading"] == 0 and r.client_id() > 0 and r.config_get("save") == {"save": ""}
    assert r.dbsize() == 2 and len(r.time()) == 2
    assert any(c["id"] == str(r.client_id()) or c["id"] for c in r.client_list())
    try:
        r.set("py", "z", ex=5)
        raise SystemExit("expiry must be refused")
    except redis.ResponseError as error:
        assert "unsupported" in str(error), error
print("well")
"#;

#[test]
fn redis_py_works_unchanged() {
    if !has("python3", &["-c", "import redis"]) {
        return;
    }
    let (_node, address) = start();
    let output = Command::new("python3").args(["-c", PYTHON, &address.port().to_string()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), "well", "{}", String::from_utf8_lossy(&output.stderr));
}

/// `dev` with three nodes, each of which serves Redis clients.
struct Three {
    child: Child,
    _out: BufReader<ChildStdout>,
    _place: tempfile::TempDir,
    nodes: Vec<(String, SocketAddr, u32)>,
    leader: String,
    started: Instant,
}

impl Three {
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut command = io_oi();
        command.args(["dev", "--nodes", "3", "--no-demo", "--json", "--resp", "127.0.0.1:22379"]);
        command.env("XDG_RUNTIME_DIR", place.path()).env("TMPDIR", place.path());
        command.env("IO_OI_HOT_ENTRIES_MAX", "20000").env("IO_OI_WAL_SEGMENT_BYTES", "8388608");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let nodes = ready["nodes"].as_array().unwrap().iter().map(|node| {
            let text = |field: &str| node[field].as_str().unwrap().to_owned();
            (text("name"), text("resp").parse().unwrap(), node["process"].as_u64().unwrap() as u32)
        });
        let (nodes, leader) = (nodes.collect(), ready["leader"].as_str().unwrap().to_owned());
        Self { child, _out: out, _place: place, nodes, leader, started: Instant::now() }
    }
}

impl Drop for Three {
    fn drop(&mut self) {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), Signal::INT).unwrap();
        wait_for(&mut self.child);
    }
}

#[test]
fn a_client_of_a_follower_notices_a_new_leader_as_a_delay() {
    let three = Three::start();
    let (leaders, followers): (Vec<_>, Vec<_>) =
        three.nodes.iter().partition(|(name, ..)| *name == three.leader);
    let (leader, follower) = (leaders[0], followers[0]);
    three.nodes.iter().for_each(|(_, address, _)| until_loaded(*address));
    let mut stream = TcpStream::connect(follower.1).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for number in 1..=300u32 {
        if number == 100 {
            // `dev` takes a node that dies sooner for one that cannot live, and ends.
            std::thread::sleep(Duration::from_secs(2).saturating_sub(three.started.elapsed()));
            kill_process(Pid::from_raw(leader.2 as i32).unwrap(), Signal::KILL).unwrap();
        }
        stream.write_all(b"INCR n\r\n").unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert_eq!(
            line,
            format!(":{number}\r\n"),
            "each increment takes effect once, the leader gone or not"
        );
    }
    let other = followers[1].1;
    let end = soon();
    while ask(other, b"STRLEN n\r\n") != ":3\r\n" || !talk(other, b"GET n\r\n").contains("300") {
        assert!(Instant::now() < end, "another follower never shows what was acknowledged");
        std::thread::sleep(Duration::from_millis(5));
    }
}
