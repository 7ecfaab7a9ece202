//! One box: its key, its clocks, its disk, its promise file, and the process that runs on it, if one does.
//!
//! Invariant: what survives a crash is the disk, the promise file and the count of boots, and nothing else.

use io_oi_record::{Epoch, Hash, Nanos, Sequence, SessionId};
use io_oi_shard::{Capacity, Config, Event, Lost, Machine, PastLost, Timers, Verify};
use io_oi_wal::sim_disk::{Image, SimDisk};
use io_oi_wal::{Damage, LogIndex, OpenError, Wal, buffer_bytes_for};

use crate::clock::Clock;
use crate::cluster::{Cluster, Identity, SHARD};
use crate::disk::Medium;
use crate::planted::Bug;
use crate::process::{Io, PLACES_MAX, Process, Recovering, Stop};
use crate::sights::Sight;

/// Longest block of an invented cluster: room for one record of the largest size, so that segments can be small.
const BLOCK_BYTES_MAX: usize = 80 * 1024;
const FRAME_BYTES_MAX: usize = BLOCK_BYTES_MAX + 64 * 1024 / 4;
const SEGMENT_BYTES: u64 = 256 * 1024;

/// How every machine of a cluster is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) timers: Timers,
    pub(crate) capacity: Capacity,
    pub(crate) verify: Verify,
}

impl Setup {
    pub(crate) fn new(
        sessions_max: usize,
        session_window: usize,
        block_records_max: usize,
        verify: Verify,
    ) -> Self {
        let capacity =
            Capacity { sessions_max, session_window, block_bytes_max: BLOCK_BYTES_MAX, block_records_max };
        Self { timers: Timers::default(), capacity, verify }
    }
}

/// One box.
pub(crate) struct Node {
    pub(crate) identity: Identity,
    pub(crate) clock: Clock,
    pub(crate) disk: Medium,
    pub(crate) promised: Epoch,
    /// What the promise file says beside that: the node is mute for good.
    pub(crate) past_lost: Option<PastLost>,
    pub(crate) boot: u32,
    pub(crate) process: Option<Process>,
    /// Until when the process stands still.
    pub(crate) paused_until: u64,
    /// Until when nobody starts it again.
    pub(crate) down_until: u64,
    /// For how long it stays down after its next death.
    pub(crate) down_for_ns: u64,
    /// Steps until it is killed between two effects.
    pub(crate) kill_after: Option<u64>,
    /// How many times longer than usual a flush takes.
    pub(crate) flush_factor: u64,
    pub(crate) wake_at: Option<Nanos>,
    /// A copy of the disk and of what was promised then, for restoring.
    pub(crate) backup: Option<(Image, Epoch)>,
    /// Its disk was rolled back: it has to be silent, and nothing is expected of it.
    pub(crate) is_rolled_back: bool,
    /// Its disk has rotted: what it lost it has to get back.
    pub(crate) has_rotted: bool,
    /// It was told that its promise file says that it is mute for good.
    pub(crate) is_silenced: bool,
    /// It was removed or barred: nothing is expected of it any more.
    pub(crate) has_left: bool,
    /// It is convicted: clients keep away from it.
    pub(crate) is_shunned: bool,
    /// It belongs to the cluster by now, or did.
    pub(crate) is_in_use: bool,
}

/// Why a node does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BootFailure {
    /// Its disk has no room for the log.
    NoSpace,
    /// It was killed while it started.
    Killed,
    /// What it found must never be found.
    Broken(String),
}

impl Node {
    pub(crate) fn new(identity: Identity, clock: Clock, disk: Medium) -> Self {
        Self {
            identity,
            clock,
            disk,
            promised: Epoch::NONE,
            past_lost: None,
            boot: 0,
            process: None,
            paused_until: 0,
            down_until: 0,
            down_for_ns: 0,
            kill_after: None,
            flush_factor: 1,
            wake_at: None,
            backup: None,
            is_rolled_back: false,
            has_rotted: false,
            is_silenced: false,
            has_left: false,
            is_shunned: false,
            is_in_use: false,
        }
    }

