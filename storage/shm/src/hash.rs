//! Key hashing: stable across builds and machines, keyed per cluster.
//!
//! rapidhash v3 by its version-pinned module: the algorithm is frozen under that name, short keys cost a few
//! nanoseconds, and the output is portable. Its last mixing step ("avalanche") is left out: it serves uses that look
//! at few bits, costs a multiplication on every read, and the tests below show the bits even without it. A change of algorithm is a change of [`crate::LAYOUT_VERSION`].
//! The high bits choose the shard, the low 32 bits the slot, bits 32 to 47 are the tag in the slot.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline, rapidhash_v3_nano_inline};

/// The cluster's hash key, expanded once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashSeed {
    bytes: [u8; 16],
    secrets: RapidSecrets,
}

impl HashSeed {
    /// The seed made of these 16 bytes (`Genesis::hash_seed`).
    pub const fn new(bytes: [u8; 16]) -> HashSeed {
        let halves = u128::from_le_bytes(bytes);
        // The low half makes the secrets, the high half the seed: all 128 bits count.
        let low = RapidSecrets::seed(halves as u64);
        let high = RapidSecrets::seed((halves >> 64) as u64 ^ 0x9e37_79b9_7f4a_7c15);
        HashSeed { bytes, secrets: RapidSecrets { seed: high.seed, secrets: low.secrets } }
    }

    /// The 16 bytes this seed was made of.
    pub const fn bytes(&self) -> [u8; 16] {
        self.bytes
    }
}

impl From<[u8; 16]> for HashSeed {
    fn from(bytes: [u8; 16]) -> HashSeed {
        HashSeed::new(bytes)
    }
}

impl core::fmt::Debug for HashSeed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashSeed(..)") // Keyed hashing is worth little once the key stands in a log.
    }
}

/// Hash of a key.
#[inline(always)]
pub fn hash_key(seed: &HashSeed, key: &[u8]) -> u64 {
    if key.len() <= NANO_BYTES_MAX {
        // The same output as the full algorithm up to this length, with a third of the code.
        return rapidhash_v3_nano_inline::<false, false>(key, &seed.secrets);
    }
    hash_long_key(seed, key)
}

#[inline(never)]
fn hash_long_key(seed: &HashSeed, key: &[u8]) -> u64 {
    rapidhash_v3_inline::<false, false, false>(key, &seed.secrets)
}

/// Up to here rapidhash's "nano" variant is rapidhash.
const NANO_BYTES_MAX: usize = 48;

/// The shard that owns a key of this hash, out of `shards`.
///
/// # Panics
///
/// When `shards` is 0.
#[inline]
pub fn shard_of(hash: u64, shards: u16) -> u16 {
    assert!(shards > 0, "a cluster has at least one shard");
    (((hash >> 48) * u64::from(shards)) >> 16) as u16
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_pinned_for_ever() {
        let seed = HashSeed::new(*b"io_oi hash seed!");
        assert_eq!(PINNED.map(|(key, _)| hash_key(&seed, key)), PINNED.map(|(_, hash)| hash));
    }

    #[test]
    fn the_short_way_is_the_same_hash_as_the_long_way() {
        let seed = HashSeed::new([0x5a; 16]);
        let key: Vec<u8> = (0..100).collect();
        for length in 0..=100 {
            assert_eq!(
                hash_key(&seed, &key[..length]),
                hash_long_key(&seed, &key[..length]),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn every_seed_bit_changes_the_hash() {
        let zero = hash_key(&HashSeed::new([0; 16]), b"key");
        for bit in 0..128 {
            let seed = HashSeed::new((1u128 << bit).to_le_bytes());
            assert_ne!(hash_key(&seed, b"key"), zero, "bit {bit}");
        }
    }

    #[test]
    fn shards_are_all_used_and_never_out_of_range() {
        let seed = HashSeed::new([7; 16]);
        let mut seen = [0u32; 5];
        for key in 0u32..5000 {
            seen[usize::from(shard_of(hash_key(&seed, &key.to_le_bytes()), 5))] += 1;
        }
        assert!(seen.iter().all(|&count| count > 800), "{seen:?}");
        assert_eq!(shard_of(u64::MAX, 64), 63);
    }

    const PINNED: [(&[u8], u64); 4] = [
        (b"", 0x31ab_4b23_cc53_c6bd),
        (b"a", 0x60c1_89c6_e24f_ae80),
        (b"ord/17077/64132973948", 0x9f27_8cb9_0990_471a),
        (b"a key longer than one hundred and twelve bytes takes the long way through the hash, so one such key stands here as well", 0x7607_32a0_af96_e67d),
    ];
}
