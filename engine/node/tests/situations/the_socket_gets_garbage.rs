//! Whatever is said on the attach socket, the one who said it gets a clear refusal and everybody else goes on.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use io_oi_record::attach::{AttachRefusal, Hello, Resume};
use io_oi_record::token::SessionToken;
use io_oi_record::{NodeTag, SessionId};

use crate::raw::{Heard, RawClient};
use crate::support::{NodeProcess, Random, counter, eventually, put};

#[test]
fn garbage_is_refused_and_counted_and_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &["handshake_ms=100"]);
    let mut client = node.attach();
    let mut random = Random::seeded();
    let hello = Hello::new("x".to_owned(), None).encode().unwrap();
    for round in 0..200u64 {
        let raw = RawClient::connect(&node.socket);
        let mut packet =
            if round % 2 == 0 { vec![0; 1 + random.below(4096) as usize] } else { hello.clone() };
        if round % 2 == 0 {
            packet.iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        } else {
            let at = random.below(packet.len() as u64) as usize;
            packet[at] ^= 1 << random.below(8);
        }
        raw.say(&packet);
        // A flipped bit in the name is still a hello; everything else is refused with a reason.
        if let (Heard::Packet(answer), _) = raw.hear()
            && let Ok(refused) = io_oi_record::attach::Refused::decode(&answer)
        {
            assert!(matches!(
                refused.code,
                AttachRefusal::Malformed | AttachRefusal::VersionUnknown | AttachRefusal::ResumeRefused
            ));
        }
        if round % 50 == 0 {
            assert!(put(&mut client, b"others", &round.to_le_bytes()).is_accepted());
        }
    }
    eventually("every stranger is gone", || {
        counter(&client, "clients_now") == 1 && counter(&client, "lanes_now") == 1
    });
    eventually("they are counted", || counter(&client, "attaches_malformed") >= 100);
    assert!(put(&mut client, b"others", b"at last").is_accepted());
    node.stop();
}

#[test]
fn each_kind_of_nonsense_has_its_own_answer() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &["handshake_ms=100"]);
    let say = |packet: &[u8]| {
        let raw = RawClient::connect(&node.socket);
        raw.say(packet);
        raw.hear_refusal()
    };
    assert_eq!(say(b"GET / HTTP/1.1\r\n\r\n"), AttachRefusal::Malformed);
    assert_eq!(say(&[0; 20_000]), AttachRefusal::Malformed, "longer than any packet");
    let mut newer = Hello::new("x".to_owned(), None);
    newer.attach_version += 1;
    assert_eq!(say(&newer.encode().unwrap()), AttachRefusal::VersionUnknown);
    newer.magic = 0;
    assert_eq!(say(&newer.encode().unwrap()), AttachRefusal::Malformed);
    let session = SessionId { node: NodeTag(1), boot: 1, counter: 1 };
    let forged = Hello::new("x".to_owned(), Some(Resume { session, token: SessionToken([1; 32]) }));
    assert_eq!(say(&forged.encode().unwrap()), AttachRefusal::ResumeRefused);
    assert_eq!(RawClient::connect(&node.socket).hear_refusal(), AttachRefusal::Malformed, "who says nothing");
    assert!(UnixStream::connect(&node.socket).is_err(), "a stream socket is another kind");

    let inside = RawClient::attach(&node.socket, None).unwrap();
    inside.raw.say(b"one word too many");
    assert_eq!(inside.raw.hear_refusal(), AttachRefusal::Malformed);
    node.stop();
}

#[test]
fn strangers_by_user_id_stay_outside() {
    // Every process of this test runs as one user; a rule that binds it shows in what it may write.
    let dir = tempfile::tempdir().unwrap();
    let uid = rustix::process::geteuid().as_raw();
    let rule = format!("clients=[{{uid = {uid}, prefixes = [\"mine/\"]}}]");
    let node = NodeProcess::start(dir.path(), &[&rule]);
    let mut inside = RawClient::attach(&node.socket, None).unwrap();
    assert_eq!(inside.welcome.prefixes, [b"mine/".to_vec()]);
    let mut put = |session_sequence, key: &[u8]| {
        crate::a_client_writes_nonsense::push_put(&mut inside, session_sequence, key, b"v");
        inside.receipt_for(session_sequence).outcome
    };
    assert_eq!(put(1, b"mine/1"), io_oi_record::Outcome::Accepted);
    let refused = io_oi_record::Outcome::Refused(io_oi_record::RefusalCode::PrefixNotAllowed);
    assert_eq!(put(2, b"yours/1"), refused);
    node.stop();
}

#[test]
fn a_stranger_is_refused_before_it_says_a_word() {
    const STRANGER: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can be somebody else");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // A guest opens the socket to all users.
    let node = NodeProcess::start(dir.path(), &["clients=[{uid = 4711}]", "handshake_ms=60_000"]);
    std::thread::scope(|scope| {
        let stranger = scope.spawn(|| {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(STRANGER)).unwrap();
            RawClient::connect(&node.socket).hear_refusal()
        });
        assert_eq!(stranger.join().unwrap(), AttachRefusal::UserNotAllowed);
    });
    assert!(put(&mut node.attach(), b"k", b"v").is_accepted());
    node.stop();
}

#[test]
fn the_last_seat_is_refused_politely() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &["lane.proposal_bytes=262_144"]);
    let mut seated = Vec::new();
    let refusal = loop {
        match RawClient::attach(&node.socket, None) {
            Ok(inside) => seated.push(inside),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, AttachRefusal::ClientsFull);
    assert_eq!(seated.len(), io_oi_record::limits::CLIENTS_MAX);
    seated.pop();
    let mut client = node.attach();
    assert!(put(&mut client, b"k", b"v").is_accepted());
    node.stop();
}
