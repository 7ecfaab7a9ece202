//! What a client submits, as it stands in the ring of its session.
//!
//! Invariant: a proposal that decodes is well-shaped: its key and value are within their limits and present exactly
//! where its operation wants them.

use core::fmt;
use core::str::FromStr;

use rkyv::{Archive, Deserialize, Serialize};

use crate::codec::{FORMAT_VERSION, Noun, check_kind, layout, read_head, write_head};
use crate::error::{DecodeError, EncodeError, ShapeError};
use crate::ids::{Sequence, SessionSequence};
use crate::limits::{KEY_BYTES_MAX, KEY_BYTES_MIN, SHIPMENT_BYTES_MAX, VALUE_BYTES_MAX};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Operation`."))]
#[repr(u8)]
pub enum Operation {
    /// Write a value under a key.
    Put = 1,
    /// Remove a key.
    Delete = 2,
    /// Make the session known to the shard.
    OpenSession = 3,
    /// Forget the session.
    CloseSession = 4,
    /// The leader's first record of an epoch.
    StartEpoch = 5,
    /// Change the cluster: the value is a signed governance record with what travels with it; its operator is the
    /// authority.
    Govern = 6,
}

impl Operation {
    /// Whether it writes a key.
    #[must_use]
    pub const fn has_key(self) -> bool {
        matches!(self, Operation::Put | Operation::Delete)
    }

    /// Whether its session counts it, so that a retry is told from a new one.
    #[must_use]
    pub const fn is_counted(self) -> bool {
        matches!(self, Operation::Put | Operation::Delete | Operation::Govern)
    }

    /// As it stands in logs and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Put => "put",
            Operation::Delete => "delete",
            Operation::OpenSession => "open-session",
            Operation::CloseSession => "close-session",
            Operation::StartEpoch => "start-epoch",
            Operation::Govern => "govern",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What must hold of the key's newest version when the log reaches the proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// The key does not exist.
    Absent,
    /// The key's newest version was written at this sequence (never 0).
    SequenceIs(Sequence),
}

/// How safe a proposal must be before its receipt is given.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Archive, Serialize, Deserialize,
)]
#[rkyv(attr(doc = "Archived form of `Durability`."))]
#[repr(u8)]
pub enum Durability {
    /// Judged and visible on this box; lost if the box dies.
    Local = 1,
    /// In the memory of a quorum.
    MemQuorum = 2,
    /// Flushed by a quorum.
    #[default]
    DiskQuorum = 3,
    /// Flushed by a quorum, and a quorum certificate exists that proves it to third parties.
    Certified = 4,
}

impl Durability {
    /// Every durability, weakest first.
    pub const ALL: [Durability; 4] =
        [Durability::Local, Durability::MemQuorum, Durability::DiskQuorum, Durability::Certified];

    /// As in configuration, flags and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Durability::Local => "local",
            Durability::MemQuorum => "mem-quorum",
            Durability::DiskQuorum => "disk-quorum",
            Durability::Certified => "certified",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text names no durability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such durability: use local, mem-quorum, disk-quorum or certified")]
pub struct ParseDurabilityError;

impl FromStr for Durability {
    type Err = ParseDurabilityError;

    fn from_str(text: &str) -> Result<Self, ParseDurabilityError> {
        Durability::ALL.into_iter().find(|durability| durability.name() == text).ok_or(ParseDurabilityError)
    }
}

/// One request to change the state. The session is implied by the ring it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Proposal<'a> {
    /// Its number inside session and shard; a retry has the same one.
    pub session_sequence: SessionSequence,
    /// What to do.
    pub operation: Operation,
    /// What must hold for it.
    pub precondition: Precondition,
    /// When to answer.
    pub durability: Durability,
    /// `KEY_BYTES_MIN..=KEY_BYTES_MAX` bytes for `Put` and `Delete`, else empty.
    pub key: &'a [u8],
    /// Up to `VALUE_BYTES_MAX` bytes for `Put`, a signed governance record for `Govern`, else empty.
    pub value: &'a [u8],
}

/// The archived head: everything but key and value.
#[derive(Archive, Serialize, Deserialize)]
struct ProposalHead {
    kind: u8,
    version: u8,
    operation: Operation,
    precondition: PreconditionTag,
    durability: Durability,
    reserved: u8,
    key_bytes: u16,
    value_bytes: u32,
    session_sequence: u64,
    expected_sequence: u64,
}

/// Bytes in front of key and value.
pub const PROPOSAL_HEAD_BYTES: usize = size_of::<ArchivedProposalHead>();
layout!(
    ArchivedProposalHead, 28: kind 0, version 1, operation 2, precondition 3, durability 4, reserved 5, key_bytes 6,
    value_bytes 8, session_sequence 12, expected_sequence 20
);

impl Proposal<'_> {
    /// Length of the encoding.
    #[must_use]
    #[inline]
    pub const fn encoded_bytes(&self) -> usize {
        PROPOSAL_HEAD_BYTES + self.key.len() + self.value.len()
    }

    /// Writes the encoding to the front of `out` and returns its length. Allocates nothing.
    #[inline]
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        self.check()?;
        let (needed, found) = (self.encoded_bytes(), out.len());
        let out = out.get_mut(..needed).ok_or(EncodeError::NoRoom { needed, found })?;
        let (head, payload) = out.split_at_mut(PROPOSAL_HEAD_BYTES);
        let (precondition, expected_sequence) = self.precondition.to_tag();
        write_head(
            &ProposalHead {
                kind: Noun::Proposal as u8,
                version: FORMAT_VERSION,
                operation: self.operation,
                precondition,
                durability: self.durability,
                reserved: 0,
                key_bytes: self.key.len() as u16,
                value_bytes: self.value.len() as u32,
                session_sequence: self.session_sequence.0,
                expected_sequence,
            },
            head,
        );
        let (key, value) = payload.split_at_mut(self.key.len());
        key.copy_from_slice(self.key);
        value.copy_from_slice(self.value);
        Ok(needed)
    }

    /// Reads one proposal that fills `bytes` exactly; key and value are borrowed from it.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Proposal<'_>, DecodeError> {
        let noun = Noun::Proposal;
        let (head, payload) = read_head::<ProposalHead>(noun, bytes)?;
        let (key_bytes, value_bytes) = (head.key_bytes as usize, head.value_bytes as usize);
        check_lengths(key_bytes, value_bytes)?;
        if payload.len() != key_bytes + value_bytes {
            let named = PROPOSAL_HEAD_BYTES + key_bytes + value_bytes;
            return Err(DecodeError::LengthMismatch { noun, named, found: bytes.len() });
        }
        let precondition = Precondition::from_tag(head.precondition, head.expected_sequence);
        let (Some(precondition), 0) = (precondition, head.reserved) else {
            return Err(DecodeError::ReservedNotZero { noun });
        };
        let (key, value) = payload.split_at(key_bytes);
        let proposal = Proposal {
            session_sequence: SessionSequence(head.session_sequence),
            operation: head.operation,
            precondition,
            durability: head.durability,
            key,
            value,
        };
        proposal.check()?;
        Ok(proposal)
    }

    /// The session sequence of bytes that do not decode, for the receipt that refuses them: `None` when the head is
    /// cut off or not a proposal's. Promises nothing about the rest.
    #[must_use]
    pub fn peek_session_sequence(bytes: &[u8]) -> Option<SessionSequence> {
        check_kind(Noun::Proposal, bytes, PROPOSAL_HEAD_BYTES).ok()?;
        let at = core::mem::offset_of!(ArchivedProposalHead, session_sequence);
        let (number, _) = bytes[at..].split_first_chunk()?;
        Some(SessionSequence(u64::from_le_bytes(*number)))
    }

    /// Whether the fields go together; `encode` and `decode` ask this themselves.
    #[inline]
    pub fn check(&self) -> Result<(), ShapeError> {
        check_shape(self.operation, self.precondition, self.key, self.value)?;
        if self.operation.is_counted() && self.session_sequence.is_none() {
            return Err(ShapeError::SessionSequenceZero);
        }
        Ok(())
    }
}

/// How a precondition stands in a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub(crate) enum PreconditionTag {
    None = 1,
    Absent = 2,
    SequenceIs = 3,
}

impl Precondition {
    /// Tag and expected sequence; the sequence is 0 unless one is named.
    #[inline]
    pub(crate) const fn to_tag(self) -> (PreconditionTag, u64) {
        match self {
            Precondition::None => (PreconditionTag::None, 0),
            Precondition::Absent => (PreconditionTag::Absent, 0),
            Precondition::SequenceIs(sequence) => (PreconditionTag::SequenceIs, sequence.0),
        }
    }

    /// The precondition behind tag and sequence; `None` when a sequence stands where none belongs.
    #[inline]
    pub(crate) const fn from_tag(tag: PreconditionTag, expected_sequence: u64) -> Option<Precondition> {
        match (tag, expected_sequence) {
            (PreconditionTag::None, 0) => Some(Precondition::None),
            (PreconditionTag::Absent, 0) => Some(Precondition::Absent),
            (PreconditionTag::SequenceIs, sequence) => Some(Precondition::SequenceIs(Sequence(sequence))),
            _ => None,
        }
    }
}

/// What proposals and records have in common: the payload fits the operation.
#[inline]
pub(crate) fn check_shape(
    operation: Operation,
    precondition: Precondition,
    key: &[u8],
    value: &[u8],
) -> Result<(), ShapeError> {
    check_lengths(key.len(), value.len())?;
    if precondition == Precondition::SequenceIs(Sequence::NONE) {
        return Err(ShapeError::PreconditionSequenceZero);
    }
    match operation {
        Operation::Put | Operation::Delete if key.len() < KEY_BYTES_MIN => Err(ShapeError::KeyEmpty),
        Operation::Put => Ok(()),
        Operation::Delete if value.is_empty() => Ok(()),
        Operation::Delete => Err(ShapeError::ValueNotAllowed),
        _ if !key.is_empty() => Err(ShapeError::PayloadNotAllowed),
        _ if precondition != Precondition::None => Err(ShapeError::PreconditionNotAllowed),
        Operation::Govern if value.is_empty() || value.len() > SHIPMENT_BYTES_MAX => {
            Err(ShapeError::GovernanceLength { bytes: value.len() })
        }
        Operation::Govern => Ok(()),
        _ if !value.is_empty() => Err(ShapeError::PayloadNotAllowed),
        _ => Ok(()),
    }
}

/// Upper limits of a payload, checked before anything is sliced by them.
#[inline]
pub(crate) fn check_lengths(key_bytes: usize, value_bytes: usize) -> Result<(), ShapeError> {
    if key_bytes > KEY_BYTES_MAX {
        return Err(ShapeError::KeyTooLong { bytes: key_bytes });
    }
    if value_bytes > VALUE_BYTES_MAX {
        return Err(ShapeError::ValueTooLong { bytes: value_bytes });
    }
    Ok(())
}
