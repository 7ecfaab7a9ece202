//! What the protocol promises between real processes, and what it refuses.

#[path = "../cluster/mod.rs"]
#[allow(dead_code, reason = "each test program uses its part of the cluster")]
mod cluster;
#[path = "../situations/support.rs"]
#[allow(dead_code, reason = "each test program uses its part of the support")]
mod support;
