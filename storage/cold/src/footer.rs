//! What a sealed segment of the log writes, without its values: one footer beside each.
//!
//! Invariant: a footer is derived from its segment and can be made anew by reading it. A record that a later block of the
//! log took the place of is never taken for one that stands: each footer names the lowest sequence that its segment begins
//! anew, and what earlier footers hold from there on is void. FORMAT.md draws the bytes.

use std::collections::HashMap;
use std::io;

use crate::shelf::{Shelf, put};
use crate::{KeyDigest, Place, Sequence, Version};

/// Version of the format that this build writes and reads.
pub const FOOTER_VERSION: u32 = 1;
/// First bytes of every footer.
pub const FOOTER_MAGIC: [u8; 8] = *b"io_oiFTR";
/// Entries of a footer are kept apart by the first byte of their digests.
pub const PARTITIONS: usize = 256;
/// Bytes of one entry.
pub const ENTRY_BYTES: usize = 32;

/// Gathers what a segment writes, block by block, in the order of the log.
#[derive(Debug, Default)]
pub struct FooterBuilder {
    entries: Vec<(KeyDigest, Version)>,
    lowest: Option<u64>,
}

impl FooterBuilder {
    /// For the next segment.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A block begins: what stood at its first sequence, or behind, does not stand any more.
    pub fn begin_block(&mut self, first: Sequence) {
        while self.entries.last().is_some_and(|(_, version)| version.sequence >= first) {
            self.entries.pop();
        }
        self.lowest = Some(self.lowest.map_or(first.0, |lowest| lowest.min(first.0)));
    }

    /// The block writes a key.
    pub fn note(&mut self, digest: KeyDigest, version: Version) {
        self.entries.push((digest, version));
    }

    /// The footer of this segment. Everything through `decided` is committed, so of several versions of a key up to there
    /// the newest is enough; of those behind each is kept, for each may be the newest that comes to stand.
    #[must_use]
    pub fn finish(mut self, of: &FooterOf, decided: Sequence) -> Vec<u8> {
        self.entries.sort_unstable_by_key(|(digest, version)| (*digest, version.sequence));
        let is_newest = |place: usize, entries: &[(KeyDigest, Version)]| {
            let (digest, version) = &entries[place];
            let next = entries.get(place + 1).filter(|(next, _)| next == digest);
            version.sequence > decided || next.is_none_or(|(_, next)| next.sequence > decided)
        };
        let kept: Vec<&(KeyDigest, Version)> = (0..self.entries.len())
            .filter(|place| is_newest(*place, &self.entries))
            .map(|place| &self.entries[place])
            .collect();
        let mut out = vec![0; HEAD_BYTES];
        let mut counts = [0_u32; PARTITIONS];
        for (digest, version) in kept {
            counts[partition_of(*digest)] += 1;
            encode_entry(&mut out, *digest, version);
        }
        let mut at = HEAD_BYTES;
        let mut directory = Vec::with_capacity(PARTITIONS * 8);
        for count in counts {
            let end = at + count as usize * ENTRY_BYTES;
            directory.extend_from_slice(&count.to_le_bytes());
            directory.extend_from_slice(&crc32c::crc32c(&out[at..end]).to_le_bytes());
            at = end;
        }
        out[..8].copy_from_slice(&FOOTER_MAGIC);
        out[8..12].copy_from_slice(&FOOTER_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&of.segment.to_le_bytes());
        out[16..24].copy_from_slice(&of.log.to_le_bytes());
        out[24..32].copy_from_slice(&self.lowest.unwrap_or(u64::MAX).to_le_bytes());
        out[32..48].copy_from_slice(&of.mark.to_le_bytes());
        out[DIRECTORY..DIRECTORY + PARTITIONS * 8].copy_from_slice(&directory);
        let checksum = crc32c::crc32c(&out[..HEAD_BYTES - 4]);
        out[HEAD_BYTES - 4..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
        out
    }
}

/// What a footer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FooterOf {
    /// The log's random name.
    pub log: u64,
    /// The segment's number.
    pub segment: u32,
    /// The mark of the secret by which its digests are made.
    pub mark: u128,
}

/// Puts a footer on the shelf.
pub fn put_footer(shelf: &mut impl Shelf, segment: u32, bytes: &[u8]) -> io::Result<()> {
    put(shelf, &name_of(segment), bytes)
}

/// A footer whose head was read and checked.
#[derive(Clone, Debug)]
pub struct Footer {
    name: String,
    /// Sequences from here on are begun anew by this segment.
    lowest: u64,
    partitions: Vec<(u64, u32, u32)>,
}

