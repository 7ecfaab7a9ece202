//! Replies, read back by a decoder that is not ours.

use io_oi_resp::reply::{Protocol, Reply};
use redis_protocol::resp2::decode::decode as decode2;
use redis_protocol::resp2::types::OwnedFrame as Frame2;
use redis_protocol::resp3::decode::complete::decode as decode3;
use redis_protocol::resp3::types::OwnedFrame as Frame3;

fn written(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, protocol, usize::MAX);
    write(&mut reply);
    assert!(!reply.is_cut());
    out
}

fn of_resp2(write: impl FnOnce(&mut Reply<'_>)) -> Frame2 {
    let bytes = written(Protocol::Resp2, write);
    let (frame, used) = decode2(&bytes).unwrap().unwrap();
    assert_eq!(used, bytes.len(), "one reply and no more");
    frame
}

fn of_resp3(write: impl FnOnce(&mut Reply<'_>)) -> Frame3 {
    let bytes = written(Protocol::Resp3, write);
    let (frame, used) = decode3(&bytes).unwrap().unwrap();
    assert_eq!(used, bytes.len(), "one reply and no more");
    frame
}

fn mixture(reply: &mut Reply<'_>) {
    reply.array(5);
    reply.simple("OK");
    reply.integer(i64::MIN);
    reply.bulk(b"\r\n\0");
    reply.null();
    reply.error("ERR two\r\nlines");
}

#[test]
fn lists_of_everything_are_understood_in_both_versions() {
    let Frame2::Array(items) = of_resp2(mixture) else { panic!("a list") };
    assert_eq!(items[0], Frame2::SimpleString(b"OK".to_vec()));
    assert_eq!(items[1], Frame2::Integer(i64::MIN));
    assert_eq!(items[2], Frame2::BulkString(b"\r\n\0".to_vec()));
    assert_eq!(items[3], Frame2::Null);
    assert_eq!(items[4], Frame2::Error("ERR two  lines".to_owned()));
    let Frame3::Array { data, .. } = of_resp3(mixture) else { panic!("a list") };
    assert_eq!(data.len(), 5);
    assert_eq!(data[3], Frame3::Null);
    assert!(matches!(&data[2], Frame3::BlobString { data, .. } if data == b"\r\n\0"));
}

#[test]
fn maps_and_sets_are_lists_in_the_older_version() {
    let pair = |reply: &mut Reply<'_>| {
        reply.map(1);
        reply.text("field");
        reply.integer(1);
    };
    let Frame2::Array(items) = of_resp2(pair) else { panic!("a list") };
    assert_eq!(items.len(), 2);
    let Frame3::Map { data, .. } = of_resp3(pair) else { panic!("a map") };
    assert_eq!(data.len(), 1);
    let set = |reply: &mut Reply<'_>| {
        reply.set(2);
        reply.text("a");
        reply.text("b");
    };
    assert!(matches!(of_resp2(set), Frame2::Array(items) if items.len() == 2));
    assert!(matches!(of_resp3(set), Frame3::Set { data, .. } if data.len() == 2));
}

#[test]
fn texts_for_people_say_so_in_the_newer_version() {
    let text = |reply: &mut Reply<'_>| reply.verbatim("# Server\r\n");
    assert_eq!(of_resp2(text), Frame2::BulkString(b"# Server\r\n".to_vec()));
    assert!(matches!(of_resp3(text), Frame3::VerbatimString { data, .. } if data == b"# Server\r\n"));
    assert_eq!(of_resp2(|reply| reply.null_array()), Frame2::Null);
    assert_eq!(of_resp3(|reply| reply.null_array()), Frame3::Null);
}

#[test]
fn a_reply_beyond_its_bound_is_cut_and_says_so() {
    let mut out = b"sent before".to_vec();
    let mut reply = Reply::new(&mut out, Protocol::Resp2, 40);
    reply.bulk(&[b'x'; 20]);
    assert!(!reply.is_cut());
    reply.bulk(&[b'x'; 20]);
    reply.integer(1);
    assert!(reply.is_cut());
    assert!(out.len() <= 40, "nothing stands behind the cut: {}", out.len());
}
