//! Consecutive records under one signed header; headers form the hash chain of a shard.
//!
//! Invariant: a decoded block is whole: as many records as the header counts, in as many bytes, at dense sequences,
//! under the root that the header names. The next header's parent is this header's hash.

use alloc::vec;
use alloc::vec::Vec;

use rkyv::{Archive, Deserialize, Serialize};

use crate::codec::{FORMAT_VERSION, Noun, layout, read_head, write_head};
use crate::error::{BlockFull, DecodeError, EncodeError};
use crate::hash::Domain;
use crate::ids::{ClusterId, Epoch, Hash, Nanos, NodeId, Sequence, ShardId};
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_RECORDS_MAX};
use crate::merkle::{MerkleBuilder, MerklePath, path, verify_path};
use crate::record::Record;

/// What the leader signs: one header proves every record of its block and, by its parent, all blocks before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockHeader {
    /// The cluster.
    pub cluster: ClusterId,
    /// The shard inside it.
    pub shard: ShardId,
    /// The leader's term.
    pub epoch: Epoch,
    /// Sequence of the block's first record.
    pub first_sequence: Sequence,
    /// How many records, 1 or more.
    pub record_count: u32,
    /// Encoded length of all records together.
    pub records_bytes: u32,
    /// Hash of the header before this one; zero for the first block of a shard.
    pub parent: Hash,
    /// Merkle root over the record hashes.
    pub root: Hash,
    /// Hash of the set of arbitrators that judged these records.
    pub arbitrators: Hash,
    /// The leader's time, greater than the parent's.
    pub time: Nanos,
    /// Who leads and signs.
    pub leader: NodeId,
}

/// The whole archived header.
#[derive(Archive, Serialize, Deserialize)]
struct HeaderHead {
    kind: u8,
    version: u8,
    shard: u16,
    record_count: u32,
    records_bytes: u32,
    epoch: u64,
    first_sequence: u64,
    time: u64,
    cluster: [u8; 32],
    parent: [u8; 32],
    root: [u8; 32],
    arbitrators: [u8; 32],
    leader: [u8; 32],
}

/// Length of every encoded block header.
pub const HEADER_BYTES: usize = size_of::<ArchivedHeaderHead>();
layout!(
    ArchivedHeaderHead, 196: kind 0, version 1, shard 2, record_count 4, records_bytes 8, epoch 12,
    first_sequence 20, time 28, cluster 36, parent 68, root 100, arbitrators 132, leader 164
);

impl BlockHeader {
    /// Sequence of the block's last record.
    #[must_use]
    pub const fn last_sequence(&self) -> Sequence {
        assert!(self.record_count > 0, "every block holds at least one record");
        Sequence(self.first_sequence.0 + (self.record_count as u64 - 1))
    }

    /// Length of the encoded block, header included.
    #[must_use]
    pub const fn block_bytes(&self) -> usize {
        HEADER_BYTES + self.records_bytes as usize
    }

    /// Hash of the encoding: the parent of the next header, and what votes name.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Domain::BlockHeader.hash(&self.encode())
    }

    /// The encoding. Allocates nothing. An empty or oversized header is our own broken promise.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        assert_eq!(self.check(), Ok(()), "only whole blocks have headers");
        let mut out = [0; HEADER_BYTES];
        let head = HeaderHead {
            kind: Noun::BlockHeader as u8,
            version: FORMAT_VERSION,
            shard: self.shard.0,
            record_count: self.record_count,
            records_bytes: self.records_bytes,
            epoch: self.epoch.0,
            first_sequence: self.first_sequence.0,
            time: self.time.0,
            cluster: self.cluster.0,
            parent: self.parent.0,
            root: self.root.0,
            arbitrators: self.arbitrators.0,
            leader: self.leader.0,
        };
        write_head(&head, &mut out);
        out
    }

    /// Reads one header that fills `bytes` exactly.
    pub fn decode(bytes: &[u8]) -> Result<BlockHeader, DecodeError> {
        let (header, rest) = BlockHeader::decode_first(bytes)?;
        if !rest.is_empty() {
            let noun = Noun::BlockHeader;
            return Err(DecodeError::LengthMismatch { noun, named: HEADER_BYTES, found: bytes.len() });
        }
        Ok(header)
    }

    /// Reads the header at the front of `bytes` and returns what stands behind it.
    pub fn decode_first(bytes: &[u8]) -> Result<(BlockHeader, &[u8]), DecodeError> {
        let (head, rest) = read_head::<HeaderHead>(Noun::BlockHeader, bytes)?;
        let header = BlockHeader {
            cluster: ClusterId(head.cluster),
            shard: ShardId(head.shard),
            epoch: Epoch(head.epoch),
            first_sequence: Sequence(head.first_sequence),
            record_count: head.record_count,
            records_bytes: head.records_bytes,
            parent: Hash(head.parent),
            root: Hash(head.root),
            arbitrators: Hash(head.arbitrators),
            time: Nanos(head.time),
            leader: NodeId(head.leader),
        };
        header.check()?;
        Ok((header, rest))
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.record_count == 0 {
            return Err(DecodeError::BlockEmpty);
        }
        if self.record_count as usize > BLOCK_RECORDS_MAX {
            return Err(DecodeError::BlockTooManyRecords { count: self.record_count });
        }
        if self.records_bytes as usize > BLOCK_BYTES_MAX - HEADER_BYTES {
            let found = self.records_bytes as usize + HEADER_BYTES;
            return Err(DecodeError::TooLong { noun: Noun::BlockHeader, found, max: BLOCK_BYTES_MAX });
        }
        if self.first_sequence.is_none() {
            return Err(DecodeError::Shape(crate::error::ShapeError::SequenceZero));
        }
        match self.first_sequence.checked_add(u64::from(self.record_count)) {
            Some(_) => Ok(()),
            None => Err(DecodeError::SequenceOverflow),
        }
    }
}

