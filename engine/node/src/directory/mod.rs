//! The node's directory: one owner at a time, one identity for ever.
//!
//! ```text
//! DIR/lock         held (flock) while a node runs, holds its process id
//! DIR/node.key     ed25519 seed, 64 hexadecimal digits, mode 0600
//! DIR/genesis      the signed genesis; its hash is the cluster id
//! DIR/boot         how often a node started here, decimal
//! DIR/shard-<i>/   the log of shard i
//! DIR/promise-<i>  the highest epoch that shard i has promised, beside what its log says, and whether it is mute for good
//! DIR/evidence/    evidence against nodes that lied, one file each, named by its hash
//! DIR/io_oi.sock   the attach socket
//! ```
//!
//! Invariant: a boot number is durable before anything is named after it, so no session id is ever given out twice.

mod durable;
mod identity;
mod lock;
mod promise;

use std::path::{Path, PathBuf};

use io_oi_record::{ClusterId, ShardId};
use io_oi_wal::create_directory;

pub use identity::{Identity, install_genesis, make_key};
pub use lock::LockError;

pub(crate) use durable::{rename, replace};
pub(crate) use identity::{load_genesis, place_boot, place_genesis, place_key, stands_alone};
pub(crate) use promise::Promise;

use lock::Lock;

/// A directory that belongs to this process until it is dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Held for as long as the node lives; the kernel gives it up with the process.
    _lock: Lock,
}

impl Directory {
    /// Makes the directory when it is missing, and takes its lock.
    ///
    /// # Errors
    /// Another node has it, or it cannot be made or written.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        create_directory(path).map_err(|error| DirectoryError::io("create", path, error))?;
        let lock = Lock::take(&path.join("lock"))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Reads who this node is; on the very first start, decides it. Counts this start.
    ///
    /// # Errors
    /// A file is missing, damaged, readable by others, or contradicts another.
    pub fn identify(&self, founding: &Founding<'_>) -> Result<Identity, DirectoryError> {
        Identity::load_or_found(&self.path, founding)
    }

    /// Where the log of one shard lives; made when missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn shard_path(&self, shard: ShardId) -> Result<PathBuf, DirectoryError> {
        let path = self.path.join(format!("shard-{shard}"));
        create_directory(&path).map_err(|error| DirectoryError::io("create", &path, error))?;
        Ok(path)
    }

    /// The promises of one shard.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or belongs to another cluster.
    pub(crate) fn promise(&self, cluster: ClusterId, shard: ShardId) -> Result<Promise, DirectoryError> {
        Promise::open(self.path.join(format!("promise-{shard}")), cluster)
    }

    /// Where evidence is kept.
    pub(crate) fn evidence_path(&self) -> PathBuf {
        self.path.join("evidence")
    }
}

/// What goes into the genesis of a directory that has none.
#[derive(Debug)]
pub struct Founding<'a> {
    /// The member's name.
    pub name: &'a str,
    /// Where the other nodes of a larger cluster will find it; empty for nowhere.
    pub address: &'a str,
    /// Shards, when the operator asked for a number.
    pub shards: Option<u16>,
    /// The set of arbitrators.
    pub arbitrators: io_oi_record::Hash,
    /// Now, in nanoseconds since the Unix epoch.
    pub now: io_oi_record::Nanos,
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another node runs here.
    #[error(transparent)]
    Lock(#[from] LockError),
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
    /// Others can read the key.
    #[error("{path} has mode {mode:o}: others could sign as this node. Run: chmod 600 {path}")]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file is not what it should be.
    #[error("{path} is damaged: {what}. Restore it from a backup of this directory.")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file of promises is not what it should be.
    #[error(
        "{path} is damaged, or of another cluster. It holds the highest epoch that this node has promised: restore it from a backup taken after the last run. If that is lost, take this node out (io_oi peer remove) and let it join again in an empty directory, under a new key (io_oi peer add, then io_oi peer promote)."
    )]
    PromiseDamaged {
        /// The file.
        path: PathBuf,
    },
    /// A file is gone while others are there.
    #[error("{path} is missing, but {beside} is there: {what}")]
    Missing {
        /// The missing file.
        path: PathBuf,
        /// What proves that it must have been there.
        beside: PathBuf,
        /// What to do.
        what: &'static str,
    },
    /// Not every operator has signed the genesis.
    #[error(
        "{path} is signed by {found} of {needed} operators: let each of the others sign it (`io_oi genesis sign`), then place it again"
    )]
    Unsigned {
        /// The genesis.
        path: PathBuf,
        /// Operators that it names.
        needed: usize,
        /// Those that have signed.
        found: usize,
    },
    /// The directory belongs to another cluster.
    #[error(
        "{path} belongs to cluster {here}, not to {given}: join from another directory, with a key of its own"
    )]
    GenesisDiffers {
        /// The directory.
        path: PathBuf,
        /// Its cluster.
        here: ClusterId,
        /// The cluster to join.
        given: ClusterId,
    },
    /// Key and genesis belong to different nodes.
    #[error(
        "node.key in {path} is not the key of the member in its genesis. Put back the key that belongs here."
    )]
    ForeignKey {
        /// The directory.
        path: PathBuf,
    },
    /// The configuration contradicts the genesis.
    #[error(
        "{path} was founded with {genesis} shards, the configuration asks for {config}. Remove `shards`, or start in another directory."
    )]
    ShardsDiffer {
        /// The directory.
        path: PathBuf,
        /// Shards of the genesis.
        genesis: u16,
        /// Shards of the configuration.
        config: u16,
    },
    /// The genesis asks for something that this program does not do.
    #[error("the genesis in {path} {what}")]
    Unsupported {
        /// The directory.
        path: PathBuf,
        /// What it asks for and what to do.
        what: String,
    },
}

impl DirectoryError {
    fn io(verb: &'static str, path: &Path, error: std::io::Error) -> Self {
        Self::Io { verb, path: path.to_owned(), error }
    }

    fn damaged(path: &Path, what: impl std::fmt::Display) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.to_string() }
    }
}
