//! The command line: one target, the nodes it runs against, how long, and what to write.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};
use io_oi_record::Durability;

use crate::output::Files;
use crate::report::Load;

/// Measures a running io_oi node, or one of its own, beside the floors of this host.
#[derive(Debug, Parser)]
#[command(name = "latency-probe", version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// What to measure
    #[command(subcommand)]
    pub target: Target,
    /// Which nodes
    #[command(flatten)]
    pub nodes: NodeOptions,
    /// How long
    #[command(flatten)]
    pub extent: Extent,
    /// Print exactly one JSON object on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Which files
    #[command(flatten)]
    pub files: Files,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Target {
    /// Reads of the hot tier from another process, beside one dependent load over as many bytes
    HotRead(HotRead),
    /// Puts into the client ring, and how soon another process sees the tentative value
    Put(Put),
    /// Put to receipt: latency in an open loop, or throughput in a closed one
    Commit(Commit),
    /// The write-ahead log alone, beside a plain file with the same blocks and the same flush
    Wal(Wal),
    /// One isolated decision of the judge risk-limit, beside the same check as a plain function
    Judge,
    /// For how long this host stops a thread that never sleeps
    Hiccup,
    /// Real market-by-order data through the cluster, and a comparison of the resulting book on every node
    Replay(Replay),
    /// How long nobody can commit: when the leader is killed, and when the lead is handed over by plan
    Failover(Failover),
    /// A node as a child process of the probe
    #[command(hide = true)]
    NodeRun(NodeRun),
    /// Decisions without the right to call the kernel, as a child process of the probe
    #[command(hide = true)]
    JudgeAlone(JudgeAlone),
    /// A hot table without a node, as a child process of the probe
    #[command(hide = true)]
    TableRun(TableRun),
    /// Watches one key and notes how old its values are when first seen
    #[command(hide = true)]
    Watch(Watch),
}

/// Which nodes to measure. Without any of these: one node of the probe's own.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct NodeOptions {
    /// Start this many nodes as child processes in a fresh directory, removed afterwards
    #[arg(long, value_name = "N", global = true, conflicts_with = "attach")]
    pub spawn: Option<usize>,
    /// Use a running node: its directory or its socket (repeatable)
    #[arg(long, value_name = "PATH", global = true)]
    pub attach: Vec<PathBuf>,
    /// Where to make the directory of spawned nodes and measured files; must be on a real disk
    #[arg(long, value_name = "PATH", global = true)]
    pub dir: Option<PathBuf>,
    /// Leave the directory of the spawned nodes behind
    #[arg(long, global = true)]
    pub keep: bool,
    /// Idle strategy of spawned nodes: auto, spin, yield or park
    #[arg(long, value_name = "STRATEGY", default_value = "auto", global = true)]
    pub idle: String,
    /// A setting of spawned nodes, as in their configuration file (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    pub settings: Vec<String>,
}

/// How long one run lasts; whichever bound comes first.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Extent {
    /// End each run after this many seconds
    #[arg(long, value_name = "SECONDS", global = true)]
    pub seconds: Option<f64>,
    /// End each run after this many samples
    #[arg(long, value_name = "N", global = true)]
    pub count: Option<u64>,
}

/// Options of `hot-read`.
#[derive(Debug, Clone, Args)]
pub(crate) struct HotRead {
    /// Working sets: numbers of keys
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000, 1_000_000])]
    pub keys: Vec<u64>,
    /// Bytes of each value, at least 32
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(32..=4_096))]
    pub value_bytes: u16,
    /// Who writes the table: a whole node, through its commit path, or a bare writer process
    #[arg(long, value_enum, default_value_t = TableOwner::Node)]
    pub process: TableOwner,
}

/// Who owns the table that `hot-read` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableOwner {
    /// A node: every key was committed.
    Node,
    /// A process that only has the table: faster to fill.
    Writer,
}

/// Options of `put`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Put {
    /// Bytes of each value, at least 16
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(16..=4_096))]
    pub value_bytes: u16,
    /// Puts timed together; their mean is one sample
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub batch: u64,
    /// Keys that are rewritten in turn
    #[arg(long, default_value_t = 1_000)]
    pub keys: u64,
}

/// Options of `commit`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Commit {
    /// Points of the sweep: requests without a receipt, at most
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256, 1_024, 4_096], value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub in_flight: Vec<u32>,
    /// Bytes of each value
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub payload: u32,
    /// local, mem-quorum, disk-quorum or certified
    #[arg(long, default_value = "disk-quorum", value_parser = durability_of)]
    pub durability: Durability,
    /// open: latency at a rate; closed: throughput
    #[arg(long = "loop", value_enum, default_value_t = Load::Open)]
    pub load: Load,
    /// Requests per second of the open loop; without it 70 % of what a short closed loop reaches
    #[arg(long)]
    pub rate: Option<f64>,
    /// Keys that are rewritten in turn
    #[arg(long, default_value_t = 10_000)]
    pub keys: u64,
}

