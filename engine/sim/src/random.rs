//! Chance that follows from a seed.
//!
//! Invariant: the numbers depend on the seed and on how often was asked, on nothing else; parts of the world draw from
//! streams of their own, so that one more question in one part does not change another.

/// A stream of numbers (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The stream of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed ^ 0x5EED_0F10_01AB_1E55 }
    }

    /// A stream of its own for one part of the world.
    pub(crate) fn fork(&mut self, part: &str) -> Self {
        let named = part.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        Self::new(self.next() ^ named)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..count`.
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        assert!(count > 0, "there is nothing to choose from");
        ((u128::from(self.next()) * u128::from(count)) >> 64) as u64
    }

    /// One of `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Yes in so many of a thousand cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// A place in a list of so many.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    /// Mostly near `typical`, now and then up to `tail` times as long.
    pub(crate) fn latency(&mut self, typical: u64, tail: u64) -> u64 {
        let base = typical / 2 + self.below(typical + 1);
        if self.chance(20) { base * self.between(1, tail) } else { base }
    }
}
