//! Whoever is not the expected member of this cluster and shard, or is barred, never gets a frame in or out.
//!
//! Invariant: refusing costs nothing to those who belong here.

mod cable;

use cable::hostile::{Hostile, dialler, listener, protocol, right_protocol};
use cable::{CLUSTER, Node, SHARD, World};
use io_oi_quic::{BindError, Endpoint, Lane, Notice, SendError};

/// Nobody got through, in either direction.
fn assert_refused(world: &mut World, millis: u64) {
    world.run_ms(millis);
    for index in 0..world.places.len() {
        let place = world.place(index);
        assert_eq!(place.end.stats().connections, 0);
        assert!(place.frames.is_empty() && place.notices.is_empty());
    }
}

#[test]
fn another_cluster_is_refused_in_the_handshake() {
    let mut world = World::with(2, |config| config.cluster[0] = config.secret[0]);
    assert_refused(&mut world, 1_000);
    assert!(world.place(0).end.stats().handshakes_refused > 0);
    assert!(world.place(1).end.stats().handshakes_refused > 0);
    let other = world.nodes[1].key;
    assert_eq!(world.place(0).end.send(&other, Lane::Urgent, b"x"), Err(SendError::NotConnected));
}

#[test]
fn another_shard_is_refused_in_the_handshake() {
    let mut world = World::with(2, |config| config.shard = u16::from(config.secret[0]));
    assert_refused(&mut world, 1_000);
    assert!(world.place(0).end.stats().handshakes_refused > 0);
}

#[test]
fn refused_handshakes_are_not_repeated_in_a_hurry() {
    let mut world = World::with(2, |config| config.cluster[0] = config.secret[0]);
    world.run_ms(10_000);
    let refused = world.place(1).end.stats().handshakes_refused;
    assert!((10..100).contains(&refused), "{refused} handshakes in ten seconds");
}

#[test]
fn a_stranger_at_a_member_s_address_is_refused_by_listener_and_dialler() {
    // The listener, dialled from the right address with another key.
    let world = World::new(2);
    let (small, large) = (world.nodes[0], world.nodes[1]);
    let stranger = Node { addr: small.addr, ..Node::new(99) };
    let mut end = world.open(&large, large.config(&[small, large]));
    let mut guest = Hostile::new(world.air.bind(small.addr), None);
    guest.dial(0, &large, dialler(&stranger, right_protocol()));
    for turn in 1..4_000 {
        guest.turn(turn * cable::TURN_NS);
        cable::turn(&mut end, turn * cable::TURN_NS);
    }
    assert!(guest.is_lost().is_some());
    assert_eq!(end.end.stats().connections, 0);
    assert!(end.end.stats().handshakes_refused > 0 && end.notices.is_empty());

    // The dialler, answered from the right address with another key.
    let stranger = Node { addr: large.addr, ..Node::new(99) };
    let mut end = world.open(&small, small.config(&[small, large]));
    let answers = listener(&stranger, right_protocol());
    let mut host = Hostile::new(world.air.bind(large.addr), Some(answers));
    for turn in 1..4_000 {
        host.turn(turn * cable::TURN_NS);
        cable::turn(&mut end, turn * cable::TURN_NS);
    }
    assert!(!host.is_connected());
    assert_eq!(end.end.stats().connections, 0);
    assert!(end.end.stats().handshakes_refused > 0 && end.notices.is_empty());
}

#[test]
fn the_right_key_with_another_version_cluster_or_shard_is_refused() {
    let mut version = right_protocol();
    version[6] = b'2';
    let refused = [version, protocol([9; 32], SHARD), protocol(CLUSTER, SHARD + 1), b"h3".to_vec()];
    for (name, is_right) in refused.into_iter().map(|name| (name, false)).chain([(right_protocol(), true)]) {
        let world = World::new(2);
        let (small, large) = (world.nodes[0], world.nodes[1]);
        let mut end = world.open(&large, large.config(&[small, large]));
        let mut guest = Hostile::new(world.air.bind(small.addr), None);
        guest.dial(0, &large, dialler(&small, name));
        for turn in 1..2_000 {
            guest.turn(turn * cable::TURN_NS);
            cable::turn(&mut end, turn * cable::TURN_NS);
        }
        assert_eq!(guest.is_connected(), is_right);
        assert_eq!(end.end.stats().handshakes_refused > 0, !is_right);
    }
}

