//! Where things stand in a hot segment.

use super::Config;
use crate::layout::hot::*;
use crate::layout::{HEADER_WORDS, PAGE_BYTES};
use crate::sync::Ordering::Relaxed;
use crate::{CreateError, HashSeed, OpenError, Region};

/// Counts and word offsets, fixed for the life of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// Slots that may be a home.
    pub(super) slots: u64,
    pub(super) stash_buckets: u64,
    pub(super) cells: u64,
    pub(super) granules: u64,
    pub(super) entries_max: u64,
    pub(super) stash_at: usize,
    pub(super) cells_at: usize,
    pub(super) large_at: usize,
    pub(super) words: usize,
}

impl Geometry {
    /// The geometry for these wishes, or which of them is impossible.
    pub(super) fn plan(config: &Config) -> Result<Geometry, CreateError> {
        let limited = |what, value, max, allowed| {
            if value <= max { Ok(value) } else { Err(CreateError::Config { what, value, allowed }) }
        };
        let entries_max = limited("hot.entries_max", config.entries_max, ENTRIES_MAX, "at most 10^9")?;
        let large =
            limited("hot.large_bytes_max", config.large_bytes_max, LARGE_BYTES_MAX, "at most 128 GiB")?;
        let cells = u64::from(config.versions_max);
        let cells = limited("hot.versions_max", cells, CELLS_MAX, "at most 16 million")?;
        let slots = (entries_max * SLOTS_PER_5_ENTRIES / 5).max(SLOTS_MIN);
        let stash_buckets = slots / (SLOTS_PER_STASH_SLOT * HOP_SLOTS as u64) + 1;
        let granules = large / GRANULE_BYTES as u64;
        Ok(Geometry::of(entries_max, slots, stash_buckets, cells, granules)
            .expect("limits above keep every offset far below 2^63"))
    }

    /// The geometry that a segment's header claims, checked against its length.
    pub(super) fn read(region: &Region) -> Result<(Geometry, HashSeed), OpenError> {
        let word = |at: usize| region.word(at).load(Relaxed);
        let wrong = |what, value| OpenError::WrongGeometry { what, value };
        if word(AT_HOP_SLOTS) != HOP_SLOTS as u64 {
            return Err(wrong("hop slots", word(AT_HOP_SLOTS)));
        }
        let slots = word(AT_SLOTS);
        if slots == 0 || slots > u64::from(u32::MAX) {
            return Err(wrong("slots", slots));
        }
        let (stash_buckets, cells, granules) = (word(AT_STASH_BUCKETS), word(AT_CELLS), word(AT_GRANULES));
        if stash_buckets == 0 || stash_buckets > u64::from(u32::MAX) {
            return Err(wrong("stash buckets", stash_buckets));
        }
        let geometry = Geometry::of(word(AT_ENTRIES_MAX), slots, stash_buckets, cells, granules)
            .filter(|geometry| geometry.words <= region.word_count())
            .ok_or(wrong("table size", slots))?;
        let seed = u128::from(word(AT_SEED)) | u128::from(word(AT_SEED + 1)) << 64;
        Ok((geometry, HashSeed::new(seed.to_le_bytes())))
    }

    /// Writes what [`Geometry::read`] reads.
    pub(super) fn write(&self, region: &Region, seed: &HashSeed) {
        let seed = u128::from_le_bytes(seed.bytes());
        let words = [
            (AT_SLOTS, self.slots),
            (AT_STASH_BUCKETS, self.stash_buckets),
            (AT_CELLS, self.cells),
            (AT_GRANULES, self.granules),
            (AT_SEED, seed as u64),
            (AT_SEED + 1, (seed >> 64) as u64),
            (AT_ENTRIES_MAX, self.entries_max),
            (AT_HOP_SLOTS, HOP_SLOTS as u64),
        ];
        for (at, value) in words {
            region.word(at).store(value, Relaxed);
        }
    }

    /// Bytes of the segment.
    pub(super) fn bytes(&self) -> u64 {
        (self.words as u64 * 8).next_multiple_of(PAGE_BYTES as u64)
    }

    /// The home of a key of this hash: an even slot, so that the pair of slots at home never crosses a page.
    #[inline(always)]
    pub(super) fn home(&self, hash: u64) -> usize {
        (((hash & 0xffff_ffff) * self.slots) >> 32) as usize & !1
    }

