//! The hot tier and its policy beside the caches that others would take: hit rates by trace, nanoseconds by size.
//!
//! `cargo xtask rivals --only cache` builds and starts it.
//!
//! Invariant: every hit rate stands beside the bound of its trace, and nothing of ours is above it.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use io_oi_bench::cache::own::IoOi;
use io_oi_bench::cache::picture::{self, Rate};
use io_oi_bench::cache::speed::{self, Figure};
use io_oi_bench::cache::traces::{Size, Trace, invented};
use io_oi_bench::cache::{Subject, bound, candidates, hit_rate, market, rivals};
use serde_json::{Value, json};

/// Measures the hot tier and its policy beside other caches.
#[derive(Debug, Parser)]
struct Options {
    /// Print exactly one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Short traces and the smallest tables alone
    #[arg(long)]
    quick: bool,
    /// Only hit rates (`rate`) or only nanoseconds (`ns`)
    #[arg(long, value_name = "PART")]
    part: Option<Part>,
    /// Keys in the tables, size by size
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 1_000_000, 10_000_000])]
    keys: Vec<u64>,
    /// Turns of each subject
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where market files stand (`.dbn`, `.dbn.zst`)
    #[arg(long, value_name = "PATH", default_value = "../shared/data")]
    market: PathBuf,
    /// Where to write the picture
    #[arg(long, value_name = "PATH", default_value = "target/rivals-cache.svg")]
    svg: PathBuf,
    /// The reader in a process of its own: starts by itself
    #[arg(long, hide = true)]
    reader_of: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Rate,
    Ns,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rivals: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    if let Some(table) = &options.reader_of {
        println!("{}", speed::read_from(table, options.keys[0], options.rounds)?);
        return Ok(());
    }
    let rates = if options.part == Some(Part::Ns) { Vec::new() } else { rates(options)? };
    let sizes = if options.quick { &options.keys[..1] } else { &options.keys[..] };
    let figures =
        if options.part == Some(Part::Rate) { Vec::new() } else { speed::measure(sizes, options.rounds) };
    picture::draw(&options.svg, &rates, &figures)?;
    eprintln!("picture: {}", options.svg.display());
    if options.json {
        println!("{}", report(&rates, &figures));
    } else {
        print!("{}{}", rate_table(&rates), speed_table(&figures));
    }
    Ok(())
}

fn rates(options: &Options) -> Result<Vec<Rate>, Box<dyn Error>> {
    let mut traces = invented(if options.quick { Size::Quick } else { Size::Full });
    let recorded = market::traces(&options.market)?;
    if recorded.is_empty() {
        eprintln!("no market files in {}: their traces are left out", options.market.display());
    }
    traces.extend(recorded);
    Ok(traces.iter().flat_map(rates_on).collect())
}

fn rates_on(trace: &Trace) -> Vec<Rate> {
    let bound = bound::clairvoyant(trace);
    let entries = trace.entries_max;
    let own: Vec<Box<dyn Subject>> = vec![Box::new(IoOi::new(entries)), Box::new(IoOi::sparing(entries))];
    let groups = [(own, false), (rivals::all(entries), true), (candidates::all(entries), false)];
    let mut rates = Vec::new();
    for (subjects, is_rival) in groups {
        for mut subject in subjects {
            let hit_rate = hit_rate(trace, &mut *subject);
            // moka holds a few entries too many between two rounds of its upkeep: on tiny caches that shows.
            assert!(is_rival || hit_rate <= bound, "{} is above the bound on {}", subject.name(), trace.name);
            rates.push(Rate { trace: trace.name, subject: subject.name(), is_rival, hit_rate, bound });
        }
    }
    eprintln!("{}: done", trace.name);
    rates
}

fn report(rates: &[Rate], figures: &[Figure]) -> Value {
    let rates = rates.iter().map(|rate| {
        json!({"trace": rate.trace, "subject": rate.subject, "hit_rate": rate.hit_rate, "bound": rate.bound})
    });
    let figures = figures.iter().map(|figure| {
        let Figure { bench, subject, keys, threads, ns } = figure;
        json!({"bench": bench, "subject": subject, "keys": keys, "threads": threads, "ns": ns})
    });
    json!({"rows": rates.chain(figures).collect::<Vec<Value>>()})
}

/// One line a trace, as in bench/README.md: ours, the best rival, the bound, and everybody.
fn rate_table(rates: &[Rate]) -> String {
    let mut text = String::new();
    for of_trace in rates.chunk_by(|left, right| left.trace == right.trace) {
        let best =
            of_trace.iter().filter(|rate| rate.is_rival).max_by(|a, b| a.hit_rate.total_cmp(&b.hit_rate));
        let Some(best) = best else { continue };
        let (own, percent) = (&of_trace[0], |rate: f64| format!("{:.2}", 100.0 * rate));
        text += &format!(
            "| {} | {} | {} {} | {:+.2} | {} |",
            own.trace,
            percent(own.hit_rate),
            best.subject,
            percent(best.hit_rate),
            100.0 * (own.hit_rate - best.hit_rate),
            percent(own.bound)
        );
        let others: Vec<String> =
            of_trace[1..].iter().map(|rate| format!("{} {}", rate.subject, percent(rate.hit_rate))).collect();
        text += &format!(" {} |\n", others.join(", "));
    }
    text
}

fn speed_table(figures: &[Figure]) -> String {
    let mut text = String::new();
    for of_bench in figures.chunk_by(|left, right| {
        (left.bench, left.keys, left.threads) == (right.bench, right.keys, right.threads)
    }) {
        let Figure { bench, keys, threads, .. } = &of_bench[0];
        let costs: Vec<String> =
            of_bench.iter().map(|figure| format!("{} {:.0}", figure.subject, figure.ns)).collect();
        text += &format!("| {bench} | {keys} | {threads} | {} |\n", costs.join(", "));
    }
    text
}
