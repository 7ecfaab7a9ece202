//! Bytes that were cut, run together, flipped or made up: refused with a typed error, or exactly what they say.

use proptest::prelude::*;

use crate::corpus::{Example, all};
use io_oi_record::DecodeError;

/// Decoding never panics, and what is accepted encodes back to the same bytes.
fn judge(example: &Example, bytes: &[u8]) -> Result<(), DecodeError> {
    let reread = (example.reread)(bytes)?;
    assert_eq!(reread, bytes, "{}: accepted bytes must be the only encoding of their value", example.name);
    Ok(())
}

#[test]
fn undamaged_bytes_read_back() {
    for example in all() {
        assert_eq!(judge(&example, &example.bytes), Ok(()), "{}", example.name);
    }
}

#[test]
fn every_flipped_bit_is_refused_or_read_as_what_it_now_says() {
    let (mut refused, mut accepted) = (0, 0);
    for example in all() {
        for bit in 0..example.bytes.len() * 8 {
            let mut bytes = example.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match judge(&example, &bytes) {
                Ok(()) => accepted += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 1000 && accepted > 1000, "{refused} refused, {accepted} accepted: both must occur");
}

#[test]
fn every_truncation_is_refused() {
    for example in all() {
        for length in 0..example.bytes.len() {
            let outcome = judge(&example, &example.bytes[..length]);
            assert!(outcome.is_err(), "{} cut to {length} bytes", example.name);
        }
    }
}

#[test]
fn every_extension_is_refused() {
    for example in all() {
        for (more, fill) in [(1, 0), (1, 0xFF), (7, 0), (64, 0xA5)] {
            let mut bytes = example.bytes.clone();
            bytes.extend(std::iter::repeat_n(fill, more));
            assert!(judge(&example, &bytes).is_err(), "{} with {more} more bytes", example.name);
        }
        let twice = example.bytes.repeat(2);
        assert!(judge(&example, &twice).is_err(), "{} twice", example.name);
    }
}

#[test]
fn every_other_kind_byte_is_refused_by_name() {
    for example in all() {
        // Some messages are of one length and hold anything; only their kind byte tells them apart.
        let is_message = example.bytes[0] >= 64;
        let others = (0..=255).filter(|kind| *kind != example.bytes[0]);
        for kind in others.filter(|kind| !is_message || !(64..=84).contains(kind)) {
            let mut bytes = example.bytes.clone();
            bytes[0] = kind;
            let error = judge(&example, &bytes).expect_err(example.name);
            // A packet's first byte chooses its decoder, which then finds the wrong body.
            let chooses = (16..24).contains(&example.bytes[0]);
            let named = matches!(error, DecodeError::KindMismatch { found, .. } if found == kind);
            assert!(named || chooses, "{} as kind {kind}: {error}", example.name);
        }
    }
}

#[test]
fn every_newer_version_is_refused_by_name_whatever_follows() {
    for example in all() {
        for version in 2..=255 {
            let mut bytes = example.bytes.clone();
            bytes[1] = version;
            bytes[2..].fill(0xEE);
            let error = judge(&example, &bytes).expect_err(example.name);
            assert!(
                matches!(error, DecodeError::VersionUnknown { found, known: 1, .. } if found == version),
                "{} version {version}: {error}",
                example.name
            );
        }
    }
}

#[test]
fn every_error_says_what_happened_and_what_to_do() {
    for example in all() {
        for bit in 0..example.bytes.len() * 8 {
            let mut bytes = example.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Err(error) = judge(&example, &bytes) {
                assert!(error.to_string().contains(": "), "{error:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_never_misread(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        for example in all_once() {
            let _ = judge(example, &bytes);
        }
    }

    /// Random bytes seldom get past the first two; so these are given them.
    #[test]
    fn random_bytes_behind_a_true_beginning_are_never_misread(
        kept in 0..256usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..1024),
    ) {
        for example in all_once() {
            let mut damaged = example.bytes[..kept.clamp(2, example.bytes.len())].to_vec();
            damaged.extend(&bytes);
            let _ = judge(example, &damaged);
        }
    }

    #[test]
    fn overwritten_bytes_are_never_misread(
        at in any::<prop::sample::Index>(),
        patch in proptest::collection::vec(any::<u8>(), 1..16),
    ) {
        for example in all_once() {
            let mut damaged = example.bytes.clone();
            let start = at.index(damaged.len());
            let end = damaged.len().min(start + patch.len());
            damaged[start..end].copy_from_slice(&patch[..end - start]);
            let _ = judge(example, &damaged);
        }
    }

    #[test]
    fn spliced_bytes_are_never_misread(
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        count in 1..64usize,
    ) {
        for example in all_once() {
            let mut damaged = example.bytes.clone();
            let (from, to) = (from.index(damaged.len()), to.index(damaged.len()));
            let piece = damaged[from..damaged.len().min(from + count)].to_vec();
            damaged.splice(to..to, piece);
            let _ = judge(example, &damaged);
        }
    }
}

/// Signing the corpus anew for every case would be most of the run.
fn all_once() -> &'static [Example] {
    static ALL: std::sync::OnceLock<Vec<Example>> = std::sync::OnceLock::new();
    ALL.get_or_init(all)
}
