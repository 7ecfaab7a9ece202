//! Hot table: one writer, any number of readers in other processes that may only read.
//!
//! ```text
//! home = hash low 32 bits, scaled to    slot, two cache lines               version cell     large-value area
//! an even slot                          lock | cell  meta  stamp            committed one    buddy blocks of
//!   slot slot slot slot ... (32)        key bytes, value bytes (88) ──────▶ while a newer    64-byte granules,
//!     bitmap: which of them hold        or granule of a large value         is tentative     immutable while linked
//!     keys of this home
//! ```
//!
//! An entry never moves: it stands in the first free slot from its home on, and the home's bitmap says where. Five of
//! six keys stand in the home's first two slots, which a read looks at side by side, without a branch between them;
//! a miss ends at the home's bitmap. Removing an entry clears its bit and its slot; there are no tombstones.
//!
//! Invariant (reads): what a reader returns stood in one version of one slot whose sequence lock was even and
//! unchanged around all loads, and the whole key was compared. The slot alone says whether an entry is there: its
//! link is set before it appears and cleared after it has gone, so a present key is never missed, and a key that was
//! seen is missed later only when it was deleted meanwhile.
//!
//! Invariant (memory): a block of the large-value area is reused only after its slot's lock has changed, and not
//! while a pin holds it.

mod cells;
mod geometry;
mod granules;
mod reader;
mod retired;
mod slot;
mod view;
mod writer;

pub use reader::Reader;
pub use view::View;
pub use writer::{PinsHandle, Stats, Writer};

use crate::HashSeed;
use thiserror::Error;

/// A record's place in its shard's order. The first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// The leader's term. At most 2^39 - 1 here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Which record made a version, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The record's sequence.
    pub sequence: Sequence,
    /// The record's epoch.
    pub epoch: Epoch,
    /// The block's time, nanoseconds since the Unix epoch.
    pub time_ns: u64,
}

/// How far a version has come. (A whole word wide: a byte would leave padding in every answer, which compilers copy in
/// overlapping pieces, and the processor then cannot forward the answer from the store to the load.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Stage {
    /// Visible on this box, not decided by the quorum yet.
    Tentative,
    /// Decided.
    Committed,
}

/// Sizes of a hot table.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Keys promised. [`Writer::room_for`] refuses more; records already on their way still fit.
    pub entries_max: u64,
    /// Bytes for values that do not fit their slot (more than 88 bytes together with the key) and for keys of more
    /// than 80 bytes. Blocks are powers of two.
    pub large_bytes_max: u64,
    /// Older versions kept while newer ones of the same key are tentative, 128 bytes each: at least two for each
    /// record that can be in flight.
    pub versions_max: u32,
    /// The cluster's hash seed.
    pub seed: HashSeed,
    /// The shard.
    pub shard: u16,
    /// Incarnation of the node.
    pub incarnation: u64,
    /// Take all memory from the kernel now, not at first touch.
    pub preallocate: bool,
}

impl Default for Config {
    /// A hundred thousand keys, 64 MiB of large values.
    fn default() -> Config {
        Config {
            entries_max: 100_000,
            large_bytes_max: 64 * 1024 * 1024,
            versions_max: 64 * 1024,
            seed: HashSeed::new([0; 16]),
            shard: 0,
            incarnation: 0,
            preallocate: false,
        }
    }
}

/// What a read found; the value itself is in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Length of the value in bytes.
    pub value_bytes: usize,
    /// The record that made this version.
    pub stamp: Stamp,
    /// How far it has come.
    pub stage: Stage,
}

/// A key's newest version, for the judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The record that made it.
    pub stamp: Stamp,
    /// How far it has come.
    pub stage: Stage,
    /// A deletion: the key is absent in this version.
    pub deleted: bool,
}

/// The table has no room. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Full {
    /// As many keys as were configured.
    #[error("hot table is full: {entries} of {entries_max} keys; delete keys or raise hot.entries_max")]
    Entries {
        /// Keys now.
        entries: u64,
        /// Keys promised.
        entries_max: u64,
    },
    /// All slots that this one key could stand in are taken, which chance alone does not bring about.
    #[error("no slot is free near this key's home; choose another key, or raise hot.entries_max")]
    Neighbourhood,
    /// No block for a value or key of this size.
    #[error(
        "no room for {bytes} bytes in the large-value area ({used_bytes} of {area_bytes} bytes in use); delete large values or raise hot.large_bytes_max"
    )]
    Large {
        /// Bytes needed.
        bytes: u64,
        /// Bytes in use now.
        used_bytes: u64,
        /// Bytes of the area.
        area_bytes: u64,
    },
    /// More tentative versions in flight than cells.
    #[error("all {versions_max} cells for older versions are in use; let commits catch up")]
    Versions {
        /// Cells configured.
        versions_max: u32,
    },
}

/// Why a read gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The value is longer than the buffer.
    #[error("value has {value_bytes} bytes, the buffer is too small; read again with a larger one")]
    BufferTooSmall {
        /// Length of the value.
        value_bytes: usize,
    },
    /// The writer stopped in the middle of changing this entry, or changes it without pause.
    #[error(
        "the entry was being written for too long; the node is probably gone: check its heartbeat and attach again"
    )]
    Stalled,
    /// All of this client's pins hold views.
    #[error("all pins of this client are taken; drop a view first")]
    PinsTaken,
}
