//! Clusters of three and five real processes under load while things break: kills, stops, cuts, slow and full disks.
//!
//! Every test records what its clients were told, and must find one order that explains it, every acknowledged record
//! on every node, and the same state everywhere once the faults are over. The long form runs with `IO_OI_NIGHTLY=1`.

#[path = "../cluster/mod.rs"]
#[allow(dead_code, reason = "each test program uses its part of the cluster")]
mod cluster;
#[path = "../situations/support.rs"]
#[allow(dead_code, reason = "each test program uses its part of the support")]
mod support;

mod disks_fail;
mod many_processes_break;
mod nemesis;
mod one_process_breaks;
mod rounds;

/// Two clusters side by side on two cores would only wait for each other.
fn one_cluster_at_a_time() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
