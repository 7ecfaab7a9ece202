//! How a fixed head gets into bytes and back: one rkyv archive without pointers, every access checked.
//!
//! Invariant: the first byte names the noun and the second its format version, and both are looked at before
//! anything else, so that bytes of a newer program are refused by name instead of being misread.

use core::fmt;

use alloc::vec::Vec;
use rkyv::api::low::{LowDeserializer, LowSerializer, LowValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Failure;
use rkyv::ser::{Serializer, writer::Buffer};
use rkyv::{Archive, Deserialize, Serialize};

use crate::error::DecodeError;
use crate::ids::Signature;

macro_rules! nouns {
    ($($(#[$doc:meta])* $variant:ident = $kind:literal, $name:literal;)*) => {
        /// Everything that has an encoding of its own; the number is its first byte.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Noun {
            $($(#[$doc])* $variant = $kind,)*
        }

        impl Noun {
            /// Every noun.
            pub const ALL: &'static [Noun] = &[$(Noun::$variant,)*];

            /// As it stands in logs and errors.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Noun::$variant => $name,)*
                }
            }
        }
    };
}

nouns! {
    /// `Proposal`
    Proposal = 1, "proposal";
    /// `Record`
    Record = 2, "record";
    /// `BlockHeader`, alone or in front of a block's records.
    BlockHeader = 3, "block header";
    /// `Receipt`
    Receipt = 4, "receipt";
    /// `Vote`
    Vote = 5, "vote";
    /// `Ballot`
    Ballot = 6, "ballot";
    /// `BallotGrant`
    BallotGrant = 7, "ballot grant";
    /// `Governance`
    Governance = 8, "governance record";
    /// `Genesis`
    Genesis = 9, "genesis";
    /// `SignedGenesis`
    SignedGenesis = 10, "signed genesis";
    /// `Evidence`
    Evidence = 11, "evidence";
    /// `Published`
    Published = 12, "published record";
    /// `SignedGovernance`
    SignedGovernance = 13, "signed governance record";
    /// `QuorumCertificate`
    QuorumCertificate = 14, "quorum certificate";
    /// `SignedEvidence`
    SignedEvidence = 15, "signed evidence";
    /// `attach::Hello`
    Hello = 16, "hello";
    /// `attach::Welcome`
    Welcome = 17, "welcome";
    /// `attach::ShardDoor`
    ShardDoor = 18, "shard door";
    /// `attach::Refused`
    Refused = 19, "refused";
    /// `attach::Inquiry`
    Inquiry = 20, "inquiry";
    /// `attach::Answer`
    Answer = 21, "answer";
    /// `component::Shipment` with a payload.
    Shipment = 22, "governance record with its payload";
    /// `proof::RecordProof`
    RecordProof = 24, "proof of a record";
    /// `message::BlockMessage`
    BlockMessage = 64, "block message";
    /// `message::SealMessage`
    SealMessage = 65, "seal message";
    /// `message::Ack`
    Ack = 66, "ack message";
    /// `message::Commit`
    Commit = 67, "commit message";
    /// A signed vote on the wire.
    VoteMessage = 68, "vote message";
    /// `message::PreVote`
    PreVote = 69, "pre-vote message";
    /// `message::PreVoteAnswer`
    PreVoteAnswer = 70, "pre-vote answer";
    /// `message::BallotMessage`
    BallotMessage = 71, "ballot message";
    /// A signed ballot grant on the wire.
    GrantMessage = 72, "grant message";
    /// `message::Deny`
    Deny = 73, "deny message";
    /// `message::Want`
    Want = 74, "want message";
    /// `message::FetchBlock`
    FetchBlock = 75, "fetch message";
    /// A block that was asked for.
    FetchedBlock = 76, "fetched-block message";
    /// `message::WantHeader`
    WantHeader = 77, "want-header message";
    /// A signed header on the wire.
    HeaderMessage = 78, "header message";
    /// `message::Forwarded`
    Forward = 79, "forward message";
    /// `message::Declined`
    Declined = 80, "declined message";
    /// `message::HandOver`
    HandOver = 81, "hand-over message";
    /// Signed evidence on the wire.
    EvidenceMessage = 82, "evidence message";
    /// `message::StateHash`
    StateHash = 83, "state-hash message";
    /// `message::EvidenceKept`
    EvidenceKept = 84, "evidence-kept message";
}

impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What these bytes say that they are, by their first byte. Promises nothing about the rest.
#[must_use]
pub fn peek_noun(bytes: &[u8]) -> Option<Noun> {
    let first = *bytes.first()?;
    Noun::ALL.iter().copied().find(|noun| *noun as u8 == first)
}

/// Pins the drawn layout of an archived head: total bytes, then each field's offset. See FORMAT.md.
macro_rules! layout {
    ($head:ident, $bytes:literal: $($field:ident $offset:literal),*) => {
        const _: () = assert!(size_of::<$head>() == $bytes && align_of::<$head>() == 1);
        $(const _: () = assert!(core::mem::offset_of!($head, $field) == $offset);)*
    };
}
pub(crate) use layout;

/// The one format version of every noun today.
pub(crate) const FORMAT_VERSION: u8 = 1;

/// Looks at kind and version, the first two bytes.
#[inline]
pub(crate) fn check_kind(noun: Noun, bytes: &[u8], bytes_min: usize) -> Result<(), DecodeError> {
    if bytes.len() < bytes_min.max(2) {
        return Err(DecodeError::TooShort { noun, needed: bytes_min.max(2), found: bytes.len() });
    }
    if bytes[0] != noun as u8 {
        return Err(DecodeError::KindMismatch { noun, found: bytes[0] });
    }
    if bytes[1] != FORMAT_VERSION {
        return Err(DecodeError::VersionUnknown { noun, found: bytes[1], known: FORMAT_VERSION });
    }
    Ok(())
}

/// Archives a head without pointers into exactly its own bytes.
#[inline]
pub(crate) fn write_head<T>(head: &T, out: &mut [u8])
where
    T: for<'a> Serialize<LowSerializer<Buffer<'a>, (), Failure>>,
{
    assert_eq!(out.len(), size_of::<T::Archived>(), "a head is written into exactly its bytes");
    let mut serializer = Serializer::new(Buffer::from(out), (), ());
    let position = rkyv::api::serialize_using::<_, Failure>(head, &mut serializer);
    // Heads hold no pointers, so that nothing stands in front of them and nothing is left to fail.
    assert_eq!(position, Ok(0));
}

/// Reads a checked head back: kind, version, then bytecheck over exactly the head's bytes.
#[inline]
pub(crate) fn read_head<T>(noun: Noun, bytes: &[u8]) -> Result<(T, &[u8]), DecodeError>
where
    T: Archive,
    T::Archived: for<'a> CheckBytes<LowValidator<'a, Failure>> + Deserialize<T, LowDeserializer<Failure>>,
{
    check_kind(noun, bytes, size_of::<T::Archived>())?;
    read_part(noun, bytes)
}

/// Reads what stands behind a head: checked like one, without kind and version of its own.
#[inline]
pub(crate) fn read_part<T>(noun: Noun, bytes: &[u8]) -> Result<(T, &[u8]), DecodeError>
where
    T: Archive,
    T::Archived: for<'a> CheckBytes<LowValidator<'a, Failure>> + Deserialize<T, LowDeserializer<Failure>>,
{
    let needed = size_of::<T::Archived>();
    let Some((part, rest)) = bytes.split_at_checked(needed) else {
        return Err(DecodeError::TooShort { noun, needed, found: bytes.len() });
    };
    let part = rkyv::api::low::access::<T::Archived, Failure>(part)
        .and_then(rkyv::api::low::deserialize)
        .map_err(|Failure| DecodeError::Invalid { noun })?;
    Ok((part, rest))
}

/// Kind and version in front of an ordinary rkyv archive: the form of nouns with lists and texts.
pub(crate) fn write_archive<T>(noun: Noun, value: &T) -> Vec<u8>
where
    T: for<'a> Serialize<
        rkyv::api::high::HighSerializer<Vec<u8>, rkyv::ser::allocator::ArenaHandle<'a>, Failure>,
    >,
{
    let prefix = alloc::vec![noun as u8, FORMAT_VERSION];
    let written = rkyv::api::high::to_bytes_in::<_, Failure>(value, prefix);
    written.expect("an archive into memory cannot fail")
}

/// Reads an archive written by `write_archive`, refusing anything that would not be written the same way.
pub(crate) fn read_archive<T>(noun: Noun, bytes: &[u8], bytes_max: usize) -> Result<T, DecodeError>
where
    T: Archive
        + for<'a> Serialize<
            rkyv::api::high::HighSerializer<Vec<u8>, rkyv::ser::allocator::ArenaHandle<'a>, Failure>,
        >,
    T::Archived: for<'a> CheckBytes<rkyv::api::high::HighValidator<'a, Failure>>
        + Deserialize<T, rkyv::api::high::HighDeserializer<Failure>>,
{
    if bytes.len() > bytes_max {
        return Err(DecodeError::TooLong { noun, found: bytes.len(), max: bytes_max });
    }
    check_kind(noun, bytes, 2 + size_of::<T::Archived>())?;
    let value: T = rkyv::api::high::from_bytes::<T, Failure>(&bytes[2..])
        .map_err(|Failure| DecodeError::Invalid { noun })?;
    if write_archive(noun, &value) != bytes {
        return Err(DecodeError::NotCanonical { noun });
    }
    Ok(value)
}

/// Bytes in front of a signed archive: kind, version, signature.
pub(crate) const SIGNED_HEAD_BYTES: usize = 2 + Signature::BYTES;

/// Kind, version and a signature in front of what was signed, which has a kind and version of its own.
pub(crate) fn write_signed_archive(noun: Noun, signature: &Signature, signed: &[u8]) -> Vec<u8> {
    let mut bytes = alloc::vec![noun as u8, FORMAT_VERSION];
    bytes.extend_from_slice(&signature.0);
    bytes.extend_from_slice(signed);
    bytes
}

/// The signature, and the bytes of what was signed.
pub(crate) fn read_signed_archive(noun: Noun, bytes: &[u8]) -> Result<(Signature, &[u8]), DecodeError> {
    check_kind(noun, bytes, SIGNED_HEAD_BYTES)?;
    let (head, signed) = bytes.split_at(SIGNED_HEAD_BYTES);
    let mut signature = [0; Signature::BYTES];
    signature.copy_from_slice(&head[2..]);
    Ok((Signature(signature), signed))
}
