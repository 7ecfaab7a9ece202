//! The nodes of a run: attached to, or made, killed, restarted and stopped by the probe.
//!
//! Invariant: a node that the probe started never outlives it, and its directory is gone afterwards unless it is kept.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use io_oi_client::{Client, Options};
use rustix::process::{Pid, Signal, kill_process};

use crate::cleanup;
use crate::cli::NodeOptions;
use crate::failure::Failure;
use crate::node_run;
use crate::place::Place;

/// The nodes of a run.
pub(crate) struct Nodes {
    spawned: Vec<Spawned>,
    attached: Vec<PathBuf>,
    place: Option<Place>,
    keep: bool,
    idle: String,
}

struct Spawned {
    dir: PathBuf,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Nodes {
    /// Attaches to or makes what the options ask for; `more` are settings that the target needs of spawned nodes.
    pub(crate) fn open(options: &NodeOptions, more: &[String]) -> Result<Self, Failure> {
        if !options.attach.is_empty() {
            return Ok(Self::attached(options));
        }
        Self::spawn(options, more, Place::fresh(options.dir.as_deref())?, Duration::ZERO)
    }

    /// As `open`, on a directory that an interrupted run left behind.
    pub(crate) fn reopen(options: &NodeOptions, more: &[String]) -> Result<Self, Failure> {
        if !options.attach.is_empty() {
            return Ok(Self::attached(options));
        }
        // The node of a probe that was killed a moment ago may still be on its way out.
        Self::spawn(options, more, Place::kept(options.dir.as_deref())?, DYING_MAX)
    }

    fn attached(options: &NodeOptions) -> Self {
        let attached = options.attach.iter().map(|path| socket_of(path)).collect();
        Self { spawned: Vec::new(), attached, place: None, keep: true, idle: "as configured".into() }
    }

    fn spawn(
        options: &NodeOptions,
        more: &[String],
        place: Place,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let count = options.spawn.unwrap_or(1);
        if count != 1 {
            return Err(Failure::Usage(format!(
                "--spawn {count}: this version runs one node per cluster; use --spawn 1, or --attach to running nodes"
            )));
        }
        if options.keep {
            cleanup::forget_directory(place.path());
        }
        let mut settings = vec![format!("idle={}", options.idle)];
        settings.extend_from_slice(more);
        settings.extend_from_slice(&options.settings);
        let config =
            io_oi_node::Config::load(None, &settings).map_err(|error| Failure::Usage(error.to_string()))?;
        let mut spawned = Spawned { dir: place.path().join("node-0"), settings, child: None };
        spawned.start_within(patience)?;
        Ok(Self {
            spawned: vec![spawned],
            attached: Vec::new(),
            place: Some(place),
            keep: options.keep,
            idle: config.idle_here().to_owned(),
        })
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.spawned.len() + self.attached.len()
    }

    /// They are the probe's own.
    pub(crate) fn are_spawned(&self) -> bool {
        !self.spawned.is_empty()
    }

    /// The idle strategy, as far as it is known.
    pub(crate) fn idle(&self) -> String {
        self.idle.clone()
    }

    /// Their sockets, in order.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        let spawned = self.spawned.iter().map(|node| socket_of(&node.dir));
        spawned.chain(self.attached.iter().cloned()).collect()
    }

    /// A directory on the disk that the first node's log is on.
    pub(crate) fn disk(&self) -> PathBuf {
        match &self.place {
            Some(place) => place.path().to_path_buf(),
            None => self.attached[0].parent().unwrap_or(Path::new(".")).to_path_buf(),
        }
    }

    /// Attaches to the first node.
    pub(crate) fn client(&self, name: &str) -> Result<Client, Failure> {
        attach(&self.sockets()[0], name, REATTACH)
    }

    /// kill -9 and a fresh start in the same directory.
    pub(crate) fn kill_and_restart(&mut self) -> Result<(), Failure> {
        let node = self.spawned.first_mut().ok_or_else(|| {
            Failure::Usage("--kill-at kills a node of the probe's own: use it with --spawn".into())
        })?;
        node.kill();
        node.start()
    }

    /// Why the spawned node is not running any more, if it is not.
    pub(crate) fn death(&mut self) -> Option<String> {
        let node = self.spawned.first_mut()?;
        let status = node.child.as_mut()?.try_wait().ok()??;
        Some(format!("{status}; {}", node.last_words()))
    }

    /// Leaves the directory for a later `--resume`; answers where it is.
    pub(crate) fn keep_directory(&mut self) -> Option<PathBuf> {
        self.keep = true;
        self.place.as_ref().map(|place| place.path().to_path_buf())
    }

