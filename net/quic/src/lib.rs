//! Frames between the same shard of different nodes, over QUIC.
//!
//! Invariant: this room carries frames and never reads them.
