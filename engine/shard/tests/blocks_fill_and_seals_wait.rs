//! Full blocks, a full pipeline, quiet shards, clocks that go back, and closing.

mod support;

use io_oi_record::limits::{BLOCK_BYTES_MAX, BLOCK_RECORDS_MAX, BLOCKS_IN_FLIGHT_MAX, VALUE_BYTES_MAX};
use io_oi_record::{Block, Durability, Nanos, RefusalCode};
use io_oi_shard::{Event, LogKind};
use support::*;

fn blocks(world: &World) -> Vec<Block<'_>> {
    let frames = world.log.iter().filter(|frame| frame.kind == LogKind::Block);
    frames.map(|frame| Block::decode(&frame.bytes).expect("whole")).collect()
}

/// The newest entry of the log that is no certificate.
fn last_kind(world: &World) -> Option<LogKind> {
    world.kinds().into_iter().rfind(|kind| *kind != LogKind::Certificate)
}

#[test]
fn a_full_pipeline_stops_taking_proposals_until_a_flush_and_loses_none() {
    let mut world = World::leading();
    let before = blocks(&world).len();
    let value = vec![5; 60 * 1024];
    let mut number = 0;
    while world.machine.is_ready() {
        number += 1;
        world.put(1, number, b"key", &value);
        assert!(number < 100, "three blocks of a megabyte do not hold six megabytes");
    }
    let in_flight = &blocks(&world)[before..];
    assert_eq!(in_flight.len(), BLOCKS_IN_FLIGHT_MAX); // [P-55]
    assert!(
        in_flight[1].header.block_bytes() > BLOCK_BYTES_MAX - 70 * 1024,
        "the second went because it was full"
    );
    assert!(!world.machine.is_ready());
    let unflushed = world.log.len() - world.unflushed() as usize..;
    let place = world.log[unflushed].iter().position(|frame| frame.kind == LogKind::Block);
    world.flush_through(world.durable + 1 + place.expect("blocks are in flight") as u64);
    assert!(world.machine.is_ready(), "one block less in flight");
    world.settle();
    assert_eq!(world.replies.len() as u64, number);
    assert!(world.replies.iter().all(|(_, receipt)| receipt.is_accepted()));
}

#[test]
fn a_block_never_holds_more_than_its_limit_of_records() {
    let mut world = World::leading();
    let before = blocks(&world).len();
    for number in 1..=BLOCK_RECORDS_MAX as u64 + 10 {
        world.put(1, number, b"k", b"");
    }
    world.settle();
    let counts: Vec<_> = blocks(&world)[before..].iter().map(|block| block.header.record_count).collect();
    assert_eq!(counts, [1, BLOCK_RECORDS_MAX as u32, 9]);
}

#[test]
fn a_quiet_shard_appends_its_last_seal_when_told_that_time_went_by() {
    let mut world = World::leading();
    world.put(1, 1, b"key", b"value");
    world.settle();
    assert_eq!(last_kind(&world).as_ref(), Some(&LogKind::Block));
    world.handle(Event::Elapsed);
    assert_eq!(last_kind(&world).as_ref(), Some(&LogKind::Block), "too early");
    let mut wakes = 0;
    while let Some(at) = world.wake_at.take() {
        world.now = world.now.max(at);
        world.handle(Event::Elapsed);
        world.settle();
        wakes += 1;
        assert!(wakes < 10, "a quiet machine comes to rest");
    }
    assert_eq!(last_kind(&world).as_ref(), Some(&LogKind::Seal));
    world.handle(Event::Elapsed);
    assert_eq!(world.wake_at, None, "nothing is left to wake for");
}

#[test]
fn a_clock_that_was_set_back_does_not_hold_the_last_seal_for_long() {
    let mut world = World::leading();
    world.put(1, 1, b"key", b"value");
    world.settle();
    world.now = Nanos(1_000);
    world.handle(Event::Elapsed);
    let at = world.wake_at.expect("a quiet machine asks to be woken");
    assert!(at < Nanos(1_000_000_000), "within the bound of the new clock, not of the old one");
    world.now = at;
    world.handle(Event::Elapsed);
    assert_eq!(last_kind(&world).as_ref(), Some(&LogKind::Seal));
}

#[test]
fn a_clock_that_was_set_back_never_lets_block_times_go_back() {
    let mut world = World::leading();
    for number in 1..=3 {
        world.now = Nanos(5);
        world.put(1, number, b"key", b"value");
        world.settle();
    }
    let times: Vec<_> = blocks(&world).iter().map(|block| block.header.time).collect();
    assert!(times.is_sorted() && times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}"); // [P-32]
}

#[test]
fn a_seal_goes_with_the_next_block_and_in_front_of_it() {
    let mut world = World::leading();
    let before = world.log.len();
    for number in 1..=3 {
        world.put(1, number, b"key", b"value");
        world.flush();
    }
    let kinds = &world.kinds()[before..];
    assert_eq!(kinds[..4], [LogKind::Seal, LogKind::Block, LogKind::Seal, LogKind::Block], "{kinds:?}");
}

#[test]
fn closing_brings_everything_taken_to_disk_and_takes_nothing_more() {
    let mut world = World::leading();
    for number in 1..=5 {
        world.submit(1, &put_at(number, b"key", b"value", Durability::Certified));
    }
    world.close();
    assert!(!world.machine.is_ready() && !world.machine.is_closed());
    world.submit_anyway(1, &put(6, b"key", b"value"));
    assert_eq!(refused(&world.only_reply()), Some(RefusalCode::ShuttingDown));
    world.settle();
    assert!(world.machine.is_closed() && world.machine.is_idle());
    assert_eq!(world.take_replies().len(), 5);
    assert_eq!(last_kind(&world).as_ref(), Some(&LogKind::Seal));
}

#[test]
fn a_machine_closed_before_its_claim_was_durable_still_closes() {
    let mut world = World::boot();
    world.close();
    world.settle();
    assert!(world.machine.is_closed());
    assert!(World::boot_on(2, world.log).is_ok());
}

#[test]
fn what_stands_in_a_ring_together_goes_to_the_disk_together() {
    let mut world = World::leading();
    let before = blocks(&world).len();
    world.machine.gather(true);
    for number in 1..=5 {
        world.put(1, number, b"key", b"value");
    }
    assert_eq!(blocks(&world).len(), before, "the block waits for what is at hand");
    world.machine.gather(false);
    world.drain();
    let appended = blocks(&world);
    assert_eq!(appended.len(), before + 1);
    assert_eq!(appended.last().expect("a block").header.record_count, 5);
    world.settle();
    assert_eq!(world.take_replies().len(), 5);
}

#[test]
fn a_full_block_does_not_wait_for_what_is_at_hand() {
    let mut world = World::leading();
    world.machine.gather(true);
    let value = vec![7; VALUE_BYTES_MAX];
    let before = blocks(&world).len();
    for number in 1..=20 {
        world.put(1, number, b"key", &value);
    }
    assert_eq!(blocks(&world).len(), before + 1, "sixteen of the largest records are more than a block");
}