    /// Stops the probe's own nodes and removes their directory.
    pub(crate) fn close(mut self) -> Result<(), Failure> {
        for node in &mut self.spawned {
            node.stop()?;
        }
        Ok(())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.spawned.iter_mut().for_each(Spawned::kill);
        if let Some(mut place) = self.place.take() {
            match self.keep {
                true => place.keep(),
                false => place.remove(),
            }
        }
    }
}

impl Spawned {
    fn start_within(&mut self, patience: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            match self.start() {
                Err(_) if began.elapsed() < patience => std::thread::sleep(Duration::from_millis(50)),
                outcome => return outcome,
            }
        }
    }

    fn start(&mut self) -> Result<(), Failure> {
        let failed = |reason: String| Failure::Spawn { dir: self.dir.clone(), reason };
        let mut left = cleanup::hold();
        std::fs::create_dir_all(&self.dir).map_err(|error| failed(error.to_string()))?;
        let errors = File::create(self.error_file()).map_err(|error| failed(error.to_string()))?;
        let own = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(own);
        command.arg("node-run").arg("--node-dir").arg(&self.dir);
        for setting in &self.settings {
            command.arg("--set").arg(setting);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        left.note_child(child.id());
        drop(left);
        let answer = first_line(&mut child, START_MAX);
        self.child = Some(child);
        if answer.as_deref() == Some(node_run::READY) {
            return Ok(());
        }
        self.kill();
        Err(Failure::Spawn { dir: self.dir.clone(), reason: self.last_words() })
    }

    fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        signal(&child, Signal::TERM);
        let asked = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => {
                    cleanup::forget_child(child.id());
                    return Ok(());
                }
                Ok(Some(status)) => {
                    cleanup::forget_child(child.id());
                    let reason = format!("it stopped with {status}; {}", self.last_words());
                    return Err(Failure::Spawn { dir: self.dir.clone(), reason });
                }
                Ok(None) if asked.elapsed() < STOP_MAX => std::thread::sleep(Duration::from_millis(2)),
                _ => break,
            }
        }
        self.child = Some(child);
        self.kill();
        let reason = format!("it did not stop within {} s of SIGTERM and was killed", STOP_MAX.as_secs());
        Err(Failure::Spawn { dir: self.dir.clone(), reason })
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when the child is gone already.
            let _ = child.kill();
            let _ = child.wait();
            cleanup::forget_child(child.id());
        }
    }

    fn error_file(&self) -> PathBuf {
        self.dir.with_extension("stderr")
    }

    /// The end of what the node wrote to its standard error.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.error_file()).unwrap_or_default();
        let text = text.trim().trim_start_matches("error: ");
        let lines: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(5).collect();
        match lines.is_empty() {
            true => "it said nothing".into(),
            false => lines.into_iter().rev().collect::<Vec<_>>().join(" / "),
        }
    }
}

/// Attaches under a name; while a node starts or restarts it is waited for.
pub(crate) fn attach(socket: &Path, name: &str, reattach: Duration) -> Result<Client, Failure> {
    let options = Options {
        name: name.to_owned(),
        patience: ATTACH_PATIENCE,
        reattach,
        window_bytes: WINDOW_BYTES,
        ..Options::default()
    };
    Client::attach_with(socket, options)
        .map_err(|error| Failure::Attach { path: socket.to_path_buf(), reason: error.to_string() })
}

/// The first line that a child prints, if it comes in time.
pub(crate) fn first_line(child: &mut Child, patience: Duration) -> Option<String> {
    let out = child.stdout.take()?;
    let (tell, told) = mpsc::channel();
    // The thread ends with the child's standard output; it holds nothing but that.
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(out).read_line(&mut line);
        let _ = tell.send(line.trim().to_owned());
    });
    told.recv_timeout(patience).ok().filter(|line| !line.is_empty())
}

/// A path to a node is its socket, or its directory.
fn socket_of(path: &Path) -> PathBuf {
    if path.is_dir() || path.file_name().is_some_and(|name| name == "node-0") {
        return path.join("io_oi.sock");
    }
    path.to_path_buf()
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Fails only when the child is gone already.
        let _ = kill_process(pid, signal);
    }
}

/// A node measures its log device before it is ready, and may have a long log to read.
const START_MAX: Duration = Duration::from_secs(60);
/// A process that was killed lets go of its files within milliseconds, on a busy host some more.
const DYING_MAX: Duration = Duration::from_secs(5);
/// A clean stop flushes what is left: milliseconds.
const STOP_MAX: Duration = Duration::from_secs(20);
const ATTACH_PATIENCE: Duration = Duration::from_secs(5);
const REATTACH: Duration = Duration::from_secs(30);
/// Room for every proposal that may be in flight, at the largest payload of a sweep.
const WINDOW_BYTES: usize = 32 << 20;
