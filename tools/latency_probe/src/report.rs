//! What a target found: one JSON object, or a table for people.
//!
//! Invariant: every target prints the same object; a run with errors makes the exit status non-zero.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::host::Host;
use crate::output::Named;
use crate::recorder::Samples;

/// The one object on standard output.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The target's name.
    pub target: &'static str,
    /// Of the probe.
    pub version: &'static str,
    /// Nodes measured; 0 where the target needs none.
    pub nodes: usize,
    /// Shards of the cluster.
    pub shards: u16,
    /// CPUs this process may use.
    pub cores: usize,
    /// The node's idle strategy, as far as the probe knows it.
    pub idle: String,
    /// Bytes of one value or frame; 0 where there is none or it differs by run.
    pub payload_bytes: usize,
    /// Which acknowledgement the figures mean.
    pub durability: String,
    /// `open` (late requests count from when they should have left) or `closed`.
    #[serde(rename = "loop")]
    pub load: Load,
    /// One entry per point of the sweep.
    pub runs: Vec<Run>,
    /// What the host was like.
    pub host: Host,
    /// Only of `replay`.
    #[serde(flatten)]
    pub replay: Option<ReplayFacts>,
}

/// How requests are issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Load {
    /// By a timetable; a late request counts from when it should have left.
    Open,
    /// The next when an earlier one is done: for throughput.
    Closed,
}

/// One point of a sweep.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// Requests without an answer at any moment, at most.
    pub in_flight: usize,
    /// Samples in `ns`.
    pub count: u64,
    /// Operations finished per second of measured time.
    pub per_second: f64,
    /// The latencies.
    pub ns: Percentiles,
    /// The box's own floors, measured in the same run.
    pub floors: BTreeMap<&'static str, Ns>,
    /// `ns.p50` over the floor that bounds it.
    pub ratio_to_floor: f64,
    /// Wrong or missing answers.
    pub errors: u64,
    /// Over every answer that was checked.
    pub answers_hash: String,
    /// This point's own parameters.
    #[serde(flatten)]
    pub parameters: BTreeMap<&'static str, Value>,
}

/// The usual points of a latency distribution, nanoseconds.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs)] // The names say it.
pub(crate) struct Percentiles {
    pub min: Ns,
    pub p50: Ns,
    pub p90: Ns,
    pub p99: Ns,
    pub p99_9: Ns,
    pub p99_99: Ns,
    pub max: Ns,
}

/// Nanoseconds for a report: whole ones from 1,000 on, two decimals below.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Ns(pub f64);

/// What only a replay knows.
#[derive(Debug, Serialize)]
pub(crate) struct ReplayFacts {
    /// Events in the files.
    pub events: u64,
    /// Cancels, modifies and fills of orders that nobody added.
    pub unknown_orders: u64,
    /// `equal` or `different`.
    pub book: &'static str,
    /// The run went on where an earlier one had stopped.
    pub resumed: bool,
    /// Everything else, by name.
    #[serde(flatten)]
    pub more: BTreeMap<&'static str, Value>,
}

/// A run and the samples behind it.
pub(crate) struct Measured {
    /// What goes into the report.
    pub run: Run,
    /// What goes into the histogram files.
    pub named: Named,
}

impl Percentiles {
    /// Reads the points off finished samples.
    pub(crate) fn of(samples: &Samples) -> Self {
        let at = |quantile| Ns(samples.ns_at(quantile));
        Self {
            min: Ns(samples.min_ns()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: Ns(samples.max_ns()),
        }
    }
}

impl Measured {
    /// A run without floors and parameters yet; `per_second` is over the samples' own time unless changed.
    pub(crate) fn new(name: impl Into<String>, in_flight: usize, samples: Samples) -> Self {
        let seconds = samples.length_ns().max(1) as f64 / 1e9;
        let run = Run {
            in_flight,
            count: samples.count(),
            per_second: rounded(samples.count() as f64 / seconds),
            ns: Percentiles::of(&samples),
            floors: BTreeMap::new(),
            ratio_to_floor: 0.0,
            errors: 0,
            answers_hash: crate::answers::text(0),
            parameters: BTreeMap::new(),
        };
        Self { run, named: Named { name: name.into(), samples } }
    }

