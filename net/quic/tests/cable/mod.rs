//! Endpoints on one network in memory, in invented time.
//!
//! Invariant: a run is the same each time, but for the keys of TLS.

#![allow(dead_code, unreachable_pub)] // Each situation uses its part of this.

pub mod hostile;

use io_oi_quic::memory::{Air, Memory};
use io_oi_quic::{Config, Endpoint, Key, Lane, Limits, Notice, Peer};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::net::SocketAddr;

/// One turn of every loop, in nanoseconds of invented time.
pub const TURN_NS: u64 = 50_000;
pub const MILLISECOND_NS: u64 = 1_000_000;

pub const CLUSTER: [u8; 32] = [7; 32];
pub const SHARD: u16 = 3;

/// A node's secret, public key and address.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub secret: [u8; 32],
    pub key: Key,
    pub addr: SocketAddr,
}

impl Node {
    pub fn new(number: u8) -> Self {
        let secret = [number; 32];
        let pair = Ed25519KeyPair::from_seed_unchecked(&secret).unwrap();
        let key = pair.public_key().as_ref().try_into().unwrap();
        Node { secret, key, addr: SocketAddr::from(([10, 0, 0, number], 7_000)) }
    }

    pub fn peer(&self) -> Peer {
        Peer { key: self.key, addr: self.addr }
    }

    pub fn config(&self, peers: &[Node]) -> Config {
        Config {
            own: self.key,
            secret: self.secret,
            cluster: CLUSTER,
            shard: SHARD,
            seed: u64::from(self.secret[0]),
            peers: peers.iter().map(Node::peer).collect(),
            limits: Limits::default(),
        }
    }
}

/// So many nodes, the smallest key first: a node dials all behind it.
pub fn nodes(count: u8) -> Vec<Node> {
    let mut nodes: Vec<Node> = (1..=count).map(Node::new).collect();
    nodes.sort_by_key(|node| node.key);
    nodes
}

/// An endpoint with what it received.
pub struct Place {
    pub node: Node,
    pub end: Endpoint<Memory>,
    pub frames: Vec<(Key, Lane, Vec<u8>)>,
    pub notices: Vec<Notice>,
    /// A place that does not take frames holds its peers back.
    pub takes_frames: bool,
}

/// A network and its endpoints; an empty place is a process that does not run.
pub struct World {
    pub air: Air,
    pub now_ns: u64,
    pub nodes: Vec<Node>,
    pub places: Vec<Option<Place>>,
}

impl World {
    /// Nodes that all know each other.
    pub fn new(count: u8) -> Self {
        Self::with(count, |_| {})
    }

    /// The same, with something changed in every configuration.
    pub fn with(count: u8, change: impl Fn(&mut Config)) -> Self {
        let nodes = nodes(count);
        let mut world = World { air: Air::new(), now_ns: 0, nodes: nodes.clone(), places: Vec::new() };
        for node in &nodes {
            let mut config = node.config(&nodes);
            change(&mut config);
            let place = world.open(node, config);
            world.places.push(Some(place));
        }
        world
    }

    /// An endpoint that is not yet in a place.
    pub fn open(&self, node: &Node, config: Config) -> Place {
        let end = Endpoint::with_io(self.air.bind(node.addr), config).unwrap();
        Place { node: *node, end, frames: Vec::new(), notices: Vec::new(), takes_frames: true }
    }

    pub fn start(&mut self, index: usize) {
        let node = self.nodes[index];
        let place = self.open(&node, node.config(&self.nodes));
        self.places[index] = Some(place);
    }

    /// The process dies without a word.
    pub fn kill(&mut self, index: usize) {
        let place = self.places[index].take().unwrap();
        // Its last words go nowhere.
        self.air.set_fate(|_, _| {});
        drop(place);
        self.air.clear_fate();
    }

    pub fn place(&mut self, index: usize) -> &mut Place {
        self.places[index].as_mut().unwrap()
    }

    /// One turn of every running loop.
    pub fn turn(&mut self) {
        self.now_ns += TURN_NS;
        for place in self.places.iter_mut().flatten() {
            turn(place, self.now_ns);
        }
    }

    pub fn run_ms(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds * MILLISECOND_NS / TURN_NS {
            self.turn();
        }
    }

    /// Turns until it holds; so many milliseconds of invented time at most.
    pub fn run_until(&mut self, milliseconds: u64, mut holds: impl FnMut(&mut World) -> bool) -> bool {
        for _ in 0..milliseconds * MILLISECOND_NS / TURN_NS {
            if holds(self) {
                return true;
            }
            self.turn();
        }
        holds(self)
    }

    /// Whether every running pair that should be connected is.
    pub fn is_connected(&self) -> bool {
        let running: Vec<&Place> = self.places.iter().flatten().collect();
        running.iter().all(|place| {
            running
                .iter()
                .filter(|other| other.node.key != place.node.key)
                .all(|other| place.end.is_connected(&other.node.key))
        })
    }

    pub fn connect(&mut self) {
        assert!(self.run_until(1_000, |world| world.is_connected()), "all pairs connect");
    }

    pub fn send(&mut self, from: usize, to: usize, lane: Lane, frame: &[u8]) {
        let key = self.nodes[to].key;
        self.place(from).end.send(&key, lane, frame).unwrap();
    }
}

pub fn turn(place: &mut Place, now_ns: u64) {
    place.end.poll(now_ns);
    if place.takes_frames {
        while let Some(frame) = place.end.next_frame() {
            place.frames.push((frame.from, frame.lane, frame.bytes.to_vec()));
        }
    }
    while let Some(notice) = place.end.poll_notice() {
        place.notices.push(notice);
    }
    place.end.flush();
}
