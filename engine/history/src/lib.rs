//! Recorded histories of clients, and whether one order explains them.
//!
//! Invariant: a history knows keys, values and times, and nothing of the system that it was recorded on.
