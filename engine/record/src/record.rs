//! One decided proposal at its place in the shard's order.
//!
//! Invariant: a record's hash covers every byte of its encoding, and its encoding is the only one it has.

use rkyv::{Archive, Deserialize, Serialize};

use crate::codec::{FORMAT_VERSION, Noun, layout, read_head, write_head};
use crate::effects::{Effect, Effects};
use crate::error::{DecodeError, EncodeError, ShapeError};
use crate::hash::Domain;
use crate::ids::{Hash, NodeTag, Sequence, SessionId, SessionSequence};
use crate::limits::{EFFECTS_BYTES_MAX, VALUE_BYTES_MAX};
use crate::proposal::{Durability, Operation, Precondition, PreconditionTag, Proposal};
use crate::proposal::{check_lengths, check_shape};
use crate::verdict::{Verdict, VerdictTag};

/// A proposal together with who proposed it, what was decided, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record<'a> {
    /// Its place in the shard's order, 1 or later.
    pub sequence: Sequence,
    /// Who proposed it.
    pub session: SessionId,
    /// The proposal's number inside that session.
    pub session_sequence: SessionSequence,
    /// What it does, when accepted.
    pub operation: Operation,
    /// What had to hold for it.
    pub precondition: Precondition,
    /// When its proposer wanted the answer.
    pub durability: Durability,
    /// What was decided.
    pub verdict: Verdict,
    /// As in the proposal.
    pub key: &'a [u8],
    /// As in the proposal.
    pub value: &'a [u8],
    /// What an arbitrator has written together with it, of a governance record an operator's write as well: there exactly
    /// when the verdict is `AcceptWithWrites`.
    pub effects: Effects<'a>,
}

/// The archived head: everything but key, value and effects.
#[derive(Archive, Serialize, Deserialize)]
struct RecordHead {
    kind: u8,
    version: u8,
    operation: Operation,
    precondition: PreconditionTag,
    durability: Durability,
    verdict: VerdictTag,
    key_bytes: u16,
    value_bytes: u32,
    /// The refusal's number when refused, the bytes of the effects when accepted with writes, else 0.
    detail: u32,
    sequence: u64,
    session_node: u64,
    session_boot: u32,
    session_counter: u32,
    session_sequence: u64,
    expected_sequence: u64,
}

/// Bytes in front of key, value and effects.
pub const RECORD_HEAD_BYTES: usize = size_of::<ArchivedRecordHead>();
layout!(
    ArchivedRecordHead, 56: kind 0, version 1, operation 2, precondition 3, durability 4, verdict 5, key_bytes 6,
    value_bytes 8, detail 12, sequence 16, session_node 24, session_boot 32, session_counter 36,
    session_sequence 40, expected_sequence 48
);

