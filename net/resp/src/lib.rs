//! The Redis gateway: what any Redis client says, done by an ordinary client of the store.
//!
//! ```text
//!  Redis client ─TCP─▶ connection ─bytes─▶ request ─▶ command ─┬─ looks ──▶ hot table (shared memory) ─▶ reply
//!                                                              └─ a plan of edits ─▶ store ─ring─▶ shard ─▶ receipt ─▶ reply
//! ```
//!
//! What is pure stands apart: [`request`] and [`reply`] spell the protocol, `edit` says what a command does to a value. One
//! thread owns the sockets and one [`io_oi_client::Client`]; it waits for nobody.
//!
//! What a user may count on:
//!
//! - **A write is answered when a quorum has flushed it** ([`WriteAnswer::Committed`]), a read gives what is committed on this
//!   box, and a connection never reads anything older than what it was answered before.
//! - **Commands of one connection take effect in their order**, pipelined or not: writes are under way together only as far as
//!   the ring of one shard, or the queue of one key, keeps them in order.
//! - **A command on several keys is one record a key.** Nothing else of Redis's atomicity is given up: a command on one key is
//!   a compare-and-set that is tried until it holds.
//! - **A value is the same bytes for every client of the store**, whichever shim it uses.
//!
//! Invariant: whatever a peer sends, the memory that it holds is bounded, and nobody else waits for it.

#![forbid(unsafe_code)]

mod command;
mod edit;
mod error;
mod gateway;
mod glob;
mod inline;
pub mod number;
pub mod reply;
pub mod request;
mod store;

pub use gateway::{Gateway, GatewayError, Limits, Settings};
pub use store::WriteAnswer;
