//! The notes that consensus writes into the log beside the blocks: the epoch claim, the promise of an epoch, the seal,
//! and that a damaged log is whole again.
//!
//! Invariant: a note has one encoding; anything else is refused with its name. All numbers are little endian.
//!
//! ```text
//! claim   0 kind 32 | 1 version 1 | 2 shard u16 | 4 zero [4] | 8 epoch u64 | 16 tip sequence u64 | 24 tip hash [32]
//!         56 cluster [32] | 88 node [32]                                                              = 120 bytes
//! seal    0 kind 33 | 1 version 1 | 2 zero [6] | 8 epoch u64 | 16 last sequence u64 | 24 header hash [32]
//!         56 signature [64]                                                                           = 120 bytes
//! promise 0 kind 34 | 1 version 1 | 2 shard u16 | 4 zero [4] | 8 epoch u64 | 16 zero [8] | 24 candidate [32]
//!         56 cluster [32] | 88 node [32]                                                              = 120 bytes
//! whole   0 kind 35 | 1 version 1 | 2 shard u16 | 4 zero [4] | 8 epoch u64 | 16 mark u64 | 24 zero [32]
//!         56 cluster [32] | 88 node [32]                                                              = 120 bytes
//! ```

use io_oi_record::{ClusterId, Epoch, Hash, NodeId, Sequence, ShardId, Signature};

use crate::machine::Group;

/// Length of every encoded note.
pub const NOTE_BYTES: usize = 120;

const CLAIM_KIND: u8 = 32;
const SEAL_KIND: u8 = 33;
const PROMISE_KIND: u8 = 34;
const WHOLE_KIND: u8 = 35;
const VERSION: u8 = 1;

/// "I may sign in this epoch, on top of this tip": flushed before the first signature of the epoch. [P-21, P-22]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochClaim {
    /// The cluster of the group.
    pub cluster: ClusterId,
    /// The shard of the group.
    pub shard: ShardId,
    /// The node that claims.
    pub node: NodeId,
    /// The claimed epoch.
    pub epoch: Epoch,
    /// The last sequence of the log that the claim stands on.
    pub tip_sequence: Sequence,
    /// The hash of the last header of that log.
    pub tip_hash: Hash,
}

impl EpochClaim {
    /// The claim as it stands in the log.
    pub fn encode(&self) -> [u8; NOTE_BYTES] {
        let bytes = head(CLAIM_KIND, self.epoch, self.tip_sequence, self.tip_hash);
        with_group(bytes, Group { cluster: self.cluster, shard: self.shard, node: self.node })
    }

    /// Reads a claim back.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoteError> {
        let bytes = check(CLAIM_KIND, bytes)?;
        let Group { cluster, shard, node } = group(bytes)?;
        Ok(Self {
            cluster,
            shard,
            node,
            epoch: Epoch(u64::from_le_bytes(array(&bytes[8..16]))),
            tip_sequence: Sequence(u64::from_le_bytes(array(&bytes[16..24]))),
            tip_hash: Hash(array(&bytes[24..56])),
        })
    }
}

/// The leader's signature over one header; it trails the block in the log. [P-42]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The epoch of the header.
    pub epoch: Epoch,
    /// The last sequence of its block.
    pub last_sequence: Sequence,
    /// The hash of the header.
    pub header_hash: Hash,
    /// The leader's signature over the header statement.
    pub signature: Signature,
}

impl Seal {
    /// The seal as it stands in the log.
    pub fn encode(&self) -> [u8; NOTE_BYTES] {
        let mut bytes = head(SEAL_KIND, self.epoch, self.last_sequence, self.header_hash);
        bytes[56..].copy_from_slice(&self.signature.0);
        bytes
    }

    /// Reads a seal back; the signature is not checked here.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoteError> {
        let bytes = check(SEAL_KIND, bytes)?;
        require_zero(&bytes[2..8])?;
        Ok(Self {
            epoch: Epoch(u64::from_le_bytes(array(&bytes[8..16]))),
            last_sequence: Sequence(u64::from_le_bytes(array(&bytes[16..24]))),
            header_hash: Hash(array(&bytes[24..56])),
            signature: Signature(array(&bytes[56..])),
        })
    }
}

/// "I follow this candidate, and nobody else, in this epoch": flushed before the signed grant is sent. [P-26]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochPromise {
    /// The cluster of the group.
    pub cluster: ClusterId,
    /// The shard of the group.
    pub shard: ShardId,
    /// The node that promises.
    pub node: NodeId,
    /// The promised epoch.
    pub epoch: Epoch,
    /// Whom it is promised to.
    pub candidate: NodeId,
}

