//! What strangers, floods and slow readers can make an endpoint hold, counted by the allocator.
//!
//! Invariant: the bounds are those of WIRE.md, "What a peer can make us hold".

mod cable;

use allocation_counter::measure;
use cable::hostile::{Hostile, dialler, right_protocol};
use cable::{Place, World};
use io_oi_quic::memory::Datagram;
use io_oi_quic::{Lane, SendError};
use std::net::SocketAddr;

const MEBIBYTE: i64 = 1024 * 1024;

/// A first packet as quinn-proto makes it, each with its own connection id: another one than all before.
fn initials(world: &World, count: usize) -> Vec<Vec<u8>> {
    let (small, large) = (world.nodes[0], world.nodes[1]);
    world.air.record();
    for _ in 0..count {
        let mut guest = Hostile::new(world.air.bind(small.addr), None);
        guest.dial(0, &large, dialler(&small, right_protocol()));
        guest.turn(0);
    }
    let first: Vec<Vec<u8>> = world.air.take_recorded().into_iter().map(|datagram| datagram.bytes).collect();
    assert_eq!(first.len(), count);
    first
}

/// An endpoint that nobody has spoken to.
fn host(world: &World) -> Place {
    let (small, large) = (world.nodes[0], world.nodes[1]);
    world.open(&large, large.config(&[small, large]))
}

#[test]
fn a_million_spoofed_initials_from_unlisted_addresses_leave_nothing_and_get_no_answer() {
    let world = World::new(2);
    let initials = initials(&world, 8);
    let mut host = host(&world);
    let to = host.node.addr;
    cable::turn(&mut host, 1);
    world.air.record();
    let held = measure(|| {
        for number in 0..1_000_000_u32 {
            let from = SocketAddr::from((std::net::Ipv4Addr::from(0x0b00_0000 + number), 7_000));
            world.air.inject(Datagram { from, to, bytes: initials[number as usize % 8].clone() });
            if number % 32 == 31 {
                cable::turn(&mut host, u64::from(number));
            }
        }
    });
    assert_eq!(host.end.stats().strangers_ignored, 1_000_000);
    assert!(world.air.take_recorded().is_empty(), "not one byte in answer");
    assert!(held.bytes_max < MEBIBYTE as u64, "{held:?}");
    assert!(held.bytes_current < 64 * 1024, "{held:?}");
}

#[test]
fn spoofed_initials_from_a_member_s_address_leave_nothing_and_get_less_than_they_brought() {
    let world = World::new(2);
    let initials = initials(&world, 2_000);
    let mut host = host(&world);
    let (from, to) = (world.nodes[0].addr, host.node.addr);
    cable::turn(&mut host, 1);
    world.air.record();
    let mut brought = 0;
    let held = measure(|| {
        for round in 0..10_u64 {
            for (number, bytes) in initials.iter().enumerate() {
                brought += bytes.len();
                world.air.inject(Datagram { from, to, bytes: bytes.clone() });
                if number % 32 == 31 {
                    cable::turn(&mut host, round * 100_000_000 + number as u64 * 50_000);
                }
            }
        }
    });
    let answered: Vec<Datagram> = world.air.take_recorded();
    assert!(answered.iter().all(|answer| answer.to == from && answer.bytes.len() < 400));
    assert!(!answered.is_empty(), "an honest dialler among them is answered");
    let sent: usize = answered.iter().map(|answer| answer.bytes.len()).sum();
    assert!(sent * 3 < brought, "{sent} bytes for {brought}");
    assert!(answered.len() < 3_000, "{} answers to 20,000 packets in a second", answered.len());
    // The copies that this test took of the answers are in it too.
    assert!(held.bytes_current < MEBIBYTE, "{held:?}");
    assert!(held.bytes_max < 2 * MEBIBYTE as u64, "{held:?}");
}

