//! Who answers more of the same requests, beyond what chance does: a running McNemar test of each against each.
//!
//! Two caches that see the same requests agree on most of them, and those say nothing. What counts is where they
//! differ: when neither is better, each of these goes to one or the other like a coin, so the lead of one in `n` of them
//! has a standard deviation of √n (Q. McNemar, Note on the sampling error of the difference between correlated
//! proportions or percentages, Psychometrika 12, 1947; with A. Edwards' correction of one for counts, 1948).
//!
//! Invariant: how large a lead has to be follows from how often two differ, so a cache of a hundred entries is judged as
//! strictly as one of a million, and no margin has to be chosen for either.

/// Who took part in the contest: one bit each.
pub(crate) type Answered = u8;

/// The counts of `N` contestants, the older the less they count.
#[derive(Debug)]
pub(crate) struct Contest<const N: usize> {
    /// Requests that the first answered and the second did not, in parts of [`PARTS`].
    won: [[u32; N]; N],
}

impl<const N: usize> Contest<N> {
    pub(crate) const fn new() -> Contest<N> {
        Contest { won: [[0; N]; N] }
    }

    /// Those of this set answered a request, all others did not.
    pub(crate) fn count(&mut self, answered: Answered) {
        for index in (0..N).filter(|index| answered >> index & 1 == 1) {
            for other in (0..N).filter(|other| answered >> other & 1 == 0) {
                self.won[index][other] += PARTS;
            }
        }
    }

    /// Who leads this one most, of those whose lead is more than chance; this one, when there is none.
    pub(crate) fn better_than(&self, champion: usize) -> usize {
        (0..N)
            .filter_map(|index| Some((self.lead(index, champion)?, index)))
            .max_by_key(|&(lead, index)| (lead, std::cmp::Reverse(index)))
            .map_or(champion, |(_, index)| index)
    }

    /// What was counted so far counts less from now on.
    pub(crate) fn forget(&mut self) {
        self.won.iter_mut().flatten().for_each(|won| *won -= *won / FORGOTTEN_SHARE);
    }

    /// By how much one leads another, when chance alone seldom does that.
    fn lead(&self, index: usize, champion: usize) -> Option<u32> {
        let (won, lost) = (self.won[index][champion], self.won[champion][index]);
        let lead = won.checked_sub(lost)?.checked_sub(PARTS)?;
        let (square, differed) = (u64::from(lead).pow(2), u64::from(PARTS) * u64::from(won + lost));
        (square > DEVIATIONS * DEVIATIONS * differed).then_some(lead)
    }
}

/// One request, so that a share of few requests can be forgotten.
const PARTS: u32 = 16;
/// One part in so many of all former counts is forgotten each time.
const FORGOTTEN_SHARE: u32 = 8;
/// A lead of so many standard deviations is taken for more than chance: one in twenty are not.
const DEVIATIONS: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks which of two leads after every ten requests, of which the first answers `percent` and the second the others.
    fn changes(percent: u64) -> (usize, usize) {
        let (mut contest, mut champion, mut changes) = (Contest::<2>::new(), 1, 0);
        let mut word = 1_u64;
        for request in 0..100_000 {
            word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            contest.count(if (word >> 33) % 100 < percent { 0b01 } else { 0b10 });
            if request % 10 == 9 {
                let better = contest.better_than(champion);
                changes += usize::from(better != champion);
                champion = better;
                contest.forget();
            }
        }
        (champion, changes)
    }

    #[test]
    fn equals_take_turns_seldom_and_whoever_is_better_soon_leads_for_good() {
        let (_, by_chance) = changes(50);
        assert!((1..500).contains(&by_chance), "{by_chance} of 10,000 looks");
        assert_eq!(changes(80), (0, 1));
        assert_eq!(changes(20), (1, 0));
    }

    #[test]
    fn requests_that_all_answer_or_nobody_say_nothing() {
        let mut contest = Contest::<3>::new();
        (0..1_000).for_each(|_| contest.count(0b111));
        (0..1_000).for_each(|_| contest.count(0));
        assert_eq!(contest.won, [[0; 3]; 3]);
    }

    #[test]
    fn a_lead_is_as_large_as_its_chance_is_small_and_the_largest_is_taken() {
        let mut contest = Contest::<3>::new();
        // Five of five, less one, are 1.8 deviations; six of six are 2.04.
        (0..5).for_each(|_| contest.count(0b010));
        assert_eq!(contest.better_than(0), 0);
        contest.count(0b010);
        assert_eq!(contest.better_than(0), 1);
        (0..6).for_each(|_| contest.count(0b100));
        assert_eq!(contest.better_than(0), 1, "the same lead: the first");
        contest.count(0b100);
        assert_eq!(contest.better_than(0), 2);
    }
}
