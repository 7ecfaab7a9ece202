//! Offsets, widths and magic numbers of every segment, in one place; drawn in `LAYOUT.md`.
//!
//! All offsets of this module are in 8-byte words from the start of the segment unless the name says bytes.

/// Version of everything in this module and of the key hash. Readers refuse any other.
pub const LAYOUT_VERSION: u32 = 2;

/// First word of every segment: "io_oi\0sm" as little-endian bytes.
pub const MAGIC: u64 = u64::from_le_bytes(*b"io_oi\0sm");

/// Segments are whole pages.
pub const PAGE_BYTES: usize = 4096;
/// Words in the header page.
pub const HEADER_WORDS: usize = PAGE_BYTES / 8;
/// Words in a pair of cache lines. Words of different writers stand in different pairs, because the adjacent-line
/// prefetcher makes a pair the unit of false sharing.
pub const LINE_WORDS: usize = 16;

/// Header word: [`MAGIC`], stored last by the creator (release).
pub const AT_MAGIC: usize = 0;
/// Header word: layout version (low half) and segment kind (high half).
pub const AT_VERSION_AND_KIND: usize = 1;
/// Header word: bytes of the whole segment.
pub const AT_BYTES: usize = 2;
/// Header word: owner incarnation, a random number per boot.
pub const AT_INCARNATION: usize = 3;
/// Header word: shard.
pub const AT_SHARD: usize = 4;
/// Header word: the owner's last sign of life, nanoseconds since the Unix epoch.
pub const AT_HEARTBEAT: usize = LINE_WORDS;
/// Header word: 1 while the shard sleeps and wants its bell rung (hot segment only).
pub const AT_PARKED: usize = 2 * LINE_WORDS;
/// First header word of the kind's own geometry.
pub const AT_GEOMETRY: usize = 3 * LINE_WORDS;

/// Longest key of the hot table.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest value of the hot table.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Hot table.
pub mod hot {
    use super::{AT_GEOMETRY, LINE_WORDS};

    /// Geometry: slots that may be a key's home.
    pub const AT_SLOTS: usize = AT_GEOMETRY;
    /// Geometry: stash buckets of [`HOP_SLOTS`] slots.
    pub const AT_STASH_BUCKETS: usize = AT_GEOMETRY + 1;
    /// Geometry: version cells.
    pub const AT_CELLS: usize = AT_GEOMETRY + 2;
    /// Geometry: granules of the large-value area.
    pub const AT_GRANULES: usize = AT_GEOMETRY + 3;
    /// Geometry: hash seed, low half then high half.
    pub const AT_SEED: usize = AT_GEOMETRY + 4;
    /// Geometry: entries promised.
    pub const AT_ENTRIES_MAX: usize = AT_GEOMETRY + 6;
    /// Geometry: slots a key may stand behind its home, checked so that both sides agree.
    pub const AT_HOP_SLOTS: usize = AT_GEOMETRY + 7;
    /// Status: entries now.
    pub const AT_ENTRIES: usize = AT_GEOMETRY + LINE_WORDS;
    /// Status: bytes of the large-value area in use.
    pub const AT_LARGE_USED_BYTES: usize = AT_GEOMETRY + LINE_WORDS + 1;

    /// Words of one slot: two cache lines. (Models have half of it: every word multiplies what they must try.)
    pub const SLOT_WORDS: usize = if cfg!(loom) { 8 } else { 16 };
    /// A key stands in its home slot or in one of the slots behind it, `HOP_SLOTS` in all.
    pub const HOP_SLOTS: usize = if cfg!(loom) { 2 } else { 32 };

    /// Slot word: sequence lock (low 40 bits, odd while being written) and version cell (high 24 bits).
    pub const SLOT_LOCK: usize = 0;
    /// Slot word: hop bitmap, tag, key length, flags.
    pub const SLOT_META: usize = 1;
    /// Slot and cell word: sequence of the version.
    pub const SLOT_SEQUENCE: usize = 2;
    /// Slot and cell word: epoch (high 39 bits) and value length (low 25 bits).
    pub const SLOT_EPOCH_AND_LENGTH: usize = 3;
    /// Slot and cell word: time of the version, nanoseconds since the Unix epoch.
    pub const SLOT_TIME: usize = 4;
    /// Slot: first word of key, then value. Cell: first word of value.
    pub const SLOT_PAYLOAD: usize = 5;
    /// Words of payload in a slot or cell.
    pub const PAYLOAD_WORDS: usize = SLOT_WORDS - SLOT_PAYLOAD;
    /// Slot and cell word: granule of a value that stands in the large-value area.
    pub const SLOT_GRANULE: usize = SLOT_WORDS - 1;

    /// Cell word: flags.
    pub const CELL_FLAGS: usize = 0;
    /// Cell word: neighbours in the writer's list of older tentative versions.
    pub const CELL_LINKS: usize = 1;

    /// Unit of the large-value area.
    pub const GRANULE_BYTES: usize = 64;
    /// Words of one granule.
    pub const GRANULE_WORDS: usize = GRANULE_BYTES / 8;

