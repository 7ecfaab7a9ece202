//! Which entries stay in memory: the policy of the hot tier.
//!
//! This crate holds no byte of any entry. It knows entries by number (the caller's place for them), their keys by hash,
//! and what each weighs; it is told what is asked for, and says who goes. No clock, no randomness, no I/O: time, epochs
//! and the seed are the caller's, and the same calls give the same answers.
//!
//! | part | answers |
//! |---|---|
//! | `score` | what an entry is worth: requests, each half as much after a half-life |
//! | `order` | who goes first, in constant time |
//! | `history` | what those were worth that left |
//! | `shadow` | which half-life is best now, tried on a sample of the keys |
//! | `contest` | whether one of them is better than chance |
//! | `deadlines`, `pruning` | who goes at its time; who goes of old age |
//! | `sampling` | which hits readers report |
//!
//! Why this and not S3-FIFO, W-TinyLFU, SIEVE or ARC, which were tried beside it: `bench/README.md` has the table, and
//! `cargo xtask rivals --only cache` makes it. Each of them is made for one kind of trace. With the right half-life this one
//! is at least as good on every one of them, from a loop (a long memory) to keys that are asked for twice within minutes
//! (a short one), and the half-life can be found while it runs.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod contest;
mod deadlines;
mod history;
mod order;
mod policy;
mod pruning;
mod sampling;
mod score;
mod shadow;

pub use policy::{Admission, Config, ConfigError, Newcomer, Policy, Stats, Tracked};
pub use sampling::{Sampler, StandsFor};

/// The caller's number of an entry: its place in the hot table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u32);

/// What ages are counted in. Any number that never falls; the caller says what makes it rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A moment, in nanoseconds of the caller's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);