impl EpochPromise {
    /// The promise as it stands in the log.
    pub fn encode(&self) -> [u8; NOTE_BYTES] {
        let bytes = head(PROMISE_KIND, self.epoch, Sequence::NONE, Hash(self.candidate.0));
        with_group(bytes, Group { cluster: self.cluster, shard: self.shard, node: self.node })
    }

    /// Reads a promise back.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoteError> {
        let bytes = check(PROMISE_KIND, bytes)?;
        require_zero(&bytes[16..24])?;
        let Group { cluster, shard, node } = group(bytes)?;
        Ok(Self {
            cluster,
            shard,
            node,
            epoch: Epoch(u64::from_le_bytes(array(&bytes[8..16]))),
            candidate: NodeId(array(&bytes[24..56])),
        })
    }
}

/// "What my log lost is there again": the repair's mark is answered, and every epoch through this one is closed. [P-46]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogWhole {
    /// The cluster of the group.
    pub cluster: ClusterId,
    /// The shard of the group.
    pub shard: ShardId,
    /// The node whose log it is.
    pub node: NodeId,
    /// The highest epoch that the node had promised or seen, or may have before the damage.
    pub epoch: Epoch,
    /// Number of the log frame by which the repair told of the damage.
    pub mark: u64,
}

impl LogWhole {
    /// The note as it stands in the log.
    pub fn encode(&self) -> [u8; NOTE_BYTES] {
        let bytes = head(WHOLE_KIND, self.epoch, Sequence(self.mark), Hash::ZERO);
        with_group(bytes, Group { cluster: self.cluster, shard: self.shard, node: self.node })
    }

    /// Reads the note back.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoteError> {
        let bytes = check(WHOLE_KIND, bytes)?;
        require_zero(&bytes[24..56])?;
        let Group { cluster, shard, node } = group(bytes)?;
        Ok(Self {
            cluster,
            shard,
            node,
            epoch: Epoch(u64::from_le_bytes(array(&bytes[8..16]))),
            mark: u64::from_le_bytes(array(&bytes[16..24])),
        })
    }
}

/// Why bytes are not a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not exactly [`NOTE_BYTES`] long.
    #[error("a note of consensus has {NOTE_BYTES} bytes, found {found}: the log entry is damaged")]
    Length {
        /// Length found.
        found: usize,
    },
    /// The first byte names something else.
    #[error("expected a note of kind {expected}, found kind {found}: these bytes belong elsewhere")]
    Kind {
        /// Kind that the log entry announced.
        expected: u8,
        /// Kind byte found.
        found: u8,
    },
    /// The second byte names a format of a newer program.
    #[error("a note has format version {found}, this program reads {VERSION}: use a newer program")]
    Version {
        /// Version found.
        found: u8,
    },
    /// A reserved byte is set.
    #[error("a note has bytes set that must be zero: it is damaged or from a newer program")]
    ReservedNotZero,
}

fn head(kind: u8, epoch: Epoch, sequence: Sequence, hash: Hash) -> [u8; NOTE_BYTES] {
    let mut bytes = [0; NOTE_BYTES];
    bytes[0] = kind;
    bytes[1] = VERSION;
    bytes[8..16].copy_from_slice(&epoch.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&sequence.0.to_le_bytes());
    bytes[24..56].copy_from_slice(&hash.0);
    bytes
}

/// The same, with the group that a claim, a promise and the note of a whole log name.
fn with_group(mut bytes: [u8; NOTE_BYTES], group: Group) -> [u8; NOTE_BYTES] {
    bytes[2..4].copy_from_slice(&group.shard.0.to_le_bytes());
    bytes[56..88].copy_from_slice(&group.cluster.0);
    bytes[88..].copy_from_slice(&group.node.0);
    bytes
}

fn group(bytes: &[u8; NOTE_BYTES]) -> Result<Group, NoteError> {
    require_zero(&bytes[4..8])?;
    let cluster = ClusterId(array(&bytes[56..88]));
    let shard = ShardId(u16::from_le_bytes(array(&bytes[2..4])));
    Ok(Group { cluster, shard, node: NodeId(array(&bytes[88..])) })
}

