//! The newest committed version of every key, by digest.
//!
//! Invariants:
//! - a key is there once or not at all; a deletion leaves nothing, because versions come in rising order;
//! - one call looks at one bucket, and splits one more at most: there is no moment at which everything is moved;
//! - memory grows by small steps with the keys, never beyond what `keys_max` keys take, and is counted to the byte.
//!
//! ```text
//!  directory, grows by one bucket at a time        blocks of 8, one size, from one pool
//!  ┌ 0 ┬ 1 ┬ 2 ┬ ... ┬ split ┬ ... ┐               ┌ next ┬ 8 tags ┬ 8 entries of 24 bytes ┐
//!  └─┬─┴───┴───┴─────┴───────┴─────┘     ────────▶ └──────┴────────┴───────────────────────┘
//! ```
//!
//! That is linear hashing: when the keys have become more than [`KEYS_PER_BUCKET`] for each bucket, the bucket whose turn it
//! is gives half of its keys to a new one. Only the first block of a bucket may have free places.

use thiserror::Error;

use crate::{KeyDigest, Place, Sequence, Version};

/// Keys for each bucket, on average. Buckets hold between half and twice as many.
pub const KEYS_PER_BUCKET: u64 = 32;
/// Places in a block.
const PLACES: usize = 8;
/// Blocks that are allocated together: 54 KiB, a few microseconds.
const BLOCKS_PER_SLAB: usize = 256;
/// Buckets that are allocated together.
const BUCKETS_PER_SLAB: usize = 1024;
/// Buckets of an empty index, as a power of two.
const LEVEL_MIN: u32 = 4;
/// A sequence has so many bits here, enough for 140 years at a million records a second.
const SEQUENCE_BITS: u32 = 52;
/// A place has so many bits here.
const PLACE_BITS: u32 = 44;

/// Why a version was not noted. The index is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// There are as many keys as were configured.
    #[error(
        "the index of the log holds {keys_max} keys, as many as cold.keys_max allows; raise it, or delete keys"
    )]
    Full {
        /// As configured.
        keys_max: u64,
    },
    /// No log comes so far.
    #[error("sequence {} or place {} is beyond what the index of the log can name", sequence.0, place.0)]
    Beyond {
        /// As given.
        sequence: Sequence,
        /// As given.
        place: Place,
    },
}

/// Where the log holds the newest record of every key.
pub struct Index {
    heads: Slabs<u32>,
    blocks: Slabs<Block>,
    /// The first block that nobody uses.
    free: u32,
    buckets: u64,
    /// There are at least two to this power of buckets, and fewer than twice as many.
    level: u32,
    len: u64,
    keys_max: u64,
    moved: u64,
}

/// 8 places. `next` is the number of another block plus one, 0 for none.
#[derive(Clone, Copy, Default)]
struct Block {
    next: u32,
    used: u32,
    tags: [u8; PLACES],
    entries: [Entry; PLACES],
}

/// The low 96 bits of a digest, sequence, place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry([u64; 3]);

/// A digest as blocks hold it: 96 bits in the entry, 8 in the tag.
#[derive(Clone, Copy)]
struct Name {
    low: u64,
    middle: u32,
    tag: u8,
}

/// Where an entry stands.
#[derive(Clone, Copy)]
struct At {
    block: u32,
    place: usize,
}

impl Index {
    /// An empty index for at most `keys_max` keys, at least 1.
    #[must_use]
    pub fn new(keys_max: u64) -> Index {
        let keys_max = keys_max.max(1);
        let buckets_max = keys_max / KEYS_PER_BUCKET + (1 << LEVEL_MIN) + 1;
        let blocks_max = keys_max / PLACES as u64 + buckets_max;
        let mut heads = Slabs::new(BUCKETS_PER_SLAB, buckets_max);
        for _ in 0..1 << LEVEL_MIN {
            heads.push(0);
        }
        let blocks = Slabs::new(BLOCKS_PER_SLAB, blocks_max);
        Index {
            heads,
            blocks,
            free: 0,
            buckets: 1 << LEVEL_MIN,
            level: LEVEL_MIN,
            len: 0,
            keys_max,
            moved: 0,
        }
    }

