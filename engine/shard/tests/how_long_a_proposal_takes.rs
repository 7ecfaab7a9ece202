//! Prints what one proposal costs inside the machine, without any world around it, and what reading a block back
//! costs. Asserts nothing about time.
//!
//! `cargo test --release -p io_oi_shard --test how_long_a_proposal_takes -- --nocapture`

mod support;

use std::time::Instant;

use io_oi_record::{Nanos, Now};
use io_oi_shard::{AppendIndex, Effect, Event, Machine, Origin};
use support::*;

#[test]
fn the_cost_of_a_proposal_is_printed_with_its_parts() {
    let proposals: u64 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
    for batch in [1, 16, 64, 1024] {
        let mut machine = machine(1);
        let mut appended = 0;
        machine.start(Now::at(Nanos(1)));
        drain(&mut machine, &mut appended);
        flush(&mut machine, appended, &mut appended);
        machine.handle(Now::at(Nanos(2)), Event::open_session(session(1)));
        drain(&mut machine, &mut appended);
        let session = session(1); // Making one derives a key: not part of what is measured.
        let begun = Instant::now();
        let mut replies = 0;
        let count = if batch == 1 { proposals / 20 } else { proposals };
        for number in 1..=count {
            let proposal = put(number, b"sixteen byte key", &[7; 64]);
            machine.handle(
                Now::at(Nanos(number)),
                Event::Submitted { origin: Origin::Client, session, proposal },
            );
            replies += drain(&mut machine, &mut appended);
            if number % batch == 0 || !machine.is_ready() {
                replies += flush(&mut machine, appended, &mut appended);
            }
        }
        while !machine.is_idle() {
            replies += flush(&mut machine, appended, &mut appended);
        }
        let ns = begun.elapsed().as_nanos() as u64 / count;
        let blocks = machine.counters().blocks;
        println!("flush after {batch:>4} proposals: {ns} ns each, {blocks} blocks, signatures included");
        assert!(replies >= count);
    }
}

fn flush(machine: &mut Machine, through: u64, appended: &mut u64) -> u64 {
    machine.handle(Now::at(Nanos(3)), Event::Durable { through: AppendIndex(through) });
    drain(machine, appended)
}

fn drain(machine: &mut Machine, appended: &mut u64) -> u64 {
    let mut replies = 0;
    loop {
        match machine.poll_effect() {
            None => return replies,
            Some(Effect::Judge { sequence, .. }) => machine.handle(Now::at(Nanos(3)), accept(sequence)),
            Some(Effect::Append { index, .. }) => *appended = index.0,
            Some(Effect::Reply { .. }) => replies += 1,
            Some(_) => {}
        }
    }
}

#[test]
fn the_cost_of_reading_a_log_back_is_printed() {
    let blocks: u64 = if cfg!(debug_assertions) { 300 } else { 10_000 };
    let mut world = World::leading();
    for number in 1..=blocks {
        world.put(1, number, b"sixteen byte key", &[7; 64]);
        world.flush();
    }
    let mut machine = machine(2);
    let begun = Instant::now();
    for frame in &world.log {
        machine.recover_frame(frame.kind, &frame.bytes).expect("sound");
        while machine.poll_effect().is_some() {}
    }
    println!(
        "reading back: {} ns per sealed block of one record",
        begun.elapsed().as_nanos() as u64 / blocks
    );
    assert!(machine.committed().0 >= blocks);
}