    /// Word offset of slot `index`.
    #[inline(always)]
    pub(super) fn slot_at(&self, index: usize) -> usize {
        HEADER_WORDS + index * SLOT_WORDS
    }

    /// Word offset of the stash bucket for a home. Neighbouring homes, which fill up together, get buckets far
    /// apart.
    pub(super) fn bucket_at(&self, home: usize) -> usize {
        let spread = (home as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let bucket = (spread * self.stash_buckets) >> 32;
        self.stash_at + bucket as usize * HOP_SLOTS * SLOT_WORDS
    }

    /// Word offset of version cell `cell` (1 is the first), if there is such a cell.
    #[inline]
    pub(super) fn cell_at(&self, cell: u64) -> Option<usize> {
        let index = cell.checked_sub(1).filter(|&index| index < self.cells)?;
        Some(self.cells_at + index as usize * SLOT_WORDS)
    }

    /// Word offset of the block at `granule` when `bytes` bytes from there lie inside the area.
    #[inline]
    pub(super) fn block_at(&self, granule: u64, bytes: usize) -> Option<usize> {
        let end = granule.checked_add(bytes.div_ceil(GRANULE_BYTES) as u64)?;
        (end <= self.granules).then(|| self.large_at + granule as usize * GRANULE_WORDS)
    }

    /// Word offsets of all slots, stash included.
    pub(super) fn all_slots(&self) -> impl Iterator<Item = usize> + use<> {
        (HEADER_WORDS..self.cells_at).step_by(SLOT_WORDS)
    }

    /// How many they are.
    pub(super) fn slot_count(&self) -> u64 {
        ((self.cells_at - HEADER_WORDS) / SLOT_WORDS) as u64
    }

    /// Word offsets of the slots in this range of their numbers, as far as there are such.
    pub(super) fn slots_from(&self, first: u64, count: u64) -> impl Iterator<Item = usize> + use<> {
        let end = first.saturating_add(count).min(self.slot_count());
        (first.min(end)..end).map(|number| HEADER_WORDS + number as usize * SLOT_WORDS)
    }

    fn of(entries_max: u64, slots: u64, stash_buckets: u64, cells: u64, granules: u64) -> Option<Geometry> {
        let slot_words = SLOT_WORDS as u64;
        let hop = HOP_SLOTS as u64;
        let table = slots.checked_add(hop)?.checked_mul(slot_words)?;
        let stash_at = table.checked_add(HEADER_WORDS as u64)?;
        let cells_at = stash_buckets.checked_mul(hop * slot_words)?.checked_add(stash_at)?;
        let large_at = cells.checked_mul(slot_words)?.checked_add(cells_at)?;
        let words = granules.checked_mul(GRANULE_WORDS as u64)?.checked_add(large_at)?;
        if words > 1 << 60 {
            return None;
        }
        let at = |words: u64| usize::try_from(words).ok();
        let (stash_at, cells_at) = (at(stash_at)?, at(cells_at)?);
        let (large_at, words) = (at(large_at)?, at(words)?);
        Some(Geometry {
            slots,
            stash_buckets,
            cells,
            granules,
            entries_max,
            stash_at,
            cells_at,
            large_at,
            words,
        })
    }
}

/// At most 60 % (rounded) of the slots are taken by the promised keys: 84 % of them then stand in their home's
/// first two slots, and one in eight thousand finds all 32 slots taken and goes to the stash.
const SLOTS_PER_5_ENTRIES: u64 = 8;
/// A table smaller than this saves nothing.
const SLOTS_MIN: u64 = if cfg!(loom) { 2 } else { 64 };
/// One stash slot for so many slots, twenty times what chance needs.
const SLOTS_PER_STASH_SLOT: u64 = 512;
const ENTRIES_MAX: u64 = 1_000_000_000;
/// Granule numbers are 31 bits, so that one more than any of them fits a pin's 32.
const LARGE_BYTES_MAX: u64 = (1 << 31) * GRANULE_BYTES as u64;
/// Cell numbers share the lock word.
const CELLS_MAX: u64 = (1 << (64 - LOCK_BITS)) - 2;

const _: () = assert!(ENTRIES_MAX * SLOTS_PER_5_ENTRIES / 5 <= u32::MAX as u64);
