//! Every interleaving (up to a bound of preemptions) of a hot table's writer and a reader of the same entry.
#![cfg(loom)]

use io_oi_shm::HashSeed;
use io_oi_shm::hot::{Config, Epoch, ReadError, Reader, Sequence, Stage, Stamp, Writer};
use io_oi_shm::lane::{self, ClientLane, NodeLane};
use loom::thread;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

fn table() -> (Writer, Reader) {
    let config = Config {
        entries_max: 1,
        large_bytes_max: 256,
        versions_max: 4,
        seed: HashSeed::new([1; 16]),
        ..Config::default()
    };
    let (writer, region) = Writer::plain(&config).unwrap();
    let reader = Reader::plain(region).unwrap();
    (writer, reader)
}

fn stamp(sequence: u64) -> Stamp {
    Stamp { sequence: Sequence(sequence), epoch: Epoch(1), time_ns: sequence }
}

/// The sequence found, after checking that everything belongs together; 0 when absent. `None` when the reader gave
/// up, which the model's short patience makes it do.
fn sequence_of(answer: Result<Option<io_oi_shm::hot::Found>, ReadError>, out: &[u8; 8]) -> Option<u64> {
    match answer {
        Err(ReadError::Stalled) => None,
        Err(error) => panic!("{error}"),
        Ok(None) => Some(0),
        Ok(Some(found)) => {
            assert_eq!(found.stamp, stamp(found.stamp.sequence.0), "a stamp was mixed");
            assert_eq!(*out, found.stamp.sequence.0.to_le_bytes(), "a value was torn or mixed");
            Some(found.stamp.sequence.0)
        }
    }
}

#[test]
fn a_read_beside_an_update_is_whole_and_never_goes_back() {
    check(|| {
        let (mut writer, reader) = table();
        writer.publish_committed(b"k", Some(&1u64.to_le_bytes()), stamp(1)).unwrap();
        let updater = thread::spawn(move || {
            writer.publish_committed(b"k", Some(&2u64.to_le_bytes()), stamp(2)).unwrap();
        });
        let mut out = [0; 8];
        let first = sequence_of(reader.get(b"k", &mut out), &out);
        let second = sequence_of(reader.get(b"k", &mut out), &out);
        assert!(first != Some(0) && second != Some(0), "a present key was missed");
        if let (Some(first), Some(second)) = (first, second) {
            assert!(first <= second, "a version went back");
        }
        updater.join().unwrap();
        assert_eq!(sequence_of(reader.get(b"k", &mut out), &out), Some(2));
    });
}

#[test]
fn the_committed_version_stays_readable_while_a_newer_one_comes_and_is_decided() {
    check(|| {
        let (mut writer, reader) = table();
        writer.publish_committed(b"k", Some(&1u64.to_le_bytes()), stamp(1)).unwrap();
        let decider = thread::spawn(move || {
            writer.publish_tentative(b"k", Some(&2u64.to_le_bytes()), stamp(2)).unwrap();
            writer.publish_committed(b"k", Some(&2u64.to_le_bytes()), stamp(2)).unwrap();
        });
        let mut out = [0; 8];
        let answer = reader.get_committed(b"k", &mut out);
        if let Ok(Some(found)) = answer {
            assert_eq!(found.stage, Stage::Committed);
        }
        assert_ne!(sequence_of(answer, &out), Some(0), "a committed key was missed");
        decider.join().unwrap();
    });
}

/// "a" is deleted and "b" gets its slot while `key` is read; `right` are the sequences that may be found.
fn read_while_a_slot_changes_hands(key: &'static [u8], right: [u64; 2]) {
    check(move || {
        let (mut writer, reader) = table();
        writer.publish_committed(b"a", Some(&1u64.to_le_bytes()), stamp(1)).unwrap();
        let changer = thread::spawn(move || {
            writer.publish_committed(b"a", None, stamp(2)).unwrap();
            writer.publish_committed(b"b", Some(&3u64.to_le_bytes()), stamp(3)).unwrap();
        });
        let mut out = [0; 8];
        let found = sequence_of(reader.get(key, &mut out), &out);
        assert!(found.is_none_or(|found| right.contains(&found)), "another key's value came back: {found:?}");
        changer.join().unwrap();
        assert_eq!(sequence_of(reader.get(b"b", &mut out), &out), Some(3));
    });
}

#[test]
fn a_deleted_key_is_never_taken_for_the_one_that_got_its_slot() {
    read_while_a_slot_changes_hands(b"b", [0, 3]);
}

#[test]
fn a_key_that_got_a_slot_is_never_taken_for_the_deleted_one() {
    read_while_a_slot_changes_hands(b"a", [0, 1]);
}

