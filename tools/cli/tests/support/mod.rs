//! The real binary, started, killed and asked as a user would.

#![allow(dead_code, unreachable_pub)] // Each test file uses its own part.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use io_oi_client::{Client, Options, Outcome, Receipt, Ticket};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Nothing here takes long on a healthy machine; this only ends a test that hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test, shielded from the surroundings of the test run.
pub fn io_oi() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_io_oi"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("IO_OI_") {
            command.env_remove(name);
        }
    }
    command.env("XDG_RUNTIME_DIR", "/nonexistent").env("NO_COLOR", "1").env_remove("RUST_LOG");
    command.stdin(Stdio::null());
    command
}

/// Runs one command to its end.
pub fn ask(arguments: &[&str]) -> Answer {
    Answer(io_oi().args(arguments).output().unwrap())
}

pub struct Answer(pub Output);

impl Answer {
    pub fn exit_code(&self) -> i32 {
        self.0.status.code().expect("ended by itself")
    }

    pub fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// The one object on standard output.
    pub fn json(&self) -> Value {
        let out = self.out();
        assert_eq!(out.lines().count(), 1, "one line: {out} / {}", self.err());
        serde_json::from_str(&out).unwrap()
    }

    #[track_caller]
    pub fn expect(self, exit_code: i32) -> Self {
        assert_eq!(self.exit_code(), exit_code, "out: {}\nerr: {}", self.out(), self.err());
        self
    }
}

/// A node of the test's own.
pub struct TestNode {
    pub dir: TempDir,
    settings: Vec<String>,
    child: Option<Child>,
}

impl TestNode {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(settings: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings)
    }

    /// In a directory that may hold a node's files already.
    pub fn start_in(dir: TempDir, settings: &[&str]) -> Self {
        let mut all: Vec<String> = SMALL.iter().map(ToString::to_string).collect();
        all.extend(settings.iter().map(ToString::to_string));
        let mut node = Self { dir, settings: all, child: None };
        node.start_again();
        node
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("io_oi.sock")
    }

    /// `node run` on this directory, not started.
    pub fn command(&self) -> Command {
        let mut command = io_oi();
        command.args(["node", "run", "--json", "--dir"]).arg(self.dir.path());
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command
    }

    /// Starts and waits for the line that says that it serves.
    pub fn start_again(&mut self) {
        let log =
            std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut child = self.command().stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no node: {}", self.log()));
        assert_eq!(event["event"], "ready");
        self.child = Some(child);
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// kill -9
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill_process(Pid::from_raw(id as i32).unwrap(), signal).unwrap();
    }

    /// SIGTERM; the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let mut child = self.child.take().unwrap();
        wait_for(&mut child)
    }

    pub fn client(&self) -> Client {
        Client::attach_with(self.socket(), Options { reattach: PATIENCE, ..Options::default() }).unwrap()
    }

    /// One command against this node.
    pub fn ask(&self, arguments: &[&str]) -> Answer {
        Answer(io_oi().args(arguments).arg("--socket").arg(self.socket()).output().unwrap())
    }

    /// One command with this standard input.
    pub fn ask_with(&self, arguments: &[&str], input: &[u8]) -> Answer {
        let mut command = io_oi();
        command.args(arguments).arg("--socket").arg(self.socket());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that refuses early closes its input: not an error of the test.
        let _ = child.stdin.take().unwrap().write_all(input);
        Answer(child.wait_with_output().unwrap())
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Small enough that a dozen nodes start beside each other.
const SMALL: [&str; 4] =
    ["hot.entries_max=20000", "hot.large_bytes_max=16777216", "wal.segment_bytes=8388608", "log=info"];

/// The exit code, or a panic when it takes for ever.
pub fn wait_for(child: &mut Child) -> Option<i32> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < end, "the process does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Tends the client until something holds.
#[track_caller]
pub fn until(client: &mut Client, mut is_so: impl FnMut(&mut Client) -> bool) {
    let end = soon();
    while !is_so(client) {
        assert!(Instant::now() < end, "waited in vain; attached: {}", client.is_attached());
        client.tend();
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Waits for a receipt that must be there.
#[track_caller]
pub fn accepted(client: &mut Client, ticket: Ticket) -> Receipt {
    let receipt = client.wait(ticket, soon()).unwrap();
    assert_eq!(receipt.outcome, Outcome::Accepted);
    receipt
}

pub fn value_of(client: &mut Client, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    client.get_committed(key, &mut value).unwrap().map(|_| value)
}

/// Whether a process is there.
pub fn is_running(id: u32) -> bool {
    match std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat")) {
        // A zombie waits for its parent only.
        Ok(stat) => !stat.rsplit(") ").next().unwrap_or("").starts_with('Z'),
        Err(_) => false,
    }
}
