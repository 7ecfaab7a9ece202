//! The node of `io_oi dev`: a child process, so that it can be killed and started again before everybody's eyes.
//!
//! Invariant: no node outlives its `dev`, however that ends.

use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use io_oi_client::{AttachError, Client, Options};
use rustix::process::{Pid, Signal, kill_process};

use crate::failure::Failure;

/// How a node is started.
#[derive(Clone, Debug)]
pub(crate) struct NodeProcess {
    pub(crate) dir: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) shards: Option<u16>,
    /// Other nodes run on the same cores: an idle one must sleep.
    pub(crate) shares_cores: bool,
    /// Where it serves Redis clients, or on the next free port.
    pub(crate) resp: Option<SocketAddr>,
}

/// A started node; stopped when dropped, if need be hard.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
    /// SIGTERM was sent: a second one would end the node without order.
    is_asked: bool,
}

impl NodeProcess {
    /// Starts the node. Its log goes to `node.log` in its directory.
    pub(crate) fn start(&self) -> Result<Running, Failure> {
        let log = self.dir.join("node.log");
        let failed =
            |error: std::io::Error| Failure::other(format!("cannot start the node process: {error}"));
        let file = File::options().create(true).append(true).open(&log).map_err(|error| {
            Failure::with_help(
                format!("cannot write {}: {error}", log.display()),
                "choose a directory that you may write with --dir",
            )
        })?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["node", "run", "--with-parent", "--dir"]).arg(&self.dir);
        command.arg("--socket").arg(&self.socket);
        let config = self.dir.join("node.toml");
        if config.exists() {
            command.arg("--config").arg(config);
        }
        if let Some(shards) = self.shards {
            command.args(["--set", &format!("shards={shards}")]);
        }
        if let Some(address) = self.resp {
            command.args(["--set", &format!("resp.address={address}")]);
            command.args(["--set", &format!("resp.ports_tried={RESP_PORTS_TRIED}")]);
        }
        command.env_remove("IO_OI_SOCKET").env_remove("IO_OI_DIR");
        for (variable, value) in MODEST {
            if std::env::var_os(variable).is_none() {
                command.env(variable, value);
            }
        }
        if self.shares_cores && std::env::var_os(IDLE).is_none() {
            command.env(IDLE, "park");
        }
        // A process group of its own: Ctrl-C reaches `dev` alone, which then stops the node in order.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Ok(Running { child: command.spawn().map_err(failed)?, log, is_asked: false })
    }
}

impl Running {
    /// The process id, for people.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Attaches as soon as the node serves its socket; a node that dies first is an error with its last words.
    pub(crate) fn attach(
        &mut self,
        socket: &Path,
        options: &Options,
        patience: Duration,
    ) -> Result<Client, Failure> {
        let end = Instant::now() + patience;
        loop {
            let error = match Client::attach_with(socket, options.clone()) {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            let may_pass = matches!(
                error,
                AttachError::NodeAbsent { .. }
                    | AttachError::TimedOut
                    | AttachError::HungUp
                    | AttachError::System(_)
                    | AttachError::Refused { .. }
            );
            if !may_pass || Instant::now() >= end {
                return Err(Failure::from_attach(socket, error));
            }
            self.check()?;
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// An error when the node has ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Failure::with_help(
                format!("the node ended by itself ({})", ending(status)),
                format!("its last words:\n{}", last_lines(&self.log)),
            )),
            Err(error) => Err(Failure::other(format!("cannot watch the node process: {error}"))),
        }
    }

    /// SIGKILL: what a power cut is to a process.
    pub(crate) fn kill_hard(mut self) -> Result<(), Failure> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map(drop).map_err(|error| Failure::other(format!("cannot kill the node process: {error}")))
    }

    /// SIGTERM, and no waiting: others are asked meanwhile.
    pub(crate) fn ask_to_stop(&mut self) {
        if !std::mem::replace(&mut self.is_asked, true) {
            // Fails only when the process is gone already; `stop` tells then.
            let _ = kill_process(self.pid(), Signal::TERM);
        }
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has a process id")
    }

    /// SIGTERM, and patience while it drains and flushes.
    pub(crate) fn stop(mut self, patience: Duration) -> Result<(), Failure> {
        match self.end(patience) {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(Failure::with_help(
                format!("the node did not end well ({})", ending(status)),
                format!("its last words:\n{}", last_lines(&self.log)),
            )),
            Ok(None) => {
                Err(Failure::other(format!("the node did not stop within {patience:?} and was killed")))
            }
            Err(error) => Err(Failure::other(format!("cannot stop the node process: {error}"))),
        }
    }

    /// How it ended, `None` when it had to be killed.
    fn end(&mut self, patience: Duration) -> std::io::Result<Option<ExitStatus>> {
        if self.child.try_wait()?.is_none() {
            self.ask_to_stop();
        }
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(None)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // On the way out of a failure that is told elsewhere.
        if self.end(DROP_PATIENCE).is_err() {
            let _ = self.child.kill();
        }
    }
}

/// Several of these run beside each other, and beside somebody's Redis.
const RESP_PORTS_TRIED: u16 = 1000;

/// After a failure nobody waits long.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// A development node leaves most of the machine to its user; every one of these can be set from outside.
const MODEST: [(&str, &str); 3] = [
    ("IO_OI_HOT_ENTRIES_MAX", "262144"),
    ("IO_OI_HOT_LARGE_BYTES_MAX", "67108864"),
    ("IO_OI_WAL_SEGMENT_BYTES", "16777216"),
];

const IDLE: &str = "IO_OI_IDLE";

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

/// The end of the log, made safe for a terminal.
fn last_lines(log: &Path) -> String {
    let mut bytes = Vec::new();
    let read = fs::File::open(log).and_then(|mut file| file.read_to_end(&mut bytes));
    if let Err(error) = read {
        return format!("(its log {} cannot be read: {error})", log.display());
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(12)..];
    last.iter().map(|line| crate::bytes::escaped(line.as_bytes())).collect::<Vec<_>>().join("\n")
}
