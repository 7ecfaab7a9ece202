//! The families that the policy was chosen from, each in its plainest form. None of them ships.
//!
//! Invariant: a candidate holds at most the entries that it was made for.

mod arc;
mod chain;
mod lru;
mod s3_fifo;
mod sieve;
mod w_tiny_lfu;

pub use arc::Arc;
pub use lru::Lru;
pub use s3_fifo::S3Fifo;
pub use sieve::Sieve;
pub use w_tiny_lfu::WTinyLfu;

use super::Subject;

/// All of them, for so many entries.
#[must_use]
pub fn all(entries_max: usize) -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(Lru::new(entries_max)),
        Box::new(Arc::new(entries_max)),
        Box::new(Sieve::new(entries_max)),
        Box::new(S3Fifo::new(entries_max)),
        Box::new(WTinyLfu::new(entries_max)),
    ]
}
