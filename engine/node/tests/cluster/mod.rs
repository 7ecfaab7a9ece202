//! A cluster of real node processes under test: founded, started, hurt, healed and looked at.
//!
//! Invariant: whatever a test does, its processes, namespaces and mounts are gone when the cluster is dropped; when the
//! test failed, the nodes' logs are printed and their directories kept.

pub(crate) mod disk;
pub(crate) mod impostor;
pub(crate) mod look;
mod namespaces;
mod network;
pub(crate) mod proxy;
pub(crate) mod shipping;
pub(crate) mod statements;
pub(crate) mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use io_oi_client::{Client, Options};
use io_oi_record::genesis::{ControlMode, Genesis, Member, TrustMode};
use io_oi_record::{Hash, NodeId, SignedGenesis, Signer};
use rustix::process::{Pid, Signal, kill_process};

pub(crate) use network::Network;

use crate::support::{DIES_WITH_PARENT_VARIABLE, NAMESPACE_VARIABLE, NodeProcess, soon};

/// What to found.
pub(crate) struct Plan {
    /// Named by the genesis.
    pub(crate) voters: usize,
    /// Have a key and a place in the network, and are named by nobody yet.
    pub(crate) strangers: usize,
    pub(crate) shards: u16,
    pub(crate) control: ControlMode,
    /// Whether a relay in user space stands between the nodes.
    pub(crate) is_relayed: bool,
    /// Settings of every node.
    pub(crate) settings: Vec<String>,
}

impl Plan {
    /// Any voter may stand; the kernel's network.
    pub(crate) fn of(voters: usize) -> Self {
        Self {
            voters,
            strangers: 0,
            shards: 1,
            control: ControlMode::Competitive,
            is_relayed: false,
            settings: vec!["idle=park".to_owned(), "log=info".to_owned()],
        }
    }

    pub(crate) fn strict(self) -> Self {
        Self { control: ControlMode::Strict, ..self }
    }

    pub(crate) fn relayed(self) -> Self {
        Self { is_relayed: true, ..self }
    }

    pub(crate) fn with_strangers(self, strangers: usize) -> Self {
        Self { strangers, ..self }
    }

    pub(crate) fn with_shards(self, shards: u16) -> Self {
        Self { shards, ..self }
    }

    pub(crate) fn with_setting(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }
}

/// Several nodes and what joins them.
pub(crate) struct Cluster {
    pub(crate) plan: Plan,
    pub(crate) genesis: SignedGenesis,
    pub(crate) operator: Signer,
    // In this order: nobody lives when the network goes.
    nodes: Vec<Place>,
    pub(crate) network: Network,
    home: Option<tempfile::TempDir>,
}

