//! What a target hands back to be reported.

use io_oi_record::Durability;

use crate::report::{Load, Measured, ReplayFacts};

/// Everything of a report that depends on the target.
pub(crate) struct Findings {
    /// Nodes measured.
    pub nodes: usize,
    /// Shards of the cluster.
    pub shards: u16,
    /// The nodes' idle strategy.
    pub idle: String,
    /// Bytes of one value or frame.
    pub payload_bytes: usize,
    /// Which acknowledgement the figures mean.
    pub durability: String,
    /// Open or closed loop.
    pub load: Load,
    /// One per point of the sweep.
    pub runs: Vec<Measured>,
    /// Only of a replay.
    pub replay: Option<ReplayFacts>,
}

impl Default for Findings {
    fn default() -> Self {
        Self {
            nodes: 0,
            shards: 0,
            idle: "none".into(),
            payload_bytes: 0,
            durability: Durability::Local.to_string(),
            load: Load::Closed,
            runs: Vec::new(),
            replay: None,
        }
    }
}
