//! How much an entry is asked for, in one number that never has to be aged.
//!
//! The worth of an entry is the sum of 2^(fade(t) - fade(now)) over the moments t at which it was asked for: every
//! request counts once, and half as much after each halving. Kept as log2 of the sum of 2^fade(t), the worth of an
//! entry that nobody asks for stays the same number for ever, while the present rises; the order of two entries
//! changes only when one is asked for. (The combined recency and frequency of D. Lee and others, LRFU: a spectrum of
//! policies that subsumes LRU and LFU, IEEE Transactions on Computers 50, 2001, in the domain of logarithms.)
//!
//! Invariant: how fast the present rises may change at any moment. What was asked for before keeps its number, so the
//! order stands, and only what comes later fades at the new speed.

/// log2 of a worth, in 1/65536, modulo 2^32. Compared by difference only: numbers of one policy lie close together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Score(pub(crate) u32);

/// One halving.
pub(crate) const HALVING: i32 = 1 << 16;
/// An entry that is worth so much less than one request now is worth nothing: the difference would wrap in the end.
const WORTHLESS: i32 = 64 * HALVING;

impl Score {
    /// How far this stands above (or, when negative, below) another score.
    pub(crate) const fn above(self, other: Score) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }

    /// This score, so much lower.
    pub(crate) const fn lowered(self, by: i32) -> Score {
        Score(self.0.wrapping_sub(by as u32))
    }

    /// The score after one more request at a moment when one request is worth `now`.
    pub(crate) fn asked(self, now: Score) -> Score {
        if self.above(now).unsigned_abs() >= WORTHLESS.unsigned_abs() {
            return now;
        }
        self.plus(now)
    }

    /// What two are worth together.
    pub(crate) fn plus(self, other: Score) -> Score {
        let above = self.above(other);
        let higher = if above >= 0 { self } else { other };
        Score(higher.0.wrapping_add(sum_of(above.unsigned_abs())))
    }
}

/// The present: the score of one request made now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present {
    /// Score in the upper half, fractions of it in the lower.
    fade: u64,
    step: u64,
}

impl Present {
    /// A present in which worth halves every `halving_requests`.
    pub(crate) fn new(halving_requests: u64) -> Present {
        Present { fade: 0, step: step_of(halving_requests) }
    }

    /// From now on, worth halves every so many requests.
    pub(crate) fn set_halving(&mut self, halving_requests: u64) {
        self.step = step_of(halving_requests);
    }

    /// So many requests pass.
    pub(crate) fn pass(&mut self, requests: u64) {
        self.fade = self.fade.wrapping_add(self.step.wrapping_mul(requests));
    }

    /// What one request is worth now.
    pub(crate) const fn score(&self) -> Score {
        Score((self.fade >> 32) as u32)
    }
}

fn step_of(halving_requests: u64) -> u64 {
    ((HALVING as u64) << 32) / halving_requests.max(HALVING_REQUESTS_MIN)
}

/// Faster than this, one request could lift the present over a whole level of the order.
pub(crate) const HALVING_REQUESTS_MIN: u64 = 8;

/// log2(1 + 2^-x) for a distance x between two scores, both in 1/65536.
fn sum_of(distance: u32) -> u32 {
    SUMS.get((distance >> SUM_SHIFT) as usize).copied().unwrap_or(0)
}

/// Distances are looked up to a sixteenth of a halving.
const SUM_SHIFT: u32 = 12;
/// Beyond sixteen halvings a sum adds less than 1/65536.
const SUMS: [u32; 256] = sums();

const fn sums() -> [u32; 256] {
    /// 2^(-1/16)
    const SIXTEENTH: f64 = 0.957_603_280_698_573_6;
    let mut table = [0; 256];
    let mut share = 1.0;
    let mut index = 0;
    while index < table.len() {
        table[index] = log2_of(1.0 + share);
        share *= SIXTEENTH;
        index += 1;
    }
    table
}

/// log2 of a number from 1 to 2, in 1/65536: digit by digit, by squaring.
const fn log2_of(number: f64) -> u32 {
    let mut rest = number;
    let mut digits = 0;
    if rest >= 2.0 {
        return 1 << 16;
    }
    let mut digit = 0;
    while digit < 16 {
        rest *= rest;
        digits <<= 1;
        if rest >= 2.0 {
            rest /= 2.0;
            digits |= 1;
        }
        digit += 1;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halvings(score: Score) -> f64 {
        f64::from(score.0) / f64::from(HALVING)
    }

    #[test]
    fn without_fading_a_score_counts_requests() {
        let now = Score(0);
        let mut score = now;
        for count in 2..=10_000_u32 {
            score = score.asked(now);
            let exact = f64::from(count).log2();
            assert!((halvings(score) - exact).abs() < 0.05 * exact, "{count}: {} {exact}", halvings(score));
        }
    }

    #[test]
    fn worth_halves_in_the_requests_that_were_said() {
        let mut present = Present::new(1_000);
        let early = present.score();
        (0..3_000).for_each(|_| present.pass(1));
        let fallen = f64::from(present.score().above(early)) / f64::from(HALVING);
        assert!((fallen - 3.0).abs() < 0.001, "{fallen}");
    }

    #[test]
    fn what_is_very_old_counts_for_nothing_even_when_numbers_wrap() {
        let now = Score(5);
        assert_eq!(Score(now.0.wrapping_sub(70 << 16)).asked(now), now);
        assert_eq!(Score(now.0.wrapping_add(1 << 31)).asked(now), now);
    }
}
