//! Target `replay`: real market-by-order data through the node, and proof that the resulting book is right.
//!
//! ```text
//!  files ─▶ feed ─event─▶ proposals ─▶ node ─▶ receipts ─▶ latencies
//!    └────▶ feed ─event─▶ book ──────────────▶ compare ◀── hot tier, every key
//! ```
//!
//! Invariant: the book is never fed by anything that the node or the proposals said.

mod book;
mod compare;
mod event;
mod feed;
mod flights;
mod guard;
mod proposals;
mod resume;
mod run;
mod words;

pub(crate) use feed::FeedError;
pub(crate) use run::measure;
