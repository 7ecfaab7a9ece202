//! What a machine has to know before it reads its log.
//!
//! Invariant: two machines with the same configuration and the same events do the same, the seed included.

use io_oi_consensus::MembershipError;
use io_oi_record::limits::{BLOCK_BYTES_MAX, BLOCK_RECORDS_MAX, SESSION_WINDOW, SESSIONS_MAX};
use io_oi_record::{ClusterId, Epoch, Genesis, Hash, JudgeVersions, Sequence, ShardId, Signer};

use crate::status::PastLost;

/// Who the machine is, and by which rules it lives.
pub struct Config<'a> {
    /// The cluster.
    pub cluster: ClusterId,
    /// The shard inside it.
    pub shard: ShardId,
    /// The node's own key; its public half is the node.
    pub signer: Signer,
    /// The birth of the cluster: first voters, operators, control mode.
    pub genesis: &'a Genesis,
    /// What a header names while no prefix has an arbitrator of its own.
    pub arbitrators: Hash,
    /// The versions by which this program judges; a component that is seated by others is not run.
    pub judge_versions: JudgeVersions,
    /// How often the node had started: part of the session id under which it writes its own records.
    pub boot: u32,
    /// Where the randomised timeouts come from; different on every node and boot.
    pub seed: u64,
    /// How long things take.
    pub timers: Timers,
    /// How much there is room for.
    pub capacity: Capacity,
    /// Which of a leader's verdicts this node checks by judging again.
    pub verify: Verify,
    /// The highest epoch that the node's promise file names; every epoch through it is closed. [P-20]
    pub promised: Epoch,
    /// What the promise file says about a past that is lost: then the machine is mute from the start. [P-44]
    pub past_lost: Option<PastLost>,
    /// What the log once lost to damage; none when nothing ever was.
    pub lost: Option<Lost>,
}

/// What a repaired log says of its newest damage. [P-46]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The highest sequence seen behind the damaged place; none when nothing there was readable.
    pub sequence: Sequence,
    /// Number of the log frame that tells of it: the machine answers it once the log is whole again.
    pub mark: u64,
}

/// How long things take, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// A leader with nothing to say says so this often.
    pub heartbeat_ns: u64,
    /// A leader is left alone for this long after it was heard; also what its lease is measured by.
    pub election_ns_min: u64,
    /// A follower that has not heard a leader for longer asks for votes at the latest.
    pub election_ns_max: u64,
    /// A planned hand-over that takes longer has failed.
    pub hand_over_ns: u64,
    /// A header further ahead of this node's own wall clock is refused.
    pub clock_skew_ns_max: u64,
    /// How much two monotonic clocks may drift apart, in parts per million.
    pub drift_ppm: u64,
    /// A leader whose own flush takes longer gives its place up.
    pub flush_ns_max: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            heartbeat_ns: 20_000_000,
            election_ns_min: 120_000_000,
            election_ns_max: 240_000_000,
            hand_over_ns: 50_000_000,
            clock_skew_ns_max: 10_000_000_000,
            drift_ppm: 500,
            flush_ns_max: 500_000_000,
        }
    }
}

/// How much there is room for. A table of sessions is a function of the log, so all nodes of a cluster agree on these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Sessions remembered.
    pub sessions_max: usize,
    /// Answers remembered per session.
    pub session_window: usize,
    /// Longest encoded block in bytes.
    pub block_bytes_max: usize,
    /// Most records in one block.
    pub block_records_max: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            sessions_max: SESSIONS_MAX,
            session_window: SESSION_WINDOW,
            block_bytes_max: BLOCK_BYTES_MAX,
            block_records_max: BLOCK_RECORDS_MAX,
        }
    }
}

/// Which of a leader's verdicts a follower checks by judging again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Every one.
    #[default]
    All,
    /// One in so many, drawn by what the log makes of their places: the same ones on every node that asks for as many.
    Sampled(u32),
    /// None.
    Off,
}

/// Why a machine cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The voters are no membership.
    #[error(transparent)]
    Membership(#[from] MembershipError),
}
