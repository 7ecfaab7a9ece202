//! The words of one slot: packing, and what a slot says of itself.

use super::geometry::Geometry;
use super::{Epoch, Sequence, Stamp};
use crate::Region;
use crate::layout::hot::*;
use crate::sync::{AtomicU64, Ordering::Relaxed, Ordering::Release, fence};
use crate::words::{equal_bytes, words_of};

/// The sixteen words of a slot or version cell.
pub(super) type Slot = [AtomicU64; SLOT_WORDS];

/// Meta bits: which slots from here on hold keys of this home.
pub(super) const HOP_BITS: u64 = 0xffff_ffff;
const TAG_SHIFT: u32 = 32;
const KEY_LENGTH_SHIFT: u32 = 48;
const KEY_LENGTH_MASK: u64 = 0x3ff;
/// Meta flag: an entry stands here.
pub(super) const OCCUPIED: u64 = 1 << 58;
/// Meta flag: the newest version is a deletion.
pub(super) const DELETED: u64 = 1 << 59;
/// Meta flag: the newest version is committed.
pub(super) const COMMITTED: u64 = 1 << 60;
/// Meta flag: the value stands in the large-value area.
pub(super) const LARGE: u64 = 1 << 61;
/// Meta flag: the key stands in the large-value area.
pub(super) const FAR_KEY: u64 = 1 << 62;
/// Meta flag of the home, not of the entry here: some key of this home stands in the stash.
pub(super) const STASHED: u64 = 1 << 63;

/// What belongs to the home and stays when the entry changes.
pub(super) const OF_HOME: u64 = HOP_BITS | STASHED;
/// What must agree for an entry to be worth comparing keys.
pub(super) const OF_KEY: u64 = 0xffff << TAG_SHIFT | KEY_LENGTH_MASK << KEY_LENGTH_SHIFT | OCCUPIED;

const LENGTH_MASK: u64 = (1 << LENGTH_BITS) - 1;

/// Meta bits of an entry with this key.
#[inline(always)]
pub(super) fn key_meta(hash: u64, key: &[u8]) -> u64 {
    let tag = (hash >> TAG_SHIFT) & 0xffff;
    OCCUPIED | tag << TAG_SHIFT | (key.len() as u64) << KEY_LENGTH_SHIFT
}

/// Length of the key in bytes.
#[inline(always)]
pub(super) fn key_bytes(meta: u64) -> usize {
    (meta >> KEY_LENGTH_SHIFT & KEY_LENGTH_MASK) as usize
}

/// Words of payload that the key takes.
#[inline(always)]
pub(super) fn key_words(meta: u64) -> usize {
    if meta & FAR_KEY != 0 { 1 } else { words_of(key_bytes(meta)) }
}

/// Whether a key of this length stands in the large-value area.
pub(super) const fn is_far_key(key_bytes: usize) -> bool {
    key_bytes > NEAR_KEY_BYTES_MAX
}

/// Whether a value of this length fits behind so many words of key.
pub(super) const fn is_large(key_words: usize, value_bytes: usize) -> bool {
    value_bytes > (PAYLOAD_WORDS - key_words) * 8
}

/// Whether the slot, of which `meta` was loaded, holds exactly this key.
#[inline(always)]
pub(super) fn holds_key(region: &Region, geometry: &Geometry, slot: &Slot, meta: u64, key: &[u8]) -> bool {
    if meta & FAR_KEY == 0 {
        return equal_bytes(&slot[SLOT_PAYLOAD..], key);
    }
    let granule = slot[SLOT_PAYLOAD].load(Relaxed);
    match geometry.block_at(granule, key.len()) {
        Some(at) => equal_bytes(region.words(at, words_of(key.len())), key),
        None => false,
    }
}

/// Epoch and length as one word.
#[inline]
pub(super) fn epoch_and_length(epoch: Epoch, value_bytes: usize) -> u64 {
    debug_assert!(epoch <= EPOCH_MAX && value_bytes as u64 <= LENGTH_MASK);
    epoch.0 << LENGTH_BITS | value_bytes as u64
}

/// No sequence of elections gets this far: each takes a flush, and this many flushes take over a year at 100 µs each.
pub(super) const EPOCH_MAX: Epoch = Epoch((1 << (64 - LENGTH_BITS)) - 1);

/// The stamp in a slot or cell.
#[inline(always)]
pub(super) fn load_stamp(slot: &Slot) -> Stamp {
    Stamp {
        sequence: Sequence(slot[SLOT_SEQUENCE].load(Relaxed)),
        epoch: Epoch(slot[SLOT_EPOCH_AND_LENGTH].load(Relaxed) >> LENGTH_BITS),
        time_ns: slot[SLOT_TIME].load(Relaxed),
    }
}

/// The value length in a slot or cell.
#[inline(always)]
pub(super) fn value_bytes(slot: &Slot) -> usize {
    (slot[SLOT_EPOCH_AND_LENGTH].load(Relaxed) & LENGTH_MASK) as usize
}

/// Whether a lock word says that the writer is inside.
#[inline(always)]
pub(super) fn is_locked(lock: u64) -> bool {
    lock & 1 != 0
}

/// The version cell in a lock word; 0 is none.
#[inline(always)]
pub(super) fn cell_of(lock: u64) -> u64 {
    lock >> LOCK_BITS
}

/// Opens a slot for change: readers that loaded anything of it, or of what it links to, will try again. The lock
/// word for [`unlock`].
#[inline]
pub(super) fn lock(slot: &Slot) -> u64 {
    let before = slot[SLOT_LOCK].load(Relaxed);
    debug_assert!(!is_locked(before), "one writer, one change at a time");
    let locked = before & !LOCK_MASK | (before + 1) & LOCK_MASK;
    slot[SLOT_LOCK].store(locked, Relaxed);
    // Release fence pairs with the Acquire fence before a reader's second look at the lock: whoever loaded anything
    // that is stored from here on sees the lock changed.
    fence(Release);
    locked
}

/// Closes a slot after a change; from now on `cell` is its version cell.
#[inline]
pub(super) fn unlock(slot: &Slot, locked: u64, cell: u64) {
    let unlocked = (locked + 1) & LOCK_MASK | cell << LOCK_BITS;
    // Release pairs with the reader's first, Acquire look at the lock: it sees all of the change.
    slot[SLOT_LOCK].store(unlocked, Release);
}
