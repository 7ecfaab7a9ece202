//! The daemon: the only crate that performs a shard's effects in the real world.
//!
//! ```text
//!  clients ─unix socket─▶ housekeeping ──orders──▶ shard thread (one per shard, hosted by glommio)
//!     │                        ▲ ◀────notices───────┤ rings → peers → log completions → machine → peers, log
//!     └──────rings in shared memory────────────────▶┘ hot tier, feed, counters: written here, read by clients
//! ```
//!
//! Invariant: a shard's thread is the only writer of everything that belongs to it, and never waits for anybody.

#![forbid(unsafe_code)]

mod attach;
pub mod backup;
mod clock;
pub mod config;
mod court;
pub mod directory;
mod executor;
mod idle;
mod mail;
mod node;
mod ports;
pub mod resp;
mod rights;
mod shard;

pub use attach::SocketError;
pub use config::{Config, ConfigError};
pub use court::AcceptAll;
pub use executor::ExecutorError;
pub use node::{Node, NodeFailed, NodeHandle, RunError, StartError, run};
pub use ports::free_loopback_ports;
pub use shard::{AddressError, BootError, BootReason, RecoveryProgress};
