//! From a directory to a shard at work: segments, log, recovery, epoch.
//!
//! Invariant: a shard is handed out only when its log is read to the end and it takes part in its group; where the node is
//! a quorum by itself, when its claim to a new epoch is durable.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use io_oi_record::limits::PROPOSAL_BYTES_MAX;
use io_oi_record::{Nanos, SessionId, ShardId};
use io_oi_shard::{Event, Machine, RecoverError};
use io_oi_shm::bell::Bell;
use io_oi_shm::{CreateError, HashSeed, feed, hot};
use io_oi_wal::{OpenError, StrategyWish};

use super::admission::Gate;
use super::archivist::Archivist;
use super::board::{Board, Tally};
use super::clerk::{Clerk, Desk};
use super::judges::Judges;
use super::peers::{AddressError, Peers, PeersConfig, listen_address};
use super::recovery::{Recovered, recover};
use super::teller::Teller;
use super::watch::FlushWatch;
use super::world::{FEED_FRAME_BYTES_MAX, KeySpace, Parts, World};
use super::{Phase, Shard};
use crate::attach::AttachCounts;
use crate::clock::Clock;
use crate::config::{Config, WalStrategy};
use crate::court::Court;
use crate::directory::{DirectoryError, Identity, Promise};
use crate::mail::{LastWord, Notices, OrderBox, Orders};

/// Everything a shard has to be given.
pub(crate) struct Boot {
    pub(crate) shard: ShardId,
    pub(crate) identity: Arc<Identity>,
    pub(crate) incarnation: u64,
    pub(crate) log_path: PathBuf,
    pub(crate) evidence_path: PathBuf,
    pub(crate) config: Arc<Config>,
    pub(crate) court: Arc<Court>,
    pub(crate) orders: OrderBox,
    /// The other end of `orders`, for the shard's own helpers.
    pub(crate) own_orders: Orders,
    pub(crate) promise: Promise,
    pub(crate) notices: Notices,
    pub(crate) bell: Bell,
    pub(crate) attach_counts: Arc<AttachCounts>,
}

/// What clients get of a shard, besides their own lane.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) hot: OwnedFd,
    pub(crate) feed: OwnedFd,
    pub(crate) counters: OwnedFd,
    pub(crate) bell: OwnedFd,
    /// Sessions that the log holds open: their clients were attached to an earlier boot.
    pub(crate) open_sessions: Vec<SessionId>,
}

/// How far one shard has read its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryProgress {
    /// The shard.
    pub shard: ShardId,
    /// Entries read.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of all segment files: an upper bound, because the newest are not full.
    pub bytes_max: u64,
}

