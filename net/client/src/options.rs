//! How a client behaves; every field has a default that suits a strategy.

use std::time::Duration;

use io_oi_record::limits::{CLIENT_NAME_BYTES_MAX, PROPOSAL_BYTES_MAX, PROPOSAL_RING_BYTES};

use crate::AttachError;

/// See the fields.
#[derive(Clone, Debug)]
pub struct Options {
    /// Shown by the node in its log. At most `CLIENT_NAME_BYTES_MAX` bytes.
    pub name: String,
    /// How long the whole handshake may take.
    pub handshake: Duration,
    /// How long the first attach keeps trying while no node listens. Zero: one try.
    pub patience: Duration,
    /// How long a `wait` goes on while the node is away. Trying to attach again never stops.
    pub reattach: Duration,
    /// Copies of unanswered proposals take this many bytes per shard; beyond it `put` answers `Full`.
    pub window_bytes: usize,
    /// The user id the node must run as. `None` takes any, and leaves the choice to the socket's directory.
    pub node_uid: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: program_name(),
            handshake: Duration::from_secs(5),
            patience: Duration::ZERO,
            reattach: Duration::from_secs(30),
            window_bytes: WINDOW_BYTES_DEFAULT,
            node_uid: None,
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), AttachError> {
        if self.window_bytes < PROPOSAL_BYTES_MAX || self.window_bytes > WINDOW_BYTES_MAX {
            return Err(AttachError::Options {
                what: format!(
                    "window_bytes is {}, it must be from {PROPOSAL_BYTES_MAX} (one proposal) to {WINDOW_BYTES_MAX}",
                    self.window_bytes
                ),
            });
        }
        if self.name.len() > CLIENT_NAME_BYTES_MAX {
            return Err(AttachError::Options {
                what: format!("name has {} bytes, the limit is {CLIENT_NAME_BYTES_MAX}", self.name.len()),
            });
        }
        Ok(())
    }
}

/// As much as one ring holds: a window smaller than the ring would leave room in the ring unused.
const WINDOW_BYTES_DEFAULT: usize = PROPOSAL_RING_BYTES;
/// Offsets into the copies are 32-bit.
const WINDOW_BYTES_MAX: usize = 1 << 30;

fn program_name() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned());
    let mut name = name.unwrap_or_else(|| "client".to_owned());
    while name.len() > CLIENT_NAME_BYTES_MAX {
        name.pop();
    }
    name
}