/// Why a footer is not used: it is made anew from its segment.
#[derive(Debug, thiserror::Error)]
pub enum FooterError {
    /// It cannot be read, or is not there.
    #[error("the footer cannot be read ({0}): it is made anew")]
    Read(#[from] io::Error),
    /// The first bytes are no footer's.
    #[error("the file is no footer: it is made anew")]
    Magic,
    /// Another version.
    #[error("the footer is of version {found}, this build reads version {FOOTER_VERSION}: it is made anew")]
    Version {
        /// The version found.
        found: u32,
    },
    /// Of another log or segment, or made with another secret.
    #[error("the footer belongs to another log, segment or secret: it is made anew")]
    Elsewhere,
    /// A checksum or a length does not fit.
    #[error("the footer is damaged: it is made anew")]
    Damaged,
}

impl Footer {
    /// Reads and checks the head.
    pub fn open(shelf: &mut impl Shelf, of: &FooterOf) -> Result<Self, FooterError> {
        let name = name_of(of.segment);
        let mut head = vec![0; HEAD_BYTES];
        let bytes = shelf.len(&name)?;
        if bytes < HEAD_BYTES as u64 {
            return Err(FooterError::Damaged);
        }
        shelf.read(&name, 0, &mut head)?;
        if head[..8] != FOOTER_MAGIC {
            return Err(FooterError::Magic);
        }
        let version = u32_at(&head, 8);
        if version != FOOTER_VERSION {
            return Err(FooterError::Version { found: version });
        }
        if crc32c::crc32c(&head[..HEAD_BYTES - 4]) != u32_at(&head, HEAD_BYTES - 4) {
            return Err(FooterError::Damaged);
        }
        let mark = u128::from_le_bytes(head[32..48].try_into().expect("16 bytes"));
        if (u64_at(&head, 16), u32_at(&head, 12), mark) != (of.log, of.segment, of.mark) {
            return Err(FooterError::Elsewhere);
        }
        let mut offset = HEAD_BYTES as u64;
        let mut partitions = Vec::with_capacity(PARTITIONS);
        for partition in 0..PARTITIONS {
            let at = DIRECTORY + partition * 8;
            let count = u32_at(&head, at);
            partitions.push((offset, count, u32_at(&head, at + 4)));
            offset += u64::from(count) * ENTRY_BYTES as u64;
        }
        if offset != bytes {
            return Err(FooterError::Damaged);
        }
        Ok(Self { name, lowest: u64_at(&head, 24), partitions })
    }

    /// Entries in all partitions.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.partitions.iter().map(|(_, count, _)| u64::from(*count)).sum()
    }

    /// Reads a partition into `out` as it stands, and checks it.
    fn read(&self, shelf: &mut impl Shelf, partition: usize, out: &mut Vec<u8>) -> Result<(), FooterError> {
        let (offset, count, checksum) = self.partitions[partition];
        out.resize(count as usize * ENTRY_BYTES, 0);
        shelf.read(&self.name, offset, out)?;
        let is_sound = crc32c::crc32c(out) == checksum;
        let is_here =
            out.chunks_exact(ENTRY_BYTES).all(|entry| partition_of(decode_entry(entry).0) == partition);
        if is_sound && is_here { Ok(()) } else { Err(FooterError::Damaged) }
    }
}

/// Hands out the newest version of every key that these footers know, deletions left out, through `committed`; in no order.
/// `footers` are those of all segments from the first on, in order. With an error it says whose footer is to be made anew.
pub fn visit_newest(
    shelf: &mut impl Shelf,
    footers: &[Footer],
    committed: Sequence,
    visitor: &mut dyn FnMut(KeyDigest, Version),
) -> Result<(), (usize, FooterError)> {
    let mut bytes = Vec::new();
    let mut seen: HashMap<KeyDigest, (), ByDigest> = HashMap::with_hasher(ByDigest);
    for partition in 0..PARTITIONS {
        seen.clear();
        // From the newest on: the first version met of a key is the one, and what a later segment began anew is void.
        let mut below = committed.0.saturating_add(1);
        for (at, footer) in footers.iter().enumerate().rev() {
            footer.read(shelf, partition, &mut bytes).map_err(|error| (at, error))?;
            for entry in bytes.rchunks_exact(ENTRY_BYTES) {
                let (digest, version) = decode_entry(entry);
                if version.sequence.0 < below && seen.insert(digest, ()).is_none() && !version.is_deletion {
                    visitor(digest, version);
                }
            }
            below = below.min(footer.lowest);
        }
    }
    Ok(())
}

/// Digests are even by themselves.
#[derive(Clone, Copy, Default)]
struct ByDigest;

impl std::hash::BuildHasher for ByDigest {
    type Hasher = LowHalf;

    fn build_hasher(&self) -> LowHalf {
        LowHalf(0)
    }
}

struct LowHalf(u64);

impl std::hash::Hasher for LowHalf {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let low = bytes.first_chunk().map_or(0, |low| u64::from_le_bytes(*low));
        self.0 ^= low;
    }
}

fn encode_entry(out: &mut Vec<u8>, digest: KeyDigest, version: &Version) {
    out.extend_from_slice(&digest.0.to_le_bytes());
    out.extend_from_slice(&version.place.0.to_le_bytes());
    let deletion = if version.is_deletion { DELETION_BIT } else { 0 };
    out.extend_from_slice(&(version.sequence.0 | deletion).to_le_bytes());
}

fn decode_entry(entry: &[u8]) -> (KeyDigest, Version) {
    let digest = KeyDigest(u128::from_le_bytes(entry[..16].try_into().expect("16 bytes")));
    let (place, word) = (Place(u64_at(entry, 16)), u64_at(entry, 24));
    let sequence = Sequence(word & !DELETION_BIT);
    (digest, Version { sequence, place, is_deletion: word & DELETION_BIT != 0 })
}

/// Entries are sorted by digest, so the first byte of their order is the last of their bytes.
fn partition_of(digest: KeyDigest) -> usize {
    (digest.0 >> 120) as usize
}

fn name_of(segment: u32) -> String {
    format!("footer-{segment:08}")
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

const DELETION_BIT: u64 = 1 << 63;
const DIRECTORY: usize = 64;
const HEAD_BYTES: usize = DIRECTORY + PARTITIONS * 8 + 4;
