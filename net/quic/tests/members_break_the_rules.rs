//! A member with a valid key that breaks WIRE.md loses its connection, with the code that the page names.
//!
//! Invariant: what it managed to send before is no frame, and no other peer notices.

mod cable;

use bytes::Bytes;
use cable::hostile::{Hostile, dialler, right_protocol};
use cable::{Place, World};
use io_oi_quic::CloseCode;
use quinn_proto::{Dir, VarInt};

const URGENT: &[u8] = b"io_oi\x01\x00\x00";
const BULK: &[u8] = b"io_oi\x01\x01\x00";

/// What quinn-proto says when the other side closed with this code.
fn closed_with(code: CloseCode) -> String {
    format!("ApplicationClosed(ApplicationClose {{ error_code: {}", code as u32)
}

struct Visit {
    world: World,
    host: Place,
    guest: Hostile,
    now_ns: u64,
}

impl Visit {
    /// A hostile member whose handshake is complete.
    fn begin() -> Self {
        let world = World::new(2);
        let (small, large) = (world.nodes[0], world.nodes[1]);
        let host = world.open(&large, large.config(&[small, large]));
        let mut guest = Hostile::new(world.air.bind(small.addr), None);
        guest.dial(0, &large, dialler(&small, right_protocol()));
        let mut visit = Visit { world, host, guest, now_ns: 0 };
        visit.turns(200);
        assert!(visit.guest.is_connected());
        visit
    }

    /// The same, after both greetings and a frame.
    fn greeted() -> (Self, [quinn_proto::StreamId; 2]) {
        let mut visit = Self::begin();
        let urgent = visit.guest.write(URGENT);
        let bulk = visit.guest.write(BULK);
        visit.guest.connection().send_stream(urgent).write(b"\x05\0\0\0hello").unwrap();
        visit.turns(20);
        assert_eq!(visit.host.frames.pop().unwrap().2, b"hello");
        assert_eq!(visit.host.end.stats().connections, 1);
        (visit, [urgent, bulk])
    }

    fn turns(&mut self, count: u64) {
        for _ in 0..count {
            self.now_ns += cable::TURN_NS;
            self.guest.turn(self.now_ns);
            cable::turn(&mut self.host, self.now_ns);
        }
    }

    fn assert_closed(mut self, sign: &str) {
        self.turns(200);
        let end = self.guest.is_lost().expect("the connection was closed");
        assert!(end.contains(sign), "{end}");
        let small = self.world.nodes[0].key;
        assert!(!self.host.end.is_connected(&small));
        assert!(self.host.frames.is_empty());
        assert_eq!(self.host.end.stats().violations, 1);
    }
}

#[test]
fn a_frame_of_no_bytes_or_of_too_many_closes() {
    for length in [0, 1024 * 1024 + 257, u32::MAX] {
        let (mut visit, [urgent, _]) = Visit::greeted();
        visit.guest.connection().send_stream(urgent).write(&length.to_le_bytes()).unwrap();
        visit.assert_closed(&closed_with(CloseCode::FrameLength));
    }
}

#[test]
fn a_wrong_greeting_closes() {
    for greeting in [*b"io_oi\x02\x00\x00", *b"io_oi\x01\x01\x00", *b"io_oi\x01\x00\x01", *b"GET / HT"] {
        let mut visit = Visit::begin();
        visit.guest.write(&greeting);
        visit.assert_closed(&closed_with(CloseCode::Greeting));
    }
}

#[test]
fn a_wrong_greeting_on_the_second_lane_closes() {
    let mut visit = Visit::begin();
    visit.guest.write(URGENT);
    visit.guest.write(URGENT);
    visit.assert_closed(&closed_with(CloseCode::Greeting));
}

#[test]
fn ending_resetting_or_stopping_a_lane_closes() {
    let (mut visit, [_, bulk]) = Visit::greeted();
    visit.guest.connection().send_stream(bulk).finish().unwrap();
    visit.assert_closed(&closed_with(CloseCode::LaneEnded));

    let (mut visit, [urgent, _]) = Visit::greeted();
    visit.guest.connection().send_stream(urgent).reset(VarInt::from_u32(9)).unwrap();
    visit.assert_closed(&closed_with(CloseCode::LaneEnded));

    let (mut visit, _) = Visit::greeted();
    let theirs = quinn_proto::StreamId::new(quinn_proto::Side::Server, Dir::Uni, 0);
    visit.guest.connection().recv_stream(theirs).stop(VarInt::from_u32(9)).unwrap();
    visit.assert_closed(&closed_with(CloseCode::LaneEnded));
}

#[test]
fn there_is_no_third_stream_none_both_ways_and_no_datagram() {
    let (mut visit, _) = Visit::greeted();
    assert!(visit.guest.connection().streams().open(Dir::Uni).is_none());
    assert!(visit.guest.connection().streams().open(Dir::Bi).is_none());
    assert!(visit.guest.connection().datagrams().max_size().is_none());
    assert!(visit.guest.connection().datagrams().send(Bytes::from_static(b"x"), false).is_err());
}

#[test]
fn a_member_that_never_greets_gets_no_frame_and_never_stands() {
    let mut visit = Visit::begin();
    visit.turns(10_000);
    assert_eq!(visit.host.end.stats().connections, 0);
    assert!(visit.host.notices.is_empty());
}

#[test]
fn a_member_that_reconnects_for_ever_is_slowed_down() {
    let world = World::new(2);
    let (small, large) = (world.nodes[0], world.nodes[1]);
    let mut host = world.open(&large, large.config(&[small, large]));
    let mut now_ns = 0;
    let mut connected = 0;
    for _ in 0..200 {
        let mut guest = Hostile::new(world.air.bind(small.addr), None);
        guest.dial(now_ns, &large, dialler(&small, right_protocol()));
        for _ in 0..20 {
            now_ns += cable::TURN_NS;
            guest.turn(now_ns);
            cable::turn(&mut host, now_ns);
        }
        connected += u32::from(guest.is_connected());
    }
    // 16 at once and 20 a second: 200 milliseconds allow 20, not 200.
    assert!((16..=21).contains(&connected), "{connected} handshakes");
}