    /// Lock bits of [`SLOT_LOCK`].
    pub const LOCK_BITS: u32 = 40;
    /// Mask of the lock bits.
    pub const LOCK_MASK: u64 = (1 << LOCK_BITS) - 1;
    /// Bits of the value length in [`SLOT_EPOCH_AND_LENGTH`].
    pub const LENGTH_BITS: u32 = 25;
    /// Longest key that stands in its slot; a longer one moves to the large-value area.
    pub const NEAR_KEY_BYTES_MAX: usize = (PAYLOAD_WORDS - 1) * 8;

    const _: () = assert!(cfg!(loom) || SLOT_WORDS * 8 == 128);
    const _: () = assert!(cfg!(loom) || PAYLOAD_WORDS * 8 == 24 + 64); // 24 bytes of key, 64 of value: exactly.
    const _: () = assert!(super::VALUE_BYTES_MAX < 1 << LENGTH_BITS);
    const _: () = assert!(super::KEY_BYTES_MAX < 1 << 10);
    const _: () = assert!(HOP_SLOTS <= 32);
    const _: () = assert!(AT_HOP_SLOTS < AT_ENTRIES && AT_LARGE_USED_BYTES < super::HEADER_WORDS);
}

/// Lane: the one segment that both node and client write.
pub mod lane {
    use super::{AT_GEOMETRY, HEADER_WORDS, LINE_WORDS};

    /// Geometry: bytes of the proposal ring's data.
    pub const AT_PROPOSAL_BYTES: usize = AT_GEOMETRY;
    /// Geometry: bytes of the receipt ring's data.
    pub const AT_RECEIPT_BYTES: usize = AT_GEOMETRY + 1;
    /// Geometry: longest proposal frame.
    pub const AT_PROPOSAL_FRAME_BYTES_MAX: usize = AT_GEOMETRY + 2;
    /// Geometry: longest receipt frame.
    pub const AT_RECEIPT_FRAME_BYTES_MAX: usize = AT_GEOMETRY + 3;

    /// Control of the proposal ring.
    pub const AT_PROPOSAL_CONTROL: usize = AT_GEOMETRY + LINE_WORDS;
    /// Control of the receipt ring.
    pub const AT_RECEIPT_CONTROL: usize = AT_PROPOSAL_CONTROL + super::ring::CONTROL_WORDS;
    /// The client's pins.
    pub const AT_PINS: usize = 256;
    /// Pins per lane.
    pub const PINS: usize = if cfg!(loom) { 1 } else { 64 };
    /// Data of the proposal ring, followed by that of the receipt ring.
    pub const AT_DATA: usize = HEADER_WORDS;

    const _: () = assert!(AT_RECEIPT_CONTROL + super::ring::CONTROL_WORDS <= AT_PINS);
    const _: () = assert!(AT_PINS + PINS <= AT_DATA);
}

/// Rings.
pub mod ring {
    use super::LINE_WORDS;

    /// Words of a ring's control block.
    pub const CONTROL_WORDS: usize = 2 * LINE_WORDS;
    /// Control word: end of what was pushed, in words since the beginning. The producer's.
    pub const AT_TAIL: usize = 0;
    /// Control word: end of what was popped, in words since the beginning. The consumer's.
    pub const AT_HEAD: usize = LINE_WORDS;
    /// Words in front of each frame: its length in bytes.
    pub const FRAME_HEADER_WORDS: usize = 1;
}

/// Feed.
pub mod feed {
    use super::{AT_GEOMETRY, HEADER_WORDS, LINE_WORDS};

    /// Geometry: bytes of data, a power of two.
    pub const AT_DATA_BYTES: usize = AT_GEOMETRY;
    /// Geometry: longest frame.
    pub const AT_FRAME_BYTES_MAX: usize = AT_GEOMETRY + 1;
    /// Control: everything in front of this position minus the capacity may be overwritten by now.
    pub const AT_CLAIM: usize = AT_GEOMETRY + LINE_WORDS;
    /// Control: end of what was published, in words since the beginning.
    pub const AT_TAIL: usize = AT_CLAIM + 1;
    /// Control: start of the newest whole frame.
    pub const AT_LAST: usize = AT_CLAIM + 2;
    /// First word of the data.
    pub const AT_DATA: usize = HEADER_WORDS;
    /// Words in front of each frame: length in bytes, number of the frame (the first is 1).
    pub const FRAME_HEADER_WORDS: usize = 2;
}

/// Counters.
pub mod counters {
    use super::{AT_GEOMETRY, HEADER_WORDS, LINE_WORDS};

    /// Geometry: number of counters.
    pub const AT_COUNT: usize = AT_GEOMETRY;
    /// Status: until when the node's lease holds, nanoseconds of the monotonic clock; 0 for none. Alone in its pair of lines.
    pub const AT_LEASE: usize = AT_GEOMETRY + LINE_WORDS;
    /// First counter.
    pub const AT_COUNTERS: usize = HEADER_WORDS;
    /// Words of one counter: the value, then its label, zero-padded.
    pub const COUNTER_WORDS: usize = 8;
    /// Longest label.
    pub const LABEL_BYTES_MAX: usize = (COUNTER_WORDS - 1) * 8;
    /// Most counters in one segment.
    pub const COUNT_MAX: usize = 4096;
}

const _: () = assert!(PAGE_BYTES.is_multiple_of(hot::SLOT_WORDS * 8));
const _: () = assert!(AT_SHARD < AT_HEARTBEAT && AT_HEARTBEAT < AT_PARKED && AT_PARKED < AT_GEOMETRY);
