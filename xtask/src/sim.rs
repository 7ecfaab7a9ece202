//! `cargo xtask sim`: whole clusters in an invented world.
//!
//! Invariant: the seeds run in an optimised build of the crates that ship; a planted bug is built apart from them.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::start_words;

const RUN: &[&str] = &["cargo", "run", "--quiet", "--profile", "sim", "--package", "io_oi_sim", "--features"];

/// A directory of its own, so that the build with the bugs never stands in the place of the one without.
const PLANTED_TARGET: (&str, &str) = ("CARGO_TARGET_DIR", "target/planted");

pub(super) fn start(root: &Path, more: &[&str]) -> Result<()> {
    if more.contains(&"--planted") {
        let words: Vec<&str> = RUN.iter().chain(&["quick,planted", "--"]).chain(more).copied().collect();
        return start_words(root, &words, &[PLANTED_TARGET]);
    }
    if more.contains(&"--seeds") && more.contains(&"--json") {
        return report(root, more);
    }
    let words: Vec<&str> = RUN.iter().chain(&["quick", "--"]).chain(more).copied().collect();
    start_words(root, &words, &[])
}

/// One object: the seeds of the build that ships, and how many of the planted bugs are found.
fn report(root: &Path, more: &[&str]) -> Result<()> {
    let seeds = output(root, "quick", more, None)?;
    let hunt = output(root, "quick,planted", &["--planted", "all", "--jobs", "2"], Some(PLANTED_TARGET))?;
    let seeds = seeds.trim().trim_end_matches('}');
    let hunt = hunt.trim().trim_start_matches('{');
    println!("{seeds},{hunt}");
    if !seeds.contains("\"violations\":0,") {
        bail!("violations were found: each line above names its seed");
    }
    Ok(())
}

fn output(root: &Path, features: &str, more: &[&str], env: Option<(&str, &str)>) -> Result<String> {
    let words: Vec<&str> = RUN.iter().chain(&[features, "--"]).chain(more).copied().collect();
    eprintln!("$ {}", words.join(" "));
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).envs(env).current_dir(root).stderr(Stdio::inherit());
    let output = command.output().context("cargo cannot be started: is it installed?")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
