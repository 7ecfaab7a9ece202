//! latency-probe: floors, latencies and real market replay.

fn main() {}
