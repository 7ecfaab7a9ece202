//! Bytes in and out of shared words, always relaxed: the caller's fences give the order.
//!
//! Bytes stand little-endian in their words; the last word of a run is padded with zeros.

use crate::sync::{AtomicU64, Ordering::Relaxed};

/// Words that `bytes` bytes take.
#[inline(always)]
pub(crate) const fn words_of(bytes: usize) -> usize {
    bytes.div_ceil(8)
}

/// Stores `bytes` from the first word on.
///
/// # Panics
///
/// When `words` is too short: our own arithmetic is broken.
#[inline]
pub(crate) fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    let (full, rest) = bytes.as_chunks::<8>();
    let (head, tail) = words.split_at(full.len());
    for (word, chunk) in head.iter().zip(full) {
        word.store(u64::from_le_bytes(*chunk), Relaxed);
    }
    if !rest.is_empty() {
        tail[0].store(padded(rest), Relaxed);
    }
}

/// Loads `out.len()` bytes from the first word on.
///
/// # Panics
///
/// When `words` is too short: our own arithmetic is broken.
#[inline(always)]
pub(crate) fn load_bytes(words: &[AtomicU64], out: &mut [u8]) {
    let words = &words[..words_of(out.len())];
    let (out_fours, out) = out.as_chunks_mut::<32>();
    let (fours, words) = words.split_at(out_fours.len() * 4);
    let fours = fours.as_chunks::<4>().0;
    for (four, out) in fours.iter().zip(out_fours) {
        let loaded =
            [four[0].load(Relaxed), four[1].load(Relaxed), four[2].load(Relaxed), four[3].load(Relaxed)];
        for (out, word) in out.as_chunks_mut::<8>().0.iter_mut().zip(loaded) {
            *out = word.to_le_bytes();
        }
    }
    if !out.is_empty() {
        load_rest(words, out);
    }
}

/// Loads fewer than 32 bytes.
#[inline(never)]
fn load_rest(words: &[AtomicU64], out: &mut [u8]) {
    let (full, rest) = out.as_chunks_mut::<8>();
    for (word, chunk) in words.iter().zip(full.iter_mut()) {
        *chunk = word.load(Relaxed).to_le_bytes();
    }
    if !rest.is_empty() {
        let last = words[full.len()].load(Relaxed).to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// Whether the words hold exactly `bytes`, padding included.
#[inline(always)]
pub(crate) fn equal_bytes(words: &[AtomicU64], bytes: &[u8]) -> bool {
    let Some(words) = words.get(..words_of(bytes.len())) else { return false };
    let (full, rest) = bytes.as_chunks::<8>();
    let mut difference = 0;
    for (word, chunk) in words.iter().zip(full) {
        difference |= word.load(Relaxed) ^ u64::from_le_bytes(*chunk);
    }
    if !rest.is_empty() {
        difference |= words[full.len()].load(Relaxed) ^ padded(rest);
    }
    difference == 0
}

/// Up to seven bytes as a word, zero-padded, without a call to `memcpy`.
#[inline(always)]
fn padded(rest: &[u8]) -> u64 {
    let n = rest.len();
    debug_assert!(n < 8);
    if n >= 4 {
        let low = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as u64;
        let high = u32::from_le_bytes([rest[n - 4], rest[n - 3], rest[n - 2], rest[n - 1]]) as u64;
        low | high << ((n - 4) * 8)
    } else if n > 0 {
        (rest[0] as u64) | (rest[n / 2] as u64) << (n / 2 * 8) | (rest[n - 1] as u64) << ((n - 1) * 8)
    } else {
        0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Region;

    #[test]
    fn every_length_comes_back_and_compares_equal_only_to_itself() {
        let bytes: Vec<u8> = (1..=64).collect();
        for length in 0..=64 {
            let region = Region::plain(8);
            store_bytes(region.words(0, 8), &bytes[..length]);
            let mut out = vec![0; length];
            load_bytes(region.words(0, 8), &mut out);
            assert_eq!(out, bytes[..length]);
            assert!(equal_bytes(region.words(0, 8), &bytes[..length]));
            for flipped in 0..length {
                let mut other = bytes[..length].to_vec();
                other[flipped] ^= 0x80;
                assert!(!equal_bytes(region.words(0, 8), &other));
            }
        }
    }
}
