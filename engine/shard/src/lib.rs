//! One shard: events in, effects out.
//!
//! Invariant: the machine knows no clock, socket, file or random number, and allocates nothing once it runs. The node
//! performs its effects in the real world, a simulator performs the same ones in an invented world.
//!
//! [`Machine`] tells how it is driven. Clauses named `[P-nn]` stand in `engine/consensus/PROTOCOL.md`.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[macro_use]
mod planted;

mod admissions;
mod appends;
mod check;
mod checkpoint;
mod config;
mod doubt;
mod durable;
mod election;
mod event;
mod flight;
mod follower;
mod forward;
mod governing;
mod hand_over;
pub mod hearing;
mod index;
pub mod judge;
mod lease;
mod machine;
mod muteness;
mod notices;
mod operators;
mod passing;
mod peers;
mod pending;
mod poll;
mod receive;
mod recovery;
mod repair;
mod replication;
mod reply;
mod rewind;
mod sealer;
mod session;
mod stamp;
mod state;
mod status;
mod tail;
mod telling;
mod view;
mod voting;
mod write;

pub use checkpoint::RestoreError;
pub use config::{Capacity, Config, ConfigError, Lost, Timers, Verify};
pub use event::{AppendIndex, Effect, Event, JudgeOrigin, Lane, LogKind, Origin, PublishStage};
pub use io_oi_consensus::{EpochPromise, Seated, Seating, Sitting};
pub use machine::{Counters, Machine};
#[cfg(feature = "planted")]
pub use planted::Planted;
pub use recovery::RecoverError;
pub use session::{ProposalState, SessionState};
pub use status::{Admission, MuteReason, Notice, PastLost, PeerStatus, Role, Status};
