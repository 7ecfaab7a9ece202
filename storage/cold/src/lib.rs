//! Where the log holds the newest record of every key.
//!
//! This crate holds no record and reads no log: it knows keys by their digests, versions by their sequences, and places in
//! the log by number. Whoever reads a record back compares the whole key.
//!
//! Invariant: the log is the truth, and everything here can be made anew by reading it.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod checkpoint;
mod digest;
mod footer;
mod index;
mod shelf;

pub use checkpoint::{CHECKPOINT_MAGIC, CHECKPOINT_VERSION, Checkpoint, CheckpointError, forget, kept};
pub use digest::{Digester, KeyDigest};
pub use footer::{
    ENTRY_BYTES, FOOTER_MAGIC, FOOTER_VERSION, Footer, FooterBuilder, FooterError, FooterOf, PARTITIONS,
    put_footer, visit_newest,
};
pub use index::{Index, KEYS_PER_BUCKET, NoteError};
pub use shelf::{Directory, Shelf};

/// A record's number in its shard's order. The first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// Where a record stands: the number in the log of the frame whose block holds it. The first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u64);

/// A committed version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The record that made it.
    pub sequence: Sequence,
    /// Where that record stands.
    pub place: Place,
    /// It took the key away.
    pub is_deletion: bool,
}