    /// Notes a version that was committed, in the order of the log. One that is not newer than the known one changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`NoteError`]; a version of a key that is known, and a deletion, always find room.
    pub fn note(&mut self, digest: KeyDigest, version: Version) -> Result<(), NoteError> {
        let Version { sequence, place, is_deletion } = version;
        if sequence.0 >> SEQUENCE_BITS != 0 || place.0 >> PLACE_BITS != 0 {
            return Err(NoteError::Beyond { sequence, place });
        }
        let name = Name::of(digest);
        let Some(at) = self.at(name) else {
            return if is_deletion { Ok(()) } else { self.add(name, sequence, place) };
        };
        let entry = &mut self.blocks.get_mut(at.block).entries[at.place];
        if entry.sequence() >= sequence {
            return Ok(());
        }
        if is_deletion {
            self.take_out(name, at);
        } else {
            *entry = Entry::of(name, sequence, place);
        }
        Ok(())
    }

    /// The newest version of a key; none when there is no such key.
    #[must_use]
    pub fn find(&self, digest: KeyDigest) -> Option<Version> {
        let at = self.at(Name::of(digest))?;
        Some(self.blocks.get(at.block).entries[at.place].version())
    }

    /// Forgets a key. Whether it was there.
    pub fn forget(&mut self, digest: KeyDigest) -> bool {
        let name = Name::of(digest);
        let Some(at) = self.at(name) else { return false };
        self.take_out(name, at);
        true
    }

    /// Keys now.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keys at most.
    #[must_use]
    pub fn keys_max(&self) -> u64 {
        self.keys_max
    }

    /// Bytes that the index takes now, its unused places included.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        (size_of::<Index>() as u64) + self.heads.bytes() + self.blocks.bytes()
    }

    /// Entries that splitting has moved since the beginning: what growing costs, beside adding.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved
    }

    fn bucket_of(&self, low: u64) -> u32 {
        let bucket = low & ((2 << self.level) - 1);
        let is_there = bucket < self.buckets;
        (if is_there { bucket } else { bucket & ((1 << self.level) - 1) }) as u32
    }

    fn at(&self, name: Name) -> Option<At> {
        let mut next = *self.heads.get(self.bucket_of(name.low));
        while next != 0 {
            let block = self.blocks.get(next - 1);
            for place in 0..block.used as usize {
                if block.tags[place] == name.tag && block.entries[place].is_of(name) {
                    return Some(At { block: next - 1, place });
                }
            }
            next = block.next;
        }
        None
    }

    fn add(&mut self, name: Name, sequence: Sequence, place: Place) -> Result<(), NoteError> {
        if self.len >= self.keys_max {
            return Err(NoteError::Full { keys_max: self.keys_max });
        }
        self.put_in(self.bucket_of(name.low), name.tag, Entry::of(name, sequence, place));
        self.len += 1;
        if self.len > self.buckets * KEYS_PER_BUCKET {
            self.split();
        }
        Ok(())
    }

    /// Puts an entry into the first block of a bucket, or before it into a new one.
    fn put_in(&mut self, bucket: u32, tag: u8, entry: Entry) {
        let first = *self.heads.get(bucket);
        let has_room = first != 0 && self.blocks.get(first - 1).used < PLACES as u32;
        let number = if has_room { first - 1 } else { self.take_block(first) };
        *self.heads.get_mut(bucket) = number + 1;
        let block = self.blocks.get_mut(number);
        let place = block.used as usize;
        (block.tags[place], block.entries[place]) = (tag, entry);
        block.used += 1;
    }

    /// The last entry of the bucket's first block takes the place of the one that goes.
    fn take_out(&mut self, name: Name, at: At) {
        let bucket = self.bucket_of(name.low);
        let first = *self.heads.get(bucket) - 1;
        let block = self.blocks.get_mut(first);
        block.used -= 1;
        let (last, next) = (block.used as usize, block.next);
        let (tag, entry) = (block.tags[last], block.entries[last]);
        let hole = self.blocks.get_mut(at.block);
        (hole.tags[at.place], hole.entries[at.place]) = (tag, entry);
        if last == 0 {
            *self.heads.get_mut(bucket) = next;
            self.give_back(first);
        }
        self.len -= 1;
    }

    /// The bucket whose turn it is gives those away that belong to a new one.
    fn split(&mut self) {
        let old = (self.buckets - (1 << self.level)) as u32;
        let new = self.buckets as u32;
        self.heads.push(0);
        self.buckets += 1;
        let mut next = std::mem::take(self.heads.get_mut(old));
        let level = self.level;
        if self.buckets == 2 << self.level {
            self.level += 1;
        }
        while next != 0 {
            let block = *self.blocks.get(next - 1);
            self.give_back(next - 1);
            for place in 0..block.used as usize {
                let entry = block.entries[place];
                let bucket = if entry.0[0] >> level & 1 == 1 { new } else { old };
                self.put_in(bucket, block.tags[place], entry);
                self.moved += 1;
            }
            next = block.next;
        }
    }

    fn take_block(&mut self, next: u32) -> u32 {
        let empty = Block { next, ..Block::default() };
        if self.free == 0 {
            return self.blocks.push(empty);
        }
        let number = self.free - 1;
        self.free = std::mem::replace(self.blocks.get_mut(number), empty).next;
        number
    }

    fn give_back(&mut self, number: u32) {
        let block = self.blocks.get_mut(number);
        (block.used, block.next) = (0, self.free);
        self.free = number + 1;
    }
}

