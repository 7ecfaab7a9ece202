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
use io_oi_record::limits::MEMBERS_MAX;
use io_oi_record::{ShardId, Signer};
use rustix::process::{Pid, Signal, kill_process};

use crate::cleanup;
use crate::cli::NodeOptions;
use crate::cluster::{self, Status};
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
    /// Who may appoint leaders; only of a cluster that this probe founded.
    operator: Option<Box<Signer>>,
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
        let idle = "as configured".into();
        Self { spawned: Vec::new(), attached, place: None, keep: true, idle, operator: None }
    }

    fn spawn(
        options: &NodeOptions,
        more: &[String],
        place: Place,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let count = options.spawn.unwrap_or(1);
        if !(1..=MEMBERS_MAX).contains(&count) {
            return Err(Failure::Usage(format!("--spawn {count}: a cluster has 1 to {MEMBERS_MAX} nodes")));
        }
        if options.keep {
            cleanup::forget_directory(place.path());
        }
        let idle = match (options.idle.as_str(), count) {
            // Each node would count every core as its own.
            ("auto", 2..) => "park",
            (idle, _) => idle,
        };
        let mut settings = vec![format!("idle={idle}")];
        settings.extend_from_slice(more);
        settings.extend_from_slice(&options.settings);
        let config =
            io_oi_node::Config::load(None, &settings).map_err(|error| Failure::Usage(error.to_string()))?;
        let dirs: Vec<PathBuf> = (0..count).map(|index| place.path().join(format!("node-{index}"))).collect();
        let operator = match count > 1 && !dirs[0].join("genesis").exists() {
            true => Some(Box::new(cluster::found(&dirs, config.shards.unwrap_or(1))?)),
            false => None,
        };
        let spawned = dirs.into_iter().map(|dir| Spawned { dir, settings: settings.clone(), child: None });
        let mut nodes = Self {
            spawned: spawned.collect(),
            attached: Vec::new(),
            place: Some(place),
            keep: options.keep,
            idle: config.idle_here().to_owned(),
            operator,
        };
        nodes.start_all(patience)?;
        Ok(nodes)
    }

    /// All are launched before one is waited for: a node of several may need the others to get ready.
    fn start_all(&mut self, patience: Duration) -> Result<(), Failure> {
        self.spawned.iter_mut().try_for_each(Spawned::launch)?;
        for node in &mut self.spawned {
            node.wait_until_ready().or_else(|_| node.start_within(patience))?;
        }
        self.wait_for_leader(ShardId(0)).map(drop)
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

    /// Attaches to the node that leads shard 0: to the only one, where there is one.
    pub(crate) fn client(&self, name: &str) -> Result<Client, Failure> {
        self.client_of(self.wait_for_leader(ShardId(0))?, name)
    }

    /// Attaches to one node.
    pub(crate) fn client_of(&self, index: usize, name: &str) -> Result<Client, Failure> {
        attach(&self.sockets()[index], name, REATTACH)
    }

    /// What every node says; `None` for one that is away.
    pub(crate) fn statuses(&self) -> Vec<Option<Status>> {
        self.sockets().iter().map(|socket| Status::of(socket)).collect()
    }

    /// The node that leads a shard, by its own word; of two the one with the higher epoch.
    pub(crate) fn leader(&self, shard: ShardId) -> Option<usize> {
        let statuses = self.statuses();
        let leading =
            statuses.iter().enumerate().filter_map(|(index, status)| Some((index, status.as_ref()?)));
        leading
            .filter(|(_, status)| status.leads(shard))
            .max_by_key(|(_, status)| status.shards[shard.index()].epoch)
            .map(|(index, _)| index)
    }

    /// As `leader`, once there is one. One node alone leads.
    pub(crate) fn wait_for_leader(&self, shard: ShardId) -> Result<usize, Failure> {
        if self.count() == 1 {
            return Ok(0);
        }
        let began = Instant::now();
        while began.elapsed() < LEADER_MAX {
            if let Some(leader) = self.leader(shard) {
                return Ok(leader);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let what = format!("no node leads shard {shard} for {} s; see the nodes' logs", LEADER_MAX.as_secs());
        Err(Failure::NodeGone(what))
    }

    /// Waits until every node has committed the same and says the same of its state; what each said last.
    pub(crate) fn wait_until_level(&self, patience: Duration) -> Vec<Option<Status>> {
        let began = Instant::now();
        loop {
            let statuses = self.statuses();
            if self.count() == 1 || are_level(&statuses) || began.elapsed() >= patience {
                return statuses;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The operator of a cluster that this probe founded.
    pub(crate) fn operator(&self) -> Option<&Signer> {
        self.operator.as_deref()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, index: usize) -> Result<(), Failure> {
        let node = self.spawned.get_mut(index).ok_or_else(|| {
            Failure::Usage("only a node of the probe's own is killed: use this with --spawn".into())
        })?;
        node.kill();
        Ok(())
    }

    /// Starts a killed node again and does not wait for it.
    pub(crate) fn restart(&mut self, index: usize) -> Result<(), Failure> {
        self.spawned[index].launch()
    }

    /// Waits until a node that was started serves.
    pub(crate) fn wait_until_ready(&mut self, index: usize) -> Result<(), Failure> {
        self.spawned[index].wait_until_ready()
    }

    /// Waits until every node of the probe's own serves.
    pub(crate) fn wait_until_all_are_ready(&mut self) -> Result<(), Failure> {
        self.spawned.iter_mut().try_for_each(Spawned::wait_until_ready)
    }

    /// Why a spawned node is not running any more, if one is not.
    pub(crate) fn death(&mut self) -> Option<String> {
        self.spawned.iter_mut().find_map(|node| {
            let status = node.child.as_mut()?.try_wait().ok()??;
            Some(format!("{status}; {}", node.last_words()))
        })
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
        self.launch()?;
        self.wait_until_ready()
    }

    fn launch(&mut self) -> Result<(), Failure> {
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
        let child = command.spawn().map_err(|error| failed(error.to_string()))?;
        left.note_child(child.id());
        drop(left);
        self.child = Some(child);
        Ok(())
    }

    /// Its first line says so; the line is read once.
    fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let Some(child) = &mut self.child else { return Ok(()) };
        if child.stdout.is_none() || first_line(child, START_MAX).as_deref() == Some(node_run::READY) {
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
    let is_ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("node-"));
    if path.is_dir() || is_ours {
        return path.join("io_oi.sock");
    }
    path.to_path_buf()
}

/// Everybody answers, and has committed all that anybody holds, to the same state.
fn are_level(statuses: &[Option<Status>]) -> bool {
    let known: Vec<&Status> = statuses.iter().flatten().collect();
    let [first, others @ ..] = &known[..] else { return false };
    known.len() == statuses.len()
        && first.shards.iter().enumerate().all(|(index, shard)| {
            let is_same = |other: &&Status| {
                let other = &other.shards[index];
                other.committed == shard.committed && other.state_hash.sequence == shard.state_hash.sequence
            };
            shard.committed == shard.tip && others.iter().all(is_same)
        })
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
/// Some elections on a machine that has other things to do.
const LEADER_MAX: Duration = Duration::from_secs(30);
const ATTACH_PATIENCE: Duration = Duration::from_secs(5);
const REATTACH: Duration = Duration::from_secs(30);
/// Room for every proposal that may be in flight, at the largest payload of a sweep.
const WINDOW_BYTES: usize = 32 << 20;
