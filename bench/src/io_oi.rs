//! io_oi as a user starts it: `io_oi dev --nodes 3`, and a client on the leader's box.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use io_oi_client::{Client, Durability, Options, Outcome, PutError, SessionSequence};
use serde_json::Value;

use crate::load::{Answered, Subject};

/// A running cluster and a client of it.
pub(crate) struct IoOi {
    client: Client,
    durability: Durability,
    /// Session sequence and ticket, oldest first.
    open: Vec<(SessionSequence, u64)>,
    nodes: usize,
    _dev: Dev,
}

/// The process, and the end of its pipe: a `dev` that nobody listens to ends.
struct Dev(Child, Option<BufReader<ChildStdout>>);

impl Drop for Dev {
    fn drop(&mut self) {
        // SIGKILL takes the nodes along: they are bound to their `dev`.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl IoOi {
    /// Starts three nodes in `dir` with the given binary.
    pub(crate) fn start(binary: &Path, dir: &Path, idle: &str, durability: Durability) -> io::Result<Self> {
        let mut command = Command::new(binary);
        command.args(["dev", "--nodes", "3", "--no-demo", "--json", "--dir"]).arg(dir.join("io_oi"));
        command.env("IO_OI_IDLE", idle).env("XDG_RUNTIME_DIR", dir);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(dir.join("io_oi.log"))?);
        let mut child = command.spawn()?;
        let out = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        let mut dev = Dev(child, None);
        let mut line = String::new();
        dev.1.insert(BufReader::new(out)).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).map_err(|error| {
            io::Error::other(format!("`io_oi dev` did not become ready ({error}): {line}"))
        })?;
        let socket =
            ready["socket"].as_str().ok_or_else(|| io::Error::other(format!("no socket in {line}")))?;
        let nodes = ready["nodes"].as_array().map_or(1, Vec::len);
        let options = Options { patience: START_MAX, window_bytes: 32 << 20, ..Options::default() };
        let client = Client::attach_with(PathBuf::from(socket), options).map_err(io::Error::other)?;
        Ok(Self { client, durability, open: Vec::new(), nodes, _dev: dev })
    }

    /// Node processes.
    pub(crate) fn count(&self) -> usize {
        self.nodes
    }
}

impl Subject for IoOi {
    fn name(&self) -> &'static str {
        "io_oi"
    }

    fn put(&mut self, ticket: u64, key: &[u8], value: &[u8]) -> io::Result<bool> {
        match self.client.put_with(key, value, self.durability) {
            Ok(taken) => {
                self.open.push((taken.session_sequence, ticket));
                Ok(true)
            }
            Err(PutError::Full { .. }) => Ok(false),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        Ok(()) // A put is in the ring when it returns.
    }

    fn collect(&mut self, answered: &mut Answered<'_>) -> io::Result<()> {
        let (open, durability) = (&mut self.open, self.durability);
        let end = Instant::now() + SILENCE_MAX;
        loop {
            let count = self.client.poll(|ticket, receipt| {
                if let Some(at) = open.iter().position(|(sequence, _)| *sequence == ticket.session_sequence) {
                    let is_good = receipt.outcome == Outcome::Accepted && receipt.durability >= durability;
                    answered(open.remove(at).1, is_good);
                }
            });
            if count > 0 || open.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(io::Error::other("io_oi is silent; see its log"));
            }
            rustix::thread::sched_yield();
        }
    }

    fn read_back(&mut self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        let found = self.client.get_committed(key, &mut value).map_err(io::Error::other)?;
        Ok(found.map(|_| value))
    }
}

const START_MAX: Duration = Duration::from_secs(30);
const SILENCE_MAX: Duration = Duration::from_secs(30);
