//! The nouns, the one codec, signing and hashing, every limit.
//!
//! Invariant: bytes that this room accepts are exactly the bytes that it would write itself. Whatever arrives from
//! a disk, a socket or another process is decoded by a checked function with a typed error, and a decoded value
//! encodes back to the same bytes; so a hash or a signature over them means one thing only.
//!
//! Where to look: `limits` names every bound, FORMAT.md draws every byte, `golden/` pins them for ever.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "verify_once"))]
extern crate std;

pub mod attach;
pub mod block;
pub mod certificate;
mod codec;
pub mod component;
pub mod effects;
pub mod error;
pub mod evidence;
pub mod fields;
pub mod genesis;
pub mod governance;
pub mod hash;
pub mod ids;
pub mod limits;
pub mod merkle;
pub mod message;
pub mod proof;
pub mod proposal;
pub mod published;
pub mod receipt;
pub mod record;
pub mod roster;
pub mod sign;
pub mod statement;
pub mod token;
pub mod verdict;

pub use block::{Block, BlockBuilder, BlockHeader, HEADER_BYTES, HeaderParts, Records};
pub use certificate::QuorumCertificate;
pub use codec::{Noun, peek_noun};
pub use component::{ComponentPart, JudgeVersions, Shipment};
pub use effects::{Effect, Effects};
pub use error::{BlockFull, DecodeError, EncodeError, ShapeError};
pub use evidence::{Evidence, SignedEvidence};
pub use genesis::{ControlMode, Genesis, Member, SignedGenesis, TrustMode};
pub use governance::{Governance, SignedGovernance};
pub use ids::{
    ClusterId, Epoch, Hash, Nanos, NodeId, NodeTag, Now, OperatorId, ParseHexError, Round, Sequence,
    SessionId, SessionSequence, ShardId, Signature,
};
pub use message::{Message, MessageError};
pub use proposal::{Durability, Operation, Precondition, Proposal};
pub use published::Published;
pub use receipt::{Outcome, Receipt, Stage};
pub use record::Record;
pub use roster::Roster;
pub use sign::{Signer, Statement, StatementKind, VerifyError, VerifyingKey, verify};
pub use statement::{Ballot, BallotGrant, Vote};
pub use verdict::{ArbitratorCode, RefusalCode, Verdict};
