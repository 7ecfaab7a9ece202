//! What the host is like, and what it lacks for steady latencies.
//!
//! Invariant: what cannot be read on this host is reported as not applicable, never as good.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::report::{self, Ns};

/// The host section of a report.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Host {
    /// `quiet` or `noisy`.
    pub verdict: &'static str,
    /// The kernel keeps other threads off at least one CPU.
    pub isolated: bool,
    /// The longest stop of a spinning thread in a window of 100 µs, 99.9th percentile.
    pub hiccup_p99_9_ns: Ns,
    /// Everything looked at.
    pub checks: Vec<Check>,
}

/// One property of the host.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What was found.
    pub found: String,
    /// What steady latencies want, and why.
    pub wanted: &'static str,
    /// Whether it is so.
    pub state: State,
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// As wanted.
    Good,
    /// Not as wanted.
    Lacking,
    /// This host has no such thing, or does not tell.
    NotApplicable,
}

impl Default for Ns {
    fn default() -> Self {
        Self(0.0)
    }
}

impl Host {
    /// Looks at the host; the hiccup figure comes from a short measurement of its own.
    pub(crate) fn look(hiccup_p99_9_ns: f64) -> Self {
        let checks = vec![
            isolation(),
            governor(),
            clock_source(),
            idle_states(),
            transparent_huge_pages(),
            huge_pages(),
            swap(),
            cores(),
        ];
        let isolated = checks[0].state == State::Good;
        let quiet = hiccup_p99_9_ns < QUIET_NS;
        Self {
            verdict: if quiet { "quiet" } else { "noisy" },
            isolated,
            hiccup_p99_9_ns: Ns(hiccup_p99_9_ns),
            checks,
        }
    }

    /// For people: what the host lacks.
    pub(crate) fn table(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .checks
            .iter()
            .map(|check| {
                let state = match check.state {
                    State::Good => "good",
                    State::Lacking => "lacking",
                    State::NotApplicable => "n/a",
                };
                vec![check.name.to_owned(), state.to_owned(), check.found.clone(), check.wanted.to_owned()]
            })
            .collect();
        let hiccup = self.hiccup_p99_9_ns;
        format!("host: {} (a spinning thread stops for {hiccup} at p99.9)\n", self.verdict)
            + &report::align(&["check", "state", "found", "wanted"], &rows)
    }
}

/// CPUs this process may use.
pub(crate) fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn isolation() -> Check {
    let found = read("/sys/devices/system/cpu/isolated");
    let state = match found.as_deref() {
        None => State::NotApplicable,
        Some("") => State::Lacking,
        Some(_) => State::Good,
    };
    let found = found.map(|cpus| if cpus.is_empty() { "none".into() } else { cpus });
    check("isolated-cpus", found, state, "isolcpus= or a cpuset for the shards: no neighbour takes the core")
}

fn governor() -> Check {
    let found = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    let state = good_if(found.as_deref(), |governor| governor == "performance");
    check("governor", found, state, "performance: no clock ramps")
}

fn clock_source() -> Check {
    let found = read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let state =
        good_if(found.as_deref(), |source| matches!(source, "tsc" | "kvm-clock" | "arch_sys_counter"));
    check("clock-source", found, state, "tsc (or kvm-clock): reading the time costs no syscall")
}

fn idle_states() -> Check {
    let driver = read("/sys/devices/system/cpu/cpuidle/current_driver");
    let deepest = (0..10)
        .map_while(|state| read(format!("/sys/devices/system/cpu/cpu0/cpuidle/state{state}/latency")))
        .filter_map(|latency| latency.parse::<u64>().ok())
        .max();
    let state = match deepest {
        Some(latency_us) if latency_us <= 2 => State::Good,
        Some(_) => State::Lacking,
        None => State::NotApplicable,
    };
    let found = match (driver, deepest) {
        (Some(driver), Some(latency_us)) => Some(format!("{driver}, deepest wakes in {latency_us} µs")),
        (driver, _) => driver,
    };
    check("idle-states", found, state, "at most C1: a core that sleeps deeper wakes late")
}

fn transparent_huge_pages() -> Check {
    let found = read("/sys/kernel/mm/transparent_hugepage/enabled").and_then(|line| chosen(&line));
    let state = good_if(found.as_deref(), |mode| mode != "always");
    check(
        "transparent-huge-pages",
        found,
        state,
        "madvise or never: no compaction stalls behind a page fault",
    )
}

fn huge_pages() -> Check {
    let found = read("/proc/sys/vm/nr_hugepages");
    let state = good_if(found.as_deref(), |count| count != "0");
    check("reserved-huge-pages", found, state, "some: large hot tiers miss the TLB less")
}

fn swap() -> Check {
    let areas = read("/proc/swaps").map(|table| table.lines().count().saturating_sub(1));
    let state = match areas {
        None => State::NotApplicable,
        Some(0) => State::Good,
        Some(_) => State::Lacking,
    };
    check(
        "swap",
        areas.map(|areas| format!("{areas} area(s)")),
        state,
        "none: a swapped page costs milliseconds",
    )
}

fn cores() -> Check {
    let count = core_count();
    let state = if count >= 4 { State::Good } else { State::Lacking };
    let wanted = "4 or more: node, disk worker, strategy and everything else each run on their own";
    check("cores", Some(count.to_string()), state, wanted)
}

fn check(name: &'static str, found: Option<String>, state: State, wanted: &'static str) -> Check {
    Check { name, found: found.unwrap_or_else(|| "not shown by this host".into()), wanted, state }
}

fn good_if(found: Option<&str>, good: impl Fn(&str) -> bool) -> State {
    match found {
        None => State::NotApplicable,
        Some(found) if good(found) => State::Good,
        Some(_) => State::Lacking,
    }
}

/// The word in brackets of `always [madvise] never`.
fn chosen(line: &str) -> Option<String> {
    let (_, rest) = line.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// A stop longer than this in one of a thousand windows shows in every tail that the probe prints.
const QUIET_NS: f64 = 50_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_word_stands_in_brackets() {
        assert_eq!(chosen("always [madvise] never").as_deref(), Some("madvise"));
        assert_eq!(chosen("madvise"), None);
    }

    #[test]
    fn every_check_has_a_finding_and_the_verdict_follows_the_hiccups() {
        let host = Host::look(1e6);
        assert_eq!(host.verdict, "noisy");
        assert!(host.checks.iter().all(|check| !check.found.is_empty() && !check.wanted.is_empty()));
        assert_eq!(Host::look(10.0).verdict, "quiet");
    }

    #[test]
    fn a_missing_file_is_not_applicable() {
        assert_eq!(good_if(read("/nonexistent").as_deref(), |_| true), State::NotApplicable);
    }
}
