//! Keys and values that check themselves: scrambled, so that neighbours in number are no neighbours in memory.

use crate::answers::scramble;

/// Bytes of every key.
pub(crate) const KEY_BYTES: usize = 16;
/// Every key of the probe begins so.
pub(crate) const PREFIX: &[u8; 6] = b"probe/";

/// The key of a number below 2^50: six letters of prefix, ten of scrambled base 32. No two numbers share a key.
pub(crate) fn key_of(number: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..6].copy_from_slice(PREFIX);
    let mut bits = number.wrapping_mul(ODD) & MASK;
    bits = (bits ^ (bits >> 25)).wrapping_mul(ODD) & MASK;
    for letter in &mut key[6..] {
        *letter = ALPHABET[(bits & 31) as usize];
        bits >>= 5;
    }
    key
}

/// Fills a value of at least 16 bytes: the version, then words that follow from key number and version.
pub(crate) fn fill_value(value: &mut [u8], number: u64, version: u64) {
    value[..8].copy_from_slice(&version.to_le_bytes());
    for (index, chunk) in value[8..].chunks_mut(8).enumerate() {
        let word = scramble(number ^ version.rotate_left(32) ^ (index as u64) << 48).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// The version of a value, if every byte of it is as `fill_value` leaves it.
pub(crate) fn version_of(value: &[u8], number: u64) -> Option<u64> {
    let version = u64::from_le_bytes(value.get(..8)?.try_into().ok()?);
    let mut wanted = vec![0; value.len()];
    fill_value(&mut wanted, number, version);
    (wanted == value).then_some(version)
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const MASK: u64 = (1 << 50) - 1;
/// Odd, so that multiplying is a permutation.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_numbers_share_a_key() {
        let mut keys: Vec<_> = (0..100_000).map(key_of).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 100_000);
        assert!(key_of(MASK).starts_with(PREFIX));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let mut value = [0; 61];
        fill_value(&mut value, 7, 9);
        assert_eq!(version_of(&value, 7), Some(9));
        assert_eq!(version_of(&value, 8), None);
        value[60] ^= 1;
        assert_eq!(version_of(&value, 7), None);
    }
}
