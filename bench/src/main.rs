//! io_oi beside etcd: the same puts, the same durability, on the same disk, in turns.
//!
//! `cargo xtask rivals` builds and starts it. One thread puts load on each; each leads on the box that is asked. While
//! one is measured the other is idle: an idle etcd beats every 100 ms, an idle io_oi is parked (`--idle park`).
//!
//! Invariant: figures stand beside each other only when both subjects acknowledged, and gave back, what was put.

mod etcd;
mod grpc;
mod io_oi;
mod load;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use io_oi_client::Durability;
use serde_json::{Value, json};

use etcd::Etcd;
use io_oi::IoOi;
use load::{Row, Spread, Subject, Turn};

/// Measures io_oi and etcd in turns, three nodes each, on this box.
#[derive(Debug, Parser)]
struct Options {
    /// Print exactly one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// The `io_oi` binary
    #[arg(long, value_name = "PATH")]
    io_oi: PathBuf,
    /// Requests in flight, point by point
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    in_flight: Vec<usize>,
    /// Turns of each subject per point
    #[arg(long, default_value_t = 5)]
    pairs: u64,
    /// Puts of one turn, at most
    #[arg(long, default_value_t = 20_000)]
    count: u64,
    /// Seconds of one turn, at most
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Bytes of each value
    #[arg(long, default_value_t = 256)]
    payload: usize,
    /// Idle strategy of io_oi's nodes: with three of them on a few cores, park leaves the box to etcd in its turns
    #[arg(long, default_value = "park")]
    idle: String,
    /// Where both keep their logs; must be on a real disk
    #[arg(long, value_name = "PATH", default_value = "/var/tmp")]
    dir: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let Some(version) = etcd::installed() else {
        eprintln!("etcd is not installed; on Debian: apt-get install etcd-server");
        return ExitCode::from(NOTHING_TO_COMPARE);
    };
    match run(&options, version) {
        Ok(report) => {
            if options.json {
                println!("{report}");
            } else {
                print!("{}", table(&report));
            }
            let is_right = report["errors"] == 0;
            if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("rivals: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(options: &Options, version: String) -> io::Result<Value> {
    let place = tempfile::Builder::new().prefix("io_oi-rivals-").tempdir_in(&options.dir)?;
    let io_oi = options.io_oi.canonicalize()?;
    let mut own = IoOi::start(&io_oi, place.path(), &options.idle, Durability::DiskQuorum)?;
    let mut rival = Etcd::start(place.path(), version)?;
    warm_up(options, &mut own)?;
    warm_up(options, &mut rival)?;
    let (mut rows, mut ratios, mut errors) = (Vec::new(), Vec::new(), 0);
    for in_flight in &options.in_flight {
        let (mut ours, mut theirs) = (Row::default(), Row::default());
        for pair in 0..options.pairs {
            let turn = turn_of(options, *in_flight);
            ours.turn(&mut own, &turn, pair + 1)?;
            theirs.turn(&mut rival, &turn, pair + 1)?;
        }
        errors += ours.errors + theirs.errors;
        rows.push(row_of(own.name(), *in_flight, &ours));
        rows.push(row_of(rival.name(), *in_flight, &theirs));
        ratios.push(json!({
            "in_flight": in_flight,
            "p50": tenths(theirs.quantile_ns(0.5).median / ours.quantile_ns(0.5).median.max(1.0)),
            "p99": tenths(theirs.quantile_ns(0.99).median / ours.quantile_ns(0.99).median.max(1.0)),
            "per_second": tenths(ours.per_second().median / theirs.per_second().median.max(1.0)),
        }));
        eprintln!("{in_flight} in flight: done");
    }
    let transport = client_cost(&mut rival)?;
    Ok(json!({
        "rows": rows,
        "io_oi_over_etcd": ratios,
        "errors": errors,
        "etcd": {"version": rival.version(), "members": rival.count(), "client": "gRPC over one HTTP/2 connection, one thread",
            "round_trip_from_memory_ns": transport.median as u64},
        "io_oi": {"version": env!("CARGO_PKG_VERSION"), "nodes": own.count(), "idle": options.idle,
            "client": "shared memory, one thread"},
        "payload_bytes": options.payload,
        "pairs": options.pairs,
        "loop": "closed",
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "dir": place_text(&options.dir),
    }))
}

fn turn_of(options: &Options, in_flight: usize) -> Turn {
    let length = Duration::try_from_secs_f64(options.seconds).unwrap_or(Duration::from_secs(2));
    Turn { in_flight, count: options.count, length, payload_bytes: options.payload.max(8) }
}

/// Connections, caches and first segments are nobody's merit: not in the figures.
fn warm_up(options: &Options, subject: &mut dyn Subject) -> io::Result<()> {
    let turn = Turn { count: options.count.min(2_000), length: WARM_UP, ..turn_of(options, 16) };
    Row::default().turn(subject, &turn, 0)
}

/// Calls that etcd answers from memory cost what its client and transport cost: about nothing beside a commit.
fn client_cost(etcd: &mut Etcd) -> io::Result<Spread> {
    let costs: Vec<Duration> = (0..500).map(|_| etcd.round_trip()).collect::<Result<_, _>>()?;
    Ok(Spread::of(costs.into_iter().map(|cost| cost.as_nanos() as f64)))
}

fn row_of(subject: &str, in_flight: usize, row: &Row) -> Value {
    let (p50, p99, rate) = (row.quantile_ns(0.5), row.quantile_ns(0.99), row.per_second());
    json!({
        "subject": subject,
        "durability": "disk-quorum",
        "in_flight": in_flight,
        "count": row.count(),
        "p50_ns": p50.median as u64,
        "p50_ns_spread": [p50.min as u64, p50.max as u64],
        "p99_ns": p99.median as u64,
        "p99_ns_spread": [p99.min as u64, p99.max as u64],
        "per_second": tenths(rate.median),
        "per_second_spread": [tenths(rate.min), tenths(rate.max)],
        "errors": row.errors,
        "answers_hash": format!("{:016x}", row.answers.hash()),
    })
}

fn tenths(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

fn place_text(dir: &Path) -> String {
    dir.display().to_string()
}

fn table(report: &Value) -> String {
    let mut text =
        format!("{:<8}{:>10}{:>12}{:>12}{:>14}\n", "subject", "in flight", "p50 µs", "p99 µs", "per second");
    let micros = |value: &Value| value.as_f64().unwrap_or(0.0) / 1e3;
    for row in report["rows"].as_array().into_iter().flatten() {
        let subject = row["subject"].as_str().unwrap_or("");
        text += &format!(
            "{subject:<8}{:>10}{:>12.1}{:>12.1}{:>14.0}\n",
            row["in_flight"].to_string(),
            micros(&row["p50_ns"]),
            micros(&row["p99_ns"]),
            row["per_second"].as_f64().unwrap_or(0.0)
        );
    }
    for ratio in report["io_oi_over_etcd"].as_array().into_iter().flatten() {
        text += &format!(
            "{} in flight: etcd's p50 is {} times io_oi's, io_oi's throughput {} times etcd's\n",
            ratio["in_flight"], ratio["p50"], ratio["per_second"]
        );
    }
    text += &format!(
        "disk-quorum, closed loop, {} bytes, {} pairs, {} cores, io_oi idle {}; etcd answers from memory in {:.0} µs\n",
        report["payload_bytes"],
        report["pairs"],
        report["cores"],
        report["io_oi"]["idle"],
        micros(&report["etcd"]["round_trip_from_memory_ns"])
    );
    text
}

const WARM_UP: Duration = Duration::from_secs(2);
/// Not measured.
const FAILED: u8 = 3;
/// The rival is not here: nothing failed, and nothing was compared.
const NOTHING_TO_COMPARE: u8 = 4;
