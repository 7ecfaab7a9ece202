//! The hot table against a plain map, one operation after the other, in plain memory (also under miri).

use io_oi_shm::HashSeed;
use io_oi_shm::hot::{Config, Epoch, Found, Reader, Sequence, Stage, Stamp, Writer};
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Clone, Debug)]
enum Step {
    Tentative {
        key: u8,
        value: Option<usize>,
    },
    CommitOldest,
    CommitDirectly {
        key: u8,
        value: Option<usize>,
    },
    DiscardNewest,
    DiscardAny {
        choice: u8,
    },
    /// A new epoch begins: the newest records are withdrawn, newest first, and their sequences are given out again.
    Rewind {
        back: u8,
    },
}

#[derive(Clone, Debug)]
struct Version {
    sequence: u64,
    stamp: Stamp,
    committed: bool,
    value: Option<Vec<u8>>,
}

#[derive(Default)]
struct Model {
    /// All versions of a key that could still be seen, oldest first; at most the first is committed.
    keys: HashMap<u8, Vec<Version>>,
    /// Tentative records in order: sequence and key.
    in_flight: Vec<(u64, u8)>,
    sequence: u64,
    epoch: u64,
    /// The newest committed record.
    committed: u64,
}

/// Keys of all shapes: short, of exactly one slot's room, long, far.
fn key_of(key: u8) -> Vec<u8> {
    let length = [1, 7, 8, 24, 25, 40, 80, 81, 200, 512][usize::from(key) % 10];
    (0..length).map(|at: usize| key.wrapping_mul(31).wrapping_add(at as u8)).collect()
}

fn value_of(sequence: u64, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (sequence as u8).wrapping_mul(17).wrapping_add(at as u8)).collect()
}

fn stamp(sequence: u64) -> Stamp {
    Stamp { sequence: Sequence(sequence), epoch: Epoch(3), time_ns: sequence * 1000 }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0u8..20;
    let bytes = prop_oneof![Just(0usize), Just(1), Just(64), Just(63), 80usize..100, 100usize..5000];
    let value = prop_oneof![3 => bytes.prop_map(Some), 1 => Just(None)];
    let step = prop_oneof![
        4 => (key.clone(), value.clone()).prop_map(|(key, value)| Step::Tentative { key, value }),
        3 => Just(Step::CommitOldest),
        2 => (key, value).prop_map(|(key, value)| Step::CommitDirectly { key, value }),
        1 => Just(Step::DiscardNewest),
        1 => any::<u8>().prop_map(|choice| Step::DiscardAny { choice }),
        1 => (0u8..12).prop_map(|back| Step::Rewind { back }),
    ];
    prop::collection::vec(step, 1..if cfg!(miri) { 12 } else { 120 })
}

impl Model {
    fn apply(&mut self, writer: &mut Writer, step: &Step) {
        match *step {
            Step::Tentative { key, value } => {
                self.sequence += 1;
                let sequence = self.sequence;
                let (value, stamp) = self.stamped(value);
                writer.publish_tentative(&key_of(key), value.as_deref(), stamp).unwrap();
                self.in_flight.push((sequence, key));
                let version = Version { sequence, stamp, committed: false, value };
                self.keys.entry(key).or_default().push(version);
            }
            Step::CommitOldest => {
                if self.in_flight.is_empty() {
                    return;
                }
                let (sequence, key) = self.in_flight.remove(0);
                let versions = self.keys.get_mut(&key).unwrap();
                let place = versions.iter().position(|version| version.sequence == sequence).unwrap();
                versions[place].committed = true;
                self.committed = self.committed.max(sequence);
                versions.drain(..place);
                let Version { value, stamp, .. } = versions[0].clone();
                writer.publish_committed(&key_of(key), value.as_deref(), stamp).unwrap();
            }
            Step::CommitDirectly { key, value } => {
                if self.in_flight.iter().any(|&(_, other)| other == key) {
                    return; // In one shard everything in flight is decided, or taken back, first.
                }
                self.sequence += 1;
                let sequence = self.sequence;
                self.committed = sequence;
                let (value, stamp) = self.stamped(value);
                writer.publish_committed(&key_of(key), value.as_deref(), stamp).unwrap();
                self.keys.insert(key, vec![Version { sequence, stamp, committed: true, value }]);
            }
            Step::DiscardNewest => {
                let place = self.in_flight.len().wrapping_sub(1);
                self.discard(writer, place);
            }
            Step::DiscardAny { choice } => {
                let place = usize::from(choice) % self.in_flight.len().max(1);
                self.discard(writer, place);
            }
            Step::Rewind { back } => {
                for _ in 0..usize::from(back).min(self.in_flight.len()) {
                    self.discard(writer, self.in_flight.len() - 1);
                }
                let newest = self.in_flight.last().map_or(0, |&(sequence, _)| sequence);
                // What is committed is never gone back behind.
                self.sequence = newest.max(self.committed);
                self.epoch += 1;
            }
        }
    }

