//! Buddy allocator over the granules of the large-value area: size classes are powers of two.
//!
//! All of its state is private to the writer: about two bits per granule. Free blocks are bits in one bitmap per
//! order, with summaries, so taking and giving back look at a handful of words however large the area is, and
//! nothing is allocated after boot. Lower addresses are preferred, which keeps the touched memory small.

use crate::layout::hot::GRANULE_BYTES;
use crate::layout::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// The allocator.
#[derive(Debug)]
pub(super) struct Granules {
    orders: Vec<Bits>,
    granules: u64,
    used: u64,
}

impl Granules {
    /// All of `granules` free.
    pub(super) fn new(granules: u64) -> Granules {
        let orders = (0..ORDERS).map(|order| Bits::new(granules >> order)).collect();
        let mut allocator = Granules { orders, granules, used: 0 };
        let mut at = 0;
        while at < granules {
            // The largest aligned block that starts here and fits.
            let mut order = at.trailing_zeros().min(ORDERS - 1);
            while at + (1 << order) > granules {
                order -= 1;
            }
            allocator.orders[order as usize].set(at >> order);
            at += 1 << order;
        }
        allocator
    }

    /// Takes a block of at least `bytes` bytes: its first granule.
    pub(super) fn take(&mut self, bytes: usize) -> Option<u32> {
        let order = order_of(bytes);
        let mut from = (order..ORDERS).find(|&from| !self.orders[from as usize].is_empty())?;
        let block = self.orders[from as usize].first().expect("this order is not empty");
        self.orders[from as usize].clear(block);
        let granule = block << from;
        while from > order {
            from -= 1;
            self.orders[from as usize].set((granule >> from) + 1); // The upper half stays free.
        }
        self.used += 1 << order;
        Some(u32::try_from(granule).expect("granule numbers have 31 bits"))
    }

    /// Gives back a block that was taken for `bytes` bytes.
    pub(super) fn give_back(&mut self, granule: u32, bytes: usize) {
        let mut order = order_of(bytes);
        self.used -= 1 << order;
        let mut block = u64::from(granule) >> order;
        while order + 1 < ORDERS && self.orders[order as usize].contains(block ^ 1) {
            self.orders[order as usize].clear(block ^ 1);
            block >>= 1;
            order += 1;
        }
        debug_assert!(!self.orders[order as usize].contains(block), "a block is given back once");
        self.orders[order as usize].set(block);
    }

    /// Whether a block of `bytes` bytes could be taken now.
    pub(super) fn has(&self, bytes: usize) -> bool {
        (order_of(bytes)..ORDERS).any(|order| !self.orders[order as usize].is_empty())
    }

    /// Bytes in blocks that are taken.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used * GRANULE_BYTES as u64
    }

    /// Bytes of the whole area.
    pub(super) fn area_bytes(&self) -> u64 {
        self.granules * GRANULE_BYTES as u64
    }
}

/// Bytes of the block that `bytes` bytes get.
pub(super) fn block_bytes(bytes: usize) -> u64 {
    (GRANULE_BYTES as u64) << order_of(bytes)
}

/// The order of the smallest block that holds so many bytes.
fn order_of(bytes: usize) -> u32 {
    bytes.div_ceil(GRANULE_BYTES).max(1).next_power_of_two().trailing_zeros()
}

/// A set of small numbers with its smallest at hand: bitmaps of bitmaps.
#[derive(Debug)]
struct Bits {
    /// Level 0 holds the members; a bit of level n + 1 says that a word of level n is not zero.
    levels: Vec<Vec<u64>>,
}

impl Bits {
    fn new(size: u64) -> Bits {
        let mut levels = Vec::new();
        let mut words = size.div_ceil(64).max(1);
        loop {
            levels.push(vec![0; words as usize]);
            if words == 1 {
                return Bits { levels };
            }
            words = words.div_ceil(64);
        }
    }

    fn is_empty(&self) -> bool {
        self.levels.last().is_none_or(|top| top[0] == 0)
    }

    fn contains(&self, member: u64) -> bool {
        let word = self.levels[0].get((member / 64) as usize).copied().unwrap_or(0);
        word >> (member % 64) & 1 != 0
    }

    fn first(&self) -> Option<u64> {
        let mut at = 0;
        for level in self.levels.iter().rev() {
            let word = level[at as usize];
            if word == 0 {
                return None; // Only at the top: below, a summary bit promised a member.
            }
            at = at * 64 + u64::from(word.trailing_zeros());
        }
        Some(at)
    }

    fn set(&mut self, member: u64) {
        let mut at = member;
        for level in &mut self.levels {
            let word = &mut level[(at / 64) as usize];
            let was_zero = *word == 0;
            *word |= 1 << (at % 64);
            if !was_zero {
                return;
            }
            at /= 64;
        }
    }

    fn clear(&mut self, member: u64) {
        let mut at = member;
        for level in &mut self.levels {
            let word = &mut level[(at / 64) as usize];
            *word &= !(1 << (at % 64));
            if *word != 0 {
                return;
            }
            at /= 64;
        }
    }
}

/// Orders of blocks: one granule up to the longest value.
const ORDERS: u32 = (VALUE_BYTES_MAX / GRANULE_BYTES).trailing_zeros() + 1;
const _: () = assert!(VALUE_BYTES_MAX.is_power_of_two() && KEY_BYTES_MAX <= VALUE_BYTES_MAX);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everything_given_back_merges_into_the_largest_blocks_again() {
        let mut granules = Granules::new((1 << 18) + 37);
        let blocks: Vec<_> = std::iter::from_fn(|| granules.take(200)).collect();
        assert_eq!(granules.used_bytes(), blocks.len() as u64 * 256);
        assert!(!granules.has(200));
        for block in blocks {
            granules.give_back(block, 200);
        }
        assert_eq!(granules.used_bytes(), 0);
        assert_eq!(granules.take(VALUE_BYTES_MAX), Some(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn blocks_never_overlap_and_are_aligned(steps in prop::collection::vec((any::<u16>(), 1usize..9000), 1..200)) {
            let mut granules = Granules::new(1000);
            let mut held: Vec<(u32, usize)> = Vec::new();
            for (choice, bytes) in steps {
                if choice % 3 == 0 && !held.is_empty() {
                    let (granule, bytes) = held.swap_remove(usize::from(choice) % held.len());
                    granules.give_back(granule, bytes);
                } else if let Some(granule) = granules.take(bytes) {
                    let size = block_bytes(bytes) / 64;
                    prop_assert!(u64::from(granule) % size == 0 && u64::from(granule) + size <= 1000);
                    for &(other, other_bytes) in &held {
                        let other_size = block_bytes(other_bytes) / 64;
                        let apart = u64::from(granule) + size <= other.into() || u64::from(other) + other_size <= granule.into();
                        prop_assert!(apart);
                    }
                    held.push((granule, bytes));
                }
                let used: u64 = held.iter().map(|&(_, bytes)| block_bytes(bytes)).sum();
                prop_assert_eq!(granules.used_bytes(), used);
            }
        }
    }
}
