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

/// Everything that has an encoding of its own; the number is its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Noun {
    /// `Proposal`
    Proposal = 1,
    /// `Record`
    Record = 2,
    /// `BlockHeader`, alone or in front of a block's records.
    BlockHeader = 3,
    /// `Receipt`
    Receipt = 4,
    /// `Vote`
    Vote = 5,
    /// `Ballot`
    Ballot = 6,
    /// `BallotGrant`
    BallotGrant = 7,
    /// `Governance`
    Governance = 8,
    /// `Genesis`
    Genesis = 9,
    /// `SignedGenesis`
    SignedGenesis = 10,
    /// `Evidence`
    Evidence = 11,
    /// `Published`
    Published = 12,
    /// `attach::Hello`
    Hello = 16,
    /// `attach::Welcome`
    Welcome = 17,
    /// `attach::ShardDoor`
    ShardDoor = 18,
    /// `attach::Refused`
    Refused = 19,
}

impl Noun {
    const ALL: [Noun; 16] = [
        Noun::Proposal,
        Noun::Record,
        Noun::BlockHeader,
        Noun::Receipt,
        Noun::Vote,
        Noun::Ballot,
        Noun::BallotGrant,
        Noun::Governance,
        Noun::Genesis,
        Noun::SignedGenesis,
        Noun::Evidence,
        Noun::Published,
        Noun::Hello,
        Noun::Welcome,
        Noun::ShardDoor,
        Noun::Refused,
    ];

    /// As it stands in logs and errors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Noun::Proposal => "proposal",
            Noun::Record => "record",
            Noun::BlockHeader => "block header",
            Noun::Receipt => "receipt",
            Noun::Vote => "vote",
            Noun::Ballot => "ballot",
            Noun::BallotGrant => "ballot grant",
            Noun::Governance => "governance record",
            Noun::Genesis => "genesis",
            Noun::SignedGenesis => "signed genesis",
            Noun::Evidence => "evidence",
            Noun::Published => "published record",
            Noun::Hello => "hello",
            Noun::Welcome => "welcome",
            Noun::ShardDoor => "shard door",
            Noun::Refused => "refused",
        }
    }
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
    Noun::ALL.into_iter().find(|noun| *noun as u8 == first)
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
    let (head, payload) = bytes.split_at(size_of::<T::Archived>());
    let head = rkyv::api::low::access::<T::Archived, Failure>(head)
        .and_then(rkyv::api::low::deserialize)
        .map_err(|Failure| DecodeError::Invalid { noun })?;
    Ok((head, payload))
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
