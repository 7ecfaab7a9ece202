//! A relay in user space between nodes on loopback addresses: it delays, reorders, duplicates, flips, drops and cuts,
//! and keeps packets for a replay.
//!
//! Every node has a public address (the relay's, named by the genesis) and a private one (the node's own). A packet
//! from a node to another's public address leaves the relay at the sender's public address, so that each node meets
//! its peers where the genesis says that they are.
//!
//! Invariant: in fair weather every packet passes unchanged; memory is bounded: what does not fit is dropped, as a
//! network does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::network::PORT;
use crate::support::Random;

/// How packets fare. Shares are per mille.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// One bit of the packet is turned over.
    pub(crate) flipped: u64,
    /// Held back by up to `delay_max`, which also reorders.
    pub(crate) delayed: u64,
    pub(crate) delay_max: Duration,
    /// Followed by an older packet of the same two nodes.
    pub(crate) replayed: u64,
}

/// What the relay did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) cut: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) flipped: u64,
    pub(crate) delayed: u64,
    pub(crate) replayed: u64,
}

/// The relay; ends when dropped.
pub(crate) struct Proxy {
    net: Net,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// The addresses of one cluster: the second and third byte tell clusters of different processes apart.
#[derive(Clone, Copy)]
struct Net {
    second: u8,
    third: u8,
    places: usize,
    shards: u16,
}

struct Shared {
    rules: Mutex<Rules>,
    ends: AtomicBool,
}

#[derive(Default)]
struct Rules {
    weather: Weather,
    cuts: HashSet<(usize, usize)>,
    counts: Counts,
}

impl Proxy {
    pub(crate) fn start(places: usize, shards: u16) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let process = std::process::id();
        let third = (process >> 6) as u8 ^ (STARTED.fetch_add(1, Ordering::Relaxed) as u8).wrapping_mul(37);
        let net = Net { second: 64 + (process % 64) as u8, third, places, shards };
        let shared = Arc::new(Shared { rules: Mutex::default(), ends: AtomicBool::new(false) });
        let mut relay = Relay::bind(net, shared.clone());
        let thread = std::thread::spawn(move || relay.run());
        Self { net, shared, thread: Some(thread) }
    }

    pub(crate) fn public_address(&self, place: usize) -> SocketAddr {
        self.net.public(place, 0)
    }

    pub(crate) fn listen_address(&self, place: usize) -> SocketAddr {
        self.net.private(place, 0)
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.shared.rules.lock().unwrap().weather = weather;
    }

    pub(crate) fn cut(&self, from: usize, to: usize) {
        self.shared.rules.lock().unwrap().cuts.insert((from, to));
    }

    pub(crate) fn mend(&self, from: usize, to: usize) {
        self.shared.rules.lock().unwrap().cuts.remove(&(from, to));
    }

    pub(crate) fn counts(&self) -> Counts {
        self.shared.rules.lock().unwrap().counts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the relay died");
        }
    }
}

impl Net {
    fn public(&self, place: usize, shard: u16) -> SocketAddr {
        self.at(1 + place as u8, shard)
    }

    fn private(&self, place: usize, shard: u16) -> SocketAddr {
        self.at(PRIVATE + place as u8, shard)
    }

    fn at(&self, last: u8, shard: u16) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::new(127, self.second, self.third, last).into(), PORT + shard)
    }

    /// The place whose private address this is; any port, because a node may send from a port of its own choice.
    fn place_of(&self, address: IpAddr) -> Option<usize> {
        (0..self.places).find(|place| self.private(*place, 0).ip() == address)
    }
}

/// A socket of the relay, and where what arrives there is to go.
struct Gate {
    socket: UdpSocket,
    faces: Faces,
}

#[derive(Clone, Copy)]
enum Faces {
    /// The public address of a node's shard.
    Public(usize, u16),
    /// Answers to one sender that used a port of its own: who it is, and what it spoke to.
    Answers { to: SocketAddr, from_place: usize, shard: u16 },
}

/// One packet on its way.
struct Packet {
    gate: usize,
    target: SocketAddr,
    bytes: Vec<u8>,
}

struct Relay {
    net: Net,
    shared: Arc<Shared>,
    gates: Vec<Gate>,
    /// Sender's address, place and shard that it speaks to: the gate that stands for it.
    answering: HashMap<(SocketAddr, usize, u16), usize>,
    held: BinaryHeap<Reverse<(Instant, u64)>>,
    packets: HashMap<u64, Packet>,
    packet_count: u64,
    past: HashMap<(usize, usize), VecDeque<Vec<u8>>>,
    random: Random,
}

