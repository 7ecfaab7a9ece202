//! Why a target ended without a report. Every text says what happened and what to do.

use std::path::PathBuf;

use thiserror::Error;

use crate::output::WriteError;
use crate::place::PlaceError;
use crate::replay::FeedError;

/// Why a target ended without a report.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// More than this version can do, or a contradiction.
    #[error("{0}")]
    Usage(String),
    /// No place for files.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A result file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A market data file cannot be replayed.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A spawned node did not come up.
    #[error("the spawned node in {dir} did not come up: {reason}")]
    Spawn {
        /// Its directory.
        dir: PathBuf,
        /// What it said last.
        reason: String,
    },
    /// A child process of the probe said something unexpected.
    #[error("the probe's own child process failed: {0}; run it again with RUST_BACKTRACE=1")]
    Child(String),
    /// The node could not be attached to.
    #[error("cannot attach to {path}: {reason}")]
    Attach {
        /// Where.
        path: PathBuf,
        /// The client's words.
        reason: String,
    },
    /// The node is gone.
    #[error("the node went away and did not come back: {0}")]
    NodeGone(String),
    /// The node refused something that it must accept.
    #[error("{0}")]
    Refused(String),
    /// A file of the probe's own could not be used.
    #[error("{what}: {error}; is there enough space, and may this user write there?")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
}

impl Failure {
    /// For `map_err`: names what was attempted.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Io { what, error }
    }
}
