//! A peer that dies, hangs or comes back: noticed, and spoken to again without anybody's help.
//!
//! Invariant: the times here are the invented ones; they do not depend on the machine.

mod cable;

use cable::{MILLISECOND_NS, World};
use io_oi_quic::{Lane, Notice};

/// Both sides know each other again, and frames pass in both directions.
fn assert_speaks(world: &mut World, one: usize, other: usize) {
    world.send(one, other, Lane::Urgent, b"there");
    world.send(other, one, Lane::Bulk, b"back");
    world.run_ms(5);
    assert_eq!(world.place(other).frames.pop().unwrap().2, b"there");
    assert_eq!(world.place(one).frames.pop().unwrap().2, b"back");
}

/// Heartbeats, as the shards send them.
fn run_with_heartbeats(world: &mut World, milliseconds: u64, mut holds: impl FnMut(&World) -> bool) -> u64 {
    let start_ns = world.now_ns;
    let keys: Vec<_> = world.nodes.iter().map(|node| node.key).collect();
    while !holds(world) {
        let passed_ms = (world.now_ns - start_ns) / MILLISECOND_NS;
        assert!(passed_ms < milliseconds, "not within {milliseconds} ms");
        for place in world.places.iter_mut().flatten() {
            for key in &keys {
                if place.end.is_connected(key) {
                    let _ = place.end.send(key, Lane::Urgent, b"beat");
                }
            }
        }
        world.run_ms(20);
    }
    for place in world.places.iter_mut().flatten() {
        place.frames.clear();
    }
    (world.now_ns - start_ns) / MILLISECOND_NS
}

#[test]
fn a_listener_that_restarts_at_once_is_back_within_a_few_heartbeats() {
    let mut world = World::new(2);
    world.connect();
    world.kill(1);
    world.start(1);
    let took_ms = run_with_heartbeats(&mut world, 100, |world| {
        let place = world.places[0].as_ref().unwrap();
        place.end.stats().connections == 2 && world.is_connected()
    });
    assert!(took_ms <= 100);
    world.run_ms(10);
    world.place(0).frames.clear();
    world.place(1).frames.clear();
    assert_speaks(&mut world, 0, 1);
}

#[test]
fn a_dialler_that_restarts_replaces_its_old_connection() {
    let mut world = World::new(2);
    world.connect();
    world.kill(0);
    world.start(0);
    let key = world.nodes[0].key;
    assert!(world.run_until(50, |world| world.place(1).end.stats().connections == 2));
    assert!(world.run_until(50, |world| world.is_connected()));
    assert_eq!(world.place(1).notices, [Notice::Connected(key), Notice::Lost(key), Notice::Connected(key)]);
    assert_speaks(&mut world, 0, 1);
}

#[test]
fn a_silent_peer_is_lost_after_the_idle_time_and_found_when_it_is_back() {
    for dead in [0, 1] {
        let mut world = World::new(2);
        world.connect();
        world.run_ms(500);
        world.kill(dead);
        let alive = 1 - dead;
        let key = world.nodes[dead].key;
        assert!(!world.run_until(600, |world| !world.place(alive).end.is_connected(&key)), "not in a hurry");
        assert!(world.run_until(700, |world| !world.place(alive).end.is_connected(&key)), "not for ever");
        assert!(world.place(alive).notices.contains(&Notice::Lost(key)));
        world.run_ms(20_000);
        world.start(dead);
        assert!(world.run_until(1_000, |world| world.is_connected()));
        assert_speaks(&mut world, dead, alive);
    }
}

#[test]
fn a_peer_that_says_good_bye_is_lost_at_once() {
    let mut world = World::new(2);
    world.connect();
    world.places[1] = None;
    let key = world.nodes[1].key;
    assert!(world.run_until(1, |world| !world.place(0).end.is_connected(&key)));
}

#[test]
fn both_restart_at_once_and_a_cut_cable_heals() {
    let mut world = World::new(3);
    world.connect();
    world.kill(0);
    world.kill(1);
    world.run_ms(3_000);
    world.start(0);
    world.start(1);
    assert!(world.run_until(1_000, |world| world.is_connected()));
    world.air.set_fate(|_, _| {});
    world.run_ms(5_000);
    for index in 0..3 {
        let keys: Vec<_> = world.nodes.iter().map(|node| node.key).collect();
        assert!(keys.iter().all(|key| !world.place(index).end.is_connected(key)));
    }
    world.air.clear_fate();
    assert!(world.run_until(1_000, |world| world.is_connected()));
    assert_speaks(&mut world, 0, 1);
    assert_speaks(&mut world, 1, 2);
}

#[test]
fn a_one_way_cable_is_noticed_by_both() {
    let mut world = World::new(2);
    world.connect();
    let deaf = world.nodes[0].addr;
    world.air.set_fate(move |datagram, arrives| {
        if datagram.to != deaf {
            arrives.push(datagram);
        }
    });
    let keys = [world.nodes[1].key, world.nodes[0].key];
    let both_lost =
        |world: &mut World| (0..2).all(|index| !world.place(index).end.is_connected(&keys[index]));
    assert!(world.run_until(3_000, both_lost));
    world.run_ms(5_000);
    assert!(both_lost(&mut world), "half a connection is none");
    world.air.clear_fate();
    assert!(world.run_until(1_000, |world| world.is_connected()));
}
