//! From a configuration to a running node, and back.
//!
//! Invariant: a node is handed out only when every shard takes part in its group (alone: leads) and the socket listens;
//! whatever was started before a failure is ended again.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use io_oi_record::{ClusterId, NodeId, ShardId};
use io_oi_resp::{Gateway, GatewayError};
use io_oi_shm::bell::Bell;

use crate::attach::{AttachCounts, House, Housekeeping, Listener, SocketError};
use crate::clock::wall_time;
use crate::config::{Config, ConfigError};
use crate::court::{AcceptAll, Court};
use crate::directory::{Directory, DirectoryError, Founding, Identity};
use crate::executor::{self, Executor, ExecutorError, Seat};
use crate::idle::Placement;
use crate::mail::{NoticeBox, Order, Orders, orders, sound};
use crate::shard::{Boot, BootError, Door, RecoveryProgress, boot};

/// The daemon.
#[derive(Debug)]
pub struct Node;

impl Node {
    /// Starts a node and returns when it serves clients: directory locked, logs read, every shard taking part in
    /// its group. A cluster of one leads then; in a larger one clients are let in as soon as there is a leader.
    ///
    /// # Errors
    /// See [`StartError`]; nothing keeps running.
    pub fn start(config: Config) -> Result<NodeHandle, StartError> {
        Self::start_with(config, |_| {})
    }

