//! Recovery: what the log proves, what it does not, and what it must not say.

mod support;

use io_oi_consensus::{EpochClaim, LogWhole, RecoverError as LogError, Seal};
use io_oi_record::{
    Block, BlockBuilder, BlockHeader, Effects, Epoch, HeaderParts, Nanos, Now, Operation, Record, Sequence,
    SessionSequence, Verdict,
};
use io_oi_shard::{Config, Event, LogKind, Lost, Machine, MuteReason, PastLost, PublishStage, RecoverError};
use proptest::prelude::*;
use support::*;

/// A log of two boots with a few puts in each, every block flushed on its own and sealed: every byte is covered.
fn log_of_two_boots() -> Vec<Frame> {
    let mut world = World::leading();
    for number in 1..=6 {
        world.put(1, number, &[number as u8], b"first boot");
        world.flush();
    }
    world.close();
    world.settle();
    let mut world = World::boot_on(2, world.log).expect("sound");
    world.settle();
    for number in 7..=9 {
        world.put(1, number, &[number as u8], b"second boot");
        world.flush();
    }
    world.close();
    world.settle();
    world.log
}

fn recover(log: &[Frame]) -> Result<World, RecoverError> {
    World::boot_on(3, log.to_vec())
}

#[test]
fn every_prefix_of_a_log_is_read_back_and_continued() {
    let log = log_of_two_boots();
    for length in 0..=log.len() {
        let mut world = recover(&log[..length]).expect("a prefix of a sound log is sound");
        world.settle();
        world.open(7);
        world.put(7, 1, b"k", b"goes on");
        world.settle();
        let keys: Vec<_> = world.committed.keys().filter(|key| key.as_slice() != b"k").collect();
        let puts = log[..length].iter().filter(|frame| frame.kind == LogKind::Block);
        let puts: usize = puts
            .map(|frame| Block::decode(&frame.bytes).expect("whole"))
            .map(|block| block.records().filter(|record| record.operation == Operation::Put).count())
            .sum();
        assert_eq!(keys.len(), puts, "prefix of {length} entries");
        assert_eq!(world.committed[&b"k".to_vec()].1.as_deref(), Some(&b"goes on"[..]));
    }
}

/// Damaged twice, and nothing behind the newest damage says what stood there: only the note that names its mark says that
/// nothing is missing. [P-46]
#[test]
fn a_repaired_log_waits_until_a_note_names_its_mark() {
    let node = signer().node();
    let whole = |mark| LogWhole { cluster: CLUSTER, shard: SHARD, node, epoch: Epoch(9), mark };
    let boot_with = |notes: &[LogWhole]| {
        let genesis = genesis_of(&[node]);
        let lost = Some(Lost { sequence: Sequence::NONE, mark: 40 });
        let mut machine = Machine::new(Config { lost, ..config_of(2, &genesis) }).expect("sound");
        for note in notes {
            machine.recover_frame(LogKind::Whole, &note.encode()).expect("sound");
        }
        machine.start(Now::at(Nanos(1_700_000_000_000_000_000)));
        (machine.is_repairing(), machine.epoch())
    };
    assert_eq!(boot_with(&[]), (true, Epoch::NONE), "it does not even stand alone");
    assert_eq!(boot_with(&[whole(12)]), (true, Epoch::NONE), "that was an earlier damage");
    let (is_repairing, epoch) = boot_with(&[whole(12), whole(40)]);
    assert!(!is_repairing && epoch > Epoch(9), "the note closes what was promised before: {epoch}");
}

#[test]
fn the_tail_is_tentative_until_the_new_epoch_commits() {
    let mut world = World::leading();
    world.put(1, 1, b"a", b"1");
    world.flush();
    world.put(1, 2, b"b", b"2");
    let world_log = world.log;
    let mut world = World::boot_on(2, world_log).expect("sound");
    let stages = |world: &World, key: &[u8]| -> Vec<PublishStage> {
        world.shown.iter().filter(|shown| shown.1 == key).map(|shown| shown.0).collect()
    };
    assert_eq!(stages(&world, b"b"), [PublishStage::Tentative]); // [P-71]
    assert!(!world.committed.contains_key(b"b".as_slice()));
    world.settle();
    assert_eq!(stages(&world, b"b"), [PublishStage::Tentative, PublishStage::Committed]);
    assert_eq!(world.machine.epoch(), Epoch(2));
}

