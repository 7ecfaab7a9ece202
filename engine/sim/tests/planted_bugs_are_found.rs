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
    ("forgets-sessions", 6),
    ("lease-too-long", 100),
    ("lease-without-quorum", 67),
    ("votes-unflushed", 6),
    ("two-headers", 6),
    ("two-votes", 6),
    ("wrong-verdict", 6),
];

#[test]
fn each_planted_bug_is_found_within_its_seeds() {
    let mut hunted = 0;
    for (name, seeds) in FOUND_WITHIN {
        let Some(bug) = Bug::named(name) else { continue };
        hunted += 1;
        let found = (1..=*seeds).find(|seed| {
            let options = Options { seed: *seed, bug: Some(bug), ..Options::default() };
            std::panic::catch_unwind(|| run(&options)).map_or(true, |outcome| outcome.violation.is_some())
        });
        match found {
            Some(seed) => println!("{name}: found by seed {seed}"),
            None => panic!("{name} was not found in {seeds} seeds"),
        }
    }
    let least = if cfg!(feature = "planted") { FOUND_WITHIN.len() } else { 7 };
    assert_eq!(hunted, least, "every bug of this build is hunted");
}