    /// Whether clients may attach here.
    pub(crate) fn takes_clients(&self) -> bool {
        self.is_in_use && !self.has_left && !self.is_shunned
    }

    pub(crate) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it holds again whatever its disk has lost.
    pub(crate) fn is_whole(&self) -> bool {
        !self.has_rotted || self.process.as_ref().is_some_and(|process| !process.machine.is_repairing())
    }

    /// Starts the process: reads the log through a new machine. A log with a damaged middle is repaired first: it goes on
    /// from its whole prefix, and the machine is told what it may have held.
    pub(crate) fn start(
        &mut self,
        cluster: &Cluster,
        setup: &Setup,
        seed: u64,
        io: &mut Io<'_>,
    ) -> Result<(), BootFailure> {
        assert!(self.process.is_none(), "a node starts once at a time");
        self.boot += 1;
        self.wake_at = None;
        let log = log_config(cluster);
        let mut loss = Loss::default();
        let mut opened = self.read_log(cluster, setup, seed, loss, io);
        if let Err(Reading::Damaged) = opened {
            let (_, found) =
                Wal::open_repairing_on(self.disk.attach(), log, |_, _| Ok(())).map_err(failure)?;
            io.sights.see(Sight::Repair);
            io.story.tell(io.time, format_args!("n{} repairs its log: {:?}", io.node, found.damage));
            loss = found.damage.map_or(loss, Loss::of);
            io.witness.disk_lost(io.node, loss.sequence);
            opened = self.read_log(cluster, setup, seed, loss, io);
        }
        if let Err(Reading::LostBefore(known)) = opened {
            opened = self.read_log(cluster, setup, seed, known, io);
        }
        let (mut machine, wal, recovered) = match opened {
            Ok(read) => read,
            Err(Reading::Failed(failed)) => return Err(failed),
            Err(other) => return Err(BootFailure::Broken(format!("{other:?} after a repair"))),
        };
        if io.bug != Some(Bug::NoPromiseFile) {
            self.promised = self.promised.max(machine.promised());
        }
        while let Some((component, _)) = machine.next_to_admit() {
            let is_admitted = component == crate::judge::component();
            machine.handle(io.now, Event::Admitted { component, is_admitted });
        }
        machine.start(io.now);
        let own_session = SessionId::of_node(self.identity.node.tag(), self.boot);
        let mut process = Process::new(machine, own_session, wal, recovered);
        let drained = process.drain(io);
        self.process = Some(process);
        match drained {
            Ok(()) => Ok(()),
            Err(Stop::Killed) => Err(BootFailure::Killed),
            Err(Stop::Fault(_)) if self.disk.is_full() => Err(BootFailure::NoSpace),
            Err(Stop::Fault(what)) => Err(BootFailure::Broken(what)),
        }
    }

    fn read_log(
        &mut self,
        cluster: &Cluster,
        setup: &Setup,
        seed: u64,
        loss: Loss,
        io: &mut Io<'_>,
    ) -> Result<(Machine, Wal<SimDisk>, Recovering), Reading> {
        self.disk.process_died(); // Whatever an earlier opening asked of the disk is forgotten.
        let config = self.machine_config(cluster, setup, seed, loss);
        let broken = |what: String| Reading::Failed(BootFailure::Broken(what));
        let mut machine = Machine::new(config).map_err(|error| broken(error.to_string()))?;
        #[cfg(feature = "planted")]
        if let Some(crate::planted::Bug::Machine(bug)) = io.bug {
            machine.plant(bug);
        }
        let mut recovered = Recovering::new();
        let node = &*self;
        let opened = Wal::open_on(node.disk.attach(), log_config(cluster), |place, frame| {
            recovered.recover(io, &mut machine, place, &frame)?;
            let may_go_on = io.bug.is_none() && !machine.is_repairing();
            if may_go_on && goes_on_from_checkpoint(seed, place) {
                io.sights.see(Sight::Checkpoint);
                let config = node.machine_config(cluster, setup, seed, loss);
                replace(&mut machine, config)?;
            }
            Ok(())
        });
        match opened {
            Ok((wal, found)) => match found.damage.map(Loss::of) {
                Some(known) if known != loss => Err(Reading::LostBefore(known)),
                _ => Ok((machine, wal, recovered)),
            },
            Err(OpenError::Damaged { .. }) => Err(Reading::Damaged),
            Err(error) => Err(Reading::Failed(failure(error))),
        }
    }

