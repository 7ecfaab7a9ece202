//! The index beside a map of the standard library, step by step; what growing costs; what it takes in memory.
//!
//! Invariant: whatever order of versions and deletions comes, both know the same.

use std::collections::HashMap;

use io_oi_cold::{Digester, Index, KEYS_PER_BUCKET, KeyDigest, NoteError, Place, Sequence, Version};
use proptest::prelude::*;

/// One step: a key, by its number, and what happens to it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u16),
    Delete(u16),
    Forget(u16),
    /// A version older than all.
    Stale(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<u16>().prop_map(|key| Step::Put(key % 900)),
        3 => any::<u16>().prop_map(|key| Step::Delete(key % 900)),
        1 => any::<u16>().prop_map(|key| Step::Forget(key % 900)),
        1 => any::<u16>().prop_map(|key| Step::Stale(key % 900)),
    ]
}

/// Few enough different low bits that buckets become long, and names that differ in one half or in the tag alone.
fn crowded(key: u16) -> KeyDigest {
    let key = u128::from(key);
    KeyDigest((key & 3) | (key >> 2 & 7) << 60 | (key >> 5 & 7) << 90 | (key >> 8) << 96)
}

fn version(sequence: u64) -> Version {
    Version { sequence: Sequence(sequence), place: Place(sequence / 3 + 1), is_deletion: false }
}

fn follow(steps: &[Step], digest_of: impl Fn(u16) -> KeyDigest) {
    let (mut index, mut model) = (Index::new(1000), HashMap::new());
    for (sequence, &step) in (2..).zip(steps) {
        match step {
            Step::Put(key) => {
                index.note(digest_of(key), version(sequence)).unwrap();
                model.insert(digest_of(key), version(sequence));
            }
            Step::Delete(key) => {
                let deletion = Version { is_deletion: true, ..version(sequence) };
                index.note(digest_of(key), deletion).unwrap();
                model.remove(&digest_of(key));
            }
            Step::Forget(key) => {
                assert_eq!(index.forget(digest_of(key)), model.remove(&digest_of(key)).is_some());
            }
            Step::Stale(key) => {
                if model.contains_key(&digest_of(key)) {
                    index.note(digest_of(key), version(1)).unwrap();
                }
            }
        }
        assert_eq!(index.len(), model.len() as u64);
    }
    for key in 0..900 {
        assert_eq!(index.find(digest_of(key)), model.get(&digest_of(key)).copied(), "key {key}");
    }
}

proptest! {
    #[test]
    fn the_index_knows_what_its_model_knows(steps in prop::collection::vec(step(), 1..3000)) {
        let digester = Digester::new(&[3; 32]);
        follow(&steps, |key| digester.digest(&key.to_le_bytes()));
    }

    #[test]
    fn keys_whose_digests_share_most_bits_are_kept_apart(steps in prop::collection::vec(step(), 1..2000)) {
        follow(&steps, crowded);
    }

    #[test]
    fn every_place_and_sequence_comes_back(sequence in 1u64..1 << 52, place in 1u64..1 << 44, bits: u128) {
        let mut index = Index::new(10);
        let version = Version { sequence: Sequence(sequence), place: Place(place), is_deletion: false };
        index.note(KeyDigest(bits), version).unwrap();
        prop_assert_eq!(index.find(KeyDigest(bits)), Some(version));
    }
}

#[test]
fn what_cannot_be_noted_is_said_and_changes_nothing() {
    let mut index = Index::new(3);
    let digest = |key: u128| KeyDigest(key);
    for key in 0..3 {
        index.note(digest(key), version(key as u64 + 1)).unwrap();
    }
    assert_eq!(index.note(digest(3), version(9)), Err(NoteError::Full { keys_max: 3 }));
    assert_eq!((index.len(), index.find(digest(3))), (3, None));
    index.note(digest(2), version(9)).unwrap();
    index.note(digest(1), Version { is_deletion: true, ..version(10) }).unwrap();
    index.note(digest(3), version(11)).unwrap();
    let beyond = Version { sequence: Sequence(1 << 52), ..version(1) };
    assert!(matches!(index.note(digest(3), beyond), Err(NoteError::Beyond { .. })));
    let beyond = Version { place: Place(1 << 44), ..version(12) };
    assert!(matches!(index.note(digest(3), beyond), Err(NoteError::Beyond { .. })));
    assert_eq!(index.find(digest(3)), Some(version(11)));
}

/// The work of every single call, counted: growing never moves more than one bucket.
#[test]
fn no_call_moves_more_than_one_bucket() {
    let (digester, keys) = (Digester::new(&[5; 32]), if is_nightly() { 10_000_000u64 } else { 1_000_000 });
    let mut index = Index::new(keys);
    let (mut moved, mut most) = (0, 0);
    for key in 1..=keys {
        index.note(digester.digest(&key.to_le_bytes()), version(key)).unwrap();
        most = most.max(index.moved() - moved);
        moved = index.moved();
    }
    assert!(most <= 4 * KEYS_PER_BUCKET, "one call moved {most} entries");
    assert!(moved <= 3 * keys, "growing moved {moved} entries for {keys} keys");
    let bytes_per_key = index.memory_bytes() as f64 / keys as f64;
    println!("{keys} keys: {bytes_per_key:.2} bytes each, at most {most} entries moved by one call");
    assert!(bytes_per_key <= 30.0, "{bytes_per_key} bytes a key");
    for key in (1..=keys).step_by(997) {
        assert_eq!(index.find(digester.digest(&key.to_le_bytes())), Some(version(key)));
    }
}

/// What deleted keys took is used again.
#[test]
fn keys_that_come_and_go_take_no_more_memory() {
    let digester = Digester::new(&[6; 32]);
    let mut index = Index::new(10_000);
    let digest = |key: u64| digester.digest(&key.to_le_bytes());
    let mut most = 0;
    for round in 0..20u64 {
        for key in 0..10_000 {
            index.note(digest(key + round * 7919), version(2 * (round * 10_000 + key) + 1)).unwrap();
        }
        if round == 0 {
            most = index.memory_bytes();
        }
        for key in 0..10_000 {
            let deletion = Version { is_deletion: true, ..version(2 * (round * 10_000 + key) + 100_000_000) };
            index.note(digest(key + round * 7919), deletion).unwrap();
        }
        assert_eq!(index.len(), 0);
    }
    assert!(index.memory_bytes() <= most + most / 4, "{} after {most}", index.memory_bytes());
}

fn is_nightly() -> bool {
    std::env::var_os("IO_OI_NIGHTLY").is_some()
}