/// One node's place: its directory stays when its process goes.
struct Place {
    dir: PathBuf,
    /// Beside the directory: what happens to its disk does not happen to the log.
    log: PathBuf,
    secret: [u8; 32],
    process: Option<NodeProcess>,
    is_paused: bool,
    settings: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Cluster {
    /// Keys, genesis and directories; nothing runs yet.
    pub(crate) fn found(plan: Plan) -> Self {
        let places = plan.voters + plan.strangers;
        let network = match plan.is_relayed {
            true => Network::relayed(places, plan.shards),
            false => Network::kernel(places, plan.shards),
        };
        let home = tempfile::Builder::new().prefix("cluster-").tempdir().unwrap();
        let nodes: Vec<Place> = (0..places).map(|place| Place::make(home.path(), place)).collect();
        let operator = Signer::from_secret(&random());
        let genesis = genesis_of(&plan, &network, &nodes, &operator);
        let cluster = Self { plan, genesis, operator, nodes, network, home: Some(home) };
        (0..places).for_each(|place| cluster.write_directory(place));
        cluster
    }

    /// Founds a cluster, starts every voter, and waits until each serves.
    pub(crate) fn start(plan: Plan) -> Self {
        let mut cluster = Self::found(plan);
        let voters: Vec<usize> = (0..cluster.plan.voters).collect();
        cluster.start_nodes(&voters);
        cluster
    }

    fn write_directory(&self, place: usize) {
        let dir = &self.nodes[place].dir;
        std::fs::create_dir_all(dir).unwrap();
        let key = format!("{}\n", Hash(self.nodes[place].secret));
        write_durably(&dir.join("node.key"), key.as_bytes());
        write_durably(&dir.join("genesis"), &self.genesis.encode().unwrap());
        for ancestor in dir.ancestors().take(2) {
            std::fs::File::open(ancestor).unwrap().sync_all().unwrap();
        }
    }

    /// Starts several nodes side by side: one alone may have to wait for the others before it serves.
    pub(crate) fn start_nodes(&mut self, places: &[usize]) {
        places.iter().for_each(|place| self.spawn(*place));
        for place in places {
            let node = self.nodes[*place].process.as_mut().expect("spawned just now");
            node.wait_until_it_serves()
                .unwrap_or_else(|refusal| panic!("node {place} did not start: {refusal}"));
        }
    }

    /// Starts a node whose words tell whether it serves.
    pub(crate) fn try_start_node(&mut self, place: usize) -> Result<(), String> {
        self.spawn(place);
        let served = self.nodes[place].process.as_mut().expect("spawned just now").wait_until_it_serves();
        if served.is_err() {
            self.nodes[place].process = None;
        }
        served
    }

    /// Starts a process and does not wait for its first word.
    pub(crate) fn spawn(&mut self, place: usize) {
        assert!(self.nodes[place].process.is_none(), "node {place} runs already");
        // A cluster of one has no peers to listen for.
        let listen = (self.nodes.len() > 1).then(|| format!("listen={}", self.network.listen_address(place)));
        let node = &self.nodes[place];
        let mut settings: Vec<&str> = listen.as_deref().into_iter().collect();
        settings.extend(self.plan.settings.iter().chain(&node.settings).map(String::as_str));
        let log = std::fs::File::options().create(true).append(true).open(&node.log).unwrap();
        let namespace = self.network.namespace(place);
        let process = NodeProcess::spawn(&node.dir, &settings, |command| {
            command.stderr(Stdio::from(log)).env(DIES_WITH_PARENT_VARIABLE, "1");
            command.envs(node.environment.iter().map(|(name, value)| (name, value)));
            if let Some(namespace) = namespace {
                command.env(NAMESPACE_VARIABLE, namespace);
            }
        });
        self.nodes[place].process = Some(process);
    }

    /// Every node's place.
    pub(crate) fn places(&self) -> std::ops::Range<usize> {
        0..self.nodes.len()
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        self.places().filter(|place| self.nodes[*place].process.is_some()).collect()
    }

    /// Neither dead nor paused.
    pub(crate) fn awake(&self) -> Vec<usize> {
        self.running().into_iter().filter(|place| !self.nodes[*place].is_paused).collect()
    }

    pub(crate) fn is_running(&self, place: usize) -> bool {
        self.nodes[place].process.is_some()
    }

    pub(crate) fn is_paused(&self, place: usize) -> bool {
        self.nodes[place].is_paused
    }

    pub(crate) fn node_id(&self, place: usize) -> NodeId {
        self.signer(place).node()
    }

    /// The node's own key: for a test that speaks in its name.
    pub(crate) fn signer(&self, place: usize) -> Signer {
        Signer::from_secret(&self.nodes[place].secret)
    }

    pub(crate) fn secret(&self, place: usize) -> [u8; 32] {
        self.nodes[place].secret
    }

    /// How a governance record names the node.
    pub(crate) fn member(&self, place: usize) -> Member {
        member(&self.network, place, &self.nodes[place].secret)
    }

    pub(crate) fn place_of(&self, node: NodeId) -> Option<usize> {
        self.places().find(|place| self.node_id(*place) == node)
    }

    pub(crate) fn dir(&self, place: usize) -> &Path {
        &self.nodes[place].dir
    }

    pub(crate) fn socket(&self, place: usize) -> PathBuf {
        self.nodes[place].dir.join("io_oi.sock")
    }

    /// What the node wrote to its log, over all its starts.
    pub(crate) fn log(&self, place: usize) -> String {
        std::fs::read_to_string(&self.nodes[place].log).unwrap_or_default()
    }

    /// Settings of one node alone, from its next start on.
    pub(crate) fn set(&mut self, place: usize, setting: &str) {
        self.nodes[place].settings.push(setting.to_owned());
    }

    /// Environment of one node alone, from its next start on.
    pub(crate) fn set_environment(&mut self, place: usize, name: &str, value: &str) {
        self.nodes[place].environment.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn clear_environment(&mut self, place: usize) {
        self.nodes[place].environment.clear();
    }

    /// The node keeps its files elsewhere, before its first start.
    pub(crate) fn move_dir(&mut self, place: usize, dir: PathBuf) {
        assert!(!self.is_running(place));
        self.nodes[place].dir = dir;
        self.write_directory(place);
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        node.is_paused = false;
        node.process.take().expect("a node that runs").kill();
    }

    /// Whether the process has ended by itself.
    pub(crate) fn has_ended(&mut self, place: usize) -> bool {
        self.nodes[place].process.as_mut().expect("a node that was started").has_ended()
    }

    /// kill -9 of everybody who has not ended by himself.
    pub(crate) fn kill_all(&mut self) {
        for node in &mut self.nodes {
            node.is_paused = false;
            node.process = None; // Dropping kills.
        }
    }

    /// Clears the place of a node that has ended by itself.
    pub(crate) fn forget(&mut self, place: usize) {
        assert!(self.has_ended(place), "node {place} runs");
        self.nodes[place].process = None;
    }

    /// Asks for a clean stop and waits for it.
    pub(crate) fn stop(&mut self, place: usize) {
        self.nodes[place].process.take().expect("a node that runs").stop();
    }

    /// SIGSTOP.
    pub(crate) fn pause(&mut self, place: usize) {
        self.signal(place, Signal::STOP);
        self.nodes[place].is_paused = true;
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self, place: usize) {
        self.signal(place, Signal::CONT);
        self.nodes[place].is_paused = false;
    }

    fn signal(&self, place: usize, signal: Signal) {
        let process = self.nodes[place].process.as_ref().expect("a node that runs");
        kill_process(Pid::from_raw(process.pid()).expect("a child has a pid"), signal).unwrap();
    }

    /// A client of the node at this place; it may have to wait for a quorum.
    pub(crate) fn attach(&self, place: usize) -> Client {
        attach(&self.socket(place))
    }

    /// A client of a node that has no quorum behind it: it may not be let in at all.
    pub(crate) fn attach_without_quorum(&self, place: usize) -> Option<Client> {
        let options = Options { handshake: Duration::from_secs(1), ..Options::default() };
        Client::attach_with(self.socket(place), options).ok()
    }

    /// Memory that the node's process has for itself.
    pub(crate) fn resident_bytes(&self, place: usize) -> u64 {
        let process = self.nodes[place].process.as_ref().expect("a node that runs");
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("the kernel tells");
        let kibibytes: u64 =
            line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number");
        kibibytes << 10
    }

    /// Cuts every way between two groups of places.
    pub(crate) fn part(&self, ones: &[usize], others: &[usize]) {
        for one in ones {
            for other in others {
                self.network.cut(*one, *other);
                self.network.cut(*other, *one);
            }
        }
    }

    /// Cuts a place off from everybody.
    pub(crate) fn isolate(&self, place: usize) {
        let others: Vec<usize> = self.places().filter(|other| *other != place).collect();
        self.part(&[place], &others);
    }

    /// Every packet arrives again.
    pub(crate) fn mend_all(&self) {
        for from in self.places() {
            self.places().filter(|to| *to != from).for_each(|to| self.network.mend(from, to));
        }
    }

    /// Every committed key of one node: version and value.
    pub(crate) fn committed_table(&self, place: usize) -> BTreeMap<Vec<u8>, (u64, Vec<u8>)> {
        let mut table = BTreeMap::new();
        self.attach(place)
            .scan_committed(b"", |key, value, meta| {
                table.insert(key.to_vec(), (meta.sequence.0, value.to_vec()));
            })
            .unwrap();
        table
    }

    fn print_logs(&self) {
        for place in self.places() {
            let log = self.log(place);
            let lines: Vec<&str> = log.lines().collect();
            println!("--- log of node {place} ({}), last of {} lines", self.node_id(place), lines.len());
            lines
                .iter()
                .skip(lines.len().saturating_sub(LOG_LINES_SHOWN))
                .for_each(|line| println!("{line}"));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.process = None);
        if std::thread::panicking() {
            self.print_logs();
            if let Some(home) = self.home.take() {
                println!("kept: {}", home.keep().display());
            }
        }
    }
}

impl Place {
    fn make(home: &Path, place: usize) -> Self {
        Self {
            dir: home.join(format!("node-{place}")),
            log: home.join(format!("node-{place}.log")),
            secret: random(),
            process: None,
            is_paused: false,
            settings: Vec::new(),
            environment: Vec::new(),
        }
    }
}

/// A client with the patience that a cluster without a leader asks for.
pub(crate) fn attach(socket: &Path) -> Client {
    let patience = soon().saturating_duration_since(std::time::Instant::now());
    let options = Options { patience, handshake: Duration::from_secs(20), ..Options::default() };
    Client::attach_with(socket, options).unwrap()
}

fn genesis_of(plan: &Plan, network: &Network, nodes: &[Place], operator: &Signer) -> SignedGenesis {
    let members = (0..plan.voters).map(|place| member(network, place, &nodes[place].secret)).collect();
    let genesis = Genesis {
        members,
        operators: vec![operator.operator()],
        shards: plan.shards,
        trust: TrustMode::Full,
        control: plan.control,
        hash_seed: random(),
        arbitrators: io_oi_node::AcceptAll.arbitrators(),
        created: io_oi_record::Nanos(1),
    };
    SignedGenesis::sign(genesis, &[operator]).unwrap()
}

/// How a governance record or the genesis names the node at a place.
fn member(network: &Network, place: usize, secret: &[u8; 32]) -> Member {
    let node = Signer::from_secret(secret).node();
    Member { node, name: format!("node-{place}"), address: network.public_address(place).to_string() }
}

/// Private, as a key has to be, and on disk: a test may take the power away at any moment.
fn write_durably(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
}

pub(crate) fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

const LOG_LINES_SHOWN: usize = 60;