    /// A value and the stamp of the newest record; both tell epochs apart.
    fn stamped(&self, bytes: Option<usize>) -> (Option<Vec<u8>>, Stamp) {
        let stamp = Stamp {
            sequence: Sequence(self.sequence),
            epoch: Epoch(self.epoch),
            time_ns: self.sequence * 1000 + self.epoch,
        };
        (bytes.map(|bytes| value_of(self.sequence + 100 * self.epoch, bytes)), stamp)
    }

    fn discard(&mut self, writer: &mut Writer, place: usize) {
        if place >= self.in_flight.len() {
            return;
        }
        let (sequence, key) = self.in_flight.remove(place);
        writer.discard_tentative(&key_of(key), Sequence(sequence));
        self.keys.get_mut(&key).unwrap().retain(|version| version.sequence != sequence);
    }

    fn check(&self, reader: &Reader) {
        let mut out = Vec::new();
        for key in 0..20 {
            let versions = self.keys.get(&key).map_or(&[][..], Vec::as_slice);
            let found = reader.get_vec(&key_of(key), &mut out).unwrap();
            Self::check_one(key, versions.last(), found, &out);
            let found = reader.get_committed_vec(&key_of(key), &mut out).unwrap();
            let committed = versions.first().filter(|version| version.committed);
            Self::check_one(key, committed, found, &out);
        }
    }

    fn check_one(key: u8, version: Option<&Version>, found: Option<Found>, out: &[u8]) {
        match version.and_then(|version| version.value.as_ref().map(|value| (version, value))) {
            None => assert_eq!(found, None, "key {key} should be absent"),
            Some((version, value)) => {
                let found = found.unwrap_or_else(|| panic!("key {key} should be present"));
                assert_eq!(out, value, "value of key {key}");
                assert_eq!(found.stamp, version.stamp);
                assert_eq!(found.stage == Stage::Committed, version.committed, "stage of key {key}");
            }
        }
    }
}

fn config(entries_max: u64) -> Config {
    Config {
        entries_max,
        large_bytes_max: 2 << 20,
        versions_max: 512,
        seed: HashSeed::new([9; 16]),
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 200 }, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn every_read_equals_the_model_after_every_step(steps in steps()) {
        let (mut writer, region) = Writer::plain(&config(20)).unwrap();
        let reader = Reader::plain(region).unwrap();
        let mut model = Model::default();
        for step in &steps {
            model.apply(&mut writer, step);
            model.check(&reader);
        }
        // Decide everything, delete everything: nothing may be left.
        while !model.in_flight.is_empty() {
            model.apply(&mut writer, &Step::CommitOldest);
        }
        model.check(&reader);
        for key in 0..20 {
            model.apply(&mut writer, &Step::CommitDirectly { key, value: None });
        }
        let stats = writer.stats();
        prop_assert_eq!((stats.entries, stats.versions_used, stats.stashed), (0, 0, 0));
        prop_assert_eq!((stats.large_used_bytes, stats.blocks_waiting), (0, 0));
    }
}

#[test]
fn a_table_filled_to_its_promise_finds_every_key_and_scans_each_once() {
    let keys: u32 = if cfg!(miri) { 40 } else { 50_000 };
    let (mut writer, region) = Writer::plain(&config(keys.into())).unwrap();
    let reader = Reader::plain(region).unwrap();
    for key in 0..keys {
        writer.room_for(&key.to_le_bytes(), 4).unwrap();
        writer.publish_committed(&key.to_le_bytes(), Some(&key.to_be_bytes()), stamp(1)).unwrap();
    }
    let refused = writer.room_for(b"one too many", 4).unwrap_err();
    assert_eq!(refused, io_oi_shm::hot::Full::Entries { entries: keys.into(), entries_max: keys.into() });
    assert!(writer.room_for(&7u32.to_le_bytes(), 4).is_ok(), "a key that is there may always be put again");
    let mut out = [0; 4];
    for key in 0..keys {
        assert!(reader.get(&key.to_le_bytes(), &mut out).unwrap().is_some(), "key {key}");
        assert_eq!(out, key.to_be_bytes());
        assert_eq!(reader.get(&(key + keys).to_le_bytes(), &mut out).unwrap(), None);
    }
    let mut seen = std::collections::HashSet::new();
    reader.scan(b"", |key, _, _| assert!(seen.insert(key.to_vec()), "visited twice")).unwrap();
    assert_eq!(seen.len(), keys as usize);
    let mut counted = 0;
    reader.scan(&[7], |key, _, _| counted += usize::from(key[0] == 7)).unwrap();
    assert_eq!(counted, (0..keys).filter(|key| key.to_le_bytes()[0] == 7).count());
}

