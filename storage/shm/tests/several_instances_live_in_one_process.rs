//! Tables, lanes, feeds and counters of several clusters and shards side by side in one process.

use io_oi_shm::bell::{self, Bell};
use io_oi_shm::feed::{self, Next};
use io_oi_shm::hot::{Config, Epoch, Reader, Sequence, Stamp, Writer};
use io_oi_shm::lane::{self, ClientLane, NodeLane};
use io_oi_shm::{HashSeed, counters, random_incarnation};
use rustix::fd::OwnedFd;
use std::time::Duration;

fn stamp(sequence: u64) -> Stamp {
    Stamp { sequence: Sequence(sequence), epoch: Epoch(1), time_ns: 9 }
}

struct Node {
    hot: Writer,
    lane: NodeLane,
    lane_file: OwnedFd,
    feed: feed::Writer,
    counters: counters::Writer,
    bell: Bell,
}

fn node(shard: u16) -> Node {
    let incarnation = random_incarnation();
    let lane_config = lane::Config {
        proposal_ring_bytes: 4096,
        proposal_frame_bytes_max: 256,
        receipt_ring_bytes: 4096,
        receipt_frame_bytes_max: 64,
        incarnation,
        shard,
    };
    let hot = Config {
        entries_max: 100,
        large_bytes_max: 1 << 20,
        seed: HashSeed::new([shard as u8; 16]),
        shard,
        incarnation,
        ..Config::default()
    };
    let (lane, lane_file) = NodeLane::create(&lane_config).unwrap();
    let feed = feed::Config { data_bytes: 4096, frame_bytes_max: 256, incarnation, shard };
    let mut hot = Writer::create(&hot).unwrap();
    hot.add_pins(lane.pins.clone());
    Node {
        hot,
        lane,
        lane_file,
        feed: feed::Writer::create(&feed).unwrap(),
        counters: counters::Writer::create(&["proposals", "records"], incarnation, shard).unwrap(),
        bell: Bell::create().unwrap(),
    }
}

struct Client {
    hot: Reader,
    lane: ClientLane,
    feed: feed::Reader,
    counters: counters::Reader,
    bell: Bell,
}

fn attach(node: &Node) -> Client {
    let handed = |file: rustix::fd::BorrowedFd<'_>| file.try_clone_to_owned().unwrap();
    Client {
        hot: Reader::open(handed(node.hot.fd())).unwrap(),
        lane: ClientLane::open(node.lane_file.try_clone().unwrap()).unwrap(),
        feed: feed::Reader::open(handed(node.feed.fd())).unwrap(),
        counters: counters::Reader::open(handed(node.counters.fd())).unwrap(),
        bell: Bell::from_fd(handed(node.bell.fd())),
    }
}

#[test]
fn each_instance_keeps_to_itself_from_put_to_receipt() {
    let mut nodes: Vec<_> = (0..3).map(node).collect();
    let mut clients: Vec<_> = nodes.iter().map(attach).collect();
    let mut frame = [0; 256];
    for (shard, (node, client)) in nodes.iter_mut().zip(&mut clients).enumerate() {
        let value = vec![shard as u8; 100 * shard];
        client.lane.proposals.push_with(value.len(), |out| out.copy_from_slice(&value)).unwrap();
        assert!(node.lane.proposals.has_frame());
        let bytes = node.lane.proposals.pop(&mut frame).unwrap().unwrap();
        node.hot.publish_committed(b"key", Some(&frame[..bytes]), stamp(shard as u64 + 1)).unwrap();
        node.feed.publish(&frame[..bytes]);
        node.counters.add(counters::CounterIndex(1), 1);
        node.counters.set_lease(1000 + shard as u64);
        node.lane.receipts.push(b"done").unwrap();
    }
    for (shard, (node, client)) in nodes.iter().zip(&mut clients).enumerate() {
        let value = vec![shard as u8; 100 * shard];
        let view = client.hot.view(b"key", &client.lane.pins).unwrap().unwrap();
        assert_eq!((&view[..], view.stamp()), (&value[..], stamp(shard as u64 + 1)));
        assert_eq!(client.feed.poll(&mut frame).unwrap(), Next::Frame(value.len()));
        assert_eq!(client.feed.poll(&mut frame).unwrap(), Next::Empty);
        assert_eq!(client.lane.receipts.pop(&mut frame).unwrap(), Some(4));
        let counted: Vec<_> = client.counters.iter().collect();
        assert_eq!(counted, [("proposals", 0), ("records", 1)]);
        assert_eq!(client.counters.value("records"), Some(1));
        assert_eq!(client.counters.lease(), 1000 + shard as u64);
        assert_eq!(client.hot.incarnation(), client.lane.incarnation());
        assert_eq!((client.hot.shard(), client.lane.shard()), (shard as u16, shard as u16));
        assert_eq!(client.hot.heartbeat_ns(), 0);
        node.hot.beat(123);
        assert_eq!((client.hot.heartbeat_ns(), client.hot.heartbeat().last_ns()), (123, 123));
    }
    let incarnations: std::collections::HashSet<_> =
        clients.iter().map(|client| client.hot.incarnation()).collect();
    assert_eq!(incarnations.len(), 3, "each boot has its own incarnation");
}