impl Name {
    fn of(digest: KeyDigest) -> Name {
        let KeyDigest(bits) = digest;
        Name { low: bits as u64, middle: (bits >> 64) as u32, tag: (bits >> 96) as u8 }
    }
}

impl Entry {
    fn of(name: Name, sequence: Sequence, place: Place) -> Entry {
        let packed = u128::from(name.middle)
            | u128::from(sequence.0) << 32
            | u128::from(place.0) << (32 + SEQUENCE_BITS);
        Entry([name.low, packed as u64, (packed >> 64) as u64])
    }

    fn is_of(&self, name: Name) -> bool {
        self.0[0] == name.low && self.0[1] as u32 == name.middle
    }

    fn packed(&self) -> u128 {
        u128::from(self.0[1]) | u128::from(self.0[2]) << 64
    }

    fn sequence(&self) -> Sequence {
        Sequence((self.packed() >> 32) as u64 & ((1 << SEQUENCE_BITS) - 1))
    }

    fn version(&self) -> Version {
        let place = Place((self.packed() >> (32 + SEQUENCE_BITS)) as u64);
        Version { sequence: self.sequence(), place, is_deletion: false }
    }
}

/// Numbered things in equal slabs, which are never moved.
struct Slabs<T> {
    slabs: Vec<Box<[T]>>,
    per_slab: usize,
    len: u32,
}

impl<T: Copy + Default> Slabs<T> {
    /// The list of slabs has its final size from the beginning.
    fn new(per_slab: usize, count_max: u64) -> Slabs<T> {
        let slabs_max = count_max.min(u64::from(u32::MAX)).div_ceil(per_slab as u64) as usize;
        Slabs { slabs: Vec::with_capacity(slabs_max), per_slab, len: 0 }
    }

    fn get(&self, number: u32) -> &T {
        &self.slabs[number as usize / self.per_slab][number as usize % self.per_slab]
    }

    fn get_mut(&mut self, number: u32) -> &mut T {
        &mut self.slabs[number as usize / self.per_slab][number as usize % self.per_slab]
    }

    fn push(&mut self, value: T) -> u32 {
        let number = self.len;
        if number as usize == self.slabs.len() * self.per_slab {
            self.slabs.push(vec![T::default(); self.per_slab].into_boxed_slice());
        }
        self.len += 1;
        *self.get_mut(number) = value;
        number
    }

    fn bytes(&self) -> u64 {
        (self.slabs.len() * self.per_slab * size_of::<T>() + self.slabs.capacity() * size_of::<Box<[T]>>())
            as u64
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("len", &self.len)
            .field("keys_max", &self.keys_max)
            .finish_non_exhaustive()
    }
}

const _: () = assert!(32 + SEQUENCE_BITS + PLACE_BITS == 128 && size_of::<Entry>() == 24);
