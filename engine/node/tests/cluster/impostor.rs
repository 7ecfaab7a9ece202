//! A member of the cluster whose key is in the hands of the test: it speaks QUIC like a node and says what it likes.
//!
//! Invariant: it stands at the member's own address and proves the member's own key, so that nothing but what it says
//! can be refused. It keeps every frame that it heard, up to a bound.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use io_oi_quic::{Config, Endpoint, Lane, Limits, Peer};
use io_oi_record::message::Message;
use io_oi_record::{ClusterId, Epoch, NodeId, ShardId};

use super::Cluster;
use crate::support::{enter_network_namespace, soon};

/// A frame that somebody sent to the impostor.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) from: NodeId,
    pub(crate) bytes: Vec<u8>,
}

/// The impostor's voice and ears; its thread ends when it is dropped.
pub(crate) struct Impostor {
    pub(crate) cluster: ClusterId,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    ends: AtomicBool,
    heard: Mutex<Vec<Heard>>,
    heard_count: AtomicU64,
    to_say: Mutex<Vec<(NodeId, Vec<u8>)>>,
    /// Frames that QUIC took.
    said_count: AtomicU64,
    connected: Mutex<Vec<NodeId>>,
}

impl Impostor {
    /// Takes the place of a member that does not run, in shard 0.
    pub(crate) fn enter(cluster: &Cluster, place: usize) -> Self {
        assert!(!cluster.is_running(place), "the member's own node runs");
        let secret = cluster.secret(place);
        Self::enter_as(cluster, place, secret, cluster.genesis.genesis.cluster())
    }

    /// As `enter`, with a key and a cluster of the test's choice.
    pub(crate) fn enter_as(cluster: &Cluster, place: usize, secret: [u8; 32], id: ClusterId) -> Self {
        let peer = |other: usize| Peer {
            key: cluster.node_id(other).0,
            addr: cluster.network.public_address(other),
        };
        let config = Config {
            own: io_oi_record::Signer::from_secret(&secret).node().0,
            secret,
            cluster: id.0,
            shard: 0,
            seed: 1,
            peers: cluster.places().filter(|other| *other != place).map(peer).collect(),
            limits: Limits::default(),
        };
        let shared = Arc::new(Shared {
            ends: AtomicBool::new(false),
            heard: Mutex::default(),
            heard_count: AtomicU64::new(0),
            to_say: Mutex::default(),
            said_count: AtomicU64::new(0),
            connected: Mutex::default(),
        });
        let (address, namespace) = (cluster.network.listen_address(place), cluster.network.namespace(place));
        let of_thread = shared.clone();
        let thread = std::thread::spawn(move || run(&of_thread, address, namespace, config));
        Self { cluster: cluster.genesis.genesis.cluster(), shared, thread: Some(thread) }
    }

    /// Puts a frame where it will be sent as soon as the peer takes it.
    pub(crate) fn say(&self, to: NodeId, frame: &[u8]) {
        self.shared.to_say.lock().unwrap().push((to, frame.to_vec()));
    }

    /// A well-formed message of this cluster.
    pub(crate) fn say_message(&self, to: NodeId, epoch: u64, message: &Message<'_>) {
        let mut frame = vec![0; message.encoded_bytes()];
        message.encode(self.cluster, ShardId(0), Epoch(epoch), &mut frame).unwrap();
        self.say(to, &frame);
    }

    pub(crate) fn is_connected(&self, to: NodeId) -> bool {
        self.shared.connected.lock().unwrap().contains(&to)
    }