    /// Operations per second of measured time.
    pub(crate) fn rate(mut self, per_second: f64) -> Self {
        self.run.per_second = rounded(per_second);
        self
    }

    /// Sets one parameter of this point.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.run.parameters.insert(name, value.into());
        self
    }

    /// Sets a floor that is only shown.
    pub(crate) fn floor(mut self, name: &'static str, ns: f64) -> Self {
        self.run.floors.insert(name, Ns(ns));
        self
    }

    /// Sets the floor that bounds this run's median.
    pub(crate) fn bound(mut self, name: &'static str, ns: f64) -> Self {
        self.run.floors.insert(name, Ns(ns));
        if ns > 0.0 {
            self.run.ratio_to_floor = rounded(self.run.ns.p50.0 / ns);
        }
        self
    }

    /// Sets what was checked and what was wrong.
    pub(crate) fn answers(mut self, hash: u64, errors: u64) -> Self {
        self.run.answers_hash = crate::answers::text(hash);
        self.run.errors = errors;
        self
    }
}

impl Report {
    /// All answers were right.
    pub(crate) fn is_right(&self) -> bool {
        self.runs.iter().all(|run| run.errors == 0) && self.replay.as_ref().is_none_or(|r| r.book == "equal")
    }

    /// The object, on one line.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("a report has only string keys")
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut out = format!(
            "{} · {} node(s), {} shard(s), {} core(s), idle {}, payload {} B, {}, {} loop\n",
            self.target,
            self.nodes,
            self.shards,
            self.cores,
            self.idle,
            self.payload_bytes,
            self.durability,
            if self.load == Load::Open { "open" } else { "closed" }
        );
        let head = ["run", "count", "per second", "p50", "p90", "p99", "p99.9", "max", "floor", "ratio"];
        let rows: Vec<Vec<String>> = self.runs.iter().map(row).collect();
        out += &align(&head, &rows);
        for run in self.runs.iter().filter(|run| run.errors > 0) {
            writeln!(out, "WRONG: {} error(s) in {}", run.errors, name_of(run)).expect("writing to a String");
        }
        if let Some(replay) = &self.replay {
            writeln!(
                out,
                "events {} · unknown orders {} · resumed {} · book: {}",
                replay.events, replay.unknown_orders, replay.resumed, replay.book
            )
            .expect("writing to a String");
            for (name, value) in &replay.more {
                writeln!(out, "  {name}: {value}").expect("writing to a String");
            }
        }
        out + &self.host.table()
    }
}

fn row(run: &Run) -> Vec<String> {
    let floors: Vec<String> = run.floors.iter().map(|(name, ns)| format!("{name} {ns}")).collect();
    vec![
        name_of(run),
        run.count.to_string(),
        format!("{:.0}", run.per_second),
        run.ns.p50.to_string(),
        run.ns.p90.to_string(),
        run.ns.p99.to_string(),
        run.ns.p99_9.to_string(),
        run.ns.max.to_string(),
        floors.join(", "),
        format!("{:.2}", run.ratio_to_floor),
    ]
}

/// The run's parameters in one cell; those that a table of one line has no room for are left to `--json`.
fn name_of(run: &Run) -> String {
    let mut name = format!("in flight {}", run.in_flight);
    for (parameter, value) in &run.parameters {
        match value {
            Value::String(text) => write!(name, ", {parameter} {text}"),
            value => write!(name, ", {parameter} {value}"),
        }
        .expect("writing to a String");
    }
    name
}

