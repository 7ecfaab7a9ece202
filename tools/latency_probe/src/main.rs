//! latency-probe: latencies of a running node beside the floors of its host, and replay of real market data.
//!
//! Invariant: standard output carries the report and nothing else; the exit status is 0 only when every answer was
//! right.

mod allocations;
mod answers;
mod cleanup;
mod cli;
mod clock;
mod cluster;
mod commit;
mod failover;
mod failure;
mod findings;
mod floors;
mod hiccup;
mod host;
mod hot_read;
mod in_flight;
mod judge;
mod node_run;
mod nodes;
mod output;
mod place;
mod probe_keys;
mod put;
mod recorder;
mod replay;
mod report;
mod table;
mod wal;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use cli::{Cli, Target};
use failure::Failure;
use findings::Findings;
use host::Host;
use report::{Measured, Report};

/// Latencies of the probe itself must not depend on the C library's allocator.
#[global_allocator]
static ALLOCATOR: allocations::CountingAllocator = allocations::CountingAllocator;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(WRONG),
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(FAILED)
        }
    }
}

/// True when every answer was right.
fn run(cli: &Cli) -> Result<bool, Failure> {
    if !matches!(cli.target, Target::NodeRun(_)) {
        cleanup::on_interrupt();
    }
    let (name, findings) = match &cli.target {
        Target::HotRead(options) => {
            ("hot-read", hot_read::measure(options, &cli.extent, &cli.nodes, cli.json)?)
        }
        Target::Put(options) => ("put", put::measure(options, &cli.extent, &cli.nodes)?),
        Target::Commit(options) => ("commit", commit::measure(options, &cli.extent, &cli.nodes)?),
        Target::Wal(options) => ("wal", wal::measure(options, &cli.extent, &cli.nodes)?),
        Target::Judge => ("judge", judge::measure(&cli.extent)?),
        Target::Hiccup => ("hiccup", watch_host(cli)),
        Target::Replay(options) => ("replay", replay::measure(options, &cli.nodes, cli.json)?),
        Target::Failover(options) => ("failover", failover::measure(options, &cli.nodes, cli.json)?),
        Target::NodeRun(options) => {
            return node_run::run(&options.node_dir, &cli.nodes.settings).map(|()| true);
        }
        Target::JudgeAlone(options) => return judge::alone(options).map(|()| true),
        Target::TableRun(options) => return table::run(options).map(|()| true),
        Target::Watch(options) => return watch::run(&options.key, &cli.nodes.attach[0]).map(|()| true),
    };
    present(cli, name, findings)
}

fn watch_host(cli: &Cli) -> Findings {
    let length = cli.extent.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let by_count = cli.extent.count.map(|windows| Duration::from_micros(windows.saturating_mul(100)));
    let runs = hiccup::measure(length.or(by_count).unwrap_or(HICCUP_LENGTH));
    Findings { runs, ..Findings::default() }
}

fn present(cli: &Cli, name: &'static str, findings: Findings) -> Result<bool, Failure> {
    let (runs, named) = findings.runs.into_iter().map(|Measured { run, named }| (run, named)).unzip();
    let report = Report {
        target: name,
        version: env!("CARGO_PKG_VERSION"),
        nodes: findings.nodes,
        shards: findings.shards,
        cores: host::core_count(),
        idle: findings.idle,
        payload_bytes: findings.payload_bytes,
        durability: findings.durability,
        load: findings.load,
        runs,
        host: Host::look(hiccup::glance()),
        replay: findings.replay,
    };
    let named: Vec<_> = named;
    cli.files.write(name, &named)?;
    match cli.json {
        true => println!("{}", report.json()),
        false => print!("{}", report.table()),
    }
    Ok(report.is_right())
}

const HICCUP_LENGTH: Duration = Duration::from_secs(5);
/// Measured, but an answer was wrong.
const WRONG: u8 = 1;
/// Not measured.
const FAILED: u8 = 3;