    /// Waits until all of these are connected.
    pub(crate) fn wait_for(&self, peers: &[NodeId]) {
        let deadline = soon();
        while !peers.iter().all(|peer| self.is_connected(*peer)) {
            assert!(Instant::now() < deadline, "the impostor's handshake never ended");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the connection has ended.
    pub(crate) fn wait_until_lost(&self, peer: NodeId) {
        let deadline = soon();
        while self.is_connected(peer) {
            assert!(Instant::now() < deadline, "the connection never ended");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until everything that was to be said has been taken by QUIC, while its hearers are connected.
    pub(crate) fn wait_until_said(&self) {
        let deadline = soon();
        while !self.shared.to_say.lock().unwrap().is_empty() {
            assert!(Instant::now() < deadline, "nobody listens to the impostor");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything that was heard so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.shared.heard.lock().unwrap().clone()
    }

    pub(crate) fn heard_count(&self) -> u64 {
        self.shared.heard_count.load(Ordering::Relaxed)
    }

    pub(crate) fn said_count(&self) -> u64 {
        self.shared.said_count.load(Ordering::Relaxed)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the impostor died");
        }
    }
}

fn run(shared: &Shared, address: std::net::SocketAddr, namespace: Option<PathBuf>, config: Config) {
    if let Some(namespace) = namespace {
        enter_network_namespace(&namespace);
    }
    let peers: Vec<NodeId> = config.peers.iter().map(|peer| NodeId(peer.key)).collect();
    let mut endpoint = Endpoint::bind(address, config).unwrap();
    let (begun, mut waiting) = (Instant::now(), Vec::new());
    while !shared.ends.load(Ordering::Acquire) {
        let is_busy = endpoint.poll(begun.elapsed().as_nanos() as u64 + 1);
        listen(shared, &mut endpoint);
        *shared.connected.lock().unwrap() =
            peers.iter().copied().filter(|peer| endpoint.is_connected(&peer.0)).collect();
        let has_spoken = speak(shared, &mut endpoint, &mut waiting);
        endpoint.flush();
        if !is_busy && !has_spoken {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    endpoint.close();
    endpoint.flush();
}

fn listen(shared: &Shared, endpoint: &mut Endpoint) {
    while let Some(frame) = endpoint.next_frame() {
        shared.heard_count.fetch_add(1, Ordering::Relaxed);
        let mut heard = shared.heard.lock().unwrap();
        if heard.len() < HEARD_MAX {
            heard.push(Heard { from: NodeId(frame.from), bytes: frame.bytes.to_vec() });
        }
    }
}

/// Says what can be said now; what a peer does not take waits.
fn speak(shared: &Shared, endpoint: &mut Endpoint, waiting: &mut Vec<(NodeId, Vec<u8>)>) -> bool {
    let mut to_say = shared.to_say.lock().unwrap();
    waiting.append(&mut to_say);
    let (mut said, mut deaf) = (0, Vec::new());
    waiting.retain(|(to, frame)| {
        let is_taken = !deaf.contains(to) && endpoint.send(&to.0, Lane::Bulk, frame).is_ok();
        if is_taken {
            said += 1;
        } else if !deaf.contains(to) {
            deaf.push(*to); // Not connected or full: what is behind it keeps its place.
        }
        !is_taken
    });
    // What waits is not said yet.
    to_say.append(waiting);
    shared.said_count.fetch_add(said, Ordering::Relaxed);
    said > 0
}

const HEARD_MAX: usize = 50_000;

mod tests {
    use std::time::Duration;

    use super::Impostor;
    use crate::cluster::{Cluster, Plan};

    /// Says one frame and waits until it is heard.
    fn is_heard(from: &Impostor, to: &Impostor, node: io_oi_record::NodeId, word: &[u8]) {
        from.say(node, word);
        let deadline = crate::support::soon();
        while !to.heard().iter().any(|heard| heard.bytes == word) {
            assert!(std::time::Instant::now() < deadline, "a frame never arrived");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn frames_cross(plan: Plan) {
        let cluster = Cluster::found(plan);
        let (one, other) = (Impostor::enter(&cluster, 0), Impostor::enter(&cluster, 1));
        let (one_id, other_id) = (cluster.node_id(0), cluster.node_id(1));
        one.wait_for(&[other_id]);
        other.wait_for(&[one_id]);
        is_heard(&one, &other, other_id, b"there");
        is_heard(&other, &one, one_id, b"back");
        cluster.isolate(0);
        one.wait_until_lost(other_id);
        cluster.mend_all();
        one.wait_for(&[other_id]);
        is_heard(&one, &other, other_id, b"there again");
    }

    #[test]
    fn members_hear_each_other_over_the_kernel_and_over_the_relay() {
        frames_cross(Plan::of(2));
        frames_cross(Plan::of(2).relayed());
    }
}
