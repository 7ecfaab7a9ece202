//! The handshake's words: limits, versions, and strangers at the door.

use io_oi_record::attach::{
    ATTACH_VERSION, Answer, AttachRefusal, DOOR_DESCRIPTORS, HELLO_MAGIC, Hello, Inquiry, Packet, Refused,
    ShardDoor, Submission, Welcome,
};
use io_oi_record::limits::{
    ANSWER_BYTES_MAX, KEY_BYTES_MAX, PACKET_BYTES_MAX, PREFIX_BYTES_MAX, PREFIXES_MAX,
    REFUSAL_TEXT_BYTES_MAX, SHIPMENT_BYTES_MAX,
};
use io_oi_record::*;

use crate::corpus::packets;

fn welcome() -> Welcome {
    match packets().swap_remove(2).1 {
        Packet::Welcome(welcome) => welcome,
        other => panic!("the third is the welcome: {other:?}"),
    }
}

#[test]
fn a_hello_of_this_program_is_understood() {
    let hello = Hello::new("maker".into(), None);
    assert_eq!(hello.verdict(), Ok(()));
    let newer = Hello { attach_version: ATTACH_VERSION + 1, ..hello.clone() };
    assert_eq!(newer.verdict(), Err(AttachRefusal::VersionUnknown));
    let stranger = Hello { magic: HELLO_MAGIC ^ 1, ..hello };
    assert_eq!(stranger.verdict(), Err(AttachRefusal::Malformed));
}

#[test]
fn garbage_at_the_door_is_answered_with_a_reason() {
    for garbage in [&b""[..], b"\x10", b"GET / HTTP/1.1\r\n\r\n", &[0; 64], &[0xFF; PACKET_BYTES_MAX]] {
        let error = Packet::decode(garbage).expect_err("garbage");
        assert_eq!(AttachRefusal::from(&error), AttachRefusal::Malformed, "{error}");
    }
    let mut newer = Hello::new("maker".into(), None).encode().expect("valid");
    newer[1] = 2;
    let error = Packet::decode(&newer).expect_err("a newer format");
    assert_eq!(AttachRefusal::from(&error), AttachRefusal::VersionUnknown);
}

#[test]
fn oversized_packets_are_refused_before_they_are_read() {
    let mut bytes = Hello::new("maker".into(), None).encode().expect("valid");
    bytes.resize(PACKET_BYTES_MAX + 1, 0);
    assert!(matches!(Hello::decode(&bytes), Err(DecodeError::TooLong { max: PACKET_BYTES_MAX, .. })));
}

#[test]
fn broken_limits_do_not_go_out() {
    let long_name = Hello::new("x".repeat(129), None);
    assert!(matches!(long_name.encode(), Err(EncodeError::TooLong { max: 128, .. })));
    let many = Welcome { prefixes: vec![vec![]; PREFIXES_MAX + 1], ..welcome() };
    assert!(matches!(many.encode(), Err(EncodeError::TooLong { max: PREFIXES_MAX, .. })));
    let long = Welcome { prefixes: vec![vec![0; PREFIX_BYTES_MAX + 1]], ..welcome() };
    assert!(matches!(long.encode(), Err(EncodeError::TooLong { max: PREFIX_BYTES_MAX, .. })));
    let none = Welcome { shards: 0, ..welcome() };
    assert!(matches!(none.encode(), Err(EncodeError::Empty { .. })));
    assert!(ShardDoor { shard: ShardId(64) }.encode().is_err());
    let text = "x".repeat(REFUSAL_TEXT_BYTES_MAX + 1);
    assert!(Refused { code: AttachRefusal::NotReady, text }.encode().is_err());
}

#[test]
fn the_largest_welcome_fits_one_packet() {
    let largest = Welcome { prefixes: vec![vec![7; PREFIX_BYTES_MAX]; PREFIXES_MAX], ..welcome() };
    let bytes = largest.encode().expect("within the limits");
    assert!(bytes.len() <= PACKET_BYTES_MAX, "{} bytes", bytes.len());
    assert_eq!(Welcome::decode(&bytes), Ok(largest));
}

#[test]
fn every_refusal_has_a_name_and_says_what_to_do() {
    let mut names: Vec<&str> = AttachRefusal::ALL.iter().map(|refusal| refusal.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), AttachRefusal::ALL.len());
    for refusal in AttachRefusal::ALL {
        assert!(refusal.text().contains(": "), "{refusal}");
        assert!(Refused::of(refusal).encode().is_ok());
    }
    assert_eq!(DOOR_DESCRIPTORS.len(), 5);
}

#[test]
fn a_long_answer_is_cut_into_packets_that_join_again() {
    for length in [0, 1, ANSWER_BYTES_MAX, ANSWER_BYTES_MAX + 1, 3 * ANSWER_BYTES_MAX] {
        let whole: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let (mut joined, mut last_count) = (Vec::new(), 0);
        for answer in Answer::split(&whole) {
            let bytes = answer.encode().expect("within the limits");
            assert!(bytes.len() <= PACKET_BYTES_MAX);
            let read = Answer::decode(&bytes).expect("valid");
            assert_eq!(last_count, 0, "nothing follows the last");
            last_count += usize::from(read.is_last);
            joined.extend(read.bytes);
        }
        assert!(joined == whole && last_count == 1, "{length} bytes");
    }
}

#[test]
fn the_largest_inquiry_fits_one_packet_and_no_larger_one_goes_out() {
    let largest = Submission { shard: ShardId(63), signed: vec![1; SHIPMENT_BYTES_MAX] };
    for (inquiry, too_large) in [
        (Inquiry::Prove(vec![1; KEY_BYTES_MAX]), Inquiry::Prove(vec![1; KEY_BYTES_MAX + 1])),
        (
            Inquiry::Govern(largest.clone()),
            Inquiry::Govern(Submission { signed: vec![1; SHIPMENT_BYTES_MAX + 1], ..largest.clone() }),
        ),
    ] {
        let bytes = inquiry.encode().expect("within the limits");
        assert!(bytes.len() <= PACKET_BYTES_MAX);
        assert_eq!(Inquiry::decode(&bytes), Ok(inquiry));
        assert!(matches!(too_large.encode(), Err(EncodeError::TooLong { .. })));
    }
    assert!(matches!(Inquiry::Prove(vec![]).encode(), Err(EncodeError::Empty { .. })));
    assert!(Inquiry::Govern(Submission { shard: ShardId(64), ..largest }).encode().is_err());
}
