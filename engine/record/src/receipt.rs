//! What the client gets back: how far its proposal came, and where it stands.
//!
//! Invariant: every receipt is exactly `RECEIPT_BYTES` long, and an accepted one names its sequence.

use core::fmt;

use rkyv::{Archive, Deserialize, Serialize};

use crate::codec::{FORMAT_VERSION, Noun, layout, read_head, write_head};
use crate::error::{DecodeError, ShapeError};
use crate::ids::{Epoch, Nanos, Sequence, SessionSequence};
use crate::limits::RECEIPT_BYTES;
use crate::proposal::Durability;
use crate::verdict::RefusalCode;

/// How far a proposal came, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Stage`."))]
#[repr(u8)]
pub enum Stage {
    /// In the ring.
    Submitted = 1,
    /// The verdict is known.
    Judged = 2,
    /// In this node's log, flushed.
    Logged = 3,
    /// In the hands of a quorum.
    Replicated = 4,
    /// Decided for ever.
    Committed = 5,
    /// Visible as committed in the hot tier.
    Published = 6,
}

impl Stage {
    /// As it stands in logs and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Submitted => "submitted",
            Stage::Judged => "judged",
            Stage::Logged => "logged",
            Stage::Replicated => "replicated",
            Stage::Committed => "committed",
            Stage::Published => "published",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What became of the proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It takes effect.
    Accepted,
    /// It has no effect, for this reason.
    Refused(RefusalCode),
}

/// The answer to one proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The proposal's own number; 0 when the bytes were so bad that it could not be read.
    pub session_sequence: SessionSequence,
    /// Where it stands; 0 when it was refused before it got a place.
    pub sequence: Sequence,
    /// The epoch that placed it; 0 when none did.
    pub epoch: Epoch,
    /// Time of its block, or of the refusal.
    pub time: Nanos,
    /// How far it has come.
    pub stage: Stage,
    /// How safe it is now.
    pub durability: Durability,
    /// What became of it.
    pub outcome: Outcome,
}

/// The whole archived receipt.
#[derive(Archive, Serialize, Deserialize)]
struct ReceiptHead {
    kind: u8,
    version: u8,
    stage: Stage,
    durability: Durability,
    refusal: u32,
    session_sequence: u64,
    sequence: u64,
    epoch: u64,
    time: u64,
    reserved: [u64; 3],
}

const _: () = assert!(size_of::<ArchivedReceiptHead>() == RECEIPT_BYTES);
layout!(
    ArchivedReceiptHead, 64: kind 0, version 1, stage 2, durability 3, refusal 4, session_sequence 8, sequence 16,
    epoch 24, time 32, reserved 40
);

/// Stands in the place of a refusal code when the proposal was accepted.
const ACCEPTED: u32 = 0;

impl Receipt {
    /// The encoding. Allocates nothing.
    #[must_use]
    #[inline]
    pub fn encode(&self) -> [u8; RECEIPT_BYTES] {
        assert_eq!(self.check(), Ok(()), "an accepted proposal always has a place");
        let refusal = match self.outcome {
            Outcome::Accepted => ACCEPTED,
            Outcome::Refused(code) => code.to_code(),
        };
        let mut out = [0; RECEIPT_BYTES];
        let head = ReceiptHead {
            kind: Noun::Receipt as u8,
            version: FORMAT_VERSION,
            stage: self.stage,
            durability: self.durability,
            refusal,
            session_sequence: self.session_sequence.0,
            sequence: self.sequence.0,
            epoch: self.epoch.0,
            time: self.time.0,
            reserved: [0; 3],
        };
        write_head(&head, &mut out);
        out
    }

    /// Reads one receipt that fills `bytes` exactly.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Receipt, DecodeError> {
        let noun = Noun::Receipt;
        let (head, rest) = read_head::<ReceiptHead>(noun, bytes)?;
        if !rest.is_empty() {
            return Err(DecodeError::LengthMismatch { noun, named: RECEIPT_BYTES, found: bytes.len() });
        }
        if head.reserved != [0; 3] {
            return Err(DecodeError::ReservedNotZero { noun });
        }
        let outcome = match head.refusal {
            ACCEPTED => Outcome::Accepted,
            code => Outcome::Refused(RefusalCode::from_code(code)?),
        };
        let receipt = Receipt {
            session_sequence: SessionSequence(head.session_sequence),
            sequence: Sequence(head.sequence),
            epoch: Epoch(head.epoch),
            time: Nanos(head.time),
            stage: head.stage,
            durability: head.durability,
            outcome,
        };
        receipt.check()?;
        Ok(receipt)
    }

    /// Whether the proposal takes effect.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self.outcome, Outcome::Accepted)
    }

    #[inline]
    fn check(&self) -> Result<(), ShapeError> {
        match self.outcome {
            Outcome::Accepted if self.sequence.is_none() => Err(ShapeError::AcceptedWithoutSequence),
            _ => Ok(()),
        }
    }
}