#[test]
fn the_bell_rings_only_for_a_parked_shard() {
    let node = node(0);
    let client = attach(&node);
    bell::ring_if_parked(&client.hot, &client.bell);
    assert!(!node.bell.wait(Duration::ZERO), "an awake shard is not rung");
    node.hot.set_parked(true);
    bell::ring_if_parked(&client.hot, &client.bell);
    bell::ring_if_parked(&client.hot, &client.bell);
    assert!(node.bell.wait(Duration::from_secs(5)));
    assert!(!node.bell.wait(Duration::from_millis(1)), "rings are taken back together");
    node.hot.set_parked(false);
    bell::ring_if_parked(&client.hot, &client.bell);
    assert!(!node.bell.silence());
    let sleeper = node.bell;
    let asleep = std::thread::spawn(move || sleeper.wait(Duration::from_secs(20)));
    client.bell.ring();
    assert!(asleep.join().unwrap(), "a sleeping shard wakes");
}

#[test]
fn a_view_outlives_its_reader_and_pins_run_out_with_an_answer() {
    let mut node = node(0);
    let Client { hot, lane, .. } = attach(&node);
    node.hot.publish_committed(b"key", Some(&[1; 5000]), stamp(1)).unwrap();
    let mut views: Vec<_> = (0..64).map(|_| hot.view(b"key", &lane.pins).unwrap().unwrap()).collect();
    assert_eq!(hot.view(b"key", &lane.pins).unwrap_err(), io_oi_shm::hot::ReadError::PinsTaken);
    node.hot.publish_committed(b"near", Some(&[2; 10]), stamp(2)).unwrap();
    assert!(!hot.view(b"near", &lane.pins).unwrap().unwrap().is_pinned(), "small values need no pin");
    let kept = views.pop().unwrap();
    drop(views);
    drop(hot);
    for sequence in 3..500 {
        node.hot.publish_committed(b"key", Some(&[3; 5000]), stamp(sequence)).unwrap();
    }
    assert_eq!(kept.bytes(), [1; 5000]);
    assert!(node.hot.stats().blocks_held_back > 0);
}

#[test]
fn a_slow_feed_reader_is_told_exactly_what_it_missed() {
    let mut node = node(0);
    let mut client = attach(&node);
    let mut frame = [0; 256];
    let mut next = 0u64;
    let mut state = 7u64;
    for number in 0..50_000u64 {
        let bytes = 8 + (number % 200) as usize;
        frame[..8].copy_from_slice(&number.to_le_bytes());
        frame[8..bytes].fill(number as u8);
        node.feed.publish(&frame[..bytes]);
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if state >> 60 != 0 {
            continue; // One look per sixteen frames, and in bursts.
        }
        loop {
            match client.feed.poll(&mut frame).unwrap() {
                Next::Empty => break,
                Next::Lapped { missed } => next += missed,
                Next::Frame(bytes) => {
                    assert_eq!(frame[..8], next.to_le_bytes());
                    assert!(frame[8..bytes].iter().all(|&byte| byte == next as u8));
                    next += 1;
                }
            }
        }
        assert_eq!(next, number + 1);
    }
    let late = feed::Reader::open(node.feed.fd().try_clone_to_owned().unwrap()).unwrap().poll(&mut frame);
    assert_eq!(late.unwrap(), Next::Empty, "a new reader starts at what comes next");
}

#[test]
fn counters_are_read_by_label_and_refuse_strangers() {
    let mut node = node(4);
    node.counters.set(counters::CounterIndex(0), u64::MAX);
    node.counters.add(counters::CounterIndex(0), 2);
    assert_eq!((node.counters.value(counters::CounterIndex(0)), node.counters.count()), (1, 2));
    let reader = counters::Reader::open(node.counters.fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!((reader.value("proposals"), reader.value("nobody"), reader.shard()), (Some(1), None, 4));
    node.counters.beat(5);
    assert_eq!(reader.heartbeat().last_ns(), 5);
}