/// What the sealer knows about a block; the builder knows the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderParts {
    /// The cluster.
    pub cluster: ClusterId,
    /// The shard inside it.
    pub shard: ShardId,
    /// The leader's term.
    pub epoch: Epoch,
    /// Hash of the header before.
    pub parent: Hash,
    /// Hash of the set of arbitrators that judged these records.
    pub arbitrators: Hash,
    /// The leader's time.
    pub time: Nanos,
    /// Who leads.
    pub leader: NodeId,
}

/// Assembles one block in memory of its own, record by record. Allocates only in `new`.
#[derive(Debug)]
pub struct BlockBuilder {
    /// Room for the header, then the records so far.
    bytes: Vec<u8>,
    used_bytes: usize,
    records_max: u32,
    first_sequence: Sequence,
    tree: MerkleBuilder,
    sealed: bool,
}

impl Default for BlockBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BlockBuilder {
    /// Room for the largest block.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(BLOCK_BYTES_MAX, BLOCK_RECORDS_MAX)
    }

    /// Room for blocks of at most `bytes_max` encoded bytes and `records_max` records, both within the limits.
    #[must_use]
    pub fn with_limits(bytes_max: usize, records_max: usize) -> Self {
        assert!((HEADER_BYTES..=BLOCK_BYTES_MAX).contains(&bytes_max), "block bytes within the limits");
        assert!((1..=BLOCK_RECORDS_MAX).contains(&records_max), "block records within the limits");
        Self {
            // Not zero: zero pages come untouched from the kernel and would fault on the fast path later.
            bytes: vec![0xFF; bytes_max],
            used_bytes: HEADER_BYTES,
            records_max: records_max as u32,
            first_sequence: Sequence::NONE,
            tree: MerkleBuilder::new(),
            sealed: false,
        }
    }

    /// Adds the next record. Its sequence must follow the last one's, and it must be well-shaped.
    pub fn push(&mut self, record: &Record<'_>) -> Result<(), BlockFull> {
        assert!(!self.sealed, "a sealed block takes no more records: clear the builder first");
        if self.is_empty() {
            self.first_sequence = record.sequence;
        }
        let expected = self.first_sequence.0 + u64::from(self.record_count());
        assert_eq!(record.sequence.0, expected, "records stand at dense sequences");
        if !self.has_room_for(record.encoded_bytes()) {
            return Err(BlockFull { records: self.record_count(), bytes: self.used_bytes });
        }
        let room = &mut self.bytes[self.used_bytes..];
        let record_bytes = match record.encode(room) {
            Ok(record_bytes) => record_bytes,
            Err(error) => panic!("only well-shaped records are pushed: {error}"),
        };
        self.tree.push(Record::hash_encoded(&room[..record_bytes]));
        self.used_bytes += record_bytes;
        Ok(())
    }

    /// Whether one more record of this encoded length fits.
    #[must_use]
    pub fn has_room_for(&self, record_bytes: usize) -> bool {
        self.record_count() < self.records_max && record_bytes <= self.bytes.len() - self.used_bytes
    }

    /// Whether there is no record yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tree.count() == 0
    }

    /// Records so far.
    #[must_use]
    pub const fn record_count(&self) -> u32 {
        self.tree.count()
    }

    /// Sequence of the first record, `Sequence::NONE` while empty.
    #[must_use]
    pub const fn first_sequence(&self) -> Sequence {
        if self.is_empty() { Sequence::NONE } else { self.first_sequence }
    }

    /// Sequence that the next record must have, `Sequence::NONE` while empty (any may start).
    #[must_use]
    pub const fn next_sequence(&self) -> Sequence {
        if self.is_empty() {
            return Sequence::NONE;
        }
        Sequence(self.first_sequence.0 + self.tree.count() as u64)
    }

    /// Encoded length so far, header included.
    #[must_use]
    pub const fn encoded_bytes(&self) -> usize {
        self.used_bytes
    }

    /// The encoded records so far, without header.
    #[must_use]
    pub fn records_bytes(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..self.used_bytes]
    }

    /// The records so far, in order.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records { rest: self.records_bytes() }
    }

    /// Closes the block: computes the root and writes the header in front of the records.
    pub fn seal(&mut self, parts: HeaderParts) -> BlockHeader {
        assert!(!self.sealed, "a block is sealed once");
        let root = self.tree.root().expect("an empty block is never sealed");
        let header = BlockHeader {
            cluster: parts.cluster,
            shard: parts.shard,
            epoch: parts.epoch,
            first_sequence: self.first_sequence,
            record_count: self.record_count(),
            records_bytes: (self.used_bytes - HEADER_BYTES) as u32,
            parent: parts.parent,
            root,
            arbitrators: parts.arbitrators,
            time: parts.time,
            leader: parts.leader,
        };
        self.bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
        self.sealed = true;
        header
    }

    /// Whether `seal` was called since the last `clear`.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The whole encoded block. Only a sealed block has one.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        assert!(self.sealed, "a block has bytes once it is sealed");
        &self.bytes[..self.used_bytes]
    }

    /// Starts the next block in the same memory.
    pub const fn clear(&mut self) {
        self.used_bytes = HEADER_BYTES;
        self.first_sequence = Sequence::NONE;
        self.tree.clear();
        self.sealed = false;
    }
}

