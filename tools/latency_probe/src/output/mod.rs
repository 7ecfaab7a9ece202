//! Histograms as files: `.hgrm` percentile text, `.hlog` interval log, `.svg` percentile plot.

pub(crate) mod hgrm;
pub(crate) mod hlog;
pub(crate) mod svg;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::recorder::Samples;

/// The samples of one run under its name.
pub(crate) struct Named {
    /// Letters, digits and dashes: it becomes part of file names and log tags.
    pub name: String,
    /// The samples.
    pub samples: Samples,
}

/// Where to write which files.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Files {
    /// Write percentiles as HdrHistogram text; further runs go beside it as NAME.RUN.hgrm
    #[arg(long, value_name = "PATH", global = true)]
    pub hgrm: Option<PathBuf>,
    /// Write an HdrHistogram interval log (version 1.3), one tag per run
    #[arg(long, value_name = "PATH", global = true)]
    pub hlog: Option<PathBuf>,
    /// Write a percentile plot with one line per run
    #[arg(long, value_name = "PATH", global = true)]
    pub svg: Option<PathBuf>,
}

/// A file that could not be written.
#[derive(Debug, Error)]
#[error("cannot write {path}: {reason}; choose another path")]
pub(crate) struct WriteError {
    path: PathBuf,
    reason: String,
}

impl WriteError {
    fn new(path: &Path, reason: impl ToString) -> Self {
        Self { path: path.to_path_buf(), reason: reason.to_string() }
    }
}

impl Files {
    /// Writes every file that was asked for.
    pub(crate) fn write(&self, title: &str, runs: &[Named]) -> Result<(), WriteError> {
        if let Some(path) = &self.hgrm {
            for (index, run) in runs.iter().enumerate() {
                hgrm::write(&path_of_run(path, index, &run.name), run)?;
            }
        }
        if let Some(path) = &self.hlog {
            hlog::write(path, title, runs)?;
        }
        if let Some(path) = &self.svg {
            svg::write(path, title, runs)?;
        }
        Ok(())
    }
}

/// The first run has the path itself; a percentile text holds one histogram only.
fn path_of_run(path: &Path, index: usize, name: &str) -> PathBuf {
    if index == 0 { path.to_path_buf() } else { path.with_extension(format!("{name}.hgrm")) }
}
