//! One committed record as it goes out on the broadcast feed of its shard.
//!
//! Invariant: what stands on the feed is committed, and the record in it is the very encoding that its block holds.

use rkyv::{Archive, Deserialize, Serialize};

use crate::codec::{FORMAT_VERSION, Noun, layout, read_head, write_head};
use crate::error::{DecodeError, EncodeError};
use crate::ids::{Epoch, Nanos};
use crate::record::Record;

/// A record with the epoch and time of its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Published<'a> {
    /// The epoch of its block.
    pub epoch: Epoch,
    /// The time of its block.
    pub time: Nanos,
    /// The committed record.
    pub record: Record<'a>,
}

/// The archived head: everything in front of the record.
#[derive(Archive, Serialize, Deserialize)]
struct PublishedHead {
    kind: u8,
    version: u8,
    epoch: u64,
    time: u64,
}

/// Bytes in front of the record.
pub const PUBLISHED_HEAD_BYTES: usize = size_of::<ArchivedPublishedHead>();
layout!(ArchivedPublishedHead, 18: kind 0, version 1, epoch 2, time 10);

impl<'a> Published<'a> {
    /// Length of the encoding.
    #[must_use]
    #[inline]
    pub const fn encoded_bytes(&self) -> usize {
        PUBLISHED_HEAD_BYTES + self.record.encoded_bytes()
    }

    /// Writes the encoding to the front of `out` and returns its length. Allocates nothing.
    #[inline]
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let (needed, found) = (self.encoded_bytes(), out.len());
        let out = out.get_mut(..needed).ok_or(EncodeError::NoRoom { needed, found })?;
        let (head, record) = out.split_at_mut(PUBLISHED_HEAD_BYTES);
        self.record.encode(record)?;
        let (epoch, time) = (self.epoch.0, self.time.0);
        write_head(
            &PublishedHead { kind: Noun::Published as u8, version: FORMAT_VERSION, epoch, time },
            head,
        );
        Ok(needed)
    }

    /// Reads one published record that fills `bytes` exactly; key and value are borrowed from it.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Result<Published<'a>, DecodeError> {
        let (head, record) = read_head::<PublishedHead>(Noun::Published, bytes)?;
        let record = Record::decode(record)?;
        Ok(Published { epoch: Epoch(head.epoch), time: Nanos(head.time), record })
    }
}
