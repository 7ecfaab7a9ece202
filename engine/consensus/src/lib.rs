//! Sequenced consensus as a pure state machine: membership, epochs, the chain, signing, durability.
//!
//! Invariant: nothing here knows a clock, a socket, a file or a random number, and nothing asks how many voters there
//! are: only whether a quorum of them has something. [P-12]
//!
//! PROTOCOL.md holds the numbered clauses; the code and the tests name the clause that they meet as `[P-nn]`.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod certificate;
mod chain;
mod components;
mod election;
mod epoch;
pub mod governance;
mod machine;
mod membership;
mod note;
mod position;
mod recovery;
mod seats;
mod signing;
mod state;
pub mod watch;

pub use certificate::{Certifier, VoteOutcome};
pub use chain::{Chain, ChainError, ChainTip, Link};
pub use election::BallotAnswer;
pub use epoch::{EpochLife, Role};
pub use governance::Governance;
pub use machine::{Group, Machine};
pub use membership::{Membership, MembershipError, VoterIndex, VoterSet};
pub use note::{EpochClaim, EpochPromise, LogWhole, NOTE_BYTES, NoteError, Seal};
pub use position::Positions;
pub use recovery::RecoverError;
pub use seats::{Seated, Seating, Sitting};
pub use signing::SigningRefused;
pub use state::State;
pub use watch::{ReportRefused, Watch, accused_of};