#[test]
fn a_member_that_does_not_dial_is_not_let_in_the_other_way() {
    let world = World::new(2);
    let (small, large) = (world.nodes[0], world.nodes[1]);
    let mut end = world.open(&small, small.config(&[small, large]));
    let mut guest = Hostile::new(world.air.bind(large.addr), None);
    guest.dial(0, &small, dialler(&large, right_protocol()));
    for turn in 1..4_000 {
        guest.turn(turn * cable::TURN_NS);
        cable::turn(&mut end, turn * cable::TURN_NS);
    }
    assert!(!guest.is_connected());
}

#[test]
fn a_barred_key_is_cut_and_stays_out() {
    let mut world = World::new(3);
    world.connect();
    let barred = world.nodes[1].key;
    for index in [0, 2] {
        world.place(index).end.bar(&barred);
        assert!(!world.place(index).end.is_connected(&barred));
    }
    world.run_ms(3_000);
    for index in [0, 2] {
        let nodes: Vec<_> = world.nodes.iter().map(Node::peer).collect();
        // Not even a membership that names it lets it in again.
        world.place(index).end.set_peers(&nodes);
    }
    world.run_ms(3_000);
    for index in [0, 2] {
        let place = world.place(index);
        assert!(!place.end.is_connected(&barred));
        assert_eq!(place.notices.iter().filter(|notice| **notice == Notice::Connected(barred)).count(), 1);
        assert!(place.notices.contains(&Notice::Lost(barred)));
        assert!(place.end.stats().strangers_ignored > 0, "it tried");
    }
    let (one, two) = (world.nodes[0].key, world.nodes[2].key);
    assert!(world.place(0).end.is_connected(&two), "the others go on");
    assert!(!world.place(1).end.is_connected(&one) && !world.place(1).end.is_connected(&two));
}

#[test]
fn whoever_leaves_the_membership_is_cut_and_a_newcomer_is_connected() {
    let mut world =
        World::with(3, |config| config.peers.retain(|peer| peer.addr.ip().to_string() != "10.0.0.3"));
    let late = world.nodes.iter().position(|node| node.addr.ip().to_string() == "10.0.0.3").unwrap();
    let [one, two] = [(late + 1) % 3, (late + 2) % 3];
    let (first, second, newcomer) = (world.nodes[one], world.nodes[two], world.nodes[late]);
    world.run_ms(500);
    assert!(world.place(one).end.is_connected(&second.key));
    assert!(!world.place(one).end.is_connected(&newcomer.key));
    world.place(one).end.set_peers(&[newcomer.peer()]);
    world.place(two).end.set_peers(&[newcomer.peer()]);
    world.place(late).end.set_peers(&[first.peer(), second.peer()]);
    world.run_ms(2_000);
    assert!(world.place(one).end.is_connected(&newcomer.key));
    assert!(world.place(late).end.is_connected(&second.key));
    assert!(!world.place(one).end.is_connected(&second.key));
    assert!(world.place(two).notices.contains(&Notice::Lost(first.key)));
}

#[test]
fn a_secret_that_does_not_fit_its_key_is_an_error_with_its_reason() {
    let world = World::new(1);
    let mut config = world.nodes[0].config(&[]);
    config.own[0] ^= 1;
    let fault = Endpoint::with_io(world.air.bind(world.nodes[0].addr), config).err().unwrap();
    assert!(matches!(fault, BindError::Key(_)), "{fault}");
}
