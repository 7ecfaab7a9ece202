//! What can be wrong with a value that wants out, or with bytes that want in.
//!
//! Invariant: every message says what happened and what to do; none carries bytes of the sender.

use crate::codec::Noun;
use crate::limits::{KEY_BYTES_MAX, SHIPMENT_BYTES_MAX, VALUE_BYTES_MAX};
use crate::verdict::RefusalCode;

/// A proposal or record whose fields do not go together, found while encoding or decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// `Put` and `Delete` need a key.
    #[error("the key is empty: name the key to write")]
    KeyEmpty,
    /// The key is longer than `KEY_BYTES_MAX`.
    #[error("the key has {bytes} bytes, at most {KEY_BYTES_MAX} are allowed: shorten the key")]
    KeyTooLong {
        /// Length of the refused key.
        bytes: usize,
    },
    /// The value is longer than `VALUE_BYTES_MAX`.
    #[error("the value has {bytes} bytes, at most {VALUE_BYTES_MAX} are allowed: split it over several keys")]
    ValueTooLong {
        /// Length of the refused value.
        bytes: usize,
    },
    /// Only `Put` and `Delete` name a key.
    #[error("this operation takes no key and no value: leave both empty")]
    PayloadNotAllowed,
    /// Only `Put` carries a value.
    #[error("a delete carries no value: leave it empty")]
    ValueNotAllowed,
    /// `Govern` carries one signed governance record, and what travels with it.
    #[error("a governance record has {bytes} bytes, 1 to {SHIPMENT_BYTES_MAX} are allowed: sign it again")]
    GovernanceLength {
        /// Length of the refused value.
        bytes: usize,
    },
    /// A precondition stands on an operation without a key.
    #[error("this operation takes no precondition: use none")]
    PreconditionNotAllowed,
    /// `SequenceIs(0)` names no version; `Absent` is the word for that.
    #[error("sequence 0 names no version of a key: use the precondition `absent`")]
    PreconditionSequenceZero,
    /// Clients count their proposals from 1.
    #[error("session sequence 0 is never used: count proposals from 1")]
    SessionSequenceZero,
    /// Records are counted from 1.
    #[error("sequence 0 means \"none\": a record stands at 1 or later")]
    SequenceZero,
    /// An accepted receipt names the sequence it was accepted at.
    #[error("an accepted receipt must name its sequence: fill it in")]
    AcceptedWithoutSequence,
    /// Effects stand where none belong, or are missing where they do.
    #[error("effects stand in a record exactly when its verdict is accept-with-writes")]
    EffectsMisplaced,
    /// Bytes of effects that are no writes.
    #[error("the effects are not a list of cell writes: the arbitrator's answer was not checked")]
    EffectsMalformed,
    /// A key is written twice by one record.
    #[error("the effects write one key twice: each key is written once")]
    EffectsTwice,
    /// More writes than allowed.
    #[error("the effects are more than 16 writes: split the proposal")]
    EffectsTooMany,
    /// More bytes of effects than allowed, or than the value leaves room for.
    #[error(
        "the effects have {bytes} bytes, at most 4096 are allowed, and 65536 together with the value: shorten them"
    )]
    EffectsTooLong {
        /// Their bytes.
        bytes: usize,
    },
}

impl ShapeError {
    /// The refusal that a client gets for a proposal of this shape.
    #[must_use]
    pub const fn refusal(self) -> RefusalCode {
        match self {
            ShapeError::KeyEmpty => RefusalCode::KeyEmpty,
            ShapeError::KeyTooLong { .. } => RefusalCode::KeyTooLong,
            ShapeError::ValueTooLong { .. } => RefusalCode::ValueTooLong,
            _ => RefusalCode::Malformed,
        }
    }
}

/// A value cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The caller's slice is too short.
    #[error("encoding needs {needed} bytes, the buffer has {found}: give a larger buffer")]
    NoRoom {
        /// Bytes that the encoding takes.
        needed: usize,
        /// Bytes that the caller gave.
        found: usize,
    },
    /// The fields do not go together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A list or text is longer than its limit.
    #[error("{what} has {found} elements or bytes, at most {max} are allowed: shorten it")]
    TooLong {
        /// The limited thing.
        what: &'static str,
        /// Its length.
        found: usize,
        /// Its limit, from `limits`.
        max: usize,
    },
    /// What travels with a governance record is not what the record names.
    #[error(
        "the payload does not have the hash that its governance record names: bring the bytes that were signed for"
    )]
    PayloadWrong,
    /// A list or text must not be empty.
    #[error("{what} is empty: name at least one")]
    Empty {
        /// The missing thing.
        what: &'static str,
    },
    /// The same thing stands twice where each may stand once.
    #[error("{what} stands twice: name each once")]
    Twice {
        /// The repeated thing.
        what: &'static str,
    },
}

/// Bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the fixed head.
    #[error("{noun} needs at least {needed} bytes, found {found}: the bytes were cut off")]
    TooShort {
        /// What was expected.
        noun: Noun,
        /// Least length.
        needed: usize,
        /// Length found.
        found: usize,
    },
    /// The lengths in the head do not add up to the bytes found.
    #[error("{noun} names {named} bytes, found {found}: the bytes were cut off or run together")]
    LengthMismatch {
        /// What was expected.
        noun: Noun,
        /// Length that the head names.
        named: usize,
        /// Length found.
        found: usize,
    },
    /// More bytes than anything of this kind may have.
    #[error("{noun} has {found} bytes, at most {max} are allowed: refuse the sender")]
    TooLong {
        /// What was expected.
        noun: Noun,
        /// Length found.
        found: usize,
        /// Limit, from `limits`.
        max: usize,
    },
    /// The first byte names something else.
    #[error("expected {noun}, found kind byte {found}: these bytes belong elsewhere")]
    KindMismatch {
        /// What was expected.
        noun: Noun,
        /// Kind byte found.
        found: u8,
    },
    /// The second byte names a format of a newer program.
    #[error("{noun} has format version {found}, this program reads version {known}: use a newer program")]
    VersionUnknown {
        /// What was expected.
        noun: Noun,
        /// Version found.
        found: u8,
        /// Version that this program reads.
        known: u8,
    },
    /// A tag, pointer or text inside is not valid.
    #[error("{noun} holds a tag or text that has no meaning: the bytes are damaged")]
    Invalid {
        /// What was expected.
        noun: Noun,
    },
    /// A reserved byte is not zero, or a field is set that its tag does not use.
    #[error("{noun} has bytes set that must be zero: the bytes are damaged or from a newer program")]
    ReservedNotZero {
        /// What was expected.
        noun: Noun,
    },
    /// A refusal code that this program does not know.
    #[error("refusal code {code} is not known here: use a newer program")]
    RefusalUnknown {
        /// Code found.
        code: u32,
    },
    /// The fields do not go together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A limit on a list or text is broken, or one is empty or holds something twice.
    #[error(transparent)]
    Limit(EncodeError),
    /// Well-formed, but not the bytes that the value encodes to.
    #[error("{noun} is not in its one canonical form: the bytes were not written by this system")]
    NotCanonical {
        /// What was expected.
        noun: Noun,
    },
    /// A block header that counts no records.
    #[error("a block without records: every block holds at least one")]
    BlockEmpty,
    /// More records than `BLOCK_RECORDS_MAX`.
    #[error("a block names {count} records, more than allowed: refuse the sender")]
    BlockTooManyRecords {
        /// Count that the header names.
        count: u32,
    },
    /// A block's last sequence would not fit 64 bits.
    #[error("the sequences of a block run beyond 64 bits: the header is damaged")]
    SequenceOverflow,
    /// A record inside a block stands at the wrong sequence.
    #[error("record {index} of a block stands at sequence {found}, expected {expected}: refuse the block")]
    SequenceGap {
        /// Place in the block, from 0.
        index: u32,
        /// Sequence that follows from the header.
        expected: u64,
        /// Sequence found.
        found: u64,
    },
    /// The records do not hash to the root in the header.
    #[error("the records do not match the root in the block header: refuse the block")]
    RootMismatch,
}

impl DecodeError {
    /// The refusal that a client gets for a proposal that failed to decode like this.
    #[must_use]
    pub const fn refusal(&self) -> RefusalCode {
        match self {
            DecodeError::Shape(shape) => shape.refusal(),
            _ => RefusalCode::Malformed,
        }
    }
}

/// A block has no room for one more record: seal it and push into the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the block is full with {records} records in {bytes} bytes: seal it and use the next block")]
pub struct BlockFull {
    /// Records in the block.
    pub records: u32,
    /// Encoded bytes so far, header included.
    pub bytes: usize,
}