impl Relay {
    fn bind(net: Net, shared: Arc<Shared>) -> Self {
        let mut gates = Vec::new();
        for place in 0..net.places {
            for shard in 0..net.shards {
                let socket = UdpSocket::bind(net.public(place, shard)).unwrap();
                socket.set_nonblocking(true).unwrap();
                gates.push(Gate { socket, faces: Faces::Public(place, shard) });
            }
        }
        Self {
            net,
            shared,
            gates,
            answering: HashMap::new(),
            held: BinaryHeap::new(),
            packets: HashMap::new(),
            packet_count: 0,
            past: HashMap::new(),
            random: Random::seeded(),
        }
    }

    fn run(&mut self) {
        let mut buffer = vec![0; 65_536];
        while !self.shared.ends.load(Ordering::Acquire) {
            self.wait();
            for gate in 0..self.gates.len() {
                while let Ok((length, source)) = self.gates[gate].socket.recv_from(&mut buffer) {
                    self.take(gate, source, &buffer[..length]);
                }
            }
            self.release(Instant::now());
        }
    }

    fn wait(&self) {
        let now = Instant::now();
        let due = self.held.peek().map_or(now + LOOK_AROUND, |held| held.0.0);
        let patience = due.saturating_duration_since(now).min(LOOK_AROUND);
        let timeout = Timespec { tv_sec: 0, tv_nsec: patience.as_nanos() as i64 };
        let mut polled: Vec<PollFd<'_>> =
            self.gates.iter().map(|gate| PollFd::new(&gate.socket, PollFlags::IN)).collect();
        let _ = poll(&mut polled, Some(&timeout)); // Interrupted is as good as ready.
    }

    /// One packet has come in: decides its fate.
    fn take(&mut self, gate: usize, source: SocketAddr, bytes: &[u8]) {
        let from = self.net.place_of(source.ip());
        let (to, out, target) = match self.gates[gate].faces {
            Faces::Public(to, shard) => {
                let Some(out) = self.gate_for(source, from, to, shard) else { return };
                (to, out, self.net.private(to, shard))
            }
            Faces::Answers { to, from_place, shard } => {
                let Some(spoken_to) = from else { return };
                let out = self.public_gate(spoken_to, shard);
                (from_place, out, to)
            }
        };
        let direction = (from.unwrap_or(STRANGER), to);
        let shared = self.shared.clone();
        let mut rules = shared.rules.lock().unwrap();
        if rules.cuts.contains(&direction) {
            rules.counts.cut += 1;
            return;
        }
        let weather = rules.weather;
        self.send_through(
            &mut rules.counts,
            weather,
            direction,
            Packet { gate: out, target, bytes: bytes.into() },
        );
    }

    fn send_through(
        &mut self,
        counts: &mut Counts,
        weather: Weather,
        direction: (usize, usize),
        mut packet: Packet,
    ) {
        if self.happens(weather.lost) {
            counts.lost += 1;
            return;
        }
        if weather.replayed > 0 {
            self.replay(counts, weather, direction, &packet);
        }
        if self.happens(weather.doubled) {
            counts.doubled += 1;
            let again = Packet { bytes: packet.bytes.clone(), ..packet };
            self.hold(weather.delay_max, again);
        }
        if self.happens(weather.flipped) && !packet.bytes.is_empty() {
            counts.flipped += 1;
            let bit = self.random.below(packet.bytes.len() as u64 * 8) as usize;
            packet.bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if self.happens(weather.delayed) {
            counts.delayed += 1;
            return self.hold(weather.delay_max, packet);
        }
        counts.passed += 1;
        self.send(&packet);
    }

    fn replay(&mut self, counts: &mut Counts, weather: Weather, direction: (usize, usize), packet: &Packet) {
        let happens = self.happens(weather.replayed);
        let past = self.past.entry(direction).or_default();
        if happens && !past.is_empty() {
            let index = self.random.below(past.len() as u64) as usize;
            let old = Packet { bytes: past[index].clone(), ..*packet };
            counts.replayed += 1;
            self.send(&old);
        }
        let past = self.past.entry(direction).or_default();
        past.push_back(packet.bytes.clone());
        if past.len() > PAST_PACKETS_MAX {
            past.pop_front();
        }
    }

    fn happens(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.random.below(1_000) < per_mille
    }

    fn hold(&mut self, delay_max: Duration, packet: Packet) {
        if self.packets.len() >= HELD_PACKETS_MAX {
            return;
        }
        let delay = Duration::from_micros(self.random.below(delay_max.as_micros().max(1) as u64));
        self.packet_count += 1;
        self.held.push(Reverse((Instant::now() + delay, self.packet_count)));
        self.packets.insert(self.packet_count, packet);
    }

    fn release(&mut self, now: Instant) {
        while self.held.peek().is_some_and(|held| held.0.0 <= now) {
            let Some(Reverse((_, number))) = self.held.pop() else { return };
            let packet = self.packets.remove(&number).expect("what is held has its packet");
            self.send(&packet);
        }
    }

    /// A full or closed socket drops it, as networks do.
    fn send(&self, packet: &Packet) {
        let _ = self.gates[packet.gate].socket.send_to(&packet.bytes, packet.target);
    }

    fn public_gate(&self, place: usize, shard: u16) -> usize {
        place * usize::from(self.net.shards) + usize::from(shard)
    }

    /// The gate at which the sender stands for the receiver.
    fn gate_for(&mut self, source: SocketAddr, from: Option<usize>, to: usize, shard: u16) -> Option<usize> {
        match from {
            Some(place) if source == self.net.private(place, shard) => Some(self.public_gate(place, shard)),
            _ => self.answering_gate(source, from, to, shard),
        }
    }

    fn answering_gate(
        &mut self,
        source: SocketAddr,
        from: Option<usize>,
        to: usize,
        shard: u16,
    ) -> Option<usize> {
        if let Some(gate) = self.answering.get(&(source, to, shard)) {
            return Some(*gate);
        }
        if self.gates.len() >= GATES_MAX {
            return None;
        }
        let ip = from.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |place| self.net.public(place, shard).ip());
        let socket = UdpSocket::bind((ip, 0)).ok()?;
        socket.set_nonblocking(true).ok()?;
        let faces = Faces::Answers { to: source, from_place: from.unwrap_or(STRANGER), shard };
        self.gates.push(Gate { socket, faces });
        self.answering.insert((source, to, shard), self.gates.len() - 1);
        Some(self.gates.len() - 1)
    }
}