/// A checked block, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// What the leader signs.
    pub header: BlockHeader,
    records: &'a [u8],
}

impl<'a> Block<'a> {
    /// Reads a block that fills `bytes` exactly and checks all of it: lengths, count, dense sequences, root.
    ///
    /// Says nothing about the signature, the parent or the time: those are the caller's to compare.
    pub fn decode(bytes: &'a [u8]) -> Result<Block<'a>, DecodeError> {
        let (header, records) = BlockHeader::decode_first(bytes)?;
        if records.len() != header.records_bytes as usize {
            let (named, found) = (header.block_bytes(), bytes.len());
            return Err(DecodeError::LengthMismatch { noun: Noun::BlockHeader, named, found });
        }
        if check_records(&header, records)? != header.root {
            return Err(DecodeError::RootMismatch);
        }
        Ok(Block { header, records })
    }

    /// The records in order.
    #[must_use]
    pub const fn records(&self) -> Records<'a> {
        Records { rest: self.records }
    }

    /// The encoded records, without header.
    #[must_use]
    pub const fn records_bytes(&self) -> &'a [u8] {
        self.records
    }

    /// Writes header and records to the front of `out` and returns their length.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let (needed, found) = (self.header.block_bytes(), out.len());
        let out = out.get_mut(..needed).ok_or(EncodeError::NoRoom { needed, found })?;
        out[..HEADER_BYTES].copy_from_slice(&self.header.encode());
        out[HEADER_BYTES..].copy_from_slice(self.records);
        Ok(needed)
    }

    /// The proof that the record at `index` (from 0) belongs to this block. Allocates; not for the fast path.
    #[must_use]
    pub fn path(&self, index: u32) -> Option<MerklePath> {
        let leaves: Vec<Hash> = self.records().encoded().map(Record::hash_encoded).collect();
        path(&leaves, index as usize)
    }
}

impl BlockHeader {
    /// Whether these encoded record bytes stand at their sequence under this header.
    pub fn proves(&self, record: &[u8], path: &MerklePath) -> Result<bool, DecodeError> {
        let sequence = Record::decode(record)?.sequence;
        let Some(index) = sequence.0.checked_sub(self.first_sequence.0) else { return Ok(false) };
        let Ok(index) = u32::try_from(index) else { return Ok(false) };
        Ok(verify_path(&self.root, self.record_count, index, &Record::hash_encoded(record), path))
    }
}

/// Checks every record against the header's counts and returns the root over them.
fn check_records(header: &BlockHeader, records: &[u8]) -> Result<Hash, DecodeError> {
    let mut tree = MerkleBuilder::new();
    let mut rest = records;
    for index in 0..header.record_count {
        let (record, behind) = Record::decode_first(rest)?;
        let expected = header.first_sequence.0 + u64::from(index);
        if record.sequence.0 != expected {
            return Err(DecodeError::SequenceGap { index, expected, found: record.sequence.0 });
        }
        tree.push(Record::hash_encoded(&rest[..rest.len() - behind.len()]));
        rest = behind;
    }
    if !rest.is_empty() {
        let named = header.block_bytes() - rest.len();
        return Err(DecodeError::LengthMismatch {
            noun: Noun::BlockHeader,
            named,
            found: header.block_bytes(),
        });
    }
    Ok(tree.root().expect("a checked header counts at least one record"))
}

/// The records of a block whose bytes were checked or made here.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// The encoded bytes of each record instead of the record.
    pub fn encoded(self) -> impl Iterator<Item = &'a [u8]> {
        let mut records = self;
        core::iter::from_fn(move || {
            let before = records.rest;
            records.next()?;
            Some(&before[..before.len() - records.rest.len()])
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (record, rest) =
            Record::decode_first(self.rest).expect("the records of a block were checked before");
        self.rest = rest;
        Some(record)
    }
}
