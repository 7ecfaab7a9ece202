//! Bytes shared between processes: segments, hot table, rings, lanes, feed, counters, bell.
//!
//! This crate knows bytes, keys and versions, and nothing of records or protocols. Every layout is drawn in
//! `LAYOUT.md` and pinned by the assertions in [`layout`].
//!
//! Three rules hold everywhere:
//! - Every shared word is an atomic. Values are copied word by word under a sequence lock, so that a race is a
//!   retry and never undefined behaviour.
//! - What another process wrote is copied out first and believed afterwards. A peer that lies gets a typed error.
//! - Who may only read maps read-only: hot table, feed and counters are sealed against any further writable
//!   mapping.

#![warn(missing_docs)]

pub mod bell;
#[cfg(not(loom))] // Single words: there is nothing to model.
pub mod counters;
pub mod feed;
mod hash;
pub mod hot;
pub mod lane;
pub mod layout;
mod region;
pub mod ring;
mod segment;
mod sync;
mod words;

pub use hash::{HashSeed, hash_key, shard_of};
pub use layout::LAYOUT_VERSION;
pub use region::Region;
pub use segment::{CreateError, Heartbeat, Kind, OpenError, Segment, SegmentConfig, random_incarnation};
