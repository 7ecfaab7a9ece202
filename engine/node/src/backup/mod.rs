//! Backups: a node's logs copied while it serves, and a node's directory made of such a copy.
//!
//! ```text
//! BACKUP/genesis      the cluster's signed genesis
//! BACKUP/shard-<i>/   the log of shard i as storage/wal/FORMAT.md draws it, up to a certificate
//! BACKUP/backup.toml  what is in it; a backup without it did not end
//! BACKUP/lock         held while it is made
//! ```
//!
//! Each shard is copied as of one moment; the moments of two shards differ by what passed between them, as their orders do.
//!
//! Invariant: nothing that a backup says is believed. Each block hangs by its hashes under a certificate that a quorum
//! signed, whose members follow from the genesis; what is not proven so makes no node. A backup and a restored directory
//! appear under their names only when they are whole and flushed.

mod copy;
mod manifest;
mod reading;
mod restore;
mod take;
mod unfinished;

use std::path::{Path, PathBuf};

use io_oi_record::{ClusterId, NodeId, Sequence, ShardId};
use io_oi_wal::{FlushFailed, OpenError, ReadError};

use crate::directory::DirectoryError;

pub use manifest::{Manifest, ShardContent};
pub use restore::{Restored, check, restore};
pub use take::take;

/// How far a shard's log has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The shard.
    pub shard: ShardId,
    /// Bytes of its entries so far.
    pub bytes: u64,
    /// Bytes of all its segment files: an upper bound.
    pub bytes_max: u64,
}

/// Why there is no backup, or no node made of one.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something stands where the result belongs.
    #[error("{path} is there already: nothing is overwritten, name another place")]
    InTheWay {
        /// The place.
        path: PathBuf,
    },
    /// A directory, a key or a genesis.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The system refused.
    #[error("cannot {verb} {path}: {error}. Check the path, its permissions and the free space.")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is no backup at this place, or one that did not end.
    #[error("{path} is missing: this is no backup, or one that did not end. Take it again.")]
    Unfinished {
        /// The manifest.
        path: PathBuf,
    },
    /// The manifest is not one.
    #[error("{path} is damaged: {what}. Use another backup.")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A log could not be read.
    #[error("the log of shard {shard} cannot be read: {error}")]
    Read {
        /// The shard.
        shard: ShardId,
        /// Why.
        error: ReadError,
    },
    /// A log contradicts itself or the genesis.
    #[error(
        "the log of shard {shard} is not what its cluster has signed: {what}. Use another backup, or another node's log."
    )]
    NotProven {
        /// The shard.
        shard: ShardId,
        /// What is wrong.
        what: String,
    },
    /// A log ends before it should.
    #[error(
        "the log of shard {shard} reads whole only through sequence {found}, not through {wanted}: it is damaged there. Use another \
         backup, or another node's log."
    )]
    Short {
        /// The shard.
        shard: ShardId,
        /// What it proves.
        found: Sequence,
        /// What it has to.
        wanted: Sequence,
    },
    /// The new log could not be opened.
    #[error("the copy of shard {shard} cannot be written: {error}")]
    Open {
        /// The shard.
        shard: ShardId,
        /// Why.
        error: OpenError,
    },
    /// The new log could not be written.
    #[error("the copy of shard {shard} cannot be written: {error}")]
    Write {
        /// The shard.
        shard: ShardId,
        /// Why.
        error: FlushFailed,
    },
    /// There is no space for the copy.
    #[error(
        "there is no space left for the copy of shard {shard}: free some, or name another place, and begin again"
    )]
    DiskFull {
        /// The shard.
        shard: ShardId,
    },
    /// The key belongs to another node.
    #[error(
        "the key is that of node {given}, the backup is from node {wanted}: only a node's own backup makes it anew"
    )]
    ForeignKey {
        /// Whose key was given.
        given: NodeId,
        /// Whose log was copied.
        wanted: NodeId,
    },
    /// Nobody could admit a node with a new key.
    #[error(
        "cluster {cluster} has one node that no other can reach: only its own key continues it. Name the key file of the lost node."
    )]
    NeedsItsKey {
        /// The cluster.
        cluster: ClusterId,
    },
}

impl BackupError {
    fn io(verb: &'static str, path: &Path, error: std::io::Error) -> Self {
        Self::Io { verb, path: path.to_owned(), error }
    }

    fn not_proven(shard: ShardId, what: impl std::fmt::Display) -> Self {
        Self::NotProven { shard, what: what.to_string() }
    }
}
