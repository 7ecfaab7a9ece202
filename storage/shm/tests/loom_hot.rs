//! Interleavings of a hot table's writer and a reader of the same entry, and the stale values that each load may see.
//!
//! One preemption at any place, and ten seconds for each model, which most need not. For more:
//! `LOOM_MAX_PREEMPTIONS=2 LOOM_MAX_DURATION=3600`.
#![cfg(loom)]

use io_oi_shm::HashSeed;
use io_oi_shm::hot::{Config, Epoch, ReadError, Reader, Sequence, Stage, Stamp, Writer};
use io_oi_shm::lane::{self, ClientLane, NodeLane};
use loom::thread;
use std::time::Duration;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(1));
    builder.max_duration = builder.max_duration.or(Some(Duration::from_secs(10)));
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

/// Runs `write` in this thread and `read` in another. The reader is the spawned one, because loom lets spawned threads
/// wait first: it then finds an interleaving at every store that the reader's loads depend on.
fn side_by_side<T: Send + 'static>(
    (mut writer, reader): (Writer, Reader),
    write: impl FnOnce(&mut Writer),
    read: impl FnOnce(&Reader) -> T + Send + 'static,
) -> (Writer, Reader, T) {
    let reading = thread::spawn(move || {
        let seen = read(&reader);
        (reader, seen)
    });
    write(&mut writer);
    let (reader, seen) = reading.join().unwrap();
    (writer, reader, seen)
}

fn put(writer: &mut Writer, key: &[u8], sequence: u64) {
    writer.publish_committed(key, Some(&sequence.to_le_bytes()), stamp(sequence)).unwrap();
}

fn delete(writer: &mut Writer, key: &[u8], sequence: u64) {
    writer.publish_committed(key, None, stamp(sequence)).unwrap();
}

fn get(reader: &Reader, key: &[u8]) -> Option<u64> {
    let mut out = [0; 8];
    sequence_of(reader.get(key, &mut out), &out)
}

#[test]
fn a_read_beside_an_update_is_whole_and_never_goes_back() {
    check(|| {
        let mut table = table();
        put(&mut table.0, b"k", 1);
        let (_, reader, (first, second)) = side_by_side(
            table,
            |writer| put(writer, b"k", 2),
            |reader| (get(reader, b"k"), get(reader, b"k")),
        );
        assert!(first != Some(0) && second != Some(0), "a present key was missed");
        if let (Some(first), Some(second)) = (first, second) {
            assert!(first <= second, "a version went back");
        }
        assert_eq!(get(&reader, b"k"), Some(2));
    });
}

#[test]
fn the_committed_version_stays_readable_while_a_newer_one_comes_and_is_decided() {
    check(|| {
        let mut table = table();
        put(&mut table.0, b"k", 1);
        let (writer, ..) = side_by_side(
            table,
            |writer| {
                writer.publish_tentative(b"k", Some(&2u64.to_le_bytes()), stamp(2)).unwrap();
                put(writer, b"k", 2);
            },
            |reader| {
                let mut out = [0; 8];
                let answer = reader.get_committed(b"k", &mut out);
                if let Ok(Some(found)) = answer {
                    assert_eq!(found.stage, Stage::Committed);
                }
                assert_ne!(sequence_of(answer, &out), Some(0), "a committed key was missed");
            },
        );
        assert_eq!(writer.stats().versions_used, 0);
    });
}

/// "a" is deleted and "b" gets its slot while `key` is read; `right` are the sequences that may be found.
fn read_while_a_slot_changes_hands(key: &'static [u8], right: [u64; 2]) {
    check(move || {
        let mut table = table();
        put(&mut table.0, b"a", 1);
        let change = |writer: &mut Writer| {
            delete(writer, b"a", 2);
            put(writer, b"b", 3);
        };
        let (_, reader, found) = side_by_side(table, change, |reader| get(reader, key));
        assert!(found.is_none_or(|found| right.contains(&found)), "another key's value came back: {found:?}");
        assert_eq!(get(&reader, b"b"), Some(3));
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
        let mut table = table();
        put(&mut table.0, b"a", 1);
        put(&mut table.0, b"k", 2);
        let change = |writer: &mut Writer| {
            delete(writer, b"a", 3);
            put(writer, b"b", 4);
        };
        let (_, _, found) = side_by_side(table, change, |reader| get(reader, b"k"));
        assert!(matches!(found, None | Some(2)), "a present key was missed");
    });
}

/// Slot 0 is taken: the new key stands beside its home, so the reader may need the link; then it is updated, so that
/// the reader may meet the slot locked.
#[test]
fn a_key_once_seen_is_not_missed_later() {
    check(|| {
        let mut table = table();
        put(&mut table.0, b"a", 1);
        let change = |writer: &mut Writer| {
            put(writer, b"k", 2);
            put(writer, b"k", 3);
        };
        let read = |reader: &Reader| (get(reader, b"k"), get(reader, b"k"));
        if let (_, _, (Some(first), Some(second))) = side_by_side(table, change, read) {
            assert!(first <= second, "{first} was seen before {second}");
        }
    });
}