#[test]
fn keys_that_crowd_one_home_go_to_the_stash_and_come_back_out() {
    // Two slots' worth of homes only: the smallest table has 64 homes, so many keys share each.
    let (mut writer, region) = Writer::plain(&config(1)).unwrap();
    let reader = Reader::plain(region).unwrap();
    let mut placed = Vec::new();
    for key in 0u32..200 {
        match writer.publish_committed(&key.to_le_bytes(), Some(&key.to_be_bytes()), stamp(1)) {
            Ok(()) => placed.push(key),
            Err(full) => assert_eq!(full, io_oi_shm::hot::Full::Neighbourhood),
        }
    }
    assert!(writer.stats().stashed > 0, "the stash was used");
    assert!(placed.len() < 200, "there is an end to it");
    let mut out = [0; 4];
    let check = |reader: &Reader, out: &mut [u8], gone: &[u32]| {
        for key in 0u32..200 {
            let found = reader.get(&key.to_le_bytes(), out).unwrap();
            assert_eq!(found.is_some(), placed.contains(&key) && !gone.contains(&key), "key {key}");
        }
    };
    check(&reader, &mut out, &[]);
    for gone in 1..=placed.len() {
        writer.publish_committed(&placed[gone - 1].to_le_bytes(), None, stamp(2)).unwrap();
        check(&reader, &mut out, &placed[..gone]);
    }
    assert_eq!((writer.len(), writer.stats().stashed), (0, 0));
    for key in &placed {
        writer.publish_committed(&key.to_le_bytes(), Some(b"back"), stamp(3)).unwrap();
    }
    check(&reader, &mut out, &[]);
}

#[test]
fn a_full_large_value_area_is_an_answer_and_changes_nothing() {
    let config = Config { large_bytes_max: 64 * 1024, ..config(100) };
    let (mut writer, region) = Writer::plain(&config).unwrap();
    let reader = Reader::plain(region).unwrap();
    let value = vec![5; 20_000];
    writer.publish_committed(b"first", Some(&value), stamp(1)).unwrap();
    assert!(matches!(writer.room_for(b"second", 40_000), Err(io_oi_shm::hot::Full::Large { .. })));
    writer.publish_committed(b"second", Some(&value), stamp(2)).unwrap();
    assert!(writer.publish_tentative(b"first", Some(&value), stamp(3)).is_err());
    assert!(writer.publish_committed(b"third", Some(&value), stamp(3)).is_err());
    let mut out = Vec::new();
    assert_eq!(reader.get_vec(b"first", &mut out).unwrap().unwrap().stamp, stamp(1));
    assert_eq!(out, value);
    assert_eq!(reader.get_vec(b"third", &mut out).unwrap(), None);
    writer.publish_committed(b"second", None, stamp(4)).unwrap();
    writer.publish_committed(b"third", Some(&value), stamp(5)).unwrap();
}

#[test]
fn a_new_epoch_takes_the_place_of_the_same_sequence() {
    let (mut writer, region) = Writer::plain(&config(100)).unwrap();
    let reader = Reader::plain(region).unwrap();
    let new_epoch = Stamp { epoch: Epoch(4), ..stamp(2) };
    let mut out = [0; 100];
    writer.publish_committed(b"key", Some(b"one"), stamp(1)).unwrap();
    writer.publish_tentative(b"key", Some(b"two of epoch 3"), stamp(2)).unwrap();
    writer.publish_tentative(b"key", Some(b"two of epoch 4"), new_epoch).unwrap();
    let found = reader.get(b"key", &mut out).unwrap().unwrap();
    assert_eq!((&out[..found.value_bytes], found.stamp), (&b"two of epoch 4"[..], new_epoch));
    writer.publish_committed(b"key", Some(b"two of epoch 5"), Stamp { epoch: Epoch(5), ..stamp(2) }).unwrap();
    let found = reader.get_committed(b"key", &mut out).unwrap().unwrap();
    assert_eq!((&out[..found.value_bytes], found.stamp.epoch), (&b"two of epoch 5"[..], Epoch(5)));
    assert_eq!(writer.stats().versions_used, 0);
}

#[test]
fn a_short_buffer_is_told_the_length_it_needs() {
    let (mut writer, region) = Writer::plain(&config(100)).unwrap();
    let reader = Reader::plain(region).unwrap();
    for bytes in [1, 64, 5000] {
        writer.publish_committed(b"key", Some(&vec![1; bytes]), stamp(bytes as u64)).unwrap();
        let error = reader.get(b"key", &mut vec![0; bytes - 1]).unwrap_err();
        assert_eq!(error, io_oi_shm::hot::ReadError::BufferTooSmall { value_bytes: bytes });
    }
}
