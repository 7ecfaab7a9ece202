//! Questions that need no session: a whole answer, a refusal by name, or an error that says what broke.

mod pretend;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use io_oi_client::{AttachError, AttachRefusal, Inquiry, InquiryError, inquire, inquire_within};
use io_oi_record::attach::{Answer, Refused};
use io_oi_record::limits::PACKET_BYTES_MAX;
use pretend::place;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen,
    recv, send, socket_with,
};

/// Answers one question with these packets, then hangs up; gives back what was asked.
fn answering(path: &Path, packets: Vec<Vec<u8>>) -> JoinHandle<Inquiry> {
    let listener =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(path).unwrap()).unwrap();
    listen(&listener, 1).unwrap();
    std::thread::spawn(move || {
        let guest: OwnedFd = accept_with(&listener, SocketFlags::CLOEXEC).unwrap();
        let mut packet = [0; PACKET_BYTES_MAX];
        let (bytes, _) = recv(&guest, &mut packet, RecvFlags::empty()).unwrap();
        for packet in packets {
            // Whoever asked may have heard enough.
            let _ = send(&guest, &packet, SendFlags::NOSIGNAL);
        }
        Inquiry::decode(&packet[..bytes]).unwrap()
    })
}

fn packets(whole: &[u8]) -> Vec<Vec<u8>> {
    Answer::split(whole).map(|part| part.encode().unwrap()).collect()
}

#[test]
fn a_long_answer_comes_in_one_piece() {
    let (_dir, path) = place();
    let whole: Vec<u8> = (0..200_000u32).map(|number| (number % 251) as u8).collect();
    assert!(packets(&whole).len() > 10);
    let node = answering(&path, packets(&whole));
    assert_eq!(inquire(&path, &Inquiry::Prove(b"key".to_vec())).unwrap(), whole);
    assert_eq!(node.join().unwrap(), Inquiry::Prove(b"key".to_vec()));
}

#[test]
fn an_empty_answer_is_an_answer() {
    let (_dir, path) = place();
    let node = answering(&path, packets(b""));
    assert_eq!(inquire(&path, &Inquiry::Status).unwrap(), b"");
    node.join().unwrap();
}

#[test]
fn a_refusal_says_why() {
    let (_dir, path) = place();
    let node = answering(&path, vec![Refused::of(AttachRefusal::NotFound).encode().unwrap()]);
    let error = inquire(&path, &Inquiry::Evidence).unwrap_err();
    assert!(matches!(error, InquiryError::Refused { code: AttachRefusal::NotFound, .. }), "{error:?}");
    node.join().unwrap();
}

#[test]
fn an_answer_that_is_cut_or_garbled_is_none() {
    let long = vec![7; 100_000];
    let mut cut = packets(&long);
    cut.truncate(2);
    let (_dir, path) = place();
    let node = answering(&path, cut);
    let error = inquire(&path, &Inquiry::Status).unwrap_err();
    assert!(matches!(error, InquiryError::Unreachable(AttachError::HungUp)), "{error:?}");
    node.join().unwrap();
    for garbage in [vec![0xaa; 40], Inquiry::Peers.encode().unwrap(), vec![21]] {
        let (_dir, path) = place();
        let node = answering(&path, vec![garbage]);
        let error = inquire(&path, &Inquiry::Status).unwrap_err();
        assert!(matches!(error, InquiryError::Protocol { .. }), "{error:?}");
        node.join().unwrap();
    }
}

#[test]
fn nobody_there_and_nobody_answering_are_told_apart() {
    let (_dir, path) = place();
    let error = inquire(&path, &Inquiry::Status).unwrap_err();
    assert!(matches!(error, InquiryError::Unreachable(AttachError::NodeAbsent { .. })), "{error:?}");
    let listener =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&listener, 1).unwrap();
    let error = inquire_within(&path, &Inquiry::Status, Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, InquiryError::Unreachable(AttachError::TimedOut)), "{error:?}");
}
