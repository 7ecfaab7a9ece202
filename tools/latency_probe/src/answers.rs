//! A hash of the answers a run was given, so that a run which read garbage fast does not look good.

/// Adds one word to a running hash: cheap enough to stand inside a timed loop.
#[inline]
pub(crate) fn fold(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER)
}

/// Adds bytes to a running hash, eight at a time, their count included.
pub(crate) fn fold_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let mut hash = fold(hash, bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = fold(hash, u64::from_le_bytes(word));
    }
    hash
}

/// Spreads the bits of a number over all 64: scrambled keys and values that depend on (key, version).
#[inline]
pub(crate) fn scramble(word: u64) -> u64 {
    let mut bits = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// As it stands in reports.
pub(crate) fn text(hash: u64) -> String {
    format!("{hash:016x}")
}

/// From FxHash: an odd number with bits spread evenly.
const MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_and_the_length_of_answers_matter() {
        assert_ne!(fold(fold(0, 1), 2), fold(fold(0, 2), 1));
        assert_ne!(fold_bytes(0, &[0]), fold_bytes(0, &[0, 0]));
    }

    #[test]
    fn scrambling_is_a_permutation_on_a_sample() {
        let mut seen: Vec<u64> = (0..10_000).map(scramble).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 10_000);
    }
}
