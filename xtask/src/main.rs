//! The project's own verbs: `cargo xtask check | tidy | ci | loom | bench STAGE | sim [SEED] | rivals`.
//!
//! Invariant: `ci` runs exactly what CONTRIBUTING.md names, and `.ci/run` runs `ci`, so a green run here is a green run
//! there. Every step prints the command that it starts: whatever fails can be repeated by hand.

mod sim;
mod tidy;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// One external command of a verb: its words, and the environment that it needs.
struct Step {
    words: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
}

const FMT: Step = step(&["cargo", "fmt", "--all", "--check"]);
const CLIPPY: Step =
    step(&["cargo", "clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
/// The fast part of the suite: what is inside the crates, without the processes and power cuts of `tests/`.
const UNIT_TESTS: Step = step(&["cargo", "test", "--workspace", "--lib", "--bins", "--quiet"]);
/// The README's test command.
const TESTS: Step = step(&["cargo", "test", "--workspace"]);
/// Every interleaving of the shared-memory models. A build of its own, since `--cfg loom` replaces the atomics.
const LOOM: Step = Step {
    words: &["cargo", "test", "--package", "io_oi_shm", "--release", "--test", "loom_*"],
    env: &[("RUSTFLAGS", "--cfg loom"), ("CARGO_TARGET_DIR", "target/loom")],
};

/// The simulator finds the bugs that are planted inside the machines. A build of its own: no other has them.
const PLANTED: Step = step(&[
    "cargo",
    "test",
    "--package",
    "io_oi_sim",
    "--features",
    "planted",
    "--test",
    "planted_bugs_are_found",
]);

/// The bench beside other people's caches, with inputs so small that it takes a moment; it checks every answer. A build of
/// its own: no other compiles the rivals. Not its test: what tests depend on would compile the arbitrators' engine once more.
const CACHE_RIVALS: Step = step(&[
    "cargo",
    "run",
    "--package",
    "io_oi_bench",
    "--features",
    "cache_rivals",
    "--bin",
    "cache_rivals",
    "--",
    "--quick",
    "--keys",
    "500",
]);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<()> {
    let root = workspace_root()?;
    match words {
        ["check"] => {
            start(&root, &FMT)?;
            start(&root, &CLIPPY)?;
            tidy_up(&root)?;
            start(&root, &UNIT_TESTS)
        }
        ["tidy"] => tidy_up(&root),
        ["ci"] => {
            start(&root, &FMT)?;
            start(&root, &CLIPPY)?;
            tidy_up(&root)?;
            start(&root, &LOOM)?;
            start(&root, &PLANTED)?;
            start(&root, &CACHE_RIVALS)?;
            start(&root, &TESTS)
        }
        ["loom"] => start(&root, &LOOM),
        ["bench"] => start_words(&root, &["cargo", "bench", "--package", "io_oi_bench"], &[]),
        ["bench", stage] => {
            start_words(&root, &["cargo", "bench", "--package", "io_oi_bench", "--bench", stage], &[])
        }
        ["sim", more @ ..] => sim::start(&root, more),
        ["rivals", "--only", "cache", more @ ..] => cache_rivals(&root, more),
        ["rivals", more @ ..] => rivals(&root, more),
        _ => bail!("{USAGE}"),
    }
}

/// io_oi beside etcd. Standard output is the report's alone, so the commands are named on standard error.
fn rivals(root: &Path, more: &[&str]) -> Result<()> {
    let build = ["cargo", "build", "--release", "--quiet", "--package", "io_oi", "--bin", "io_oi"];
    let run =
        ["cargo", "run", "--release", "--quiet", "--package", "io_oi_bench", "--features", "rivals", "--bin"];
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let binary = target.join("release/io_oi").display().to_string();
    let run: Vec<&str> =
        run.iter().copied().chain(["rivals", "--", "--io-oi", &binary]).chain(more.iter().copied()).collect();
    start_quietly(root, &build)?;
    start_quietly(root, &run)
}

/// The hot tier and its policy beside other caches. Optimised as the simulator is: the same code, built in less time.
fn cache_rivals(root: &Path, more: &[&str]) -> Result<()> {
    let run = ["cargo", "run", "--profile", "sim", "--quiet", "--package", "io_oi_bench"];
    let binary = ["--features", "cache_rivals", "--bin", "cache_rivals", "--"];
    let words: Vec<&str> = run.iter().chain(&binary).chain(more).copied().collect();
    start_quietly(root, &words)
}

/// A command whose standard output is a report: the command is named on standard error.
fn start_quietly(root: &Path, words: &[&str]) -> Result<()> {
    eprintln!("$ {}", words.join(" "));
    let status = Command::new(words[0]).args(&words[1..]).current_dir(root).status();
    let status = status.context("cargo cannot be started: is it installed?")?;
    if !status.success() {
        bail!("`{}` failed ({status})", words.join(" "));
    }
    Ok(())
}

const USAGE: &str = "usage: cargo xtask VERB
  check          fmt, clippy, tidy and the unit tests: before every commit
  tidy           the rules of the house alone
  loom           every interleaving of the shared-memory models
  bench [STAGE]  criterion, one stage or all: ring hot_read wal_append order journey
  sim [SEED]     whole clusters in an invented world: for ever, one seed with its history, or --seeds N --json
  rivals [ARGS]  io_oi and etcd in turns, three nodes each (--json, --in-flight 1,64, --pairs N);
                 --only cache: the hot tier and its policy beside other caches (--json, --part rate|ns, --keys N,N)
  ci             everything that continuous integration runs";

fn tidy_up(root: &Path) -> Result<()> {
    let faults = tidy::faults(root)?;
    for fault in &faults {
        eprintln!("tidy: {fault}");
    }
    if !faults.is_empty() {
        bail!("{} faults against the rules of the house (CONTRIBUTING.md names them)", faults.len());
    }
    println!("tidy: the house is in order");
    Ok(())
}

fn start(root: &Path, step: &Step) -> Result<()> {
    start_words(root, step.words, step.env)
}

fn start_words(root: &Path, words: &[&str], env: &[(&str, &str)]) -> Result<()> {
    let settings: String = env.iter().map(|(name, value)| format!("{name}='{value}' ")).collect();
    println!("$ {settings}{}", words.join(" "));
    let status = Command::new(words[0])
        .args(&words[1..])
        .envs(env.iter().copied())
        .current_dir(root)
        .status()
        .with_context(|| format!("{} cannot be started: is it installed?", words[0]))?;
    if !status.success() {
        bail!("`{}` failed ({status})", words.join(" "));
    }
    Ok(())
}

const fn step(words: &'static [&'static str]) -> Step {
    Step { words, env: &[] }
}

fn workspace_root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(manifest.parent().context("xtask stands directly below the workspace root")?.to_path_buf())
}
