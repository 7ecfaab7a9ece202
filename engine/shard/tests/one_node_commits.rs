//! One node, one voter: from claim to committed record, and what is never given too early.

mod support;

use io_oi_consensus::Seal;
use io_oi_record::{Block, Durability, Operation, Precondition, RefusalCode, Sequence, Stage, verify};
use io_oi_shard::{Event, LogKind, PublishStage};
use support::*;

#[test]
fn nothing_but_the_claim_is_appended_before_the_claim_is_durable() {
    let mut world = World::boot();
    assert_eq!(world.kinds(), [LogKind::Claim]);
    assert!(!world.machine.is_ready());
    world.handle(Event::Elapsed);
    assert_eq!(world.kinds(), [LogKind::Claim]);
    assert_eq!(world.machine.counters().signatures, 0);
    world.flush();
    assert_eq!(world.kinds(), [LogKind::Claim, LogKind::Block]);
    assert!(world.machine.is_ready());
    assert_eq!(world.machine.counters().signatures, 1);
}

#[test]
fn the_first_record_of_an_epoch_starts_it() {
    let world = World::boot_on(1, Vec::new()).map(|mut world| {
        world.flush();
        world
    });
    let world = world.expect("an empty log is sound");
    let block = Block::decode(&world.log[1].bytes).expect("the block is whole");
    let operations: Vec<_> = block.records().map(|record| record.operation).collect();
    assert_eq!(operations, [Operation::StartEpoch]);
    assert_eq!(block.header.first_sequence, Sequence(1));
}

#[test]
fn a_put_is_shown_at_once_and_answered_after_the_flush_that_covers_it() {
    let mut world = World::leading();
    world.put(1, 1, b"key", b"value");
    let tentative = (PublishStage::Tentative, b"key".to_vec(), Some(b"value".to_vec()), Sequence(3));
    assert_eq!(world.shown, std::slice::from_ref(&tentative));
    assert_eq!(world.replies, []);
    world.flush();
    let committed = (PublishStage::Committed, tentative.1.clone(), tentative.2.clone(), tentative.3);
    assert_eq!(world.shown, [tentative, committed]);
    let receipt = world.only_reply();
    assert!(receipt.is_accepted());
    assert_eq!((receipt.sequence, receipt.stage), (Sequence(3), Stage::Committed));
    assert_eq!(receipt.durability, Durability::DiskQuorum);
}

#[test]
fn records_gather_while_a_block_is_in_flight_and_go_together() {
    let mut world = World::leading();
    for number in 1..=10 {
        world.put(1, number, b"key", b"value");
    }
    let blocks = |world: &World| world.kinds().iter().filter(|kind| **kind == LogKind::Block).count();
    let before = blocks(&world);
    world.flush();
    assert_eq!(blocks(&world), before + 1);
    assert_eq!(world.replies.len(), 1);
    world.flush();
    assert_eq!(world.replies.len(), 10);
    let last = world.log.iter().rfind(|frame| frame.kind == LogKind::Block).expect("blocks were appended");
    assert_eq!(Block::decode(&last.bytes).expect("the block is whole").header.record_count, 9);
}

#[test]
fn every_block_gets_a_seal_that_verifies_and_stands_behind_it() {
    let mut world = World::leading();
    for number in 1..=5 {
        world.put(1, number, b"key", b"value");
        world.flush();
    }
    world.close();
    world.settle();
    let mut unsealed = std::collections::VecDeque::new();
    for frame in &world.log {
        match frame.kind {
            LogKind::Block => unsealed.push_back(Block::decode(&frame.bytes).expect("whole").header),
            LogKind::Seal => {
                let seal = Seal::decode(&frame.bytes).expect("whole");
                let header = unsealed.pop_front().expect("a seal stands behind its block");
                assert_eq!(seal.header_hash, header.hash());
                assert_eq!(verify(&header, &seal.signature), Ok(()));
            }
            _ => {}
        }
    }
    assert!(unsealed.is_empty());
}

#[test]
fn a_failed_precondition_takes_a_place_but_writes_nothing() {
    let mut world = World::leading();
    world.put(1, 1, b"key", b"one");
    world.submit(1, &put_if(2, b"key", b"two", Precondition::Absent));
    world.settle();
    let receipts = world.take_replies();
    assert_eq!(refused(&receipts[1]), Some(RefusalCode::PreconditionFailed));
    assert_eq!(receipts[1].sequence, Sequence(4));
    assert!(world.shown.iter().all(|(.., sequence)| *sequence != Sequence(4))); // [P-66]
    assert_eq!(world.committed[&b"key".to_vec()].1.as_deref(), Some(&b"one"[..]));
}

#[test]
fn each_durability_is_answered_at_its_own_point_and_not_before() {
    let mut world = World::leading();
    world.put(1, 1, b"key", b"in the way of the next block");
    world.submit(1, &put_at(2, b"key", b"value", Durability::Local));
    assert_eq!(world.only_reply().stage, Stage::Judged);
    world.submit(1, &put_at(3, b"key", b"value", Durability::MemQuorum));
    assert_eq!(world.only_reply().stage, Stage::Replicated);
    world.submit(1, &put_at(4, b"key", b"value", Durability::DiskQuorum));
    world.submit(1, &put_at(5, b"key", b"value", Durability::Certified));
    world.flush(); // the block in the way
    assert_eq!(world.only_reply().session_sequence.0, 1);
    let through_block = world.log.iter().rposition(|frame| frame.kind == LogKind::Block).expect("appended");
    world.flush_through((through_block + 1) as u64);
    let receipt = world.only_reply();
    assert_eq!((receipt.session_sequence.0, receipt.durability), (4, Durability::DiskQuorum));
    world.flush(); // its seal
    let receipt = world.only_reply();
    assert_eq!((receipt.session_sequence.0, receipt.durability), (5, Durability::Certified));
}