#[test]
fn what_the_log_proves_to_be_committed_is_shown_so_before_anything_is_claimed() {
    let log = log_of_two_boots();
    let mut world = World::recovering(3);
    for frame in &log {
        world.machine.recover_frame(frame.kind, &frame.bytes).expect("sound");
        world.drain();
    }
    assert!(world.shown.iter().all(|shown| shown.0 == PublishStage::Committed));
    assert!(world.committed.contains_key([6].as_slice()), "{:?}", world.committed.keys());
    assert!(!world.committed.contains_key([9].as_slice()), "nothing behind it proves its commit"); // [P-55]
}

#[test]
fn unsealed_blocks_of_a_dead_epoch_are_covered_by_the_next_sealed_header() {
    let mut world = World::leading();
    for number in 1..=3 {
        world.put(1, number, b"key", b"value");
    }
    let mut log = world.log;
    log.retain(|frame| frame.kind != LogKind::Seal);
    let mut world = World::boot_on(2, log).expect("seals may be missing behind a crash");
    world.settle();
    world.close();
    world.settle();
    let last_block = world.log.iter().rfind(|frame| frame.kind == LogKind::Block).expect("appended");
    let header = Block::decode(&last_block.bytes).expect("whole").header;
    let seal = Seal::decode(&world.log.last().expect("appended").bytes).expect("a seal is last");
    assert_eq!((seal.header_hash, header.epoch), (header.hash(), Epoch(2))); // [P-43]
    assert!(World::boot_on(3, world.log).is_ok());
}

#[test]
fn a_log_with_an_entry_missing_is_not_continued() {
    let log = log_of_two_boots();
    for missing in 0..log.len() - 1 {
        let mut broken = log.clone();
        let removed = broken.remove(missing);
        // A block without a seal of its own is covered by the next sealed header. [P-43]
        // A claim that is missing shows in the blocks behind it: the log is read, and its node stays silent. [P-44]
        let is_read = matches!(removed.kind, LogKind::Seal | LogKind::Claim);
        assert_eq!(recover(&broken).is_ok(), is_read, "without entry {missing}, a {:?}", removed.kind);
        if removed.kind == LogKind::Claim {
            let world = World::boot_on(3, broken).expect("it was just read");
            assert!(
                matches!(world.machine.mute(), Some(MuteReason::PastLost(PastLost::Claim { .. }))),
                "entry {missing}"
            );
            assert!(!world.machine.is_leading() && !world.machine.is_ready());
        }
    }
}

#[test]
fn a_forged_seal_is_refused() {
    let mut log = log_of_two_boots();
    let seal = log.iter_mut().find(|frame| frame.kind == LogKind::Seal).expect("sealed");
    seal.bytes[100] ^= 1;
    assert!(matches!(recover(&log).err(), Some(RecoverError::Log(LogError::SealForged { .. }))));
}

#[test]
fn a_block_of_another_node_s_directory_is_refused() {
    let mut log = log_of_two_boots();
    let mut claim = EpochClaim::decode(&log[0].bytes).expect("a claim is first");
    claim.node.0[0] ^= 1;
    log[0].bytes = claim.encode().to_vec();
    assert!(matches!(recover(&log).err(), Some(RecoverError::Log(LogError::WrongGroup { .. }))));
}

/// The log of a fresh leader, followed by one block of `records` that fits the chain in every other respect.
fn with_block(records: &[Record<'_>]) -> Vec<Frame> {
    let mut log = World::leading().log;
    let last = log.iter().rfind(|frame| frame.kind == LogKind::Block).expect("appended");
    let header: BlockHeader = Block::decode(&last.bytes).expect("whole").header;
    let mut builder = BlockBuilder::new();
    for record in records {
        builder.push(record).expect("fits");
    }
    builder.seal(HeaderParts {
        cluster: header.cluster,
        shard: header.shard,
        epoch: header.epoch,
        parent: header.hash(),
        arbitrators: header.arbitrators,
        time: header.time.saturating_add(1),
        leader: header.leader,
    });
    log.push(Frame { kind: LogKind::Block, bytes: builder.bytes().to_vec() });
    log
}

fn record(sequence: u64, counter: u32, session_sequence: u64) -> Record<'static> {
    let proposal = put(session_sequence, b"key", b"value");
    Record::of(Sequence(sequence), session(counter), &proposal, Verdict::Accept)
}

