//! Who is too old to stay: by age, by chance, the same chance on every run.
//!
//! Invariant: whoever was asked for, or written, in the last `keep_epochs` epochs stays. An older entry stays with a
//! probability that halves with every further `keep_epochs` and never falls below one in a hundred. Each entry draws its
//! lot once, from seed and hash, so looking at it more often does not prune more.

/// Out of how many lots.
const LOTS: u64 = 1 << 16;
/// One in a hundred stays, whatever its age.
const LOTS_MIN: u64 = LOTS / 100;

/// Whether an entry of this age and hash stays.
pub(crate) fn stays(age_epochs: u64, keep_epochs: u64, hash: u64, seed: u64) -> bool {
    lot(hash, seed) < staying_lots(age_epochs, keep_epochs)
}

fn staying_lots(age_epochs: u64, keep_epochs: u64) -> u64 {
    if age_epochs <= keep_epochs {
        return LOTS;
    }
    let keep = keep_epochs.max(1);
    let (halvings, rest) = ((age_epochs - keep_epochs) / keep, (age_epochs - keep_epochs) % keep);
    let from = LOTS >> halvings.min(32);
    // Straight from one power of two to the next.
    let lots = from - (u128::from(from / 2) * u128::from(rest) / u128::from(keep)) as u64;
    lots.max(LOTS_MIN)
}

/// SplitMix64's last steps (G. Steele and others, Fast splittable pseudorandom number generators, OOPSLA 2014).
fn lot(hash: u64, seed: u64) -> u64 {
    let mut word = hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word ^ (word >> 31)) % LOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staying(age_epochs: u64) -> usize {
        (0..100_000).filter(|&hash| stays(age_epochs, 8, hash, 7)).count()
    }

    #[test]
    fn the_last_epochs_stay_and_older_ones_fall_to_one_in_a_hundred() {
        assert_eq!(staying(8), 100_000);
        let older: Vec<usize> = [9, 12, 16, 24, 32].into_iter().map(staying).collect();
        assert!(older.is_sorted_by(|younger, elder| younger > elder), "{older:?}");
        assert!((48_000..52_000).contains(&staying(16)), "{}", staying(16));
        assert!((800..1_200).contains(&staying(1_000)), "{}", staying(1_000));
        assert!((800..1_200).contains(&staying(u64::MAX)), "{}", staying(u64::MAX));
    }

    #[test]
    fn who_goes_at_one_age_is_gone_at_every_later_one() {
        for hash in 0..10_000 {
            let ages: Vec<bool> = (0..60).map(|age| stays(age, 8, hash, 7)).collect();
            assert!(ages.is_sorted_by(|younger, elder| younger >= elder));
        }
    }
}
