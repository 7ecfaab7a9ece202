//! The standard judges: each compiles for the sandbox, and natively as its own oracle.
//!
//! Invariant: a judge is a pure function of its arguments, and the committed guest in `prebuilt/` was made of the source
//! that stands here; `prebuilt/manifest.txt` names the hashes of both.
#![no_std]
#![forbid(unsafe_code)]

mod accept_all;
mod auction;
mod bytes;
mod compare_version;
mod last_writer_wins;
pub mod order;
#[cfg(not(target_arch = "wasm32"))]
pub mod prebuilt;
pub mod quota;
pub mod risk_limit;

pub use accept_all::AcceptAll;
pub use auction::BatchAuction;
pub use compare_version::CompareVersion;
pub use last_writer_wins::LastWriterWins;
pub use quota::Quota;
pub use risk_limit::RiskLimit;

/// Refusal codes that every standard judge means alike.
pub mod code {
    /// The proposal's value has not the shape that the judge expects.
    pub const MALFORMED: u32 = 1;
    /// The state lacks a cell that the judge needs, or it has not the expected shape.
    pub const STATE: u32 = 2;
    /// Only an operator may do this.
    pub const NOT_OPERATOR: u32 = 3;
    /// The value stored is newer.
    pub const STALE: u32 = 4;
    /// The effects have no room: the key is longer than this judge expects.
    pub const NO_ROOM: u32 = 5;
}
