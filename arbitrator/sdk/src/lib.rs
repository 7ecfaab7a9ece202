//! What a judge is written against: the contract's types, cells, and one macro that makes a guest of it.
//!
//! Invariant: the same judge compiles for the sandbox and for the machine it is written on, and sees the same bytes in
//! both; nothing here reads a clock, a random number or memory that it was not handed.
//!
//! ```
//! use io_oi_arbitrator_sdk::{Arbitrator, Context, Decision, Effects, Manifest, ReadSet, Write};
//!
//! /// Refuses values longer than a kilobyte.
//! pub struct Short;
//!
//! impl Arbitrator for Short {
//!     const MANIFEST: Manifest = Manifest { max_proposal: 2048, fuel: 2_000, ..Manifest::named("short", (1, 0, 0)) };
//!
//!     fn decide(_: &Context, _state: &[u8], proposal: &[u8], _: &mut Effects<'_>) -> Decision {
//!         match Write::only(proposal) {
//!             Some(write) if write.value.len() <= 1024 => Decision::ACCEPT,
//!             _ => Decision::refuse(1),
//!         }
//!     }
//! }
//!
//! // In the guest, and only there, this exports it:
//! io_oi_arbitrator_sdk::arbitrator!(Short);
//! ```
#![no_std]

pub mod abi;
mod batch;
mod cells;
mod contract;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
mod macros;

pub use batch::{Batch, BatchArbitrator, Outcomes};
pub use cells::{Cell, CellReader, CellWriter, Effects, Write, WriteReader};
pub use contract::{Arbitrator, Context, Decision, Keys, Manifest, Plan, ReadSet, Verdict};
