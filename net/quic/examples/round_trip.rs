//! Prints what a round trip of a small urgent frame costs: `round_trip [count] [frame bytes]`.
//!
//! Invariant: both threads are pinned to processors of their own where the machine has two.

use io_oi_quic::Limits;
use io_oi_quic::floor::{Idle, RoundTrip, measure_round_trip};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustix::thread::{CpuSet, sched_setaffinity};

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
    Ok(())
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
