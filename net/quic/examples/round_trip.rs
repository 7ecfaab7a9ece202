//! Prints what a round trip of a small urgent frame costs: `round_trip [count] [frame bytes]`.
//!
//! Invariant: both threads are pinned to processors of their own where the machine has two.

use io_oi_quic::floor::{Idle, RoundTrip, measure_round_trip};
use io_oi_quic::memory::Air;
use io_oi_quic::{Config, Endpoint, Lane, Limits, Peer};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::net::SocketAddr;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<usize>());
    let count = numbers.next().transpose()?.unwrap_or(50_000);
    let frame_bytes = numbers.next().transpose()?.unwrap_or(128);
    for idle in [Idle::Spin, Idle::Yield, Idle::Park] {
        let plan =
            RoundTrip { keys: [key(1)?, key(2)?], frame_bytes, count, idle, limits: Limits::default() };
        let mut samples = measure_round_trip(&plan, pin)?;
        samples.sort_unstable();
        let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize] as f64 / 1_000.0;
        println!(
            "{idle:?}: {frame_bytes} B, {count} round trips: p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs",
            at(0.5),
            at(0.99),
            at(0.999),
        );
    }
    let both_ns = protocol_ns(count, frame_bytes)?;
    println!("Both ends in one thread, no socket: p50 {:.1} µs", both_ns as f64 / 1_000.0);
    Ok(())
}

/// What protocol and cryptography cost of it: two ends on a network in memory, in one thread.
fn protocol_ns(count: usize, frame_bytes: usize) -> Result<u64, Box<dyn std::error::Error>> {
    let air = Air::new();
    let keys = [key(1)?, key(2)?];
    let addrs = [1, 2].map(|number| SocketAddr::from(([10, 0, 0, number], 7_000)));
    let mut ends = Vec::new();
    for (index, (secret, own)) in keys.iter().copied().enumerate() {
        let peers = vec![Peer { key: keys[1 - index].1, addr: addrs[1 - index] }];
        let limits = Limits::default();
        let config = Config { own, secret, cluster: [0; 32], shard: 0, seed: 1, peers, limits };
        ends.push(Endpoint::with_io(air.bind(addrs[index]), config)?);
    }
    let start = Instant::now();
    let now_ns = || start.elapsed().as_nanos() as u64;
    while !(ends[0].is_connected(&keys[1].1) && ends[1].is_connected(&keys[0].1)) {
        for end in &mut ends {
            end.poll(now_ns());
        }
    }
    let frame = vec![5; frame_bytes];
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = Instant::now();
        for (from, to) in [(0, 1), (1, 0)] {
            ends[from].send(&keys[to].1, Lane::Urgent, &frame)?;
            ends[from].flush();
            while ends[to].poll(now_ns()) {
                while ends[to].next_frame().is_some() {}
            }
        }
        samples.push(begin.elapsed().as_nanos() as u64);
    }
    samples.sort_unstable();
    Ok(samples[samples.len() / 2])
}

/// The public half of a fixed secret: this is a measurement, not a node.
fn key(number: u8) -> Result<([u8; 32], [u8; 32]), Box<dyn std::error::Error>> {
    let secret = [number; 32];
    let pair = Ed25519KeyPair::from_seed_unchecked(&secret).map_err(|fault| fault.to_string())?;
    Ok((secret, pair.public_key().as_ref().try_into()?))
}

fn pin(thread: usize) {
    let mut set = CpuSet::new();
    set.set(thread);
    // A machine with one processor measures unpinned.
    let _ = sched_setaffinity(None, &set);
}