#[test]
fn an_unknown_version_is_answered_to_members_only_and_with_less() {
    let world = World::new(2);
    let mut probe = initials(&world, 1).remove(0);
    probe[1..5].copy_from_slice(&0x6b33_43cf_u32.to_be_bytes());
    let mut host = host(&world);
    let to = host.node.addr;
    cable::turn(&mut host, 1);
    world.air.record();
    for (from, bytes) in [
        (SocketAddr::from(([11, 0, 0, 1], 7_000)), probe.clone()),
        (world.nodes[0].addr, probe[..1_199].to_vec()),
        (world.nodes[0].addr, probe.clone()),
    ] {
        world.air.inject(Datagram { from, to, bytes });
        cable::turn(&mut host, 2);
    }
    let answers = world.air.take_recorded();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].bytes.len() < 100 && answers[0].to == world.nodes[0].addr);
}

#[test]
fn a_full_lane_answers_full_takes_nothing_and_goes_on_when_the_reader_does() {
    let mut world = World::new(2);
    world.connect();
    world.place(1).takes_frames = false;
    let key = world.nodes[1].key;
    let limits = io_oi_quic::Limits::default();
    let frame = vec![3; 100_000];
    let (mut taken, mut refused) = (0_u32, 0_u32);
    let held = measure(|| {
        for _ in 0..2_000 {
            match world.place(0).end.send(&key, Lane::Bulk, &frame) {
                Ok(()) => taken += 1,
                Err(fault) => {
                    assert_eq!(fault, SendError::Full);
                    refused += 1;
                }
            }
            world.turn();
        }
    });
    assert!(refused > 1_000);
    // One window on either side, what waits on ours, and what was pulled ahead; the same again for packets in assembly.
    let bound = 2 * i64::from(limits.window_bytes) + limits.send_bytes_max as i64 + 2 * MEBIBYTE;
    assert!(held.bytes_current < bound, "{held:?}, bound {bound}");
    // The other lane is not held back by the full one.
    world.send(0, 1, Lane::Urgent, b"passes");
    assert_eq!(world.place(0).end.stats().frames_sent, u64::from(taken) + 1);
    world.run_ms(2);
    world.place(1).takes_frames = true;
    world.run_ms(100);
    let place = world.place(1);
    assert_eq!(place.frames.len() as u32, taken + 1);
    assert_eq!(place.frames[0].2, b"passes");
    assert!(place.frames[1..].iter().all(|(_, _, bytes)| *bytes == frame));
    assert!(world.places[0].as_mut().unwrap().end.send(&key, Lane::Bulk, &frame).is_ok());
}

#[test]
fn a_connection_that_comes_and_goes_leaves_nothing() {
    let mut world = World::new(2);
    world.connect();
    for _ in 0..20 {
        world.kill(0);
        world.start(0);
        assert!(world.run_until(1_000, |world| world.is_connected()));
        world.run_ms(200);
    }
    let held = measure(|| {
        for _ in 0..100 {
            world.kill(0);
            world.start(0);
            assert!(world.run_until(1_000, |world| world.is_connected()));
            world.run_ms(200);
            world.place(1).notices.clear();
        }
    });
    assert_eq!(world.place(1).end.stats().connections, 121);
    assert!(held.bytes_current < 256 * 1024, "{held:?}");
}

#[test]
fn a_small_frame_costs_a_handful_of_allocations_and_leaves_none() {
    let mut world = World::new(2);
    world.connect();
    let keys = [world.nodes[0].key, world.nodes[1].key];
    let mut now_ns = world.now_ns;
    let mut exchange = |world: &mut World| {
        for (from, to) in [(0, 1), (1, 0)] {
            now_ns += 10_000;
            world.place(from).end.send(&keys[to], Lane::Urgent, &[5; 128]).unwrap();
            world.place(from).end.flush();
            world.place(to).end.poll(now_ns);
            assert!(world.place(to).end.next_frame().is_some());
            assert!(world.place(to).end.next_frame().is_none());
        }
    };
    (0..1_000).for_each(|_| exchange(&mut world));
    let held = measure(|| (0..1_000).for_each(|_| exchange(&mut world)));
    // Each way: ours are the frame's bytes out and the datagram's in, two are this network's, the others quinn-proto's.
    assert!(held.count_total < 14_000, "{held:?}");
    assert!(held.count_current < 16, "{held:?}");
}
