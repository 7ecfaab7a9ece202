//! `cargo xtask sim`: whole clusters in an invented world.
//!
//! Invariant: the seeds run in an optimised build of the crates that ship; a planted bug is built apart from them.

use anyhow::Result;
use std::path::Path;

use crate::start_words;

const RUN: &[&str] =
    &["cargo", "run", "--quiet", "--profile", "sim", "--package", "io_oi_sim", "--features", "quick", "--"];

pub(super) fn start(root: &Path, more: &[&str]) -> Result<()> {
    let words: Vec<&str> = RUN.iter().chain(more).copied().collect();
    start_words(root, &words, &[])
}
