//! The checkers bite: each bug that is put in on purpose is found within so many seeds.
//!
//! The bugs around the machines (a careless daemon, a lying member) are in every build; those inside the machines in builds
//! with `--features planted`.

use io_oi_sim::{Bug, Options, run};

/// The checkers look at every message, commit, receipt and value, so most bugs show themselves in the first seeds.
const FOUND_WITHIN: &[(&str, u64)] = &[
    ("durable-early", 3),
    ("daemon-no-withdrawal", 12),
    ("read-without-lease", 100),
    ("false-ack", 6),
    ("shows-tentative-as-committed", 3),
    ("no-promise-file", 6),
    ("forgets-mute", 100),
    ("grant-unflushed", 6),
    ("claim-unflushed", 6),
    ("grant-twice", 12),
    ("ack-unflushed", 6),
    ("commits-alone", 6),
    ("commits-old-epoch", 12),
    ("publishes-held", 6),
    ("no-withdrawal", 12),
    ("grant-stale-log", 30),
    ("counts-acks-twice", 12),
    ("commits-unmatched", 12),
    ("forgets-sessions", 6),
    ("lease-too-long", 100),
    ("lease-without-quorum", 67),
    ("lease-before-commit", 12),
    ("votes-unflushed", 6),
    ("two-headers", 6),
    ("two-votes", 6),
    ("wrong-verdict", 6),
];

/// Bugs that need more seeds than a test has time for, each with the first one that shows it: that one is run here, and all
/// before it by `cargo xtask sim --planted all`. Two headers that only meet when followers show them to each other take a
/// leader that lies and a world in which nothing else goes wrong; a leader that is deposed too early is still the only one
/// whose log is new as long as anything is written.
const FOUND_AT: &[(&str, u64)] = &[("keeps-headers", 233), ("not-sticky", 273)];

fn is_found(bug: Bug, seed: u64) -> bool {
    let options = Options { seed, is_idle: bug.hides_in_traffic(), bug: Some(bug), ..Options::default() };
    std::panic::catch_unwind(|| run(&options)).map_or(true, |outcome| outcome.violation.is_some())
}

#[test]
fn each_bug_that_hides_is_found_by_its_seed() {
    for (name, seed) in FOUND_AT {
        let Some(bug) = Bug::named(name) else { continue };
        assert!(is_found(bug, *seed), "{name} was not found by seed {seed}: look for another one");
    }
    let named = FOUND_WITHIN.iter().chain(FOUND_AT).map(|(name, _)| *name);
    let named: std::collections::BTreeSet<&str> = named.collect();
    let unnamed: Vec<_> = Bug::all().into_iter().filter(|bug| !named.contains(bug.name())).collect();
    assert!(unnamed.is_empty(), "how soon is it found? {unnamed:?}");
}

/// The lease is looked at whenever anybody commits, so what breaks it shows at once, whether a client reads or not.
#[test]
fn each_planted_bug_is_found_within_its_seeds() {
    let mut hunted = 0;
    for (name, seeds) in FOUND_WITHIN {
        let Some(bug) = Bug::named(name) else { continue };
        hunted += 1;
        match (1..=*seeds).find(|seed| is_found(bug, *seed)) {
            Some(seed) => println!("{name}: found by seed {seed}"),
            None => panic!("{name} was not found in {seeds} seeds"),
        }
    }
    let least = if cfg!(feature = "planted") { FOUND_WITHIN.len() } else { 7 };
    assert_eq!(hunted, least, "every bug of this build is hunted");
}