/// Opens everything, reads the log, claims the next epoch. Runs on the shard's own thread.
pub(crate) fn boot(
    mut boot: Boot,
    progress: &mut dyn FnMut(RecoveryProgress),
) -> Result<(Shard, Door), BootError> {
    let shard = boot.shard;
    let failed = |what: BootReason| BootError { shard, what };
    let segment = |error: CreateError| failed(BootReason::Segment(error));
    let feed = feed::Writer::create(&feed_config(&boot)).map_err(segment)?;
    let board = Board::create(boot.incarnation, shard.get()).map_err(segment)?;
    let Recovered { mut machine, hot, wal, blocks, office, .. } = recover(&boot, progress).map_err(failed)?;
    let judges = judges(&mut machine, &boot.court);
    // The last boot may have ended between the log's flush of a promise and the file's: both places say it before
    // anything is signed.
    boot.promise.raise(machine.promised()).map_err(|error| failed(BootReason::Promise(error)))?;
    let door = door(&machine, &hot, &feed, &board, &boot.bell)
        .map_err(|error| failed(BootReason::Descriptors(error)))?;
    let peers = peers(&boot, &machine).map_err(failed)?;
    let clerk = Clerk::hire(Desk {
        shard,
        promise: boot.promise,
        log_config: log_config(shard, &boot.identity, &boot.config),
        log_path: boot.log_path,
        evidence_path: boot.evidence_path,
        orders: boot.own_orders,
        notices: boot.notices.clone(),
        identity: boot.identity.clone(),
        court: boot.court,
    });
    let clerk = clerk.map_err(|error| failed(BootReason::Descriptors(error)))?;
    let archivist = Archivist::hire(office).map_err(|error| failed(BootReason::Descriptors(error)))?;
    let genesis = &boot.identity.genesis.genesis;
    let keys = KeySpace { shard, shards: genesis.shards, seed: HashSeed::new(genesis.hash_seed) };
    let gate = Gate::new(boot.config.wal.reserve_bytes);
    let tally = Tally::default();
    let last_word = LastWord::new(boot.notices.clone());
    let notices = boot.notices;
    let parts = Parts { keys, judges, hot, feed, wal, blocks, peers, clerk, gate, tally, board, notices };
    let mut shard = Shard {
        machine,
        world: World::new(parts),
        orders: boot.orders,
        dead_sessions: VecDeque::new(),
        watch: FlushWatch::default(),
        bell: boot.bell,
        attach_counts: boot.attach_counts,
        node: boot.identity.node,
        boot: boot.identity.boot,
        teller: Teller::new(shard),
        phase: Phase::Serving,
        frame: vec![0; PROPOSAL_BYTES_MAX].into_boxed_slice(),
        beaten_at: Nanos::ZERO,
        has_failed: false,
        archivist,
        _last_word: last_word,
    };
    shard.take_up_work().map_err(|what| failed(BootReason::Epoch(what)))?;
    Ok((shard, door))
}

/// Every component that the log holds is looked at before anybody is let in.
fn judges(machine: &mut Machine, court: &Court) -> Judges {
    let (mut judges, now) = (Judges::new(), Clock::default().now());
    while let Some((component, bytes)) = machine.next_to_admit() {
        let is_admitted = judges.note(component, court.admit(component, &bytes));
        machine.handle(now, Event::Admitted { component, is_admitted });
    }
    judges
}

/// The endpoint, when there is anybody to talk to or an address to be found under.
fn peers(boot: &Boot, machine: &Machine) -> Result<Option<Peers>, BootReason> {
    let listen = listen_address(boot.config.listen, &boot.identity, boot.shard)?;
    let Some(listen) = listen else { return Ok(None) };
    let config = PeersConfig {
        shard: boot.shard,
        identity: &boot.identity,
        listen,
        seed: seed(boot),
        orders: boot.own_orders.clone(),
    };
    Ok(Some(Peers::bind(config, machine)?))
}

/// Different on every node, shard and start: nodes that wait at random must not wait alike.
pub(super) fn seed(boot: &Boot) -> u64 {
    let started = u64::from(boot.identity.boot) << 16 | u64::from(boot.shard.get());
    boot.identity.node.tag().0 ^ started.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ boot.incarnation
}

impl Shard {
    /// Begins to take part. A node that is a quorum by itself leads before anybody is let in; others serve at once, and
    /// what their clients want waits for a leader.
    fn take_up_work(&mut self) -> Result<(), String> {
        let mut clock = Clock::default();
        let now = clock.now();
        self.machine.start(now);
        self.world.drain(&mut self.machine, now);
        let node = self.node;
        let is_alone = self.machine.members().all(|(member, is_voter)| is_voter == (member.node == node));
        let is_wanted = |shard: &Self| shard.phase == Phase::Serving && shard.world.fault.is_none();
        while is_alone && !self.machine.is_leading() && is_wanted(self) {
            if let Some(reason) = self.machine.mute() {
                return Err(reason.to_string());
            }
            clock.turn();
            self.turn(&mut clock);
            self.look_around(&mut clock);
            rustix::thread::sched_yield();
        }
        clock.turn();
        let now = clock.now();
        self.world.hot.beat(now.wall.get());
        self.follow_machine();
        self.show_board(now);
        self.world.fault.take().map_or(Ok(()), Err)
    }
}