/// A sender that is no node of the cluster.
const STRANGER: usize = usize::MAX;
/// Private addresses end with this number and those after it.
const PRIVATE: u8 = 101;
const LOOK_AROUND: Duration = Duration::from_millis(20);
const HELD_PACKETS_MAX: usize = 16_384;
const PAST_PACKETS_MAX: usize = 512;
const GATES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(proxy: &Proxy, place: usize) -> UdpSocket {
        let socket = UdpSocket::bind(proxy.listen_address(place)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket
    }

    #[test]
    fn a_packet_comes_from_where_the_genesis_says_and_the_answer_finds_its_way() {
        let proxy = Proxy::start(2, 1);
        let (one, other) = (node(&proxy, 0), node(&proxy, 1));
        let mut buffer = [0; 64];
        one.send_to(b"question", proxy.public_address(1)).unwrap();
        let (length, source) = other.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], source), (&b"question"[..], proxy.public_address(0)));
        other.send_to(b"answer", source).unwrap();
        let (length, source) = one.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], source), (&b"answer"[..], proxy.public_address(1)));
    }

    #[test]
    fn a_sender_with_a_port_of_its_own_gets_its_answers() {
        let proxy = Proxy::start(2, 1);
        let other = node(&proxy, 1);
        let own = UdpSocket::bind((proxy.listen_address(0).ip(), 0)).unwrap();
        let mut buffer = [0; 64];
        own.send_to(b"question", proxy.public_address(1)).unwrap();
        let (_, source) = other.recv_from(&mut buffer).unwrap();
        assert_eq!(source.ip(), proxy.public_address(0).ip());
        other.send_to(b"answer", source).unwrap();
        own.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (length, source) = own.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], source), (&b"answer"[..], proxy.public_address(1)));
    }

    #[test]
    fn a_cut_is_one_way_and_is_mended() {
        let proxy = Proxy::start(2, 1);
        let (one, other) = (node(&proxy, 0), node(&proxy, 1));
        let mut buffer = [0; 64];
        proxy.cut(0, 1);
        one.send_to(b"lost", proxy.public_address(1)).unwrap();
        other.send_to(b"kept", proxy.public_address(0)).unwrap();
        assert_eq!(one.recv_from(&mut buffer).unwrap().0, 4);
        crate::support::eventually("the relay took the packet", || proxy.counts().cut == 1);
        proxy.mend(0, 1);
        one.send_to(b"after", proxy.public_address(1)).unwrap();
        assert_eq!(other.recv_from(&mut buffer).unwrap().0, 5, "what was cut stays lost");
        assert_eq!(proxy.counts().cut, 1);
    }

    #[test]
    fn bad_weather_spoils_and_doubles_packets() {
        let proxy = Proxy::start(2, 1);
        let (one, other) = (node(&proxy, 0), node(&proxy, 1));
        let delay_max = Duration::from_millis(1);
        proxy.set_weather(Weather {
            lost: 0,
            doubled: 500,
            flipped: 500,
            delayed: 500,
            delay_max,
            replayed: 500,
        });
        let mut buffer = [0; 64];
        let mut spoiled = 0;
        for _ in 0..200 {
            one.send_to(&[0; 32], proxy.public_address(1)).unwrap();
            let (length, _) = other.recv_from(&mut buffer).unwrap();
            spoiled += u32::from(buffer[..length].iter().any(|byte| *byte != 0));
        }
        let counts = proxy.counts();
        assert!(spoiled > 0 && counts.doubled > 0 && counts.delayed > 0 && counts.replayed > 0, "{counts:?}");
    }
}