/// Options of `wal`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Wal {
    /// Device strategies: auto, linked, fua, thread
    #[arg(long, value_delimiter = ',', default_value = "auto")]
    pub strategy: Vec<String>,
    /// Block sizes for the bandwidth runs, bytes
    #[arg(long, value_delimiter = ',', default_values_t = [4_096, 65_536, 262_144, 1_048_576])]
    pub blocks: Vec<usize>,
    /// Outstanding 128-byte records for the record runs
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 256, 4_096])]
    pub outstanding: Vec<usize>,
}

/// Options of `replay`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Replay {
    /// Databento files of schema mbo, .dbn or .dbn.zst, in order
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// max: as fast as the window allows; real: by the file's own clock
    #[arg(long, value_enum, default_value_t = Pace::Max)]
    pub pace: Pace,
    /// With --pace real: how many times faster than the market
    #[arg(long, default_value_t = 1.0)]
    pub speed: f64,
    /// Proposals without a receipt, at most
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub in_flight: u32,
    /// Go on where an earlier replay of the same files stopped
    #[arg(long)]
    pub resume: bool,
    /// With --spawn: kill -9 the node at this event, restart it and go on
    #[arg(long, value_name = "EVENT")]
    pub kill_at: Option<u64>,
    /// With --spawn N: kill -9 the leader of shard 0 at each of these events, restart it and go on
    #[arg(long, value_name = "EVENT,…", value_delimiter = ',')]
    pub kill_leader_at: Vec<u64>,
    /// An account follows the market under the arbitrator risk-limit; every answer is held against a model of it
    #[arg(long, conflicts_with_all = ["resume", "kill_at"])]
    pub risk_limit: bool,
    /// Give up when the node has been away for this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    pub patience: f64,
}

/// Options of `failover`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Failover {
    /// Leaders killed with kill -9
    #[arg(long, default_value_t = 20)]
    pub crashes: u32,
    /// Planned hand-overs
    #[arg(long, default_value_t = 50)]
    pub hand_overs: u32,
    /// Bytes of each value
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub payload: u32,
}

/// How fast a replay goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pace {
    /// As fast as the window allows.
    Max,
    /// By the file's own clock, sped up.
    Real,
}

/// Options of the hidden node process.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeRun {
    /// Where the node lives
    #[arg(long = "node-dir")]
    pub node_dir: PathBuf,
}

/// Options of the hidden judging process.
#[derive(Debug, Clone, Args)]
pub(crate) struct JudgeAlone {
    /// How many decisions
    #[arg(long)]
    pub decisions: u64,
}

/// Options of the hidden table process.
#[derive(Debug, Clone, Args)]
pub(crate) struct TableRun {
    /// How many keys
    #[arg(long)]
    pub keys: u64,
    /// Bytes of each value
    #[arg(long)]
    pub value_bytes: u16,
}

/// Options of the hidden watching process.
#[derive(Debug, Clone, Args)]
pub(crate) struct Watch {
    /// The key to watch
    #[arg(long)]
    pub key: String,
}

impl Extent {
    /// The bounds of one run; the default holds where neither was given.
    pub(crate) fn bounds(&self, default: Duration) -> Bounds {
        let length = match (self.seconds, self.count) {
            (Some(seconds), _) => Duration::try_from_secs_f64(seconds).unwrap_or(default),
            (None, Some(_)) => COUNTED_LENGTH_MAX,
            (None, None) => default,
        };
        Bounds { length, count: self.count.unwrap_or(u64::MAX).max(1) }
    }
}

/// Where one run ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// After this time.
    pub length: Duration,
    /// After this many samples.
    pub count: u64,
}

impl Bounds {
    /// The run is over.
    pub(crate) fn reached(&self, began: Instant, now: Instant, count: u64) -> bool {
        count >= self.count || now.duration_since(began) >= self.length
    }

    /// The same run in this many pieces, for interleaving.
    pub(crate) fn split(&self, pieces: u32) -> Bounds {
        let count = if self.count == u64::MAX { u64::MAX } else { self.count.div_ceil(u64::from(pieces)) };
        Bounds { length: self.length / pieces, count }
    }
}

fn durability_of(text: &str) -> Result<Durability, String> {
    text.parse().map_err(|_| format!("`{text}` is none of local, mem-quorum, disk-quorum, certified"))
}

/// A run bounded by a count alone still ends some day.
const COUNTED_LENGTH_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn options_may_stand_after_the_target() {
        let cli =
            Cli::parse_from(["latency-probe", "replay", "a.dbn", "b.dbn.zst", "--json", "--spawn", "1"]);
        assert!(cli.json && cli.nodes.spawn == Some(1));
        let Target::Replay(replay) = cli.target else { panic!("a replay") };
        assert_eq!(replay.files.len(), 2);
    }

    #[test]
    fn spawning_and_attaching_exclude_each_other() {
        let both = ["latency-probe", "put", "--spawn", "1", "--attach", "x"];
        assert!(Cli::try_parse_from(both).is_err());
    }

    #[test]
    fn a_count_alone_lifts_the_default_length() {
        let bounds = Extent { seconds: None, count: Some(10) }.bounds(Duration::from_secs(1));
        assert_eq!((bounds.length, bounds.count), (COUNTED_LENGTH_MAX, 10));
        let now = Instant::now();
        assert!(bounds.reached(now, now, 10) && !bounds.reached(now, now, 9));
        assert_eq!(bounds.split(5).count, 2);
    }
}