impl<'a> Record<'a> {
    /// The record of a judged proposal to which nothing was added.
    #[must_use]
    pub const fn of(
        sequence: Sequence,
        session: SessionId,
        proposal: &Proposal<'a>,
        verdict: Verdict,
    ) -> Record<'a> {
        Record {
            effects: Effects::NONE,
            sequence,
            session,
            session_sequence: proposal.session_sequence,
            operation: proposal.operation,
            precondition: proposal.precondition,
            durability: proposal.durability,
            verdict,
            key: proposal.key,
            value: proposal.value,
        }
    }

    /// The same, with what its arbitrator wrote together with it.
    #[must_use]
    pub const fn with_effects(self, effects: Effects<'a>) -> Record<'a> {
        Record { effects, ..self }
    }

    /// Every key that it writes when accepted, with the value or `None` for a removal: the proposal's own first, unless an
    /// effect on the same key stands in its place, then the effects in their order.
    pub fn writes(&self) -> impl Iterator<Item = Effect<'a>> {
        let (key, effects) = (self.key, self.effects);
        let value = (self.operation == Operation::Put).then_some(self.value);
        let is_writing = self.operation.has_key() && self.verdict.is_accepted();
        let is_amended = effects.iter().any(|effect| effect.key == key);
        let own = (is_writing && !is_amended).then_some(Effect { key, value });
        own.into_iter().chain(effects.iter())
    }

    /// The proposal that it decided.
    #[must_use]
    pub const fn proposal(&self) -> Proposal<'a> {
        Proposal {
            session_sequence: self.session_sequence,
            operation: self.operation,
            precondition: self.precondition,
            durability: self.durability,
            key: self.key,
            value: self.value,
        }
    }

    /// Length of the encoding.
    #[must_use]
    #[inline]
    pub const fn encoded_bytes(&self) -> usize {
        RECORD_HEAD_BYTES + self.key.len() + self.value.len() + self.effects.as_bytes().len()
    }

    /// Writes the encoding to the front of `out` and returns its length. Allocates nothing.
    #[inline]
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        self.check()?;
        let (needed, found) = (self.encoded_bytes(), out.len());
        let out = out.get_mut(..needed).ok_or(EncodeError::NoRoom { needed, found })?;
        let (head, payload) = out.split_at_mut(RECORD_HEAD_BYTES);
        write_head(&self.head(), head);
        let (key, payload) = payload.split_at_mut(self.key.len());
        let (value, effects) = payload.split_at_mut(self.value.len());
        key.copy_from_slice(self.key);
        value.copy_from_slice(self.value);
        effects.copy_from_slice(self.effects.as_bytes());
        Ok(needed)
    }

    /// Reads one record that fills `bytes` exactly; key and value are borrowed from it.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Result<Record<'a>, DecodeError> {
        let (record, rest) = Record::decode_first(bytes)?;
        if !rest.is_empty() {
            let (named, found) = (record.encoded_bytes(), bytes.len());
            return Err(DecodeError::LengthMismatch { noun: Noun::Record, named, found });
        }
        Ok(record)
    }

    /// Reads the record at the front of `bytes` and returns what stands behind it.
    #[inline]
    pub fn decode_first(bytes: &'a [u8]) -> Result<(Record<'a>, &'a [u8]), DecodeError> {
        let noun = Noun::Record;
        let (head, payload) = read_head::<RecordHead>(noun, bytes)?;
        let (key_bytes, value_bytes) = (head.key_bytes as usize, head.value_bytes as usize);
        let effects_bytes =
            if head.verdict == VerdictTag::AcceptWithWrites { head.detail as usize } else { 0 };
        check_lengths(key_bytes, value_bytes)?;
        check_effects_length(value_bytes, effects_bytes)?;
        if payload.len() < key_bytes + value_bytes + effects_bytes {
            let named = RECORD_HEAD_BYTES + key_bytes + value_bytes + effects_bytes;
            return Err(DecodeError::LengthMismatch { noun, named, found: bytes.len() });
        }
        let (key, behind_key) = payload.split_at(key_bytes);
        let (value, behind_value) = behind_key.split_at(value_bytes);
        let (effects, rest) = behind_value.split_at(effects_bytes);
        let record = Record::from_head(&head, key, value, Effects::check(effects)?)?;
        record.check()?;
        Ok((record, rest))
    }

    /// Hash of the encoding under the record domain: this record's leaf in its block's Merkle tree.
    ///
    /// The record must be well-shaped (`check`); an ill-shaped one has no encoding and so no hash.
    #[must_use]
    pub fn hash(&self) -> Hash {
        assert_eq!(self.check(), Ok(()), "only a well-shaped record has a hash");
        let mut head = [0; RECORD_HEAD_BYTES];
        write_head(&self.head(), &mut head);
        Domain::Record.hash_parts(&[&head, self.key, self.value, self.effects.as_bytes()])
    }

    /// Hash of one record's encoded bytes.
    #[must_use]
    pub fn hash_encoded(bytes: &[u8]) -> Hash {
        Domain::Record.hash(bytes)
    }

    /// Whether the fields go together; `encode` and `decode` ask this themselves.
    #[inline]
    pub fn check(&self) -> Result<(), ShapeError> {
        check_shape(self.operation, self.precondition, self.key, self.value)?;
        check_effects_length(self.value.len(), self.effects.as_bytes().len())?;
        let has_writes = self.verdict == Verdict::AcceptWithWrites;
        let may_write = self.operation.has_key() || self.operation == Operation::Govern;
        if has_writes == self.effects.is_empty() || (has_writes && !may_write) {
            return Err(ShapeError::EffectsMisplaced);
        }
        if self.sequence.is_none() {
            return Err(ShapeError::SequenceZero);
        }
        if self.operation.is_counted() && self.session_sequence.is_none() {
            return Err(ShapeError::SessionSequenceZero);
        }
        Ok(())
    }

    #[inline]
    fn head(&self) -> RecordHead {
        let (precondition, expected_sequence) = self.precondition.to_tag();
        let (verdict, refusal) = self.verdict.to_tag();
        let detail = if verdict == VerdictTag::AcceptWithWrites {
            self.effects.as_bytes().len() as u32
        } else {
            refusal
        };
        RecordHead {
            kind: Noun::Record as u8,
            version: FORMAT_VERSION,
            operation: self.operation,
            precondition,
            durability: self.durability,
            verdict,
            key_bytes: self.key.len() as u16,
            value_bytes: self.value.len() as u32,
            detail,
            sequence: self.sequence.0,
            session_node: self.session.node.0,
            session_boot: self.session.boot,
            session_counter: self.session.counter,
            session_sequence: self.session_sequence.0,
            expected_sequence,
        }
    }

    #[inline]
    fn from_head(
        head: &RecordHead,
        key: &'a [u8],
        value: &'a [u8],
        effects: Effects<'a>,
    ) -> Result<Record<'a>, DecodeError> {
        let precondition = Precondition::from_tag(head.precondition, head.expected_sequence);
        let refusal = if effects.is_empty() { head.detail } else { 0 };
        let verdict = Verdict::from_tag(head.verdict, refusal)?;
        let (Some(precondition), Some(verdict)) = (precondition, verdict) else {
            return Err(DecodeError::ReservedNotZero { noun: Noun::Record });
        };
        Ok(Record {
            sequence: Sequence(head.sequence),
            session: SessionId {
                node: NodeTag(head.session_node),
                boot: head.session_boot,
                counter: head.session_counter,
            },
            session_sequence: SessionSequence(head.session_sequence),
            operation: head.operation,
            precondition,
            durability: head.durability,
            verdict,
            key,
            value,
            effects,
        })
    }
}

/// Effects take their room from what a value may have, so that they make no record longer than the limit.
fn check_effects_length(value_bytes: usize, effects_bytes: usize) -> Result<(), ShapeError> {
    if effects_bytes > EFFECTS_BYTES_MAX
        || (effects_bytes > 0 && value_bytes + effects_bytes > VALUE_BYTES_MAX)
    {
        return Err(ShapeError::EffectsTooLong { bytes: effects_bytes });
    }
    Ok(())
}
