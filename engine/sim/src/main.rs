//! Runs seeds: for ever, so many, or one with its history. `cargo xtask sim` starts it.
//!
//! Invariant: a seed gives the same history on every machine; only how fast differs.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use io_oi_sim::{Bug, Options, Outcome, Sight, Sights, run};

const USAGE: &str =
    "usage: cargo xtask sim [SEED] [--seeds N] [--start SEED] [--nodes N] [--idle] [--judged] [--jobs N] [--lines N]
                       [--planted BUG] [--json]
  without SEED and --seeds it runs for ever; with SEED it replays that one and prints its history";

/// What the command line says.
#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    seed: Option<u64>,
    seeds: Option<u64>,
    start: Option<u64>,
    nodes: Option<usize>,
    is_judged: bool,
    jobs: Option<usize>,
    lines: Option<usize>,
    bug: Option<Bug>,
    /// Every planted bug in turn, each until a checker finds it.
    is_hunt: bool,
    is_json: bool,
    /// Clients that think long.
    is_idle: bool,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| matches!(word.as_str(), "--help" | "-h")) {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let wish = match read(&words) {
        Ok(wish) => wish,
        Err(what) => {
            eprintln!("{what}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    if wish.is_hunt {
        return hunt(&wish);
    }
    match wish.seed {
        Some(seed) => replay(seed, &wish),
        None => sweep(&wish),
    }
}

fn read(words: &[String]) -> Result<Wish, String> {
    let mut wish = Wish::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--judged" {
            wish.is_judged = true;
            continue;
        }
        if word == "--planted" {
            let name = words.next().map_or("", String::as_str);
            if name == "all" {
                wish.is_hunt = true;
                continue;
            }
            wish.bug =
                Some(Bug::named(name).ok_or_else(|| format!("`{name}` is no planted bug: {}", bugs()))?);
            continue;
        }
        let mut number = || -> Result<u64, String> {
            let value = words.next().ok_or(format!("{word} wants a number"))?;
            value.parse().map_err(|_| format!("{word} wants a number, not `{value}`"))
        };
        match word.as_str() {
            "--seeds" => wish.seeds = Some(number()?),
            "--start" => wish.start = Some(number()?),
            "--nodes" => wish.nodes = Some(number()? as usize),
            "--jobs" => wish.jobs = Some(number()? as usize),
            "--lines" => wish.lines = Some(number()? as usize),
            "--json" => wish.is_json = true,
            "--idle" => wish.is_idle = true,
            other => wish.seed = Some(other.parse().map_err(|_| format!("`{other}` is no seed"))?),
        }
    }
    Ok(wish)
}

fn bugs() -> String {
    Bug::all().iter().map(|bug| bug.name()).collect::<Vec<_>>().join(" ")
}

/// One run as it was wished for, without its story.
fn options_of(seed: u64, wish: &Wish) -> Options {
    let Wish { nodes, is_idle, is_judged, bug, .. } = *wish;
    Options { seed, nodes, is_idle, is_judged, bug, story_lines: 0 }
}

fn replay(seed: u64, wish: &Wish) -> ExitCode {
    let story_lines = wish.lines.unwrap_or(usize::MAX);
    let outcome = run(&Options { story_lines, ..options_of(seed, wish) });
    outcome.story.iter().for_each(|line| println!("{line}"));
    println!("{}", summary(&outcome));
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

/// Plants one bug after another, and says how many seeds it takes until a checker finds it.
fn hunt(wish: &Wish) -> ExitCode {
    let (start, seeds_max) = (wish.start.unwrap_or(1), wish.seeds.unwrap_or(SEEDS_PER_BUG_MAX));
    let bugs = Bug::all();
    let next = AtomicU64::new(0);
    let found = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..wish.jobs.unwrap_or(1).max(1) {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let seen = find(*bug, start, seeds_max, wish);
                    found.fetch_add(u64::from(seen.is_some()), Ordering::Relaxed);
                    let line = match seen {
                        Some((needed, what)) => format!("found within {needed} seeds: {what}"),
                        None => format!("NOT found in {seeds_max} seeds"),
                    };
                    eprintln!("{:<28} {line}", bug.name());
                }
            });
        }
    });
    let found = found.into_inner();
    println!("{{\"planted_found\":\"{found}/{}\"}}", bugs.len());
    if found == bugs.len() as u64 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many seeds it took to find this bug, and the finding.
fn find(bug: Bug, start: u64, seeds_max: u64, wish: &Wish) -> Option<(u64, String)> {
    for seed in start..start.saturating_add(seeds_max) {
        let is_idle = wish.is_idle || bug.hides_in_traffic();
        let options = Options { bug: Some(bug), is_idle, ..options_of(seed, wish) };
        let outcome = survived(&options);
        // What is found without the bug, too, is not the bug.
        let without = Options { bug: None, ..options };
        if let Some(violation) = outcome.violation.filter(|_| survived(&without).violation.is_none()) {
            let first = violation.to_string().lines().next().unwrap_or_default().to_owned();
            return Some((seed - start + 1, first));
        }
    }
    None
}