    fn machine_config<'a>(&self, cluster: &'a Cluster, setup: &Setup, seed: u64, loss: Loss) -> Config<'a> {
        Config {
            cluster: cluster.id,
            shard: SHARD,
            signer: self.identity.signer(),
            genesis: &cluster.genesis,
            arbitrators: Hash::ZERO,
            judge_versions: crate::judge::VERSIONS,
            boot: self.boot,
            seed,
            timers: setup.timers,
            capacity: setup.capacity,
            verify: setup.verify,
            promised: self.promised.max(loss.epoch),
            lost: loss.mark.map(|mark| Lost { sequence: loss.sequence, mark: mark.0 }),
            past_lost: self.past_lost,
        }
    }
}

/// Whether a start takes a checkpoint behind this entry of its log and goes on from it: half of all starts do, a few times.
fn goes_on_from_checkpoint(seed: u64, place: LogIndex) -> bool {
    let drawn = (seed ^ place.0).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
    seed.count_ones().is_multiple_of(2) && drawn.is_multiple_of(CHECKPOINT_ONE_IN)
}

/// One entry in so many.
const CHECKPOINT_ONE_IN: u64 = 24;

/// Puts a new machine in the place of one that reads its log; it knows what that one had read, and nothing else of it.
fn replace(machine: &mut Machine, config: Config<'_>) -> Result<(), String> {
    let genesis = config.genesis;
    let fresh = Machine::new(config).map_err(|error| error.to_string())?;
    let checkpoint = std::mem::replace(machine, fresh).into_checkpoint();
    machine.restore(genesis, &checkpoint).map_err(|error| error.to_string())
}

/// What a repaired log has once held at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Loss {
    epoch: Epoch,
    sequence: Sequence,
    /// The frame that tells of it, if anything was lost.
    mark: Option<LogIndex>,
}

impl Loss {
    fn of(damage: Damage) -> Self {
        let (epoch, sequence) = (Epoch(damage.highest_epoch), Sequence(damage.highest_sequence));
        Self { epoch, sequence, mark: Some(damage.mark) }
    }
}

/// Why a log was not read to its end.
#[derive(Debug)]
enum Reading {
    /// It has to be repaired first.
    Damaged,
    /// It was repaired before, and the machine has to know.
    LostBefore(Loss),
    Failed(BootFailure),
}

fn failure(error: OpenError) -> BootFailure {
    match error {
        OpenError::NoSpace { .. } => BootFailure::NoSpace,
        error => BootFailure::Broken(error.to_string()),
    }
}

/// Bytes of each buffer of a log.
pub(crate) const BUFFER_BYTES: usize = buffer_bytes_for(FRAME_BYTES_MAX);

fn log_config(cluster: &Cluster) -> io_oi_wal::Config {
    io_oi_wal::Config {
        segment_bytes: SEGMENT_BYTES,
        segments_ahead: 2,
        frame_bytes_max: FRAME_BYTES_MAX,
        buffer_bytes: BUFFER_BYTES,
        places_max: PLACES_MAX,
        ..io_oi_wal::Config::new(cluster.id.0, SHARD.0)
    }
}
