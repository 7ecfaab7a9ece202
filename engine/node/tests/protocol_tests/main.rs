//! What the protocol promises between real processes, and what it refuses.

#[path = "../cluster/mod.rs"]
#[allow(dead_code, reason = "each test program uses its part of the cluster")]
mod cluster;
#[path = "../situations/raw.rs"]
#[allow(dead_code, reason = "each test program uses its part of the attach protocol")]
mod raw;
#[path = "../situations/support.rs"]
#[allow(dead_code, reason = "each test program uses its part of the support")]
mod support;

mod disks_and_members;
mod malformed_packets;
mod replays;
mod the_note_before_the_signature;
mod who_signs_twice;

/// Two clusters side by side on two cores would only wait for each other.
fn one_cluster_at_a_time() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