#[test]
fn a_key_once_gone_does_not_show_again() {
    check(|| {
        let mut table = table();
        put(&mut table.0, b"a", 1);
        put(&mut table.0, b"k", 2);
        let change = |writer: &mut Writer| {
            put(writer, b"k", 3);
            delete(writer, b"k", 4);
        };
        let read = |reader: &Reader| (get(reader, b"k"), get(reader, b"k"));
        let (_, _, (first, second)) = side_by_side(table, change, read);
        let came_back = first == Some(0) && matches!(second, Some(1..));
        assert!(!came_back, "a deleted key came back as {second:?}");
    });
}

#[test]
fn a_stashed_key_is_found_or_absent_but_never_another() {
    check(|| {
        // Homes are pairs of slots and there is only one pair: the third key goes to the stash.
        let mut table = table();
        put(&mut table.0, b"a", 1);
        put(&mut table.0, b"b", 2);
        let change = |writer: &mut Writer| {
            put(writer, b"c", 3);
            assert_eq!(writer.stats().stashed, 1);
            delete(writer, b"c", 4);
        };
        let (_, reader, found) = side_by_side(table, change, |reader| get(reader, b"c"));
        assert!(matches!(found, None | Some(0 | 3)));
        assert_eq!(get(&reader, b"c"), Some(0));
    });
}

#[test]
fn a_pinned_block_is_not_reused_while_it_is_looked_at() {
    check(|| {
        let mut table = table();
        let (node, region) = NodeLane::plain(&lane_config()).unwrap();
        let client = ClientLane::plain(region).unwrap();
        table.0.add_pins(node.pins.clone());
        table.0.publish_committed(b"k", Some(&[1; 17]), stamp(1)).unwrap();
        let update = |writer: &mut Writer| {
            // The second update would get the block of the first version.
            writer.publish_committed(b"k", Some(&[2; 17]), stamp(2)).unwrap();
            writer.publish_committed(b"k", Some(&[3; 17]), stamp(3)).unwrap();
        };
        let look = move |reader: &Reader| match reader.view(b"k", &client.pins) {
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
        };
        side_by_side(table, update, look);
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

fn propose(writer: &mut Writer, key: &[u8], sequence: u64) {
    writer.publish_tentative(key, Some(&sequence.to_le_bytes()), stamp(sequence)).unwrap();
}

#[test]
fn a_withdrawn_version_does_not_show_again_and_the_committed_one_is_never_missed() {
    check(|| {
        let mut table = table();
        put(&mut table.0, b"k", 1);
        propose(&mut table.0, b"k", 2);
        propose(&mut table.0, b"k", 3);
        let withdraw = |writer: &mut Writer| {
            assert!(writer.discard_tentative(b"k", Sequence(3)));
            assert!(writer.discard_tentative(b"k", Sequence(2)));
        };
        let read = |reader: &Reader| {
            let mut out = [0; 8];
            let committed = sequence_of(reader.get_committed(b"k", &mut out), &out);
            assert!(matches!(committed, None | Some(1)), "the committed version was missed: {committed:?}");
            (get(reader, b"k"), get(reader, b"k"))
        };
        let (writer, reader, (first, second)) = side_by_side(table, withdraw, read);
        assert!(first != Some(0) && second != Some(0), "a present key was missed");
        if let (Some(first), Some(second)) = (first, second) {
            assert!(first >= second, "what was withdrawn came back: {first}, then {second}");
        }
        assert_eq!((get(&reader, b"k"), writer.stats().versions_used), (Some(1), 0));
    });
}

#[test]
fn a_key_that_is_withdrawn_altogether_is_never_taken_for_the_one_that_got_its_slot() {
    check(|| {
        let mut table = table();
        propose(&mut table.0, b"a", 1);
        let change = |writer: &mut Writer| {
            assert!(writer.discard_tentative(b"a", Sequence(1)));
            propose(writer, b"b", 2);
        };
        let (_, reader, found) = side_by_side(table, change, |reader| get(reader, b"a"));
        assert!(matches!(found, None | Some(0 | 1)), "another key's value came back: {found:?}");
        assert_eq!((get(&reader, b"a"), get(&reader, b"b")), (Some(0), Some(2)));
    });
}

#[test]
fn a_withdrawn_block_that_is_pinned_is_not_reused_while_it_is_looked_at() {
    check(|| {
        let mut table = table();
        let (node, region) = NodeLane::plain(&lane_config()).unwrap();
        let client = ClientLane::plain(region).unwrap();
        table.0.add_pins(node.pins.clone());
        table.0.publish_tentative(b"k", Some(&[1; 17]), stamp(1)).unwrap();
        let change = |writer: &mut Writer| {
            assert!(writer.discard_tentative(b"k", Sequence(1)));
            // These would get the block of the withdrawn version.
            writer.publish_tentative(b"k", Some(&[2; 17]), stamp(2)).unwrap();
            writer.publish_tentative(b"k", Some(&[3; 17]), stamp(3)).unwrap();
        };
        let look = move |reader: &Reader| match reader.view(b"k", &client.pins) {
            Err(error) => assert_eq!(error, ReadError::Stalled),
            Ok(None) => {}
            Ok(Some(view)) => {
                let sequence = view.stamp().sequence.0;
                assert_eq!(view.bytes(), [sequence as u8; 17], "the block was reused under a view");
            }
        };
        side_by_side(table, change, look);
    });
}