fn summary(outcome: &Outcome) -> String {
    let Outcome { seed, simulated_ns, decided, operations, .. } = outcome;
    let seconds = *simulated_ns as f64 / 1e9;
    let verdict = match &outcome.violation {
        None => "no violation".to_owned(),
        Some(violation) => format!("VIOLATION {violation}"),
    };
    format!("seed {seed}: {verdict}; {seconds:.1} s simulated, {decided} records, {operations} operations")
}

/// What a sweep has counted.
#[derive(Default)]
struct Tally {
    seeds: u64,
    violations: Vec<Outcome>,
    simulated_ns: u64,
    cpu_ns: u64,
    sights: Sights,
    decided: u64,
}

fn sweep(wish: &Wish) -> ExitCode {
    let start = wish.start.unwrap_or_else(|| if wish.seeds.is_some() { 1 } else { some_seed() });
    let end = wish.seeds.map_or(u64::MAX, |count| start.saturating_add(count));
    let jobs = wish.jobs.unwrap_or(1).max(1);
    let (next, ended) = (AtomicU64::new(start), AtomicBool::new(false));
    let tally = Mutex::new(Tally::default());
    let began = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(|| work(wish, &next, end, &tally))).collect();
        let teller = (!wish.is_json).then(|| scope.spawn(|| tell(&tally, began, &ended)));
        workers.into_iter().for_each(|worker| worker.join().expect("a worker does not panic"));
        ended.store(true, Ordering::Release);
        if let Some(teller) = teller {
            teller.join().expect("the teller does not panic");
        }
    });
    report(wish, &tally.into_inner().unwrap_or_else(PoisonError::into_inner), began)
}

fn some_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64 % 1_000_000_000_000
}

fn work(wish: &Wish, next: &AtomicU64, end: u64, tally: &Mutex<Tally>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let began_ns = cpu_ns();
        let outcome = survived(&options_of(seed, wish));
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.seeds += 1;
        tally.cpu_ns += cpu_ns() - began_ns;
        tally.simulated_ns += outcome.simulated_ns;
        tally.decided += outcome.decided;
        tally.sights.add(&outcome.sights);
        if outcome.violation.is_some() {
            eprintln!("{}", summary(&outcome));
            tally.violations.push(outcome);
        }
    }
}

/// Time that this thread was on a core, as the kernel counts it.
fn cpu_ns() -> u64 {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    counted.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// A run, even if a machine breaks a promise of its own.
fn survived(options: &Options) -> Outcome {
    std::panic::catch_unwind(|| run(options)).unwrap_or_else(|_| panicked(options.seed))
}

/// A broken promise inside a machine is found by its own assertion.
fn panicked(seed: u64) -> Outcome {
    let violation = io_oi_sim::Violation {
        checker: "assertion",
        time_ns: 0,
        what: "a machine broke its own promise: replay the seed to see where".to_owned(),
    };
    Outcome {
        seed,
        violation: Some(violation),
        simulated_ns: 0,
        decided: 0,
        operations: 0,
        sights: Sights::default(),
        story: Vec::new(),
    }
}

fn tell(tally: &Mutex<Tally>, began: Instant, ended: &AtomicBool) {
    let mut told = Instant::now();
    while !ended.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(50));
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            println!("{}", line(&tally.lock().unwrap_or_else(PoisonError::into_inner), began));
        }
    }
}

fn line(tally: &Tally, began: Instant) -> String {
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), tally.cpu_ns as f64 / 1e9);
    let simulated = tally.simulated_ns as f64 / 1e9;
    format!(
        "{} seeds, {} violations, {:.1} seeds/s, {:.1} cluster-hours per CPU-hour, {} records",
        tally.seeds,
        tally.violations.len(),
        tally.seeds as f64 / seconds,
        simulated / cpu.max(1e-9),
        tally.decided
    )
}

fn report(wish: &Wish, tally: &Tally, began: Instant) -> ExitCode {
    if wish.is_json {
        println!(
            "{{\"seeds\":{},\"violations\":{},\"simulated_seconds\":{:.3},\"cpu_seconds\":{:.3}}}",
            tally.seeds,
            tally.violations.len(),
            tally.simulated_ns as f64 / 1e9,
            tally.cpu_ns as f64 / 1e9
        );
    } else {
        println!("{}", line(tally, began));
        for sight in Sight::ALL {
            println!("{:>10} {}", tally.sights.count(*sight), sight.name());
        }
    }
    if tally.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A bug that is not found within so many seeds is not found.
const SEEDS_PER_BUG_MAX: u64 = 400;
const TELL_EVERY: Duration = Duration::from_secs(2);
