//! io_oi: one binary for node, operators and demonstrations.

fn main() {}