/// Columns as wide as their widest cell.
pub(crate) fn align(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut out = line(head.to_vec());
    for row in rows {
        out += &line(row.iter().map(String::as_str).collect());
    }
    out
}

/// Three decimals are more than any figure here is good for.
pub(crate) fn rounded(figure: f64) -> f64 {
    if figure.is_finite() { (figure * 1_000.0).round() / 1_000.0 } else { 0.0 }
}

impl Ns {
    fn whole(self) -> bool {
        self.0 >= 1_000.0 || (self.0 * 100.0).round() % 100.0 == 0.0
    }
}

impl Serialize for Ns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.whole() {
            serializer.serialize_u64(self.0.round() as u64)
        } else {
            serializer.serialize_f64((self.0 * 100.0).round() / 100.0)
        }
    }
}

impl std::fmt::Display for Ns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ns if ns < 1e3 && self.whole() => write!(f, "{ns:.0} ns"),
            ns if ns < 1e3 => write!(f, "{ns:.1} ns"),
            ns if ns < 1e6 => write!(f, "{:.1} µs", ns / 1e3),
            ns if ns < 1e9 => write!(f, "{:.2} ms", ns / 1e6),
            ns => write!(f, "{:.2} s", ns / 1e9),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::recorder::Recorder;

    fn report() -> Report {
        let mut recorder = Recorder::of_ns();
        (1..=100).for_each(|ns| recorder.record_ns(Instant::now(), ns * 1_000));
        let run =
            Measured::new("one", 1, recorder.finish()).bound("flush_ns", 25_000.0).with("keys", 1_000).run;
        Report {
            target: "commit",
            version: "0",
            nodes: 1,
            shards: 1,
            cores: 2,
            idle: "yield".into(),
            payload_bytes: 256,
            durability: "disk-quorum".into(),
            load: Load::Open,
            runs: vec![run],
            host: Host::default(),
            replay: None,
        }
    }

    #[test]
    fn the_object_has_the_names_of_the_contract() {
        let json: Value = serde_json::from_str(&report().json()).expect("valid JSON");
        for name in
            ["target", "version", "nodes", "shards", "cores", "idle", "payload_bytes", "durability", "loop"]
        {
            assert!(!json[name].is_null(), "{name}");
        }
        let run = &json["runs"][0];
        for name in ["in_flight", "count", "per_second", "floors", "ratio_to_floor", "errors", "answers_hash"]
        {
            assert!(!run[name].is_null(), "{name}");
        }
        for name in ["min", "p50", "p90", "p99", "p99_9", "p99_99", "max"] {
            assert!(run["ns"][name].is_number(), "{name}");
        }
        assert_eq!((run["keys"].as_u64(), run["floors"]["flush_ns"].as_u64()), (Some(1_000), Some(25_000)));
        assert_eq!(json["loop"], "open");
        for name in ["verdict", "isolated", "hiccup_p99_9_ns"] {
            assert!(!json["host"][name].is_null(), "{name}");
        }
    }

    #[test]
    fn a_wrong_answer_or_a_different_book_is_not_right() {
        let mut wrong = report();
        assert!(wrong.is_right());
        wrong.runs[0].errors = 1;
        assert!(!wrong.is_right());
        let mut different = report();
        let more = BTreeMap::new();
        different.replay =
            Some(ReplayFacts { events: 1, unknown_orders: 0, book: "different", resumed: false, more });
        assert!(!different.is_right());
        assert!(different.json().contains("\"book\":\"different\""));
    }

    #[test]
    fn nanoseconds_are_whole_where_decimals_mean_nothing() {
        let text = |ns| serde_json::to_string(&Ns(ns)).expect("a number");
        assert_eq!(
            (text(13.456).as_str(), text(13.0).as_str(), text(98_765.4).as_str()),
            ("13.46", "13", "98765")
        );
        assert_eq!(Ns(1_500.0).to_string(), "1.5 µs");
    }
}
