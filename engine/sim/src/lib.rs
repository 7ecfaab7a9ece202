//! Whole clusters in an invented world: one seed replays one history.
//!
//! Invariant: nothing here knows the real clock, network or disk; the shard, consensus and log below are the ones that ship.
