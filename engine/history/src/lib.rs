//! Recorded histories of clients, and whether one order explains them.
//!
//! Invariant: a history knows keys, values and times, and nothing of the system that it was recorded on. It never
//! calls a history wrong that some order explains: an answer that never came may have taken effect at any time later,
//! or never.
//!
//! [`History`] records, [`check`] judges linearizability key by key (keys are independent registers, so one order of
//! each key is enough), [`sessions::check`] judges what one client may see of plain reads.

#![forbid(unsafe_code)]

mod operation;
mod register;
mod search;
pub mod sessions;

pub use operation::{Answer, Call, Condition, History, Operation, OperationId};
pub use register::Register;
pub use search::{Checked, Violation, check};
