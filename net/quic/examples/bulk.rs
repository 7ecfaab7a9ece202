//! Prints how fast long frames pass over loopback, by the longest datagram: `bulk [mebibytes]`.
//!
//! Invariant: every frame is answered by a small one, and all of both arrived before the clock stops.

use io_oi_quic::{Config, Endpoint, Key, Lane, Limits, Peer};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

const FRAME_BYTES: usize = 1024 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count = std::env::args().nth(1).map(|word| word.parse::<usize>()).transpose()?.unwrap_or(400);
    for mtu_max in [1452, 8952] {
        let limits = Limits { mtu_max, ..Limits::default() };
        let (from, to) = pair(limits)?;
        let megabytes = run(from, to, count);
        println!("{count} frames of 1 MiB, datagrams up to {mtu_max} B: {megabytes:.0} MB/s");
    }
    Ok(())
}

struct End {
    endpoint: Endpoint,
    other: Key,
}

/// Two ends on loopback that know each other.
fn pair(limits: Limits) -> Result<(End, End), Box<dyn std::error::Error>> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let keys = [key(1)?, key(2)?];
    let open = |index: usize| {
        let (secret, own) = keys[index];
        let config = Config { own, secret, cluster: [0; 32], shard: 0, seed: 1, peers: Vec::new(), limits };
        Endpoint::bind(any, config)
    };
    let (mut one, mut two) = (open(0)?, open(1)?);
    let (at_one, at_two) = (one.local_addr(), two.local_addr());
    one.set_peers(&[Peer { key: keys[1].1, addr: at_two }]);
    two.set_peers(&[Peer { key: keys[0].1, addr: at_one }]);
    Ok((End { endpoint: one, other: keys[1].1 }, End { endpoint: two, other: keys[0].1 }))
}

fn key(number: u8) -> Result<([u8; 32], Key), Box<dyn std::error::Error>> {
    let secret = [number; 32];
    let pair = Ed25519KeyPair::from_seed_unchecked(&secret).map_err(|fault| fault.to_string())?;
    Ok((secret, pair.public_key().as_ref().try_into()?))
}

/// Megabytes a second, from the first frame given to the last answer taken.
fn run(mut from: End, to: End, count: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || answer(to, count, start));
        while !from.endpoint.is_connected(&from.other) {
            turn(&mut from, start);
        }
        let frame = vec![7; FRAME_BYTES];
        let (mut sent, mut answered) = (0, 0);
        let begin = Instant::now();
        while answered < count {
            while sent < count && from.endpoint.send(&from.other, Lane::Bulk, &frame).is_ok() {
                sent += 1;
            }
            turn(&mut from, start);
            while from.endpoint.next_frame().is_some() {
                answered += 1;
            }
            from.endpoint.flush();
        }
        (count * FRAME_BYTES) as f64 / 1e6 / begin.elapsed().as_secs_f64()
    })
}

fn answer(mut end: End, count: usize, start: Instant) {
    let (mut taken, mut answered) = (0, 0);
    // The last answer may be lost on the way: stay until the other end leaves.
    while answered < count || end.endpoint.is_connected(&end.other) {
        turn(&mut end, start);
        while end.endpoint.next_frame().is_some() {
            taken += 1;
        }
        while answered < taken && end.endpoint.send(&end.other, Lane::Urgent, b"taken").is_ok() {
            answered += 1;
        }
        end.endpoint.flush();
    }
}

fn turn(end: &mut End, start: Instant) {
    if !end.endpoint.poll(start.elapsed().as_nanos() as u64) {
        std::thread::yield_now();
    }
}
