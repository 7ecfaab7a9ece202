//! A client that was let in writes what it should not: it loses its lane, everybody else goes on.

use io_oi_record::attach::AttachRefusal;
use io_oi_record::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use io_oi_record::{Durability, Operation, Outcome, Precondition, Proposal, RefusalCode, SessionSequence};

use crate::raw::{Inside, RawClient};
use crate::support::{NodeProcess, Random, counter, eventually, put};

fn encoded(session_sequence: u64, operation: Operation, key: &[u8], value: &[u8]) -> Vec<u8> {
    let proposal = Proposal {
        session_sequence: SessionSequence(session_sequence),
        operation,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        key,
        value,
    };
    let mut frame = vec![0; proposal.encoded_bytes()];
    proposal.encode(&mut frame).unwrap();
    frame
}

pub(crate) fn push_put(inside: &mut Inside, session_sequence: u64, key: &[u8], value: &[u8]) {
    inside.lane.proposals.push(&encoded(session_sequence, Operation::Put, key, value)).unwrap();
}

#[test]
fn a_badly_shaped_proposal_is_answered_by_name_and_the_lane_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &["idle=yield"]);
    let mut inside = RawClient::attach(&node.socket, None).unwrap();
    // Lengths of the head set by hand: the encoder would not write them.
    let with_lengths = |session_sequence, key_bytes: u16, value_bytes: u32| {
        let mut frame = encoded(session_sequence, Operation::Put, b"k", b"v");
        frame[6..8].copy_from_slice(&key_bytes.to_le_bytes());
        frame[8..12].copy_from_slice(&value_bytes.to_le_bytes());
        frame
    };
    let cases = [
        (with_lengths(1, KEY_BYTES_MAX as u16 + 1, 0), 1, RefusalCode::KeyTooLong),
        (with_lengths(2, 1, VALUE_BYTES_MAX as u32 + 1), 2, RefusalCode::ValueTooLong),
        (with_lengths(3, 0, 2), 3, RefusalCode::KeyEmpty),
        (encoded(4, Operation::StartEpoch, b"", b""), 4, RefusalCode::Malformed),
        (encoded(5, Operation::OpenSession, b"", b""), 5, RefusalCode::Malformed),
    ];
    for (frame, session_sequence, code) in cases {
        inside.lane.proposals.push(&frame).unwrap();
        assert_eq!(inside.receipt_for(session_sequence).outcome, Outcome::Refused(code));
    }
    push_put(&mut inside, 6, &[7; KEY_BYTES_MAX], &vec![7; VALUE_BYTES_MAX]);
    assert_eq!(inside.receipt_for(6).outcome, Outcome::Accepted, "the largest allowed is taken");
    node.stop();
}

#[test]
fn bytes_that_are_no_proposal_end_the_lane_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &["idle=yield"]);
    let mut client = node.attach();
    let mut random = Random::seeded();
    for round in 0..20u64 {
        let mut inside = RawClient::attach(&node.socket, None).unwrap();
        push_put(&mut inside, 1, b"before", b"v");
        assert_eq!(inside.receipt_for(1).outcome, Outcome::Accepted);
        let mut frame = vec![0; random.below(300) as usize];
        frame.iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        inside.lane.proposals.push(&frame).unwrap();
        let receipt = inside.receipt_for(0);
        assert_eq!(receipt.outcome, Outcome::Refused(RefusalCode::Malformed));
        assert_eq!(inside.raw.hear_refusal(), AttachRefusal::Malformed);
        assert!(put(&mut client, b"others", &round.to_le_bytes()).is_accepted());
    }
    eventually("the broken lanes are counted", || counter(&client, "malformed") == 20);
    eventually("the broken lanes are gone", || counter(&client, "lanes_now") == 1);
    assert_eq!(counter(&client, "lanes_broken"), 20);
    node.stop();
}

#[test]
fn scribbling_over_the_whole_lane_hurts_only_the_scribbler() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &["idle=yield", "lane.proposal_bytes=262_144"]);
    let mut client = node.attach();
    let mut random = Random::seeded();
    for round in 0..10u64 {
        let mut inside = RawClient::attach(&node.socket, None).unwrap();
        push_put(&mut inside, 1, b"before", b"v");
        let bytes = rustix::fs::fstat(&inside.lane_descriptor).unwrap().st_size as usize;
        let mut scribble = vec![0u8; bytes];
        scribble.iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        rustix::io::pwrite(&inside.lane_descriptor, &scribble, 0).unwrap();
        assert!(put(&mut client, b"others", &round.to_le_bytes()).is_accepted());
        assert_eq!(inside.raw.hear_refusal(), AttachRefusal::Malformed);
    }
    eventually("the scribblers are gone", || counter(&client, "lanes_now") == 1);
    assert!(put(&mut client, b"others", b"at last").is_accepted());
    node.stop();
}
