//! The nodes of `io_oi dev`: one genesis, one operator key, as many child processes as asked for.
//!
//! ```text
//! DIR/                 one node: the node's own directory
//! DIR/cluster.genesis  several: signed by the operator key beside it
//! DIR/operator.key
//! DIR/n1/ DIR/n2/ …    the nodes' directories
//! ```
//!
//! Invariant: a directory that was founded for so many nodes is never run with another number.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use io_oi_client::{Client, Options};
use io_oi_node::free_loopback_ports;
use io_oi_record::{ControlMode, Member, Signer, TrustMode};

use super::child::{NodeProcess, Running};
use crate::failure::Failure;
use crate::genesis::{self, Founding};
use crate::keys;
use crate::view::View;

/// One node of the fleet and its process.
pub(crate) struct Vessel {
    pub(crate) name: String,
    pub(crate) node: NodeProcess,
    /// `None` between its death and its next start.
    pub(crate) running: Option<Running>,
    started: Instant,
}

/// All of them.
pub(crate) struct Fleet {
    pub(crate) vessels: Vec<Vessel>,
    /// The key whose owner decides about members and leaders.
    pub(crate) operator_key: PathBuf,
}

impl Fleet {
    /// Founds a cluster in `dir`, or takes up the one that is there.
    pub(crate) fn prepare(
        dir: &Path,
        nodes: Option<u16>,
        shards: Option<u16>,
        socket: Option<&Path>,
        resp: Option<SocketAddr>,
    ) -> Result<Self, Failure> {
        let found = founded_nodes(dir)?;
        if let (Some(found), Some(asked)) = (found, nodes)
            && usize::from(asked) != found
        {
            return Err(Failure::with_help(
                format!("{} was founded for {found} nodes, not for {asked}", dir.display()),
                "leave --nodes out, or choose another directory with --dir",
            ));
        }
        let count = found.unwrap_or_else(|| nodes.unwrap_or(NODES_DEFAULT).into());
        if count == 1 {
            return Ok(Self::of_one(dir, shards, socket, resp));
        }
        if socket.is_some() {
            return Err(Failure::Usage {
                what: "--socket names the socket of one node: use it with --nodes 1".to_owned(),
            });
        }
        if found.is_none() {
            found_cluster(dir, count, shards.unwrap_or(1))?;
        }
        let vessel = |name: String| {
            let home = dir.join(&name);
            let socket = home.join("io_oi.sock");
            Vessel::new(name, NodeProcess { dir: home, socket, shards: None, shares_cores: true, resp })
        };
        let vessels = (1..=count).map(|number| vessel(format!("n{number}"))).collect();
        Ok(Self { vessels, operator_key: dir.join(OPERATOR_KEY) })
    }

    fn of_one(dir: &Path, shards: Option<u16>, socket: Option<&Path>, resp: Option<SocketAddr>) -> Self {
        let socket = socket.map_or_else(|| dir.join("io_oi.sock"), Path::to_owned);
        let node = NodeProcess { dir: dir.to_owned(), socket, shards, shares_cores: false, resp };
        // A cluster of one is its own operator.
        Self { vessels: vec![Vessel::new("node".to_owned(), node)], operator_key: dir.join("node.key") }
    }