fn check(kind: u8, bytes: &[u8]) -> Result<&[u8; NOTE_BYTES], NoteError> {
    let bytes: &[u8; NOTE_BYTES] = bytes.try_into().map_err(|_| NoteError::Length { found: bytes.len() })?;
    if bytes[0] != kind {
        return Err(NoteError::Kind { expected: kind, found: bytes[0] });
    }
    if bytes[1] != VERSION {
        return Err(NoteError::Version { found: bytes[1] });
    }
    Ok(bytes)
}

fn require_zero(bytes: &[u8]) -> Result<(), NoteError> {
    if bytes.iter().any(|byte| *byte != 0) {
        return Err(NoteError::ReservedNotZero);
    }
    Ok(())
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> EpochClaim {
        EpochClaim {
            cluster: ClusterId([1; 32]),
            shard: ShardId(2),
            node: NodeId([3; 32]),
            epoch: Epoch(4),
            tip_sequence: Sequence(5),
            tip_hash: Hash([6; 32]),
        }
    }

    fn seal() -> Seal {
        Seal {
            epoch: Epoch(7),
            last_sequence: Sequence(8),
            header_hash: Hash([9; 32]),
            signature: Signature([10; 64]),
        }
    }

    fn whole() -> LogWhole {
        LogWhole {
            cluster: ClusterId([1; 32]),
            shard: ShardId(2),
            node: NodeId([3; 32]),
            epoch: Epoch(4),
            mark: 6,
        }
    }

    #[test]
    fn the_bytes_of_a_whole_log_stand_where_the_drawing_says() {
        let bytes = whole().encode();
        assert_eq!(bytes[..8], [35, 1, 2, 0, 0, 0, 0, 0]);
        assert_eq!((bytes[8], bytes[16], bytes[24], bytes[56], bytes[119]), (4, 6, 0, 1, 3));
        assert_eq!(LogWhole::decode(&bytes), Ok(whole()));
        let mut bad = bytes;
        bad[30] = 1;
        assert_eq!(LogWhole::decode(&bad), Err(NoteError::ReservedNotZero));
    }

    fn promise() -> EpochPromise {
        EpochPromise {
            cluster: ClusterId([1; 32]),
            shard: ShardId(2),
            node: NodeId([3; 32]),
            epoch: Epoch(4),
            candidate: NodeId([5; 32]),
        }
    }

    #[test]
    fn the_bytes_of_a_promise_stand_where_the_drawing_says() {
        let bytes = promise().encode();
        assert_eq!(bytes[..8], [34, 1, 2, 0, 0, 0, 0, 0]);
        assert_eq!((bytes[8], bytes[16], bytes[24]), (4, 0, 5));
        assert_eq!((bytes[56], bytes[88], bytes[119]), (1, 3, 3));
        assert_eq!(EpochPromise::decode(&bytes), Ok(promise()));
        assert_eq!(EpochPromise::decode(&claim().encode()), Err(NoteError::Kind { expected: 34, found: 32 }));
    }

    #[test]
    fn a_note_reads_back_what_was_written() {
        assert_eq!(EpochClaim::decode(&claim().encode()), Ok(claim()));
        assert_eq!(Seal::decode(&seal().encode()), Ok(seal()));
    }

    #[test]
    fn the_bytes_of_a_claim_stand_where_the_drawing_says() {
        let bytes = claim().encode();
        assert_eq!(bytes[..8], [32, 1, 2, 0, 0, 0, 0, 0]);
        assert_eq!((bytes[8], bytes[16], bytes[24]), (4, 5, 6));
        assert_eq!((bytes[56], bytes[88], bytes[119]), (1, 3, 3));
    }

    #[test]
    fn the_bytes_of_a_seal_stand_where_the_drawing_says() {
        let bytes = seal().encode();
        assert_eq!(bytes[..8], [33, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!((bytes[8], bytes[16], bytes[24]), (7, 8, 9));
        assert_eq!((bytes[56], bytes[119]), (10, 10));
    }

    #[test]
    fn a_note_of_another_kind_version_or_length_is_refused_by_name() {
        let bytes = claim().encode();
        assert_eq!(Seal::decode(&bytes), Err(NoteError::Kind { expected: 33, found: 32 }));
        assert_eq!(EpochClaim::decode(&bytes[..119]), Err(NoteError::Length { found: 119 }));
        let mut newer = bytes;
        newer[1] = 2;
        assert_eq!(EpochClaim::decode(&newer), Err(NoteError::Version { found: 2 }));
        let mut set = bytes;
        set[5] = 1;
        assert_eq!(EpochClaim::decode(&set), Err(NoteError::ReservedNotZero));
    }
}
