//! Seeds that nobody has run before, for as long as a test may take. The first is printed: whoever sees a failure replays it.

use std::time::{Duration, Instant, SystemTime};

use io_oi_sim::{Options, run};

const TIME: Duration = Duration::from_secs(10);

#[test]
fn no_checker_finds_anything() {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is past 1970");
    let first = since.as_nanos() as u64 % 1_000_000_000_000;
    println!("first seed {first}");
    let began = Instant::now();
    let mut seed = first;
    while began.elapsed() < TIME {
        let outcome = run(&Options { seed, is_judged: seed % 2 == 1, ..Options::default() });
        if let Some(violation) = outcome.violation {
            let judged = if seed % 2 == 1 { " --judged" } else { "" };
            panic!("seed {seed}: {violation}\nreplay it: cargo xtask sim {seed}{judged}");
        }
        seed += 1;
    }
    println!("{} seeds", seed - first);
}
