//! The hot tier and its policy beside the caches that others would take: hit rates by trace, nanoseconds by size.
//!
//! `cargo xtask rivals --only cache` builds and starts it.
//!
//! Invariant: every hit rate stands beside the bound of its trace, and nothing of ours is above it.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use io_oi_bench::cache::own::IoOi;
use io_oi_bench::cache::picture::{self, Rate};
use io_oi_bench::cache::speed::{self, Extent, FLOOR, Figure, Findings, Weight};
use io_oi_bench::cache::stores::SUBJECTS;
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
    /// Nanoseconds of these subjects alone, by their names in the table
    #[arg(long, value_delimiter = ',')]
    subjects: Vec<String>,
    /// Turns of each subject
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Calls of one turn in each thread
    #[arg(long, default_value_t = 200_000)]
    calls: usize,
    /// Where market files stand (`.dbn`, `.dbn.zst`)
    #[arg(long, value_name = "PATH", default_value = "../shared/data")]
    market: PathBuf,
    /// Where to write the picture
    #[arg(long, value_name = "PATH", default_value = "target/rivals-cache.svg")]
    svg: PathBuf,
    /// The reader in a process of its own: starts by itself
    #[arg(long, hide = true)]
    reader_of: Option<String>,
    /// A subject in a process of its own, for its weight: starts by itself
    #[arg(long, hide = true)]
    weigh: Option<String>,
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
    let extent = Extent { rounds: options.rounds, calls: options.calls };
    if let Some(table) = &options.reader_of {
        print!("{}", speed::read_from(table, options.keys[0], extent)?);
        return Ok(());
    }
    if let Some(subject) = &options.weigh {
        println!("{}", speed::weigh(subject, options.keys[0])?);
        return Ok(());
    }
    let is_known = |name: &String| SUBJECTS.iter().any(|(known, _)| known == name);
    if let Some(unknown) = options.subjects.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = SUBJECTS.iter().map(|(known, _)| *known).collect();
        return Err(format!("no subject is named {unknown}; choose from {}", known.join(", ")).into());
    }
    let rates = if options.part == Some(Part::Ns) { Vec::new() } else { rates(options)? };
    let findings =
        if options.part == Some(Part::Rate) { Findings::default() } else { speeds(options, extent) };
    picture::draw(&options.svg, &rates, &findings.figures)?;
    eprintln!("picture: {}", options.svg.display());
    if options.json {
        println!("{}", report(&rates, &findings));
    } else {
        print!("{}{}", rate_table(&rates), speed_table(&findings));
        println!("answers: {:016x}", findings.answers.hash());
    }
    Ok(())
}

fn speeds(options: &Options, extent: Extent) -> Findings {
    if options.quick {
        return speed::measure(
            &options.keys[..1],
            Extent { rounds: 1, calls: extent.calls.min(5_000) },
            &options.subjects,
        );
    }
    speed::measure(&options.keys, extent, &options.subjects)
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

fn report(rates: &[Rate], findings: &Findings) -> Value {
    let rates = rates.iter().map(|rate| {
        json!({"trace": rate.trace, "subject": rate.subject, "hit_rate": rate.hit_rate, "bound": rate.bound})
    });
    let figures = findings.figures.iter().map(|figure| {
        let Figure { bench, subject, keys, threads, ns } = figure;
        json!({"bench": bench, "subject": subject, "keys": keys, "threads": threads, "ns": ns})
    });
    let memory = findings.weights.iter().map(|weight| {
        let Weight { subject, keys, bytes_per_entry } = weight;
        json!({"subject": subject, "keys": keys, "bytes_per_entry": bytes_per_entry})
    });
    json!({
        "rows": rates.chain(figures).collect::<Vec<Value>>(),
        "memory": memory.collect::<Vec<Value>>(),
        "answers_hash": format!("{:016x}", findings.answers.hash()),
    })
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

/// One line a bench and size, one column a subject, as in bench/README.md; then bytes of an entry.
fn speed_table(findings: &Findings) -> String {
    let (mut names, mut lines, mut floors) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut cells = BTreeMap::new();
    for &Figure { bench, subject, keys, threads, ns } in &findings.figures {
        if bench == FLOOR {
            floors.insert(keys, ns);
            continue;
        }
        let line = (bench, keys, threads);
        if cells.insert((line, subject), ns).is_none() && !lines.contains(&line) {
            lines.push(line);
        }
        if !names.contains(&subject) {
            names.push(subject);
        }
    }
    let mut text = format!("| bench | keys | threads | dependent load | {} |\n", names.join(" | "));
    for line in lines {
        let (bench, keys, threads) = line;
        let costs = row(names.iter().map(|subject| cells.get(&(line, *subject)).copied()));
        text += &format!("| {bench} | {keys} | {threads} | {:.0} | {costs} |\n", floors[&keys]);
    }
    for of_size in findings.weights.chunk_by(|left, right| left.keys == right.keys) {
        let bytes = row(of_size.iter().map(|weight| Some(weight.bytes_per_entry)));
        text += &format!("| bytes of an entry | {} | | | {bytes} |\n", of_size[0].keys);
    }
    if names.is_empty() { String::new() } else { text }
}

fn row(cells: impl Iterator<Item = Option<f64>>) -> String {
    let cells = cells.map(|cell| cell.map_or("-".to_owned(), |cell| format!("{cell:.0}")));
    cells.collect::<Vec<String>>().join(" | ")
}
