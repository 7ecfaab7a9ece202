//! What a write hands back at once, and what a read says beside the value.

use std::fmt;

use io_oi_record::{Epoch, Nanos, Sequence, SessionSequence, ShardId};

/// Names one submitted proposal of this client; its receipt carries the same session sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    /// The shard that decides it.
    pub shard: ShardId,
    /// Its number inside session and shard, dense from 1.
    pub session_sequence: SessionSequence,
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.shard, self.session_sequence)
    }
}

/// What `compare_and_set` wants to find. Judged in log order, against the key's newest version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The key does not exist.
    Absent,
    /// The newest version has this sequence (as read from `Meta::sequence`).
    Sequence(Sequence),
}

/// How far a version has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Visible {
    /// Visible on this box, not yet decided by the quorum.
    Tentative,
    /// Decided by the quorum, durable.
    Committed,
}

/// What stands beside a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The version: the sequence of the record that wrote it.
    pub sequence: Sequence,
    /// The epoch that placed the record.
    pub epoch: Epoch,
    /// Tentative or committed.
    pub stage: Visible,
    /// The record's time: when its block was begun by the leader, nanoseconds since the Unix epoch.
    pub time: Nanos,
    /// Length of the value.
    pub value_bytes: usize,
    /// False while the client knows that the node is away: the value is the last one seen and may be old.
    pub fresh: bool,
}

/// What this client did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Proposals put into a ring for the first time.
    pub proposals: u64,
    /// Times that `Full` was answered.
    pub full: u64,
    /// Receipts that came in.
    pub receipts: u64,
    /// Receipts that named nothing open: an answer given twice after a re-attach.
    pub receipts_unexpected: u64,
    /// Reads of any kind.
    pub reads: u64,
    /// Times that this client attached again.
    pub reattached: u64,
    /// Proposals put into a ring a second time after a re-attach.
    pub resubmitted: u64,
}