#[test]
fn a_key_that_stays_is_never_missed_while_its_neighbours_come_and_go() {
    check(|| {
        let (mut writer, reader) = table();
        // Homes are pairs of slots and there is only one pair: all keys crowd it, the third goes to the stash.
        writer.publish_committed(b"a", Some(&1u64.to_le_bytes()), stamp(1)).unwrap();
        writer.publish_committed(b"k", Some(&2u64.to_le_bytes()), stamp(2)).unwrap();
        let changer = thread::spawn(move || {
            writer.publish_committed(b"a", None, stamp(3)).unwrap();
            writer.publish_committed(b"b", Some(&4u64.to_le_bytes()), stamp(4)).unwrap();
        });
        let mut out = [0; 8];
        let found = sequence_of(reader.get(b"k", &mut out), &out);
        assert!(matches!(found, None | Some(2)), "a present key was missed");
        changer.join().unwrap();
    });
}

/// Slot 0 is taken: the new key stands beside its home, so the reader may need the link; then it is updated, so that
/// the reader may meet the slot locked.
#[test]
fn a_key_once_seen_is_not_missed_later() {
    check(|| {
        let (mut writer, reader) = table();
        writer.publish_committed(b"a", Some(&1u64.to_le_bytes()), stamp(1)).unwrap();
        let changer = thread::spawn(move || {
            writer.publish_committed(b"k", Some(&2u64.to_le_bytes()), stamp(2)).unwrap();
            writer.publish_committed(b"k", Some(&3u64.to_le_bytes()), stamp(3)).unwrap();
        });
        let mut out = [0; 8];
        let first = sequence_of(reader.get(b"k", &mut out), &out);
        let second = sequence_of(reader.get(b"k", &mut out), &out);
        if let (Some(first), Some(second)) = (first, second) {
            assert!(first <= second, "{first} was seen before {second}");
        }
        changer.join().unwrap();
    });
}

#[test]
fn a_key_once_gone_does_not_show_again() {
    check(|| {
        let (mut writer, reader) = table();
        writer.publish_committed(b"a", Some(&1u64.to_le_bytes()), stamp(1)).unwrap();
        writer.publish_committed(b"k", Some(&2u64.to_le_bytes()), stamp(2)).unwrap();
        let changer = thread::spawn(move || {
            writer.publish_committed(b"k", Some(&3u64.to_le_bytes()), stamp(3)).unwrap();
            writer.publish_committed(b"k", None, stamp(4)).unwrap();
        });
        let mut out = [0; 8];
        let first = sequence_of(reader.get(b"k", &mut out), &out);
        let second = sequence_of(reader.get(b"k", &mut out), &out);
        assert!(
            first != Some(0) || matches!(second, None | Some(0)),
            "a deleted key came back as {second:?}"
        );
        changer.join().unwrap();
    });
}

#[test]
fn a_stashed_key_is_found_or_absent_but_never_another() {
    check(|| {
        let (mut writer, reader) = table();
        writer.publish_committed(b"a", Some(&1u64.to_le_bytes()), stamp(1)).unwrap();
        writer.publish_committed(b"b", Some(&2u64.to_le_bytes()), stamp(2)).unwrap();
        let changer = thread::spawn(move || {
            writer.publish_committed(b"c", Some(&3u64.to_le_bytes()), stamp(3)).unwrap();
            assert_eq!(writer.stats().stashed, 1);
            writer.publish_committed(b"c", None, stamp(4)).unwrap();
        });
        let mut out = [0; 8];
        let found = sequence_of(reader.get(b"c", &mut out), &out);
        assert!(matches!(found, None | Some(0 | 3)));
        changer.join().unwrap();
        assert_eq!(reader.get(b"c", &mut out), Ok(None));
    });
}

#[test]
fn a_pinned_block_is_not_reused_while_it_is_looked_at() {
    check(|| {
        let (mut writer, reader) = table();
        let (node, region) = NodeLane::plain(&lane_config()).unwrap();
        let client = ClientLane::plain(region).unwrap();
        writer.add_pins(node.pins.clone());
        writer.publish_committed(b"k", Some(&[1; 17]), stamp(1)).unwrap();
        let updater = thread::spawn(move || {
            // The second update would get the block of the first version.
            writer.publish_committed(b"k", Some(&[2; 17]), stamp(2)).unwrap();
            writer.publish_committed(b"k", Some(&[3; 17]), stamp(3)).unwrap();
        });
        match reader.view(b"k", &client.pins) {
            Err(error) => assert_eq!(error, ReadError::Stalled),
            Ok(view) => {
                let view = view.expect("a present key");
                assert!(view.is_pinned());
                assert_eq!(
                    view.bytes(),
                    [view.stamp().sequence.0 as u8; 17],
                    "the block was reused under a view"
                );
            }
        }
        updater.join().unwrap();
    });
}

fn lane_config() -> lane::Config {
    lane::Config {
        proposal_ring_bytes: 64,
        proposal_frame_bytes_max: 8,
        receipt_ring_bytes: 64,
        receipt_frame_bytes_max: 8,
        incarnation: 1,
        shard: 0,
    }
}