    /// Starts every node that does not run.
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        self.vessels.iter_mut().filter(|vessel| vessel.running.is_none()).try_for_each(Vessel::start)
    }

    /// Attaches to one of them as soon as it takes clients; a node that dies meanwhile is an error.
    pub(crate) fn attach(&mut self, index: usize, name: &str, patience: Duration) -> Result<Client, Failure> {
        let options = Options { name: name.to_owned(), reattach: patience, ..Options::default() };
        let Vessel { node, running, .. } = &mut self.vessels[index];
        let running = running.as_mut().ok_or_else(|| Failure::other("a node is down that should serve"))?;
        running.attach(&node.socket, &options, patience)
    }

    /// Where each node that runs serves Redis clients, by its own word. From then on it keeps that place when it is started
    /// again, as long as nobody else has taken it.
    pub(crate) fn learn_resp_addresses(&mut self) -> Vec<SocketAddr> {
        for vessel in self.vessels.iter_mut().filter(|vessel| vessel.node.resp.is_some()) {
            if let Ok(status) = View::at(&vessel.node.socket).status() {
                vessel.node.resp = status.resp.or(vessel.node.resp);
            }
        }
        self.vessels.iter().filter_map(|vessel| vessel.node.resp).collect()
    }

    /// The node that leads shard 0, by its own word, once there is one.
    pub(crate) fn wait_for_leader(
        &mut self,
        patience: Duration,
        interrupted: &AtomicBool,
    ) -> Result<usize, Failure> {
        if self.vessels.len() == 1 {
            return Ok(0);
        }
        let end = Instant::now() + patience;
        loop {
            if let Some(index) = self.leader() {
                return Ok(index);
            }
            for vessel in &mut self.vessels {
                if let Some(running) = &mut vessel.running {
                    running.check()?;
                }
            }
            if interrupted.load(Ordering::Relaxed) {
                return Err(Failure::Quiet { exit_code: 0 });
            }
            if Instant::now() >= end {
                return Err(Failure::with_help(
                    format!("no node leads after {} s", patience.as_secs()),
                    format!("the logs may say why: {}", self.vessels[0].node.dir.join("node.log").display()),
                ));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The node that leads shard 0 now, by its own word.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leads = |vessel: &Vessel| -> Option<bool> {
            vessel.running.as_ref()?;
            let status = View::at(&vessel.node.socket).status().ok()?;
            Some(status.shards.first()?.leader.as_deref() == Some(&status.node))
        };
        self.vessels.iter().position(|vessel| leads(vessel) == Some(true))
    }

    /// Starts a node again that somebody killed; one that dies at once is an error with its last words.
    pub(crate) fn mend(&mut self) -> Result<Option<String>, Failure> {
        let is_alone = self.vessels.len() == 1;
        for vessel in &mut self.vessels {
            let Some(running) = &mut vessel.running else { continue };
            let Err(failure) = running.check() else { continue };
            if vessel.started.elapsed() < LIVES_MIN || is_alone {
                return Err(failure);
            }
            vessel.running = None;
            vessel.start()?;
            return Ok(Some(vessel.name.clone()));
        }
        Ok(None)
    }

    /// Stops all, in order; the first failure is told when all have ended.
    pub(crate) fn stop(&mut self, patience: Duration) -> Result<(), Failure> {
        let mut asked: Vec<Running> =
            self.vessels.iter_mut().filter_map(|vessel| vessel.running.take()).collect();
        asked.iter_mut().for_each(Running::ask_to_stop);
        let ends: Vec<Result<(), Failure>> =
            asked.into_iter().map(|running| running.stop(patience)).collect();
        ends.into_iter().collect()
    }
}

impl Vessel {
    fn new(name: String, node: NodeProcess) -> Self {
        Self { name, node, running: None, started: Instant::now() }
    }

    /// Starts the process.
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        self.started = Instant::now();
        self.running = Some(self.node.start()?);
        Ok(())
    }

    /// SIGKILL: what a power cut is to a process. Gives the process id.
    pub(crate) fn kill_hard(&mut self) -> Result<u32, Failure> {
        let running = self.running.take().ok_or_else(|| Failure::other("the node is down already"))?;
        let id = running.id();
        running.kill_hard()?;
        Ok(id)
    }
}

/// How many nodes the directory was founded for.
fn founded_nodes(dir: &Path) -> Result<Option<usize>, Failure> {
    let genesis = dir.join(GENESIS);
    if genesis.exists() {
        return Ok(Some(genesis::read_complete(&genesis)?.genesis.members.len()));
    }
    Ok(dir.join("node.key").exists().then_some(1))
}

fn found_cluster(dir: &Path, count: usize, shards: u16) -> Result<(), Failure> {
    let operator = keys::load_or_make(&dir.join(OPERATOR_KEY))?;
    let ports = free_loopback_ports(count, shards).ok_or_else(|| {
        Failure::with_help("no free ports on loopback", "end what holds them, or use fewer nodes and shards")
    })?;
    let mut members = Vec::new();
    for (index, port) in ports.into_iter().enumerate() {
        let name = format!("n{}", index + 1);
        let node = genesis::make_node_directory(&dir.join(&name))?.node();
        members.push(Member { node, name, address: format!("127.0.0.1:{port}") });
    }
    let founding = Founding {
        members,
        operators: vec![operator.operator()],
        shards,
        trust: TrustMode::Full,
        control: ControlMode::Competitive,
    };
    let signers: [Signer; 1] = [operator];
    let signed = founding.sign(&signers)?;
    for member in &signed.genesis.members {
        genesis::save(&signed, &dir.join(&member.name).join("genesis"))?;
    }
    // Last: a founding that was cut off is begun again.
    genesis::save(&signed, &dir.join(GENESIS))
}

const GENESIS: &str = "cluster.genesis";
const OPERATOR_KEY: &str = "operator.key";
/// Enough to lose one and go on.
const NODES_DEFAULT: u16 = 3;
/// A node that dies sooner would die again.
const LIVES_MIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_number_of_nodes() {
        let dir = tempfile::tempdir().unwrap();
        let fleet = Fleet::prepare(dir.path(), Some(5), Some(2), None, None).unwrap();
        assert_eq!(fleet.vessels.len(), 5);
        let genesis = genesis::read_complete(&dir.path().join(GENESIS)).unwrap().genesis;
        assert_eq!((genesis.members.len(), genesis.shards), (5, 2));
        assert_eq!(Fleet::prepare(dir.path(), None, None, None, None).unwrap().vessels.len(), 5);
        assert!(Fleet::prepare(dir.path(), Some(3), None, None, None).is_err());
        assert_eq!(genesis::read_complete(&dir.path().join(GENESIS)).unwrap().genesis, genesis);
    }
}