/// Why a shard did not start.
#[derive(Debug, thiserror::Error)]
#[error("shard {shard}: {what}")]
pub struct BootError {
    /// The shard.
    pub shard: ShardId,
    /// The reason.
    pub what: BootReason,
}

/// The reasons.
#[derive(Debug, thiserror::Error)]
pub enum BootReason {
    /// A shared segment could not be made.
    #[error(transparent)]
    Segment(CreateError),
    /// The genesis and the key do not make a group.
    #[error("the genesis does not fit this node: {0}")]
    Machine(io_oi_shard::ConfigError),
    /// The node cannot be reached by the others.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The endpoint could not be made.
    #[error("no way to the other nodes: {0}. Check `listen` and the genesis' address of this node.")]
    Endpoint(#[from] io_oi_quic::BindError),
    /// The log could not be opened.
    #[error(transparent)]
    Log(OpenError),
    /// The log was read, but what it says cannot be.
    #[error(
        "the log contradicts itself: {0}. Nothing was changed. In a cluster, take this node out (io_oi peer remove) and let \
         it join again in an empty directory, under a new key (io_oi peer add, then io_oi peer promote): on an old copy of \
         its log it would be mute. A node alone is restored from a backup of its whole directory."
    )]
    Contradiction(RecoverError),
    /// A checkpoint that is not used: the caller reads more of the log instead.
    #[error("the checkpoint is not used: {0}")]
    Checkpoint(String),
    /// A log entry of a kind that this program does not know.
    #[error(
        "the log holds an entry of kind {0}, which this program does not know: run the release that wrote it"
    )]
    KindUnknown(u8),
    /// The log holds more than the hot tier.
    #[error(
        "the log holds more than the hot tier takes ({0}). Nothing was changed. Raise that setting and start again."
    )]
    HotTierTooSmall(hot::Full),
    /// The promise file could not be brought level with the log.
    #[error(transparent)]
    Promise(DirectoryError),
    /// No descriptor is left.
    #[error("no file descriptor is left ({0}): raise the limit (ulimit -n)")]
    Descriptors(std::io::Error),
    /// The epoch could not be claimed.
    #[error("the next epoch could not be claimed: {0}")]
    Epoch(String),
}

fn feed_config(boot: &Boot) -> feed::Config {
    feed::Config {
        data_bytes: boot.config.hot.feed_bytes as usize,
        frame_bytes_max: FEED_FRAME_BYTES_MAX,
        incarnation: boot.incarnation,
        shard: boot.shard.get(),
    }
}

pub(super) fn log_config(shard: ShardId, identity: &Identity, settings: &Config) -> io_oi_wal::Config {
    let mut config = io_oi_wal::Config::new(identity.cluster.0, shard.get());
    config.segment_bytes = settings.wal.segment_bytes;
    config.strategy = match settings.wal.strategy {
        WalStrategy::Auto => StrategyWish::Auto,
        WalStrategy::Linked => StrategyWish::Linked,
        WalStrategy::Fua => StrategyWish::Fua,
        WalStrategy::Thread => StrategyWish::Thread,
    };
    config
}

fn door(
    machine: &Machine,
    hot: &hot::Writer,
    feed: &feed::Writer,
    board: &Board,
    bell: &Bell,
) -> std::io::Result<Door> {
    Ok(Door {
        hot: hot.fd().try_clone_to_owned()?,
        feed: feed.fd().try_clone_to_owned()?,
        counters: board.writer().fd().try_clone_to_owned()?,
        bell: bell.fd().try_clone_to_owned()?,
        open_sessions: machine.open_sessions().collect(),
    })
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Boot")
            .field("shard", &self.shard)
            .field("boot", &self.identity.boot)
            .finish_non_exhaustive()
    }
}
