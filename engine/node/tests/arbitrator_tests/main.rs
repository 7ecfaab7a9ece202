//! Arbitrators in real processes: deployed through the log, asked on every proposal, asked again by every follower.

#[path = "../cluster/mod.rs"]
#[allow(dead_code, reason = "each test program uses its part of the cluster")]
mod cluster;
#[path = "../situations/raw.rs"]
#[allow(dead_code, reason = "each test program uses its part of the attach protocol")]
mod raw;
#[path = "../situations/support.rs"]
#[allow(dead_code, reason = "each test program uses its part of the support")]
mod support;

mod accounts;
mod deployment;
mod general_tier;
mod life_cycle;
mod limits_are_enforced;
mod operators_set_limits;
#[cfg(feature = "planted")]
mod who_tampers;

/// Two clusters side by side on two cores would only wait for each other.
fn one_cluster_at_a_time() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
