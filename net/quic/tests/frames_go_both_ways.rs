//! What is sent arrives, whole, in order in its lane, from whom it says, in both lanes and directions.
//!
//! Invariant: this holds in memory, and over the kernel's UDP.

mod cable;

use cable::{World, nodes};
use io_oi_quic::{Endpoint, Key, Lane, Notice, Peer};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

#[test]
fn five_nodes_connect_and_every_frame_arrives_in_order() {
    let mut world = World::new(5);
    world.connect();
    for number in 0..40_u32 {
        for from in 0..5 {
            for to in (0..5).filter(|to| *to != from) {
                let lane = if number % 3 == 0 { Lane::Bulk } else { Lane::Urgent };
                world.send(from, to, lane, &number.to_le_bytes());
            }
        }
        world.turn();
    }
    world.run_ms(20);
    let keys: Vec<Key> = world.nodes.iter().map(|node| node.key).collect();
    for to in 0..5 {
        for from in (0..5).filter(|from| *from != to) {
            for lane in [Lane::Urgent, Lane::Bulk] {
                let arrived: Vec<u32> = world
                    .place(to)
                    .frames
                    .iter()
                    .filter(|(key, on, _)| *key == keys[from] && *on == lane)
                    .map(|(_, _, bytes)| u32::from_le_bytes(bytes.as_slice().try_into().unwrap()))
                    .collect();
                let sent: Vec<u32> =
                    (0..40).filter(|number| (number % 3 == 0) == (lane == Lane::Bulk)).collect();
                assert_eq!(arrived, sent);
            }
        }
        assert_eq!(world.place(to).end.stats().violations, 0);
        assert_eq!(world.place(to).end.stats().connections, 4);
        let connected = |notice: &&Notice| matches!(notice, Notice::Connected(_));
        assert_eq!(world.place(to).notices.iter().filter(connected).count(), 4);
    }
}

#[test]
fn the_longest_frame_passes_and_urgent_ones_overtake_it() {
    let mut world = World::new(2);
    world.connect();
    let longest: Vec<u8> = (0..1024 * 1024 + 256).map(|index: u32| (index % 251) as u8).collect();
    world.send(0, 1, Lane::Bulk, &longest);
    world.send(0, 1, Lane::Bulk, &longest);
    world.turn();
    world.send(0, 1, Lane::Urgent, b"first");
    assert!(world.run_until(1_000, |world| world.place(1).frames.len() == 3));
    let place = world.place(1);
    assert!(place.frames[0].2 == b"first", "the urgent frame did not wait for the long ones");
    assert!(place.frames[1].2 == longest && place.frames[2].2 == longest);
}

#[test]
fn an_idle_connection_lives_on() {
    let mut world = World::new(2);
    world.connect();
    world.run_ms(10_000);
    assert!(world.is_connected());
    assert_eq!(world.place(0).end.stats().connections, 1);
    world.send(1, 0, Lane::Urgent, b"still here");
    assert!(world.run_until(10, |world| world.place(0).frames.len() == 1));
}

#[test]
fn a_loop_that_polls_only_when_told_never_oversleeps() {
    let mut world = World::new(2);
    let (mut one, mut other) = (world.places[0].take().unwrap(), world.places[1].take().unwrap());
    let mut now_ns = 0;
    // Time jumps to the next timer whenever no datagram waits: a missing timer would end this in silence.
    for number in 0..20_000_u32 {
        if world.air.waiting() == 0 {
            let timers = [&one, &other].map(|place| place.end.next_timer_ns());
            now_ns =
                now_ns.max(timers.into_iter().flatten().min().expect("somebody always waits for something"));
        }
        cable::turn(&mut one, now_ns);
        cable::turn(&mut other, now_ns);
        if number % 100 == 0 && one.end.is_connected(&other.node.key) {
            one.end.send(&other.node.key, Lane::Urgent, &number.to_le_bytes()).unwrap();
            one.end.flush();
        }
    }
    assert!(other.frames.len() > 190, "{} frames", other.frames.len());
    assert_eq!(one.end.stats().connections, 1, "nobody thought the other dead");
}

#[test]
fn a_loop_that_only_polls_keeps_its_connections_and_its_frames() {
    let mut world = World::new(2);
    let (mut one, mut other) = (world.places[0].take().unwrap(), world.places[1].take().unwrap());
    for turn in 1..200_000_u64 {
        one.end.poll(turn * cable::TURN_NS);
        other.end.poll(turn * cable::TURN_NS);
        if turn == 2_000 {
            one.end.send(&other.node.key, Lane::Bulk, b"kept").unwrap();
        }
    }
    assert!(one.end.is_connected(&other.node.key));
    assert_eq!(one.end.stats().connections, 1);
    assert_eq!(other.end.next_frame().unwrap().bytes, b"kept");
}

#[test]
fn frames_pass_over_the_kernel() {
    let nodes = nodes(2);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut one = Endpoint::bind(any, nodes[0].config(&[])).unwrap();
    let mut other = Endpoint::bind(any, nodes[1].config(&[])).unwrap();
    let (one_addr, other_addr) = (one.local_addr(), other.local_addr());
    one.set_peers(&[Peer { key: nodes[1].key, addr: other_addr }]);
    other.set_peers(&[Peer { key: nodes[0].key, addr: one_addr }]);
    let start = Instant::now();
    let long = vec![9_u8; 1024 * 1024];
    let (mut sent, mut arrived) = (0, 0);
    while arrived < 40 {
        let now_ns = start.elapsed().as_nanos() as u64;
        assert!(now_ns < 60_000_000_000, "{arrived} of 40 frames came over loopback");
        one.poll(now_ns);
        if sent < 40 && one.send(&nodes[1].key, Lane::Bulk, &long).is_ok() {
            sent += 1;
        }
        one.flush();
        other.poll(now_ns);
        while let Some(frame) = other.next_frame() {
            assert!(frame.bytes == long && frame.from == nodes[0].key && frame.lane == Lane::Bulk);
            arrived += 1;
        }
        other.flush();
    }
}