    /// As [`Node::start`]; tells now and then how far the logs are read.
    ///
    /// # Errors
    /// See [`StartError`]; nothing keeps running.
    pub fn start_with(
        config: Config,
        mut progress: impl FnMut(RecoveryProgress),
    ) -> Result<NodeHandle, StartError> {
        config.check()?;
        let directory = Directory::open(&config.dir)?;
        let address = config.listen.map_or_else(String::new, |listen| listen.to_string());
        let identity = directory.identify(&Founding {
            name: &config.name,
            address: &address,
            shards: config.shards,
            arbitrators: AcceptAll.arbitrators(),
            now: wall_time(),
        })?;
        let own_uid = rustix::process::geteuid().as_raw();
        let listener = Listener::bind(&config.socket_path(), has_guests(&config, own_uid))?;
        let gateway = config.resp.open(&config.socket_path())?;
        let resp = gateway.as_ref().map(Gateway::address);
        let (config, identity) = (Arc::new(config), Arc::new(identity));
        let counts = Arc::new(AttachCounts::default());
        let notices = NoticeBox::new().map_err(|errno| StartError::Resources(errno.into()))?;
        let common = Common {
            config: config.clone(),
            identity: identity.clone(),
            incarnation: io_oi_shm::random_incarnation(),
            counts: counts.clone(),
            court: Arc::default(),
        };
        let mut crew = Crew::hire(&common, &directory, &notices)?;
        let doors = match crew.wait_for_doors(&mut progress) {
            Ok(doors) => doors,
            Err(error) => {
                crew.dismiss();
                return Err(error);
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        let alarm = notices.alarm();
        let socket_path = config.socket_path();
        let house = House {
            identity: identity.clone(),
            incarnation: common.incarnation,
            own_uid,
            is_alone: config.listen.is_none() && identity.genesis.genesis.members.len() == 1,
            listener,
            doors,
            orders: crew.orders,
            notices,
            counts,
            resp,
            stop: stop.clone(),
            config,
        };
        let thread = keep_house(house, crew.executors, directory)?;
        tracing::info!(
            node = %identity.node, cluster = %identity.cluster, boot = identity.boot,
            socket = %socket_path.display(), "node serves"
        );
        Ok(NodeHandle { gateway, socket_path, identity, stop, alarm, end: Arc::new(End::new(thread)) })
    }
}

/// Runs a node until `stop` says so or a shard fails; signals are the caller's to turn into `stop`.
///
/// # Errors
/// The node did not start, or could not go on.
pub fn run(config: Config, stop: &AtomicBool) -> Result<(), RunError> {
    let node = Node::start(config)?;
    while !stop.load(Ordering::Acquire) && !node.has_ended() {
        std::thread::sleep(STOP_LOOK);
    }
    Ok(node.stop()?)
}

/// A running node. Dropping it stops the node and waits for that.
#[derive(Debug)]
pub struct NodeHandle {
    /// Ends first: what its clients have begun is answered while the node still decides.
    gateway: Option<Gateway>,
    socket_path: PathBuf,
    identity: Arc<Identity>,
    stop: Arc<AtomicBool>,
    alarm: Arc<OwnedFd>,
    end: Arc<End>,
}

impl NodeHandle {
    /// Where clients attach.
    pub fn socket_path(&self) -> &Path {
        &self.socket_path
    }

    /// Where Redis clients are served, if they are.
    pub fn resp_address(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().map(Gateway::address)
    }

    /// The node's public key.
    pub fn node(&self) -> NodeId {
        self.identity.node
    }

    /// The cluster.
    pub fn cluster(&self) -> ClusterId {
        self.identity.cluster
    }

    /// How often a node started in this directory.
    pub fn boot(&self) -> u32 {
        self.identity.boot
    }

    /// Whether the node has ended, in order or not; [`NodeHandle::stop`] tells which without waiting then.
    pub fn has_ended(&self) -> bool {
        self.end.has_come()
    }

    /// Asks the node to stop: what its clients have submitted is answered, everything is flushed. Returns at once.
    pub fn request_stop(&self) {
        self.stop.store(true, Ordering::Release);
        sound(&self.alarm);
    }

    /// Stops the node and waits until it has.
    ///
    /// # Errors
    /// A shard could not go on, now or earlier.
    pub fn stop(mut self) -> Result<(), NodeFailed> {
        drop(self.gateway.take());
        self.request_stop();
        self.end.wait()
    }

    /// Waits until the node ends by itself (a shard failed) or by [`NodeHandle::request_stop`] of another thread.
    ///
    /// # Errors
    /// A shard could not go on.
    pub fn wait(&self) -> Result<(), NodeFailed> {
        self.end.wait()
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        drop(self.gateway.take());
        self.request_stop();
        let _ = self.end.wait();
    }
}

/// A shard could not keep its promises, so the node has ended. What was acknowledged is on disk.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the node has stopped: {what}")]
pub struct NodeFailed {
    /// The shard and its reason.
    pub what: String,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The socket cannot be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Redis clients cannot be served.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// A thread cannot be started.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// A shard cannot be started.
    #[error(transparent)]
    Shard(#[from] BootError),
    /// A shard's thread died while starting.
    #[error("a shard died while starting: its last message in the log says why")]
    Died,
    /// Descriptors or threads are used up.
    #[error("the system has no descriptors or threads left ({0}): raise its limits (ulimit -n, -u)")]
    Resources(std::io::Error),
}

/// Why [`run`] did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The node could not go on.
    #[error(transparent)]
    Failed(#[from] NodeFailed),
}

/// What all shards share.
struct Common {
    config: Arc<Config>,
    identity: Arc<Identity>,
    incarnation: u64,
    counts: Arc<AttachCounts>,
    court: Arc<Court>,
}

/// The shards' threads while they start.
struct Crew {
    executors: Vec<Executor>,
    orders: Vec<Orders>,
    reports: Receiver<Report>,
}

/// What a shard says while it starts.
enum Report {
    Progress(RecoveryProgress),
    Ready(ShardId, Door),
    Failed(BootError),
    /// The sender is gone: always the last word of a shard that started or failed, the only one of one that died.
    Over,
}

impl Crew {
    fn hire(common: &Common, directory: &Directory, notices: &NoticeBox) -> Result<Self, StartError> {
        let (reporter, reports) = channel();
        let mut crew = Self { executors: Vec::new(), orders: Vec::new(), reports };
        let placement = Placement::of(&common.config, common.identity.shards().count());
        for shard in common.identity.shards() {
            let hired = crew.hire_one(common, directory, notices, shard, &placement, &reporter);
            if let Err(error) = hired {
                crew.dismiss();
                return Err(error);
            }
        }
        Ok(crew)
    }

    fn hire_one(
        &mut self,
        common: &Common,
        directory: &Directory,
        notices: &NoticeBox,
        shard: ShardId,
        placement: &Placement,
        reporter: &Sender<Report>,
    ) -> Result<(), StartError> {
        let bell = Bell::create().map_err(StartError::Resources)?;
        let (orders, order_box) = orders().map_err(StartError::Resources)?;
        let job = Boot {
            shard,
            identity: common.identity.clone(),
            incarnation: common.incarnation,
            log_path: directory.shard_path(shard)?,
            evidence_path: directory.evidence_path(),
            config: common.config.clone(),
            court: common.court.clone(),
            orders: order_box,
            own_orders: orders.clone(),
            promise: directory.promise(common.identity.cluster, shard)?,
            notices: notices.sender(shard),
            bell,
            attach_counts: common.counts.clone(),
        };
        let seat = Seat {
            name: format!("io_oi-shard-{shard}"),
            core: placement.cores.get(shard.index()).copied(),
            idle: placement.idle,
        };
        let reporter = Reporter(reporter.clone());
        let executor = executor::spawn(seat, move || {
            let started = boot(job, &mut |progress| reporter.say(Report::Progress(progress)));
            match started {
                Ok((at_work, door)) => {
                    reporter.say(Report::Ready(shard, door));
                    Some(at_work)
                }
                Err(error) => {
                    reporter.say(Report::Failed(error));
                    None
                }
            }
        })?;
        self.orders.push(orders);
        self.executors.push(executor);
        Ok(())
    }

    fn wait_for_doors(
        &mut self,
        progress: &mut impl FnMut(RecoveryProgress),
    ) -> Result<Vec<Door>, StartError> {
        let mut doors: Vec<Option<Door>> = self.orders.iter().map(|_| None).collect();
        let mut over = 0;
        while over < doors.len() {
            match self.reports.recv() {
                Ok(Report::Progress(read)) => progress(read),
                Ok(Report::Ready(shard, door)) => doors[shard.index()] = Some(door),
                Ok(Report::Failed(error)) => return Err(error.into()),
                Ok(Report::Over) => over += 1,
                Err(_) => return Err(StartError::Died),
            }
        }
        doors.into_iter().collect::<Option<Vec<Door>>>().ok_or(StartError::Died)
    }

    /// Ends every shard that runs.
    fn dismiss(self) {
        for orders in &self.orders {
            orders.send(Order::Stop);
        }
        for executor in self.executors {
            executor.join();
        }
    }
}

/// Says `Over` when it is dropped, also by a panic.
struct Reporter(Sender<Report>);

impl Reporter {
    fn say(&self, report: Report) {
        // Nobody listens any more when another shard has failed.
        let _ = self.0.send(report);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.say(Report::Over);
    }
}

/// The end of a node: waited for by anybody, known for ever after.
#[derive(Debug)]
struct End {
    thread: Mutex<Option<JoinHandle<Result<(), String>>>>,
    came: Mutex<Option<Result<(), NodeFailed>>>,
}

impl End {
    fn new(thread: JoinHandle<Result<(), String>>) -> Self {
        Self { thread: Mutex::new(Some(thread)), came: Mutex::new(None) }
    }

    fn has_come(&self) -> bool {
        self.thread.lock().expect(UNPOISONED).as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn wait(&self) -> Result<(), NodeFailed> {
        let mut came = self.came.lock().expect(UNPOISONED);
        if let Some(end) = &*came {
            return end.clone();
        }
        let thread =
            self.thread.lock().expect(UNPOISONED).take().expect("the first to wait finds the thread");
        let end = match thread.join() {
            Ok(end) => end.map_err(|what| NodeFailed { what }),
            Err(_) => Err(NodeFailed {
                what: "housekeeping broke a promise of its own: please report this".to_owned(),
            }),
        };
        *came = Some(end.clone());
        end
    }
}

const UNPOISONED: &str = "nobody panics while holding this";

fn keep_house(
    house: House,
    executors: Vec<Executor>,
    directory: Directory,
) -> Result<JoinHandle<Result<(), String>>, StartError> {
    let body = move || {
        let end = Housekeeping::new(house).run();
        let ends: Vec<bool> = executors.into_iter().map(Executor::join).collect();
        drop(directory); // Only now may another node have it.
        end.and(if ends.into_iter().all(|in_order| in_order) {
            Ok(())
        } else {
            Err("a shard's thread died".to_owned())
        })
    };
    std::thread::Builder::new().name("io_oi-house".to_owned()).spawn(body).map_err(StartError::Resources)
}

/// Whether anybody but the node's user and root may attach.
fn has_guests(config: &Config, own_uid: u32) -> bool {
    config.clients.iter().any(|rule| rule.uid != own_uid && rule.uid != 0)
}

const STOP_LOOK: Duration = Duration::from_millis(50);