#[test]
fn a_log_that_breaks_its_own_sessions_is_not_continued() {
    assert!(recover(&with_block(&[record(3, 1, 1), record(4, 1, 2)])).is_ok());
    let broken = |records: &[Record<'_>]| recover(&with_block(records)).err();
    let at = |sequence| Some(RecoverError::SessionBroken { sequence: Sequence(sequence) });
    assert_eq!(broken(&[record(3, 1, 1), record(4, 1, 1)]), at(4), "the same number twice"); // [P-60]
    assert_eq!(broken(&[record(3, 1, 2), record(4, 1, 1)]), at(4), "a number that goes back");
    assert_eq!(broken(&[record(3, 2, 1)]), at(3), "a session that was never opened");
}

#[test]
fn a_start_record_stands_only_at_the_beginning_of_an_epoch() {
    let start = Record {
        operation: Operation::StartEpoch,
        session_sequence: SessionSequence::NONE,
        key: b"",
        value: b"",
        ..record(3, 0, 0)
    };
    let misplaced = Some(RecoverError::StartMisplaced { sequence: Sequence(3) });
    assert_eq!(recover(&with_block(&[start])).err(), misplaced); // [P-25]
}

#[test]
fn what_an_arbitrator_wrote_together_with_a_record_is_read_back() {
    let effects = Effects::check(b"\x01\0\0\0\x01\0\0\0kv").expect("one write");
    let record = Record { verdict: Verdict::AcceptWithWrites, effects, ..record(3, 1, 1) };
    assert!(recover(&with_block(&[record])).is_ok());
}

#[test]
fn a_group_without_its_quorum_serves_what_it_has_and_takes_nothing() {
    let others = [1, 2].map(|byte| io_oi_record::NodeId([byte; 32]));
    let mut world = World::leading();
    world.put(1, 1, b"key", b"value");
    world.settle();
    let log = world.log;
    let mut world = World::recovering(2);
    world.machine = machine_of(2, &[signer().node(), others[0], others[1]]);
    for frame in &log {
        world.machine.recover_frame(frame.kind, &frame.bytes).expect("sound");
        world.drain();
    }
    world.recovered = log.len();
    world.log = log;
    world.machine.start(io_oi_record::Now::at(world.now));
    world.drain();
    world.settle();
    assert!(!world.machine.is_leading()); // [P-24]
    world.submit_anyway(1, &put(2, b"key", b"value"));
    assert_eq!(world.replies, [], "it waits for a leader [P-68]");
    world.submit_anyway(1, &put(1, b"key", b"value"));
    assert_eq!(world.replies, [], "durable, but not known to be committed");
    assert!(world.newest.contains_key(b"key".as_slice()), "shown, at least as tentative");
    world.handle(Event::Received { from: others[0], bytes: b"anything" });
    assert_eq!(world.machine.counters().messages_refused, 1); // [P-80]
}

fn kind() -> impl Strategy<Value = LogKind> {
    prop_oneof![Just(LogKind::Claim), Just(LogKind::Block), Just(LogKind::Seal)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_bytes_are_an_error_and_never_a_crash(
        kind in kind(),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut log = World::leading().log;
        log.push(Frame { kind, bytes });
        prop_assert!(recover(&log).is_err());
    }

    #[test]
    fn a_changed_byte_anywhere_is_an_error_or_silences_the_node_and_never_a_crash(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut log = log_of_two_boots();
        let bytes: usize = log.iter().map(|frame| frame.bytes.len()).sum();
        let mut at = at.index(bytes);
        for frame in &mut log {
            if at < frame.bytes.len() {
                frame.bytes[at] ^= 1 << bit;
                break;
            }
            at -= frame.bytes.len();
        }
        // A claim that names another epoch leaves our own blocks without one: read, and silent. [P-44]
        prop_assert!(recover(&log).map_or(true, |world| world.machine.mute().is_some()));
    }

    #[test]
    fn entries_in_any_order_are_an_error_or_sound_and_never_a_crash(
        order in Just((0..log_of_two_boots().len()).collect::<Vec<_>>()).prop_shuffle(),
        kinds in prop::collection::vec(kind(), 40),
    ) {
        let log = log_of_two_boots();
        let shuffled: Vec<Frame> = order.iter().map(|place| log[*place].clone()).collect();
        prop_assert_eq!(recover(&shuffled).is_ok(), shuffled == log);
        let relabelled = log.iter().zip(kinds).map(|(frame, kind)| Frame { kind, ..frame.clone() });
        let relabelled: Vec<Frame> = relabelled.collect();
        prop_assert_eq!(recover(&relabelled).is_ok(), relabelled == log);
    }
}
