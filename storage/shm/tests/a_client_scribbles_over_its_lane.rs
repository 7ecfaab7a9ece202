//! A client may write anything into its lane at any time: the node never crashes, never reads out of bounds, and
//! tells a corrupt ring from a full one.

use io_oi_shm::hot::{Config, Epoch, Sequence, Stamp, Writer};
use io_oi_shm::lane::{self, NodeLane};
use io_oi_shm::layout::lane::{AT_PINS, AT_PROPOSAL_CONTROL, AT_RECEIPT_CONTROL, PINS};
use io_oi_shm::layout::ring::{AT_HEAD, AT_TAIL};
use io_oi_shm::{Kind, Segment};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn lane_config() -> lane::Config {
    lane::Config {
        proposal_ring_bytes: 4096,
        proposal_frame_bytes_max: 512,
        receipt_ring_bytes: 4096,
        receipt_frame_bytes_max: 64,
        incarnation: 5,
        shard: 3,
    }
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn random_words_everywhere_at_any_time_crash_nobody() {
    let (mut node, file) = NodeLane::create(&lane_config()).unwrap();
    let scribbled = Segment::open(file, Kind::Lane).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let scribbler = std::thread::spawn(move || {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        while !stopped.load(Ordering::Relaxed) {
            let region = scribbled.region();
            let at = random(&mut state) as usize % region.word_count();
            let word = random(&mut state);
            region.store(at, if word.is_multiple_of(3) { word % 1024 } else { word });
        }
    });
    let mut writer = Writer::create(&Config { large_bytes_max: 1 << 20, ..Config::default() }).unwrap();
    writer.add_pins(node.pins.clone());
    let mut out = [0; 512];
    let (mut frames, mut corrupt) = (0u32, 0u32);
    for turn in 1..=100_000u64 {
        match node.proposals.pop(&mut out) {
            Ok(Some(bytes)) => {
                assert!(bytes <= 512);
                frames += 1;
            }
            Ok(None) => {}
            Err(_) => corrupt += 1,
        }
        let _ = node.receipts.push(&turn.to_le_bytes());
        let _ = node.receipts.free_frames(64);
        let stamp = Stamp { sequence: Sequence(turn), epoch: Epoch(1), time_ns: turn };
        writer.publish_committed(b"key", Some(&[turn as u8; 200]), stamp).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    scribbler.join().unwrap();
    assert!(corrupt > 0, "the scribbling was noticed ({frames} frames of nonsense came through)");
    let waiting = writer.stats().blocks_waiting;
    assert!(waiting <= PINS as u64 + 64, "nonsense pins hold back {waiting} blocks");
}

#[test]
fn every_impossible_tail_or_length_condemns_the_ring() {
    let waiting_at = AT_PROPOSAL_CONTROL + AT_TAIL;
    for tail in [u64::MAX, 1 << 63, 513, 1000] {
        let (mut node, region) = NodeLane::plain(&lane_config()).unwrap();
        region.store(waiting_at, tail);
        let error = node.proposals.pop(&mut [0; 512]).unwrap_err();
        assert_eq!(error.what, "words waiting");
        region.store(waiting_at, 0);
        assert!(node.proposals.pop(&mut [0; 512]).is_err(), "a condemned ring stays condemned");
        assert!(node.proposals.has_frame(), "and is worth a look, so that it gets closed");
    }
    for length in [u64::MAX, 513, 57, 1 << 32] {
        let (mut node, region) = NodeLane::plain(&lane_config()).unwrap();
        region.store(io_oi_shm::layout::lane::AT_DATA, length);
        region.store(waiting_at, 8); // One word of length and seven of frame: 56 bytes at most.
        let error = node.proposals.pop(&mut [0; 512]).unwrap_err();
        assert_eq!((error.what, error.value, error.limit), ("frame length", length, 56));
    }
}

#[test]
fn an_impossible_head_makes_the_receipt_ring_full_and_nothing_worse() {
    let head_at = AT_RECEIPT_CONTROL + AT_HEAD;
    let (mut node, region) = NodeLane::plain(&lane_config()).unwrap();
    for head in [u64::MAX, 1 << 63, 1] {
        region.store(head_at, head);
        let mut pushed = 0;
        while node.receipts.push(&[7; 64]).is_ok() {
            pushed += 1;
            assert!(pushed <= 57, "more frames than fit");
        }
    }
    assert_eq!(node.receipts.free_frames(64), 0);
}

#[test]
fn nonsense_pins_delay_reuse_only_until_the_client_is_gone() {
    let (node, region) = NodeLane::plain(&lane_config()).unwrap();
    let mut writer = Writer::create(&Config { large_bytes_max: 64 * 1024, ..Config::default() }).unwrap();
    let pins = writer.add_pins(node.pins.clone());
    for pin in 0..PINS {
        region.store(AT_PINS + pin, pin as u64 * 4 + 1);
    }
    let value = [1; 200];
    for sequence in 1..2000 {
        let stamp = Stamp { sequence: Sequence(sequence), ..Stamp::default() };
        writer.publish_committed(b"key", Some(&value), stamp).unwrap();
    }
    let stats = writer.stats();
    assert!(stats.blocks_held_back > 0 && stats.blocks_waiting >= 60, "{stats:?}");
    writer.remove_pins(pins);
    let stats = writer.stats();
    assert_eq!((stats.blocks_waiting, stats.large_used_bytes), (0, 256), "{stats:?}");
}
