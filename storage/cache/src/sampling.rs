//! Which hits a reader reports.
//!
//! Readers cannot write to the table, and telling the shard of every hit would cost more than the hit. So a reader
//! reports one hit in a power of two, chosen by chance, each of which then counts for that many; and every hit on the few
//! keys on which the policy tries its half-lives.
//!
//! Invariant: what is reported is right on average, whatever the pattern of reads: no stride of them can hide.

/// Chooses hits to report. One for each reading thread.
#[derive(Clone, Debug)]
pub struct Sampler {
    tried_mask: u64,
    one_in_log2: u32,
    chance: u64,
}

/// How many hits a reported one stands for: 2^n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StandsFor(pub(crate) u32);

impl StandsFor {
    /// Only for itself.
    pub const ONE: StandsFor = StandsFor(0);

    /// For 2^`log2` hits, at most [`StandsFor::MOST_LOG2`]: what another process says is not believed beyond that.
    #[must_use]
    pub const fn power_of_two(log2: u32) -> StandsFor {
        StandsFor(if log2 > StandsFor::MOST_LOG2 { StandsFor::MOST_LOG2 } else { log2 })
    }

    /// log2 of the number of hits.
    #[must_use]
    pub const fn log2(self) -> u32 {
        self.0
    }

    /// Rarer samples than one in 1024 say nothing about most entries.
    pub const MOST_LOG2: u32 = 10;
}

impl Sampler {
    pub(crate) fn new(tried_mask: u64, one_in: StandsFor, seed: u64) -> Sampler {
        Sampler { tried_mask, one_in_log2: one_in.0, chance: seed | 1 }
    }

    /// Whether to report a hit on the key of this hash, and for how many it stands then.
    #[inline]
    pub fn report(&mut self, hash: u64) -> Option<StandsFor> {
        if hash & self.tried_mask == 0 {
            return Some(StandsFor::ONE);
        }
        // xorshift64 (G. Marsaglia, Xorshift RNGs, 2003): three shifts, and good enough for a draw.
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        let draw = self.chance >> 32 & ((1 << self.one_in_log2) - 1);
        (draw == 0).then_some(StandsFor(self.one_in_log2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_stand_for_all_hits_together() {
        let mut sampler = Sampler::new(0xff << 48, StandsFor::power_of_two(4), 9);
        let told: u64 = (0..1_000_000_u64)
            .filter_map(|hit| sampler.report(hit << 47))
            .map(|report| 1 << report.log2())
            .sum();
        assert!((980_000..1_020_000).contains(&told), "{told}");
    }
}
