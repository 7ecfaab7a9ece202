//! Keys by 128 bits of a keyed BLAKE3 hash.
//!
//! Invariant: equal digests mean equal keys, for all purposes of this crate. With 64 bits of a hash that clients can compute
//! two keys might share one, and an index that knows no keys could not tell a new version of one from the other. The index keeps
//! 104 of the bits: among 10^9 keys chance makes two alike once in 4 x 10^13 tries, and whoever wants to bring it about would
//! have to know the secret.

use core::fmt;

/// What a key is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest(pub u128);

/// Makes digests with one secret: the node's own, the same at every start.
#[derive(Clone)]
pub struct Digester {
    secret: [u8; 32],
}

impl Digester {
    /// For this secret, which no client may know.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Digester {
        Digester { secret: blake3::derive_key(CONTEXT, secret) }
    }

    /// The digest of a key.
    #[must_use]
    pub fn digest(&self, key: &[u8]) -> KeyDigest {
        KeyDigest(first_half(blake3::keyed_hash(&self.secret, key)))
    }

    /// Tells one secret from another without giving it away: what files carry whose digests were made with it.
    #[must_use]
    pub fn mark(&self) -> u128 {
        first_half(blake3::keyed_hash(&self.secret, &[]))
    }
}

fn first_half(hash: blake3::Hash) -> u128 {
    u128::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digester(..)")
    }
}

const CONTEXT: &str = "io_oi 2026-11 digests of keys in the index of the log";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_same_for_ever_and_another_under_another_secret() {
        let digester = Digester::new(&[7; 32]);
        assert_eq!(digester.digest(b"ord/17077/1"), PINNED);
        assert_ne!(Digester::new(&[8; 32]).digest(b"ord/17077/1"), PINNED);
        assert_ne!(digester.mark(), Digester::new(&[8; 32]).mark());
    }

    const PINNED: KeyDigest = KeyDigest(0xf1ba_0693_a0e9_b481_abb3_8358_ab12_94a1);
}
